#!/usr/bin/env python3
"""Scaling in ranks and measurements from a study's table: efficiency, phases, a model of latency and bandwidth beside them."""
import argparse
import csv
import math
import sys

import numpy as np

from mxsense_io import Error, read_table

EPILOG = """Rows that differ in ranks and measurements only are a series: strong scaling where the measurements stay,
weak where they grow with the ranks. Times are medians over repeats, per iteration, and means over the ranks; what a rank
spends in the reduction beyond the rank that comes last to it is "wait", the imbalance of the ranks.

The model, fitted to all rows of the table:
  compute  c w + r        w: entries of A that the busiest rank visits, r: what every rank does alike
  reduce   a L + b B S    L = log2 P rounded up, B = bytes of the reduction, S = 2 (P - 1) / P
The message of a reproducible reduction is twice that of a fast one. With --latency and --bandwidth the model takes
a and b from the network that you want to know about, and --to tells up to how many ranks.

A study packs points that differ in a few settings only: write pack: off into it, and let nothing else run.

examples:
  mpirun -np 2 mxsense study jobs/strong.yaml -o strong && tools/scaling.py strong/table.csv
  tools/scaling.py weak/table.csv --to 1024 --latency 1.5e-6 --bandwidth 12e9 -o weak.csv
  tools/plot_scaling.py weak.csv -o weak.png
"""

PHASES = ("compute", "reduce", "wait", "metrics", "inner")
# What tells series apart, where the table has it.
SHAPE = ("ensemble", "storage", "n1", "n2", "rank", "k", "threads", "method", "reduction")
COLUMNS = ("series", "kind", "modelled", "ranks_used", "measurements", "iterations", "seconds_s", "iteration_s", "compute_s", "reduce_s", "wait_s",
           "metrics_s", "inner_s", "speedup", "efficiency", "entries_per_s", "bytes_per_s", "fraction_of_limit", "reduce_bytes",
           "model_compute_s", "model_reduce_s", "model_iteration_s", "model_error", "model_efficiency")


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def measured_rows(path):
    """One dictionary a row that has been timed, times per iteration."""
    table = read_table(path)
    needed = {"ranks_used", "measurements", "n1", "n2", "iteration_s", "compute_s", "reduce_s", "reduce_least_s", "metrics_s", "inner_s"}
    missing = sorted(needed - set(table))
    if missing:
        raise Error(f"{path}: no column {', '.join(missing)}: this takes the table.csv or table.h5 of mxsense study")
    rows = [dict(zip(table, values)) for values in zip(*table.values())]
    timed = []
    for row in rows:
        if not number(row["iteration_s"]) > 0:
            continue
        if number(row.get("packed", 1)) > 1:
            raise Error(f"{path}: its points shared passes, so their times are not their own: write pack: off into the study")
        least = number(row["reduce_least_s"])
        row = {**row, "reduce_s": least, "wait_s": number(row["reduce_s"]) - least}
        total = sum(number(row[f"{phase}_s"]) for phase in PHASES)
        timed.append({**row, **{f"{phase}_s": number(row[f"{phase}_s"]) * number(row["iteration_s"]) / total for phase in PHASES}})
    if not timed:
        raise Error(f"{path}: no row has a time: has any point ended?")
    return timed


def series_of(rows):
    """{name: rows}, by all that is not ranks or measurements."""
    varying = [key for key in SHAPE if len({str(row[key]) for row in rows if key in row}) > 1]
    series = {}
    for row in rows:
        series.setdefault(", ".join(f"{key} {row[key]}" for key in varying), []).append(row)
    return series


def medians(rows):
    """One row for each number of ranks and measurements."""
    groups = {}
    for row in rows:
        groups.setdefault((int(row["ranks_used"]), int(row["measurements"])), []).append(row)
    result = []
    for (ranks, measurements), group in sorted(groups.items()):
        keys = ("iteration_s", "iterations", "seconds_s", "entries_per_s", "bytes_per_s", "fraction_of_limit", "reduce_bytes",
                *(f"{phase}_s" for phase in PHASES))
        one = {key: float(np.median([number(row.get(key)) for row in group])) for key in keys}
        entries = number(group[0]["n1"]) * number(group[0]["n2"])
        result.append({**one, "ranks_used": ranks, "measurements": measurements, "row_entries": entries,
                       "work": math.ceil(measurements / ranks) * entries})
    return result


def kind_of(rows):
    if len({row["ranks_used"] for row in rows}) < 2:
        return "measurement"
    if len({row["measurements"] for row in rows}) == 1:
        return "strong"
    shares = [row["measurements"] / row["ranks_used"] for row in rows]
    return "weak" if max(shares) < 1.01 * min(shares) else "mixed"


def add_efficiency(rows, kind):
    """Against the row with the fewest ranks."""
    if kind not in ("strong", "weak"):
        return
    base = rows[0]
    for row in rows:
        more = row["ranks_used"] / base["ranks_used"]
        ratio = base["iteration_s"] / row["iteration_s"]
        row["speedup"] = ratio if kind == "strong" else ratio * more
        row["efficiency"] = row["speedup"] / more


# ---- the model

def levels(ranks):
    return math.ceil(math.log2(ranks)) if ranks > 1 else 0


def share(ranks):
    return 2 * (ranks - 1) / ranks


def non_negative_fit(columns, values):
    """Least squares of relative errors with coefficients >= 0, by leaving out those that would not be."""
    used = [j for j, column in enumerate(columns) if np.ptp(column) > 0 or column[0] > 0]
    matrix, target = np.array(columns).T / np.array(values)[:, None], np.ones(len(values))
    while used:
        scale = np.abs(matrix[:, used]).max(axis=0)
        found, _, rank, _ = np.linalg.lstsq(matrix[:, used] / scale, target, rcond=1e-9)
        found = found / scale
        if rank == len(used) and (found >= 0).all():
            return {j: float(value) for j, value in zip(used, found)}
        used.remove(used[int(np.argmin(found))] if (found < 0).any() else used[-1])
    return {}


class Model:
    """Seconds of an iteration: compute c w + r, reduce a L + b B S."""

    def __init__(self, rows, latency=None, bandwidth=None):
        fit = non_negative_fit([[row["work"] for row in rows], [1.0] * len(rows)], [row["compute_s"] for row in rows])
        self.per_entry, self.alike = fit.get(0, 0.0), fit.get(1, 0.0)
        many = [row for row in rows if row["ranks_used"] > 1 and row["reduce_s"] > 0]
        fit = non_negative_fit([[levels(row["ranks_used"]) for row in many],
                                [row["reduce_bytes"] * share(row["ranks_used"]) for row in many]],
                               [row["reduce_s"] for row in many]) if many else {}
        self.fitted = len(many) > 0
        self.latency = fit.get(0, 0.0) if latency is None else latency
        self.per_byte = fit.get(1, 0.0) if bandwidth is None else 1 / bandwidth
        self.given = latency is not None or bandwidth is not None
        # One rank reduces too: it carries and unpacks its own sums.
        alone = [row["reduce_s"] for row in rows if row["ranks_used"] == 1]
        self.alone = float(np.median(alone)) if alone else 0.0
        rest = [row["metrics_s"] + row["inner_s"] for row in rows]
        self.rest = float(np.median(rest))

    def compute(self, work):
        return self.per_entry * work + self.alike

    def reduce(self, ranks, size):
        return self.alone if ranks == 1 else self.latency * levels(ranks) + self.per_byte * size * share(ranks)

    def add(self, row):
        row["model_compute_s"] = self.compute(row["work"])
        row["model_reduce_s"] = self.reduce(row["ranks_used"], row["reduce_bytes"])
        row["model_iteration_s"] = row["model_compute_s"] + row["model_reduce_s"] + self.rest
        if row.get("iteration_s", 0) > 0:
            row["model_error"] = row["model_iteration_s"] / row["iteration_s"] - 1

    def text(self):
        lines = [f"  compute  {self.per_entry * 1e9:.4g} ns an entry, and {self.alike * 1e6:.3g} us that every rank does alike"]
        if not self.fitted and not self.given:
            return lines + ["  reduce   unknown: no row with two ranks or more; give --latency and --bandwidth"]
        source = "as given" if self.given else "fitted"
        bandwidth = f"{1e-9 / self.per_byte:.3g} GB/s" if self.per_byte > 0 else "no cost of bytes seen"
        return lines + [f"  reduce   {self.latency * 1e6:.3g} us a level, {bandwidth} ({source})"]


def extrapolated(rows, kind, model, ranks):
    """The last row of a series, on so many ranks."""
    last = rows[-1]
    measurements = last["measurements"] if kind == "strong" else round(last["measurements"] / last["ranks_used"] * ranks)
    row = {"ranks_used": ranks, "measurements": measurements, "row_entries": last["row_entries"], "reduce_bytes": last["reduce_bytes"],
           "work": math.ceil(measurements / ranks) * last["row_entries"]}
    model.add(row)
    return row


def add_model_efficiency(rows, kind):
    first = rows[0]
    for row in rows:
        more = row["ranks_used"] / first["ranks_used"] if kind == "strong" else 1
        row["model_efficiency"] = first["model_iteration_s"] / row["model_iteration_s"] / more


# ---- output

def seconds_text(value):
    if value is None or not math.isfinite(value):
        return "-"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s"


def plain(value, digits=3):
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def percent(value):
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def print_series(name, kind, rows):
    heads = ["ranks", "m", "iterations", "to the end", "iteration", "compute", "reduce", "wait", "other", "speed-up", "efficiency",
             "Gentries/s", "of limit", "reduced", "model", "off by"]
    table = [heads]
    for row in rows:
        rest = row["metrics_s"] + row["inner_s"] if "iteration_s" in row else None
        table.append([str(row["ranks_used"]), str(row["measurements"]), plain(row.get("iterations"), 8), seconds_text(row.get("seconds_s")),
                      seconds_text(row.get("iteration_s")), seconds_text(row.get("compute_s")), seconds_text(row.get("reduce_s")),
                      seconds_text(row.get("wait_s")), seconds_text(rest), plain(row.get("speedup")),
                      percent(row.get("efficiency")) if "iteration_s" in row else f"{percent(row['model_efficiency'])} *",
                      plain(row.get("entries_per_s", math.nan) * 1e-9), percent(row.get("fraction_of_limit")),
                      f"{row['reduce_bytes'] / 1e3:.4g} kB", seconds_text(row["model_iteration_s"]), percent(row.get("model_error"))])
    widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
    print(f"\n{kind} scaling{': ' + name if name else ''}")
    for line in table:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths)))


def write_csv(path, rows):
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise Error(f"{path}: cannot write the table: {error.strerror}", 73) from None


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", metavar="TABLE", help="table.csv or table.h5 of mxsense study")
    parser.add_argument("-o", "--output", metavar="CSV", help="write all numbers, for tools/plot_scaling.py")
    parser.add_argument("--to", type=int, metavar="RANKS", help="extrapolate by the model, doubling the ranks up to so many")
    parser.add_argument("--latency", type=float, metavar="S", help="of a level of the reduction, in seconds, instead of the fitted one")
    parser.add_argument("--bandwidth", type=float, metavar="B/S", help="of the network, in bytes a second, instead of the fitted one")
    return parser.parse_args()


def more_ranks(most, limit):
    while limit is not None and most * 2 <= limit:
        most *= 2
        yield most


def run(arguments):
    rows = measured_rows(arguments.table)
    series = {name: medians(group) for name, group in series_of(rows).items()}
    everything = []
    for name, group in series.items():
        kind = kind_of(group)
        # Series differ in what an entry costs; each has a model of its own.
        model = Model(group, arguments.latency, arguments.bandwidth)
        add_efficiency(group, kind)
        for row in group:
            model.add(row)
        if kind in ("strong", "weak"):
            group = group + [extrapolated(group, kind, model, ranks) for ranks in more_ranks(group[-1]["ranks_used"], arguments.to)]
            add_model_efficiency(group, kind)
        print_series(name, kind, group)
        print("\n".join(model.text()))
        errors = [abs(row["model_error"]) for row in group if "model_error" in row]
        print(f"  the model is off by {percent(float(np.median(errors)))} in the median, {percent(max(errors))} at most")
        everything += [{**row, "series": name, "kind": kind, "modelled": int("iteration_s" not in row)} for row in group]
    if any(row["modelled"] for row in everything):
        print("\n* by the model, not measured")
    if arguments.output:
        write_csv(arguments.output, everything)


def main():
    try:
        arguments = parse()
    except SystemExit as end:
        return 64 if end.code else 0
    try:
        run(arguments)
    except Error as why:
        print(f"scaling.py: {why}", file=sys.stderr)
        return why.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
