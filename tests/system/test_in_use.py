"""A run directory belongs to one run at a time."""
import os
import signal
import time
import unittest

import harness
from faults import fault
from harness import Case, Process, options


class InUse(Case):
    @fault(26)
    def test_second_run_is_refused(self):
        """It waits for half a minute, names the first, and changes nothing. The first does not notice."""
        problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        run = self.dir / "run"
        settings = options(problem=problem, k=5, max_iterations=10**9, tolerance=0, metrics_every=10**6)
        first = Process(["solve", *settings, "-o", run])
        self.addCleanup(first.end)
        self.assertTrue(first.first_line())
        holder, = first.ranks()
        os.kill(holder, signal.SIGSTOP)  # it holds the directory, and needs no processor for it
        before = harness.tree(run)
        start = time.monotonic()
        second = harness.run("solve", *settings, "-o", run, np=2)
        waited = time.monotonic() - start
        self.assertEqual(second.code, 77, str(second))
        self.assertEqual(len(second.errors), 1, str(second))
        self.assertIn(str(holder), second.errors[0], "the process id of the first")
        self.assertGreater(waited, 25)
        self.assertEqual(harness.tree(run), before)
        os.kill(holder, signal.SIGCONT)
        self.assertTrue(first.running())
        first.signal(signal.SIGUSR1)
        outcome = first.finish()
        self.assertEqual(outcome.code, 75, str(outcome))
        self.assertEqual(harness.attributes(run)["iteration"], harness.summary(run)["iterations"])


if __name__ == "__main__":
    unittest.main()
