# SPDX-License-Identifier: Apache-2.0
"""Ten steps of octavo train against the same loop in PyTorch: data order, schedule, clipping, AdamW."""
import json
import math

import numpy as np
import pytest
import torch

import common
import created_models

STEPS, WARMUP, MICRO_BATCH, ACCUMULATE, LENGTH, SEED = 10, 3, 2, 2, 32, 11
TOP, BOTTOM, DECAY, BETAS, EPSILON, CLIP = 4e-3, 5e-4, 0.2, (0.9, 0.97), 1e-7, 0.8


def philox(counter, stream, key):
    """64 bits of Philox4x32-10 (Salmon et al. 2011)."""
    low = lambda x: x & 0xFFFFFFFF
    c, k = [low(counter), counter >> 32, low(stream), stream >> 32], [low(key), key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], low(b), a >> 32 ^ c[3] ^ k[1], low(a)]
        k = [low(k[0] + 0x9E3779B9), low(k[1] + 0xBB67AE85)]
    return c[1] << 32 | c[0]


def first_token(sample, tokens):
    """Where a shuffled sample begins: a phase for each epoch, and a Feistel network that orders its windows."""
    per_epoch = (tokens - 1) // LENGTH
    epoch, index = divmod(sample, per_epoch)
    phase = philox(epoch, int.from_bytes(b"dataphas", "big"), SEED) % LENGTH
    half = ((per_epoch - 1).bit_length() + 1) // 2
    mask = 2**half - 1
    while True:
        left, right = index >> half, index & mask
        for round in range(6):
            mixed = philox(round << 32 | right, int.from_bytes(b"dataorde", "big") + epoch, SEED)
            left, right = right, left ^ mixed & mask
        index = left << half | right
        if index < per_epoch:
            return min(phase + index * LENGTH, tokens - LENGTH - 1)


def learning_rate(step):
    if step < WARMUP:
        return TOP * (step + 1) / WARMUP
    return BOTTOM + (TOP - BOTTOM) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - 1 - WARMUP)))


def train_in_torch(model, tokens):
    """(loss, gradient norm, learning rate) of each step."""
    model.train()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=TOP,
                                  betas=BETAS, eps=EPSILON)
    rows, sample = [], 0
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(ACCUMULATE):
            begins = [first_token(sample + b, len(tokens)) for b in range(MICRO_BATCH)]
            sample += MICRO_BATCH
            batch = torch.stack([tokens[begin:begin + LENGTH + 1] for begin in begins])
            loss = common.loss_of(model, batch[:, :-1], batch[:, 1:]) / ACCUMULATE
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        rows.append((total, norm, learning_rate(step)))
    return rows


@pytest.mark.parametrize("name", ["gpt2", "gpt2-untied", "llama-grouped", "llama-tied"])
def test_ten_steps(tmp_path, name):
    created_models.save(name, tmp_path / "start")
    # 14 windows an epoch: 40 samples see three of them.
    ids = np.random.default_rng(8).integers(0, created_models.VOCABULARY, 14 * LENGTH + 5)
    common.write_tokens(tmp_path / "tokens.bin", ids)
    common.octavo("train", "--init", tmp_path / "start", "--train-data", tmp_path / "tokens.bin", "--out", tmp_path / "run",
                  "--recipe", "fp32", "--steps", STEPS, "--warmup-steps", WARMUP, "--micro-batch", MICRO_BATCH, "--grad-accum", ACCUMULATE, "--seq-len", LENGTH,
                  "--seed", SEED, "--lr", TOP, "--min-lr", BOTTOM, "--weight-decay", DECAY, "--grad-clip", CLIP, "--schedule", "cosine",
                  "--set", f"optim.beta1={BETAS[0]}", "--set", f"optim.beta2={BETAS[1]}", "--set", f"optim.eps={EPSILON}")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    ours = [(line["loss"], line["grad_norm"], line["lr"]) for line in lines if line["event"] == "step"]

    model = common.load_torch(tmp_path / "start")
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    theirs = train_in_torch(model, torch.from_numpy(ids))
    assert any(norm > CLIP for _, norm, _ in theirs)  # clipping took part
    assert np.array(ours) == pytest.approx(np.array(theirs), rel=1e-4)
    assert [row[2] for row in ours] == pytest.approx([row[2] for row in theirs], rel=1e-9)

    trained = dict(common.load_torch(tmp_path / "run" / "final").named_parameters())
    assert trained.keys() == before.keys()
    for key, expected in model.named_parameters():
        moved, apart = expected - before[key], trained[key] - expected
        if key.endswith("c_attn.bias"):
            # The softmax does not see a bias of the keys: its gradient is rounding noise, which Adam makes as large as any other.
            moved, apart = (x.view(3, -1)[[0, 2]] for x in (moved, apart))
        assert moved.norm() > 0 and apart.norm() <= 1e-3 * moved.norm(), key
