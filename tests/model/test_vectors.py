import numpy as np
import pytest
import torch

from tests.bundles import make_bundle
from tests.students import SHAPES, random_model
from understudy.model.engine import Graph
from understudy.model.onnx import export
from understudy.model.student import locate, tokenizer_of, tokens_of
from understudy.model.vectors import vectors

TEXTS = ["Ask for a room at the back.", "Nice.", "The pool closes at noon, so swim before that."]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Return by architecture the model, its tokenizer, and the graphs that export makes of it."""
    folder = tmp_path_factory.mktemp("vectors")
    tokenizer = tokenizer_of(locate("minilm"))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    rows = tokens_of(tokenizer, TEXTS * 8, 64)
    found = {}
    for name in ("bert", "distilbert", "deberta-v2", "t5"):
        model = random_model(SHAPES[name])
        fp32 = export.export_fp32(model, folder / name / "fp32", max_length=64)
        found[name] = (model, rows[: len(TEXTS)], fp32, export.export_int8(fp32, folder / name / "int8", rows))
    return folder, tokenizer, found


def opened(graphs, path, max_length=64):
    return Graph(path, graphs[0] / "tokenizer.json", max_length, graphs[1].pad_token_id, labels=2)


@pytest.mark.parametrize("name", ["bert", "distilbert", "deberta-v2"])
def test_a_students_vectors_are_what_its_classifier_reads(graphs, name):
    model, rows, fp32, int8 = graphs[2][name]
    seen = []
    handle = model.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().numpy()[0]))
    with torch.no_grad():
        for row in rows:
            model(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long))
    handle.remove()
    wanted = np.stack(seen) / np.linalg.norm(seen, axis=1, keepdims=True)
    assert np.abs(vectors(opened(graphs, fp32), fp32, TEXTS) - wanted).max() < 1e-4
    alike = (vectors(opened(graphs, int8), int8, TEXTS) * wanted).sum(axis=1)
    assert alike.min() > 0.9  # integers, but the same direction


def test_a_student_that_averages_its_tokens_gives_their_mean(graphs):
    _, _, fp32, _ = graphs[2]["t5"]
    found = vectors(opened(graphs, fp32), fp32, TEXTS)
    assert found.shape == (3, 32)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)


def test_a_long_text_has_one_vector_and_the_files_bytes_stay(graphs):
    fp32 = graphs[2]["bert"][2]
    before = fp32.read_bytes()
    found = vectors(opened(graphs, fp32, max_length=8), fp32, [" ".join(TEXTS), TEXTS[1]])
    assert found.shape == (2, 32)
    assert fp32.read_bytes() == before
    assert vectors(opened(graphs, fp32), fp32, []).shape[0] == 0


def test_a_graph_without_a_product_gives_its_logits(tmp_path):
    folder = make_bundle(tmp_path)
    graph = Graph(folder / "model.onnx", folder / "tokenizer.json", 64, labels=2)
    texts = ["ask", "nice"]
    logits = graph.logits(texts)
    wanted = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    assert np.allclose(vectors(graph, folder / "model.onnx", texts), wanted)
