"""The card's contract: what it may say, and that a bundle that breaks it is neither published nor serves."""

import json

import polars as pl
import pytest
from click.testing import CliRunner

from tests.bundles import make_bundle
from tests.conftest import card_yaml
from understudy import open_classifier
from understudy.cli.predict import command
from understudy.errors import BadArtifact, BadCard, GateRefused
from understudy.model import contract
from understudy.model.scoring import Bundle
from understudy.reports import evaluation as report
from understudy.runtime import shell
from understudy.steps.evaluate import step as evaluate
from understudy.steps.infer import jobs
from understudy.steps.publish import rules
from understudy.store.bundles import read_settings
from understudy.store.folder import FolderStore
from understudy.task.card import load_card, parse_card
from understudy.task.settings import NO_OVERRIDES

KEPT = """
must:
  - {text: Ask for a room., label: tip, alike: [ASK for a room!!, "please, ask"]}
  - {text: Nice view., label: other}
"""
BROKEN = """
must:
  - {text: Ask for a room., label: tip, alike: [Nice view.]}
  - {text: We stayed., label: tip}
  - {text: Bring cash., alike: [Take cash.]}
"""


def faults(must, **changes):
    with pytest.raises(BadCard) as refused:
        parse_card(card_yaml(must=must, **changes))
    return str(refused.value)


def test_a_card_without_a_contract_keeps_its_hash_and_one_with_it_has_another():
    bare = parse_card(card_yaml())
    assert parse_card(card_yaml(must=[])).hash == bare.hash
    assert parse_card(card_yaml(must=[{"text": "Ask.", "label": "tip"}])).hash != bare.hash


@pytest.mark.parametrize(
    ("must", "said"),
    [
        ([{"text": "Ask."}], "A text of must must have a label, or others that are alike, got neither (must.0)"),
        ([{"text": "Ask.", "label": "tipp"}], "A label of must must be of other, tip, got 'tipp' (must.0.label)"),
        ([{"text": "Ask.", "label": "tip", "alike": ["Ask."]}], "A text must stand once in must, got 'Ask.' twice"),
        ([{"text": "Ask.", "label": "tip"}, {"text": "Ask. ", "label": "other"}], "got 'Ask.' twice (must.1)"),
        ([{"text": " ", "label": "tip"}], "must.0.text"),
        ([{"text": "Ask.", "label": "tip", "weight": 2}], "must.0.weight"),
        ([{"text": "a", "label": "tip", "alike": [str(number) for number in range(21)]}], "must.0.alike"),
    ],
)
def test_what_a_contract_cannot_say_is_refused_with_the_place(must, said):
    assert said in faults(must)


def test_where_a_text_may_have_several_labels_they_are_written_as_in_a_file():
    several = {"labels_per_text": "many", "positive_label": None, "goals": None}
    label = "tip; other"
    assert parse_card(card_yaml(must=[{"text": "Ask.", "label": label}], **several)).must[0].label == label
    assert "A label of must" in faults([{"text": "Ask.", "label": "tip; blame"}], **several)
    assert "A label of must" in faults([{"text": "Ask.", "label": label}])


def test_a_bundle_that_keeps_its_contract_serves(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", more=KEPT)
    held = contract.hold(Bundle.open(bundle), load_card(bundle))
    assert [(one.wanted, one.given, one.like) for one in held] == [
        ("tip", "tip", None),
        ("tip", "tip", "Ask for a room."),
        ("tip", "tip", "Ask for a room."),
        ("other", "other", None),
    ]
    assert [one.label for one in open_classifier(bundle=bundle).label(["Ask for it."])] == ["tip"]


def test_of_several_labels_a_text_must_get_exactly_these(tmp_path):
    more = 'must: [{text: ask, label: "tip; blame"}, {text: nice, label: "[]"}]'
    words = {"ask": {"tip": 5.0, "blame": 5.0}, "nice": {"tip": 5.0}}
    bundle = make_bundle(tmp_path / "b", more=more, labels=["praise", "tip", "blame"], is_many=True, words=words)
    opened = Bundle.open(bundle)
    told = contract.broken(contract.hold(opened, load_card(bundle)), opened.space)
    assert told == ["'nice' must be labelled 'none of the labels', got 'tip' (must)."]


def test_a_bundle_that_breaks_its_contract_is_opened_neither_for_python_nor_a_command_nor_a_night(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", more=BROKEN)
    texts = tmp_path / "texts.csv"
    texts.write_text("id,text\n1,Ask.\n")
    ways = [
        lambda: open_classifier(bundle=bundle),
        lambda: jobs.outside(bundle, str(texts), "2026-01-01", FolderStore(tmp_path / "out"), NO_OVERRIDES),
    ]
    for way in ways:
        with pytest.raises(BadArtifact) as refused:
            way()
        assert [fault.partition(" (must)")[0] for fault in str(refused.value).splitlines()] == [
            "'Nice view.' must be labelled 'tip', as is 'Ask for a room.', got 'other'",
            "'We stayed.' must be labelled 'tip', got 'other'",
            "'Take cash.' must be labelled 'tip', as is 'Bring cash.', got 'other'",
        ]
    told = CliRunner().invoke(command, ["--bundle", str(bundle), "Ask."])
    assert isinstance(told.exception, BadArtifact)


def test_another_card_frees_no_bundle_from_its_own_contract(tmp_path):
    bundle, card = make_bundle(tmp_path / "bundle", more=BROKEN), load_card(make_bundle(tmp_path / "free"))
    (held, *_) = evaluate._held(Bundle.open(bundle), card)
    assert (card.must, held.is_kept) == ((), True)
    assert not all(one.is_kept for one in evaluate._held(Bundle.open(bundle), card))


def test_evaluate_refuses_what_breaks_its_contract_with_the_texts_and_publish_even_where_it_is_forced(tmp_path):
    bundle, test = make_bundle(tmp_path / "bundle", more=BROKEN), tmp_path / "test.csv"
    rows = [("Ask for it", "tip"), ("Bring cash", "tip"), ("Nice", "other"), ("We stayed", "other")] * 6
    table = pl.DataFrame(
        {"text": [f"{text} {row}" for row, (text, _) in enumerate(rows)], "label": [b for _, b in rows]}
    )
    table.write_csv(test)
    arguments = {"bundle": bundle, "test": test, "evaluation": tmp_path / "evaluation", "page": tmp_path / "page.html"}
    result = shell.execute("evaluate", {**arguments, "overrides": "evaluate.samples=100"})
    assert result.parameters["decision"] == "refuse"
    assert "'We stayed.' must be labelled 'tip', got 'other' (must)." in result.parameters["reason"]
    found = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert [held["is_kept"] for held in found["must"]] == [True, False, False, True, False]
    page = report.page(found)
    assert "the student breaks 3 of the card&#39;s 5 texts of must" in page
    assert ">broken<" in page
    for is_forced in (False, True):
        with pytest.raises(GateRefused, match="We stayed"):
            rules.require_decision(read_settings(bundle), found, is_forced=is_forced)
