#!/usr/bin/python3
"""What the methods reach, measured through the program: mxsense gen, mxsense solve, and what they leave.

    tools/bench_methods.py ROW [--program build/mxsense] [--seeds N] [--quick] [--jobs 2] [-o FILE.csv]

ROW     what is measured
scaled  iterations of scaled_gd to test error 1e-10 beside the condition number
passes  passes over A to 1e-10 with known rank: gauss_newton beside scaled_gd and gd
success how often gauss_newton with known rank succeeds, over rho and condition number
auto    how often the method auto finds rank and matrix from measurements alone
false   verdicts of auto where there is nothing to recover, or noise, or another model
versus  time of auto to 1e-10 beside the best method tuned by hand that knows the rank
progressive  passes of auto to the least squares solution of many measurements

rho = m / (r (n1 + n2 - r)), all measurements counted. A markdown table goes to standard output, one CSV row per run with
all settings and outcomes to -o. Everything but seconds is a function of the seeds, at any number of jobs.
Exit code 0: all numbers are within reach, 1: some are not (marked `missed`), 64: wrong usage."""

import argparse
import concurrent.futures
import csv
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import h5py
import numpy as np

from mxsense_io import Error, read_factors, read_problem, write_problem

SOLVED, SUCCESS, RECOVERED = 1e-10, 1e-4, 1e-6
NEVER = math.inf
RAW = ("test_error", "relative_residual", "iterations", "reason", "rank_estimate", "passes_over_A")


def words(options):
    return [word for key, value in options.items() for word in (f"--{key}", f"{value:g}" if isinstance(value, float) else str(value))]


@dataclasses.dataclass
class Run:
    """What a run of the program left; `code` None: it did not end in time."""
    code: int
    summary: dict
    table: list
    command: str
    message: str = ""

    def column(self, name):
        return [float(row[name]) for row in self.table]

    def first_below(self, level):
        """Row where the test error is first at most `level`, or None."""
        return next((row for row in self.table if float(row["test_error"]) <= level), None)

    def iterations_to(self, level):
        row = self.first_below(level)
        return int(row["iteration"]) if row else NEVER

    def seconds_to(self, level):
        row = self.first_below(level)
        return float(row["seconds"]) if row else NEVER

    def passes_to(self, level):
        """Of a method that evaluates once in each iteration; passes that the reducer had made again count."""
        row = self.first_below(level)
        return self.summary["passes_over_A"] - (self.summary["iterations"] - int(row["iteration"])) if row else NEVER

    @property
    def rank(self):
        """Singular values of the answer that are not rounding."""
        values = [float(value) for key, value in self.table[-1].items() if key.startswith("sigma_")] if self.table else []
        return sum(value > 1e-8 * values[0] for value in values) if values and values[0] > 0 else 0

    @property
    def status(self):
        return (self.summary.get("certificate") or {}).get("status")

    def outcome(self):
        """Columns of the table of runs."""
        certificate = self.summary.get("certificate") or {}
        return {"code": "hang" if self.code is None else self.code, **{key: self.summary.get(key) for key in RAW},
                "rank_found": self.rank, "status": certificate.get("status"), "doubt": certificate.get("reason"),
                **{key: certificate.get(key) for key in ("low", "high", "bound", "noise_std")},
                "relative_error": certificate.get("relative_error"), "iterations_1e-10": self.iterations_to(SOLVED),
                "seconds_1e-10": self.seconds_to(SOLVED), "solve": self.command, "message": self.message}


class Bench:
    """Runs of one row, --jobs at a time."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.quick = arguments.quick
        self.rows, self.missed, self.lock = [], [], threading.Lock()

    def call(self, command):
        """(code, text); code None: it hangs."""
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        try:
            done = subprocess.run([str(self.arguments.program), *command], env=environment, text=True, errors="replace",
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=self.arguments.limit)
        except subprocess.TimeoutExpired:
            return None, f"not finished in {self.arguments.limit} s"
        return done.returncode, done.stdout

    def path(self, suffix):
        with self.lock:
            self.count = getattr(self, "count", 0) + 1
            return self.folder / f"{self.count:05d}{suffix}"

    def gen(self, **options):
        """(problem file, command). A rank of 0 measurements per degree of freedom is the caller's mistake."""
        path = self.path(".h5")
        code, text = self.call(["gen", *words(options), "-o", str(path)])
        if code != 0:
            sys.exit(f"bench_methods.py: mxsense gen {' '.join(words(options))} ended with {code}:\n{text}")
        return path, "mxsense gen " + " ".join(words(options)) + " -o p.h5"

    def solve(self, problem, keep=False, **options):
        """The run, and its directory if it is kept."""
        options = {"metrics_every": 1, "checkpoint_every": 0, "progress": "off", **options}
        directory = self.path(".run")
        command = ["solve", "--problem", str(problem), *words(options), "-o", str(directory)]
        code, text = self.call(command)
        run = Run(code, {}, [], "mxsense solve --problem p.h5 " + " ".join(words(options)) + " -o run")
        try:
            run.summary = json.loads((directory / "summary.json").read_text())
            with open(directory / "metrics.csv", newline="") as file:
                run.table = list(csv.DictReader(file))
        except (OSError, ValueError):
            pass
        if code != 0:
            lines = [line for line in text.splitlines() if re.search("error|Signal:|not finished", line)]
            run.message = lines[0] if lines else text[-200:]
        if keep:
            return run, directory
        if not self.arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
        return run

    def drop(self, path):
        if not self.arguments.keep:
            path.unlink()

    def map(self, measure, cases):
        """Rows of `measure` for each case, in their order; --case leaves all but one off."""
        cases = [dict(case, case=i) for i, case in enumerate(cases) if self.arguments.case in (None, i)]
        found = []
        with concurrent.futures.ThreadPoolExecutor(self.arguments.jobs) as pool:
            for done in pool.map(measure, cases):
                for row in done if isinstance(done, list) else [done]:
                    self.rows.append({"row": self.arguments.row, **row})
                    found.append(row)
                if sys.stderr.isatty():
                    print(f"\r{len(found)} runs", end="", file=sys.stderr, flush=True)
        return found

    def reach(self, reached, what):
        """The mark of a number, `what` said again at the end where it is out of reach."""
        if not reached:
            self.missed.append(what)
        return "reached" if reached else "missed"

    def write(self):
        if self.arguments.output and self.rows:
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            with open(self.arguments.output, "w", newline="") as file:
                writer = csv.DictWriter(file, names, restval="")
                writer.writeheader()
                writer.writerows(self.rows)


def table(heads, lines):
    """Markdown."""
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for line in lines:
        print("| " + " | ".join(show(cell) for cell in line) + " |")


def show(value):
    if isinstance(value, float):
        return "-" if math.isinf(value) or math.isnan(value) else f"{value:.3g}"
    return str(value)


def measurements(n1, n2, rank, rho):
    return math.ceil(rho * rank * (n1 + n2 - rank))


def planted(n1, n2, rank, rho, condition=1, seed=1, ensemble="gaussian", noise=0):
    return {"ensemble": ensemble, "n1": n1, "n2": n2, "rank": rank, "condition": condition,
            "measurements": measurements(n1, n2, rank, rho), "noise": noise, "seed": seed}


def median(rows, name):
    """Of all runs: one that never gets there counts as infinite."""
    return statistics.median_low([row[name] for row in rows]) if rows else NEVER


def pick(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def seeds(bench, usual, quick):
    return range(1, 1 + (bench.arguments.seeds or (quick if bench.quick else usual)))


def spectral(bench, case):
    """One run with known rank from the spectral start, and its row."""
    problem, command = bench.gen(**planted(*(case[key] for key in ("n", "n", "r", "rho", "kappa", "seed"))))
    run = bench.solve(problem, method=case["method"], k=case["r"], **case.get("options", {}),
                      max_iterations=case["most"], tolerance=1e-12)
    bench.drop(problem)
    passes = run.passes_to(SOLVED)
    return {**{key: value for key, value in case.items() if key != "options"}, "passes_1e-10": passes, **run.outcome(), "gen": command}


# ---------------------------------------------------------------- scaled

def scaled(bench):
    shapes = [(50, 3, 4), (50, 3, 2.5), (75, 4, 2.5), (100, 5, 2.5)][: 1 if bench.quick else None]
    kappas = (1, 5, 20)
    plan = [(n, r, rho, kappa, seed, method, most) for n, r, rho in shapes for kappa in kappas for seed in seeds(bench, 5, 1)
            for method, most in (("scaled_gd", 1000), ("gd", 1500)) if method == "scaled_gd" or (n == 50 and rho == 4 and seed < 4 and not bench.quick)]
    names = ("n", "r", "rho", "kappa", "seed", "method", "most")
    rows = bench.map(lambda case: spectral(bench, case), [{**dict(zip(names, case)), "options": {"init": "spectral"}} for case in plan])
    lines = []
    for n, r, rho in shapes:
        for method in ("scaled_gd", "gd"):
            own = pick(rows, n=n, rho=rho, method=method)
            counts = [median(pick(own, kappa=kappa), "iterations_1e-10") for kappa in kappas]
            if not own:
                continue
            ratio = max(counts) / min(counts) if min(counts) < NEVER else NEVER
            mark = bench.reach(ratio <= 1.15, f"n {n}, rho {rho:g}: iterations {counts}") if method == "scaled_gd" else ""
            lines.append((n, r, rho, method, *counts, ratio, mark))
    table(("n", "r", "rho", "method", *(f"iterations, kappa {kappa}" for kappa in kappas), "largest / least", "1.15"), lines)


# ---------------------------------------------------------------- passes

PASSES = {(3, 1): 8, (3, 100): 13, (2, 1): 9, (2, 100): 18, (1.5, 1): 10, (1.5, 100): 20, (1.2, 1): NEVER, (1.2, 10): NEVER}
BESIDE = (("scaled_gd", 400, 3), ("gd", 400, 2))


def passes(bench):
    n, r = (50, 3) if bench.quick else (100, 5)
    cells = [(3, 1), (2, 1)] if bench.quick else list(PASSES)
    plan = [(rho, kappa, seed, "gauss_newton", 150) for rho, kappa in cells for seed in seeds(bench, 5, 2)]
    plan += [(rho, kappa, seed, method, most) for method, most, few in BESIDE for rho, kappa in cells if rho >= 2
             for seed in seeds(bench, 5, 1) if seed <= few]
    names = ("rho", "kappa", "seed", "method", "most")
    rows = bench.map(lambda case: spectral(bench, case),
                     [{"n": n, "r": r, **dict(zip(names, case)), "options": {"init": "spectral"}} for case in plan])
    lines = []
    for rho, kappa in cells:
        own = pick(rows, rho=rho, kappa=kappa)
        newton = pick(own, method="gauss_newton")
        count = median(newton, "passes_1e-10")
        wanted = PASSES[rho, kappa]
        solved = sum(row["passes_1e-10"] < NEVER for row in newton)
        reached = count <= wanted if wanted < NEVER else solved == len(newton)
        mark = bench.reach(reached, f"rho {rho:g}, kappa {kappa}: {show(count)} passes, {solved} of {len(newton)} solved")
        largest = max(row["passes_1e-10"] for row in newton)
        least = median(newton, "iterations_1e-10") + 2  # the start's, and one evaluation more than updates
        others = [cell_of(pick(own, method=method), most) for method, most, _ in BESIDE]
        lines.append((rho, kappa, count, least, largest, f"{solved} of {len(newton)}", f"<= {wanted}" if wanted < NEVER else "solved", mark, *others))
    print(f"n = {n}, r = {r}: passes over A to test error {SOLVED:g}, medians\n")
    table(("rho", "kappa", "gauss_newton", "without repeats", "largest", "solved", "reach", "", *(method for method, _, _ in BESIDE)), lines)


def cell_of(rows, most):
    if not rows:
        return ""
    if any(row["code"] not in (0, 76) for row in rows):
        return "fails"
    count = median(rows, "passes_1e-10")
    return show(count) if count < NEVER else f"> {most}"


# ---------------------------------------------------------------- success

def success(bench):
    rhos, kappas = (1.05, 1.1, 1.2, 1.3, 1.5, 2), (1, 10, 100, 1e4)
    if bench.quick:
        rhos, kappas = (1.2, 1.5), (1, 100)
    plan = [(rho, kappa, seed) for rho in rhos for kappa in kappas for seed in seeds(bench, 20, 3)]
    rows = bench.map(lambda case: spectral(bench, case), [
        {"n": 40, "r": 3, **dict(zip(("rho", "kappa", "seed"), case)), "method": "gauss_newton", "most": 200,
         "options": {"init": "spectral"}} for case in plan])
    lines = []
    for kappa in kappas:
        cells = []
        for rho in rhos:
            own = pick(rows, rho=rho, kappa=kappa)
            good = sum((row["test_error"] or NEVER) < SUCCESS for row in own)
            least = 1 if (rho >= 1.5 and kappa <= 100) or (rho >= 1.2 and kappa == 1) else 1 / 3 if rho >= 1.2 and kappa == 1e4 else 0
            mark = bench.reach(good >= least * len(own), f"rho {rho:g}, kappa {kappa:g}: {good} of {len(own)}")
            cells.append(f"{good} of {len(own)}" + (" missed" if mark == "missed" else ""))
        lines.append((f"{kappa:g}", *cells))
    print(f"n = 40, r = 3, known rank, gauss_newton: test error < {SUCCESS:g}\n")
    table(("kappa", *(f"rho {rho:g}" for rho in rhos)), lines)


# ---------------------------------------------------------------- auto

AUTO = {"method": "auto", "hold_out": 0.1}


def automatic(bench, case):
    """One run of auto, with the true error relative to the answer."""
    if "write" in case:
        problem = bench.path(".h5")
        case["write"](problem)
        command = f"tools/bench_methods.py {bench.arguments.row} --case {case['case']} --keep DIR"
    else:
        problem, command = bench.gen(**case["planted"])
    run, directory = bench.solve(problem, keep=True, **AUTO)
    row = {"case": case["case"], "kind": case["kind"], **case.get("planted", {}), **case.get("extra", {}),
           "true_error": true_error(problem, directory), **run.outcome(), "gen": command}
    if not bench.arguments.keep:
        problem.unlink()
        shutil.rmtree(directory, ignore_errors=True)
    return row


def true_error(problem, directory):
    """||X - X*|| / ||X||, the quantity that a certificate is about; None without an answer."""
    try:
        U, V = read_factors(directory / "checkpoint.h5")
    except Error:
        return None
    X = U @ V.T
    return float(np.linalg.norm(X - read_problem(problem).X) / max(np.linalg.norm(X), 1e-300))


def random_problem(random, seed, condition=None):
    n1, n2 = (int(random.integers(40, 61 if random.random() < 0.8 else 101)) for _ in range(2))
    rank, rho = int(random.integers(2, 6)), random.uniform(2, 4)
    kappa = round(10 ** random.uniform(0, 1), 3) if condition is None else condition
    ensemble = str(random.choice(["gaussian", "gaussian", "gaussian8", "rademacher", "fast"]))
    return planted(n1, n2, rank, rho, kappa, seed, ensemble)


def auto(bench):
    cases = []
    count = bench.arguments.seeds or (4 if bench.quick else 100)
    for kind, condition, share in (("kappa 1..10", None, count), ("kappa 100", 100, count)):
        random = np.random.default_rng([1, condition or 0])
        for seed in range(1, 1 + share):
            cases.append({"kind": kind, "planted": random_problem(random, seed, condition)})
    rows = bench.map(lambda case: automatic(bench, case), cases)
    lines = []
    for kind, least in (("kappa 1..10", 0.95), ("kappa 100", 0.80)):
        own = pick(rows, kind=kind)
        good = [row for row in own if row["rank_found"] == row["rank"] and (row["test_error"] or NEVER) < SOLVED]
        bad = [row for row in own if row not in good]
        certified = sum(row["status"] == "recovered" for row in good)
        wrong = [row for row in bad if row["status"] not in ("not certified", None) and not right(row)]
        failed = [row for row in own if row["code"] != 0]
        reached = len(good) >= least * len(own) and not wrong and not failed
        cases_of = ", ".join(str(row["case"]) for row in bad)
        mark = bench.reach(reached, f"{kind}: {len(good)} of {len(own)}, wrong verdicts {len(wrong)}, failed runs {len(failed)}")
        lines.append((kind, f"{len(good)} of {len(own)}", certified, len(bad), len(wrong), len(failed), median(good, "passes_over_A"),
                      f">= {100 * least:.0f} %", mark, cases_of))
    print(f"auto, rank unknown, rho 2..4: right rank and test error < {SOLVED:g}\n")
    table(("problems", "solved", "of them recovered", "others", "wrong verdicts", "failed", "passes", "reach", "", "cases not solved"), lines)


def right(row):
    """Is the verdict true?"""
    error = row["true_error"]
    if row["status"] == "recovered":
        return error is not None and error <= RECOVERED
    if row["status"] == "recovered up to noise":
        return error is not None and row["low"] <= error <= row["high"]
    return True


# ---------------------------------------------------------------- false

def matrix_of(random, n1, n2, spectrum):
    q = min(n1, n2)
    U, V = (np.linalg.qr(random.standard_normal((n, q)))[0] for n in (n1, n2))
    s = np.zeros(q)
    s[: len(spectrum)] = spectrum[:q]
    return U * s @ V.T


def writer(kind, seed):
    """A problem that the model does not hold for, and its description. The truth of a function of <A_i, X> is the
    multiple of X that fits y best."""
    random = np.random.default_rng([2, seed])
    n1, n2 = (int(random.integers(30, 51)) for _ in range(2))
    rank, rho = int(random.integers(1, 5)), float(random.uniform(1.5, 6))
    m = measurements(n1, n2, rank, rho)
    q = min(n1, n2)
    power, decay, share = float(random.uniform(0.5, 3)), float(random.uniform(0.1, 1.5)), 0.05
    spectrum = {"power law": (1.0 + np.arange(q)) ** -power, "exponential": np.exp(-decay * np.arange(q))}.get(kind, np.linspace(1, 0.5, rank))
    X = matrix_of(random, n1, n2, spectrum)

    def write(path):
        noise = np.random.default_rng([3, seed])
        A = noise.standard_normal((m, n1, n2))
        t = A.reshape(m, -1) @ X.ravel()
        rms = float(np.sqrt(np.mean(t * t)))
        y, truth = t, X
        if kind in ("sign", "cubic", "tanh"):
            y = {"sign": np.sign, "cubic": lambda x: x + 0.3 * x**3, "tanh": np.tanh}[kind](t / rms)
            truth = X * (y @ t / (t @ t))
        elif kind == "outliers":
            y = t.copy()
            hit = noise.random(m) < share
            y[hit] += 10 * rms * noise.standard_normal(int(hit.sum()))
        elif kind == "pure noise":
            y, truth = noise.standard_normal(m), np.zeros((n1, n2))
        write_problem(path, y, A=A, truth=truth)

    about = {"n1": n1, "n2": n2, "rank": rank, "measurements": m, "seed": seed, "ensemble": "dense",
             "parameter": power if kind == "power law" else decay if kind == "exponential" else ""}
    return {"kind": kind, "write": write, "extra": about}


WRONG = ("power law", "exponential", "sign", "cubic", "tanh", "outliers", "pure noise")


def false(bench):
    count = bench.arguments.seeds or (2 if bench.quick else 50)
    random = np.random.default_rng(4)
    cases = []
    for kind, share in (("under-sampled", 3 * count), ("noise", 3 * count)):
        for seed in range(1, 1 + share):
            n1, n2 = (int(random.integers(30, 61)) for _ in range(2))
            rank, kappa = int(random.integers(1, 6)), round(10 ** random.uniform(0, 1), 3)
            rho = random.uniform(0.8, 1.2) if kind == "under-sampled" else random.uniform(1.5, 6)
            level = 0 if kind == "under-sampled" else 10 ** random.uniform(-3, math.log10(0.3))
            rms = float(np.linalg.norm(np.linspace(1, 1 / kappa, rank)))
            ensemble = str(random.choice(["gaussian", "gaussian8", "rademacher", "fast"]))
            problem = planted(n1, n2, rank, rho, kappa, seed, ensemble, float(f"{level * rms:.6g}"))
            cases.append({"kind": kind, "planted": problem, "extra": {"rho": rho, "noise_share": level}})
    each = max(1, round(4 * count / len(WRONG)))
    cases += [writer(kind, seed) for kind in WRONG for seed in range(1, 1 + each)]
    rows = bench.map(lambda case: automatic(bench, case), cases)
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = pick(rows, kind=kind)
        recovered, noisy = (pick(own, status=status) for status in ("recovered", "recovered up to noise"))
        lies = [row for row in recovered if not right(row)]
        outside = [row for row in noisy if not right(row)]
        above = [row for row in outside if row["true_error"] > (row["bound"] or NEVER)]
        failed = [row for row in own if row["code"] != 0]
        mark = bench.reach(not lies and not failed, f"{kind}: wrongly `recovered` {[row['case'] for row in lies]}, failed {[row['case'] for row in failed]}")
        lines.append((kind, len(own), len(recovered), len(lies), len(noisy), len(noisy) - len(outside), len(above), len(failed), mark,
                      ", ".join(str(row["case"]) for row in outside)))
    print("auto where it must not claim too much: verdicts; an interval is of the error relative to the answer\n")
    table(("problems", "runs", "recovered", "wrongly", "up to noise", "error in [low, high]", "above the bound", "failed", "",
           "cases outside"), lines)


# ---------------------------------------------------------------- versus

RIVALS = ("auto", "gauss_newton", "scaled_gd")
STEPS = (0.5, 0.7, 0.9, 0.35)
SHORT = 0.2  # seconds; more turns
HOPELESS = 3  # times as long as gauss_newton: no more turns of scaled_gd


def versus(bench):
    """Rounds by turns, all methods of a problem one after the other and one run at a time, so that they see the same
    machine; medians of the rounds' ratios."""
    bench.arguments.jobs = 1
    random = np.random.default_rng(5)
    ensembles = ["gaussian", "rademacher", "dense", "fast"]
    cases = []
    for seed in range(1, 3 if bench.quick else 11):
        n1, n2 = (int(random.integers(40, 81 if bench.quick else 151)) for _ in range(2))
        rank, rho, kappa = int(random.integers(2, 7)), random.uniform(2, 6), round(10 ** random.uniform(0, math.log10(30)), 3)
        cases.append({"planted": planted(n1, n2, rank, rho, kappa, seed, ensembles[seed % 4]), "rho": rho})
    rows = bench.map(lambda case: race(bench, case), cases)
    lines = []
    for case in cases:
        seed = case["planted"]["seed"]
        own = pick(rows, seed=seed)
        if not own:
            continue
        times = {method: median(pick(own, method=method), "seconds_1e-10") for method in RIVALS}
        best = min(("gauss_newton", "scaled_gd"), key=times.get)
        pairs = zip(pick(own, method="auto"), pick(own, method=best), strict=True)
        ratio = statistics.median_low([auto["seconds_1e-10"] / max(other["seconds_1e-10"], 1e-6) for auto, other in pairs])
        p = case["planted"]
        mark = bench.reach(ratio <= 1.5, f"problem {seed}: auto takes {ratio:.2f} times as long as {best}")
        lines.append((seed, p["ensemble"], f"{p['n1']} x {p['n2']}", p["rank"], case["rho"], p["condition"],
                      *(1e3 * times[method] for method in RIVALS), ratio, mark))
    print(f"milliseconds to test error {SOLVED:g}, medians of runs by turns, and ratio to the best\n")
    table(("problem", "ensemble", "shape", "r", "rho", "kappa", *RIVALS, "ratio", "<= 1.5"), lines)


def race(bench, case):
    p = case["planted"]
    problem, command = bench.gen(**p)
    known = {"init": "spectral", "k": p["rank"], "tolerance": 1e-12, "max_iterations": 600}
    rivals = {"auto": AUTO, "gauss_newton": {"method": "gauss_newton", **known}}
    seconds = {method: bench.solve(problem, **options).seconds_to(SOLVED) for method, options in rivals.items()}
    tried = {}
    for step in STEPS:  # the first is a good one everywhere
        if tried and min(tried.values()) > HOPELESS * seconds["gauss_newton"]:
            break
        tried[step] = bench.solve(problem, method="scaled_gd", step=step, **known).seconds_to(SOLVED)
    step = min(tried, key=tried.get)
    if tried[step] <= HOPELESS * seconds["gauss_newton"]:
        rivals["scaled_gd"] = {"method": "scaled_gd", "step": step, **known}
    rows = []
    for turn in seeds(bench, 15 if seconds["auto"] < SHORT else 5, 3):
        for method, options in rivals.items():
            run = bench.solve(problem, **options)
            rows.append({"case": case["case"], "turn": turn, **p, "method": method, "step": options.get("step", ""),
                         **run.outcome(), "gen": command})
    bench.drop(problem)
    return rows


# ---------------------------------------------------------------- progressive

def progressive(bench):
    plan = [(noise, seed) for noise in (0, 0.01) for seed in seeds(bench, 5, 1)]
    rows = bench.map(lambda case: join(bench, case), [{"noise": noise, "seed": seed} for noise, seed in plan])
    lines = []
    for noise in (0, 0.01):
        own = pick(rows, noise=noise)
        count = median(own, "passes_to_solution")
        mark = bench.reach(count <= 4, f"noise {noise}: {show(count)} passes")
        lines.append((noise, count, max((row["passes_to_solution"] for row in own), default=NEVER), median(own, "passes_over_A"), "<= 4", mark))
    print("auto, n = 60, r = 3, rho = 40: passes over A to the least squares solution of all training measurements\n")
    table(("noise", "passes, median", "largest", "passes of the run", "reach", ""), lines)


def join(bench, case):
    """Runs cut short show where auto passed the solution that gauss_newton finds with the same measurements held out."""
    problem, command = bench.gen(**planted(60, 60, 3, 40, 2, case["seed"], "rademacher", case["noise"]))
    _, exact = bench.solve(problem, keep=True, method="gauss_newton", init="spectral", k=3, hold_out=0.1, tolerance=0, max_iterations=12)
    goal = answer(exact / "checkpoint.h5")[1]
    run, directory = bench.solve(problem, keep=True, **AUTO, checkpoint_every=1, checkpoint_keep="all", checkpoint_share=1)
    level = 1e-8 if case["noise"] else 1e-10
    reached = NEVER
    files = [directory / name for name in ("checkpoint.prev.h5", "checkpoint.h5")]
    for path in (*sorted(directory.glob("checkpoint.0*.h5")), *files):
        t, X = answer(path)
        if np.linalg.norm(X - goal) <= level * np.linalg.norm(goal):
            reached = min(reached, t)
    short = bench.solve(problem, **AUTO, max_iterations=reached) if reached < NEVER else None
    for folder in (exact, directory):
        if not bench.arguments.keep:
            shutil.rmtree(folder)
    bench.drop(problem)
    return {**case, "iterations_to_solution": reached, "passes_to_solution": short.summary["passes_over_A"] if short else NEVER,
            **run.outcome(), "gen": command}


def answer(path):
    """(iteration, X) of a checkpoint."""
    with h5py.File(path) as file:
        return int(file.attrs["iteration"]), file["factors/U"][()] @ file["factors/V"][()].T


ROWS = {"scaled": scaled, "passes": passes, "success": success, "auto": auto, "false": false, "versus": versus, "progressive": progressive}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("build/mxsense"))
    parser.add_argument("--seeds", type=int, help="runs of each cell, or problems of each kind, in place of the row's own number")
    parser.add_argument("--quick", action="store_true", help="few and small problems: seconds in place of minutes")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one rank and one thread each (default 2)")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a run may take before it counts as a hang (default 300)")
    parser.add_argument("--case", type=int, help="this case of the row only, as numbered in the CSV")
    parser.add_argument("--keep", type=pathlib.Path, help="leave problem files and run directories in this directory")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="CSV of all runs")
    try:
        arguments = parser.parse_args()
    except SystemExit as end:
        sys.exit(64 if end.code else 0)
    if not arguments.program.is_file():
        print(f"bench_methods.py: no such file: {arguments.program}", file=sys.stderr)
        sys.exit(64)
    arguments.program = arguments.program.resolve()
    with tempfile.TemporaryDirectory(prefix="mxsense") as folder:
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments, arguments.keep or pathlib.Path(folder))
        try:
            ROWS[arguments.row](bench)
        finally:
            bench.write()
    for what in bench.missed:
        print(f"missed: {what}")
    sys.exit(1 if bench.missed else 0)


if __name__ == "__main__":
    main()
