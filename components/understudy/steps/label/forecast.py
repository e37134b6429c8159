"""Forecast what the step label asks the teacher, and what that costs."""

import polars as pl

from understudy.runtime.forecasts import Forecast
from understudy.teacher.labeller import Teacher


def forecast(teacher: Teacher, held_out: pl.DataFrame, wanted: pl.DataFrame) -> Forecast:
    """Return what asking takes.

    Args:
        teacher: who is asked.
        held_out: texts of the test split, columns id, text and weight.
        wanted: those for training, likewise.
    """
    return (teacher.estimate(held_out) + teacher.estimate(wanted)).as_forecast("label")
