"""What a person sees: one line a step, and on a terminal the running step's progress."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from tests import toys
from understudy.runners import terminal
from understudy.runners.events import Event


def seen_on_a_terminal(desk, **env):
    """Run the toy pipeline on a pseudo-terminal; return all that was written to it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "understudy", "run", *desk.options()],
        cwd=desk.folder,
        env=toys.environment(TERM="xterm", COLUMNS=100, **env),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    parts = []
    try:
        while part := os.read(master, 4096):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return process.wait(), b"".join(parts).decode()


def test_a_terminal_shows_the_running_steps_progress_but_no_noise(desk):
    code, seen = seen_on_a_terminal(desk, TOY_NAP="double")
    assert code == 0, seen
    assert re.search(r"double +1\.\d s   halfway through", seen), "time goes on while the step runs"
    assert "noise" not in seen
    assert re.search(r"\x1b\[2Kdouble +\d\.\d s   x2: \[8, 4\]\r\n", seen), "the tidy line takes its place"


def test_noise_of_this_process_and_of_children_goes_to_the_log(tmp_path, capfd):
    log = tmp_path / "run.log"
    with terminal.noise_to(log) as real:
        print("noise of print")
        os.write(2, b"noise of a library in C\n")
        subprocess.run(["sh", "-c", "echo noise of a child; echo and its errors >&2"], check=True)
        print("tidy", file=real, flush=True)
    print("afterwards")
    assert capfd.readouterr() == ("tidy\nafterwards\n", "")
    logged = log.read_text()
    for noise in ("noise of print", "noise of a library in C", "noise of a child", "and its errors"):
        assert noise in logged


def test_what_goes_wrong_is_told_whole_in_the_log(tmp_path, capfd):
    with pytest.raises(ZeroDivisionError), terminal.noise_to(tmp_path / "run.log"):
        _ = 1 / 0
    assert "Traceback" in (tmp_path / "run.log").read_text()
    assert capfd.readouterr() == ("", "")


def test_a_log_is_added_to(tmp_path):
    for word in ("first", "second"):
        with terminal.noise_to(tmp_path / "run.log"):
            print(word)
    assert (tmp_path / "run.log").read_text() == "first\nsecond\n"


def test_the_last_progress_of_the_step_is_found_among_noise(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("train: updates: 1 of 9\ntrain: updates: 2 of 9, 5 s\nWarning: something\nlabel: texts: 7\n")
    assert terminal.last_progress(log, "train") == "updates: 2 of 9, 5 s"
    assert terminal.last_progress(log, "mine") == ""
    log.write_bytes(b"\xff" * 5000 + b"\ntrain: \xff\n")
    assert terminal.last_progress(log, "train") == "\ufffd"


def test_only_the_end_of_a_long_log_is_looked_at(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("train: early\n" + "noise\n" * 2_000_000)
    assert terminal.last_progress(log, "train") == ""


def test_where_there_is_no_terminal_the_running_step_tells_how_far_it_is_every_so_often(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "LINE_EVERY_S", 0.05)
    log, out = tmp_path / "run.log", tmp_path / "out"
    log.write_text("label: texts judged: 500 of 2,000, 10 s, about 30 s left, $0.12 of $20.00\n")
    with out.open("w") as stream, terminal.Board(stream, log) as board:
        board.show(Event("label", "started", tmp_path))
        time.sleep(0.3)
        board.show(Event("label", "ended", tmp_path, {"headline": "2,000 texts judged"}))
        shown = out.read_text().splitlines()
        time.sleep(0.2)
    assert len(shown) >= 2
    assert all(line.endswith("500 of 2,000, 10 s, about 30 s left, $0.12 of $20.00") for line in shown[:-1])
    assert out.read_text().splitlines() == shown, "a step that has ended tells nothing more"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_any_moment_ends_a_command_with_one_sentence(number, code, capsys):
    with pytest.raises(SystemExit) as ended:
        terminal.front_door(lambda: os.kill(os.getpid(), number))
    assert ended.value.code == code
    assert capsys.readouterr().err == f"Stopped by {number.name}.\n"
    assert signal.getsignal(number) in {signal.default_int_handler, signal.SIG_DFL}
