import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.bundles import make_bundle
from tests.services import model_registry as registry_server
from understudy.errors import BadArtifact, BadInput, GateRefused
from understudy.reports import model_card
from understudy.runtime import shell
from understudy.steps.evaluate import assemble, speed, testset
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.publish import rules
from understudy.store import registry, tables
from understudy.store.bundles import read_settings
from understudy.task.card import load_card

TEXTS = {
    "Ask for a room at the back": "tip",
    "Bring cash for the bus": "tip",
    "Avoid the lift at noon": "tip",
    "Nice view": "other",
    "We stayed a week": "other",
    "Nice people, nice food": "other",
    "Ask me anything": "other",
    "We stayed and stayed": "other",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """Return a folder with a bundle and what evaluate measured of it on a few texts."""
    folder = tmp_path_factory.mktemp("measured")
    gold = pl.DataFrame(
        {
            "id": [f"t{number}" for number in range(len(TEXTS))],
            "group": [f"g{number // 2}" for number in range(len(TEXTS))],
            "text": list(TEXTS),
            "label": list(TEXTS.values()),
            "split": "test",
            "annotators": 1,
            "origin": "labels",
        }
    )
    tables.write(gold, tables.Gold, folder / "test")
    bundle = make_bundle(folder / "bundle", threshold=0.4)
    card, config = load_card(bundle), EvaluateConfig(samples=200)
    texts = testset.read(folder / "test", card, None, 0.0)
    scored = speed.score(bundle, texts.table["text"].to_list(), config.latency_texts)
    found = assemble.evaluation(assemble.Measured(card, read_settings(bundle), texts, scored, config))
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "evaluation.json").write_text(json.dumps(found))
    (folder / "report.html").write_text("<title>report</title>")
    return folder


@pytest.fixture
def evaluated(measured, tmp_path):
    """Return a function that gives a test what publish takes, with some of the evaluation changed."""

    def copy(**changes) -> dict[str, Path]:
        folder = tmp_path / "measured"
        shutil.copytree(measured, folder)
        path = folder / "evaluation" / "evaluation.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return {"bundle": folder / "bundle", "evaluation": folder / "evaluation", "page": folder / "report.html"}

    return copy


def publish(folder: Path, inputs: dict[str, Path], store: str, overrides: str = "") -> shell.Result:
    return shell.execute("publish", {**inputs, "store": store, "release": folder / "release", "overrides": overrides})


def test_what_passed_its_evaluation_serves_with_its_papers(evaluated, tmp_path, store):
    inputs = evaluated()
    result = publish(tmp_path, inputs, store.uri)
    current = registry.require_current(store)
    version = read_settings(inputs["bundle"])["version"]
    assert result.parameters == {"version": version, "previous": "", "uri": f"{store.uri}/bundles/{version}"}
    release = json.loads((tmp_path / "release" / "release.json").read_text())
    assert (release["version"], release["previous"], release["generation"]) == (version, None, 1)
    assert store.read(current.report) == inputs["page"].read_bytes()
    papers = {key.rpartition("/")[2] for key in store.list(f"bundles/{version}/papers/")}
    assert papers == {"report.html", "evaluation.json", "MODEL_CARD.md", "origin.json"}


def test_publishing_again_gives_the_same_release(evaluated, tmp_path, store):
    inputs = evaluated()
    publish(tmp_path, inputs, store.uri)
    first = {path.name: path.read_bytes() for path in (tmp_path / "release").iterdir() if "provenance" not in path.name}
    publish(tmp_path, inputs, store.uri)
    again = {path.name: path.read_bytes() for path in (tmp_path / "release").iterdir() if "provenance" not in path.name}
    assert first == again
    assert registry.require_current(store).generation == 1


def test_a_refused_bundle_is_not_published(evaluated, tmp_path, store):
    changes = {"decision": "refuse", "reason": "F1 must be at least 0.90, got 0.50."}
    inputs = evaluated(**changes)
    with pytest.raises(GateRefused, match=r"must decide to publish, got 'refuse' .*: F1 must be at least 0\.90"):
        publish(tmp_path, inputs, store.uri)
    assert store.list() == []
    assert not (tmp_path / "release").exists()


def test_a_refused_bundle_that_is_forced_says_so(evaluated, tmp_path, store):
    changes = {"decision": "refuse", "reason": "F1 must be at least 0.90, got 0.50."}
    inputs = evaluated(**changes)
    publish(tmp_path, inputs, store.uri, overrides="publish.force=true")
    current = registry.require_current(store)
    assert current.is_forced
    text = store.read(current.report.replace("report.html", "MODEL_CARD.md")).decode()
    assert "> **Forced.** It was published with publish.force; the evaluation decided 'refuse': F1 must be" in text


def test_the_evaluation_of_another_bundle_is_refused(evaluated, tmp_path, store):
    inputs = evaluated()
    other = make_bundle(tmp_path / "other", bias=-1.0)
    with pytest.raises(BadArtifact, match="must be of the bundle that is published"):
        publish(tmp_path, {**inputs, "bundle": other}, store.uri)


def test_an_evaluation_that_cannot_be_read_is_named(evaluated, tmp_path, store):
    inputs = evaluated()
    (inputs["evaluation"] / "evaluation.json").write_text("{")
    with pytest.raises(BadArtifact, match=r"must be readable JSON.*evaluation\.json\)\. Run evaluate again"):
        publish(tmp_path, inputs, store.uri)


def test_a_bucket_that_is_not_there_is_named_before_anything_is_written(evaluated, tmp_path, s3_url):
    inputs = evaluated()
    with pytest.raises(BadInput, match="The bucket must exist, got no bucket 'not-there'"):
        publish(tmp_path, inputs, "s3://not-there/store")


def test_the_model_card_says_what_a_user_must_know(evaluated, tmp_path):
    inputs = evaluated()
    found = json.loads((inputs["evaluation"] / "evaluation.json").read_text())
    settings = {**read_settings(inputs["bundle"]), "student": "minilm", "trained_texts": 1234}
    text = model_card.page(settings, load_card(inputs["bundle"]), found, is_forced=False)
    assert text.startswith(f"# {settings['version']}\n\n> **Rehearsal.**")
    assert "Is this sentence a tip for travellers?" in text
    assert "2. A warning to stay away is a tip." in text
    assert "| learned from | 1,234 |" in text
    assert "8 human-labelled texts of the split test (3 positive, in 4 groups)" in text
    assert found["primary"]["value"] == pytest.approx(6 / 7, abs=1e-6)  # 3 found, 1 false alarm, none missed
    assert "| Student | 8 | n/a |" in text  # of four groups: 0.00 to 1.00 says nothing
    assert (
        "of the texts that the teacher was asked about for it, whether texts left the house is not known."
        in text.lower()
    )
    assert "from a probability of 0.400 upwards. On the test texts that flags 50%." in text
    assert "| licence of its weights | Apache-2.0 |" in text
    assert "it missed 0 and raised 1 false alarm" in text
    assert "**Forced.**" not in text


def test_a_card_with_signs_of_markdown_keeps_the_tables_whole(evaluated, tmp_path):
    inputs = evaluated()
    found = json.loads((inputs["evaluation"] / "evaluation.json").read_text())
    card = load_card(inputs["bundle"])
    odd = card.labels[0].model_copy(update={"definition": "a | b\nc"})
    card = card.model_copy(update={"labels": (odd, card.labels[1])})
    text = model_card.page(read_settings(inputs["bundle"]), card, found, is_forced=False)
    assert "| other | a \\| b c |" in text


def test_a_bundle_of_three_labels_is_published_with_its_card(tmp_path, store):
    labels = ["=praise|", "<kbd>tip</kbd>", "blame ☕"]
    words = {"nice": {labels[0]: 3.0}, "ask": {labels[1]: 3.0}, "never": {labels[2]: 3.0}}
    bundle = make_bundle(tmp_path / "bundle", labels=labels, words=words)
    texts = [("Nice view", labels[0]), ("Ask them", labels[1]), ("Never again", labels[2]), ("Nice, no", labels[2])]
    rows = pl.DataFrame({"text": [text for text, _ in texts], "label": [label for _, label in texts]})
    rows.write_csv(tmp_path / "labelled.csv")
    paths = {"bundle": bundle, "evaluation": tmp_path / "evaluation", "page": tmp_path / "report.html"}
    shell.execute("evaluate", {**paths, "test": tmp_path / "labelled.csv", "overrides": "samples=100"})
    publish(tmp_path, paths, store.uri)
    current = registry.require_current(store)
    text = store.read(current.report.replace("report.html", "MODEL_CARD.md")).decode()
    assert "(of 3 labels, in 4 groups)" in text
    assert "The figure that decides is macro F1: 0.78 (" in text  # 2/3, 1 and 2/3
    assert "| =praise\\| | Texts of the kind 0. |" in text
    found = json.loads(store.read(current.report.replace("report.html", "evaluation.json")))
    assert found["primary"]["figure"] == "macro_f1"


def test_a_decision_to_keep_the_teacher_is_no_decision_to_publish():
    evaluation = {"bundle": {"version": "a-1"}, "decision": "keep-the-teacher", "reason": "It is better and cheaper."}
    with pytest.raises(GateRefused, match="got 'keep-the-teacher'"):
        rules.require_decision({"version": "a-1"}, evaluation, is_forced=False)
    rules.require_decision({"version": "a-1"}, evaluation, is_forced=True)


def test_publish_killed_in_the_middle_is_whole_the_next_time(evaluated, tmp_path, store):
    inputs = evaluated()
    inputs["page"].write_bytes(b"<p>" + bytes(30_000_000))  # long to write, so that the kill falls into it
    arguments = [part for name, path in inputs.items() for part in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "understudy", "publish", *arguments, "--store", store.uri]
    command += ["--release", str(tmp_path / "release")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = time.monotonic() + 60
    while not store.list("bundles/"):
        assert time.monotonic() < ended, "the bundle must begin to be put"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    current, versions = registry.read_current(store), registry.list_versions(store)
    assert current is None or current.version in versions
    for version in versions:
        registry.fetch_bundle(store, version, tmp_path / "cache")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "serves, generation 1" in done.stdout
    assert registry.require_current(store).version in registry.list_versions(store)
    registry.fetch_bundle(store, cache=tmp_path / "cache")


def test_publish_needs_no_more_than_the_submit_image_holds(evaluated, tmp_path, store):
    inputs = evaluated()
    values = {**{name: str(path) for name, path in inputs.items()}, "store": store.uri, "release": str(tmp_path / "r")}
    code = (
        f"import sys; from understudy.runtime.shell import execute; execute('publish', {values!r}); "
        "heavy = {'numpy', 'polars', 'onnxruntime', 'tokenizers', 'torch', 'dataframely'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_ends_with_3_when_a_gate_refused(evaluated, tmp_path, store):
    inputs = evaluated(decision="refuse", reason="F1 is too low.")
    arguments = [part for name, path in inputs.items() for part in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "understudy", "publish", *arguments, "--store", store.uri, "--release", "r"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("The evaluation must decide to publish, got 'refuse'")


def of_a_card_with_a_registry(inputs, address):
    """Return what publish takes, of a bundle whose card names a model registry."""
    shutil.rmtree(inputs["bundle"])
    make_bundle(inputs["bundle"], threshold=0.4, more=f"registry: {address}")
    file = inputs["evaluation"] / "evaluation.json"
    found = json.loads(file.read_text())
    found["bundle"]["version"] = read_settings(inputs["bundle"])["version"]
    file.write_text(json.dumps(found))
    return inputs


def test_what_is_published_is_told_to_the_model_registry_of_the_card(evaluated, tmp_path, store, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_RUN_ID", "57961422-1efc-4683-898f-195ce9f74b35")
    there = registry_server.Registry()
    with registry_server.serve(there) as url:
        inputs = of_a_card_with_a_registry(evaluated(decision="publish"), url)
        results = [publish(tmp_path, inputs, store.uri) for _ in range(2)]
    card, evaluation = load_card(inputs["bundle"]), json.loads((inputs["evaluation"] / "evaluation.json").read_text())
    assert [result.metrics["registered"] for result in results] == [1, 1]
    assert results[0].headline.endswith(f"registered as hotel-tips in {url}")
    (version,), (artifact,) = there.things["version"], there.things["artifact"]
    assert version["customProperties"]["card_hash"]["string_value"] == card.hash
    f1 = next(it for it in evaluation["systems"] if it["name"] == "student")["figures"]["f1"]["value"]
    assert version["customProperties"]["f1"]["double_value"] == pytest.approx(f1)
    assert artifact["uri"] == results[0].parameters["uri"]
    assert artifact["modelSourceId"] == "57961422-1efc-4683-898f-195ce9f74b35"
    assert there.violations == []


@pytest.mark.parametrize("status", [401, 500])
def test_a_registry_that_refuses_is_told_and_keeps_nothing_from_serving(evaluated, tmp_path, store, capfd, status):
    with registry_server.serve(registry_server.Registry(status=status)) as url:
        result = publish(tmp_path, of_a_card_with_a_registry(evaluated(decision="publish"), url), store.uri)
    assert registry.require_current(store).version == result.parameters["version"]
    assert result.metrics["registered"] == 0
    assert f"the model registry was not told (status {status}; {url})" in result.headline
    assert "run publish again to tell the registry" in capfd.readouterr().err
