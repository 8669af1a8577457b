#!/usr/bin/env python3
"""Draws results of heft-bench: bars of ratios for each table; memory over time for tables with timelines.

usage: plot.py RESULT.json [FOLDER]     (FOLDER: for the .png files, default bench/results)
"""
import json
import os
import re
import sys

COLOURS = {"heft": "#c8502d", "yardstick": "#8a8f98", "peer": "#3d6fa5"}


def file_name(title, kind):
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-") + f".{kind}.png"


def draw_bars(plt, table, folder):
    rows = [row for row in table["rows"] if row.get("ratio")]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.36 * len(rows)), layout="constrained")
    bars = axes.barh([row["label"] for row in rows], [row["ratio"] for row in rows], color=[COLOURS[row["party"]] for row in rows])
    axes.bar_label(bars, [f"{row['ratio']:.2f}" for row in rows], padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel(table["question"])
    axes.set_title(table["title"], loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return save(plt, figure, folder, file_name(table["title"], "ratio"))


def draw_memory(plt, table, folder):
    rows = [(row, row["samples"][0]) for row in table["rows"] if row["samples"] and "timeline" in row["samples"][0]]
    if not rows:
        return None
    figure, all_axes = plt.subplots(len(rows), 1, figsize=(9, 1.1 + 1.2 * len(rows)), sharex=True, sharey=True, layout="constrained")
    for axes, (row, sample) in zip(all_axes if len(rows) > 1 else [all_axes], rows):
        seconds, _, anonymous, mapped = zip(*sample["timeline"])
        to_gb = lambda values: [value / 1e9 for value in values]
        axes.stackplot(seconds, to_gb(anonymous), to_gb(mapped), colors=[COLOURS[row["party"]], "#d9c9a3"], labels=["anonymous", "mapped file"])
        axes.set_title(f"{row['label']}: {sample['seconds']:.2f} s, peak {sample['peak']['resident'] / 1e9:.2f} GB", loc="left", fontsize=9)
        axes.axhline(table["file_bytes"] / 1e9, color="black", linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("GB")
    figure.suptitle(f"{table['title']} (dotted: size of the files)", fontsize=11)
    axes.set_xlabel("seconds")
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    return save(plt, figure, folder, file_name(table["title"], "memory"))


def save(plt, figure, folder, name):
    path = os.path.join(folder, name)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot.py: matplotlib is not installed; the figures are in the JSON")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder = sys.argv[2] if len(sys.argv) == 3 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
    os.makedirs(folder, exist_ok=True)
    with open(sys.argv[1]) as file:
        result = json.load(file)
    for table in result["tables"]:
        for draw in (draw_bars, draw_memory):
            path = draw(plt, table, folder)
            if path:
                print(path)


main()
