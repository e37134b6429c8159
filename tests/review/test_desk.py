"""People at a desk: what is saved, what is shown, and what two of them do to each other."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from tests.queues import put_queue
from understudy.cli.main import app
from understudy.errors import BadInput
from understudy.privacy import erasure
from understudy.review import labels, samples, sitting, waiting
from understudy.review.desk import Desk
from understudy.review.journal import Journal, checks
from understudy.review.known import read_known
from understudy.store import codecs, layout, tombstones
from understudy.store.storage import prepare_store
from understudy.task.card import parse_card
from understudy.task.guideline import Guideline

CARD = "hotel-tips"
TEXTS = {f"r{number}": f"Text number {number}." for number in range(1, 5)}
MANY = {"labels_per_text": "many", "positive_label": None, "weak_rules": None}


@pytest.fixture
def mined(store):
    """A store with one queue."""
    put_queue(store, card_yaml(), TEXTS)
    return store


def desk_of(store, name=None, people=1, known=(), **more) -> Desk:
    found = waiting.read_all(store, CARD)
    queue = waiting.choose(found, name, lambda _: 1)
    return Desk(queue, Journal(store, CARD, queue, known), people, known, **more)


def held(store) -> list[tuple]:
    return labels.read_all(store, CARD).select("id", "label", "annotator", "origin").rows()


def shown(view) -> str | None:
    return view["text"] and view["text"]["id"]


def test_each_answer_is_in_the_store_at_once_with_who_when_how_long_and_by_which_guideline(mined):
    now = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
    desk = desk_of(mined, now=lambda: now)
    assert shown(desk.show("ann")) == "r1"
    assert shown(desk.answer("ann", "r1", ["tip"], seconds=12.34)) == "r2"
    (key,) = mined.list("labels/")
    assert json.loads(mined.read(key)) == {
        "id": "r1",
        "label": "tip",
        "annotator": "ann",
        "guideline": Guideline.of(parse_card(card_yaml())).hash,
        "origin": "queue",
        "split": None,
        "seconds": 12.3,
        "at": "2026-11-29T09:30:00.000+00:00",
    }
    assert labels.seconds_measured(mined, CARD) == [12.3]


def test_a_server_that_was_killed_goes_on_where_it_was(mined):
    first = desk_of(mined)
    first.answer("ann", "r1", ["tip"])
    first.answer("ann", "r2", None, reason="two labels fit")
    again = desk_of(mined)
    view = again.show("ann")
    assert (shown(view), view["last"]["reason"], view["progress"]["given"]) == ("r3", "two labels fit", 2)
    assert shown(again.undo("ann")) == "r2"
    assert again.undo("ann")["progress"]["given"] == 0


def test_the_teachers_answer_is_told_only_once_one_has_chosen(mined):
    desk = desk_of(mined)
    before = desk.show("ann")
    assert (set(before["text"]), before["last"]) == ({"id", "text", "context"}, None)
    last = desk.answer("ann", "r1", ["tip"])["last"]
    assert (last["text"], last["labels"], last["teacher"]) == (TEXTS["r1"], ["tip"], ["other"])
    assert last["teacher_probability"] == 0.2


def test_taking_back_is_a_new_line_and_what_was_said_counts_no_more(mined):
    desk = desk_of(mined)
    desk.answer("ann", "r1", ["tip"])
    desk.answer("bob", "r2", ["tip"])
    assert shown(desk.undo("ann")) == "r1"
    assert held(mined) == [("r2", "tip", "bob", "queue")]
    desk.answer("ann", "r1", ["other"])
    assert held(mined) == [("r2", "tip", "bob", "queue"), ("r1", "other", "ann", "queue")]
    (key,) = mined.list("labels/")
    assert len(mined.read(key).splitlines()) == 4


def test_who_cannot_say_gives_a_reason_and_no_label(mined):
    desk = desk_of(mined)
    with pytest.raises(BadInput, match="Why one cannot say must be 1 to 500 characters, got 0"):
        desk.answer("ann", "r1", None)
    view = desk.answer("ann", "r1", None, reason=" no  context ")
    assert (held(mined), view["last"]["reason"], view["progress"]["cannot_say"]) == ([], "no context", 1)
    assert shown(desk.show("bob")) == "r3"  # r2 is before ann


def test_what_one_person_looks_at_or_skips_is_anothers_in_time(mined):
    clock = [datetime(2026, 11, 29, tzinfo=UTC)]
    desk = desk_of(mined, now=lambda: clock[0])
    assert [shown(desk.show(person)) for person in ("ann", "bob", "ann")] == ["r1", "r2", "r1"]
    assert shown(desk.skip("ann", "r1")) == "r3"
    for identity in ("r3", "r4"):
        view = desk.answer("ann", identity, ["tip"])
    assert shown(view) == "r1"  # what was skipped comes back last
    clock[0] += timedelta(minutes=11)
    assert shown(desk.answer("ann", "r1", ["tip"])) == "r2"  # bob has left it


def test_two_answers_a_text_come_from_two_people(mined):
    desk = desk_of(mined, people=2)
    for person in ("ann", "bob"):
        while identity := shown(desk.show(person)):
            desk.answer(person, identity, ["tip"])
    assert sorted(row[:3] for row in held(mined)) == sorted(
        (name, "tip", who) for name in TEXTS for who in ("ann", "bob")
    )
    assert desk.show("carol")["text"] is None


def test_two_servers_on_one_store_lose_nothing_and_see_each_other(mined, monkeypatch):
    monkeypatch.setattr("understudy.review.journal.REFRESH_S", 0.0)
    one, two = desk_of(mined), desk_of(mined)
    one.answer("ann", "r1", ["tip"])
    assert shown(two.answer("bob", "r2", ["other"])) == "r3"
    one.answer("ann", "r4", ["tip"])
    assert len(mined.list("labels/")) == 2
    assert {row[0] for row in held(mined)} == {"r1", "r2", "r4"}


def test_the_same_answer_again_and_a_queue_answered_elsewhere_count_once(mined, tmp_path):
    desk = desk_of(mined)
    for _ in range(2):
        desk.answer("ann", "r1", ["tip"])
    (tmp_path / "sheet.csv").write_text("id,label,annotator\nr1,tip,ann\nr2,other,ann\n")
    labels.add(mined, str(tmp_path / "sheet.csv"))
    assert desk_of(mined).show("ann")["progress"]["given"] == 2
    assert len(labels.current(labels.read_all(mined, CARD))) == 2


def test_a_later_answer_on_the_page_outdoes_a_file_that_came_meanwhile(mined, tmp_path):
    desk = desk_of(mined)
    desk.answer("ann", "r1", ["tip"])
    (tmp_path / "sheet.csv").write_text("id,label,annotator\nr2,other,ann\n")
    labels.add(mined, str(tmp_path / "sheet.csv"))
    desk.answer("ann", "r2", ["tip"])
    counting = labels.current(labels.read_all(mined, CARD))
    assert dict(counting.select("id", "label").iter_rows()) == {"r1": "tip", "r2": "tip"}


def test_a_long_sitting_goes_on_in_another_object(mined, monkeypatch):
    monkeypatch.setattr(sitting, "MOST_LINES", 2)
    desk = desk_of(mined)
    for identity in TEXTS:
        desk.answer("ann", identity, ["tip"])
    assert [len(mined.read(key).splitlines()) for key in mined.list("labels/")] == [2, 2]
    assert len(held(mined)) == 4


@pytest.mark.parametrize(
    ("identity", "given"), [("r9", ["tip"]), ("r1", ["tip", "other"]), ("r1", []), ("r1", ["spam"])]
)
def test_no_answer_is_taken_that_the_card_does_not_allow(mined, identity, given):
    with pytest.raises(BadInput, match="An answer must be"):
        desk_of(mined).answer("ann", identity, given)
    assert mined.list("labels/") == []


def test_a_text_may_get_several_labels_or_none(store):
    put_queue(store, card_yaml(**MANY), TEXTS, teacher_label='["tip"]')
    desk = desk_of(store)
    view = desk.answer("ann", "r1", ["tip", "other"])
    assert (view["last"]["labels"], view["last"]["teacher"]) == (["other", "tip"], ["tip"])
    desk.answer("ann", "r2", [])
    assert [row[1] for row in held(store)] == ['["other", "tip"]', "[]"]


def test_texts_that_measure_the_model_are_never_shown_by_a_queue_that_teaches(mined):
    mined.put_if_absent(
        "splits/hotel-tips/000001.jsonl", codecs.as_lines([{"group": "r1", "split": "test", "by": "hash"}])
    )
    sampled = pl.DataFrame({"id": ["n1", "r3"], "text": [f"{TEXTS['r2']} ", "Something else."]})
    mined.put_if_absent(layout.SAMPLE_TABLES.key(day="2026-11-01", name="sample"), codecs.as_parquet(sampled))
    (queue,) = waiting.read_all(mined, CARD)
    assert ([text.id for text in queue.texts], queue.held_out) == (["r4"], 3)


def test_an_answer_about_a_text_of_a_sample_never_teaches(mined, tmp_path):
    sampled = pl.DataFrame({"id": ["r3"], "text": ["Something else."]})
    mined.put_if_absent(layout.SAMPLE_TABLES.key(day="2026-11-01", name="sample"), codecs.as_parquet(sampled))
    (tmp_path / "sheet.csv").write_text("id,label\nr1,tip\nr3,other\n")
    done = labels.add(mined, str(tmp_path / "sheet.csv"))
    assert (done.labels, done.held_out, [row[0] for row in held(mined)]) == (1, 1, ["r1"])


def test_a_text_that_was_forgotten_while_it_was_read_gets_no_answer(mined):
    desk = desk_of(mined)
    assert shown(desk.show("ann")) == "r1"
    tombstones.remember_to_forget(mined, "id", ["r1"], "2026-11-29")
    with pytest.raises(BadInput, match="must be to a text of the queue"):
        desk.answer("ann", "r1", ["tip"])
    assert shown(desk_of(mined).show("ann")) == "r2"


def test_a_text_that_is_forgotten_leaves_a_sitting_that_goes_on(mined, tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    desk = desk_of(mined)
    for identity in ("r1", "r2"):
        desk.answer("ann", identity, ["tip"])
    erasure.forget(mined, ["r1"], [], "2026-11-29")
    desk.answer("ann", "r3", ["tip"])
    assert [row[0] for row in held(mined)] == ["r2", "r3"]
    assert not any(b"r1" in mined.read(key) for key in mined.list("labels/"))


def test_the_newest_queue_of_mine_that_waits_is_served_unless_one_is_named(mined):
    found = waiting.read_all(mined, CARD)
    newer = waiting.Queue("newer", waiting.MINED, "queue", found[0].guideline, (), put="2999")
    looked = waiting.Queue("look", waiting.SECOND_LOOK, "second_look", found[0].guideline, (), put="2999")
    every = [looked, newer, *found]
    left = {"look": 1, "newer": 0, "mined": 4}
    assert waiting.choose(every, None, lambda queue: left[queue.name]).name == "mined"
    assert waiting.choose(every, "look", lambda queue: left[queue.name]).name == "look"
    with pytest.raises(BadInput, match=r"no queue of this name .*; there are: look \(second look, 1 wait\); newer"):
        waiting.choose(every, "other", lambda queue: left[queue.name])


def test_gold_questions_measure_people_and_are_never_labels(store, tmp_path):
    put_queue(store, card_yaml(), {f"r{number}": f"Text {number}." for number in range(20)})
    (tmp_path / "gold.csv").write_text("id,text,label\ng1,Bring a coat.,tip\ng2,It rained.,other\nr3,Waits.,tip\n")
    queue = waiting.read_all(store, CARD)[0]
    desk = desk_of(store, known=read_known(store, CARD, str(tmp_path / "gold.csv"), queue))
    order = []
    for _ in range(20):
        order.append(shown(desk.show("ann")))
        desk.answer("ann", order[-1], ["tip"])
    assert [place for place, identity in enumerate(order) if identity.startswith("g")] == [9, 19]
    assert len(held(store)) == 18
    assert [(line["id"], line["label"], line["expected"]) for line in checks(store, CARD)] == [
        ("g1", "tip", "tip"),
        ("g2", "tip", "other"),
    ]
    assert shown(desk.undo("ann")) == "g2"


def test_answers_to_the_weeks_sample_measure_and_never_teach(mined):
    about = {"date": "2026-11-01", "card": CARD, "guideline": Guideline.of(parse_card(card_yaml())).hash}
    row = dict.fromkeys(samples.SAMPLE) | {"id": "n1", "group": "n1", "text": "Bring a coat.", "label": "tip"}
    table = pl.DataFrame([row], schema=samples.SAMPLE)
    mined.put_if_absent(layout.SAMPLE_TABLES.key(day="2026-11-01", name="sample"), codecs.as_parquet(table))
    about |= {"drawn": 1, "taught": 0}
    mined.put_if_absent(layout.SAMPLE_RECORDS.key(day="2026-11-01", name="sample"), codecs.as_json(about))
    desk = desk_of(mined, "sample")
    assert desk.answer("ann", "n1", ["tip"])["last"]["teacher"] is None
    desk.undo("ann")
    desk.answer("ann", "n1", ["other"])
    assert held(mined) == []
    assert samples.read_answers(mined, "2999-01-01").rows() == [("n1", "other", 1)]
    assert desk_of(mined, "sample").show("bob")["text"] is None


def test_a_queue_in_an_artifact_goes_into_the_store_for_every_tool(mined, tmp_path):
    table = pl.DataFrame(
        {"id": ["a"], "group": ["a"], "text": ["It rained."], "guideline": [desk_of(mined).queue.guideline.hash]}
    )
    table.with_columns(earlier_guideline="guideline").write_parquet(tmp_path / "queue.parquet")
    name = waiting.put_artifact(mined, CARD, str(tmp_path))
    assert waiting.put_artifact(mined, CARD, f"{tmp_path}/queue.parquet") == name
    assert b"It rained." in mined.read(f"queues/{CARD}/{name}/queue.csv")
    desk_of(mined, name).answer("ann", "a", ["tip"])
    assert held(mined) == [("a", "tip", "ann", "second_look")]
    with pytest.raises(BadInput, match="A queue must hold texts with id, group, text, guideline, got 0 rows"):
        table.head(0).write_parquet(tmp_path / "queue.parquet")
        waiting.put_artifact(mined, CARD, str(tmp_path))


def test_a_sitting_on_s3_keeps_its_lines_in_one_object(s3_url):
    store = prepare_store(s3_url)
    put_queue(store, card_yaml(), TEXTS)
    desk = desk_of(store)
    for identity in TEXTS:
        desk.answer("ann", identity, ["tip"])
    desk.undo("ann")
    assert len(store.list("labels/")) == 1
    assert [row[0] for row in held(store)] == ["r1", "r2", "r3"]


def test_the_command_lists_what_waits_and_says_where_nothing_does(mined):
    desk_of(mined).answer("ann", "r1", ["tip"])
    done = CliRunner().invoke(app, ["review", "--store", mined.uri, "--list"], catch_exceptions=False)
    assert done.output.startswith("review: mined: disagreements, 3 of 4 texts wait, put 20")
    for identity in TEXTS:
        desk_of(mined).answer("ann", identity, ["tip"])
    with pytest.raises(BadInput, match=r"no queue of mine with texts that wait .*mined \(disagreements, 0 wait\)"):
        CliRunner().invoke(app, ["review", "--store", mined.uri], catch_exceptions=False)


def test_to_take_back_a_second_look_leaves_what_one_said_at_first(mined):
    """One sees the text in two queues; what is taken back of the one was never said in the other."""
    desk_of(mined).answer("ann", "r1", ["tip"])
    own = desk_of(mined).queue.guideline.hash
    put_queue(mined, card_yaml(), {"r1": TEXTS["r1"]}, "again", earlier_guideline=own)
    again = desk_of(mined, "again")
    again.answer("ann", "r1", ["other"])
    again.undo("ann")
    assert held(mined) == [("r1", "tip", "ann", "queue")]
    assert shown(again.show("ann")) == "r1"


def test_who_goes_from_one_server_to_another_takes_back_and_changes_what_they_said_there(mined, monkeypatch):
    monkeypatch.setattr("understudy.review.journal.REFRESH_S", 0.0)
    first, second = desk_of(mined), desk_of(mined)
    first.answer("ann", "r1", ["tip"])
    second.answer("ann", "r2", ["tip"])
    first.undo("ann")
    assert [row[0] for row in held(mined)] == ["r1"], "the last answer was given at the other server"
    first.answer("ann", "r2", ["tip"])
    second.answer("ann", "r2", ["other"])
    counting = labels.current(labels.read_all(mined, CARD))
    assert counting.filter(pl.col("id") == "r2")["label"].to_list() == ["other"]
