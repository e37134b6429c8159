"""Define the settings that several steps share, each a section of the card of its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from understudy.task.settings import require

LONGEST_COLUMN = 200


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """How the teacher is asked, by every step that asks it; the card's section also says who it is and what it costs.

    Attributes:
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
        mode: "chat" asks for one text at a time; "batch" puts all of them into batches of the server, which cost less
            and may take a day.
        batch_price: share of the card's prices that an answer in a batch costs.
        batch_poll_s: seconds between two looks at a batch under way.
    """

    concurrency: int = 8
    logprobs: bool = True
    rationale: bool = False
    max_answer_tokens: int = 200
    timeout_s: float = 60.0
    max_tries: int = 6
    max_wait_s: float = 300.0
    max_failed_share: float = 0.05
    flush_s: float = 5.0
    mode: Literal["chat", "batch"] = "chat"
    batch_price: float = 0.5
    batch_poll_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        for name in ("concurrency", "max_answer_tokens", "max_tries"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        require(self.concurrency <= 256, f"concurrency must be at most 256, got {self.concurrency}.")
        for name in ("timeout_s", "max_wait_s", "flush_s", "batch_poll_s"):
            require(getattr(self, name) > 0, f"{name} must be more than 0 seconds, got {getattr(self, name)}.")
        require(0 < self.batch_price <= 1, f"batch_price must be above 0 and at most 1, got {self.batch_price}.")
        require(0 <= self.max_failed_share <= 1, f"max_failed_share must be in [0, 1], got {self.max_failed_share}.")


@dataclass(frozen=True, slots=True)
class CascadeConfig:
    """What the first stage, which settles obvious texts of one label before the student, may lose and must save.

    Attributes:
        max_missed: most of all texts, as a share, that the first stage may settle although the student would give them
            another label, with 95% confidence for texts like the pool's, where groups that lose texts hold no more
            texts of other labels than others that have some (docs/decisions/0008-first-stage.md); 0 for no first stage.
        checked_share: of the settled texts, scored by the student too, so that watch sees what is lost, also where
            max_missed trusts too much.
        min_settled: share of all texts that the first stage must settle to be worth its time, which is about a
            hundredth of the smallest student's; below it the bundle has none.
    """

    max_missed: float = 0.005
    checked_share: float = 0.01
    min_settled: float = 0.05

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(0 <= self.max_missed < 0.5, f"max_missed must be at least 0 and below 0.5, got {self.max_missed}.")
        require(0 <= self.checked_share <= 1, f"checked_share must be 0 to 1, got {self.checked_share}.")
        require(0 < self.min_settled < 1, f"min_settled must be between 0 and 1, got {self.min_settled}.")


@dataclass(frozen=True, slots=True)
class ColumnsConfig:
    """What people's files of texts and labels call their columns; a file that has ours is read by these.

    Attributes:
        id: of the column with each text's name; a file without one gets names made from the texts.
        text: of the column with the texts.
        label: of the column with people's labels.
        group: of the column that says which texts belong together, such as a thread or an author.
        time: of the column that says when a text was written.
        annotator: of the column that says who gave a label.
        split: of the column that says in which split a text must be.
    """

    id: str = "id"
    text: str = "text"
    label: str = "label"
    group: str = "group"
    time: str = "time"
    annotator: str = "annotator"
    split: str = "split"

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        said = asdict(self)
        for name, column in said.items():
            require(bool(column.strip()), f"{name} must be the name of a column, got {column!r}.")
            require(
                len(column) <= LONGEST_COLUMN, f"{name} must have at most {LONGEST_COLUMN} signs, got {len(column):,}."
            )
        taken: dict[str, str] = {}
        for name, column in said.items():
            other = taken.setdefault(column, name)
            require(other == name, f"{name} must be another column than {other}, got '{column}' for both.")

    @property
    def called(self) -> Mapping[str, str]:
        """What the files call our columns, where it is another name.

        >>> ColumnsConfig(text="body").called
        {'text': 'body'}
        """
        return {name: column for name, column in asdict(self).items() if column != name}
