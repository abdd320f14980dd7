#!/usr/bin/python3
"""Compare the program with numpy, and torch where there is one: time of an iteration beside two matrix-vector products.

    tools/bench_numpy.py problem.h5 [--program build/mxsense] [--k 10] [--ranks 1] [--repeats 7]

numpy and torch hold A as one (m, n1 n2) matrix, of the type stored in the file, and compute A x and A^T r with one
thread: the least that a gradient step needs. An iteration of the program is a whole step: residual, gradient,
both factors, the reduction over the ranks, the loss. For a generated ensemble, whose A the program never
stores, they get a stored copy (--dtype, default float64) if it fits in half of the free memory.

Repeats take turns, so that all see the same machine; medians of the repeats' ratios are compared."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
if "OPENBLAS_CORETYPE" not in os.environ and "avx512vl" in pathlib.Path("/proc/cpuinfo").read_text():
    os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"  # some versions fall back to SSE3 kernels on newer processors

import numpy as np

try:
    import torch
    torch.set_num_threads(1)
except ImportError:
    torch = None

from mxsense_io import read_problem, read_run


def free_bytes():
    return 1024 * int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))


def stored_matrix(path, dtype):
    """A as (m, n1 n2), n1, n2, and the name of its type."""
    problem = read_problem(path)
    kind = np.dtype(dtype or np.float64)
    if problem.ensemble == "dense" and not dtype and problem.A(0, 1).dtype.kind == "f":
        kind = problem.A(0, 1).dtype.newbyteorder("=")
    check_size(problem.m * problem.n1 * problem.n2 * kind.itemsize)
    A = np.empty((problem.m, problem.n1 * problem.n2), kind)
    for first, rows in problem.chunks():
        A[first : first + len(rows)] = rows
    return A, problem.n1, problem.n2, problem.ensemble


def check_size(size):
    if size > free_bytes() // 2:
        sys.exit(f"bench_numpy.py: A takes {size / 1e9:.1f} GB, more than half of the free memory "
                 f"({free_bytes() / 1e9:.1f} GB); try --dtype float32 or a smaller problem")


def time_products(products, seconds=0.5):
    """Seconds of each of the calls: means over enough of them to fill `seconds`."""
    result = []
    for call in products:
        start, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - start < seconds / len(products):
            call()
            calls += 1
        result.append((time.perf_counter() - start) / calls)
    return result


def libraries(A, x, r):
    """The two products of every library; torch shares numpy's memory."""
    found = {"numpy": (lambda: A @ x, lambda: r @ A)}
    if torch is not None:
        tA, tx, tr = (torch.from_numpy(array) for array in (A, x, r))
        found["torch"] = (lambda: tA @ tx, lambda: tr @ tA)
    return found


def time_program(arguments, iterations, folder):
    """Seconds of one iteration, from the metrics of a run without stops between its first and its last row, and the summary."""
    command = [str(arguments.program), "solve", "--problem", str(arguments.problem), "--k", str(arguments.k),
               "--max_iterations", str(iterations), "--metrics_every", str(iterations), "--tolerance", "0",
               "--checkpoint_every", "0", "--quiet", "true", "-o", str(folder)]
    environment = dict(os.environ)
    if arguments.ranks > 1:
        command = ["mpirun", "-np", str(arguments.ranks), *command]
        environment.update(OMPI_MCA_mpi_yield_when_idle="1")
        if os.geteuid() == 0:
            environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"bench_numpy.py: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    run = read_run(folder)
    metrics = run.metrics()
    return float(np.diff(metrics["seconds"][[0, -1]]) / np.diff(metrics["iteration"][[0, -1]])), run.summary


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("build/mxsense"))
    parser.add_argument("--k", type=int, default=10, help="columns of the factors (default 10)")
    parser.add_argument("--ranks", type=int, default=1, help="MPI ranks of the program (default 1)")
    parser.add_argument("--repeats", type=int, default=7, help="default 7")
    parser.add_argument("--iterations", type=int, help="of the program per repeat (default: about a second's)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="numpy's type of A (default: the file's)")
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers there too")
    arguments = parser.parse_args()
    for path in (arguments.problem, arguments.program):
        if not path.is_file():
            sys.exit(f"bench_numpy.py: no such file: {path}")
    arguments.program = arguments.program.resolve()

    A, n1, n2, ensemble = stored_matrix(arguments.problem, arguments.dtype)
    m = A.shape[0]
    random = np.random.default_rng(0)
    x, r = random.standard_normal(n1 * n2).astype(A.dtype), random.standard_normal(m).astype(A.dtype)
    rivals = libraries(A, x, r)
    times = {name: [] for name in rivals}
    step = []
    with tempfile.TemporaryDirectory() as folder:
        trial, summary = time_program(arguments, arguments.iterations or 5, pathlib.Path(folder) / "trial")
        iterations = arguments.iterations or min(10000, max(5, int(1.0 / max(trial, 1e-6))))
        for products in rivals.values():
            time_products(products)
        for repeat in range(arguments.repeats):
            for name, products in rivals.items():
                times[name].append(time_products(products))
            step.append(time_program(arguments, iterations, pathlib.Path(folder) / str(repeat))[0])

    print(f"{arguments.problem}: {ensemble}, {n1} x {n2}, m = {m}, k = {arguments.k}; "
          f"numpy holds {A.nbytes / 1e9:.3g} GB of {A.dtype}")
    print(f"{summary['machine']['cpu']}; program: {arguments.ranks} rank{'s' if arguments.ranks > 1 else ''}, "
          f"{iterations} iterations a repeat, kernel {summary['rates']['kernel']}; {arguments.repeats} repeats by turns")
    print(f"{'milliseconds':30s} {'median':>9s} {'min':>9s} {'max':>9s} {'G mul-add/s':>12s}")
    lines = [(f"{name} {product}", [pair[which] for pair in pairs], 1)
             for name, pairs in times.items() for which, product in enumerate(("A x", "A^T r"))]
    for name, seconds, visits in (*lines, ("mxsense, a whole iteration", step, 2)):
        median = float(np.median(seconds))
        print(f"{name:30s} {1e3 * median:9.3f} {1e3 * min(seconds):9.3f} {1e3 * max(seconds):9.3f} "
              f"{visits * A.size / median / 1e9:12.2f}")
    ratios = {name: float(np.median([sum(pair) / s for pair, s in zip(pairs, step)])) for name, pairs in times.items()}
    for name, ratio in ratios.items():
        print(f"the two products of {name} take {ratio:.2f} times as long as an iteration of the program")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({
            "ensemble": ensemble, "n1": n1, "n2": n2, "m": m, "k": arguments.k, "ranks": arguments.ranks,
            "dtype": str(A.dtype), "iterations": iterations, "products": times, "mxsense_iteration": step,
            "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
