"""Texts of three languages, and students whose vocabularies were made for some of them.

Tokenizers are true ones of each kind, trained here on a few sentences; weights are random, and small, of the true
architecture, beside the config.json that the model has on its hub.
"""

import io
import json
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5TokenizerFast,
    XLMRobertaTokenizerFast,
)
from transformers.utils import sentencepiece_model_pb2_new

from tests.students import random_model

ENGLISH = [
    "Ask for a room at the back of the house.",
    "The breakfast was cold and the coffee too.",
    "We loved the view over the harbour at night.",
    "You have won a prize, call this number to claim it now.",
    "Take the early train and sit on the left for the view.",
    "Can you send me the address of the house before noon?",
    "The staff were friendly and helped us with the bags.",
    "Avoid the bar at night, the music is far too loud.",
]
CHINESE = [
    "恭喜您中奖了。请点击链接领取奖品。",
    "您的包裹已到达。请尽快领取。",
    "早餐是冷的。咖啡也是。",
    "我们喜欢晚上的海港景色。",
]
GERMAN = [
    "Herzlichen Glückwunsch, Sie haben einen Preis gewonnen.",
    "Nehmen Sie den frühen Zug und sitzen Sie links.",
    "Das Frühstück war kalt und der Kaffee ebenfalls.",
]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece(texts) -> Tokenizer:
    """A tokenizer of BERT's kind."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=1000, special_tokens=SPECIALS))
    return _finished(made, "[CLS]", "[SEP]")


def byte_level(texts) -> Tokenizer:
    """A tokenizer of the kind that ModernBERT and Ettin have: any text in bytes, and no token for what is unknown."""
    made = Tokenizer(models.BPE())
    made.normalizer, made.pre_tokenizer = normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1000, special_tokens=SPECIALS, initial_alphabet=alphabet)
    )
    return _finished(made, "[CLS]", "[SEP]")


def byte_fallback(texts) -> Tokenizer:
    """A tokenizer of the kind that mmBERT has, Gemma's: what is unknown is read as its bytes."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(
        [text.replace(" ", " ▁") for text in texts], trainers.BpeTrainer(vocab_size=1000, special_tokens=pieces)
    )
    said = json.loads(made.to_str())
    said["added_tokens"] = [one for one in said["added_tokens"] if one["content"] in specials]  # bytes are none
    return _finished(Tokenizer.from_str(json.dumps(said)), "<bos>", "<eos>")


def _finished(made: Tokenizer, first: str, last: str) -> Tokenizer:
    ids = [(token, made.token_to_id(token)) for token in (first, last) if token]
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}".strip(), special_tokens=ids)
    return made


def trained_pieces(texts, **specials) -> bytes:
    """Train a SentencePiece model and return its file."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(texts) * 4),
        model_writer=written,
        model_type="unigram",
        vocab_size=150,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **specials,
    )
    return written.getvalue()


def sentence_piece(texts, *, is_t5: bool) -> Tokenizer:
    """A tokenizer of T5's kind, or of XLM-R's: SentencePiece trains it, with its own table of signs."""
    written = trained_pieces(texts, **({"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if is_t5 else {}))
    trained = sentencepiece_model_pb2_new.ModelProto.FromString(written)
    pieces = [(piece.piece, piece.score) for piece in trained.pieces]
    if not is_t5:
        pieces = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")] + pieces[3:] + [("<mask>", 0.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=[name for name, _ in pieces].index("<unk>")))
    table = normalizers.Precompiled(trained.normalizer_spec.precompiled_charsmap)
    made.normalizer = normalizers.Sequence([table, normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    return _finished(made, "" if is_t5 else "<s>", "</s>")


def tokenizer_for(kind: str, texts):
    """Make a tokenizer as transformers has it, of one of the kinds that students have."""
    if kind == "xlm-roberta":
        return XLMRobertaTokenizerFast(tokenizer_object=sentence_piece(texts, is_t5=False), model_max_length=512)
    if kind == "t5":
        return T5TokenizerFast(tokenizer_object=sentence_piece(texts, is_t5=True), extra_ids=0, model_max_length=512)
    made = {"wordpiece": wordpiece, "byte-level": byte_level, "byte-fallback": byte_fallback}[kind](texts)
    specials = ("<pad>", "<unk>", "<bos>", "<eos>") if kind == "byte-fallback" else ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=8192, **named)


MODERN = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
MODERN |= {"local_attention": 8, "classifier_pooling": "mean"}  # so short that a test's texts reach beyond it
SMALL_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# what the hub's config.json holds beside its shape, some of which transformers never reads
ON_HUB = {
    "modernbert": {"layer_norm_eps": 1e-05, "position_embedding_type": "absolute", "reference_compile": True,
                   "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "deterministic_flash_attn": False},
    "mmbert": {"layer_norm_eps": 1e-05, "position_embedding_type": "sans_pos", "tie_word_embeddings": True,
               "global_rope_theta": 160000, "local_rope_theta": 160000, "sparse_pred_ignore_index": -100},
    "multilingual-minilm": {"gradient_checkpointing": False, "use_cache": True, "position_embedding_type": "absolute",
                            "pad_token_id": 0},
    "flan-t5-small": {"use_cache": True, "n_positions": 512},
    "minilm": {"gradient_checkpointing": False},
}  # fmt: skip
KINDS = {
    "minilm": "wordpiece",
    "modernbert": "byte-level",
    "mmbert": "byte-fallback",
    "multilingual-minilm": "xlm-roberta",
    "flan-t5-small": "t5",
}


def make_named(folder: Path, name: str, texts) -> Path:
    """Write a student's folder as the hub has it, its vocabulary made for these texts; `name`: a key of KINDS."""
    tokenizer = tokenizer_for(KINDS[name], texts)
    words = {"vocab_size": len(tokenizer)}
    if name in {"modernbert", "mmbert"}:
        config = ModernBertConfig(**MODERN, **words, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    elif name == "flan-t5-small":
        config = T5Config(**words, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
                          feed_forward_proj="gated-gelu")  # fmt: skip
    else:
        config = BertConfig(**SMALL_BERT, **words)
    random_model(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **ON_HUB[name]}))
    return folder
