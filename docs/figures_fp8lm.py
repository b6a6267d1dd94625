#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of FP8-LM from the directories of its experiments. Python's standard library only.

    docs/figures_fp8lm.py states docs/images/fp8lm-states.svg labs/states
    docs/figures_fp8lm.py factor docs/images/fp8lm-factor.svg labs/mu
    docs/figures_fp8lm.py jump   docs/images/fp8lm-jump.svg   labs/jump

states (experiment fp8lm-states): the loss of every setting against the first, seed by seed, and over the steps the
largest change of a weight and the share of second moments that become zero. factor (fp8lm-mu): over the steps the
factor of automatic scaling, the share of saturated codes in the sum, and the SNR of what a rank sends. jump
(fp8lm-jump): SNR around a jump of all gradients. Each prints a table with its numbers as well.
"""
import argparse
import collections
import json
import math
import pathlib

from figures import LINES, Panel, Svg, lines_of

COLOURS = LINES[1:] + ["#d1408d", "#14a3b8", "#a1793a"]
BASELINE = LINES[0]


def groups_of(lab):
    return json.loads((lab / "results.json").read_text(encoding="utf-8"))["groups"]


def series(lab, row, role, key, pick):
    """{step: pick(values of all tensors)}, the mean over seeds."""
    by_step = collections.defaultdict(list)
    for trial in row["trials"]:
        values = collections.defaultdict(list)
        for line in lines_of(lab / trial["run"] / "tensors.jsonl"):
            if line["role"] == role and line.get(key) is not None:
                values[line["step"]].append(line[key])
        for step, found in values.items():
            by_step[step].append(pick(found))
    return {step: sum(found) / len(found) for step, found in sorted(by_step.items())}


def mean(values):
    return sum(values) / len(values)


def legend(svg, x, y, names):
    for i, (name, colour) in enumerate(names):
        svg.line(x, y + 18 * i, x + 20, y + 18 * i, colour, 2.5)
        svg.text(x + 26, y + 4 + 18 * i, name, size=11)


def step_axis(svg, panel, last):
    left, top, width, height = panel.box
    for k in range(5):
        svg.text(panel.x(last * k / 4), top + height + 16, f"{last * k / 4:.0f}", "middle", 11)
    svg.text(left + width / 2, top + height + 32, "step", "middle", 11)


def draw_states(out, lab):
    rows = groups_of(lab)[0]["rows"]
    base = {t["seed"]: t["val_loss"] for t in rows[0]["trials"]}
    distances = [[100 * (t["val_loss"] / base[t["seed"]] - 1) for t in row["trials"]] for row in rows]
    flat = [d for found in distances for d in found]
    low, high = math.floor(min(flat)), math.ceil(max(flat))
    svg = Svg(1000, 40 + 28 * len(rows) + 320, "what the variables of the optimizer tolerate")
    svg.text(20, 20, f"validation loss against {rows[0]['label']}, %: a dot a seed, a bar their mean", weight="bold")
    panel = Panel(svg, (330, 34, 620, 28 * len(rows)), (low, high), (0, len(rows)))
    for tick in range(low, high + 1):
        svg.line(panel.x(tick), 34, panel.x(tick), 34 + 28 * len(rows))
        svg.text(panel.x(tick), 50 + 28 * len(rows), f"{tick:+d}" if tick else "0", "middle", 11)
    print("| state | validation loss | Δ %, by seed | mean |\n|---|---|---|---|")
    for i, (row, found) in enumerate(zip(rows, distances)):
        y = 34 + 28 * i + 14
        svg.text(320, y + 4, row["label"], "end")
        svg.line(panel.x(mean(found)), y - 9, panel.x(mean(found)), y + 9, BASELINE, 3)
        for d in found:
            svg.circle(panel.x(d), y, 4.5, COLOURS[0])
        losses = ", ".join(f"{t['val_loss']:.4f}" for t in row["trials"])
        print(f"| {row['label']} | {losses} | {', '.join(f'{d:+.2f}' for d in found) if i else ''} | {f'{mean(found):+.2f}' if i else ''} |")

    watched = [row for row in rows if any(s in row["label"] for s in ("#2a", "#3", "#4", "second moment e5m2"))]
    top = 34 + 28 * len(rows) + 64
    updates = [series(lab, row, "store.master", "update_amax", max) for row in watched]
    lost = [series(lab, row, "store.moment2", "underflow", max) for row in watched]
    last = max(t["steps"] for row in rows for t in row["trials"])
    plots = [("largest change of a weight in a step", updates, (-4, 0), range(-4, 1)),
             ("second moments that become zero, worst tensor", lost, (-5, 0), range(-5, 1))]
    for n, (title, curves, y_range, ticks) in enumerate(plots):
        plot = Panel(svg, (60 + 350 * n, top, 280, 210), (0, last), y_range)
        svg.text(60 + 350 * n, top - 12, title, weight="bold")
        plot.y_ticks(ticks, "1e{}")
        step_axis(svg, plot, last)
        for i, curve in enumerate(curves):
            points = [(s, math.log10(v)) for s, v in curve.items() if v > 10 ** y_range[0]]
            plot.curve(points, COLOURS[i])
    legend(svg, 740, top + 10, [(row["label"].split(",")[0] if "#2a" in row["label"] or "#3" in row["label"] else row["label"], COLOURS[i])
                                for i, row in enumerate(watched)])
    svg.save(out)
    print("\n| state | largest change, at its largest | at the end | second moments lost, at first | largest later | at the end |\n|---|---|---|---|---|---|")
    for row, update, gone in zip(watched, updates, lost):
        steps = list(gone)
        print(f"| {row['label']} | {max(update.values()):.2g} | {list(update.values())[-1]:.2g} | {gone[steps[0]]:.2g} | "
              f"{max(gone[s] for s in steps[1:]):.2g} | {gone[steps[-1]]:.2g} |")


def draw_factor(out, lab):
    groups = groups_of(lab)
    shown = ["threshold 1e-5, doubling in 1000, factor, sum", "threshold 1e-4", "doubling in 100", "reading absolute", "count local", "no factor, post"]
    svg = Svg(60 + 400 * len(groups) + 280, 620, "the factor of automatic scaling over the steps")
    floor = 1e-7
    print("| ranks | rule | log2 of the factor at the end, mean (range) | saturated in the sum, mean of the second half | SNR of what is sent, dB |\n|---|---|---|---|---|")
    for column, group in enumerate(groups):
        rows = [row for name in shown for row in group["rows"] if row["label"] == name]
        last, left = max(t["steps"] for row in rows for t in row["trials"]), 60 + 400 * column
        panels = [Panel(svg, (left, top, 330, height), (0, last), y) for top, height, y in [(50, 170, (-6, 1)), (280, 170, (-7, 0)), (510, 60, (30, 32))]]
        svg.text(left, 20, group["label"] or "all", weight="bold")
        for panel, title, ticks, form in zip(panels, ["log2 of the factor, mean of all tensors", "share saturated in the sum, all tensors", "SNR of what a rank sends, dB, mean"],
                                             [range(-6, 1, 2), range(-7, 1, 2), range(30, 33)], ["{}", "1e{}", "{}"]):
            svg.text(left, panel.box[1] - 8, title, size=11)
            panel.y_ticks(ticks, form)
            step_axis(svg, panel, last)
        for i, row in enumerate(rows):
            mu = series(lab, row, "store.weight_grad", "mu", lambda v: mean([math.log2(m) for m in v]))
            ends = series(lab, row, "store.weight_grad", "mu", lambda v: math.log2(min(v))), series(lab, row, "store.weight_grad", "mu", lambda v: math.log2(max(v)))
            full = series(lab, row, "store.weight_grad", "at_largest", mean)
            snr = series(lab, row, "store.weight_grad", "snr_db", mean)
            panels[0].curve([(s, max(v, -6)) for s, v in mu.items()], COLOURS[i])
            panels[1].curve([(s, math.log10(max(v, floor))) for s, v in full.items()], COLOURS[i])
            panels[2].curve([(s, max(v, 30)) for s, v in snr.items()], COLOURS[i])
            half = [v for s, v in full.items() if s > last / 2]
            factor = f"{list(mu.values())[-1]:.1f} ({list(ends[0].values())[-1]:.1f} to {list(ends[1].values())[-1]:.1f})" if mu else ""
            print(f"| {group['label']} | {row['label']} | {factor} | {mean(half):.1e} | {mean([v for s, v in snr.items() if s > last / 2]):.2f} |")
    legend(svg, 60 + 400 * len(groups), 60, [(name.replace("threshold 1e-5, doubling in 1000, factor, sum", "1e-5, 1000 steps, factor, sum (fp8-lm-o2)"), COLOURS[i]) for i, name in enumerate(shown)])
    svg.save(out)
    for group in groups:
        base = {t["seed"]: t["val_loss"] for t in group["rows"][0]["trials"]}
        print(f"\n{group['label']}\n| rule | validation loss | Δ %, by seed | mean |\n|---|---|---|---|")
        for row in group["rows"]:
            found = [100 * (t["val_loss"] / base[t["seed"]] - 1) for t in row["trials"]]
            losses = ", ".join(f"{t['val_loss']:.4f}" for t in row["trials"])
            print(f"| {row['label']} | {losses} | {', '.join(f'{d:+.2f}' for d in found)} | {mean(found):+.2f} |")


def draw_jump(out, lab):
    rows = {row["label"]: row for row in groups_of(lab)[0]["rows"]}
    at, before, after = 150, 5, 25
    kinds = [("gemm.grad_output", "output gradients, E5M2, delayed", COLOURS[1]), ("store.weight_grad", "weight gradients, E4M3, automatic", COLOURS[0])]
    svg = Svg(820, 400, "SNR around a jump of all gradients")
    for n, name in enumerate(["x 16", "/ 16"]):
        left = 60 + 380 * n
        panel = Panel(svg, (left, 60, 320, 230), (-before, after), (0, 35))
        svg.text(left, 24, f"all gradients {name.replace('x', '×')} at once", weight="bold")
        svg.text(left, 46, "SNR in dB, worst tensor", size=11)
        panel.y_ticks(range(0, 36, 5), "{}")
        for tick in range(-before, after + 1, 5):
            svg.text(panel.x(tick), 306, f"{tick:+d}" if tick else "0", "middle", 11)
        svg.text(left + 160, 322, "steps from the jump", "middle", 11)
        for role, label, colour in kinds:
            found = series(lab, rows[name], role, "snr_db", min)
            panel.curve([(s - at - 1, v) for s, v in found.items() if -before <= s - at - 1 <= after], colour)
    legend(svg, 60, 350, [(label, colour) for _, label, colour in kinds])
    svg.save(out)
    print("| jump | role | worst SNR before | at the jump | steps until within 1 dB | saturated, at the jump | zero, at the jump | saturated in the sum, at the jump |\n" + "|---" * 8 + "|")
    for name, row in rows.items():
        for role, label, _ in kinds:
            snr, full = series(lab, row, role, "snr_db", min), series(lab, row, role, "at_largest", max)
            saturation, gone = series(lab, row, role, "saturation", max), series(lab, row, role, "underflow", max)
            normal = mean([snr[s] for s in range(at - 20, at + 1)])
            steps = next(k for k in range(100) if snr[at + 1 + k] >= normal - 1)
            ends = f"{full[at + 1]:.1e}" if full else ""
            print(f"| {name} | {role} | {normal:.1f} | {snr[at + 1]:.1f} | {steps} | {saturation[at + 1]:.1e} | {gone[at + 1]:.1e} | {ends} |")
    base = {t["seed"]: t["val_loss"] for t in rows["none"]["trials"]}
    print("\n| jump | validation loss | Δ %, mean |\n|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {', '.join(f'''{t['val_loss']:.4f}''' for t in row['trials'])} | {mean([100 * (t['val_loss'] / base[t['seed']] - 1) for t in row['trials']]):+.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    draws = {"states": draw_states, "factor": draw_factor, "jump": draw_jump}
    parser.add_argument("figure", choices=draws)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("lab", type=pathlib.Path, help="directory of a finished experiment")
    args = parser.parse_args()
    draws[args.figure](args.out, args.lab)


if __name__ == "__main__":
    main()
