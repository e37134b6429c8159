import contextlib
import hashlib
import json
import os
import random
import re
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from understudy.cli.main import app
from understudy.data import cards
from understudy.errors import BadCard, BadInput, BadSetting
from understudy.secrets.keys import redact
from understudy.task.card import (
    LARGEST_FILE,
    QUESTION,
    Budget,
    Card,
    Goals,
    Label,
    Prices,
    Retention,
    Slice,
    Teacher,
    WeakRule,
    load_card,
    parse_card,
)
from understudy.task.labels import LabelSpace
from understudy.task.sections import CascadeConfig, TeacherConfig
from understudy.task.settings import SHARED, Overrides, config_of, sections
from understudy.task.steps import STEPS
from understudy.task.template import new_card


def faults(text: str) -> list[str]:
    with pytest.raises(BadCard) as caught:
        parse_card(text)
    return caught.value.faults


def fault(text: str) -> str:
    (only,) = faults(text)
    return only


def test_a_sound_card_is_read(card_text):
    card = parse_card(card_text)
    assert card.label_names == ("other", "tip")
    assert LabelSpace.of(card).positive_index == 1
    assert card.prior == "estimate"
    assert card.budget.human_labels == 1000
    assert [part.name for part in card.slices] == ["avoid", "short"]


def test_a_card_without_rules_is_refused_with_the_reason(make_card):
    for rules in (None, []):
        assert "Rules come before labels" in fault(make_card(rules=rules))


def test_a_blank_rule_is_no_rule(make_card):
    assert "rules.1 must have at least 1 character" in fault(make_card(rules=["A wish is no tip.", "  "]))


def test_every_fault_is_reported_at_once_with_its_line(make_card):
    text = make_card(
        rules=None, positive_label="tipp", budget={"teacher_usd": 0}, ingest={"tset_share": 0.3}, colour="red"
    )
    found = faults(text)
    lines = text.splitlines()
    named = {name: found_line(found, name) for name in ("tipp", "teacher_usd", "tset_share", "colour")}
    assert {name: lines[line - 1].strip() for name, line in named.items()} == {
        "tipp": "positive_label: tipp",
        "teacher_usd": "teacher_usd: 0",
        "tset_share": "tset_share: 0.3",
        "colour": "colour: red",
    }
    assert len(found) == 5


def found_line(found: list[str], word: str) -> int:
    (sentence,) = [sentence for sentence in found if f"{word}'" in sentence or f".{word} " in sentence]
    return int(sentence.split(":")[1])


def test_each_fault_of_a_section_is_found_though_another_hides_it(make_card):
    found = faults(make_card(ingest={"test_share": 2, "seed": "x", "max_chars": 0, "colour": 1}))
    assert [sentence.split(":")[2].split()[0] for sentence in found] == [
        "ingest.test_share",
        "ingest.seed",
        "ingest.max_chars",
        "A",
    ]


def test_a_section_is_judged_as_a_whole(make_card):
    shares = {"validation_share": 0.5, "calibration_share": 0.1, "test_share": 0.3}
    assert parse_card(make_card(ingest=shares)).settings().value("ingest.validation_share") == 0.5
    assert "must sum to less than 1, got 1.0" in fault(make_card(ingest={"validation_share": 0.3, "test_share": 0.5}))


def test_a_section_may_be_empty(card_text):
    assert parse_card(f"{card_text}ingest:\n  # test_share: 0.3\n").ingest == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"budget": {"teacher_usd": 0}},
            "budget.teacher_usd must be greater than 0, got 0. Mend it; `understudy card new` explains every key.",
        ),
        (
            {"budget": {"teacher_usd": 5, "human_labels": 10.5}},
            "budget.human_labels must be a valid integer, got 10.5. Mend it",
        ),
        (
            {"label": {"texts": 1200.5}},
            "label.texts must be a valid integer, got 1200.5. Mend it; `understudy label --help` explains",
        ),
        ({"label": {"texts": True}}, "label.texts must be a number, got true."),
        ({"ingest": {"near_duplicate": float("nan")}}, "ingest.near_duplicate must be a finite number, got nan."),
        ({"evaluate": {"labels_per_hour": float("inf")}}, "evaluate.labels_per_hour must be a finite number, got inf."),
        ({"evaluate": {"labels_per_hour": "inf"}}, "evaluate.labels_per_hour must be a finite number, got inf."),
        ({"budget": {"teacher_usd": 5, "human_labels": 0}}, "budget.human_labels must be greater than 0, got 0."),
        ({"budget": {"teacher_usd": float("inf")}}, "budget.teacher_usd must be a finite number, got inf."),
        ({"budget": None}, "The key 'budget' must be there, got none."),
        ({"colour": "red"}, "A key must be one that the card knows, got 'colour'."),
        ({"labels": [{"name": "tip", "definition": "x"}], "weak_rules": None}, "2 to 500 labels, got 1 (labels)"),
        ({"labels": [], "weak_rules": None}, "2 to 500 labels, got 0 (labels)"),
        ({"labels": [{"name": name, "definition": "x"} for name in ("tip", "tip")]}, "got 'tip' twice."),
        ({"positive_label": "tipp"}, "The positive label must be one of other, tip, got 'tipp'"),
        (
            {"weak_rules": [{"name": "a", "pattern": "(", "label": "tip"}]},
            "must be a regular expression, got '(': unclosed group. Mend it",
        ),
        ({"weak_rules": [{"name": "a", "pattern": "b", "label": "c"}]}, "label must be one of other, tip, got 'c'"),
        ({"slices": [{"name": "a"}]}, "cut by exactly one of pattern, min_words/max_words or column, got 'a'"),
        ({"slices": [{"name": "a", "pattern": "b", "max_words": 3}]}, "cut by exactly one of"),
        ({"slices": [{"name": "a", "column": "b"}]}, "must say which value it equals, got 'a'"),
        ({"slices": [{"name": "a", "min_words": 9, "max_words": 3}]}, "at most its max_words, got 9 and 3"),
        ({"slices": [{"name": "a", "max_words": 3}, {"name": "a", "max_words": 4}]}, "stand once in slices, got 'a'"),
        ({"prior": 1.5}, "prior must be a number between 0 and 1, one for each label, or 'estimate', got 1.5"),
        ({"goals": {"f1": 1.2}}, "goals.f1 must be less than 1, got 1.2."),
        ({"name": "Hotel Tips"}, "name must be 1 to 63 of a-z, 0-9 and -"),
        ({"name": 7}, "name must be a string, got 7. Put it in quotes."),
        ({"rules": "Wishes are no tips."}, "rules must be a list, got 'Wishes are no tips.'"),
        ({"ingest": ["seed"]}, "ingest must be a mapping, got ['seed']"),
        ({"texts_per_month": 0}, "texts_per_month must be greater than 0, got 0."),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_in_one_sentence(make_card, changes, sentence):
    assert sentence in fault(make_card(**changes))


def test_a_key_in_the_card_is_refused_without_repeating_it(make_card):
    teacher = {"model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, "api_key": "sk-secret"}
    assert "teacher.api_key" in fault(make_card(teacher=teacher))
    assert "sk-secret" not in fault(make_card(teacher=teacher))


def named(make_card, *names: str) -> str:
    labels = [{"name": name, "definition": "x"} for name in names]
    return make_card(labels=labels, positive_label=names[0].strip(), weak_rules=None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a\nb", "must be one line of text, got the sign U+000A"),
        ("a\tb", "must be one line of text, got the sign U+0009"),
        ("a\u2028b", "must be one line of text, got the sign U+2028"),
        ("a\uffff", "must be one line of text, got the sign U+FFFF"),
        ("\u202etip", "must be one line of text, got the sign U+202E"),
        ("\u200b", "must have a sign that can be seen"),
        ("\u3164", "must have a sign that can be seen"),
        ("x" * 201, "must have at most 200 signs, got 201"),
    ],
)
def test_a_label_has_a_name_that_fits_on_a_line(make_card, name, told):
    assert told in fault(named(make_card, name, "other"))


@pytest.mark.parametrize(
    "names",
    [
        ("Tip", "tip"),
        ("a tip", "a  tip"),
        ("tip", "tip "),
        ("\u00e9", "e\u0301"),
        ("tip", "tip\u200b"),
        ("tip", "ti\u00adp"),
        ("\u263a", "\u263a\ufe0f"),
        ("\u039c\u03b1\u0390\u03bf\u03c5", "\u039c\u03b1\u0390\u03bf\u03c5".upper()),
    ],
)
def test_labels_that_differ_by_nothing_that_shows_but_case_and_blanks_are_refused(make_card, names):
    told = fault(named(make_card, *names))
    assert "Labels must differ by more than case, blanks and signs that do not show, got" in told
    first, second = told.partition(" got ")[2].split(" and ", 1)
    assert first != second


@pytest.mark.parametrize("names", [("CO2", "CO\u2082"), ("m2", "m\u00b2"), ("1", "2")])
def test_labels_that_a_reader_tells_apart_are_two(make_card, names):
    assert parse_card(named(make_card, *names)).label_names == names


@pytest.mark.parametrize(
    "labels",
    [
        [{"definition": "x"}, {"name": "none", "definition": "x"}],
        [{"name": True, "definition": "x"}, {"name": "true", "definition": "x"}],
        [{"name": ["a"], "definition": "x"}, {"name": ["A"], "definition": "x"}],
        ["just text", {"name": "a", "definition": "x"}],
    ],
)
def test_what_is_no_name_is_nobodys_twin(make_card, labels):
    text = make_card(labels=labels, weak_rules=None, positive_label="a")
    assert not any("Labels must differ" in sentence for sentence in faults(text))


@pytest.mark.parametrize(
    "name", ['=tip, "so"; <b>', "it's", "null", "1", "\U0001f469\u200d\U0001f4bb", "\U0001fa77", "-", "x" * 200]
)
def test_a_label_may_have_a_name_of_any_visible_signs(make_card, name):
    assert parse_card(named(make_card, name, "something else")).label_names == (name, "something else")


def test_labels_that_yaml_reads_as_something_else_are_refused_with_the_remedy(make_card):
    text = make_card(weak_rules=None).replace("name: other", "name: no").replace("name: tip", "name: yes")
    found = faults(text.replace("positive_label: tip", "positive_label: yes"))
    assert len(found) == 3
    assert all(sentence.endswith("Put it in quotes.") for sentence in found)


def test_a_key_that_stands_twice_is_refused_at_every_depth(card_text):
    assert fault(f"{card_text}unit: text\n") == "card.yaml:30: A key must stand once, got 'unit' twice."
    twice = card_text.replace("  teacher_usd: 5.0\n", "  teacher_usd: 5.0\n  teacher_usd: 50.0\n")
    assert "got 'teacher_usd' twice" in fault(twice)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "card.yaml:1: A card must be a mapping of settings, got nothing."),
        ("- a", "card.yaml:1: A card must be a mapping of settings, got list."),
        ("name: a\nunit:\tb: c", "card.yaml:2: A card must be valid YAML"),
        ("name: \0", "special characters are not allowed"),
        ("name: a\n---\nname: b", "but found another document"),
        ("a: !!python/object/apply:os.system ['true']", "got: a tag (!), which makes another kind of value."),
        ("a: " + "[" * 1500, "nested too deeply"),
        ("[1, 2]: x", "got: a key that is a list or a mapping."),
        ("name: 2024-13-45", "month must be in 1..12"),
    ],
)
def test_what_is_no_card_is_refused_in_one_line(text, sentence):
    found = fault(text)
    assert sentence in found
    assert "\n" not in found


def test_aliases_that_unfold_without_end_are_refused_in_time(card_text):
    levels = "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40))
    assert "aliases that stand for more than 10,000 values" in fault(f"{card_text}a0: &a0 [x, x]\n{levels}\nb: *a39\n")
    assert "card.yaml:30: " in fault(f"{card_text}a0: &a0 [*a0]\n")
    merges = "\n".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30))
    assert "aliases that stand for" in fault(f"{card_text}a0: &a0 {{x: 1}}\n{merges}\n")


def test_aliases_and_merges_of_a_usual_size_serve(card_text):
    found = parse_card(f"{card_text.replace('examples:', 'examples: &told')}ingest: &i {{seed: 3}}\nmine: {{<<: *i}}\n")
    assert (found.ingest, found.mine) == ({"seed": 3}, {"seed": 3})


SLICE = "slices:\n- {name: a, pattern: '%s'}"
MANY = {
    count: "slices:\n" + "".join(f"- {{name: s, max_words: {n}}}\n" for n in range(1, count))
    for count in (1_500, 20_000)
}
BOMBS = {
    "a number of 5,000 digits": ("texts_per_month: " + "9" * 5000, "a whole number of more than 64 bits"),
    "the same in hexadecimal": ("texts_per_month: 0x" + "f" * 5000, "a whole number of more than 64 bits"),
    "the same in base 60": ("texts_per_month: 1" + ":59" * 5000, "a whole number of more than 64 bits"),
    "an integer of 65 bits": ("label: {seed: 18446744073709551616}", "a whole number of more than 64 bits"),
    "20,000 keys": ("".join(f"k{n}: 1\n" for n in range(20_000)), "more than 10,000 values"),
    "4,000 keys": ("".join(f"k{n}: 1\n" for n in range(4_000)), "3,900 more faults"),
    "4,000 settings of a step": (
        "label:\n" + "".join(f"  k{n}: 1\n" for n in range(4_000)),
        "at most 100 settings, got 4,000 (label)",
    ),
    "4,000 equal keys": ("mine:\n" + "".join("  seed: 1\n" for n in range(4_000)), "got 'seed' twice"),
    "20,000 slices": (MANY[20_000], "more than 262,144 characters"),
    "1,500 slices": (MANY[1_500], "slices must have at most 100"),
    "brackets in a pattern": (SLICE % ("(" * 5000 + ")" * 5000), "Nest fewer brackets"),
    "a counted repetition": (SLICE % "a{99999999999999999999}", "decimal literal invalid"),
    "a pattern that would fill the memory": (SLICE % "((a{900}){900}){900}", "Shorten it"),
    "a long pattern": (SLICE % ("a" * 20_000), "at most 10,000 signs long, got 20,000"),
    "a date as a key": ("label: {2026-01-01: 3}", "got '2026-01-01' (label.2026-01-01)"),
    "no number as a key": (".nan: 3", "A key must be a string, got nan"),
    "a lone surrogate": ('unit: "a\\ud800"', "the sign U+D800, which no text holds"),
    "a NUL": ('unit: "a\\0"', "the sign U+0000, which no text holds"),
    "a time before all time": ("unit: 0000-01-01", "a value that cannot be: year 0 is out of range"),
    "a number that is no number": ("texts_per_month: !!int ''", "a tag (!)"),
    "a thousand years": ("retention: {predictions_days: 365000}", "must be less than or equal to 36500"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_fill_memory_or_time_is_refused_at_once(make_card, name):
    lines, sentence = BOMBS[name]
    base = make_card(**dict.fromkeys({"slices", "unit", "texts_per_month"} & {lines.partition(":")[0]}))
    began = time.process_time()
    found = faults(f"{base}{lines}\n")
    assert any(sentence in one for one in found), found[:3]
    assert time.process_time() - began < 5
    assert max(map(len, found)) < 1_500


PIECES = [
    "&a [*a]",
    "!!binary aGk=",
    "!!set {a, b}",
    "0x" + "f" * 6000,
    "1:1:1:1.5",
    "2026-13-40",
    "2026-01-01T99:00:00Z",
]
PIECES += [
    "0001-01-01T00:00:00+23:59",
    "{<<: 3}",
    "[[[[[[[[" * 100,
    '"\\ud800"',
    '"\\U00110000"',
    '"\\UFFFFFFFF"',
    "%YAML 2.0",
]
PIECES += [
    "%YAML " + "1" * 5000,
    "---",
    "\t",
    "\x85",
    "\u2028",
    "\ufeff",
    "`",
    "&",
    "*",
    "!",
    "? [a]\n: b",
    "[,]",
    ": ",
    "#",
]
PIECES += [
    "\x07",
    "\ud800",
    "key: " * 200,
    "!!float ''",
    "!!timestamp x",
    "!!null x",
    "{=: 1}",
    "<<: {a: 1}",
    "0b" + "1" * 7000,
]


def mutated(text: str, rng: random.Random) -> str:
    """Put odd pieces into a text, and leave out or repeat parts of it."""
    for _ in range(rng.randint(1, 4)):
        begin = rng.randrange(len(text))
        end = begin + rng.randint(1, 80)
        piece = rng.choice(
            [rng.choice(PIECES), text[begin:end] * rng.choice([2, 50, 2000]), chr(rng.randrange(0x110000))]
        )
        text = text[:begin] + piece + text[rng.choice([begin, end]) :]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_odd_cards_and_settings_make_no_traceback_and_no_wait(card_text, seed):
    rng, longest = random.Random(seed), 0.0  # noqa: S311 - a fixed seed makes the same cards
    for _ in range(40):
        began = time.process_time()
        with contextlib.suppress(BadCard):
            assert parse_card(mutated(rng.choice([card_text, new_card("a")]), rng)).hash
        with contextlib.suppress(BadSetting):
            Overrides.parse(f"{rng.choice([*STEPS])}.seed={mutated(rng.choice(PIECES) + ' 3', rng)}")
        longest = max(longest, time.process_time() - began)
    assert longest < 10


def test_a_card_that_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST_FILE + 1))
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    refused = {
        tmp_path / "pipe": "got a pipe, a device or a folder",
        "/dev/zero": "got a pipe, a device or a folder",
        tmp_path: "No such file",
        tmp_path / "large.yaml": "at most 1,048,576 bytes, got 1,048,577",
        tmp_path / "latin.yaml": "codec can't decode byte 0xe9",
        "x" * 5000: "File name too long",
        tmp_path / "large.yaml/b": "Not a directory",
        "a\0b": "embedded null byte",
    }
    for path, sentence in refused.items():
        for read in (load_card, cards.read):
            with pytest.raises(BadInput) as caught:
                read(Path(path) if read is load_card else str(path))
            if read is load_card or (len(str(path)) < 5000 and "\0" not in str(path)):
                assert sentence in str(caught.value), path


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("label.texts=&a [*a]", "an alias inside of what it stands for"),
        ("label.texts=" + "[" * 5000, "nested too deeply"),
        ("label.texts=" + "9" * 5000, "a whole number of more than 64 bits"),
        ("label.texts=" + "x" * 300_000, "more than 262,144 characters"),
        ("label.texts=!!python/name:os.system", "a tag (!)"),
        ("label.texts=2026-99-99", "a value that cannot be"),
        ("label.texts=\udcff", "special characters are not allowed"),
        ("x" * 100_000, "must be key=value"),
    ],
)
def test_an_override_that_would_fill_memory_or_time_is_refused_in_a_line(line, sentence):
    with pytest.raises(BadSetting) as caught:
        Overrides.parse(line)
    (found,) = caught.value.faults
    assert sentence in found
    assert len(found) < 500


def test_an_address_with_a_password_is_refused_and_not_shown(make_card):
    for address in ("https://me:pa55word@host", "me:pa55word@host:9200", "https://tok3n-abc@host"):
        found = " ".join(faults(make_card(index={"url": address})))
        assert "An address must hold no password, got one (index.url; not shown)" in found
        assert "pa55word" not in redact(found)
        with pytest.raises(BadSetting, match="must hold no password, got one") as caught:
            Overrides.parse(f"index.url={address}")
        assert "pa55word" not in str(caught.value)
    examples = [{"name": "other", "definition": "x", "examples": ["mail:me@host", "see https://host/@me"]}]
    assert parse_card(make_card(labels=[*examples, {"name": "tip", "definition": "y"}]))


@given(st.text(max_size=60))
def test_no_text_at_all_makes_reading_crash(text):
    with pytest.raises(BadCard):
        parse_card(text)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(sorted(Card.model_fields)), value=json_like)
def test_no_value_of_any_key_makes_reading_crash(make_card_once, key, value):
    text = make_card_once(**{key: value}) if value is not None else make_card_once()
    try:
        assert parse_card(text).label_names == ("other", "tip")
    except BadCard as error:
        assert all(re.match(r"card\.yaml:\d+: \S", sentence) for sentence in error.faults)


@pytest.fixture(scope="module")
def make_card_once():
    from tests.conftest import card_yaml

    return card_yaml


def test_the_hash_counts_what_the_card_says_and_not_how(card_text, make_card):
    card = parse_card(card_text)
    content = yaml.safe_load(card_text)
    turned = "# a comment\n" + yaml.safe_dump(dict(reversed(content.items())), sort_keys=False, default_flow_style=True)
    assert parse_card(turned).hash == card.hash
    assert parse_card(make_card(prior="estimate")).hash == card.hash
    assert parse_card(make_card(prior=0.1)).hash != card.hash
    assert re.fullmatch(r"[0-9a-f]{64}", card.hash)
    assert card.hash != hashlib.sha256(card_text.encode()).hexdigest()


def test_a_card_is_read_from_a_file_or_a_snapshot_folder(tmp_path, card_text):
    (tmp_path / "card.yaml").write_text(card_text)
    assert load_card(tmp_path / "card.yaml") == load_card(tmp_path) == parse_card(card_text)


def test_a_card_that_is_missing_or_not_utf8_is_refused(tmp_path):
    with pytest.raises(BadCard, match=r"readable UTF-8 file.*No such file.*`understudy card new`"):
        load_card(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    with pytest.raises(BadCard, match=r"readable UTF-8 file.*can't decode"):
        load_card(tmp_path / "latin.yaml")


# Settings and overrides


def settings_of(text, overrides="", step=""):
    return parse_card(text).settings(Overrides.parse(overrides, step))


def test_defaults_give_way_to_the_card_and_the_card_to_overrides(make_card):
    card = make_card(ingest={"seed": 1, "min_per_label": 2})
    config = settings_of(card, "ingest.seed=3\ntrain.epochs=9").of(config_of("ingest"))
    assert (config.seed, config.min_per_label, config.max_chars) == (3, 2, 100_000)
    assert settings_of(card, "seed=4", step="ingest").value("ingest.seed") == 4


def test_a_shared_section_of_the_card_gives_way_to_overrides(make_card):
    teacher = {"model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, "concurrency": 3, "max_tries": 2}
    card = make_card(teacher=teacher, cascade={"max_missed": 0.01})
    settings = settings_of(card, "teacher.max_tries=9")
    asking, cascade = settings.of(TeacherConfig), settings.of(CascadeConfig)
    assert (asking.concurrency, asking.max_tries, asking.flush_s) == (3, 9, 5.0)
    assert (cascade.max_missed, cascade.checked_share) == (0.01, 0.01)


def test_an_override_is_judged_together_with_the_card(make_card):
    card = make_card(ingest={"test_share": 0.1})
    assert settings_of(card, "ingest.validation_share=0.6").value("ingest.validation_share") == 0.6
    with pytest.raises(BadSetting, match="must sum to less than 1"):
        settings_of(card, "ingest.validation_share=0.7")


@pytest.mark.parametrize("text", ["seed", "=5", "ingest.seed=[", "ingset.seed=1", "ingest.seed.deep=1"])
def test_an_override_that_cannot_be_meant_is_refused(text):
    with pytest.raises(BadSetting, match=r"An override.*\(--set\)"):
        Overrides.parse(text, "ingest")


def test_an_override_without_a_value_is_refused_with_an_example():
    with pytest.raises(BadSetting, match=r"must be key=value, got 'seed' \(--set\)\. Write it like train\.epochs=2"):
        Overrides.parse("seed")


def test_every_setting_that_cannot_be_meant_is_reported_at_once(card_text):
    with pytest.raises(BadSetting) as caught:
        settings_of(card_text, "label.texts=true\nlabel.seed=.inf\nlabel.nothing=1\ntrain.epochs=0")
    assert len(caught.value.faults) == 4


def test_overrides_of_a_pipeline_need_a_known_section():
    Overrides.parse("ingest.seed=1\ntrain.epochs=2\ncascade.max_missed=0\nteacher.concurrency=2")
    with pytest.raises(BadSetting) as caught:
        Overrides.parse("seed=1\ningset.seed=1\nx.y.z=1")
    assert len(caught.value.faults) == 3


def test_override_values_are_yaml_scalars():
    lines = "a=1\nb=0.5\nc=true\nd=x=y\ne=\n\n f = two words "
    assert Overrides.parse(lines, "train").of("train") == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "x=y",
        "e": None,
        "f": "two words",
    }


@pytest.mark.parametrize("section", sections())
def test_every_section_has_settings_that_stand_on_their_defaults(section, card_text):
    assert parse_card(card_text).settings().of(config_of(section)) == config_of(section)()


@pytest.mark.parametrize(
    ("section", "key", "home"),
    [
        ("label", "concurrency", "teacher"),
        ("mine", "timeout_s", "teacher"),
        ("infer", "max_missed", "cascade"),
        ("infer", "checked_share", "cascade"),
        ("calibrate", "min_settled", "cascade"),
    ],
)
def test_a_shared_setting_in_the_section_of_a_step_is_told_its_place(make_card, card_text, section, key, home):
    says = f"The setting '{key}' must stand in the section '{home}', got it in '{section}' ("
    told = fault(make_card(**{section: {key: 0.1}}))
    assert told.endswith(f"{says}{section}.{key}). Move it there.")
    with pytest.raises(BadSetting) as caught:
        settings_of(card_text, f"{key}=0.1", step=section)
    assert caught.value.faults == [f"{says}{section}.{key}). Move it there."]


def test_a_key_of_the_teacher_that_nobody_knows_is_refused_beside_faulty_settings(make_card):
    teacher = {"model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, "modle": "n", "max_tries": 0}
    told = " ".join(faults(make_card(teacher=teacher)))
    assert "A key must be one that the card knows, got 'teacher.modle'" in told
    assert "max_tries must be at least 1, got 0. Mend it; `understudy card new` explains every setting." in told


def test_a_section_that_says_nothing_plays_no_part_in_the_hash_so_a_new_step_changes_none(make_card, card_text):
    said = {name: part for name, part in parse_card(card_text).model_dump(mode="json").items() if part != {}}
    for name in ("confusion_costs", "context", "labels_per_text", "models", "must", "registry"):
        del said[name]
    since = {"macro_f1", "micro_f1", "accuracy", "labels"}
    said["goals"] = {name: goal for name, goal in said["goals"].items() if name not in since}
    for label in said["labels"]:
        del label["aliases"]
    del said["teacher"]["place"], said["teacher"]["redact"], said["teacher"]["prompts"]
    del said["prices"]["training_usd_per_hour"]
    before = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    assert parse_card(card_text).hash == parse_card(make_card(cascade={})).hash == before
    assert parse_card(make_card(cascade={"max_missed": 0.01})).hash != before


# The card to start from


@pytest.mark.parametrize("name", ["my-task", "a", "2024", "null", "0x1f", "2024-01-01", "a" * 63])
def test_the_new_card_is_sound_under_any_name(name):
    assert parse_card(new_card(name)).name == name


@pytest.mark.parametrize("name", ["", "My task", "-a", "a-", "a_b", "a" * 64, "a\n"])
def test_the_new_card_refuses_a_name_that_no_card_may_have(name):
    with pytest.raises(BadSetting, match="A name must be 1 to 63"):
        new_card(name)


def answered(card: str) -> str:
    """Answer every question of a new card."""
    return card.replace(QUESTION, "Whatever answers")


@pytest.mark.parametrize("labels", [("no", "yes"), ("praise", "blame", "tip"), ('=a, "b"', "😀 # c", "yes", "1.5")])
def test_the_new_card_takes_labels_of_ones_own(labels):
    card = parse_card(answered(new_card("mine", labels)))
    assert card.label_names == labels
    assert card.positive_label == (labels[-1] if len(labels) == 2 else None)
    assert (card.goals.f1, card.goals.macro_f1) == ((0.75, None) if len(labels) == 2 else (None, 0.75))
    assert (card.weak_rules, card.slices) == ((), ())
    assert "Ask for a room" not in new_card("mine", labels)


@pytest.mark.parametrize(("labels", "sentence"), [(["a"], "2 to 500 labels, got 1"), (["a", "A"], "got 'a' and 'A'")])
def test_the_new_card_refuses_labels_that_no_card_may_have(labels, sentence):
    with pytest.raises(BadCard, match=sentence):
        new_card("mine", labels)


def test_a_question_that_nobody_answered_is_a_fault_at_its_line():
    with pytest.raises(BadCard) as told:
        parse_card(new_card("mine", ["no", "yes"]))
    lines = [sentence.partition(": ")[2] for sentence in told.value.faults]
    assert [line.partition(" (")[2].partition(")")[0] for line in lines] == [
        "labels.0.definition",
        "labels.1.definition",
        "rules.0",
    ]
    assert all("must be answered" in line and line.endswith("Write the answer there.") for line in lines)


def test_what_merely_begins_like_a_question_is_none_elsewhere(make_card):
    rule = {"name": "left-over", "pattern": "TODO:", "label": "tip"}
    assert parse_card(make_card(weak_rules=[rule])).weak_rules[0].pattern == "TODO:"


def test_labels_of_a_new_card_come_from_the_command_line():
    done = CliRunner().invoke(app, ["card", "new", "--labels", 'refund, "late, or lost",other'], standalone_mode=False)
    assert parse_card(answered(done.output)).label_names == ("refund", "late, or lost", "other")


def test_the_new_card_explains_every_key():
    text = new_card("my-task")
    parts = (Card, Label, WeakRule, Slice, Teacher, Budget, Prices, Goals, Retention)
    keys = {key for part in parts for key in part.model_fields}
    keys |= {field.name for shared in SHARED for field in fields(config_of(shared))}
    missing = {key for key in keys if not re.search(rf"\b{key}\b", text)}
    assert missing == set()
    assert all(comment_near(text, key) for key in Card.model_fields if key not in {*STEPS, *SHARED[1:]})


def comment_near(text: str, key: str) -> bool:
    """Whether a key's line has a comment on it or right above it."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
    return "#" in lines[at] or lines[at - 1].startswith("#")


def test_the_new_card_shows_the_defaults(make_card):
    card = parse_card(new_card("my-task"))
    for model, part in ((Card, card), (Budget, card.budget), (Prices, card.prices), (Teacher, card.teacher)):
        for name, field in model.model_fields.items():
            if name in {"student", "texts_per_month", "prior", "human_labels", "seconds_per_text"}:
                assert getattr(part, name) == field.default, name
    assert card.prices == Prices()
    assert set(card.section("ingest")) <= {field.name for field in fields(config_of("ingest"))}


def test_the_command_writes_a_card_and_finds_it_sound(tmp_path):
    runner = CliRunner()
    written = runner.invoke(app, ["card", "new", "--name", "forum"], catch_exceptions=False)
    (tmp_path / "card.yaml").write_text(written.output)
    checked = runner.invoke(app, ["card", "check", str(tmp_path / "card.yaml")], catch_exceptions=False)
    assert "the card 'forum' is sound" in checked.output


# Two labels or many


def kinds(number: int) -> list[dict[str, str]]:
    return [{"name": f"kind {index}", "definition": "x"} for index in range(number)]


@pytest.mark.parametrize("number", [3, 77, 500])
def test_many_labels_need_no_positive_one(make_card, number):
    card = parse_card(make_card(labels=kinds(number), positive_label=None, weak_rules=None, goals={"macro_f1": 0.8}))
    space = LabelSpace.of(card)
    assert (len(space), space.positive_index, len(space.sides)) == (number, None, number)
    named = parse_card(make_card(labels=kinds(number), positive_label="kind 2", weak_rules=None))
    assert LabelSpace.of(named).sides == (2,)


THREE = {"labels": kinds(3), "positive_label": None, "weak_rules": None, "goals": None}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"labels": kinds(1000), "positive_label": None, "weak_rules": None, "goals": None},
            "2 to 500 labels, got 1,000",
        ),
        ({"positive_label": None, "goals": None}, "two labels must say which is looked for, got none (positive_label)"),
        (THREE | {"goals": {"f1": 0.8}}, "A goal for f1 must have a positive label, got none (goals.f1). Name a"),
        (
            THREE | {"goals": {"labels": {"kind 7": {"f1": 0.8}}}},
            "one of the card's, got 'kind 7' (goals.labels.kind 7)",
        ),
        (THREE | {"prior": 0.1}, "prior must say the share of each label where none is looked for, got 0.1"),
        (THREE | {"prior": {"kind 0": 0.5, "kind 1": 0.5}}, "a share for each label, got none for kind 2"),
        (THREE | {"prior": {"kind 0": 0.5, "kind 1": 0.3, "kind 2": 0.3}}, "must add up to 1, got 1.1"),
        (
            THREE | {"confusion_costs": [{"label": "kind 0", "given": "kind 9", "cost": 3}]},
            "one of the card's, got 'kind 9' (confusion_costs.0.given)",
        ),
        (THREE | {"confusion_costs": [{"label": "kind 0", "given": "kind 0", "cost": 3}]}, "must be of two labels"),
        (
            THREE | {"confusion_costs": [{"label": "kind 0", "given": "kind 1", "cost": cost} for cost in (3, 7)]},
            "must have one cost, got 2 for 'kind 0' given 'kind 1'",
        ),
        (THREE | {"prior": "0.1"}, "prior must be a number between 0 and 1, one for each label"),
        (
            THREE | {"confusion_costs": [{"label": "kind 0", "given": "kind 1", "cost": -3}]},
            "greater than 0",
        ),
    ],
)
def test_what_the_card_says_of_labels_must_fit_them(make_card, changes, sentence):
    assert sentence in fault(make_card(**changes))


def test_a_prior_for_each_label_is_read(make_card):
    card = parse_card(make_card(**THREE, prior={"kind 0": 0.5, "kind 1": 0.3, "kind 2": 0.2}))
    assert card.prior == {"kind 0": 0.5, "kind 1": 0.3, "kind 2": 0.2}


def test_a_share_that_is_none_is_told_once(make_card):
    told = fault(make_card(**THREE, prior={"kind 0": 1.5, "kind 1": 0.3, "kind 2": 0.2}))
    assert "one for each label, or 'estimate', got 1.5 (prior.kind 0)" in told


@pytest.mark.parametrize("name", ["[]", "none of the labels", '["tip"]', '["praise", "tip"]'])
def test_a_label_must_not_be_called_like_a_set_or_none_of_them_where_there_may_be_several(make_card, name):
    labels = [{"name": name, "definition": "x"}, {"name": "tip", "definition": "x"}]
    with pytest.raises(BadCard, match="A label must not be called"):
        parse_card(make_card(labels=labels, labels_per_text="many", positive_label=None, weak_rules=None))
    rules = {"labels": labels, "weak_rules": None}
    assert parse_card(make_card(**rules)).label_names == (name, "tip")


def test_aliases_are_read_as_files_write_them_and_change_the_hash_only_where_they_are(make_card):
    labels = [{"name": "other", "definition": "x", "aliases": [0, False]}, {"name": "tip", "definition": "x"}]
    card = parse_card(make_card(labels=labels))
    assert [label.aliases for label in card.labels] == [("0", "false"), ()]
    bare = [{"name": "other", "definition": "x", "aliases": []}, {"name": "tip", "definition": "x"}]
    plain = [{"name": "other", "definition": "x"}, {"name": "tip", "definition": "x"}]
    assert parse_card(make_card(labels=bare)).hash == parse_card(make_card(labels=plain)).hash != card.hash


@pytest.mark.parametrize(
    ("first", "second", "got"),
    [([1], ["1 "], "got '1 ' for 'tip' and 'other'"), (["Tip"], [], "got 'Tip' for 'other' and 'tip'")],
)
def test_an_alias_that_could_mean_two_labels_is_refused(make_card, first, second, got):
    labels = [
        {"name": "other", "definition": "x", "aliases": first},
        {"name": "tip", "definition": "x", "aliases": second},
    ]
    assert f"An alias must mean one label, {got}" in fault(make_card(labels=labels))


@pytest.mark.parametrize("name", [["tip"], {"tip": "x"}, None])
def test_a_name_that_is_no_string_is_said_also_where_a_text_may_have_several_labels(make_card, name):
    labels = [{"name": name, "definition": "x"}, {"name": "tip", "definition": "x"}]
    with pytest.raises(BadCard, match=r"labels\.0\.name must be a string"):
        parse_card(make_card(labels=labels, labels_per_text="many", positive_label=None, weak_rules=None))
