#!/usr/bin/python3
"""Stopping and error estimates on noisy problems, beside the oracle that knows the truth.

    tools/bench_noise.py [--program build/mxsense] [--seeds 5] [--sigma 0.02 0.1 0.3] [--k 3 6 24] [--stop validation]

Gaussian A, n1 = 50, n2 = 40, r = 3, singular values from 1 to 1/2, m = 5 r (n1 + n2 - r), a tenth held out. For each noise level
and k, medians over the seeds, and the worst in brackets, of

    stop     iteration of the answer
    pick     error of the answer over the least of the run, were it to go on to --iterations
    rate     error of the answer over sqrt(sigma^2 (n1 + n2) r / m)
    final    error of the last of --iterations iterations over that of the answer
    noise    estimated over true standard deviation, where it is estimated (without noise_std)
    error    estimated over true relative error
    inside   runs whose true error is in the interval at 95 %; bases of the estimates"""

import argparse
import collections
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import h5py

from mxsense_io import read_run

N1, N2, RANK, CONDITION, OVERSAMPLING = 50, 40, 3, 2, 5
M = OVERSAMPLING * RANK * (N1 + N2 - RANK)
NORM = math.sqrt(sum((1 - i / (RANK - 1) * (1 - 1 / CONDITION))**2 for i in range(RANK)))


def run(program, *words):
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    result = subprocess.run([program, *map(str, words)], capture_output=True, text=True, env=environment, timeout=600)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: {result.returncode}\n{result.stderr}")


def solve(program, problem, directory, **settings):
    run(program, "solve", "--problem", problem, *(word for key, value in settings.items() for word in (f"--{key}", value)),
        "-o", directory)
    done = read_run(directory)
    return done.summary, done.metrics()["test_error"]


def measure(program, folder, sigma, k, seed, options):
    """One problem: figures of the answer, and of the run that does not stop."""
    problem = folder / "p.h5"
    run(program, "gen", "--ensemble", "gaussian", "--n1", N1, "--n2", N2, "--rank", RANK, "--condition", CONDITION,
        "--measurements", M, "--noise", sigma, "--seed", seed, "-o", problem)
    if not options.noise_known:
        with h5py.File(problem, "r+") as file:
            del file.attrs["noise_std"]
    common = dict(method="gd", k=k, hold_out=0.1, seed=seed, metrics_every=1, tolerance=0, max_iterations=options.iterations, alpha=options.alpha)
    known = dict(noise_std=sigma) if options.stop == "discrepancy" else {}
    summary, _ = solve(program, problem, folder / "stopped", stop=options.stop, **known, **common)
    _, whole = solve(program, problem, folder / "whole", **common)
    estimate, error = summary["estimates"], summary["test_error"]
    return dict(stop=summary["iterations"] if summary["best_iteration"] is None else summary["best_iteration"],
                end=summary["iterations"], reason=summary["reason"],
                pick=error / min(whole), rate=error * NORM / (sigma * math.sqrt((N1 + N2) * RANK / M)), final=whole[-1] / error,
                noise=estimate["noise_std"] and estimate["noise_std"] / sigma,
                error=estimate["relative_error"] and estimate["relative_error"] / error,
                inside=(estimate["relative_error_low"] or 0) <= error <= (estimate["relative_error_high"] or 0),
                basis=estimate["basis"])


def middle(runs, key):
    values = [one[key] for one in runs if one[key] is not None]
    return f"{statistics.median(values):9.3f} ({max(values):.3f})" if values else " " * 8 + "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parents[1] / "build" / "mxsense"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.02, 0.1, 0.3])
    parser.add_argument("--k", type=int, nargs="+", default=[RANK, 2 * RANK, 8 * RANK])
    parser.add_argument("--alpha", default="auto")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--stop", default="validation", choices=["tolerance", "validation", "discrepancy"])
    parser.add_argument("--noise-known", action="store_true", help="leave noise_std in the problem file")
    options = parser.parse_args()
    print(f"{'sigma':>6} {'k':>3} {'stop (end)':>12} {'pick':>17} {'rate':>17} {'final':>17} {'noise':>17} {'error':>17}  inside")
    for sigma in options.sigma:
        for k in options.k:
            runs = []
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    runs.append(measure(options.program, pathlib.Path(folder), sigma, k, seed, options))
            ends = f"{statistics.median(one['stop'] for one in runs):.0f} ({statistics.median(one['end'] for one in runs):.0f})"
            bases = ", ".join(f"{count} {basis}" for basis, count in collections.Counter(one["basis"] for one in runs).items())
            print(f"{sigma:6g} {k:3d} {ends:>12}", *(f"{middle(runs, key):>17}" for key in ("pick", "rate", "final", "noise", "error")),
                  f" {sum(one['inside'] for one in runs)}/{len(runs)}: {bases}", flush=True)


if __name__ == "__main__":
    main()
