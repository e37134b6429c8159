"""What the speed benchmark labels, and with which models: real hotel texts, and random weights of the true shapes."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, DebertaV2Config, DistilBertConfig, T5Config

from understudy.model.student import T5EncoderClassifier, locate, tokenizer_of

SHARED = Path(os.environ.get("UNDERSTUDY_SHARED", Path(__file__).parents[2] / "shared"))
REVIEWS = SHARED / "data/hotel-reviews/reviews.csv"
RANGE_TEXTS = 200
MAX_LENGTH = 256  # tokens; longer texts are left out, so that every way does the same work
MEAN_TOKENS = {"sentences": 25, "reviews": 158}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
SEED = 20261121

DEBERTA = DebertaV2Config(
    vocab_size=128100,
    hidden_size=768,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=3072,
    relative_attention=True,
    position_buckets=256,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    pos_att_type=["p2c", "c2p"],
    position_biased_input=False,
    type_vocab_size=0,
    layer_norm_eps=1e-7,
)
MINILM = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
FLAN_T5 = T5Config(
    vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu"
)
SHAPES = {"deberta": DEBERTA, "minilm": MINILM, "distilbert": DistilBertConfig(), "flan_t5_small": FLAN_T5}


@dataclass(frozen=True, slots=True)
class Workload:
    """A model and a kind of text.

    Attributes:
        suffix: of its figures' names.
        shape: key of SHAPES.
        texts: key of MEAN_TOKENS.
    """

    suffix: str
    shape: str
    texts: str


WORKLOADS = (
    Workload("", "deberta", "sentences"),
    Workload("_reviews", "deberta", "reviews"),
    Workload("_minilm", "minilm", "sentences"),
    Workload("_distilbert", "distilbert", "sentences"),
    Workload("_flan_t5_small", "flan_t5_small", "sentences"),
)


def model_of(shape: str) -> Any:
    """Make a classifier of a true shape with random weights, in evaluation mode."""
    torch.manual_seed(SEED)
    config = SHAPES[shape]
    if config.model_type == "t5":
        return T5EncoderClassifier(config).eval()
    return AutoModelForSequenceClassification.from_config(config, attn_implementation=attention(shape)).eval()


def attention(shape: str) -> str:
    """Name the fastest implementation of attention that transformers has for a shape on CPUs."""
    return "eager" if shape == "deberta" else "sdpa"


def tokenizer(shape: str = "minilm") -> Any:
    """Open MiniLM's WordPiece tokenizer, which serves every shape here; only MiniLM asks for segment ids."""
    opened = tokenizer_of(locate("minilm"))
    if shape != "minilm":
        opened.model_input_names = ["input_ids", "attention_mask"]
    return opened


def texts_of(kind: str) -> list[str]:
    """Read hotel sentences or whole reviews in a shuffled order, as many of the longer ones as give the true mean.

    Args:
        kind: key of MEAN_TOKENS.
    """
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        reviews = [row["text"] for row in csv.DictReader(file)]
    found = reviews if kind == "reviews" else [part for review in reviews for part in SENTENCE_END.split(review)]
    texts = list(dict.fromkeys(text.strip() for text in found if text.strip()))
    lengths = np.array([len(ids) for ids in tokenizer()(texts)["input_ids"]])
    chosen = longest_with_mean(lengths, MEAN_TOKENS[kind])
    return [texts[index] for index in np.random.default_rng(SEED).permutation(chosen)]


def rows(tokenizer: Any) -> list[list[int]]:
    """Token ids of some of the texts, by which int8 learns which values activations take."""
    texts = [*texts_of("sentences")[-RANGE_TEXTS:], *texts_of("reviews")[-RANGE_TEXTS // 4 :]]
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return ids


def longest_with_mean(lengths: Sequence[int] | np.ndarray[Any, Any], mean: float) -> np.ndarray[Any, Any]:
    """Positions of the texts that are left when the shortest are dropped until the mean length reaches `mean`.

    >>> longest_with_mean([10, 2, 1000, 30, 20], mean=19).tolist()
    [0, 4, 3]
    """
    given = np.asarray(lengths)
    order = np.argsort(given, kind="stable")
    order = order[given[order] <= MAX_LENGTH]
    means = np.cumsum(given[order][::-1])[::-1] / np.arange(len(order), 0, -1)
    return order[int(np.searchsorted(means, mean)) :]


def operations(config: Any, lengths: Sequence[int]) -> float:
    """Count the operations that the logits of such texts need: matrix products alone, a product and a sum as two.

    All classifiers here but T5's read the first token alone: of the last layer they need every token's key and value,
    and the first token's rest. DeBERTa's two relative terms are left out: what they cost counts as overhead.

    Args:
        config: of the model.
        lengths: tokens of each text.
    """
    is_t5, tokens = config.model_type == "t5", np.asarray(lengths, dtype=float)
    width, layers = config.hidden_size, config.num_hidden_layers
    heads = config.num_heads * config.d_kv if is_t5 else width
    wide = 3 * config.d_ff if is_t5 else 2 * getattr(config, "hidden_dim", getattr(config, "intermediate_size", 0))
    keyed, rest = 2 * width * heads, 2 * width * heads + width * wide
    whole = tokens * (keyed + rest) + 2 * heads * tokens**2
    last = whole if is_t5 else tokens * keyed + rest + 2 * heads * tokens
    head = width * config.num_labels + (0 if is_t5 else width**2)
    return float(2 * ((layers - 1) * whole + last + head).sum())
