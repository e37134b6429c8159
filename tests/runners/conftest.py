"""A folder with everything that a run of the toy pipeline needs, and the command that starts it."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import toys
from tests.conftest import card_yaml, invoke
from tests.runners.clusters import catalogue, cluster, command, definition_here  # noqa: F401 - fixtures


@dataclass
class Desk:
    """A working folder: card, texts, labels, store, runs, and a log of the toy steps that ran."""

    folder: Path
    started: list = field(default_factory=list)

    @property
    def log(self):
        return self.folder / "toys.log"

    @property
    def runs(self):
        return self.folder / "runs"

    def options(self, *options, **changes):
        given = {"card": "card.yaml", "texts": "texts.csv", "labels": "labels.csv", "store": "store", "work": "runs"}
        pairs = [part for name, value in {**given, **changes}.items() for part in (f"--{name}", str(value))]
        return ["training", *pairs, *options]

    def start(self, *options, **env):
        """Start a run in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "understudy", "run", *self.options(*options)],
            cwd=self.folder,
            env=toys.environment(TOY_LOG=self.log, **env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def start_until(self, step, *options, **env):
        """Start a run in a process of its own, and wait until a toy step has begun."""
        process = self.start(*options, **env)
        deadline = time.monotonic() + 60
        while step not in self.ran():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    def ran(self):
        return toys.ran(self.log)


def make_desk(folder):
    (folder / "card.yaml").write_text(card_yaml(name="toy"))
    (folder / "texts.csv").write_text("id,text\n1,a\n2,b\n3,c\n")
    (folder / "labels.csv").write_text("id,label\n1,tip\n")
    return Desk(folder)


@pytest.fixture
def desk(tmp_path):
    made = make_desk(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A desk with one finished run named "first", and what the command printed."""
    made = make_desk(tmp_path_factory.mktemp("desk"))
    process = made.start("--name", "first")
    out, err = process.communicate(timeout=120)
    return made, subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command at a desk, in this process."""

    def run(desk, *options, env=None, **changes):
        with monkeypatch.context() as patch, toys.installed():
            patch.chdir(desk.folder)
            for name, value in {"TOY_LOG": desk.log, **(env or {})}.items():
                patch.setenv(name, str(value))
            with pytest.raises(SystemExit) as ended:
                invoke("run", *desk.options(*options, **changes))
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(options, ended.value.code, out, err)

    return run
