"""The wheel alone, in an empty folder with no checkout on the path: every way through the command works."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.pipelines.test_training import OTHER, TASK, TIP, write_task
from tests.serving.test_classifier import snippet

ROOT = Path(__file__).parents[1]
NIGHTS = ("2026-11-01", "2026-11-02", "2026-11-03")
UV = Path(sys.executable).with_name("uv")
pytestmark = [
    pytest.mark.skipif(not UV.exists(), reason="uv builds the wheel, and is not beside Python"),
    pytest.mark.timeout(900),
]


def run(*words, **given):
    return subprocess.run([*map(str, words)], check=False, capture_output=True, text=True, timeout=600, **given)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment that holds the wheel and, by a path file, the libraries of this one; its `understudy`."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(UV, "build", "--wheel", "--out-dir", folder, ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    python = folder / "env/bin/python"
    assert run(UV, "venv", "--python", sys.executable, folder / "env").returncode == 0
    added = run(UV, "pip", "install", "--python", python, "--no-deps", "--no-index", wheel)
    assert added.returncode == 0, added.stderr
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "env/bin/understudy"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a small task, in which no code lies."""
    folder = tmp_path_factory.mktemp("desk")
    write_task(folder, {"tip": TIP, "other": OTHER})
    shutil.copytree(TASK / "nights", folder / "nights")
    card = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, "audit": {}}, sort_keys=False, allow_unicode=True))
    return folder


@pytest.fixture(scope="module")
def understudy(installed, desk):
    """Run the installed command at the desk; it must end with 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_"))}
    env = {**kept, "UNDERSTUDY_CACHE": str(desk / "cache")}

    def understudy(*words, **more):
        done = run(installed, *words, cwd=desk, env={**env, **more})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return understudy


def test_the_package_lies_in_the_environment_and_not_in_a_checkout(installed, desk):
    code = "import understudy, understudy.pipelines as p; print(understudy.__file__, p.__file__)"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = run(installed.with_name("python"), "-c", code, cwd=desk, env=clean).stdout.split()
    assert [Path(it).is_relative_to(installed.parents[1]) for it in told] == [True, True]


def test_a_card_to_start_from_is_sound(understudy, desk):
    (desk / "new.yaml").write_text(understudy("card", "new", "--name", "mine"))
    assert "the card 'mine' is sound" in understudy("card", "check", "new.yaml")


def test_the_pipelines_are_compiled(understudy, desk):
    files = understudy("compile", "--out", "yaml").split()
    assert {"yaml/training.yaml", "yaml/components/train.yaml", "yaml/steps/train.yaml"} <= {*files}
    assert all((desk / file).is_file() for file in files)


def test_what_submit_takes_is_said(understudy):
    assert "--when-asked" in understudy("submit", "--help")
    assert "exporter" in understudy("--help")


def test_a_rehearsal_a_training_run_and_three_nights(installed, understudy, desk):
    words = [installed, "rehearse", "--answers", "answers.csv", "--card", "card.yaml", "--logprobs"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen([*map(str, words)], cwd=desk, env=clean, stdout=subprocess.PIPE, text=True) as teacher:
        try:
            key = {"OPENAI_BASE_URL": teacher.stdout.readline().strip(), "OPENAI_API_KEY": "rehearsal"}
            files = ("--texts", "texts.csv", "--labels", "labels.csv", "--store", "store", "--card", "card.yaml")
            assert "Published:" in understudy("run", "training", *files, "--name", "first", **key)
        finally:
            teacher.terminate()
    source = ("--card", "card.yaml", "--texts", "nights/{date}.csv", "--store", "store")
    for night in NIGHTS:
        assert "Done:" in understudy("run", "nightly", *source, "--date", night, "--name", night)
    assert len(understudy("predict", "--store", "store", "Avoid the rooms above the bar.").splitlines()) == 1
    read_from_python(installed.with_name("python"), desk)
    found = understudy("search", "room", "--store", "store", "--label", TIP).splitlines()
    assert any(TIP in line for line in found)
    assert understudy("runs", "--store", "store").count("\n") == 1 + 1 + len(NIGHTS)


def read_from_python(python, desk):
    """Type-check and run the lines that docs/python.md shows, against the wheel and the store at the desk."""
    (desk / "lines.py").write_text(snippet(), encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY"))}
    env = {**clean, "UNDERSTUDY_CACHE": str(desk / "cache")}
    typed = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "lines.py", cwd=desk, env=env)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    done = run(python, "lines.py", cwd=desk, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "None None empty_text"
