"""What is found before the first step, when nobody has paid for anything yet."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import card_yaml, invoke
from tests.teachers import Answer, completion, error, teacher_server
from understudy.errors import BadArtifact, BadInput, BadSetting
from understudy.model.architectures import STUDENTS, require_student
from understudy.runners import names, request, runs
from understudy.runners.local import run as local
from understudy.store.storage import open_store
from understudy.task.card import parse_card

REHEARSAL = Answer({"object": "list", "data": [{"id": "rehearsal", "owned_by": "understudy:0"}]})


@pytest.fixture
def request_of(tmp_path):
    """Write a sound card, texts and labels, and return a request for the real pipeline with some of it changed."""

    def make(says=None, **changes):
        (tmp_path / "card.yaml").write_text(card_yaml(**(says or {})))
        (tmp_path / "texts.csv").write_text("id,text\n1,a\n")
        (tmp_path / "labels.csv").write_text("id,label\n1,tip\n")
        paths = {name: str(tmp_path / f"{name}.csv") for name in ("texts", "labels")}
        given = {"card": str(tmp_path / "card.yaml"), **paths, "store": str(tmp_path / "store")}
        return request.Request(**{"pipeline": "training", "work": tmp_path / "runs", **given, **changes})

    return make


@pytest.fixture
def teacher(monkeypatch):
    """Let the teacher be a server that is paid."""
    with teacher_server(lambda *_: completion("tip")) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
        yield log


def faults_of(request):
    with pytest.raises(BadInput) as caught:
        local.check(request)
    return caught.value.faults


def serve_already(tmp_path, **changes):
    current = {
        "version": "v1", "previous": None, "generation": 1, "published": "2026-01-01T00:00:00Z", "card": "hotel-tips",
        "card_hash": "0" * 64, "report": "bundles/v1/papers/0/report.html", "is_rehearsal": False, "is_forced": False,
        **changes,
    }  # fmt: skip
    open_store(str(tmp_path / "store")).put_if_absent("current.json", json.dumps(current).encode())


def test_a_sound_request_passes_and_buys_nothing(request_of, teacher):
    assert local.check(request_of()).name == parse_card(card_yaml()).name
    assert teacher.texts == []


@pytest.mark.parametrize("name", ["minilmm", "./nowhere", "a/b/c", "x" * 300])
def test_a_student_that_cannot_be_is_found_before_the_teacher_is_paid(request_of, teacher, name):
    (fault,) = faults_of(request_of({"student": name}))
    assert fault.startswith(f"A student must be one of {', '.join(STUDENTS)}, a folder or")
    assert f"got '{name}' (student)" in fault


def test_a_student_is_known_by_name_by_folder_or_on_the_hub(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for name in (*STUDENTS, str(tmp_path), "google-bert/bert-base-uncased"):
        require_student(name)


def test_a_folder_of_an_unknown_architecture_is_refused_before_anything_is_paid(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "evil"}')
    with pytest.raises(BadSetting, match="A student must be one of bert"):
        require_student(str(tmp_path))


def test_a_student_is_checked_without_torch():
    check = (
        "import sys; from understudy.model.architectures import STUDENTS, require_student; require_student('minilm')"
    )
    code = f"{check}; import understudy.runners.checks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_store_that_serves_another_card_is_refused(request_of, teacher, tmp_path):
    serve_already(tmp_path, card="other")
    (fault,) = faults_of(request_of())
    assert fault.startswith(f"A store must serve one card, got '{parse_card(card_yaml()).name}' where 'other' serves")


def test_a_rehearsal_over_what_was_bought_is_refused_unless_forced(request_of, monkeypatch, tmp_path):
    serve_already(tmp_path, card=parse_card(card_yaml()).name)
    with teacher_server(lambda *_: completion("tip"), REHEARSAL) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        (fault,) = faults_of(request_of())
        assert fault.startswith("A rehearsal must not replace what was learned from bought answers")
        local.check(request_of(overrides="publish.force=true"))


@pytest.mark.parametrize("models", [error(401, "bad key sk-x"), error(403, "forbidden"), error(503, "down")])
def test_a_server_without_a_list_of_models_stands_in_the_way_of_no_run(request_of, monkeypatch, models):
    with teacher_server(lambda *_: completion("tip"), models) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        local.check(request_of())
    assert not log.requests


def test_a_missing_key_and_a_server_that_is_away_are_told_beside_all_else(request_of, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://teacher.invalid/v1")
    faults = faults_of(request_of({"student": "minilmm"}, texts="nowhere.csv"))
    assert len(faults) == 3
    assert any("OPENAI_API_KEY" in fault for fault in faults)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (fault,) = faults_of(request_of())
    assert fault.startswith("The teacher's server must answer, got")


def test_bad_settings_of_several_steps_are_told_beside_a_missing_file_and_a_faulty_card(request_of):
    overrides = "train.epochs=0\ntrain.seed=-1\ncalibrate.objective=luck\nlabel.nothing=1\nnostep.x=1"
    faults = faults_of(request_of({"rules": None}, overrides=overrides, labels="nowhere.csv"))
    for part in (
        "A card must have decision rules",
        "--set train.epochs must be 1 to 100, got 0.",
        "--set train.seed must be at least 0, got -1.",
        "--set calibrate.objective",
        "(--set label.nothing)",
        "got 'nostep.x' (--set)",
        "nowhere.csv",
    ):
        assert sum(part in fault for fault in faults) == 1, (part, faults)
    assert len(faults) == 7


def test_a_file_is_not_called_faulty_for_a_column_that_a_faulty_card_names(request_of, tmp_path):
    asked = request_of({"rules": None, "columns": {"text": "sentence"}})
    (tmp_path / "texts.csv").write_text("id,sentence\n1,a\n")
    (fault,) = faults_of(asked)
    assert "A card must have decision rules" in fault
    (tmp_path / "texts.csv").write_text("id,phrase\n1,a\n")
    assert "Add or rename text" in faults_of(asked)[1]


def test_a_value_that_breaks_a_rule_beside_the_card_is_told_as_a_setting_of_this_run(request_of, teacher):
    (fault,) = faults_of(request_of(overrides="train.epochs=0"))
    assert fault == "--set train.epochs must be 1 to 100, got 0."


@pytest.mark.parametrize("given", ["texts", "labels", "card", "work", "store"])
def test_an_address_that_is_too_long_is_one_sentence(request_of, teacher, given, tmp_path):
    value = "x" * 300
    (fault,) = faults_of(request_of(**{given: tmp_path / value if given == "work" else value}))
    assert "File name too long" in fault or "at most 255" in fault


def test_a_folder_of_runs_that_cannot_be_made_is_one_sentence(request_of, teacher, tmp_path):
    (tmp_path / "file").write_text("")
    for work in (Path("/proc/w"), tmp_path / "file/w"):
        (fault,) = faults_of(request_of(work=work))
        assert fault.startswith("The folder of the runs must be writable, got")
        assert "--work" in fault


def test_a_folder_of_yaml_that_cannot_be_made_ends_with_2():
    with pytest.raises(SystemExit) as ended:
        invoke("compile", "--out", "/proc/zz")
    assert ended.value.code == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "mine"}', '{"started": 5}'])
def test_a_record_that_is_no_runs_is_one_sentence_when_a_run_is_resumed(tmp_path, content):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/run.json").write_text(content)
    given = {"card_hash": "h", "arguments": {"store": str(tmp_path / "store")}, "started": "", "artifacts": ""}
    wanted = runs.Record(name="n", pipeline="training", runner="direct", card="toy", **given)
    with pytest.raises(BadArtifact, match=r"A run's record must be readable, got.*foreign/run\.json"):
        runs.unfinished(tmp_path, wanted, None)
    with pytest.raises(BadInput, match="got no unfinished run 'mine'"):
        runs.unfinished(tmp_path, wanted, "mine")


def test_that_there_is_no_run_to_go_on_with_is_told_beside_all_else(request_of, teacher):
    faults = faults_of(request_of({"student": "minilmm"}, resume=True))
    assert [fault.split(", got")[0][:30] for fault in faults] == [
        "A run to resume must be there",
        "A student must be one of minil",
    ]


def test_an_endpoint_that_is_no_address_is_one_sentence(request_of, teacher, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    (fault,) = faults_of(request_of(store="s3://bucket/deep"))
    assert "got Invalid endpoint: nonsense" in fault


def test_a_whole_bucket_is_a_source(request_of, teacher, s3_url):
    bucket = "/".join(s3_url.split("/")[:3])
    open_store(bucket).put_if_absent("texts.csv", b"id,text\n1,a\n")
    local.check(request_of(texts=bucket))
    (fault,) = faults_of(request_of(texts=f"{bucket}/text"))
    assert fault == f"A source must exist, got nothing at {bucket}/text (--texts). Mend the address."


@pytest.mark.parametrize("given", ["card", "texts", "labels"])
def test_an_s3_address_that_names_no_object_is_told_by_its_own_flag(request_of, teacher, given):
    (fault,) = faults_of(request_of(**{given: "s3://"}))
    assert f"got 's3://' (--{given})" in fault


def test_two_runs_that_start_in_the_same_second_have_different_names(request_of, monkeypatch, tmp_path):
    monkeypatch.setattr(names.time, "strftime", lambda *_: "20260101-000000")
    card = parse_card(card_yaml())
    opened = [runs.start(tmp_path / "runs", local.record_of(request_of(), card)) for _ in range(2)]
    assert len({run.record.name for run in opened}) == 2
