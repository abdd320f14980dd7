#!/usr/bin/python3
"""Draw what `mxsense bench` measured: the kernels against the read bandwidth, and entries of A per second.

    mpirun -np 4 mxsense bench -o bench.json
    tools/plot_roofline.py bench.json                       # bench.png
    tools/plot_roofline.py one.json other.json -o both.pdf  # machines, or numbers of ranks, beside each other

Left: a kernel that reads A from memory cannot visit more entries per second than bandwidth / bytes of an entry: the line, a plain
read of memory by all ranks at once, per rank. Circles are kernels, crosses two BLAS matrix-vector products on the same rows, which
is how numpy does it. Kernels in cache may be above the line. Right: the same of all kernels, also those that generate A, which
reads nothing and has no such limit; fast stands for the entries that its transform saves. Small marks: long rows.

Exit codes: 0, 64 wrong usage, 65 not of `mxsense bench`, 66 missing, 73 cannot write."""

import argparse
import json
import pathlib
import sys

sys.dont_write_bytecode = True

import numpy as np
from matplotlib.lines import Line2D

import mxsense_plot as mp
from mxsense_io import BAD, MISSING, Error


def read(path):
    try:
        bench = json.loads(path.read_text())
    except OSError as why:
        raise Error(f"{path}: {why.strerror}", MISSING) from None
    except ValueError as why:
        raise Error(f"{path}: not JSON: {why}", BAD) from None
    if not isinstance(bench, dict) or bench.get("format") != "mxsense-bench" or not bench.get("kernels"):
        raise Error(f"{path}: not the output of `mxsense bench -o`", BAD)
    return bench


def kernel_name(kernel):
    if kernel["ensemble"] == "dense":
        return f"stored {kernel['storage']}"
    return f"{kernel['ensemble']}, stored bits" if kernel.get("bytes") else kernel["ensemble"]


def entry_bytes(kernel):
    """Bytes of an entry in memory, without what fills up a row; 0 where A is generated."""
    if not kernel.get("bytes"):
        return 0
    return min((8, 4, 2, 1 / 8), key=lambda width: abs(np.log(kernel["bytes"] / (kernel["entries"] * kernel["rows"] * width))))


def size_of(kernel, kernels):
    """Marks are smaller for longer rows."""
    lengths = sorted({one["entries"] for one in kernels})
    return (7.0, 4.5, 3.5)[min(lengths.index(kernel["entries"]), 2)]


def draw_roof(axes, benches, looks):
    stored = [kernel for bench in benches for kernel in bench["kernels"] if entry_bytes(kernel) > 0]
    if not stored:
        mp.nothing(axes, "no kernel reads A")
        return
    span = np.array([min(map(entry_bytes, stored)) / 1.6, max(map(entry_bytes, stored)) * 1.6])
    for bench, look in zip(benches, looks):
        axes.plot(span, bench["read"]["bytes_per_s"] / span, color=look["color"], lw=1.2, ls=(0, (4, 3)), zorder=1.5)
        for kernel in bench["kernels"]:
            if entry_bytes(kernel) > 0:
                size = size_of(kernel, bench["kernels"])
                axes.plot(entry_bytes(kernel), kernel["entries_per_s"], color=look["color"], marker=look["marker"], ms=size, ls="none", zorder=3)
                if kernel.get("blas_s"):
                    blas = kernel["entries"] * kernel["rows"] / kernel["blas_s"]["best"]
                    axes.plot(entry_bytes(kernel), blas, color=look["color"], marker="x", ms=size, mew=1.5, ls="none", zorder=3)
    axes.set_xlim(span)
    mp.log(axes, "x")
    mp.log(axes, "y")
    mp.ticks(axes, "x", sorted(set(map(entry_bytes, stored))))
    axes.xaxis.set_major_formatter(lambda value, _: "1/8" if abs(value - 0.125) < 1e-6 else f"{value:g}")
    axes.set_xlabel("bytes of an entry of $A$ in memory")


def draw_bars(axes, benches, looks):
    """A row for each kernel: entries per second of every length, and the part of the read bandwidth."""
    names = list(dict.fromkeys(kernel_name(kernel) for bench in benches for kernel in bench["kernels"]))
    for bench, look, offset in zip(benches, looks, (np.arange(len(benches)) - (len(benches) - 1) / 2) * 0.8 / len(benches)):
        best = {}
        for kernel in bench["kernels"]:
            row = names.index(kernel_name(kernel)) + offset
            best[row] = max(best.get(row, 0), kernel["entries_per_s"])
            axes.plot(kernel["entries_per_s"], row, color=look["color"], marker=look["marker"], ms=size_of(kernel, bench["kernels"]), ls="none", zorder=3)
        axes.hlines(list(best), 1, list(best.values()), color=look["color"], lw=1, alpha=0.4)
        if len(benches) == 1:
            write_parts(axes, bench, names)
    rates = [kernel["entries_per_s"] for bench in benches for kernel in bench["kernels"]]
    axes.set_xlim(min(rates) / 2, max(rates) * (12 if len(benches) == 1 else 2))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    mp.log(axes, "x")
    axes.set_xlabel("entries of $A$ per second and rank")


def write_parts(axes, bench, names):
    """What part of a plain read the kernel reaches, at its end of the row."""
    for place, name in enumerate(names):
        some = [kernel for kernel in bench["kernels"] if kernel_name(kernel) == name]
        shares = [kernel["fraction_of_read"] for kernel in some if kernel.get("fraction_of_read")]
        if shares:
            text = f"{100 * max(shares):.0f} % of a read"
            axes.annotate(text, (max(kernel["entries_per_s"] for kernel in some), place), xytext=(8, 0), textcoords="offset points",
                          va="center", fontsize=7.5, color="0.3")


def label(bench, path, benches):
    machine = bench.get("machine", {})
    ranks = machine.get("ranks", 1)
    text = f"{machine.get('cpu', 'unknown CPU')}, {ranks} rank{'s' if ranks > 1 else ''}"
    same = sum(one.get("machine", {}).get("cpu") == machine.get("cpu") and one.get("machine", {}).get("ranks") == ranks for one in benches)
    return f"{path.stem}: {text}" if same > 1 else text


def plot(arguments):
    benches = [read(path) for path in arguments.benches]
    if len(benches) > len(mp.PALETTE):
        raise Error(f"{len(benches)} files; at most {len(mp.PALETTE)} can be told apart", 64)
    output = mp.output_path(arguments.output) if arguments.output else arguments.benches[0].with_suffix(".png")
    looks = mp.lines(len(benches))
    names = {kernel_name(kernel) for bench in benches for kernel in bench["kernels"]}
    figure, (left, right) = mp.figure(1, 2, size=(4.9, max(3.0, 1.3 + 0.27 * len(names) * max(1, 0.5 * len(benches)))))
    draw_roof(left, benches, looks)
    draw_bars(right, benches, looks)
    left.set_title("Kernels that read $A$")
    left.set_ylabel("entries of $A$ per second and rank")
    right.set_title("All kernels")
    for axes in (left, right):
        mp.grid(axes)
    right.grid(False, axis="y")
    right.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color=look["color"], marker=look["marker"], ls="none", label=label(bench, path, benches))
               for bench, path, look in zip(benches, arguments.benches, looks)]
    limits = ", ".join(f"{bench['read']['bytes_per_s'] / 1e9:.3g}" for bench in benches)
    handles.append(Line2D([], [], color=mp.GREY if len(benches) > 1 else looks[0]["color"], lw=1.2, ls=(0, (4, 3)),
                          label=f"plain read of memory: {limits} GB/s a rank"))
    if any(kernel.get("blas_s") for bench in benches for kernel in bench["kernels"]):
        handles.append(Line2D([], [], color=mp.GREY, marker="x", ls="none", mew=1.5, label="two BLAS products"))
    lengths = sorted({kernel["entries"] for bench in benches for kernel in bench["kernels"]})
    if len(lengths) > 1:
        handles += [Line2D([], [], color=mp.GREY, marker="o", ms=size, ls="none", label=f"rows of {length}") for length, size in zip(lengths, (7.0, 4.5, 3.5))]
    mp.legend_below(figure, handles=handles)
    mp.title(figure, arguments.title)
    mp.save(figure, output, "plot_roofline.py", arguments.dpi)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="+", metavar="BENCH", type=pathlib.Path, help="output of `mxsense bench -o`")
    mp.add_output(parser, "the first file with the suffix .png")
    mp.run(parser, plot)


if __name__ == "__main__":
    main()
