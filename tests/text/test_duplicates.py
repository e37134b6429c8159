import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.text.duplicates import Match, fold, jaccard, nearest, rows_per_band, shingles

ROOM = "Always ask for a room at the back of the house, because the street is loud at night."


def near(text: str, other: str) -> float:
    return jaccard(shingles(text), shingles(other))


def test_one_changed_word_in_a_long_sentence_is_a_near_duplicate():
    assert nearest([ROOM.replace("loud", "noisy"), "Nice view."], [ROOM], threshold=0.8) == [
        Match(0, pytest.approx(near(ROOM.replace("loud", "noisy"), ROOM))),
        None,
    ]


def test_case_punctuation_and_spaces_make_no_difference():
    assert nearest([ROOM.upper().replace(",", " --")], [ROOM], threshold=1.0) == [Match(0, 1.0)]


def test_a_sentence_turned_into_its_contrary_is_not_a_near_duplicate():
    assert nearest(["The room was not clean"], ["The room was clean"], threshold=0.8) == [None]


def test_texts_of_signs_and_of_one_letter_are_compared_as_they_are():
    assert nearest(["\N{GRINNING FACE}", "!!", "a"], ["!!", "a", "?"], threshold=0.8) == [
        None,
        Match(0, 1.0),
        Match(1, 1.0),
    ]


def test_the_first_reference_is_preferred():
    copies = [ROOM.replace("loud", "noisy"), ROOM]
    assert nearest([ROOM], copies, threshold=0.8)[0].index == 0


def test_nothing_is_near_nothing():
    assert nearest([], [ROOM], 0.8) == []
    assert nearest([ROOM], [], 0.8) == [None]
    assert fold([], 0.8) == []


def test_a_family_folds_into_its_first_member():
    family = [ROOM, "Nice view.", ROOM.replace("loud", "noisy"), ROOM + "!", "Nice view!"]
    assert [match and match.index for match in fold(family, 0.8)] == [None, None, 0, 0, 1]


def edited(rng: random.Random, text: str) -> str:
    """Change up to eight letters of a text."""
    letters = list(text)
    for _ in range(rng.randrange(8)):
        letters[rng.randrange(len(letters))] = rng.choice("abcdefgh ")
    return "".join(letters)


@settings(max_examples=30, deadline=None)
@given(rng=st.randoms(use_true_random=False), threshold=st.sampled_from([0.5, 0.7, 0.8, 0.9]))
def test_what_minhash_finds_is_what_comparing_all_pairs_finds(rng, threshold):
    references = [edited(rng, ROOM) for _ in range(15)]
    texts = [edited(rng, ROOM) for _ in range(15)]
    expected = [
        next((index for index, reference in enumerate(references) if near(text, reference) >= threshold), None)
        for text in texts
    ]
    assert [match and match.index for match in nearest(texts, references, threshold)] == expected


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
def test_a_pair_at_the_threshold_is_hardly_ever_missed(threshold):
    rows = rows_per_band(threshold)
    assert 1 - (1 - threshold**rows) ** (120 // rows) >= 0.9999
