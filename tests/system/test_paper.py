"""Stated properties of small-start factorised descent, at small size: 60 x 50, rank 3, singular values 1, 0.75, 0.5, m = 963."""
import unittest

import numpy as np

import harness
import reference as ref
from harness import Case

M, N1, N2 = 963, 60, 50


class Properties(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="gaussian", n1=N1, n2=N2, rank=3, condition=2, measurements=M, seed=7)
        self.dense = ref.load(self.problem)
        # Entries of a stored A are read faster than they are generated; y is of what is stored.
        self.dense.A = self.dense.A.astype("f4").astype("f8")
        self.dense.y = self.dense.A @ self.dense.X.ravel()
        self.path = harness.write_problem(self.dir / "dense.h5", self.dense, dtype="f4")

    def follow(self, name, iterations, **settings):
        settings = {**dict(k=20, tolerance=0, metrics_every=5), **settings}
        return self.solve(self.path, name, np=2, max_iterations=iterations, **settings)

    def test_error_falls_with_the_start(self):
        """A large start interpolates and does not recover; below, the error follows a power of alpha."""
        large = self.follow("large", 1500, alpha=0.1, tolerance=1e-6)
        self.assertLess(harness.summary(large)["relative_residual"], 2e-6)
        self.assertGreater(harness.summary(large)["test_error"], 0.5)
        alphas = 10.0**-np.arange(2, 7)
        errors = []
        for alpha in alphas:
            run = self.follow(f"{alpha:.0e}", 500, alpha=alpha)
            errors.append(harness.column(run, "test_error").min())
        self.assertTrue(all(a > b for a, b in zip(errors, errors[1:])), errors)
        self.assertLess(errors[-1], 2e-3)
        slope = np.polyfit(np.log(alphas), np.log(errors), 1)[0]
        self.assertTrue(0.4 < slope < 0.9, slope)
        sigma = np.linalg.svd(self.dense.back_projection(), compute_uv=False)
        step = self.dense.auto_step()
        predicted = 2 * (1 - np.log1p(step * sigma[3]) / np.log1p(step * sigma[2]))
        self.assertLess(abs(slope - predicted), 0.25, f"slope {slope}, predicted {predicted}")

    def test_balance(self):
        """The largest imbalance is of the step's size, and not of the start's."""
        def largest(step, alpha):
            return harness.column(self.follow(f"{step}{alpha:.0e}", int(60 / step), step=step, alpha=alpha), "imbalance").max()

        steps = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
        values = [largest(step, 1e-4) for step in steps]
        slope = np.polyfit(np.log(steps), np.log(values), 1)[0]
        self.assertTrue(0.9 < slope < 1.2, f"slope {slope} of {values}")
        ratio = values[2] / largest(1 / 4, 1e-6)
        self.assertTrue(1 / 1.5 < ratio < 1.5, ratio)

    def test_exact_rank_converges(self):
        """With k = r the error falls to rounding; with more columns it stays on a plateau that grows slowly with k."""
        exact = self.follow("exact", 1500, k=3, alpha=1e-4)
        self.assertLess(harness.summary(exact)["test_error"], 1e-12)
        plateaus, times = [], []
        for k in (6, 50):
            run = self.follow(f"k{k}", 500, k=k, alpha=1e-4)
            error = harness.column(run, "test_error")
            plateaus.append(error[-1])
            times.append(np.argmax(error < 0.5))
        self.assertTrue(1e-6 < plateaus[0] < plateaus[1] < 5 * plateaus[0], plateaus)
        self.assertGreaterEqual(*times)

    def test_phases_come_in_order(self):
        """Alignment with the back-projection, then growth, then refinement towards the truth.

        The phases go by the largest gap in the spectrum of the back-projection. With so few measurements it is at the rank
        where the singular values of the truth are equal; where they are not, it may come after the first of them."""
        equal = self.gen(name="equal.h5", ensemble="gaussian", n1=N1, n2=N2, rank=3, measurements=M, seed=7)
        sigma = np.linalg.svd(ref.load(equal).back_projection(), compute_uv=False)
        self.assertEqual(np.argmax(sigma[:20] / sigma[1:21]), 2)
        run = self.solve(equal, "phases", np=2, k=20, tolerance=0, max_iterations=500, alpha=1e-6, metrics_every=1)
        phase = harness.column(run, "phase")
        self.assertEqual(sorted(set(phase)), [1, 2, 3])
        self.assertTrue(np.all(np.diff(phase) >= 0))
        two, three = np.argmax(phase == 2), np.argmax(phase == 3)
        data, truth, error = (harness.column(run, name) for name in ("angle_data_left", "angle_left", "test_error"))
        nearest = np.argmin(data)
        self.assertLess(nearest, three, "phases 1 and 2 align with the back-projection")
        self.assertLess(data[nearest], truth[nearest] / 2)
        self.assertLess(data[two], 0.5)
        self.assertLess(truth[-1], data[-1] / 2, "phase 3 leaves it for the truth")
        self.assertLess(truth[-1], 0.02)
        self.assertGreater(error[two], 0.9)
        self.assertLess(error[-1], 0.01)
        loss = harness.column(run, "loss")
        self.assertLess(loss[two] / loss[0], 1)
        self.assertGreater(loss[two] / loss[0], 0.5)

    def test_effective_rank(self):
        """The iterates prefer low rank: near the end the spectrum is that of the truth, with 20 columns."""
        run = self.follow("rank", 400, alpha=1e-6)
        self.assertEqual(harness.summary(run)["rank_estimate"], 3)
        sigma = np.array([1, 0.75, 0.5])
        p = sigma / sigma.sum()
        self.assertAlmostEqual(harness.column(run, "effective_rank")[-1], np.exp(-np.sum(p * np.log(p))), delta=0.05)
        for j in range(3):
            self.assertAlmostEqual(harness.column(run, f"sigma_{j + 1}")[-1], sigma[j], delta=0.01)


if __name__ == "__main__":
    unittest.main()
