"""Name where the votes of people come from, as segments of human labels are named; no library is imported."""

from typing import Literal

Origin = Literal["labels", "queue", "second_look", "settle"]
QUEUE: Origin = "queue"
SECOND_LOOK: Origin = "second_look"
SETTLE: Origin = "settle"
ANSWERED = (QUEUE, SECOND_LOOK, SETTLE)  # of votes that people gave when they were asked
SITTING = "review"  # of a sitting of the review page, which grows
