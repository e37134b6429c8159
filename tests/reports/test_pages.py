"""Every page that is made from a record escapes what it quotes, needs nothing else, and misses no field in silence."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.conftest import card_yaml
from tests.evaluations import measured
from tests.html_pages import Page
from tests.watched import KNOWN
from understudy.errors import BadArtifact
from understudy.reports import audit, charts, evaluation, model_card, pages, watch
from understudy.steps.evaluate import assemble
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.store.watch_records import NewWord, Night, Quality, Share, Value
from understudy.task.card import parse_card

NASTY = "</style><script>alert(1)</script> \"quoted\" 'too' & <img src=x onerror=1>|`[a](http://evil.example)\x07"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
KEEP = {"publish", "refuse", "student", "student_taught", "teacher", "rules", "majority"}  # by these a page is built
VALUE = {"value": 0.3, "low": 0.2, "high": 0.4, "expected": 0.2, "expected_low": 0.1, "expected_high": 0.3}
SHARE = {"value": 0.8, "low": 0.7, "high": 0.9}


@pytest.fixture(scope="module")
def measured_record():
    kinds = [(9, True, 0.9, True), (4, True, 0.2, True), (5, False, 0.7, False), (60, False, 0.1, False)]
    slices = [{"name": "room", "pattern": "room"}, {"name": "rare", "pattern": "zzz|room 1$"}]
    card = {"goals": {"f1": 0.5, "recall": 0.9}, "slices": slices}
    return assemble.evaluation(measured(kinds, card=card, is_rehearsal=True, config=EvaluateConfig(samples=100)))


def night(text):
    """Return a night's record with a text wherever one can stand; what is read from a store is checked, this is not."""
    value = Value(**VALUE, evidence=1.5, since=text, is_alarm=True, is_standing=True)
    return Night(
        format=1, date=text, card=text, version=text, generation=1, is_rehearsal=True, positive_label=text, texts=300,
        looked_at=200, refused={text: 3}, verdict="look", reason=text, evidence=[text, f"more {text}"],
        series={"shares": value}, points={}, summary={}, reference=None,
        labels=[text], shares={text: Share(value=0.3, low=0.2, high=0.4, expected=0.2, evidence=1.5)},
        words=[NewWord(word=text, groups=9, texts=1200)], settings={"false_alarm_nights": 365}, quality=text,
    )  # fmt: skip


AUDIT = {
    "card": "hotel-tips", "is_rehearsal": True, "positive_label": "tip", "verdict": ["It agrees.", "No bias."],
    "method": "Fisher's exact test.", "human_texts": 4, "weak_rules": [],
    "settle": [], "second_look": {"sentences": [], "examples": [], "method": ""},
    "classes": {"tip": {"human": 4, "teacher": 5, "precision": SHARE, "recall": {"value": None}}},
    "slices": [
        {
            "name": "avoid", "texts": 5, "true_positive": 2, "false_negative": 1, "recall": SHARE,
            "recall_elsewhere": SHARE, "false_alarm_share": SHARE, "false_alarm_share_elsewhere": SHARE,
            "p_adjusted": 0.03, "direction": "confuses", "label": "tip", "given": "no", "is_too_few": False,
            "findings": [
                {
                    "direction": direction, "label": "tip", "given": given, "wrong": 1, "tried": 3, "share": SHARE,
                    "share_elsewhere": SHARE, "p_adjusted": 0.03,
                }
                for direction, given in (("confuses", "no"), ("under-labels", None))
            ],
        }
    ],
    "pairs": [{"label": "tip", "given": "no", "texts": 1, "tried": 3, "share": SHARE}],
    "categories": [
        {
            "name": "missed", "texts": 1,
            "examples": [
                {"id": "a", "split": "train", "text": "t", "label": "tip", "teacher_label": "no", "rationale": "so"}
            ],
        }
    ],
}  # fmt: skip


def quoting(record, text):
    """Put a text in the place of every text of a record, and before the names in it that a user gave."""
    if isinstance(record, dict):
        named = record if not {"tip", "empty_text"} & set(record) else {text + name: record[name] for name in record}
        return {name: quoting(value, text) for name, value in named.items()}
    if isinstance(record, (list, tuple)):
        return [quoting(value, text) for value in record]
    return text if isinstance(record, str) and record not in KEEP else record


def evaluation_page(text, record):
    return evaluation.page(quoting(record, text))


def watch_page(text, record):
    nights = [night(text), night(text)]
    return watch.page(nights, Quality(card=text, date=text, **quoting(KNOWN, text)))


def audit_page(text, record):
    return audit.page(quoting(AUDIT, text))


def card_page(text, record):
    bundle = {
        "version": text, "is_rehearsal": True, "labels": ["other", text], "positive_label": text, "max_length": 64,
        "calibrator": {"form": text, "slopes": [1.0, 1.0], "biases": [0.0, 0.0]}, "files": {text: text},
        "student": text, "graph": text, "cascade": {"reason": text},
    }  # fmt: skip
    card = parse_card(card_yaml())
    label = card.labels[0].model_copy(update={"name": text, "definition": text})
    changes = {
        "name": text,
        "question": text,
        "labels": (label,),
        "rules": (text,),
        "unit": text,
        "positive_label": text,
    }
    return model_card.page(bundle, card.model_copy(update=changes), quoting(record, text), is_forced=True)


HTML = pytest.mark.parametrize("build", [evaluation_page, watch_page])
MARKDOWN = pytest.mark.parametrize("build", [audit_page, card_page])


@HTML
def test_whatever_a_text_says_the_page_is_built_the_same(build, measured_record):
    assert not re.search("&amp;(lt|gt|amp|quot|#)", build(NASTY, measured_record))  # escaped once, not twice
    plain, nasty = (Page(build(text, measured_record)) for text in ("plain", NASTY))
    assert [(tag, sorted(names)) for tag, names, _ in nasty.elements] == [
        (tag, sorted(names)) for tag, names, _ in plain.elements
    ]
    assert not nasty.all("script")
    assert not nasty.all("img")
    assert " ".join(NASTY.replace("\x07", "\N{REPLACEMENT CHARACTER}").split()) in nasty.text


@HTML
def test_a_page_needs_no_other_file_no_network_and_no_script(build, measured_record):
    html = build(NASTY.replace("http://evil.example", ""), measured_record)
    page = Page(html)
    policies = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY]
    assert not {"script", "img", "iframe", "object", "embed", "video", "base", "form"} & {
        tag for tag, *_ in page.elements
    }
    links = [one[name] for _, one, _ in page.elements for name in ("href", "src") if name in one]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not [name for _, one, _ in page.elements for name in one if name.startswith("on")]


@HTML
def test_people_who_hear_a_page_get_all_of_it(build, measured_record):
    page = Page(build("plain", measured_record))
    assert len(page.all("caption")) == len(page.all("table"))
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    pointed = [name for _, one, _ in page.elements for name in (one.get("aria-labelledby") or "").split()]
    assert set(pointed) | {one["href"][1:] for one in page.all("a")} <= set(names)
    levels = [int(tag[1]) for tag, *_ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(second - first <= 1 for first, second in pairwise(levels))


@MARKDOWN
def test_whatever_a_text_says_markdown_keeps_its_lines_and_cells(build, measured_record):
    plain, nasty = (build(text, measured_record).splitlines() for text in ("plain", NASTY + "\n\n# more"))
    assert len(nasty) == len(plain)
    assert [_bars(line) for line in nasty] == [_bars(line) for line in plain]
    without_folds = re.sub(r"(?<!\\)</?(details|summary)>", "", "\n".join(nasty))
    assert not re.search(r"(?<!\\)(<|\[)", without_folds.replace("> **", ""))
    assert "\x07" not in "".join(nasty)


def vague(record):
    """Put the interval 0 to 1 around every share and figure of a record."""
    if isinstance(record, dict):
        found = {name: vague(value) for name, value in record.items()}
        return found | {"value": 0.5, "low": 0.0, "high": 1.0} if {"value", "low", "high"} <= record.keys() else found
    return [vague(one) for one in record] if isinstance(record, list) else record


def vague_watch():
    value = Value(value=0.5, low=0.0, high=1.0, expected=0.2, expected_low=0.1, expected_high=0.3, evidence=0.1,
                  since=None, is_alarm=False, is_standing=False)  # fmt: skip
    share = Share(value=0.5, low=0.0, high=1.0, expected=0.2, evidence=0.1)
    nights = [
        replace(night(date), positive_label=label, labels=["tip"], series={"shares": value}, shares={"tip": share})
        for date, label in (("2026-11-01", "tip"), ("2026-11-02", "tip"))
    ]
    return watch.page(nights, Quality(card="hotel-tips", date="2026-11-02", **vague(KNOWN)))


@pytest.mark.parametrize("kind", ["evaluation", "watch", "audit"])
def test_a_page_says_nothing_where_an_interval_is_zero_to_a_hundred_percent(kind, measured_record):
    record = vague(measured_record) | {"comparison": None, "gates": []}
    build = {
        "evaluation": lambda: evaluation.page(record),
        "watch": vague_watch,
        "audit": lambda: audit.page(vague(AUDIT)),
    }
    html = build[kind]()
    assert not re.search(r"\b0(\.0+)?%? to (1\.00?|100(\.0)?%)", html)
    assert "n/a" in html


def test_a_series_leaves_out_nights_that_say_nothing_and_counts_them():
    assert "too few texts to say; expected 20.0%" in vague_watch()
    assert "2 nights with too few texts left out" in vague_watch()


def _bars(line):
    return len(re.findall(r"(?<!\\)\|", line))


@pytest.mark.parametrize("missing", ["systems", "card", "reliability", "costs"])
def test_a_record_that_lacks_what_its_page_shows_is_refused_in_a_sentence(missing, measured_record):
    with pytest.raises(BadArtifact, match="A record must hold all that its page shows"):
        evaluation.page({name: value for name, value in measured_record.items() if name != missing})


def test_a_field_within_a_record_is_missed_too(measured_record):
    found = json.loads(json.dumps(measured_record))
    del found["card"]["hash"]
    with pytest.raises(BadArtifact, match="'hash'"):
        evaluation.page(found)
    with pytest.raises(BadArtifact, match="'method'"):
        audit.page({name: value for name, value in AUDIT.items() if name != "method"})


def test_a_figure_escapes_its_words():
    drawn = charts.series("a", NASTY, [charts.Mark(NASTY, 1.0, 0.5, 1.5, None, True, NASTY)], [(0.0, "0"), (2.0, "2")])
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert "\x07" not in drawn


def test_markdown_shows_a_text_as_it_is():
    assert pages.escape_markdown("a | b\n\n# c *d* `e` ![f](g) <h> \\ &amp;") == (
        r"a \| b # c \*d\* \`e\` !\[f](g) \<h> \\ \&amp;"
    )
