"""What people say of the audit's own queues: a second look wins, and labels that settle count in the next audit."""

import json

import polars as pl
import pytest

from tests.steps.test_audit import folders, run_audit  # noqa: F401 - a fixture
from tests.steps.test_guidelines import guideline_of
from tests.steps.test_ingest import TWO, Desk, sentence, vote_table
from understudy.review import guidelines, labels, waiting
from understudy.review.desk import Desk as Page
from understudy.review.journal import Journal
from understudy.steps.ingest import votes as vote_rules
from understudy.store import tables
from understudy.store.storage import open_store


@pytest.fixture
def desk(tmp_path) -> Desk:
    desk = Desk(tmp_path)
    desk.run()
    return desk


def queued(desk: Desk, ids: list[str], **columns: object) -> str:
    """Put a queue by the card's own guideline into the store, as an audit leaves one in its artifact."""
    rows = desk.gold().filter(pl.col("id").is_in(ids)).select("id", "group", "text")
    folder = desk.folder / "looked"
    folder.mkdir(exist_ok=True)
    own = {"guideline": guideline_of(desk), **columns}
    rows.with_columns(pl.lit(value).alias(name) for name, value in own.items()).write_parquet(folder / "queue.parquet")
    return waiting.put_artifact(open_store(desk.store), "hotel-tips", str(folder))


def answered(desk: Desk, rows: dict[str, str]) -> None:
    lines = ["id,label,annotator", *(f"{name},{label},carol" for name, label in rows.items())]
    (desk.folder / "answered.csv").write_text("\n".join(lines))
    labels.add(open_store(desk.store), str(desk.folder / "answered.csv"))


def label_of(desk: Desk, name: str) -> tuple[str, str]:
    return desk.gold().filter(id=name).select("label", "split").row(0)


def tip_of(desk: Desk, split: str) -> str:
    return desk.gold().filter((pl.col("split") == split) & (pl.col("label") == "tip"))["id"][0]


def test_a_second_look_by_the_same_rules_wins_everywhere_but_in_the_test_split(desk):
    learned, held = tip_of(desk, "train"), tip_of(desk, "test")
    queued(desk, [learned, held], earlier_guideline=guideline_of(desk))
    answered(desk, {learned: "other", held: "other"})
    row = {"id": held, "label": "other", "annotator": "carol", "guideline": guideline_of(desk)}
    labels.put(open_store(desk.store), "hotel-tips", pl.DataFrame([row]), "second_look")  # as an older release took it
    for _ in range(2):  # the labels file, given again, says what it said before the second look
        result = desk.run()
        assert (label_of(desk, learned), label_of(desk, held)) == (("other", "train"), ("tip", "test"))
        counts = [result.metrics[f"refused_{reason}"] for reason in ("looked_at_again", "leakage")]
        assert (counts, result.metrics["faults"]) == ([1, 1], 0)


def test_what_the_file_says_anew_after_a_second_look_counts_beside_it(desk):
    learned = tip_of(desk, "train")
    queued(desk, [learned], earlier_guideline=guideline_of(desk))
    answered(desk, {learned: "tip"})
    desk.run()
    usual = {f"r{i}": "tip" if i % 3 == 0 else "other" for i in range(60)}
    desk.labels([*(usual | {learned: "other"}).items()])
    result = desk.run()
    assert result.metrics["refused_conflicting_labels"] == 2
    assert learned not in desk.gold()["id"].to_list()


def test_a_second_look_decides_between_people_who_disagree():
    said = (("a", "train", "tip", "queue"), ("a", "train", "other", "queue"), ("a", "train", "tip", "queue"))
    votes = vote_table(*said).with_columns(
        is_second_look=pl.Series([False, False, True]),
        first_said=pl.Series([1, 2, 3]),
        segment=pl.Series([1, 2, 3]),
        guideline=pl.lit("g"),
    )
    found = vote_rules.looked_at_again(guidelines.ranked(votes, "g"))
    assert found.kept["first_said"].to_list() == [3]
    assert found.refused.select("reason", "is_fault").rows() == [("looked_at_again", False)] * 2


def test_the_page_never_shows_a_label_of_the_test_split_for_a_second_look(desk):
    learned, held = tip_of(desk, "train"), tip_of(desk, "test")
    name = queued(desk, [learned, held], earlier_guideline=guideline_of(desk))
    store = open_store(desk.store)
    queue = waiting.choose(waiting.read_all(store, "hotel-tips"), name, lambda _: 1)
    assert ([text.id for text in queue.texts], queue.held_out) == ([learned], 1)
    Page(queue, Journal(store, "hotel-tips", queue)).answer("carol", learned, ["other"])
    desk.run()
    assert label_of(desk, learned) == ("other", "train")


def test_labels_that_settle_have_an_origin_of_their_own_and_never_measure(desk):
    drawn = {"s1": "Avoid the lift.", "s2": "It rained."}
    desk.texts([*((f"r{i}", sentence(i)) for i in range(60)), *drawn.items()])
    desk.run()
    store, folder = open_store(desk.store), desk.folder / "settle"
    folder.mkdir()
    rows = {"id": [*drawn], "group": [*drawn], "text": [*drawn.values()], "slice": ["avoid"] * 2}
    table = pl.DataFrame(rows).with_columns(guideline=pl.lit(guideline_of(desk)), settle=True)
    table.write_parquet(folder / "queue.parquet")
    waiting.put_artifact(store, "hotel-tips", str(folder))
    answered(desk, {"s1": "tip", "s2": "other"})
    assert labels.read_all(store, "hotel-tips").filter(pl.col("id") == "s1")["origin"].to_list() == ["settle"]
    desk.run()
    said = desk.gold().filter(pl.col("id").is_in(["s1", "s2"])).select("split", "origin")
    assert said.rows() == [("train", "settle")] * 2


def test_an_answer_to_a_queue_beside_one_that_settles_is_no_draw_by_lot():
    votes = vote_table(("a", "train", "tip", "settle"), ("a", "train", "tip", "queue"), ("b", "train", "tip", "settle"))
    found = vote_rules.decided(vote_rules.guarded(votes.with_columns(guideline=pl.lit("g"))).kept, TWO).kept
    assert found["origin"].to_list() == ["queue", "settle"]


def test_labels_that_settle_count_in_the_tests_of_slices_alone(folders):  # noqa: F811 - the fixture
    run_audit(folders, overrides="search_candidates=0")
    before = json.loads((folders / "audit/audit.json").read_text())
    pool = tables.read(folders / "pool", tables.Texts)
    gold = tables.read(folders / "gold", tables.Gold).with_columns(pl.col("origin", "split").cast(pl.String))
    judged = tables.read(folders / "judgements", tables.Judgements)
    free = pool.join(gold, on="id", how="anti").filter(pl.col("text").str.contains("(?i)avoid"))
    drawn = free.join(judged.filter(pl.col("label") == "other"), on="id", how="semi").head(8)
    extra = drawn.select("id", "group", "text").with_columns(
        label=pl.lit("tip"), split=pl.lit("train"), annotators=pl.lit(1, pl.Int64), origin=pl.lit("settle")
    )
    more = pl.concat([gold, extra.select(gold.columns)])
    tables.write(more, tables.Gold, folders / "gold")
    run_audit(folders, overrides="search_candidates=0")
    after = json.loads((folders / "audit/audit.json").read_text())
    assert len(extra) > 0
    assert (after["texts"], after["agreement"]) == (before["texts"], before["agreement"])
    slices = [next(part for part in found["slices"] if part["name"] == "avoid") for found in (before, after)]
    assert slices[1]["p_value"] < slices[0]["p_value"]
