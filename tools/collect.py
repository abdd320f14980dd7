#!/usr/bin/env python3
"""One table of many runs: reads config.yaml and summary.json of run directories, writes CSV."""
import argparse
import csv
import json
import pathlib
import sys

MISSING, UNFINISHED = 66, 75
FINISHED = {"target", "tolerance", "validation", "discrepancy", "diverged"}
# Settings that say where and how a run was made, not what it is.
PLACES = {"progress", "quiet", "verbose"}
RESULTS = ("reason", "iterations", "loss", "relative_residual", "validation_loss", "test_error", "rank_estimate")

EPILOG = """A run directory of many replicas gives a row for each. Missing and unfinished runs are named on standard
error. Exit codes: 0 all runs have ended, 66 some are missing, 75 some are not finished, 64 wrong usage.

examples:
  tools/collect.py -o sweep.csv sweep/{1..20}
  tools/collect.py --scaling strong strong-run/*
"""


class Missing(Exception):
    """A directory that holds no run; its text says why."""


def read_config(path):
    """Settings as text; config.yaml has one 'key: value' a line."""
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def read_run(directory):
    """(settings, summary) of a run; the summary of one that has not ended yet is empty."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise Missing("no such directory")
    try:
        settings = read_config(directory / "config.yaml")
    except OSError:
        raise Missing("no config.yaml: not a run directory") from None
    try:
        summary = json.loads((directory / "summary.json").read_text())
    except OSError:
        summary = {}
    except ValueError:
        raise Missing("summary.json is damaged") from None
    return settings, summary


def rows_of(directory, settings, summary):
    """One row for each replica, or for the only one."""
    rates, machine = summary.get("rates") or {}, summary.get("machine") or {}
    shared = {"seconds": (summary.get("timings") or {}).get("seconds"),
              "seconds_per_iteration": rates.get("seconds_per_iteration"), "ranks": machine.get("ranks"),
              "hosts": machine.get("hosts"), "kernel": rates.get("kernel"), "cpu": machine.get("cpu"),
              "commit": (summary.get("build") or {}).get("commit")}
    for replica in summary.get("replicas") or [{}]:
        row = {"run": str(directory), **{f"settings.{key}": value for key, value in settings.items() if key not in PLACES}}
        if replica:
            row["replica"] = replica["replica"]
            row.update({f"settings.{key}": replica[key] for key in ("k", "alpha", "step", "seed") if key in replica})
        row.update({key: replica.get(key, summary.get(key)) for key in RESULTS})
        row.setdefault("reason", None)
        row["reason"] = row["reason"] or "unfinished"
        yield {**row, **shared}


def add_scaling(rows, kind):
    """Speed-up and efficiency against the run with the fewest ranks."""
    timed = [row for row in rows if row["ranks"] and row["seconds_per_iteration"]]
    if not timed:
        return
    base = min(timed, key=lambda row: row["ranks"])
    for row in timed:
        ratio, more = base["seconds_per_iteration"] / row["seconds_per_iteration"], row["ranks"] / base["ranks"]
        row["speedup"] = ratio * (1 if kind == "strong" else more)
        row["efficiency"] = row["speedup"] / more


def columns_of(rows):
    """Columns in order; of the settings only those that differ."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    settings = [name for name in names if name.startswith("settings.") and len({str(row.get(name)) for row in rows}) > 1]
    first = [name for name in ("run", "replica") if name in names]
    return first + settings + [name for name in names if name not in first and not name.startswith("settings.")]


def text_of(value, digits=None):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{digits}g}" if digits else repr(value)
    return str(value)


def heading(column):
    return column.removeprefix("settings.")


def write_csv(path, columns, rows):
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([heading(column) for column in columns])
            writer.writerows([text_of(row.get(column)) for column in columns] for row in rows)
    except OSError as error:
        sys.exit(f"collect.py: {path}: cannot write the table: {error.strerror}")


def print_table(columns, rows):
    """Aligned; columns that are the same or empty everywhere are in the CSV only."""
    wide = {"kernel", "cpu", "commit", "hosts", "loss"}
    columns = [column for column in columns if column not in wide and any(text_of(row.get(column)) for row in rows)]
    table = [[heading(column) for column in columns]]
    table += [[text_of(row.get(column), digits=4) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def sort_key(row):
    """Rows by run, numbers in names by their value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pathlib.Path(row["run"]).parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories; name all that there should be")
    parser.add_argument("-o", "--output", metavar="CSV", help="write the table, with full numbers")
    parser.add_argument("--scaling", choices=["none", "strong", "weak"], default="none",
                        help="add speed-up and efficiency against the run with the fewest ranks, by seconds per iteration; "
                             "weak: of work that grows with the ranks")
    try:
        arguments = parser.parse_args()
    except SystemExit as end:
        sys.exit(64 if end.code else 0)
    rows, missing = [], []
    for directory in arguments.runs:
        try:
            rows.extend(rows_of(directory, *read_run(directory)))
        except Missing as why:
            missing.append(f"{directory}: missing: {why}")
    rows.sort(key=sort_key)
    if arguments.scaling != "none":
        add_scaling(rows, arguments.scaling)
    if rows:
        columns = columns_of(rows)
        print_table(columns, rows)
        if arguments.output:
            write_csv(arguments.output, columns, rows)
    unfinished = [f"{row['run']}: not finished: {row['reason']}" for row in rows if row["reason"] not in FINISHED]
    for line in missing + unfinished:
        print(f"collect.py: {line}", file=sys.stderr)
    return MISSING if missing else UNFINISHED if unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
