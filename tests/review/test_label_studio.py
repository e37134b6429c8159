"""Answers from Label Studio: which of its exports is read, which id counts, and what keeps labels on their texts.

`csv_export` and `min_export` write what its converter does (label_studio_sdk/converter, exports/csv2.py and
converter.py): the number of the task goes over a field `id` of the data.
"""

import csv
import io
import json

import polars as pl
import pytest

from tests.queues import contested
from understudy.errors import BadData, StorageError
from understudy.review import label_studio, labels, samples
from understudy.review.people import people as measure_people
from understudy.review.queues import label_studio_tasks, queue_csv
from understudy.task.labels import LabelSpace

CARD = "hotel-tips"
TIP = LabelSpace(("tip",))
PEOPLE = {"id": 7, "email": "ann@hotel", "first_name": "Ann"}


@pytest.fixture
def queue() -> pl.DataFrame:
    """Ids that are numbers, so that Label Studio's own are ids of other texts."""
    rows = {"id": [str(19 - number) for number in range(19)], "text": [f"Text, number {19 - n}" for n in range(19)]}
    return contested(rows).with_columns(group="id")


@pytest.fixture
def known(store, card_text, queue):
    store.put_if_absent(f"cards/{CARD}/abc.yaml", card_text.encode())
    store.put_if_absent(f"queues/{CARD}/one/queue.csv", queue_csv(queue).encode())
    return store


def annotated(queue, people=7, from_name="label"):
    """Every task labelled, as Label Studio's JSON has it; tasks are numbered from 1."""
    tasks = json.loads(label_studio_tasks(queue))
    for number, task in enumerate(tasks, start=1):
        choice = {"from_name": from_name, "to_name": "text", "type": "choices", "value": {"choices": ["tip"]}}
        task |= {"id": number, "annotations": [{"completed_by": people, "was_cancelled": False, "result": [choice]}]}
    return tasks


def min_export(tasks):
    written = {"annotator": 7, "annotation_id": 1, "created_at": "", "updated_at": "", "lead_time": 2.5}
    return [{**task["data"], "id": task["id"], "label": "tip", **written} for task in tasks]


def csv_export(tasks, delimiter=","):
    rows = min_export(tasks)
    out = io.StringIO()
    writer = csv.DictWriter(out, sorted(rows[0]), quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def add(store, folder, content, name="export.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return labels.add(store, str(folder / name))


def held(store):
    return labels.read_all(store, CARD).select("id", "label", "annotator").rows()


def test_the_id_that_counts_is_in_a_field_that_no_export_overwrites(known, tmp_path, queue):
    tasks = annotated(queue)
    for task in tasks:
        task["data"]["id"] = task["id"]  # as in data that were once taken from another export
    assert add(known, tmp_path, tasks).labels == 19
    assert [row[0] for row in held(known)] == queue["id"].to_list()


def test_an_export_that_writes_over_the_ids_is_refused_by_its_columns(known, tmp_path, queue):
    tasks = annotated(queue)
    exports = {
        "a.csv": csv_export(tasks),
        "a.tsv": csv_export(tasks, "\t"),
        "min.json": min_export(tasks),
        "one.json": min_export(tasks)[0],
        "min.jsonl": "\n".join(map(json.dumps, min_export(tasks))),
    }
    for name, content in exports.items():
        with pytest.raises(BadData, match=r"must be its JSON export, got one that .*annotation_id.* choose JSON"):
            add(known, tmp_path, content, name)
    pl.DataFrame(min_export(tasks)).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadData, match="choose JSON"):
        labels.add(known, str(tmp_path / "a.parquet"))
    assert held(known) == []


def test_a_file_of_ones_own_may_have_a_column_of_the_same_name(known, tmp_path):
    assert add(known, tmp_path, "id,label,lead_time,created_at\n1,tip,9,today\n", "own.csv").labels == 1


def test_an_answer_beside_another_text_is_refused(known, tmp_path, queue):
    """The id column of a spreadsheet was sorted, the others were not."""
    rows = list(csv.reader(io.StringIO(queue_csv(queue).removeprefix("\ufeff"))))
    ids = sorted(row[0] for row in rows[1:])
    filled = [rows[0], *([name, *row[1:-1], "tip"] for name, row in zip(ids, rows[1:], strict=True))]
    out = io.StringIO()
    csv.writer(out).writerows(filled)
    with pytest.raises(BadData, match=r"other_text 1\d \(row 2 of .*not the one that this id was asked about"):
        add(known, tmp_path, out.getvalue(), "sorted.csv")
    tasks = annotated(queue)
    tasks[3]["data"]["text"] = "Another text"
    done = add(known, tmp_path, [*tasks, *annotated(queue.filter(pl.col("id") != "16"))])
    assert [(refusal.row, refusal.id, refusal.reason) for refusal in done.refusals] == [(4, "16", "other_text")]
    assert "16" not in {row[0] for row in held(known)}


@pytest.mark.parametrize(
    "text",
    ["caf\u00e9  noir, +5;\r\n=1", "Caf\ufffd noir, +5;\n=1", "Caf? noir +5;\n'=1", "CAF\u00c9 NOIR 5 1", "", "???"],
)
def test_what_a_spreadsheet_does_to_a_text_is_no_other_text(text):
    table = pl.DataFrame({"id": ["1"], "text": [text]})
    assert labels.other_texts(table, {"1": ["Caf\u00e9 noir, +5;\n=1"]}).to_list() == [False]


def test_a_text_that_a_spreadsheet_has_cut_is_no_other_text():
    ours = "".join(f"word {number}\n" for number in range(9000))
    theirs = ours.replace("\n", "\r\n")[:32_767]
    table = pl.DataFrame({"id": ["1", "1"], "text": [theirs, "x" + theirs]})
    assert labels.other_texts(table, {"1": [ours]}).to_list() == [False, True]


def test_answers_to_a_sample_are_held_against_its_texts(tmp_path, store):
    row = dict.fromkeys(samples.SAMPLE) | {"id": "1", "text": "Ask for a room"}
    sample = pl.DataFrame([row], schema=samples.SAMPLE)
    store.put_if_absent("samples/2026-11-01/sample.parquet", samples.as_parquet(sample))
    store.put_if_absent("samples/2026-11-01/sample.json", b'{"drawn": 1, "taught": 0}')
    (tmp_path / "answers.csv").write_text("id,text,label\n1,Another text,tip\n")
    with pytest.raises(BadData, match="other_text 1"):
        labels.read_answers(str(tmp_path / "answers.csv"), TIP, samples.asked(store, "2026-11-01"), 0.05)


def test_the_guideline_of_a_task_comes_back_with_its_answer(known, tmp_path, queue):
    tasks = annotated(queue)
    tasks[0]["data"]["guideline"] = "g" * 5_000  # somebody's own field, too long for a name: it costs no answer
    assert add(known, tmp_path, tasks).labels == 19
    kept = labels.read_all(known, CARD).filter(pl.col("id") != tasks[0]["data"]["id"])
    assert set(kept["guideline"]) == {"g0123456789ab"}


def test_an_answer_to_a_sample_is_by_the_guideline_of_its_day(tmp_path, store):
    row = dict.fromkeys(samples.SAMPLE) | {"id": "1", "text": "Ask for a room"}
    store.put_if_absent("samples/2026-11-01/sample.parquet", samples.as_parquet(pl.DataFrame([row], samples.SAMPLE)))
    store.put_if_absent("samples/2026-11-01/sample.json", b'{"drawn": 1, "taught": 0, "guideline": "g1"}')
    (tmp_path / "answers.csv").write_text("id,label\n1,tip\n2,tip\n")
    given = labels.read_answers(str(tmp_path / "answers.csv"), TIP, samples.asked(store, "2026-11-01"), 0.05)
    assert given.votes.select("id", "guideline").rows() == [("1", "g1"), ("2", None)]
    key = samples.put_answers(store, "2026-11-01", given.votes)
    assert [json.loads(line)["guideline"] for line in store.read(key).splitlines()] == ["g1", None]
    assert samples.put_answers(store, "2026-11-01", given.votes) is None


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (None, "empty_id"),
        ("", "empty_id"),
        ("  ", "empty_id"),
        (float("nan"), "empty_id"),
        ("\ud800", "half_character"),
        ("a\0", "nul_byte"),
        (["1"], "not_a_string"),
        ({"a": 1}, "not_a_string"),
        (float("inf"), "not_a_string"),
        ("x" * 5000, "too_long"),
    ],
)
def test_an_id_that_is_none_costs_its_task(queue, identity, reason):
    tasks = annotated(queue)
    tasks[0]["data"] = {"understudy_id": identity, "text": "x"}
    tasks[1]["data"] = {"id": identity, "text": "x"} if identity != "" else {}
    table, refusals = label_studio.read("export.json", json.loads(json.dumps(tasks)))
    assert [(refusal.row, refusal.id, refusal.reason) for refusal in refusals] == [(1, None, reason), (2, None, reason)]
    assert table["id"].to_list() == queue["id"].to_list()[2:]


@pytest.mark.parametrize(
    "part",
    [
        {"value": {"choices": ["\ud800"]}},
        {"value": {"choices": "tip"}},
        {"value": {"choices": [["tip"]]}},
        {"value": []},
        7,
    ],
)
def test_a_result_that_is_none_costs_its_task_alone(queue, part):
    tasks = annotated(queue)
    tasks[0]["annotations"][0]["result"] = [{"from_name": "label", **part} if isinstance(part, dict) else part]
    tasks[1]["annotations"][0]["completed_by"] = "\udfff"
    table, refusals = label_studio.read("export.json", json.loads(json.dumps(tasks)))
    is_empty = part == {"value": []}
    assert [refusal.row for refusal in refusals] == ([2] if is_empty else [1, 2])
    assert table.drop_nulls("label")["id"].to_list() == queue["id"].to_list()[2:]


def test_only_the_choice_of_our_page_is_the_label(known, tmp_path, queue):
    tasks = annotated(queue)
    tasks[0]["annotations"][0]["result"].insert(0, {"from_name": "mood", "value": {"choices": ["angry"]}})
    tasks[1]["annotations"][0]["result"] = [{"from_name": "note", "type": "textarea", "value": {"text": ["hm"]}}]
    done = add(known, tmp_path, tasks)
    assert (done.labels, done.skipped, done.refusals) == (18, 1, [])
    with pytest.raises(BadData, match="a choice named 'label', as our page has it, got one named 'mood'"):
        add(known, tmp_path, annotated(queue, from_name="mood"))


def test_a_person_has_one_name_however_the_export_writes_it(known, tmp_path, queue):
    for people in (7, PEOPLE, {"id": 7}, 7.0):
        add(known, tmp_path, annotated(queue, people))
    assert {row[2] for row in held(known)} == {"7"}
    counting = labels.current(labels.read_all(known, CARD))
    assert len(counting) == 19
    mixed = annotated(queue, PEOPLE)
    mixed[1]["annotations"][0]["completed_by"] = {"email": "Ann@hotel"}
    mixed[2]["annotations"][0]["completed_by"] = "ann@hotel"
    add(known, tmp_path, mixed)
    assert {row[2] for row in held(known)} == {"7"}


def test_an_export_of_one_task_is_read(known, tmp_path, queue):
    task = annotated(queue)[0]
    assert add(known, tmp_path, json.dumps(task, indent=2)).labels == 1
    assert add(known, tmp_path, json.dumps(task | {"completions": task.pop("annotations")}), "old.json").labels == 1
    assert held(known)[0] == ("19", "tip", "7")


def test_a_task_that_was_imported_from_another_export_has_no_sure_id(known, tmp_path, queue):
    tasks = annotated(queue)
    for task, row in zip(tasks, min_export(annotated(queue)), strict=True):
        task["data"] = {name: value for name, value in row.items() if name != "understudy_id"}
    with pytest.raises(BadData, match=r"data\.id may be a number of Label Studio's"):
        add(known, tmp_path, tasks)


def test_a_list_too_large_to_hold_is_refused(known, tmp_path):
    (tmp_path / "many.json").write_text("[" + "{}," * 1_100_000 + "{}]")
    with pytest.raises(BadData, match="at most 33,554,432 bytes with 2,000,000 values, got 2,200,0"):
        labels.add(known, str(tmp_path / "many.json"))
    with (tmp_path / "large.json").open("w") as file:
        file.write("[")
        file.truncate((1 << 25) + 1)
    with pytest.raises(BadData, match="got 33,554,433 bytes"):
        labels.add(known, str(tmp_path / "large.json"))


@pytest.mark.parametrize("data", [b"", b"PAR1" * 50, b"\xff\xfe\0", b"label\n1\n", b"id,text\n1\n,\n", b'"'])
@pytest.mark.parametrize("name", ["queue.csv", "queue.parquet"])
def test_a_damaged_queue_is_one_sentence_or_read(store, card_text, tmp_path, data, name):
    store.put_if_absent(f"cards/{CARD}/abc.yaml", card_text.encode())
    store.put_if_absent(f"queues/{CARD}/one/{name}", data)
    try:
        add(store, tmp_path, "id,label\n1,tip\n", "a.csv")
    except StorageError as error:
        assert str(error).startswith("A queue must have ids, got ")
        assert str(error).count("\n") == 0


def test_how_long_an_answer_took_is_kept_and_what_is_no_time_is_not(known, tmp_path, queue):
    tasks = annotated(queue)
    for task, took in zip(tasks, [12.5, 40, "long", -1, 1e9, None, True], strict=False):
        task["annotations"][0]["lead_time"] = took
    before = labels.seconds_measured(known, CARD)
    add(known, tmp_path, tasks)
    assert before == []
    assert sorted(labels.seconds_measured(known, CARD)) == [12.5, 40.0]
    assert labels.read_all(known, CARD).columns == list(labels.VOTES)
    assert not add(known, tmp_path, tasks).keys, "the same export says nothing new"
    tasks[2]["annotations"][0]["lead_time"] = 7
    assert add(known, tmp_path, tasks).keys
    assert sorted(labels.seconds_measured(known, CARD)) == [7.0, 12.5, 40.0], "an export that grew counts none twice"
    assert sum(person.hours for person in measure_people(known, CARD)) == pytest.approx(59.5 / 3600)
