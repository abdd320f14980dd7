"""However often a run is interrupted, and on whatever number of ranks it goes on, it ends as if nothing had happened."""
import os
import random
import shutil
import signal
import time
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from faults import fault
from harness import RANKS, Case, Process, options

CYCLE = (2, 3, 1, 7, 4)


@fault(22)
class EveryIteration(Case):
    def chain(self, problem, last, **settings):
        settings = dict(k=4, tolerance=0, alpha=0.05, **settings)
        whole = self.solve(problem, "whole", max_iterations=last, **settings)
        for t in range(1, last + 1):
            parts = self.solve(problem, "parts", np=CYCLE[t % len(CYCLE)], max_iterations=t, **settings)
            self.assertEqual(harness.attributes(parts)["iteration"], t)
            self.assertEqual(int(harness.rows(parts)[-1]["iteration"]), t)
        self.assert_same_bits(whole, parts)
        left, right = (harness.summary(run) for run in (whole, parts))
        for key in ("reason", "iterations", "loss", "relative_residual", "validation_loss", "test_error", "rank_estimate",
                    "passes_over_A"):
            self.assertEqual(left[key], right[key], key)
        seconds = harness.column(parts, "seconds")
        self.assertTrue(all(a <= b for a, b in zip(seconds, seconds[1:])), "seconds are cumulative")

    def test_dense(self):
        problem = ref.plant(11, 9, 2, 301, seed=1, held_out=40)
        self.chain(harness.write_problem(self.dir / "p.h5", problem), 12, metrics_every=5)

    def test_wide_range(self):
        """Rows over 11 orders of magnitude: what the exact sums keep of the small ones depends on the saved scales."""
        problem = ref.plant(12, 8, 2, 301, seed=2)
        size = 10.0**-np.arange(12.0)[:, None]
        problem.A *= (size * np.ones(8)).ravel()
        problem.y = problem.A @ problem.X.ravel()
        rng = np.random.default_rng(3)
        start = harness.write_factors(self.dir / "start.h5", 0.1 * size * rng.standard_normal((12, 4)), 0.1 * rng.standard_normal((8, 4)))
        self.chain(harness.write_problem(self.dir / "p.h5", problem), 12, metrics_every=5, init=f"file:{start}")

    def test_generated_with_hold_out(self):
        self.chain(self.gen(ensemble="rademacher", n1=11, n2=9, rank=2, measurements=301, seed=1), 6, metrics_every=1, hold_out=0.1)


class Signals(Case):
    """A longer run, asked to stop or to save; test_kill.py has those that are killed."""
    LENGTH = dict(k=5, max_iterations=12000, tolerance=0, metrics_every=300)
    INTERRUPTIONS = 6

    def setUp(self):
        super().setUp()
        seed = random.SystemRandom().randrange(2**32)
        self.random = random.Random(seed)
        print(f"{self.id()}: seed {seed}", flush=True)
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        start = time.monotonic()
        self.whole = self.solve(self.problem, "whole", np=2, **self.LENGTH)
        self.duration = time.monotonic() - start
        self.run_dir = self.dir / "parts"

    def start(self, np, **settings):
        # What killed ranks leave of shared memory goes with the test's folder.
        process = Process(["solve", *options(problem=self.problem, **{**self.LENGTH, **settings}), "-o", self.run_dir], np=np,
                          env={"OMPI_MCA_btl_vader_backing_directory": str(self.dir)})
        self.addCleanup(process.end)
        return process

    def pause(self, process):
        """A random while into the run, of what the whole takes now."""
        self.assertTrue(process.first_line(), process.text("err"))
        end = time.monotonic() + self.random.uniform(0, 0.3 * self.duration)
        process.wait_for(lambda: time.monotonic() > end)

    def until_done(self, interrupt, **settings):
        """Interrupt every start until one ends by itself; returns the codes."""
        codes = []
        while not codes or codes[-1] == 75:
            process = self.start(self.random.choice(RANKS[:4]), **settings)
            if len(codes) < self.INTERRUPTIONS:
                self.pause(process)
                interrupt(process)
            outcome = process.finish()
            codes.append(outcome.code)
            self.assertIn(outcome.code, (0, 75), str(outcome))
            self.assertEqual(outcome.errors, [])
            summary = harness.summary(self.run_dir)
            self.assertEqual(summary["reason"], "stopped" if outcome.code == 75 else "target")
            self.assertEqual(harness.attributes(self.run_dir)["iteration"], summary["iterations"])
        self.assertIn(75, codes, "no start was interrupted")
        self.assert_same_bits(self.whole, self.run_dir, f"after {codes}")

    def test_stop_file(self):
        stop = self.run_dir / "STOP"
        self.until_done(lambda process: process.running() and stop.touch())
        if stop.exists():  # made when the last start had ended: the next one obeys, and has nothing to do
            self.solve(self.problem, "parts", **self.LENGTH)
            self.assertFalse(stop.exists())

    def test_usr2_checkpoints_and_goes_on(self):
        process = self.start(2, checkpoint_every="1h")
        self.assertTrue(process.first_line())
        process.signal(signal.SIGUSR2)
        written = process.wait_for((self.run_dir / "checkpoint.h5").exists)
        self.assertTrue(written, "no checkpoint before the end")
        at = harness.attributes(self.run_dir)["iteration"]
        outcome = process.finish()
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assertLess(at, self.LENGTH["max_iterations"])
        self.assert_same_bits(self.whole, self.run_dir)


class Directory(Case):
    """What a run directory promises."""

    def setUp(self):
        super().setUp()
        problem = ref.plant(11, 9, 2, 301, seed=1)
        self.problem = harness.write_problem(self.dir / "p.h5", problem)
        self.settings = dict(k=4, tolerance=0, max_iterations=30)

    def flip(self, path):
        data = bytearray(path.read_bytes())
        with h5py.File(path, "r") as file:
            dataset = file["factors/U"].id
            where = dataset.get_offset() if dataset.get_offset() else dataset.get_chunk_info(0).byte_offset
        data[where + 3] ^= 1
        path.write_bytes(bytes(data))

    def test_config_fed_back_repeats_the_run(self):
        first = self.solve(self.problem, "first", alpha=1e-2, seed=5, **self.settings)
        second = self.dir / "second"
        self.run_ok("solve", first / "config.yaml", "-o", second, np=3)
        self.assert_same_bits(first, second)
        self.assertEqual((first / "config.yaml").read_text(), (second / "config.yaml").read_text())

    def test_nothing_to_do(self):
        run = self.solve(self.problem, **self.settings)
        before = {name: data for name, data in harness.tree(run).items() if name in ("checkpoint.h5", "metrics.csv", "config.yaml")}
        for settings in (self.settings, {**self.settings, "max_iterations": 10}):
            self.solve(self.problem, np=3, **settings)
            self.assertIn("nothing to do", self.outcome.out)
            after = harness.tree(run)
            self.assertEqual([name for name in before if before[name] != after[name]], [])

    def test_allowed_changes(self):
        moved = self.dir / "moved" / "q.h5"
        moved.parent.mkdir()
        shutil.copy(self.problem, moved)
        run = self.solve(self.problem, **self.settings)
        for number, change in enumerate((dict(max_iterations=40), dict(tolerance=1e-12), dict(checkpoint_every="5,1min"),
                                         dict(metrics_every=3), dict(progress="off"))):
            settings = {**self.settings, **change, "max_iterations": 40 + number}
            with self.subTest(change):
                self.solve(self.problem, **settings)
                self.assertEqual(harness.attributes(run)["iteration"], 40 + number)
        self.solve(moved, **{**self.settings, "max_iterations": 50})
        self.assertEqual(harness.attributes(run)["iteration"], 50)

    def test_new_cadence_of_metrics_from_there_on(self):
        self.solve(self.problem, **self.settings)
        run = self.solve(self.problem, **{**self.settings, "max_iterations": 45, "metrics_every": 5})
        self.assertEqual(harness.column(run, "iteration").tolist(), [0, 10, 20, 30, 35, 40, 45])

    @fault(12)
    def test_damaged_checkpoints(self):
        """The newest good one is used, with a warning; without any, exit 74; never a wrong bit."""
        whole = self.solve(self.problem, "whole", **self.settings)
        for name, damage in (("cut", lambda path: os.truncate(path, path.stat().st_size // 2)), ("empty", lambda path: os.truncate(path, 0)),
                             ("flipped", self.flip)):
            with self.subTest(name):
                self.solve(self.problem, name, **{**self.settings, "max_iterations": 10})
                run = self.solve(self.problem, name, **{**self.settings, "max_iterations": 20})
                damage(run / "checkpoint.h5")
                self.solve(self.problem, name, np=2, **self.settings)
                self.assertEqual(len(self.outcome.lines("warning")), 1, str(self.outcome))
                self.assert_same_bits(whole, run)
                for file in ("checkpoint.h5", "checkpoint.prev.h5"):
                    damage(run / file)
                self.solve(self.problem, name, np=2, code=74, **self.settings)
                self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))

    def test_files(self):
        run = self.solve(self.problem, np=2, **self.settings)
        for name in ("checkpoint.h5", "metrics.csv", "config.yaml", "summary.json", "events.jsonl", "log.txt"):
            self.assertTrue((run / name).is_file(), name)
        attributes = harness.attributes(run)
        self.assertEqual((attributes["format"], attributes["iteration"], attributes["reason"]), ("mxsense-checkpoint", 30, "target"))
        self.assertTrue(attributes["finished"])
        with h5py.File(run / "checkpoint.h5", "r") as file:
            config = file["config"][()]
            history = {name: data[...] for name, data in file["metrics"].items()}
        config = config.decode() if isinstance(config, bytes) else config
        self.assertEqual(config, (run / "config.yaml").read_text())
        table = harness.rows(run)
        self.assertEqual(set(history), set(table[0]))
        for name, values in history.items():
            self.assertEqual([repr(float(value)) for value in values], [repr(float(row[name])) for row in table], name)
        out = {line for line in self.outcome.out.splitlines() if line.strip()}
        log = set((run / "log.txt").read_text().splitlines())
        self.assertLessEqual(out, log, "the log has what went to standard output")
        summary = harness.summary(run)
        self.assertLessEqual({"reason", "iterations", "loss", "relative_residual", "validation_loss", "test_error", "rank_estimate",
                              "passes_over_A", "certificate", "timings", "rates", "build", "machine"}, set(summary))
        self.assertIsNone(summary["certificate"])
        events = harness.events(run)
        self.assertGreaterEqual(len(events), 3)


if __name__ == "__main__":
    unittest.main()
