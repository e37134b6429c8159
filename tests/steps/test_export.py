"""Export: every architecture gives the same scores as its student, and a moved graph is refused."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.languages import CHINESE, ENGLISH, make_named
from tests.students import SHAPES, make_student
from understudy.model import student
from understudy.model.scoring import exported_graph
from understudy.runtime.shell import execute
from understudy.steps.export import rules
from understudy.steps.export.config import ExportConfig
from understudy.steps.export.step import MORE_TEXTS, drawn
from understudy.store import tables

TEXTS = [
    "Ask for a room at the back",
    "nice",
    "We stayed three nights and " * 12,
    "Avoid the bar!",
    "ok then",
    "Bring cash",
]
LABELS = ["tip", "other", "other", "tip", "other", "tip"]


WORDS = ("back", "bar", "cash", "room", "night", "view", "door", "key", "pool", "desk")


def validation(folder, texts, labels):
    ids = [str(index) for index in range(len(texts))]
    table = pl.DataFrame(
        {
            "id": ids,
            "group": ids,
            "text": texts,
            "label": labels,
            "split": ["validation"] * len(texts),
            "annotators": [1] * len(texts),
            "origin": ["labels"] * len(texts),
        }
    )
    tables.write(table, tables.Gold, folder)
    return folder


@pytest.fixture
def gold(tmp_path):
    return validation(tmp_path / "gold", TEXTS, LABELS)


@pytest.fixture
def pool(tmp_path):
    table = pl.DataFrame(
        {"id": ["p0", "p1"], "group": ["p0", "p1"], "time": ["2026-01-01", None], "text": ["Ask them", "We left"]}
    )
    tables.write(table, tables.Texts, tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def card(tmp_path, make_card):
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "card.yaml").write_text(make_card(), encoding="utf-8")
    return folder


def trained(tmp_path, architecture: str, labels=("other", "tip"), source=None):
    source = source or make_student(tmp_path / "source", architecture)
    model, tokenizer = student.load(str(source), labels)
    about = {
        "student": architecture, "labels": list(labels), "positive_label": "tip", "max_length": 64, "texts": 6,
        "is_rehearsal": True,
    }  # fmt: skip
    student.save(model, tokenizer, about, tmp_path / "student")
    pl.DataFrame({"id": ["0"]}).write_parquet(tmp_path / "student" / student.LEARNED_FILE)
    return tmp_path / "student"


def several(tmp_path, make_card, *, learned: bool):
    """Write a card whose texts may have several labels, validation for it, and a student that learned them or one."""
    labels = [{"name": name, "definition": f"Texts with a {name}."} for name in ("other", "tip")]
    (tmp_path / "card").mkdir()
    changes = {"labels": labels, "labels_per_text": "many", "positive_label": None}
    (tmp_path / "card/card.yaml").write_text(make_card(**changes), encoding="utf-8")
    model, tokenizer = student.load(str(make_student(tmp_path / "source")), ("other", "tip"), is_many=learned)
    about = {"student": "bert", "labels": ["other", "tip"], "positive_label": None, "max_length": 64, "texts": 6}
    about |= {"is_rehearsal": True, **({"labels_per_text": "many"} if learned else {})}
    student.save(model, tokenizer, about, tmp_path / "student")
    pl.DataFrame({"id": ["0"]}).write_parquet(tmp_path / "student" / student.LEARNED_FILE)
    sets = ['["other", "tip"]', "[]", '["other"]', '["tip"]', "[]", '["other", "tip"]']
    gold = validation(tmp_path / "gold", TEXTS, sets)
    return {"card": tmp_path / "card", "gold": gold, "student": tmp_path / "student", "graphs": tmp_path / "graphs"}


def test_where_a_text_may_have_several_labels_each_logit_is_kept_and_nothing_is_settled_first(
    tmp_path, make_card, pool
):
    result = execute("export", {**several(tmp_path, make_card, learned=True), "pool": pool})
    about = json.loads((tmp_path / "graphs/graphs.json").read_text())
    assert result.metrics["log_odds_gap"] < 1e-4
    assert 0 < result.metrics["average_precision_fp32"] <= 1
    assert about["first_stage"] == {"reason": "a text may have several labels"}
    assert about["labels_per_text"] == "many"


def test_a_student_that_learned_one_label_a_text_is_refused_where_there_may_be_several(tmp_path, make_card, pool):
    with pytest.raises(rules.NotTheSame, match=r"learned labels_per_text: many, got one \(student\.json\)"):
        execute("export", {**several(tmp_path, make_card, learned=False), "pool": pool})


@pytest.mark.parametrize("architecture", SHAPES)
def test_the_graph_scores_like_the_student_on_odd_lengths(tmp_path, card, pool, gold, architecture):
    folder = trained(tmp_path, architecture)
    graphs = tmp_path / "graphs"
    result = execute("export", {"card": card, "pool": pool, "gold": gold, "student": folder, "graphs": graphs})
    assert result.metrics["log_odds_gap"] < 1e-4
    about = json.loads((graphs / "graphs.json").read_text())
    assert about["graphs"][:2] == ["fp32", "int8"]
    assert (about["plain_reason"], about["batch_gap"] < 1e-4) == ("", True)
    assert (graphs / "int8/model.onnx").stat().st_size < (graphs / "fp32/model.onnx").stat().st_size / 2


@pytest.mark.parametrize("name", ["multilingual-minilm", "modernbert", "mmbert"])
def test_students_for_other_languages_and_modern_ones_are_the_same_classifier_in_every_graph(
    tmp_path, card, pool, gold, name
):
    source = make_named(tmp_path / "source", name, [*ENGLISH, *CHINESE])
    folder, graphs = trained(tmp_path, name, source=source), tmp_path / "graphs"
    result = execute("export", {"card": card, "pool": pool, "gold": gold, "student": folder, "graphs": graphs})
    about = json.loads((graphs / "graphs.json").read_text())
    assert (about["graphs"][:2], about["batch_gap"] < 1e-3) == (["fp32", "int8"], True)
    assert about["plain_reason"] == ("" if name == "multilingual-minilm" else "no fast graph is known of modernbert")
    assert result.metrics["log_odds_gap"] < 1e-4

    model, tokenizer, _ = student.open_student(folder)
    texts = [*CHINESE, *ENGLISH, "Ask 😂 " * 5, "", "恭喜"]
    rows = student.tokens_of(tokenizer, texts, about["max_length"])
    exact = student.logits(model, rows, tokenizer.pad_token_id)
    graph = exported_graph(graphs, about, "fp32", 2)
    assert [row.tolist() for row in np.split(graph.tokens(texts).ids, graph.tokens(texts).starts[1:-1])] == rows
    np.testing.assert_allclose(graph.logits(texts), exact, atol=1e-4)
    integers = exported_graph(graphs, about, "int8", 2).logits(texts)
    assert np.abs(integers - exact).max() < 0.25 * np.ptp(exact)


def test_a_text_of_several_windows_is_compared_by_the_tokens_that_the_student_reads(tmp_path, card, pool):
    folder = trained(tmp_path, "bert")
    texts = [*TEXTS, "Ask for a room at the back of the house. " * 10 + "Avoid the bar " * 20]
    long = validation(tmp_path / "long", texts, [*LABELS, "tip"])
    paths = {"card": card, "pool": pool, "gold": long, "student": folder, "graphs": tmp_path / "graphs"}
    assert execute("export", paths).metrics["log_odds_gap"] < 1e-4


def test_a_student_with_labels_in_another_order_is_refused(tmp_path, card, pool, gold):
    folder = trained(tmp_path, "bert", labels=("tip", "other"))
    with pytest.raises(rules.NotTheSame, match=r"card's order \['other', 'tip'\], got \['tip', 'other'\]"):
        execute("export", {"card": card, "pool": pool, "gold": gold, "student": folder, "graphs": tmp_path / "graphs"})
    assert not (tmp_path / "graphs").exists()


@pytest.mark.parametrize("moved", [0.5, float("nan")])
def test_a_graph_whose_scores_moved_is_refused(moved):
    with pytest.raises(rules.NotTheSame, match=r"within 0\.0001 of the student's"):
        rules.require_parity(np.array([0.0, 1.0]), np.array([0.0, 1.0 + moved]), ExportConfig())


def why(quality, speed):
    choice = rules.choose(quality, speed, ExportConfig())
    return choice.graph, choice.reason.rpartition("; ")[2]


def test_the_fastest_graph_that_ranks_as_well_serves():
    speed = {"fp32": 60.0, "mixed": 120.0, "int8": 220.0}
    slow = "fp32 is not 1.5 times as fast as"
    assert why({"fp32": 0.9, "int8": 0.89}, speed) == ("int8", f"{slow} int8 here")
    fallback = "mixed", f"int8 loses too much and {slow} mixed here"
    assert why({"fp32": 0.9, "int8": 0.85, "mixed": 0.89}, speed) == fallback
    worse = "int8 loses too much and mixed loses too much"
    assert why({"fp32": 0.9, "int8": 0.8, "mixed": 0.8}, speed) == ("fp32", worse)
    assert rules.choose({"fp32": 0.9}, speed, ExportConfig()) == rules.Choice("fp32", "int8 was not asked for")


def test_integers_that_are_not_faster_here_do_not_serve():
    equal = {"fp32": 0.9, "int8": 0.9}
    assert why(equal, {"fp32": 95.0, "int8": 60.0}) == ("fp32", "int8 is slower here")
    a_little = {"fp32": 64.0, "int8": 60.0}  # as two measurements of one speed may differ
    assert why(equal, a_little) == ("int8", "fp32 is not 1.5 times as fast as int8 here")


MEASURED = st.tuples(st.floats(0.5, 1.0), st.floats(1.0, 1000.0))


@given(st.fixed_dictionaries({"fp32": MEASURED, "int8": MEASURED}, optional={"mixed": MEASURED}))
def test_each_graph_that_does_not_serve_has_a_true_reason(measured):
    quality, speed = ({name: one[place] for name, one in measured.items()} for place in (0, 1))
    graph, reasons = why(quality, speed)
    assert not is_worse(quality, graph)
    reasons = reasons.split(" and ")
    for name, reason in zip((name for name in rules.PREFERRED if name in {*measured} - {graph}), reasons, strict=True):
        is_true = {
            f"{name} loses too much": is_worse(quality, name),
            f"{name} is slower here": not is_worse(quality, name) and speed[name] < speed[graph],
            f"{name} is not 1.5 times as fast as {graph} here": speed[name] <= 1.5 * speed[graph],
        }
        assert is_true[reason]


def is_worse(quality, name):
    return quality["fp32"] - quality[name] > ExportConfig().max_quality_loss


def test_texts_of_the_whole_pool_show_which_values_activations_take():
    pool = pl.Series([str(number) for number in range(100_000)])
    found = sorted(map(int, drawn(pool)))
    assert len(set(found)) == MORE_TEXTS
    assert (found[0] < 2000, found[-1] > 98_000) == (True, True)
    assert sorted(drawn(pool)) == sorted(drawn(pool))
    assert sorted(drawn(pool.head(3))) == ["0", "1", "2"]


def test_where_integers_rank_worse_the_weights_that_they_spoil_stay_in_fp32(tmp_path, card, pool):
    folder = trained(tmp_path, "bert")
    model, tokenizer, about = student.open_student(folder)
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.mul_(30)
        layer.output.dense.weight[:, 0] = 1e4  # the scale of all columns, read by an input that is always 0
        layer.intermediate.dense.weight[0] = layer.intermediate.dense.bias[0] = 0.0
        layer.output.dense.weight[:, 1:] *= 50
    student.save(model, tokenizer, about, folder)
    texts = [f"{first} {second}" for first in ("ask", "bring", "avoid", "nice", "we") for second in WORDS]
    tokens = student.tokens_of(tokenizer, texts, 64)
    log_odds = np.subtract(*student.logits(model, tokens, tokenizer.pad_token_id).T[::-1])
    labels = np.where(log_odds > np.median(log_odds), "tip", "other").tolist()  # fp32 ranks them without a fault
    written = validation(tmp_path / "ranked", texts, labels)
    graphs = tmp_path / "graphs"
    result = execute("export", {"card": card, "pool": pool, "gold": written, "student": folder, "graphs": graphs})
    assert result.metrics["average_precision_fp32"] == 1.0
    assert result.metrics["average_precision_int8"] < 0.98 <= result.metrics["average_precision_mixed"]
    assert "int8 loses too much" in result.parameters["reason"]
    assert json.loads((graphs / "graphs.json").read_text())["graphs"] == ["fp32", "int8", "mixed"]
