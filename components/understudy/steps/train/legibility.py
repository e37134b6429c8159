"""Say before training what of the texts the student's vocabulary does not read; refuse one that reads too little."""

from typing import TYPE_CHECKING, Any

from understudy.errors import BadSetting
from understudy.model.architectures import STUDENTS
from understudy.model.vocabulary import Example, Legibility, Vocabulary
from understudy.steps.train.config import TrainConfig
from understudy.text.numbers import clipped, count, listed, percent

if TYPE_CHECKING:
    import polars as pl

MOST_TEXTS = 2000  # whatever the texts are like, a share among so many is known to about two percent
MOST_SIGNS = 1_500  # of a text: about what 256 tokens hold; a footer or an attachment after it is hardly read
READS_EMOJI = ("ettin-32m", "modernbert", "mmbert-small")


def measure(tokenizer: Any, texts: "pl.Series") -> Legibility:
    """Measure how much a student's vocabulary reads of up to MOST_TEXTS texts, drawn at random.

    Args:
        tokenizer: of the student, as transformers has it.
        texts: as the student reads them, after their context where there is one.
    """
    drawn = texts.sample(min(MOST_TEXTS, len(texts)), seed=0).str.slice(0, MOST_SIGNS)
    return Vocabulary(tokenizer.backend_tokenizer).legibility(drawn.to_list())


def require_legible(found: Legibility, student: str, config: TrainConfig) -> None:
    """Refuse a student to which too much of the texts is unknown or broken up.

    Raises:
        BadSetting: the share of such signs is above `max_unread_share`.
    """
    if found.unread_share <= config.max_unread_share:
        return
    raise BadSetting(
        f"A student must read the texts: at most {percent(config.max_unread_share)} of their letters and signs may be "
        f"unknown to its vocabulary or broken up, got {_shares(found)} with '{student}'{_shown(found.worst)} (student, "
        f"train.max_unread_share). Name a student of many languages, {', '.join(_of_many_languages())}, or one of the "
        "texts' own from a folder or the hub; train.max_unread_share=1 goes on in any case."
    )


def notes(found: Legibility, student: str, config: TrainConfig) -> list[str]:
    """Say what of the texts is not read, a sentence each; nothing where that is little."""
    said = []
    if found.unread_share > config.told_unread_share:
        said.append(
            f"The vocabulary of '{student}' does not know, or breaks up, {_shares(found)} of the texts' letters and "
            f"signs{_shown(found.worst)}. Students of many languages are {listed(_of_many_languages())}."
        )
    if found.emoji_lost_share > config.told_emoji_share:
        said.append(
            f"{count(found.emoji_lost, 'text')} of the {found.texts:,} that were read lose an emoji, which '{student}' "
            f"does not know{_shown(found.emoji)}. {listed(READS_EMOJI)} read them."
        )
    return said


def _shares(found: Legibility) -> str:
    broken = found.unread_share - found.unknown_share
    return f"{percent(found.unread_share)} ({percent(found.unknown_share)} unknown, {percent(broken)} broken up)"


def _shown(example: Example | None) -> str:
    return f": '{clipped(example.text)}' is read as '{clipped(example.read)}'" if example else ""


def _of_many_languages() -> list[str]:
    return [name for name, origin in STUDENTS.items() if origin.languages == "many"]
