"""The teacher against people: what is called a bias, and what is not."""

import json
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import card_yaml
from understudy.errors import BadArtifact
from understudy.review.slice_tests import Errors, holm, p_worse
from understudy.runtime import shell
from understudy.stats.metrics import bootstrap, confusion_matrix, precision, recall, wilson
from understudy.steps.audit import rules, summary
from understudy.steps.audit.agreement import figures_by_label, krippendorff_alpha
from understudy.steps.audit.config import AuditConfig
from understudy.store import tables
from understudy.task.labels import LabelSpace

CONFIG = AuditConfig(samples=200)
SPACE = LabelSpace(("other", "tip"), "tip")


def answers(*blocks):
    """Build columns from blocks of (texts, is_positive, judged, slice)."""
    rows = [block[1:] for block in blocks for _ in range(block[0])]
    is_positive, judged, place = (np.array(column) for column in zip(*rows, strict=True))
    return is_positive, judged, place


# 41 "avoid" tips of which the teacher finds 12; 100 other tips of which it finds 81; nobody raises false alarms.
PLANTED = answers(
    (12, True, True, "avoid"),
    (29, True, False, "avoid"),
    (59, False, False, "avoid"),
    (81, True, True, "plain"),
    (19, True, False, "plain"),
    (300, False, False, "plain"),
)


def compared(truth, judged, slices, space=SPACE):
    return rules.compare_slices(truth.astype(int), judged.astype(int), slices, space, CONFIG)


def findings(truth, judged, place, names, space=SPACE):
    truth, judged = truth.astype(int), judged.astype(int)
    slices = {name: place == name for name in names}
    tests = compared(truth, judged, slices, space)
    return [
        summary.slice_record(name, truth, judged, members, tests, space, CONFIG) for name, members in slices.items()
    ]


def test_the_injected_bias_is_named_with_its_counts_and_interval():
    (found,) = findings(*PLANTED, ["avoid"])
    assert (found["is_biased"], found["direction"]) == (True, "under-labels")
    assert (found["texts"], found["true_positive"], found["false_negative"]) == (100, 12, 29)
    assert found["sentence"] == (
        "The teacher under-labels 'avoid' texts: of the 'tip' among them it found 12 of 41 (29%, 95% interval "
        "18% to 44%) against 81% elsewhere (p < 0.0001 after correction for 2 tests)."
    )


def test_over_labelling_is_told_from_under_labelling():
    columns = answers(
        (20, True, True, "wish"), (15, False, True, "wish"), (25, False, False, "wish"),
        (80, True, True, "plain"), (3, False, True, "plain"), (297, False, False, "plain"),
    )  # fmt: skip
    (found,) = findings(*columns, ["wish"])
    assert (found["is_biased"], found["direction"]) == (True, "over-labels")
    assert "15 of 40 (38%" in found["sentence"]
    assert "1% elsewhere" in found["sentence"]


def test_a_slice_where_the_teacher_is_better_is_not_biased():
    columns = answers(
        (40, True, True, "easy"), (60, False, False, "easy"), (50, True, True, "plain"), (50, True, False, "plain"),
        (90, False, False, "plain"), (10, False, True, "plain"),
    )  # fmt: skip
    (found,) = findings(*columns, ["easy"])
    assert (found["is_biased"], found["direction"], found["is_too_few"]) == (False, None, False)
    assert found["sentence"].startswith("No bias shown in slice 'easy'")


def test_too_few_labels_are_said_to_be_too_few_not_fair():
    columns = answers(
        (2, True, True, "rare"), (1, True, False, "rare"), (40, True, True, "plain"), (200, False, False, "plain")
    )
    (found,) = findings(*columns, ["rare"])
    assert found["is_too_few"]
    assert "3 'tip' and 0 other texts inside" in found["sentence"]


def test_few_labels_still_prove_what_is_glaring():
    columns = answers((8, True, False, "rare"), (95, True, True, "plain"), (5, True, False, "plain"))
    (found,) = findings(*columns, ["rare"])
    assert found["is_biased"]


def test_more_slices_need_stronger_proof():
    is_positive, judged, place = answers(
        (12, True, True, "a"), (8, True, False, "a"), (40, True, True, "plain"), (8, True, False, "plain"),
        (99, False, False, "plain"),
    )  # fmt: skip
    one = compared(is_positive, judged, {"a": place == "a"})[0]
    many = {"a": place == "a", **{f"noise {i}": np.arange(len(place)) % 12 == i for i in range(12)}}
    among_many = compared(is_positive, judged, many)[0]
    assert one.p == among_many.p == pytest.approx(0.0467, abs=0.01)
    assert among_many.p_adjusted > 10 * one.p_adjusted


def test_a_fair_teacher_is_called_biased_no_more_often_than_alpha():
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(100):
        is_positive = rng.random(400) < 0.4
        judged = is_positive ^ (rng.random(400) < 0.2)
        slices = {f"s{i}": rng.random(400) < 0.25 for i in range(4)}
        alarms += any(test.is_biased(0.05) for test in compared(is_positive, judged, slices))
    assert alarms <= 10


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_p_is_the_exact_tail_of_the_hypergeometric_distribution(missed, found, missed_out, found_out):
    inside = Errors(missed, missed + found)
    outside = Errors(missed_out, missed_out + found_out)
    p = p_worse(inside, outside)
    positives, all_missed, size = inside.tried + outside.tried, missed + missed_out, inside.tried
    if not size or not outside.tried:
        assert p is None
        return
    ways = [
        comb(all_missed, k) * comb(positives - all_missed, size - k) for k in range(missed, min(all_missed, size) + 1)
    ]
    assert p == pytest.approx(sum(ways) / comb(positives, size))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)


def test_errors_are_named_by_kind_and_slice():
    is_positive, judged, place = PLANTED
    found = rules.error_categories(is_positive.astype(int), judged.astype(int), {"avoid": place == "avoid"})
    named = {category.name(SPACE): int(category.members.sum()) for category in found}
    assert named == {"'other' in place of 'tip', slice 'avoid'": 29, "'other' in place of 'tip', in no slice": 19}


def judgement_rows(ids, labels, **changes):
    rows = {
        "id": ids, "judge": "rehearsal-1", "kind": "teacher", "label": labels, "probabilities": None, "rationale": None,
        "prompt_tokens": 100, "completion_tokens": 5, "cost_usd": 0.0, "is_rehearsal": True, "weight": 1.0,
    }  # fmt: skip
    return pl.DataFrame({**rows, **changes}, schema_overrides={"probabilities": pl.List(pl.Float64)})


@pytest.fixture
def folders(tmp_path, card_text):
    """Lay out a run whose teacher misses most "avoid" tips; 40 unlabelled "avoid" texts wait in the pool."""
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "card.yaml").write_text(card_text, encoding="utf-8")
    is_positive, judged, place = PLANTED
    ids = [f"t{i:04}" for i in range(len(place))]
    texts = [
        f"Please do {'avoid the' if where == 'avoid' else 'ask for'} room number {i}." for i, where in enumerate(place)
    ]
    splits = ["train", "validation", "train"] * (len(ids) // 3 + 1)
    gold = pl.DataFrame({"id": ids, "group": ids, "text": texts, "split": splits[: len(ids)]}).with_columns(
        label=pl.Series(np.where(is_positive, "tip", "other")),
        annotators=pl.lit(1, dtype=pl.Int64),
        origin=pl.lit("labels"),
    )
    hidden = gold.head(9).with_columns(
        ("h" + pl.col("id")).alias("id"), split=pl.lit("calibration"), label=pl.lit("tip")
    )
    tables.write(pl.concat([gold, hidden], how="vertical_relaxed"), tables.Gold, tmp_path / "gold")
    waiting = [f"p{i:04}" for i in range(60)]
    pool = pl.DataFrame({"id": ids + waiting, "group": ids + waiting, "time": None}).with_columns(
        text=pl.Series(
            texts + [f"You had better {'avoid' if i < 40 else 'see'} the bar at {i} sharp." for i in range(60)]
        ),
        time=pl.lit(None, dtype=pl.String),
    )
    tables.write(pool, tables.Texts, tmp_path / "pool")
    labels = ["tip" if flag else "other" for flag in judged] + ["other", "tip"] * 30
    tables.write(judgement_rows(ids + waiting, labels), tables.Judgements, tmp_path / "judgements")
    return tmp_path


def run_audit(folder, **changes):
    names = ("pool", "gold", "judgements", "audit")
    return shell.execute("audit", {"card": folder / "snapshot", **{name: folder / name for name in names}, **changes})


def test_the_step_says_the_bias_by_name_and_stamps_the_rehearsal(folders):
    result = run_audit(folders)
    audit = json.loads((folders / "audit" / "audit.json").read_text())
    assert audit["is_rehearsal"]
    assert [found["name"] for found in audit["slices"] if found["is_biased"]] == ["avoid"]
    assert "under-labels 'avoid'" in result.headline
    assert result.metrics["biased_slices"] == 1
    page = (folders / "audit" / "audit.md").read_text()
    assert "The teacher under-labels 'avoid' texts" in page
    assert "Rehearsal" in page


def test_a_teacher_that_is_worse_than_chance_and_rules_is_said_to_be(folders):
    """Without a bias in a slice it is not called fair: it gives every text the other label."""
    table = tables.read(folders / "judgements", tables.Judgements)
    flipped = table.with_columns(label=pl.when(pl.col("label") == "tip").then(pl.lit("other")).otherwise(pl.lit("tip")))
    tables.write(tables.Judgements.validate(flipped, cast=True), tables.Judgements, folders / "judgements")
    result = run_audit(folders)
    audit = json.loads((folders / "audit/audit.json").read_text())
    assert result.headline.startswith("the teacher agrees with people hardly more than chance (kappa -0.")
    assert audit["worth"]["sentence"] in (folders / "audit/audit.md").read_text()
    assert "one and the same label for every text is right in " in audit["worth"]["sentence"]
    assert audit["worth"]["sentence"] == audit["verdict"][1]


def test_only_train_and_validation_labels_are_looked_at(folders):
    run_audit(folders)
    audit = json.loads((folders / "audit" / "audit.json").read_text())
    assert audit["human_texts"] == audit["texts"] == 500
    assert audit["splits"] == {"train": 333, "validation": 167}


def test_answers_to_review_queues_do_not_make_the_teacher_look_worse(folders):
    gold = tables.read(folders / "gold", tables.Gold)
    chosen = gold.filter(pl.col("split").cast(pl.String) == "train").head(50)
    queued = chosen.with_columns(("q" + pl.col("id")).alias("id"), origin=pl.lit("queue"), label=pl.lit("tip"))
    together = pl.concat([gold, queued.cast(gold.schema)])
    before = run_audit(folders)
    tables.write(together, tables.Gold, folders / "gold")
    judged = tables.read(folders / "judgements", tables.Judgements)
    wrong = judged.filter(pl.col("id").is_in(chosen["id"].to_list())).with_columns(
        ("q" + pl.col("id")).alias("id"), label=pl.lit("other")
    )
    tables.write(pl.concat([judged, wrong]), tables.Judgements, folders / "judgements")
    assert run_audit(folders).metrics == before.metrics


def test_the_queue_holds_unlabelled_texts_of_the_biased_slice_with_the_suspicious_label(folders):
    run_audit(folders)
    queue = tables.read(folders / "audit", tables.AuditQueue)
    assert set(queue["slice"]) == {"avoid"}
    assert set(queue["teacher_label"]) == {"other"}
    assert sorted(queue["id"]) == [f"p{i:04}" for i in range(0, 40, 2)]


def test_the_queue_is_cut_at_its_limit(folders):
    run_audit(folders, overrides="queue_per_slice=7")
    assert len(tables.read(folders / "audit", tables.AuditQueue)) == 7


def test_the_queue_begins_with_the_texts_the_teacher_doubted(folders):
    rows = tables.read(folders / "judgements", tables.Judgements).with_columns(
        probabilities=pl.when(pl.col("id") == "p0008").then(pl.lit([0.55, 0.45])).otherwise(pl.lit([0.9, 0.1]))
    )
    tables.write(rows, tables.Judgements, folders / "judgements")
    run_audit(folders)
    assert tables.read(folders / "audit", tables.AuditQueue)["id"][0] == "p0008"


def written(folders):
    """Bytes of every file of the audit, by path, but for the provenance, which has times."""
    files = [path for path in (folders / "audit").rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {str(path): path.read_bytes() for path in files}


def test_a_rerun_writes_the_same_bytes_whatever_the_order_of_the_rows(folders):
    run_audit(folders)
    first = written(folders)
    for name, schema in (("pool", tables.Texts), ("gold", tables.Gold), ("judgements", tables.Judgements)):
        tables.write(
            tables.read(folders / name, schema).sample(fraction=1, shuffle=True, seed=1), schema, folders / name
        )
    run_audit(folders)
    assert first == written(folders)


def test_a_teacher_that_judged_no_human_labelled_text_is_said_so(folders):
    tables.write(judgement_rows(["p0001"], ["tip"]), tables.Judgements, folders / "judgements")
    result = run_audit(folders)
    audit = json.loads((folders / "audit" / "audit.json").read_text())
    assert audit["verdict"][0].startswith("The teacher judged no text")
    assert result.metrics["human_labelled_texts"] == 0
    assert "agreement" not in result.metrics


def test_two_answers_to_one_text_are_refused(folders):
    one = tables.read(folders / "judgements", tables.Judgements)
    tables.write(
        pl.concat([one, one.head(1).with_columns(judge=pl.lit("other-model"))]),
        tables.Judgements,
        folders / "judgements",
    )
    with pytest.raises(BadArtifact, match="one answer a text"):
        run_audit(folders)


# Many labels

THREE = LabelSpace(("praise", "tip", "plea"))
PRAISE, TIP, PLEA = range(3)
# In "long" texts the teacher gives "praise" to 20 of 40 tips, elsewhere to 5 of 100; pleas are fine everywhere.
PAIR_PLANTED = answers(
    (20, TIP, TIP, "long"), (20, TIP, PRAISE, "long"), (30, PRAISE, PRAISE, "long"), (30, PLEA, PLEA, "long"),
    (90, TIP, TIP, "plain"), (5, TIP, PRAISE, "plain"), (5, TIP, PLEA, "plain"),
    (95, PRAISE, PRAISE, "plain"), (5, PRAISE, TIP, "plain"), (100, PLEA, PLEA, "plain"),
)  # fmt: skip


def test_a_label_that_is_given_in_place_of_another_in_a_slice_is_named():
    (found,) = findings(*PAIR_PLANTED, ["long"], THREE)
    assert found["is_biased"]
    pair = next(one for one in found["findings"] if one["direction"] == "confuses")
    assert (pair["label"], pair["given"], pair["wrong"], pair["tried"]) == ("tip", "praise", 20, 40)
    assert pair["sentence"].startswith(
        "The teacher gives 'praise' in place of 'tip' in 'long' texts: to 20 of 40 (50%, 95% interval 35% to 65%) of "
        "the 'tip' among them against 5% elsewhere (p < 0.0001 after correction for "
    )
    named = {(one["direction"], one["label"]) for one in found["findings"]}
    assert named == {("under-labels", "tip"), ("over-labels", "praise"), ("confuses", "tip")}
    assert found["matrix"] == [[30, 0, 0], [20, 20, 0], [0, 0, 30]]
    assert "true_positive" not in found


def test_the_label_that_is_looked_for_among_three_is_told_as_with_two():
    (found,) = findings(*PAIR_PLANTED, ["long"], LabelSpace(THREE.names, "tip"))
    assert (found["true_positive"], found["false_negative"], found["false_positive"]) == (20, 20, 0)
    assert {one["direction"] for one in found["findings"]} == {"under-labels", "confuses"}


def test_with_two_labels_no_question_is_asked_twice():
    truth, judged, place = PLANTED
    tests = compared(truth, judged, {"avoid": place == "avoid"})
    assert [(test.question.direction, test.question.label) for test in tests] == [
        ("under-labels", 1),
        ("over-labels", 1),
    ]


def test_pairs_that_could_prove_nothing_are_not_asked_about():
    truth, judged, place = PAIR_PLANTED
    tests = compared(truth, judged, {"long": place == "long"}, THREE)
    asked = {(test.question.label, test.question.given) for test in tests if test.question.given is not None}
    assert (TIP, PRAISE) in asked
    assert all(test.inside.tried >= CONFIG.min_labels and test.p is not None for test in tests)
    one_error = answers((30, TIP, TIP, "a"), (60, TIP, TIP, "b"), (1, TIP, PLEA, "b"), (60, PLEA, PLEA, "b"))
    assert not compared(one_error[0], one_error[1], {"a": one_error[2] == "a"}, THREE)


def test_a_slice_with_too_few_labels_of_any_kind_is_said_so():
    columns = answers((4, TIP, PRAISE, "rare"), (90, TIP, TIP, "plain"), (90, PLEA, PLEA, "plain"))
    (found,) = findings(*columns, ["rare"], THREE)
    assert found["is_too_few"]
    assert "of 4 texts inside, no label has enough both there and elsewhere" in found["sentence"]


def test_a_fair_teacher_of_many_labels_is_called_biased_no_more_often_than_alpha():
    rng = np.random.default_rng(3)
    space = LabelSpace(tuple(f"intent {number}" for number in range(6)))
    alarms = 0
    for _ in range(60):
        truth = rng.integers(0, 6, 600)
        judged = np.where(rng.random(600) < 0.25, (truth + rng.integers(1, 3, 600)) % 6, truth)
        slices = {f"s{i}": rng.random(600) < 0.3 for i in range(3)}
        alarms += any(test.is_biased(0.05) for test in compared(truth, judged, slices, space))
    assert alarms <= 6


def test_the_worst_pairs_come_first_with_intervals_that_hold_for_all_of_them():
    truth, judged, _ = PAIR_PLANTED
    pairs = rules.confused_pairs(confusion_matrix(truth, judged, 3), 10)
    assert [(pair.label, pair.given, pair.texts, pair.tried) for pair in pairs] == [
        (TIP, PRAISE, 25, 140),
        (PRAISE, TIP, 5, 130),
        (TIP, PLEA, 5, 140),
    ]
    alone = wilson(25, 140)
    assert pairs[0].share.low < alone.low < alone.high < pairs[0].share.high


def test_alpha_is_that_of_the_published_examples():
    first, second = (np.array([int(sign) for sign in signs]) for signs in ("0100000010", "1110010000"))
    assert krippendorff_alpha(first, second, labels=2) == pytest.approx(0.095, abs=0.0005)
    ben, gerry = (np.array(["abcde".index(sign) for sign in signs]) for signs in ("aabbdcccedda", "babbbccceddd"))
    assert krippendorff_alpha(ben, gerry, labels=5) == pytest.approx(0.692, abs=0.0005)
    assert np.isnan(krippendorff_alpha(np.zeros(3, int), np.zeros(3, int), labels=2))


def test_figures_by_label_are_those_of_one_bootstrap_a_label():
    truth, judged, _ = PAIR_PLANTED
    groups = np.arange(len(truth)) // 2
    found = figures_by_label(truth, judged, groups, 4, samples=150, seed=1)
    for label in range(3):
        sides = truth == label, judged == label
        for figure, statistic in (("precision", precision), ("recall", recall)):
            assert getattr(found[label], figure) == bootstrap(statistic, *sides, groups=groups, samples=150, seed=1)
    assert (found[3].human, found[3].teacher) == (0, 0)
    assert np.isnan(found[3].recall.value)


ODD = ('say "hi"', "a, b", "=1+1", "it's | <b>")


@pytest.fixture
def intents(tmp_path, make_card):
    """Lay out a run with 77 labels, some with odd names, that the teacher takes for the next in "avoid" texts."""
    names = [*ODD, *(f"intent {number}" for number in range(77 - len(ODD)))]
    labels = [{"name": name, "definition": f"It is {name}."} for name in names]
    (tmp_path / "snapshot").mkdir()
    card = make_card(labels=labels, positive_label=None, weak_rules=[])
    (tmp_path / "snapshot" / "card.yaml").write_text(card, encoding="utf-8")
    truth = np.repeat(np.arange(77), 40)
    number = np.tile(np.arange(40), 77)
    is_avoid = number < 15
    errs = (is_avoid & (truth < 4) & (number < 12)) | (number == 39)
    judged = np.where(errs, (truth + 1) % 77, truth)
    ids = [f"t{row:05}" for row in range(len(truth))]
    texts = [f"Please {'avoid' if inside else 'see'} number {row} in the hall." for row, inside in enumerate(is_avoid)]
    gold = pl.DataFrame({"id": ids, "group": ids, "text": texts, "label": [names[code] for code in truth]})
    gold = gold.with_columns(split=pl.lit("train"), annotators=pl.lit(1, pl.Int64), origin=pl.lit("labels"))
    tables.write(gold, tables.Gold, tmp_path / "gold")
    waiting = [f"p{row:03}" for row in range(154)]
    pool = pl.DataFrame({"id": waiting, "group": waiting, "text": [f"Now avoid it {row}" for row in range(154)]})
    tables.write(pool.with_columns(time=pl.lit(None, pl.String)), tables.Texts, tmp_path / "pool")
    given = [names[code] for code in judged] + names * 2
    tables.write(judgement_rows(ids + waiting, given), tables.Judgements, tmp_path / "judgements")
    return tmp_path


def test_seventy_seven_labels_are_audited_and_the_page_stays_readable(intents):
    result = run_audit(intents)
    audit = json.loads((intents / "audit" / "audit.json").read_text())
    assert np.array(audit["matrix"]).shape == (77, 77)
    assert np.array(audit["matrix"]).sum() == audit["texts"] == 3080
    assert len(audit["classes"]) == 77
    assert audit["pairs"][0] | {"share": None} == {
        "label": ODD[0], "given": ODD[1], "texts": 13, "tried": 40, "share": None, "is_too_few": False,
    }  # fmt: skip
    (avoid,) = [part for part in audit["slices"] if part["name"] == "avoid"]
    pairs = {(one["label"], one["given"]) for one in avoid["findings"] if one["direction"] == "confuses"}
    assert pairs == {(ODD[0], ODD[1]), (ODD[1], ODD[2]), (ODD[2], ODD[3]), (ODD[3], "intent 0")}
    assert result.metrics["teacher_macro_f1"] > 0.9
    assert "teacher_precision" not in result.metrics
    assert result.metrics["krippendorff_alpha"] == pytest.approx(audit["krippendorff_alpha"]["value"])
    page = (intents / "audit" / "audit.md").read_text()
    assert "57 more labels" in page
    assert page.count("<details>") == page.count("</details>") > 2
    assert "<b>" not in page.replace("\\<b>", "")
    assert len(page) < 150_000


def test_the_queue_of_many_labels_names_the_label_that_is_suspected(intents):
    run_audit(intents)
    queue = tables.read(intents / "audit", tables.AuditQueue)
    assert set(queue["slice"]) == {"avoid"}
    assert set(queue["label"]) <= {*ODD, "intent 0"}
    confused = queue.filter(pl.col("direction").cast(pl.String) == "confuses")
    assert queue["id"].n_unique() == len(queue) > 0
    assert all(label != given for label, given in confused.select("label", "teacher_label").iter_rows())


def test_the_audit_says_what_each_weak_rule_is_worth_on_human_labels(folders):
    rules = [
        {"name": "avoid", "pattern": r"\bavoid\b", "label": "tip"},
        {"name": "room", "pattern": r"\broom\b", "label": "other"},
    ]
    (folders / "snapshot" / "card.yaml").write_text(card_yaml(weak_rules=rules), encoding="utf-8")
    run_audit(folders)
    found = json.loads((folders / "audit" / "audit.json").read_text())["weak_rules"]
    is_positive, _, place = PLANTED
    avoid = place == "avoid"
    assert [(rule["matched"], rule["right"]) for rule in found] == [
        (avoid.sum(), (avoid & is_positive).sum()),
        (len(place), (~is_positive).sum()),
    ]
    assert found[0]["conflicts"] == found[0]["overlaps"] == pytest.approx(avoid.mean())
    assert "| avoid | tip |" in (folders / "audit" / "audit.md").read_text()
