"""The wheel alone, in an empty folder with no checkout on the path: what needs no training; the rest is a first day."""

import os
from pathlib import Path

import pytest

from tests.installed import installed, needs_uv, run  # noqa: F401 - a fixture

pytestmark = [needs_uv, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def understudy(installed, tmp_path_factory):  # noqa: F811 - the fixture
    """Run the installed command in an empty folder; it must end with 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_"))}
    desk = tmp_path_factory.mktemp("desk")

    def understudy(*words):
        done = run(installed, *words, cwd=desk, env={**kept, "UNDERSTUDY_CACHE": str(desk / "cache")})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    understudy.desk = desk
    return understudy


def test_the_package_lies_in_the_environment_and_not_in_a_checkout(installed, tmp_path):  # noqa: F811 - the fixture
    code = "import understudy, understudy.pipelines as p; print(understudy.__file__, p.__file__)"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = run(installed.with_name("python"), "-c", code, cwd=tmp_path, env=clean).stdout.split()
    assert [Path(it).is_relative_to(installed.parents[1]) for it in told] == [True, True]


def test_a_card_to_start_from_is_sound(understudy):
    (understudy.desk / "new.yaml").write_text(understudy("card", "new", "--name", "mine"))
    assert "the card 'mine' is sound" in understudy("card", "check", "new.yaml")


def test_the_pipelines_are_compiled(understudy):
    files = understudy("compile", "--out", "yaml").split()
    assert {"yaml/training.yaml", "yaml/components/train.yaml", "yaml/steps/train.yaml"} <= {*files}
    assert all((understudy.desk / file).is_file() for file in files)


def test_what_submit_takes_is_said(understudy):
    assert "--when-asked" in understudy("submit", "--help")
    assert "exporter" in understudy("--help")
