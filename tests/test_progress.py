import os
import pty
import subprocess
import sys

import pytest

from understudy import progress
from understudy.progress import LineTrack, track


def test_without_a_terminal_progress_is_plain_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with track(4, "label: texts judged") as shown:
        assert isinstance(shown, LineTrack)
        shown.advance(note="$0.01 of $5.00")
        shown.advance(3)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["label: texts judged: 1 of 4", "label: texts judged: 4 of 4"]
    assert all(line.endswith("$0.01 of $5.00") for line in lines)


def test_quick_work_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with track(4, "label: texts judged") as shown:
        shown.advance(4)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_progress_is_a_bar() -> None:
    code = "from understudy.progress import track\nwith track(2, 'label: texts judged') as t: t.advance(2, '$1.00')"
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([sys.executable, "-c", code], stderr=writer, env=environment, check=True, timeout=30)
    os.close(writer)
    shown = os.read(reader, 65536).decode()
    os.close(reader)
    assert "label: texts judged" in shown
    assert "2/2" in shown
    assert "$1.00" in shown
