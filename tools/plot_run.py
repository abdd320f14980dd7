#!/usr/bin/python3
"""Draw a run: loss, errors, singular values, balance and angles over the iterations, the three phases shaded.

    tools/plot_run.py DIR                     # writes DIR/run.png
    tools/plot_run.py DIR -o figure.pdf       # or .svg, .png
    tools/plot_run.py DIR --picture           # original, recovered and error as pictures; loss, error, spectrum
    tools/plot_run.py DIR/replica_3           # one of many runs that advanced together, like any other

A run directory with many replicas gives the residuals and errors of all of them, and what they came to over what they
differ in. One of them alone is drawn like any run.

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


def number_of(replica):
    return int(re.fullmatch(r"replica_(\d+)", replica)[1])


def is_replica(path):
    """Is this the directory of one of many replicas?"""
    return path.is_dir() and re.fullmatch(r"replica_\d+", path.resolve().name) and (path.resolve().parent / "config.yaml").is_file()


def run_of(path):
    """The directory with config.yaml and checkpoint.h5."""
    return path.resolve().parent if is_replica(path) else path


def read_table(path):
    with open(path) as file:
        names = file.readline().strip().split(",")
        rows = [line.split(",") for line in file if line.endswith("\n")]
    values = np.array([row for row in rows if len(row) == len(names)], dtype=float).reshape(-1, len(names))
    return dict(zip(names, values.T))


def read_group(group):
    return {name: np.atleast_1d(column[()]).astype(float) for name, column in group.items()}


def read_metrics(path):
    """Columns of a run's metrics as arrays by name."""
    if path.is_dir() and (path / "metrics.csv").is_file():
        return read_table(path / "metrics.csv")
    checkpoint = run_of(path) / "checkpoint.h5" if path.is_dir() else path
    if not checkpoint.is_file():
        fail(f"no metrics.csv and no checkpoint.h5 in {path}")
    group = f"{path.resolve().name}/metrics" if is_replica(path) else "metrics"
    with h5py.File(checkpoint, "r") as f:
        if group not in f:
            fail(f"{checkpoint} holds no {group}")
        return read_group(f[group])


def read_replicas(path):
    """Metrics of each of many replicas; an empty list where there is one."""
    if path.is_dir() and not (path / "metrics.csv").is_file():
        names = sorted((p.parent.name for p in path.glob("replica_*/metrics.csv") if re.fullmatch(r"replica_\d+", p.parent.name)), key=number_of)
        if names:
            return [read_table(path / name / "metrics.csv") for name in names]
    checkpoint = path / "checkpoint.h5" if path.is_dir() else path
    if is_replica(path) or not checkpoint.is_file():
        return []
    with h5py.File(checkpoint, "r") as f:
        names = sorted((name for name in f if re.fullmatch(r"replica_\d+", name)), key=number_of)
        return [read_group(f[name]["metrics"]) for name in names]


def read_factors(path):
    folder = f"{path.resolve().name}/" if is_replica(path) else ""
    with h5py.File(run_of(path) / "checkpoint.h5" if path.is_dir() else path, "r") as f:
        if f"{folder}factors/U" not in f:
            fail(f"{path} holds many replicas: give the directory of one, such as {path}/replica_0")
        return f[f"{folder}factors/U"][()], f[f"{folder}factors/V"][()]


def problem_path(path, given):
    """The problem file: given, or named in the run's config.yaml."""
    if given is not None:
        return given
    config = run_of(path) / "config.yaml"
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


# ---------------------------------------------------------------- many replicas

PALETTE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "#000000", "#7F7F7F")
SYMBOLS = {"alpha": "start scale $\\alpha$", "step": "step $\\mu$", "k": "columns $k$", "seed": "seed"}


def settings_of(path, count):
    """Values of alpha, step, k and seed for each replica, of those that differ."""
    config = path / "config.yaml"
    text = config.read_text() if path.is_dir() and config.is_file() else ""
    given = dict(re.findall(r"^(alpha|step|k|seed): (.*)$", text, re.MULTILINE))
    lists = {key: [float(v) for v in given[key][1:-1].split(",")] for key in SYMBOLS if given.get(key, "").startswith("[")}
    lists = {key: values for key, values in lists.items() if len(values) == count and len(set(values)) > 1}
    return lists or {"seed": [float(given.get("seed", 0)) + r for r in range(count)]}


def residual_factors(path, replicas):
    """sqrt(loss) to relative residual, the same for all; None where no summary tells."""
    summary = path / "summary.json"
    if not (path.is_dir() and summary.is_file()):
        return None
    for one in json.loads(summary.read_text()).get("replicas", []):
        if one.get("loss") and one.get("relative_residual"):
            return one["relative_residual"] / np.sqrt(one["loss"])
    return None


def diverged_of(path, count):
    summary = path / "summary.json"
    listed = json.loads(summary.read_text()).get("replicas", []) if path.is_dir() and summary.is_file() else []
    return [r < len(listed) and listed[r].get("reason") == "diverged" for r in range(count)]


def colors_of(values):
    """A color for each replica, and the scale where there are too many for a legend."""
    if len(values) <= len(PALETTE):
        return list(PALETTE[: len(values)]), None
    norm = matplotlib.colors.LogNorm if min(values) > 0 and max(values) > 20 * min(values) else matplotlib.colors.Normalize
    scale = matplotlib.cm.ScalarMappable(norm(min(values), max(values)), matplotlib.colors.ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 0.9, 256))))
    return [scale.to_rgba(value) for value in values], scale


def draw_lines(axes, replicas, values, colors, labels, diverged):
    """One line for each replica, in the color of what it differs in."""
    width = 1.6 if len(replicas) <= len(PALETTE) else 0.8
    drawn = False
    for metrics, value, color, label, lost in zip(replicas, values, colors, labels, diverged):
        good = np.isfinite(value) & (value > 0)
        if not good.any():
            continue
        drawn = True
        t = metrics["iteration"]
        axes.plot(t, np.where(good, value, np.nan), color=color, lw=width, label=label, ls="--" if lost else "-")
        end = np.flatnonzero(good)[-1]
        axes.plot(t[end], value[end], color=color, marker="x" if lost else "o", ms=6 if lost else 3.5, ls="none", zorder=3)
    return drawn


def finish_lines(axes, title, ylabel, drawn):
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("iteration")
    if drawn:
        axes.set_yscale("log")
        axes.margins(x=0.02)
    else:
        axes.text(0.5, 0.5, "not defined for these runs", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])
    axes.grid(True, which="major", color="0.85", lw=0.6)


def draw_outcomes(axes, key, values, ends, colors, diverged, ylabel):
    """What each replica came to, over what they differ in."""
    good = [r for r, end in enumerate(ends) if np.isfinite(end) and end > 0 and not diverged[r]]
    for r in good:
        axes.plot(values[r], ends[r], color=colors[r], marker="o", ms=6 if len(ends) <= len(PALETTE) else 4, ls="none", zorder=3)
    for r in (r for r, lost in enumerate(diverged) if lost):
        axes.plot(values[r], 0.97, color=colors[r], marker="x", ms=7, ls="none", transform=axes.get_xaxis_transform(), zorder=3)
    if any(diverged):
        axes.set_title("What they came to (x: diverged)")
    else:
        axes.set_title("What they came to")
    axes.set_xlabel(SYMBOLS[key])
    axes.set_ylabel(ylabel)
    if good:
        axes.set_yscale("log")
    if min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
    elif key in ("k", "seed"):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.06, y=0.12)
    axes.grid(True, which="major", color="0.85", lw=0.6)


def plot_replicas(path, replicas, title, output, dpi):
    count = len(replicas)
    settings = settings_of(path, count)
    key = next(iter(settings))
    colors, scale = colors_of(settings[key])
    labels = [f"{r}: " + ", ".join(f"{name} {values[r]:g}" for name, values in settings.items()) for r in range(count)]
    diverged = diverged_of(path, count)
    factor = residual_factors(path, replicas)
    residuals = [(1.0 if factor is None else factor) * (metrics["loss"] if factor is None else np.sqrt(metrics["loss"])) for metrics in replicas]
    errors = [metrics.get("test_error", np.full_like(metrics["loss"], np.nan)) for metrics in replicas]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11.5, 4.0), layout="constrained")
    residual_name = "loss" if factor is None else r"relative residual $\Vert R\Vert\,/\,\Vert y\Vert$"
    drawn = draw_lines(left, replicas, residuals, colors, labels, diverged)
    finish_lines(left, "Loss" if factor is None else "Residual", residual_name, drawn)
    error_name = r"$\Vert UV^T-X^*\Vert _F\,/\,\Vert X^*\Vert _F$"
    has_error = draw_lines(middle, replicas, errors, colors, labels, diverged)
    finish_lines(middle, "Error of the matrix", error_name, has_error)
    ends = [values[-1] if values.size else np.nan for values in (errors if has_error else residuals)]
    draw_outcomes(right, key, settings[key], ends, colors, diverged, error_name if has_error else residual_name)
    if scale is None:
        handles, names = left.get_legend_handles_labels()
        columns = 4 if max(map(len, names), default=0) < 28 else 2
        band = (0.2 + 0.19 * -(-len(names) // columns)) / figure.get_figheight()
        figure.get_layout_engine().set(rect=(0, band, 1, 1 - band))
        figure.legend(handles, names, loc="lower center", ncol=columns, borderaxespad=0.2)
    else:
        figure.colorbar(scale, ax=right, label=SYMBOLS[key], pad=0.02)
    figure.suptitle(title, fontsize=11)
    figure.savefig(output, dpi=dpi)
    print(f"written {output}")


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

    plt.rcParams.update(STYLE)
    output = arguments.output
    if output is None:
        output = (arguments.run if arguments.run.is_dir() else arguments.run.parent) / "run.png"
    replicas = read_replicas(arguments.run)
    if replicas and not arguments.picture:
        line = f"{len(replicas)} replicas, " + summary_line(arguments.run).replace("relative residual", "best relative residual")
        title = arguments.title or f"{arguments.run.resolve().name}: {line.rstrip(', ')}"
        plot_replicas(arguments.run, replicas, title, output, arguments.dpi)
        return
    if replicas:
        fail(f"{arguments.run} holds many replicas: give the directory of one, such as {arguments.run}/replica_0")

    metrics = read_metrics(arguments.run)
    if metrics["iteration"].size == 0:
        fail(f"{arguments.run} holds no metrics rows yet")
    problem = problem_path(arguments.run, arguments.problem)
    truth, mean = read_truth(problem)
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
    if is_replica(arguments.run):
        name = f"{run_of(arguments.run).name}, replica {number_of(name)}"
    if arguments.picture:
        name = picture_line(problem, truth)
    title = arguments.title or ": ".join(t for t in (name, summary_line(arguments.run)) if t)
    figure.suptitle(title, fontsize=11)
    figure.savefig(output, dpi=arguments.dpi)
    print(f"written {output}")


if __name__ == "__main__":
    main()
