"""A prompt bank: answers are averaged, weighed by what each wording is worth, and alike where labels are few."""

import numpy as np

from understudy.task.labels import LabelSpace
from understudy.teacher import bank
from understudy.teacher.bank import NO_ANSWER
from understudy.teacher.response_log import Response

SPACE = LabelSpace(("other", "tip"))


def answer(label: str, probabilities: list[float] | None = None, **more: str) -> Response:
    """What one wording said of a text, for a dollar."""
    said = {"id": label, "judge": "m:1", "content": "k", "rationale": None, **more}
    numbers = {"prompt_tokens": 10, "completion_tokens": 1, "cost_usd": 1.0, "is_rehearsal": False}
    return Response(label=label, probabilities=probabilities, **said, **numbers)


def drawn(rng: np.random.Generator, truth: np.ndarray, accuracies: list[float], labels: int = 2) -> np.ndarray:
    """Answers of independent wordings, each right with its own chance, else another label at random."""
    wrong = (truth + rng.integers(1, labels, size=(len(accuracies), len(truth)))) % labels
    return np.where(rng.random(wrong.shape) < np.array(accuracies)[:, None], truth, wrong)


def test_probabilities_and_votes_are_averaged_by_weight_over_those_who_answered() -> None:
    soft = np.array([[[0.9, 0.1]], [[0.5, 0.5]], [[np.nan, np.nan]]])
    assert bank.combine(soft, np.array([3.0, 1.0, 9.0])).round(6).tolist() == [[0.8, 0.2]]


def test_one_strong_wording_among_guessers_decides() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 4_000)
    codes = drawn(rng, truth, [0.9, 0.4, 0.4, 0.4], labels=3)
    weights = bank.weights(codes[:, :200], truth[:200], 3)
    rest = codes[:, 200:], truth[200:]
    right = {
        name: (bank.combine(bank.one_hot(rest[0], 3), each).argmax(axis=1) == rest[1]).mean()
        for name, each in {"plain": np.ones(4), "weighted": weights}.items()
    }
    assert right["weighted"] > 0.88
    assert right["weighted"] > right["plain"] + 0.1


def test_wordings_that_differ_by_chance_alone_weigh_nearly_the_same() -> None:
    rng = np.random.default_rng(1)
    spreads = []
    for _ in range(50):
        truth = rng.integers(0, 2, 60)
        found = bank.weights(drawn(rng, truth, [0.8] * 8), truth, 2)
        spreads.append(found.max() / found.min())
    assert np.median(spreads) < 1.3


def test_too_few_labels_or_nothing_but_guessers_weigh_all_alike() -> None:
    truth = np.zeros(40, dtype=np.int64)
    assert bank.weights(np.stack([truth[:20], 1 - truth[:20]]), truth[:20], 2).tolist() == [1.0, 1.0]
    assert bank.weights(np.stack([1 - truth, 1 - truth]), truth, 2).tolist() == [1.0, 1.0]


def test_answers_that_are_missing_do_not_count_as_votes() -> None:
    codes = np.array([[1, NO_ANSWER], [NO_ANSWER, NO_ANSWER]])
    shares = bank.combine(bank.one_hot(codes, 2), np.ones(2))
    assert shares[0].tolist() == [0.0, 1.0]
    assert np.isnan(shares[1]).all()


def test_a_probability_and_a_vote_are_averaged_and_the_reason_is_of_a_wording_that_agrees() -> None:
    known = [{"k": answer("other", [0.6, 0.4], rationale="No.")}, {"k": answer("tip", rationale="Yes.")}]
    one = bank.combined(known, np.ones(2), SPACE, "m:bank")["k"]
    assert one.probabilities is not None
    assert (one.label, one.rationale, np.round(one.probabilities, 6).tolist()) == ("tip", "Yes.", [0.3, 0.7])
    assert (one.judge, one.cost_usd, one.prompt_tokens) == ("m:bank", 2.0, 20)


def test_an_imported_answer_that_stands_for_every_wording_is_paid_once() -> None:
    known = [{"k": answer("tip")}, {"k": answer("tip")}]
    assert bank.combined(known, np.ones(2), SPACE, "m:bank")["k"].cost_usd == 1.0


def test_a_text_that_only_wordings_without_weight_answered_is_not_lost() -> None:
    known = [{"k": answer("tip", [0.2, 0.8])}, {}]
    assert bank.combined(known, np.array([0.0, 2.0]), SPACE, "m:bank")["k"].label == "tip"
