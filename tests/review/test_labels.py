import csv
import gzip
import io
import json
import multiprocessing

import polars as pl
import pytest
from click.testing import CliRunner

from tests.queues import contested
from understudy.cli.main import app
from understudy.errors import BadArtifact, BadData, BadInput, StorageError
from understudy.review import labels
from understudy.review.queues import label_studio_tasks, queue_csv
from understudy.review.spreadsheet import safe_cell
from understudy.store.storage import open_store

SPAWN = multiprocessing.get_context("spawn")  # polars has threads, which a fork would not carry over


@pytest.fixture
def known(store, card_text):
    """A store that holds the card of the tests."""
    store.put_if_absent("cards/hotel-tips/abc.yaml", card_text.encode())
    return store


def answers(folder, *lines, header="id,label", name="answers.csv"):
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def votes(*rows) -> pl.DataFrame:
    """Rows of (id, label, annotator, origin, segment), and the guideline where they have one."""
    columns = {**dict.fromkeys(("id", "label", "annotator", "origin"), pl.String), "segment": pl.Int64}
    rows = [(*row, *[None] * (len(columns) + 1 - len(row))) for row in rows]
    return pl.DataFrame(rows, schema={**columns, "guideline": pl.String}, orient="row")


def held(store) -> list[tuple]:
    return labels.read_all(store, "hotel-tips").select("id", "label", "annotator", "origin").rows()


def test_answers_are_kept_in_order_and_read_back(known, tmp_path):
    done = labels.add(known, answers(tmp_path, "r2,tip,ann", "r1,other,", header="id,label,annotator"))
    assert (done.card_name, done.labels, done.skipped, done.refusals) == ("hotel-tips", 2, 0, [])
    assert held(known) == [("r2", "tip", "ann", "queue"), ("r1", "other", None, "queue")]
    assert known.list("labels/") == done.keys
    assert done.keys[0].startswith("labels/hotel-tips/000001-")


def test_the_same_answers_twice_add_nothing(known, tmp_path):
    assert labels.add(known, answers(tmp_path, "r1,tip")).keys
    assert labels.add(known, answers(tmp_path, "r1,tip", name="copy.csv")).keys == []
    assert len(known.list("labels/")) == 1


def test_going_back_to_an_earlier_answer_counts_as_new(known, tmp_path):
    for label in ("tip", "other", "tip"):
        assert labels.add(known, answers(tmp_path, f"r1,{label}")).keys
    counting = labels.current(labels.read_all(known, "hotel-tips"))
    assert counting["label"].to_list() == ["tip"]


def test_rows_without_a_label_are_skipped_and_counted(known, tmp_path):
    """A review queue that people have begun to fill in."""
    lines = ["r1,r1,Ask for a room.,0.9,", "r2,r2,Nice.,0.4,other", "r3,r3,Bring a coat.,0.4,  "]
    done = labels.add(known, answers(tmp_path, *lines, header="id,group,text,student_probability,label"))
    assert (done.labels, done.skipped) == (1, 2)
    assert held(known) == [("r2", "other", None, "queue")]


def test_a_queue_with_no_answer_at_all_is_refused(known, tmp_path):
    with pytest.raises(BadData, match="must hold labels, got 2 rows and no label"):
        labels.add(known, answers(tmp_path, "r1,", "r2,"))


def test_a_few_unknown_classes_are_refused_with_their_rows(known, tmp_path):
    lines = [f"r{i},tip" for i in range(30)]
    done = labels.add(known, answers(tmp_path, *lines, "r99,Tipp"))
    assert [(refusal.row, refusal.id, refusal.reason) for refusal in done.refusals] == [(32, "r99", "unknown_label")]
    assert done.labels == len(held(known)) == 30


def test_many_unknown_classes_end_it_and_nothing_is_added(known, tmp_path):
    with pytest.raises(BadData, match=r"At most 5% .* got 2 of 3 .*unknown_label 2 \(row 3 of .*'yes' is none of"):
        labels.add(known, answers(tmp_path, "r1,tip", "r2,yes", "r3,no"))
    assert known.list("labels/") == []


@pytest.mark.parametrize(("share", "is_taken"), [(0.7, True), (0.6, False)])
def test_the_share_of_faulty_answers_is_the_cards(known, tmp_path, make_card, share, is_taken):
    known.put_if_absent("cards/hotel-tips/def.yaml", make_card(ingest={"max_refused_share": share}).encode())
    path = answers(tmp_path, "r1,tip", "r2,yes", "r3,no")
    if is_taken:
        assert labels.add(known, path).labels == 1
    else:
        with pytest.raises(BadData, match=r"At most 60% .* got 2 of 3 .* raise ingest.max_refused_share in the card"):
            labels.add(known, path)


IDS = ["r1", "-7", "=1+1", "'=2", "'tis", "été"]


@pytest.fixture
def queue() -> pl.DataFrame:
    """Return a review queue as the step mine makes it."""
    texts = [f"Text of {identity}" for identity in IDS]
    return contested({"id": IDS, "group": IDS, "text": texts})


def test_a_queue_filled_in_with_a_spreadsheet_comes_back_under_the_same_ids(known, tmp_path, queue):
    rows = list(csv.reader(io.StringIO(queue_csv(queue).removeprefix("\ufeff"))))
    filled = [rows[0], *([*row[:-1], "tip"] for row in rows[1:])]
    for name, dialect in (("comma.csv", {}), ("semicolon.csv", {"delimiter": ";"})):
        with (tmp_path / name).open("w", newline="", encoding="utf-16") as file:
            csv.writer(file, **dialect).writerows(filled)
        labels.add(known, str(tmp_path / name))
        assert [row[0] for row in held(known)] == IDS


def test_a_queue_labelled_in_label_studio_comes_back_under_the_same_ids(known, tmp_path, queue):
    tasks = json.loads(label_studio_tasks(queue))
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["tip"]}}]
    answered = [{**task, "annotations": [{"completed_by": 1, "result": result}]} for task in tasks]
    (tmp_path / "export.json").write_text(json.dumps(answered))
    labels.add(known, str(tmp_path / "export.json"))
    assert [row[0] for row in held(known)] == IDS


def label_studio(*tasks) -> str:
    """Tasks of (data, [(choices, completed_by, was_cancelled)])."""
    return json.dumps(
        [
            {
                "id": number,
                "data": data,
                "annotations": [
                    {
                        "completed_by": person,
                        "was_cancelled": was_cancelled,
                        "result": [{"from_name": "label", "type": "choices", "value": {"choices": choices}}]
                        if choices
                        else [],
                    }
                    for choices, person, was_cancelled in annotations
                ],
            }
            for number, (data, annotations) in enumerate(tasks)
        ]
    )


def test_label_studios_export_is_read(known, tmp_path):
    path = tmp_path / "export.json"
    path.write_text(
        label_studio(
            ({"id": "r1", "text": "a"}, [(["tip"], 7, False), (["other"], {"id": 8, "email": "ann@hotel"}, False)]),
            ({"id": 12, "text": "b"}, [(["tip"], None, False)]),
            ({"id": "skipped"}, [(["tip"], 7, True)]),
            ({"id": "empty"}, [([], 7, False)]),
            ({"id": "open"}, []),
        )
    )
    done = labels.add(known, str(path))
    assert held(known) == [
        ("r1", "tip", "7", "queue"),
        ("r1", "other", "8", "queue"),
        ("12", "tip", None, "queue"),
    ]
    assert (done.labels, done.skipped) == (3, 3)


def test_tasks_that_label_studio_did_not_write_are_refused(known, tmp_path):
    path = tmp_path / "export.json"
    good = [({"id": f"r{i}"}, [(["tip"], 7, False)]) for i in range(60)]
    tasks = json.loads(label_studio(*good, ({"id": "two"}, [(["tip", "other"], 7, False)])))
    path.write_text(json.dumps([*tasks, 7, {"data": {}}]))
    done = labels.add(known, str(path))
    assert [(refusal.row, refusal.reason) for refusal in done.refusals] == [
        (61, "not_a_task"),
        (62, "not_a_task"),
        (63, "not_a_task"),
    ]


def test_the_card_is_found_by_name_or_by_being_the_only_one(known, tmp_path, make_card):
    path = answers(tmp_path, "r1,tip")
    known.put_if_absent("cards/forum/abc.yaml", make_card(name="forum").encode())
    with pytest.raises(BadInput, match=r"one that the store holds, got none \(--card, .*: forum, hotel-tips\)"):
        labels.add(known, path)
    assert labels.add(known, path, "forum").keys[0].startswith("labels/forum/")
    with pytest.raises(BadInput, match="got 'forums'"):
        labels.add(known, path, "forums")


def test_a_store_without_a_card_is_refused(store, tmp_path):
    with pytest.raises(BadInput, match="no card yet: run ingest first"):
        labels.add(store, answers(tmp_path, "r1,tip"))


def test_the_labels_of_all_versions_of_a_card_may_be_given(known, tmp_path, make_card):
    renamed = make_card().replace("tip\n", "hint\n")
    known.put_if_absent("cards/hotel-tips/ghi.yaml", renamed.encode())
    assert labels.add(known, answers(tmp_path, "r1,tip", "r2,hint", "r3,other")).labels == 3
    with pytest.raises(BadData, match="'hints' is none of other, hint, tip"):
        labels.add(known, answers(tmp_path, "r1,hints"))


def test_versions_of_a_card_must_be_of_one_kind(known, tmp_path, make_card):
    many = make_card(labels_per_text="many", positive_label=None)
    known.put_if_absent("cards/hotel-tips/ghi.yaml", many.encode())
    with pytest.raises(BadInput, match=r"the same kind, got other/tip and other/tip \(labels_per_text: many"):
        labels.add(known, answers(tmp_path, "r1,tip"))


def test_of_a_labels_file_the_newest_that_names_a_text_counts():
    table = votes(
        ("a", "tip", "ann", "labels", 0),
        ("a", "tip", "bob", "labels", 0),
        ("b", "tip", None, "labels", 0),
        ("a", "other", None, "labels", 1),
    )
    assert labels.current(table).drop("guideline").rows() == [
        ("b", "tip", None, "labels", 0),
        ("a", "other", None, "labels", 1),
    ]


def test_of_queue_answers_each_persons_newest_counts():
    table = votes(
        ("a", "tip", "ann", "queue", 0),
        ("a", "tip", None, "queue", 0),
        ("a", "other", "bob", "queue", 1),
        ("a", "other", None, "queue", 2),
    )
    assert labels.current(table).drop("guideline").rows() == [
        ("a", "tip", "ann", "queue", 0),
        ("a", "other", "bob", "queue", 1),
        ("a", "other", None, "queue", 2),
    ]


def test_a_queue_answer_does_not_replace_a_files_label():
    table = votes(("a", "tip", None, "labels", 0), ("a", "other", None, "queue", 1))
    assert labels.current(table).equals(table)


def test_segments_stay_in_order_past_any_number(store):
    for number in range(12):
        labels.put(store, "hotel-tips", pl.DataFrame({"id": [f"r{number}"], "label": ["tip"]}), "labels")
    assert labels.read_all(store, "hotel-tips")["id"].to_list() == [f"r{number}" for number in range(12)]


def test_ids_of_any_script_and_line_break_come_back(store):
    ids = ["été", "a\u2028b", "\x85", 'quo"te', "\N{GRINNING FACE}"]
    labels.put(store, "hotel-tips", pl.DataFrame({"id": ids, "label": ["tip"] * 5}), "labels")
    assert labels.read_all(store, "hotel-tips")["id"].to_list() == ids


def test_an_altered_segment_is_an_error_that_names_it(store):
    store.put_if_absent("labels/hotel-tips/000001-x.jsonl", b'{"id": "r1"}\n')
    with pytest.raises(BadArtifact, match=r"whole record, got label: Field required.*000001-x"):
        labels.read_all(store, "hotel-tips")


def put_many(root: str, who: int) -> None:
    store = open_store(root)
    for number in range(10):
        labels.put(store, "hotel-tips", pl.DataFrame({"id": [f"{who}-{number}"], "label": ["tip"]}), "queue")


def test_two_people_who_add_at_once_lose_nothing(store):
    people = [SPAWN.Process(target=put_many, args=(store.uri, who)) for who in range(2)]
    for person in people:
        person.start()
    for person in people:
        person.join(60)
    found = labels.read_all(store, "hotel-tips")["id"]
    assert sorted(found) == sorted(f"{who}-{number}" for who in range(2) for number in range(10))


def test_ids_that_neither_a_queue_nor_a_label_names_are_counted(known, tmp_path, queue):
    known.put_if_absent("queues/hotel-tips/one/queue.csv", queue_csv(queue).encode())
    parquet = io.BytesIO()
    queue.with_columns(id=pl.lit("p") + pl.col("id")).write_parquet(parquet)
    known.put_if_absent("queues/hotel-tips/two/queue.parquet", parquet.getvalue())
    known.put_if_absent("queues/another/three/queue.csv", b"id\nx9\n")
    lines = [f"{safe_cell(identity)},tip" for identity in (*IDS, "pr1", "x9", "x8", "x8")]
    done = labels.add(known, answers(tmp_path, *lines))
    assert (done.ids, done.strange_ids) == (9, 2)
    assert labels.add(known, answers(tmp_path, "x9,tip", "x7,tip")).strange_ids == 1  # x9 has a label by now


def test_an_altered_queue_is_an_error_that_names_it(known, tmp_path):
    known.put_if_absent("queues/hotel-tips/one/queue.parquet", b"rubbish")
    with pytest.raises(StorageError, match=r"queues/hotel-tips/one/queue\.parquet"):
        labels.add(known, answers(tmp_path, "r1,tip"))
    assert known.list("labels/") == []


def test_the_command_says_what_it_did(known, tmp_path):
    known.put_if_absent("queues/hotel-tips/one/queue.csv", b"id,text\nr1,x\n")
    runner = CliRunner()
    path = answers(tmp_path, "r1,tip", "r2,")
    command = ["labels", "add", "--store", known.uri, path]
    first = runner.invoke(app, command, catch_exceptions=False)
    assert first.output == "labels: 1 label, added to the card 'hotel-tips'; 1 row without a label.\n"
    again = runner.invoke(app, [*command, "--card", "hotel-tips"], catch_exceptions=False)
    assert "nothing added: the store holds just these already" in again.output
    strange = runner.invoke(app, [*command[:-1], answers(tmp_path, "r1,tip", "r9,tip")], catch_exceptions=False)
    assert "labels: 1 of 2 ids are in no queue of this store; they count only if a later" in strange.output


def test_answers_in_another_case_are_the_cards_and_the_command_says_how_many(known, tmp_path):
    path = answers(tmp_path, "r1,TIP", "r2,Other", "r3,tip")
    done = CliRunner().invoke(app, ["labels", "add", path, "--store", known.uri])
    assert "labels: 2 labels not in the card's case or with other blanks, taken as the card's." in done.output
    assert [row[1] for row in held(known)] == ["tip", "other", "tip"]


def test_answers_may_come_as_a_json_list_or_packed(known, tmp_path):
    (tmp_path / "a.json").write_text('[{"id": "r1", "label": "tip"}, {"id": "r2", "label": null}]')
    done = labels.add(known, str(tmp_path / "a.json"))
    assert (done.labels, done.skipped) == (1, 1)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"id,label\nr2,other\n"))
    assert labels.add(known, str(tmp_path / "b.csv.gz")).labels == 1
    assert [row[:2] for row in held(known)] == [("r1", "tip"), ("r2", "other")]


def test_answers_by_an_alias_are_the_label_whatever_version_of_the_card_has_it(known, tmp_path, make_card):
    named = [{"name": "other", "definition": "x"}, {"name": "tip", "definition": "x", "aliases": [True]}]
    known.put_if_absent("cards/hotel-tips/def.yaml", make_card(labels=named).encode())
    assert labels.add(known, answers(tmp_path, "r1,TRUE", "r2,other")).labels == 2
    assert [row[1] for row in held(known)] == ["tip", "other"]
