"""Estimate what an answer of the teacher costs where nobody says what its answers did cost."""

from collections.abc import Sequence

import numpy as np

from understudy.task.card import Card
from understudy.task.sections import TeacherConfig
from understudy.teacher.budget import price_usd
from understudy.teacher.prompt import estimate_completion_tokens, estimate_prompt_tokens, prompts_of


def usd_an_answer(card: Card, texts: Sequence[str]) -> float:
    """Return the mean price of a text in dollars, over all wordings, by the card's prices and mode, four signs a token.

    Args:
        card: the task.
        texts: that are asked about, at least one.
    """
    prompts, config = prompts_of(card), card.settings().of(TeacherConfig)
    tokens = float(np.mean([sum(estimate_prompt_tokens(prompt, text) for prompt in prompts) for text in texts]))
    share = config.batch_price if config.mode == "batch" else 1.0
    return share * price_usd(card.teacher, round(tokens), sum(map(estimate_completion_tokens, prompts)))
