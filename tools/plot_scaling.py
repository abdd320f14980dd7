#!/usr/bin/python3
"""Draw strong and weak scaling: seconds per iteration by part, and efficiency, over the ranks.

    tools/plot_scaling.py table.csv                        # of a study over `ranks`, or of tools/collect.py
    tools/plot_scaling.py strong.csv                       # of tools/scaling.py, which adds a model and what it extrapolates
    tools/plot_scaling.py table.h5 --by ensemble -o weak.pdf
    tools/plot_scaling.py table.csv simulated.csv          # points of a simulation beside those measured

TABLE, of `mxsense study`, tools/scaling.py -o or tools/simulate.py -o: rows with ranks_used (or ranks), iteration_s (or
seconds_per_iteration), and compute_s, reduce_s, inner_s, metrics_s, the parts of an iteration (of a run or of one: they are
scaled to make up the iteration). Rows that agree are repeats: lines are medians, bars go from the best to the worst. Strong
scaling is the same problem on more ranks, weak the same number of measurements on each; the table tells which by its column
measurements, or --kind does. A column series makes a line each. Efficiency is against the fewest ranks; where a simulation
has only more than that, against what was measured.

Columns model_iteration_s, model_compute_s, ... are thin curves. Rows with simulated = 1, of the same table or of another one,
are hollow and joined by dots.

Exit codes: 0, 64 wrong usage, 65 no such columns, 66 missing, 73 cannot write."""

import argparse
import dataclasses
import pathlib
import sys

sys.dont_write_bytecode = True

import numpy as np
from matplotlib.lines import Line2D

import mxsense_plot as mp
from mxsense_io import BAD, Error, read_table
from plot_study import find_table, groups_of, label_of

PARTS = {"compute_s": ("compute", mp.RED, "s"), "reduce_s": ("reduce", mp.GREEN, "^"), "inner_s": ("inner solve", mp.PURPLE, "v"),
         "metrics_s": ("metrics", mp.ORANGE, "D")}
WHOLE = ("an iteration", mp.BLUE, "o")
SMALL = 0.003  # of the shortest iteration: what is below is not drawn


@dataclasses.dataclass
class Series:
    """Medians over ranks of what was measured (or simulated), with the best and the worst."""
    ranks: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def efficiency(self, base, kind):
        """Against the fewest ranks of `base`."""
        ratio = base.middle[0] / self.middle
        return ratio if kind == "weak" else ratio * base.ranks[0] / self.ranks


def read(path):
    """One table with the columns ranks, iteration, measurements, simulated and per iteration the parts."""
    table = read_table(find_table(path))
    count = len(next(iter(table.values())))

    def first(*names):
        found = next((table[name] for name in names if name in table), None)
        return found if found is None or found.dtype.kind != "U" else None

    ranks, seconds = first("ranks_used", "ranks"), first("iteration_s", "seconds_per_iteration")
    if ranks is None or seconds is None:
        missing = "ranks_used or ranks" if ranks is None else "iteration_s or seconds_per_iteration"
        raise Error(f"{path}: no column {missing}; there are {', '.join(table)}", BAD)
    out = {"ranks": ranks.astype(float), "iteration": seconds.astype(float), "simulated": np.zeros(count)}
    parts = {name: np.nan_to_num(first(name).astype(float)) for name in PARTS if first(name) is not None}
    whole = sum(parts.values())
    for name, values in parts.items():  # of a run or of an iteration: together they make an iteration
        with np.errstate(divide="ignore", invalid="ignore"):
            out[name] = out["iteration"] * values / whole
    for name in table:
        if name.startswith("model_") and first(name) is not None:
            out[name] = table[name].astype(float)
    for name in ("measurements", "simulated"):
        if first(name) is not None:
            out[name] = np.nan_to_num(table[name].astype(float))
    return out, table


def joined(tables, by):
    """The rows of all tables; columns that one does not have are NaN, or empty texts."""
    names = list(dict.fromkeys(name for out, _ in tables for name in out))
    rows = {}
    for name in names:
        rows[name] = np.concatenate([out.get(name, np.full(out["ranks"].size, np.nan)) for out, _ in tables])
    for name in by:
        if name not in tables[0][1]:
            raise Error(f"no column `{name}`; there are {', '.join(tables[0][1])}", BAD)
        columns = [table.get(name, np.full(out["ranks"].size, "")) for out, table in tables]
        rows[name] = np.concatenate([column.astype(str) if len({c.dtype.kind for c in columns}) > 1 else column for column in columns])
    rows["simulated"] = np.nan_to_num(rows["simulated"])
    good = np.isfinite(rows["ranks"]) & (np.isfinite(rows["iteration"]) | np.isfinite(rows.get("model_iteration_s", np.nan)))
    if not (good & np.isfinite(rows["iteration"])).any():
        raise Error("no row has ranks and seconds per iteration", BAD)
    return {name: values[good] for name, values in rows.items()}


def series(rows, name):
    """None where there is no number."""
    if name not in rows:
        return None
    good = np.isfinite(rows[name]) & (rows[name] > 0)
    ranks = np.unique(rows["ranks"][good])
    if ranks.size == 0:
        return None
    cells = [rows[name][good & (rows["ranks"] == p)] for p in ranks]
    return Series(ranks, *(np.array([function(cell) for cell in cells]) for function in (np.median, np.min, np.max)))


def kind_of(rows):
    """strong or weak, by the measurements; strong where the table does not tell."""
    m, p = rows.get("measurements"), rows["ranks"]
    if m is None or np.unique(p).size < 2 or not (m > 0).any():
        return "strong"
    by_total, by_rank = np.ptp(m) / np.mean(m), np.ptp(m / p) / np.mean(m / p)
    return "weak" if by_rank < by_total else "strong"


def part(rows, mask):
    return {name: values[mask] for name, values in rows.items()}


def draw_series(axes, one, values, look, simulated, low=None, high=None):
    color, marker = look
    axes.plot(one.ranks, values, color=color, marker=marker, ls=":" if simulated else "-", lw=1.2 if simulated else 1.6, ms=5.5,
              mfc="white" if simulated else color, mew=1.2, zorder=3 if simulated else 4)
    if low is not None and (high > low).any():
        axes.vlines(one.ranks, low, high, color=color, alpha=0.5, lw=1.2, zorder=2)


def ideal(ranks, first, kind):
    """Seconds per iteration if nothing were lost."""
    return np.full(ranks.shape, first) if kind == "weak" else first * ranks[0] / ranks


def draw_seconds(axes, rows, kind, looks, parts):
    """Of one group: the whole iteration, and if there is room its parts, the ideal line and model curves."""
    everywhere = np.unique(rows["ranks"])
    measured, simulated = (part(rows, rows["simulated"] == flag) for flag in (0, 1))
    for some, is_simulated in ((measured, False), (simulated, True)):
        for name, look in (("iteration", looks), *(((name, PARTS[name][1:]) for name in parts))):
            one = series(some, name)
            if one is not None:
                draw_series(axes, one, one.middle, look, is_simulated, one.low, one.high)
    for name, color in (("model_iteration_s", looks[0]), *((f"model_{name}", PARTS[name][1]) for name in parts)):
        one = series(rows, name)
        if one is not None:
            axes.plot(one.ranks, one.middle, color=color, ls=mp.DASHES[3], lw=1.0, zorder=2)
    base = base_of(rows)
    across = everywhere[everywhere >= base.ranks[0]]
    axes.plot(across, ideal(across, base.middle[0], kind), color=mp.GREY, ls=(0, (4, 3)), lw=0.9, zorder=1.5)


def base_of(rows):
    """What efficiency is against: what was measured, where anything was."""
    return series(part(rows, rows["simulated"] == 0), "iteration") or series(part(rows, rows["simulated"] == 1), "iteration")


def draw_efficiency(axes, rows, kind, looks):
    base = base_of(rows)
    for flag in (0, 1):
        one = series(part(rows, rows["simulated"] == flag), "iteration")
        if one is not None:
            own = one if one.ranks[0] <= base.ranks[0] else base
            draw_series(axes, one, one.efficiency(own, kind), looks, bool(flag))
    model = series(rows, "model_iteration_s")
    if model is not None:
        axes.plot(model.ranks, model.efficiency(model, kind), color=looks[0], ls=mp.DASHES[3], lw=1.0, zorder=2)


def large_parts(rows):
    """Parts that are worth a line somewhere."""
    whole = np.nanmin(rows["iteration"])
    return [name for name in PARTS if name in rows and np.isfinite(rows[name]).any() and np.nanmax(rows[name]) > SMALL * whole]


def legend(figure, rows, groups, by, looks, parts):
    handles = []
    if len(groups) > 1:
        handles += [Line2D([], [], color=look[0], marker=look[1], label=label_of(by, key)) for (key, _), look in zip(groups, looks)]
    else:
        handles.append(Line2D([], [], color=WHOLE[1], marker=WHOLE[2], label=WHOLE[0]))
        handles += [Line2D([], [], color=PARTS[name][1], marker=PARTS[name][2], label=PARTS[name][0]) for name in parts]
    if (rows["simulated"] == 1).any():
        handles.append(Line2D([], [], color=mp.GREY, marker="o", mfc="white", ls=":", label="simulated"))
    if any(name.startswith("model_") for name in rows):
        handles.append(Line2D([], [], color=mp.GREY, ls=mp.DASHES[3], lw=1.0, label="model"))
    handles.append(Line2D([], [], color=mp.GREY, ls=(0, (4, 3)), lw=0.9, label="ideal"))
    mp.legend_below(figure, handles=handles)


def mark_ranks(axes, ranks):
    """Ranks on a logarithmic axis of base 2."""
    axes.set_xlabel("ranks")
    axes.set_xscale("log", base=2)
    low, high = ranks.min(), ranks.max()
    axes.set_xlim(low / 1.18, high * 1.18)
    mp.ticks(axes, "x", sorted(set(ranks.tolist())))
    mp.grid(axes)


def plot(arguments):
    output = mp.output_path(arguments.output) if arguments.output else find_table(arguments.tables[0]).with_name("scaling.png")
    tables = [read(path) for path in arguments.tables]
    if not arguments.by and all("series" in table for _, table in tables) and len(set(tables[0][1]["series"].astype(str))) > 1:
        arguments.by = ["series"]
    rows = joined(tables, arguments.by)
    kind = arguments.kind or kind_of(part(rows, rows["simulated"] == (0 if (rows["simulated"] == 0).any() else 1)))
    groups = groups_of(rows, arguments.by)
    if len(groups) > len(mp.PALETTE):
        raise Error(f"--by: {len(groups)} groups; at most {len(mp.PALETTE)} can be told apart", BAD)
    parts = large_parts(rows) if len(groups) == 1 else []
    looks = list(zip(mp.PALETTE, mp.MARKERS)) if len(groups) > 1 else [WHOLE[1:]]
    figure, (left, right) = mp.figure(1, 2, size=(4.4, 3.4))
    for (_, members), look in zip(groups, looks):
        group = part(rows, members)
        draw_seconds(left, group, kind, look, parts)
        draw_efficiency(right, group, kind, look)
    left.set_title("Strong scaling" if kind == "strong" else "Weak scaling")
    left.set_ylabel("seconds per iteration")
    left.set_ylim(bottom=max(left.get_ylim()[0], SMALL * np.nanmin(rows["iteration"])))
    mp.log(left, "y")
    right.set_title(f"Efficiency against {mp.number(rows['ranks'].min())} rank{'s' if rows['ranks'].min() > 1 else ''}")
    right.axhline(1, color=mp.GREY, ls=(0, (4, 3)), lw=0.9, zorder=1.5)
    right.set_ylim(0, max(1.1, 1.05 * right.get_ylim()[1]))
    right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    for axes in (left, right):
        mark_ranks(axes, rows["ranks"])
    legend(figure, rows, groups, arguments.by, looks, parts)
    mp.title(figure, arguments.title)
    mp.save(figure, output, "plot_scaling.py", arguments.dpi)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="TABLE", type=pathlib.Path, help="CSV or HDF5 tables, or the directory of a study")
    mp.add_output(parser, "scaling.png beside the first table")
    parser.add_argument("--kind", choices=["strong", "weak"], help="default: as the column measurements tells")
    parser.add_argument("--by", metavar="COLUMN", nargs="+", default=[], help="a line for each value, then without the parts")
    mp.run(parser, plot)


if __name__ == "__main__":
    main()
