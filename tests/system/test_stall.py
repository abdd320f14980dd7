"""A run that makes no progress says which ranks do not answer, goes on when they do, and ends in bounded time where it was told to."""
import os
import re
import signal
import unittest

import harness
from faults import fault
from harness import Case, Process


class Stall(Case):
    ENDLESS = dict(k=5, max_iterations=10**9, tolerance=0, metrics_every=10**6, stall_warning="1s")
    SHORT = dict(k=5, max_iterations=300, tolerance=0, metrics_every=50, checkpoint_every=100, stall_warning="1s")

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.directory = self.dir / "run"

    def start(self, np, fault=None, **settings):
        process = Process(["solve", *harness.options(problem=self.problem, **settings), "-o", self.directory], np=np, fault=fault)
        self.addCleanup(process.end)
        return process

    def warnings(self, process):
        return [line for line in process.text("err").splitlines() if "no progress" in line]

    @fault(30)
    def test_stopped_ranks_are_named_and_the_run_goes_on(self):
        process = self.start(4, **self.ENDLESS)
        self.assertTrue(process.first_line())
        ranks = process.ranks()
        stopped = ranks[1], ranks[3]
        process.wait_for(lambda: (self.directory / "metrics.csv").exists())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        self.assertTrue(process.wait_for(lambda: self.warnings(process)), process.text("err"))
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        self.assertTrue(process.wait_for(lambda: "goes on at iteration" in process.text("out")), process.text("out"))
        process.signal(signal.SIGUSR1)
        outcome = process.finish()
        self.assertEqual(outcome.code, 75, str(outcome))
        line = next(line for line in outcome.lines("warning") if "no progress" in line)
        self.assertEqual({int(pid) for pid in re.findall(r"process (\d+)", line)}, set(stopped))
        self.assertRegex(line, r"do not answer; each of the ranks 0, 2 waits for the (sums of the )?other ranks")
        self.assertEqual(len(harness.events(self.directory, "stall")), 1)
        self.assertFalse((self.directory / ".stall").exists())

    @fault(30)
    def test_the_root_is_named_too(self):
        process = self.start(3, **self.ENDLESS)
        self.assertTrue(process.first_line())
        process.wait_for(lambda: (self.directory / "metrics.csv").exists())
        root = process.ranks()[0]
        os.kill(root, signal.SIGSTOP)
        self.assertTrue(process.wait_for(lambda: self.warnings(process)), process.text("err"))
        os.kill(root, signal.SIGCONT)
        self.assertIn("rank 0 (host ", self.warnings(process)[0])
        self.assertIn(f"process {root})", self.warnings(process)[0])
        process.signal(signal.SIGUSR1)
        self.assertEqual(process.finish().code, 75)

    def ends(self, np, rule, code, **settings):
        """The run hangs, ends by itself with `code` and one error, and the same line, undisturbed, ends with the same bits."""
        whole = self.solve(self.problem, "whole", **self.SHORT)
        process = self.start(np, rule, **{**self.SHORT, **settings})
        outcome = process.finish()
        self.assertEqual(outcome.code, code, str(outcome))
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn("no progress", outcome.errors[0])
        self.solve(self.problem, "run", np=2, **self.SHORT)
        self.assert_same_bits(whole, self.directory)

    @fault(30)
    def test_limit(self):
        self.ends(3, "hang:MPI_Allreduce=1000:150:1", 70, stall_limit="2s")

    @fault(8, 30)
    def test_checkpoint_that_hangs(self):
        """As a collective write on a full disk does with one of the MPI-IO back ends."""
        self.ends(3, "hang:H5Dwrite:40:2", 74, stall_limit="2s")

    @fault(24)
    def test_crowd(self):
        """More ranks or threads than cores: a warning with numbers, the same bits."""
        cores = len(os.sched_getaffinity(0))
        whole = self.solve(self.problem, "whole", **self.SHORT)
        for name, np, threads in (("ranks", cores + 1, 1), ("threads", 1, 4 * cores)):
            run = self.solve(self.problem, name, np=np, **self.SHORT, threads=threads)
            warning, = self.outcome.crowded
            self.assertIn(f"share {cores} core", warning)
            self.assert_same_bits(whole, run)
        bound = self.solve(self.problem, "bound", np=1, **self.SHORT, threads=2, env={"OMPI_MCA_hwloc_base_binding_policy": "core"})
        self.assertEqual(len(self.outcome.crowded), 1, str(self.outcome))
        self.assert_same_bits(whole, bound)


if __name__ == "__main__":
    unittest.main()
