"""Rules that hold in every overlay, and with every component: read off the YAML that Kustomize renders."""

import re
import shutil

import pytest
import yaml

from tests.manifests.kustomize import (
    COMPONENTS,
    MANIFESTS,
    OVERLAYS,
    build,
    executors,
    of_kind,
    overlay,
    pod_templates,
    production_with,
)
from tools.manifests import GPU, NOTE
from understudy.pipelines.compile import PIPELINES
from understudy.pipelines.pins import recorded_pins
from understudy.runtime.images import read_images
from understudy.store.manifests import MOST_SHARDS
from understudy.task.card import load_card
from understudy.task.steps import STEPS

TEACHER = {"understudy/teacher-client": "true"}
ELASTICSEARCH = {"understudy/elasticsearch-client": "true"}


@pytest.fixture(params=OVERLAYS)
def documents(request):
    return overlay(request.param)


@pytest.fixture(scope="module", params=COMPONENTS)
def composed(request, tmp_path_factory):
    """The production overlay with a component."""
    return request.param, production_with(request.param, tmp_path_factory.mktemp(request.param))


def restricted_faults(pod):
    """Judge a pod by Pod Security "restricted" (Kubernetes 1.34), as far as our manifests use its fields."""
    faults = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    faults += sorted(kinds - {"configMap", "emptyDir", "projected", "secret", "downwardAPI", "ephemeral"})
    whole = pod.get("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        user = own.get("runAsUser", whole.get("runAsUser"))
        profile = own.get("seccompProfile", whole.get("seccompProfile", {})).get("type")
        holds = {
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities", {}) == {"drop": ["ALL"]},
            "runAsNonRoot": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True and user != 0,
            "seccompProfile": profile in {"RuntimeDefault", "Localhost"},
        }
        faults += [name for name, is_held in holds.items() if not is_held]
    return faults


def test_the_judge_of_restricted_sees_what_is_wrong():
    pod = pod_templates(overlay("production"))["CronJob", "understudy-nightly"]["spec"]
    assert restricted_faults(pod) == []
    bare = {"containers": [{"name": "a"}], "volumes": [{"name": "a", "hostPath": {"path": "/"}}], "hostPID": True}
    assert set(restricted_faults(bare)) == {
        "hostPID", "hostPath", "allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "seccompProfile"
    }  # fmt: skip


def test_our_pods_comply_with_restricted_and_a_namespace_of_our_own_demands_it(composed):
    name, documents = composed
    for where, template in pod_templates(documents).items():
        assert restricted_faults(template["spec"]) == [], where
    for namespace in of_kind(documents, "Namespace").values():
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert bool(of_kind(documents, "Namespace")) == (name == "own-namespace")


def test_our_pods_have_a_read_only_root_limits_and_no_token_of_the_kubernetes_api(composed):
    for template in pod_templates(composed[1]).values():
        assert template["spec"]["automountServiceAccountToken"] is False
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}


def test_a_step_is_neither_root_nor_without_limits(documents):
    for (_, step), (container, told) in executors(documents).items():
        assert told["securityContext"] == {"runAsUser": "65532", "runAsGroup": "65532", "runAsNonRoot": True}
        given = container["resources"]
        share = STEPS[step]
        assert (given["resourceMemoryRequest"], given["resourceMemoryLimit"]) == tuple(
            f"{it}Mi" for it in share.memory_mib
        )
        assert (given["resourceCpuRequest"], given["resourceCpuLimit"]) == share.cpu
        assert given["memoryRequest"] <= given["memoryLimit"] and given["cpuRequest"] <= given["cpuLimit"]


def test_images_are_those_of_the_one_file_that_names_them(composed):
    documents = composed[1]
    pins = recorded_pins(MANIFESTS)
    known = {f"{image.name}@{pins[role]}" if role in pins else image.reference for role, image in read_images().items()}
    used = {it["image"] for template in pod_templates(documents).values() for it in template["spec"]["containers"]}
    used |= {container["image"] for container, _ in executors(documents).values()}
    assert used <= known
    assert len(used) == len(known)


def test_no_file_written_by_hand_names_an_image_of_ours():
    named = re.compile("|".join(re.escape(image.name) for image in read_images().values()))
    for file in MANIFESTS.rglob("*.yaml"):
        text = file.read_text()
        assert text.startswith(NOTE) == (file.parent.name == "generated"), file
        assert text.startswith(NOTE) or not named.search(text), file


def test_secrets_are_named_and_never_written_down(composed):
    documents = composed[1]
    assert not of_kind(documents, "Secret")
    for template in pod_templates(documents).values():
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                is_secret = re.search(r"KEY|TOKEN|SECRET|PASSWORD", variable["name"])
                assert not is_secret or set(variable["valueFrom"]) == {"secretKeyRef"}
    for settings in of_kind(documents, "ConfigMap").values():
        assert not [key for key in settings["data"] if re.search(r"KEY|TOKEN|SECRET|PASSWORD|WEBHOOK", key)]


@pytest.mark.parametrize(
    ("secret", "labels", "steps"),
    [
        ("understudy-teacher", TEACHER, {"label", "revise", "mine", "sample"}),
        ("understudy-elasticsearch", ELASTICSEARCH, {"index"}),
    ],
)
def test_a_step_that_has_the_key_of_a_server_is_labelled_as_its_client_and_no_other(documents, secret, labels, steps):
    found = {}
    for (_, step), (_, told) in executors(documents).items():
        has_key = any(it["secretName"] == secret for it in told["secretAsEnv"])
        is_labelled = labels.items() <= told.get("podMetadata", {}).get("labels", {}).items()
        assert has_key == is_labelled, step
        found.setdefault(step, is_labelled)
    assert {step for step, is_labelled in found.items() if is_labelled} == steps
    for template in pod_templates(documents).values():
        assert not set(labels) & set(template["metadata"]["labels"])


def test_a_step_may_have_a_key_of_its_own_to_the_store(documents):
    for (_, step), (_, told) in executors(documents).items():
        (own,) = [it for it in told["secretAsEnv"] if it["secretName"] == f"understudy-storage-{step}"]
        assert own["optional"] is True
        assert {pair["envVar"] for pair in own["keyToEnv"]} == {"STEP_AWS_ACCESS_KEY_ID", "STEP_AWS_SECRET_ACCESS_KEY"}


def test_a_job_fails_for_good_by_exit_code_2_alone(documents):
    """What passes ends with another code, and its pod is tried again."""
    for name, job in of_kind(documents, "CronJob").items():
        rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        failing = [rule for rule in rules if rule["action"] == "FailJob"]
        assert [rule["onExitCodes"]["values"] for rule in failing] == [[2]], name
        assert {rule["onExitCodes"]["operator"] for rule in failing} == {"In"}


def test_nobody_reaches_anything_but_what_a_policy_names(documents):
    policies = of_kind(documents, "NetworkPolicy")
    denied = policies.pop("default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies.values():
        for rule in [*policy["spec"].get("egress", []), *policy["spec"].get("ingress", [])]:
            assert rule.get("ports") and (rule.get("to") or rule.get("from")), policy["metadata"]["name"]
            for peer in [*rule.get("to", []), *rule.get("from", [])]:
                assert peer.get("ipBlock", {}).get("cidr") not in {"0.0.0.0/0", "::/0"}


def test_only_the_clients_of_a_server_may_go_there(documents):
    policies = {name: it["spec"]["podSelector"] for name, it in of_kind(documents, "NetworkPolicy").items()}
    clients = {"teacher": {"matchLabels": TEACHER}, "elasticsearch": {"matchLabels": ELASTICSEARCH}}
    for name, selector in policies.items():
        assert name not in clients or selector == clients[name]
        assert name in clients or not {*TEACHER, *ELASTICSEARCH} & set(selector.get("matchLabels", {}))


def test_the_labels_by_which_a_policy_chooses_pods_are_ones_that_pods_bear(documents):
    """KFP gives a step's pod the labels of its platform spec; a label that no pod bears would open nothing."""
    borne = [template["metadata"]["labels"] for template in pod_templates(documents).values()]
    borne += [told.get("podMetadata", {}).get("labels", {}) for _, told in executors(documents).values()]
    for name, policy in of_kind(documents, "NetworkPolicy").items():
        chosen = policy["spec"]["podSelector"].get("matchLabels", {})
        assert any(chosen.items() <= labels.items() for labels in borne), name


def test_a_way_out_that_is_open_to_every_pod_is_one_that_every_pod_needs(documents):
    """DNS, the pipelines API and the store; the Kubernetes API and KFP's storage are for all but submit."""
    everyone = [name for name, it in of_kind(documents, "NetworkPolicy").items() if it["spec"]["podSelector"] == {}]
    assert set(everyone) == {"default-deny", "dns", "pipelines", "store"}


def test_steps_reach_the_storage_where_kfp_keeps_their_artifacts(documents):
    """KFP's manifests label the pods of its own storage "app: seaweedfs", and "app: minio" before."""
    policies = of_kind(documents, "NetworkPolicy")
    (rule,) = policies["artifacts" if "artifacts" in policies else "store"]["spec"]["egress"]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "kubeflow"}}
    assert peer["podSelector"]["matchExpressions"][0]["values"] == ["seaweedfs", "minio"]
    assert {port["port"] for port in rule["ports"]} == {8333, 9000}


def test_every_cronjob_hands_on_where_artifacts_go(documents):
    for (kind, name), template in pod_templates(documents).items():
        assert kind != "CronJob" or "--root=$(PIPELINE_ROOT)" in template["spec"]["containers"][0]["args"], name


def test_submit_may_do_what_it_does_in_its_namespace_and_no_more(documents):
    role = of_kind(documents, "Role")["understudy-submit"]
    assert {(rule["apiGroups"][0], rule["resources"][0]): set(rule["verbs"]) for rule in role["rules"]} == {
        ("pipelines.kubeflow.org", "pipelines"): {"get", "list"},
        ("pipelines.kubeflow.org", "experiments"): {"get", "list", "create"},
        ("pipelines.kubeflow.org", "runs"): {"get", "list", "create"},
    }
    assert not of_kind(documents, "ClusterRole") and not of_kind(documents, "ClusterRoleBinding")
    binding = of_kind(documents, "RoleBinding")["understudy-submit"]
    assert [subject["name"] for subject in binding["subjects"]] == ["understudy-submit"]
    assert binding["subjects"][0]["namespace"] == role["metadata"]["namespace"]


def test_no_role_has_a_wildcard(composed):
    for role in [*of_kind(composed[1], "Role").values(), *of_kind(composed[1], "ClusterRole").values()]:
        assert all("*" not in values for rule in role["rules"] for values in rule.values())


def test_a_cronjob_runs_once_in_its_time_and_leaves_nothing_behind(documents):
    jobs = of_kind(documents, "CronJob")
    assert set(jobs) == {"understudy-nightly", "understudy-quality", "understudy-retrain"}
    for job in jobs.values():
        spec, run = job["spec"], job["spec"]["jobTemplate"]["spec"]
        assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
        assert 0 < spec["startingDeadlineSeconds"] <= 86400
        assert spec["successfulJobsHistoryLimit"] == spec["failedJobsHistoryLimit"] == 3
        assert run["activeDeadlineSeconds"] >= 300  # a retried pod may wait 120 s for the lease of the one before
        assert (run["backoffLimit"], run["ttlSecondsAfterFinished"]) == (4, 604800)
        assert run["template"]["spec"]["restartPolicy"] == "Never"


def test_a_retraining_is_asked_for_by_the_watch_and_once_a_week_at_most(documents):
    args = of_kind(documents, "CronJob")["understudy-retrain"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {"--when-asked", "--at-most-every-days=7"} <= set(args["containers"][0]["args"])


def test_the_token_is_for_the_pipelines_api_and_lies_where_kfps_client_looks(documents):
    from kfp.client import KF_PIPELINES_SA_TOKEN_PATH

    for (kind, _), template in pod_templates(documents).items():
        if kind != "CronJob":
            continue
        (token,) = [it for it in template["spec"]["volumes"] if "projected" in it]
        (source,) = token["projected"]["sources"]
        assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
        mounts = {it["name"]: it["mountPath"] for it in template["spec"]["containers"][0]["volumeMounts"]}
        assert f"{mounts[token['name']]}/{source['serviceAccountToken']['path']}" == KF_PIPELINES_SA_TOKEN_PATH


def test_a_cronjob_names_only_what_is_there(composed):
    """A variable that no ConfigMap has would be passed on as it stands, and a missing ConfigMap would stop the pod."""
    documents = composed[1]
    maps = of_kind(documents, "ConfigMap")
    versions = set(of_kind(documents, "PipelineVersion"))
    for (_, name), template in pod_templates(documents).items():
        container = template["spec"]["containers"][0]
        known = {
            key: value
            for it in container.get("envFrom", [])
            for key, value in maps[it["configMapRef"]["name"]]["data"].items()
        }
        for variable in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []))):
            assert variable in known, name
            assert not variable.endswith("_VERSION") or known[variable] in versions
        for volume in template["spec"]["volumes"]:
            assert "configMap" not in volume or volume["configMap"]["name"] in maps


def test_submit_takes_the_arguments_of_every_cronjob(documents):
    from understudy.cli.submit import command

    known = {option for parameter in command.params for option in parameter.opts}
    for (kind, _), template in pod_templates(documents).items():
        if kind == "CronJob":
            container = template["spec"]["containers"][0]
            module, name, pipeline, *options = container["args"][1:]
            assert [*container["command"], container["args"][0], module, name] == [
                "python",
                "-m",
                "understudy",
                "submit",
            ]
            assert pipeline in PIPELINES
            assert {option.partition("=")[0] for option in options} <= known


def test_nights_begin_and_end_where_the_cronjobs_clock_goes(tmp_path):
    """Submit reads the zone from the settings, and the scheduled minute from the name of its Job."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    file = tmp_path / "manifests/overlays/production/settings.env"
    file.write_text(file.read_text().replace("TIME_ZONE=Etc/UTC", "TIME_ZONE=Asia/Tokyo"))
    documents = build(file.parent)
    assert {job["spec"]["timeZone"] for job in of_kind(documents, "CronJob").values()} == {"Asia/Tokyo"}
    for template in pod_templates(documents).values():
        (job,) = [it for it in template["spec"]["containers"][0]["env"] if it["name"] == "UNDERSTUDY_JOB"]
        assert job["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}


def test_the_settings_that_steps_read_are_those_that_the_code_reads(documents):
    asked = {
        (source["configMapName"], pair["configMapKey"], pair["envVar"])
        for _, told in executors(documents).values()
        for source in told["configMapAsEnv"]
        for pair in source["keyToEnv"]
    }
    assert asked == {
        ("understudy-settings", name, name)
        for name in (
            "AWS_ENDPOINT_URL_S3",
            "AWS_REGION",
            "OPENAI_BASE_URL",
            "UNDERSTUDY_ORACLE_BASE_URL",
            "UNDERSTUDY_EDITOR_BASE_URL",
            "ELASTICSEARCH_URL",
        )
    }
    assert "understudy-settings" in of_kind(documents, "ConfigMap")


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_card_of_an_overlay_is_a_card(name):
    assert load_card(MANIFESTS / "overlays" / name / "card.yaml").name


def test_everything_lies_in_one_namespace(documents):
    (namespace,) = {it["metadata"]["namespace"] for it in documents}
    assert of_kind(documents, "ConfigMap")["understudy-settings"]["data"]["KF_PIPELINES_NAMESPACE"] == namespace


def test_with_a_gpu_only_its_version_of_training_is_there(tmp_path):
    documents = production_with("gpu", tmp_path)
    (version,) = [name for name in of_kind(documents, "PipelineVersion") if name.startswith("training-")]
    assert version == yaml.safe_load((MANIFESTS / GPU / "training.yaml").read_text())["metadata"]["name"]
    container, told = executors(documents)[version, "train"]
    assert container["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert told["nodeSelector"] and told["tolerations"]


def amount(quantity):
    """A quantity of Kubernetes as a number: cores, or bytes."""
    units = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
    unit = quantity.lstrip("0123456789.")
    return float(quantity.removesuffix(unit)) * units.get(unit, 1)


def test_the_quota_holds_a_night_of_all_workers_beside_a_step_of_a_training(tmp_path):
    documents = production_with("quota", tmp_path)
    hard = of_kind(documents, "ResourceQuota")["understudy"]["spec"]["hard"]
    (sidecar,) = of_kind(documents, "LimitRange")["understudy"]["spec"]["limits"]
    infer, train = STEPS["infer"], STEPS["train"]
    for place, (side, default) in enumerate({"requests": "defaultRequest", "limits": "default"}.items()):
        for kind, field, unit in (("cpu", "cpu", ""), ("memory", "memory_mib", "Mi")):
            shares = [amount(f"{getattr(step, field)[place]}{unit}") for step in (infer, train)]
            extra = amount(sidecar[default][kind])
            assert MOST_SHARDS * (shares[0] + extra) + shares[1] + extra <= amount(hard[f"{side}.{kind}"]), (side, kind)
    disk = amount(sidecar["defaultRequest"]["ephemeral-storage"])  # of the step, which names none, and of its sidecar
    assert (MOST_SHARDS + 1) * 2 * disk <= amount(hard["requests.ephemeral-storage"])
    assert int(hard["pods"]) >= 2 * (MOST_SHARDS + 1)  # a driver each, in a KFP that gives them pods


@pytest.mark.parametrize("component", ["quota", "own-namespace"])
def test_what_an_object_needs_is_applied_before_it(tmp_path, component):
    """Without its defaults a quota refuses KFP's pods, and without its pipeline the webhook refuses a version."""
    kinds = [each["kind"] for each in production_with(component, tmp_path)]
    first = ["Namespace", "LimitRange", "ResourceQuota", "ServiceAccount", "Role", "ConfigMap", "Pipeline"]
    places = [kinds.index(kind) for kind in first if kind in kinds]
    assert places == sorted(places)
    assert {"LimitRange", "Namespace"} & set(kinds)
    last_pipeline = max(place for place, kind in enumerate(kinds) if kind == "Pipeline")
    assert all(kinds.index(kind) > last_pipeline for kind in ("PipelineVersion", "CronJob"))


def test_the_launcher_is_told_where_s3_is_in_the_form_that_it_reads(tmp_path):
    """The keys are those of KFP's launcher, backend/src/v2/config/s3.go."""
    documents = production_with("launcher-storage", tmp_path)
    (provider,) = yaml.safe_load(of_kind(documents, "ConfigMap")["kfp-launcher"]["data"]["providers"]).values()
    default = provider["default"]
    assert set(default) == {"endpoint", "region", "disableSSL", "forcePathStyle", "credentials"}
    assert default["forcePathStyle"] is True and "//" not in default["endpoint"]
    keys = default["credentials"]["secretRef"]
    role = of_kind(documents, "Role")["understudy-launcher-storage"]["rules"][0]
    assert role["resourceNames"] == [keys["secretName"]] == ["understudy-storage"]
    assert {keys["accessKeyKey"], keys["secretKeyKey"]} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_the_queue_is_one_of_kueues_and_has_the_name_that_its_comment_gives_the_pods(tmp_path):
    """Kueue's definition of a LocalQueue: one field, the name of a ClusterQueue, an RFC 1123 name."""
    (queue,) = of_kind(production_with("kueue", tmp_path), "LocalQueue").values()
    assert queue["apiVersion"] == "kueue.x-k8s.io/v1beta1"
    assert set(queue["spec"]) == {"clusterQueue"} and re.fullmatch(r"[a-z0-9-]+", queue["spec"]["clusterQueue"])
    assert f"kueue.x-k8s.io/queue-name: {queue['metadata']['name']}" in (MANIFESTS / "pod-labels.yaml").read_text()


def test_with_a_role_no_pod_of_ours_asks_for_keys(tmp_path):
    documents = production_with("storage-role", tmp_path)
    containers = [it for template in pod_templates(documents).values() for it in template["spec"]["containers"]]
    assert not [env for container in containers for env in container["env"] if "secretKeyRef" in env["valueFrom"]]
    for account in of_kind(documents, "ServiceAccount").values():
        assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]


def test_the_guide_names_every_component_setting_and_verb():
    guide = (MANIFESTS.parent / "docs/deploy.md").read_text()
    settings = {line.partition("=")[0] for name in OVERLAYS for line in settings_of(name)}
    verbs = {
        verb for role in of_kind(overlay("production"), "Role").values() for it in role["rules"] for verb in it["verbs"]
    }
    missing = [word for word in [*COMPONENTS, *settings] if f"`{word}`" not in guide]
    assert missing == []
    assert all(re.search(rf"\b{verb}\b", guide) for verb in verbs)


def settings_of(name):
    lines = (MANIFESTS / "overlays" / name / "settings.env").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
