"""Divide texts and human votes into pool and gold, with the test split behind a wall.

Tables go in and come out; nothing is dropped in silence: every text ends in the pool, in gold or among the refusals.
`votes` says what people's labels count, `splits` where a group belongs, `texts` where a text goes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from understudy.data.rows import Refusal
from understudy.errors import BadCard, TooFewLabels
from understudy.review import guidelines, labels
from understudy.review.labels import tally
from understudy.stats.metrics import Floats, label_counts, of_label
from understudy.steps.ingest import texts as text_rules
from understudy.steps.ingest import votes as vote_rules
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.splits import MOST_GUARDED_FIRST, Assignment, assign
from understudy.store.tables import Gold, LeakageGuard, Split, Texts
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.text.context import COLUMN, TURN_HASHES
from understudy.text.numbers import count, few, listed

NO_LABEL = "empty_label"  # of a text that nobody has labelled yet: its row says nothing, and nothing wrong


@dataclass(frozen=True, slots=True)
class Division:
    """What the texts and votes became.

    Attributes:
        pool: texts that may be trained on and mined.
        gold: labelled texts of all four splits.
        guard: ids and content hashes of all texts of the test split's groups.
        refused: texts and votes that are in neither.
        assigned: splits of the groups that the store did not know.
        gave_way: labels whose file is called like another split than the one that their group is in for good.
    """

    pool: pl.DataFrame
    gold: pl.DataFrame
    guard: pl.DataFrame
    refused: pl.DataFrame
    assigned: Mapping[str, Assignment]
    gave_way: int = 0


def slice_columns(card: Card) -> list[str]:
    """Return the columns of the texts that the card's slices read."""
    return list(dict.fromkeys(part.column for part in card.slices if part.column))


def columns_asked_for(card: Card) -> list[str]:
    """Return the columns of the texts, beside id and text, that the card cannot do without."""
    return [*slice_columns(card), *(card.context.columns if card.context else ())]


def require_whole_texts(card: Card, config: IngestConfig) -> None:
    """Refuse to split texts of a card with context: a turn is a row.

    Raises:
        BadCard: both are asked for.
    """
    if card.context is not None and config.split != "none":
        raise BadCard(
            f"A card with context must leave its texts whole, got ingest.split '{config.split}'. Take one out."
        )


def divide(
    texts: pl.DataFrame,
    votes: pl.DataFrame,
    card: Card,
    stored: Mapping[str, Assignment],
    config: IngestConfig,
    *,
    is_split_by_name: bool = False,
) -> Division:
    """Assign groups to splits, decide labels, and part the pool from what is held out.

    Args:
        texts: sound texts, one row an id.
        votes: sound votes of all segments.
        card: its labels and slices.
        stored: assignments of earlier runs.
        config: shares, thresholds and seed.
        is_split_by_name: this run's votes have the splits that their files are called.
    """
    guideline, space = Guideline.of(card).hash, LabelSpace.of(card)
    ranked = guidelines.ranked(vote_rules.with_first_said(votes), guideline)
    votes = vote_rules.of_two_origins(labels.current(ranked, "guideline"))
    votes = votes.join(texts.select("id", "group", "content", "order"), on="id").sort("order")
    order = vote_rules.scarcest_first(votes, space)
    is_sought = card.positive_label is not None
    assigned = assign(vote_rules.groups(votes, order, space), stored, config, is_first_apart=is_sought)
    splits = {name: item.split for name, item in {**stored, **assigned}.items()}
    shared = [name for name, item in {**stored, **assigned}.items() if item.by == "shared"]
    votes = votes.with_columns(in_split=_split_of_group(splits))
    placed = vote_rules.in_their_split(votes, shared, is_by_name=is_split_by_name)
    looked = vote_rules.looked_at_again(placed.kept)
    guarded = vote_rules.guarded(looked.kept)
    newest = vote_rules.by_newest_guideline(guarded.kept)
    decided = vote_rules.decided(newest.kept, space)
    gold = texts.join(decided.kept, on="id").sort("order")
    texts = texts.with_columns(split=_split_of_group(splits))
    parted = text_rules.part(
        texts, gold, config.near_duplicate, is_folded=config.fold_near_duplicates, contract=card.contract
    )
    return Division(
        pool=_with_slices(parted.pool, list(Texts.column_names()), card),
        gold=_with_slices(parted.gold, _columns_of(parted.gold, guideline), card),
        guard=texts.filter(pl.col("split") == "test").select(LeakageGuard.column_names()),
        refused=pl.concat(
            [placed.refused, looked.refused, guarded.refused, newest.refused, decided.refused, parted.refused]
        ),
        assigned=assigned,
        gave_way=int(placed.kept["gives_way"].sum()),
    )


def _split_of_group(splits: Mapping[str, str]) -> pl.Expr:
    return pl.col("group").replace_strict(list(splits), list(splits.values()), default=None, return_dtype=pl.String)


def _columns_of(gold: pl.DataFrame, guideline: str) -> list[str]:
    """Name gold's columns; the guideline only where not all are by the card's."""
    others = (pl.col("guideline") != guideline).fill_null(value=True)
    return [*Gold.column_names(), *(["guideline"] if gold.select(others.any()).item() else [])]


def _with_slices(table: pl.DataFrame, columns: list[str], card: Card) -> pl.DataFrame:
    context = [COLUMN, TURN_HASHES] if card.context else []
    return table.select(list(dict.fromkeys([*columns, *context, *slice_columns(card)])))


def require_labels(
    gold: pl.DataFrame,
    card: Card,
    least: Mapping[Split, Mapping[str, int]],
    refused: pl.DataFrame,
    where: str,
) -> None:
    """Check that each held-out split has enough labels to do its job, and that people gave each label at all.

    What a split must hold enough of is the label that is looked for, else the commonest, and all others together; where
    a text may have several, texts with and without the one that sets most texts apart, as calibrate asks for.

    Args:
        gold: labelled texts of all splits.
        card: the task.
        least: fewest of either in each held-out split, by the setting that asks for it.
        refused: refusals of labels, counted in the message.
        where: the labels file, in the message.

    Raises:
        TooFewLabels: one sentence a split, one about labels that nobody gave, and one about those that were refused.
    """
    faults = [*_short_splits(gold, card, least, where)]
    given = {name for label in gold["label"].unique() for name in LabelSpace.of(card).names_in(label)}
    if absent := [name for name in card.label_names if name not in given]:
        faults.append(
            f"People must have given each label of the card at least once, got none of {few(absent)} of {len(gold)} "
            f"usable labels ({where}). Label texts of each, or take the label out of the card."
        )
    if faults:
        listed = tally([Refusal(*row) for row in refused.iter_rows()])
        why = f"Of the labels {len(refused):,} were refused ({where}): {listed}. Mend or settle these to use them."
        raise TooFewLabels([*faults, why] if len(refused) else faults)


def _short_splits(
    gold: pl.DataFrame, card: Card, least: Mapping[Split, Mapping[str, int]], where: str
) -> Iterator[str]:
    """Write a sentence for each held-out split with too few labels."""
    own = card.positive_label or _telling(gold, card)
    rest = [name for name in card.label_names if name != own]
    other = f"not {own}" if card.is_many else rest[0] if len(rest) == 1 else "other labels"
    rule = f"human labels with '{own}' and without it" if card.is_many else "human labels of each label"
    for split in reversed(MOST_GUARDED_FIRST[:-1]):
        of_split = gold.filter(pl.col("split") == split)
        number = _texts_with(of_split, own, card)
        got = [(number, own), (len(of_split) - number, other)]
        if broken := [name for name, asked in least[split].items() if min(got)[0] < asked]:
            asked = max(least[split].values())
            is_last = len(rest) == 1 and card.label_names[-1] == own
            listed = " and ".join(f"{number} '{name}'" for number, name in (got[::-1] if is_last else got))
            yield (
                f"The {split} split must hold at least {asked} {rule}, got {listed} of {len(gold)} usable labels in "
                f"all ({where}). Label more texts, give the split a larger share (or, where the split column fills "
                f"it, more rows), or lower {' and '.join(broken)}."
            )


def _commonest(gold: pl.DataFrame, card: Card) -> str:
    return card.label_names[int(_texts_of(gold, card).argmax())]


def _telling(gold: pl.DataFrame, card: Card) -> str:
    """Return the commonest label; where a text may have several, one that nearly all have tells little of them."""
    texts = _texts_of(gold, card)
    return card.label_names[int((np.minimum(texts, len(gold) - texts) if card.is_many else texts).argmax())]


def _texts_of(gold: pl.DataFrame, card: Card) -> Floats:
    """Count the texts that have each label, shape (labels,)."""
    codes = LabelSpace.of(card).codes(gold["label"])
    return label_counts(codes, codes, len(card.labels)).true


def _texts_with(gold: pl.DataFrame, name: str, card: Card) -> int:
    """Count the texts that have a label."""
    space = LabelSpace.of(card)
    return int(of_label(space.codes(gold["label"]), space.index(name)).sum())


def measure(
    division: Division, refused: pl.DataFrame, rows: int, card: Card, sentences: int | None = None
) -> dict[str, float]:
    """Count what came out.

    Args:
        division: pool and gold.
        refused: all refusals.
        rows: rows of the texts files.
        card: its labels and budget.
        sentences: of all texts; None where these are taken whole.

    Returns:
        counts, and the share of the label that is looked for (of the commonest where there is none) among all human
        labels and in the test split.
    """
    gold, own = division.gold, label_shown(division.gold, card)
    sizes: dict[str, float] = {
        split: len(gold.filter(pl.col("split") == split)) for split in reversed(MOST_GUARDED_FIRST)
    }
    test = gold.filter(pl.col("split") == "test")
    shown = "positive" if card.positive_label else "commonest"
    reasons = refused.group_by("reason").len().sort("reason").iter_rows()
    return {
        "texts": rows if sentences is None else sentences,
        **({} if sentences is None else {"source_texts": rows}),
        "pool": len(division.pool),
        "labels": len(gold),
        **sizes,
        f"{shown}_share": _share(gold, own, card),
        f"{shown}_share_test": _share(test, own, card),
        **by_other_guidelines(gold, Guideline.of(card).hash),
        "labels_over_budget": max(0, len(gold) - card.budget.human_labels),
        "refused": len(refused),
        "faults": int(refused["is_fault"].sum()),
        **{f"refused_{reason}": count for reason, count in reasons},
    }


def by_other_guidelines(gold: pl.DataFrame, guideline: str) -> dict[str, int]:
    """Count the labels by other guidelines than the card's, and those by none that is known; no count that is 0.

    >>> by_other_guidelines(pl.DataFrame({"guideline": ["g1", "g2", "g2", None]}), "g1")
    {'labels_by_older_guideline': 2, 'labels_by_unknown_guideline': 1}
    """
    if "guideline" not in gold.columns:
        return {}
    older, unknown = guidelines.by_others(gold["guideline"], guideline)
    counts = {"labels_by_older_guideline": older, "labels_by_unknown_guideline": unknown}
    return {name: number for name, number in counts.items() if number}


def told_guidelines(metrics: Mapping[str, float]) -> str:
    """Say how many labels are not by the card's guideline; empty where all are.

    >>> told_guidelines({"labels": 40, "labels_by_older_guideline": 12})
    '12 labels by an older guideline (`understudy labels outdated` lists them)'
    """
    older, unknown = (int(metrics.get(f"labels_by_{which}_guideline", 0)) for which in ("older", "unknown"))
    parts = [f"{count(older, 'label')} by an older guideline"] if older else []
    parts += [f"{count(unknown, 'label')} by an unknown one"] if unknown else []
    return f"{listed(parts)} (`understudy labels outdated` lists them)" if parts else ""


def label_shown(gold: pl.DataFrame, card: Card) -> str:
    """Return the label whose share is told: the one that is looked for, else the commonest."""
    return card.positive_label or _commonest(gold, card)


def headline(metrics: Mapping[str, float], refused: pl.DataFrame, label: str) -> str:
    """Write the step's line: "2,120 texts (2,095 in the pool), 1,040 labels (test 420, 10% tip), 0 refused".

    Refusals follow with their reasons, faults apart: "12 refused (9 leakage; 3 faulty: 3 empty_text)". Where texts were
    split it begins "2,120 sentences of 410 texts". Rows of texts that nobody has labelled yet are no refusals.
    """
    is_open = ~pl.col("is_fault") & (pl.col("reason") == NO_LABEL)
    unlabelled, refused = len(refused.filter(is_open)), refused.filter(~is_open)
    parts = [_most_frequent(refused.filter(~pl.col("is_fault")))]
    faults = refused.filter("is_fault")
    parts.append(f"{len(faults):,} faulty: {_most_frequent(faults)}" if len(faults) else "")
    reasons = "; ".join(filter(None, parts))
    share = metrics.get("positive_share_test", metrics.get("commonest_share_test", 0.0))
    split = f" sentences of {metrics['source_texts']:,}" if "source_texts" in metrics else ""
    return (
        f"{metrics['texts']:,}{split} texts ({metrics['pool']:,} in the pool), {metrics['labels']:,} labels "
        f"(test {metrics['test']:,}, {share:.0%} {label}), {len(refused):,} refused"
        + (f" ({reasons})" if reasons else "")
        + (f", {count(unlabelled, 'row')} without a label yet" if unlabelled else "")
    )


def _most_frequent(refused: pl.DataFrame, shown: int = 3) -> str:
    """Write the most frequent reasons: "925 duplicate_text, 25 near_duplicate, 4 leakage, ..."."""
    counts = refused.group_by("reason").len().sort("len", "reason", descending=[True, False]).rows()
    listed = [f"{count:,} {reason}" for reason, count in counts[:shown]]
    return ", ".join([*listed, "..."] if len(counts) > shown else listed)


def _share(gold: pl.DataFrame, name: str, card: Card) -> float:
    return _texts_with(gold, name, card) / max(1, len(gold))
