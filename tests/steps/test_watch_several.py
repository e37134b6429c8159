"""The watch over nights whose texts may have several labels, and what people say of samples of them."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_bundle
from tests.teachers import completion, teacher_server
from tests.watched import make_of_several, publish_of_several, put_night
from understudy.errors import BadArtifact
from understudy.review import samples
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.steps.sample import rules
from understudy.steps.sample.config import SampleConfig
from understudy.steps.watch import quality, testsets
from understudy.store import registry, watch_records
from understudy.task.card import load_card
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "wish", "blame")
SHARES = (0.4, 0.2, 0.1, 0.05)
SPACE = LabelSpace(NAMES, is_many=True)
MANY = {"labels": NAMES, "positive_label": None, "labels_per_text": "many"}
DATES = [f"2026-11-{number:02d}" for number in range(1, 7)]


def watch(folder, store, night, **given):
    places = {name: folder / f"{night}-{name}" for name in ("watched", "page")}
    return shell.execute("watch", {"card": folder / "card", "store": store.uri, "date": night, **places, **given})


def record(store, night):
    return watch_records.parse(store.read(watch_records.series_key(night)), night)


@pytest.fixture
def version(tmp_path, store):
    made = publish_of_several(store, tmp_path / "bundle", NAMES, SHARES)
    (tmp_path / "card").mkdir()
    shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card/card.yaml")
    return made


def put(store, version, night, seed, shares=SHARES, texts=900, **given):
    table = make_of_several(texts, shares, seed, NAMES, learned=SHARES, **given)
    return put_night(store, night, table, version, **MANY)


def test_quiet_nights_are_fine_and_tell_the_share_of_each_label(tmp_path, store, version):
    for number, night in enumerate(DATES):
        put(store, version, night, number)
        assert watch(tmp_path, store, night).parameters["verdict"] == "fine"
    found = record(store, DATES[-1])
    assert set(found.shares) == set(NAMES)
    shares = {name: found.shares[name].value for name in NAMES}
    assert list(shares.values()) == pytest.approx(list(SHARES), abs=0.05)
    assert set(found.series) == {"shares", "scores", "lengths", "vocabulary", "unknown"}


def test_a_label_that_stands_beside_others_more_often_is_named_and_is_no_other_content(tmp_path, store, version):
    for number, night in enumerate(DATES):
        last = night == DATES[-1]
        put(store, version, night, number, (0.4, 0.2, 0.1 + 0.2 * last, 0.05))
        verdict = watch(tmp_path, store, night).parameters["verdict"]
        assert verdict == ("look" if last else "fine")
    found = record(store, DATES[-1])
    share = found.series["shares"]
    assert (share.label, share.moved) == ("wish", ["wish"])
    assert (share.value, share.expected) == (pytest.approx(0.3, abs=0.05), pytest.approx(0.1, abs=0.03))
    assert "the base rate has changed, not the content" in found.reason
    assert any("the true share of 'wish' went from" in sentence for sentence in found.evidence)
    assert [found.series[name].is_standing for name in ("scores", "lengths", "vocabulary")] == [False] * 3


def test_other_texts_are_changed_content(tmp_path, store, version):
    for number, night in enumerate(DATES[:4]):
        put(store, version, night, number)
        watch(tmp_path, store, night)
    put(store, version, DATES[4], 9, topic="ferry")
    result = watch(tmp_path, store, DATES[4])
    assert result.parameters["verdict"] == "retrain"
    assert "The texts themselves have changed." in result.parameters["reason"]


def test_a_bundle_without_a_reference_is_compared_with_its_first_night(tmp_path, store):
    bundle = make_bundle(tmp_path / "bundle", labels=NAMES, is_many=True)
    made = registry.publish_bundle(store, bundle, {"report.html": b"<p>report</p>"}).version
    (tmp_path / "card").mkdir()
    shutil.copy(bundle / "card.yaml", tmp_path / "card/card.yaml")
    for number, night in enumerate(DATES):
        put(store, made, night, number, (0.4, 0.2, 0.1, 0.3 if night == DATES[-1] else 0.05))
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in DATES]
    assert verdicts == ["fine"] * 5 + ["look"]
    assert record(store, DATES[-1]).series["shares"].label == "blame"


def test_a_night_of_the_other_kind_than_its_bundle_is_refused(tmp_path, store, version):
    table = make_of_several(100, SHARES, 1, NAMES)
    put_night(store, DATES[0], table, version, labels=NAMES, positive_label=None)
    with pytest.raises(BadArtifact, match="another number a text"):
        watch(tmp_path, store, DATES[0])


def test_a_night_without_texts_and_one_without_labels_are_no_fault(tmp_path, store, version):
    put(store, version, DATES[0], 1)
    put(store, version, DATES[1], 2, texts=0)
    nothing = make_of_several(50, (1e-9,) * 4, 3, NAMES)
    put_night(store, DATES[2], nothing, version, **MANY)
    for night in DATES[:3]:
        watch(tmp_path, store, night)
    assert {share.value for share in record(store, DATES[2]).shares.values()} == {0.0}


# What people say


def answered(seed, missed=""):
    """Answers to a sample: people agree, but that four of five texts with `missed` don't have it."""
    table = make_of_several(1200, SHARES, seed, NAMES).with_columns(night=pl.lit(DATES[0]), version=pl.lit("v"))
    drawn = rules.draw(table, SampleConfig(random_texts=800, stratified_texts=0), DATES[0], None)
    human = [
        json.dumps([name for name in json.loads(label) if name != missed or place % 5 == 0])
        for place, label in enumerate(drawn["label"])
    ]
    said = pl.Series("human_label", human)
    return drawn.with_columns(said, day=pl.lit(f"2026-11-{seed:02d}"), annotators=pl.lit(1, pl.Int64))


def test_quality_is_the_macro_average_over_labels_and_the_one_that_got_worse_is_told():
    later = answered(10, missed="tip")
    first, second = quality.sample_records(pl.concat([answered(3), later]), SPACE)
    assert (first["primary"]["value"], first["errors"]["value"]) == (1.0, 0.0)
    truth, given = (SPACE.codes(later[name]) for name in ("human_label", "label"))
    whole = quality.primary(later.with_columns(weight=pl.lit(1.0)), SPACE)
    assert whole.value == pytest.approx(metrics.macro_f1(truth, given, labels=len(NAMES)))
    assert whole.low < whole.value < 1
    assert second["errors"]["value"] == pytest.approx(1 - metrics.accuracy(truth, given), abs=0.02)
    assert second["labels"]["tip"]["precision"]["value"] == pytest.approx(0.2, abs=0.08)
    assert second["labels"]["tip"]["recall"]["value"] == 1.0
    changes = {name: one["change"]["high"] for name, one in second["labels"].items() if one["change"]}
    assert min(changes, key=changes.get) == "tip"
    assert second["labels"]["praise"]["precision"]["value"] == 1.0


def test_texts_are_sampled_by_how_sure_the_least_sure_label_is():
    table = make_of_several(2000, SHARES, 1, NAMES).with_columns(night=pl.lit(DATES[0]), version=pl.lit("v"))
    strata = rules.strata_of(table, None)
    lowest = np.array([min(max(chance, 1 - chance) for chance in row) for row in table["probabilities"]])
    assert (lowest[strata == 3] > 0.5).all()
    assert lowest[strata == 1].mean() < lowest[strata == 2].mean() < lowest[strata == 3].mean()
    drawn = rules.draw(table, SampleConfig(random_texts=40, stratified_texts=200), DATES[0], None)
    assert drawn["weight"].sum() == pytest.approx(2000)


def vote(store, day, *said):
    rows = pl.DataFrame(said, schema=dict.fromkeys(("id", "label", "annotator"), pl.String), orient="row")
    samples.put_answers(store, day, rows)


def test_people_vote_on_each_label_and_a_tie_on_one_leaves_the_text_out(store):
    vote(
        store,
        DATES[0],
        ("a", '["praise", "tip"]', "ann"), ("a", '["tip", "wish"]', "bob"), ("a", '["tip"]', "eve"),
        ("b", '["tip"]', "ann"), ("b", '["praise", "tip"]', "bob"),
        ("c", "[]", "ann"),
        ("d", '["wish"]', "ann"), ("d", "[]", "bob"), ("d", "[]", "eve"),
    )  # fmt: skip
    found = samples.read_answers(store, DATES[0], SPACE)
    assert found.rows() == [("a", '["tip"]', 3), ("c", "[]", 1), ("d", "[]", 3)]
    assert found.schema == samples.read_answers(store, DATES[0]).schema


def test_what_was_said_before_a_text_might_have_several_is_a_set_of_one(store):
    vote(store, DATES[0], ("a", "tip", None), ("b", "gone", None))
    assert samples.read_answers(store, DATES[0], SPACE).rows() == [("a", '["tip"]', 1), ("b", '["gone"]', 1)]


def test_a_set_of_one_is_that_label_again_where_a_text_has_one_by_now(store):
    vote(
        store,
        DATES[0],
        ("a", '["tip"]', "ann"),
        ("a", "tip", "bob"),
        ("b", '["praise", "tip"]', None),
        ("c", "[]", None),
    )
    found = samples.read_answers(store, DATES[0], LabelSpace(NAMES))
    assert found.rows() == [("a", "tip", 2), ("b", '["praise", "tip"]', 1), ("c", "[]", 1)]
    named = LabelSpace((*NAMES, '["tip"]'))  # as a label may be called there
    assert samples.read_answers(store, DATES[0], named)["id"].to_list() == ["b", "c"]


@pytest.mark.parametrize(
    ("is_many", "label", "errors"), [(False, '["tip"]', 0.0), (True, "tip", 0.0), (False, "[]", 1.0)]
)
def test_a_sample_of_texts_that_had_another_number_of_labels_is_measured_by_what_it_says(store, is_many, label, errors):
    drawn = make_of_several(30, SHARES, 1, NAMES).with_columns(label=pl.lit(label), night=pl.lit(DATES[0]))
    drawn = rules.draw(drawn.with_columns(version=pl.lit("v-1")), SampleConfig(), DATES[0], None, stand_for=1.0)
    samples.put_drawn(store, DATES[0], drawn, {})
    samples.put_about(store, DATES[0], {"drawn": len(drawn), "taught": 0, "absence": ""})
    vote(store, DATES[0], *((name, '["tip"]' if is_many else "tip", "ann") for name in drawn["id"]))
    space = LabelSpace(NAMES, is_many=is_many)
    found = quality.sample_records(samples.read_answered(store, DATES[0], space), space)
    assert [one["errors"]["value"] for one in found] == [errors]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """A teacher that finds praise and a wish in every text."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with teacher_server(lambda *_: completion('{"labels": ["praise", "wish"]}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        yield log


def sample(folder, store, day, **given):
    places = {name: folder / f"{name}-{day}" for name in ("snapshot", "sample")}
    asked = "random_texts=60\nteacher_texts=20"
    given = {"card": str(folder / "card"), "store": store.uri, "date": day, **places, "overrides": asked, **given}
    return shell.execute("sample", given)


def test_a_week_from_the_sample_to_the_figures_on_the_page(tmp_path, store, version, teacher):
    put(store, version, DATES[0], 1)
    assert sample(tmp_path, store, DATES[0]).metrics["taught"] == 20
    drawn = samples.read_sample(store, DATES[0])
    assert set(drawn["teacher_label"].drop_nulls()) == {'["praise", "wish"]'}
    said = {name: json.loads(label) for name, label in drawn["id", "label"].iter_rows()}
    wrong = drawn["id"][0]
    said[wrong] = [name for name in NAMES if name not in said[wrong]]
    rows = [f"{name},{'; '.join(labels) or '[]'}" for name, labels in said.items()]
    answers = tmp_path / "answers.csv"
    answers.write_text("\n".join(["id,label", *rows]))
    assert sample(tmp_path, store, DATES[1], answers=str(answers)).metrics["answers"] == len(drawn)
    watch(tmp_path, store, DATES[0])
    put(store, version, DATES[1], 2)
    watch(tmp_path, store, DATES[1])
    (found, _) = json.loads((tmp_path / f"{DATES[1]}-watched/quality.json").read_text())["samples"]
    assert (found["answered"], found["taught"]) == (len(drawn), 20)
    assert 0.5 < found["primary"]["value"] < 1
    assert 0 < found["errors"]["value"] < 0.1
    assert found["disagreement"]["value"] > 0.8
    page = (tmp_path / f"{DATES[1]}-page").read_text()
    assert "Macro F1 by people" in page
    assert "Shares of the labels" in page
    assert "what a text's labels let expect" in page
    assert "Texts with an error that people found" in page


def test_a_dated_test_set_counts_each_label_and_keeps_the_cards_order(tmp_path, store, version):
    card = load_card(tmp_path / "card")
    rows = answered(3).with_columns(day=pl.lit("2026-08-01"), version=pl.lit(version))
    testsets.make_due(store, card, rows, "2026-11-01", 200)
    (found,) = testsets.read_all(store, "2026-11-01")
    texts = [set(json.loads(label)) for label in rows["human_label"]]
    assert found["labels"] == {name: sum(name in one for one in texts) for name in sorted(NAMES)}
    assert (found["primary"]["value"], found["texts"]) == (1.0, 800)
