"""The report and the model card of tasks where a text may have several labels, whatever the labels are called."""

import json
import re

import numpy as np
import pytest

from tests.evaluations import measured_several
from tests.html_pages import Page
from tests.reports.test_evaluation_labels import ODD, PLAIN
from understudy.reports import evaluation as report
from understudy.reports import model_card
from understudy.steps.evaluate import assemble
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.task.label_sets import written

BLOCKS = [
    (30, [0], {0: 0.9}, [0]), (12, [0, 1], {0: 0.8, 1: 0.7}, [0, 1]), (6, [0, 1], {0: 0.8, 1: 0.3}, [1]),
    (9, [2], {2: 0.7}, [2]), (4, [2], {2: 0.3, 0: 0.6}, []), (11, [], {}, None),
]  # fmt: skip


def laid_out(names=PLAIN, **changes):
    kinds = [
        (
            texts,
            [names[label] for label in true],
            {names[label]: sure for label, sure in given.items()},
            None if taught is None else [names[label] for label in taught],
        )
        for texts, true, given, taught in BLOCKS
    ]
    goals = {"macro_f1": 0.6, "micro_f1": 0.99, "accuracy": 0.9, "labels": {names[1]: {"recall": 0.9}}}
    config = EvaluateConfig(samples=100)
    return measured_several(kinds, names=names, **{"card": {"goals": goals}, "config": config, **changes})


@pytest.fixture(scope="module")
def found():
    return assemble.evaluation(laid_out(thresholds=(0.5, 0.45, 0.32)))


@pytest.fixture(scope="module")
def page(found):
    return Page(report.page(found))


@pytest.fixture(scope="module")
def many():
    """Lay out a test set of many labels, of which texts have some."""
    rng, names = np.random.default_rng(3), [f"topic {index:02}" for index in range(60)]
    kinds = []
    for _ in range(300):
        true = sorted(rng.choice(60, size=rng.integers(0, 4), replace=False).tolist())
        given = {names[label]: float(rng.uniform(0.3, 0.95)) for label in true}
        given |= {names[label]: float(rng.uniform(0.1, 0.6)) for label in rng.integers(60, size=2)}
        kinds.append((1, [names[label] for label in true], given, [names[label] for label in true[:2]]))
    return assemble.evaluation(measured_several(kinds, names=names, config=EvaluateConfig(samples=100)))


def bundle(one, **changes):
    labels = list(one.card.label_names)
    calibrator = {"form": "vector scaling", "slopes": [1.0, 1.5, 1.25], "biases": [0.0, -0.5, 0.5]}
    about = {"labels": labels, "positive_label": None, "labels_per_text": "many", "calibrator": calibrator}
    cascade = {"reason": "a text may have several labels", "max_missed": 0.005}
    return {**one.bundle, **about, "files": {"model.onnx": "0" * 64}, "cascade": cascade, **changes}


def card(one, **changes):
    return model_card.page(bundle(one, **changes), one.card, assemble.evaluation(one), is_forced=False)


# The report


def test_the_page_leads_with_macro_f1_and_exact_match(found, page):
    headings = re.findall(r"<h2[^>]*>([^<]+)", report.page(found))
    assert headings == [
        "Beside its teacher", "Goals", "Label by label", "Probabilities and confidence", "Slices",
        "Where it errs more often", "Cost and latency",
        "What to leave to people", "Errors to read", "The task", "How this was measured",
    ]  # fmt: skip
    assert "Macro F1 (95% interval) Micro F1 Exact match Weighted F1 ECE Brier score" in page.text
    assert "72 human-labelled texts from 72 groups, of 3 labels, of which a text may have several or none." in page.text
    assert "Exact match must be at least 0.90, got 0.86" in page.text
    assert "A text may have several of these labels, or none." in page.text


def test_each_label_says_from_which_probability_it_is_given(page):
    assert "tip18 texts, given 12 from a probability of 0.450" in page.text
    assert "each label whose probability reaches the label's own threshold (0.320 to 0.500)" in page.text


def test_what_is_missed_and_given_wrongly_stands_in_the_place_of_a_matrix(found, page):
    assert "10 of 72 texts (14%) did not get exactly the right labels: 10 labels missed, 4 given wrongly." in page.text
    assert "tip 6 33% 0 0%" in page.text
    assert "blame 4 31% 0 0%" in page.text
    assert "praise 0 0% 4 8%" in page.text
    assert page.text.index("tip 6 33%") < page.text.index("praise 0 0%") < page.text.index("blame 4 31%")
    assert "Confusion matrix" not in page.text
    assert not [one for one in page.all("svg") if "confusion-matrix" in one["aria-labelledby"]]


def test_errors_are_titled_by_the_label_and_show_whole_sets_in_words(page):
    assert "Missed 'tip' (5 of 6, the surest first)" in page.text
    assert "Wrongly given 'praise' (4)" in page.text
    assert "Wrongly given 'tip'" not in page.text
    assert "student 30%, says praise · people say praise, tip · teacher says tip" in page.text
    assert "people say blame · teacher says none of the labels" in page.text
    assert '["praise"' not in page.text


def test_the_curves_count_labels_and_the_surest_answers_are_texts(page):
    assert "a label called 30% likely is one that the text has 3 times in 10" in page.text
    assert "bars: labels, up to" in page.text
    assert "Exact match of these" in page.text
    assert "the lower one of probability and 1 - runner_up_probability" in page.text


def test_a_page_without_a_mistake_says_so():
    one = measured_several([(9, ["a", "b"], {"a": 0.9, "b": 0.8}, ["a"]), (4, [], {}, None)], names="abc")
    page = Page(report.page(assemble.evaluation(one)))
    assert "All 13 texts got exactly the right labels." in page.text
    assert "No test text has the label 'c'" in page.text


def test_of_many_labels_the_worst_are_shown_and_the_rest_folded(many):
    html = report.page(many)
    rows = html.partition("What is missed, and what is given wrongly?")[2].partition("<details>")[0]
    assert len(re.findall(r'<th scope="row"', rows)) == 20
    more = len(many["mistakes"]["labels"]) - 20
    assert f"<summary>{more} more labels</summary>" in html
    assert len(Page(html).all("caption")) == len(Page(html).all("table"))


def test_whatever_labels_are_called_the_page_is_built_the_same():
    plain, odd = (Page(report.page(assemble.evaluation(laid_out(names, card={})))) for names in (PLAIN, ODD))
    assert [(tag, sorted(names)) for tag, names, _ in odd.elements] == [
        (tag, sorted(names)) for tag, names, _ in plain.elements
    ]
    assert not odd.all("kbd")
    for name in ODD:
        assert " ".join(name.split()) in odd.text
    assert written(ODD) not in odd.text


def test_the_same_evaluation_gives_the_same_bytes_from_its_json(many):
    assert report.page(many) == report.page(json.loads(json.dumps(many)))


def test_a_terminal_gets_exact_match_beside_macro_and_micro_f1(found):
    header, student = report.summary_lines(found)[:2]
    assert [name in header for name in ("macro F1 (95% interval)", "micro F1", "exact match", "ECE")] == [True] * 4
    assert student[header.index("exact match") :].startswith("0.86")


# The model card


def test_the_card_says_how_each_label_is_decided(found):
    text = card(laid_out(thresholds=(0.5, 0.45, 0.32)))
    assert "It says of each label whether the text has it, and how likely that is; a text may have several, or" in text
    assert "| tip | It is about tip. | 0.450 |" in text
    assert "A text gets each label whose probability reaches the label's own threshold (0.320 to 0.500)." in text
    assert (
        "The probability of each label is `1 / (1 + exp(-(slope * logit + bias)))` of the label's own logit, with "
        "slopes from 1 to 1.5 and biases from -0.5 to 0.5: vector scaling, fitted on the calibration split alone"
        in text
    )
    assert "The figure that decides is macro F1: 0." in text
    assert "- On the test texts it missed 10 labels and gave 4 wrongly" in text


def test_the_card_of_two_labels_that_a_text_may_have_both_of_has_no_sigmoid_of_one_side():
    kinds = [(9, ["tip"], {"tip": 0.9}, None), (9, ["tip", "other"], {"other": 0.9}, None)]
    one = measured_several(kinds, names=("tip", "other"))
    text = card(one, calibrator={"form": "vector scaling", "slopes": [0.8, 0.8], "biases": [0.1, -0.1]})
    assert "with slopes of 0.8 and biases from -0.1 to 0.1: vector scaling" in text


def test_the_card_says_why_there_is_no_first_stage():
    one = laid_out()
    assert "There is no first stage: a text may have several labels." in card(one)


def test_whatever_labels_are_called_the_card_keeps_its_lines_and_cells():
    plain, odd = (card(laid_out(names)).splitlines() for names in (PLAIN, ODD))
    assert len(plain) == len(odd)
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in odd] == [
        len(re.findall(r"(?<!\\)\|", line)) for line in plain
    ]
