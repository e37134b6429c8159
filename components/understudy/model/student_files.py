"""Stage a student's files for transformers: known files alone, and of their settings known keys with plain values.

A config.json decides what code transformers runs: `auto_map`, `_attn_implementation_internal` and `quantization_config`
name modules, kernels or packages to be fetched and run (an advisory for 4.56 to 5.2, and optimum-onnx keeps us below
4.58). So transformers reads a copy that holds what the architecture's own shape needs, and nothing else.
docs/decisions/0011-student-config-allow-list.md says why.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from understudy.errors import BadArtifact
from understudy.model import tokenizer_files
from understudy.progress import say
from understudy.store import codecs

CONFIG_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE = "config.json", "tokenizer_config.json", "tokenizer.json"
SAFE_WEIGHTS, PLAIN_WEIGHTS = "model.safetensors", "pytorch_model.bin"
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "spm.model", "spiece.model", "sentencepiece.bpe.model")
SPECIAL_FILES = ("special_tokens_map.json", "added_tokens.json")
MOST_WEIGHTS = 8 << 30  # bytes; a student is small, and FLAN-T5-small has 300 MB
MOST_HEADER = 16 << 20  # bytes of a safetensors header; a thousand tensors take 100 kB
MOST_SIZE, MOST_LAYERS, MOST_WORDS = 65_536, 128, 2_000_000  # of any dimension, of layers, of the vocabulary
MOST_ROTARY = 100_000_000  # base of rotary positions; ModernBERT's is 160,000
MOST_LABELS = 1000
PLAIN = re.compile(r"[A-Za-z0-9_.|+-]{0,64}")

OF_ALL = {"model_type", "id2label", "label2id", "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"}
OF_ALL |= {"initializer_range", "classifier_dropout", "problem_type"}
OF_BERT = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"}
OF_BERT |= {"hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"}
OF_BERT |= {"layer_norm_eps", "position_embedding_type"}
OF_DEBERTA = {"relative_attention", "max_relative_positions", "position_biased_input", "pos_att_type", "legacy"}
OF_DEBERTA |= {"share_att_key", "norm_rel_ebd", "position_buckets", "pooler_dropout", "pooler_hidden_act"}
OF_DEBERTA |= {"pooler_hidden_size", "conv_kernel_size", "conv_act", "conv_groups", "embedding_size", "cls_dropout"}
OF_DEBERTA |= {"attention_head_size", "talking_head"}
OF_DISTILBERT = {"vocab_size", "max_position_embeddings", "sinusoidal_pos_embds", "n_layers", "n_heads", "dim"}
OF_DISTILBERT |= {"hidden_dim", "dropout", "attention_dropout", "activation", "qa_dropout", "seq_classif_dropout"}
OF_T5 = {"vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads", "dropout_rate"}
OF_T5 |= {"relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon"}
OF_T5 |= {"initializer_factor", "feed_forward_proj", "decoder_start_token_id"}
OF_MODERNBERT = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
OF_MODERNBERT |= {"hidden_activation", "max_position_embeddings", "initializer_cutoff_factor", "norm_eps", "norm_bias"}
OF_MODERNBERT |= {"global_rope_theta", "local_rope_theta", "global_attn_every_n_layers", "local_attention"}
OF_MODERNBERT |= {"attention_bias", "attention_dropout", "embedding_dropout", "mlp_bias", "mlp_dropout", "decoder_bias"}
OF_MODERNBERT |= {"classifier_pooling", "classifier_bias", "classifier_activation", "cls_token_id", "sep_token_id"}
OF_ELECTRA = {"embedding_size", "summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"}
KEYS: Mapping[str, set[str]] = {
    "bert": OF_ALL | OF_BERT,
    "roberta": OF_ALL | OF_BERT,
    "xlm-roberta": OF_ALL | OF_BERT,
    "camembert": OF_ALL | OF_BERT,
    "electra": OF_ALL | OF_BERT | OF_ELECTRA,
    "mpnet": OF_ALL | OF_BERT | {"relative_attention_num_buckets"},
    "deberta-v2": OF_ALL | OF_BERT | OF_DEBERTA,
    "distilbert": OF_ALL | OF_DISTILBERT,
    "modernbert": OF_ALL | OF_MODERNBERT,
    "t5": OF_ALL | OF_T5,
}
OF_TOKENIZERS = {"tokenizer_class", "model_max_length", "do_lower_case", "strip_accents", "tokenize_chinese_chars"}
OF_TOKENIZERS |= {"clean_up_tokenization_spaces", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}
OF_TOKENIZERS |= {"bos_token", "eos_token", "additional_special_tokens", "extra_ids", "added_tokens_decoder", "legacy"}
OF_TOKENIZERS |= {
    "padding_side",
    "truncation_side",
    "do_basic_tokenize",
    "split_by_punct",
    "vocab_type",
    "keep_accents",
}
OF_TOKENIZERS |= {"add_prefix_space", "trim_offsets", "model_input_names", "remove_space", "errors"}
OF_TOKENIZERS |= {"add_bos_token", "add_eos_token"}
LAYERS = {"num_hidden_layers", "n_layers", "num_layers", "num_decoder_layers"}
ROTARY = {"global_rope_theta", "local_rope_theta"}
FIXED: Mapping[str, dict[str, Any]] = {
    "modernbert": {"reference_compile": False},  # else it is compiled for a GPU, anew for each shape of a batch
}
RUNS_CODE = {"auto_map", "trust_remote_code", "quantization_config", "attn_implementation", "custom_pipelines"}


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a folder that holds what transformers may read of a student.

    Raises:
        BadArtifact: a file is damaged, or says what no student of its size does.
    """
    with TemporaryDirectory(prefix="understudy-student-") as name:
        stage = Path(name)
        config = config_of(folder)
        _require_held(config, _linked_weights(folder, stage), folder)
        _write(stage / CONFIG_FILE, config)
        if (folder / TOKENIZER_CONFIG_FILE).exists():
            _write(stage / TOKENIZER_CONFIG_FILE, _tokenizer_config(folder / TOKENIZER_CONFIG_FILE))
        for file in SPECIAL_FILES:
            if (folder / file).exists():
                content = codecs.read_mapping(codecs.read_file(folder / file), str(folder / file))
                _write(stage / file, content)
        if (folder / TOKENIZER_FILE).exists():
            tokenizer_files.require_sound(folder / TOKENIZER_FILE)
        for file in (TOKENIZER_FILE, *VOCABULARIES):
            if (folder / file).exists():
                codecs.require_size((folder / file).stat().st_size, str(folder / file), tokenizer_files.MOST_BYTES)
                (stage / file).symlink_to((folder / file).resolve())
        yield stage


def config_of(folder: Path) -> dict[str, Any]:
    """Read the keys of a student's config.json that its architecture needs.

    Raises:
        BadArtifact: it is damaged, of an unknown architecture, or a value is not plain.
    """
    path = folder / CONFIG_FILE
    content = codecs.read_mapping(codecs.read_file(path), str(path))
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in KEYS:
        raise _unsound(path, f"be one of {', '.join(KEYS)}", f"'{str(kind)[:40]}'")
    left_out = sorted(key for key in content if key in RUNS_CODE or key.startswith(("_attn", "_implementation")))
    if left_out:
        say(f"A student's {CONFIG_FILE} names code to run, which is left out: {', '.join(left_out)[:200]} ({path}).")
    kept = {key: value for key, value in content.items() if key in KEYS[kind] and value is not None}
    for key, value in kept.items():
        if not _is_plain(key, value):
            raise _unsound(path, f"hold plain values, and no '{key}'", f"{value!r:.60}")
    return {**kept, **FIXED.get(kind, {})}


def _is_plain(key: str, value: Any) -> bool:
    if key in {"id2label", "label2id"}:
        return isinstance(value, dict) and len(value) <= MOST_LABELS
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        most = MOST_LAYERS if key in LAYERS else MOST_WORDS if key == "vocab_size" else MOST_SIZE
        most = MOST_ROTARY if key in ROTARY else most
        return -1 <= value <= most or (key.endswith("_token_id") and 0 <= value <= MOST_WORDS)
    if isinstance(value, float):
        return abs(value) <= (MOST_ROTARY if key in ROTARY else MOST_SIZE)
    if isinstance(value, list):
        return len(value) <= MOST_LAYERS and all(isinstance(item, str) and PLAIN.fullmatch(item) for item in value)
    return isinstance(value, str) and PLAIN.fullmatch(value) is not None


def _require_held(config: Mapping[str, Any], weights_bytes: int, folder: Path) -> None:
    """Check that the weights on disk hold what the config asks for: at least a byte for each number of its largest."""

    def size(*names: str) -> int:
        return max((value for name in names if isinstance(value := config.get(name), int)), default=1)

    width = size("hidden_size", "dim", "d_model")
    inner = size("intermediate_size", "hidden_dim", "d_ff")
    own = size("embedding_size") if "embedding_size" in config else width
    positions = 0 if ROTARY & config.keys() else size("max_position_embeddings")  # rotary ones are no weights
    words = (size("vocab_size") + positions) * own
    numbers = words + size("num_hidden_layers", "n_layers", "num_layers") * width * inner
    if numbers > weights_bytes:
        where = folder / CONFIG_FILE
        raise _unsound(where, f"ask for what its {weights_bytes:,} bytes of weights hold", f"{numbers:,} numbers")


def _linked_weights(folder: Path, stage: Path) -> int:
    """Link the weights, safetensors before others, and return how many bytes they have."""
    for name in (SAFE_WEIGHTS, PLAIN_WEIGHTS):
        path = folder / name
        if path.is_file():
            size = path.stat().st_size
            codecs.require_size(size, str(path), MOST_WEIGHTS)
            if name == SAFE_WEIGHTS:
                _require_header(path, size)
            (stage / name).symlink_to(path.resolve())
            return size
    raise _unsound(folder, f"have {SAFE_WEIGHTS}", "none")


def _require_header(path: Path, size: int) -> None:
    """Check a safetensors header: eight bytes may say that it takes terabytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MOST_HEADER, size - 8):
            raise _unsound(path, f"have a header within its {size:,} bytes", f"one of {length:,}")
        codecs.read_mapping(file.read(length), str(path))


def _tokenizer_config(path: Path) -> dict[str, Any]:
    content = codecs.read_mapping(codecs.read_file(path), str(path))
    kind = content.get("tokenizer_class")
    if kind is not None and not (isinstance(kind, str) and kind.isidentifier()):
        raise _unsound(path, "name a class of tokenizers", f"{kind!r:.60}")
    if left_out := sorted(key for key in content if key in RUNS_CODE):
        say(f"A tokenizer names code to run, which is left out: {', '.join(left_out)[:200]} ({path}).")
    return {key: value for key, value in content.items() if key in OF_TOKENIZERS}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _unsound(where: Path, rule: str, found: str) -> BadArtifact:
    return BadArtifact(f"A student must {rule}, got {found} ({where}). Give the folder of a known student.")
