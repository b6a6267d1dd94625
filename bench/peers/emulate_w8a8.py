#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Perplexity of a Llama directory in PyTorch with the weights and inputs of its linear layers rounded to E4M3, to be held against
octavo eval --text FILE --seq-len 1024 --recipe fp32|fp8-amax|fp8-row. Products and all else are FP32; the head is not rounded.

    ./dev reference && build/venv/bin/python bench/peers/emulate_w8a8.py MODEL FILE

octavo takes the amax of 8 windows together (--batch), this of one.
"""
import argparse
import math
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LARGEST = 448.0


def amax_cast(x):
    """One power of two for the tensor, as fp8-amax."""
    factor = torch.exp2(torch.floor(torch.log2(LARGEST / x.abs().amax())))
    return (x * factor).to(torch.float8_e4m3fn).float() / factor


def row_cast(x):
    """One scale for each row, as fp8-row."""
    factor = LARGEST / x.abs().amax(-1, keepdim=True)
    return (x * factor).to(torch.float8_e4m3fn).float() / factor


@torch.no_grad()
def perplexity(model, ids, window):
    loss = count = 0
    for begin in range(0, len(ids) - 1, window):
        part = ids[begin:begin + window][None]
        if part.shape[1] < 2:
            break
        log_probabilities = torch.log_softmax(model(part).logits[0, :-1], -1)
        loss -= log_probabilities.gather(1, part[0, 1:, None]).sum().item()
        count += part.shape[1] - 1
    return math.exp(loss / count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--seq-len", type=int, default=1024)
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(args.text.read_text(encoding="utf-8"), return_tensors="pt").input_ids[0]
    print(f"fp32      {perplexity(model, ids, args.seq_len):.3f}", flush=True)
    layers = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]
    weights = [layer.weight.data.clone() for layer in layers]
    for name, cast in [("fp8-amax", amax_cast), ("fp8-row", row_cast)]:
        hooks = [layer.register_forward_pre_hook(lambda _, inputs: (cast(inputs[0]),)) for layer in layers]
        for layer, weight in zip(layers, weights):
            layer.weight.data = cast(weight)
        print(f"{name:<10}{perplexity(model, ids, args.seq_len):.3f}", flush=True)
        for hook in hooks:
            hook.remove()


if __name__ == "__main__":
    main()
