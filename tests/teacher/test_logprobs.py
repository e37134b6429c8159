"""Log-probabilities of many labels: what is listed is taken, what is not is never worth more than what is left."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.teacher.logprobs import label_probabilities

TOP = 20
INTENTS = tuple(f"{chr(97 + number // 26)}{chr(97 + number % 26)} intent" for number in range(77))


def answer(label, alternatives):
    """Write an answer whose label is a token of its own, with its listed alternatives."""
    top = [{"token": name, "logprob": math.log(share)} for name, share in alternatives.items()]
    written = json.dumps(label, ensure_ascii=False)[1:-1]
    chosen = {"token": written, "logprob": math.log(alternatives[written]), "top_logprobs": top}
    tokens = [{"token": '{"label": "', "logprob": 0.0}, chosen, {"token": '"}', "logprob": 0.0}]
    return json.dumps({"label": label}, ensure_ascii=False), tokens


def listed(truth, labels=INTENTS):
    order = np.argsort(-truth)[:TOP]
    return labels[order[0]], {labels[index]: float(truth[index]) for index in order}


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 3.0))
def test_labels_that_are_not_listed_share_at_most_what_the_listed_leave(seed, evenness):
    truth = np.random.default_rng(seed).dirichlet(np.full(77, evenness)) * (1 - 1e-9) + 1e-9 / 77
    found = label_probabilities(*answer(*listed(truth)), INTENTS)
    order = np.argsort(-truth)
    left = float(truth[order[TOP:]].sum())
    if found is None:
        assert left > 0.3
        return
    assert sum(found) == pytest.approx(1)
    assert sum(np.array(found)[order[TOP:]]) <= left / (1 - left + min(left, 57 * truth[order[TOP - 1]])) + 1e-9
    assert np.abs(np.array(found) - truth).sum() / 2 <= left + 1e-9
    assert int(np.argmax(found)) == order[0]


def test_an_answer_that_tells_little_of_many_labels_gives_no_probabilities():
    even = np.full(77, 1 / 77)
    assert label_probabilities(*answer(*listed(even)), INTENTS) is None
    sure = np.full(77, 0.3 / 76)
    sure[5] = 0.7
    found = label_probabilities(*answer(*listed(sure)), INTENTS)
    assert found == pytest.approx(sure.tolist())


def test_labels_that_begin_alike_share_what_was_listed_for_their_beginning():
    names = ("card lost", "card stolen", "top up")
    found = label_probabilities(*answer("top up", {"top up": 0.8, "card": 0.2}), names)
    assert found == pytest.approx([0.1, 0.1, 0.8])
    assert label_probabilities(*answer("top up", {"top up": 0.4, "card": 0.6}), names) is None


def test_a_walk_through_a_common_beginning_tells_the_labels_apart_where_they_part():
    names = ("card lost", "card stolen", "top up")

    def token(text, **others):
        top = [{"token": name, "logprob": math.log(share)} for name, share in others.items()]
        return {"token": text, "logprob": math.log(others[text]), "top_logprobs": top}

    tokens = [
        {"token": '{"label": "', "logprob": 0.0},
        token("card", card=0.9, top=0.1),
        token(" lost", **{" lost": 0.75, " stolen": 0.25}),
        {"token": '"}', "logprob": 0.0},
    ]
    found = label_probabilities('{"label": "card lost"}', tokens, names)
    assert found == pytest.approx([0.675, 0.225, 0.1])


@pytest.mark.parametrize(
    "name", ['a "quoted" one', "back\\slash", "=1+1", "a, b", "café", "\N{GRINNING FACE}", "it's <b>&"]
)
def test_odd_names_are_found_as_json_writes_them(name):
    written = json.dumps(name, ensure_ascii=False)[1:-1]
    found = label_probabilities(*answer(name, {written: 0.75, "other": 0.25}), (name, "other", "third"))
    assert found == pytest.approx([0.75, 0.25, 0.0])
    escaped = json.dumps({"label": name})
    tokens = [{"token": escaped[:11], "logprob": 0.0}, {"token": escaped[11:], "logprob": math.log(0.75)}]
    assert label_probabilities(escaped, tokens, (name, "other")) == pytest.approx([0.75, 0.25])
