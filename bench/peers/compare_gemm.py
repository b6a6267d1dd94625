#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""octavo's FP8 product and those of PyTorch (oneDNN) and OpenBLAS in turns; prints ratios of medians.

    ./dev reference && apt-get install libopenblas0-openmp && build/venv/bin/python bench/peers/compare_gemm.py
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--octavo", default=HERE.parents[1] / "build/release/bin/octavo")
parser.add_argument("--shapes", default="1024x1024x1024,2048x2048x2048,2048x3072x768,2048x768x3072")
parser.add_argument("--types", default="e4m3xe4m3")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
common = ["--threads", str(args.threads), "--reps", "9"]
# Old OpenBLAS builds are told their kernel by these; a current one chooses better.
clean = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


def lines(command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=clean)
    return [json.loads(line) for line in done.stdout.splitlines()]


for shape in args.shapes.split(","):
    figures, kernels = {}, {}
    for _ in range(args.rounds):
        ours = lines([args.octavo, "bench", "gemm", "--shapes", shape, "--layouts", "tn", "--types", args.types, "--output",
                      "bf16", "--json", *common])
        figures.setdefault("octavo " + args.types, []).append(ours[0]["gflops"])
        for line in lines([sys.executable, HERE / "gemm_peers.py", "--shapes", shape, *common]):
            figures.setdefault(line["library"], []).append(line["gflops"])
            kernels[line["library"]] = line["kernel"]
    medians = {name: statistics.median(values) for name, values in figures.items()}
    mine = medians["octavo " + args.types]
    print(shape)
    for name, value in medians.items():
        ratio = "" if name.startswith("octavo") else f"  octavo is {mine / value:.2f}x"
        print(f"  {name:<18} {value:8.1f} GFLOP/s {kernels.get(name, ''):<12}{ratio}", flush=True)
