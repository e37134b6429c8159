"""Check a tokenizer.json before a library opens it: bounded growth of a text, bounded time.

A tokenizer's normalizers rewrite the text one after another, so twenty that each double a letter turn one letter into a
million; a pattern may backtrack for hours. What the tokenizers of encoders need is known, and anything else is refused.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact
from understudy.store import codecs

MOST_BYTES = 64 << 20  # the tokenizers of DeBERTa-v3 and of multilingual models have 9 to 17 megabytes
MOST_GROWTH = 8  # signs that one sign may become by all replacements together; "▁" for a blank grows by none
MOST_STEPS = 16  # normalizers, or parts of a template, one after another
MOST_REPLACEMENT = 64  # bytes of the longest entry of a table of signs; that of Unicode's NFKC has 33
NORMALIZERS = {"Sequence", "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Strip", "StripAccents"}
NORMALIZERS |= {"Precompiled", "Prepend", "Replace", "ByteLevel"}
SPLITTERS = {"Sequence", "BertPreTokenizer", "Metaspace", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"}
SPLITTERS |= {"ByteLevel", "UnicodeScripts", "CharDelimiterSplit", "Split"}
FINISHERS = {"Sequence", "TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"}
MODELS = {"WordPiece", "Unigram", "BPE", "WordLevel"}
PATTERNS = {" {2,}", "\\s+", " +", "\\n"}  # that may be sought: each is read once, without going back


def require_sound(path: Path) -> None:
    """Refuse a tokenizer that makes a text grow, seeks unknown patterns, or has parts that no encoder needs.

    Raises:
        BadArtifact: it is such a tokenizer, too long, or damaged.
    """
    require_sound_content(codecs.read_file(path, MOST_BYTES), str(path))


def require_sound_content(data: bytes, where: str) -> None:
    """Refuse such a tokenizer by what its file holds; `where` that lies.

    Raises:
        BadArtifact: see `require_sound`.
    """
    content = codecs.read_mapping(data, where, most_bytes=MOST_BYTES)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE" if "merges" in model else "WordPiece") not in MODELS:
        raise _unsound(where, "a model of another kind")
    normalizers = list(_steps(content.get("normalizer"), "normalizers", NORMALIZERS, where))
    if sum(step["type"] == "Precompiled" for step in normalizers) > 1:
        raise _unsound(where, "several tables of signs, which make more and more of one")
    growth = prod(_growth(step, where) for step in normalizers)
    if growth > MOST_GROWTH:
        raise _unsound(where, f"replacements by which one sign becomes {growth:,.0f}")
    for step in _steps(content.get("pre_tokenizer"), "pretokenizers", SPLITTERS, where):
        _require_known_pattern(step, where)
    finishers = list(_steps(content.get("post_processor"), "processors", FINISHERS, where))
    if sum(step["type"] == "TemplateProcessing" for step in finishers) > 1:
        raise _unsound(where, "several templates, which no library puts together")
    for step in finishers:
        _require_short(step, where)


def _steps(step: Any, name: str, known: set[str], where: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part, those of its sequences one after another."""
    waiting, seen = [step] if step is not None else [], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > MOST_STEPS or not isinstance(one, dict) or one.get("type") not in known:
            kind = one.get("type") if isinstance(one, dict) else type(one).__name__
            raise _unsound(where, f"more than {MOST_STEPS} steps" if seen > MOST_STEPS else f"'{str(kind)[:40]}'")
        if one["type"] == "Sequence":
            nested = one.get(name)
            waiting += nested if isinstance(nested, list) else [nested]
        else:
            yield one


def _growth(step: Mapping[str, Any], where: str) -> float:
    """Return how many signs a normalizer makes of one, at most."""
    if step["type"] == "Precompiled":
        _require_known_table(step.get("precompiled_charsmap"), where)
        return 1.0  # a sign may become 18 in Unicode's own table; bounded by MOST_REPLACEMENT
    if step["type"] == "Prepend":
        _require_text(step.get("prepend"), where)
        return 1.0  # once a text
    if step["type"] != "Replace":
        return 1.0
    content = _require_text(step.get("content"), where)
    return max(1.0, len(content) / _sought_signs(step.get("pattern"), where))


def _require_known_pattern(step: Mapping[str, Any], where: str) -> None:
    """Check what a splitter seeks, where it is told by the file."""
    if step["type"] == "Split":
        _sought_signs(step.get("pattern"), where)


def _sought_signs(pattern: Any, where: str) -> int:
    """Return how many signs a pattern takes up at least."""
    if isinstance(pattern, dict):
        text = pattern.get("String")
        if isinstance(text, str) and text:
            return len(text)
        regex = pattern.get("Regex")
        if isinstance(regex, str) and regex in PATTERNS:
            return 1
    raise _unsound(where, "an unknown pattern")


def _require_known_table(table: Any, where: str) -> None:
    """Check the table of SentencePiece: length of a trie, the trie, then replacements that end with NUL."""
    try:
        data = base64.b64decode(table, validate=True) if table else b""
    except (TypeError, ValueError, binascii.Error) as error:
        raise _unsound(where, "a damaged table of signs") from error
    replacements = data[4 + int.from_bytes(data[:4], "little") :]
    longest = max(map(len, replacements.split(b"\0")), default=0)
    if longest > MOST_REPLACEMENT:
        raise _unsound(where, f"a sign that becomes {longest:,} bytes")


def _require_short(step: Mapping[str, Any], where: str) -> None:
    for name in ("single", "pair"):
        if isinstance(step.get(name, []), list) and len(step.get(name, [])) > MOST_STEPS:
            raise _unsound(where, f"a template of {len(step[name]):,} parts")
    special = step.get("special_tokens", {})
    entries = special.values() if isinstance(special, dict) else []
    if any(not isinstance(one, dict) or len(one.get("ids") or []) > MOST_STEPS for one in entries):
        raise _unsound(where, "a special token of many ids")


def _require_text(text: Any, where: str) -> str:
    if not isinstance(text, str) or len(text) > MOST_REPLACEMENT:
        raise _unsound(where, "a replacement that is long, or no text")
    return text


def _unsound(where: str, found: str) -> BadArtifact:
    return BadArtifact(
        f"A tokenizer must be one whose work grows with the text alone, got {found} ({where}). Train with the "
        "tokenizer of one of the known students."
    )
