import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_card
from tests.teachers import Answer, completion, error, teacher_server
from tests.watched import make_labelled, make_texts, publish, put_night, scored
from understudy.errors import BadArtifact, BadData, BadInput, StorageError
from understudy.privacy import erasure
from understudy.reports import watch as pages
from understudy.review import samples
from understudy.runtime import shell
from understudy.stats import metrics
from understudy.stats.drift.summary import empty
from understudy.steps.sample import rules
from understudy.steps.sample.config import SampleConfig
from understudy.steps.watch import quality, testsets
from understudy.store import tombstones, watch_records
from understudy.store.storage import Store, open_store
from understudy.task.card import load_card
from understudy.task.labels import LabelSpace

DAY = "2026-11-07"


def texts(count: int, share: float = 0.1) -> pl.DataFrame:
    """Texts of a night as `core.draw` takes them."""
    return scored(make_texts(count, share, seed=3)).with_columns(night=pl.lit(DAY), version=pl.lit("v"))


def sample(folder: Path, store: Store, *overrides: str, day: str = DAY, **given: str) -> shell.Result:
    places = {name: folder / f"{day}-{name}" for name in ("snapshot", "sample")}
    settings = "\n".join(["random_texts=40", "stratified_texts=40", "teacher_texts=10", *overrides])
    return shell.execute(
        "sample",
        {"card": str(folder / "card"), "store": store.uri, "date": day, **places, **given, "overrides": settings},
    )


def watch(folder: Path, store: Store, day: str, *overrides: str) -> dict:
    places = {name: folder / f"{day}-{name}" for name in ("watched", "page")}
    given = {"card": folder / "card", "store": store.uri, "date": day, "overrides": "\n".join(overrides)}
    shell.execute("watch", {**given, **places})
    return json.loads((folder / f"{day}-watched/quality.json").read_text())


def answer(folder: Path, day: str = DAY, flip: int = 0) -> Path:
    """Fill a day's queue in as a person who agrees with the model but on the first few of its texts."""
    drawn = pl.read_parquet(folder / f"{day}-sample/sample.parquet")
    labels = dict(zip(drawn["id"], drawn["label"], strict=True))
    rows = list(csv.DictReader(io.StringIO((folder / f"{day}-sample/queue.csv").read_text(encoding="utf-8-sig"))))
    other = {"tip": "other", "other": "tip"}
    for place, row in enumerate(rows):
        label = labels[row["id"]]
        row["label"] = other[label] if place < flip else label
    file = folder / f"{day}-answers-{flip}.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # nobody listens there


@pytest.fixture
def teacher(monkeypatch) -> Iterator[list[str]]:
    """A teacher that calls every text a tip, at $0.00014 each."""
    with teacher_server(lambda *_: completion('{"label":"tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        yield log.texts


@pytest.fixture
def version(tmp_path, store) -> str:
    made = make_nights(store, tmp_path)
    watch(tmp_path, store, "2026-11-03")
    return made


def test_a_card_of_which_texts_may_have_another_number_of_labels_than_in_the_nights_is_refused(
    tmp_path, store, version
):
    (tmp_path / "card/card.yaml").write_text(make_card(labels=("other", "tip"), is_many=True))
    with pytest.raises(BadInput, match="The card must say as the nights do how many labels a text may have"):
        sample(tmp_path, store)


def make_nights(store: Store, folder: Path) -> str:
    """Publish a bundle and let it label three nights of 300 texts; return its version."""
    made = publish(store, folder / "bundle")
    (folder / "card").mkdir()
    shutil.copy(folder / "bundle/card.yaml", folder / "card/card.yaml")
    for number in range(1, 4):
        put_night(store, f"2026-11-0{number}", make_texts(300, 0.2, seed=number), made)
    return made


@pytest.mark.parametrize("by", ["id", "group"])
def test_a_text_that_is_forgotten_while_it_is_drawn_is_in_no_sample(tmp_path, store, version, monkeypatch, by):
    put, gone = samples.put_drawn, {}

    def hooked(to, day, drawn, files):
        if not gone:
            gone.update(drawn.row(0, named=True))
            ids, groups = ([gone["id"]], []) if by == "id" else ([], [gone["group"]])
            erasure.forget(store, ids, groups, DAY)
        put(to, day, drawn, files)

    monkeypatch.setattr(samples, "put_drawn", hooked)
    result = sample(tmp_path, store)
    drawn = samples.read_sample(store, DAY)
    assert gone[by] not in drawn[by].to_list()
    assert result.metrics["drawn"] == samples.read_about(store, DAY)["drawn"] == len(drawn) >= 50
    for folder in (store.root / f"samples/{DAY}", tmp_path / f"{DAY}-sample"):
        said = [path.read_text(encoding="utf-8-sig") for path in folder.iterdir() if path.suffix != ".parquet"]
        assert gone["id"] not in {
            row["id"] for row in csv.DictReader(io.StringIO((folder / "queue.csv").read_text(encoding="utf-8-sig")))
        }
        assert not any(gone["text"] in text for text in said)


def test_weights_add_up_to_all_texts_of_each_part():
    table = texts(3000)
    drawn = rules.draw(table, SampleConfig(random_texts=60, stratified_texts=80), DAY, "tip")
    assert drawn["weight"].sum() == pytest.approx(3000)
    sizes = drawn.group_by("stratum").agg(size=pl.col("stratum_texts").first(), weight=pl.col("weight").sum())
    assert sizes["size"].to_list() == pytest.approx(sizes["weight"].to_list())
    assert (drawn["drawn"] == "random").sum() == 60
    assert drawn.filter(pl.col("drawn") == "stratified").group_by("stratum").len()["len"].to_list() == [20] * 4


def test_a_weighted_sample_says_the_truth_about_all_texts():
    table = texts(4000)
    true_share = (table["label"] == "tip").mean()
    found = []
    for seed in range(60):
        drawn = rules.draw(table, SampleConfig(random_texts=50, stratified_texts=100, seed=seed), DAY, "tip")
        found.append(float((drawn["weight"] * (drawn["label"] == "tip")).sum() / drawn["weight"].sum()))
    assert np.mean(found) == pytest.approx(true_share, abs=0.002)  # labels follow the parts: no error is left


def test_the_draw_does_not_depend_on_the_order_of_the_texts():
    table = texts(500)
    config = SampleConfig(random_texts=20, stratified_texts=20)
    assert rules.draw(table, config, DAY, "tip").equals(rules.draw(table.reverse(), config, DAY, "tip"))
    assert set(rules.draw(table, config, DAY, "tip")["id"]) != set(rules.draw(table, config, "2026-11-14", "tip")["id"])


def test_fewer_texts_than_asked_for_are_all_drawn():
    drawn = rules.draw(texts(30), SampleConfig(), DAY, "tip")
    assert len(drawn) == 30
    assert drawn["weight"].to_list() == [1.0] * 30


def test_the_sample_goes_out_with_no_model_in_sight(tmp_path, store, version, teacher):
    result = sample(tmp_path, store)
    assert 40 < result.metrics["drawn"] <= 80
    folder = tmp_path / f"{DAY}-sample"
    assert sorted(path.name for path in folder.iterdir() if path.name != "provenance.json") == [
        "label-studio.json", "label-studio.xml", "queue.csv", "sample.json", "sample.parquet",
    ]  # fmt: skip
    assert "probability" not in (folder / "queue.csv").read_text()
    assert set(json.loads((folder / "label-studio.json").read_text())[0]["data"]) == {
        "understudy_id", "id", "group", "text", "guideline",
    }  # fmt: skip
    about = json.loads(store.read(f"samples/{DAY}/sample.json"))
    assert about["nights"] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert (about["texts"], about["version"], about["taught"]) == (900, version, 10)
    assert len(teacher) == 10


def test_the_teacher_stays_within_the_samples_budget(tmp_path, store, version, teacher):
    # An answer costs 100 * $1 + 10 * $4 per million tokens: all 40 would be $0.0056.
    result = sample(tmp_path, store, "teacher_texts=40", "teacher_usd=0.004")
    assert 0 < result.metrics["taught"] < 40
    assert 0 < result.metrics["cost_usd"] <= 0.004


def test_a_teacher_that_needs_the_turns_before_a_text_is_not_asked(tmp_path, store, version, teacher):
    card = tmp_path / "card/card.yaml"
    card.write_text(f"{card.read_text(encoding='utf-8')}\ncontext: {{turns: 2}}\n", encoding="utf-8")
    found = sample(tmp_path, store)
    assert (found.metrics["drawn"], found.metrics["taught"], teacher) == (80, 0, [])
    assert "$context" not in (tmp_path / f"{DAY}-sample/label-studio.xml").read_text()


def test_people_get_their_sample_when_the_teacher_is_away(tmp_path, store, version):
    result = sample(tmp_path, store)
    assert result.metrics["taught"] == 0
    assert result.metrics["drawn"] > 40
    assert "the teacher was away" in result.headline


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_repeat_asks_the_teacher_that_was_away(tmp_path, request, monkeypatch, kind):
    store = open_store(str(tmp_path / "store") if kind == "folder" else request.getfixturevalue("s3_url"))
    make_nights(store, tmp_path)
    sample(tmp_path, store)
    before = samples.read_sample(store, DAY)
    shutil.rmtree(tmp_path / f"{DAY}-sample")
    shutil.rmtree(tmp_path / f"{DAY}-snapshot")
    with teacher_server(lambda *_: completion('{"label":"tip"}')) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        result = sample(tmp_path, store)
    assert (result.metrics["taught"], len(log.texts)) == (10, 10)
    assert "the teacher was away" not in result.headline
    about = json.loads(store.read(f"samples/{DAY}/sample.json"))
    assert (about["taught"], about["absence"]) == (10, "")
    assert about["cost_usd"] == result.metrics["cost_usd"] > 0
    after = samples.read_sample(store, DAY)
    assert after.drop("teacher_label").equals(before.drop("teacher_label"))
    assert after["teacher_label"].drop_nulls().to_list() == ["tip"] * 10
    assert pl.read_parquet(tmp_path / f"{DAY}-sample/sample.parquet").equals(after)


def test_a_repeat_without_the_teacher_changes_nothing(tmp_path, store, version):
    sample(tmp_path, store)
    before = {key: store.read(key) for key in store.list("samples/")}
    again = sample(tmp_path, store)
    assert {key: store.read(key) for key in store.list("samples/")} == before
    assert "the teacher was away" in again.headline


def test_all_repeats_together_stay_within_the_samples_budget(tmp_path, store, version, monkeypatch):
    given = ("teacher_texts=40", "teacher_usd=0.004", "teacher.concurrency=1")
    costs = []
    tip, refusal = completion('{"label":"tip"}'), error(401, "no")
    for respond in (lambda _, __, number: tip if number < 10 else refusal, lambda *_: tip):
        with teacher_server(respond) as log:
            monkeypatch.setenv("OPENAI_BASE_URL", log.url)
            costs.append(sample(tmp_path, store, *given).metrics["cost_usd"])
    about = json.loads(store.read(f"samples/{DAY}/sample.json"))
    assert costs[0] > 0
    assert about["absence"] == ""
    assert about["cost_usd"] == pytest.approx(sum(costs))
    assert sum(costs) <= 0.004


def test_a_text_that_is_forgotten_while_the_teacher_is_asked_does_not_come_back(tmp_path, store, version, monkeypatch):
    sample(tmp_path, store)
    key = f"samples/{DAY}/sample.parquet"
    gone = samples.read_sample(store, DAY)["id"][0]

    def forget(*_: object) -> Answer:
        found = store.read_tagged(key)
        table = samples.read_sample(store, DAY).filter(pl.col("id") != gone)
        store.compare_and_swap(key, samples.as_parquet(table), found.tag)
        return completion('{"label":"tip"}')

    with teacher_server(forget) as log:
        monkeypatch.setenv("OPENAI_BASE_URL", log.url)
        sample(tmp_path, store)
    after = samples.read_sample(store, DAY)
    assert gone not in after["id"]
    assert after["teacher_label"].count() == 9


def test_what_a_killed_run_left_of_another_draw_is_replaced(tmp_path, store, version):
    left = rules.draw(texts(30), SampleConfig(), DAY, "tip")
    store.put_if_absent(f"samples/{DAY}/sample.parquet", samples.as_parquet(left))
    store.put_if_absent(f"samples/{DAY}/queue.csv", b"id,group,text,label\r\n")
    result = sample(tmp_path, store)
    assert len(samples.read_sample(store, DAY)) == result.metrics["drawn"]
    rows = csv.DictReader(io.StringIO(store.read(f"samples/{DAY}/queue.csv").decode("utf-8-sig")))
    assert [row["id"] for row in rows] == samples.read_sample(store, DAY)["id"].to_list()


def test_answers_are_not_taken_in_by_a_run_that_is_refused(tmp_path, store, version):
    sample(tmp_path, store)
    given = str(answer(tmp_path))
    manifests = {key: store.read(key) for key in store.list("manifests/")}
    for key in manifests:
        store.delete(key)
    with pytest.raises(BadInput, match="A sample must have texts to draw from"):
        sample(tmp_path, store, day="2026-11-14", answers=given)
    assert store.list("samples/2026-11-14/") == []
    for key, data in manifests.items():
        store.put_if_absent(key, data)
    assert sample(tmp_path, store, day="2026-11-14", answers=given).parameters["is_new"] is True


def test_a_days_sample_is_drawn_once(tmp_path, store, version, teacher):
    sample(tmp_path, store)
    before = {key: store.read(key) for key in store.list("samples/")}
    again = sample(tmp_path, store, "random_texts=70")
    assert {key: store.read(key) for key in store.list("samples/")} == before
    assert again.metrics["cost_usd"] == 0
    assert len(teacher) == 10


def test_texts_that_are_forgotten_are_not_drawn(tmp_path, store, version):
    tombstones.remember_to_forget(store, "id", [f"1-{number}" for number in range(300)], DAY)
    sample(tmp_path, store)
    drawn = samples.read_sample(store, DAY)
    assert not any(name.startswith("1-") for name in drawn["id"])
    assert drawn["weight"].sum() == pytest.approx(600)


def test_a_night_that_is_not_labelled_whole_is_left_out_and_said(tmp_path, store, version):
    put_night(store, "2026-11-06", make_texts(50, 0.2, seed=6), version, shards=((), ()))
    result = sample(tmp_path, store)
    about = json.loads(store.read(f"samples/{DAY}/sample.json"))
    assert (about["nights"][-1], about["left_out"], about["texts"]) == ("2026-11-03", ["2026-11-06"], 900)
    assert result.headline.endswith("; left out, for they are not labelled whole: 2026-11-06")


def test_a_sample_is_not_drawn_from_a_part_of_the_only_night(tmp_path, store):
    made = publish(store, tmp_path / "bundle")
    (tmp_path / "card").mkdir()
    shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card/card.yaml")
    put_night(store, "2026-11-06", make_texts(50, 0.2, seed=6), made, shards=((), ()))
    with pytest.raises(StorageError, match="not labelled whole: 2026-11-06"):
        sample(tmp_path, store)
    assert store.list("samples/") == []


def test_as_many_whole_nights_are_drawn_from_as_were_asked_for(tmp_path, store, version):
    for night in ("2026-11-05", "2026-11-06"):
        put_night(store, night, make_texts(50, 0.2, seed=6), version, shards=((), ()))
    sample(tmp_path, store, "nights=2")
    about = json.loads(store.read(f"samples/{DAY}/sample.json"))
    assert (about["nights"], about["left_out"]) == (["2026-11-02", "2026-11-03"], ["2026-11-05", "2026-11-06"])


@pytest.mark.parametrize("said", [b"", b"7", b'{"drawn": "many"}', b"\xff"])
def test_a_damaged_note_of_a_sample_is_one_sentence(tmp_path, store, version, said):
    store.put_if_absent(f"samples/{DAY}/sample.json", said)
    with pytest.raises(BadArtifact, match="What is read from a store or an artifact must be"):
        sample(tmp_path, store)


def test_a_store_without_nights_has_nothing_to_draw_from(tmp_path, store):
    publish(store, tmp_path / "bundle")
    (tmp_path / "card").mkdir()
    shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card/card.yaml")
    with pytest.raises(BadInput, match="A sample must have texts to draw from"):
        sample(tmp_path, store)


def test_answers_become_precision_and_recall(tmp_path, store, version, teacher):
    sample(tmp_path, store)
    result = sample(tmp_path, store, day="2026-11-14", answers=str(answer(tmp_path)))
    assert result.parameters["is_new"] is True
    found = watch(tmp_path, store, "2026-11-14")
    first = found["samples"][0]
    assert first["answered"] == first["drawn"] == len(samples.read_sample(store, DAY))
    for figures in first["labels"].values():
        assert figures["precision"]["value"] == figures["recall"]["value"] == 1.0
        assert figures["recall"]["low"] < 1.0  # all right on few texts is not certainty
    assert first["errors"]["value"] == 0.0
    # The teacher calls everything a tip, so it differs on what the model calls other.
    drawn = samples.read_sample(store, DAY).filter(pl.col("teacher_label").is_not_null())
    is_other = (drawn["label"] == "other").to_numpy()
    taught = quality.reweighted(drawn, samples.read_sample(store, DAY))["weight"].to_numpy()
    assert first["disagreement"]["value"] == pytest.approx(taught[is_other].sum() / taught.sum(), abs=1e-6)
    assert found["months"][0]["month"] == "2026-11"
    assert found["months"][0]["primary"]["value"] == 1.0
    assert found["cycles"][0]["trained_texts"] == 900


def test_the_same_answers_count_once_and_a_persons_newest_counts(tmp_path, store, version):
    sample(tmp_path, store)
    file = answer(tmp_path, flip=5)
    assert sample(tmp_path, store, day="2026-11-08", answers=str(file)).parameters["is_new"] is True
    assert sample(tmp_path, store, day="2026-11-09", answers=str(file)).parameters["is_new"] is False
    wrong = watch(tmp_path, store, "2026-11-09")["samples"][0]["errors"]["value"]
    sample(tmp_path, store, day="2026-11-10", answers=str(answer(tmp_path)))
    assert wrong > 0
    assert watch(tmp_path, store, "2026-11-10")["samples"][0]["errors"]["value"] == 0.0


def test_the_newest_answer_counts_on_one_day_and_over_days(store):
    def said(day: str, label: str, annotator: str = "ann") -> str | None:
        votes = {"id": ["1"], "label": [label], "annotator": [annotator]}
        return samples.put_answers(store, day, pl.DataFrame(votes))

    for number, label in enumerate(["tip", "other", "tip", "other", "tip"], start=1):
        assert said(DAY, label) == f"samples/{DAY}/answers-{number:06d}.jsonl"
        assert samples.read_answers(store, DAY)["human_label"].to_list() == [label]
        assert said(DAY, label) is None  # nothing new
    assert said("2026-11-08", "other") is not None
    assert said("2026-11-09", "tip") is not None
    assert samples.read_answers(store, "2026-11-09")["human_label"].to_list() == ["tip"]
    assert said("2026-11-09", "other", "bob") is not None
    assert samples.read_answers(store, "2026-11-09")["human_label"].to_list() == []  # two persons, even


def test_answers_to_a_sample_never_become_training_labels(tmp_path, store, version):
    sample(tmp_path, store)
    sample(tmp_path, store, day="2026-11-14", answers=str(answer(tmp_path)))
    assert store.list("labels/") == []


def test_answers_with_unknown_labels_are_refused(tmp_path, store, version):
    file = tmp_path / "bad.csv"
    file.write_text("id,label\n1-1,perhaps\n1-2,tip\n")
    with pytest.raises(BadData, match="unknown_label"):
        sample(tmp_path, store, answers=str(file))


def test_unanswered_texts_are_stood_for_by_the_answered_ones_of_their_part():
    drawn = rules.draw(texts(1000), SampleConfig(random_texts=40, stratified_texts=40), DAY, "tip")
    found = quality.reweighted(drawn.gather_every(2), drawn)
    assert found["weight"].sum() == pytest.approx(1000)


def test_a_rise_of_errors_asks_for_a_retraining(tmp_path, store, version):
    flips = {"2026-11-04": 0, "2026-11-05": 0, "2026-11-06": 60}
    for number, (day, flip) in enumerate(flips.items(), start=4):
        put_night(store, day, make_texts(300, 0.2, seed=number), version)
        sample(tmp_path, store, "nights=1", "random_texts=150", day=day)
        sample(tmp_path, store, day=day, answers=str(answer(tmp_path, day, flip)))
        watch(tmp_path, store, day)
    before, after = (json.loads(store.read(f"watch/date={day}/series.json")) for day in ("2026-11-05", "2026-11-06"))
    assert before["verdict"] == "fine"
    assert after["verdict"] == "retrain"
    assert "errors that people found rose" in after["reason"]
    assert store.list("watch/retrain/") == ["watch/retrain/2026-11-06.json"]
    put_night(store, "2026-11-07", make_texts(300, 0.2, seed=7), version)
    watch(tmp_path, store, "2026-11-07")
    later = json.loads(store.read("watch/date=2026-11-07/series.json"))["series"]["errors"]
    assert after["series"]["errors"]["is_alarm"] is True
    assert (later["is_alarm"], later["is_standing"]) == (False, True)  # told once, though no new sample came


def test_a_quarters_answers_become_a_test_set_that_evaluate_reads(tmp_path, store, version):
    sample(tmp_path, store)
    sample(tmp_path, store, day="2026-11-14", answers=str(answer(tmp_path)))
    assert watch(tmp_path, store, "2026-12-31", "min_test_texts=30")["tests"] == []
    found = watch(tmp_path, store, "2027-01-02", "min_test_texts=30")["tests"]
    assert [one["date"] for one in found] == ["2026-12-31"]
    assert found[0]["texts"] == 40  # the random ones only
    assert found[0]["primary"]["value"] == 1.0
    gold = pl.read_parquet(io.BytesIO(store.read("testsets/2026-12-31/gold.parquet")))
    assert set(gold["split"]) == {"test"}
    assert len(gold) == 40


def test_a_test_set_is_compared_with_the_one_of_the_publication(tmp_path, store, version):
    card = load_card(tmp_path / "card")
    rows = rules.draw(texts(200, 0.4), SampleConfig(), DAY, "tip").with_columns(
        human_label=pl.col("label"), annotators=pl.lit(1, pl.Int64), version=pl.lit(version), day=pl.lit(DAY)
    )
    found = testsets.compared(store, card, rows, "2026-12-31")
    assert found["published"] is None
    assert found["difference"] is None
    assert quality.difference(quality.Interval(0.6, 0.5, 0.7), quality.Interval(0.8, 0.8, 0.8)).high < 0


MANY = tuple(f"label {number}" for number in range(77))


@pytest.mark.parametrize("names", [("praise", "tip", "blame"), MANY])
def test_where_no_label_is_looked_for_the_parts_are_of_the_models_confidence(names):
    table = make_labelled(2000, [1.0] * len(names), 3, names).with_columns(night=pl.lit(DAY), version=pl.lit("v"))
    drawn = rules.draw(table, SampleConfig(random_texts=60, stratified_texts=80), DAY, None)
    by_part = drawn.group_by("stratum").agg(low=pl.col("probability").min(), high=pl.col("probability").max())
    limits = {1: (0.5, 0.75), 2: (0.75, 0.9), 3: (0.9, 1.0)}
    for part, low, high in by_part.iter_rows():
        assert limits[part][0] <= low <= high < limits[part][1]
    assert drawn["weight"].sum() == pytest.approx(2000)


def test_a_label_that_is_looked_for_among_several_has_its_parts_by_what_is_known_of_it():
    known = {
        "label": ["tip", "other", "other", "other"],
        "probability": [0.5, 0.7, 0.5, 0.45],
        "runner_up": ["other", "tip", "blame", "blame"],
        "runner_up_probability": [0.3, 0.25, 0.45, 0.35],
        "threshold": [0.3] * 4,
    }
    found = rules.probability_of(pl.DataFrame(known), "tip")
    assert found.tolist() == pytest.approx([0.5, 0.25, 0.05, 0.2])
    assert rules.strata_of(pl.DataFrame(known), "tip").tolist() == [2, 1, 0, 1]
    unsure = pl.DataFrame(
        {**known, "probability": [0.5, 0.35, 0.35, 0.35], "runner_up_probability": [0.3, 0.29, 0.34, 0.34]}
    )
    assert rules.strata_of(unsure, "tip")[2:].tolist() == [1, 1]  # 0.31 would be given


def answers_of(names: tuple[str, ...], seed: int, wrong: str = "") -> pl.DataFrame:
    """Answers to a sample: people agree with the model, but for most texts that got the label `wrong`."""
    table = make_labelled(1200, [1.0] * len(names), seed, names).with_columns(
        night=pl.lit(DAY), version=pl.lit("v"), day=pl.lit(f"2026-11-{seed:02d}")
    )
    drawn = rules.draw(table, SampleConfig(random_texts=800, stratified_texts=0), DAY, None)
    is_wrong = (pl.col("label") == wrong) & (pl.int_range(pl.len()) % 5 > 0)
    human = pl.when(is_wrong).then(pl.col("runner_up")).otherwise(pl.col("label"))
    return drawn.with_columns(day=pl.lit(f"2026-11-{seed:02d}"), human_label=human, annotators=pl.lit(1, pl.Int64))


@pytest.mark.parametrize("names", [("praise", "tip", "blame"), MANY])
def test_the_label_that_got_worse_comes_first_and_the_figure_is_the_macro_average(names):
    space = LabelSpace(names)
    answered = pl.concat([answers_of(names, 3), answers_of(names, 10, wrong=names[1])])
    first, second = quality.sample_records(answered, space)
    assert first["primary"]["value"] == 1.0
    assert second["primary"]["value"] < 1.0
    assert all(one["change"] is None for one in first["labels"].values())
    changes = {name: one["change"]["high"] for name, one in second["labels"].items() if one["change"]}
    assert min(changes, key=changes.get) == names[1]
    assert changes[names[1]] < 0
    truth, given = (space.codes(answered.tail(len(answered) // 2)[name]) for name in ("human_label", "label"))
    weighted = quality.primary(answers_of(names, 10, wrong=names[1]).with_columns(weight=pl.lit(1.0)), space)
    assert weighted.value == pytest.approx(metrics.macro_f1(truth, given, labels=len(names)))
    page = watch_page(names, quality.sample_records(answered, space))
    assert page.index(f">{names[1]}<", page.index('id="quality"')) < page.index(
        f">{names[0]}<", page.index('id="quality"')
    )
    assert ("<details>" in page) == (len(names) > 12)


def watch_page(names: tuple[str, ...], records: list) -> str:
    """The page of a night without texts, with these samples."""
    night = watch_records.Night(
        format=2, date=DAY, card="c", version="v", generation=1, is_rehearsal=False, labels=names, positive_label=None,
        texts=0, looked_at=0, refused={}, verdict="fine", reason="No series has changed.", evidence=(), series={},
        shares={}, points={}, summary=empty(len(names), 1, 1).as_record(), reference=None, words=(),
        settings={"false_alarm_nights": 365, "page_nights": 9}, quality="",
    )  # fmt: skip
    known = watch_records.Quality(date=DAY, card="c", figure="macro_f1", samples=records, months=(), cycles=())
    assert "Macro F1 by people" in pages.page([night], known)
    return pages.page([night], known)


def test_answers_of_a_label_that_the_card_no_longer_has_are_no_fault():
    answered = answers_of(("praise", "tip", "blame"), 3)
    found = quality.sample_records(answered, LabelSpace(("praise", "tip")))
    assert set(found[0]["labels"]) == {"praise", "tip"}
    assert found[0]["primary"]["value"] == 1.0
