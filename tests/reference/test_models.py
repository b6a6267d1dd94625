# SPDX-License-Identifier: Apache-2.0
"""Models of either program in the other: names, configuration, loss and greedy text."""
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

import common
import created_models

TOLERANCE = 1e-5  # of the loss, which is about 5


def octavo_loss(model, data, length):
    return common.octavo_json("eval", "--model", model, "--data", data, "--recipe", "fp32", "--seq-len", length, "--json")["loss"]


def test_a_trained_model_loads(trained):
    model = common.load_torch(trained / "final")
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == (trained.name.split("-")[1] == "tied")
    assert type(model).__name__ == ("GPT2LMHeadModel" if trained.name.startswith("gpt2") else "LlamaForCausalLM")


def test_the_tokenizer_of_a_trained_model_loads(trained, dataset):
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "final")
    text = (dataset.parent / "corpus.txt").read_text(encoding="utf-8")[:20_000] + " naïve 漢字 🙂\n"
    (dataset.parent / "part.txt").write_text(text, encoding="utf-8")
    ours = common.octavo_json("tokenize", "--tokenizer", trained / "final", "--file", dataset.parent / "part.txt", "--json")["ids"]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ours
    assert tokenizer.decode(ours) == text
    assert tokenizer.eos_token_id == transformers.AutoConfig.from_pretrained(trained / "final").eos_token_id == 0


def test_loss_of_a_trained_model(trained, dataset):
    tokens = common.read_shard(dataset / "val_000000.octok")
    expected = common.mean_loss(common.load_torch(trained / "final"), tokens, 96)
    assert expected < np.log(512)  # it learned something
    assert octavo_loss(trained, dataset, 96) == pytest.approx(expected, rel=TOLERANCE)


def greedy(model_directory, prompt, count):
    """The text both programs continue with, ours first."""
    ours = common.octavo_json("generate", "--model", model_directory, "--prompt", prompt, "--greedy", "--ignore-eos", "--recipe", "fp32",
                              "--max-new-tokens", count, "--json")
    assert ours["new_tokens"] == count
    model = common.load_torch(model_directory)
    model.generation_config.eos_token_id = None
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory)
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    length = inputs["input_ids"].shape[1]
    assert ours["prompt_tokens"] == length
    ids = model.generate(**inputs, max_new_tokens=count, do_sample=False, pad_token_id=0)[0]
    assert len(ids) == length + count
    before, after = (tokenizer.decode(part, skip_special_tokens=True) for part in (ids[:length], ids))
    assert after.startswith(before)
    return ours["text"], after[len(before):]


@pytest.mark.parametrize("prompt", ["And the ", "of the sea", "K"])
def test_greedy_text_of_a_trained_model(trained, prompt):
    ours, theirs = greedy(trained / "final", prompt, 60)
    assert ours == theirs


@pytest.mark.parametrize("prompt", ["In the beginning God created", "And it came to pass, that the 7 kings"])
def test_logits_of_a_trained_model(trained, prompt, tmp_path):
    """Every logit after every token; octavo's come from its key/value cache, one token at a time."""
    common.octavo("logits", "--model", trained / "final", "--text", prompt, "--out", tmp_path / "logits.safetensors")
    ours = load_file(tmp_path / "logits.safetensors")
    with torch.no_grad():
        theirs = common.load_torch(trained / "final")(torch.from_numpy(ours["ids"]).long()[None]).logits[0].numpy()
    assert ours["logits"].shape == theirs.shape
    assert np.abs(ours["logits"] - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_loss_of_a_created_model(created, tmp_path):
    tokens = np.random.default_rng(5).integers(0, created_models.VOCABULARY, 40 * 64 + 1)
    common.write_tokens(tmp_path / "random.bin", tokens)
    expected = common.mean_loss(common.load_torch(created), tokens, 64)
    assert octavo_loss(created, tmp_path / "random.bin", 64) == pytest.approx(expected, rel=TOLERANCE)


def test_loss_of_tinystories(tmp_path):
    """Of this model's tied pair only lm_head.weight is stored."""
    model = common.shared("model-tinystories-656k")
    text = common.shared("corpus-tinystories/tinystories_excerpt.txt").read_text(encoding="utf-8")[:60_000]
    (tmp_path / "stories.txt").write_text(text, encoding="utf-8")
    common.octavo("prepare", "--input", tmp_path / "stories.txt", "--tokenizer", model, "--val-fraction", 0, "--out", tmp_path / "set")
    tokens = common.read_shard(tmp_path / "set" / "train_000000.octok")
    expected = common.mean_loss(common.load_torch(model), tokens, 256)
    assert expected < 4  # flat logits give 7.6
    assert octavo_loss(model, tmp_path / "set", 256) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("prompt", ["<|start_story|>Once upon a time, ", "<|start_story|>Lily went to the"])
def test_greedy_text_of_tinystories(prompt):
    ours, theirs = greedy(common.shared("model-tinystories-656k"), prompt, 100)
    assert ours == theirs
