"""One short way through the program on two ranks; in sanitizer builds it is the system's part of the suite."""
import unittest

import numpy as np

import harness
from harness import Case


class Smoke(Case):
    def test_gen_solve_resume_info_export(self):
        problem = self.gen(np=2, n1=12, n2=10, rank=2, measurements=300, hold_out=0.1, seed=1)
        settings = dict(k=4, metrics_every=5, tolerance=1e-6)
        for limit in (20, 400):
            run = self.solve(problem, np=2, max_iterations=limit, **settings)
        self.solve(problem, "whole", np=2, max_iterations=400, **settings)
        self.assert_same_bits(run, self.dir / "whole")
        self.assertLess(harness.summary(run)["test_error"], 1e-2)
        for what in (problem, run, run / "checkpoint.h5"):
            self.run_ok("info", what, np=0)
        self.run_ok("check", "--problem", problem, np=2)
        self.run_ok("export", run, "--what", "X", "--format", "npy", "-o", self.dir / "X.npy", np=0)
        np.testing.assert_allclose(np.load(self.dir / "X.npy"), harness.product(run), atol=1e-14)

    def test_errors_release_everything(self):
        """Exit codes of a sanitizer build would be those of the sanitizer if anything leaked."""
        problem = self.gen(np=2, n1=12, n2=10, rank=2, measurements=300, seed=1)
        for np_ in (0, 2):
            self.solve(self.dir / "nowhere.h5", np=np_, code=66)
            self.solve(problem, np=np_, code=65, init=f"file:{problem}")
            self.solve(problem, np=np_, code=78, measurements=301)
            self.solve(problem, f"diverges{np_}", np=np_, code=76, step=1e3, alpha=0.1, k=3, tolerance=0)


if __name__ == "__main__":
    unittest.main()
