"""The toy step gather: files in, numbers out."""

from pathlib import Path

from tests.toys.note import note
from understudy.runtime.shell import Out, Result
from understudy.task.card import CARD_FILE, load_card
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
        texts: a file, or a folder of CSV.
        labels: a file, or a folder of CSV.
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
    (card_file,) = files_in(Path(card), CARD_FILE)
    (snapshot / CARD_FILE).write_bytes(card_file.read_bytes())
    counts = [
        sum(len(file.read_text().splitlines()) for file in files_in(Path(source), "*.csv"))
        for source in (texts, labels)
    ]
    (numbers / "numbers.txt").write_text(" ".join(map(str, counts)))
    (extra / "word.txt").write_text("word")
    return Result(headline=f"{counts[0]} texts", metrics={"texts": counts[0]})


def files_in(path: Path, pattern: str) -> list[Path]:
    """Return a file itself, or the files of a folder."""
    return sorted(path.glob(pattern)) if path.is_dir() else [path]
