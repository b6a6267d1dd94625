# SPDX-License-Identifier: Apache-2.0
"""What the tests share: where the programs and the data are, and how they are called.

OCTAVO_BUILD        build directory, its programs in bin/; default: build/release
OCTAVO_SHARED_DATA  public corpora, tokenizers and models; default: ../shared/data. Tests of what is not there are skipped.
OCTAVO_CORPUS       any English text; a generated one without it
"""
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OCTAVO_BUILD") or ROOT / "build" / "release")
SHARED = pathlib.Path(os.environ.get("OCTAVO_SHARED_DATA") or ROOT.parent / "shared" / "data")
CORPUS = os.environ.get("OCTAVO_CORPUS")


def program(name):
    return BUILD / "bin" / name


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand")
    return path


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr.decode(errors='replace')}"
    return done.stdout


def octavo(*words):
    return run(program("octavo"), *words)


def octavo_json(*words):
    return json.loads(octavo(*words))


def write_tokens(path, tokens):
    """A shard that is nothing but 16-bit ids."""
    np.asarray(tokens, dtype="<u2").tofile(path)
    return path


def read_shard(path):
    """The ids of an .octok file of 16-bit ids: they follow a header of 64 bytes."""
    with open(path, "rb") as file:
        header = file.read(64)
    assert header[:8] == b"OCTOKEN\n" and int.from_bytes(header[12:16], "little") == 2
    return np.fromfile(path, dtype="<u2", offset=64).astype(np.int64)


def load_torch(directory, dtype=torch.float32):
    """The model through transformers; every tensor of the file must have found its place and none be missing."""
    model, found = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not found[key], f"{directory}: {key} {found[key]}"
    return model.eval()


def loss_of(model, tokens, targets, reduction="mean"):
    """Cross entropy in the model's own precision; transformers' own loss would compute it in FP32."""
    logits = model(input_ids=tokens).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def windows(tokens, length):
    """Inputs and targets of all windows that follow each other, as octavo eval takes them."""
    count = (len(tokens) - 1) // length
    cut = torch.from_numpy(np.ascontiguousarray(tokens[:count * length + 1]).astype(np.int64))
    return cut[:-1].view(count, length), cut[1:].view(count, length)


def mean_loss(model, tokens, length):
    with torch.no_grad():
        inputs, targets = windows(tokens, length)
        parts = [loss_of(model, a, b, "sum").double() for a, b in zip(inputs.split(16), targets.split(16))]
    return (sum(parts) / targets.numel()).item()
