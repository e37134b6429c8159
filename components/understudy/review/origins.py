"""Name where the votes of people come from, as segments of human labels are named; no library is imported."""

from typing import Literal

Origin = Literal["labels", "queue", "second_look", "settle"]
ANSWERED: tuple[Origin, ...] = ("queue", "second_look", "settle")  # of votes that people gave when they were asked
SITTING = "review"  # of a sitting of the review page, which grows
