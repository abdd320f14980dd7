#!/usr/bin/python3
"""Draw the table of a study: lines with their quartiles, success rates, heat maps.

    tools/plot_study.py table.h5 --x alpha --y test_error --by rank          # a line for each rank
    tools/plot_study.py table.csv --x rho --y 'success<1e-4' --by ensemble   # part of the runs with a test error below 1e-4
    tools/plot_study.py table.csv --x k --y iterations test_error wall_s     # a panel for each y
    tools/plot_study.py table.h5 --heat rho rank 'success<1e-4' -o phase.pdf # colours, a contour where half succeed
    tools/plot_study.py table.h5 --heat alpha k test_error --by ensemble     # a map for each ensemble
    tools/plot_study.py table.h5                                             # tells what is in the table

TABLE is table.csv or table.h5 of `mxsense study`, or any CSV with a heading; `DIR` means DIR/table.h5 or DIR/table.csv.
Rows that agree in x and --by are repeats: a line is their median, the band their quartiles. `success<V` is short for
`test_error<V`; any column may stand there: `COLUMN<V`, `COLUMN>V`, `reason=tolerance`. It is drawn as a part of the runs,
with the interval of 95 % (Wilson). Runs that diverged count as runs: they fail, and their errors are infinite. Runs that are
missing or unfinished are left out. What else varies is pooled and named on standard output; --where keeps a part:

    --where ensemble=gaussian rank=2,3 'rho<3'

Axes are logarithmic where the values are spaced so, or by --log x y; --linear x y keeps them linear.

Exit codes: 0, 64 wrong usage, 65 no such column or nothing to draw, 66 missing, 73 cannot write."""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import mxsense_plot as mp
from mxsense_io import BAD, MISSING, WRONG, Error, read_table

NOT_ENDED = ("missing", "unfinished")
# Columns that vary but are no axes: what a run is called, what it came to, how long it took.
RESULTS = set("point repeat run replica reason iterations best_iteration loss relative_residual validation_loss test_error rank_estimate "
              "passes_over_A certificate certificate_error certificate_rank certificate_reason estimate_error estimate_error_low "
              "estimate_error_high estimate_noise_std entries_per_s bytes_per_s limit_bytes_per_s fraction_of_limit reduce_bytes hosts kernel "
              "cpu commit packed ranks_used".split())
SEEDS = {"seed", "problem.seed", "solve.seed"}
TELLING = "point repeat run replica".split()
MOST_BANDS, MOST_WHISKERS = 4, 8


# ---------------------------------------------------------------- the table


def find_table(path):
    if not path.is_dir():
        return path
    for name in ("table.h5", "table.csv"):
        if (path / name).is_file():
            return path / name
    raise Error(f"{path}: holds no table.h5 and no table.csv", MISSING)


def column_of(table, name):
    """A column by its name, or by its bare name where one of problem.NAME, solve.NAME is there."""
    if name in table:
        return table[name]
    found = [column for column in (f"problem.{name}", f"solve.{name}") if column in table]
    if len(found) == 1:
        return table[found[0]]
    what = f"is {found[0]} or {found[1]} meant?" if found else f"there are {', '.join(table)}"
    raise Error(f"no column `{name}`: {what}", BAD)


def varies(values):
    return len(set(values[values == values].tolist())) > 1


def axes_of(table):
    """Columns that vary and say what a run is; not a step that was found for each problem."""
    def found(values):
        return values.dtype.kind == "f" and len(set(values.tolist())) > max(12, 0.3 * len(values))

    return [name for name, values in table.items()
            if name not in RESULTS | SEEDS and not name.endswith("_s") and varies(values) and not found(values)]


CONDITION = re.compile(r"([\w.]+)\s*(<=|>=|<|>|=)\s*(.+)")


def condition(table, text):
    """Rows for which COLUMN<V, COLUMN>V, COLUMN=A,B hold."""
    found = CONDITION.fullmatch(text.strip())
    if not found:
        raise Error(f"`{text}`: give COLUMN=VALUE[,VALUE...], COLUMN<NUMBER or COLUMN>NUMBER", WRONG)
    name, how, value = found.groups()
    values = column_of(table, "test_error" if name == "success" else name)
    if how == "=":
        return np.array([same(cell, value.split(",")) for cell in values])
    try:
        limit = float(value)
    except ValueError:
        raise Error(f"`{text}`: {value} is not a number", WRONG) from None
    if values.dtype.kind == "U":
        raise Error(f"`{text}`: {name} is a column of texts", WRONG)
    with np.errstate(invalid="ignore"):
        return {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[how](values, limit)


def same(cell, wanted):
    if isinstance(cell, str):
        return cell in wanted
    for text in wanted:
        try:
            if np.isclose(float(text), float(cell), rtol=1e-9, atol=0):
                return True
        except ValueError:
            pass
    return False


class Value:
    """What is drawn: a column, or the part of the runs for which a condition holds."""

    def __init__(self, table, text):
        self.is_rate = bool(CONDITION.fullmatch(text.strip()))
        if self.is_rate:
            self.values = condition(table, text).astype(float)
            name, how, limit = CONDITION.fullmatch(text.strip()).groups()
            how = how.replace("<=", "≤").replace(">=", "≥")
            self.name = f"success rate (error {how} {limit})" if name == "success" else f"runs with {mp.short(name)} {how} {limit}"
            self.column = text
            return
        self.values, self.name, self.column = column_of(table, text), mp.name(text), text
        if self.values.dtype.kind == "U":
            raise Error(f"`{text}` is a column of texts: draw how often it is one of them, as in '{text}={self.values[0]}'", WRONG)
        self.values = self.values.astype(float)
        if "error" in text or "loss" in text or "residual" in text:
            lost = column_of(table, "reason") == "diverged" if "reason" in table else np.zeros(self.values.shape, bool)
            self.values = np.where(lost & ~np.isfinite(self.values), np.inf, self.values)

    def middle(self, rows):
        """(median, lower, upper) of some rows; of a rate the mean and its interval; None without a number."""
        values = self.values[rows]
        values = values[~np.isnan(values)]
        if values.size == 0:
            return None
        if self.is_rate:
            return wilson(values.sum(), values.size)
        how = "linear" if np.isfinite(values).all() else "higher"
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), method=how)
        return middle, low, high


def wilson(successes, count, z=1.96):
    """Part of the runs, and the interval of 95 % (Wilson 1927)."""
    rate = successes / count
    center, spread = rate + z**2 / (2 * count), z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return rate, (center - spread) / (1 + z**2 / count), (center + spread) / (1 + z**2 / count)


def groups_of(table, names):
    """(values, rows) of each combination that is there, in order; texts in the order of the table."""
    columns = [column_of(table, name) for name in names]
    keys = list(zip(*(column.tolist() for column in columns))) if names else [()] * len(next(iter(table.values())))
    places = [{value: i for i, value in enumerate(dict.fromkeys(column.tolist()) if column.dtype.kind == "U" else sorted(set(column.tolist())))}
              for column in columns]
    found = {}
    for row, key in enumerate(keys):
        if all(value == value for value in key):  # a NaN belongs to no group
            found.setdefault(key, []).append(row)
    if not found:
        raise Error(f"{', '.join(names)}: no row has a value", BAD)
    order = sorted(found, key=lambda key: [place[value] for place, value in zip(places, key)])
    return [(key, np.array(found[key])) for key in order]


def kept(table, arguments):
    """Rows that have ended and are asked for."""
    count = len(next(iter(table.values())))
    rows = np.ones(count, dtype=bool)
    if "reason" in table:
        ended = ~np.isin(table["reason"], NOT_ENDED)
        if not ended.all():
            print(f"left out: {count - ended.sum()} of {count} runs, missing or unfinished")
        rows &= ended
    for text in arguments.where:
        rows &= condition(table, text)
    if not rows.any():
        raise Error("no rows are left" + (f" of {count}: --where {' '.join(arguments.where)}" if arguments.where else ""), BAD)
    return {name: values[rows] for name, values in table.items()}


def tell_pooled(table, used):
    """Name what varies and is on no axis."""
    bare = {name.split(".")[-1] for name in used} | set(used)
    derived = {"rho": {"measurements"}, "measurements": {"rho"}, "n": {"n1", "n2"}, "rank": {"measurements", "rho"}, "k": set(), "ranks": {"measurements"}}
    explained = set().union(*(derived.get(name, set()) for name in bare))
    if "n1" in bare or "n2" in bare or "n" in bare:
        explained |= {"n", "n1", "n2", "measurements"}
    if "rho" in axes_of(table):
        explained |= {"measurements"}
    rest = [name for name in axes_of(table) if name.split(".")[-1] not in bare | explained]
    if rest:
        told = ", ".join(f"{name} ({len(set(table[name].tolist()))} values)" for name in rest)
        print(f"pooled: {told}; --where COLUMN=VALUE keeps one, --by COLUMN draws each")


def describe(table, path):
    count = len(next(iter(table.values())))
    print(f"{path}: {count} rows. What varies:")
    for name in axes_of(table):
        values = list(dict.fromkeys(table[name].tolist()))
        if table[name].dtype.kind != "U":
            values.sort()
        shown = ", ".join(mp.number(value) for value in (values if len(values) <= 12 else values[:6] + values[-2:]))
        print(f"  {name:<22} {len(values)} values: {shown}")
    results = [name for name, values in table.items() if name in RESULTS - set(TELLING) and varies(values)]
    print(f"What came out: {', '.join(results)}")


# ---------------------------------------------------------------- lines


def is_log(values, axis, arguments):
    if axis in arguments.linear or values.dtype.kind == "U":
        return False
    positive = values[np.isfinite(values)]
    return positive.size > 0 and bool((positive > 0).all()) and (axis in arguments.log or mp.log_spaced(positive))


def label_of(names, key):
    return ", ".join(f"{mp.short(name)} = {mp.number(value)}" if not isinstance(value, str) else value for name, value in zip(names, key))


def draw_line(axes, places, value, look, label, spread):
    """Median over x, with its quartiles as a band, as whiskers, or not at all."""
    points = [(x, value.middle(rows)) for x, rows in places]
    points = [(x, *middle) for x, middle in points if middle is not None and np.isfinite(middle[0])]
    if not points:
        return False
    x, middle, low, high = (np.array(column, dtype=float) for column in zip(*points))
    high = np.where(np.isfinite(high), high, np.nanmax(np.where(np.isfinite(high), high, middle)))
    axes.plot(x, middle, label=label, **look, ms=4.5, zorder=3)
    if spread == "band" and len(x) > 1:
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0, zorder=2)
    elif spread:
        axes.vlines(x, low, high, color=look["color"], alpha=0.5, lw=1.1, zorder=2)
    return True


def spread_of(groups, categories):
    """Bands of many lines hide each other."""
    return None if groups > MOST_WHISKERS else "whiskers" if groups > MOST_BANDS or categories else "band"


def draw_panel(axes, table, value, arguments):
    """A value over x; the colour scale where there are too many lines for a legend."""
    xs = column_of(table, arguments.x)
    categories = list(dict.fromkeys(xs.tolist())) if xs.dtype.kind == "U" else None
    groups = groups_of(table, arguments.by)
    shades = mp.shades([key[0] for key, _ in groups]) if len(groups) > 12 and len(arguments.by) == 1 and not isinstance(groups[0][0][0], str) else None
    spread, drawn = spread_of(len(groups), categories), False
    for i, ((key, rows), look) in enumerate(zip(groups, mp.lines(len(groups)))):
        part = {name: values[rows] for name, values in table.items()}
        aside = 0.4 * ((i + 0.5) / len(groups) - 0.5)  # names are places: the groups stand beside each other
        places = [(categories.index(x[0]) + aside if categories else x[0], rows[inner]) for x, inner in groups_of(part, [arguments.x])]
        look = {"color": shades[0][i], "ls": "-", "marker": "."} if shades else {**look, "ls": "none"} if categories else look
        drawn |= draw_line(axes, places, value, look, label_of(arguments.by, key) or None, spread)
    if spread is None:
        print(f"{value.column}: medians only; quartiles are drawn for at most {MOST_WHISKERS} lines")
    axes.set_xlabel(mp.name(arguments.x))
    axes.set_ylabel(value.name)
    mp.grid(axes)
    if not drawn:
        mp.nothing(axes, "no number to draw")
    if categories:
        mark_levels(axes, "x", categories)
        axes.set_xlim(-0.5, len(categories) - 0.5)
    elif is_log(xs, "x", arguments):
        mp.log(axes, "x")
    if len(set(xs.tolist())) <= 9 and not categories:
        mp.ticks(axes, "x", sorted(set(xs[np.isfinite(xs)].tolist())))
    scale_y(axes, value, drawn, arguments)
    return shades and shades[1]


def scale_y(axes, value, drawn, arguments):
    if value.is_rate:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:.0f} %")
        return
    shown = value.values[np.isfinite(value.values)]
    wide = shown.size and shown.min() > 0 and shown.max() > 50 * shown.min()
    if drawn and "y" not in arguments.linear and shown.size and shown.min() > 0 and (wide or "y" in arguments.log):
        mp.log(axes, "y")


def plot_lines(table, arguments):
    values = [Value(table, text) for text in arguments.y]
    columns = 2 if len(values) == 4 else min(len(values), 3)
    figure, axes = mp.figure(-(-len(values) // columns), columns, size=mp.PANEL if columns > 1 else (5.2, 3.6))
    axes = np.atleast_1d(axes).ravel()
    for panel, value in zip(axes, values):
        scale = draw_panel(panel, table, value, arguments)
    for panel in axes[len(values):]:
        panel.set_visible(False)
    if scale:
        figure.colorbar(scale, ax=list(axes[: len(values)]), label=mp.name(arguments.by[0]), pad=0.02)
    elif arguments.by:
        mp.legend_below(figure, *axes[: len(values)])
    return figure


# ---------------------------------------------------------------- heat maps


def cells_of(table, value, names, levels):
    """Medians or rates by cell; NaN without data, inf where the median is infinite."""
    cells = np.full((len(levels[1]), len(levels[0])), np.nan)
    for (x, y), rows in groups_of(table, names):
        middle = value.middle(rows)
        if middle is not None:
            cells[levels[1].index(y), levels[0].index(x)] = middle[0]
    return cells


def levels_of(table, name):
    values = column_of(table, name)
    return list(dict.fromkeys(values.tolist())) if values.dtype.kind == "U" else sorted({value for value in values.tolist() if value == value})


def norm_of(cells, value, arguments):
    if value.is_rate:
        return Normalize(0, 1)
    shown = cells[np.isfinite(cells)]
    if shown.size == 0:
        raise Error(f"{value.column}: no number to draw", BAD)
    wide = shown.min() > 0 and shown.max() > 50 * shown.min()
    if shown.min() > 0 and "value" not in arguments.linear and (wide or "value" in arguments.log):
        return LogNorm(shown.min(), shown.max())
    return Normalize(shown.min(), max(shown.max(), shown.min() + 1e-300))


def mark_levels(axes, which, levels):
    """Names of rows or columns, fewer where they would meet."""
    step = -(-len(levels) // 12)
    places = list(range(0, len(levels), step))
    texts = [mp.clipped(mp.number(levels[place]), 18) for place in places]
    longest = max(map(len, texts))
    if which == "x":
        turned = longest * len(texts) > 40
        axes.set_xticks(places, texts, rotation=45 if turned else 0, ha="right" if turned else "center", rotation_mode="anchor")
    else:
        axes.set_yticks(places, texts)


def write_cells(axes, cells, value, shown):
    """The number in each cell, where there is room for it."""
    if cells.shape[1] > 10 or cells.shape[0] > 14:
        return
    for (row, column), cell in np.ndenumerate(cells):
        if np.isfinite(cell):
            color = shown.cmap(shown.norm(cell))
            dark = np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.5
            text = f"{100 * cell:.0f}" if value.is_rate else mp.number(float(f"{cell:.2g}"))
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black", zorder=5)


def draw_contour(axes, cells, level):
    """Where the cells come to a level, between their centres."""
    inside = np.ma.masked_invalid(cells)
    if min(cells.shape) > 1 and inside.count() and inside.min() < level < inside.max():
        axes.contour(inside, levels=[level], colors=[mp.RED], linewidths=1.8, zorder=4)
        return True
    return False


def draw_map(axes, cells, value, levels, norm, arguments):
    """Colours, hatches where there is nothing, a contour; what the legend has to tell."""
    empty, lost = np.isnan(cells), np.isposinf(cells)
    shown = axes.imshow(np.ma.masked_invalid(cells), origin="lower", aspect="auto", cmap="cividis" if value.is_rate else "viridis_r", norm=norm,
                        interpolation="nearest")
    told = []
    for where, hatch, color, text in ((empty, "////", "0.75", "no data"), (lost, "xxxx", mp.RED, "diverged")):
        for row, column in np.argwhere(where):
            axes.add_patch(mp.plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch=hatch, ec=color, lw=0))
        if where.any():
            told.append(Patch(fill=False, hatch=hatch, ec=color, lw=0.5, label=text))
    level = arguments.contour if arguments.contour is not None else 0.5 if value.is_rate else None
    write_cells(axes, cells, value, shown)
    if level is not None and draw_contour(axes, cells, level):
        text = "50 % succeed" if value.is_rate and level == 0.5 else f"{mp.clipped(value.column)} = {mp.number(level)}"
        told.append(Line2D([], [], color=mp.RED, lw=1.8, label=text))
    mark_levels(axes, "x", levels[0])
    mark_levels(axes, "y", levels[1])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    return shown, told


def plot_heat(table, arguments):
    x, y, text = arguments.heat
    value, levels = Value(table, text), [levels_of(table, name) for name in (x, y)]
    groups = groups_of(table, arguments.by)
    if len(groups) > 12:
        raise Error(f"--by: {len(groups)} maps; at most 12 fit: keep some with --where", WRONG)
    maps = []
    for key, rows in groups:
        part = {name: values[rows] for name, values in table.items()}
        maps.append((key, cells_of(part, Value(part, text), (x, y), levels)))
    norm = norm_of(np.concatenate([cells.ravel() for _, cells in maps]), value, arguments)
    columns = min(len(maps), 3)
    figure, axes = mp.figure(-(-len(maps) // columns), columns, size=(3.9, 3.1) if columns > 1 else (5.4, 4.0), sharex=True, sharey=True)
    axes = np.atleast_1d(axes).ravel()
    told = []
    for place, (panel, (key, cells)) in enumerate(zip(axes, maps)):
        shown, words = draw_map(panel, cells, value, levels, norm, arguments)
        told += words
        panel.set_title(label_of(arguments.by, key))
        panel.label_outer()
        if place % columns == 0:
            panel.set_ylabel(mp.name(y))
        if place + columns >= len(maps):
            panel.set_xlabel(mp.name(x))
            panel.tick_params(labelbottom=True)
    for panel in axes[len(maps):]:
        panel.set_visible(False)
    bar = figure.colorbar(shown, ax=list(axes[: len(maps)]), label=value.name, pad=0.02)
    if value.is_rate:
        bar.ax.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:.0f} %")
    bar.outline.set_visible(False)
    mp.legend_below(figure, handles=told)
    return figure


# ---------------------------------------------------------------- the command


def plot(arguments):
    path = find_table(arguments.table)
    table = read_table(path)
    output = mp.output_path(arguments.output) if arguments.output else path.with_name("study.png")
    if not arguments.heat and not (arguments.x and arguments.y):
        if arguments.x or arguments.y:
            raise Error("give --x and --y, or --heat X Y VALUE", WRONG)
        describe(table, path)
        return
    if arguments.heat and (arguments.x or arguments.y):
        raise Error("--heat X Y VALUE names its axes: leave out --x and --y", WRONG)
    table = kept(table, arguments)
    used = [*(arguments.heat[:2] if arguments.heat else [arguments.x]), *arguments.by]
    figure = plot_heat(table, arguments) if arguments.heat else plot_lines(table, arguments)
    tell_pooled(table, used)
    mp.title(figure, arguments.title)
    mp.save(figure, output, "plot_study.py", arguments.dpi)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", metavar="TABLE", type=pathlib.Path, help="table.csv, table.h5, or the directory of a study")
    mp.add_output(parser, "study.png beside the table")
    parser.add_argument("--x", metavar="COLUMN")
    parser.add_argument("--y", metavar="VALUE", nargs="+", help="columns or conditions, a panel for each")
    parser.add_argument("--by", metavar="COLUMN", nargs="+", default=[], help="a line, or a map, for each combination of values")
    parser.add_argument("--heat", metavar=("X", "Y", "VALUE"), nargs=3)
    parser.add_argument("--contour", type=float, metavar="LEVEL", help="of a map (default: where half succeed, of a success rate)")
    parser.add_argument("--where", metavar="CONDITION", nargs="+", default=[], help="COLUMN=VALUE[,VALUE...], COLUMN<NUMBER, COLUMN>NUMBER")
    parser.add_argument("--log", nargs="+", choices=["x", "y", "value"], default=[], help="logarithmic axes")
    parser.add_argument("--linear", nargs="+", choices=["x", "y", "value"], default=[], help="linear axes")
    mp.run(parser, plot)


if __name__ == "__main__":
    main()
