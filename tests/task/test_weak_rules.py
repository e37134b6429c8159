"""Weak rules together: what they teach is not what they are scored on."""

import numpy as np
import pytest

from understudy.task import weak_rules
from understudy.task.labels import LabelSpace

SPACE = LabelSpace(("other", "tip"), "tip")


@pytest.mark.parametrize("texts_a_group", [1, 4])
def test_many_rules_that_know_nothing_are_right_no_more_often_than_by_chance(texts_a_group):
    """Fitted to the very texts that they answer, 40 such rules are right on two of three."""
    right = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        of_group = rng.integers(0, 2, 120)
        hits = rng.random((120, 40)) < 0.3  # of texts that are alike, as a group's are
        truth, found = np.repeat(of_group, texts_a_group), np.repeat(hits, texts_a_group, axis=0)
        groups = np.repeat(np.arange(120), texts_a_group)
        right.append((weak_rules.combined(found, truth, groups, SPACE) == truth).mean())
    assert np.mean(right) < 0.53


def test_rules_are_combined_where_texts_have_several_labels_and_groups_are_few():
    rng = np.random.default_rng(0)
    truth = rng.random((60, 3)) < 0.4
    several = LabelSpace(("view", "staff", "price"), is_many=True)
    answers = weak_rules.combined(truth, truth, np.arange(60) % 2, several)
    assert (answers == truth).mean() > 0.95
