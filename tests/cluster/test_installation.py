"""A first installation by docs/deploy.md alone: commands read from the page, in a namespace as a Profile makes it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.installation import install_crds
from tests.cluster.kube import PROFILE, ROOT, Cluster, until
from tests.cluster.test_foreign import others, profile_objects

GUIDE = ROOT / "docs/deploy.md"
NAMESPACE = "first-installation"
FOLLOWS = ("logs", "profile")  # a log that is followed needs KFP's API, and a Profile its controller


def commands(*headings: str) -> list[str]:
    """Read the kubectl commands of the page's sections, each with the lines that belong to it."""
    sections = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE.read_text(encoding="utf-8")))
    blocks = [block for heading in headings for block in re.findall(r"(?m)(?:^    .+\n)+", sections[heading])]
    joined = [re.sub(r"\\\n\s+", "", block).splitlines() for block in blocks]
    lines = [line.strip() for block in joined for line in block if line.strip().startswith("kubectl ")]
    return [line for line in lines if not re.search(rf"kubectl (?:-n \S+ )?(?:delete )?({'|'.join(FOLLOWS)})\b", line)]


@pytest.fixture(scope="module")
def desk(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the manifests for a namespace of a Profile, in which others' objects lie."""
    install_crds(cluster)
    cluster.namespace(NAMESPACE, PROFILE)
    cluster.apply(*profile_objects(NAMESPACE))
    until(lambda: cluster.run("get", "-n", NAMESPACE, "configmap/kube-root-ca.crt").returncode == 0, 30, "no root CA")
    folder = tmp_path_factory.mktemp("installation")
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    for file in (folder / "manifests/overlays/production").iterdir():
        text = file.read_text(encoding="utf-8").replace("namespace: understudy", f"namespace: {NAMESPACE}")
        file.write_text(text.replace("NAMESPACE=understudy", f"NAMESPACE={NAMESPACE}"), encoding="utf-8")
    yield folder
    cluster.ask("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def typed(cluster: Cluster, desk: Path):  # type: ignore[no-untyped-def]
    """Return a function that types a command of the page into a shell, in the place of its own namespace."""

    def run(command: str) -> str:
        own = command.replace("-n understudy ", f"-n {NAMESPACE} ").replace(
            "namespace understudy", f"namespace {NAMESPACE}"
        )
        path = f"{Path(cluster.kubectl).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", own],
            cwd=desk,
            env={**os.environ, "KUBECONFIG": cluster.kubeconfig, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{own}: {done.stderr}"
        return done.stdout

    return run


def secrets_of(folder: Path, lines: list[str]) -> list[str]:
    """Return the commands that make Secrets, and lay the files there that they take."""
    for name in ("signing.pem", "trusted.pem"):
        (folder / name).write_text("a key")
    return [re.sub(r"\s+#.*", "", line) for line in lines if "create secret" in line]


def test_the_page_installs_checks_begins_and_removes_all_that_is_ours_and_nothing_else(cluster, desk, typed) -> None:  # type: ignore[no-untyped-def]
    before = others(cluster, NAMESPACE)
    install = commands("Install")
    assert len(install) >= 11
    for line in secrets_of(desk, install):
        typed(line)
    rest = [line for line in install if "create secret" not in line]
    said = [typed(re.sub(r"\s+#.*", "", line)) for line in rest]
    listed = "\n".join(said)
    for name in ("understudy-nightly", "understudy-quality", "understudy-retrain", "job.batch/first-training"):
        assert name in listed, name
    jobs = {job["metadata"]["name"]: job for job in cluster.get("jobs", "-n", NAMESPACE)["items"]}
    assert {"first-training", "first-night"} <= set(jobs)
    training = jobs["first-training"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--name=first-training" in training and "--when-asked" not in training
    cluster.ask("delete", "-n", NAMESPACE, "jobs", "--all", "--cascade=foreground")
    for line in commands("Uninstall"):
        typed(re.sub(r"\s+#.*", "", line))
    until(lambda: others(cluster, NAMESPACE) == before, 60, "others' objects differ, or something of ours stayed")
