"""Parse what a search asks, the same for every index."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from understudy.errors import BadSetting
from understudy.task import label_sets

PHRASE = re.compile(r'"([^"]*)"|(\S+)')
MOST_RESULTS = 10_000
NO_LABEL = label_sets.written(())  # asks for texts that may have several labels, and have none


@dataclass(frozen=True, slots=True)
class Query:
    """A search.

    Attributes:
        phrases: each must occur in the text, its words side by side; none: every text.
        label: of the texts, or one of several that they have; `NO_LABEL` for those that have none, None for any.
        since: first day (UTC) on which the text was written; None for any.
        limit: most texts to return, the newest first.
    """

    phrases: tuple[str, ...] = ()
    label: str | None = None
    since: date | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What an index found.

    Attributes:
        total: how many texts.
        documents: those asked for; where a text may have several labels, `label` is a list of them.
        labels: texts of each label, the commonest first; a text that has several counts for each.
        without: texts that have none, where they may have several.
    """

    total: int
    documents: list[dict[str, object]]
    labels: Mapping[str, int] = field(default_factory=dict)
    without: int = 0


def parse(words: str, label: str | None = None, since: str | None = None, limit: int = 20) -> Query:
    """Read a query: every word must occur; words in double quotes must stand side by side.

    Raises:
        BadSetting: no word is among what is asked, `since` is no date, or the limit is out of range.

    >>> parse('late "check out" !').phrases
    ('late', 'check out')
    """
    if not 1 <= limit <= MOST_RESULTS:
        raise BadSetting(f"A search's limit must be 1 to {MOST_RESULTS:,}, got {limit} (--limit).")
    found = (quoted or plain for quoted, plain in PHRASE.findall(words))
    phrases = tuple(phrase for phrase in found if any(sign.isalnum() for sign in phrase))
    if words.strip() and not phrases:
        raise BadSetting(f"A search must hold a letter or a digit, got '{words}' (WORDS). Leave it out for every text.")
    return Query(phrases, label, None if since is None else _day(since), limit)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadSetting(f"A day must be written as 2026-11-01, got '{text}' (--since).") from error
