"""The wheel in an environment of its own, with no checkout on the path."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
needs_uv = pytest.mark.skipif(not UV.exists(), reason="uv builds the wheel, and is not beside Python")


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
