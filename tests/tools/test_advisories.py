"""`make audit`: what the advisory service says, and that its silence is no clean bill."""

import json

import pytest
from click.testing import CliRunner

from tests.services import local
from tools import advisories

REQUIREMENTS = "six==1.16.0 --hash=sha256:" + "0" * 64 + "\nclick==8.1.0 --hash=sha256:" + "1" * 64 + "\n"
FAULT = {
    "id": "PYSEC-2026-1",
    "summary": "It leaks.",
    "affected": [
        {
            "package": {"name": "click", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "8.1.1"}]}],
        }
    ],
}


@pytest.fixture
def osv():
    """A server that speaks OSV's query API over the faults in `known`, by the package's name."""
    known = {}

    class Handler(local.Quiet):
        def do_POST(self):
            faults = known.get(json.loads(self.body())["package"]["name"])
            self.send(200, json.dumps({"vulns": faults} if faults else {}).encode())

    with local.serving(Handler) as url:
        yield f"{url}/v1/query", known


@pytest.fixture
def requirements(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text(REQUIREMENTS)
    return str(file)


def audit(*arguments):
    return CliRunner().invoke(advisories.main, arguments)


def test_packages_without_a_known_fault_pass(osv, requirements):
    done = audit(requirements, "--osv-url", osv[0])
    assert (done.exit_code, done.output) == (0, f"{requirements}: no advisory names one of its 2 packages.\n")


def test_a_package_with_a_known_fault_fails_and_the_release_that_mends_it_is_named(osv, requirements):
    osv[1]["click"] = [FAULT]
    done = audit(requirements, "--osv-url", osv[0])
    assert done.exit_code == 1
    assert "click 8.1.0: PYSEC-2026-1 (mended in 8.1.1)" in done.output


def test_a_service_that_cannot_be_reached_fails_with_a_sentence(osv, requirements):
    done = audit(requirements, "--osv-url", "http://127.0.0.1:9/v1/query")
    assert done.exit_code == 1
    assert done.output.startswith("The advisory service must answer, got: ")
    assert "Traceback" not in done.output


def test_a_package_that_the_service_does_not_know_is_no_pass(tmp_path):
    silent = [{"name": "six", "version": "1.16.0", "vulns": []}, {"name": "click", "skip_reason": "not found"}]
    with pytest.raises(advisories.UnderstudyError, match="got no answer for 1 of 2: click"):
        advisories.judge(tmp_path, silent)
