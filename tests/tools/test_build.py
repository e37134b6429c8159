"""`make images`: which builder is taken, what is written down, and a push to a real registry."""

import json
import os
import shutil
import subprocess
import urllib.request

import pytest
from click.testing import CliRunner

from tests.services import lacking
from tests.services.registry import registry  # noqa: F401 - a fixture
from tools import images
from tools.images import Built
from understudy.errors import BadInput, UnderstudyError
from understudy.runtime.images import Image, read_images

DIGEST = "sha256:" + "a" * 64
MANIFESTS = "application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.v2+json"


def test_an_image_that_was_pushed_goes_by_its_digest_and_another_by_its_tag():
    image = Image("infer", "registry.example.com/understudy/infer", "1.2", 450)
    assert images.built(image, DIGEST).reference == f"registry.example.com/understudy/infer@{DIGEST}"
    assert images.built(image, None).reference == "registry.example.com/understudy/infer:1.2"


def test_a_later_build_of_one_role_keeps_the_others_in_the_record(tmp_path):
    file = tmp_path / "build" / "images.json"
    infer, submit = (images.built(read_images()[role], None) for role in ("infer", "submit"))
    images.write_record({"infer": infer}, file)
    images.write_record({"submit": submit}, file)
    assert json.loads(file.read_text()).keys() == {"infer", "submit"}
    assert Built(**json.loads(file.read_text())["infer"]) == infer


def test_without_a_builder_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(images.main, ["--base", "python:3.11-slim"])
    assert done.exit_code == 2
    assert done.output.startswith(
        "A builder must be installed and answer to `info`: docker, podman, buildah; got none."
    )


def test_a_builder_that_does_not_answer_is_passed_over(monkeypatch, tmp_path):
    for name, answer in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert images.find_builder(None) == "podman"
    with pytest.raises(BadInput, match="docker; got none"):
        images.find_builder("docker")


def test_a_build_without_a_base_is_refused_before_anything_is_built():
    done = CliRunner().invoke(images.main, ["--base", ""])
    assert done.exit_code == 2
    assert "BASE must name an image" in done.output


def test_the_students_weights_go_into_the_image_of_train_alone(monkeypatch, tmp_path):
    """The builder is a program that succeeds and keeps what it was asked."""
    asked = tmp_path / "asked"
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = ["--base", "any", "--builder", "docker", "--weights", "--record", str(tmp_path / "images.json")]
    assert CliRunner().invoke(images.main, command, catch_exceptions=False).exit_code == 0
    builds = [line for line in asked.read_text().splitlines() if line.startswith("build ")]
    assert len(builds) == len(read_images())
    assert ["ROLE=train" in line for line in builds] == ["--build-arg WEIGHTS=1" in line for line in builds]


@pytest.fixture
def buildah(tmp_path, monkeypatch):
    """Buildah with a store of its own that speaks plain HTTP to this machine."""
    if not shutil.which("buildah"):
        lacking("buildah is not installed (apt-get install buildah)")
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/store"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    return "buildah"


def commit(image):
    """Put an image of one file into buildah's store."""
    made = subprocess.run(["buildah", "from", "scratch"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["buildah", "copy", made, __file__, "/probe.py"], capture_output=True, check=True)
    subprocess.run(["buildah", "commit", made, images.full_name(image.reference)], capture_output=True, check=True)


def test_the_digest_of_a_push_is_the_registrys(buildah, registry, monkeypatch, tmp_path):  # noqa: F811 - the fixture
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    image = Image("infer", f"{registry}/understudy/infer", "1", 450)
    commit(image)
    digest = images.push(buildah, image)
    asked = urllib.request.Request(f"http://{registry}/v2/understudy/infer/manifests/1", headers={"Accept": MANIFESTS})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert digest == answer.headers["Docker-Content-Digest"]


def test_a_push_that_fails_ends_with_a_sentence(buildah):
    image = Image("infer", "127.0.0.1:9/understudy/infer", "1", 450)
    commit(image)
    with pytest.raises(UnderstudyError, match="`buildah push` must succeed, got exit code"):
        images.push(buildah, image)


def test_a_saved_archive_has_the_name_that_kubernetes_looks_for(buildah, tmp_path):
    image = Image("infer", "understudy/infer", "1", 450)
    commit(image)
    for _ in range(2):  # the second replaces the first
        file = images.save(buildah, image, tmp_path / "saved")
    listed = subprocess.run(["tar", "-xOf", file, "manifest.json"], capture_output=True, check=True).stdout
    assert json.loads(listed)[0]["RepoTags"] == ["docker.io/understudy/infer:1"]
