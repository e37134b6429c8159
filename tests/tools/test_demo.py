"""What the demo promises: the audit names the bias that its rehearsal teacher was given."""

import json
import os

import pytest

from tools import demo
from tools.demo import TASK
from understudy.runtime import shell


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The demo's first steps: what the rehearsal teacher injected, and the audit of its answers."""
    folder = tmp_path_factory.mktemp("demo")
    paths = {name: str(folder / name) for name in ("snapshot", "pool", "gold", "test", "refused", "audit")}
    answers = {name: str(folder / name) for name in ("judgements", "test_judgements")}
    given = {"card": TASK / "card.yaml", "texts": TASK / "texts.csv", "labels": TASK / "labels.csv"}
    files = {name: str(path) for name, path in given.items()}
    card, store = {"card": paths["snapshot"]}, {"store": str(folder / "store")}
    with demo.rehearsal_teacher(folder / "injected.jsonl") as injected:
        shell.execute("ingest", {**paths, **files, **store})
        shell.execute("label", {**paths, **answers, **card, **store})
        shell.execute("audit", {**paths, **answers, **card})
    return injected, json.loads((folder / "audit/audit.json").read_text())


def test_the_audit_finds_the_injected_bias_by_name_and_no_other(audited):
    _, audit = audited
    assert demo.found_sentence({"avoid"}, audit) == "Found what was injected, and nothing else: 'avoid'."
    assert demo.audit_sentence(audit).startswith("The teacher under-labels 'avoid' texts: of the 'tip' among them")


def test_what_was_planted_is_counted(audited):
    answers = [json.loads(line) for line in audited[0].read_text(encoding="utf-8").splitlines()]
    missed = sum(answer["why"] == "bias:avoid" for answer in answers)
    flipped = sum(answer["why"] == "flip" for answer in answers)
    assert missed > 50
    assert 0.02 < flipped / len(answers) < 0.06
    assert demo.injected_sentence(answers) == (
        f"of {len(answers):,} texts the rehearsal teacher missed {missed} tips of the slice 'avoid', "
        f"and flipped {flipped} other answers."
    )


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (set(), "The audit missed 'avoid'."),
        ({"avoid", "short"}, "The audit named 'short' by mistake."),
        ({"long"}, "The audit missed 'avoid' and named 'long' by mistake."),
    ],
)
def test_the_demo_says_it_plainly_when_the_audit_is_wrong(named, told):
    audit = {"slices": [{"name": name, "is_biased": name in named} for name in ("avoid", "long", "short")]}
    assert demo.found_sentence({"avoid"}, audit) == told


def test_the_demo_gives_the_environment_back(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_A", "before")
    monkeypatch.delenv("UNDERSTUDY_B", raising=False)
    with pytest.raises(ZeroDivisionError), demo.environment(UNDERSTUDY_A="now", UNDERSTUDY_B="now"):
        assert (os.environ["UNDERSTUDY_A"], os.environ["UNDERSTUDY_B"]) == ("now", "now")
        _ = 1 / 0
    assert os.environ["UNDERSTUDY_A"] == "before"
    assert "UNDERSTUDY_B" not in os.environ
