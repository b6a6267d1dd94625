#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Matrix products of other libraries, one JSON line each: PyTorch's BF16 (oneDNN, plain weights) and FP32, OpenBLAS sgemm.

y[m,n] = x[m,k] · w[n,k]^T, as a linear layer. Run alternately with octavo by compare_gemm.py.
"""
import argparse
import ctypes
import glob
import json
import os
import statistics
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--shapes", default="2048x2048x2048", help="MxNxK, comma-separated")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--reps", type=int, default=9)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402  the number of threads has to be set first

torch.set_num_threads(args.threads)


def openblas():
    """The OpenMP build: threads of the pthreads build inherit one pinned core."""
    found = glob.glob("/usr/lib/*/openblas-openmp/libopenblas.so.0")
    if not found:
        print("OpenBLAS is left out: apt-get install libopenblas0-openmp", file=sys.stderr)
        return None
    library = ctypes.CDLL(found[0])
    library.openblas_set_num_threads(args.threads)
    library.openblas_get_corename.restype = ctypes.c_char_p
    return library


def measure(call):
    call()
    seconds = []
    for _ in range(args.reps):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def report(library, kernel, shape, m, n, k, seconds):
    print(json.dumps({"library": library, "kernel": kernel, "shape": shape, "gflops": 2e-9 * m * n * k / seconds,
                      "median_ms": seconds * 1e3}), flush=True)


blas = openblas()
for shape in args.shapes.split(","):
    m, n, k = map(int, shape.split("x"))
    x, w = torch.randn(m, k), torch.randn(n, k)
    xh, wh = x.bfloat16(), w.bfloat16()
    with torch.no_grad():
        report("torch bf16", "onednn", shape, m, n, k, measure(lambda: torch.nn.functional.linear(xh, wh)))
        report("torch fp32", "", shape, m, n, k, measure(lambda: torch.nn.functional.linear(x, w)))
    if blas:
        y = torch.empty(m, n)
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        pointer = lambda t: ctypes.c_void_p(t.data_ptr())  # noqa: E731
        row_major, plain, transposed = 101, 111, 112
        report("openblas sgemm", blas.openblas_get_corename().decode(), shape, m, n, k,
               measure(lambda: blas.cblas_sgemm(row_major, plain, transposed, m, n, k, one, pointer(x), k, pointer(w), k,
                                                zero, pointer(y), n)))
