"""Nights whose texts may have several labels, or none: what predictions, records and caches hold of them."""

import io
import json

import numpy as np
import polars as pl
import pytest

from tests.night_desk import make_desk
from understudy.errors import BadArtifact
from understudy.model.scoring import Bundle
from understudy.privacy.erasure import forget
from understudy.serving.predictions import predict
from understudy.steps.infer import rules
from understudy.store import codecs, manifests, segments
from understudy.store.predictions import OF_EACH, OF_SEVERAL, PREDICTIONS
from understudy.task.labels import LabelSpace

NAMES = ("praise", "tip", "wish")
WORDS = {"nice": {"praise": 4.0}, "ask": {"tip": 4.0}, "want": {"wish": 4.0}}  # each from odds of e^-2 upwards
NIGHT = "2026-11-01"
ROWS = [
    ("both", "Nice, ask for a room"),
    ("none", "It rained"),
    ("all", "Nice, ask, want"),
    ("again", "It rained"),
]
YES, NO = 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))


@pytest.fixture
def desk(tmp_path):
    return make_desk(tmp_path, labels=NAMES, words=WORDS, is_many=True)


def test_a_prediction_has_the_set_of_labels_and_the_probability_of_each(desk):
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    found = desk.predictions(NIGHT)
    assert found.schema == OF_SEVERAL
    assert found["label"].to_list() == ['["praise", "tip"]', "[]", '["praise", "tip", "wish"]', "[]"]
    assert found["runner_up"].to_list() == ["wish", "praise", None, "praise"]
    assert found["probability"].to_list() == pytest.approx([YES] * 4)  # of none: 1 less the likeliest
    assert found["runner_up_probability"].to_list()[2] is None
    assert found["runner_up_probability"].drop_nulls().to_list() == pytest.approx([NO] * 3)
    assert found[OF_EACH][0].to_list() == pytest.approx([YES, YES, NO])
    assert found["threshold"].null_count() == len(found)
    assert segments.parse(codecs.as_parquet(found), "here").equals(found)


def test_manifest_and_record_count_each_label_of_each_text(desk):
    desk.write("a.csv", ROWS)
    manifest = desk.night(NIGHT)
    assert manifest.is_many
    assert json.loads(desk.store.read(manifests.manifest_key(NIGHT)))["labels_per_text"] == "many"
    record = desk.record(NIGHT)
    assert record["labels"] == {"praise": 2, "tip": 2, "wish": 1}
    assert (record["rows"], record["settled"]) == (4, 0)


def test_a_night_of_one_label_says_nothing_of_several(tmp_path):
    desk = make_desk(tmp_path)
    desk.write("a.csv", ROWS)
    manifest = desk.night(NIGHT)
    assert not manifest.is_many
    assert "labels_per_text" not in json.loads(desk.store.read(manifests.manifest_key(NIGHT)))
    assert desk.predictions(NIGHT).schema == PREDICTIONS


def test_a_text_known_from_another_night_is_not_scored_again_and_gets_the_same(desk):
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    desk.write("b.csv", [(f"{name}-2", text) for name, text in [*ROWS, ("new", "I want it")]])
    desk.shard("2026-11-02")
    assert desk.infer("2026-11-02/00").metrics["scored"] == 1
    said = ["label", "probability", "runner_up", "runner_up_probability", OF_EACH, "stage", "windows"]
    assert desk.predictions("2026-11-02")[:4].select(said).equals(desk.predictions(NIGHT).select(said))


def test_the_nights_labels_are_those_of_predict(desk):
    rng = np.random.default_rng(7)
    words = ["nice", "ask", "want", "rain", "it"]
    texts = [(str(number), " ".join(rng.choice(words, size=4))) for number in range(60)]
    desk.write("a.csv", texts)
    desk.night(NIGHT, overrides="infer.texts_per_segment=7")
    found = desk.predictions(NIGHT)
    said = list(predict(Bundle.open(desk.bundle), found["text"].to_list()))
    assert found["label"].to_list() == [one.label for one in said]
    assert found["probability"].to_list() == [one.probability for one in said]
    assert found["runner_up"].to_list() == [one.runner_up for one in said]


def test_a_probability_just_below_its_threshold_stays_below_it_when_it_is_remembered(tmp_path):
    desk = make_desk(tmp_path, labels=NAMES, words=WORDS, is_many=True, threshold=float(np.float32(YES)))
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    desk.write("b.csv", [(f"{name}-2", text) for name, text in ROWS])
    desk.night("2026-11-02")
    assert desk.predictions("2026-11-02")["label"].equals(desk.predictions(NIGHT)["label"])


def test_texts_outside_of_any_night_have_sets_too(desk, tmp_path):
    from understudy.runtime.shell import execute

    file = desk.write("a.csv", ROWS)
    execute("infer", {"bundle": desk.bundle, "texts": str(file), "predictions": tmp_path / "out", "date": NIGHT})
    (segment,) = (tmp_path / "out").rglob("00-*.parquet")
    assert pl.read_parquet(segment)["label"].to_list()[:2] == ['["praise", "tip"]', "[]"]
    assert json.loads((tmp_path / "out/summary.json").read_text())["labels"] == {"praise": 2, "tip": 2, "wish": 1}


def test_forgetting_a_text_takes_each_of_its_labels_out_of_the_record(desk):
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    forget(desk.store, ["both"], [], NIGHT)
    assert desk.record(NIGHT)["labels"] == {"praise": 1, "tip": 1, "wish": 1}
    assert desk.predictions(NIGHT)["id"].to_list() == ["none", "all", "again"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (pl.lit("tip").alias("label"), "no set"),
        (pl.lit([0.5], pl.List(pl.Float32())).alias(OF_EACH), "another number"),
        (pl.lit([0.5, 2.0, 0.1], pl.List(pl.Float32())).alias(OF_EACH), "probability in"),
        (pl.lit(None, pl.List(pl.Float32())).alias(OF_EACH), "probability in"),
        (pl.lit(None, pl.Float64()).alias("runner_up_probability"), "probability that is no number"),
    ],
)
def test_a_segment_that_no_worker_wrote_is_refused(desk, change, fault):
    desk.write("a.csv", ROWS[:2])
    manifest = desk.night(NIGHT)
    data = codecs.as_parquet(desk.predictions(NIGHT).with_columns(change))

    def read():
        segments.require_kind(segments.parse(data, "here"), len(manifest.labels), "here", is_many=True)

    with pytest.raises(BadArtifact, match="other labels" if fault == "another number" else fault):
        read()


def test_a_segment_of_the_other_kind_is_refused(desk):
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    table = segments.parse(codecs.as_parquet(desk.predictions(NIGHT)), "here")
    with pytest.raises(BadArtifact, match="another number of labels"):
        segments.require_kind(table, 3, "here", is_many=False)


def test_cached_scores_of_other_labels_are_refused(desk):
    desk.write("a.csv", ROWS)
    desk.night(NIGHT)
    (key,) = desk.store.list("scored/")
    cached = pl.read_parquet(io.BytesIO(desk.store.read(key)))
    assert cached.columns == ["content", OF_EACH, "windows", "stage"]
    space = LabelSpace((*NAMES, "more"), is_many=True)
    with pytest.raises(BadArtifact, match="Cached scores"):
        rules.scored(cached, space, "here")
    known = rules.Known(rules.keyed(rules.scored(cached, LabelSpace(NAMES, is_many=True), "here"), NAMES))
    said = known.find(rules.content_of("It rained"))
    assert (said.probabilities.tolist(), said.windows) == (pytest.approx([NO] * 3), 1)
