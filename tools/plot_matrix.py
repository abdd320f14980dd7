#!/usr/bin/python3
"""Draw matrices as pictures: X*, the back-projection of the measurements, what a run recovered, and its error.

    tools/plot_matrix.py DIR                      # DIR/matrix.png
    tools/plot_matrix.py DIR --curves -o all.pdf  # and below them loss, error and singular values
    tools/plot_matrix.py sweep --replica 2        # of many replicas one

X* is shown where the problem file has it. The back-projection 1/m sum_i y_i A_i is the best that one look at the data gives;
it costs a pass over A in numpy and is left out beyond 3e9 entries of A (--back-projection always, never). Matrices of more
than 1000 rows or columns are shown by the means of blocks. The grey levels of a picture (tools/make_picture_problem.py) are
shown as such, other matrices in red and blue around zero.

Exit codes: 0, 64 wrong usage, 65 damaged, 66 missing, 73 cannot write."""

import argparse
import dataclasses
import pathlib
import sys

sys.dont_write_bytecode = True

import numpy as np

import mxsense_plot as mp
import plot_run
from mxsense_io import BAD, MISSING, Error, read_problem, read_run

LARGEST = 1000  # rows or columns of a picture
CHEAP = 3e9  # entries of A: half a minute in numpy


@dataclasses.dataclass
class Picture:
    title: str
    values: np.ndarray
    is_error: bool = False
    own_range: bool = False  # not that of X*


def blocks(side):
    """Means of groups of rows, so that at most LARGEST are left: of a factor, its product's means of blocks."""
    group = -(-len(side) // LARGEST)
    starts = np.arange(0, len(side), group)
    return np.add.reduceat(side, starts) / np.diff(np.r_[starts, len(side)])[:, None]


def reduced(X):
    return blocks(blocks(X).T).T


def product(U, V):
    return blocks(U) @ blocks(V).T


def norm(U, V):
    """||U V^T||_F, accurate also where the factors nearly cancel."""
    return np.linalg.norm(np.linalg.qr(U)[1] @ np.linalg.qr(V)[1].T)


def compare(U, V, truth):
    """(means of blocks of X*, of the error, relative error)."""
    if isinstance(truth, tuple):
        both = np.hstack([U, truth[0]]), np.hstack([V, -truth[1]])
        return product(*truth), product(*both), norm(*both) / norm(*truth)
    error = U @ V.T - truth
    return reduced(truth), reduced(error), np.linalg.norm(error) / np.linalg.norm(truth)


def back_projection(problem, when):
    """Scaled by the mean square of the first entries of A; None where it is not wanted or too dear."""
    work = float(problem.m) * problem.n1 * problem.n2
    if when == "never" or (when == "auto" and work > CHEAP):
        return None
    sample = problem.A(0, min(problem.m, 16)).astype(np.float64)
    return problem.back_projection() / np.mean(sample**2)


def pictures_of(problem, U, V, when):
    truth, shape = problem.truth, (problem.n1, problem.n2)
    pictures, relative = [], None
    if truth is not None:
        original, error, relative = compare(U, V, truth)
        pictures.append(Picture(f"$X^*$, {shape[0]} x {shape[1]}", original))
    data = back_projection(problem, when)
    if data is not None:
        pictures.append(Picture("Back-projection" + away(data, problem.X), reduced(data), own_range=True))
    pictures.append(Picture(f"Recovered, {U.shape[1]} columns", product(U, V)))
    if truth is not None:
        pictures.append(Picture(f"Error, {mp.number(float(f'{relative:.3g}'))} of $X^*$", error, is_error=True))
    return pictures, relative


def away(data, X):
    return "" if X is None else f", error {np.linalg.norm(data - X) / np.linalg.norm(X):.2g} of $X^*$"


def range_of(values, share=99.5):
    limit = float(np.percentile(np.abs(values), share))
    return limit if limit > 0 else float(np.abs(values).max()) or 1.0


def show(axes, picture, common, mean):
    """One matrix. A picture's mean grey level was subtracted before it was measured: it is added again."""
    if mean is not None and not picture.is_error:
        values = picture.values + mean
        low, high = np.percentile(values, (0.5, 99.5)) if picture.own_range else (0.0, 1.0)
        how = {"cmap": "gray", "vmin": low, "vmax": high}
    else:
        limit = range_of(picture.values) if picture.is_error or picture.own_range or common is None else common
        values, how = picture.values, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    tall = values.shape[0] / values.shape[1]
    shown = axes.imshow(values, interpolation="nearest", aspect="equal" if 0.2 < tall < 5 else "auto", **how)
    axes.set_title(picture.title, fontsize=9.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if how["cmap"] != "gray":
        bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.ax.ticklabel_format(scilimits=(-2, 3))
        bar.outline.set_visible(False)


def report(relative, problem, mean):
    """Say what the error amounts to: the rank whose best approximation is as good."""
    X = problem.X
    s2 = np.linalg.svd(X, compute_uv=False) ** 2
    best = np.sqrt(np.cumsum(s2[::-1])[::-1] / s2.sum())  # best[r]: error of the best approximation of rank r
    r = int(np.searchsorted(-best, -relative))
    text = f"relative error {relative:.3g}"
    if mean:
        text += f" ({relative * np.linalg.norm(X) / np.linalg.norm(X + mean):.3g} with the mean grey level counted in)"
    if 0 < r < best.size:
        text += f"; best approximations of X* itself: {best[r - 1]:.3g} with rank {r - 1}, {best[r]:.3g} with rank {r}"
    print(text)


def panels(count, tall, with_bars, with_curves):
    """Axes of the pictures, and of three panels below them."""
    width = 11.55 / max(count, 3)
    size = (width, min(max((0.8 if with_bars else 0.97) * width * tall, 1.6), 5.0))
    if not with_curves:
        figure, axes = mp.figure(1, count, size=size)
        return figure, axes, None
    mp.plt.rcParams.update(mp.STYLE)
    figure = mp.plt.figure(figsize=(11.55, size[1] + mp.PANEL[1] + 0.75), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(size[1] + 0.5, mp.PANEL[1]))
    return figure, np.atleast_1d(upper.subplots(1, count)), lower.subplots(1, 3)


def plot(arguments):
    output = mp.output_path(arguments.output) if arguments.output else arguments.run / "matrix.png"
    run = read_run(arguments.run)
    path = arguments.problem or run.problem
    if path is None:
        raise Error(f"{arguments.run}: its problem file is not there any more: give it with --problem", MISSING)
    problem = read_problem(path)
    if run.replicas > 1 and arguments.replica is None:
        raise Error(f"{arguments.run}: holds {run.replicas} replicas: choose one with --replica, 0 to {run.replicas - 1}", 64)
    U, V = run.factors(arguments.replica or 0)
    if (len(U), len(V)) != (problem.n1, problem.n2):
        raise Error(f"{path}: matrices of {problem.n1} x {problem.n2}, but the run has {len(U)} x {len(V)}", BAD)
    mean = problem.attributes.get("picture_mean")
    pictures, relative = pictures_of(problem, U, V, arguments.back_projection)
    figure, axes, below = panels(len(pictures), problem.n1 / problem.n2, mean is None, arguments.curves)
    common = None if problem.truth is None else range_of(pictures[0].values, 100)
    for panel, picture in zip(axes, pictures):
        show(panel, picture, common, mean)
    if below is not None:
        curve = plot_run.curves_of(arguments.run, arguments.problem)[1][arguments.replica or 0]
        plot_run.phase_legend(figure, plot_run.draw_outcome(below, curve.metrics, curve.truth_values))
    unknowns = problem.n1 * problem.n2
    mp.title(figure, f"{unknowns} unknowns from {problem.m} measurements ({problem.m / unknowns:.1%})" if arguments.title is None else arguments.title)
    if relative is not None and unknowns <= 4e6:
        report(relative, problem, mean)
    mp.save(figure, output, "plot_matrix.py", arguments.dpi)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=pathlib.Path, help="run directory, or replica_<r> in one")
    mp.add_output(parser, "matrix.png in the run directory")
    parser.add_argument("--replica", type=int, metavar="R", help="of many replicas this one")
    parser.add_argument("--problem", type=pathlib.Path, metavar="FILE", help="problem file, if not where config.yaml says")
    parser.add_argument("--curves", action="store_true", help="loss, error and singular values below the pictures")
    parser.add_argument("--back-projection", choices=["auto", "always", "never"], default="auto", help="auto: where a pass over A is cheap")
    mp.run(parser, plot)


if __name__ == "__main__":
    main()
