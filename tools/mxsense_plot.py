"""What the plots of mxsense share: colours, axes, labels, legends below the figure, saving, and how a plotting script starts and ends.

    import mxsense_plot as mp

    figure, axes = mp.figure(1, 2)
    for how, run in zip(mp.lines(3), runs):
        axes[0].plot(t, loss, label="...", **how)        # colour, line style and marker differ: print and any eye tell them apart
    mp.log(axes[0], "y")
    mp.legend_below(figure, axes[0])
    mp.save(figure, "figure.pdf", "plot_me.py")          # .png, .pdf or .svg

    if __name__ == "__main__":
        mp.run(parser, draw)                             # one line on standard error and the program's exit codes where it fails

Needs matplotlib 3.6; no display."""

import os
import pathlib
import sys
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter, NullLocator

from mxsense_io import CANNOT_CREATE, WRONG, Error

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
PALETTE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
GREY, GRID = "0.35", "0.88"
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.6,
    "lines.markersize": 5, "legend.frameon": False, "axes.axisbelow": True, "svg.fonttype": "none", "pdf.fonttype": 42,
    "svg.hashsalt": "mxsense", "figure.constrained_layout.h_pad": 0.06, "figure.constrained_layout.w_pad": 0.06,
}
SUFFIXES = (".png", ".pdf", ".svg")
PANEL = (3.85, 2.9)  # inches

NAMES = {  # of columns, on axes and in legends
    "alpha": r"start scale $\alpha$", "step": r"step $\mu$", "k": "columns $k$", "rank": "rank $r$", "seed": "seed", "n1": "$n_1$",
    "n2": "$n_2$", "n": "$n$", "rho": r"$\rho = m\,/\,(r(n_1+n_2-r))$", "measurements": "measurements $m$", "condition": r"condition number $\kappa$",
    "noise": r"noise $\sigma$", "ranks": "ranks", "ranks_used": "ranks", "iteration": "iteration", "iterations": "iterations",
    "seconds": "seconds", "test_error": r"$\Vert UV^T-X^*\Vert _F\,/\,\Vert X^*\Vert _F$", "loss": "loss (units of $y^2$)",
    "validation_loss": "held-out loss", "relative_residual": r"relative residual $\Vert R\Vert\,/\,\Vert y\Vert$",
    "rank_estimate": "estimated rank", "passes_over_A": "passes over $A$", "iteration_s": "seconds per iteration", "wall_s": "wall time (s)",
    "seconds_s": "solve time (s)", "entries_per_s": "entries of $A$ per second", "bytes_per_s": "bytes of $A$ per second",
    "fraction_of_limit": "part of the read bandwidth", "threads": "threads", "hold_out": "fraction held out", "tolerance": "tolerance",
    "certificate_error": "certified relative error", "estimate_error": "estimated relative error", "estimate_noise_std": r"estimated $\sigma$",
}


def name(column):
    """What a column is called on an axis."""
    bare = column.split(".", 1)[1] if column.startswith(("problem.", "solve.")) else column
    where = f" of the {column.split('.', 1)[0]}" if bare != column and bare == "seed" else ""
    return NAMES.get(bare, bare.replace("_", " ")) + where


def short(column):
    """What it is called in front of a value: the symbol, where there is one."""
    text = name(column).split(r" = ")[0] + ("$" if r" = " in name(column) else "")
    return text[text.index("$"):] if "$" in text and not text.startswith("$") and len(text) < 40 else text


def number(value):
    """Few digits, 1e-3 and not 0.001; text as it is."""
    if isinstance(value, (str, bytes)):
        return str(value)
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return str(int(value)) if value == int(value) else f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def clipped(text, length=64):
    """A long label without its middle."""
    return text if len(text) <= length else f"{text[: length // 2 - 1]}…{text[-(length // 2) :]}"


# ---------------------------------------------------------------- figures


def figure(rows=1, columns=1, size=PANEL, **options):
    """A figure of panels, and an array (rows, columns) of their axes; of a single row or column an array of them."""
    plt.rcParams.update(STYLE)
    drawn, axes = plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows + 0.45), layout="constrained", squeeze=False, **options)
    return drawn, axes if rows > 1 and columns > 1 else axes.ravel()


def title(drawn, text):
    """Over the whole figure, in as many lines as it takes."""
    if text:
        drawn.suptitle("\n".join(textwrap.wrap(text, int(13.5 * drawn.get_figwidth()))), fontsize=11)


def lines(count):
    """Colour, line style and marker of each of many lines."""
    palette = len(PALETTE)
    return [{"color": PALETTE[i % palette], "ls": DASHES[i // palette % len(DASHES)], "marker": MARKERS[(i + i // palette) % len(MARKERS)]}
            for i in range(count)]


def shades(values):
    """A colour for each of many numbers, and the scale to put beside them."""
    low, high = min(values), max(values)
    norm = matplotlib.colors.LogNorm if low > 0 and high > 20 * low else matplotlib.colors.Normalize
    ramp = matplotlib.colors.ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 0.9, 256)))
    scale = matplotlib.cm.ScalarMappable(norm(low, high), ramp)
    return [scale.to_rgba(value) for value in values], scale


def grid(axes):
    axes.grid(True, which="major", color=GRID, lw=0.6)


def log(axes, which):
    """A logarithmic axis whose marks have labels also within one decade. After drawing."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    decades = np.log10(high / low) if low > 0 and np.isfinite(high) else 9
    if decades < 2.2:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    else:
        axis.set_major_locator(LogLocator(numticks=7))
        axis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=True))
    axis.set_minor_formatter(NullFormatter())


def ticks(axes, which, values):
    """Marks at these values only, such as powers of two on a logarithmic axis; fewer where they would meet."""
    values = list(dict.fromkeys(values))
    room = 9
    step = -(-len(values) // room)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(values[::step] if (len(values) - 1) % step == 0 else values[::-1][::step][::-1]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_locator(NullLocator())


def nothing(axes, text):
    """In place of a curve that is not there."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.set_yticks([])


def log_spaced(values):
    """Are these positive numbers, over more than a decade, and more even by their ratios than by their differences?"""
    values = np.unique(np.asarray(values, dtype=np.float64))
    if values.size < 3 or values[0] <= 0 or values[-1] < 10 * values[0]:
        return bool(values.size == 2 and values[0] > 0 and values[1] >= 50 * values[0])
    spread = [np.std(steps) / np.mean(steps) for steps in (np.diff(values), np.diff(np.log(values)))]
    return bool(spread[1] < spread[0])


def legend_below(drawn, *axes, handles=()):
    """One legend of these axes' lines, each label once, below the figure in as many columns as fit."""
    found = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels()):
            found.setdefault(label, handle)
    for handle in handles:
        found.setdefault(handle.get_label(), handle)
    if not found:
        return
    labels = [clipped(label, int(11 * drawn.get_figwidth())) for label in found]
    size = matplotlib.font_manager.FontProperties(size=STYLE["legend.fontsize"])
    renderer, dpi = drawn.canvas.get_renderer(), drawn.dpi
    widest = 0.0
    for label in labels:
        text = drawn.text(0, 0, label, fontproperties=size)
        widest = max(widest, text.get_window_extent(renderer).width / dpi)
        text.remove()
    columns = max(1, min(len(labels), int(drawn.get_figwidth() / (widest + 0.62))))
    rows = -(-len(labels) // columns)
    columns = -(-len(labels) // rows)
    band = 0.14 + 0.18 * rows
    drawn.set_figheight(drawn.get_figheight() + max(0.0, band - 0.35))
    share = band / drawn.get_figheight()
    drawn.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    drawn.legend(found.values(), labels, loc="lower center", ncol=columns, borderaxespad=0.3, handlelength=2.8, columnspacing=1.6)


# ---------------------------------------------------------------- scripts


def output_path(text):
    """An argument of argparse: a file whose suffix says what it is."""
    path = pathlib.Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise Error(f"{text}: give a name that ends with {', '.join(SUFFIXES)}", WRONG)
    return path


def add_output(parser, default):
    parser.add_argument("-o", "--output", metavar="FILE", help=f".png, .pdf or .svg (default: {default})")
    parser.add_argument("--title", help="over the figure; '' for none")
    parser.add_argument("--dpi", type=int, default=120, help="of a .png (default 120)")


def save(drawn, path, script, dpi=120):
    """Write the figure, complete or not at all, and say so."""
    path = output_path(str(path))
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {"Software": script})
    try:
        drawn.savefig(temporary, dpi=dpi, metadata=dates)
        os.replace(temporary, path)
    except OSError as why:
        raise Error(f"{path}: cannot write: {why.strerror}", CANNOT_CREATE) from None
    finally:
        temporary.unlink(missing_ok=True)
        plt.close(drawn)
    print(f"written {path}")


def run(parser, draw):
    """Parse, draw(arguments), and end as the program would: 0, or one line on standard error and a code."""
    try:
        arguments = parser.parse_args()
    except SystemExit as end:
        sys.exit(WRONG if end.code else 0)
    try:
        draw(arguments)
    except Error as why:
        print(f"{parser.prog}: {why}", file=sys.stderr)
        sys.exit(why.code)
