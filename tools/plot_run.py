#!/usr/bin/python3
"""Draw runs: loss, errors, singular values, balance and angles over the iterations.

    tools/plot_run.py DIR                     # one run, its three phases shaded: DIR/run.png
    tools/plot_run.py DIR -o figure.pdf       # or .svg, .png
    tools/plot_run.py gd nesterov -o two.png  # several runs in the same panels, with a legend; marks where phases begin
    tools/plot_run.py sweep                   # many replicas: all residuals and errors, and what they came to
    tools/plot_run.py sweep/replica_3         # one of them, like any run

A run that goes on is drawn as far as it is. The iteration axis is logarithmic where the first two phases end in the first
tenth of the run. Reads metrics.csv, or the history in checkpoint.h5 (such a file may be given in place of a directory), and
X* where the problem file has it. Several runs: singular values are the r-th and the next one, r the rank of X* or the
estimated one; angles are the larger one of left and right. Pictures of the matrices: tools/plot_matrix.py.

Exit codes: 0, 64 wrong usage, 65 damaged, 66 missing, 73 cannot write."""

import argparse
import dataclasses
import pathlib
import re
import sys

sys.dont_write_bytecode = True

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

import mxsense_plot as mp
from mxsense_io import MISSING, WRONG, Error, read_metrics, read_problem, read_run

PHASES = {1: ("1 alignment", "#E8F1F8"), 2: ("2 saddle avoidance", "#FDF1D6"), 3: ("3 refinement", "#E3F3EC")}
FEW = 12  # rows: each is marked on its line
MANY = len(mp.PALETTE)  # more lines than that get a colour scale, or thin lines


@dataclasses.dataclass
class Curve:
    """The metrics of one run or replica, and what is known of it."""
    label: str
    metrics: dict
    truth_values: np.ndarray  # singular values of X*, none where it is not known
    rank: int = None
    summary: dict = dataclasses.field(default_factory=dict)

    @property
    def diverged(self):
        return self.summary.get("reason") == "diverged"


# ---------------------------------------------------------------- reading


def truth_of(run, given):
    """Singular values of X*; none where no problem file has it."""
    path = given or (run.problem if run is not None else None)
    if path is None:
        return np.zeros(0)
    truth = read_problem(path).truth
    if truth is None:
        return np.zeros(0)
    if isinstance(truth, tuple):
        (_, left), (_, right) = (np.linalg.qr(side) for side in truth)
        return np.linalg.svd(left @ right.T, compute_uv=False)
    return np.linalg.svd(truth, compute_uv=False)


def has_full_rank(values, metrics):
    """Of X*: then no rank is to be found, and every leading subspace is of little interest."""
    shown = sum(bool(re.fullmatch(r"sigma_\d+", name)) for name in metrics)
    return values.size > shown and values[-1] > 1e-8 * values[0]


def curves_of(path, given):
    """(run or None, a curve for each replica) of a run directory, a replica's directory or a checkpoint file."""
    if path.is_file():
        metrics = read_metrics(path)
        return None, [Curve(path.name, checked(metrics, path), truth_of(None, given))]
    run = read_run(path)
    values = truth_of(run, given)
    curves = []
    for replica in range(run.replicas):
        summary = run.summary_of(replica)
        label = run.name if run.replicas == 1 else f"{run.name}, replica {replica}"
        rank = int((values > 1e-8 * values[0]).sum()) if values.size else summary.get("rank_estimate")
        curves.append(Curve(label, checked(run.metrics(replica), path), values, rank, summary))
    return run, curves


def checked(metrics, path):
    if metrics.get("iteration", np.zeros(0)).size == 0:
        raise Error(f"{path}: holds no rows of metrics yet", MISSING)
    return metrics


def outcome(summary):
    parts = [f"{summary['iterations']} iterations, ended by {summary['reason']}"] if summary.get("reason") else ["not ended"]
    for key, text in (("relative_residual", "relative residual"), ("test_error", "relative error")):
        if isinstance(summary.get(key), (int, float)):
            parts.append(f"{text} {mp.number(float(f'{summary[key]:.3g}'))}")
    return ", ".join(parts)


# ---------------------------------------------------------------- one run


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


def draw(axes, metrics, column, label, color, log=True, **how):
    """One column as a line; True if there was anything to draw."""
    value = metrics.get(column, np.full(metrics["iteration"].shape, np.nan))
    good = np.isfinite(value) & ((value > 0) if log else True)
    if not good.any():
        return False
    how = {"marker": "o" if good.sum() <= FEW else None, "ms": 3.5, **how}
    axes.plot(metrics["iteration"], np.where(good, value, np.nan), color=color, label=label, **how)
    return True


def name_panel(axes, title, ylabel, drawn, log=True):
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("iteration")
    mp.grid(axes)
    if not drawn:
        mp.nothing(axes, "not defined here")
    elif log:
        mp.log(axes, "y")


def finish(axes, metrics, title, ylabel, drawn, log=True):
    """Names, scales and phases of a panel of one run."""
    name_panel(axes, title, ylabel, drawn, log)
    t = metrics["iteration"]
    if len(t) > 1 and early_phases(metrics):
        axes.set_xlim(t[t > 0][0], t[-1])
        mp.log(axes, "x")
    elif len(t) > 1:
        axes.set_xlim(t[0], t[-1])
    else:
        axes.set_xticks(t)
    return shade_phases(axes, metrics)


def draw_reference(axes, value, text, curve_end):
    """A dashed level with its name at the right, on the side where the curve does not end."""
    axes.axhline(value, color=mp.GREY, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    below = value < curve_end < 1.3 * value
    axes.annotate(text, (1.0, value), xycoords=axes.get_yaxis_transform(), xytext=(-3, -2 if below else 2),
                  textcoords="offset points", ha="right", va="top" if below else "bottom", fontsize=7.5, color="0.25")


def draw_best_ranks(axes, metrics, s):
    """Errors of the best approximations of an X* of full rank."""
    for r in (2, 5, 10, 20, 40):
        if r < s.size:
            best = np.sqrt((s[r:] ** 2).sum() / (s**2).sum())
            draw_reference(axes, best, f"best rank {r}", metrics["test_error"][-1])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_singular_values(axes, metrics, truth_values):
    names = sorted((n for n in metrics if re.fullmatch(r"sigma_\d+", n) and (metrics[n] > 0).any()), key=lambda n: int(n[6:]))
    colors = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, max(len(names), 2)))
    drawn = False
    for i, column in enumerate(names):
        label = f"$\\sigma_{{{column[6:]}}}$" if i in (0, len(names) - 1) else None
        drawn |= draw(axes, metrics, column, label, colors[i], lw=1.2)
    for i, value in enumerate(truth_values[: len(names)]):
        axes.axhline(value, color=mp.GREY, lw=0.8, ls=(0, (4, 3)), zorder=1.5, label="of $X^*$" if i == 0 else None)
    if drawn:
        axes.legend(loc="best", ncol=3, handlelength=1.6, columnspacing=1.0)
    return drawn


def draw_outcome(axes, metrics, s):
    """Loss, error and singular values; the set of phases seen. s: singular values of X*, or none."""
    loss, error, values = axes
    drawn = draw(loss, metrics, "loss", "training", mp.BLUE)
    if draw(loss, metrics, "validation_loss", "held out", mp.ORANGE, ls=mp.DASHES[1]):
        loss.legend(loc="upper right")
    seen = finish(loss, metrics, "Loss", mp.name("loss"), drawn)

    drawn = draw(error, metrics, "test_error", None, mp.BLUE)
    seen |= finish(error, metrics, "Error of the matrix", mp.name("test_error"), drawn)
    if drawn and has_full_rank(s, metrics):
        draw_best_ranks(error, metrics, s)

    drawn = draw_singular_values(values, metrics, s[s > 1e-8 * s[0]] if s.size else s)
    seen |= finish(values, metrics, "Leading singular values of $UV^T$", "singular value (units of $X$)", drawn)
    return seen


def draw_mechanism(axes, metrics, s):
    """Balance, angles and effective rank; the set of phases seen."""
    balance, angles, rank = axes
    drawn = draw(balance, metrics, "grad_norm", r"gradient $\Vert (dU,dV)\Vert _F$", mp.BLUE)
    drawn |= draw(balance, metrics, "imbalance", r"imbalance $\Vert U^TU-V^TV\Vert _2$", mp.RED, ls=mp.DASHES[1])
    if drawn:
        balance.legend(loc="best")
    seen = finish(balance, metrics, "Gradient and balance of the factors", "norm", drawn)

    columns = (("angle_left", "left, to $X^*$", mp.BLUE, "-"), ("angle_right", "right, to $X^*$", mp.SKY, "-"),
               ("angle_data_left", "left, to $A^*(y)$", mp.RED, mp.DASHES[1]),
               ("angle_data_right", "right, to $A^*(y)$", mp.ORANGE, mp.DASHES[1]))
    drawn = False
    for column, label, color, style in () if has_full_rank(s, metrics) else columns:
        drawn |= draw(angles, metrics, column, label, color, ls=style)
    if drawn:
        angles.legend(loc="best")
    seen |= finish(angles, metrics, "Leading singular subspaces of $UV^T$", "largest principal angle (rad)", drawn)

    drawn = draw(rank, metrics, "effective_rank", None, mp.GREEN, log=False)
    seen |= finish(rank, metrics, "Effective rank of $UV^T$", "exp(entropy of the spectrum)", drawn, log=False)
    if drawn:
        rank.set_ylim(0, 1.1 * np.nanmax(metrics["effective_rank"]))
    return seen


def phase_legend(figure, seen):
    mp.legend_below(figure, handles=[Patch(facecolor=PHASES[p][1], edgecolor="0.7", lw=0.5, label=PHASES[p][0]) for p in sorted(seen)])


def plot_one(curve):
    figure, axes = mp.figure(2, 3)
    seen = draw_outcome(axes[0], curve.metrics, curve.truth_values) | draw_mechanism(axes[1], curve.metrics, curve.truth_values)
    phase_legend(figure, seen)
    return figure, f"{curve.label}: {outcome(curve.summary)}" if curve.summary else curve.label


# ---------------------------------------------------------------- several runs


def phase_starts(metrics):
    """Rows at which phases 2 and 3 begin."""
    phase = metrics.get("phase", np.zeros(0))
    return {p: int(np.argmax(phase == p)) for p in (2, 3) if (phase == p).any() and phase[0] != p}


def draw_compared(axes, curves, looks, columns, title, ylabel, log=True):
    """The first column of each curve as its line, the second, thinner; ends and beginnings of phases marked."""
    drawn = False
    for curve, look in zip(curves, looks):
        values = [column(curve) if callable(column) else curve.metrics.get(column) for column in columns]
        for value, width in zip(values, (1.6, 0.8)):
            if value is None:
                continue
            good = np.isfinite(value) & ((value > 0) if log else True)
            if not good.any():
                continue
            drawn = True
            t, shown = curve.metrics["iteration"], np.where(good, value, np.nan)
            axes.plot(t, shown, color=look["color"], ls=look["ls"], lw=width)
            if width == 1.6:
                last = np.flatnonzero(good)[-1]
                axes.plot(t[last], value[last], color=look["color"], marker="x" if curve.diverged else look["marker"], ls="none", ms=5.5, zorder=4)
                for phase, row in phase_starts(curve.metrics).items():
                    axes.plot(t[row], shown[row], marker="|" if phase == 2 else "d", color=look["color"], mfc="white", ms=8 if phase == 2 else 5,
                              mew=1.2, ls="none", zorder=3)
    name_panel(axes, title, ylabel, drawn, log)


def singular_value(offset):
    def column(curve):
        return curve.metrics.get(f"sigma_{curve.rank + offset}") if curve.rank else None
    return column


def larger_angle(curve):
    sides = [curve.metrics[column] for column in ("angle_left", "angle_right") if column in curve.metrics]
    if not sides or np.isnan(sides).all():
        sides = [curve.metrics[column] for column in ("angle_data_left", "angle_data_right") if column in curve.metrics]
    return np.maximum(*sides) if len(sides) == 2 else None


def plot_compared(curves):
    figure, axes = mp.figure(2, 3)
    looks = mp.lines(len(curves))
    panels = ((("loss",), "Loss", mp.name("loss"), True), (("test_error",), "Error of the matrix", mp.name("test_error"), True),
              ((singular_value(0), singular_value(1)), "Singular values $r$ and $r+1$ (thin) of $UV^T$", "singular value (units of $X$)", True),
              (("validation_loss",), "Held-out loss", mp.name("loss"), True),
              (("imbalance",), "Balance of the factors", r"$\Vert U^TU-V^TV\Vert _2$", True),
              ((larger_angle,), "Leading singular subspaces of $UV^T$", "largest principal angle (rad)", True))
    if not any(np.isfinite(curve.metrics.get("validation_loss", np.nan)).any() for curve in curves):
        panels = (*panels[:3], (("effective_rank",), "Effective rank of $UV^T$", "exp(entropy of the spectrum)", False), *panels[4:])
    for panel, (columns, title, ylabel, log) in zip(axes.ravel(), panels):
        draw_compared(panel, curves, looks, columns, title, ylabel, log)
    for panel in axes.ravel():
        ends = [curve.metrics["iteration"][-1] for curve in curves]
        if max(ends) > 30 * max(1, min(ends)):
            panel.set_xscale("symlog", linthresh=10, linscale=0.6)
            panel.set_xlim(left=0)
            panel.xaxis.set_minor_locator(NullLocator())
    handles = [Line2D([], [], label=curve.label, **look) for curve, look in zip(curves, looks)]
    seen = {phase for curve in curves for phase in phase_starts(curve.metrics)}
    marks = {2: ("|", "phase 2 begins: saddle avoidance"), 3: ("d", "phase 3 begins: refinement")}
    handles += [Line2D([], [], color=mp.GREY, marker=marks[p][0], mfc="white", ls="none", label=marks[p][1]) for p in sorted(seen)]
    if any(curve.diverged for curve in curves):
        handles.append(Line2D([], [], color=mp.GREY, marker="x", ls="none", label="diverged"))
    mp.legend_below(figure, handles=handles)
    return figure, ""


# ---------------------------------------------------------------- many replicas


def what_differs(run):
    """Values of alpha, step, k and seed for each replica, of those that differ."""
    given = [run.settings_of(replica) for replica in range(run.replicas)]
    values = {key: [one.get(key) for one in given] for key in ("alpha", "step", "k", "seed")}
    values = {key: [float(value) for value in column] for key, column in values.items()
              if all(isinstance(value, (int, float)) for value in column) and len(set(column)) > 1}
    return values or {"replica": [float(replica) for replica in range(run.replicas)]}


def residual_factor(curves):
    """From sqrt(loss) to the relative residual, the same for all; None where no summary tells."""
    for curve in curves:
        if curve.summary.get("loss") and curve.summary.get("relative_residual"):
            return curve.summary["relative_residual"] / np.sqrt(curve.summary["loss"])
    return None


def draw_lines(axes, curves, values, looks):
    """One line for each replica."""
    drawn = False
    for curve, value, look in zip(curves, values, looks):
        good = np.isfinite(value) & (value > 0)
        if not good.any():
            continue
        drawn = True
        t, end = curve.metrics["iteration"], np.flatnonzero(good)[-1]
        axes.plot(t, np.where(good, value, np.nan), color=look["color"], lw=1.6 if len(curves) <= MANY else 0.8, label=curve.label,
                  ls=mp.DASHES[1] if curve.diverged else "-")
        axes.plot(t[end], value[end], color=look["color"], marker="x" if curve.diverged else look["marker"],
                  ms=6 if curve.diverged else 4.5 if len(curves) <= MANY else 3, ls="none", zorder=3)
    return drawn


def draw_ends(axes, key, values, ends, curves, looks, ylabel):
    """What each replica came to, over what they differ in."""
    good = [r for r, end in enumerate(ends) if np.isfinite(end) and end > 0 and not curves[r].diverged]
    for r in good:
        axes.plot(values[r], ends[r], color=looks[r]["color"], marker=looks[r]["marker"], ms=6 if len(ends) <= MANY else 4, ls="none", zorder=3)
    lost = [r for r, curve in enumerate(curves) if curve.diverged]
    for r in lost:
        axes.plot(values[r], 0.97, color=looks[r]["color"], marker="x", ms=7, ls="none", transform=axes.get_xaxis_transform(), zorder=3)
    axes.set_title("What they came to (x: diverged)" if lost else "What they came to")
    axes.set_xlabel(mp.name(key))
    axes.set_ylabel(ylabel)
    axes.margins(x=0.06, y=0.12)
    if good:
        mp.log(axes, "y")
    if min(values) > 0 and max(values) > 20 * min(values):
        mp.log(axes, "x")
    elif key in ("k", "seed", "replica"):
        axes.xaxis.get_major_locator().set_params(integer=True)
    mp.grid(axes)


def looks_of(values):
    """A colour and marker for each replica, and the scale where there are too many for a legend."""
    if len(values) <= MANY:
        return mp.lines(len(values)), None
    colors, scale = mp.shades(values)
    return [{"color": color, "marker": "o"} for color in colors], scale


def plot_replicas(run, curves):
    settings = what_differs(run)
    key = next(iter(settings))
    looks, scale = looks_of(settings[key])
    for replica, curve in enumerate(curves):
        curve.label = f"{replica}: " + ", ".join(f"{mp.short(column)} {mp.number(values[replica])}" for column, values in settings.items())
    factor = residual_factor(curves)
    residuals = [curve.metrics["loss"] if factor is None else factor * np.sqrt(curve.metrics["loss"]) for curve in curves]
    errors = [curve.metrics.get("test_error", np.full_like(curve.metrics["loss"], np.nan)) for curve in curves]
    figure, (left, middle, right) = mp.figure(1, 3, size=(3.85, 3.4))
    residual_name = mp.name("loss" if factor is None else "relative_residual")
    drawn = draw_lines(left, curves, residuals, looks)
    name_panel(left, "Loss" if factor is None else "Residual", residual_name, drawn)
    has_error = draw_lines(middle, curves, errors, looks)
    name_panel(middle, "Error of the matrix", mp.name("test_error"), has_error)
    ends = [values[-1] for values in (errors if has_error else residuals)]
    draw_ends(right, key, settings[key], ends, curves, looks, mp.name("test_error") if has_error else residual_name)
    if scale is None:
        mp.legend_below(figure, left)
    else:
        figure.colorbar(scale, ax=right, label=mp.name(key), pad=0.02)
    line = outcome(run.summary).replace("relative residual", "best relative residual")
    return figure, f"{run.name}: {run.replicas} replicas, {line}"


# ---------------------------------------------------------------- the command


def label_curves(curves, paths, given):
    """Names of several runs: given, or those of the directories, longer where two are the same."""
    if given:
        if len(given) != len(curves):
            raise Error(f"--labels: {len(given)} labels for {len(curves)} runs", WRONG)
        for curve, label in zip(curves, given):
            curve.label = label
    elif len({curve.label for curve in curves}) < len(curves) and len(curves) == len(paths):
        for curve, path in zip(curves, paths):
            curve.label = str(path)


def plot(arguments):
    output = mp.output_path(arguments.output) if arguments.output else None
    for path in arguments.runs:
        if not path.exists():
            raise Error(f"{path}: no such file or directory", MISSING)
    if arguments.problem is not None and not arguments.problem.is_file():
        raise Error(f"{arguments.problem}: no such file", MISSING)
    if output is None and len(arguments.runs) > 1:
        raise Error("-o: say where to draw several runs", WRONG)
    found = [curves_of(path, arguments.problem) for path in arguments.runs]
    run, curves = found[0]
    if len(found) > 1:
        curves = [curve for _, some in found for curve in some]
        label_curves(curves, arguments.runs, arguments.labels)
        figure, title = plot_compared(curves)
    elif len(curves) > 1:
        figure, title = plot_replicas(run, curves)
    else:
        figure, title = plot_one(curves[0])
    mp.title(figure, title if arguments.title is None else arguments.title)
    first = arguments.runs[0]
    mp.save(figure, output or (first if first.is_dir() else first.parent) / "run.png", "plot_run.py", arguments.dpi)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=pathlib.Path, help="run directory, replica_<r> in one, or a checkpoint file")
    mp.add_output(parser, "run.png in the run directory; needed for several runs")
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="of several runs, in their order (default: names of the directories)")
    parser.add_argument("--problem", type=pathlib.Path, metavar="FILE", help="problem file, if not where config.yaml says")
    mp.run(parser, plot)


if __name__ == "__main__":
    main()
