"""The same bits at any number of ranks: factors, and every column of the metrics but for `seconds`."""
import os
import unittest
from unittest import mock

import harness
import reference as ref
from faults import fault
from harness import RANKS, Case


class SameBits(Case):
    SETTINGS = dict(max_iterations=40, metrics_every=7, tolerance=0)

    def compare(self, problem, k, **settings):
        """Runs at all rank counts, each against the one before."""
        runs = [self.solve(problem, f"np{np}", np=np, k=k, **{**self.SETTINGS, **settings}) for np in RANKS]
        for run in runs[1:]:
            self.assert_same_bits(runs[0], run)
        return runs[0]

    def write(self, dtype="f8", **recipe):
        return harness.write_problem(self.dir / "p.h5", ref.plant(**recipe), dtype=dtype)

    def test_dense(self):
        self.compare(self.write(n1=14, n2=11, r=2, m=601, seed=1, held_out=90, noise=0.01), 5)

    def test_dense_float32(self):
        self.compare(self.write(dtype="f4", n1=33, n2=20, r=2, m=701, seed=2), 6)

    def test_rademacher(self):
        self.compare(self.gen(ensemble="rademacher", n1=20, n2=17, rank=2, measurements=901, hold_out=0.1, seed=3), 6)

    def test_gaussian8(self):
        self.compare(self.gen(ensemble="gaussian8", n1=20, n2=17, rank=2, measurements=901, hold_out=0.1, seed=3), 6)

    def test_bits(self):
        """Stored bits, and signs made anew: one run."""
        problem = self.gen(ensemble="rademacher", n1=20, n2=17, rank=2, measurements=901, hold_out=0.1, seed=3)
        stored = self.compare(problem, 6, storage="bits")
        made = self.solve(problem, "made", np=2, k=6, **self.SETTINGS)
        self.assert_same_bits(stored, made, "bits")

    def test_bf16(self):
        self.compare(self.gen(ensemble="dense", storage="bf16", n1=20, n2=17, rank=2, measurements=401, seed=3), 6)

    def test_block_rows(self):
        problem = self.gen(ensemble="rademacher", n1=20, n2=17, rank=2, measurements=901, seed=3)
        for rows, blocks in ((40, 23), (901, 1)):
            with self.subTest(block_rows=rows):
                runs = [self.solve(problem, f"{rows}np{np}", np=np, k=6, block_rows=rows, **self.SETTINGS) for np in (1, 2, 3)]
                self.assertIn(f" {blocks} blocks of {rows} measurements", (runs[0] / "log.txt").read_text())
                for run in runs[1:]:
                    self.assert_same_bits(runs[0], run)

    def test_block_rows_of_the_file(self):
        """The blocks of the ensemble fast are part of what it is."""
        problem = self.gen(ensemble="fast", n1=20, n2=17, rank=2, measurements=300, blocks=3)
        self.solve(problem, "same", k=6, block_rows=100, max_iterations=2)
        self.solve(problem, "other", k=6, block_rows=50, max_iterations=2, code=78)
        self.assertIn("block_rows = 50", self.outcome.err)

    def test_gaussian(self):
        self.compare(self.gen(ensemble="gaussian", n1=20, n2=17, rank=2, measurements=701, noise=0.1, seed=3), 6)

    def test_hold_out(self):
        self.compare(self.write(n1=14, n2=11, r=2, m=601, seed=1), 5, hold_out=0.2)

    def test_more_ranks_than_blocks(self):
        run = self.compare(self.write(n1=6, n2=5, r=1, m=70, seed=4), 2)
        self.assertEqual(len(harness.rows(run)), 7)

    @fault(23)
    def test_three_measurements(self):
        self.compare(self.write(n1=6, n2=5, r=1, m=3, seed=5), 2)

    def test_scale_jumps(self):
        """A start far too large and one far too small make passes that must be repeated on another scale."""
        problem = self.write(n1=8, n2=7, r=1, m=301, seed=6)
        for alpha in (30.0, 1e-30):
            with self.subTest(alpha=alpha):
                a, b = (self.solve(problem, f"{alpha}np{np}", np=np, k=2, alpha=alpha, step=1e-5, **self.SETTINGS) for np in (1, 3))
                self.assert_same_bits(a, b)

    def test_threads_of_blas(self):
        """Many a cluster sets the number of threads for all programs: large enough products would come out otherwise."""
        problem = self.gen(ensemble="rademacher", n1=300, n2=260, rank=4, measurements=3000)
        runs = []
        for threads in ("1", "2"):
            with mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads):
                runs.append(self.solve(problem, f"threads{threads}", k=60, max_iterations=10))
        self.assert_same_bits(*runs)

    def test_a_run_repeats(self):
        problem = self.write(n1=14, n2=11, r=2, m=601, seed=1)
        a, b = (self.solve(problem, name, np=2, k=5, **self.SETTINGS) for name in "ab")
        self.assert_same_bits(a, b)

    def test_comparison_can_fail(self):
        problem = self.write(n1=14, n2=11, r=2, m=601, seed=1)
        a, b = (self.solve(problem, name, np=np, k=5, reduction="fast", **self.SETTINGS) for name, np in (("a", 1), ("b", 7)))
        with self.assertRaises(AssertionError):
            self.assert_same_bits(a, b)
        self.assert_close(harness.product(b), harness.product(a), 1e-10)


if __name__ == "__main__":
    unittest.main()
