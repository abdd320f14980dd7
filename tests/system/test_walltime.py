"""A run ends before its time is up, with a checkpoint, and checkpoints take no more of it than their share."""
import os
import stat
import time
import unittest

import harness
from faults import fault
from harness import Case


class Walltime(Case):
    LENGTH = dict(k=5, max_iterations=12000, tolerance=0, metrics_every=300)

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)

    @fault(6)
    def test_chain_ends_with_the_same_bits(self):
        whole = self.solve(self.problem, "whole", np=2, **self.LENGTH)
        codes, parts = [], self.dir / "parts"
        while not codes or codes[-1] == 75:
            outcome = harness.run("solve", *harness.options(problem=self.problem, max_walltime="1.2s", **self.LENGTH), "-o", parts,
                                  np=1 + len(codes) % 3)
            codes.append(outcome.code)
            self.assertIn(outcome.code, (0, 75), str(outcome))
            summary = harness.summary(parts)
            self.assertEqual(summary["reason"], "walltime" if outcome.code == 75 else "target")
            self.assertEqual(harness.attributes(parts)["reason"], summary["reason"])
            self.assertLess(len(codes), 200, "every start gets on")
        self.assert_same_bits(whole, parts, f"after {codes}")

    def endless(self, name, **settings):
        settings = {**self.LENGTH, "max_iterations": 10**9, **settings}
        return harness.options(problem=self.problem, **settings), self.dir / name

    @fault(6)
    def test_of_the_scheduler(self):
        """From the variable of newer Slurms, or from squeue."""
        settings, run = self.endless("variable")
        outcome = harness.run("solve", *settings, "-o", run, np=2, env={"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time()) + 3)})
        self.assertEqual(outcome.code, 75, str(outcome))
        self.assertEqual(harness.summary(run)["reason"], "walltime")
        self.assertIn("Slurm", outcome.out)
        folder = self.dir / "bin"
        folder.mkdir()
        squeue = folder / "squeue"
        squeue.write_text('#!/bin/sh\n[ "$*" = "-h -o %L -j 7" ] && echo 0:03\n')
        squeue.chmod(squeue.stat().st_mode | stat.S_IXUSR)
        path = f"{folder}:{os.environ['PATH']}"
        settings, run = self.endless("squeue")
        # Without a launcher: one that is called by its path puts its own folder first.
        outcome = harness.run("solve", *settings, "-o", run, np=0, env={"SLURM_JOB_ID": "7", "PATH": path})
        self.assertEqual(outcome.code, 75, str(outcome))
        self.assertEqual(harness.summary(run)["reason"], "walltime")
        # A setting wins over the scheduler, and a scheduler that knows nothing is no hindrance.
        for number, text in enumerate(("UNLIMITED", "", "slurm_load_jobs error")):
            squeue.write_text(f"#!/bin/sh\necho {text}\n")
            limited = self.solve(self.problem, f"free{number}", np=0, **{**self.LENGTH, "max_iterations": 20},
                                 env={"SLURM_JOB_ID": "7", "PATH": path})
            self.assertEqual(harness.summary(limited)["reason"], "target")
        self.solve(self.problem, "setting", **{**self.LENGTH, "max_iterations": 20, "max_walltime": "1h"},
                   env={"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time()) - 100)})

    def test_time_that_is_over_leaves_a_checkpoint(self):
        run = self.solve(self.problem, code=75, **self.LENGTH, max_walltime="0s")
        self.assertEqual(harness.attributes(run)["iteration"], 0)
        self.run_ok("info", run, np=0)

    def test_checkpoints_take_no_more_than_their_share(self):
        share = 0.05
        settings, run = self.endless("share", checkpoint_every=1, checkpoint_share=share, max_walltime="4s")
        outcome = harness.run("solve", *settings, "-o", run)
        self.assertEqual(outcome.code, 75, str(outcome))
        self.assertIn("checkpoint_share", outcome.out)
        written = [event["seconds"] for event in harness.events(run, "checkpoint")]
        self.assertGreater(len(written), 2, "they are spaced out, not left out")
        # The first and the last one wait for nothing.
        self.assertLess(sum(written[1:-1]), 2 * share * harness.summary(run)["timings"]["wall"])
        eager = self.solve(self.problem, "eager", **{**self.LENGTH, "max_iterations": 30}, checkpoint_every=1, checkpoint_share=1)
        self.assertGreaterEqual(len(harness.events(eager, "checkpoint")), 30)


if __name__ == "__main__":
    unittest.main()
