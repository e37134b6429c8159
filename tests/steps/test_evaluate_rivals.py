"""Rivals of the student: words alone on the same labels, and the bundle that serves, side by side with it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle
from tests.evaluations import measured
from tests.store.test_signatures import pair
from understudy.reports import evaluation as report
from understudy.runtime import shell
from understudy.steps.evaluate import assemble, best, rivals
from understudy.steps.evaluate.rivals import Rival
from understudy.steps.evaluate.rules import Answers
from understudy.store import codecs, registry, tables
from understudy.store.bundles import read_settings
from understudy.store.folder import FolderStore
from understudy.store.signatures import SIGNING_KEY, TRUSTED_KEYS
from understudy.task.card import load_card
from understudy.task.labels import LabelSpace

SPACE = LabelSpace(("other", "tip"), "tip")
# Of 100 tips the student finds 80 and takes 10 others for tips.
STUDENT = [(80, True, 0.9, None), (20, True, 0.1, None), (10, False, 0.9, None), (290, False, 0.1, None)]


def rows(texts, label, split, begin=0):
    return [(f"{split}{begin + row}", f"{text} {row}", label, split) for row, text in enumerate(texts)]


def gold_of(folder, given):
    table = pl.DataFrame(given, schema=["id", "text", "label", "split"], orient="row")
    table = table.with_columns(group="id", annotators=pl.lit(1, pl.Int64), origin=pl.lit("labels"))
    tables.write(table, tables.Gold, folder)
    return folder


def judged(folder, labels):
    """Write a teacher's answers, by id."""
    about = {"judge": "teacher", "kind": "teacher", "is_rehearsal": True}
    about |= {"prompt_tokens": 1, "completion_tokens": 1, "weight": 1.0}
    table = tables.empty(tables.Judgements)
    given = pl.DataFrame([{"id": name, "label": label, **about} for name, label in labels.items()])
    table = pl.concat([table, given.cast({"kind": table.schema["kind"]})], how="diagonal_relaxed")
    tables.write(table.select(tables.Judgements.column_names()), tables.Judgements, folder)
    return folder


def test_each_rival_stands_beside_the_student_with_the_paired_interval_and_mcnemars_test():
    one = measured(STUDENT)
    answers = Answers(np.repeat([1, 0, 0, 0], [80, 20, 10, 290]))  # as the student, without its false alarms
    found = assemble.evaluation(replace(one, rivals={best.WORDS: Rival("Words", answers)}))
    pair = found["rivals"]["words"]
    # tp 80, fn 20: 160 / 180 against 160 / 190
    assert pair["difference"]["value"] == pytest.approx(160 / 180 - 160 / 190, abs=1e-6)
    assert (pair["alone_right"], pair["student_alone_right"], pair["verdict"]) == (10, 0, "better")
    assert pair["mcnemar_p"] == pytest.approx(2 / 2**10)
    assert found["best"]["sentence"].startswith("F1 is highest of TF-IDF with logistic regression on the same labels")
    assert found["best"]["sentence"].endswith("certainly better than the student.")
    page = report.page(found)
    assert "Each rival beside the student, on the texts that both answered" in page
    assert "0.002" in page


def test_a_reason_to_publish_says_that_words_alone_are_better_and_not_that_they_cost_nothing():
    answers = Answers(np.repeat([1, 1, 0, 0], [80, 20, 10, 290]))
    one = replace(measured(STUDENT, card={"goals": {"f1": 0.5}}), rivals={best.WORDS: Rival("Words", answers)})
    reason = assemble.evaluation(one)["reason"]
    assert reason.endswith("But TF-IDF with logistic regression on the same labels is certainly better (F1 1.00).")


def test_words_learn_from_peoples_labels_and_else_from_the_teachers(tmp_path):
    folder = tmp_path / "task"
    human = rows(["ask now"] * 30, "tip", "train") + rows(["nice view"] * 30, "other", "train", 30)
    human += rows(["ask"] * 5, "tip", "calibration") + rows(["nice"] * 20, "other", "calibration", 5)
    gold = gold_of(folder / "gold", human)
    pool = pl.DataFrame(
        [(f"p{row}", f"bring cash {row}", f"p{row}", None) for row in range(30)],
        schema=["id", "text", "group", "time"],
        orient="row",
    )
    pool = pl.concat(
        [pool, pl.DataFrame({"id": ["train0"], "text": ["ask now 0"], "group": ["g"], "time": [None]})],
        how="vertical_relaxed",
    )
    tables.write(pool.cast({"time": pl.String}), tables.Texts, folder / "pool")
    answers = {f"p{row}": "tip" for row in range(29)} | {"train0": "other"}  # one has no answer; people know better
    card = load_card(make_bundle(tmp_path / "bundle"))
    taught = rivals.learned(card, folder / "pool", gold, judged(folder / "judgements", answers))
    assert len(taught) == 60 + 29
    assert taught.filter(pl.col("text") == "ask now 0")["label"].to_list() == ["tip"]
    found = rivals.by_words(taught, tables.read_gold(gold, "calibration"), ["Bring it.", "Nice.", "Ask!"], SPACE)
    assert SPACE.named(found.codes) == ["tip", "other", "tip"]


def test_of_several_labels_words_give_each_by_itself_and_of_three_the_likeliest():
    texts = ["ask it", "nice view", "ask it nice view"] * 10
    sets = ['["tip"]', '["praise"]', '["praise", "tip"]'] * 10
    taught = pl.DataFrame({"text": texts, "label": sets})
    several = LabelSpace(("praise", "tip"), is_many=True)
    found = rivals.by_words(taught, taught, ["ask", "nice", "ask it nice view"], several)
    assert several.named(found.codes) == ['["tip"]', '["praise"]', '["praise", "tip"]']
    three = LabelSpace(("a", "b", "c"))
    taught = pl.DataFrame({"text": ["ask", "nice", "late"] * 10, "label": ["a", "b", "c"] * 10})
    assert three.named(rivals.by_words(taught, taught, ["late", "ask"], three).codes) == ["c", "a"]


def test_too_few_texts_or_one_label_alone_make_no_rival():
    alone = pl.DataFrame({"text": ["ask"] * 30, "label": ["tip"] * 30})
    assert rivals.by_words(alone, alone, ["ask"], SPACE) is None
    assert rivals.by_words(alone.head(5), alone, ["ask"], SPACE) is None


def test_the_bundle_that_serves_is_a_rival_but_not_of_itself_nor_of_other_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store, texts = FolderStore(tmp_path / "store"), ["Ask for it.", "Nice."]
    bundle = make_bundle(tmp_path / "bundle")
    card, settings = load_card(bundle), read_settings(bundle)
    assert rivals.previous(store.uri, settings, card, texts) == {}
    registry.publish_bundle(store, bundle, {"report.html": b"x"})
    assert rivals.previous(store.uri, settings, card, texts) == {}
    newer = read_settings(make_bundle(tmp_path / "newer", bias=-9.0))
    (rival,) = rivals.previous(store.uri, newer, card, texts).values()
    assert rival.title == f"The bundle that serves, {settings['version']}"
    assert rival.answers.codes.tolist() == [1, 0]
    others = load_card(make_bundle(tmp_path / "others", labels=["a", "b", "c"]))
    assert rivals.previous(store.uri, newer, others, texts) == {}


def test_a_serving_bundle_that_was_altered_does_not_keep_a_new_one_from_being_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store, bundle = FolderStore(tmp_path / "store"), make_bundle(tmp_path / "bundle")
    registry.publish_bundle(store, bundle, {"report.html": b"x"})
    next((tmp_path / "store").rglob("model.onnx")).write_bytes(b"altered")
    newer = read_settings(make_bundle(tmp_path / "newer", bias=-9.0))
    assert rivals.previous(store.uri, newer, load_card(bundle), ["Ask for it."]) == {}
    assert "evaluate: the bundle that serves is no rival. " in capsys.readouterr().err


def test_where_keys_are_trusted_an_unsigned_bundle_that_serves_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store, bundle = FolderStore(tmp_path / "store"), make_bundle(tmp_path / "bundle")
    registry.publish_bundle(store, bundle, {"report.html": b"x"})
    settings = read_settings(make_bundle(tmp_path / "newer", bias=-9.0))
    assert rivals.left_out(store.uri) == []
    ours = pair()
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    assert rivals.previous(store.uri, settings, load_card(bundle), ["Ask for it."]) == {}
    assert "no key that is trusted has signed it" in rivals.left_out(store.uri)[0]
    monkeypatch.setenv(SIGNING_KEY, ours.private)
    signed = registry.publish_bundle(store, tmp_path / "newer", {"report.html": b"x"})
    assert (signed.version, rivals.left_out(store.uri)) == (settings["version"], [])


def test_evaluate_sets_both_beside_the_student(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store = FolderStore(tmp_path / "store")
    registry.publish_bundle(store, make_bundle(tmp_path / "old"), {"report.html": b"x"})
    test = gold_of(
        tmp_path / "test", rows(["ask for it"] * 10, "tip", "test") + rows(["nice"] * 20, "other", "test", 10)
    )
    human = rows(["ask for it"] * 20, "tip", "train") + rows(["nice view"] * 20, "other", "train", 20)
    human += rows(["ask"] * 2, "tip", "calibration") + rows(["nice"] * 2, "other", "calibration", 2)
    gold = gold_of(tmp_path / "gold", human)
    tables.write(tables.empty(tables.Texts), tables.Texts, tmp_path / "pool")
    names = {name: tmp_path / name for name in ("evaluation", "page", "pool")}
    arguments = {"bundle": make_bundle(tmp_path / "new", bias=-9.0), "test": test, "gold": gold, **names}
    arguments |= {"judgements": judged(tmp_path / "judgements", {"x": "tip"}), "store": store.uri}
    shell.execute("evaluate", {**arguments, "overrides": "evaluate.samples=100"})
    found = codecs.read_document(tmp_path / "evaluation/evaluation.json", "evaluate")
    figures = {one["name"]: one["figures"].get("f1", {}).get("value") for one in found["systems"]}
    assert figures["words"] == figures["previous"] == 1.0
    assert found["best"]["name"] in {"words", "previous"}
    assert {"words", "previous", "rules", "majority"} == set(found["rivals"])
