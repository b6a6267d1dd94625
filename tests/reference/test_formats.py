# SPDX-License-Identifier: Apache-2.0
"""Codes of the C++ encoders against ml_dtypes and numpy."""
import ml_dtypes
import numpy as np
import pytest

import common

# name: type, what an overflowing cast of the other library gives, code type
FORMATS = {
    "e4m3": (ml_dtypes.float8_e4m3fn, "nan", np.uint8),
    "e5m2": (ml_dtypes.float8_e5m2, "inf", np.uint8),
    "e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, "nan", np.uint8),
    "e5m2fnuz": (ml_dtypes.float8_e5m2fnuz, "nan", np.uint8),
    "bf16": (ml_dtypes.bfloat16, "inf", np.uint16),
    "fp16": (np.float16, "inf", np.uint16),
}
INPUTS = 2**16 + 2**20


def dump(tmp_path, name, rounding, overflow):
    """Inputs as float32, random words, codes, and the codes' values as float32."""
    path = tmp_path / "codes.bin"
    common.run(common.program("exhaustive_formats"), "--dump", name, rounding, overflow, path)
    words = np.fromfile(path, dtype="<u4").reshape(-1, 3)
    assert len(words) == INPUTS
    dtype, _, code_type = FORMATS[name]
    codes = words[:, 2].astype(code_type)
    assert (codes == words[:, 2]).all()
    return words[:, 0].copy().view(np.float32), words[:, 1], codes, codes.view(dtype).astype(np.float32)


def cast(x, name):
    dtype, _, code_type = FORMATS[name]
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(dtype).view(code_type)


def values(codes, name):
    return codes.astype(FORMATS[name][2]).view(FORMATS[name][0]).astype(np.float32)


def largest(name):
    return np.float32(ml_dtypes.finfo(FORMATS[name][0]).max)


@pytest.mark.parametrize("name", FORMATS)
def test_nearest_is_the_cast(tmp_path, name):
    x, _, codes, decoded = dump(tmp_path, name, "nearest_even", FORMATS[name][1])
    expected = cast(x, name)
    # NaN payloads are each library's own choice.
    nan = np.isnan(values(expected, name))
    assert (np.isnan(decoded) == nan).all()
    assert (codes[~nan] == expected[~nan]).all()


@pytest.mark.parametrize("name", FORMATS)
def test_saturate_is_the_cast_of_the_clipped_number(tmp_path, name):
    x, _, codes, decoded = dump(tmp_path, name, "nearest_even", "saturate")
    nan = np.isnan(x)
    assert (np.isnan(decoded) == nan).all()
    clipped = np.clip(x, -largest(name), largest(name))
    assert (codes[~nan] == cast(clipped, name)[~nan]).all()


@pytest.mark.parametrize("name", FORMATS)
def test_truncate_is_the_largest_number_not_beyond(tmp_path, name):
    x, _, codes, decoded = dump(tmp_path, name, "truncate", "saturate")
    keep = ~np.isnan(x)
    x, codes, decoded = np.clip(x[keep], -largest(name), largest(name)), codes[keep], decoded[keep]
    nearest = cast(x, name)
    # One code nearer to zero wherever the cast went away from zero.
    expected = nearest - (np.abs(values(nearest, name)) > np.abs(x)).astype(nearest.dtype)
    if name.endswith("fnuz"):
        expected[expected == 0x80] = 0  # a negative number truncated to zero
    assert (codes == expected).all()
    assert (np.abs(decoded) <= np.abs(x)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_stochastic_follows_the_random_word(tmp_path, name):
    x, random, codes, decoded = dump(tmp_path, name, "stochastic", "saturate")
    sign = 1 << (np.dtype(FORMATS[name][2]).itemsize * 8 - 1)
    inside = np.abs(x) < largest(name)
    x, random, codes, decoded = x[inside].astype(np.float64), random[inside], codes[inside], decoded[inside]
    nearest = values(cast(np.abs(x).astype(np.float32), name), name).astype(np.float64)
    low = cast(nearest.astype(np.float32), name).astype(np.int64) - (nearest > np.abs(x))
    a, b = values(low, name).astype(np.float64), values(low + 1, name).astype(np.float64)
    exact = np.abs(x) == a
    step = np.where(np.isfinite(b), b - a, 1.0)
    fraction = np.floor(np.where(exact, 0.0, (np.abs(x) - a) / step) * 2.0**32)
    expected = low + (fraction + random >= 2.0**32)
    assert ((codes & ~np.array(sign, codes.dtype)) == expected).all()
    assert (np.signbit(decoded) == np.signbit(x))[decoded != 0].all()
