"""`understudy read` lays texts out before their labels are fixed: kinds, a sample that differs, neighbours, rules."""

import re

import pytest
from click.testing import CliRunner

from tests.conftest import card_yaml
from understudy.cli.main import app
from understudy.review import reading
from understudy.task.card import QUESTION, WeakRule

TRAINS = [f"The train to platform {n} left late and the conductor shrugged" for n in range(40)]
SOUPS = [f"Our soup number {n} came cold but the waiter apologised" for n in range(80)]
RULES = [
    WeakRule(name="late", pattern=r"\blate\b", label="blame"),
    WeakRule(name="waiter", pattern="waiter", label="praise"),
    WeakRule(name="soup", pattern="SOUP", label="blame"),
]


def read(tmp_path, texts, *more, name="a.csv"):
    path = tmp_path / name
    path.write_text("\n".join(["text", *(f'"{text}"' for text in texts)]))
    words = ["read", "--texts", str(path), "--out", str(tmp_path / "page.html"), *map(str, more)]
    return CliRunner().invoke(app, words, standalone_mode=False)


def test_kinds_of_texts_are_told_apart_by_their_words():
    found = reading.read(reading.draw(TRAINS + SOUPS), (), "en")
    kinds = {
        word: [cluster["size"] for cluster in found["clusters"] if word in cluster["words"]]
        for word in ("train", "soup")
    }
    assert (sum(kinds["train"]), sum(kinds["soup"])) == (40, 80)
    assert all(
        ("soup" in text) == ("soup" in cluster["words"]) for cluster in found["clusters"] for text in cluster["texts"]
    )


def test_the_sample_begins_with_texts_that_are_far_apart():
    odd = ["Penguins cannot fly although they are birds", "Interest rates rose by two points in autumn and birds fly"]
    found = reading.read(reading.draw(SOUPS + TRAINS + odd), (), "en")
    first = found["diverse"][:4]
    assert any("soup" in text for text in first)
    assert any("train" in text for text in first)
    assert any(text in odd for text in first)
    assert len(set(found["diverse"])) == reading.DIVERSE


def test_neighbours_are_alike_and_no_copies():
    texts = [
        *SOUPS[:1],
        "Our soup came cold",
        "Our soup came hot, cold it was not",
        "Our soup came cold!!",
        *TRAINS[:1],
    ]
    words = [f"word{n} thing{n % 7} again{n % 5}" for n in range(40)]
    for pair in reading.read(reading.draw(texts + words), (), "en")["pairs"]:
        assert pair["first"] != pair["second"]
        assert {pair["first"].strip("!"), pair["second"].strip("!")} != {"Our soup came cold"}
        assert pair["similarity"] > 0


def test_rules_say_what_they_catch_and_where_they_contradict_one_another():
    found = reading.read(reading.draw(TRAINS + SOUPS), RULES, "en")
    told = {rule["name"]: (rule["size"], rule["contested"]) for rule in found["rules"]}
    assert told == {"late": (40, 0), "waiter": (80, 80), "soup": (80, 80)}
    assert found["uncaught"] == 0
    assert reading.read(reading.draw(TRAINS + SOUPS), RULES[:1], "en")["uncaught"] == 80


def test_copies_are_read_once_and_the_order_of_the_rows_plays_no_part():
    drawn = reading.draw([*TRAINS, *(text.upper() + "!" for text in TRAINS)])
    assert len(drawn) == len(TRAINS)
    assert reading.draw(TRAINS[::-1]) == reading.draw(TRAINS)
    assert reading.read(drawn, (), "en") == reading.read(drawn, (), "en")


def test_the_page_of_a_draft_card_escapes_texts_and_shows_the_rules(tmp_path):
    draft = card_yaml(rules=[f"{QUESTION} which?"], columns={"text": "text"})
    (tmp_path / "card.yaml").write_text(draft)
    done = read(
        tmp_path, [*TRAINS, *SOUPS, "<script>alert(1)</script> train and soup"], "--card", tmp_path / "card.yaml"
    )
    page = (tmp_path / "page.html").read_text()
    assert done.output.startswith("121 texts of 121 rows laid out")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r'<h2 id="(\w+)"', page) == ["clusters", "diverse", "pairs", "rules", "file"]
    assert "texts: 10 words at the median" in page


def test_texts_in_a_language_without_blanks_are_laid_out_too(tmp_path):
    texts = [f"恭喜您中奖请马上联系我们{n}" for n in range(30)] + [f"今天天气很好我们去公园{n}" for n in range(30)]
    assert read(tmp_path, texts).output.startswith("60 texts of 60 rows laid out")


@pytest.mark.parametrize(
    ("texts", "more", "sentence"),
    [
        (TRAINS[:5], (), "at least 20 texts that differ, got 5 texts"),
        (TRAINS, ("--text-column", "x"), "A column that is named must be there, got 'text', not 'x'"),
        (TRAINS, ("--out", "/nowhere/x.html"), "A page must be written where one may write"),
    ],
)
def test_what_cannot_be_laid_out_is_said_in_a_sentence(tmp_path, texts, more, sentence):
    assert sentence in str(read(tmp_path, texts, *more).exception)


@pytest.mark.parametrize(
    "make", [lambda n: "😀" * (n % 7 + 1) + "🎉" * n, lambda n: "a b " * n, lambda n: "of the and " * n]
)
def test_texts_without_words_are_laid_out_by_their_signs(make):
    texts = [make(n) for n in range(1, 40)]
    found = reading.read(texts, (), "en")
    assert found["clusters"]
    assert len(found["diverse"]) == reading.DIVERSE


def test_a_page_with_fewer_texts_than_rows_says_why(tmp_path):
    rows = [f"Das Zimmer {number} war sauber." for number in range(60)]
    (tmp_path / "a.csv").write_bytes("\n".join(["text", *rows, rows[0]]).encode() + "\nGrüße\n".encode("cp1252"))
    words = ["read", "--texts", str(tmp_path / "a.csv"), "--out", str(tmp_path / "page.html")]
    said = CliRunner().invoke(app, words, catch_exceptions=False).output
    assert said.startswith("60 texts of 62 rows laid out")
    assert "1 row cannot be read: not_utf8 1 (row 63 of" in said
    assert "iconv -f WINDOWS-1252" in said
    assert "1 text left out: copies" in said
