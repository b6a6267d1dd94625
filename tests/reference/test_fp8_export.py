# SPDX-License-Identifier: Apache-2.0
"""Exported FP8 directories: against our own reading of the conventions, against compressed-tensors and transformers, and back
into octavo."""
import subprocess

import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from transformers.utils.quantization_config import CompressedTensorsConfig, FineGrainedFP8Config

import common
import fp8_layout

RECIPES = {
    "pow2": '[gemm]\nformat = "e4m3"\n[gemm.scaling]\nkind = "current"\n',
    "amax": '[gemm]\nformat = "e4m3"\n[gemm.scaling]\nkind = "current"\npow2 = false\n',
    "static": '[gemm]\nformat = "e4m3"\n[gemm.scaling]\nkind = "constant"\nexponent = 6\n[gemm.input.scaling]\nexponent = 3\n',
    "high": '[gemm]\nformat = "e4m3"\n[gemm.scaling]\nkind = "current"\n[layers]\nkeep_high = ["lm_head"]\nfirst_blocks_high = 1\n',
}
# name: recipe, format, more flags
EXPORTS = {
    "tensor": ("pow2", "compressed-tensors", []),
    "channel": ("pow2", "compressed-tensors", ["--granularity", "channel"]),
    "channel-amax": ("amax", "compressed-tensors", ["--granularity", "channel"]),
    "static": ("static", "compressed-tensors", []),
    "high": ("high", "compressed-tensors", []),
    "block": ("pow2", "fp8-block", []),
    "block-amax": ("amax", "fp8-block", []),
}
TEXT = "And it came to pass, that the 7 kings"


@pytest.fixture(scope="module")
def wide(dataset, tmp_path_factory):
    """A trained Llama whose every side is a multiple of 128."""
    out = tmp_path_factory.mktemp("wide") / "run"
    settings = ["family=llama", "width=256", "heads=4", "kv_heads=2", "head_dim=64", "ffn=384", "context=64", "layers=2"]
    common.octavo("train", "--train-data", dataset, "--recipe", "fp32", "--steps", 15, "--warmup-steps", 3, "--lr", 3e-3, "--micro-batch",
                  4, "--eval-batches", 1, "--out", out, *(f"--set=model.{word}" for word in settings))
    return out / "final"


@pytest.fixture(scope="module", params=EXPORTS)
def exported(request, wide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    recipe, form, flags = EXPORTS[request.param]
    (folder / "mine.toml").write_text(RECIPES[recipe])
    common.octavo("export", "--model", wide, "--recipe", folder / "mine.toml", "--format", form, *flags, "--out", folder / request.param)
    return folder / request.param


def test_structure_and_codes(exported, wide):
    """The layout readers expect, and codes that are the nearest E4M3 of weight / scale."""
    values = fp8_layout.dequantized(exported)
    header = fp8_layout.read_header(exported / "model.safetensors")
    tensors = fp8_layout.raw(exported / "model.safetensors", header)
    original = load_file(wide / "model.safetensors")
    assert values.keys() == original.keys()
    quantized = [name for name in values if header[name][0] == "F8_E4M3"]
    assert len(quantized) == (7 if exported.name == "high" else 14)
    for name in quantized:
        module = name.removesuffix(".weight")
        scale = tensors.get(f"{module}.weight_scale", tensors.get(f"{module}.weight_scale_inv"))
        rows, columns = original[name].shape
        if scale.ndim == 2:
            scale = np.repeat(np.repeat(scale, rows // scale.shape[0], 0), columns // scale.shape[1], 1)
        assert np.abs(original[name]).max() > 0.01
        if exported.name.endswith("amax"):  # octavo multiplies by the inverse where it divides: one unit in the last place
            near = np.abs(values[name] - original[name])
            assert (near <= np.maximum(np.abs(original[name]) * (2.0 ** -4 * 1.0001), scale * 2.0 ** -10 * 1.0001)).all()
        else:
            codes = np.clip(original[name] / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
            assert np.array_equal(codes.view(np.uint8), tensors[name].view(np.uint8)), name
    for name in values.keys() - set(quantized):
        assert np.array_equal(values[name], original[name].astype(ml_dtypes.bfloat16).astype(np.float32)), name


def loaded(directory, dtype=torch.float32):
    """Through transformers with every weight dequantized; nothing may be missing or left over."""
    block = directory.name.startswith("block")
    how = FineGrainedFP8Config(dequantize=True) if block else CompressedTensorsConfig(dequantize=True)
    model, found = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, quantization_config=how,
                                                                     attn_implementation="eager", output_loading_info=True)
    left_over = {name for name in found["unexpected_keys"] if not name.endswith(".input_scale")}  # of no use without FP8
    assert not found["missing_keys"] and not left_over and not found["mismatched_keys"], found
    return model


def test_compressed_tensors_takes_every_tensor(exported):
    """As it is loaded for inference: FP8 weights with their scales, nothing missing, nothing left over."""
    if exported.name.startswith("block"):
        pytest.skip("transformers runs blocks on GPUs only")
    model, found = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32, output_loading_info=True)
    assert not any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")), found
    state = model.state_dict()
    for name, (dtype, shape) in fp8_layout.read_header(exported / "model.safetensors").items():
        assert tuple(state[name].shape) == shape, name
        assert (state[name].dtype == torch.float8_e4m3fn) == (dtype == "F8_E4M3"), name


def test_the_libraries_dequantize_to_the_same_bits(exported):
    values = fp8_layout.dequantized(exported)
    block = exported.name.startswith("block")
    state = loaded(exported, torch.bfloat16 if block else torch.float32).state_dict()
    for name, ours in values.items():
        theirs = state[name]
        if block:  # transformers gives these back in BF16
            assert np.array_equal(ours.astype(ml_dtypes.bfloat16).astype(np.float32), theirs.float().numpy()), name
        else:
            assert theirs.dtype == torch.float32
            assert np.array_equal(ours.view(np.uint32), theirs.numpy().view(np.uint32)), name


def test_logits(exported, tmp_path):
    """octavo's logits from the FP8 directory against transformers' from the same weights."""
    common.octavo("logits", "--model", exported, "--text", TEXT, "--out", tmp_path / "logits.safetensors")
    ours = load_file(tmp_path / "logits.safetensors")
    config = transformers.AutoConfig.from_pretrained(exported, attn_implementation="eager")
    del config.quantization_config
    model = transformers.LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict({n: torch.from_numpy(t) for n, t in fp8_layout.dequantized(exported).items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    with torch.no_grad():
        theirs = model(torch.from_numpy(ours["ids"]).long()[None]).logits[0].numpy()
    assert np.abs(ours["logits"] - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_training_starts_from_exactly_these_weights(exported, dataset, tmp_path):
    """A step with a rate of zero leaves the FP32 masters as they were loaded, but for the sign of zeros."""
    common.octavo("train", "--init", exported, "--train-data", dataset, "--recipe", "fp32", "--steps", 1, "--warmup-steps", 0, "--lr", 0,
                  "--min-lr", 0, "--micro-batch", 2, "--eval-batches", 1, "--out", tmp_path / "run")
    back = load_file(tmp_path / "run" / "final" / "model.safetensors")
    for name, values in fp8_layout.dequantized(exported).items():
        assert np.array_equal(values, back[name]), name


def test_per_tensor_is_what_the_engine_computes_with(wide, dataset, tmp_path):
    """The loss in the recipe's numbers does not change when the weights already are those numbers."""
    (tmp_path / "mine.toml").write_text(RECIPES["pow2"])
    common.octavo("export", "--model", wide, "--recipe", tmp_path / "mine.toml", "--out", tmp_path / "out")
    losses = [common.octavo_json("eval", "--model", model, "--data", dataset, "--recipe", tmp_path / "mine.toml", "--seq-len", 64, "--json")["loss"]
              for model in (wide, tmp_path / "out")]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)  # norms and embeddings became BF16


def test_gpt2_is_exported_in_bf16_only(created, tmp_path):
    if not created.name.startswith("gpt2") or created.name == "gpt2-fp16":
        pytest.skip("a Llama, or nothing new")
    done = subprocess.run([common.program("octavo"), "export", "--model", created, "--out", tmp_path / "fp8"], capture_output=True)
    assert done.returncode == 3 and b"gpt2 model can be exported in bf16 only" in done.stderr
    common.octavo("export", "--model", created, "--format", "bf16", "--out", tmp_path / "bf16")
    before, after = common.load_torch(created).state_dict(), common.load_torch(tmp_path / "bf16").state_dict()
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert torch.equal(values.bfloat16().float(), after[name]), name
