"""A student's folder by an evil author: no code is fetched or run, and no memory is taken beyond its weights."""

import json
import os
import struct
import subprocess
import sys

import pytest
import sentencepiece
import torch

from tests.languages import ENGLISH, make_named, trained_pieces
from tests.services import local
from tests.students import make_student
from understudy.errors import BadArtifact, BadSetting
from understudy.model import student, student_files

LOAD = (
    "import sys\nfrom understudy.model import student\n"
    "model, tokenizer = student.load(sys.argv[1], ['other', 'tip'])\n"
    "print(model.config._attn_implementation, len(tokenizer('Ask for a room')['input_ids']))\n"
)


FETCH = "import sys\nfrom understudy.model import hub\nhub.fetched(sys.argv[1])\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_student(tmp_path_factory.mktemp("student"))


@pytest.fixture
def folder(made, tmp_path):
    """A student's folder whose small files may be changed."""
    copy = tmp_path / "student"
    copy.mkdir()
    for file in made.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.fixture
def hub(monkeypatch):
    """A server in the hub's place that writes down what it is asked."""
    asked = []

    class Hub(local.Quiet):
        def do_GET(self):
            asked.append(self.path)
            self.send(404)

        do_HEAD = do_GET

    with local.serving(Hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield asked


def loaded(name, tmp_path, code=LOAD, **environment):
    """Load a student in a process of its own, as the installed wheel would: without our tests' environment."""
    own = {key: value for key, value in os.environ.items() if key not in {"HF_HUB_OFFLINE", "UNDERSTUDY_DOWNLOADS"}}
    own |= {"HF_HOME": str(tmp_path / "hub"), **environment}
    command = [sys.executable, "-c", code, str(name)]
    return subprocess.run(command, env=own, capture_output=True, text=True, timeout=300, check=False)


def change(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


EVIL = {
    "_attn_implementation_internal": "kernels-community/evil",
    "_attn_implementation": "kernels-community/evil",
    "attn_implementation": "kernels-community/evil",
    "auto_map": {"AutoConfig": "evil--evil.Config", "AutoModelForSequenceClassification": "evil--evil.Model"},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "trust_remote_code": True,
    "_experts_implementation": "evil/evil",
    "torch_dtype": "evil",
}


def test_code_that_a_config_names_is_neither_fetched_nor_run(folder, hub, tmp_path):
    change(folder, "config.json", **EVIL)
    change(
        folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil--evil.T", None]}, vocab_file="/etc/passwd"
    )
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/evil"}')
    (folder / "generation_config.json").write_text('{"cache_implementation": "evil"}')
    done = loaded(folder, tmp_path, HF_HUB_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in {"sdpa", "eager"}
    assert "names code to run, which is left out: _attn_implementation, _attn_implementation_internal" in done.stderr
    assert hub == []


def test_the_hub_is_not_asked_unless_the_user_says_so(hub, tmp_path):
    done = loaded("owner/student", tmp_path, FETCH)
    assert "HF_HUB_OFFLINE=0 downloads it once" in done.stderr
    assert hub == []
    done = loaded("owner/student", tmp_path, FETCH, HF_HUB_OFFLINE="0")
    assert "The model hub must send 'owner/student'" in done.stderr
    assert hub
    assert all("owner/student" in path for path in hub)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "llama"},
        {"model_type": ["bert"]},
        {"model_type": None},
        {"hidden_size": 10**9},
        {"vocab_size": 1_900_000, "hidden_size": 60_000},
        {"num_hidden_layers": 10**6},
        {"num_hidden_layers": 128, "intermediate_size": 65_000},
        {"max_position_embeddings": 65_000, "hidden_size": 65_000},
        {"vocab_size": "30522"},
        {"hidden_act": "os.system"},
        {"hidden_act": {"a": 1}},
        {"id2label": {str(number): "x" for number in range(5_000)}},
        {"id2label": {"a": "b"}},
        {"layer_norm_eps": 1e300},
        {"num_attention_heads": 0},
        {"hidden_size": -1},
    ],
)
def test_a_config_that_cannot_be_is_refused_in_a_sentence(folder, values):
    change(folder, "config.json", **values)
    (folder / "student.json").write_text('{"max_length": 64}')
    with pytest.raises(BadArtifact, match="A student must"):
        student.open_student(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"model_type": NaN}', '{"hidden_size": 1' + "0" * 5_000 + "}", '{"a": "\\ud800"}'],
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"])
def test_a_damaged_file_is_refused_in_a_sentence(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(BadSetting, match="A student must be one of"):
        student.load(str(folder), ["other", "tip"])


@pytest.mark.parametrize("header", [struct.pack("<Q", 4 << 40), struct.pack("<Q", 10) + b"{" * 10, b"", b"\xff" * 64])
def test_weights_with_a_header_of_terabytes_are_refused(folder, header):
    (folder / "model.safetensors").write_bytes(header)
    with pytest.raises(BadSetting, match="A student must be one of"):
        student.load(str(folder), ["other", "tip"])


def test_a_pickle_in_the_place_of_weights_is_not_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(
        b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR." + b" " * 2_000_000
    )
    with pytest.raises(BadSetting, match="A student must be one of"):
        student.load(str(folder), ["other", "tip"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(
    sentencepiece.__version__ == "0.2.3", reason="the environment is older than requirements/dev.txt: make install"
)
def test_a_student_that_has_a_sentencepiece_model_alone_is_loaded(tmp_path):
    """As microsoft/deberta-v3-small lies on the hub; transformers makes the fast tokenizer of it by protobuf."""
    folder = make_student(tmp_path / "student", "deberta-v2")
    for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).unlink(missing_ok=True)
    specials = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "unk_piece": "[UNK]"}
    specials |= {"bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    (folder / "spm.model").write_bytes(trained_pieces(ENGLISH, **specials))
    done = loaded(folder, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 4


def test_a_modern_student_of_the_hub_keeps_its_shape_and_is_not_compiled(tmp_path):
    folder = make_named(tmp_path / "student", "mmbert", ENGLISH)
    model, _ = student.load(str(folder), ["other", "tip"])
    config = model.config
    assert (config.global_rope_theta, config.local_rope_theta, config.local_attention) == (160000, 160000, 8)
    assert (config.classifier_pooling, config.norm_bias, config.reference_compile) == ("mean", False, False)
    change(folder, "config.json", global_rope_theta=1e12)
    with pytest.raises(BadSetting, match="A student must be one of"):
        student.load(str(folder), ["other", "tip"])


def test_a_modern_student_of_other_labels_gets_a_fresh_head(tmp_path):
    first, tokenizer = student.load(str(make_named(tmp_path / "plain", "modernbert", ENGLISH)), ["other", "tip"])
    first.save_pretrained(tmp_path / "tips", safe_serialization=True)
    tokenizer.save_pretrained(tmp_path / "tips")
    same, _ = student.load(str(tmp_path / "tips"), ["other", "tip"])
    other, _ = student.load(str(tmp_path / "tips"), ["blame", "praise"])
    assert torch.equal(same.classifier.weight, first.classifier.weight)
    assert not torch.equal(other.classifier.weight, first.classifier.weight)
    assert torch.equal(other.model.layers[0].attn.Wqkv.weight, first.model.layers[0].attn.Wqkv.weight)


@pytest.mark.parametrize(
    "pattern", [{"Regex": "(a+)+$"}, {"Regex": ["\\s+"]}, {"String": ""}, {"String": 1}, {}, None, "a"]
)
def test_a_tokenizer_that_splits_by_an_unknown_pattern_is_refused(tmp_path, pattern):
    folder = make_named(tmp_path / "student", "mmbert", ENGLISH)
    splitting = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    change(folder, "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": [splitting]})
    with pytest.raises(BadSetting, match="an unknown pattern"):
        student.load(str(folder), ["other", "tip"])


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "deberta-v2", "t5"])
def test_the_allow_list_keeps_all_that_an_architecture_was_made_of(tmp_path, architecture):
    folder = make_student(tmp_path / "student", architecture)
    (folder / "student.json").write_text('{"max_length": 64}')
    said = json.loads((folder / "config.json").read_text())
    model = student.open_student(folder)[0]
    derived = {"dense_act_fn", "is_gated_act", "architectures", "transformers_version", "dtype", "torch_dtype"}
    unused = {"use_cache", "is_encoder_decoder", "model_type", "problem_type", "tie_weights_"}
    different = {key for key, value in said.items() if getattr(model.config, key, None) != value}
    assert different <= derived | unused
    assert set(student_files.config_of(folder)) >= {key for key in said if key.startswith(("num_", "hidden_", "vocab"))}
