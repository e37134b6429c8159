"""Sentences lie where they are said to lie, whatever the text is."""

import time

import pytest
import sentencex
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.text import sentences as module
from understudy.text.sentences import sentence_id, sentences, text_id_of

REVIEW = (
    "We stayed three nights in May \U0001f600. The lift was broken, and Mr. O'Neil (very kind!) carried our bags.\r\n"
    "Ask for a room at the back, it's quieter... Breakfast is from 7 a.m. on.\r\n\r\n"
    "Cafe\u0301 next door: bring cash! \u201cTake bus no. 12,\u201d she said. Would we come again? Yes"
)
SAID = [
    "We stayed three nights in May \U0001f600.",
    "The lift was broken, and Mr. O'Neil (very kind!) carried our bags.",
    "Ask for a room at the back, it's quieter...",
    "Breakfast is from 7 a.m. on.",
    "Cafe\u0301 next door: bring cash!",
    "\u201cTake bus no. 12,\u201d she said.",
    "Would we come again?",
    "Yes",
]
PIECES = st.sampled_from(
    ["Dr. ", "e.g. ", "Hi. ", "\r\n", "\n\n", "\r", "(a. b) ", "\u201cHi. \u201d ", "...", "?!", "D\u3000. ", "\u2028"]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(st.characters(codec="utf-8"), max_size=5)), max_size=30).map("".join)


def said(text, language="en"):
    return [text[start:end] for _, start, end in sentences(text, language)]


def test_a_review_is_split_where_its_sentences_end():
    assert said(REVIEW) == SAID
    assert [number for number, _, _ in sentences(REVIEW, "en")] == list(range(1, 9))


@given(TEXTS, st.sampled_from(["en", "de", "ja", "ar", "xx"]))
@settings(deadline=None, max_examples=300)
def test_offsets_give_the_text_back_and_only_blanks_are_lost(text, language):
    found, before = sentences(text, language), 0
    assert found == sentences(text, language)
    for number, start, end in found:
        assert before <= start < end <= len(text)
        assert text[before:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        assert number >= 1
        before = end
    assert text[before:].strip() == ""
    assert [one.number for one in found] == sorted({one.number for one in found})


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=20), TEXTS)
@settings(deadline=None, max_examples=50)
def test_a_text_that_is_not_blank_has_a_sentence(word, rest):
    assert sentences(word + rest, "en")


def test_a_long_text_is_split_as_if_it_were_read_at_once(monkeypatch):
    text = REVIEW.replace("\r\n\r\n", " ") * 40
    windowed = sentences(text, "en")
    monkeypatch.setattr(module, "WINDOW_CHARS", len(text))
    assert windowed == sentences(text, "en")


def test_a_sentence_longer_than_a_window_stays_whole():
    long = "and on it went " * 1000
    assert said(f"{long.strip()}. Ask for a room.") == [f"{long.strip()}.", "Ask for a room."]
    assert said("x" * 10_000) == ["x" * 10_000]


@pytest.mark.parametrize("unit", ["\u201c", "\u00ab", "a ", "! x ", "x", "1. "])
def test_no_text_takes_long(unit):
    begun = time.monotonic()
    sentences((unit * 200_000)[:200_000], "en")
    assert time.monotonic() - begun < 10


def test_a_window_with_which_the_library_fails_is_one_sentence(monkeypatch):
    class Panic(BaseException):
        pass

    def fails(language, text):
        raise Panic

    monkeypatch.setattr(sentencex, "get_sentence_boundaries", fails)
    assert said(" One. Two.\n\nThree. ") == ["One. Two.", "Three."]


def test_blanks_on_which_the_library_alone_fails_are_no_matter():
    assert said("Nice.\n\nD\u3000. \u201cAsk!\u201d") == ["Nice.", "D\u3000. \u201cAsk!\u201d"]


@given(st.text(max_size=10), st.integers(1, 10**6))
def test_a_sentence_names_its_text(name, number):
    assert text_id_of(sentence_id(name, number)) == name
