"""Kustomize, and what it makes of the overlays and components of this repository."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.services import alone, lacking

MANIFESTS = Path(__file__).parents[2] / "manifests"
CACHED = Path.home() / ".cache/understudy/bin/kustomize"
OVERLAYS = ("dev", "production")
COMPONENTS = sorted(file.parent.name for file in (MANIFESTS / "components").glob("*/kustomization.yaml"))
STORE = "  - ../../components/storage-keys "


def find():
    """Return the program, built with Go where it is neither on the PATH nor where `make kustomize` puts it."""
    found, reason = found_or_built()
    return found or lacking(f"no kustomize: {reason}")


@functools.cache
def found_or_built():
    """Return the program's path, or none and why."""
    places = f"{CACHED.parent}{os.pathsep}{os.environ['PATH']}"
    with alone("kustomize"):
        if found := shutil.which("kustomize", path=places):
            return found, ""
        if not shutil.which("go"):
            return None, f"it is neither at {CACHED} nor on the PATH, and Go is not there to build it"
        made = subprocess.run(
            ["make", "kustomize"], cwd=MANIFESTS.parent, capture_output=True, text=True, timeout=240, check=False
        )
    return shutil.which("kustomize", path=places), made.stderr[-1000:]


def build(folder):
    """Render a folder."""
    done = subprocess.run([find(), "build", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@functools.cache
def overlay(name):
    """Render an overlay as it is."""
    return build(MANIFESTS / "overlays" / name)


def production_with(component, folder):
    """Render the production overlay with one more component, or with that kind of storage in the place of its own."""
    copy = Path(shutil.copytree(MANIFESTS, folder / "manifests"))
    file = copy / "overlays/production/kustomization.yaml"
    line = f"  - ../../components/{component}\n"
    lines = file.read_text().splitlines(keepends=True)
    if component.startswith("storage-"):
        lines = [line if each.startswith(STORE) else each for each in lines]
    else:
        lines.insert(lines.index("components:\n") + 2, line)
    file.write_text("".join(lines))
    if component == "storage-in-cluster":
        policies = (copy / "overlays/production/network.yaml").read_text().split("---\n")
        (copy / "overlays/production/network.yaml").write_text("---\n".join(policies[1:]))
    return build(file.parent)


def of_kind(documents, kind):
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def pod_templates(documents):
    """Return the pod templates of everything that starts pods, by kind and name."""
    templates = {
        ("CronJob", name): job["spec"]["jobTemplate"]["spec"]["template"]
        for name, job in of_kind(documents, "CronJob").items()
    }
    return templates | {
        ("Deployment", name): it["spec"]["template"] for name, it in of_kind(documents, "Deployment").items()
    }


def executors(documents):
    """Return of every step of every pipeline its container and what Kubernetes is told of it, by version and name."""
    return {
        (version, name.removeprefix("exec-")): (
            executor["container"],
            each["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][name],
        )
        for version, each in of_kind(documents, "PipelineVersion").items()
        for name, executor in each["spec"]["pipelineSpec"]["deploymentSpec"]["executors"].items()
    }
