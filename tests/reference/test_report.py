# SPDX-License-Identifier: Apache-2.0
"""The page of octavo report in a real browser: nothing in the console, nothing from the network, everything drawn."""
import json

import pytest

import browser
import common

pytestmark = pytest.mark.skipif(browser.executable() is None, reason="no Chromium here: Debian package chromium")

PANELS = ["overview", "loss", "scales", "range", "snr", "values", "resources"]
HOSTILE = "</script><script>window.stolen=1</script><img src=x onerror=window.stolen=2>"


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """A run in BF16 and one in FP8, both with everything logged."""
    folder = tmp_path_factory.mktemp("report")
    for recipe in ("bf16", "fp8-amax"):
        common.octavo("train", "--train-data", dataset, "--recipe", recipe, "--steps", 30, "--warmup-steps", 5, "--lr", 3e-3,
                      "--micro-batch", 4, "--eval-batches", 2, "--eval-every", 10, "--log-tensors", 5, "--profile", "--out", folder / recipe,
                      "--set=model.width=48", "--set=model.heads=3", "--set=model.layers=2", "--set=model.context=64")
    return folder


@pytest.fixture(scope="module")
def page():
    with browser.Browser() as opened:
        yield opened


# Until what observers and animation frames do is done.
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def show(page, path, dark=False):
    page.problems.clear()
    page.requests.clear()
    page.open(path, dark)
    assert page.run("document.documentElement.dataset.ready") == "true", page.problems
    page.run(FRAMES)
    return path


def check_quiet(page, path):
    assert page.problems == []
    assert page.requests == [path.resolve().as_uri()]


def painted(page, selector):
    """The number of colours of a canvas, and how far it is from being empty."""
    return page.run(f"""(() => {{ const c = document.querySelector('{selector}');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, seen = new Set();
        for (let i = 0; i < d.length; i += 4) if (d[i + 3]) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
        return seen.size; }})()""")


def report(runs, names, out):
    common.octavo("report", *(runs / name for name in names), "--out", out)
    return out


@pytest.mark.parametrize("dark", [False, True])
def test_every_panel_is_drawn(runs, page, tmp_path, dark):
    path = show(page, report(runs, ["bf16", "fp8-amax"], tmp_path / "r.html"), dark)
    assert page.run("[...document.querySelectorAll('section')].map((s) => s.id)") == PANELS
    for panel in PANELS:
        assert page.run(f"document.querySelector('#{panel} .how').textContent.length") > 40
    assert page.run("document.querySelectorAll('#loss canvas').length") == 2
    assert page.run("document.querySelectorAll('canvas.heat').length") == 3
    assert page.run("document.querySelectorAll('#scales .small canvas').length") == 12
    assert page.run("document.querySelectorAll('#range tbody tr').length") == 12
    assert page.run("document.querySelectorAll('#values svg rect').length") > 10
    assert page.run("document.querySelectorAll('#resources .bar').length") == 4
    for canvas in ("#loss canvas", "canvas.heat", "#snr canvas", "#resources canvas"):
        assert painted(page, canvas) > 3, canvas
    # Every canvas has the resolution it is shown at: nothing is stretched.
    assert page.run("[...document.querySelectorAll('canvas')].every((c) => Math.abs(c.width - c.clientWidth * devicePixelRatio) <= 1)")
    assert page.run("[...document.querySelectorAll('.uplot')].every((u) => u.clientWidth <= u.parentElement.clientWidth)")
    assert "undefined" not in page.run("document.body.innerText") and "[object" not in page.run("document.body.innerText")
    assert "NaN" not in page.run("document.body.innerText")
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(v) for v in background[4:-1].split(",")) < 150) == dark
    check_quiet(page, path)


def test_controls(runs, page, tmp_path):
    path = show(page, report(runs, ["bf16", "fp8-amax"], tmp_path / "r.html"))
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.run("getComputedStyle(document.body).backgroundColor") != before
    # A cell of the map of gradients opens its tensor below.
    page.click("#scales .columns > div:nth-child(3) canvas.heat", 0.9, 0.05)
    assert page.run("document.querySelector('#values option:checked').parentElement.label").startswith("gradients")
    first = page.run("document.querySelector('#range tbody td').textContent")
    page.click("#range thead th:nth-child(1) button")
    page.click("#range thead th:nth-child(1) button")
    assert page.run("document.querySelector('#range thead th').getAttribute('aria-sort')") == "ascending"
    assert page.run("document.querySelector('#range tbody td').textContent") != first
    page.click("#range p button")
    assert page.run("document.querySelectorAll('#range tbody tr').length") == 24
    page.click("#values input[type=checkbox]")
    assert page.run("document.querySelector('#values input[type=checkbox]').checked")
    page.click("#loss input[type=checkbox]")
    assert page.run("document.querySelectorAll('#loss canvas').length") == 2
    page.run("document.querySelector('#loss .u-over').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.run("(() => { const b = document.querySelector('#loss .u-over').getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 5, y=y)
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.run(FRAMES)
    assert page.run("document.getElementById('tip').innerText").startswith("step ")
    check_quiet(page, path)


@pytest.mark.parametrize("width", [420, 1800])
def test_widths(runs, page, tmp_path, width):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    path = show(page, report(runs, ["bf16", "fp8-amax"], tmp_path / "r.html"))
    assert page.run("document.documentElement.scrollWidth") <= width
    page.call("Emulation.setDeviceMetricsOverride", width=width - 60, height=900, deviceScaleFactor=1, mobile=False)
    page.run(FRAMES)
    assert page.run("document.documentElement.scrollWidth") <= width - 60
    assert page.run("[...document.querySelectorAll('canvas.heat')].every((c) => Math.abs(c.width - c.clientWidth) <= 1)")
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    check_quiet(page, path)


def test_missing_data_says_what_to_do(runs, page, tmp_path):
    path = show(page, report(runs, ["bf16"], tmp_path / "r.html"))
    for panel in ("scales", "range", "snr", "values"):
        assert "--log-tensors" in page.run(f"document.querySelector('#{panel} .hint').textContent")
    check_quiet(page, path)

    old = tmp_path / "old"
    old.mkdir()
    lines = [json.loads(line) for line in (runs / "fp8-amax" / "tensors.jsonl").read_text().splitlines()]
    for line in lines:
        for key in ("zeros", "exponent_first", "exponent_counts"):
            del line[key]
    (old / "tensors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = show(page, report(tmp_path, ["old"], tmp_path / "old.html"))
    assert page.run("document.querySelectorAll('canvas.heat').length") == 3
    assert "--log-tensors" in page.run("document.querySelector('#values .hint').textContent")
    assert "--profile" in page.run("document.querySelector('#resources').textContent")
    check_quiet(page, path)

    # As an evaluation would write them: one step only.
    (old / "tensors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if line["step"] == 1))
    path = show(page, report(tmp_path, ["old"], tmp_path / "one.html"))
    assert page.run("document.querySelectorAll('canvas.heat').length") == 3
    assert painted(page, "canvas.heat") > 3 and painted(page, "#scales .small canvas") > 3
    check_quiet(page, path)


def test_hostile_names_stay_text(runs, page, tmp_path):
    folder = tmp_path / "<img src=x onerror=window.stolen=3>"
    folder.mkdir()
    (folder / "config.toml").write_text(f"recipe = 'x'\nseed = '''{HOSTILE}'''\n")
    (folder / "recipe.toml").write_text(f"name = '''{HOSTILE}'''\ndeviations = ['''{HOSTILE}''']\n")
    (folder / "env.json").write_text(json.dumps({"cpu": HOSTILE, "model": HOSTILE, "memory": {HOSTILE: 5}}))
    (folder / "metrics.jsonl").write_text((runs / "fp8-amax" / "metrics.jsonl").read_text().replace('"gemm"', json.dumps(HOSTILE)))
    (folder / "tensors.jsonl").write_text((runs / "fp8-amax" / "tensors.jsonl").read_text().replace('c_fc"', "c_fc" + HOSTILE + '"').replace('"gemm.input"', json.dumps(HOSTILE)))
    path = show(page, report(tmp_path, [folder.name], tmp_path / "r.html"))
    assert page.run("window.stolen") is None
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 3
    assert HOSTILE in page.run("document.getElementById('overview').textContent")
    check_quiet(page, path)


def test_the_policy_stops_other_scripts(runs, page, tmp_path):
    """A page changed by hand: the check above could not fail if the policy let everything through."""
    path = report(runs, ["bf16"], tmp_path / "r.html")
    path.write_text(path.read_text().replace("<main", "<script>window.stolen = 1</script><main", 1))
    show(page, path)
    assert page.run("window.stolen") is None
    assert any("Content Security Policy" in problem for problem in page.problems)
