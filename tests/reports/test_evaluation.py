"""The report: one page that needs nothing else, escapes what it quotes, and says what the evaluation says."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest

from tests.evaluations import measured
from tests.html_pages import Page
from understudy.reports import evaluation as report
from understudy.steps.evaluate import assemble
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.task.guideline import Guideline

KINDS = [
    (18, True, 0.9, True),
    (4, True, 0.2, True),
    (2, True, 0.1, False),
    (5, False, 0.7, False),
    (120, False, 0.1, False),
]


def evaluation(kinds=KINDS, **changes):
    config = EvaluateConfig(samples=100)
    return assemble.evaluation(measured(kinds, **{"config": config, **changes}))


@pytest.fixture(scope="module")
def found():
    return evaluation(is_rehearsal=True, card={"goals": {"f1": 0.5, "recall": 0.9, "p95_latency_ms": 25}})


@pytest.fixture(scope="module")
def page(found):
    return Page(report.page(found))


def test_labels_by_an_older_guideline_are_counted_beside_the_texts():
    laid_out = measured(KINDS, config=EvaluateConfig(samples=100))
    now = Guideline.of(laid_out.card).hash
    of_rows = pl.Series("guideline", ["gold"] * 3 + [None] + [now] * 145)
    older = replace(laid_out, test=replace(laid_out.test, table=laid_out.test.table.with_columns(of_rows)))
    said = "4 of these labels were not given by the card's guideline."
    assert said in Page(report.page(assemble.evaluation(older))).text
    assert "guideline" not in Page(report.page(assemble.evaluation(laid_out))).text


def test_the_page_needs_no_other_file_no_network_and_no_script(found, page):
    html = report.page(found)
    assert not {"script", "img", "iframe", "object", "embed", "video", "base"} & {tag for tag, _, _ in page.elements}
    links = [attributes["href"] for tag, attributes, _ in page.elements if "href" in attributes]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"https?://|@import|url\(", html)
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_texts_cannot_break_out_of_the_page():
    nasty = '</style><script>alert(1)</script> & <b>bold</b> "quoted" \x00\ud800 \u202e end'
    kinds = [(1, True, 0.1, True), (1, False, 0.9, False), (10, False, 0.1, False), (10, True, 0.9, True)]
    texts = [nasty, nasty] + ["Plain."] * 20
    html = report.page(evaluation(kinds, texts=[text.encode("utf-8", "replace").decode() for text in texts]))
    page = Page(html)
    assert not page.all("script")
    assert "<script>alert(1)</script> & <b>bold</b>" in page.text
    assert "\x00" not in html


def test_names_of_the_card_cannot_break_out_either():
    slices = [{"name": "<img src=x onerror=alert(1)>", "pattern": "room"}]
    page = Page(
        report.page(evaluation(card={"slices": slices, "question": "<script>1</script>?", "rules": ["<i>rule"]}))
    )
    assert not page.all("img")
    assert not page.all("script")


def test_the_title_says_the_decision_and_the_first_paragraph_how_it_stands_to_the_teacher(found, page):
    assert [tag for tag, _, _ in page.elements].count("h1") == 1
    assert "Do not publish: the student misses 1 of the card's 3 goals" in page.text
    assert found["comparison"]["sentence"] in page.text
    assert found["gates"][1]["sentence"] in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"card": {"goals": {"f1": 0.5}}}, "Publish: the student meets every goal of the card"),
        ({}, "Publish: the card sets no goals"),
        (
            {"kinds": [(60, True, 0.2, True), (100, False, 0.1, False)], "card": {"texts_per_month": 10}},
            "Keep the teacher: it is certainly better, and cheaper at 10 sentences a month",
        ),
    ],
)
def test_every_decision_has_its_title(changes, words):
    assert words in Page(report.page(evaluation(**changes))).text


def test_a_rehearsal_is_stamped_and_a_bought_run_is_not(page):
    assert page.text.count("Rehearsal.") == 1
    assert "Rehearsal" not in Page(report.page(evaluation())).text


def test_the_page_shows_every_part_that_was_promised(found, page):
    headings = re.findall(r"<h2[^>]*>([^<]+)", report.page(found))
    assert headings == [
        "Beside its teacher", "Goals", "Label by label", "Probabilities and thresholds", "Slices",
        "Where it errs more often", "Cost and latency",
        "Thresholds", "Errors to read", "The task", "How this was measured",
    ]  # fmt: skip
    for rule in found["card"]["rules"]:
        assert rule in page.text
    for line in found["costs"]["arithmetic"]:
        assert line in page.text
    assert found["card"]["hash"][:12] in page.text
    assert found["bundle"]["version"] in page.text


def test_the_page_says_why_this_graph_serves(found, page):
    assert found["bundle"]["graph_reason"].startswith("average precision 0.912 in int8")
    assert found["bundle"]["graph_reason"] in page.text


def test_the_table_holds_the_figures_of_every_system(found, page):
    for system in found["systems"]:
        assert system["title"] in page.text
        value = system["figures"]["f1"]["value"]
        assert f"{value:.2f}" in page.text


def test_an_undefined_figure_is_said_to_be_so_and_why(page):
    assert "n/a: precision of The card's weak rules and Commonest label, since no text is flagged." in page.text
    assert "nan" not in page.text.lower().split()


def test_missing_answers_of_the_teacher_are_counted():
    page = Page(report.page(evaluation([*KINDS, (7, False, 0.1, None)])))
    assert "The teacher did not answer 7 texts; it is compared on the others." in page.text
    assert "Student, on the 149 texts that the teacher answered" in page.text


def test_without_a_teacher_the_page_says_that_there_is_no_comparison():
    page = Page(report.page(evaluation([(*kind[:3], None) for kind in KINDS])))
    assert "The teacher's answers to these texts were not given" in page.text
    assert "Beside simple answers" in page.text


def test_a_page_of_undefined_figures_still_stands():
    page = Page(report.page(evaluation([(30, False, 0.1, False)], card={"goals": {"f1": 0.5}})))
    assert "F1 must be at least 0.50, got n/a." in page.text


def test_the_same_evaluation_gives_the_same_bytes_from_its_json(found):
    assert report.page(found) == report.page(json.loads(json.dumps(found)))


def test_people_who_hear_the_page_get_all_of_it(page):
    assert all(one.get("scope") in {"col", "row"} for one in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in page.all("svg"))
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    pointed = [name for _, one, _ in page.elements for name in (one.get("aria-labelledby") or "").split()]
    pointed += [one["href"][1:] for one in page.all("a")]
    assert set(pointed) <= set(names)
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(second - first <= 1 for first, second in pairwise(levels))


def _colours(css):
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", css))


def _contrast(first, second):
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_colour_schemes(scheme, found):
    style = re.search(r"(?s)<style>(.*)</style>", report.page(found))[1]
    light, dark = style.split("@media print")[0].split("prefers-color-scheme: dark")
    colours = _colours(light if scheme == "light" else dark)
    pairs = [(ink, sheet) for ink in ("ink", "soft", "student", "teacher") for sheet in ("page", "sheet", "faint")]
    pairs += [
        ("good", "good-soft"),
        ("bad", "bad-soft"),
        ("hold", "hold-soft"),
        *((mood, "sheet") for mood in ("good", "bad", "hold")),
    ]
    weak = {pair: round(_contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def test_a_terminal_gets_an_aligned_table_and_the_verdict(found):
    lines = report.summary_lines(found)
    header, student = lines[0], lines[1]
    f1 = found["systems"][0]["figures"]["f1"]
    assert student.startswith("Student ")
    assert student[header.index("F1") :].startswith(f"{f1['value']:.2f} ({f1['low']:.2f} to {f1['high']:.2f})")
    assert any(line.startswith(found["comparison"]["sentence"]) for line in lines)
    assert any(line.startswith("Do not publish: ") for line in lines)
    assert lines[-1].startswith("Rehearsal")
