#!/usr/bin/python3
"""Kills runs at random, again and again, and damages their files: whatever happens, a run ends with the same bits, and nothing wrong
passes for right. The same seed makes the same choices; when they strike depends on the machine.

usage: soak.py --program PATH [--seed S] [--kills N] [--mutations N] [--minutes M]
"""
import argparse
import collections
import json
import os
import pathlib
import random
import signal
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--program", default=os.environ.get("MXSENSE", "mxsense"), help="mxsense")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of all choices; another one every time")
    parser.add_argument("--kills", type=int, default=100, help="kills and signals")
    parser.add_argument("--mutations", type=int, default=2000, help="damaged copies of a checkpoint and a problem file")
    parser.add_argument("--minutes", type=float, default=60, help="no kill after so many minutes")
    return parser.parse_args()


ARGS = arguments()
os.environ["MXSENSE"] = os.path.abspath(ARGS.program) if os.path.exists(ARGS.program) else ARGS.program
sys.path.insert(0, str(pathlib.Path(__file__).parent / "system"))

# The harness looks for the program when it is imported.
import harness  # noqa: E402
import kills  # noqa: E402

RANKS = (1, 2, 3, 4, 5, 6, 7)
PAUSE = 3.0  # seconds that a start may live, at most
# How a start may be ended, and the exit codes of the launcher; 0: it was faster.
ENDS = {"rank": (137, 0), "launcher": (-signal.SIGKILL, 0), "all": (-signal.SIGKILL, 0), "usr1": (75, 0), "term": (1, 0)}
# What is run: a generated ensemble, and a stored one with measurements held out.
PROBLEMS = ((dict(ensemble="rademacher", n1=32, n2=24, rank=2, measurements=2000, seed=1), dict(k=8)),
            (dict(ensemble="dense", storage="f32", n1=24, n2=20, rank=2, measurements=1200, seed=2), dict(k=6, hold_out=0.1)))
LENGTH = dict(max_iterations=30000, tolerance=0, metrics_every=500, checkpoint_every=200)


class Soak(harness.Case):
    """The counts of what was done, beside the checks of a test case."""

    def runTest(self):
        """There is a name for messages; nothing is run through it."""

    def prepare(self):
        self.setUp()
        self.random = random.Random(ARGS.seed)
        self.counts, self.codes = collections.Counter(), collections.Counter()
        self.runs = self.starts = 0
        self.wholes = []
        for number, (recipe, settings) in enumerate(PROBLEMS):
            problem = self.gen(f"p{number}.h5", **recipe)
            whole = self.solve(problem, f"whole{number}", np=2, limit=600, **settings, **LENGTH)
            self.wholes.append((problem, settings, whole))

    def solve(self, problem, name="run", np=1, code=0, extra=(), limit=600, **settings):
        directory = self.dir / name
        outcome = harness.run("solve", *harness.options(problem=problem, **settings), *extra, "-o", directory, np=np, limit=limit)
        self.assertEqual(outcome.code, code, str(outcome))
        return directory

    def strike(self, process, kind):
        """End it, somehow, unless it has ended by itself."""
        if kind == "rank":
            ranks = process.ranks() if process.running() else []
            kills.end([self.random.choice(ranks)] if ranks else [])
        elif kind == "all":
            kills.end(kills.session(process.popen.pid))
        else:
            process.signal({"launcher": signal.SIGKILL, "usr1": signal.SIGUSR1, "term": signal.SIGTERM}[kind])

    def disturb(self, job):
        """One start that is ended at a random time; returns whether the run is done."""
        kind = self.random.choice(list(ENDS))
        process = job.start(self.random.choice(RANKS))
        # A signal before the log begins may end mpirun itself; a kill may come at any time.
        if kind in ("usr1", "term") or self.random.random() < 0.8:
            process.first_line()
        deadline = time.monotonic() + self.random.uniform(0, PAUSE)
        process.wait_for(lambda: time.monotonic() > deadline)
        self.strike(process, kind)
        outcome = process.finish()
        self.assertIn(outcome.code, ENDS[kind], f"{kind}: {outcome}")
        if kind != "launcher":  # then the next start meets its ranks
            kills.wait_until_gone(process.popen.pid)
        self.leaders.append(process.popen.pid)
        self.assertEqual(outcome.errors, [], f"{kind}: {outcome}")
        if (job.directory / "checkpoint.h5").exists():
            job.verify()
        self.counts[kind] += 1
        self.codes[outcome.code] += 1
        self.starts += 1
        return outcome.code == 0

    def kill_runs(self):
        end = time.monotonic() + 60 * ARGS.minutes
        while sum(self.counts.values()) < ARGS.kills and time.monotonic() < end:
            problem, settings, whole = self.wholes[self.runs % len(self.wholes)]
            job = kills.Job(self, self.dir / f"run{self.runs}", problem, **settings, **LENGTH)
            self.leaders = []
            done = False
            while not done and sum(self.counts.values()) < ARGS.kills and time.monotonic() < end:
                done = self.disturb(job)
            job.complete(self.random.choice(RANKS[:4]), whole, f"run {self.runs}, seed {ARGS.seed}", limit=600)
            for leader in self.leaders:
                kills.wait_until_gone(leader)
            self.starts += 1
            self.runs += 1
            print(f"run {self.runs}: same bits after {len(self.leaders)} disturbed starts; {sum(self.counts.values())} so far", flush=True)

    def damage_files(self):
        """{kind of file: outcomes}; nothing that was damaged may pass."""
        import mutate  # pylint: disable=import-outside-toplevel
        found = {}
        problem, _, whole = self.wholes[1]
        for number, (name, path) in enumerate((("checkpoint", whole / "checkpoint.h5"), ("problem", problem))):
            data = path.read_bytes()
            count = (ARGS.mutations + number) // 2
            folder = self.dir / f"damaged_{name}"
            folder.mkdir()
            damaged = {str(mutation): mutation.apply(data) for mutation in mutate.mutations(ARGS.seed + number, count, len(data))}
            verdict = mutate.judge(path, damaged, folder)
            self.assertEqual(verdict.wrong, {}, f"{name}, seed {ARGS.seed}: {verdict}")
            found[name] = dict(verdict.counts)
        return found


def main():
    begun = time.monotonic()
    print(f"soak: seed {ARGS.seed}, {ARGS.kills} kills, {ARGS.mutations} mutations, {ARGS.minutes:g} min", flush=True)
    soak = Soak()
    try:
        soak.prepare()
        soak.kill_runs()
        mutations = soak.damage_files() if ARGS.mutations > 0 else {}
    finally:
        soak.doCleanups()
    seconds = time.monotonic() - begun
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(soak.counts.items()))
    print(f"soak: {sum(soak.counts.values())} kills ({kinds}) in {soak.runs} runs and {soak.starts} starts, all with the same bits; "
          f"mutations {mutations or 0}; {seconds:.0f} s")
    print(json.dumps({"seed": ARGS.seed, "kills": dict(soak.counts), "codes": {str(code): count for code, count in soak.codes.items()},
                      "runs": soak.runs, "starts": soak.starts, "mutations": mutations, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
