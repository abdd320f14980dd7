"""Every method: the way an independent implementation goes, the same bits at any number of ranks and after a resume, and the answer
on a problem that it should solve."""
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from harness import Case

ITERATIONS = 20
TOLERANCE = 1e-9


def tripled(n1, n2, r, m, seed, symmetric=False):
    """A planted problem whose A has entries of standard deviation 3, and a start near its truth."""
    problem = ref.plant(n1, n2, r, m, seed, sigma=np.linspace(1, 0.4, r))
    if symmetric:
        problem.V = problem.U
    problem.A *= 3
    problem.y = problem.A @ (problem.U @ problem.V.T).ravel()
    rng = np.random.default_rng(seed + 100)
    U = problem.U + 0.1 * rng.standard_normal(problem.U.shape)
    return problem, U, U if symmetric else problem.V + 0.1 * rng.standard_normal(problem.V.shape)


class Twins(Case):
    def compare(self, name, method, symmetric, step, options, **settings):
        problem, U, V = tripled(12, 12 if symmetric else 10, 3, 260, 7, symmetric)
        path = harness.write_problem(self.dir / f"{name}.h5", problem)
        start = harness.write_factors(self.dir / f"{name}_start.h5", U, V)
        run = self.solve(path, name, np=0, k=3, method=method, model="symmetric" if symmetric else "asymmetric", init=f"file:{start}",
                         max_iterations=ITERATIONS, tolerance=0, step=step, **settings)
        scale2 = np.mean(problem.A**2)
        units = dict(weight=scale2, shift=np.linalg.norm(problem.back_projection(), 2) / scale2)
        options = {"step": None if step == "auto" else step, **options}
        options = {key: value * units[key] if key in units else value for key, value in options.items()}
        wanted = ref.follow(problem, U, V, method, ITERATIONS, symmetric=symmetric, **options)
        if symmetric:
            self.assertEqual(*(factor.tobytes() for factor in harness.factors(run)))
        self.assert_close(harness.product(run), wanted[0] @ wanted[1].T, TOLERANCE)
        if method != "riemannian_gd":  # its factors are told by U V^T but for signs
            for actual, expected in zip(harness.factors(run), wanted):
                self.assert_close(actual, expected, TOLERANCE)
        error = np.linalg.norm(harness.product(run) - problem.X)
        self.assertLess(error, np.linalg.norm(U @ V.T - problem.X), "it does not get nearer")

    def test_all(self):
        cases = (("gd", 0.02, {}, {}), ("nesterov", 0.02, {}, {}), ("scaled_gd", 0.4, {}, {}), ("agn", 0.4, {}, {}),
                 ("riemannian_gd", 0.5, {}, {}), ("riemannian_gd", "auto", {}, {}),
                 ("gd", 0.02, dict(balance=0.5), dict(weight=0.5)),
                 ("gd", 0.02, dict(balance=0.5, line_search="true"), dict(weight=0.5, step=None)),
                 ("scaled_gd", 0.4, {"lambda": 0.1}, dict(shift=0.1)),
                 ("scaled_gd", 0.4, dict(line_search="true"), dict(step=None)))
        for number, (method, step, settings, options) in enumerate(cases):
            for symmetric in (False, True):
                with self.subTest(method=method, step=step, symmetric=symmetric, **settings):
                    self.compare(f"{number}_{symmetric}", method, symmetric, step, options, **settings)


class Resume(Case):
    def test_same_bits(self):
        """Stopped after an odd number of updates, and on with another number of ranks."""
        problem = self.gen(ensemble="rademacher", n1=11, n2=9, rank=2, measurements=401, noise=0.01, np=0)
        zeros = harness.write_factors(self.dir / "zeros.h5", np.zeros((11, 3)), np.zeros((9, 3)))
        cases = {"gd": dict(line_search="true", balance=0.25), "nesterov": dict(balance=0.25, label_noise=0.1),
                 "sgd": dict(batch=100, step_decay=0.5), "scaled_gd": dict(line_search="true"), "agn": {}, "riemannian_gd": {},
                 "kicks": dict(method="gd", perturb=0.1, init=f"file:{zeros}"), "nystrom": dict(init="nystrom", method="agn")}
        for method, settings in cases.items():
            settings = {"k": 3, "metrics_every": 2, "tolerance": 0, "method": method, **settings}
            whole = self.solve(problem, f"{method}_whole", np=0, max_iterations=11, **settings)
            self.solve(problem, f"{method}_parts", np=0, max_iterations=5, **settings)
            parts = self.solve(problem, f"{method}_parts", np=3, max_iterations=11, **settings)
            self.assert_same_bits(whole, parts, method)


class Starts(Case):
    """With no iteration the factors are those of the start."""

    def start(self, problem, name, **settings):
        run = self.solve(problem, name, np=0, max_iterations=0, **{"method": "gd", **settings})
        U, V = harness.factors(run)
        self.assertLess(np.linalg.norm(U.T @ U - V.T @ V), 1e-12 * np.linalg.norm(U.T @ U), "not balanced")
        return U @ V.T

    def test_asymmetric(self):
        problem, _, _ = tripled(14, 11, 3, 900, 1)
        path = harness.write_problem(self.dir / "p.h5", problem)
        S = problem.back_projection() / np.mean(problem.A**2)
        left, s, right = np.linalg.svd(S)
        best = (left[:, :4] * s[:4]) @ right[:4]
        self.assert_close(self.start(path, "spectral", k=4, init="spectral"), best, 1e-12)
        sketched = self.start(path, "nystrom", k=4, init="nystrom")
        self.assertLess(np.linalg.norm(sketched - S), 3 * np.linalg.norm(best - S))
        # With a column for every row there is nothing that a sketch could miss.
        self.assert_close(self.start(path, "all", k=11, init="nystrom"), S, 1e-12)

    def test_symmetric(self):
        problem, _, _ = tripled(12, 12, 3, 900, 2, symmetric=True)
        path = harness.write_problem(self.dir / "p.h5", problem)
        S = problem.back_projection() / np.mean(problem.A**2)
        values, vectors = np.linalg.eigh((S + S.T) / 2)
        positive = (vectors * np.maximum(values, 0)) @ vectors.T
        for init in ("spectral", "nystrom"):
            self.assert_close(self.start(path, f"{init}12", k=12, init=init, model="symmetric", method="scaled_gd"), positive, 1e-12)
            three = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].T
            error = np.linalg.norm(self.start(path, init, k=3, init=init, model="symmetric") - three)
            self.assertLess(error, 0.7 * np.linalg.norm(three))

    def test_by_passes(self):
        problem, _, _ = tripled(40, 30, 3, 900, 3)
        path = harness.write_problem(self.dir / "p.h5", problem)
        run = self.solve(path, np=0, k=3, method="gd", svd="randomized", max_iterations=0)
        with h5py.File(run / "checkpoint.h5") as file:
            values, left, right = (file[f"state/data_{name}"][...] for name in ("values", "left", "right"))
        L, s, Rt = np.linalg.svd(problem.back_projection())
        self.assert_close(values[0], s[:4], 1e-7)
        self.assert_close((left[:, :3] * values[0, :3]) @ right[:, :3].T, (L[:, :3] * s[:3]) @ Rt[:3], 1e-4)
        self.assertGreater(harness.summary(run)["passes_over_A"], 4)

    def test_given(self):
        problem, U, V = tripled(12, 12, 3, 300, 4)
        path = harness.write_problem(self.dir / "p.h5", problem)
        start = harness.write_factors(self.dir / "start.h5", U, V)
        self.solve(path, np=0, k=3, method="gd", model="symmetric", init=f"file:{start}", code=65)
        self.assertIn("V = U", self.outcome.err)


class Solves(Case):
    def test_automatic_settings(self):
        problem = self.gen(ensemble="gaussian", n1=60, n2=50, rank=3, measurements=2000, np=0)
        most = {"gd": 260, "nesterov": 230, "sgd": 320, "scaled_gd": 90, "agn": 80, "riemannian_gd": 50}
        for method, iterations in most.items():
            with self.subTest(method=method):
                run = self.solve(problem, method, np=0, method=method, k=3, max_iterations=iterations)
                self.assertEqual(harness.summary(run)["reason"], "tolerance", harness.summary(run))
                self.assertLess(harness.summary(run)["test_error"], 1e-7)

    def test_preconditioned_methods_with_many_columns(self):
        problem = self.gen(ensemble="gaussian", n1=60, n2=50, rank=3, measurements=2000, np=0)
        for method in ("scaled_gd", "agn", "riemannian_gd"):
            run = self.solve(problem, method, np=0, method=method, k=12, max_iterations=200)
            self.assertLess(harness.summary(run)["relative_residual"], 1e-3, method)

    def test_condition(self):
        """Preconditioned methods do not feel it."""
        counts = {}
        for condition in (1, 20):
            problem = self.gen(f"{condition}.h5", ensemble="gaussian", n1=40, n2=40, rank=3, measurements=1000, condition=condition, np=0)
            for method in ("scaled_gd", "agn", "riemannian_gd"):
                run = self.solve(problem, f"{method}{condition}", np=0, method=method, k=3, max_iterations=400)
                self.assertEqual(harness.summary(run)["reason"], "tolerance")
                counts[method, condition] = harness.summary(run)["iterations"]
        for method in ("scaled_gd", "agn", "riemannian_gd"):
            self.assertLess(counts[method, 20], 1.3 * counts[method, 1], counts)

    def test_saddle(self):
        """At the origin the gradient is zero: only a kick leaves it."""
        problem = self.gen(ensemble="gaussian", n1=20, n2=16, rank=2, measurements=600, np=0)
        zeros = harness.write_factors(self.dir / "zeros.h5", np.zeros((20, 2)), np.zeros((16, 2)))
        settings = dict(k=2, method="gd", init=f"file:{zeros}", max_iterations=400)
        stuck, kicked = (self.solve(problem, f"r{radius}", np=0, perturb=radius, **settings) for radius in (0, 0.001))
        self.assertEqual(harness.summary(stuck)["relative_residual"], 1.0)
        self.assertEqual(harness.summary(kicked)["reason"], "tolerance")


class Refusals(Case):
    def test_keys_that_do_not_fit(self):
        problem = self.gen(ensemble="gaussian", n1=9, n2=7, rank=1, measurements=50, np=0)
        for words, settings in ((("model", "asymmetric"), dict(model="symmetric")),
                                (("line_search", "scaled_gd"), dict(method="agn", line_search="true")),
                                (("batch", "sgd"), dict(batch=10)),
                                (("replicas", "sgd"), dict(method="sgd", replicas=2)),
                                (("replicas", "riemannian_gd"), dict(method="riemannian_gd", seed="1,2")),
                                (("line_search", "replicas"), dict(line_search="true", replicas=2)),
                                (("label_noise", "replicas"), dict(label_noise=0.1, replicas=2)),
                                (("k = 8", "riemannian_gd"), dict(method="riemannian_gd", k=8))):
            with self.subTest(**settings):
                self.solve(problem, np=0, **{"k": 2, "method": "gd", "max_iterations": 1, **settings}, code=78)
                for word in words:
                    self.assertIn(word, self.outcome.errors[0])
                self.assertFalse((self.dir / "run" / "metrics.csv").exists())


if __name__ == "__main__":
    unittest.main()
