"""The engine says what the model itself says of each text alone, however texts are batched."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bundles import make_bundle
from tests.students import SHAPES, VOCABULARY, random_model
from understudy.model import student, tuning
from understudy.model.calibration import log_odds
from understudy.model.engine import BATCH_TOKENS, Graph, Tokens, on_threads, padded, pieces
from understudy.model.onnx import export

MAX_LENGTH = 64
MANY = tuning.FEWEST_TEXTS
LENGTHS = st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=sorted(SHAPES))
def exported(request, tmp_path_factory):
    """A student of each architecture with random weights, the engine of its fp32 graph, and where that lies."""
    folder = tmp_path_factory.mktemp(request.param)
    model, tokenizer = random_model(SHAPES[request.param]), student.tokenizer_of(student.locate("minilm"))
    fp32 = export.export_fp32(model, folder / "fp32")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return model, Graph(fp32, folder / "tokenizer.json", MAX_LENGTH, tokenizer.pad_token_id, threads=2), folder


def windows_of(lengths, seed) -> Tokens:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(seed).integers(1000, VOCABULARY, starts[-1]).astype(np.int32)
    return Tokens(ids, starts, np.ones(len(lengths), dtype=np.int64))


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, seed=st.integers(0, 999), budget=st.integers(1, 500), threads=st.integers(1, 3))
def test_log_odds_are_the_models_own_whatever_the_lengths_and_batches(exported, lengths, seed, budget, threads):
    model, graph, _ = exported
    tokens = windows_of(lengths, seed)
    found = log_odds(graph.suited(threads, budget).logits_of(tokens), 1)
    with torch.inference_mode():
        rows = np.split(tokens.ids.astype(np.int64), tokens.starts[1:-1])
        alone = [model(torch.tensor(row[None]), torch.ones((1, len(row)), dtype=torch.long)).logits for row in rows]
    np.testing.assert_allclose(found, log_odds(torch.cat(alone).double().numpy(), 1), atol=1e-4)


FAULTS = {
    "a mask that hides nothing": lambda ids, is_token: (ids, np.ones_like(is_token)),
    "a mask that hides tokens": lambda ids, is_token: (ids, is_token & (ids % 9 > 0)),
    "two tokens that changed places": lambda ids, is_token: (np.hstack([ids[:, 1::-1], ids[:, 2:]]), is_token),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_students_of_these_tests_are_moved_by_a_fault_of_the_engine(exported, monkeypatch, fault):
    _, graph, _ = exported
    tokens = windows_of([3, 9, 33, MAX_LENGTH], seed=0)
    right = log_odds(graph.logits_of(tokens), 1)
    monkeypatch.setattr("understudy.model.engine.padded", lambda *texts: fault(*padded(*texts)))
    assert np.abs(log_odds(graph.logits_of(tokens), 1) - right).max() > 0.05


def test_integers_say_the_same_of_a_text_in_every_batch(exported, tmp_path):
    _, _, folder = exported
    tokens = windows_of([1, 5, 9, 40, 64, 23, 9], seed=1)
    rows = [row.tolist() for row in np.split(tokens.ids, tokens.starts[1:-1])]
    int8 = export.export_int8(folder / "fp32/model.onnx", tmp_path / "int8", rows)
    integers = Graph(int8, folder / "tokenizer.json", MAX_LENGTH)
    alone, together = (integers.suited(threads, budget).logits_of(tokens) for threads, budget in ((1, 1), (2, 2048)))
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_texts_become_the_tokens_of_the_students_tokenizer(exported):
    _, graph, _ = exported
    texts = ["Ask for a room at the back.", "", "\ud800 lone", "🏖 ask مرحبا", "nice"]
    tokenizer = student.tokenizer_of(student.locate("minilm"))
    found = graph.tokens(texts)
    rows = [row.tolist() for row in np.split(found.ids, found.text_starts[1:-1])]
    assert rows == student.tokens_of(tokenizer, texts, MAX_LENGTH)


def test_some_texts_are_scored_as_they_are_among_all(exported):
    _, graph, _ = exported
    tokens = graph.tokens(["Ask for a room. " * 30, "nice", "We stayed here. " * 20, "ask"])
    assert tokens.windows.tolist() == [3, 1, 2, 1]
    some = np.array([2, 0])
    np.testing.assert_allclose(graph.logits_of(tokens, some), graph.logits_of(tokens)[some], atol=1e-5)
    assert graph.logits_of(tokens, np.array([], dtype=np.int64)).shape == (0, 2)


@given(LENGTHS, st.data())
def test_padding_adds_nothing_but_padding(lengths, data):
    tokens = windows_of(lengths, 0)
    rows = np.array(data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1)))
    ids, is_token = padded(tokens, rows, pad_id=7)
    assert ids.shape == (len(rows), max(lengths[row] for row in rows))
    for row, found, kept in zip(rows, ids, is_token, strict=True):
        assert found[kept].tolist() == tokens.ids[tokens.starts[row] : tokens.starts[row + 1]].tolist()
        assert (found[~kept] == 7).all()
        assert not kept[lengths[row] :].any()


@given(st.lists(st.text(max_size=9), max_size=30), st.integers(1, 5), st.integers(1, 12))
def test_pieces_are_the_texts_in_order_and_within_their_limits(texts, most_texts, most_chars):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.model.engine.PIECE_TEXTS", most_texts)
        patch.setattr("understudy.model.engine.PIECE_CHARS", most_chars)
        found = [list(piece) for piece in pieces(texts)]
    assert [text for piece in found for text in piece] == texts
    for piece in found:
        assert 1 <= len(piece) <= most_texts
        assert len(piece) == 1 or sum(map(len, piece)) <= most_chars


@pytest.mark.parametrize("items", [[], [1], [1, 2], [1, 2, 3]])
def test_work_done_on_threads_keeps_its_order(items):
    assert on_threads(str, items, threads=2) == [str(item) for item in items]


def test_an_error_on_a_thread_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda item: 1 // item, [1, 0, 1], threads=2)


def test_tokens_of_many_long_texts_are_never_in_memory_at_once(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    graph = Graph(folder / "model.onnx", folder / "tokenizer.json", 64, threads=1)
    texts = ["ask nice " * 50_000] * 12
    tracemalloc.start()
    largest = max(len(tokens.windows) for tokens in graph.pieces_of(texts))
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert largest < len(texts)
    assert peak_mb < 200


@pytest.fixture
def bag(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    folder = make_bundle(tmp_path / "bundle")
    return Graph(folder / "model.onnx", folder / "tokenizer.json", 64)


def test_settings_are_measured_once_told_in_a_line_and_remembered(bag, capsys):
    first = tuning.tuned(bag, "hash", MANY)
    assert capsys.readouterr().err.startswith(f"engine: {first.threads} threads, batches of {first.batch_tokens:,} ")
    again = tuning.tuned(bag, "hash", MANY)
    assert (again.threads, again.batch_tokens) == (first.threads, first.batch_tokens)
    assert capsys.readouterr().err == ""
    tuning.tuned(bag, "another graph", MANY)
    assert capsys.readouterr().err != ""


def test_few_texts_are_scored_with_the_usual_settings(bag, capsys):
    assert tuning.tuned(bag, "hash", texts=100).batch_tokens == BATCH_TOKENS
    assert capsys.readouterr().err == ""


def test_settings_that_are_given_are_not_measured(bag, capsys):
    found = tuning.tuned(bag, "hash", MANY, threads=3, batch_tokens=100)
    assert (found.threads, found.batch_tokens) == (3, 100)
    assert capsys.readouterr().err == ""


def test_a_spoilt_memory_is_measured_again(bag, tmp_path, capsys):
    tuning.tuned(bag, "hash", MANY)
    (file,) = (tmp_path / "cache/tuning").glob("*.json")
    for content in ("", "[]", '{"threads": 99, "batch_tokens": 1}', '{"threads": 1}'):
        file.write_text(content)
        capsys.readouterr()
        tuning.tuned(bag, "hash", MANY)
        assert "measured in" in capsys.readouterr().err


@pytest.mark.parametrize("max_length", [1, 8, 32])
def test_a_graph_of_short_windows_is_measured_within_its_tables(exported, tmp_path, max_length):
    model, _, folder = exported
    fp32 = export.export_fp32(model, tmp_path / "fp32", max_length=max_length)
    short = Graph(fp32, folder / "tokenizer.json", max_length)
    assert tuning.windows(short, 9999).lengths.max() == max_length
    assert tuning.measure(short, tuning.choices(0, 0, 1)) is not None


def test_a_machine_too_slow_to_measure_keeps_the_usual_settings_and_is_not_asked_again(bag, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "LONGEST_S", 0.0)
    assert tuning.tuned(bag, "hash", MANY).batch_tokens == BATCH_TOKENS
    assert "not measured, which takes too long here" in capsys.readouterr().err
    assert tuning.tuned(bag, "hash", MANY).batch_tokens == BATCH_TOKENS
    assert capsys.readouterr().err == ""


def test_scoring_stops_between_batches_when_its_time_is_over(exported):
    _, graph, _ = exported
    tokens = windows_of([9] * 40, seed=0)
    started = time.perf_counter()
    with pytest.raises(TimeoutError):
        graph.suited(2, 9).logits_of(tokens, until_s=started)
    assert len(graph.logits_of(tokens, until_s=started + 60)) == 40
