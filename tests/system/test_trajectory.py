"""From the same start, the program and the numpy reference go the same way: factors and every column of the metrics."""
import unittest

import numpy as np

import harness
import reference as ref
from harness import Case

TOLERANCE = 1e-10  # after 100 iterations; rounding grows with the factors, from 1e-16
ITERATIONS = 100

# Shape, measurements (not a multiple of a block), rank and columns; how the file is written.
CASES = {
    "square": dict(n1=12, n2=12, r=2, m=197, k=5),
    "rectangular": dict(n1=17, n2=9, r=2, m=203, k=4),
    "wide": dict(n1=6, n2=21, r=2, m=211, k=4),
    "k_below_r": dict(n1=13, n2=11, r=3, m=301, k=1),
    "k_is_r": dict(n1=13, n2=11, r=3, m=301, k=3),
    "k_above_both": dict(n1=9, n2=8, r=2, m=131, k=11),
    "one_column": dict(n1=15, n2=1, r=1, m=45, k=2),
    "one_measurement": dict(n1=4, n2=3, r=1, m=1, k=2),
    "float32": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(dtype="f4")),
    "big_endian": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(dtype=">f8")),
    "big_endian_float32": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(dtype=">f4")),
    "chunked_gzip": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(chunks=(7, 5, 3), compression="gzip", shuffle=True)),
    "flat": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(layout="2d")),
    "flat_fletcher32": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(layout="2d", chunks=(64, 16), compression="gzip", fletcher32=True)),
    "int8": dict(n1=12, n2=10, r=2, m=197, k=5, entries="integer", file=dict(dtype="i1")),
    "int32_big_endian": dict(n1=12, n2=10, r=2, m=197, k=5, entries="integer", file=dict(dtype=">i4")),
    "int64": dict(n1=12, n2=10, r=2, m=197, k=5, entries="integer", file=dict(dtype="i8")),
    "truth_matrix": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(truth="matrix")),
    "no_truth": dict(n1=12, n2=10, r=2, m=197, k=5, file=dict(truth=None)),
    "held_out": dict(n1=12, n2=10, r=2, m=197, k=5, held_out=37, noise=0.1),
    "held_out_flat_float32": dict(n1=12, n2=10, r=2, m=197, k=5, held_out=37, file=dict(dtype="f4", layout="2d")),
}


class Trajectory(Case):
    def compare_rows(self, directory, expected, problem):
        table = harness.rows(directory)
        self.assertEqual([int(row["iteration"]) for row in table], sorted(expected))
        for row in table:
            wanted = expected[int(row["iteration"])]
            # Differences of large numbers are only as good as the numbers.
            floor = {"imbalance": wanted["sigma_1"], "loss": np.mean(problem.y**2), "grad_norm": wanted["sigma_1"],
                     "test_error": 1.0, "validation_loss": np.mean(problem.y**2)}
            for name, value in wanted.items():
                actual = float(row[name])
                note = f"{name} at iteration {row['iteration']}: {actual} instead of {value}"
                if np.isnan(value):
                    self.assertTrue(np.isnan(actual), note)
                    continue
                size = abs(value)
                if name.startswith("angle"):
                    size = 1.0
                elif name.startswith("sigma"):
                    size = max(size, 1e-3 * wanted["sigma_1"])
                elif name in floor:
                    size = max(size, 1e-4 * floor[name])
                self.assertLessEqual(abs(actual - value), TOLERANCE * size, note)

    def follow(self, name, np_, n1, n2, r, m, k, held_out=0, noise=0.0, entries="normal", file=None):
        problem = ref.plant(n1, n2, r, m, seed=len(name), sigma=np.linspace(1, 0.6, r), held_out=held_out, noise=noise,
                            entries=entries)
        file = file or {}
        path = harness.write_problem(self.dir / "p.h5", problem, **file)
        read = ref.load(path)
        if file.get("truth", "factors") == "matrix":
            read.U, read.V = problem.U, problem.V
        rng = np.random.default_rng(100 + len(name))
        U, V = (0.1 * rng.standard_normal((n, k)) for n in (n1, n2))
        start = harness.write_factors(self.dir / "start.h5", U, V)
        step = read.auto_step()
        directory = self.solve(path, np=np_, k=k, init=f"file:{start}", max_iterations=ITERATIONS, tolerance=0, metrics_every=7)
        wanted_U, wanted_V, wanted_rows = ref.descend(read, U, V, step, ITERATIONS, every=7)
        self.assert_close(harness.product(directory), wanted_U @ wanted_V.T, TOLERANCE)
        for actual, wanted in zip(harness.factors(directory), (wanted_U, wanted_V)):
            self.assert_close(actual, wanted, TOLERANCE)
        self.compare_rows(directory, wanted_rows, read)
        self.check_summary(directory, wanted_rows[ITERATIONS], read, wanted_U, wanted_V)

    def check_summary(self, directory, row, problem, U, V):
        summary = harness.summary(directory)
        self.assertEqual((summary["reason"], summary["iterations"]), ("target", ITERATIONS))
        residual = np.linalg.norm(problem.residual(U, V)) / np.linalg.norm(problem.y)
        self.assertAlmostEqual(summary["relative_residual"], residual, delta=1e-8 * max(residual, 1e-6))
        for name in ("loss", "validation_loss", "test_error"):
            if np.isnan(row[name]):
                self.assertIsNone(summary[name])
            else:
                self.assertAlmostEqual(summary[name], row[name], delta=1e-8 * max(row[name], 1e-6))

    def test_cases(self):
        for index, (name, case) in enumerate(CASES.items()):
            with self.subTest(name):
                self.follow(name, index % 3, **case)
            self.doCleanups()
            self.setUp()


class Settings(Case):
    """Settings that change the way, each against the reference."""

    def setUp(self):
        super().setUp()
        self.problem = ref.plant(12, 10, 2, 197, seed=5, sigma=(1, 0.6))
        self.path = harness.write_problem(self.dir / "p.h5", self.problem)
        rng = np.random.default_rng(6)
        self.U, self.V = (0.1 * rng.standard_normal((n, 4)) for n in (12, 10))
        self.start = harness.write_factors(self.dir / "start.h5", self.U, self.V)

    def follow(self, problem, mu, **settings):
        directory = self.solve(self.path, k=4, init=f"file:{self.start}", max_iterations=30, tolerance=0, **settings)
        U, V, _ = ref.descend(problem, self.U, self.V, mu, 30)
        self.assert_close(harness.product(directory), U @ V.T, TOLERANCE)
        return directory

    def test_step(self):
        self.follow(self.problem, 0.125, step=0.125)

    def test_measurements(self):
        fewer = self.problem.first(101)
        self.follow(fewer, fewer.auto_step(), measurements=101)

    def test_storage_f32(self):
        rounded = ref.Problem(12, 10, self.problem.A.astype("f4").astype("f8"), self.problem.y, self.problem.U, self.problem.V)
        self.follow(rounded, rounded.auto_step(), storage="f32")

    def test_singular_values(self):
        directory = self.follow(self.problem, self.problem.auto_step(), singular_values=2)
        names = [name for name in harness.rows(directory)[0] if name.startswith("sigma")]
        self.assertEqual(names, ["sigma_1", "sigma_2"])

    def test_fast_reduction_agrees_to_rounding(self):
        self.follow(self.problem, self.problem.auto_step(), reduction="fast", np=3)

    def test_units_do_not_matter(self):
        """A in other units: the automatic step and start scale make the same iterates of it."""
        scaled = ref.Problem(12, 10, 1000 * self.problem.A, 1000 * self.problem.y, self.problem.U, self.problem.V)
        path = harness.write_problem(self.dir / "scaled.h5", scaled)
        runs = [self.solve(problem, name, k=4, max_iterations=60, tolerance=0)
                for problem, name in ((self.path, "a"), (path, "b"))]
        a, b = (harness.product(directory) for directory in runs)
        self.assert_close(b, a, TOLERANCE)

    def test_random_start_has_the_automatic_scale(self):
        problem = ref.plant(120, 100, 2, 300, seed=5)
        path = harness.write_problem(self.dir / "large.h5", problem)
        directory = self.solve(path, k=40, max_iterations=0)
        U, V = harness.factors(directory)
        alpha = problem.auto_alpha()
        entries = np.concatenate([U.ravel(), V.ravel()]) / alpha
        self.assertLess(abs(np.mean(entries**2) - 1), 6 * np.sqrt(2 / entries.size))
        self.assertLess(abs(np.mean(entries)), 6 / np.sqrt(entries.size))
        self.assertLess(abs(np.mean(U[:100] * V)) / alpha**2, 6 / np.sqrt(V.size))
        other = self.solve(path, "other", k=40, max_iterations=0, seed=1)
        self.assertGreater(np.mean((harness.factors(other)[0] - U)**2), alpha**2)

    def test_hold_out(self):
        """Held-out measurements leave the gradient and are evaluated: chosen by the seed, about as many as asked for."""
        losses = []
        for seed in (0, 1):
            directory = self.solve(self.path, f"h{seed}", k=4, init=f"file:{self.start}", max_iterations=0, hold_out=0.3, seed=seed)
            row = harness.rows(directory)[0]
            losses.append((float(row["loss"]), float(row["validation_loss"])))
            squares = self.problem.residual(self.U, self.V)**2 / 2
            # m_train loss + m_val validation_loss = the whole sum, for one whole number m_val.
            counts = np.arange(1, 197)
            fits = np.abs((197 - counts) * losses[-1][0] + counts * losses[-1][1] - squares.sum())
            best = int(np.argmin(fits))
            self.assertLess(fits[best], 1e-11 * squares.sum())
            self.assertLess(abs(counts[best] - 0.3 * 197), 5 * np.sqrt(197 * 0.3 * 0.7))
        self.assertNotEqual(*losses)


class Identities(Case):
    """Exact algebra of simultaneous steps, on pairs (t, t + 1) of the program's own iterates."""

    def test_along_a_run(self):
        problem = ref.plant(14, 11, 2, 240, seed=9, sigma=(1, 0.5))
        path = harness.write_problem(self.dir / "p.h5", problem)
        common = dict(k=6, step=0.3, tolerance=0)
        for t in (0, 15, 40, 90):
            at = self.solve(path, "run", alpha=1e-2, max_iterations=t, np=2, **common)
            U, V = harness.factors(at)
            after = self.solve(path, f"step{t}", init=f"file:{at / 'checkpoint.h5'}", max_iterations=1, **common)
            U1, V1 = harness.factors(after)
            P, Q = problem.gradient(U, V)
            mu = 0.3
            size = np.linalg.norm(U1)**2 + np.linalg.norm(V1)**2
            rounding = 20 * np.sqrt(len(problem.y)) * ref.EPS * size
            drift = (U1.T @ U1 - V1.T @ V1) - (U.T @ U - V.T @ V)
            self.assertLess(np.linalg.norm(drift - mu**2 * (P.T @ P - Q.T @ Q)), rounding, f"imbalance drift at {t}")
            G = (problem.residual(U, V) @ problem.A).reshape(14, 11) / len(problem.y)
            B = np.block([[np.zeros((14, 14)), -G], [-G.T, np.zeros((11, 11))]])
            for sign in (1, -1):
                Z, Z1 = np.vstack([U, sign * V]) / np.sqrt(2), np.vstack([U1, sign * V1]) / np.sqrt(2)
                error = np.linalg.norm(Z1 - (np.eye(25) + sign * mu * B) @ Z)
                self.assertLess(error, 20 * np.sqrt(len(problem.y)) * ref.EPS * np.sqrt(size), f"symmetrised step at {t}")
            row = harness.rows(at)[-1]
            self.assertEqual(int(row["iteration"]), t)
            self.assertAlmostEqual(float(row["imbalance"]), np.linalg.norm(U.T @ U - V.T @ V, 2), delta=rounding)


if __name__ == "__main__":
    unittest.main()
