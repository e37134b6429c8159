"""The step revise: an editor mends the kinds of errors that people's labels show, and only where it is proven to."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.evaluations import measured
from tests.html_pages import Page
from tests.teachers import Answer, completion, teacher_server
from understudy.errors import BadInput, TeacherError
from understudy.privacy.erasure import forget
from understudy.reports import evaluation as report
from understudy.runtime import shell
from understudy.stats.paired import Paired
from understudy.steps.evaluate import assemble
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.revise import rules
from understudy.steps.revise.config import ReviseConfig
from understudy.steps.train.rules import training_table
from understudy.store import layout, tables, tombstones
from understudy.store.storage import open_store, prepare_store
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace
from understudy.teacher.revision import ANSWERED, Examples, revision_prompt
from understudy.teacher.simulated import Plan, serve

PRICES = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
EDITOR = {"model": "nano", "budget_usd": 5.0, **PRICES}
TEACHER = {"model": "mini", "seconds_per_text": 1.2, **PRICES}
KINDS = [(18, True, 0.9, True), (4, True, 0.2, False), (100, False, 0.1, False)]  # for a report
AVOID, OTHERS = 30, 60  # human-labelled training texts that warn, and others that the teacher calls other


def rows(kind: str, number: int, label: str, said: str) -> list[dict[str, Any]]:
    text = {"avoid": "Avoid the rooms on floor {}.", "view": "The view from room {} is nice."}[kind]
    return [{"id": f"{kind}-{n:03}", "text": text.format(n), "label": label, "said": said} for n in range(number)]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write what the steps before leave: a teacher that calls half of the warnings other, and all else rightly."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "UNDERSTUDY_EDITOR_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    warnings = rows("avoid", 2 * AVOID, "tip", "other")
    for number, row in enumerate(warnings):
        row["said"] = "other" if number % 2 else "tip"
    people = [*warnings, *rows("view", OTHERS, "other", "other")]
    pool = [{**row, "id": f"pool-{row['id']}", "text": f"Do not {row['text'].lower()}"} for row in people]
    human = pl.DataFrame(people).select(
        "id", "text", "label", group="id", split=pl.lit("train"), annotators=1, origin=pl.lit("labels")
    )
    both = pl.concat([pl.DataFrame(people), pl.DataFrame(pool)])
    tables.write(human, tables.Gold, tmp_path / "gold")
    texts = both.select("id", "text", group="id", time=pl.lit(None, pl.String))
    tables.write(texts, tables.Texts, tmp_path / "pool")
    write_judgements(tmp_path, both)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/audit.json").write_text(json.dumps({}), encoding="utf-8")
    lines = [f'"{row["text"]}",{row["label"]}' for row in both.to_dicts()]
    (tmp_path / "answers.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    write_card(tmp_path)
    return tmp_path


def write_judgements(folder: Path, both: pl.DataFrame, *, is_rehearsal: bool = True) -> None:
    said = both.select(
        "id",
        label="said",
        judge=pl.lit("rehearsal:mini:abc" if is_rehearsal else "mini:abc"),
        kind=pl.lit("teacher"),
        probabilities=pl.lit(None, pl.List(pl.Float64)),
        rationale=pl.lit("It seems so."),
        prompt_tokens=100,
        completion_tokens=10,
        cost_usd=0.001,
        is_rehearsal=is_rehearsal,
        weight=2.0,
    )
    tables.write(said, tables.Judgements, folder / "judgements")


def write_card(folder: Path, **changes: Any) -> None:
    slices = [{"name": "avoid", "pattern": "avoid"}]
    said = {"teacher": TEACHER, "slices": slices, "models": {"editor": EDITOR}, **changes}
    (folder / "snapshot").mkdir(exist_ok=True)
    (folder / "snapshot" / "card.yaml").write_text(card_yaml(**said), encoding="utf-8")


def revise(folder: Path, overrides: str = "") -> shell.Result:
    inputs = {name: folder / name for name in ("pool", "gold", "judgements", "audit")}
    places = {"card": folder / "snapshot", "revised": folder / "revised", "store": str(folder / "store")}
    return shell.execute("revise", {**inputs, **places, "overrides": overrides})


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "revised/revise.json").read_text(encoding="utf-8"))
    return found


def revised(folder: Path) -> pl.DataFrame:
    return tables.read(folder / "revised", tables.Judgements)


@pytest.fixture
def rehearse(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a rehearsal editor that is right in a share of its answers."""

    def start(right: float = 1.0, **plan: Any) -> Any:
        return serve(Plan(desk / "answers.csv", editor=right, **plan))

    return start


def test_the_errors_of_a_slice_are_mended_and_every_change_says_so(desk, rehearse, monkeypatch):
    with rehearse() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = revise(desk)
    table = revised(desk)
    changed = table.filter(pl.col("label") != pl.col("teacher_label"))
    assert len(changed) == AVOID == result.metrics["changed"], "every warning of the pool that the teacher missed"
    assert set(changed["label"]) == {"tip"}
    assert set(changed["kind"].cast(pl.String)) == {"editor"}
    assert all(judge.startswith("rehearsal:nano:") for judge in changed["judge"])
    assert set(changed["category"]) == {"'other' in place of 'tip', slice 'avoid'"}
    assert all(span.startswith("Do not avoid") for span in changed["rationale"])
    people = table.filter(~pl.col("id").str.starts_with("pool-"))
    assert set(people["kind"].cast(pl.String)) == {"teacher"}
    assert (len(table), set(table["weight"])) == (2 * (2 * AVOID + OTHERS), {2.0})
    worth = changed["probabilities"][0]
    assert worth[1] > 0.9 and sum(worth) == pytest.approx(1), "as often as it was right on the texts that prove it"
    (kind,) = record(desk)["categories"]
    assert (kind["mended"], kind["spoiled"], kind["is_accepted"]) == (AVOID - 4, 0, True)
    paid = record(desk)["figures"]["cost_usd"]
    assert paid == pytest.approx(result.metrics["cost_usd"]), "the answers that proved cost money too"
    assert "it mended 26 and spoiled 0" in (desk / "revised/revise.md").read_text(encoding="utf-8")
    asked = [text for text in server.asked if "view" in text]
    assert not asked, "texts that are not likely to have the error are not sent"


def test_the_train_step_takes_a_revised_label_at_what_the_editor_was_worth(desk, rehearse, monkeypatch):
    with rehearse() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        revise(desk)
    task = parse_card((desk / "snapshot/card.yaml").read_text(encoding="utf-8"))
    biased = {"name": "avoid", "is_biased": True, "matrix": [[1, 30], [30, 30]]}
    audit = {"labels": list(task.label_names), "matrix": [[61, 30], [30, 30]], "slices": [biased]}
    pool, gold = tables.read(desk / "pool", tables.Texts), tables.read(desk / "gold", tables.Gold)
    learned = training_table(pool, gold, revised(desk), audit, task, 3.0)
    tip = task.label_names.index("tip")
    targets = dict(zip(learned["id"], learned["target"], strict=True))
    assert targets["pool-avoid-001"][tip] > 0.9, "not at what the teacher is worth in a slice where it is biased"


def test_an_editor_that_is_wrong_as_often_as_the_teacher_is_dropped_and_costs_no_pool_text(desk, rehearse, monkeypatch):
    with rehearse(right=0.5) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = revise(desk, "min_share=0\nexamples=0\ncategories=1\nmode=all")
    (kind,) = record(desk)["categories"]
    assert not kind["is_accepted"]
    assert kind["sentence"].startswith("Dropped, for the editor does not help here: on 90 human-labelled training ")
    assert (result.metrics["revised"], kind["texts"]) == (0, 0)
    assert not [text for text in server.asked if text.startswith("Do not")]
    before = tables.read(desk / "judgements", tables.Judgements).sort("id")
    assert revised(desk)["label"].equals(before["label"])


@pytest.mark.parametrize(
    ("changes", "overrides", "reason"),
    [
        ({"models": None}, "", "the card names no editor (models.editor)"),
        ({}, "mode=raw", "revise.mode is raw"),
        ({}, "min_errors=40", "no kind of error has 40 human-labelled training texts to prove it"),
    ],
)
def test_judgements_are_handed_on_as_they_are_and_it_is_said_why(desk, changes, overrides, reason):
    write_card(desk, **changes)
    result = revise(desk, overrides)
    assert result.headline.startswith(f"240 judgements handed on as they are: {reason}")
    assert reason in (desk / "revised/revise.md").read_text(encoding="utf-8").replace("\\", "")
    before = tables.read(desk / "judgements", tables.Judgements).sort("id")
    assert revised(desk).select(before.columns).equals(before)


def test_no_answer_is_asked_for_twice_and_a_spent_budget_keeps_what_was_bought(desk, rehearse, monkeypatch):
    with rehearse() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        write_card(desk, models={"editor": {**EDITOR, "budget_usd": 0.03}})
        short = revise(desk)
        assert 0 < short.metrics["revised"] < AVOID
        assert "for the editor's budget ended" in record(desk)["categories"][0]["sentence"]
        assert short.metrics["spent_usd"] <= 0.03
        write_card(desk)
        revise(desk)
        assert set(server.asked.values()) == {1}
        assert revise(desk).metrics["asked"] == 0
    assert record(desk)["figures"]["revised"] == AVOID


def answering(**said: Any) -> Callable[[Mapping[str, Any], str, int], Answer]:
    return lambda request, text, number: completion(json.dumps({"present": True, "label": "tip", "span": text, **said}))


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"span": "words of its own"}, "unshown"),
        ({"present": False}, ""),
        ({"present": "yes"}, "failed"),
        ({"label": "nonsense"}, "failed"),
    ],
)
def test_a_change_that_shows_nothing_or_follows_no_schema_is_none(desk, monkeypatch, said, counted):
    write_judgements(desk, judged_anew(desk), is_rehearsal=False)
    with teacher_server(answering(**said)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        if counted == "failed":
            with pytest.raises(TeacherError, match="The editor must answer"):
                revise(desk)
            return
        result = revise(desk)
    assert (result.metrics["accepted"], result.metrics["changed"]) == (0, 0)
    assert result.metrics["unshown"] == (26 if counted == "unshown" else 0)


def judged_anew(desk: Path) -> pl.DataFrame:
    return (
        tables.read(desk / "judgements", tables.Judgements)
        .join(tables.read(desk / "pool", tables.Texts).select("id", "text"), on="id")
        .rename({"label": "said"})
    )


def test_a_rehearsal_never_revises_bought_answers(desk, rehearse, monkeypatch):
    write_judgements(desk, judged_anew(desk), is_rehearsal=False)
    with rehearse() as server:
        monkeypatch.setenv("UNDERSTUDY_EDITOR_BASE_URL", server.url)
        with pytest.raises(BadInput, match="got bought answers and a rehearsed editor"):
            revise(desk)
    assert not server.asked


def test_a_forgotten_text_is_neither_sent_nor_shown_and_its_words_leave_the_store(desk, rehearse, monkeypatch):
    store = prepare_store(str(desk / "store"))
    tombstones.remember_to_forget(store, "id", ["avoid-001", "pool-avoid-001"], "2026-11-01")
    with rehearse() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        revise(desk)
    assert not [text for text in server.asked if "floor 1." in text]
    forget(store, ["avoid-003", "pool-avoid-003"], [], "2026-11-02")
    answers = open_store(str(desk / "store")).list(layout.JUDGEMENTS.folder)
    assert not [key for key in answers if b"floor 3" in store.read(key)]


# Rules


def test_kinds_of_errors_are_told_apart_by_slice_and_those_too_few_to_prove_left_out():
    card = parse_card(card_yaml(slices=[{"name": "avoid", "pattern": "avoid"}]))
    human = pl.DataFrame(
        [
            {"id": f"{n}", "text": text, "label": "tip", "teacher_label": "other"}
            for n, text in enumerate(["Avoid it."] * 12 + ["Ask first."] * 9 + ["Avoid it."])
        ]
        + [{"id": "z", "text": "Avoid it.", "label": "other", "teacher_label": "tip"}]
    )
    found = rules.candidates(human, rules.slices_of(card, {}), card, ReviseConfig())
    assert [one.name for one in found] == [
        "'other' in place of 'tip', slice 'avoid'",
        "'other' in place of 'tip', in no slice",
    ]
    late = {"name": "late", "keys": {"pattern": "late"}}
    untold = {"name": "after 2026", "keys": {}}
    assert [part.name for part in rules.slices_of(card, {"hidden": {"found": [late, untold]}})] == ["avoid", "late"]


def test_what_an_editor_is_shown_never_proves():
    human = pl.DataFrame(
        [
            {"id": f"{n}", "text": f"Text {n}.", "label": "tip" if n % 2 else "other", "teacher_label": "other"}
            for n in range(40)
        ]
    )
    category = rules.Category("other", "tip")
    parted = rules.part(human, category, ReviseConfig(proof_texts=25))
    assert (len(parted.wrong), len(parted.right), len(parted.proof)) == (4, 4, 25)
    assert not {*parted.wrong["id"], *parted.right["id"]} & {*parted.proof["id"]}
    assert set(parted.wrong["label"]) == {"tip"}


def test_six_mended_and_none_spoiled_are_the_least_that_prove():
    assert not rules.is_better(Paired(60, both=50, first=5, second=0), 0.05)
    assert rules.is_better(Paired(60, both=50, first=6, second=0), 0.05)
    assert not rules.is_better(Paired(60, both=50, first=0, second=6), 0.05)


def test_money_that_is_short_goes_to_the_texts_of_which_the_teacher_was_least_sure():
    card = parse_card(card_yaml())
    texts = pl.DataFrame(
        {
            "id": ["sure", "doubt", "untold"],
            "teacher_label": [card.label_names[0]] * 3,
            "teacher_probabilities": [[0.9, 0.1], [0.6, 0.4], None],
        }
    )
    assert rules.in_doubt_first(texts, LabelSpace.of(card), 0)["id"].to_list() == ["doubt", "sure", "untold"]


def test_the_prompt_shows_the_examples_and_what_is_taken_out_of_texts_is_taken_out_of_all():
    card = parse_card(card_yaml(teacher={**TEACHER, "redact": {"kinds": ["email"]}}))
    shown = Examples((("Write to a@b.example.", "tip"),), ("Nothing to say.",))
    reasons = {"The text.": "They say c@d.example."}
    prompt = revision_prompt(card, "other", "texts that are 'tip' were labelled 'other'", shown, reasons=reasons)
    system, user = (message["content"] for message in prompt.messages("The text."))
    assert '- "Write to [EMAIL]." is tip' in system and "Nothing to say." in system
    assert user.endswith(f'{ANSWERED}{{"label": "other", "reason": "They say [EMAIL]."}}')
    assert prompt.read('{"present": false, "label": "tip", "span": ""}').label == "other"


# The report


def test_the_report_tells_what_was_revised_and_where_its_texts_went(desk, rehearse, monkeypatch):
    with rehearse() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        revise(desk)
    told = assemble.revision_part(record(desk))
    found = assemble.evaluation(measured(KINDS, config=EvaluateConfig(samples=100))) | told
    text = Page(report.page(found)).text
    assert (
        "The editor nano was tried on 1 kind of errors of the teacher mini, and the revisions of 1 were taken" in text
    )
    assert "Of the texts that it was asked about, no text left the house." in text
    assert "it mended 26 and spoiled 0" in text
    assert assemble.revision_part(None) == {} == assemble.revision_part({"reason": "revise.mode is raw"})


def test_the_report_names_the_other_models_and_says_which_one_is_the_baseline():
    oracle = {"model": "strong", "budget_usd": 1.0, **PRICES}
    card = parse_card(card_yaml(models={"oracle": oracle}))
    assert assemble.card_part(card)["models"] == {"oracle": "strong"}
    found = assemble.evaluation(measured(KINDS, config=EvaluateConfig(samples=100)))
    found["card"]["models"] = {"oracle": "strong"}
    text = Page(report.page(found)).text
    assert "strong; it was asked when mining, and not about the test texts" in text
