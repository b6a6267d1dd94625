# SPDX-License-Identifier: Apache-2.0
"""Quantized directories from the reader's side, without octavo: what vLLM and transformers expect of config.json and the
tensors, and the weights that follow. Sources: compressed-tensors 0.20 (quant_args.py, lifecycle/initialize.py), transformers
5.23 (finegrained_fp8.py), vLLM (fp8.py, compressed_tensors_w8a8_fp8.py). Run as a program it checks directories."""
import json
import math
import pathlib
import sys

import ml_dtypes
import numpy as np
from safetensors import safe_open

LINEAR = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
          "mlp.down_proj")
ARGUMENTS = {"num_bits", "type", "symmetric", "group_size", "strategy", "block_structure", "dynamic", "actorder", "observer",
             "observer_kwargs"}  # compressed-tensors forbids others
SCALES = (".weight_scale", ".weight_scale_inv", ".input_scale")


def read_header(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def raw(path, header):
    """Every tensor as numpy: BF16 and F8_E4M3 through ml_dtypes."""
    types = {"F32": np.float32, "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(8)
        offsets = json.loads(file.read(start - 8))
        data = file.read()
    return {name: np.frombuffer(data[slice(*offsets[name]["data_offsets"])], types[dtype]).reshape(shape)
            for name, (dtype, shape) in header.items()}


def check_arguments(arguments, strategy, dynamic):
    assert set(arguments) <= ARGUMENTS, arguments
    assert arguments["num_bits"] == 8 and arguments["type"] == "float" and arguments["symmetric"] is True
    assert arguments["strategy"] in strategy and arguments["dynamic"] is dynamic


def layout_of(config):
    """name of the scale, its shape for [out, in], whether inputs are static, modules that are left alone"""
    q = config["quantization_config"]
    assert config["model_type"] == "llama" and config["architectures"] == ["LlamaForCausalLM"]
    if q["quant_method"] == "compressed-tensors":
        assert q["format"] == "float-quantized" and q["quantization_status"] == "compressed"
        group, = q["config_groups"].values()
        assert group["targets"] == ["Linear"] and group.get("output_activations") is None
        check_arguments(group["weights"], {"tensor", "channel"}, False)
        inputs = group["input_activations"]
        static = inputs is not None and inputs["dynamic"] is False
        if inputs is not None:
            check_arguments(inputs, {"tensor"} if static else {"token"}, not static)
        channel = group["weights"]["strategy"] == "channel"
        return "weight_scale", lambda rows, columns: (rows, 1) if channel else (1,), static, q["ignore"]
    assert q["quant_method"] == "fp8" and q["activation_scheme"] == "dynamic" and q["fmt"] == "e4m3"
    height, width = q["weight_block_size"]
    assert q["modules_to_not_convert"] == q["ignored_layers"]

    def blocks(rows, columns):
        assert rows % height == 0 and columns % width == 0  # fused layers; act_quant of inputs
        return rows // height, columns // width

    return "weight_scale_inv", blocks, False, q["ignored_layers"]


def dequantized(directory):
    """Checks the directory and returns its weights in FP32: code * scale in single precision."""
    directory = pathlib.Path(directory)
    config = json.loads((directory / "config.json").read_text())
    scale_name, scale_shape, static, ignored = layout_of(config)
    header = read_header(directory / "model.safetensors")
    with safe_open(directory / "model.safetensors", "np") as file:  # the library opens it, too
        assert set(file.keys()) == set(header) and file.metadata() == {"format": "pt"}
    tensors = raw(directory / "model.safetensors", header)
    modules = {f"model.layers.{i}.{name}" for i in range(config["num_hidden_layers"]) for name in LINEAR}
    assert "lm_head" in ignored and set(ignored) - {"lm_head"} <= modules
    result, scales = {}, set()
    for name, (dtype, shape) in header.items():
        if name.endswith(SCALES):
            continue
        module = name.removesuffix(".weight")
        if module not in modules or module in ignored:
            assert dtype == "BF16", name
            result[name] = tensors[name].astype(np.float32)
            continue
        assert dtype == "F8_E4M3", name
        scale = tensors[f"{module}.{scale_name}"]
        assert scale.dtype == np.float32 and scale.shape == scale_shape(*shape), name
        assert np.isfinite(scale).all() and (scale > 0).all(), name
        scales.add(f"{module}.{scale_name}")
        if static:
            step = tensors[f"{module}.input_scale"]
            assert step.dtype == np.float32 and step.shape == (1,) and math.isfinite(step[0]) and step[0] > 0, name
            scales.add(f"{module}.input_scale")
        codes = tensors[name].astype(np.float32)
        assert np.isfinite(codes).all(), name
        if scale.ndim == 2:
            scale = np.repeat(np.repeat(scale, shape[0] // scale.shape[0], 0), shape[1] // scale.shape[1], 1)
        result[name] = codes * scale
    assert scales == {name for name in header if name.endswith(SCALES)}, "scales without weights"
    return result


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(f"{path}: {len(dequantized(path))} weights, structure as readers expect it")
