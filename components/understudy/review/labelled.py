"""Read labels of people with their texts from a user's files, for the check of a label design."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from understudy.data import forgetting, sources
from understudy.data.rows import Refusal
from understudy.errors import BadData
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.sections import ColumnsConfig
from understudy.text.numbers import clipped, count, reasons

COLUMNS = {"id": pl.String, "text": pl.String, "group": pl.String, "annotator": pl.String, "label": pl.String}


@dataclass(frozen=True, slots=True)
class Labelled:
    """People's votes.

    Attributes:
        votes: columns id, text, group and annotator (null where unknown) and label, as every table has it.
        notes: what was left out, and why.
    """

    votes: pl.DataFrame
    notes: tuple[str, ...]

    def without(self, forgotten: Forgotten) -> "Labelled":
        """Leave out all votes for texts that somebody asked to forget, and say how many texts these are."""
        gone = self.votes.filter(forgetting.is_forgotten(self.votes, forgotten))["id"].unique()
        if not len(gone):
            return self
        kept = self.votes.filter(~pl.col("id").is_in(gone.implode()))
        return replace(self, votes=kept, notes=(*self.notes, f"{count(len(gone), 'text')}: {forgetting.REASON}"))


def read(address: str, texts: str | None, card: Card) -> Labelled:
    """Read votes; a person's newest label for a text counts, and rows that nobody signed count one by one.

    Args:
        address: a file with label, and id or text; text, group and annotator where it has them.
        texts: a file with id and text, for a labels file without texts; None for none.
        card: for its labels, and what files call their columns.

    Raises:
        BadData: a file cannot be read, or holds no label of the card.
    """
    space, called = LabelSpace.of(card), card.settings().of(ColumnsConfig).called
    lists = ["label"] if space.is_many else []
    with sources.opened(
        address, ["id", "label"], ["text", "group", "annotator"], lists, called=called, makes_ids=True
    ) as source:
        table, refused = source.read(filled=["id"])
    given = table.drop_nulls("label")
    meant = space.of_cells(given["label"].to_list())
    unknown = [label for label, known in zip(given["label"], meant, strict=True) if known is None]
    missing = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in given.columns]
    votes = given.with_columns(pl.Series("label", meant, pl.String), *missing).drop_nulls("label").select(list(COLUMNS))
    if not len(votes):
        first = f", such as {space.no_label(clipped(unknown[0]))}" if unknown else ""
        raise BadData(f"A labels file must hold labels of the card, got none{first} ({address}). Mend the file.")
    notes = _notes(len(table) - len(given), unknown, refused)
    return Labelled(_with_texts(_newest(votes), texts, called), notes)


def _newest(votes: pl.DataFrame) -> pl.DataFrame:
    signed = votes.drop_nulls("annotator").unique(["id", "annotator"], keep="last", maintain_order=True)
    return pl.concat([signed, votes.filter(pl.col("annotator").is_null())])


def _with_texts(votes: pl.DataFrame, texts: str | None, called: Mapping[str, str]) -> pl.DataFrame:
    """Fill in texts and groups that the labels' own file does not have."""
    if texts is None:
        return votes
    with sources.opened(texts, ["id", "text"], ["group"], called=called, makes_ids=True) as source:
        known = source.read(filled=["id", "text"])[0].unique("id", keep="first", maintain_order=True)
    group = pl.col("group") if "group" in known.columns else pl.lit(None, pl.String)
    joined = votes.join(
        known.select("id", own_text="text", own_group=group), on="id", how="left", maintain_order="left"
    )
    filled = {name: pl.coalesce(name, f"own_{name}") for name in ("text", "group")}
    return joined.with_columns(**filled).select(list(COLUMNS))


def _notes(unlabelled: int, unknown: Sequence[str], refused: Sequence[Refusal]) -> tuple[str, ...]:
    said = [f"{count(unlabelled, 'row')} without a label"] if unlabelled else []
    if unknown:
        said.append(f"{count(len(unknown), 'label')} that the card does not have, such as '{clipped(unknown[0])}'")
    if refused:
        said.append(f"{count(len(refused), 'row')} refused: {reasons(Counter(row.reason for row in refused))}")
    return tuple(said)
