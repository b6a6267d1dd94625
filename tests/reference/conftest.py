# SPDX-License-Identifier: Apache-2.0
import os
import random

# Before torch is imported: these models are too small to gain from more threads, and nothing here comes from a hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest  # noqa: E402

import common  # noqa: E402
import created_models  # noqa: E402

PROGRAMS = ["octavo", "safetensors_tool", "tensorboard_tool", "tokenize_tool", "exhaustive_formats"]

# Trained here through the command line. Every value that a reader of config.json could overlook differs from its default.
TRAINED = {
    "gpt2-tied": ["model.family=gpt2", "model.width=48", "model.heads=3"],
    "gpt2-untied": ["model.family=gpt2", "model.width=64", "model.heads=4", "model.ffn=112", "model.activation=gelu",
                    "model.norm_eps=1e-4", "model.tied_head=false"],
    "llama-tied": ["model.family=llama", "model.width=64", "model.heads=4", "model.kv_heads=2", "model.ffn=96",
                   "model.rope_theta=500.0", "model.norm_eps=1e-4"],
    "llama-untied": ["model.family=llama", "model.width=64", "model.heads=4", "model.kv_heads=1", "model.head_dim=24",
                     "model.ffn=160", "model.tied_head=false"],
}


def pytest_configure():
    missing = [str(common.program(name)) for name in PROGRAMS if not common.program(name).is_file()]
    if missing:
        raise pytest.UsageError(f"not built: {', '.join(missing)}; OCTAVO_BUILD names the build directory")


def corpus_text():
    """About 300 KB: the given corpus, or sentences from a small grammar."""
    if common.CORPUS:
        with open(common.CORPUS, encoding="utf-8") as file:
            return file.read(300_000)
    source = random.Random(4)
    nouns = "king river mountain servant city field shepherd house daughter stone lamp garden voice path".split()
    verbs = "saw called followed built found left heard kept carried remembered".split()
    places = ["in the morning", "by the sea", "after three days", "upon the hill", "before the gate", "without a word"]
    lines = []
    while sum(map(len, lines)) < 300_000:
        a, b = source.sample(nouns, 2)
        lines.append(f"And the {a} {source.choice(verbs)} the {b} {source.choice(places)}"
                     f"{source.choice([', and it was good.', ';', '.', ', said the ' + source.choice(nouns) + '.'])}\n")
    return "".join(lines)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A data set of octavo prepare with 512 tokens, and its text beside it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "corpus.txt").write_text(corpus_text(), encoding="utf-8")
    common.octavo("prepare", "--input", folder / "corpus.txt", "--vocab-size", 512, "--out", folder / "set")
    return folder / "set"


@pytest.fixture(scope="session", params=TRAINED)
def trained(request, dataset, tmp_path_factory):
    """Directory of a finished run."""
    out = tmp_path_factory.mktemp("trained") / request.param
    words = ["model.context=96", "model.layers=2"] + TRAINED[request.param]
    common.octavo("train", "--train-data", dataset, "--recipe", "fp32", "--steps", 40, "--warmup-steps", 5, "--lr", 5e-3,
                  "--micro-batch", 4, "--eval-batches", 2, "--out", out, *(f"--set={word}" for word in words))
    return out


@pytest.fixture(scope="session", params=created_models.VARIANTS)
def created(request, tmp_path_factory):
    """Directory that transformers' save_pretrained wrote."""
    folder = tmp_path_factory.mktemp("created") / request.param
    created_models.save(request.param, folder)
    return folder
