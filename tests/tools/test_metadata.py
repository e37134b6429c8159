"""What a catalogue of components is told of each step, and the catalogue's rules."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from tools import metadata
from understudy.errors import BadInput
from understudy.pipelines.compile import PIPELINES, load_pipeline
from understudy.pipelines.resources import TEACHER_CLIENT
from understudy.task.steps import STEPS

ROOT = Path(__file__).parents[2]
SOON = metadata.VERIFIED + timedelta(days=30)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_keeps_the_rules_of_the_catalogue(step):
    folder = metadata.STEPS_FOLDER / step
    said = yaml.safe_load((folder / metadata.FILE).read_text())
    assert list(metadata.faults_of(said, folder.name, SOON)) == []
    assert (folder / "component.py").is_file() and (folder / "README.md").is_file()


def test_the_files_are_those_that_the_registry_gives():
    metadata.require_sound(metadata.STEPS_FOLDER, SOON)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "other"}, "must be named like its folder"),
        ({"stability": "ready"}, "must have a stability of"),
        ({"lastVerified": "2026-12-01"}, "must have a time as lastVerified"),
        ({"tags": [1]}, "must have tags that are text"),
        ({"owner": "me"}, "in this order, and besides only"),
        ({"dependencies": {}}, "must have the dependencies kubeflow"),
        ({"dependencies": {"kubeflow": []}}, "must depend on Kubeflow's Pipelines"),
        ({"dependencies": {"kubeflow": [{"name": "Pipelines", "version": "2.17"}]}}, "with a semantic version"),
    ],
)
def test_what_breaks_a_rule_is_said(change, told):
    said = {**metadata.metadata_of("label"), **change}
    (fault,) = metadata.faults_of(said, "label", SOON)
    assert told in fault


def test_the_order_of_the_keys_counts():
    said = dict(sorted(metadata.metadata_of("label").items()))
    (fault,) = metadata.faults_of(said, "label", SOON)
    assert "in this order" in fault


def test_what_nobody_has_looked_at_for_a_year_is_said(tmp_path):
    for step in STEPS:
        (tmp_path / step).mkdir()
        (tmp_path / step / metadata.FILE).write_text(metadata.written(step))
    metadata.require_sound(tmp_path, SOON)
    with pytest.raises(BadInput) as told:
        metadata.require_sound(tmp_path, metadata.VERIFIED + timedelta(days=366))
    assert len(told.value.faults) == len(STEPS)
    (tmp_path / "label" / metadata.FILE).write_text(metadata.written("label") + "tags: []\n")
    with pytest.raises(BadInput, match="must say what its registry says"):
        metadata.require_sound(tmp_path, SOON)


def test_the_catalogue_and_the_guide_know_every_step_that_asks_a_teacher():
    platforms = [MessageToDict(load_pipeline(name).platform_spec)["platforms"]["kubernetes"] for name in PIPELINES]
    executors = {name: pod for one in platforms for name, pod in one["deploymentSpec"]["executors"].items()}
    clients = {name.removeprefix("exec-") for name, pod in executors.items() if TEACHER_CLIENT in str(pod)}
    assert clients == {step for step, services in metadata.SERVICES.items() if services == metadata.TEACHER}
    row = f"| {', '.join(step for step in STEPS if step in clients)} | besides, the teacher"
    assert row in (ROOT / "docs/deploy.md").read_text()
