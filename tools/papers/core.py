"""What the cards of verify-papers share: running studies, reading what they leave, checks and verdicts, pictures.

A card has measure(work) -> data (a dictionary of arrays), judge(data) -> [Check], draw(data, figure). measure runs the program and
reads; judge sees nothing but numbers, so that tests can hand it numbers for which the claim is false."""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import mxsense_io
import mxsense_plot as mp
from mxsense_ensembles import sense

SIZES = ("tiny", "small", "full")
COLORS, MARKERS, ticks = mp.PALETTE, mp.MARKERS, mp.ticks


class Failure(Exception):
    """A command of the program that went wrong; its text is for the user."""

    def __init__(self, text, code=70):
        super().__init__(text)
        self.code = code


@dataclasses.dataclass
class Check:
    """One number beside what is claimed. A control shows that the check can fail: there the property is absent, and must not be seen."""
    name: str
    value: str
    expected: str
    passed: bool
    control: bool = False

    def __post_init__(self):
        self.passed = bool(self.passed)


@dataclasses.dataclass
class Card:
    name: str
    title: str
    source: str      # where the property is stated
    claim: str       # in words
    settings: str    # ours, and the conventions that differ
    control: str     # what would make it fail
    measure: callable
    judge: callable
    draw: callable
    panels: int = 1


def verdict(checks):
    """Verified only if every number is as claimed, and every control lacks the property."""
    return "verified" if checks and all(check.passed for check in checks) else "not seen"


# ---------------------------------------------------------------- running


class Work:
    """Directory, size and program of one call; every command in it goes on where an earlier call stopped."""

    def __init__(self, directory, size, program, processes=1):
        self.directory, self.size, self.program = pathlib.Path(directory).resolve(), size, program
        self.processes = processes
        self.commits = set()
        self.pool = concurrent.futures.ThreadPoolExecutor(processes)
        self.running, self.lock = set(), threading.Lock()

    def folder(self, *parts):
        path = self.directory.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, *words, cwd=None, accept=(0,)):
        command = [str(self.program), *map(str, words)]
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={"OPENBLAS_NUM_THREADS": "1", **os.environ})
        with self.lock:
            self.running.add(process)
        try:
            _, messages = process.communicate()
        finally:
            with self.lock:
                self.running.discard(process)
        if process.returncode not in accept:
            last = messages.strip().splitlines()[-1:] or ["no message"]
            raise Failure(f"{' '.join(command)}: exit code {process.returncode}: {last[0]}",
                          process.returncode if process.returncode > 0 else 70)

    def stop(self):
        """The programs that run: each writes a checkpoint and ends."""
        with self.lock:
            for process in self.running:
                process.terminate()

    def every(self, function, items):
        """function of each item, `processes` at a time, in order; the first failure ends it."""
        futures = [self.pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def study(self, card):
        """Table of the study of a card whose problems `mxsense gen` plants."""
        folder = self.folder(card)
        common = [ROOT / "jobs" / "papers" / f"{card}.yaml", "--size", self.size, "--quiet", "-o", folder]
        parts = self.processes
        self.every(lambda part: self.run("study", *common, "--part", f"{part}/{parts}"), range(1, parts + 1))
        if parts > 1:
            self.run("study", "--collect", "-o", folder)
        return self.table(folder)

    def study_each(self, card, count, prepare):
        """Tables of the study of a card on `count` problems of its own, each in its folder; prepare(folder, seed) writes what is
        not there yet."""
        def one(seed):
            folder = self.folder(card, f"{self.size}_{seed:02d}")
            prepare(folder, seed)
            self.run("study", ROOT / "jobs" / "papers" / f"{card}.yaml", "--size", self.size, "--quiet", "-o", "study", cwd=folder)
            return self.table(folder / "study")
        return self.every(one, range(count))

    def table(self, folder):
        """The study's table as a list of Points."""
        columns = mxsense_io.read_table(folder / "table.csv")
        self.commits |= {str(commit) for commit in columns.get("commit", [])}
        names = list(columns)
        return [Point(folder, dict(zip(names, row))) for row in zip(*columns.values())]

    def solve(self, directory, problem, **settings):
        """One run of `mxsense solve`, unless it has ended already."""
        words = [word for key, value in settings.items() for word in (f"--{key}", f"{value:.12g}" if isinstance(value, float) else value)]
        run = mxsense_io.read_run(directory) if (directory / "config.yaml").is_file() else None
        if run is None or not run.finished:
            self.run("solve", "--problem", problem, *words, "--quiet", "-o", directory, accept=(0, 76))
            run = mxsense_io.read_run(directory)
        return run


class Point:
    """A row of a study's table, and its run."""

    def __init__(self, folder, row):
        self.folder, self.row = folder, row

    def __getitem__(self, name):
        return self.row[name]

    @property
    def directory(self):
        return self.folder / str(self.row["run"])

    @property
    def replica(self):
        return max(int(self.row["replica"]), 0)

    @property
    def alone(self):
        return int(self.row["replica"]) < 0

    def run(self):
        return mxsense_io.read_run(self.directory)

    def metrics(self):
        return self.run().metrics(self.replica)

    def problem(self):
        run = self.run()
        path = pathlib.Path(str(run.settings["problem"]))
        return mxsense_io.read_problem(path if path.is_absolute() else self.folder / path)


def grid(points, *axes):
    """Points in an array: an axis for each column named, in the order of the table, the repeats last. Also the values of the axes."""
    values = [list(dict.fromkeys(point[axis] for point in points)) for axis in axes]
    cells = {}
    for point in points:
        cells.setdefault(tuple(value.index(point[axis]) for value, axis in zip(values, axes)), []).append(point)
    repeats = min(map(len, cells.values()))
    out = np.empty((*map(len, values), repeats), dtype=object)
    for place in np.ndindex(out.shape[:-1]):
        if place not in cells:
            raise Failure(f"the table has no point for {dict(zip(axes, (value[i] for value, i in zip(values, place))))}")
        out[place] = cells[place][:repeats]
    return out, [np.array(value) for value in values]


def each(points, function):
    """function of every point of an array, as an array of doubles."""
    out = [function(point) for point in points.ravel()]
    return np.array(out, dtype=float).reshape(points.shape + np.shape(out[0]))


def spectrum(point):
    """Singular values of A*(y), which is there before any iteration."""
    return np.linalg.svd(point.problem().back_projection(), compute_uv=False)


def symmetric_problem(path, n, r, m, seed, normal=False, stored=False):
    """X* = F F^T, positive semidefinite: F with orthonormal columns, or of normal numbers. A generated, or symmetric and stored."""
    if path.exists():
        return
    random = np.random.default_rng([seed, n, r, m])
    F = random.standard_normal((n, r))
    F = F if normal else np.linalg.qr(F)[0]
    X = F @ F.T
    if not stored:
        mxsense_io.write_problem(path, sense(X, "gaussian8", m, seed), ensemble="gaussian8", shape=(n, n), seed=seed, truth=(F, F))
        return
    A = random.standard_normal((m, n, n)).astype(np.float32)
    A = (A + A.transpose(0, 2, 1)) / 2
    mxsense_io.write_problem(path, np.tensordot(A.astype(float), X, 2), A=A, truth=(F, F))


def write_start(path, U, V):
    """A file for `init: file:PATH`; complete or not there."""
    import h5py
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        with h5py.File(temporary, "w") as file:
            file["factors/U"], file["factors/V"] = U, V
        os.replace(temporary, path)


# ---------------------------------------------------------------- numbers


def first_below(values, limit):
    """Index of the first value below; NaN if there is none."""
    below = np.flatnonzero(np.asarray(values) < limit)
    return float(below[0]) if below.size else np.nan


def slope(x, y):
    """Of log y over log x, least squares, along the last axis of y."""
    x, y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    x = x - x.mean()
    return (y * x).sum(axis=-1) / (x * x).sum()


def decreasing(values, slack=0.0):
    """Each value below the one before; with slack: not above it by more than this fraction."""
    values = np.asarray(values, dtype=float)
    before = values[:-1] * (1 + slack)
    return bool(np.all(values[1:] <= before if slack else values[1:] < before))


def least_early(error):
    """The least error up to three times the iteration at which it comes below 1/2: the end of the third phase, where the plateau begins."""
    t = first_below(error, 0.5)
    return np.nan if np.isnan(t) else np.min(error[: int(3 * t) + 1])


def share(mask):
    """A fraction as text."""
    mask = np.asarray(mask)
    return f"{np.count_nonzero(mask)} of {mask.size}"


def span(values):
    """Median and the middle 90 %."""
    low, middle, high = np.nanpercentile(values, [5, 50, 95])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


# ---------------------------------------------------------------- pictures


def picture(card, data):
    """The panels of a card, with one legend."""
    figure, axes = mp.figure(1, card.panels)
    for one in axes:
        mp.grid(one)
    card.draw(data, figure)
    mp.legend_below(figure, *figure.axes)
    return figure


def band(axes, x, values, label, index=0, **style):
    """Median over the last axis, quartiles shaded."""
    low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=-1)
    axes.plot(x, middle, color=COLORS[index], marker=style.pop("marker", MARKERS[index]), label=label, **style)
    axes.fill_between(x, low, high, color=COLORS[index], alpha=0.18, lw=0)


def log_log(axes, xlabel, ylabel, title):
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
