"""Measure how much of texts a student's vocabulary reads: which signs it does not know, and which words it spells out.

A sign is a letter, a figure, a mark of punctuation or a symbol; blanks and accents of their own are none.

- It is unknown when the token that stands for it is the one for everything unknown, or when no token does.
- It is broken up when it takes several tokens, as a letter of which the vocabulary has the bytes alone, or when its
  word of four letters and more is spelled out: fewer than two letters a token. Signs that are as wide as two are
  syllables or words themselves (Chinese, Japanese, Korean), and a token each spells out nothing.

So one measure holds for a WordPiece, whose unknown words vanish whole, for SentencePiece, and for a vocabulary of
bytes, to which nothing is unknown.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Self

import numpy as np

from understudy.errors import BadArtifact
from understudy.model import tokenizer_files
from understudy.model.engine import Bools, Integers, encodable

SPELLED_OUT = 2.0  # letters a token; English has 4 to 5, a language that a vocabulary was not made for 1 to 2.5
WORD = re.compile("LM*(?:LM*){3,}")  # four letters and more, each with its accents, in the text's `_kinds`
NO_SIGN = {"C", "M", "Z"}  # general categories: control and format, accents, blanks
MARKERS = "▁Ġ"  # of a blank before a word, in SentencePiece and in bytes
EMOJI_FROM, FIRST_BLOCKS, LAST_BLOCKS = 0x1F000, range(0x2600, 0x27C0), range(0x2B00, 0x2C00)
BYTE = re.compile(r"<0x[89A-F][0-9A-F]>")  # a byte that is no sign of its own
PART = "\ufffd"  # what bytes read as that are a part of a sign
MOST_SHOWN = 32  # signs of an example
FEWEST_SIGNS = 8  # of an example, where a text has as many
MOST_TOKENS = 8  # of an example


@dataclass(frozen=True, slots=True)
class Example:
    """A piece of a text, and how the vocabulary reads it."""

    text: str
    read: str


@dataclass(frozen=True, slots=True)
class Legibility:
    """How much of texts a vocabulary reads.

    Attributes:
        texts: how many were read.
        signs: of all of them.
        unknown: signs that the vocabulary does not know.
        broken: other signs that it breaks up.
        emoji_texts: texts with an emoji.
        emoji_lost: texts with an emoji that is unknown to it.
        worst: of the text with the largest share of unknown and broken signs; None where there is no such sign.
        emoji: of the first text that loses one.
    """

    texts: int
    signs: int
    unknown: int
    broken: int
    emoji_texts: int
    emoji_lost: int
    worst: Example | None
    emoji: Example | None

    @property
    def unread_share(self) -> float:
        """Share of the signs that are unknown or broken up, in [0, 1]."""
        return (self.unknown + self.broken) / self.signs if self.signs else 0.0

    @property
    def unknown_share(self) -> float:
        """Share of the signs that are unknown, in [0, 1]."""
        return self.unknown / self.signs if self.signs else 0.0

    @property
    def emoji_lost_share(self) -> float:
        """Share of the texts that lose an emoji, in [0, 1]."""
        return self.emoji_lost / self.texts if self.texts else 0.0


@dataclass(frozen=True, slots=True)
class Read:
    """How a vocabulary reads one text; arrays of shape (characters,)."""

    is_sign: Bools
    is_unknown: Bools
    is_broken: Bools
    is_emoji: Bools

    @property
    def unread_share(self) -> float:
        """Share of the signs that are unknown or broken up."""
        return float((self.is_unknown | self.is_broken).sum() / max(1, self.is_sign.sum()))


class Vocabulary:
    """The vocabulary of a tokenizer.

    Args:
        tokenizer: of the tokenizers library; from here on it neither pads nor cuts.
    """

    def __init__(self, tokenizer: Any) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._unknown_id = _unknown_id(tokenizer)

    @cached_property
    def _unread(self) -> Bools:
        return unread_ids(self._tokenizer)

    @classmethod
    def opened(cls, data: bytes, where: str) -> Self:
        """Open what a tokenizer.json holds; `where` that lies.

        Raises:
            BadArtifact: it is no tokenizer, or one whose work has no bounds.
        """
        from tokenizers import Tokenizer

        tokenizer_files.require_sound_content(data, where)
        try:
            return cls(Tokenizer.from_str(data.decode("utf-8")))
        except Exception as error:  # it raises bare Exceptions of its own for a corrupt file
            raise BadArtifact(
                f"A tokenizer must be readable, got {error!s:.200} ({where}). Export it again."
            ) from error

    def token_counts(self, texts: Sequence[str]) -> tuple[Integers, Integers]:
        """Count the tokens of texts, and those of them that stand for what is unknown; shape (texts,) each.

        Raises:
            BadArtifact: the tokenizer cannot read a text.
        """
        try:
            encodings = self._tokenizer.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
        except Exception as error:  # tokenizers raises bare Exceptions
            raise BadArtifact(f"A tokenizer must read every text, got {error!s:.200}. Export it again.") from error
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), np.int64, int(lengths.sum()))
        before = np.concatenate([[0], np.cumsum(self._unread[ids])])
        ends = np.cumsum(lengths)
        return lengths, np.asarray(before[ends] - before[ends - lengths])

    def legibility(self, texts: Sequence[str]) -> Legibility:
        """Measure how much of texts is read; the first of the worst texts gives the example."""
        given = [encodable(text) for text in texts]
        signs = unknown = broken = emoji_texts = emoji_lost = 0
        worst, worst_share, first_lost = None, 0.0, None
        encodings = self._tokenizer.encode_batch(given, add_special_tokens=False)
        for text, encoding in zip(given, encodings, strict=True):
            read = self._read(text, encoding)
            signs += int(read.is_sign.sum())
            unknown += int(read.is_unknown.sum())
            broken += int(read.is_broken.sum())
            emoji_texts += bool(read.is_emoji.any())
            lost = read.is_emoji & read.is_unknown
            emoji_lost += bool(lost.any())
            share = read.unread_share * min(1.0, read.is_sign.sum() / FEWEST_SIGNS)  # a word alone says little
            if share > worst_share:
                worst_share, worst = share, (text, read.is_unknown | read.is_broken)
            if first_lost is None and lost.any():
                first_lost = text, lost
        shown = [self._example(*one) if one is not None else None for one in (worst, first_lost)]
        return Legibility(len(given), signs, unknown, broken, emoji_texts, emoji_lost, *shown)

    def _read(self, text: str, encoding: Any) -> Read:
        kinds = _kinds(text)
        is_sign = np.array([kind not in " M" for kind in kinds], dtype=np.bool_)
        starts, ends, is_known = self._spans(encoding)
        times = _covered(starts, ends, len(text))
        is_unknown = is_sign & ((times == 0) | (_covered(starts[~is_known], ends[~is_known], len(text)) > 0))
        is_letter = np.array([kind in "LW" for kind in kinds], dtype=np.bool_)
        is_broken = is_letter & (times > 1)
        for word in WORD.finditer(kinds):
            tokens = int(((starts < word.end()) & (ends > word.start())).sum())
            if word.group().count("L") < SPELLED_OUT * tokens:
                is_broken[word.start() : word.end()] = True
        is_emoji = np.array([_is_emoji(sign) for sign in text], dtype=np.bool_)
        return Read(is_sign, is_unknown, is_broken & is_sign & ~is_unknown, is_emoji)

    def _spans(self, encoding: Any) -> tuple[Integers, Integers, Bools]:
        """Return where the tokens begin and end in the text, and which of them are known; shape (tokens,) each."""
        tokens = [
            (start, end, token_id != self._unknown_id)
            for token, token_id, (start, end) in zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
            if token.strip(MARKERS)
        ]
        table = np.array(tokens, dtype=np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2].astype(bool)

    def _example(self, text: str, is_unread: Bools) -> Example:
        """Cut a text to where its first unread sign is, with what stands before it, and show how that is read."""
        first = int(is_unread.argmax())
        start = max(0, text.rfind(" ", 0, max(0, first - MOST_SHOWN // 2)) + 1) if first > MOST_SHOWN // 2 else 0
        shown = " ".join(text[start : start + MOST_SHOWN].split())
        encoding = self._tokenizer.encode(shown, add_special_tokens=False)
        unknown = self._tokenizer.id_to_token(self._unknown_id) if self._unknown_id is not None else ""
        pairs = zip(encoding.tokens, encoding.ids, strict=True)
        tokens = [unknown if token_id == self._unknown_id else token for token, token_id in pairs]
        read = " ".join(tokens[:MOST_TOKENS]) + (" ..." if len(tokens) > MOST_TOKENS else "")
        return Example(shown, read)


def unread_ids(tokenizer: Any) -> Bools:
    """Tell which tokens stand for what a vocabulary does not know: the one for it, and bytes that are a part of a sign.

    Args:
        tokenizer: of the tokenizers library.

    Returns:
        by token id, shape (vocabulary,).
    """
    from tokenizers import decoders

    words = tokenizer.get_vocab(with_added_tokens=True)
    found = np.zeros(1 + max(words.values(), default=0), dtype=np.bool_)
    decoder = tokenizer.decoder if isinstance(tokenizer.decoder, decoders.ByteLevel) else None
    for word, token_id in words.items():
        found[token_id] = PART in decoder.decode([word]) if decoder else BYTE.fullmatch(word) is not None
    unknown = _unknown_id(tokenizer)
    if unknown is not None:
        found[unknown] = True
    return found


def _unknown_id(tokenizer: Any) -> int | None:
    """Return the id of the token that stands for everything unknown; None where there is none."""
    from tokenizers.models import Unigram

    if isinstance(tokenizer.model, Unigram):
        found = re.match(r"Unigram\(unk_id=(\d+)", repr(tokenizer.model))
        return int(found.group(1)) if found else None
    word = tokenizer.model.unk_token
    return None if word is None else tokenizer.token_to_id(word)


def _kinds(text: str) -> str:
    """Say of each character what it is: a letter L, one that is as wide as two W, an accent M, none " ", or another S.

    >>> _kinds("né!  中")
    'LLS  W'
    """
    return "".join(map(_kind, text))


def _kind(sign: str) -> str:
    category = unicodedata.category(sign)[0]
    if category == "L":
        return "W" if unicodedata.east_asian_width(sign) in "WF" else "L"
    if category in NO_SIGN:
        return "M" if category == "M" else " "
    return "S"


def _is_emoji(sign: str) -> bool:
    code = ord(sign)
    is_there = code >= EMOJI_FROM or code in FIRST_BLOCKS or code in LAST_BLOCKS
    return is_there and unicodedata.category(sign) == "So"


def _covered(starts: Integers, ends: Integers, length: int) -> Integers:
    """Count the tokens that stand for each character, shape (length,).

    >>> _covered(np.array([0, 1, 1]), np.array([1, 3, 2]), 4)
    array([1, 2, 1, 0])
    """
    steps = np.zeros(length + 1, dtype=np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return np.asarray(steps.cumsum()[:-1])
