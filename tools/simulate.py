#!/usr/bin/python3
"""Simulated weak scaling of an iteration on a fat tree: the solver core as it is, under SimGrid/SMPI.

    tools/simulate.py --ranks 1,2,4,...,1024 --n 1000 --k 20 --entries_per_rank 1e9 --reduction reproducible,fast -o simulated.csv
    tools/simulate.py --agree 2 --n 300 --k 10 --entries_per_rank 9e5,9e6,9e7       # measured here beside simulated for this machine

Every message is one that the library sends; the network, and the time that passes on the clock, are simulated. The
computation is modelled from measured rates: an operator of the driver's own stands in for a generated ensemble of random
signs, and charges

    measurements n^2 / entries_per_s + blocks block_s + fixed_s

to a rank in every iteration: visits to the entries of A, what a block costs whatever its rows (products with the factors,
sums), and what all ranks do alike (U V^T, updates, digests). --calibrate measures the three here. Nothing that really
runs is timed, so the numbers are the same at every repeat. Not modelled: noise of the operating system, jitter between
nodes, other jobs on the network, the arithmetic of the allreduce, rows of metrics, checkpoints.

The efficiency is that of weak scaling: seconds of an iteration on one rank with the same share, over those on P. All
runs have the canonical blocks that the library chooses for the largest (--block_rows auto), or blocks of one rank's share.
alpha_beta_s is what a formula gives for the allreduces of an iteration: 3 (a log2 p + A log2 H) + 2 N ((1 - 1/p) / b +
(1 - 1/H) / B) for N bytes on H hosts of p ranks, with latency and bandwidth a, b within a host and A, B between hosts:
halving and doubling by Rabenseifner, as MPI libraries have for long messages, and as SMPI is told here (rab_rdb).

--agree: ranks on this machine, with rates and the network between two ranks from the same minutes. Both are the least of
many iterations: on a busy machine long ones never run undisturbed, so give it small problems, or quiet.

Needs libsimgrid-dev (tools/deps.sh test). Exit codes: 0 done, 1 a run failed, 2 wrong settings."""

import argparse
import csv
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
QUIET = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
FIELDS = ("ranks_used", "measurements", "iteration_s", "compute_s", "reduce_s", "reduce_bytes", "reduction", "efficiency", "simulated",
          "series", "entries_per_rank", "block_rows", "blocks", "balance", "allreduce", "alpha_beta_s")
SECONDS = 1  # of a run that is measured, about
LIMIT = 3600  # seconds of a run; only a hang takes as long


def run(command, **options):
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT, env=QUIET,
                            **options)
    if result.returncode != 0:
        sys.exit(f"simulate.py: exit code {result.returncode}: {' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def build(folder, *options):
    """The driver, made anew where its sources changed."""
    if not (folder / "CMakeCache.txt").exists():
        run(["cmake", "-G", "Ninja", "-S", HERE / "simulate", "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *options])
    run(["cmake", "--build", folder, "--parallel", "2"])
    return folder


def options_of(case):
    return [f"--{name}={value}" for name, value in case.items()]


# ---------------------------------------------------------------- the simulated machine


def tree_of(hosts):
    """A fat tree with as much bandwidth between its halves as the hosts have: its description, and its hosts."""
    leaf = 2 ** math.ceil(math.log2(max(hosts, 2)) / 2)
    leaves = math.ceil(hosts / leaf)
    if leaves == 1:
        return f"1;{leaf};1;1", leaf
    return f"2;{leaf},{leaves};1,{leaf};1,1", leaf * leaves


def platform(folder, machine, ranks):
    """Files for smpirun: the fat tree, and where its ranks are, host by host."""
    topology, hosts = tree_of(machine.hosts or math.ceil(ranks / machine.ranks_per_host))
    cores = machine.cores or machine.ranks_per_host
    (folder / "platform.xml").write_text(f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="tree" prefix="host" suffix="" radical="0-{hosts - 1}" speed="1Gf" core="{cores}" bw="{machine.bandwidth}Bps"
    lat="{machine.latency}s" loopback_bw="{machine.loopback_bandwidth}Bps" loopback_lat="{machine.loopback_latency}s"
    topology="FAT_TREE" topo_parameters="{topology}"/>
</platform>
""")
    if hosts * machine.ranks_per_host < ranks:
        sys.exit(f"simulate.py: {hosts} hosts of {machine.ranks_per_host} ranks hold no {ranks} ranks: give more --hosts")
    (folder / "hosts").write_text("".join(f"host{rank // machine.ranks_per_host}\n" for rank in range(ranks)))


def alpha_beta(machine, ranks, size):
    """Seconds of an allreduce by halving and doubling, nearest ranks first, and of that of two words that compares its outcome."""
    inside = min(ranks, machine.ranks_per_host)
    hosts = ranks / inside
    alpha = math.log2(inside) * machine.loopback_latency + math.log2(hosts) * 4 * machine.latency
    return 3 * alpha + 2 * size * ((1 - 1 / inside) / machine.loopback_bandwidth + (1 - 1 / hosts) / machine.bandwidth)


def simulate(program, machine, ranks, case):
    """What an iteration takes, from the driver under smpirun."""
    choice = [f"--cfg=smpi/coll-selector:{machine.selector}"] + \
        ([] if machine.allreduce == "auto" else [f"--cfg=smpi/allreduce:{machine.allreduce}"])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        platform(folder, machine, ranks)
        # The network's factors are of an old cluster unless told; TMPDIR takes a copy of the program for every rank.
        out = run(["smpirun", "-np", ranks, "-platform", folder / "platform.xml", "-hostfile", folder / "hosts", "--log=root.thres:error",
                   "--cfg=smpi/host-speed:1Gf", "--cfg=smpi/simulate-computation:no", "--cfg=smpi/lat-factor:0:1", "--cfg=smpi/bw-factor:0:1",
                   "--cfg=network/crosstraffic:0", f"--cfg=smpi/tmpdir:{folder}", *choice, program, *options_of(case)], cwd=folder)
    found = json.loads(out)
    if found["simulated"] != 1 or found["ranks"] != ranks:
        sys.exit(f"simulate.py: {program} is no simulation of {ranks} ranks: remove its build folder")
    return found


# ---------------------------------------------------------------- the table


def rates(settings):
    return {"entries_per_s": settings.entries_per_s, "block_s": settings.block_s, "fixed_s": settings.fixed_s}


def scale(program, settings, entries, reduction):
    """A row for every number of ranks, from the most to the least: the blocks are those of the most."""
    share = round(entries / settings.n**2)
    block_rows = {"auto": 0, "share": share}.get(settings.block_rows) if settings.block_rows in ("auto", "share") else \
        int(settings.block_rows)
    found = {}
    for ranks in sorted({1, *settings.ranks}, reverse=True):
        case = {"n": settings.n, "k": settings.k, "measurements": share * ranks, "block_rows": block_rows, "iterations": 1,
                "reduction": reduction, **rates(settings)}
        found[ranks] = simulate(program, settings, ranks, case)
        block_rows = found[ranks]["block_rows"]
    for ranks in settings.ranks:
        one = found[ranks]
        yield {"ranks_used": ranks, "measurements": one["measurements"], "iteration_s": one["iteration_s"], "compute_s": one["busy_s"],
               "reduce_s": one["iteration_s"] - one["busy_s"], "reduce_bytes": one["reduce_bytes"], "reduction": reduction,
               "efficiency": found[1]["iteration_s"] / one["iteration_s"], "simulated": 1,
               "series": f"{reduction}, {share * settings.n**2:.3g} entries a rank", "entries_per_rank": share * settings.n**2,
               "block_rows": one["block_rows"], "blocks": one["blocks"], "balance": one["mean_s"] / one["busy_s"],
               "allreduce": settings.selector if settings.allreduce == "auto" else settings.allreduce,
               "alpha_beta_s": alpha_beta(settings, ranks, one["reduce_bytes"])}


HEADER = (f"{'':9} {'ranks':>5} {'entries/rank':>12} {'reduction':>12} {'s/iteration':>11} {'compute':>9} {'reduce':>9} {'formula':>9} "
          f"{'efficiency':>10} {'balance':>7} {'reduced':>9} allreduce")


def text_of(row):
    return (f"simulated {row['ranks_used']:5} {row['entries_per_rank']:12.3g} {row['reduction']:>12} {row['iteration_s']:11.6f} "
            f"{row['compute_s']:9.6f} {row['reduce_s']:9.6f} {row['alpha_beta_s']:9.6f} {row['efficiency']:10.3f} {row['balance']:7.3f} "
            f"{row['reduce_bytes'] / 1e3:6.0f} kB {row['allreduce']}")


def tell_crossover(settings, row):
    """Entries per rank from which on the seconds of a row's reduction leave 90 and 50 % for evenly shared work."""
    words = []
    for level in (0.9, 0.5):
        needed = row["reduce_s"] * level / (1 - level)
        entries = max(needed - settings.block_s - settings.fixed_s, 0) * settings.entries_per_s
        words.append(f"above {level:.0%} " + (f"from {entries:.2g} entries per rank on" if entries > settings.n**2 else "at any number of entries")
                     + f" ({needed * settings.entries_per_s:.2g} if nothing else took time)")
    print(f"simulated, {row['ranks_used']} ranks, {row['reduction']}: beside {row['reduce_s'] * 1e3:.3f} ms of reduction the efficiency is "
          + ", ".join(words))


def describe(settings):
    return (f"a rank: {settings.entries_per_s / 1e9:.3g} G entries/s, {settings.block_s * 1e3:.3g} ms a block, "
            f"{settings.fixed_s * 1e3:.3g} ms an iteration")


def table(program, settings):
    rows = []
    print(f"simulated weak scaling (SimGrid/SMPI), n1 = n2 = {settings.n}, k = {settings.k}: fat tree, {settings.ranks_per_host} ranks a "
          f"host, links of {settings.latency * 1e6:g} us and {settings.bandwidth / 1e9:g} GB/s; {describe(settings)}")
    print(HEADER, flush=True)
    for entries in settings.entries_per_rank:
        for reduction in settings.reduction:
            for row in scale(program, settings, entries, reduction):
                rows.append(row)
                print(text_of(row), flush=True)
    for reduction in settings.reduction:
        tell_crossover(settings, next(row for row in rows if (row["ranks_used"], row["reduction"]) == (max(settings.ranks), reduction)))
    if settings.output:
        with open(settings.output, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)


# ---------------------------------------------------------------- measured on this machine


def mpirun(ranks, *command):
    """Ranks that wait keep their cores, where there are enough."""
    yields = int(ranks > len(os.sched_getaffinity(0)))
    return json.loads(run(["mpirun", "-q", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", yields, "-np", ranks, *command]))


def measure(folder, ranks, **case):
    """The driver, computing: the least of its iterations, since what else runs here can only add to it."""
    return mpirun(ranks, folder / "weak", *options_of({"iterations": 15, "quantile": 0, **case}))


def calibrate(folder, ranks, n, k, repeats=3):
    """Rates of a rank while `ranks` compute, each for itself, by the time of its processor, and the network between two: medians of
    the repeats."""
    found = []
    for _ in range(repeats):
        tall, cut, short = (measure(folder, ranks, n=n, k=k, measurements=rows, block_rows=block, alone=1)["cpu_s"]
                            for rows, block in ((1024, 1024), (1024, 128), (64, 64)))
        block_s = max(cut - tall, 0) / 7
        row_s = (tall - short) / 960
        net = mpirun(2, folder / "pingpong", 16 * n * k)
        found.append({"entries_per_s": n**2 / row_s, "block_s": block_s, "fixed_s": max(tall - 1024 * row_s - block_s, 0), **net})
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def agree(program, folder, settings):
    """Measured beside simulated for this machine, by turns: one host, memory for a network."""
    cores = len(os.sched_getaffinity(0))
    print(f"simulated beside measured, n1 = n2 = {settings.n}, k = {settings.k}, one host of {cores} cores; measured: the least of the "
          "iterations of 3 runs")
    print(f"{'ranks':>5} {'entries/rank':>12} {'reduction':>12} {'measured s':>11} {'simulated s':>11} {'difference':>10} {'formula':>9}")
    worst = 0.0
    for ranks in settings.agree:
        here = calibrate(folder, min(ranks, cores), settings.n, settings.k)
        machine = argparse.Namespace(**{**vars(settings), **here, "hosts": 1, "ranks_per_host": ranks, "cores": cores,
                                        "loopback_latency": here["latency"], "loopback_bandwidth": here["bandwidth"]})
        print(f"calibrated for {ranks} ranks: {machine.latency * 1e6:.2g} us and {machine.bandwidth / 1e9:.3g} GB/s; {describe(machine)}")
        for entries in settings.entries_per_rank:
            share = round(entries / settings.n**2)
            for reduction in settings.reduction:
                case = {"n": settings.n, "k": settings.k, "measurements": share * ranks, "block_rows": share, "reduction": reduction}
                model = simulate(program, machine, ranks, {**case, "iterations": 1, **rates(machine)})
                count = min(max(15, round(SECONDS / model["iteration_s"])), 1000)
                measured = min(measure(folder, ranks, **case, iterations=count)["iteration_s"] for _ in range(3))
                difference = model["iteration_s"] / measured - 1
                worst = max(worst, abs(difference))
                print(f"{ranks:5} {share * settings.n**2:12.3g} {reduction:>12} {measured:11.6f} {model['iteration_s']:11.6f} {difference:10.1%} "
                      f"{alpha_beta(machine, ranks, model['reduce_bytes']):9.6f}", flush=True)
    print(f"simulated and measured agree within {worst:.1%}")


# ---------------------------------------------------------------- settings


def parse(arguments):
    numbers = lambda text: [int(part) for part in text.split(",")]
    sizes = lambda text: [float(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--ranks", type=numbers, default=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], help="1024 take some 10 GB and minutes")
    add("--n", type=int, default=1000, help="n1 = n2")
    add("--k", type=int, default=20, help="columns of the factors")
    add("--entries_per_rank", type=sizes, default=[1e9], metavar="E[,E...]", help="whole matrices of n^2, rounded")
    add("--reduction", type=lambda text: text.split(","), default=["reproducible", "fast"])
    add("--block_rows", default="auto", help="auto, share (of a rank), or a number")
    add("--entries_per_s", type=float, default=RATES["entries_per_s"], help="of a rank, measured")
    add("--block_s", type=float, default=RATES["block_s"], help="seconds of a block beside its entries, measured")
    add("--fixed_s", type=float, default=RATES["fixed_s"], help="seconds of an iteration that all ranks spend alike, measured")
    add("--calibrate", action="store_true", help="measure these three here first")
    add("--latency", type=float, default=0.5e-6, help="of a link, seconds; four between far hosts")
    add("--bandwidth", type=float, default=12.5e9, help="of a link, bytes per second each way")
    add("--loopback_latency", type=float, default=0.5e-6, help="between ranks of a host")
    add("--loopback_bandwidth", type=float, default=10e9)
    add("--ranks_per_host", type=int, default=16)
    add("--hosts", type=int, default=0, help="0: as many as it takes")
    add("--cores", type=int, default=0, help="of a host; 0: one a rank")
    add("--selector", default="ompi", help="who chooses algorithms of collectives: ompi, mpich, mvapich2, impi, default")
    add("--allreduce", default="rab_rdb", help="an algorithm of SMPI for it (rab_rdb, rdb, lr, ...), or auto: the selector's")
    add("--agree", type=numbers, metavar="P[,P...]", help="measure here with real MPI and compare")
    add("--build", type=pathlib.Path, default=HERE.parent / "build-simulate", help="folder for the drivers")
    add("-o", "--output", type=pathlib.Path, metavar="FILE.csv")
    settings = parser.parse_args(arguments)
    if min(settings.ranks) < 1 or min(settings.entries_per_rank) < settings.n**2 or not set(settings.reduction) <= {"reproducible", "fast"}:
        parser.error("ranks: at least 1; entries_per_rank: at least n^2; reduction: reproducible, fast or both")
    return settings


# Random signs on one core of an AMD EPYC (Zen 5) with AVX-512, n = 1000, k = 20, two ranks at work.
RATES = {"entries_per_s": 40e9, "block_s": 2.6e-3, "fixed_s": 2.2e-3}


def main(arguments):
    settings = parse(arguments)
    if shutil.which("smpirun") is None:
        sys.exit("simulate.py: no smpirun here: install libsimgrid-dev (tools/deps.sh test)")
    program = build(settings.build / "simulated", "-DMPI_C_COMPILER=smpicc") / "weak.so"
    if settings.calibrate or settings.agree:
        measuring = build(settings.build / "measured")
    if settings.agree:
        return agree(program, measuring, settings)
    if settings.calibrate:
        found = calibrate(measuring, len(os.sched_getaffinity(0)), settings.n, settings.k)
        for name in RATES:
            setattr(settings, name, found[name])
    return table(program, settings)


if __name__ == "__main__":
    main(sys.argv[1:])
