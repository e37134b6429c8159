"""The toy step gather: files in, numbers out."""

from pathlib import Path

from tests.toys.note import note
from understudy.runtime.shell import Out, Result
from understudy.task.card import load_card
from understudy.task.settings import NO_OVERRIDES, Overrides


def run(
    card: str,
    texts: str,
    labels: str,
    store: str,
    snapshot: Out,
    numbers: Out,
    extra: Out,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Count the lines of texts and labels.

    Args:
        card: the task card.
        texts: a file.
        labels: a file.
        store: not used.
        snapshot: the card.
        numbers: the counts.
        extra: a word.
        overrides: settings that this run changes, by section and name.
    """
    note("gather")
    for folder in (snapshot, numbers, extra):
        folder.mkdir()
    load_card(Path(card))
    (snapshot / "card.yaml").write_bytes(Path(card).read_bytes())
    counts = [len(Path(file).read_text().splitlines()) for file in (texts, labels)]
    (numbers / "numbers.txt").write_text(" ".join(map(str, counts)))
    (extra / "word.txt").write_text("word")
    return Result(headline=f"{counts[0]} texts", metrics={"texts": counts[0]})
