import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from tests.services import local
from tests.watched import make_labelled, make_texts, publish, publish_labelled, put_night
from understudy.errors import BadArtifact, BadInput, BadSetting, StorageError
from understudy.runtime import shell
from understudy.steps.watch import nightly, outlets
from understudy.steps.watch.config import WatchConfig
from understudy.store import manifests as nights
from understudy.store import registry, watch_records
from understudy.store.folder import FolderStore
from understudy.store.storage import Store
from understudy.task.settings import build_config


def watch(folder: Path, store: Store, night: str, *overrides: str) -> shell.Result:
    places = {name: folder / f"{night}-{name}" for name in ("watched", "page")}
    return shell.execute(
        "watch",
        {"card": folder / "card", "store": store.uri, "date": night, **places, "overrides": "\n".join(overrides)},
    )


def record(store: Store, night: str) -> watch_records.Night:
    return watch_records.parse(store.read(watch_records.series_key(night)), night)


@pytest.fixture
def version(tmp_path, store) -> str:
    made = publish(store, tmp_path / "bundle")
    (tmp_path / "card").mkdir()
    shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card/card.yaml")
    return made


@pytest.fixture
def webhook(monkeypatch) -> Iterator[list[dict]]:
    told: list[dict] = []

    class Handler(local.Quiet):
        def take(self) -> None:
            told.append(json.loads(self.body()))
            self.send(200)

        do_POST = take

    with local.serving(Handler) as address:
        monkeypatch.setenv(outlets.WEBHOOK, f"{address}/hook")
        yield told


def quiet_nights(store: Store, version: str, count: int, texts: int = 300) -> list[str]:
    names = [f"2026-11-{number:02d}" for number in range(1, count + 1)]
    for number, night in enumerate(names, start=1):
        put_night(store, night, make_texts(texts, 0.2, seed=number), version)
    return names


def test_quiet_nights_are_fine(tmp_path, store, version):
    for night in quiet_nights(store, version, 6):
        assert watch(tmp_path, store, night).parameters["verdict"] == "fine"
    found = record(store, "2026-11-06")
    assert found.texts == found.looked_at == 300
    assert set(found.series) == {"shares", "scores", "lengths", "vocabulary", "unknown"}
    share = found.series["shares"]
    assert share.low < 0.2 < share.high
    assert share.low < share.value < share.high
    assert found.words == []
    assert store.list("watch/retrain/") == []


def test_more_positives_are_called_a_changed_base_rate(tmp_path, store, version):
    quiet = quiet_nights(store, version, 4)
    put_night(store, "2026-11-05", make_texts(600, 0.45, seed=5), version)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in [*quiet, "2026-11-05"]]
    assert verdicts == ["fine"] * 4 + ["look"]
    found = record(store, "2026-11-05")
    assert [name for name, value in found.series.items() if value.is_standing] == ["shares"]
    assert found.series["shares"].since == "2026-11-05"
    assert "the base rate has changed, not the content" in found.reason
    assert any("true share of 'tip' went from" in sentence for sentence in found.evidence)


def test_other_texts_are_called_changed_content_and_ask_for_training(tmp_path, store, version):
    quiet = quiet_nights(store, version, 4)
    put_night(store, "2026-11-05", make_texts(300, 0.2, seed=5, topic="ferry"), version)
    for night in quiet:
        watch(tmp_path, store, night)
    result = watch(tmp_path, store, "2026-11-05")
    assert result.parameters["verdict"] == "retrain"
    assert "The texts themselves have changed." in result.parameters["reason"]
    found = record(store, "2026-11-05")
    assert "ferry" in [word.word for word in found.words]
    trigger = json.loads(store.read("watch/retrain/2026-11-05.json"))
    assert trigger["version"] == version
    assert trigger["reason"] == result.parameters["reason"]
    assert trigger["is_rehearsal"]


def test_texts_that_the_student_cannot_read_are_a_series_of_their_own_to_look_at(tmp_path, store, version):
    quiet = quiet_nights(store, version, 4)
    emoji = pl.Series([" 😂 🎉 😂 🎁" if at % 2 else "" for at in range(300)])  # no words: no other series sees them
    put_night(store, "2026-11-05", make_texts(300, 0.2, seed=5).with_columns(pl.col("text") + emoji), version)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in [*quiet, "2026-11-05"]]
    assert verdicts == ["fine"] * 4 + ["look"]
    found = record(store, "2026-11-05")
    assert [name for name, value in found.series.items() if value.is_standing] == ["unknown"]
    unknown = found.series["unknown"]
    assert unknown.expected < 0.005
    assert unknown.low < unknown.value == pytest.approx(0.16, abs=0.04)
    assert "The share of tokens that the student's vocabulary does not know rose from" in found.reason
    assert "The texts themselves have changed" not in found.reason
    assert store.list("watch/retrain/") == []


def test_unknown_tokens_are_compared_with_the_reference_or_with_the_first_nights(tmp_path, store):
    (tmp_path / "card").mkdir()
    for has_tokens in (False, True):
        made = publish(store, tmp_path / f"bundle-{has_tokens}", has_tokens=has_tokens)
        shutil.copy(tmp_path / f"bundle-{has_tokens}/card.yaml", tmp_path / "card/card.yaml")
        night = f"2026-11-0{1 + has_tokens}"
        put_night(store, night, make_texts(300, 0.2, seed=1).with_columns(text=pl.lit("恭喜 中奖")), made)
        watch(tmp_path, store, night)
        unknown = record(store, night).series["unknown"]
        assert (unknown.expected is not None, unknown.is_alarm) == (has_tokens, has_tokens)
        assert unknown.value > 0.99


def test_a_bundle_whose_tokenizer_was_altered_judges_no_night(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(60, 0.2, seed=1), version)
    path = tmp_path / "store/bundles" / version / "tokenizer.json"
    path.write_text(path.read_text().replace("room", "rooms"))
    with pytest.raises(BadArtifact, match=r"tokenizer\.json"):
        watch(tmp_path, store, "2026-11-01")


def test_a_word_that_is_spread_over_segments_is_named(tmp_path, store, version):
    texts = make_texts(300, 0.2, seed=5, topic="ferry")
    said = pl.Series([" zyzzyva" if number in {10, 160, 290} else "" for number in range(300)])
    alone = pl.Series([" qwertz" if number in {99, 100, 101, 199, 200, 201} else "" for number in range(300)])
    group = pl.when(alone != "").then(pl.lit("one")).otherwise("group").alias("group")
    put_night(store, "2026-11-01", texts.with_columns(pl.col("text") + said + alone, group), version, segments=3)
    watch(tmp_path, store, "2026-11-01")
    looked = nightly.look(store, nights.read_manifest(store, "2026-11-01"), None, 10_000)
    names = {word.word: (word.groups, word.texts) for word in looked.words}
    assert names["zyzzyva"] == (3, 3)
    assert "qwertz" not in names  # of one group, in three segments


def test_a_fall_to_no_positives_at_all_is_an_alarm(tmp_path, store, version):
    quiet = quiet_nights(store, version, 2)
    put_night(store, "2026-11-03", make_texts(300, 0.0, seed=7).filter(pl.col("probability") < 0.5), version)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in [*quiet, "2026-11-03"]]
    assert verdicts == ["fine", "fine", "look"]
    share = record(store, "2026-11-03").series["shares"]
    assert (share.value, share.is_alarm) == (0.0, True)
    assert share.low == 0.0 < share.high < 0.05


def test_an_alarm_stands_on_the_nights_after(tmp_path, store, version):
    quiet = quiet_nights(store, version, 3)
    late = ["2026-11-04", "2026-11-05"]
    for number, night in enumerate(late):
        put_night(store, night, make_texts(600, 0.45, seed=70 + number), version)
    for night in [*quiet, *late]:
        watch(tmp_path, store, night)
    first, second = (record(store, night).series["shares"] for night in late)
    assert (first.is_alarm, first.is_standing) == (True, True)
    assert (second.is_alarm, second.is_standing) == (False, True)
    assert second.since == "2026-11-04"
    assert record(store, "2026-11-05").verdict == "look"


def test_an_alarm_stands_on_a_night_without_texts(tmp_path, store, version):
    quiet = quiet_nights(store, version, 3)
    put_night(store, "2026-11-04", make_texts(600, 0.45, seed=70), version)
    put_night(store, "2026-11-05", make_texts(0, 0.2, seed=1), version)
    put_night(store, "2026-11-06", make_texts(600, 0.45, seed=72), version)
    late = ["2026-11-04", "2026-11-05", "2026-11-06"]
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in [*quiet, *late]]
    assert verdicts == ["fine"] * 3 + ["look"] * 3
    assert list(record(store, "2026-11-05").series) == ["shares"]
    assert [record(store, night).series["shares"].is_alarm for night in late] == [True, False, False]


def test_an_alarm_that_backfilled_nights_bring_to_light_is_raised(tmp_path, store, version, webhook):
    for number in range(1, 5):
        put_night(store, f"2026-11-0{number}", make_texts(200, 0.33, seed=number), version)
    put_night(store, "2026-10-01", make_texts(8000, 0.2, seed=20), version)
    order = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-10-01", "2026-11-04"]
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in order]
    assert verdicts == ["fine"] * 4 + ["look"]
    found = record(store, "2026-11-04").series["shares"]
    assert found.is_alarm
    assert found.since in {"2026-11-01", "2026-11-02"}
    assert [one["date"] for one in webhook] == ["2026-11-04"]


def test_an_accepted_change_is_the_new_baseline(tmp_path, store, version):
    quiet = quiet_nights(store, version, 3)
    late = [f"2026-11-{number:02d}" for number in range(4, 8)]
    for number, night in enumerate(late):
        put_night(store, night, make_texts(600, 0.45, seed=70 + number), version)
    for night in [*quiet, *late[:-1]]:
        watch(tmp_path, store, night)
    assert record(store, late[-2]).verdict == "look"
    accepted = watch(tmp_path, store, late[-1], "baseline_from='2026-11-04'")
    assert accepted.parameters["verdict"] == "fine"


def test_a_night_is_judged_once(tmp_path, store, version):
    quiet_nights(store, version, 2)
    watch(tmp_path, store, "2026-11-01")
    before = {key: store.read(key) for key in store.list("watch/date=")}
    again = watch(tmp_path, store, "2026-11-01", "false_alarm_nights=1")
    assert again.parameters["verdict"] == "fine"
    assert {key: store.read(key) for key in store.list("watch/date=")} == before


def test_a_backfilled_night_is_judged_by_the_nights_before_its_date(tmp_path, store, version):
    quiet_nights(store, version, 3)
    watch(tmp_path, store, "2026-11-03")
    kept = store.read("watch/date=2026-11-03/series.json")
    watch(tmp_path, store, "2026-11-01")
    assert record(store, "2026-11-01").verdict == "fine"
    assert store.read("watch/date=2026-11-03/series.json") == kept


def test_another_bundle_begins_anew(tmp_path, store, version):
    for night in quiet_nights(store, version, 3):
        watch(tmp_path, store, night)
    newer = publish(store, tmp_path / "newer", share=0.45, trained=1200)
    put_night(store, "2026-11-04", make_texts(600, 0.45, seed=71), newer)
    assert watch(tmp_path, store, "2026-11-04").parameters["verdict"] == "fine"


def test_a_bundle_without_a_reference_is_compared_with_its_first_night(tmp_path, store, version):
    bare = publish(store, tmp_path / "bare", has_reference=False)
    nights = [f"2026-11-{number:02d}" for number in range(1, 6)]
    for number, night in enumerate(nights[:-1]):
        put_night(store, night, make_texts(400, 0.2, seed=number), bare)
    put_night(store, nights[-1], make_texts(600, 0.5, seed=9), bare)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in nights]
    assert verdicts == ["fine"] * 4 + ["look"]
    assert record(store, nights[0]).reference is not None
    assert record(store, nights[1]).reference is None


def settling_nights(store: Store, version: str, missed: list[int]) -> list[str]:
    """Nights on which the first stage settled 200 of 300 texts, and 100 of these were checked."""
    names = [f"2026-11-{number:02d}" for number in range(1, len(missed) + 1)]
    for number, (night, lost) in enumerate(zip(names, missed, strict=True), start=1):
        texts = make_texts(300, 0.2, seed=number)
        put_night(store, night, texts, version, first_stage=(200, 100, lost))
    return names


def test_what_the_first_stage_lost_is_a_series_with_its_exact_interval(tmp_path, store, version):
    for night in settling_nights(store, version, [0, 1]):
        assert watch(tmp_path, store, night).parameters["verdict"] == "fine"
    none, one = (record(store, night).series["missed"] for night in ("2026-11-01", "2026-11-02"))
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(3.689 / 150, abs=1e-4))  # 100 stand for 150
    assert (one.value, one.expected) == (pytest.approx(1 / 150, abs=1e-6), 0.005)
    assert one.low < one.value < one.high
    assert "Texts that the first stage lost" in (tmp_path / "2026-11-02-page").read_text()


def test_a_first_stage_that_loses_more_than_was_promised_asks_for_training(tmp_path, store, version):
    nights = settling_nights(store, version, [0, 0, 6, 7, 5])
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in nights]
    assert verdicts[:2] == ["fine", "fine"]
    assert verdicts[-1] == "retrain"
    last = record(store, nights[-1])
    assert last.series["missed"].since == "2026-11-03"
    assert "The share of texts that the first stage lost is 3.33%" in last.reason
    assert "above the promised 0.50% since 2026-11-03" in last.reason


def test_a_night_without_texts_is_no_fault(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(0, 0.2, seed=1), version)
    assert watch(tmp_path, store, "2026-11-01").parameters["verdict"] == "fine"
    assert record(store, "2026-11-01").series == {}


def test_a_night_of_one_text_is_no_fault(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(1, 0.2, seed=1), version)
    assert watch(tmp_path, store, "2026-11-01").parameters["verdict"] == "fine"


def test_many_refused_rows_must_be_looked_at(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(200, 0.2, seed=1), version, refused=30)
    result = watch(tmp_path, store, "2026-11-01")
    assert result.parameters["verdict"] == "look"
    assert result.parameters["reason"] == "13% of the rows were refused, 30 of 230."


def test_forgotten_texts_do_not_count_as_refused(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(200, 0.2, seed=1), version, refused=30)
    key = next(key for key in store.list("predictions/") if key.endswith(".json"))
    found = store.read_tagged(key)
    store.compare_and_swap(key, found.data.replace(b"empty_text", b"forgotten"), found.tag)
    assert watch(tmp_path, store, "2026-11-01").parameters["verdict"] == "fine"


def test_a_night_that_is_not_whole_is_not_judged(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(50, 0.2, seed=1), version, shards=((), ()))
    with pytest.raises(BadInput, match="must be labelled whole before it is judged, got no shard 1"):
        watch(tmp_path, store, "2026-11-01")


def test_a_day_before_any_night_is_refused(tmp_path, store, version):
    with pytest.raises(BadInput, match="must have a night to judge"):
        watch(tmp_path, store, "2026-11-01")


def test_a_damaged_segment_is_named(tmp_path, store, version):
    manifest = put_night(store, "2026-11-01", make_texts(50, 0.2, seed=1), version)
    key = f"predictions/date=2026-11-01/{manifest.bundle}/00-00001.parquet"
    (FolderStore(Path(store.uri)).root / key).write_bytes(b"PAR1")
    with pytest.raises(BadArtifact, match="00-00001"):
        watch(tmp_path, store, "2026-11-01")


def test_a_large_night_is_looked_at_in_part(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(400, 0.2, seed=1), version, segments=8)
    watch(tmp_path, store, "2026-11-01", "max_texts=100")
    found = record(store, "2026-11-01")
    assert (found.texts, found.looked_at) == (400, 100)


def test_the_documents_for_a_search_index_have_ids_of_their_own(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(100, 0.2, seed=1), version)
    watch(tmp_path, store, "2026-11-01")
    lines = store.read("watch/date=2026-11-01/documents.jsonl").decode().splitlines()
    documents = [json.loads(line) for line in lines]
    assert next(one["id"] for one in documents) == "hotel-tips:2026-11-01:shares"
    assert len({one["id"] for one in documents}) == 5
    assert {one["verdict"] for one in documents} == {"fine"}


def test_prometheus_gets_a_whole_file(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(100, 0.2, seed=1), version, refused=2)
    file = tmp_path / "textfile" / "understudy.prom"
    file.parent.mkdir()
    watch(tmp_path, store, "2026-11-01", f"prometheus_file={file}")
    lines = file.read_text().splitlines()
    about = f'card="hotel-tips",version="{version}"'
    assert f"understudy_night_texts{{{about}}} 100" in lines
    assert f"understudy_night_refused{{{about}}} 2" in lines
    assert f'understudy_watch_verdict{{{about},verdict="fine"}} 1' in lines
    assert f'understudy_watch_verdict{{{about},verdict="look"}} 0' in lines
    assert [path.name for path in file.parent.iterdir()] == ["understudy.prom"]
    assert 'understudy_night_date_seconds{card="hotel-tips"} 1793491200' in lines


def test_a_webhook_is_called_once_for_an_alarm(tmp_path, store, version, webhook):
    for night in quiet_nights(store, version, 3):
        assert watch(tmp_path, store, night).parameters["webhook"] == "none"
    put_night(store, "2026-11-04", make_texts(600, 0.5, seed=5), version)
    assert watch(tmp_path, store, "2026-11-04").parameters["webhook"] == "sent"
    assert watch(tmp_path, store, "2026-11-04").parameters["webhook"] == "none"
    assert len(webhook) == 1
    assert webhook[0]["alarms"] == ["shares"]
    assert webhook[0]["text"].startswith("hotel-tips, 2026-11-04: look. The share of 'tip' rose")


def test_a_webhook_that_nobody_answers_fails_no_night(tmp_path, store, version, monkeypatch):
    monkeypatch.setenv(outlets.WEBHOOK, "http://127.0.0.1:9/hook")
    put_night(store, "2026-11-01", make_texts(2000, 0.6, seed=5), version)
    result = watch(tmp_path, store, "2026-11-01")
    assert (result.parameters["verdict"], result.parameters["webhook"]) == ("look", "failed")


def test_a_webhook_must_be_an_http_address(tmp_path, store, version, monkeypatch):
    monkeypatch.setenv(outlets.WEBHOOK, "file:///etc/passwd")
    put_night(store, "2026-11-01", make_texts(20, 0.2, seed=5), version)
    with pytest.raises(BadInput, match="must be an http"):
        watch(tmp_path, store, "2026-11-01")
    assert store.list("watch/") == [], "found before anything is judged"


@pytest.mark.parametrize("address", ["https://me:hush-hush@hooks", "http://", "http://host:port", "http://a b/hook"])
def test_a_webhooks_address_that_cannot_serve_is_refused_and_not_shown(monkeypatch, address):
    monkeypatch.setenv(outlets.WEBHOOK, address)
    with pytest.raises(BadInput, match="the value is not shown") as caught:
        outlets.webhook_url()
    assert "hush" not in str(caught.value)


@contextmanager
def hook(*statuses: int, location: str = "") -> Iterator[tuple[str, list[bytes]]]:
    """Serve a webhook that answers by these statuses, the last one again and again; 0 cuts the connection."""
    told: list[bytes] = []

    class Handler(local.Quiet):
        def take(self) -> None:
            told.append(self.body())
            status = statuses[min(len(told), len(statuses)) - 1]
            if not status:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        do_GET = do_POST = take

    with local.serving(Handler) as address:
        yield f"{address}/hook", told


@pytest.mark.parametrize("fault", [429, 502, 503, 504, 0])
def test_a_webhook_that_is_away_for_a_moment_is_called_again(fault):
    with hook(fault, 200) as (url, told):
        assert outlets.call(url, {"text": "look"})
        assert len(told) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_webhooks_redirect_is_followed_to_no_other_host(status, capsys):
    with hook(200) as (other, met), hook(status, location=other) as (url, told):
        assert not outlets.call(url, {"text": "look"})
        assert (len(told), met) == (1, [])
    assert f"did not take the alarm (status {status})" in capsys.readouterr().err


def test_a_webhook_is_told_no_key(tmp_path, store, version, webhook, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-indeed")
    night = put_night(store, "2026-11-01", make_texts(2000, 0.6, seed=5), version)
    watch(tmp_path, store, night.date)
    said = outlets.message(record(store, night.date), "s3://me:sk-very-secret-indeed@bucket/watch/page.html")
    assert "secret" not in json.dumps(said)


def test_a_night_whose_shards_answer_for_fewer_rows_is_not_judged(tmp_path, store, version):
    manifest = put_night(store, "2026-11-01", make_texts(50, 0.2, seed=1), version, refused=10)
    found = store.read_tagged(nights.shard_key(manifest, 0))
    said = {**json.loads(found.data), "refused": {}}
    assert store.compare_and_swap(nights.shard_key(manifest, 0), json.dumps(said).encode(), found.tag)
    for _ in range(2):
        with pytest.raises(StorageError, match="answer for the rows that it took, got 50 of 60") as caught:
            watch(tmp_path, store, "2026-11-01")
        assert caught.value.exit_code == 1
    assert store.list("watch/date=") == []


def test_a_night_whose_segment_lacks_rows_is_not_judged(tmp_path, store, version):
    manifest = put_night(store, "2026-11-01", make_texts(50, 0.2, seed=1), version)
    path = FolderStore(Path(store.uri)).root / nights.prediction_key(manifest, 0, 1)
    pl.read_parquet(path).head(3).write_parquet(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="must hold the rows that its shard's record counts, got 3 of 25"):
            watch(tmp_path, store, "2026-11-01")
    assert store.list("watch/date=") == []


def look_at_newest(folder: Path, store: Store, day: str) -> shell.Result:
    places = {name: folder / f"{day}-{name}" for name in ("watched", "page")}
    given = {"card": folder / "card", "store": store.uri, "date": day, "newest_whole": True, **places}
    return shell.execute("watch", given)


def test_beside_a_night_that_is_running_the_newest_whole_one_is_shown(tmp_path, store, version):
    for night in quiet_nights(store, version, 2):
        watch(tmp_path, store, night)
    put_night(store, "2026-11-03", make_texts(50, 0.2, seed=3), version, shards=((), ()))
    found = look_at_newest(tmp_path, store, "2026-11-03")
    assert found.parameters["date"] == "2026-11-02"
    assert found.headline.endswith("; of 2026-11-02, for these are not labelled whole yet: 2026-11-03")
    assert not store.list("watch/date=2026-11-03/")


def test_a_whole_night_that_was_not_judged_yet_is_judged_then(tmp_path, store, version):
    first, second = quiet_nights(store, version, 2)
    watch(tmp_path, store, first)
    assert look_at_newest(tmp_path, store, "2026-11-05").parameters["date"] == second
    put_night(store, "2026-11-06", make_texts(50, 0.2, seed=3), version, shards=((), ()))
    shutil.rmtree(tmp_path / "2026-11-05-watched")
    assert look_at_newest(tmp_path, store, "2026-11-06").parameters["date"] == second


def test_where_the_only_night_is_running_nothing_can_be_shown(tmp_path, store, version):
    put_night(store, "2026-11-01", make_texts(50, 0.2, seed=1), version, shards=((), ()))
    with pytest.raises(BadInput, match="must be labelled whole before it is judged"):
        look_at_newest(tmp_path, store, "2026-11-01")


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "splendid"},
        {"summary": {}},
        {"settings": {}},
        {"series": 7},
        {"format": 1},
        {"points": {"shares": "high"}},
        {"reference": {"word_counts": 1}},
    ],
)
def test_a_damaged_record_of_a_night_is_one_sentence(tmp_path, store, version, change):
    watch(tmp_path, store, quiet_nights(store, version, 1)[0])
    found = store.read_tagged("watch/date=2026-11-01/series.json")
    altered = json.dumps({**json.loads(found.data), **change}).encode()
    assert store.compare_and_swap("watch/date=2026-11-01/series.json", altered, found.tag)
    with pytest.raises(BadArtifact, match=r"(A night's series|What is read from a store or an artifact) must be"):
        watch(tmp_path, store, "2026-11-02")


@pytest.mark.parametrize("said", [b"", b"[]", b'{"date": "soon"}', b"\xff"])
def test_a_damaged_test_set_is_one_sentence(tmp_path, store, version, said):
    quiet_nights(store, version, 1)
    store.put_if_absent("testsets/2026-09-30/about.json", said)
    with pytest.raises(BadArtifact, match="What is read from a store or an artifact must be"):
        watch(tmp_path, store, "2026-11-01")


def test_the_page_needs_nothing_else_and_hides_no_text(tmp_path, store, version):
    texts = make_texts(300, 0.2, seed=5, topic="ferry").with_columns(
        text=pl.col("text") + pl.lit(" <script>alert(1)</script>")
    )
    for night in quiet_nights(store, version, 2):
        watch(tmp_path, store, night)
    put_night(store, "2026-11-03", texts, version)
    watch(tmp_path, store, "2026-11-03")
    html = (tmp_path / "2026-11-03-page").read_text()
    assert "<script" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    assert html.count("<svg") == 5
    assert "Retrain" in html
    assert store.read("watch/page.html").decode() == html


def test_a_backfilled_night_leaves_the_newest_one_on_show(tmp_path, store, version):
    file = tmp_path / "understudy.prom"
    quiet_nights(store, version, 3)
    for night in ("2026-11-02", "2026-11-03"):
        watch(tmp_path, store, night, f"prometheus_file={file}")
    shown = sorted(file.read_text().splitlines())
    watch(tmp_path, store, "2026-11-01", f"prometheus_file={file}")
    assert sorted(file.read_text().splitlines()) == shown
    page = store.read("watch/page.html").decode()
    assert all(night in page for night in ("2026-11-01", "2026-11-02", "2026-11-03"))
    assert "2026-11-03" not in store.read("watch/date=2026-11-01/page.html").decode()


def test_a_baseline_that_begins_later_does_not_count_for_a_backfilled_night(tmp_path, store, version):
    quiet_nights(store, version, 1)
    put_night(store, "2026-11-02", make_texts(600, 0.45, seed=70), version)
    put_night(store, "2026-11-03", make_texts(600, 0.45, seed=71), version)
    verdicts = [
        watch(tmp_path, store, f"2026-11-0{night}", "baseline_from=2026-11-03").parameters["verdict"]
        for night in (3, 2)
    ]
    assert verdicts == ["fine", "look"]


def test_a_baseline_after_the_newest_night_is_refused(tmp_path, store, version):
    quiet_nights(store, version, 1)
    with pytest.raises(BadInput, match=r"must not be after the newest night, 2026-11-01, got 2026-11-02"):
        watch(tmp_path, store, "2026-11-01", "baseline_from=2026-11-02")
    assert store.list("watch/") == []


def test_a_date_without_quotes_is_a_baseline(tmp_path, store, version):
    quiet_nights(store, version, 2)
    watch(tmp_path, store, "2026-11-02", "baseline_from=2026-11-02")
    assert record(store, "2026-11-02").settings["baseline_from"] == "2026-11-02"


def test_settings_that_cannot_serve_are_refused():
    with pytest.raises(BadSetting) as caught:
        build_config(WatchConfig, {"false_alarm_nights": 0, "baseline_from": "yesterday"}, "watch.")
    assert len(caught.value.faults) >= 1
    for given in ("yesterday", "2026-99-99", "2026-02-30"):
        with pytest.raises(BadSetting, match=f"baseline_from must be a date YYYY-MM-DD, got '{given}'"):
            build_config(WatchConfig, {"baseline_from": given}, "watch.")


ODD = ('say "no"', "back\\slash", "{curly} <b>", "ünïcode")
THREE = ("praise", "tip", "blame")
MANY = (*ODD, *(f"label {number}" for number in range(73)))


@pytest.fixture
def labelled(tmp_path, store):
    """A store with a bundle of these labels, each as common as another, and five nights; the last doubles one."""

    def put(names: tuple[str, ...], doubled: str, texts: int) -> list[str]:
        even = [1.0] * len(names)
        made = publish_labelled(store, tmp_path / "bundle", names, even)
        (tmp_path / "card").mkdir()
        shutil.copy(tmp_path / "bundle/card.yaml", tmp_path / "card/card.yaml")
        shares = [2.5 if name == doubled else 1.0 for name in names]
        dates = [f"2026-11-{number:02d}" for number in range(1, 6)]
        for number, night in enumerate(dates):
            table = make_labelled(texts, shares if number == 4 else even, number, names)
            put_night(store, night, table, made, labels=names, positive_label=None)
        return dates

    return put


@pytest.mark.parametrize(("names", "doubled", "texts"), [(THREE, "tip", 900), (MANY, ODD[0], 6000)])
def test_the_label_whose_share_rose_is_named_and_the_base_rate_too(tmp_path, store, labelled, names, doubled, texts):
    dates = labelled(names, doubled, texts)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in dates]
    assert verdicts == ["fine"] * 4 + ["look"]
    found = record(store, dates[-1])
    share = found.series["shares"]
    assert (share.label, share.moved[0], share.since in dates[-2:]) == (doubled, doubled, True)
    assert (found.positive_label, tuple(found.labels)) == (None, names)
    assert share.value / share.expected == pytest.approx(2.5 * len(names) / (len(names) + 1.5), rel=0.25)
    assert found.reason.startswith(f"The share of '{doubled}' rose from")
    assert "the base rate has changed, not the content" in found.reason
    assert any(f"the true share of '{doubled}' went from" in sentence for sentence in found.evidence)
    assert doubled in found.shares
    assert len(found.shares) <= 12 + len(share.moved)
    assert sum(found.summary["counts"]) == texts


def test_other_texts_of_many_labels_are_changed_content(tmp_path, store, labelled):
    dates = labelled(MANY, "", 1500)
    for night in dates:
        assert watch(tmp_path, store, night).parameters["verdict"] == "fine"
    texts = make_labelled(1500, [1.0] * len(MANY), 9, MANY, topic="ferry")
    version = record(store, dates[0]).version
    put_night(store, "2026-11-06", texts, version, labels=MANY, positive_label=None)
    result = watch(tmp_path, store, "2026-11-06")
    assert result.parameters["verdict"] == "retrain"
    assert "The texts themselves have changed." in result.parameters["reason"]


def test_odd_names_of_labels_stand_in_prometheus_page_and_documents(tmp_path, store, labelled):
    dates = labelled(MANY, ODD[0], 6000)
    for night in dates:
        watch(tmp_path, store, night)
    lines = store.read(f"watch/date={dates[-1]}/understudy.prom").decode().splitlines()
    shares = [line for line in lines if line.startswith("understudy_watch_share{")]
    assert 12 <= len(shares) <= 16
    assert sum('label="say \\"no\\""' in line for line in shares) == 1
    html = (tmp_path / f"{dates[-1]}-page").read_text()
    assert "say &#34;no&#34;" in html
    assert "{curly} <b>" not in html
    assert "{curly} &lt;b&gt;" in html
    assert html.count("<details>") == 1
    assert "The other 6" in html
    assert html.count("<svg") == 5
    documents = [
        json.loads(line) for line in store.read(f"watch/date={dates[-1]}/documents.jsonl").decode().splitlines()
    ]
    assert next(one["label"] for one in documents if one["series"] == "shares") == ODD[0]


def test_a_bundle_of_many_labels_without_a_reference_is_compared_with_its_first_night(tmp_path, store):
    from tests.bundles import make_bundle

    bundle = make_bundle(tmp_path / "bundle", labels=THREE)
    made = registry.publish_bundle(store, bundle, {"report.html": b"<p>report</p>"}).version
    (tmp_path / "card").mkdir()
    shutil.copy(bundle / "card.yaml", tmp_path / "card/card.yaml")
    dates = [f"2026-11-{number:02d}" for number in range(1, 6)]
    for number, night in enumerate(dates):
        table = make_labelled(900, [1, 1, 4 if number == 4 else 1], number, THREE)
        put_night(store, night, table, made, labels=THREE, positive_label=None)
    verdicts = [watch(tmp_path, store, night).parameters["verdict"] for night in dates]
    assert verdicts == ["fine"] * 4 + ["look"]
    assert record(store, dates[-1]).series["shares"].label == "blame"
