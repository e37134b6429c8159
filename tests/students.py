"""Small students for tests: the true architectures with random weights of a tiny shape, and MiniLM's real tokenizer."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, BertConfig, DebertaV2Config, DistilBertConfig, T5Config

from understudy.model.student import T5EncoderClassifier, locate, tokenizer_of

VOCABULARY = 30522
SHAPES = {
    "bert": BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    ),
    "distilbert": DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    "deberta-v2": DebertaV2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_buckets=32,
        position_biased_input=False,
        type_vocab_size=0,
    ),
    "t5": T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    ),
}


def random_model(config, seed: int = 0):
    """A model whose weights, norms and biases too, are all drawn at random, so that none can be left out unseen."""
    torch.manual_seed(seed)
    if config.model_type == "t5":
        model = T5EncoderClassifier(config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.copy_(torch.randn_like(weight) * 0.2 + ("weight" in name))
            elif config.model_type != "t5":
                weight.mul_(8)  # as drawn, 0.02 wide, the attention of a small model is all but even
    return model.eval()


def make_student(folder: Path, architecture: str = "bert", seed: int = 0) -> Path:
    """Write a folder with safetensors weights, config and tokenizer, as a user's own student would lie there."""
    random_model(SHAPES[architecture], seed).save_pretrained(folder, safe_serialization=True)
    tokenizer_of(locate("minilm")).save_pretrained(folder)
    return folder
