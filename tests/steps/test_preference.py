"""Pairs within a session: what makes one, that an offset of a session cancels, and a training killed among them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.students import make_student
from understudy.errors import TooFewLabels
from understudy.model import student
from understudy.steps.train import preference
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.forecast import forecast
from understudy.steps.train.learn import Examples, Learner, Validation, losses, make_deterministic
from understudy.steps.train.stages import plan
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

SPACE = LabelSpace(("other", "tip"), "tip")
CONFIG = TrainConfig(
    pairs="session", pair_epochs=4, epochs=3, stages="mixed", learning_rate=0.003, batch_tokens=256, patience=9
)
TEXTS, SESSIONS = 80, np.arange(80) // 10


def tensors(seed: int = 3, texts: int = 12, labels: int = 3):
    """Draw logits, the teacher's scores, and three sessions."""
    rng = np.random.default_rng(seed)
    scores = 0.2 + 0.5 * rng.dirichlet(np.ones(labels), texts)
    logits = torch.tensor(rng.normal(size=(texts, labels)), requires_grad=True)
    return logits, torch.tensor(scores), torch.arange(texts) // 4


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=60), st.integers(0, 5))
def test_a_batch_holds_each_text_once_beside_its_own_unless_it_is_alone_in_its_session(rows, epoch):
    sessions, lengths = (np.array(part) for part in zip(*rows, strict=True))
    batches = preference.session_batches(lengths.tolist(), sessions, 90, seed=1, epoch=epoch)
    names, sizes = np.unique(sessions, return_counts=True)
    expected = np.flatnonzero(np.isin(sessions, names[sizes > 1]))
    dealt = np.concatenate(batches) if batches else np.array([], dtype=int)
    assert sorted(dealt.tolist()) == expected.tolist()
    assert all(len(batch) <= 2 or lengths[batch].max() * len(batch) <= 90 for batch in batches)
    changes = (np.diff(sessions[dealt]) != 0).sum() if len(dealt) else 0
    assert changes == max(0, (sizes > 1).sum() - 1)  # a session's texts follow one another


def test_batches_differ_between_epochs_and_repeat_with_the_seed():
    first, again, second = (
        [batch.tolist() for batch in preference.session_batches([5] * 80, SESSIONS, 50, seed=1, epoch=epoch)]
        for epoch in (0, 0, 1)
    )
    assert first == again
    assert first != second


def test_pairs_are_counted_as_the_loss_takes_them():
    _, scores, sessions = tensors()
    wrong = torch.where(scores > 0, -1e3, 0.0) * scores  # a student in whose order every pair is the wrong way round
    counted = preference.pairs_within(scores.numpy(), sessions.numpy(), 0.1)
    by_hand = [
        float(scores[a, label] - scores[b, label])
        for a in range(12)
        for b in range(12)
        for label in range(3)
        if sessions[a] == sessions[b] and scores[a, label] - scores[b, label] >= 0.1
    ]
    assert counted == len(by_hand) > 10
    loss = preference.preference_loss(wrong * 0, scores, sessions, 0.1, is_many=False)  # it leads by nothing anywhere
    assert loss.item() == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("is_many", [False, True])
def test_an_offset_that_the_teacher_adds_to_a_session_changes_neither_loss_nor_gradient(is_many):
    logits, scores, sessions = tensors()
    offsets = torch.tensor([[0.1, 0.0, -0.1], [-0.15, 0.2, 0.0], [0.0, 0.0, 0.0]])[sessions]

    def learned(given):
        loss = preference.preference_loss(logits, given, sessions, 0.05, is_many=is_many)
        return loss.item(), torch.autograd.grad(loss, logits)[0]

    (plain, gradient), (shifted, same) = learned(scores), learned(scores + offsets)
    assert shifted == pytest.approx(plain)
    torch.testing.assert_close(gradient, same)
    assert gradient.abs().max() > 0
    cross_entropy = [losses(logits, part, is_many=is_many).sum().item() for part in (scores, scores + offsets)]
    assert abs(cross_entropy[1] - cross_entropy[0]) > 0.05


def test_between_sessions_there_is_no_pair():
    logits, scores, _ = tensors()
    loss = preference.preference_loss(logits, scores, torch.arange(12), 0.1, is_many=False)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_a_student_whose_texts_lead_as_the_teacher_says_has_nothing_to_learn():
    _, scores, sessions = tensors()
    scores = scores / scores.sum(dim=1, keepdim=True)
    loss = preference.preference_loss(scores.log(), scores, sessions, 0.01, is_many=False)
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_texts_without_sessions_are_refused_with_what_to_do():
    scores = np.random.default_rng(1).random((500, 2))
    with pytest.raises(TooFewLabels, match=r"got 0 pairs of 500 texts in 500 sessions.*columns: \{group"):
        preference.require_pairs(scores, np.arange(500), 0.2)
    assert preference.require_pairs(scores, np.arange(500) // 10, 0.2) > 1000


def test_pairs_need_a_teacher():
    with pytest.raises(ValueError, match="pairs must be none where stages is 'people'"):
        TrainConfig(pairs="session", stages="people")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_student(tmp_path_factory.mktemp("student") / "tiny")


def texts_of(count: int) -> list[str]:
    return [f"ask for number {index}" if index % 2 else f"number {index} was nice" for index in range(count)]


def learner(folder, config=CONFIG, offset=0.0):
    """Learn that "ask" makes a tip, of a teacher that adds `offset` to the tips' score in every second session."""
    make_deterministic(config.seed)
    model, tokenizer = student.load(str(folder), SPACE.names)
    tokens, truth = student.tokens_of(tokenizer, texts_of(120), 32), np.arange(120) % 2
    score = np.where(truth[:TEXTS] == 1, 0.6, 0.4) + offset * np.where(SESSIONS % 2, 1, -1)
    targets = torch.tensor(np.stack([1 - score, score], axis=1), dtype=torch.float32)
    examples = Examples(tokens[:TEXTS], targets, torch.ones(TEXTS))
    sessions = SESSIONS if config.pairs == "session" else None
    stages = plan(np.zeros(TEXTS, bool), config, 0.003, people_suffice=False, sessions=sessions)
    checked = Validation(tokens[TEXTS:], truth[TEXTS:], SPACE)
    return Learner(model, tokenizer.pad_token_id, examples, stages, checked, config, torch.device("cpu"))


def run(learner):
    kept = []
    learned = learner.run(kept.append, lambda *_: None)
    return learned, kept, learner.best


def after_pairs(folder, offset):
    """Weights after the stage of pairs alone."""
    made = learner(folder, replace(CONFIG, checkpoint_s=0), offset)
    _, kept, _ = run(made)
    first = next(found for found in kept if found.position.stage == 1)
    return {name: tensor for name, tensor in first.tensors.items() if name.startswith("best/")}


def test_the_pairs_teach_the_same_weights_whatever_the_teacher_adds_to_a_session(folder):
    plain, shifted = after_pairs(folder, 0.0), after_pairs(folder, 0.375)
    for name, weight in plain.items():
        torch.testing.assert_close(shifted[name], weight, rtol=0, atol=1e-3)
    initial = learner(folder).best
    assert max((plain[f"best/{name}"] - weight).abs().max() for name, weight in initial.items()) > 1e-2


def test_labels_are_learned_after_the_pairs_and_validation_ranks_their_epochs_alone(folder):
    learned, kept, _ = run(learner(folder, replace(CONFIG, checkpoint_s=0)))
    assert {found.position.best_score for found in kept if found.position.stage == 0} == {-1.0}
    assert learned.best_epoch >= CONFIG.pair_epochs
    assert learned.best_score > 0.9


@pytest.mark.parametrize("stage", [0, 1])
def test_a_training_that_was_killed_among_pairs_or_after_them_ends_with_the_same_weights(folder, stage):
    config = replace(CONFIG, checkpoint_s=0)
    whole, kept, weights = run(learner(folder, config))
    middle = next(found for found in kept if found.position.stage == stage and found.position.stage_epoch == 1)
    again = learner(folder, config)
    again.resume(middle)
    resumed, _, same = run(again)
    assert resumed == whole
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_the_forecast_counts_the_stage_of_pairs(folder, make_card):
    card = parse_card(make_card(student=str(folder)))
    human = pl.DataFrame(schema={"text": pl.String, "label": pl.String})
    taught = pl.Series("text", texts_of(60))
    without, behind = (
        forecast(card, config, taught, human).words for config in (replace(CONFIG, pairs="none"), CONFIG)
    )
    updates = [int(words.partition("at most ")[2].split()[0]) for words in (without, behind)]
    assert updates[1] > updates[0]
    assert (updates[1] - updates[0]) % CONFIG.pair_epochs == 0
