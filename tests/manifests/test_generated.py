"""What `make manifests` writes, and the check that it is current."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from tools import manifests
from understudy.errors import BadInput
from understudy.pipelines import compile as compile_module
from understudy.pipelines.compile import PIPELINES, load_pipeline, version_name, version_of
from understudy.pipelines.resources import Accelerator
from understudy.runtime.images import read_images

DIGESTS = {role: f"sha256:{number:064x}" for number, role in enumerate(read_images())}


@pytest.fixture(scope="module")
def files():
    return manifests.generate({}, manifests.read_accelerator(manifests.ROOT))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copy of manifests/ that the command works on."""
    copy = Path(shutil.copytree(manifests.ROOT, tmp_path / "manifests"))
    monkeypatch.setattr(manifests, "ROOT", copy)
    return copy


def record(folder, **digests):
    """What `make images` leaves."""
    built = {
        role: {"name": image.name, "tag": image.tag, "digest": digests.get(role), "reference": "any"}
        for role, image in read_images().items()
    }
    file = folder / "images.json"
    file.write_text(json.dumps(built))
    return file


def run(*options):
    result = CliRunner().invoke(manifests.main, list(map(str, options)), catch_exceptions=False)
    return result.exit_code, result.output


def version_in(files, name, folder=manifests.BASE):
    return list(yaml.safe_load_all(files[f"{folder}/{name}.yaml"]))[-1]


def test_the_manifests_of_this_checkout_are_current():
    assert run("--check") == (0, "")


@pytest.mark.parametrize(
    "edit",
    [
        lambda file: file.write_text(file.read_text().replace("cpuLimit: 2.0", "cpuLimit: 3.0", 1)),
        lambda file: file.unlink(),
        lambda file: shutil.copy(file, file.with_name("more.yaml")),
    ],
    ids=["edited", "removed", "added"],
)
def test_the_check_fails_when_a_manifest_is_not_what_its_source_says(root, edit):
    edit(root / manifests.BASE / "nightly.yaml")
    code, output = run("--check")
    assert code == 2
    assert "base/generated/" in output and "make manifests" in output
    run()
    assert run("--check") == (0, "")


def test_a_version_says_what_kfps_own_compiler_says(files, tmp_path):
    for name in PIPELINES:
        options = KubernetesManifestOptions(
            pipeline_name=name, pipeline_version_name=version_name(name, {}), include_pipeline_manifest=True
        )
        file = tmp_path / f"{name}.yaml"
        Compiler().compile(
            load_pipeline(name), str(file), kubernetes_manifest_options=options, kubernetes_manifest_format=True
        )
        assert list(yaml.safe_load_all(files[f"{manifests.BASE}/{name}.yaml"])) == list(
            yaml.safe_load_all(file.read_text())
        )


def test_a_version_is_named_by_what_it_says(files):
    for name in PIPELINES:
        version = version_in(files, name)
        content = {key: version["spec"][key] for key in ("pipelineSpec", "platformSpec")}
        assert version["metadata"]["name"] == version_of(name, content) == version_name(name, {})
        assert version["spec"]["pipelineName"] == name
        changed = {**content, "platformSpec": {}}
        assert version_of(name, changed) != version_of(name, content)


def test_the_cronjobs_are_told_the_versions_that_lie_beside_them(files):
    component = yaml.safe_load(files[f"{manifests.BASE}/kustomization.yaml"])
    told = component["configMapGenerator"][0]["literals"]
    assert told == [f"{name.upper()}_VERSION={version_in(files, name)['metadata']['name']}" for name in PIPELINES]


def test_digests_pin_every_image_and_rename_every_version(root, tmp_path, files):
    assert run("--images", record(tmp_path, **DIGESTS))[0] == 0
    text = "".join(
        file.read_text()
        for folder in (manifests.BASE, manifests.GPU, manifests.IMAGES)
        for file in (root / folder).glob("*")
    )
    for role, image in read_images().items():
        assert f"{image.name}@{DIGESTS[role]}" in text
        assert image.reference not in text
    pinned = {name: yaml.safe_load_all((root / manifests.BASE / f"{name}.yaml").read_text()) for name in PIPELINES}
    for name, documents in pinned.items():
        assert list(documents)[-1]["metadata"]["name"] != version_in(files, name)["metadata"]["name"]


def test_pinned_manifests_are_current_on_a_clone_that_has_no_build(root, tmp_path):
    run("--images", record(tmp_path, **DIGESTS))
    assert run("--check") == (0, "")
    assert run("--unpin")[0] == 0
    assert run("--check") == (0, "")
    assert not (root / manifests.PINS).exists()


def test_pinned_digests_are_kept_until_told_otherwise_and_a_line_says_so(root, tmp_path):
    run("--images", record(tmp_path, **DIGESTS))
    before = (root / manifests.PINS).read_text()
    code, output = run()
    assert code == 0
    assert "Kept the pinned digests of analysis, infer, submit, train: " in output
    assert (root / manifests.PINS).read_text() == before
    assert run("--check") == (0, "")
    assert run("--unpin", "--images", tmp_path / "images.json")[0] == 2


def test_submit_asks_for_the_version_that_the_pinned_manifests_install(root, tmp_path, monkeypatch):
    run("--images", record(tmp_path, **DIGESTS))
    monkeypatch.setattr(compile_module, "ROOT", root)
    for name in PIPELINES:
        *_, version = yaml.safe_load_all((root / manifests.BASE / f"{name}.yaml").read_text())
        assert version_name(name) == version["metadata"]["name"] != version_name(name, {})


def test_images_that_were_not_pushed_go_by_their_tags(tmp_path):
    assert manifests.read_pins(record(tmp_path)) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "what `make images` writes"),
        ('{"infer": {"name": "other/infer", "tag": "9", "digest": null}}', "got other/infer:9"),
        ('{"infer": {"name": "understudy/infer", "tag": "0.1.0", "digest": "sha256:12"}}', "infer: sha256:12"),
    ],
)
def test_a_record_of_another_build_is_refused(tmp_path, content, reason):
    file = tmp_path / "images.json"
    file.write_text(content)
    with pytest.raises(BadInput, match=reason):
        manifests.read_pins(file)


def test_the_gpu_component_takes_the_place_of_training_on_cpus(files):
    on_cpu, on_gpu = version_in(files, "training"), version_in(files, "training", manifests.GPU)
    component = yaml.safe_load(files[f"{manifests.GPU}/kustomization.yaml"])
    assert on_gpu["metadata"]["name"] != on_cpu["metadata"]["name"]
    removed = yaml.safe_load(component["patches"][0]["patch"])
    assert (removed["$patch"], removed["metadata"]["name"]) == ("delete", on_cpu["metadata"]["name"])
    assert component["configMapGenerator"][0]["literals"] == [f"TRAINING_VERSION={on_gpu['metadata']['name']}"]


def test_the_accelerator_of_the_component_reaches_the_pod():
    told = Accelerator("amd.com/gpu", 2, {"pool": "gpu"}, ({"key": "pool", "operator": "Equal", "value": "gpu"},))
    version = version_in(manifests.generate({}, told), "training", manifests.GPU)
    spec = version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    pod = version["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert (spec["accelerator"]["resourceType"], spec["accelerator"]["resourceCount"]) == ("amd.com/gpu", "2")
    assert pod["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert pod["tolerations"] == [{"key": "pool", "operator": "Equal", "value": "gpu"}]


@pytest.mark.parametrize("content", ["", "type: [a]", "count: 1", "type: nvidia.com/gpu\ncolour: red"])
def test_an_accelerator_that_says_what_it_cannot_is_refused(root, content):
    (root / manifests.ACCELERATOR).write_text(content)
    with pytest.raises(BadInput, match=r"accelerator\.yaml"):
        manifests.read_accelerator(root)
