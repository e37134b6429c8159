"""Run the step revise: let the card's editor mend the kinds of errors that people's labels show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from understudy.errors import BadInput
from understudy.progress import say
from understudy.reports import revision as page
from understudy.runtime.shell import In, Out, Result
from understudy.steps.revise import rules, summary
from understudy.steps.revise.config import ReviseConfig
from understudy.store import codecs, tables, tombstones
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.teacher.answers import teacher_answers
from understudy.teacher.client import place_of
from understudy.teacher.labeller import Teacher, open_judges
from understudy.teacher.revision import Examples, RevisionPrompt, revision_prompt
from understudy.text.numbers import count, usd
from understudy.text.seen import asked_of, columns_of

RECORD_FILE, PAGE_FILE = "revise.json", "revise.md"


def run(
    card: In,
    pool: In,
    gold: In,
    judgements: In,
    audit: In,
    revised: Out,
    store: str,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Let the card's editor revise the teacher's answers, one kind of error at a time.

    Of each kind the editor is first asked about human-labelled training texts. Only where it is right there more often
    than the teacher, by a paired test, is it asked about the pool's texts of that kind, those in doubt first, as far as
    its own budget reaches. Its answers are kept as they arrive and never asked for twice. All other judgements go on
    as they are; so do all of them on a card without an editor, and it is said why.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels; those of the train split alone are read.
        judgements: the teacher's answers.
        audit: what the audit measured of the teacher; it names the slices.
        revised: judgements.parquet, where a revised one is of the editor and says what the teacher said; revise.json,
            and the same for people as revise.md.
        store: folder or s3:// that keeps the editor's answers.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics categories (kinds of errors tried), accepted (of these), revised (judgements that are the editor's now),
        changed (of these, with another label), unshown (changes that were not taken, as the text lacks the words that
        should show the error), unanswered (texts without a usable answer, or beyond the budget); asked, from_store,
        failed and cost_usd of this run, and spent_usd of all runs.

    Raises:
        BadInput: no server, no key or a wrong one, or a rehearsal would revise bought answers; nothing was spent.
        TeacherError: the editor's answers are of no use.
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config = settings.of(ReviseConfig)
    judged = tables.read(judgements, tables.Judgements)
    found = codecs.read_document(audit / "audit.json", "audit")
    keep = prepare_store(store)
    desk = _Desk.lay(task, config, judged, pool, gold, keep)
    kinds = rules.candidates(desk.human, rules.slices_of(task, found), task, config)
    reason = summary.why_none(task, config, kinds)
    revision = summary.NONE if reason else _revise(desk, kinds, keep, settings.of(TeacherConfig))
    table = _merged(judged, [one.rows for one in revision.outcomes if one.rows is not None])
    record = summary.record(task, config, revision, reason, len(judged))
    tables.write(table, tables.Judgements, revised)
    codecs.write_document(revised / RECORD_FILE, record)
    (revised / PAGE_FILE).write_text(page.page(record), encoding="utf-8")
    figures = summary.metrics_of(record, revision)
    for why in (why for one in revision.outcomes for judged in one.judged for why in judged.reasons()):
        say(f"revise: no answer for {why}.")
    return Result(headline=summary.headline(record, figures), metrics=figures)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the step works with.

    Attributes:
        card: the task.
        config: the step's settings.
        judges: who gave the answers.
        human: training texts with people's labels and the teacher's.
        texts: the pool's other texts with the teacher's labels.
        is_rehearsal: whether a rehearsal teacher gave any of them.
    """

    card: Card
    config: ReviseConfig
    judges: tuple[str, ...]
    human: pl.DataFrame
    texts: pl.DataFrame
    is_rehearsal: bool

    @classmethod
    def lay(
        cls, card: Card, config: ReviseConfig, judged: pl.DataFrame, pool: Path, gold: Path, store: Store
    ) -> "_Desk":
        """Join the teacher's answers with the texts that it is about, without those that were forgotten since.

        Answers to review queues are left out: their texts were chosen because student and teacher disagree.
        """
        said = teacher_answers(judged, card).join(judged.select("id", "weight"), on="id")
        forgotten = tombstones.read(store)
        people = forgotten.without(tables.read(gold, tables.Gold))
        human = people.filter(pl.col("split").cast(pl.String) == "train", pl.col("origin").cast(pl.String) == "labels")
        texts = forgotten.without(tables.read(pool, tables.Texts)).join(people, on="id", how="anti")
        return cls(
            card,
            config,
            tuple(sorted(set(judged["judge"]))),
            human.join(said, on="id").sort("id"),
            texts.join(said, on="id").sort("id"),
            bool(judged["is_rehearsal"].any()),
        )


def _revise(desk: _Desk, kinds: Sequence[rules.Category], store: Store, asking: TeacherConfig) -> summary.Revision:
    """Test every kind of errors, then ask about the texts of those that passed."""
    editor = desk.card.acting("editor")
    config = replace(asking, logprobs=False, rationale=False, mode="chat", max_failed_share=1.0)
    parts = [rules.part(desk.human, kind, desk.config) for kind in kinds]
    prompts = {kind.name: _prompt(desk, editor, kind, one) for kind, one in zip(kinds, parts, strict=True)}
    with open_judges(editor, store, config, prompts) as teachers:
        _require_alike(desk, teachers[0])
        texts = sum(len(one.proof) for one in parts)
        say(
            f"revise: {count(len(kinds), 'kind')} of errors to test on {count(texts, 'human-labelled text')}, "
            f"{_money(teachers[0], editor)} spent so far; {place_of(editor.teacher).words}."
        )
        outcomes = [
            _test(desk, kind, one.proof, teacher) for kind, one, teacher in zip(kinds, parts, teachers, strict=True)
        ]
        left = desk.texts
        for number, teacher in enumerate(teachers):
            if outcomes[number].is_accepted:
                outcomes[number] = _apply(desk, outcomes[number], left, teacher)
                left = left.join(outcomes[number].texts, on="id", how="anti")
        asked = [table for one in outcomes for table in (one.proof, one.texts) if len(table)]
        sent = teachers[0].sent(*asked).as_record()
        spent_usd = teachers[0].spent_on(editor.teacher.role)
        return summary.Revision(tuple(outcomes), spent_usd, teachers[0].identity.is_rehearsal, sent)


def _prompt(desk: _Desk, editor: Card, kind: rules.Category, part: rules.Parted) -> RevisionPrompt:
    """Write what the editor is asked about one kind of errors."""
    shown = Examples(tuple(zip(asked_of(part.wrong), part.wrong["label"], strict=True)), tuple(asked_of(part.right)))
    both = pl.concat([table.select("rationale", *columns_of(table)) for table in (desk.human, desk.texts)])
    reasons = {
        text: reason for text, reason in zip(asked_of(both), both["rationale"], strict=True) if reason is not None
    }
    return revision_prompt(editor, kind.given, kind.error, shown, teacher=desk.judges, reasons=reasons)


def _require_alike(desk: _Desk, editor: Teacher) -> None:
    """Refuse a rehearsal that would revise bought answers, and an editor that would be paid for rehearsed ones."""
    if editor.identity.is_rehearsal != desk.is_rehearsal:
        kinds = ("bought", "rehearsed") if editor.identity.is_rehearsal else ("rehearsed", "paid")
        raise BadInput(
            f"An editor must be of the teacher's kind, got {kinds[0]} answers and a {kinds[1]} editor "
            "(UNDERSTUDY_EDITOR_BASE_URL, OPENAI_BASE_URL). Point both at one kind of server; nothing was spent."
        )


def _test(desk: _Desk, kind: rules.Category, proof: pl.DataFrame, teacher: Teacher) -> summary.Outcome:
    """Ask about the human-labelled texts of a kind, and compare."""
    judged = teacher.judge(_asked(proof), f"revise: '{kind.given}' tested")
    table = rules.revised(proof, judged.table)
    found = rules.tested(table)
    return summary.Outcome(
        category=kind,
        errors=int(proof["is_error"].sum()),
        proof=table,
        tested=found,
        is_accepted=not judged.is_budget_spent and rules.is_better(found, desk.config.alpha),
        is_budget_spent=judged.is_budget_spent,
        judged=(judged,),
    )


def _apply(desk: _Desk, outcome: summary.Outcome, left: pl.DataFrame, teacher: Teacher) -> summary.Outcome:
    """Ask about the texts of a kind that passed the test.

    Args:
        desk: what the step works with.
        outcome: of the test.
        left: the pool's texts that no kind before has taken.
        teacher: the editor, asked about this kind.
    """
    kind, space = outcome.category, LabelSpace.of(desk.card)
    texts = left.filter(pl.Series(kind.covers(left), dtype=pl.Boolean))
    wanted = _asked(rules.in_doubt_first(texts, space, desk.config.seed))
    judged = teacher.judge(wanted, f"revise: '{kind.given}' revised")
    table = rules.revised(texts, judged.table)
    answered = table.filter(pl.col("is_answered")).sort("id")
    rows = judged.table.sort("id").with_columns(
        kind=pl.lit("editor"),
        label=answered["revised_label"],
        probabilities=pl.Series(rules.targets(outcome.proof, answered["revised_label"].to_list(), space)),
        teacher_label=answered["teacher_label"],
        category=pl.lit(kind.name),
    )
    return replace(
        outcome,
        judged=(*outcome.judged, judged),
        texts=texts,
        revised=table,
        rows=rows,
        is_budget_spent=judged.is_budget_spent,
    )


def _asked(texts: pl.DataFrame) -> pl.DataFrame:
    return texts.select("id", *columns_of(texts), "weight")


def _merged(judged: pl.DataFrame, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put the editor's judgements in the place of the teacher's to the same texts."""
    blank = judged.with_columns(teacher_label=pl.lit(None, pl.String), category=pl.lit(None, pl.String))
    revised = [part.select(blank.columns).cast(blank.schema) for part in parts if len(part)]
    kept = blank
    for part in revised:
        kept = kept.join(part, on="id", how="anti")
    return pl.concat([kept, *revised]).sort("id")


def _money(teacher: Teacher, editor: Card) -> str:
    return f"{usd(teacher.spent_usd)} of {usd(editor.budget.teacher_usd)}"
