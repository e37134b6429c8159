"""Define the tables that a night writes for every text: its prediction, or why it was refused.

Needs polars only: the images that score and index have no dataframely. `segments.parse` checks what is read of it.
"""

from collections import Counter

import polars as pl

from understudy.task import label_sets
from understudy.text.context import COLUMN, TURN_HASHES

PREDICTIONS = pl.Schema(
    {
        "id": pl.String(),
        "group": pl.String(),  # the id where the source names none
        "time": pl.String(),  # the text's own, as the source writes it; null where it names none
        "text": pl.String(),
        "content": pl.String(),  # SHA-256 of the text, after the turns before it where the card has context, hex
        "label": pl.String(),  # or the set of labels (`task/label_sets.py`), where a text may have several
        "probability": pl.Float64(),  # of the label, calibrated; of several the lowest, of none 1 less the highest
        "runner_up": pl.String(),  # the likeliest of the other labels; null for a text that has all
        "runner_up_probability": pl.Float64(),
        "threshold": pl.Float64(),  # probability at or above which a text gets the positive label; null where none has
        "version": pl.String(),  # of the bundle
        "generation": pl.Int64(),  # of current.json when the night's bundle was pinned
        "date": pl.String(),  # the night, YYYY-MM-DD
        "stage": pl.String(),  # what decided: "first", the first stage, or "student"
        "windows": pl.Int64(),  # 1 for a text that fits into the model at once
        "start": pl.Int64(),  # of a sentence: its first character in its text as the source has it; else null
        "end": pl.Int64(),  # the character after its last
        "scored_at": pl.String(),  # UTC, when the night's manifest was made, so that a re-run gives the same bytes
    }
)
OF_EACH = "probabilities"  # a column more, where a text may have several labels: of each, in the card's order
OF_SEVERAL = pl.Schema({**PREDICTIONS, OF_EACH: pl.List(pl.Float32())})
TURNS = pl.Schema(  # columns more, last of all, where the card of the bundle has context
    {
        COLUMN: pl.String(),  # what was read before the text; null where nothing was, or where a turn was forgotten
        TURN_HASHES: pl.List(pl.String()),  # of the turns' ids: no index and no person gets them
    }
)
REFUSED = pl.Schema(
    {
        "file": pl.String(),
        "row": pl.Int64(),
        "id": pl.String(),
        "reason": pl.String(),
        "detail": pl.String(),
        "is_fault": pl.Boolean(),
        "group": pl.String(),  # like that of a prediction, so that a group can be forgotten here too
    }
)
FORGOTTEN = "forgotten"  # the reason of a row that is no fault: somebody asked to forget its text


def is_of_several(table: pl.DataFrame) -> bool:
    """Whether predictions are of texts that may have several labels."""
    return OF_EACH in table.columns


def has_turns(table: pl.DataFrame) -> bool:
    """Whether what was read before each text stands beside it."""
    return COLUMN in table.columns


def are_of_turns(table: pl.DataFrame) -> bool:
    """Whether each context says by hashes of whose words it is; true where a table has none.

    Who is to be forgotten could not be found in another.

    >>> talk = pl.DataFrame({"context": ["Hi.", None], "turn_hashes": [["0" * 64], []]})
    >>> are_of_turns(talk), are_of_turns(talk.drop("turn_hashes")), are_of_turns(talk.reverse().fill_null("No."))
    (True, False, False)
    """
    there = [name for name in TURNS if name in table.columns]
    if len(there) < len(TURNS):
        return not there
    is_of_turns = (table[TURN_HASHES].list.len() > 0).fill_null(value=False)
    hashes = table[TURN_HASHES].filter(is_of_turns).explode()
    is_nobodys = table[COLUMN].is_not_null() & ~is_of_turns
    return not is_nobodys.any() and bool(hashes.str.contains(r"^[0-9a-f]{64}\z").fill_null(value=False).all())


def count_labels(table: pl.DataFrame) -> Counter[str]:
    """Count predictions by label: of several labels of a text each counts, and none of them is no label.

    >>> count_labels(pl.DataFrame({"label": ['["praise", "tip"]', '["tip"]', "[]"], "probabilities": [[0.9, 0.9]] * 3}))
    Counter({'tip': 2, 'praise': 1})
    """
    counted = Counter(table["label"].to_list())
    if not is_of_several(table):
        return counted
    each = Counter[str]()
    for labels, texts in counted.items():
        each.update(dict.fromkeys(label_sets.read(labels), texts))
    return each
