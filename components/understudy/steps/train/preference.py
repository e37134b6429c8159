"""Learn which of two texts of a session the teacher scores higher: the noise-reduced preference loss.

A teacher that is generous in one dialogue and strict in the next errs alike in all texts of either. Two texts of one
session (dialogue, review, thread) share that error, so the difference of their scores is free of it. The first stage of
a training may learn these differences; where the labels lie is learned in the stages after it.

Source: Liu et al., "Learning LLM preference over intra-dialogue pairs", 2025 (arXiv 2503.05620), for pairs within a
session whose margin is the difference of the teacher's scores. The hinge on the student's probabilities, which need no
other scale than the teacher's, is this module's reading of it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from understudy.errors import TooFewLabels
from understudy.model.engine import Floats, Integers
from understudy.text.numbers import count

FEWEST_PAIRS = 100


def session_batches(
    lengths: Sequence[int], sessions: Integers, batch_tokens: int, seed: int, epoch: int
) -> list[Integers]:
    """Return the batches of one epoch: session after session by lot, so that a text stands among its own.

    A session that does not fit is cut by lot, otherwise in each epoch. Texts that are alone in their session are left
    out: they have nothing to be compared with.

    Args:
        lengths: tokens of each text.
        sessions: number of each text's session, shape (texts,).
        batch_tokens: most tokens a batch holds, padding included; two texts at least.
        seed: with `epoch`, decides the lot.
        epoch: counted from 0.

    Returns:
        positions of the texts of each batch.

    >>> [batch.tolist() for batch in session_batches([4, 4, 4, 4, 4], np.array([0, 1, 0, 1, 2]), 8, seed=1, epoch=0)]
    [[0, 2], [3, 1]]
    """
    lot = np.random.default_rng([seed, epoch])
    names, place, size = np.unique(sessions, return_inverse=True, return_counts=True)
    rank = lot.permutation(len(names))[place]
    order = np.lexsort((lot.random(len(lengths)), rank))
    batches: list[list[int]] = []
    longest = 0
    for text in order[size[place[order]] > 1].tolist():
        longest = max(longest, lengths[text])
        if not batches or (len(batches[-1]) > 1 and longest * (len(batches[-1]) + 1) > batch_tokens):
            batches.append([])
            longest = lengths[text]
        batches[-1].append(text)
    return [np.array(batch) for batch in batches]


def preference_loss(
    logits: torch.Tensor, scores: torch.Tensor, sessions: torch.Tensor, least_difference: float, *, is_many: bool
) -> torch.Tensor:
    """Mean hinge loss over the pairs of a batch: a text must lead another by as much as the teacher's scores say.

    A pair is a label and two texts of one session whose scores for it differ by `least_difference` or more; its loss is
    max(0, margin - lead), where the margin is the difference of the teacher's probabilities and the lead that of the
    student's. What is added to a label's score in all texts of a session changes nothing.

    Args:
        logits: of the student, shape (texts, labels).
        scores: the teacher's probabilities, shape (texts, labels).
        sessions: number of each text's session, shape (texts,).
        least_difference: smaller differences are taken for noise.
        is_many: whether a text may have several labels, so that each has a probability of its own.

    Returns:
        the mean, a scalar; 0 where the batch has no pair.

    >>> loss = preference_loss(
    ...     logits=torch.tensor([[0.0, 0.0], [0.0, 0.0], [8.0, -8.0]]),  # probabilities of the first label: 0.5, 0.5, 1
    ...     scores=torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]]),  # they shall lead by 0.5 and 0.6: 0.5, 0.1 short
    ...     sessions=torch.tensor([0, 0, 0]),
    ...     least_difference=0.2,
    ...     is_many=False,
    ... )
    >>> round(loss.item(), 2)
    0.3
    """
    difference = scores[:, None, :] - scores[None, :, :]
    is_pair = (difference >= least_difference) & (sessions[:, None] == sessions[None, :])[:, :, None]
    given = torch.sigmoid(logits) if is_many else torch.softmax(logits, dim=1)
    lead = given[:, None, :] - given[None, :, :]
    return (torch.relu(difference - lead) * is_pair).sum() / is_pair.sum().clamp(min=1)


def pairs_within(scores: Floats, sessions: Integers, least_difference: float) -> int:
    """Count the pairs of all sessions: a label, and two texts whose scores for it differ enough.

    Args:
        scores: the teacher's probabilities, shape (texts, labels).
        sessions: number of each text's session, shape (texts,).
        least_difference: that makes a pair.

    >>> pairs_within(np.array([[0.1], [0.6], [0.7], [0.2]]), np.array([0, 0, 0, 1]), least_difference=0.2)
    2
    """
    pairs = 0
    for session in np.unique(sessions):
        for column in np.sort(scores[sessions == session], axis=0).T:
            pairs += int(np.searchsorted(column, column - least_difference, side="right").sum())
    return pairs


def require_pairs(scores: Floats, sessions: Integers, least_difference: float) -> int:
    """Return the number of pairs.

    Raises:
        TooFewLabels: there are too few to learn from, as where each text is a session of its own.
    """
    pairs = pairs_within(scores, sessions, least_difference)
    if pairs < FEWEST_PAIRS:
        raise TooFewLabels(
            f"The teacher's texts must hold at least {FEWEST_PAIRS} pairs within a session whose scores differ by "
            f"{least_difference:g}, got {count(pairs, 'pair')} of {count(len(sessions), 'text')} in "
            f"{count(len(np.unique(sessions)), 'session')} (pool and judgements). Name the texts' column of sessions "
            "in the card's `columns: {group: ...}`, raise label.texts, or leave out train.pairs."
        )
    return pairs
