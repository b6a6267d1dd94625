#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of the documents from run directories and benchmarks. Python's standard library only.

    docs/figures.py loss     docs/images/loss.svg     runs/fp32 runs/bf16 runs/fp8-amax
    docs/figures.py scales   docs/images/scales.svg   runs/fp8-amax
    docs/figures.py roofline docs/images/roofline.svg bench.jsonl
    docs/figures.py constants docs/images/constants.svg evals/*.json
    docs/figures.py sweep    docs/images/sweep.svg    sweeps/lr/results.json
    docs/figures.py attention docs/images/attention.svg iid.json trained.json
    docs/figures.py underflow docs/images/underflow.svg runs/gelu runs/silu runs/relu

loss: training loss of every run and, below, its distance to the first one. scales: the exponent of every scale over
the steps. roofline: what `octavo bench ... --json` printed, as speed over work per byte.
constants: one file `octavo eval --recipe R --tasks ... --text ... --json` printed for each model and each R of bf16,
fp8-amax, fp8-cscale:N; also prints the table of the intervals. sweep: what `octavo sweep` found, a plot for each of its
panels; also prints its table. attention: files `octavo probe --json` printed, named for their titles: the variance of
every block's attention output by position. underflow: the share of the last MLP product's input that becomes zero, the worst
block at each logged step. Colours are chosen to be readable on a light and on a dark page; there is no background.
"""
import argparse
import html
import json
import math
import pathlib
import re
import sys

TEXT, GRID = "#768390", "#76839055"
LINES = ["#8b949e", "#3b82f6", "#f0760a", "#22a06b", "#b65fcf"]
# From low to high, evenly spaced in lightness.
RAMP = [(68, 57, 132), (52, 96, 141), (38, 130, 142), (41, 164, 131), (99, 195, 97), (189, 213, 62), (245, 222, 90)]


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def recipe_of(run):
    for line in (run / "config.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("recipe"):
            return pathlib.Path(line.split("=", 1)[1].strip(" '\"")).stem
    sys.exit(f"{run}/config.toml has no recipe")


class Svg:
    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}" role="img">',
            f"<title>{html.escape(title)}</title>",
        ]

    def text(self, x, y, text, anchor="start", size=12, colour=TEXT, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" '
                          f'font-weight="{weight}">{html.escape(text)}</text>')

    def value(self, x, y, text, anchor="start", before=""):
        """'2^-9' with its exponent raised, other texts as they are."""
        base, _, exponent = text.partition("^")
        raised = f'<tspan dy="-4" font-size="9">{html.escape(exponent.replace("-", "−"))}</tspan>' if exponent else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11">{html.escape(before + base)}{raised}</text>')

    def line(self, x1, y1, x2, y2, colour=GRID, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def curve(self, points, colour, width=1.4):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
                          'stroke-linejoin="round"/>')

    def rect(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"/>')

    def circle(self, x, y, radius, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85"/>')

    def save(self, path):
        path.write_text("\n".join(self.parts) + "\n</svg>\n", encoding="utf-8")


class Panel:
    """Axes: data coordinates to a rectangle of the picture."""

    def __init__(self, svg, box, x_range, y_range):
        self.svg, self.box, self.x_range, self.y_range = svg, box, x_range, y_range

    def x(self, value):
        left, _, width, _ = self.box
        low, high = self.x_range
        return left + width * (value - low) / (high - low)

    def y(self, value):
        _, top, _, height = self.box
        low, high = self.y_range
        return top + height * (1 - (value - low) / (high - low))

    def y_ticks(self, values, form):
        left, _, width, _ = self.box
        for value in values:
            self.svg.line(left, self.y(value), left + width, self.y(value))
            self.svg.text(left - 6, self.y(value) + 4, form.format(value), "end", 11)

    def x_ticks(self, step, label):
        _, top, _, height = self.box
        last = int(self.x_range[1])
        for value in range(0, last + 1, step):
            self.svg.text(self.x(value), top + height + 16, str(value) if value < last else f"{value} {label}",
                          "middle" if value < last else "end", 11)

    def curve(self, points, colour):
        if points:
            self.svg.curve([(self.x(x), self.y(y)) for x, y in points], colour)


def running_mean(points, window):
    return [(points[i][0], sum(y for _, y in points[i - window + 1:i + 1]) / window)
            for i in range(window - 1, len(points))]


def draw_loss(out, runs):
    window = 10
    names = [recipe_of(run) for run in runs]
    events = [lines_of(run / "metrics.jsonl") for run in runs]
    losses = [[(e["step"], e["loss"]) for e in run if e["event"] == "step"] for run in events]
    finals = [next((e["loss"] for e in reversed(run) if e["event"] == "eval"), None) for run in events]
    if any([s for s, _ in loss] != [s for s, _ in losses[0]] for loss in losses):
        sys.exit("the runs do not have the same steps")
    steps = losses[0][-1][0]
    tick = max(1, round(steps / 6 / 10) * 10)

    svg = Svg(760, 460, "Training loss of " + ", ".join(names) + ", and distance to " + names[0])
    low = int(min(y for loss in losses for _, y in loss))
    high = int(max(y for loss in losses for _, y in loss)) + 1
    top = Panel(svg, (60, 34, 680, 236), (0, steps), (low, high))
    top.y_ticks(range(low, high + 1), "{}")
    svg.text(60, 20, "training loss, nats a token", weight="bold")
    for i, (name, loss) in enumerate(zip(names, losses)):
        top.curve(loss, LINES[i])
        svg.line(478, 56 + 20 * i, 502, 56 + 20 * i, LINES[i], 2.5)
        label = name if finals[i] is None else f"{name}: validation loss {finals[i]:.4f}"
        svg.text(510, 60 + 20 * i, label)

    deltas = []
    for loss in losses[1:]:
        deltas.append(running_mean([(s, y - base) for (s, y), (_, base) in zip(loss, losses[0])], window))
    bound = max([abs(y) for delta in deltas for _, y in delta], default=0.01) * 1.1
    bottom = Panel(svg, (60, 324, 680, 104), (0, steps), (-bound, bound))
    unit = next(u for u in (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005) if 2 * u < bound or u == 0.0005)
    bottom.y_ticks([unit * k for k in range(-int(bound / unit), int(bound / unit) + 1)], "{:+.3f}")
    bottom.x_ticks(tick, "steps")
    svg.text(60, 310, f"distance to {names[0]} (running mean over {window} steps)", weight="bold")
    for i, delta in enumerate(deltas):
        bottom.curve(delta, LINES[i + 1])
    svg.save(out)


def colour_of(share):
    at = share * (len(RAMP) - 1)
    i = min(int(at), len(RAMP) - 2)
    mixed = [round(a + (b - a) * (at - i)) for a, b in zip(RAMP[i], RAMP[i + 1])]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def short(tensor):
    """'transformer.h.2.attn.c_proj' and 'model.layers.2.self_attn.qkv' -> ('2', 'attn.c_proj')."""
    parts = tensor.split(".")
    at = next(i for i, part in enumerate(parts) if part.isdigit())
    return parts[at], ".".join(parts[at + 1:])


def draw_scales(out, run):
    records = [r for r in lines_of(run / "tensors.jsonl") if r["scale_exponent"] is not None]
    present = {r["role"] for r in records}
    # Of a tensor with codes of their own for each use, the first use.
    roles = [(role, label) for first, use, label in [("gemm.input", "gemm.fprop.input", "activations"),
                                                     ("gemm.weight", "gemm.fprop.weight", "weights"),
                                                     ("gemm.grad_output", "gemm.dgrad.grad_output", "gradients")]
             for role in (first, use) if role in present]
    if not roles:
        sys.exit(f"{run}/tensors.jsonl has no scales")
    steps = sorted({r["step"] for r in records})
    cell, width, gap, left = 13, 188, 22, 118
    rows_at_most = max(len({r["tensor"] for r in records if r["role"] == role}) for role, _ in roles)
    height = 46 + cell * rows_at_most + 74
    svg = Svg(left + len(roles) * (width + gap), height, f"log2 of the scales of {recipe_of(run)} over the steps")
    for n, (role, label) in enumerate(roles):
        mine = [r for r in records if r["role"] == role]
        formats = "/".join(sorted({r["format"] for r in mine}))
        tensors = sorted({r["tensor"] for r in mine}, key=lambda t: (int(short(t)[0]), short(t)[1]))
        values = {(r["tensor"], r["step"]): round(r["scale_exponent"]) for r in mine}
        low, high = min(values.values()), max(values.values())
        x0, y0 = left + n * (width + gap), 46
        svg.text(x0, 20, f"{label} ({formats})", weight="bold")
        svg.text(x0, 36, "log2(scale), one cell a logged step", size=11)
        for i, tensor in enumerate(tensors):
            y = y0 + i * cell
            if n == 0:
                layer, name = short(tensor)
                svg.text(left - 8, y + 10, f"block {layer}  {name}" if i % 4 == 0 else name, "end", 10)
            # Equal neighbours become one rectangle: the file stays small.
            begin = 0
            for s in range(1, len(steps) + 1):
                if s < len(steps) and values.get((tensor, steps[s])) == values.get((tensor, steps[begin])):
                    continue
                value = values.get((tensor, steps[begin]))
                if value is not None:
                    share = (value - low) / max(1, high - low)
                    svg.rect(x0 + width * begin / len(steps), y, width * (s - begin) / len(steps), cell - 1, colour_of(share))
                begin = s
        bottom = y0 + len(tensors) * cell
        svg.text(x0, bottom + 14, f"step {steps[0]}", size=10)
        svg.text(x0 + width, bottom + 14, str(steps[-1]), "end", 10)
        swatch = min(24.0, width / (high - low + 1))
        for value in range(low, high + 1):
            x = x0 + (value - low) * swatch
            svg.rect(x, bottom + 26, swatch - 1, 10, colour_of((value - low) / max(1, high - low)))
            svg.text(x + swatch / 2, bottom + 50, str(value), "middle", 10 if swatch > 16 else 8)
    svg.save(out)


SIZES = {"fp32": 4, "bf16": 2}  # others are one byte


def point_of(line):
    """(name, operations a byte, GFLOP/s) of one line of a benchmark. Bytes are those of operands and results, each once."""
    kind = line["bench"]
    if kind == "gemm":
        m, n, k = map(int, line["shape"].split("x"))
        a, b = (SIZES.get(t, 1) for t in line["types"].split("x"))
        return f"gemm {line['types']}", 2 * m * n * k / (m * k * a + n * k * b + 4 * m * n), line["gflops"]
    if kind == "gemv":
        n, k = map(int, line["shape"].split("x"))
        intensity = 2 * line["batch"] / SIZES.get(line["types"], 1)
        return f"gemv {line['types']}", intensity, intensity * line["gbytes"]
    if kind == "attention":
        b, h, kv, t, d = map(int, re.fullmatch(r"b(\d+)h(\d+)k(\d+)t(\d+)d(\d+)", line["shape"]).groups())
        products, matrices = (2, 2 * h + 2 * kv) if line["pass"] == "forward" else (5, 4 * h + 4 * kv)
        flops = products * b * h * t * (t + 1) * d
        return f"attention {line['pass']}", flops / (b * t * matrices * d * SIZES[line["types"]]), line["gflops"]
    return None


def draw_roofline(out, file):
    lines = lines_of(file)
    points = [p for p in map(point_of, lines) if p]
    peaks = {line["peak"]: line["peak_gflops"] for line in lines if line.get("peak_gflops")}
    dram = max(line["dram_gbytes"] for line in lines if "dram_gbytes" in line)
    top_peak = max(peaks.values())
    svg = Svg(760, 400, "Roofline: kernels against the peaks of the machine")
    x_range, y_range = (-0.5, math.log2(2 * max(x for _, x, _ in points))), (5, math.log2(top_peak) + 0.7)
    panel = Panel(svg, (64, 40, 500, 300), x_range, y_range)
    svg.text(64, 22, "GFLOP/s over operations a byte of operands and results (2 threads, both axes logarithmic)", weight="bold")
    for exponent in range(math.ceil(y_range[0]), int(y_range[1]) + 1):
        svg.line(64, panel.y(exponent), 564, panel.y(exponent))
        svg.text(58, panel.y(exponent) + 4, str(2 ** exponent), "end", 11)
    for exponent in range(0, int(x_range[1]) + 1, 2):
        svg.text(panel.x(exponent), 358, str(2 ** exponent), "middle", 11)
    for name, peak in peaks.items():
        ridge = math.log2(peak / dram)
        panel.curve([(ridge, math.log2(peak)), (x_range[1], math.log2(peak))], TEXT)
        svg.text(564, panel.y(math.log2(peak)) - 5, f"{name} {peak:.0f}", "end", 11)
    start = max(x_range[0], y_range[0] - math.log2(dram))
    panel.curve([(start, start + math.log2(dram)), (math.log2(top_peak / dram), math.log2(top_peak))], TEXT)
    svg.text(panel.x(1.7), panel.y(2.1 + math.log2(dram)), f"memory {dram:.0f} GB/s", "end", 11)
    names = sorted({name for name, _, _ in points})
    for i, name in enumerate(names):
        colour = (LINES + ["#d1408d", "#a1793a"])[i % (len(LINES) + 2)]
        for other, x, y in points:
            if other == name:
                svg.circle(panel.x(math.log2(x)), panel.y(math.log2(y)), 4, colour)
        svg.circle(586, 60 + 22 * i, 4, colour)
        svg.text(596, 64 + 22 * i, name)
    svg.save(out)


def figures_of(file):
    """(model, recipe, mean accuracy of the tasks, perplexity) of one evaluation."""
    result = json.loads(file.read_text(encoding="utf-8"))
    accuracies = [task["acc"] for task in result["tasks"].values()]
    return pathlib.Path(result["model"]).name, result["recipe"], sum(accuracies) / len(accuracies), result["text"]["token_perplexity"]


def interval(points, kept):
    """The longest run of neighbouring constants for which kept(score, perplexity), as (low, high), or None."""
    runs, current = [], []
    for constant, score, perplexity in sorted(points):
        if kept(score, perplexity) and (not current or constant == current[-1] + 1):
            current.append(constant)
        else:
            current = [constant] if kept(score, perplexity) else []
        runs.append(current[:])
    best = max(runs, key=len, default=[])
    return (best[0], best[-1]) if best else None


def draw_constants(out, files):
    models = {}
    for file in files:
        model, recipe, score, perplexity = figures_of(file)
        models.setdefault(model, {})[recipe] = (score, perplexity)
    kept_score, kept_perplexity = 99.5, 1.0
    svg = Svg(760, 470, "FP8-CSCALE: what is left of the BF16 figures over the constant")
    curves = {}
    for model, recipes in models.items():
        score, perplexity = recipes["bf16"]
        relative = {r: (100 * s / score, 100 * (p / perplexity - 1) if p else math.inf) for r, (s, p) in recipes.items()}
        points = sorted((int(r.split(":")[1]), *relative[r]) for r in relative if r.startswith("fp8-cscale:"))
        curves[model] = (points, relative["fp8-amax"])
    constants = [c for points, _ in curves.values() for c, _, _ in points]
    x_range = (min(constants) - 0.5, max(constants) + 2.6)
    panels = [("mean accuracy over tasks, per cent of BF16", (80, 104), (80, 85, 90, 95, 100), kept_score, 1, "{}"),
              ("perplexity over BF16, per cent more", (-1, 12), (0, 2, 4, 6, 8, 10), kept_perplexity, 2, "{:+}")]
    for n, (title, y_range, ticks, limit, column, form) in enumerate(panels):
        top = 34 + 220 * n
        panel = Panel(svg, (60, top, 480, 160), x_range, y_range)
        svg.text(60, top - 12, title, weight="bold")
        panel.y_ticks(ticks, form)
        panel.curve([(x_range[0], limit), (x_range[1] - 2, limit)], TEXT)
        clip = lambda y: min(max(y, y_range[0]), y_range[1])
        for i, (model, (points, amax)) in enumerate(curves.items()):
            line = [(p[0], clip(p[column])) for p in points]
            panel.curve(line, LINES[i + 1])
            for x, y in line:
                svg.circle(panel.x(x), panel.y(y), 3, LINES[i + 1])
            svg.circle(panel.x(x_range[1] - 0.7), panel.y(clip(amax[column - 1])), 4, LINES[i + 1])
            if n == 0:
                svg.line(560, 52 + 20 * i, 584, 52 + 20 * i, LINES[i + 1], 2.5)
                svg.text(592, 56 + 20 * i, model)
        for constant in range(min(constants), max(constants) + 1, 2):
            svg.text(panel.x(constant), top + 176, str(constant), "middle", 11)
        svg.text(panel.x(x_range[1] - 0.7), top + 176, "AMAX", "middle", 11)
    svg.text(60, 462, "constant c (codes are the cast of x * 2^c); values beyond the ends are drawn at the end", size=11)
    svg.save(out)

    print("| model | bf16: accuracy, perplexity | fp8-amax: accuracy, perplexity | constants with perplexity within 1 % | with accuracy of 99.5 % or more |")
    print("|---|---|---|---|---|")
    span = lambda found: "none" if found is None else f"{found[0]} to {found[1]}"
    for model, (points, amax) in curves.items():
        score, perplexity = models[model]["bf16"]
        print(f"| {model} | {100 * score:.2f} %, {perplexity:.3f} | {amax[0]:.2f} % of it, {amax[1]:+.2f} % "
              f"| {span(interval(points, lambda s, p: p <= kept_perplexity))} | {span(interval(points, lambda s, p: s >= kept_score))} |")


def below(high, a, b):
    """The part of the line from a to b that is not above `high`, or nothing."""
    a, b = sorted((a, b), key=lambda point: point[1])
    if a[1] > high:
        return []
    return [a, b if b[1] <= high else (a[0] + (b[0] - a[0]) * (high - a[1]) / (b[1] - a[1]), high)]


def sweep_ticks(low, high, count):
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(f * size for f in (1, 2, 5, 10) if f * size >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw_sweep(out, file):
    result = json.loads(file.read_text(encoding="utf-8"))
    sweep = result.get("sweep") or sys.exit(f"{file} is not of a sweep")
    panels, scale = sweep["panels"], sweep["scale"]
    points = [p for panel in panels for curve in panel["curves"] for p in curve["points"]]
    means = sorted(p["loss"]["mean"] for p in points if p["loss"]["mean"] is not None)
    if not means:
        sys.exit(f"{file}: every run diverged")
    losses = means + [s["loss"] for p in points for s in p["seeds"] if s["loss"] is not None]
    # Values far too high would leave the curves no height: there they leave the plot.
    low, middle = min(losses), means[len(means) // 2]
    high = min(max(losses), max(middle + 3 * (middle - low), means[int(0.7 * len(means))]))
    room = 0.06 * (high - low) or 0.01 * high
    y_range = (low - room, high + room)
    columns = min(len(panels), 2)
    width, height, gap, left = (640 if columns == 1 else 360), (320 if columns == 1 else 250), 40, 60
    names = [curve["label"] for curve in panels[0]["curves"]]
    place = lambda point, i: math.log2(point["x"]) if scale == "log2" else point["x"] if scale == "linear" else i
    legend_height = 8 + 24 * bool(sweep["curves"]) * math.ceil(len(names) / 5)
    rows = math.ceil(len(panels) / columns)
    kind = "validation" if sweep["loss"] == "val_loss" else "training"
    title = f"{kind} loss over {sweep['x']}"
    svg = Svg(left + columns * (width + gap), 30 + legend_height + rows * (height + 86), title)
    svg.text(left, 18, title + ", nats a token", weight="bold")
    colours = LINES[1:] + ["#d1408d", "#a1793a", "#14a3b8", "#8b949e"]
    colour = lambda i: colours[i] if len(names) <= len(colours) else colour_of(0.1 + 0.8 * i / (len(names) - 1))
    for i, name in enumerate(names if sweep["curves"] else []):
        x, y = left + (columns * (width + gap)) // 5 * (i % 5), 42 + 24 * (i // 5)
        svg.line(x, y - 4, x + 22, y - 4, colour(i), 2.5)
        svg.value(x + 28, y, name, before=sweep["curves"].split(".")[-1] + " ")
    for n, data in enumerate(panels):
        x0, y0 = left + (n % columns) * (width + gap), 50 + legend_height + (n // columns) * (height + 86)
        xs = [place(p, i) for i, p in enumerate(data["curves"][0]["points"])]
        margin = 0.05 * ((xs[-1] - xs[0]) or 1)
        panel = Panel(svg, (x0, y0, width, height), (xs[0] - margin, xs[-1] + margin), y_range)
        svg.text(x0, y0 - 18, data["label"], weight="bold")
        decimals = max(1, 1 - math.floor(math.log10(y_range[1] - y_range[0])))
        panel.y_ticks(sweep_ticks(*y_range, 8), "{:.%df}" % decimals)
        labels = [point["label"] for point in data["curves"][0]["points"]]
        room, every = 6 * max(map(len, labels)) + 8, 1
        while any(panel.x(b) - panel.x(a) < room for a, b in zip(xs[::every], xs[every::every])):
            every += 1
        for x, label in list(zip(xs, labels))[::every]:
            svg.value(panel.x(x), y0 + height + 18, label, "middle")
        svg.text(x0 + width / 2, y0 + height + 36, sweep["x"], "middle", 11)
        for i, curve in enumerate(data["curves"]):
            for k, (one, other) in enumerate(zip(curve["points"], curve["points"][1:])):
                if one["loss"]["mean"] is not None and other["loss"]["mean"] is not None:
                    panel.curve(below(y_range[1], (place(one, k), one["loss"]["mean"]), (place(other, k + 1), other["loss"]["mean"])), colour(i))
            for k, point in enumerate(curve["points"]):
                x, mean = panel.x(place(point, k)), point["loss"]["mean"]
                for seed in point["seeds"] if len(point["seeds"]) > 1 else []:
                    if seed["loss"] is not None and seed["loss"] <= y_range[1]:
                        svg.circle(x, panel.y(seed["loss"]), 1.5, colour(i))
                if mean is not None and mean <= y_range[1]:
                    svg.circle(x, panel.y(mean), 5.5 if k == curve["best"] else 2.8, colour(i))
                if point["diverged"]:
                    at = x + (i - (len(names) - 1) / 2) * min(8.0, 0.9 * width / len(xs) / len(names))
                    svg.line(at - 3, y0 - 9, at + 3, y0 - 3, colour(i))
                    svg.line(at - 3, y0 - 3, at + 3, y0 - 9, colour(i))
    if any(p["diverged"] for p in points):
        svg.text(left, 30 + legend_height + rows * (height + 86) - 6, "large dots: the best of a curve; crosses: a seed diverged", size=11)
    svg.save(out)

    print(f"| {'| ' if len(panels) > 1 else ''}{sweep['curves'] or ''} | best {sweep['x']} | {kind} loss | shift, powers of two | within {sweep['within_percent']:g} % | diverged |")
    print("|---" * (6 + (len(panels) > 1)) + "|")
    for data in panels:
        for curve in data["curves"]:
            labels = [curve["points"][k]["label"] for k in curve["flat"]]
            flat = f"{labels[0]} to {labels[-1]}" if scale != "category" and len(labels) > 1 else ", ".join(labels)
            lost, runs = sum(p["diverged"] for p in curve["points"]), sum(len(p["seeds"]) for p in curve["points"])
            head = f"| {data['label']} " if len(panels) > 1 else ""
            if curve["best"] is None:
                print(f"{head}| {curve['label']} | | | | | {lost} of {runs} |")
                continue
            best = curve["points"][curve["best"]]
            band = "" if best["loss"]["band"] is None else f" ± {best['loss']['band']:.4f}"
            shift = "" if curve["shift_log2"] is None else f"{curve['shift_log2']:+g}" if curve["shift_log2"] else "0"
            print(f"{head}| {curve['label']} | {best['label']}{' (edge)' if curve['at_edge'] else ''} | {best['loss']['mean']:.4f}{band} "
                  f"| {shift} | {flat} | {f'{lost} of {runs}' if lost else ''} |")


def draw_attention(out, files):
    """Variance against position, both in powers of two; positions in octaves are averaged."""
    width, height, left = 330, 260, 60
    svg = Svg(left + len(files) * (width + 50), height + 110, "variance of the attention output by position")
    svg.text(left, 18, "variance of the attention output by position", weight="bold")
    all_curves = [json.loads(file.read_text(encoding="utf-8"))["attention"] for file in files]
    top = math.ceil(max(1, math.log2(max(v for curves in all_curves for curve in curves for v in curve["variance"]))) / 2) * 2
    for n, (file, curves) in enumerate(zip(files, all_curves)):
        last = len(curves[0]["variance"])
        panel = Panel(svg, (left + n * (width + 50), 60, width, height), (0, math.log2(last)), (-8, top))
        svg.text(left + n * (width + 50), 46, file.stem.replace("_", " "), weight="bold")
        panel.y_ticks(range(-8, top + 1, 2), "2^{}")
        for e in range(0, int(math.log2(last)) + 1, 2):
            svg.text(panel.x(e), 60 + height + 18, str(2 ** e), "middle", 11)
        theory = [(math.log2(k), math.log2(math.e / k - (math.e - 1) / k ** 2)) for k in range(1, last + 1)]
        panel.curve(theory, LINES[0])
        for i, curve in enumerate(curves):
            points, k = [], 1
            while k <= last:
                part = curve["variance"][k - 1:max(k, int(k * 1.19))]
                points.append((math.log2(k + (len(part) - 1) / 2), math.log2(max(sum(part) / len(part), 2.0 ** -8))))
                k += len(part)
            panel.curve(points, colour_of(0.1 + 0.8 * i / max(1, len(curves) - 1)))
    svg.text(left, height + 100, "dark to light: first to last block; grey: e/k - (e-1)/k^2 for independent logits and values", size=11)
    svg.save(out)


def draw_underflow(out, runs):
    width, height, left = 560, 280, 60
    curves = []
    for run in runs:
        worst = {}
        for line in lines_of(run / "tensors.jsonl"):
            if line["role"].endswith("input") and re.search(r"mlp\.(down_proj|c_proj)$", line["tensor"]):
                worst[line["step"]] = max(worst.get(line["step"], 0), 100 * line["underflow"])
        name = next((line.split("=")[1].strip(" '\"") for line in (run / "config.toml").read_text(encoding="utf-8").splitlines()
                     if line.startswith("activation")), run.name)
        curves.append((name, sorted(worst.items())))
        print(f"| {name} | {max(worst.values()):.3g} % | {curves[-1][1][-1][1]:.3g} % |")
    floor = 1e-3
    last = max(points[-1][0] for _, points in curves)
    svg = Svg(left + width + 130, height + 90, "underflow behind the activation function")
    svg.text(left, 18, "input of the last MLP product that becomes zero in E4M3, worst block, %", weight="bold")
    panel = Panel(svg, (left, 40, width, height), (0, last), (math.log10(floor), 2))
    panel.y_ticks(range(-3, 3), "1e{}")
    for k in range(0, 5):
        svg.text(panel.x(last * k / 4), 40 + height + 18, f"{last * k / 4:.0f}", "middle", 11)
    svg.text(left + width / 2, 40 + height + 36, "step", "middle", 11)
    for i, (name, points) in enumerate(curves):
        panel.curve([(step, math.log10(max(share, floor))) for step, share in points], LINES[1 + i])
        svg.line(left + width + 14, 60 + 20 * i, left + width + 34, 60 + 20 * i, LINES[1 + i], 2.5)
        svg.text(left + width + 40, 64 + 20 * i, name)
    svg.save(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=["loss", "scales", "roofline", "constants", "sweep", "attention", "underflow"])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path, nargs="+", help="run directories; for roofline a file of JSON lines; for constants JSON files; for sweep its results.json; for attention JSON files")
    args = parser.parse_args()
    if args.figure == "loss":
        draw_loss(args.out, args.runs)
    elif args.figure == "scales":
        draw_scales(args.out, args.runs[0])
    elif args.figure == "constants":
        draw_constants(args.out, args.runs)
    elif args.figure == "sweep":
        draw_sweep(args.out, args.runs[0])
    elif args.figure == "attention":
        draw_attention(args.out, args.runs)
    elif args.figure == "underflow":
        draw_underflow(args.out, args.runs)
    else:
        draw_roofline(args.out, args.runs[0])


if __name__ == "__main__":
    main()
