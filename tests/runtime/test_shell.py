"""What every step gets from its shell: whole outputs or none, provenance, and reasons when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

import understudy
from tests.toys import environment
from understudy.errors import BadInput, HopelessTeacher, StorageError, TeacherError
from understudy.runtime import provenance, shell
from understudy.runtime.shell import In, Out, Result
from understudy.store import hashing


@pytest.fixture
def step(monkeypatch):
    """Register a `run` as the step "toy"."""

    def register(run):
        monkeypatch.setitem(sys.modules, "understudy.steps.toy", types.ModuleType("toy"))
        monkeypatch.setitem(sys.modules, "understudy.steps.toy.step", types.SimpleNamespace(run=run))

    register(copy_twice)
    return register


def copy_twice(source: In, folder: Out, page: Out, note: str = "none", overrides: str = "") -> Result:
    folder.mkdir()
    (folder / "copy.txt").write_bytes((source / "data.txt").read_bytes())
    page.write_text(note)
    return Result("copied", {"bytes": (folder / "copy.txt").stat().st_size}, {"note": note})


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "data.txt").write_text("abc")
    return folder


@pytest.fixture
def arguments(tmp_path, source):
    out = tmp_path / "out"
    return {"source": str(source), "folder": str(out / "folder"), "page": str(out / "page"), "note": "n"}


def test_outputs_carry_the_record_of_the_run(step, arguments, tmp_path):
    result = shell.execute("toy", arguments)

    record = provenance.read(tmp_path / "out/folder")
    assert (tmp_path / "out/folder/copy.txt").read_text() == "abc"
    assert (record["step"], record["version"]) == ("toy", understudy.__version__)
    assert record["inputs"] == {
        "source": {
            "uri": str(tmp_path / "source"),
            "sha256": hashing.hash_tree(tmp_path / "source"),
        }
    }
    assert record["arguments"] == {"note": "n", "overrides": ""}
    assert (record["headline"], record["metrics"], record["parameters"]) == ("copied", {"bytes": 3}, {"note": "n"})
    assert (record["output"], record["uri"]) == ("folder", str(tmp_path / "out/folder"))
    assert result.parameters == {"note": "n"}


def test_a_single_file_has_its_record_beside_it(step, arguments, tmp_path):
    shell.execute("toy", arguments)

    assert (tmp_path / "out/page").read_text() == "n"
    assert provenance.read(tmp_path / "out/page")["output"] == "page"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["folder", "page", "page.provenance.json"]


def test_addresses_of_artifacts_are_recorded_instead_of_paths(step, arguments, tmp_path):
    shell.execute("toy", arguments, {"source": "s3://b/source", "folder": "s3://b/folder"})

    record = provenance.read(tmp_path / "out/folder")
    assert (record["inputs"]["source"]["uri"], record["uri"]) == ("s3://b/source", "s3://b/folder")


def test_a_step_that_fails_leaves_nothing(step, arguments, tmp_path):
    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        copy_twice(source, folder, page)
        raise TeacherError("the teacher is gone")

    step(run)
    with pytest.raises(TeacherError):
        shell.execute("toy", arguments)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_step_that_fails_leaves_what_stood_before(step, arguments, tmp_path):
    shell.execute("toy", arguments)
    before = (tmp_path / "out/folder/provenance.json").read_bytes()

    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        raise TeacherError("the teacher is gone")

    step(run)
    with pytest.raises(TeacherError):
        shell.execute("toy", arguments)
    assert (tmp_path / "out/folder/provenance.json").read_bytes() == before


def test_a_step_that_forgets_an_output_puts_none_in_place(step, arguments, tmp_path):
    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        folder.mkdir()
        return Result()

    step(run)
    with pytest.raises(FileNotFoundError, match="got none of page"):
        shell.execute("toy", arguments)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_metric_that_is_no_number_puts_nothing_in_place(step, arguments, tmp_path):
    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        copy_twice(source, folder, page)
        return Result(metrics={"f1": float("nan")})

    step(run)
    with pytest.raises(ValueError, match="finite number, got f1=nan"):
        shell.execute("toy", arguments)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_later_run_replaces_all_of_an_earlier_one(step, arguments, tmp_path, source):
    shell.execute("toy", arguments)
    (tmp_path / "out/folder/left-over.txt").write_text("old")
    (source / "data.txt").write_text("abcd")

    shell.execute("toy", {**arguments, "note": "later"})

    assert not (tmp_path / "out/folder/left-over.txt").exists()
    assert (tmp_path / "out/folder/copy.txt").read_text() == "abcd"
    assert (tmp_path / "out/page").read_text() == "later"


@pytest.mark.parametrize("place", ["folder", "page"])
def test_files_that_are_no_artifact_are_never_replaced(step, arguments, tmp_path, place):
    mine = tmp_path / "out" / place
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("years of work")

    with pytest.raises(BadInput, match=f"holds something else \\(toy --{place}\\)"):
        shell.execute("toy", arguments)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_file_that_is_no_artifact_is_never_replaced(step, arguments, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/page").write_text("years of work")

    with pytest.raises(BadInput, match="holds something else"):
        shell.execute("toy", arguments)
    assert (tmp_path / "out/page").read_text() == "years of work"


def test_an_empty_folder_may_be_filled(step, arguments, tmp_path):
    (tmp_path / "out/folder").mkdir(parents=True)
    shell.execute("toy", arguments)
    assert (tmp_path / "out/folder/copy.txt").exists()


def test_all_places_that_cannot_serve_are_reported_together(step, arguments, source):
    shared = {**arguments, "source": str(source / "nothing"), "page": arguments["folder"]}
    with pytest.raises(BadInput) as caught:
        shell.execute("toy", shared)
    assert [fault.split(",")[0] for fault in caught.value.faults] == [
        "An input must exist",
        "An output must have a place of its own",
        "An output must have a place of its own",
    ]


def test_an_output_may_not_take_the_place_of_an_input(step, arguments, source):
    with pytest.raises(BadInput, match="a place of its own"):
        shell.execute("toy", {**arguments, "folder": arguments["source"]})
    assert (source / "data.txt").read_text() == "abc"


def test_an_input_that_may_be_left_out_is_left_out(step, tmp_path):
    def run(made: Out, source: In | None = None, overrides: str = "") -> Result:
        made.mkdir()
        return Result(str(source))

    step(run)
    assert shell.execute("toy", {"made": str(tmp_path / "made"), "source": None}).headline == "None"
    assert shell.signature("toy").inputs == ("source",)


def test_a_run_is_done_until_something_it_started_from_changes(step, arguments, source, monkeypatch):
    assert not shell.is_done("toy", arguments)
    shell.execute("toy", arguments)
    assert shell.is_done("toy", arguments)

    assert not shell.is_done("toy", {**arguments, "note": "other"})
    assert not shell.is_done("toy", {**arguments, "overrides": "toy.seed=1"})
    assert shell.is_done("toy", {**arguments, "overrides": "train.seed=1"})
    with monkeypatch.context() as other:
        other.setattr(understudy, "__version__", "9.9.9")
        assert not shell.is_done("toy", arguments)
    (source / "data.txt").write_text("abd")
    assert not shell.is_done("toy", arguments)


@pytest.mark.parametrize("lost", ["folder", "folder/provenance.json", "page", "page.provenance.json"])
def test_a_run_is_not_done_when_part_of_what_it_made_is_gone(step, arguments, tmp_path, lost):
    shell.execute("toy", arguments)
    path = tmp_path / "out" / lost
    path.rename(tmp_path / "elsewhere")
    assert not shell.is_done("toy", arguments)


def test_a_run_is_not_done_once_a_file_named_by_an_argument_has_changed(step, tmp_path):
    def run(texts: str, made: Out, store: str, overrides: str = "") -> Result:
        made.mkdir()
        return Result()

    step(run)
    texts, store = tmp_path / "texts.csv", tmp_path / "store"
    texts.write_text("id,text\n")
    store.mkdir()
    arguments = {"texts": str(texts), "made": str(tmp_path / "made"), "store": str(store)}
    shell.execute("toy", arguments)
    (store / "grown").write_text("a store only grows")
    assert shell.is_done("toy", arguments)
    texts.write_text("id,text\n1,a\n")
    assert not shell.is_done("toy", arguments)


def test_a_run_from_an_address_on_s3_is_never_taken_as_done(step, tmp_path):
    def run(texts: str, made: Out, overrides: str = "") -> Result:
        made.mkdir()
        return Result()

    step(run)
    arguments = {"texts": "s3://bucket/texts.csv", "made": str(tmp_path / "made")}
    shell.execute("toy", arguments)
    assert not shell.is_done("toy", arguments)


def artifacts(arguments):
    kinds = ("source", "folder", "page")
    made = {name: types.SimpleNamespace(path=arguments[name], uri=f"s3://b/{name}") for name in kinds}
    logged = {}
    made["metrics"] = types.SimpleNamespace(path="none", uri="none", log_metric=logged.__setitem__)
    return {**made, "note": "n"}, logged


def test_a_component_logs_its_metrics_and_prints_its_headline(step, arguments, capsys):
    given, logged = artifacts(arguments)
    shell.execute_component("toy", given)
    assert logged == {"bytes": 3.0}
    assert capsys.readouterr().out == "toy: copied\n"


def test_a_component_that_fails_says_why_beside_its_outputs(step, arguments, tmp_path):
    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        raise BadInput(["first fault", "second fault"])

    given, _ = artifacts(arguments)
    step(run)
    with pytest.raises(BadInput):
        shell.execute_component("toy", given)
    told = json.loads((tmp_path / "out/error.json").read_text())
    assert told == {"step": "toy", "exit_code": 2, "message": "first fault\nsecond fault"}

    step(copy_twice)
    shell.execute_component("toy", given)
    assert not (tmp_path / "out/error.json").exists()


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (BadInput("No texts, and the key is abc-secret-def."), True),
        (HopelessTeacher("No texts, and the key is abc-secret-def."), True),
        (StorageError("503"), False),
        (KeyError("x"), False),
    ],
    ids=["a person's", "a hopeless teacher", "passing", "a defect"],
)
def test_a_fault_that_only_a_person_can_mend_is_told_the_store_without_keys(
    step, arguments, tmp_path, error, is_told, monkeypatch
):
    """KFP tells of a step's exit code only that it was not 0."""
    monkeypatch.setenv("OPENAI_API_KEY", "abc-secret-def")

    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        raise error

    step(run)
    told = tmp_path / "store/runs/n/fault.json"
    for _ in range(2):  # also where another worker has told it already
        with pytest.raises(type(error)):
            shell.execute_component("toy", {**artifacts(arguments)[0], "fault": str(told)})
    assert told.exists() == is_told
    if is_told:
        content = json.loads(told.read_text())
        assert (content["step"], content["exit_code"]) == ("toy", error.exit_code)
        assert content["message"] == "No texts, and the key is ***."


def test_a_component_opens_the_store_with_its_own_key_where_it_has_one(step, arguments, monkeypatch):
    for name, value in (("AWS_ACCESS_KEY_ID", "all"), ("AWS_SECRET_ACCESS_KEY", "all-secret")):
        monkeypatch.setenv(name, value)
    shell.execute_component("toy", artifacts(arguments)[0])
    assert os.environ["AWS_ACCESS_KEY_ID"] == "all"
    monkeypatch.setenv("STEP_AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("STEP_AWS_SECRET_ACCESS_KEY", "own-secret")
    shell.execute_component("toy", artifacts(arguments)[0])
    assert [os.environ[name] for name in shell.STORAGE_KEYS] == ["own", "own-secret"]


def test_a_defect_in_a_component_is_told_with_its_kind(step, arguments, tmp_path):
    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        raise ZeroDivisionError("division by zero")

    given, _ = artifacts(arguments)
    step(run)
    with pytest.raises(ZeroDivisionError):
        shell.execute_component("toy", given)
    told = json.loads((tmp_path / "out/error.json").read_text())
    assert told == {"step": "toy", "exit_code": 1, "message": "toy failed: ZeroDivisionError: division by zero"}


def test_a_killed_step_leaves_no_output_and_the_next_run_clears_what_it_left(tmp_path):
    program = textwrap.dedent("""
        import sys
        from understudy.runtime import shell
        shell.execute("double", dict(card=sys.argv[1], numbers=sys.argv[1], doubled=sys.argv[2], store="s"))
    """)
    numbers, doubled = tmp_path / "numbers", tmp_path / "out/doubled"
    numbers.mkdir()
    (numbers / "numbers.txt").write_text("1 2")
    command = [sys.executable, "-c", program, str(numbers), str(doubled)]
    process = subprocess.Popen(command, env=environment(TOY_SLEEP="double", TOY_LOG=tmp_path / "log"))
    while not (tmp_path / "log").exists():
        time.sleep(0.02)
    left = next((tmp_path / "out").glob(".~understudy-*")) / "doubled"
    left.mkdir()  # what the step would have begun to write
    (left / "half.txt").write_text("half")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not doubled.exists()

    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert sorted(path.name for path in doubled.iterdir()) == ["numbers.txt", "provenance.json"]
    assert not left.parent.exists()


def test_a_disk_without_room_is_one_sentence_and_nothing_is_left(step, arguments, tmp_path):
    """What a step cannot write ends as a sentence, whatever library met the full disk."""

    def run(source: In, folder: Out, page: Out, note: str = "", overrides: str = "") -> Result:
        with Path("/dev/full").open("w") as file:
            file.write("x" * 100_000)
        return Result()

    step(run)
    with pytest.raises(StorageError, match=r"The disk must have room, got 'No space left on device' \(toy\)"):
        shell.execute("toy", arguments)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("given", ["x" * 5000, "y" * 300, "a\0b", "s3://bucket/key"])
def test_a_path_that_cannot_be_is_one_sentence(step, arguments, given):
    for name in ("source", "page"):
        with pytest.raises(BadInput, match=rf"toy --{name}"):
            shell.execute("toy", {**arguments, name: given})


def test_a_kill_between_two_outputs_leaves_no_old_one_beside_a_new_one(tmp_path):
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from understudy.runtime import shell
        rename, calls = Path.replace, []

        def replace(path, target):
            calls.append(target)
            if len(calls) == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, target)

        Path.replace = replace
        out = Path(sys.argv[2])
        arguments = dict(doubled=sys.argv[1], evaluation=str(out / "evaluation"), page=str(out / "page"))
        shell.execute("decide", arguments)
        print(shell.is_done("decide", arguments))
    """)
    doubled, out = tmp_path / "doubled", tmp_path / "out"
    doubled.mkdir()
    (doubled / "numbers.txt").write_text("1 2")

    def decide(dies_at):
        command = [sys.executable, "-c", program, str(doubled), str(out), str(dies_at)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    assert decide(dies_at=0).stdout.splitlines()[-1] == "True"
    (doubled / "numbers.txt").write_text("3 4")
    assert decide(dies_at=2).returncode == -signal.SIGKILL
    assert (out / "evaluation/sum.txt").read_text() == "7"
    assert not (out / "page").exists()
    assert decide(dies_at=0).stdout.splitlines()[-1] == "True"
    assert (out / "page").read_text().endswith("7")
