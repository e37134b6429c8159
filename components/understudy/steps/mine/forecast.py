"""Forecast what the step mine asks the teacher and people at most, and what that costs."""

from dataclasses import replace

import polars as pl

from understudy.runtime.forecasts import Forecast
from understudy.steps.mine import rules
from understudy.steps.mine.config import MineConfig
from understudy.teacher.labeller import Teacher
from understudy.text.numbers import count, usd
from understudy.text.seen import columns_of

REVIEW_S = 4.8 * 60  # a text, as the traveller-tips system measured (40 hours for 500)

NOTHING_LEFT = (
    "no text is left to ask about and no queue for people: label takes all of the pool (label.texts; fewer leave some)"
)
WHO = "those on which teacher and student differ"


def forecast(teacher: Teacher, config: MineConfig, unseen: pl.DataFrame) -> Forecast:
    """Return what asking about a draw of texts takes, and reviewing a full queue of them.

    Args:
        teacher: who is asked.
        config: how many texts are drawn and queued.
        unseen: texts that neither people nor the teacher has labelled by then.
    """
    if not len(unseen):
        return Forecast("mine", NOTHING_LEFT)
    drawn = rules.draw(unseen, config.texts, config.seed)
    texts = drawn.select("id", *columns_of(drawn), weight=pl.lit(1.0))
    asked = teacher.estimate(texts)
    capped = asked.within(rules.left_usd(config, teacher.stored(texts).table))
    queued = min(config.queue_size, len(drawn))
    ended = f", of which {usd(config.teacher_usd)} buy about {capped.to_ask:,} (mine.teacher_usd)"
    queue = f"a queue of at most {count(queued, 'text')} for people at 4.8 minutes each, often far fewer: {WHO}"
    reviewed = f"{ended if capped != asked else ''}, {queue}"
    return replace(capped.as_forecast("mine", people_s=queued * REVIEW_S), words=f"{asked.words}{reviewed}")
