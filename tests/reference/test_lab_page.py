# SPDX-License-Identifier: Apache-2.0
"""The page of octavo compare and octavo experiment in a real browser."""
import json

import pytest

import browser
import common
from test_report import check_quiet, show

pytestmark = pytest.mark.skipif(browser.executable() is None, reason="no Chromium here: Debian package chromium")

MODEL = ["model.heads=2", "model.layers=1", "model.context=32", "train.micro_batch=4", "train.steps=12", "eval.batches=2",
         "optim.warmup_steps=2", "log.tensors_every=5"]


@pytest.fixture(scope="module")
def page():
    with browser.Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def lab(dataset, tmp_path_factory):
    """Three recipes over three seeds."""
    folder = tmp_path_factory.mktemp("compare")
    common.octavo("compare", "--recipes", "bf16,fp8-amax,fp32", "--data", dataset, "--out", folder,
                  *(f"--set={setting}" for setting in MODEL), "--set=model.width=32")
    return folder


@pytest.fixture(scope="module")
def sweep(dataset, tmp_path_factory):
    """Constants at two widths; at -40 every code is zero."""
    folder = tmp_path_factory.mktemp("sweep")
    rows = ['{name = "bf16", recipe = "bf16"}']
    for constant in (-40, 2, 4):
        recipe = folder / f"c{constant}.toml"
        recipe.write_text(f'[gemm]\nformat = "e4m3"\n[gemm.scaling]\nkind = "constant"\nexponent = {constant}\n')
        rows.append(f'{{name = "<b>c:{constant}", recipe = "{recipe}"}}')
    run = "\n".join(setting for setting in MODEL)
    (folder / "sweep.toml").write_text(f'[run]\n{run}\n[matrix]\n"model.width" = [32, 48]\nrecipe = [{", ".join(rows)}]\nseed = [1, 2]\n'
                                       '[interval]\nfamily = "<b>c"\n')
    common.octavo("experiment", "run", folder / "sweep.toml", "--data", dataset, "--out", folder / "out")
    return folder / "out"


@pytest.mark.parametrize("dark", [False, True])
def test_recipes_over_seeds(lab, page, dark):
    path = show(page, lab / "report.html", dark)
    assert page.run("document.querySelector('section').id") == "lab"
    assert page.run("document.querySelectorAll('#lab svg circle.mean').length") == 2
    assert page.run("document.querySelectorAll('#lab svg circle.seed').length") == 6
    assert page.run("document.querySelectorAll('#lab table tbody tr').length") == 3
    # What the table says is what results.json says.
    row = json.loads((lab / "results.json").read_text())["groups"][0]["rows"][1]
    text = page.run("document.querySelectorAll('#lab tbody tr')[1].innerText")
    assert f"{row['val_loss']['mean']:.4f} ± {row['val_loss']['band']:.4f}" in text
    assert f"{abs(row['delta_percent']['mean']):.2f} %" in text
    # The runs of the first seed in detail, against the first recipe.
    assert page.run("document.querySelectorAll('#overview .run').length") == 3
    assert page.run("document.querySelector('#overview .run .tag').textContent") == "baseline"
    for word in ("NaN", "undefined", "[object"):
        assert word not in page.run("document.body.innerText")
    page.run("document.querySelector('#lab circle.seed').dispatchEvent(new MouseEvent('mousemove', {clientX: 300, clientY: 300}))")
    assert "seed" in page.run("document.getElementById('tip').innerText")
    check_quiet(page, path)


def test_an_interval_of_constants(sweep, page):
    path = show(page, sweep / "report.html")
    assert page.run("document.querySelectorAll('#lab svg.interval').length") == 2
    assert page.run("document.querySelectorAll('#lab svg.interval')[0].querySelectorAll('.mean').length") == 3
    # Names stay text.
    assert page.run("document.querySelectorAll('#lab td b').length") == 0
    assert "<b>c:2" in page.run("document.querySelector('#lab table').innerText")
    check_quiet(page, path)
    other = page.run("document.querySelector('#lab h3 a').href")
    assert other.endswith("/report-model.width_48.html")
    path = show(page, sweep / "report-model.width_48.html")
    assert page.run("document.querySelectorAll('#lab h3')[1].textContent").endswith("(shown in detail below)")
    assert page.run("runs = JSON.parse(document.getElementById('document').textContent).runs.map((r) => r.name).join()").startswith("48-bf16-s1")
    check_quiet(page, path)


@pytest.mark.parametrize("width", [420, 1800])
def test_widths(lab, page, width):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    path = show(page, lab / "report.html")
    assert page.run("document.documentElement.scrollWidth") <= width
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    check_quiet(page, path)


def test_other_pages_have_no_such_panel(lab, page, tmp_path):
    common.octavo("report", lab / "runs" / "bf16-s1", "--out", tmp_path / "r.html")
    path = show(page, tmp_path / "r.html")
    assert page.run("document.getElementById('lab')") is None
    check_quiet(page, path)
