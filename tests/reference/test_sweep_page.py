# SPDX-License-Identifier: Apache-2.0
"""The page of octavo sweep in a real browser, and the figure of its results."""
import json
import sys
import xml.etree.ElementTree

import pytest

import browser
import common
from test_report import check_quiet, show

needs_browser = pytest.mark.skipif(browser.executable() is None, reason="no Chromium here: Debian package chromium")

SETTINGS = """
model = {layers = 1, context = 32, head_dim = 16}
train = {steps = 12, micro_batch = 4}
eval.batches = 2
optim = {warmup_steps = 0, clip = 0.0}
log.tensors_every = 0
"""


@pytest.fixture(scope="module")
def page():
    with browser.Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def sweep(dataset, tmp_path_factory):
    """Four learning rates, of which the last diverges, at two widths under two recipes, two seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "rates.toml").write_text(f"""[run]{SETTINGS}[matrix]
recipe = ["bf16", "fp8-amax"]
model = [{{name = "<b>32", model.width = 32}}, {{name = "<b>48", model.width = 48}}]
"optim.lr" = ["2^-10..2^-8", 1e30]
seed = [1, 2]
[sweep]
x = "optim.lr"
curves = "model"
within = 50
""")
    common.octavo("experiment", "run", folder / "rates.toml", "--data", dataset, "--out", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def recipes(dataset, tmp_path_factory):
    """An axis of names, one curve, one seed."""
    folder = tmp_path_factory.mktemp("recipes")
    common.octavo("sweep", dataset, "--x", "recipe=bf16,fp8-amax", "--out", folder, "--steps", 12,
                  *(f"--set={s}" for s in ("model.width=32", "model.heads=2", "model.layers=1", "model.context=32", "train.micro_batch=4")))
    return folder


def count(page, selector):
    return page.run(f"document.querySelectorAll('#sweep {selector}').length")


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_curves_marks_and_table(sweep, page, dark):
    path = show(page, sweep / "report.html", dark)
    assert page.run("document.querySelectorAll('section').length") == 1
    assert count(page, "svg.plot") == 2
    # Three rates that end, a dot each, at two widths in two plots; the fourth is a cross.
    assert count(page, "svg .mean") == 12
    assert count(page, "svg .lost") == 4
    assert count(page, "svg .best") == 4
    assert count(page, "svg .flat") == 4
    curve = json.loads((sweep / "results.json").read_text())["sweep"]["panels"][1]["curves"][1]
    best = curve["points"][curve["best"]]
    row = page.run("document.querySelectorAll('#sweep table.best tbody tr')[5].innerText")
    for word in ("<b>48", best["label"], f"{best['loss']['mean']:.4f} ± {best['loss']['band']:.4f}", "2 of 8", "2^-10 to 2^-8"):
        assert word in row
    assert count(page, "td b") == 0  # names stay text
    for word in ("NaN", "undefined", "[object"):
        assert word not in page.run("document.body.innerText")
        assert word not in page.run("document.querySelector('#sweep svg').outerHTML")
    check_quiet(page, path)


@needs_browser
def test_values_under_the_mouse(sweep, page):
    path = show(page, sweep / "report.html")
    point = json.loads((sweep / "results.json").read_text())["sweep"]["panels"][0]["curves"][0]["points"][0]
    over = "document.querySelector('#sweep svg {}').dispatchEvent(new MouseEvent('mousemove', {{clientX: 300, clientY: 300}}))"
    page.run(over.format(".mean"))
    tip = page.run("document.getElementById('tip').innerText")
    for word in ("model <b>32", "2^-10", f"{point['loss']['mean']:.4f}", "95 %"):
        assert word in tip
    page.run(over.format(".seed"))
    assert "seed 1" in page.run("document.getElementById('tip').innerText")
    page.run(over.format(".lost"))
    assert "2 of 2" in page.run("document.getElementById('tip').innerText")
    check_quiet(page, path)


@needs_browser
@pytest.mark.parametrize("width", [420, 1800])
def test_widths(sweep, page, width):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    path = show(page, sweep / "report.html")
    assert page.run("document.documentElement.scrollWidth") <= width
    # Plots are drawn for the room they have: their texts keep their size.
    assert page.run("[...document.querySelectorAll('#sweep svg.plot')].every((s) => Math.abs(s.viewBox.baseVal.width - s.clientWidth) <= 1)")
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    check_quiet(page, path)


@needs_browser
def test_an_axis_of_names(recipes, page):
    path = show(page, recipes / "report.html")
    assert count(page, "svg .mean") == 2
    assert count(page, "svg .seed") == 0
    text = page.run("document.getElementById('sweep').innerText")
    assert "One seed" in text and "all runs" in text
    check_quiet(page, path)


def test_the_figure(sweep, recipes, tmp_path):
    for folder, dots in ((sweep, 12 + 24), (recipes, 2)):
        out = tmp_path / "figure.svg"
        table = common.run(sys.executable, common.ROOT / "docs" / "figures.py", "sweep", out, folder / "results.json").decode()
        root = xml.etree.ElementTree.parse(out).getroot()
        assert len(root.findall("{*}circle")) == dots
        assert table.startswith("| ")
    assert "| fp8-amax | <b>48 |" in common.run(sys.executable, common.ROOT / "docs" / "figures.py", "sweep", out, sweep / "results.json").decode()
