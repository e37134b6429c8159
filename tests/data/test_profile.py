"""What a file seems to hold becomes a card: columns, labels and language filled in, the rest as questions."""

import gzip
import json
import random

import polars as pl
import pytest
from click.testing import CliRunner

from understudy.cli.main import app
from understudy.data import profile
from understudy.data.profile import look
from understudy.errors import BadData
from understudy.task.card import QUESTION, parse_card

DRAW = random.Random(5)  # noqa: S311 - a test's draw
MESSAGES = [f"You have won prize {number}, so call me at once" for number in DRAW.sample(range(10**6), 60)]
MESSAGES += [f"Are you at home with the {number} dogs that I sold?" for number in DRAW.sample(range(10**6), 240)]
KINDS = ["spam"] * 60 + ["ham"] * 240


def csv(path, header, rows, delimiter=","):
    quoted = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    path.write_text("\n".join([header, *quoted]))
    return str(path)


def new(*words):
    return CliRunner().invoke(app, ["card", "new", *words], standalone_mode=False)


def names(found):
    return {name: column.own for name, column in found.columns.items()}


def test_columns_that_names_do_not_tell_are_found_by_what_they_hold(tmp_path):
    rows = [(index, kind, text) for index, (kind, text) in enumerate(zip(KINDS, MESSAGES, strict=True))]
    found = look(csv(tmp_path / "a.csv", ",v1,v2", rows), {})
    assert names(found) == {"text": "v2", "label": "v1"}
    assert found.columns["text"].how == "the longest texts"
    assert (found.labels, found.language, found.questions) == ({"ham": 240, "spam": 60}, "en", ())
    assert "labels: ham 240 (80.0%), spam 60 (20.0%)" in found.seen


def test_columns_are_found_by_names_that_people_use_also_within_other_values(tmp_path):
    items = [
        {"meta": {"UID": f"u{i}"}, "message": {"body": text, "thread_id": i // 3}, "Category": kind, "noise": [1]}
        for i, (text, kind) in enumerate(zip(MESSAGES, KINDS, strict=True))
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, items)).encode()))
    (tmp_path / "b.json").write_text(json.dumps(items))
    pl.DataFrame([{**item, "noise": None} for item in items]).write_parquet(tmp_path / "c.parquet")
    for name in ("a.jsonl.gz", "b.json", "c.parquet"):
        assert names(look(str(tmp_path / name), {})) == {
            "text": "message.body",
            "label": "Category",
            "id": "meta.UID",
            "group": "message.thread_id",
        }


def test_a_column_that_is_called_like_ours_and_cannot_be_it_is_not_taken(tmp_path):
    rows = [(f"{index // 2}", text, f"note {index}") for index, text in enumerate(MESSAGES)]
    found = look(csv(tmp_path / "a.csv", "id,text,label", rows), {})
    assert names(found) == {"text": "text"}  # ids that stand twice, and as many labels as texts
    assert found.questions[0] == "which labels are there? The file does not say (--label-column)"


def test_of_several_columns_that_could_be_labels_none_is_chosen(tmp_path):
    rows = [(text, kind, "abc"[i % 3]) for i, (text, kind) in enumerate(zip(MESSAGES, KINDS, strict=True))]
    path = csv(tmp_path / "a.csv", "body,x,z", rows)
    assert look(path, {}).questions == (
        "which labels are there? The file does not say: 'x', 'z' have few values each (--label-column)",
    )
    assert look(path, {"label": "z"}).labels == {"a": 100, "b": 100, "c": 100}
    with pytest.raises(BadData, match=r"not 'w' \("):
        look(path, {"label": "w"})


def test_labels_in_another_case_are_one_and_rows_that_cannot_be_read_are_counted(tmp_path):
    kinds = [kind.upper() if i % 3 == 0 else f"{kind} " for i, kind in enumerate(KINDS)]
    path = tmp_path / "a.csv"
    csv(path, "text,label", zip(MESSAGES, kinds, strict=True))
    path.write_text(path.read_text() + '\n"one cell"\n"","ham"\n"Are you at home with the dogs?","spam"\n' * 2)
    found = look(str(path), {})
    assert {name.casefold(): rows for name, rows in found.labels.items()} == {"ham": 242, "spam": 62}
    told = "\n".join(found.seen)
    assert "2 rows cannot be read, such as: 1 cells where the header has 2" in told
    assert "taken as these: 'HAM', 'SPAM'" in told
    assert "2 rows without a text" in told
    assert "nearly repeat one before" in told


@pytest.mark.parametrize("cells", [["a; b", "b", "a;c", "c"], ['["a", "b"]', '["b"]', "[]", '["c"]']])
def test_cells_with_several_labels_make_a_card_of_several(tmp_path, cells):
    frame = pl.DataFrame({"text": MESSAGES, "tags": [cells[i % 4] for i in range(300)]})
    frame.write_csv(tmp_path / "a.csv")
    found = look(str(tmp_path / "a.csv"), {})
    assert found.is_many
    assert set(found.labels) == {"a", "b", "c"}
    card = parse_card(new("--from", str(tmp_path / "a.csv")).stdout.replace(QUESTION, "Answer"))
    assert (card.is_many, card.positive_label) == (True, None)


def test_the_card_holds_what_the_file_tells_and_asks_the_rest(tmp_path):
    rows = [(text, int(kind == "spam")) for text, kind in zip(MESSAGES, KINDS, strict=True)]
    path = csv(tmp_path / "SMS 2026.csv", "Body,target", rows)
    done = new("--from", path)
    with pytest.raises(Exception, match="what do your files mean by 0"):
        parse_card(done.stdout)
    card = parse_card(done.stdout.replace(f"{QUESTION} what do your files mean by 0?", "harmless")
        .replace(f"{QUESTION} what do your files mean by 1?", "fraud").replace(QUESTION, "Answer"))  # fmt: skip
    assert (card.name, card.label_names, card.positive_label) == ("sms-2026", ("harmless", "fraud"), "fraud")
    assert [label.aliases for label in card.labels] == [("0",), ("1",)]
    assert card.section("columns") == {"text": "Body", "label": "target"}
    assert done.stdout.startswith("# What stands in SMS 2026.csv")
    assert f"6 questions are left in the card, each marked {QUESTION}" in done.stderr
    assert "--dry-run --card CARD --texts" in done.stderr


def test_a_file_without_labels_asks_for_them_and_takes_those_that_are_named(tmp_path):
    path = csv(tmp_path / "a.csv", "text,n", [(text, i) for i, text in enumerate(MESSAGES)])
    assert f"{QUESTION} what is the first label called?" in new("--from", path).stdout
    named = new("--from", path, "--labels", "ham,spam", "--name", "mine").stdout
    assert parse_card(named.replace(QUESTION, "Answer")).label_names == ("ham", "spam")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Das Zimmer ist nicht sauber und die Heizung war kalt"),
        ("zh", "恭喜您中奖请马上联系我们"),
        (None, "zx17 qq8"),
    ],
)
def test_the_language_is_told_or_said_to_be_unknown(tmp_path, language, text):
    rows = [(f"{text} {number}",) for number in range(50)]
    found = look(csv(tmp_path / "a.csv", "text", rows), {})
    assert found.language == language
    assert (f"language: {language}" if language else "language: not one that is known here") in found.seen


def test_a_file_of_which_nothing_can_be_made_is_refused(tmp_path):
    with pytest.raises(BadData, match="must have a column of texts, got 'a', 'b', none of which reads like one"):
        look(csv(tmp_path / "a.csv", "a,b", [(1, 2)] * 9), {})
    with pytest.raises(BadData, match=r"rows that can be read, got none .* cells where the header has 2"):
        look(csv(tmp_path / "b.csv", "a,b", [(1,)]), {})
    done = new("--text-column", "x")
    assert "name the file by --from" in str(done.exception)


def test_of_a_long_file_the_first_rows_are_read_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "MOST_ROWS", 200)
    found = look(csv(tmp_path / "a.csv", "text", [(text,) for text in MESSAGES]), {})
    assert found.seen[0] == "the first 200 rows of 1 file read"


def test_cells_of_columns_that_are_not_needed_may_hold_anything(tmp_path):
    items = [
        {"text": text, "label": kind, **({"entities": [{"s": 1}], "more": {"x": [[1]]}} if i % 10 == 0 else {})}
        for i, (text, kind) in enumerate(zip(MESSAGES, KINDS, strict=True))
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, items[::-1])))
    found = look(str(tmp_path / "a.jsonl"), {})
    assert names(found) == {"text": "text", "label": "label"}
    assert found.seen[0] == "300 rows of 1 file read"


def test_ids_that_repeat_are_a_question(tmp_path):
    rows = [(index // 6, text, kind) for index, (text, kind) in enumerate(zip(MESSAGES, KINDS, strict=True))]
    path = csv(tmp_path / "a.csv", "id,text,label", rows)
    assert "The column 'id' repeats or has empty cells: rename it" in look(path, {}).questions[0]
    assert "TODO: what names each text?" in new("--from", path).stdout


def test_hundreds_of_labels_several_in_a_cell_are_found_by_their_column(tmp_path):
    cells = [";".join(f"kind {(i * step + i // 120) % 120}" for step in (1, 7, 11)) for i in range(300)]
    pl.DataFrame({"text": MESSAGES, "label": cells}).write_csv(tmp_path / "a.csv")
    found = look(str(tmp_path / "a.csv"), {})
    assert (len(found.labels), found.is_many, found.questions) == (120, True, ())


def test_signs_that_no_card_may_hold_are_told_with_the_file_and_columns_named_so_are_read(tmp_path):
    kinds = ["don\x92t know" if kind == "ham" else kind for kind in KINDS]
    path = csv(tmp_path / "a.csv", "text,label", zip(MESSAGES, kinds, strict=True))
    done = new("--from", path)
    assert f"{path}:" in str(done.exception)
    assert "got the sign U+0092" in str(done.exception)
    path = csv(tmp_path / "b.csv", "text,label\x92", zip(MESSAGES, KINDS, strict=True))
    card = parse_card(new("--from", path).stdout.replace(QUESTION, "Answer"))
    assert card.section("columns") == {"label": "label\x92"}


def test_labels_on_two_lines_are_refused_in_a_sentence():
    assert "--labels must be names on one line" in str(new("--labels", "a\nb").exception)


def test_a_card_for_german_texts_says_that_its_student_reads_english(tmp_path):
    words = [
        "Das Zimmer war nicht sauber und laut.",
        "Die Suppe ist für mich zu kalt.",
        "Ich bin mit dem Bus gefahren.",
    ]
    rows = [(f"{text} {number}", number % 2) for number, text in enumerate(words * 20)]
    done = new("--from", csv(tmp_path / "a.csv", "text,label", rows))
    assert "  language: de\n" in done.stdout
    assert "# " + (said := "  student: minilm reads English; for de use multilingual-minilm") in done.stdout
    assert said.strip() in done.stderr


def test_lists_under_any_key_are_labels_and_their_shares_are_of_the_texts(tmp_path):
    kinds = [["billing", "urgent"], ["billing"], [], ["urgent"]]
    items = [{"body": text, "wofuer": kinds[i % 4]} for i, text in enumerate(MESSAGES)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, items)))
    found = look(str(tmp_path / "a.jsonl"), {})
    assert (names(found)["label"], found.is_many) == ("wofuer", True)
    assert found.labels == {"billing": 150, "urgent": 150}
    said = "labels: billing 150 (50.0%), urgent 150 (50.0%) (shares of the texts, which may have several)"
    assert said in found.seen


def test_the_name_that_a_card_takes_from_its_file_is_said(tmp_path):
    rows = list(zip(KINDS, MESSAGES, strict=True))
    path = csv(tmp_path / "My Texts.csv", "label,text", rows)
    assert "name: my-texts, after the file; choose another now (--name)" in new("--from", path).stderr
    assert "after the file" not in new("--from", path, "--name", "sms").stderr


def test_cells_with_signs_between_names_beside_one_that_says_none_hold_several_labels(tmp_path):
    cells = ["billing;urgent", "billing", "[]", "urgent"]
    rows = [(text, cells[i % 4]) for i, text in enumerate(MESSAGES)]
    found = look(csv(tmp_path / "a.csv", "text,label", rows), {})
    assert (found.labels, found.is_many) == ({"billing": 150, "urgent": 150}, True)
