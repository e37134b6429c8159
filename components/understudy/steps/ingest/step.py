"""Run the step ingest: read the user's files and the store's labels, divide them, write pool, gold and test."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from understudy.data import cards, sources
from understudy.data.listing import told, told_ids
from understudy.data.rows import Refusal
from understudy.data.sources import Source
from understudy.errors import BadCard, BadData, BadInput, BadSetting, together
from understudy.review import guidelines, labels
from understudy.review.labels import told_letters
from understudy.runtime.shell import Out, Result
from understudy.steps.ingest import reading, refusals, rules, splits
from understudy.steps.ingest import votes as vote_rules
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.refusals import Sorted
from understudy.steps.ingest.texts import MUST
from understudy.store import layout, tables, tombstones
from understudy.store.address import parse_address
from understudy.store.storage import Beaten, Store, contend, prepare_store
from understudy.store.tables import Split
from understudy.task.card import CARD_FILE, Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.settings import NO_OVERRIDES, Overrides, Settings, build_section


@dataclass(frozen=True, slots=True)
class Given:
    """Everything the step was given, looked at and found fit to be read."""

    card: Card
    card_text: str
    settings: Settings
    texts: Source
    labels: Source
    store: Store

    @property
    def config(self) -> IngestConfig:
        """The step's own settings."""
        return self.settings.of(IngestConfig)


@dataclass(frozen=True, slots=True)
class Read:
    """Sound texts and votes with what was refused of either, and how many rows the two files have.

    `sentences`: how many the texts have in all; None where they are taken whole. `in_other_letters`: labels of the file
    that are not written as the card has them. `split_of_files`: those that the labels files' names say.
    """

    texts: Sorted
    votes: Sorted
    text_rows: int
    label_rows: int
    sentences: int | None
    in_other_letters: int
    split_of_files: Mapping[str, Split]


def run(
    card: str,
    texts: str,
    labels: str,
    store: str,
    snapshot: Out,
    pool: Out,
    gold: Out,
    test: Out,
    refused: Out,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Read texts and human labels, refuse what cannot serve, and divide the rest with the test split behind a wall.

    Where the setting split says so, each sentence is a text of its own: its id is that of its text with "#" and its
    number, which is what human labels name, and its group that of its text, whose id stands for one that is missing.

    A faulty row is refused with its reason; a faulty file, card or store ends the run before anything is written, with
    all faults at once. Groups keep the split they once got; answers to review queues, which the store holds, go to
    train only; exact and near duplicates of a held-out text are refused everywhere else, and the texts of the card's
    must wherever they would teach.

    Args:
        card: the task card: a file, a snapshot folder, or its s3:// address.
        texts: texts with the columns id and text, and group, time and those that slices use: CSV, JSONL or Parquet; a
            file, a folder or an s3:// address. The section columns says what they are called there; without a column
            of ids, each text gets one that is made of it.
        labels: human labels with the columns id and label, and annotator, split and guideline where there are any;
            likewise. Where they have a column text, a label counts only beside its own text. Where a text may have
            several, they stand in one cell, as a list or with ; between them, and [] says none.
        store: the store, a folder or s3://bucket/prefix: splits, labels of earlier runs and answers to review queues.
        snapshot: the card as this run uses it (card.yaml).
        pool: texts that may be trained on and mined (texts.parquet).
        gold: human labels of train, validation and calibration (gold.parquet), and ids and content hashes of the test
            split (leakage_guard.parquet).
        test: human labels of the test split (gold.parquet).
        refused: refused rows with file, row and reason (refusals.parquet).
        overrides: settings that this run changes, by section and name.
    """
    with ExitStack() as stack:
        given = _look_at(stack, card, texts, labels, store, overrides)
        read = _read(given)
        digests = {"texts_sha256": given.texts.sha256, "labels_sha256": given.labels.sha256}
    division = _divided(given, read)
    passed_over = refusals.passed_over([given.texts, given.labels])
    all_refused = pl.concat([passed_over, read.texts.refused, read.votes.refused, division.refused])
    all_refused = all_refused.sort("file", "row", "reason")
    _remember(given, read)
    _write(division, given.card_text, snapshot, pool, gold, test)
    tables.write(all_refused, tables.Refusals, refused)
    metrics = rules.measure(division, all_refused, read.text_rows, given.card, read.sentences)
    said = rules.headline(metrics, all_refused, rules.label_shown(division.gold, given.card))
    more = [told(source.passed_over) for source in (given.texts, given.labels) if source.passed_over]
    more += _told_ids(given, read.texts.refused)
    if read.in_other_letters:
        metrics["labels_in_other_letters"] = read.in_other_letters
        more.append(told_letters(read.in_other_letters))
    more += [
        refusals.told_encoding(all_refused),
        splits.told_files(read.split_of_files, division.gave_way),
        splits.told_open(division.assigned),
    ]
    more += [splits.told_shared(division.assigned), rules.told_guidelines(metrics)]
    said = "; ".join(filter(None, [said, *more]))
    return Result(said, metrics, {"card": given.card.name, "card_hash": given.card.hash, **digests})


def _told_ids(given: Given, refused: pl.DataFrame) -> list[str]:
    """Say in which files ids were made of the texts, each once, and how many rows of the texts share one."""
    own = given.texts.without_ids
    beside = [name for name in given.labels.without_ids if name not in own]
    again = refused.filter(pl.col("file").is_in(own) & (pl.col("reason") == "duplicate_row"))
    return [*([told_ids(own, len(again))] if own else []), *([told_ids(beside)] if beside else [])]


def _look_at(stack: ExitStack, card: str, texts: str, labels: str, store: str, overrides: Overrides) -> Given:
    """Look at the card, both files and the store, and report all their faults together."""
    columns: list[str] = ["id", "text"]
    reading: dict[str, Any] = {"makes_ids": True}
    of_labels, lists = ["id", "label"], []
    with suppress(BadInput):  # what is wrong with the card is said below, beside the faults of the files
        said = cards.columns_said(card)
        columns, of_labels = ([], []) if said is None else (columns, of_labels)
        reading["called"] = build_section("columns", {**(said or {}), **overrides.of("columns")}, "columns.").called
        known = cards.read(card)[0]
        columns, lists = [*columns, *rules.columns_asked_for(known)], ["label"] * known.is_many
    (parsed, text, settings), text_source, label_source, opened = together(
        lambda: _settings(card, overrides),
        lambda: _opened(stack, "--texts", texts, columns, ["group", "time"], **reading),
        lambda: _opened(
            stack,
            "--labels",
            labels,
            of_labels,
            ["annotator", "split", "text", "guideline"],
            lists=lists,
            **reading,
        ),
        lambda: prepare_store(store),
    )
    return Given(parsed, text, settings, text_source, label_source, opened)


def _opened(
    stack: ExitStack, option: str, address: str, required: Sequence[str], optional: Sequence[str], **reading: Any
) -> Source:
    parse_address(address, option)
    return stack.enter_context(sources.opened(address, required, optional, **reading))


def _settings(address: str, overrides: Overrides) -> tuple[Card, str, Settings]:
    card, text = cards.read(address)
    if taken := sorted(set(rules.slice_columns(card)) & set(reading.RESERVED)):
        raise BadCard(f"A slice's column must have a name of its own, got {', '.join(taken)} (slices). Rename it.")
    settings = card.settings(overrides)
    config, own = settings.of(IngestConfig), card.settings().of(IngestConfig)
    rules.require_whole_texts(card, config)
    if (config.split, config.language) != (own.split, own.language):
        raise BadSetting(
            "How texts are split must stand in the card, where the nights find it, got another ingest.split or "
            "ingest.language for this run (--set). Write it into the card."
        )
    return card, text, settings


def _read(given: Given) -> Read:
    """Read both files and the store's votes; too many faults in either end the run, with the reasons of both."""
    labels.require_same_kind(given.store, given.card)
    read = reading.read_texts(given.texts, given.card, given.config, tombstones.read(given.store))
    stored = labels.read_all(given.store, given.card.name)
    stored = guidelines.by_only(stored, guidelines.known(given.store, given.card.name))
    newest = stored["segment"].n_unique()
    labels.require_no_export(given.labels)
    table, turned_away = given.labels.read(filled=["id", "label"], lenient=["text", "guideline"])
    turned_away = [replace(row, is_fault=row.is_fault and row.reason != rules.NO_LABEL) for row in turned_away]
    table, misplaced = _beside_their_text(table, read.texts.kept)
    turned_away += misplaced
    by_file = {} if "split" in table.columns else vote_rules.split_of_files(table["file"].unique().sort().to_list())
    table = vote_rules.in_split_of_file(table, by_file)
    votes = pl.concat([stored, labels.from_file(table, newest)]).with_columns(is_new=pl.col("segment") == newest)
    votes = vote_rules.looked_at(votes)
    is_split = read.sentences is not None
    space = LabelSpace.of(given.card)
    sound = vote_rules.sound(votes, read.texts, space, turned_away, is_split=is_split)
    sound = replace(sound, kept=vote_rules.with_guidelines(sound.kept, Guideline.of(given.card).hash))
    in_other_letters = space.in_other_letters(table["label"])
    rows = len(table) + len(turned_away)
    found = Read(read.texts, sound, read.rows, rows, read.sentences, in_other_letters, by_file)
    _require_few_faults(given, found, sound.refused)
    return found


def _beside_their_text(votes: pl.DataFrame, texts: pl.DataFrame) -> tuple[pl.DataFrame, list[Refusal]]:
    """Part the votes from those beside which the labels file has another text than the one of their id."""
    named = texts.select("id", "text").join(votes.select("id"), on="id", how="semi")
    is_other = labels.other_texts(votes, {identity: (text,) for identity, text in named.iter_rows()})
    detail = "the labels file has another text beside this id than the texts have"
    apart = votes.filter(is_other).select("file", "row", "id").iter_rows()
    return votes.filter(~is_other), [Refusal(file, row, name, "other_text", detail) for file, row, name in apart]


def _require_few_faults(given: Given, read: Read, refused_votes: pl.DataFrame) -> None:
    most = given.config.max_refused_share
    faults = refusals.too_many(given.texts.address, read.texts.refused, read.text_rows, most)
    faults += refusals.too_many(given.labels.address, refused_votes, read.label_rows, most)
    if faults:
        raise BadData(faults)


def _divided(given: Given, read: Read) -> rules.Division:
    """Divide, and keep the new groups' splits in the store; when another run was first there, divide again."""

    def divide() -> rules.Division:
        stored, key = splits.read(given.store, given.card.name)
        by_name = bool(read.split_of_files)
        texts, votes = read.texts.kept, read.votes.kept
        division = rules.divide(texts, votes, given.card, stored, given.config, is_split_by_name=by_name)
        _require_few_faults(given, read, pl.concat([read.votes.refused, division.refused]))
        refused = _refused_labels(read, division)
        rules.require_labels(division.gold, given.card, _least(given), refused, given.labels.address)
        if division.assigned and not splits.put(given.store, key, division.assigned):
            raise Beaten
        return division

    return contend(divide, "The splits of a card's groups", given.store.locate(layout.SPLITS.folder))


def _refused_labels(read: Read, division: rules.Division) -> pl.DataFrame:
    """Return why labels do not count; that a text stays out by its group or the card's must is no reason."""
    is_labelled = pl.col("id").is_in(read.votes.kept["id"].implode())
    return pl.concat(
        [read.votes.refused, division.refused.filter(is_labelled & ~pl.col("reason").is_in(["group_held_out", MUST]))]
    )


def _least(given: Given) -> dict[Split, dict[str, int]]:
    ours = {"ingest.min_per_label": given.config.min_per_label}
    both = {**ours, "calibrate.min_per_label": given.settings.value("calibrate.min_per_label")}
    return {"validation": ours, "calibration": both, "test": ours}


def _remember(given: Given, read: Read) -> None:
    """Keep the card and the file's sound votes in the store; the same ones are kept once.

    A split that only the name of a file said is not kept with them: the splits of their groups are.
    """
    name = given.card.name
    votes = read.votes.kept.filter("is_new")
    votes = votes.with_columns(split=pl.lit(None, pl.String)) if read.split_of_files else votes
    labels.put(given.store, name, votes, "labels")
    given.store.put_if_absent(layout.CARDS.key(card=name, name=given.card.hash), given.card_text.encode())


def _write(division: rules.Division, card_text: str, snapshot: Path, pool: Path, gold: Path, test: Path) -> None:
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / CARD_FILE).write_text(card_text, encoding="utf-8")
    is_test = pl.col("split") == "test"
    tables.write(division.pool, tables.Texts, pool)
    tables.write(division.gold.filter(~is_test), tables.Gold, gold)
    tables.write(division.guard, tables.LeakageGuard, gold)
    tables.write(division.gold.filter(is_test), tables.Gold, test)
