"""Threads of a rank change no bit, may change when a run goes on, and are told in the log."""
import unittest

import harness
import reference as ref
from harness import Case


class Threads(Case):
    SETTINGS = dict(k=4, max_iterations=25, metrics_every=6, tolerance=0, alpha=0.05)

    def compare(self, problem, **settings):
        settings = {**self.SETTINGS, **settings}
        first = self.solve(problem, "one", **settings)
        for np_, threads in ((1, 2), (1, 3), (2, 3), (3, 1)):
            self.assert_same_bits(first, self.solve(problem, f"{np_}x{threads}", np=np_, threads=threads, **settings), f"{np_} ranks, {threads} threads")

    def test_dense(self):
        self.compare(harness.write_problem(self.dir / "p.h5", ref.plant(14, 11, 2, 601, seed=1, held_out=90, noise=0.01)))

    def test_rademacher(self):
        self.compare(self.gen(ensemble="rademacher", n1=20, n2=17, rank=2, measurements=901, hold_out=0.1, seed=3), hold_out=0)

    def test_gaussian(self):
        self.compare(self.gen(ensemble="gaussian", n1=12, n2=9, rank=2, measurements=301, seed=3))

    def test_more_threads_than_blocks(self):
        self.compare(harness.write_problem(self.dir / "p.h5", ref.plant(6, 5, 1, 3, seed=4)), k=2)

    def test_may_change_on_resume(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        whole = self.solve(problem, "whole", **self.SETTINGS)
        for last, np_, threads in ((5, 1, 3), (11, 2, 1), (25, 1, 2)):
            parts = self.solve(problem, "parts", np=np_, threads=threads, **{**self.SETTINGS, "max_iterations": last})
        self.assert_same_bits(whole, parts)

    def test_log(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        self.solve(problem, "a", np=2, threads=3, **self.SETTINGS)
        self.assertIn("2 ranks, 3 threads each", self.outcome.out.splitlines()[0])
        self.solve(problem, "b", np=2, **self.SETTINGS)
        self.assertNotIn("threads", self.outcome.out)

    def test_refused(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        for value in ("0", "auto", "1,2", "2.5"):
            self.solve(problem, code=78, **{**self.SETTINGS, "threads": value})
            self.assertIn("threads", self.outcome.errors[0])


if __name__ == "__main__":
    unittest.main()
