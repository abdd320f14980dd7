#!/usr/bin/python3
"""Draw a run: loss, errors, singular values, balance and angles over the iterations, the three phases shaded.

    tools/plot_run.py DIR                     # writes DIR/run.png
    tools/plot_run.py DIR -o figure.pdf       # or .svg, .png
    tools/plot_run.py DIR --picture           # original, recovered and error as pictures; loss, error, spectrum

The iteration axis is logarithmic where the first two phases end in the first tenth of the run.
Reads DIR/metrics.csv, or the history in a checkpoint (DIR/checkpoint.h5, or such a file given instead of DIR).
Works without a display."""

import argparse
import json
import pathlib
import re
import sys

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
PHASES = {1: ("1 alignment", "#E8F1F8"), 2: ("2 saddle avoidance", "#FDF1D6"), 3: ("3 refinement", "#E3F3EC")}
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 9, "legend.fontsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1.6, "legend.frameon": False,
    "axes.axisbelow": True, "svg.fonttype": "none", "pdf.fonttype": 42,
}


def fail(text):
    sys.exit(f"plot_run.py: {text}")


def read_metrics(path):
    """Columns of a run's metrics as arrays by name, and the file they came from."""
    if path.is_dir() and (path / "metrics.csv").is_file():
        table = np.genfromtxt(path / "metrics.csv", delimiter=",", names=True, dtype=float)
        return {name: np.atleast_1d(table[name]) for name in table.dtype.names}
    checkpoint = path / "checkpoint.h5" if path.is_dir() else path
    if not checkpoint.is_file():
        fail(f"no metrics.csv and no checkpoint.h5 in {path}")
    with h5py.File(checkpoint, "r") as f:
        if "metrics" not in f:
            fail(f"{checkpoint} holds no metrics")
        return {name: np.atleast_1d(column[()]).astype(float) for name, column in f["metrics"].items()}


def read_factors(path):
    with h5py.File(path / "checkpoint.h5" if path.is_dir() else path, "r") as f:
        return f["factors/U"][()], f["factors/V"][()]


def problem_path(path, given):
    """The problem file: given, or named in the run's config.yaml."""
    if given is not None:
        return given
    config = path / "config.yaml"
    if path.is_dir() and config.is_file():
        found = re.search(r"^problem:\s*(.+?)\s*$", config.read_text(), re.MULTILINE)
        if found:
            name = pathlib.Path(found.group(1).strip("\"'"))
            if name.is_file():
                return name
    return None


def read_truth(problem):
    """X* and the picture's mean grey level (0 if it is no picture); None where the file has no truth."""
    if problem is None:
        return None, 0.0
    with h5py.File(problem, "r") as f:
        mean = float(f.attrs.get("picture_mean", 0.0))
        if "truth/X" in f:
            return f["truth/X"][()], mean
        if "truth/U" in f and "truth/V" in f:
            return f["truth/U"][()] @ f["truth/V"][()].T, mean
    return None, 0.0


def summary_line(path):
    if not (path.is_dir() and (path / "summary.json").is_file()):
        return ""
    summary = json.loads((path / "summary.json").read_text())
    parts = [f"{summary.get('iterations')} iterations", f"ended by {summary.get('reason')}"]
    for key, text in (("relative_residual", "relative residual"), ("test_error", "relative error")):
        if isinstance(summary.get(key), (int, float)):
            parts.append(f"{text} {summary[key]:.3g}")
    return ", ".join(parts)


def picture_line(problem, truth):
    with h5py.File(problem, "r") as f:
        m = f["y"].shape[0]
    return f"{truth.size} unknowns from {m} measurements ({m / truth.size:.1%})"


def early_phases(metrics):
    """Are alignment and saddle avoidance over in the first tenth of the run? Then iterations go on a log scale."""
    t, phase = metrics["iteration"], metrics.get("phase")
    return phase is not None and (phase == 3).any() and 0 < t[np.argmax(phase == 3)] < 0.1 * t[-1]


def shade_phases(axes, metrics):
    """Background of each stretch of one phase; the set of phases seen."""
    t, phase = metrics["iteration"], metrics.get("phase")
    if phase is None or len(t) < 2:
        return set()
    cuts = np.flatnonzero(np.diff(phase)) + 1
    seen = set()
    for first, last in zip(np.r_[0, cuts], np.r_[cuts, len(t) - 1]):
        if phase[first] in PHASES and t[last] > t[first]:
            axes.axvspan(t[first], t[last], color=PHASES[phase[first]][1], lw=0, zorder=0)
            seen.add(int(phase[first]))
    return seen


def draw(axes, metrics, name, label, color, log=True, **how):
    """One column as a line; True if there was anything to draw."""
    if name not in metrics:
        return False
    value = metrics[name]
    good = np.isfinite(value) & ((value > 0) if log else True)
    if not good.any():
        return False
    marker = "o" if good.sum() == 1 else None
    axes.plot(metrics["iteration"], np.where(good, value, np.nan), color=color, label=label, marker=marker, **how)
    return True


def finish(axes, metrics, title, ylabel, drawn, log=True):
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("iteration")
    if not drawn:
        axes.text(0.5, 0.5, "not defined for this run", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])
    elif log:
        axes.set_yscale("log")
    axes.grid(True, which="major", color="0.85", lw=0.6)
    t = metrics["iteration"]
    if len(t) > 1 and early_phases(metrics):
        axes.set_xscale("log")
        axes.set_xlim(t[t > 0][0], t[-1])
    elif len(t) > 1:
        axes.set_xlim(t[0], t[-1])
    return shade_phases(axes, metrics)


def draw_reference(axes, value, text, curve_end):
    """A dashed level with its name at the right, on the side where the curve does not end."""
    axes.axhline(value, color="0.35", lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    below = value < curve_end < 1.3 * value
    axes.annotate(text, (1.0, value), xycoords=axes.get_yaxis_transform(), xytext=(-3, -2 if below else 2),
                  textcoords="offset points", ha="right", va="top" if below else "bottom", fontsize=7.5, color="0.25")


def draw_singular_values(axes, metrics, truth_values):
    names = sorted((n for n in metrics if re.fullmatch(r"sigma_\d+", n)), key=lambda n: int(n[6:]))
    colors = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, max(len(names), 2)))
    drawn = False
    for i, name in enumerate(names):
        label = f"$\\sigma_{{{i + 1}}}$" if i in (0, len(names) - 1) else None
        drawn |= draw(axes, metrics, name, label, colors[i], lw=1.2)
    for i, value in enumerate(truth_values[: len(names)]):
        axes.axhline(value, color="0.35", lw=0.8, ls=(0, (4, 3)), zorder=1.5, label="of $X^*$" if i == 0 else None)
    if drawn:
        axes.legend(loc="lower right", ncol=3, handlelength=1.6, columnspacing=1.0)
    return drawn


def singular_values(truth):
    return np.linalg.svd(truth, compute_uv=False) if truth is not None else np.zeros(0)


def has_full_rank(s):
    return s.size > 0 and s[-1] > 1e-8 * s[0]


def draw_outcome(axes, metrics, truth):
    """Loss, error and singular values; the set of phases seen."""
    loss, error, values = axes
    s = singular_values(truth)

    drawn = draw(loss, metrics, "loss", "training", BLUE)
    if draw(loss, metrics, "validation_loss", "held out", ORANGE, ls="--"):
        loss.legend(loc="upper right")
    seen = finish(loss, metrics, "Loss", "loss (units of $y^2$)", drawn)

    drawn = draw(error, metrics, "test_error", None, BLUE)
    seen |= finish(error, metrics, "Error of the matrix", r"$\Vert UV^T-X^*\Vert _F\,/\,\Vert X^*\Vert _F$", drawn)
    if drawn and has_full_rank(s):
        for r in (2, 5, 10, 20, 40):
            if r < s.size:
                best = np.sqrt((s[r:] ** 2).sum() / (s**2).sum())
                draw_reference(error, best, f"best rank {r}", metrics["test_error"][-1])
        error.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        error.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        error.yaxis.set_minor_formatter(NullFormatter())

    drawn = draw_singular_values(values, metrics, s[s > 1e-8 * s[0]] if s.size else s)
    seen |= finish(values, metrics, "Leading singular values of $UV^T$", "singular value (units of $X$)", drawn)
    return seen


def draw_mechanism(axes, metrics, truth):
    """Balance, angles and effective rank; the set of phases seen."""
    balance, angles, rank = axes
    drawn = draw(balance, metrics, "grad_norm", r"gradient $\Vert (dU,dV)\Vert _F$", BLUE)
    drawn |= draw(balance, metrics, "imbalance", r"imbalance $\Vert U^TU-V^TV\Vert _2$", RED, ls="--")
    if drawn:
        balance.legend(loc="best")
    seen = finish(balance, metrics, "Gradient and balance of the factors", "norm", drawn)

    drawn = False
    full_rank = has_full_rank(singular_values(truth))  # then every subspace is the whole space
    columns = (("angle_left", "left, to $X^*$", BLUE, "-"), ("angle_right", "right, to $X^*$", SKY, "-"),
               ("angle_data_left", "left, to $A^*(y)$", RED, "--"),
               ("angle_data_right", "right, to $A^*(y)$", ORANGE, "--"))
    for name, label, color, style in () if full_rank else columns:
        drawn |= draw(angles, metrics, name, label, color, ls=style)
    if drawn:
        angles.legend(loc="best")
    seen |= finish(angles, metrics, "Leading singular subspaces of $UV^T$", "largest principal angle (rad)", drawn)

    drawn = draw(rank, metrics, "effective_rank", None, GREEN, log=False)
    seen |= finish(rank, metrics, "Effective rank of $UV^T$", "exp(entropy of the spectrum)", drawn, log=False)
    if drawn:
        rank.set_ylim(bottom=0)
    return seen


def report_picture(relative, truth, mean):
    """Say what the error amounts to: the rank whose best approximation is as good."""
    s2 = np.linalg.svd(truth, compute_uv=False) ** 2
    best = np.sqrt(np.cumsum(s2[::-1])[::-1] / s2.sum())  # best[r]: error of the best approximation of rank r
    r = int(np.searchsorted(-best, -relative))
    text = f"relative error {relative:.3f}"
    if mean != 0.0:
        with_mean = relative * np.linalg.norm(truth) / np.linalg.norm(truth + mean)
        text += f" ({with_mean:.3f} with the mean grey level counted in)"
    if 0 < r < best.size:
        text += f"; best approximations of X* itself: {best[r - 1]:.3f} with rank {r - 1}, {best[r]:.3f} with rank {r}"
    print(text)


def draw_picture(axes, factors, truth, mean):
    U, V = factors
    if truth is None or truth.shape != (U.shape[0], V.shape[0]):
        fail("--picture needs the problem file with /truth of the same shape: give it with --problem")
    recovered = U @ V.T
    error = recovered - truth
    relative = np.linalg.norm(error) / np.linalg.norm(truth)
    low, high = (0.0, 1.0) if mean != 0.0 else (truth.min(), truth.max())
    for at, image, title in ((axes[0], truth + mean, f"Original, {truth.shape[0]} x {truth.shape[1]}"),
                             (axes[1], recovered + mean, f"Recovered, {U.shape[1]} columns")):
        at.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        at.set_title(title)
    limit = max(float(np.percentile(np.abs(error), 99.5)), np.finfo(float).tiny)
    shown = axes[2].imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes[2].set_title(f"Recovered - original, relative error {relative:.3f}")
    bar = axes[2].figure.colorbar(shown, ax=axes[2], fraction=0.046, pad=0.03)
    bar.set_label("grey level" if mean != 0.0 else "units of $X$")
    report_picture(relative, truth, mean)
    for at in axes:
        at.set_xticks([])
        at.set_yticks([])
        for spine in at.spines.values():
            spine.set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, help="run directory, or a checkpoint file")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="default: run.png in the run directory")
    parser.add_argument("--picture", action="store_true", help="X* and what was recovered as pictures, and the first row of panels")
    parser.add_argument("--problem", type=pathlib.Path, help="problem file, if not where config.yaml says")
    parser.add_argument("--title", help="default: name and outcome of the run")
    parser.add_argument("--dpi", type=int, default=120)
    arguments = parser.parse_args()
    if not arguments.run.exists():
        fail(f"no such file or directory: {arguments.run}")
    if arguments.problem is not None and not arguments.problem.is_file():
        fail(f"no such file: {arguments.problem}")

    metrics = read_metrics(arguments.run)
    if metrics["iteration"].size == 0:
        fail(f"{arguments.run} holds no metrics rows yet")
    problem = problem_path(arguments.run, arguments.problem)
    truth, mean = read_truth(problem)
    output = arguments.output
    if output is None:
        output = (arguments.run if arguments.run.is_dir() else arguments.run.parent) / "run.png"

    plt.rcParams.update(STYLE)
    heights = [1.45, 1.0] if arguments.picture else [1.0, 1.0]
    figure, grid = plt.subplots(len(heights), 3, figsize=(11.5, 2.9 * sum(heights) + 0.7),
                                gridspec_kw={"height_ratios": heights}, layout="constrained")
    if arguments.picture:
        draw_picture(grid[0], read_factors(arguments.run), truth, mean)
        seen = draw_outcome(grid[1], metrics, truth)
    else:
        seen = draw_outcome(grid[0], metrics, truth) | draw_mechanism(grid[1], metrics, truth)
    handles = [Patch(facecolor=PHASES[p][1], edgecolor="0.7", lw=0.5, label=PHASES[p][0]) for p in sorted(seen)]
    if handles:
        band = 0.3 / figure.get_figheight()
        figure.get_layout_engine().set(rect=(0, band, 1, 1 - band))
        figure.legend(handles=handles, loc="lower center", ncol=3, handlelength=3.0, borderaxespad=0.2)
    name = arguments.run.resolve().name
    if arguments.picture:
        name = picture_line(problem, truth)
    title = arguments.title or ": ".join(t for t in (name, summary_line(arguments.run)) if t)
    figure.suptitle(title, fontsize=11)
    figure.savefig(output, dpi=arguments.dpi)
    print(f"written {output}")


if __name__ == "__main__":
    main()
