"""Forecast what the step label asks the teacher, and what that costs."""

import polars as pl

from understudy.runtime.forecasts import Forecast
from understudy.teacher.labeller import Teacher
from understudy.text.numbers import count


def forecast(teacher: Teacher, held_out: pl.DataFrame, wanted: pl.DataFrame) -> Forecast:
    """Return what asking takes.

    Args:
        teacher: who is asked.
        held_out: texts of the test split, columns id, text and weight.
        wanted: those for training, likewise.
    """
    asked = teacher.estimate(held_out) + teacher.estimate(wanted)
    return Forecast(
        "label",
        f"{asked.texts - asked.answered:,} of {count(asked.texts, 'text')} to ask ({asked.answered:,} answered)",
        asked.prompt_tokens + asked.completion_tokens,
        asked.cost_usd,
        asked.seconds,
    )
