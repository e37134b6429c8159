"""Settings of label."""

from dataclasses import dataclass

from understudy.task.settings import require


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """Which texts the teacher is asked for, and how; mine asks its teacher by the same settings.

    Attributes:
        texts: texts to draw from the pool, about half of them those that the weak rules call positive.
        seed: another seed draws other texts; a larger `texts` with the same seed only adds to them.
        concurrency: requests that are sent and not yet in the store, at most; fewer on a server that is slow.
        logprobs: ask for token log-probabilities, which become the teacher's probabilities where the server gives them.
        rationale: ask for one short sentence of reason beside each label; it costs about 30 tokens a text.
        max_answer_tokens: most tokens of one answer; raise it for models that think before they answer.
        timeout_s: seconds after which a server is slow: fewer texts are asked at once. A late answer is waited for as
            long as others come, or eight times as long.
        max_tries: tries a text when the server is busy (429) or fails; then the text counts as failed.
        max_wait_s: longest Retry-After, in seconds, that is waited for; beyond it the text counts as failed.
        max_failed_share: in [0, 1]; the step fails when a larger share of the texts has no answer.
        flush_s: seconds after which the store's small segments of answers are merged; each answer is there at once.
        min_answers: fewest answered texts of the draw to go on with when the budget is spent.
    """

    texts: int = 2000
    seed: int = 0
    concurrency: int = 8
    logprobs: bool = True
    rationale: bool = False
    max_answer_tokens: int = 200
    timeout_s: float = 60.0
    max_tries: int = 6
    max_wait_s: float = 300.0
    max_failed_share: float = 0.05
    flush_s: float = 5.0
    min_answers: int = 100

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("texts", "concurrency", "max_answer_tokens", "max_tries", "min_answers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        require(self.concurrency <= 256, f"concurrency must be at most 256, got {self.concurrency}.")
        for name in ("timeout_s", "max_wait_s", "flush_s"):
            require(getattr(self, name) > 0, f"{name} must be more than 0 seconds, got {getattr(self, name)}.")
        require(0 <= self.max_failed_share <= 1, f"max_failed_share must be in [0, 1], got {self.max_failed_share}.")
