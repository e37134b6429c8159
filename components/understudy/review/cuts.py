"""Cut the human-labelled texts in every way in which a slice could be named: by words, length, columns and time."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from understudy.stats.metrics import Bools
from understudy.text.normalise import word_counts

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

WORD = r"\b\w\w+\b"
CAPITAL = "İ"  # the one sign whose small letter is two signs; a pattern that ignores case finds it by itself alone
PARTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the texts, at which lengths and times are cut


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to tell some texts from the others.

    Attributes:
        name: as a slice could be called.
        keys: of the card's slice that holds these texts; none where a card cannot name them (time).
    """

    name: str
    keys: dict[str, Any]


def by_words(words: Sequence[str]) -> Cut:
    r"""Name the texts that hold a word, or two words in any order.

    >>> by_words(["late", "bus"])
    Cut(name='late + bus', keys={'pattern': '(?s)\\blate\\b.*\\bbus\\b|\\bbus\\b.*\\blate\\b'})
    """
    edged = [rf"\b{word}\b" for word in words]
    pattern = edged[0] if len(edged) == 1 else f"(?s){'.*'.join(edged)}|{'.*'.join(reversed(edged))}"
    return Cut(" + ".join(words), {"pattern": pattern})


def as_yaml(cut: Cut) -> str | None:
    r"""Write the slice as a line of the card's `slices`; none where a card cannot name it.

    >>> print(as_yaml(Cut("late", {"pattern": r"\blate\b"})))
    - {name: "late", pattern: "\\blate\\b"}
    """
    if not cut.keys:
        return None
    keys = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in cut.keys.items())
    return f"- {{name: {json.dumps(cut.name, ensure_ascii=False)}, {keys}}}"


@dataclass(frozen=True, slots=True)
class Cuts:
    """All ways to cut a table's texts.

    Attributes:
        words: the words, those of the first columns of `members`.
        others: the cuts of its last columns.
        members: which texts belong to each, shape (texts, words + others), sparse, 1 or 0.
    """

    words: tuple[str, ...]
    others: tuple[Cut, ...]
    members: "csc_matrix"

    def of(self, columns: Sequence[int]) -> Cut:
        """Return the cut of a column, or of the two words of two columns."""
        if columns[0] >= len(self.words):
            return self.others[columns[0] - len(self.words)]
        return by_words([self.words[column] for column in columns])

    def holds(self, columns: Sequence[int]) -> Bools:
        """Which texts belong to all of some columns. Shape (texts,)."""
        return np.asarray(self.members[:, list(columns)].toarray().all(axis=1))


def cuts_of(table: pl.DataFrame, columns: Sequence[str], least: int) -> Cuts:
    """Find the ways to cut a table; labels and answers play no part.

    Words are parted by blanks and signs: of a script without blanks only length, columns and time are searched.

    Args:
        table: column text, and time where there is one.
        columns: by whose values texts are told apart.
        least: fewest texts of a word, or of a column's value.
    """
    from scipy.sparse import csc_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(binary=True, analyzer=list, min_df=least, dtype=np.float64)
    try:
        counted = vectorizer.fit_transform(_words(table["text"]))
        words = tuple(vectorizer.get_feature_names_out().tolist())
    except ValueError:  # its way to say that no word is in `least` texts
        counted, words = csc_matrix((len(table), 0)), ()
    others = [*_by_length(table), *_by_column(table, columns, least), *_by_time(table)]
    rest = np.array([members for _, members in others], dtype=np.float64).reshape(len(others), len(table)).T
    return Cuts(words, tuple(cut for cut, _ in others), csc_matrix(hstack([counted, csc_matrix(rest)])))


def _words(texts: pl.Series) -> list[list[str]]:
    """Return each text's words, parted as a card's patterns see their edges.

    >>> _words(pl.Series(["A late İstanbul bus, a naïve one"]))
    [['late', 'İstanbul', 'bus', 'naïve', 'one']]
    """
    small = (CAPITAL.join(part.lower() for part in text.split(CAPITAL)) for text in texts)
    return pl.Series(small, dtype=pl.String).str.extract_all(WORD).to_list()


def _by_length(table: pl.DataFrame) -> Iterator[tuple[Cut, Bools]]:
    lengths = word_counts(table["text"]).astype(int)
    for limit in sorted(set(np.quantile(lengths, PARTS, method="lower").tolist())) if len(lengths) else ():
        yield Cut(f"at most {limit} words", {"max_words": limit}), lengths <= limit
        yield Cut(f"more than {limit} words", {"min_words": limit + 1}), lengths > limit


def _by_column(table: pl.DataFrame, columns: Sequence[str], least: int) -> Iterator[tuple[Cut, Bools]]:
    """Cut by the values that enough texts have: ids would be an array as long as the table each."""
    for column in columns:
        values = table[column].cast(pl.String)
        for value, texts in values.drop_nulls().value_counts().sort(column).iter_rows():
            if texts < least:
                continue
            yield (
                Cut(f"{column} {value}", {"column": column, "equals": value}),
                (values == value).fill_null(False).to_numpy(),
            )


def _by_time(table: pl.DataFrame) -> Iterator[tuple[Cut, Bools]]:
    """Cut at times, which are compared as they are written: ISO 8601, where days come in order."""
    times = table["time"].drop_nulls().sort() if "time" in table.columns else pl.Series(dtype=pl.String)
    for part in PARTS if len(times) else ():
        limit = times[int(part * (len(times) - 1))]
        for name, members in (("until", table["time"] <= limit), ("after", table["time"] > limit)):
            yield Cut(f"{name} {limit}", {}), members.fill_null(False).to_numpy()
