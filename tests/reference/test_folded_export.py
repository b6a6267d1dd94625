# SPDX-License-Identifier: Apache-2.0
"""Models of family octavo, their constants folded into the weights of a plain architecture, in transformers."""
import subprocess

import numpy as np
import pytest

import common

CASES = {
    "mup": ("GPTNeoXForCausalLM", ["model.scheme=mup"]),
    "unit": ("GPTNeoXForCausalLM", ["model.scheme=unit", "model.tau=0.3"]),
    "umup": ("GPTNeoXForCausalLM", ["model.scheme=umup", "model.rope_theta=500.0"]),
    "munit-pre": ("GPTNeoXForCausalLM", ["model.scheme=munit", "model.norm=pre", "model.ffn=80", "model.activation=gelu"]),
    "learned": ("GPT2LMHeadModel", ["model.scheme=munit", "model.norm=pre", "model.positions=learned", "model.tied_head=true"]),
}


def train(dataset, out, settings):
    words = [word for setting in ["model.family=octavo", "model.width=48", "model.heads=3", "model.layers=3", "model.context=96",
                                  "model.tied_head=false", *settings] for word in ("--set", setting)]
    common.octavo("train", "--train-data", dataset, "--recipe", "fp32", "--steps", 30, "--micro-batch", 4, "--lr", 0.03, "--min-lr", 0.001,
                  "--warmup-steps", 5, "--eval-every", 0, "--out", out, *words)


@pytest.mark.parametrize("name", CASES)
def test_loss_of_a_folded_model(name, dataset, tmp_path):
    architecture, settings = CASES[name]
    train(dataset, tmp_path / "run", settings)
    common.octavo("export", "--model", tmp_path / "run", "--format", "folded", "--out", tmp_path / "plain")
    model = common.load_torch(tmp_path / "plain")
    assert type(model).__name__ == architecture
    tokens = common.read_shard(dataset / "val_000000.octok")
    expected = common.mean_loss(model, tokens, 96)
    assert expected < np.log(512) - 0.3  # it learned something
    ours = common.octavo_json("eval", "--model", tmp_path / "run", "--data", dataset, "--recipe", "fp32", "--seq-len", 96, "--json")["loss"]
    # A norm adds its epsilon to a variance that folding changes.
    assert ours == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_folded_is_refused(dataset, tmp_path):
    train(dataset, tmp_path / "run", ["model.scheme=munit"])
    done = subprocess.run([common.program("octavo"), "export", "--model", tmp_path / "run", "--format", "folded", "--out", tmp_path / "plain"],
                          capture_output=True, text=True)
    assert done.returncode != 0
    assert "end of the branches" in done.stderr and "model.norm pre" in done.stderr
    assert not (tmp_path / "plain").exists()
