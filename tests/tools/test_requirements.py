"""The libraries of each image: pinned, hashed, no more than it needs, and enough for its steps."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.pipelines.compile import PIPELINES, pipeline_spec
from understudy.runtime.images import image_of, read_images

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
ABSENT = {
    "infer": {"torch", "transformers", "dataframely", "scikit-learn", "scipy"},
    "submit": {"numpy", "polars", "onnxruntime", "torch"},
    "analysis": {"torch", "transformers"},
}
BLOCK = """
import json, sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)
absent, words = json.load(sys.stdin)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
IMPORT = "import importlib\nfor module in words:\n    importlib.import_module(module)\n"
COMMAND = "sys.argv[1:] = words\nfrom understudy.cli.main import main\nmain()\n"


def text_of(role):
    return (ROOT / "images" / role / "requirements.txt").read_text(encoding="utf-8")


def pinned(role):
    return dict(PINNED.findall(text_of(role)))


def blocks(role):
    """Return the lines of each package, continued ones joined."""
    joined = text_of(role).replace("\\\n", " ").splitlines()
    return [line for line in joined if line and not line.startswith("#")]


@pytest.mark.parametrize("role", read_images())
def test_every_package_is_pinned_by_version_and_hash_and_by_no_address(role):
    assert [line for line in blocks(role) if not (PINNED.match(line) and HASH.search(line))] == []
    assert "://" not in text_of(role)


@pytest.mark.parametrize(("role", "absent"), ABSENT.items())
def test_an_image_lacks_what_it_must_not_carry(role, absent):
    assert absent & set(pinned(role)) == set()


def test_every_image_has_the_same_kfp():
    assert len({pinned(role)["kfp"] for role in read_images()}) == 1


@pytest.fixture(scope="module")
def steps():
    """The steps that the pipelines run, by the image in which they run."""
    specs = [pipeline_spec(name)["deploymentSpec"]["executors"].values() for name in PIPELINES]
    containers = [executor["container"] for executors in specs for executor in executors if "container" in executor]
    return {
        image: {it["args"][it["args"].index("--function_to_execute") + 1] for it in containers if it["image"] == image}
        for image in map(image_of, read_images())
    }


def run_with_the_libraries_of(role, program, words):
    """Run a program that finds only the libraries that the image of a role holds."""
    held = set(pinned(role)) | {"understudy"}
    offered = importlib.metadata.packages_distributions().items()
    absent = [name for name, owners in offered if not {re.sub(r"[-_.]+", "-", it).lower() for it in owners} & held]
    return subprocess.run(
        [sys.executable, "-c", BLOCK + program],
        input=json.dumps([absent, words]),
        env={**os.environ, "_KFP_RUNTIME": "true"},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("role", read_images())
def test_the_steps_of_an_image_need_no_other_libraries(role, steps):
    modules = [f"understudy.steps.{step}.step" for step in steps[image_of(role)]]
    ended = run_with_the_libraries_of(role, IMPORT, [*modules, "kfp.dsl.executor_main", "understudy.cli.main"])
    assert ended.returncode == 0, ended.stderr
    assert modules


def test_an_image_that_lacks_the_libraries_of_a_step_says_so_instead_of_failing():
    listed = run_with_the_libraries_of("submit", COMMAND, ["--help"])
    assert listed.returncode == 0, listed.stderr
    assert "  infer " in listed.stdout
    refused = run_with_the_libraries_of("submit", COMMAND, ["infer", "--card", "card.yaml"])
    assert refused.returncode == 2
    assert refused.stderr.startswith("The libraries of the step 'infer' must be installed, got none named 'polars'.")
    refused = run_with_the_libraries_of("submit", COMMAND, ["predict", "Ask."])
    assert refused.returncode == 2
    assert refused.stderr.startswith("The libraries of the command 'predict' must be installed, got none named")
