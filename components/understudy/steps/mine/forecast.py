"""Forecast what the step mine asks the teacher and people at most, and what that costs."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from understudy.review.labels import typical_s
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


def review_s(seconds: Sequence[float]) -> tuple[float, str]:
    """Return how long people take for a text, in seconds, and in words: as they were measured, if often enough.

    Args:
        seconds: measured, of each answer.

    >>> review_s([20.0, 30.0, 4000.0] * 10), review_s([20.0])
    ((30.0, '30 seconds each (the median of 30 answers)'), (288.0, '4.8 minutes each'))
    """
    typical = typical_s(seconds)
    if typical is None:
        return REVIEW_S, f"{REVIEW_S / 60:g} minutes each"
    return typical, f"{typical:,.0f} seconds each (the median of {count(len(seconds), 'answer')})"


def forecast(teacher: Teacher, config: MineConfig, unseen: pl.DataFrame, seconds: Sequence[float] = ()) -> Forecast:
    """Return what asking about a draw of texts takes, and reviewing a full queue of them.

    Args:
        teacher: who is asked.
        config: how many texts are drawn and queued.
        unseen: texts that neither people nor the teacher has labelled by then.
        seconds: that people took for each answer of which that is known.
    """
    if not len(unseen):
        return Forecast("mine", NOTHING_LEFT)
    drawn = rules.draw(unseen, config.texts, config.seed)
    texts = drawn.select("id", *columns_of(drawn), weight=pl.lit(1.0))
    is_asked = config.strategy in rules.ASKING
    texts = texts if is_asked else texts.clear()
    asked = teacher.estimate(texts)
    capped = asked.within(rules.left_usd(config, teacher.stored(texts).table))
    queued = min(config.queue_size, len(drawn))
    ended = f", of which {usd(config.teacher_usd)} buy about {capped.to_ask:,} (mine.teacher_usd)"
    each_s, each = review_s(seconds)
    who = f"often far fewer: {WHO}" if is_asked else f"by {config.strategy}"
    queue = f"a queue of at most {count(queued, 'text')} for people at {each}, {who}"
    reviewed = f"{ended if capped != asked else ''}, {queue}"
    told = capped.as_forecast("mine", people_s=queued * each_s)
    return replace(told, words=f"{asked.words}{reviewed}", role=teacher.identity.role)
