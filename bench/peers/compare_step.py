#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""octavo and PyTorch on the same training step in turns; prints the ratio of their medians.

    ./dev reference && build/venv/bin/python bench/peers/compare_step.py --seq-len 1024
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--octavo", default=HERE.parents[1] / "build/release/bin/octavo")
parser.add_argument("--recipe", default="fp8-amax")
parser.add_argument("--settings", default="fp32,bf16", help="of PyTorch; the fastest counts (fp32, bf16, bf16-compile)")
parser.add_argument("--micro-batch", type=int, default=4)
parser.add_argument("--seq-len", type=int, default=1024)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
shape = ["--micro-batch", str(args.micro_batch), "--seq-len", str(args.seq_len), "--threads", str(args.threads), "--reps", "3"]


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


ours, theirs = [], {}
for _ in range(args.rounds):
    ours.append(run([args.octavo, "bench", "step", "--preset", "gpt2-124m", "--recipes", args.recipe, "--json", *shape]))
    for setting in args.settings.split(","):
        theirs.setdefault(setting, []).append(run([sys.executable, HERE / "torch_step.py", "--setting", setting, *shape]))


def line(name, runs):
    speed = statistics.median(r["tok_s"] for r in runs)
    memory = max(r["peak_rss_bytes"] for r in runs)
    print(f"{name:<22} {speed:8.0f} tok/s  {memory / 2**20:7.0f} MiB peak")
    return speed, memory


mine = line(f"octavo {args.recipe}", ours)
best = max((line(f"torch {setting}", runs) for setting, runs in theirs.items()), key=lambda r: r[0])
print(f"octavo / fastest torch: {mine[0] / best[0]:.2f}x the speed, {mine[1] / best[1]:.2f}x the peak memory")
