# SPDX-License-Identifier: Apache-2.0
"""Our safetensors files through the reference library, and its files through ours."""
import json
import struct
import subprocess

import numpy as np
import pytest
import safetensors
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import common


def echo(source, target):
    return subprocess.run([common.program("safetensors_tool"), str(source), str(target)], capture_output=True, text=True)


def samples():
    generator = np.random.default_rng(7)
    types = "bool uint8 int8 int16 uint16 float16 int32 uint32 float32 float64 int64 uint64".split()
    tensors = {f"layer.{t}": (generator.random((3, 5)) * 100).astype(t) for t in types}
    tensors["scalar"] = np.array(1.5, dtype=np.float32)
    tensors["empty"] = np.zeros((0, 4), dtype=np.float32)
    tensors['na"me\\ with é'] = np.arange(7, dtype=np.uint8)
    return tensors


def test_both_directions(tmp_path):
    tensors = samples()
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    done = echo(tmp_path / "theirs", tmp_path / "ours")
    assert done.returncode == 0, done.stderr
    loaded = load_file(tmp_path / "ours")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert loaded[name].tobytes() == tensor.tobytes()
    with safe_open(tmp_path / "ours", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_same_bytes_as_the_reference_writer(tmp_path):
    save_file(samples(), tmp_path / "theirs", metadata={"format": "pt"})
    assert echo(tmp_path / "theirs", tmp_path / "ours").returncode == 0
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_fp8_types(tmp_path):
    """numpy has no FP8, so the file is made by hand and the library's raw parser judges ours."""
    codes = bytes(range(256))
    types = {"w": "F8_E4M3", "g": "F8_E5M2", "s": "F8_E8M0"}
    header = {
        name: {"dtype": dtype, "shape": [16, 16], "data_offsets": [256 * i, 256 * i + 256]}
        for i, (name, dtype) in enumerate(types.items())
    }
    text = json.dumps(header).encode()
    (tmp_path / "in").write_bytes(struct.pack("<Q", len(text)) + text + 3 * codes)
    done = echo(tmp_path / "in", tmp_path / "ours")
    assert done.returncode == 0, done.stderr
    parsed = dict(safetensors.deserialize((tmp_path / "ours").read_bytes()))
    assert {name: entry["dtype"] for name, entry in parsed.items()} == types
    for entry in parsed.values():
        assert list(entry["shape"]) == [16, 16] and bytes(entry["data"]) == codes


@pytest.mark.parametrize(
    "header",
    [
        b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        b'{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
        b'{"t":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}',
        b'{"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
        b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}',
        b'{"t":',
    ],
)
def test_both_refuse(tmp_path, header):
    bad = tmp_path / "bad"
    bad.write_bytes(struct.pack("<Q", len(header)) + header + b"12345678")
    with pytest.raises(safetensors.SafetensorError):
        load_file(bad)
    done = echo(bad, tmp_path / "out")
    assert done.returncode == 4
    assert str(bad) in done.stderr
