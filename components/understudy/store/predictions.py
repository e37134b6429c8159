"""Define the tables that a night writes for every text: its prediction, or why it was refused.

Needs polars only: the images that score and index have no dataframely. `segments.parse` checks what is read of it.
"""

import polars as pl

PREDICTIONS = pl.Schema(
    {
        "id": pl.String(),
        "group": pl.String(),  # the id where the source names none
        "time": pl.String(),  # the text's own, as the source writes it; null where it names none
        "text": pl.String(),
        "content": pl.String(),  # SHA-256 of the text, after the turns before it where the card has context, hex
        "label": pl.String(),
        "probability": pl.Float64(),  # of the label, calibrated
        "runner_up": pl.String(),  # the likeliest of the other labels
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
