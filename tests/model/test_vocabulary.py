"""What a vocabulary does not read is found for each kind of tokenizer, and what it reads is not taken for unread."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.languages import CHINESE, ENGLISH, GERMAN, byte_fallback, byte_level, sentence_piece, wordpiece
from understudy.model.student import locate
from understudy.model.vocabulary import Vocabulary, unread_ids

MORE_ENGLISH = [f"{one} {other}" for one in ENGLISH for other in ENGLISH]
MAKERS = {
    "wordpiece": wordpiece,
    "byte-level": byte_level,
    "byte-fallback": byte_fallback,
    "t5": lambda texts: sentence_piece(texts, is_t5=True),
    "xlm-roberta": lambda texts: sentence_piece(texts, is_t5=False),
}
OF_BYTES = {"byte-level", "byte-fallback"}


@pytest.fixture(scope="module", params=MAKERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def english(kind):
    return MAKERS[kind](ENGLISH)


@pytest.fixture(scope="module")
def minilm():
    return Tokenizer.from_file(f"{locate('minilm')}/tokenizer.json")


def test_a_script_that_a_vocabulary_was_not_made_for_is_unread_whatever_its_kind(kind, english):
    found = Vocabulary(english).legibility(CHINESE)
    assert found.unread_share > 0.8
    assert (found.unknown_share > 0.8) == (kind not in OF_BYTES)
    assert found.worst.text in " ".join(CHINESE)
    assert found.worst.read != found.worst.text


def test_a_vocabulary_that_was_made_for_chinese_reads_a_sign_a_token(kind):
    assert Vocabulary(MAKERS[kind]([*ENGLISH, *CHINESE] * 4)).legibility(CHINESE).unread_share < 0.05


def test_an_emoji_is_lost_where_it_becomes_the_unknown_token_and_not_where_its_bytes_are_read(kind, english):
    found = Vocabulary(english).legibility(["The view 😂", "We loved the view.", "The room☀️ and the bar 😂"])
    assert (found.texts, found.emoji_texts) == (3, 2)
    assert found.emoji_lost == (0 if kind in OF_BYTES else 2)
    assert (found.emoji is None) == (kind in OF_BYTES)


def test_an_emoji_that_a_normalizer_drops_is_lost_too():
    said = json.loads(wordpiece([*ENGLISH, "😂 😂"]).to_str())
    dropping = {"type": "Replace", "pattern": {"String": "😂"}, "content": ""}
    said["normalizer"] = {"type": "Sequence", "normalizers": [dropping, said["normalizer"]]}
    found = Vocabulary(Tokenizer.from_str(json.dumps(said))).legibility(["The view 😂"])
    assert (found.emoji_lost, found.unknown) == (1, 1)


def test_words_that_are_spelled_out_count_and_words_of_pieces_do_not():
    vocabulary = Vocabulary(wordpiece(ENGLISH * 4))
    (spelled,) = [vocabulary.legibility(["xkqzw"])]
    assert spelled.signs == spelled.unknown + spelled.broken == 5
    assert vocabulary.legibility(["breakfast harbour friendly"]).broken == 0


def test_what_is_read_of_real_text_is_as_the_setting_says(minilm):
    """The figures in `TrainConfig`: MiniLM's own vocabulary on English, German and Chinese."""
    vocabulary = Vocabulary(minilm)
    assert vocabulary.legibility(ENGLISH).unread_share == 0.0
    assert 0.05 < vocabulary.legibility(GERMAN).unread_share < 0.15
    assert vocabulary.legibility(CHINESE).unknown_share > 0.6
    russian = ["Поздравляем, вы выиграли приз, нажмите на ссылку.", "Завтрак был холодным, кофе тоже."]
    found = vocabulary.legibility(russian)
    assert (found.unknown, found.unread_share > 0.75) == (0, True)  # known letters, each word spelled out


def test_korean_that_is_taken_apart_into_its_letters_is_unread(minilm):
    assert Vocabulary(minilm).legibility(["안녕하세요"]).unread_share == 1.0


def test_blanks_accents_and_signs_of_control_are_no_signs(minilm):
    found = Vocabulary(minilm).legibility(["cafe\u0301\u200b \t\n!", "", "   "])
    assert (found.signs, found.unknown, found.broken) == (5, 0, 0)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_text_is_measured_and_no_sign_counts_twice(minilm, texts):
    found = Vocabulary(minilm).legibility(texts)
    assert 0 <= found.unknown + found.broken <= found.signs <= sum(map(len, texts))
    assert found.emoji_lost <= found.emoji_texts <= found.texts == len(texts)
    assert (found.worst is None) == (found.unknown + found.broken == 0)


def test_unread_tokens_are_the_one_for_the_unknown_and_bytes_that_are_a_part_of_a_sign(kind, english):
    unread = unread_ids(english)
    share = {name: float(np.mean(unread[english.encode(text, add_special_tokens=False).ids]))
             for name, text in (("english", ENGLISH[0]), ("chinese", CHINESE[0]))}  # fmt: skip
    assert share["english"] == 0
    assert share["chinese"] > 0.3
    assert unread.sum() == {"byte-level": 128, "byte-fallback": 129}.get(kind, 1)


def test_every_text_is_read_whole(minilm):
    minilm.enable_truncation(4)
    assert Vocabulary(minilm).legibility(["a room with a view " * 40 + "中奖"]).broken == 0
    assert Vocabulary(minilm).legibility(["a room with a view " * 40 + "奖"]).unknown == 1
