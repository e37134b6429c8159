"""Answers that are bought by the Batch API, from a simulated teacher that speaks it."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import card_yaml
from understudy.errors import BadInput, Conflict
from understudy.privacy.objects import Wanted, erase
from understudy.store.storage import Store, open_store
from understudy.task.card import Card, Redact, parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher import batch_records, misbehaviours
from understudy.teacher.labeller import Judged, open_teacher
from understudy.teacher.response_log import content_key, lease_key
from understudy.teacher.simulated import Plan, RehearsalServer, serve

LABELS = {f"Text number {number}.": "tip" if number % 3 == 0 else "other" for number in range(60)}
TEXTS = pl.DataFrame({"id": [f"t{number:02d}" for number in range(60)], "text": list(LABELS), "weight": [1.0] * 60})
BATCH = TeacherConfig(mode="batch", batch_poll_s=0.05, max_tries=4)


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))


@contextmanager
def teaching(folder: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> Iterator[RehearsalServer]:
    """Run a simulated teacher that knows all texts, where the environment points to it."""
    answers = folder / "answers.csv"
    with answers.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *LABELS.items()])
    with serve(Plan(answers, **plan)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def card(usd: float = 5.0) -> Card:
    return parse_card(card_yaml(budget={"teacher_usd": usd, "human_labels": 1000}))


def judge(store: Store, config: TeacherConfig = BATCH, asked: pl.DataFrame = TEXTS, usd: float = 5.0) -> Judged:
    with open_teacher(card(usd), store, config) as teacher:
        return teacher.judge(asked)


def labels_of(judged: Judged) -> dict[str, str]:
    return dict(judged.table.join(TEXTS.select("id", "text"), on="id").select("text", "label").iter_rows())


def test_a_batch_gives_the_answers_of_single_requests_at_half_their_price(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch) as server:
        judged = judge(store)
        assert server.asked == dict.fromkeys(LABELS, 1)
        single = judge(open_store(str(tmp_path / "other")), TeacherConfig())
    assert labels_of(judged) == labels_of(single) == LABELS
    assert judged.cost_usd == pytest.approx(single.cost_usd / 2)
    assert (judged.asked, judged.failures, judged.is_budget_spent) == (60, 0, False)


def test_what_a_batch_brought_is_not_asked_again_by_either_mode(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch) as server:
        judge(store)
        again = [judge(store, config) for config in (BATCH, TeacherConfig())]
        assert server.asked == dict.fromkeys(LABELS, 1)
    assert [(one.asked, one.from_store) for one in again] == [(0, 60), (0, 60)]
    assert not batch_records.listed(store, card().name)


def test_an_expired_batch_keeps_what_was_paid_and_orders_only_the_rest(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch, batch_expires=0.5) as server:
        judged = judge(store, TeacherConfig(mode="batch", batch_poll_s=0.01, max_tries=20))
        assert server.asked == dict.fromkeys(LABELS, 1)
    assert labels_of(judged) == LABELS


def test_a_parameter_that_a_batch_is_refused_for_is_left_out_of_the_next(store: Store, tmp_path, monkeypatch):
    refusals = misbehaviours.parse(["refuse:logprobs"])
    with teaching(tmp_path, monkeypatch, misbehave=refusals) as server:
        judged = judge(store, TeacherConfig(mode="batch", batch_poll_s=0.01))
        assert set(server.asked.values()) <= {2, 3}  # with them, without the alternatives, without any
    assert labels_of(judged) == LABELS


def test_texts_that_no_batch_comes_to_are_counted_with_the_reason(store: Store, tmp_path, monkeypatch):
    lenient = TeacherConfig(mode="batch", batch_poll_s=0.01, max_tries=2, max_failed_share=1.0)
    with teaching(tmp_path, monkeypatch, batch_expires=1.0):
        judged = judge(store, lenient, TEXTS.head(12))
    assert judged.failed == {"no batch came to it, of 2 that asked": 12}
    assert judged.cost_usd == 0


def killed_in(folder: Path, url: str, place: str) -> None:
    """Judge in another process, which ends without a word at a call of the client."""
    script = f"""
import os
import openai.resources.batches as batches
from tests.teacher.test_batches import judge
from understudy.store.storage import open_store
real = batches.AsyncBatches.{place}
async def last(self, *args, **named):
    if {place == "create"!r}:
        await real(self, *args, **named)
    os.kill(os.getpid(), 9)
batches.AsyncBatches.{place} = last
judge(open_store({str(folder / "store")!r}))
"""
    environment = {**os.environ, "OPENAI_BASE_URL": url}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("place", ["create", "retrieve"])
def test_a_run_that_was_killed_finds_its_batch_again_and_pays_once(place, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "store"))
    with teaching(tmp_path, monkeypatch, batch_s=0.5) as server:
        killed_in(tmp_path, server.url, place)
        (record,) = batch_records.listed(store, card().name)
        assert bool(record.id) == (place == "retrieve")
        with open_teacher(card(), store, BATCH) as teacher:
            under_way = teacher.spent_usd
            assert under_way == pytest.approx(record.most_usd)
            judged = teacher.judge(TEXTS)
            assert teacher.spent_usd < under_way
        assert server.asked == dict.fromkeys(LABELS, 1)
    assert labels_of(judged) == LABELS


def test_a_run_that_was_killed_before_its_batch_was_made_costs_nothing(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch) as server:
        with open_teacher(card(), store, BATCH) as teacher:
            order = batch_records.Order("a" * 32, "b" * 64, 100, 0.5)
            lost = batch_records.Batch(
                "c" * 32,
                teacher.identity.name,
                "",
                ["tip", "other"],
                False,
                True,
                "",
                server.url,
                "schema",
                False,
                [order],
            )
            batch_records.put(store, card().name, lost)
        judged = judge(store)
        with open_teacher(card(), store, BATCH, is_dry_run=True) as teacher:
            assert teacher.spent_usd == pytest.approx(judged.cost_usd)
    assert labels_of(judged) == LABELS
    assert not batch_records.listed(store, card().name)


def test_the_cap_holds_before_a_batch_is_sent(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch) as server:
        judged = judge(store, usd=0.005)
        assert 0 < sum(server.asked.values()) == len(judged.table) < 60
    assert judged.is_budget_spent
    assert judged.cost_usd <= 0.005


def test_a_batch_at_another_server_counts_as_spent_and_is_said(store: Store, tmp_path, monkeypatch, capsys):
    with teaching(tmp_path, monkeypatch):
        with open_teacher(card(), store, BATCH) as teacher:
            order = batch_records.Order("a" * 32, "b" * 64, 100, 0.5)
            other = batch_records.Batch(
                "c" * 32,
                teacher.identity.name,
                "",
                ["tip"],
                False,
                True,
                "",
                "http://127.0.0.1:1/v1",
                "schema",
                False,
                [order],
            )
            batch_records.put(store, card().name, other)
        judge(store)
    assert (
        "A batch of 1 text is at another server (http://127.0.0.1:1/v1) and counts as spent" in capsys.readouterr().err
    )
    assert batch_records.listed(store, card().name) == [other]


@contextmanager
def nothing_but_models() -> Iterator[str]:
    """Run a server that lists models and knows nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, {"object": "list", "data": [{"id": "paid-1", "object": "model"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send(404, {"error": {"message": "Not Found"}})

        def send(self, status: int, content: dict[str, object]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_server_without_the_batch_api_is_told_before_anything_is_bought(store: Store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with nothing_but_models() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(BadInput, match=r"must have the Batch API.*Set teacher\.mode to chat"):
            judge(store)


def test_lines_that_are_none_book_the_requests_that_have_no_answer_at_their_highest_price(
    store: Store, tmp_path, monkeypatch, capsys
):
    lenient = TeacherConfig(mode="batch", batch_poll_s=0.01, max_failed_share=1.0)
    with teaching(tmp_path, monkeypatch) as server:
        real = server.batches.read

        def damaged(name: str) -> bytes:
            lines = real(name).splitlines()
            return (
                b"\n".join([b"not JSON", *lines[1:]])
                if b"custom_id" in lines[0] and b"response" in lines[0]
                else real(name)
            )

        server.batches.read = damaged
        judged = judge(store, lenient)
    assert "1 line of batch" in capsys.readouterr().err
    assert (len(judged.table), judged.failures) == (59, 1)


def test_a_forecast_of_batches_is_at_their_price_and_within_a_day(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch):
        found = []
        for config in (TeacherConfig(), BATCH):
            with open_teacher(card(), store, config, is_dry_run=True) as teacher:
                found.append(teacher.estimate(TEXTS))
    assert found[1].cost_usd == pytest.approx(found[0].cost_usd / 2)
    assert found[1].seconds == 86_400


def test_a_batch_under_way_is_taken_in_by_a_run_that_asks_one_by_one(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "store"))
    with teaching(tmp_path, monkeypatch, batch_s=0.5) as server:
        killed_in(tmp_path, server.url, "retrieve")
        judged = judge(store, TeacherConfig(batch_poll_s=0.05))
        assert server.asked == dict.fromkeys(LABELS, 1)
    assert (judged.asked, judged.from_store) == (0, 60)


@pytest.mark.parametrize("lost", ["the batch", "its answers"])
def test_a_batch_that_the_server_lost_is_booked_once_and_ordered_again(lost, tmp_path, monkeypatch, capsys):
    store = open_store(str(tmp_path / "store"))
    with teaching(tmp_path, monkeypatch) as server:
        killed_in(tmp_path, server.url, "retrieve")
        (record,) = batch_records.listed(store, card().name)
        if lost == "the batch":
            server.batches._batches.clear()
        else:
            real, reads = server.batches.read, []

            def once_gone(name: str) -> bytes:
                reads.append(name)
                return real("gone" if len(reads) == 1 else name)

            server.batches.retrieve(record.id)  # it ends, so what is read from here on are its answers
            server.batches.read = once_gone
        with open_teacher(card(), store, BATCH) as teacher:
            judged = teacher.judge(TEXTS)
            assert teacher.spent_usd == pytest.approx(record.most_usd + judged.cost_usd)
    assert "60 requests booked at the highest price" in capsys.readouterr().err
    assert labels_of(judged) == LABELS


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id": ["a"], "response": null}',
        b'{"custom_id": "a", "response": "x"}',
        b'{"custom_id": "a", "response": {"status_code": "200", "body": null}}',
        b"[]",
        b"null",
    ],
)
def test_a_line_of_another_form_is_counted_and_stops_nothing(line, store: Store, tmp_path, monkeypatch, capsys):
    with teaching(tmp_path, monkeypatch) as server:
        real = server.batches.read
        server.batches.read = lambda name: real(name) + (line if b'"response"' in real(name) else b"")
        judged = judge(store)
    assert "1 line of batch" in capsys.readouterr().err
    assert labels_of(judged) == LABELS


def test_an_error_that_comes_with_status_200_is_one_failed_text_or_is_tried_again(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch, misbehave=misbehaviours.parse(["http-200-error"])) as server:
        judged = judge(store)
        assert set(server.asked.values()) == {2}
    assert labels_of(judged) == LABELS


def answers_in(store: Store) -> list[str]:
    keys = [key for key in store.list("judgements/") if key.endswith(".jsonl")]
    return [line for key in keys for line in store.read(key).decode().splitlines()]


def test_a_text_that_is_forgotten_while_its_batch_is_under_way_is_billed_and_not_kept(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "store"))
    with teaching(tmp_path, monkeypatch) as server:
        killed_in(tmp_path, server.url, "retrieve")
        text = TEXTS["text"][7]
        gone = Wanted(frozenset({"t07"}), frozenset(), contents=frozenset({content_key(text)}))
        (key,) = store.list("batches/")
        assert erase(store, key, gone) == 1
        judge(store, asked=TEXTS.filter(pl.col("id") != "t07"))
    kept = "\n".join(answers_in(store))
    assert content_key(text) not in kept
    assert kept.count('"failure": "forgotten"') == 1


def test_a_run_whose_lease_was_taken_orders_nothing_more(store: Store, tmp_path, monkeypatch):
    with teaching(tmp_path, monkeypatch) as server, open_teacher(card(0.005), store, BATCH) as teacher:
        real = batch_records.remove

        def robbed(*given: Any) -> None:
            real(*given)
            key = lease_key(card().name)
            found = store.read_tagged(key)
            other = json.loads(found.data) | {"nonce": "another"}
            assert store.compare_and_swap(key, json.dumps(other).encode(), found.tag)

        monkeypatch.setattr(batch_records, "remove", robbed)
        with pytest.raises(Conflict):
            teacher.judge(TEXTS)
        assert len(server.batches._batches) == 1


def test_answers_of_a_batch_are_redacted_or_not_as_they_were_sent(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "store"))
    with teaching(tmp_path, monkeypatch) as server:
        killed_in(tmp_path, server.url, "retrieve")
        redacting = card().model_copy(
            update={"teacher": card().teacher.model_copy(update={"redact": Redact(kinds=("email",))})}
        )
        with open_teacher(redacting, store, BATCH) as teacher:
            teacher.judge(TEXTS.head(1))
    lines = [json.loads(line) for line in answers_in(store)]
    assert [line["is_redacted"] for line in lines].count(False) == 60
    assert server
