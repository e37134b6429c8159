"""A cluster for tests, driven by kubectl: the one that KUBECONFIG names, or a single node that is started here."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("UNDERSTUDY_SHARED", ROOT.parent / "shared"))
RIG = SHARED / "cluster"
RIG_HOME = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "local-cluster"))
RIG_HOST, RIG_PODS = "10.250.0.1", "10.251.0.0/24"
RIG_BASE = "docker.io/local/python:1"
APPLY = ("apply", "--server-side", "--force-conflicts", "--validate=strict")
DRY_RUN = ("--dry-run=server",)
KUBEFLOW, PIPELINES_API = "kubeflow", "ml-pipeline"
OURS = {"app.kubernetes.io/part-of": "understudy-tests"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PROFILE = {"app.kubernetes.io/part-of": "kubeflow-profile", "istio-injection": "enabled", **RESTRICTED}
Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Cluster:
    """A cluster: how to ask it, how it gets images, and where its pods find this machine.

    Attributes:
        kubectl: the program.
        kubeconfig: the file that says where the cluster is.
        host: address at which pods reach servers of this machine.
        load: command that takes an image's tar.
        base: image that ours are built on.
        is_ours: whether this session started it, and so ends it.
    """

    kubectl: str
    kubeconfig: str
    host: str
    load: tuple[str, ...]
    base: str
    is_ours: bool

    def run(self, *words: str, stdin: str = "", timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run kubectl, whatever comes of it."""
        return subprocess.run(
            [self.kubectl, *words],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *words: str, stdin: str = "") -> str:
        """Run kubectl, which must succeed, and return what it printed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {shlex.join(words)}: {done.stderr or done.stdout}"
        return done.stdout

    def get(self, *words: str) -> Any:
        """Return objects as the server holds them."""
        return json.loads(self.ask("get", *words, "-o", "json"))

    def find(self, namespace: str, name: str) -> Object | None:
        """Return an object as the server holds it; None when there is none."""
        said = self.ask("get", "-n", namespace, name, "--ignore-not-found", "-o", "json")
        return dict(json.loads(said)) if said.strip() else None

    def apply(self, *objects: Object, dry_run: bool = False) -> list[str]:
        """Apply objects on the server's side, or only have it check them; return a line for each."""
        words = APPLY + DRY_RUN * dry_run
        return self.ask(*words, "-f", "-", stdin=yaml.safe_dump_all(objects)).splitlines()

    def refuses(self, *objects: Object) -> str:
        """Have the server check what it must refuse, and return its words."""
        done = self.run(*APPLY, *DRY_RUN, "-f", "-", stdin=yaml.safe_dump_all(objects))
        assert done.returncode != 0, f"The server must refuse this, and took it: {done.stdout}"
        return done.stderr

    def namespace(self, name: str, labels: Mapping[str, str] = RESTRICTED) -> str:
        """Make a namespace that enforces Pod Security "restricted", with its default account, and return its name."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}})
        until(lambda: self.run("get", "-n", name, "serviceaccount/default").returncode == 0, 30, "no default account")
        return name

    def profile(self, name: str) -> str:
        """Make a namespace as the controller of Kubeflow Profiles does, once, and return its name."""
        if self.run("get", "namespace", name).returncode:
            self.namespace(name, PROFILE)
        return name

    def ended(self, namespace: str, job: str, timeout_s: float = 120) -> str:
        """Wait until a Job has ended, and return "Complete" or "Failed"."""

        def end() -> str:
            conditions = self.get("-n", namespace, f"job/{job}")["status"].get("conditions", [])
            return next((one["type"] for one in conditions if one["type"] in {"Complete", "Failed"}), "")

        return until(end, timeout_s, lambda: f"Job {job} did not end: {self.story(namespace, f'job-name={job}')}")

    def completes(self, namespace: str, job: str, timeout_s: float = 120) -> str:
        """Wait until a Job has succeeded, and return its log."""
        end = self.ended(namespace, job, timeout_s)
        assert end == "Complete", self.story(namespace, f"job-name={job}")
        return self.ask("logs", "-n", namespace, f"job/{job}")

    def story(self, namespace: str, selector: str = "") -> str:
        """Tell what became of pods: state, log and events, for the message of a test that fails."""
        chosen = ["-l", selector] if selector else []
        parts = [self.run("get", "pods", "-n", namespace, "-o", "wide", *chosen).stdout]
        for pod in self.get("pods", "-n", namespace, *chosen)["items"]:
            name, status = pod["metadata"]["name"], pod["status"]
            parts.append(f"-- {name}: {status.get('message', '')} {json.dumps(status.get('containerStatuses', ''))}")
            parts.append(self.run("logs", "-n", namespace, name, "--all-containers", "--tail=60").stdout)
        parts.append(self.run("get", "events", "-n", namespace, "--sort-by=.lastTimestamp").stdout[-3000:])
        return "\n".join(parts)


def until(found: Callable[[], T], timeout_s: float, failure: str | Callable[[], str], pause_s: float = 0.5) -> T:
    """Ask again until the answer is true, and return it."""
    end = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < end, failure() if callable(failure) else failure
        time.sleep(pause_s)
    return answer


class Unavailable(Exception):
    """No cluster can be had here; the message says why."""


def open_cluster() -> Cluster:
    """Take the cluster that KUBECONFIG names, or start one.

    Raises:
        Unavailable: there is neither.
    """
    if kubeconfig := os.environ.get("KUBECONFIG"):
        return _named(kubeconfig)
    if not (RIG / "up").exists():
        raise Unavailable(f"KUBECONFIG is not set, and there is no {RIG / 'up'}")
    was_running = _is_running()
    started = subprocess.run([RIG / "up"], capture_output=True, text=True, timeout=1800, check=False)
    if started.returncode:
        raise Unavailable(f"{RIG / 'up'} failed: {started.stderr[-2000:]}")
    _let_pods_reach_this_machine()
    kubeconfig = started.stdout.rpartition("KUBECONFIG=")[2].strip()
    return Cluster(str(RIG_HOME / "bin/kubectl"), kubeconfig, RIG_HOST, (str(RIG / "load"),), RIG_BASE, not was_running)


def _is_running() -> bool:
    """Tell whether somebody has started the single node already."""
    file = RIG_HOME / "run/pid"
    return file.exists() and Path("/proc", file.read_text().strip()).exists()


def _let_pods_reach_this_machine() -> None:
    """Have the node speak for its pods: this machine knows no way back to their addresses. It ends with the node."""
    libraries = RIG_HOME / "root/usr/lib/x86_64-linux-gnu"
    env = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "XTABLES_LIBDIR": str(libraries / "xtables")}
    node = ["nsenter", "-t", (RIG_HOME / "run/init-pid").read_text().strip(), "-n", str(RIG_HOME / "bin/iptables")]
    rule = ["POSTROUTING", "-o", "k8s1", "-s", RIG_PODS, "-j", "MASQUERADE"]
    if subprocess.run([*node, "-t", "nat", "-C", *rule], env=env, capture_output=True, check=False).returncode:
        subprocess.run([*node, "-t", "nat", "-A", *rule], env=env, check=True)


def _named(kubeconfig: str) -> Cluster:
    """Describe a cluster that is there, by the variables that CONTRIBUTING names."""
    kubectl = shutil.which("kubectl") or str(RIG_HOME / "bin/kubectl")
    load = shlex.split(os.environ.get("UNDERSTUDY_TEST_LOAD", str(RIG / "load")))
    host = os.environ.get("UNDERSTUDY_TEST_HOST", RIG_HOST)
    return Cluster(kubectl, kubeconfig, host, tuple(load), os.environ.get("UNDERSTUDY_TEST_BASE", RIG_BASE), False)


def close_cluster(cluster: Cluster) -> None:
    """End the cluster if it was started here."""
    if cluster.is_ours:
        subprocess.run([RIG / "down"], check=True, timeout=120)


def find_foreign_api(service: Object | None) -> str:
    """Say why a cluster is not for these tests: its pipelines API is a real one, which they would cut off.

    Args:
        service: the Service `ml-pipeline` as the cluster holds it; None when there is none.

    Returns:
        a sentence; empty when the Service is missing, or was made by these tests.
    """
    labels = (service or {}).get("metadata", {}).get("labels") or {}
    if service is None or OURS.items() <= labels.items():
        return ""
    return (
        f"KUBECONFIG must name a cluster without Kubeflow Pipelines, got the Service {KUBEFLOW}/{PIPELINES_API} with "
        f"labels {labels}. The tests would put their own server in its place: name a cluster made for tests."
    )


def documents(text: str) -> list[Object]:
    """Read YAML of several objects."""
    return [one for one in yaml.safe_load_all(text) if one]


def of_kind(objects: Iterable[Object], kind: str) -> dict[str, Object]:
    """Return the objects of a kind by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}
