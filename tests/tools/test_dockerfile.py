"""The Dockerfile, and what is sent to a builder."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "images"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_finds_nothing():
    found = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--no-color", FOLDER / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_hadolint_would_find_a_fault(tmp_path):
    broken = DOCKERFILE.replace("# hadolint ignore=DL3008\n", "")
    (tmp_path / "Dockerfile").write_text(broken)
    command = [Path(sys.executable).with_name("hadolint"), tmp_path / "Dockerfile"]
    assert "DL3008" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_image_runs_as_a_fixed_user_and_leaves_the_command_to_kubernetes():
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["65532:65532"]
    assert not re.search(r"^(ENTRYPOINT|CMD|RUN|VOLUME)\b", last, re.MULTILINE)


def test_only_folders_that_the_dockerfile_copies_from_are_sent_to_the_builder():
    sent = set(re.findall(r"^!(\S+)$", (FOLDER.parent / ".dockerignore").read_text(), re.MULTILINE))
    copied = set(re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE))
    assert {name.partition("/")[0] for name in copied} == sent
