"""The teacher against people where a text may have several labels: each is a yes or no of its own."""

import json

import numpy as np
import polars as pl
import pytest

from understudy.review.slice_tests import Errors, Question
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.steps.audit import agreement, rules, summary
from understudy.steps.audit.config import AuditConfig
from understudy.steps.train.rules import matrix_elsewhere, teacher_targets
from understudy.store import tables
from understudy.task.card import load_card, parse_card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import own_probability

NAMES = ("praise", "tip", "wish")
SPACE = LabelSpace(NAMES, is_many=True)
SEVERAL = {
    "labels": [{"name": name, "definition": f"Texts with a {name}."} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": [],
}
# In "avoid" texts the teacher misses 30 of the 40 tips and nothing else; elsewhere it misses 10 of 80.
BLOCKS = [
    (10, "avoid", '["praise", "tip"]', '["praise", "tip"]'),
    (30, "avoid", '["praise", "tip"]', '["praise"]'),
    (40, "avoid", "[]", "[]"),
    (70, "see", '["tip"]', '["tip"]'),
    (10, "see", '["tip", "wish"]', '["wish"]'),
    (60, "see", '["praise"]', '["praise", "wish"]'),
    (80, "see", "[]", "[]"),
]
PLACE, TRUTH, JUDGED = zip(*[block[1:] for block in BLOCKS for _ in range(block[0])], strict=True)


def codes():
    return SPACE.codes(TRUTH), SPACE.codes(JUDGED)


def test_each_label_is_counted_against_its_absence():
    counts = rules.cross_counts(*codes(), 3)
    assert counts[1].tolist() == [[180, 0], [40, 80]]
    assert counts[2].tolist() == [[230, 60], [0, 10]]
    assert counts.sum(axis=(1, 2)).tolist() == [300, 300, 300]
    assert Question("under-labels", 1).errors(counts) == Errors(40, 120)
    assert Question("over-labels", 2).errors(counts) == Errors(60, 290)


def test_a_label_that_is_missed_in_a_slice_is_named_and_no_label_stands_in_place_of_another():
    slices = {"avoid": np.array(PLACE) == "avoid"}
    config = AuditConfig(samples=100)
    tests = rules.compare_slices(*codes(), slices, SPACE, config)
    assert {test.question.direction for test in tests} <= {"under-labels", "over-labels"}
    found = summary.slice_record("avoid", *codes(), slices["avoid"], tests, SPACE, config)
    assert [(one["direction"], one["label"], one["given"]) for one in found["findings"]] == [
        ("under-labels", "tip", None)
    ]
    assert found["sentence"].startswith(
        "The teacher under-labels 'tip' in 'avoid' texts: of the 'tip' among them it found 10 of 40 (25%, 95% interval "
    )
    assert found["counts"][1] == [[40, 0], [30, 10]]
    assert found["agreement"]["value"] == pytest.approx(50 / 80)
    assert "matrix" not in found


def test_a_fair_teacher_is_called_biased_no_more_often_than_alpha():
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(100):
        truth = rng.random((400, 4)) < (0.5, 0.2, 0.1, 0.05)
        judged = truth ^ (rng.random((400, 4)) < (0.1, 0.05, 0.05, 0.02))
        slices = {f"s{number}": rng.random(400) < 0.3 for number in range(4)}
        space = LabelSpace(("a", "b", "c", "d"), is_many=True)
        tests = rules.compare_slices(truth, judged, slices, space, AuditConfig(samples=100))
        alarms += any(test.is_biased(0.05) for test in tests)
    assert alarms <= 10


def test_alpha_is_the_labels_own_and_their_mean():
    truth, judged = codes()
    alphas = agreement.alpha_by_label(truth, judged)
    for label, alpha in enumerate(alphas):
        one = agreement.krippendorff_alpha(truth[:, label].astype(int), judged[:, label].astype(int), labels=2)
        assert alpha == pytest.approx(one)
    assert agreement.krippendorff_alpha(truth, judged, labels=3) == pytest.approx(alphas.mean())
    nobody = np.zeros((5, 2), dtype=bool)
    assert np.isnan(agreement.krippendorff_alpha(nobody, nobody, labels=2))
    resampled = agreement.alpha_by_label(truth, judged, np.ones((2, 300)))
    np.testing.assert_allclose(resampled, [alphas, alphas])


def test_errors_are_named_by_label_and_slice():
    truth, judged = codes()
    found = rules.error_categories(truth, judged, {"avoid": np.array(PLACE) == "avoid"})
    assert [(one.name(SPACE), int(one.members.sum())) for one in found] == [
        ("'wish' given wrongly, in no slice", 60),
        ("'tip' missed, slice 'avoid'", 30),
        ("'tip' missed, in no slice", 10),
    ]


def test_the_probability_of_a_set_is_that_of_the_label_of_which_the_teacher_was_least_sure():
    table = pl.DataFrame(
        {
            "teacher_label": ['["praise", "tip"]', "[]", '["wish"]', None],
            "teacher_probabilities": [[0.9, 0.6, 0.1], [0.2, 0.3, 0.1], None, [0.5, 0.5, 0.5]],
        }
    )
    found = table.select(own_probability("teacher", SPACE))["teacher_probability"].to_list()
    assert found[0] == pytest.approx(0.6)
    assert found[1] == pytest.approx(0.7)
    assert found[2:] == [None, None]


@pytest.fixture
def folders(tmp_path, make_card):
    """Artifacts of the texts above, with 60 that wait: 40 "avoid" texts, half of them called tips."""
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/card.yaml").write_text(make_card(**SEVERAL))
    ids = [f"t{row:03}" for row in range(len(TRUTH))]
    texts = [f"Better {place} it, {row}." for row, place in enumerate(PLACE)]
    gold = pl.DataFrame({"id": ids, "group": ids, "text": texts, "label": TRUTH}).with_columns(
        split=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("validation")).otherwise(pl.lit("train")),
        annotators=pl.lit(1, dtype=pl.Int64),
        origin=pl.lit("labels"),
    )
    tables.write(gold, tables.Gold, tmp_path / "gold")
    waiting = [f"p{row:02}" for row in range(60)]
    more = [f"Better {'avoid' if row < 40 else 'see'} that, {row}." for row in range(60)]
    pool = pl.DataFrame({"id": ids + waiting, "group": ids + waiting, "text": texts + more})
    tables.write(pool.with_columns(time=pl.lit(None, pl.String)), tables.Texts, tmp_path / "pool")
    answers = {
        "judge": "rehearsal:r:0", "kind": "teacher", "rationale": None, "prompt_tokens": 1, "completion_tokens": 1,
        "cost_usd": 0.0, "is_rehearsal": True, "weight": 1.0,
    }  # fmt: skip
    said = [*JUDGED, *(['["praise"]', '["praise", "tip"]'] * 30)]
    chances = [None] * len(JUDGED) + [[0.9, 0.1 if row % 2 == 0 else 0.8, 0.0] for row in range(60)]
    chances[len(JUDGED) + 8] = [0.9, 0.45, 0.0]
    table = pl.DataFrame(
        {"id": ids + waiting, "label": said, "probabilities": chances},
        schema_overrides={"probabilities": pl.List(pl.Float64)},
    ).with_columns(**{name: pl.lit(value) for name, value in answers.items()})
    tables.write(table, tables.Judgements, tmp_path / "judgements")
    return tmp_path


def run_audit(folder):
    names = ("pool", "gold", "judgements", "audit")
    return shell.execute("audit", {"card": folder / "snapshot", **{name: folder / name for name in names}})


def test_no_human_label_is_looked_for_and_the_page_says_so(folders):
    result = run_audit(folders)
    page = (folders / "audit/audit.md").read_text()
    assert "No human label was checked for a second look: where a text may have several, that is not done." in page
    assert "suspect_labels" not in result.metrics
    assert len(tables.read(folders / "audit/second_look", tables.SecondLook)) == 0


def test_the_record_has_a_matrix_a_label_and_the_page_shows_it(folders):
    result = run_audit(folders)
    audit = json.loads((folders / "audit/audit.json").read_text())
    assert result.headline == (
        "the teacher under-labels 'tip' in 'avoid'; it agrees with people on all labels of 67% of 300 texts, kappa 0.71"
    )
    assert set(result.metrics) == {
        "agreement", "krippendorff_alpha", "teacher_macro_f1", "teacher_micro_f1", "human_labelled_texts",
        "biased_slices", "hidden_slices", "queued",
    }  # fmt: skip
    assert (audit["labels"], audit["labels_per_text"], audit["positive_label"]) == (list(NAMES), "many", None)
    assert np.array(audit["counts"]).shape == (3, 2, 2)
    assert not {"matrix", "pairs", "kappa"} & set(audit)
    truth, judged = codes()
    assert audit["micro_f1"]["value"] == pytest.approx(metrics.micro_f1(truth, judged, labels=3), abs=1e-6)
    # 40 of 300 texts differ; of 600 answers 200 say tip, so that 2 * 200 * 400 of 600 * 599 pairs do
    alpha = 1 - (40 / 300) / (160_000 / 359_400)
    assert audit["classes"]["tip"]["krippendorff_alpha"]["value"] == pytest.approx(alpha, abs=1e-6)
    page = (folders / "audit/audit.md").read_text()
    assert "in place of" not in page
    assert "the teacher agrees with people on all labels in 67% (95% interval" in page
    assert "Most often it wrongly gives 'wish' (60 of 290 texts) and misses 'tip' (40 of 120 texts)." in page
    assert "| label | by people | by the teacher | precision | recall | Krippendorff's alpha |" in page
    assert "### 'tip' missed, slice 'avoid': 30 texts" in page
    assert "| praise, tip | praise |" in page


def test_the_queue_holds_texts_of_the_biased_slice_without_the_label_that_is_missed_there(folders):
    run_audit(folders)
    queue = tables.read(folders / "audit", tables.AuditQueue)
    guideline = Guideline.of(load_card(folders / "snapshot")).hash
    assert sorted(queue["id"]) == [f"p{row:02}" for row in range(0, 40, 2)]
    assert queue["id"][0] == "p08"  # of which the teacher doubted it most
    assert queue.row(0, named=True) | {"text": ""} == {
        "id": "p08", "group": "p08", "text": "", "slice": "avoid", "direction": "under-labels", "label": "tip",
        "teacher_label": '["praise"]', "teacher_probability": 0.9, "guideline": guideline,
    }  # fmt: skip


def test_train_takes_the_record_as_it_is(folders, make_card):
    run_audit(folders)
    audit = json.loads((folders / "audit/audit.json").read_text())
    table = tables.read(folders / "pool", tables.Texts).filter(pl.col("id").is_in(["p00", "p40", "t299"]))
    table = table.join(tables.read(folders / "judgements", tables.Judgements), on="id").sort("id")
    targets = teacher_targets(table, parse_card(make_card(**SEVERAL)), audit)
    assert targets[0, 1] > 0.35  # an "avoid" text that the teacher gives no tip: 30 of 70 are
    assert targets[1].tolist() == [0.9, 0.1, 0.0]
    assert targets[2, 1] < 0.1
    assert matrix_elsewhere(audit)[1].tolist() == [[140, 0], [10, 70]]
