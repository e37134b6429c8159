"""Review queues for tests, as the step mine makes them."""

from collections.abc import Mapping, Sequence

import polars as pl


def contested(rows: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Give texts the answers of a student and a teacher that disagree."""
    said = {
        "student_label": "tip",
        "student_probability": 0.9,
        "teacher_probability": 0.2,
        "teacher_label": "other",
        "disagreement": 0.7,
        "guideline": "g0123456789ab",
    }
    return pl.DataFrame(rows).with_columns(pl.lit(value).alias(name) for name, value in said.items())
