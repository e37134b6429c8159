"""`understudy design`: a page and a record, without money, with a small paid sample, and with two judges' answers."""

import json

import pytest
from click.testing import CliRunner

from tests.conftest import CARD, card_yaml
from tests.html_pages import Page
from tests.teachers import completion, teacher_server
from understudy.cli.main import app
from understudy.data.rows import id_of
from understudy.errors import BadData, BadInput
from understudy.store import tombstones
from understudy.store.storage import prepare_store

TIPS = [f"Ask for room {n} on the quiet side of house {n * 7}" for n in range(30)]
OTHERS = [f"We had dinner number {n} with {n * 3} friends of ours <b>" for n in range(50)]

RULE = {"name": "one", "pattern": "^ask for room 1", "label": "tip"}


@pytest.fixture
def design(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    card, labels = tmp_path / "card.yaml", tmp_path / "labels.csv"
    card.write_text(card_yaml(goals={"f1": 0.5}, texts_per_month=1000, weak_rules=[RULE]))
    rows = [*(f'"{text}",tip' for text in TIPS), *(f'"{text}",other' for text in OTHERS)]
    labels.write_text("\n".join(["text,label", *rows]))
    page = tmp_path / "page.html"

    def run(*words, has_labels=True):
        given = ["--labels", str(labels)] if has_labels else []
        command = ["design", "--card", str(card), *given, "--out", str(page), *map(str, words)]
        done = CliRunner().invoke(app, command, standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.output, json.loads(page.with_suffix(".json").read_text()), Page(page.read_text())

    return run


def answering(_request, text, _number):
    return completion(json.dumps({"label": "tip" if text.startswith("Ask") else "other"}))


def test_without_a_store_nobody_is_asked_and_the_design_is_checked(design):
    output, record, page = design()
    assert "verdict" not in record
    assert output.startswith("labels: 80 labels of 80 texts, 0 contested.")
    assert "No teacher was asked" in page.text
    assert [row["texts"] for row in record["costs"] if row["is_card"]] == [1000]
    assert [heading["id"] for heading in page.all("h2")] == ["costs", "agreement", "guideline", "torn", "weak_rules"]


def test_a_small_paid_sample_gives_the_verdict_and_is_paid_for_once(design, tmp_path, monkeypatch):
    with teacher_server(answering) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        store = tmp_path / "store"
        output, record, page = design("--store", store, "--ask", 60)
        assert len(server.texts) == 60
        assert record["verdict"]["choice"] == "do not fine-tune"
        assert "cheap enough at 1,000 texts a month" in output
        assert "asked: 60 texts asked now, $0.0" in output
        assert page.all("h1") == [{}]
        again, _, _ = design("--store", store, "--ask", 60)
        assert len(server.texts) == 60
        assert "asked: 0 texts asked now, $0.00" in again
        _, record, _ = design("--store", store)
        assert len(server.texts) == 60
        assert record["verdict"]["choice"] == "do not fine-tune"
        design("--store", store, "--ask", 70)
        assert len(server.texts) == 70  # a larger sample holds the smaller one


def test_what_somebody_asked_to_forget_is_neither_sent_nor_judged_nor_shown(design, tmp_path, monkeypatch):
    store = tmp_path / "store"
    tombstones.remember_to_forget(prepare_store(str(store)), "id", [id_of(TIPS[0]), id_of(OTHERS[0])], "2026-12-01")
    with teacher_server(answering) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        output, record, page = design("--store", store, "--ask", 80)
    assert len(server.texts) == 78
    assert not {TIPS[0], OTHERS[0]} & set(server.texts)
    assert "labels: left out: 2 texts: somebody asked to forget the text." in output
    assert record["design"]["texts"] == 78
    assert OTHERS[0] not in page.text


def test_imported_answers_of_unknown_price_do_not_make_the_teacher_free(design, tmp_path):
    file, store = tmp_path / "judged.csv", tmp_path / "store"
    file.write_text("text,gpt\n" + "".join(f"{text},tip\n" for text in TIPS) + f"{OTHERS[0]},other\n")
    words = ["--card", str(tmp_path / "card.yaml"), "--store", str(store), "--column", "gpt", "--as-teacher"]
    assert CliRunner().invoke(app, ["label", "--import", str(file), *words]).exit_code == 0
    _, imported, _ = design("--store", store)
    _, alone, _ = design()
    assert "verdict" in imported
    assert imported["costs"] == alone["costs"]
    assert imported["cost_sentences"][-1].startswith("Teacher: about $0.00")


def test_the_answers_stay_within_the_cards_cap(design, tmp_path, monkeypatch):
    (tmp_path / "card.yaml").write_text(card_yaml(budget={"teacher_usd": 0.01}))
    with teacher_server(answering) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        output, _, _ = design("--store", tmp_path / "store", "--ask", 80)
    assert "(budget spent)" in output
    assert 0 < len(server.texts) < 80
    assert len(server.texts) * 0.00014 <= 0.01


def test_a_teacher_by_chance_is_hopeless_by_the_same_rule_as_the_early_stop(design, tmp_path, monkeypatch):
    def guessing(_request, _text, number):
        return completion(json.dumps({"label": "tip" if number % 2 else "other"}))

    with teacher_server(guessing) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        (tmp_path / "card.yaml").write_text(card_yaml(weak_rules=[{"name": "a", "pattern": "^ask", "label": "tip"}]))
        _, record, page = design("--store", tmp_path / "store", "--ask", 80)
    assert record["verdict"]["choice"] == "another teacher first"
    assert "is certainly worse than the card's weak rules" in page.text
    assert record["mistaken"][0]["texts"] > 10


def test_takemeters_own_case_is_too_few_labels_to_say(design, tmp_path):
    rows = [
        ("tip", "tip", "other") if n < 4 else ("tip", "tip", "tip") if n < 15 else ("other",) * 3 for n in range(30)
    ]
    (tmp_path / "both.csv").write_text("\n".join(["label,teacher,student", *map(",".join, rows)]))
    output, record, page = design("--compare", tmp_path / "both.csv", has_labels=False)
    assert output.startswith("verdict: Too few labels to say: 28 more would.")
    assert record["verdict"]["more"] == 28
    assert "exact McNemar p = 0.125" in page.text


@pytest.mark.parametrize("out", ["page.json", "labels.csv", "named.html"])
def test_a_page_overwrites_neither_its_record_nor_what_is_read(design, tmp_path, out):
    labels = tmp_path / "named.json"  # where the record of named.html would lie
    labels.write_text((tmp_path / "labels.csv").read_text())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = ["--labels", labels] if out == "named.html" else []
    with pytest.raises(BadInput, match=r"\(--out\)"):
        design(*words, "--out", tmp_path / out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_estimate_of_a_teacher_that_is_asked_in_batches_is_at_the_batch_price(design, tmp_path):
    def teacher_usd():
        return next(row["teacher_usd"] for row in design()[1]["costs"] if row["is_card"])

    one_by_one, card = teacher_usd(), tmp_path / "card.yaml"
    teacher = {**CARD["teacher"], "mode": "batch", "batch_price": 0.25}
    card.write_text(card_yaml(texts_per_month=1000, teacher=teacher))
    assert teacher_usd() == pytest.approx(one_by_one / 4)


def test_texts_that_go_together_are_compared_by_groups_and_a_blank_group_is_ones_own(design, tmp_path):
    rows = [("tip", "tip", "other", f"guest {n // 4}") for n in range(12)]
    rows += [("other", "other", "other", "") for _ in range(40)]
    (tmp_path / "both.csv").write_text("\n".join(["label,teacher,student,group", *map(",".join, rows)]))
    _, record, page = design("--compare", tmp_path / "both.csv", has_labels=False)
    assert record["verdict"]["choice"] == "too few labels to say"
    assert "sign-flip test over 3 groups, p = 0.25" in page.text


def test_a_comparison_with_a_text_twice_is_refused(design, tmp_path):
    (tmp_path / "both.csv").write_text("id,label,teacher,student\na,tip,tip,tip\na,tip,tip,tip\nb,tip,tip,tip")
    with pytest.raises(BadData, match="must have each text once, got 2 rows that share an id"):
        design("--compare", tmp_path / "both.csv", has_labels=False)


def test_a_comparison_with_a_label_that_the_card_does_not_have_is_refused(design, tmp_path):
    (tmp_path / "both.csv").write_text("label,teacher,student\ntip,tip,tipp")
    with pytest.raises(BadData, match="'tipp' is none of other, tip"):
        design("--compare", tmp_path / "both.csv", has_labels=False)


@pytest.mark.parametrize(
    ("words", "has_labels", "sentence"),
    [
        ((), False, "must be checked by labels"),
        (("--ask", 5), True, "must have a store that keeps them"),
        (("--store", "x", "--compare", "y"), False, "must be held against people's labels"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_read(design, words, has_labels, sentence):
    with pytest.raises(BadInput, match=sentence):
        design(*words, has_labels=has_labels)
