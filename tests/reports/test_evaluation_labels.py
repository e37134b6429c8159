"""The report and the model card of tasks with more than two labels, whatever the labels are called."""

import json
import re

import pytest

from tests.evaluations import LIKELIEST, banking, measured_labels
from tests.html_pages import Page
from tests.reports.test_pages import NASTY
from understudy.reports import evaluation as report
from understudy.reports import heat_map, model_card
from understudy.steps.evaluate import assemble
from understudy.steps.evaluate.config import EvaluateConfig

PLAIN = ("praise", "tip", "blame")
ODD = ("=1+1 \"quoted\" & 'too'", "<kbd>a|b</kbd> `x` [y](z) 🐙", NASTY.replace("\x07", ""))
BLOCKS = [
    (30, 0, 0, 0.8, 0), (6, 0, 1, 0.6, 0), (20, 1, 1, 0.9, 1), (4, 1, 2, 0.5, 0), (9, 2, 2, 0.7, 2), (3, 2, 0, 0.4, 2),
]  # fmt: skip
SKIPPED = "Too few texts to rely on"


def laid_out(names=PLAIN, **changes):
    kinds = [(texts, names[true], {names[given]: sure}, names[taught]) for texts, true, given, sure, taught in BLOCKS]
    goals = {"macro_f1": 0.6, "labels": {names[1]: {"f1": 0.9}}}
    config = EvaluateConfig(samples=100)
    return measured_labels(kinds, names=names, **{"card": {"goals": goals}, "config": config, **changes})


def evaluation(names=PLAIN, **changes):
    return assemble.evaluation(laid_out(names, **changes))


@pytest.fixture(scope="module")
def found():
    return evaluation()


@pytest.fixture(scope="module")
def page(found):
    return Page(report.page(found))


@pytest.fixture(scope="module")
def many():
    return assemble.evaluation(banking())


def bundle(one, **changes):
    labels = list(one.card.label_names)
    calibrator = {"form": "vector scaling", "slopes": [1.0, 1.5, 1.25], "biases": [0.0, -0.5, 0.5]}
    about = {"labels": labels, "positive_label": one.card.positive_label, "calibrator": calibrator}
    return {**one.bundle, **about, "files": {"model.onnx": "0" * 64}, **changes}


def card(one):
    return model_card.page(bundle(one), one.card, assemble.evaluation(one), is_forced=False)


# The report


def test_the_page_leads_with_macro_f1_and_has_no_threshold(found, page):
    headings = re.findall(r"<h2[^>]*>([^<]+)", report.page(found))
    assert headings == [
        "Beside its teacher", "Goals", "Label by label", "Probabilities and confidence", "Slices",
        "Where it errs more often", "Cost and latency",
        "What to leave to people", "Errors to read", "The task", "How this was measured",
    ]  # fmt: skip
    assert "Macro F1 (95% interval) Accuracy Weighted F1 ECE" in page.text
    assert "Measured on 72 human-labelled texts from 72 groups, of 3 labels." in page.text
    assert "windows of 64 tokens, the likeliest label" in page.text
    assert report.headline(found).startswith("Macro F1 0.80 (0.")


def test_every_label_stands_beside_its_teachers_figures(page):
    columns = [one["data-column"] for one in page.all("td") if "data-column" in one]
    assert {"Student's F1", "Teacher's F1", "Student's precision", "Teacher's recall"} <= set(columns)
    assert "praise36 texts, given 33" in page.text


def test_mistakes_are_listed_and_drawn(page):
    assert "13 of 72 texts (18%) got a wrong label, in 3 pairs of labels; the commonest come first." in page.text
    assert "praise tip 6 17%" in page.text
    assert "6 of 36 texts of 'praise' (17%) given 'tip'" in page.text
    assert "30 of 36 texts of 'praise' (83%) rightly given it" in page.text


def test_errors_are_titled_by_what_was_taken_for_what(page):
    assert "'praise' taken for 'tip' (5 of 6, the surest first)" in page.text
    assert "13 texts got a wrong label." in page.text


def test_a_positive_label_among_three_keeps_thresholds_and_says_what_was_given_instead():
    decision = {"label": 1, "threshold": 0.3, "costs": None}
    page = Page(report.page(evaluation(positive="tip", decision=decision, card={"goals": {"f1": 0.5}})))
    assert "Missed 'tip' texts" in page.text
    assert "student says 'blame', 25%" in page.text
    assert "'tip' from a probability of 0.300 upwards, else the likeliest other" in page.text
    assert "24 of them 'tip'" in page.text


def test_a_page_without_a_mistake_says_so():
    page = Page(report.page(assemble.evaluation(measured_labels([(9, "a", {"a": 0.9}, "a")], names="abc"))))
    assert "All 9 texts got the right label." in page.text
    assert "No test text has the label 'b' and 'c', so nothing is known" in page.text


def test_decisions_by_cost_are_said_to_be_so():
    costs = [[0, 1, 2], [1, 0, 1], [1, 1, 0]]
    page = Page(report.page(evaluation(decision={**LIKELIEST, "costs": costs})))
    assert "windows of 64 tokens, the label that costs least to be wrong with" in page.text


def test_of_77_labels_the_worst_are_shown_and_all_folded_behind_them(many):
    html = report.page(many)
    page = Page(html)
    assert "The 20 of 77 labels that the student finds worst, by F1:" in page.text
    assert "All 77 labels, the commonest first" in page.text
    shown = html.partition('id="labels"')[2].partition("<details>")[0]
    assert len(re.findall(r'<th scope="row"', shown)) == 20
    folded = html.partition("All 77 labels, the commonest first")[2].partition("</details>")[0]
    assert len(re.findall(r'<th scope="row"', folded)) == 77
    assert "No test text has the label 'refund 76'" in page.text
    assert f"{SKIPPED}: " in page.text
    assert "The 77 labels and what they mean" in page.text
    assert html.index("<details>") < html.index("It is about refund 76.")


def test_many_goals_show_what_is_missed_and_fold_what_is_met():
    one = banking()
    goals = {"labels": {name: {"f1": 0.6} for name in one.card.label_names}}
    asked = one.card.model_copy(update={"goals": type(one.card.goals).model_validate(goals)})
    found = assemble.evaluation(assemble.Measured(asked, one.bundle, one.test, one.scored, one.config))
    html = report.page(found)
    met = sum(gate["is_met"] for gate in found["gates"])
    folded = html.partition(f"<summary>{met} goals met, of 77</summary>")[2].partition("</details>")[0]
    assert folded.count('class="met"') == met
    assert html.count('class="met"') == met


@pytest.mark.parametrize("decision", [LIKELIEST, {"label": 1, "threshold": 0.3, "costs": None}])
def test_whatever_labels_are_called_the_page_is_built_the_same(decision):
    changes = {"decision": decision, "card": {}}
    plain, odd = (
        Page(report.page(evaluation(names, **changes, positive=None if decision is LIKELIEST else names[1])))
        for names in (PLAIN, ODD)
    )
    assert [(tag, sorted(names)) for tag, names, _ in odd.elements] == [
        (tag, sorted(names)) for tag, names, _ in plain.elements
    ]
    assert not odd.all("kbd")
    for name in ODD:
        assert " ".join(name.split()) in odd.text


def test_people_who_hear_the_page_get_all_of_it(many):
    page = Page(report.page(many))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in page.all("svg"))
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert not {"script", "img", "iframe"} & {tag for tag, _, _ in page.elements}


def test_the_same_evaluation_gives_the_same_bytes_from_its_json(many):
    assert report.page(many) == report.page(json.loads(json.dumps(many)))


def test_a_terminal_gets_the_figures_of_all_labels(found):
    header, student = report.summary_lines(found)[:2]
    assert header.split("  ")[0] == ""
    assert "macro F1 (95% interval)" in header
    assert student[header.index("accuracy") :].startswith("0.82")


# The heat map


def test_a_cell_is_as_dark_as_its_share_of_the_row():
    drawn = Page(str(heat_map.draw(["a", "b"], [(0, 0, 3), (0, 1, 1), (1, 1, 5)])))
    cells = [(one["class"], float(one["fill-opacity"])) for one in drawn.all("rect") if "class" in one]
    assert cells == [("right", 0.785), ("wrong", 0.355), ("right", 1.0)]
    assert "1 of 4 texts of 'a' (25%) given 'b'" in drawn.text


@pytest.mark.parametrize(
    ("labels", "is_named"), [(2, True), (3, True), (25, True), (77, True), (100, True), (101, False), (500, False)]
)
def test_a_matrix_keeps_to_its_width_and_has_names_while_they_can_be_read(labels, is_named):
    names = [f"card_payment_fee_charged_{index:03}" for index in range(labels)]
    drawn = Page(str(heat_map.draw(names, [(index, index, 1) for index in range(labels)])))
    width, height = map(float, drawn.all("svg")[0]["viewbox"].split()[2:])
    assert width <= heat_map.WIDEST + 1
    assert height <= heat_map.WIDEST + 1
    written = [one for one in drawn.all("text") if one.get("class") == "down"]
    assert len(written) == (2 * labels if is_named else 0)
    sizes = {float(re.search(r"font-size:([0-9.]+)px", one["style"])[1]) for one in written}
    assert all(size >= 6 for size in sizes)


def test_a_row_without_texts_and_an_odd_name_are_drawn():
    drawn = Page(str(heat_map.draw(['<b>"&', "🐙" * 40], [(0, 1, 2)])))
    assert not drawn.all("b")
    assert '<b>"&' in drawn.text
    assert "2 of 2 texts of '<b>\"&' (100%) given" in drawn.text


# The model card


def test_the_card_of_three_labels_says_what_decides_and_how(found):
    text = card(laid_out())
    assert "(of 3 labels, in 72 groups)" in text
    assert "The figure that decides is macro F1: 0.80 (0." in text
    assert "A text gets the likeliest label." in text
    assert (
        "The probabilities are `softmax(slopes * logits + biases)` of the logits less their mean, with slopes from 1 "
        "to 1.5 and biases from -0.5 to 0.5: vector scaling, fitted on the calibration split alone" in text
    )
    assert "- On the test texts it gave 13 wrong labels" in text
    assert "- It finds these labels worst: 'blame' (F1 0.72, 12 texts); 'tip' (F1 0.80, 24 texts);" in text


def test_the_card_of_a_positive_label_among_three_has_its_threshold():
    text = card(laid_out(positive="tip", decision={"label": 1, "threshold": 0.3, "costs": None}, card={}))
    assert "The figure that decides is F1: " in text
    assert "A text gets 'tip' from a probability of 0.300 upwards, else the likeliest other. On the test texts" in text


def test_the_card_of_two_labels_writes_the_sigmoid():
    calibrator = {"form": "bias-corrected temperature scaling", "slopes": [0.8, 0.8], "biases": [0.15, -0.15]}
    kinds = [(9, "tip", {"tip": 0.9}, None), (9, "other", {"other": 0.9}, None)]
    decision = {"label": 0, "threshold": 0.45, "costs": None}
    one = measured_labels(kinds, names=("tip", "other"), positive="tip", decision=decision)
    text = model_card.page(bundle(one, calibrator=calibrator), one.card, assemble.evaluation(one), is_forced=False)
    assert "The probability of 'tip' is `1 / (1 + exp(-(0.8 * log-odds + 0.3)))`, fitted by Platt's method" in text
    assert "A text gets 'tip' from a probability of 0.450 upwards. On the test texts that flags 50%." in text


def test_whatever_labels_are_called_the_card_keeps_its_lines_and_cells():
    plain, odd = (card(laid_out(names)).splitlines() for names in (PLAIN, ODD))
    assert len(plain) == len(odd)
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in odd] == [
        len(re.findall(r"(?<!\\)\|", line)) for line in plain
    ]
    assert not re.search(r"(?<!\\)(<|\[)", "\n".join(odd))
