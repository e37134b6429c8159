import csv
import hashlib
import json
import multiprocessing
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import card_yaml
from understudy.cli.main import app
from understudy.errors import BadCard, BadData, BadInput, TooFewLabels
from understudy.review import labels as label_store
from understudy.runtime import provenance, shell
from understudy.steps.ingest import rules, splits
from understudy.steps.ingest import texts as text_rules
from understudy.steps.ingest import votes as vote_rules
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.splits import Assignment, Group, assign, shares
from understudy.store import tables, tombstones
from understudy.store.storage import open_store
from understudy.store.tables import SPLITS
from understudy.task.card import load_card, parse_card
from understudy.task.labels import LabelSpace
from understudy.text.duplicates import jaccard, shingles
from understudy.text.normalise import content_hash

SPAWN = multiprocessing.get_context("spawn")  # polars has threads, which a fork would not carry over
TWO = LabelSpace(("other", "tip"), "tip")
OUTPUTS = ("snapshot", "pool", "gold", "test", "refused")


def sentence(number: object) -> str:
    """Return a text of its own for each number: no two are near-duplicates."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return f"Note {number}: " + " ".join(digest[start : start + 5] for start in range(0, 40, 5))


def write_csv(path: Path, header: str, rows) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return str(path)


class Desk:
    """A folder with a card, texts and labels, where ingest can be run as often as one likes."""

    def __init__(self, folder: Path, count: int = 60) -> None:
        self.folder = folder
        self.store = str(folder / "store")
        self.out = folder / "out"
        self.card(ingest={"min_per_label": 1})
        self.texts([(f"r{i}", sentence(i)) for i in range(count)])
        self.labels([(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(count)])

    def card(self, **changes) -> None:
        (self.folder / "card.yaml").write_text(
            card_yaml(**{"calibrate": {"min_per_label": 2}, **changes}), encoding="utf-8"
        )

    def texts(self, rows, header: str = "id,text") -> None:
        write_csv(self.folder / "texts.csv", header, rows)

    def labels(self, rows, header: str = "id,label") -> None:
        write_csv(self.folder / "labels.csv", header, rows)

    def run(self, **changes) -> shell.Result:
        places = {name: str(self.out / name) for name in OUTPUTS}
        files = {name: str(self.folder / file) for name, file in (("texts", "texts.csv"), ("labels", "labels.csv"))}
        card = str(self.folder / "card.yaml")
        return shell.execute("ingest", {"card": card, "store": self.store, **files, **places, **changes})

    def faults(self, kind=BadInput, **changes) -> list[str]:
        with pytest.raises(kind) as caught:
            self.run(**changes)
        assert type(caught.value) is kind
        assert not self.out.exists() or list(self.out.iterdir()) == []
        return caught.value.faults

    def gold(self) -> pl.DataFrame:
        """Read the labels of all four splits."""
        parts = [tables.read(self.out / name, tables.Gold) for name in ("gold", "test")]
        return pl.concat(parts).with_columns(pl.col("split").cast(pl.String))

    def split_of(self) -> dict[str, str]:
        return dict(self.gold().select("id", "split").iter_rows())

    def pool(self) -> set[str]:
        return set(tables.read(self.out / "pool", tables.Texts)["id"])

    def refused(self) -> dict[str, list[str]]:
        """Read the refused ids of each reason, in order."""
        table = tables.read(self.out / "refused", tables.Refusals)
        return {reason: part["id"].to_list() for (reason,), part in table.group_by("reason", maintain_order=True)}


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


# The whole step


def test_a_plain_run_divides_everything_and_refuses_nothing(desk):
    result = desk.run()
    gold = desk.gold()
    assert set(gold["id"]) == {f"r{i}" for i in range(60)}
    counts = {split: len(gold.filter(split=split)) for split in SPLITS}
    assert counts == {"train": 15, "validation": 12, "calibration": 12, "test": 21}
    tips = gold.filter(label="tip").group_by("split").len()
    assert dict(tips.iter_rows()) == {"train": 5, "validation": 4, "calibration": 4, "test": 7}
    assert desk.pool() == set(gold.filter(split="train")["id"])
    assert desk.refused() == {}
    assert result.headline == "60 texts (15 in the pool), 60 labels (test 21, 33% tip), 0 refused"
    assert result.metrics["positive_share_test"] == pytest.approx(7 / 21)
    assert result.metrics["faults"] == 0


def test_the_test_split_is_in_no_folder_but_its_own(desk):
    desk.run()
    held = desk.gold().filter(split="test")
    assert set(tables.read(desk.out / "test", tables.Gold)["split"]) == {"test"}
    assert "test" not in set(tables.read(desk.out / "gold", tables.Gold)["split"].cast(pl.String))
    wall = tables.read(desk.out / "gold", tables.LeakageGuard)
    assert dict(wall.select("id", "content").iter_rows()) == {
        identity: content_hash(text) for identity, text in held.select("id", "text").iter_rows()
    }


def test_every_output_says_where_it_comes_from(desk):
    result = desk.run()
    for name in OUTPUTS:
        content = provenance.read(desk.out / name)
        assert content["step"] == "ingest"
        assert content["parameters"]["card"] == "hotel-tips"
    texts = (desk.folder / "texts.csv").read_bytes()
    assert result.parameters["texts_sha256"] == hashlib.sha256(texts).hexdigest()
    assert result.parameters["card_hash"] == load_card(desk.out / "snapshot").hash


def test_the_same_inputs_give_the_same_bytes_and_add_nothing_to_the_store(desk):
    def tables():
        return {path.relative_to(desk.out): path.read_bytes() for path in desk.out.rglob("*.parquet")}

    desk.run()
    before, kept = tables(), open_store(desk.store).list()
    desk.run()
    assert tables() == before
    assert open_store(desk.store).list() == kept
    assert len([key for key in kept if key.startswith(("labels/", "splits/", "cards/"))]) == 3


def test_the_card_is_put_into_the_store_and_the_snapshot(desk):
    desk.run()
    card = load_card(desk.folder / "card.yaml")
    kept = open_store(desk.store).read(f"cards/hotel-tips/{card.hash}.yaml").decode()
    assert parse_card(kept) == card == load_card(desk.out / "snapshot")


def test_a_bucket_serves_as_well_as_a_folder(desk, s3_url):
    desk.run()
    expected = desk.gold()
    store = open_store(f"{s3_url}/in")
    for name in ("card.yaml", "texts.csv", "labels.csv"):
        store.put_if_absent(name, (desk.folder / name).read_bytes())
    sources = {"card": "card.yaml", "texts": "texts.csv", "labels": "labels.csv"}
    desk.run(store=f"{s3_url}/store", **{name: store.locate(key) for name, key in sources.items()})
    assert desk.gold().equals(expected)
    assert open_store(f"{s3_url}/store").list() == open_store(desk.store).list()


def test_the_command_does_the_same(desk):
    options = {"card": "card.yaml", "texts": "texts.csv", "labels": "labels.csv", "store": "store"}
    places = {**options, **{name: f"out/{name}" for name in OUTPUTS}}
    words = [word for name, place in places.items() for word in (f"--{name}", str(desk.folder / place))]
    done = CliRunner().invoke(app, ["ingest", *words, "--set", "test_share=0.5"], catch_exceptions=False)
    assert done.output == "ingest: 60 texts (6 in the pool), 60 labels (test 30, 33% tip), 0 refused\n"


def test_columns_that_slices_use_travel_with_pool_and_gold(desk):
    desk.card(ingest={"min_per_label": 1}, slices=[{"name": "german", "column": "language", "equals": "de"}])
    desk.texts([(f"r{i}", sentence(i), "de" if i % 2 else "") for i in range(60)], "id,text,language")
    desk.run()
    for folder, schema in (("pool", tables.Texts), ("gold", tables.Gold), ("test", tables.Gold)):
        table = tables.read(desk.out / folder, schema)
        assert {row["language"] for row in table.iter_rows(named=True) if int(row["id"][1:]) % 2} == {"de"}
        assert table["language"].null_count() > 0


# Rows


def test_faulty_rows_are_refused_with_row_and_reason_and_the_rest_goes_on(desk):
    rows = [(f"r{i}", sentence(i)) for i in range(60)]
    desk.texts([*rows, ("r60", ""), ("", "x"), ("r1", "another text"), ("r2", sentence(2)), ("r61", "y" * 200)])
    desk.labels([*((f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(60)), ("r99", "tip"), ("r5", "tipp")])
    result = desk.run(overrides="ingest.max_chars=150\nmax_refused_share=0.1")
    table = tables.read(desk.out / "refused", tables.Refusals)
    assert [(row["file"][-10:], row["row"], row["id"], row["reason"], row["is_fault"]) for row in table.to_dicts()] == [
        ("labels.csv", 62, "r99", "unknown_id", True),
        ("labels.csv", 63, "r5", "unknown_label", True),
        ("/texts.csv", 62, "r60", "empty_text", True),
        ("/texts.csv", 63, None, "empty_id", True),
        ("/texts.csv", 64, "r1", "duplicate_id", True),
        ("/texts.csv", 65, "r2", "duplicate_row", False),
        ("/texts.csv", 66, "r61", "too_long", True),
    ]
    assert (result.metrics["refused"], result.metrics["faults"]) == (7, 6)
    assert result.headline.endswith(
        ", 7 refused (1 duplicate_row; 6 faulty: 1 duplicate_id, 1 empty_id, 1 empty_text, ...)"
    )
    assert result.metrics["refused_duplicate_id"] == 1


def test_too_many_faults_end_the_run_with_the_reasons_counted_for_both_files(desk):
    desk.texts([(f"r{i}", sentence(i) if i % 2 else "") for i in range(60)])
    desk.labels([(f"x{i}", "tip") for i in range(60)])
    of_texts, of_labels = desk.faults(BadData)
    assert "At most 5% of the rows must be faulty, got 30 of 60" in of_texts
    assert "empty_text 30 (row 2 of" in of_texts
    assert "got 60 of 60" in of_labels
    assert "unknown_id 60 (row 2 of" in of_labels
    assert "no text has the id 'x0'" in of_labels
    assert [key for key in open_store(desk.store).list() if key != "store.json"] == []


def test_redundant_rows_are_no_faults_however_many(desk):
    rows = [(f"r{i}", sentence(i)) for i in range(60)]
    copies = [(f"c{i}", sentence(i).upper()) for i in range(60)]
    desk.texts([*rows, *copies, *rows])
    result = desk.run()
    assert result.metrics["faults"] == 0
    assert len(desk.refused()["duplicate_row"]) == 60
    assert len(desk.refused()["duplicate_text"]) == 60
    assert result.headline.endswith(", 120 refused (60 duplicate_row, 60 duplicate_text)")


def test_a_text_that_somebody_asked_to_forget_is_not_taken_again(desk):
    tombstones.remember_to_forget(open_store(desk.store), "id", ["r0"], "2026-11-02")
    desk.run()
    assert desk.refused()["forgotten"] == ["r0"]
    assert "r0" not in desk.pool() | set(desk.gold()["id"])


def test_a_label_whose_text_was_refused_is_not_called_unknown(desk):
    desk.texts([(f"r{i}", sentence(i) if i else "") for i in range(60)])
    desk.run()
    assert desk.refused() == {"text_refused": ["r0"], "empty_text": ["r0"]}
    assert not tables.read(desk.out / "refused", tables.Refusals).filter(reason="text_refused")["is_fault"].item()


def test_a_label_that_the_card_does_not_have_is_refused_with_the_labels_there_are(desk):
    desk.labels([*((f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(59)), ("r59", "Others")])
    assert "labels_in_other_letters" not in desk.run().metrics
    (detail,) = tables.read(desk.out / "refused", tables.Refusals)["detail"]
    assert detail == "'Others' is none of other, tip"


def test_labels_in_another_case_or_with_other_blanks_are_the_cards_and_are_counted(desk):
    desk.run()
    before = desk.gold()
    ways = ["TIP", "\u00a0Tip", "t\u200bip", "tip"]
    desk.labels([(f"r{i}", ways[i % 4] if i % 3 == 0 else "other") for i in range(60)])
    result = desk.run()
    assert desk.gold().equals(before)
    assert result.metrics["labels_in_other_letters"] == 15
    assert result.headline.endswith("; 15 labels not in the card's case or with other blanks, taken as the card's")
    assert set(label_store.read_all(open_store(desk.store), "hotel-tips")["label"]) == {"tip", "other"}


# Files as they are


def test_a_file_with_columns_of_its_own_names_is_read_by_the_card_or_the_command(desk):
    desk.run()
    before = desk.gold()
    header = "message_id,body,category"
    rows = [(f"r{i}", sentence(i), "tip" if i % 3 == 0 else "other") for i in range(60)]
    path = write_csv(desk.folder / "all.csv", header, rows)
    desk.card(ingest={"min_per_label": 1}, columns={"id": "message_id", "text": "body", "label": "category"})
    desk.run(texts=path, labels=path)
    assert desk.gold().equals(before)
    desk.card(ingest={"min_per_label": 1})
    words = [f"--{name}={desk.out / name}" for name in OUTPUTS]
    words += [f"--texts={path}", f"--labels={path}", f"--card={desk.folder / 'card.yaml'}", f"--store={desk.store}"]
    names = ["--id-column=message_id", "--text-column=body", "--label-column=category"]
    done = CliRunner().invoke(app, ["ingest", *words, *names], catch_exceptions=False)
    assert done.exit_code == 0
    assert desk.gold().equals(before)


def test_a_file_without_ids_gets_them_of_its_texts_and_its_labels_find_them(desk):
    rows = [(sentence(i), "tip" if i % 3 == 0 else "other") for i in range(60)]
    path = write_csv(desk.folder / "all.csv", "text,label", [*rows, rows[0]])
    result = desk.run(texts=path, labels=path)
    made = f"ids made of the texts in {path}, which has no column of ids (equal texts share one: 1 row repeats a text)"
    assert result.headline.endswith(f"duplicate_row); {made}")
    gold = desk.gold()
    assert len(gold) == len(set(gold["id"])) == 60
    assert dict(gold.select("text", "label").iter_rows()) == dict(rows)
    assert desk.refused() == {"duplicate_row": [gold.filter(text=sentence(0))["id"].item()]}


def test_a_row_without_text_where_ids_are_made_is_refused_for_its_text(desk):
    rows = [(sentence(i), "tip" if i % 3 == 0 else "other") for i in range(60)]
    path = write_csv(desk.folder / "all.csv", "text,label", [*rows, ("", "tip")])
    desk.run(texts=path, labels=path)
    assert desk.refused() == {"empty_text": [None, None]}


def test_labels_that_files_call_1_and_true_are_the_cards_by_its_aliases(desk):
    desk.run()
    before = desk.gold()
    labels = [
        {"name": "other", "definition": "x", "aliases": [0, False, "no"]},
        {"name": "tip", "definition": "x", "aliases": [1, True]},
    ]
    desk.card(ingest={"min_per_label": 1}, labels=labels)
    tips, others = ["1", "True", "tip"], ["0", "NO", "False"]
    desk.labels([(f"r{i}", others[i // 3 % 3] if i % 3 else tips[i // 3 % 3]) for i in range(60)])
    assert "labels_in_other_letters" not in desk.run().metrics
    assert desk.gold().select(before.columns).equals(before)
    rows = [json.dumps({"id": f"r{i}", "label": i % 3 == 0}) for i in range(60)]
    (desk.folder / "labels.jsonl").write_text("\n".join(rows))
    desk.run(labels=str(desk.folder / "labels.jsonl"))
    assert desk.gold().select(before.columns).equals(before)


def test_a_number_for_a_label_that_the_card_does_not_map_is_told_how(desk):
    desk.labels([*((f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(59)), ("r59", "1")])
    desk.run()
    (detail,) = tables.read(desk.out / "refused", tables.Refusals)["detail"]
    assert detail == "'1' is none of other, tip (a label's aliases on the card can say that it is meant)"


def test_splits_are_known_by_the_names_that_files_give_them(desk):
    names = ["Training", "dev", "VAL", "calib", "test"]
    desk.labels([(f"r{i}", "tip" if i % 2 else "other", names[i % 5]) for i in range(60)], "id,label,split")
    desk.run()
    meant = ["train", "validation", "validation", "calibration", "test"]
    assert desk.split_of() == {f"r{i}": meant[i % 5] for i in range(60)}
    assert desk.refused() == {}


def test_files_that_are_called_like_splits_are_these_and_that_is_said(desk):
    (desk.folder / "parts").mkdir()
    rows = [(f"r{i}", "tip" if i % 2 else "other") for i in range(60)]
    for name, part in (("train", rows[:30]), ("dev", rows[30:45]), ("test-00001", rows[45:])):
        write_csv(desk.folder / f"parts/{name}.csv", "id,label", part)
    result = desk.run(labels=str(desk.folder / "parts"))
    split = desk.split_of()
    assert {split[name] for name, _ in rows[45:]} == {"test"}
    assert {split[name] for name, _ in rows[30:45]} == {"validation"}
    named = "splits by the names of the files: 'dev.csv (validation)', 'test-00001.csv (test)', 'train.csv (train)'"
    assert named in result.headline
    assert "the splits of the file leave calibration empty" in result.headline


def test_a_folder_of_labels_that_grows_by_a_file_that_is_called_test_moves_nothing_and_says_so(desk):
    (desk.folder / "parts").mkdir()
    rows = [(f"r{i}", "tip" if i % 2 else "other") for i in range(60)]
    write_csv(desk.folder / "parts/train.csv", "id,label", rows[:45])
    desk.run(labels=str(desk.folder / "parts"))
    before = desk.split_of()
    write_csv(desk.folder / "parts/test.csv", "id,label", rows[45:])
    for _ in range(2):
        headline = desk.run(labels=str(desk.folder / "parts")).headline
        assert desk.split_of() == before | {name: "test" for name, _ in rows[45:]}
        held_out = sum(split != "train" for split in before.values())
        assert f"({held_out} labels stay in their earlier split)" in headline
    (desk.folder / "parts/train.csv").unlink()  # its labels are in the store, and so are their splits
    desk.run(labels=str(desk.folder / "parts"))
    assert desk.split_of() == before | {name: "test" for name, _ in rows[45:]}


def test_a_text_in_two_files_that_are_called_like_splits_is_in_the_more_guarded_one_run_for_run(desk):
    (desk.folder / "parts").mkdir()
    rows = [(f"r{i}", "tip" if i % 2 else "other") for i in range(60)]
    write_csv(desk.folder / "parts/train.csv", "id,label", rows[:46])
    write_csv(desk.folder / "parts/test.csv", "id,label", rows[45:])
    for _ in range(2):
        desk.run(labels=str(desk.folder / "parts"))
        (detail,) = tables.read(desk.out / "refused", tables.Refusals).filter(reason="straddles_split")["detail"]
        assert detail.startswith("'train' is asked for by the name of '")
        assert desk.split_of()["r45"] == "test"


def test_a_split_that_is_none_is_refused_with_the_names_that_are_and_open_rows_are_said(desk):
    rows = [(f"r{i}", "tip" if i % 2 else "other", "holdout" if i == 0 else "train" * (i < 20)) for i in range(60)]
    desk.labels(rows, "id,label,split")
    result = desk.run()
    (detail,) = tables.read(desk.out / "refused", tables.Refusals).filter(reason="unknown_split")["detail"]
    assert detail.startswith(
        "'holdout' is none of train, validation, calibration, test, nor what files call these: dev"
    )
    assert "40 groups without a split in the file are shared out: validation " in result.headline


# Votes


def test_the_majority_of_annotators_is_the_label_and_a_tie_refuses_them_all(desk):
    people = [
        *((f"r{i}", "tip" if i % 3 == 0 else "other", "ann") for i in range(60)),
        *(("r1", "tip", "bob"), ("r1", "tip", "cat")),
        *(("r2", "tip", "bob"),),
        *(("r3", "tip", "bob"), ("r3", "tip", "bob")),
    ]
    desk.labels(people, "id,label,annotator")
    desk.run()
    gold = {row["id"]: row for row in desk.gold().to_dicts()}
    assert (gold["r1"]["label"], gold["r1"]["annotators"]) == ("tip", 3)
    assert (gold["r3"]["label"], gold["r3"]["annotators"]) == ("tip", 2)
    assert "r2" not in gold
    assert desk.refused()["conflicting_labels"] == ["r2", "r2"]
    assert desk.refused()["duplicate_vote"] == ["r3"]


def test_copies_of_a_text_with_different_labels_are_a_conflict(desk):
    rows = [(f"r{i}", sentence(i)) for i in range(60)]
    desk.texts([*rows, ("copy", f"  {sentence(7)}!! ")])
    desk.labels([*((f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(60)), ("copy", "tip")])
    desk.run()
    assert not {"r7", "copy"} & set(desk.gold()["id"])
    assert sorted(desk.refused()["conflicting_labels"]) == ["copy", "r7"]


def vote_table(*rows) -> pl.DataFrame:
    """Rows of (content, in_split, label, origin); each row a text of its own id."""
    table = pl.DataFrame(rows, schema=["content", "in_split", "label", "origin"], orient="row").with_row_index("order")
    identity = pl.format("i{}", "order")
    return table.with_columns(
        id=identity,
        row=pl.col("order") + 1,
        file=pl.lit("f"),
        segment=0,
        annotator=identity,
        split=None,
        guideline=pl.lit("g1"),
    )


def outcome(*rows) -> list[tuple]:
    decided = vote_rules.decided(vote_rules.guarded(vote_table(*rows)).kept, TWO)
    return decided.kept.select("id", "label", "split", "annotators").rows()


def test_copies_vote_together_and_the_most_guarded_stands_for_them():
    assert outcome(("a", "train", "tip", "labels"), ("a", "test", "tip", "labels")) == [("i1", "tip", "test", 2)]


def test_copies_in_training_do_not_overrule_the_test():
    train = [("a", "train", "other", "labels")] * 3
    assert outcome(("a", "test", "tip", "labels"), *train) == []
    assert outcome(("a", "test", "other", "labels"), *train) == [("i0", "other", "test", 4)]


def test_an_answer_to_a_review_queue_never_touches_a_held_out_text():
    votes = vote_table(
        ("own", "test", "tip", "queue"),
        ("copied", "validation", "tip", "labels"),
        ("copied", "train", "other", "queue"),
        ("free", "train", "tip", "queue"),
    )
    guarded = vote_rules.guarded(votes)
    assert sorted(guarded.refused["id"]) == ["i0", "i2"]
    assert set(guarded.refused["reason"]) == {"leakage"}
    assert vote_rules.decided(guarded.kept, TWO).kept.select("id", "label", "split", "origin").rows() == [
        ("i1", "tip", "validation", "labels"),
        ("i3", "tip", "train", "queue"),
    ]


def test_a_fenced_answer_does_not_pull_a_copy_in_train_behind_the_wall():
    assert outcome(("a", "test", "other", "queue"), ("a", "train", "tip", "labels")) == [("i1", "tip", "train", 1)]


# Labels of earlier runs and of review queues


def answer(desk: Desk, *rows) -> None:
    path = write_csv(desk.folder / "answers.csv", "id,label", rows)
    label_store.add(open_store(desk.store), path, "hotel-tips")


def test_answers_put_beside_the_queue_are_in_the_next_run_in_train_only(desk):
    desk.texts([(f"r{i}", sentence(i)) for i in range(80)])
    desk.run()
    before = desk.split_of()
    held = next(identity for identity, split in before.items() if split == "test")
    kept = next(identity for identity, split in before.items() if split == "train")
    label = dict(desk.gold().select("id", "label").iter_rows())
    answer(desk, *((f"r{i}", "tip") for i in range(60, 80)), (held, "tip"), (kept, label[kept]))
    desk.run()
    after = desk.gold()
    assert {identity: split for identity, split in desk.split_of().items() if identity in before} == before
    mined = after.filter(origin="queue")
    assert set(mined["id"]) == {f"r{i}" for i in range(60, 80)}
    assert set(mined["split"]) == {"train"}
    assert desk.refused() == {"leakage": [held]}
    assert after.filter(id=kept)["annotators"].item() == 2
    assert after.filter(id=kept)["origin"].item() == "labels"


def test_a_text_answered_from_a_queue_stays_in_train_when_a_file_labels_its_group_later(desk):
    desk.texts([(f"r{i}", "g60" if i >= 60 else f"g{i}", sentence(i)) for i in range(64)], "id,group,text")
    desk.run()
    answer(desk, ("r60", "tip"))
    desk.labels([(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(64)])
    desk.run()
    assert {desk.split_of()[f"r{i}"] for i in range(60, 64)} == {"train"}


def test_a_corrected_labels_file_replaces_what_it_said_before(desk):
    desk.run()
    desk.labels([("r1", "tip")])
    desk.run()
    gold = dict(desk.gold().select("id", "label").iter_rows())
    assert gold["r1"] == "tip"
    assert len(gold) == 60  # the labels of the first file are still held


def test_stored_labels_without_a_text_are_counted_and_are_no_faults(desk):
    desk.run()
    desk.texts([(f"r{i}", sentence(i)) for i in range(50)])
    desk.labels([(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(50)])
    result = desk.run()
    assert len(desk.refused()["absent_text"]) == 10
    assert result.metrics["faults"] == 0


# Splits


def test_the_texts_of_a_group_stay_together(desk):
    desk.texts([(f"r{i}", f"g{i // 4}", sentence(i)) for i in range(60)], "id,group,text")
    desk.run()
    gold = desk.gold()
    assert gold.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert gold["split"].n_unique() == 4


def test_unlabelled_texts_are_pooled_except_beside_held_out_ones(desk):
    rows = [(f"r{i}", f"g{i}", sentence(i)) for i in range(60)]
    beside = [(f"b{i}", f"g{i}", sentence(f"b{i}")) for i in range(60)]
    desk.texts([*rows, *beside, ("free", "", sentence("free"))], "id,group,text")
    desk.run()
    split = desk.split_of()
    in_train = {f"b{i}" for i in range(60) if split[f"r{i}"] == "train"}
    assert {identity for identity in desk.pool() if identity.startswith("b")} == in_train
    assert "free" in desk.pool()
    assert set(desk.refused()["group_held_out"]) == {f"b{i}" for i in range(60)} - in_train
    wall = set(tables.read(desk.out / "gold", tables.LeakageGuard)["id"])
    assert wall == {name for i in range(60) if split[f"r{i}"] == "test" for name in (f"r{i}", f"b{i}")}


def test_a_text_of_the_contract_teaches_nobody(desk):
    desk.texts([*((f"r{i}", "", sentence(i)) for i in range(60)), ("free", "", sentence("free"))], "id,group,text")
    desk.run()
    taught = next(name for name, split in desk.split_of().items() if split == "train")
    held = {name for name, split in desk.split_of().items() if split != "train"}
    text = sentence(int(taught.removeprefix("r")))
    desk.card(ingest={"min_per_label": 1}, must=[{"text": text.upper(), "label": "tip", "alike": [sentence("free")]}])
    result = desk.run()
    assert {taught, "free"}.isdisjoint({*desk.pool(), *desk.split_of()})
    assert set(desk.refused()["must"]) == {taught, "free"}
    assert held <= set(desk.split_of())
    assert result.metrics["faults"] == 0


def test_an_authors_split_is_honoured_and_blank_rows_fill_the_other_splits(desk):
    asked = {f"r{i}": "test" for i in range(15)}
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", asked.get(f"r{i}", "")) for i in range(60)]
    desk.labels(rows, "id,label,split")
    desk.run()
    split = desk.split_of()
    assert {identity for identity, found in split.items() if found == "test"} == set(asked)
    counts = {name: list(split.values()).count(name) for name in SPLITS}
    assert counts == {"train": 27, "validation": 9, "calibration": 9, "test": 15}


def test_an_author_who_fills_every_split_gets_just_that(desk):
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", SPLITS[i % 4]) for i in range(60)]
    desk.labels(rows, "id,label,split")
    desk.run()
    assert desk.split_of() == {f"r{i}": SPLITS[i % 4] for i in range(60)}


@pytest.mark.parametrize(
    ("asked", "shared"),
    [
        (("train", "train", "train", "dev", "test"), {"calibration"}),
        (("train", "train", "test"), {"calibration", "validation"}),
        (("train",), {"calibration", "validation", "test"}),
        (("dev", "dev", "test"), {"calibration"}),
    ],
)
def test_a_split_that_no_row_asks_for_is_taken_out_of_train_and_never_out_of_test(desk, asked, shared):
    desk.texts([(f"r{i}", sentence(i)) for i in range(120)])
    of = {f"r{i}": asked[i % len(asked)] for i in range(120)}
    desk.labels([(f"r{i}", "tip" if i // 5 % 3 == 0 else "other", of[f"r{i}"]) for i in range(120)], "id,label,split")
    result = desk.run()
    split = desk.split_of()
    assert set(split) == set(of)
    assert {split[name] for name in of if of[name] == "test"} <= {"test"}
    giver = "train" if "train" in asked else "dev"
    assert {split[name] for name in of if of[name] == giver} == {*shared, "validation" if giver == "dev" else "train"}
    assert "the splits of the file leave" in result.headline
    assert all(name in result.headline for name in shared)
    assert f"that it has in {'train' if giver == 'train' else 'validation'} " in result.headline
    again = desk.run()
    assert desk.split_of() == split
    assert again.metrics["faults"] == 0


def test_a_group_shared_out_of_train_that_the_author_calls_test_later_is_a_fault(desk):
    kind = {f"r{i}": "tip" if i % 3 == 0 else "other" for i in range(60)}
    desk.labels([(name, label, "train") for name, label in kind.items()], "id,label,split")
    desk.run()
    moved = next(name for name, split in desk.split_of().items() if split == "calibration")
    desk.labels([(name, label, "test" if name == moved else "train") for name, label in kind.items()], "id,label,split")
    desk.run()
    assert desk.refused()["split_moved"] == [moved]


def test_rows_that_would_straddle_are_refused_in_the_less_guarded_split_on_every_run(desk):
    desk.texts([(f"r{i}", f"g{i // 2}", sentence(i)) for i in range(60)], "id,group,text")
    asked = {0: "test", 1: "train", 2: "test"}
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", asked.get(i, "")) for i in range(60)]
    desk.labels(rows, "id,label,split")
    for _ in range(2):
        result = desk.run()
        assert desk.split_of()["r0"] == "test"
        assert "r1" not in desk.split_of()
        assert desk.refused() == {"straddles_split": ["r1"], "group_held_out": ["r1"]}
        assert result.metrics["faults"] == 0


def test_an_author_cannot_move_a_group_that_an_earlier_run_assigned(desk):
    desk.run()
    moved = next(identity for identity, split in desk.split_of().items() if split == "train")
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", "test" if f"r{i}" == moved else "") for i in range(60)]
    desk.labels(rows, "id,label,split")
    desk.run()
    assert desk.refused() == {"split_moved": [moved]}
    desk.labels([(f"r{i}", "tip" if i % 3 == 0 else "other", SPLITS[i % 4]) for i in range(60)], "id,label,split")
    with pytest.raises(BadData, match=r"split_moved \d+ .* since an earlier run; use another store or card name"):
        desk.run()


def test_a_row_that_nobody_has_labelled_yet_is_counted_and_no_fault(desk):
    desk.labels([(f"r{i}", ("tip" if i % 3 == 0 else "other") if i < 45 else "") for i in range(60)])
    result = desk.run()
    assert desk.refused() == {"empty_label": [f"r{i}" for i in range(45, 60)]}
    assert "0 refused, 15 rows without a label yet" in result.headline
    assert (result.metrics["labels"], result.metrics["faults"]) == (45, 0)


def test_an_unknown_split_is_refused(desk):
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", "exam" if i == 1 else "") for i in range(60)]
    desk.labels(rows, "id,label,split")
    desk.run()
    assert desk.refused() == {"unknown_split": ["r1"]}


def test_groups_keep_their_split_when_labels_and_texts_are_added(desk):
    desk.run()
    before = desk.split_of()
    desk.texts([(f"r{i}", sentence(i)) for i in range(120)])
    desk.labels([(f"r{i}", "tip" if i % 3 == 0 else "other") for i in reversed(range(120))])
    desk.run(overrides="ingest.seed=7\ningest.test_share=0.1")
    after = desk.split_of()
    assert {identity: after[identity] for identity in before} == before
    assert len(after) == 120


def test_a_rival_who_writes_first_is_read_and_obeyed(desk, monkeypatch):
    """Another run assigns the same groups between this run's reading and its writing."""
    honest, rival = splits.put, {}

    def beaten_once(store, key, assignments):
        if not rival:
            rival.update({name: Assignment("train", "hash") for name in ("r0", "r1", "r2")})
            assert honest(store, key, rival)
        return honest(store, key, assignments)

    monkeypatch.setattr(splits, "put", beaten_once)
    desk.run()
    assert {desk.split_of()[name] for name in rival} == {"train"}
    stored, following = splits.read(open_store(desk.store), "hotel-tips")
    assert desk.split_of() == {name: item.split for name, item in stored.items()}
    assert following == "splits/hotel-tips/000003.jsonl"


def run_part(folder: str, name: str, start: int, end: int) -> None:
    desk = Desk.__new__(Desk)
    desk.folder, desk.store, desk.out = Path(folder), str(Path(folder) / "store"), Path(folder) / f"out-{name}"
    labels = [(f"r{i}", "tip" if i % 3 == 0 else "other") for i in range(start, end)]
    desk.run(labels=write_csv(Path(folder) / f"labels-{name}.csv", "id,label", labels))


def test_two_runs_at_once_agree_on_every_split(tmp_path):
    desk = Desk(tmp_path, 300)
    parts = {"one": (0, 200), "two": (100, 300)}
    runs = [SPAWN.Process(target=run_part, args=(str(tmp_path), name, *part)) for name, part in parts.items()]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0]
    stored, _ = splits.read(open_store(desk.store), "hotel-tips")
    assert set(stored) == {f"r{i}" for i in range(300)}
    for name in parts:
        desk.out = tmp_path / f"out-{name}"
        assert all(stored[identity].split == split for identity, split in desk.split_of().items())


def test_of_two_assignments_of_a_group_the_first_counts(store):
    for number, split in enumerate(("test", "train"), start=1):
        assert splits.put(store, f"splits/forum/{number:06d}.jsonl", {"g": Assignment(split, "hash")})
    assert not splits.put(store, "splits/forum/000001.jsonl", {"g": Assignment("train", "hash")})
    assert splits.read(store, "forum") == ({"g": Assignment("test", "hash")}, "splits/forum/000003.jsonl")


def test_shares_left_by_the_author():
    config = IngestConfig()
    assert shares(config) == {"validation": 0.2, "calibration": 0.2, "test": 0.35, "train": 0.25}
    assert shares(config, ["train", "test"]) == {"validation": 0.5, "calibration": 0.5}
    assert shares(config, SPLITS) == {"train": 1.0}


groups_of_texts = st.lists(
    st.builds(
        lambda number, texts, positives: Group(f"g{number}", texts, int(not positives), min(texts, positives) or texts),
        number=st.integers(0, 500),
        texts=st.integers(1, 6),
        positives=st.integers(0, 3),
    ),
    max_size=80,
    unique_by=lambda group: group.name,
)


@given(groups=groups_of_texts, order=st.randoms(), seed=st.integers(0, 5))
def test_the_assignment_does_not_depend_on_the_order_of_the_rows(groups, order, seed):
    config = IngestConfig(seed=seed)
    shuffled = order.sample(groups, len(groups))
    assert assign(shuffled, {}, config) == assign(groups, {}, config)


@given(groups=groups_of_texts, part=st.floats(0, 1))
def test_what_is_assigned_once_is_never_assigned_again(groups, part):
    config = IngestConfig()
    first = assign(groups[: int(part * len(groups))], {}, config)
    second = assign(groups, first, config)
    assert not first.keys() & second.keys()
    assert first.keys() | second.keys() == {group.name for group in groups}


@given(groups=groups_of_texts)
def test_every_split_gets_its_share_to_within_one_group(groups):
    config = IngestConfig()
    found = assign(groups, {}, config)
    for kind in (0, 1):
        members = [group for group in groups if group.kind == kind]
        total, largest = sum(group.weight for group in members), max((group.weight for group in members), default=0)
        for split, share in shares(config).items():
            got = sum(group.weight for group in members if found[group.name].split == split)
            assert abs(got - share * total) <= 2 * largest


def test_one_huge_group_is_not_the_exam():
    groups = [Group("huge", 400, 0, 120), *(Group(f"g{i}", 4, 0, 1) for i in range(380))]
    for seed in range(20):
        found = assign(groups, {}, IngestConfig(seed=seed))
        assert found["huge"].split == "train"
        counts = [sum(item.split == split for item in found.values()) for split in ("validation", "calibration")]
        assert counts == [100, 100]


@pytest.mark.parametrize("groups_a_label", [1, 2, 6, 10])
def test_shares_hold_over_many_labels_with_few_groups_each(groups_a_label):
    groups = [Group(f"g{kind}-{number}", 1, kind, 1) for kind in range(77) for number in range(groups_a_label)]
    found = assign(groups, {}, IngestConfig(test_share=0.35), is_first_apart=False)
    for split, share in shares(IngestConfig(test_share=0.35)).items():
        got = sum(item.split == split for item in found.values()) / len(groups)
        assert abs(got - share) <= 0.03
    if groups_a_label >= 6:
        taught = {name.partition("-")[0] for name, item in found.items() if item.split == "train"}
        assert len(taught) == 77, "each label is learned"


def test_another_seed_gives_another_division():
    groups = [Group(f"g{i}") for i in range(50)]
    assert assign(groups, {}, IngestConfig(seed=1)) != assign(groups, {}, IngestConfig(seed=2))


# Duplicates across splits


def test_near_duplicates_stay_in_the_more_guarded_split(desk):
    long = " ".join([sentence("long"), sentence("longer")])
    near = {
        "a": (long + " one", "test"),
        "b": (long + " two", "train"),
        "c": (long + " six", "validation"),
        "d": (long + " ten", ""),
    }
    rows = [(f"r{i}", sentence(i)) for i in range(60)]
    desk.texts([*rows, *((name, text) for name, (text, _) in near.items()), ("free", long + " pool")])
    asked = [(f"r{i}", "tip" if i % 3 == 0 else "other", SPLITS[i % 4]) for i in range(60)]
    desk.labels([*asked, *((name, "tip", split) for name, (_, split) in near.items())], "id,label,split")
    desk.run()
    assert desk.split_of()["a"] == "test"
    assert desk.refused() == {"near_duplicate": ["b", "c", "d", "free"]}
    details = tables.read(desk.out / "refused", tables.Refusals)["detail"]
    assert all(detail.endswith("like id 'a' (test)") for detail in details)
    assert desk.pool() == {f"r{i}" for i in range(60) if SPLITS[i % 4] == "train"}


def test_near_duplicates_within_the_pool_stay_unless_they_are_to_be_folded(desk):
    long = " ".join([sentence("long"), sentence("longer")])
    rows = [(f"r{i}", sentence(i)) for i in range(60)]
    desk.texts([*rows, ("a", long + " one"), ("b", long + " two")])
    desk.run()
    assert {"a", "b"} <= desk.pool()
    desk.run(overrides="ingest.fold_near_duplicates=true")
    assert "a" in desk.pool()
    assert desk.refused() == {"near_duplicate": ["b"]}


def test_of_copies_in_the_pool_the_labelled_one_is_kept(desk):
    rows = [(f"c{i}", sentence(i)) for i in range(60)] + [(f"r{i}", sentence(i)) for i in range(60)]
    desk.texts(rows)
    desk.run()
    assert all(identity.startswith("r") for identity in desk.pool())
    assert sorted(desk.refused()["duplicate_text"]) == sorted(f"c{i}" for i in range(60))


words = st.lists(
    st.sampled_from(["ask", "for", "a", "room", "at", "the", "back", "avoid", "lift"]), min_size=1, max_size=9
)
pile = st.lists(
    st.tuples(words.map(" ".join), st.integers(0, 12), st.sampled_from(["tip", "other", None])), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=60)
@given(rows=pile, is_folded=st.booleans())
def test_every_text_ends_in_exactly_one_place_and_no_duplicate_crosses_the_wall(rows, is_folded):
    card = parse_card(card_yaml())
    table = pl.DataFrame(
        [("t.csv", i + 2, f"r{i}", f"g{group}", text) for i, (text, group, _) in enumerate(rows)],
        schema={"file": pl.String, "row": pl.Int64, "id": pl.String, "group": pl.String, "text": pl.String},
        orient="row",
    )
    given_labels = pl.DataFrame(
        [("l.csv", i + 2, f"r{i}", label) for i, (*_, label) in enumerate(rows) if label],
        schema={"file": pl.String, "row": pl.Int64, "id": pl.String, "label": pl.String},
        orient="row",
    )
    texts = text_rules.sound(table, [])
    votes = label_store.from_file(given_labels, 0).with_columns(is_new=pl.lit(value=True))
    sound = vote_rules.sound(vote_rules.looked_at(votes), texts, LabelSpace.of(card), [])
    config = IngestConfig(fold_near_duplicates=is_folded)
    division = rules.divide(texts.kept, sound.kept, card, {}, config)

    held = division.gold.filter(pl.col("split") != "train")
    refused = division.refused.filter(file="t.csv")["id"].to_list()
    places = [*division.pool["id"], *held["id"], *refused]
    assert sorted(places) == sorted(table["id"])
    assert set(division.gold.filter(split="train")["id"]) <= set(division.pool["id"])
    assert division.pool["group"].is_in(held["group"].implode()).sum() == 0
    guarded = [*held.select("text", "split").iter_rows(), *((text, "train") for text in division.pool["text"])]
    for first, split in guarded:
        for second, other in guarded:
            assert split == other or jaccard(shingles(first), shingles(second)) < config.near_duplicate


# Bad input, up front


def test_three_labels_in_all_are_too_few_and_the_sentence_says_what_to_do(desk):
    desk.card()
    desk.labels([("r1", "tip"), ("r2", "other"), ("r3", "other")])
    faults = desk.faults(TooFewLabels)
    assert len(faults) == 3
    assert faults[0].startswith("The validation split must hold at least 5 human labels of each label, got ")
    assert "of 3 usable labels in all" in faults[0]
    assert str(desk.folder / "labels.csv") in faults[0]
    assert "lower ingest.min_per_label" in faults[0]
    assert open_store(desk.store).list() == ["store.json"]


def test_labels_that_calibrate_would_refuse_are_refused_before_money_is_spent(desk):
    desk.card(calibrate={"min_per_label": 3})
    (fault,) = desk.faults(TooFewLabels, overrides="ingest.min_per_label=4\ncalibrate.min_per_label=5\nseed=0")
    assert fault.startswith(
        "The calibration split must hold at least 5 human labels of each label, got 8 'other' and 4"
    )
    assert fault.endswith("or lower calibrate.min_per_label.")
    assert desk.run(overrides="ingest.min_per_label=4").metrics["calibration"] == 12


def test_both_settings_are_named_when_both_stand_in_the_way(desk):
    faults = desk.faults(TooFewLabels, overrides="ingest.min_per_label=5\ncalibrate.min_per_label=6")
    assert [fault.rpartition("or lower ")[2] for fault in faults] == [
        "ingest.min_per_label.",
        "ingest.min_per_label and calibrate.min_per_label.",
    ]


def test_too_few_labels_say_why_the_others_were_refused(desk):
    desk.labels([(f"r{i}", label) for i in range(50) for label in ("tip", "other")])
    faults = desk.faults(TooFewLabels)
    assert "0 usable labels in all" in faults[0]
    assert faults[-1].startswith("Of the labels 100 were refused")
    assert "conflicting_labels 100 (row 2 of" in faults[-1]


@pytest.mark.parametrize("option", ["card", "texts", "labels"])
def test_an_empty_address_is_not_the_current_folder(desk, monkeypatch, option):
    monkeypatch.chdir(desk.folder)
    (fault,) = desk.faults(BadInput, **{option: ""})
    assert f"got an empty one (--{option}). Check that the variable is set" in fault


def test_one_class_only_is_too_few(desk):
    desk.labels([(f"r{i}", "other") for i in range(60)])
    assert "and 0 'tip'" in desk.faults(TooFewLabels)[0]


def test_a_labels_file_with_a_header_alone_is_too_few(desk):
    desk.labels([])
    assert "got 0 'other' and 0 'tip' of 0 usable labels" in desk.faults(TooFewLabels)[0]


def test_a_texts_file_with_a_header_alone_is_refused(desk):
    desk.texts([])
    (fault,) = desk.faults(BadData)
    assert "must hold rows, got a header alone" in fault
    assert fault.endswith("Write it again, with its rows.")


def test_all_faults_of_card_files_and_store_are_reported_together(desk):
    desk.card(budget={"teacher_usd": 0})
    (desk.folder / "texts.csv").write_text("id,sentence\n1,x\n")
    (desk.folder / "labels.csv").unlink()
    (desk.folder / "store").write_text("a file")
    faults = desk.faults(BadInput)
    words = ["teacher_usd", "sentence", "labels.csv", "store"]
    assert [word for fault, word in zip(faults, words, strict=True) if word not in fault] == []


@pytest.mark.parametrize("is_yaml", [True, False])
def test_a_file_is_not_called_faulty_for_a_column_that_a_faulty_card_names(desk, is_yaml):
    desk.card(budget={"teacher_usd": 0}, columns={"text": "sentence"})
    (desk.folder / "texts.csv").write_text("id,sentence\n1,x\n")
    if not is_yaml:
        (desk.folder / "card.yaml").write_text("name: [")
    (fault,) = desk.faults(BadCard)
    assert "card.yaml" in fault


def test_a_missing_slice_column_is_reported_beside_the_faults_of_the_labels(desk):
    desk.card(slices=[{"name": "german", "column": "language", "equals": "de"}])
    (desk.folder / "labels.csv").write_text("")
    of_texts, of_labels = desk.faults(BadData)
    assert "Add or rename language." in of_texts
    assert "got an empty file" in of_labels


def test_a_slice_may_not_take_a_column_of_our_own(desk):
    desk.card(slices=[{"name": "a", "column": "split", "equals": "b"}])
    desk.texts([("r1", "x", "b")], "id,text,split")
    assert "must have a name of its own, got split" in desk.faults(BadCard)[0]


def test_a_missing_card_is_refused(desk):
    (desk.folder / "card.yaml").unlink()
    assert "must be a readable UTF-8 file" in desk.faults(BadCard)[0]


def test_a_missing_card_in_a_bucket_is_refused(desk, s3_url):
    assert "got nothing at" in desk.faults(BadCard, card=f"{s3_url}/none.yaml")[0]
    assert "bucket must exist" in desk.faults(BadInput, card="s3://no-such-bucket-here/card.yaml")[0]


def test_a_missing_bucket_for_the_store_is_refused(desk, s3_url):
    assert "bucket must exist" in desk.faults(BadInput, store="s3://no-such-bucket-here/x")[0]


def test_a_setting_that_cannot_be_meant_is_refused(desk):
    with pytest.raises(BadInput, match=r"ingest\.test_share must be between 0 and 1"):
        desk.run(overrides="ingest.test_share=2")


def test_labels_beyond_the_budget_are_counted_and_no_fault(desk):
    desk.card(ingest={"min_per_label": 1}, budget={"teacher_usd": 1, "human_labels": 50})
    assert desk.run().metrics["labels_over_budget"] == 10


def test_the_store_tells_who_decided_a_split(desk):
    rows = [(f"r{i}", "tip" if i % 3 == 0 else "other", "test" if i < 12 else "") for i in range(60)]
    desk.labels(rows, "id,label,split")
    desk.run()
    lines = open_store(desk.store).read("splits/hotel-tips/000001.jsonl").decode().splitlines()
    content = [json.loads(line) for line in lines]
    assert [line["group"] for line in content] == sorted(line["group"] for line in content)
    assert {line["group"] for line in content if line["by"] == "author"} == {f"r{i}" for i in range(12)}


def test_files_that_are_passed_over_stand_on_the_line_and_among_the_refusals(tmp_path):
    desk = Desk(tmp_path)
    folder = tmp_path / "many"
    folder.mkdir()
    (tmp_path / "texts.csv").rename(folder / "texts.csv")
    for name in ("part-1.docx", "part-2.txt", "_SUCCESS"):
        (folder / name).write_text("id,text\n1,x\n")
    done = desk.run(texts=str(folder))
    assert done.headline.endswith("; 2 files that are passed over (part-1.docx, part-2.txt)")
    refused = tables.read(desk.out / "refused", tables.Refusals).filter(pl.col("reason") == "passed_over")
    assert refused.select("file", "row", "is_fault").rows() == [
        (f"{folder}/part-1.docx", 0, False),
        (f"{folder}/part-2.txt", 0, False),
    ]
    assert done.metrics["refused_passed_over"] == 2


def test_a_label_beside_another_text_is_refused(tmp_path):
    desk = Desk(tmp_path)
    labels = [(f"r{i}", "tip" if i % 3 == 0 else "other", sentence(i).upper()) for i in range(60)]
    desk.labels([*labels[:-1], (*labels[-1][:2], sentence(7))], header="id,label,text")
    desk.run()
    refused = tables.read(desk.out / "refused", tables.Refusals).filter(pl.col("reason") == "other_text")
    assert refused.select("row", "id", "is_fault").rows() == [(61, "r59", True)]
    assert "r59" not in desk.split_of()


def test_labels_that_label_studio_wrote_its_numbers_over_are_refused(tmp_path):
    desk = Desk(tmp_path)
    desk.labels([(f"r{i}", "tip", 1, 2.5) for i in range(60)], header="id,label,annotation_id,lead_time")
    (fault,) = desk.faults(BadData)
    assert "must be its JSON export" in fault


def test_a_folder_given_as_the_card_is_told_at_once(tmp_path):
    desk = Desk(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    with (home / "film.mp4").open("wb") as film:
        film.truncate(1 << 40)
    (fault,) = desk.faults(BadCard, card=str(home))
    assert str(home) in fault


@pytest.mark.parametrize("address", ["x" * 5000, "a\0b.csv", "y" * 300])
def test_an_address_that_no_system_takes_is_one_sentence_an_option(tmp_path, address):
    faults = Desk(tmp_path).faults(BadInput, texts=address, labels=address)
    assert [option in fault for option, fault in zip(("--texts", "--labels"), faults, strict=True)] == [True, True]


def test_rows_that_are_lost_to_their_encoding_are_said_with_what_they_have_and_the_command(desk):
    with (desk.folder / "texts.csv").open("ab") as file:
        file.write("r60,Die Küche war schön und groß.\r\n".encode("cp1252"))
    assert "1 row that is not UTF-8 is missing, and such rows are those with umlauts" in (said := desk.run().headline)
    assert f"iconv -f WINDOWS-1252 -t UTF-8 {desk.folder / 'texts.csv'} > utf8.csv" in said
