"""Where a run on noisy data ends, which point is its answer, and what it says of the noise and of its error."""
import json
import math
import shutil
import statistics
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from harness import Case

N1, N2, RANK, CONDITION = 50, 40, 3, 2
M = 5 * RANK * (N1 + N2 - RANK)
NORM = math.sqrt(1 + 0.75**2 + 0.5**2)  # of the planted matrix


def rate(sigma):
    """The error that the noise leaves, relative to the planted matrix."""
    return sigma * math.sqrt((N1 + N2) * RANK / M) / NORM


def forget_noise(problem):
    with h5py.File(problem, "r+") as file:
        del file.attrs["noise_std"]
    return problem


def saved(directory, *names):
    with h5py.File(directory / "checkpoint.h5", "r") as file:
        return [file[name][...] for name in names]


class NoiseCase(Case):
    def solve(self, problem, name="run", np=0, **settings):
        return super().solve(problem, name, np=np, **settings)

    def solve_noisy(self, problem, name="run", **settings):
        return self.solve(problem, name, storage="bits", **settings)

    def noisy(self, sigma=0.1, seed=0):
        return self.gen(f"p{seed}.h5", np=0, ensemble="rademacher", n1=N1, n2=N2, rank=RANK, condition=CONDITION, measurements=M, noise=sigma, seed=seed)

    def small(self, noise=0.2, held_out=60, seed=1):
        """Overfits within a hundred iterations."""
        return harness.write_problem(self.dir / "p.h5", ref.plant(12, 10, 2, 201, seed=seed, held_out=held_out, noise=noise))

    def assert_answer_is_best(self, run, problem, where=None):
        """Factors, summary and log agree on the point of the lowest held-out loss, over every iteration."""
        where = where or run
        summary = harness.summary(where)
        losses = harness.column(where, "validation_loss")
        best = int(np.argmin(losses))
        row = harness.rows(where)[best]
        self.assertEqual(summary["best_iteration"], int(row["iteration"]))
        for key in ("loss", "validation_loss", "test_error"):
            self.assertAlmostEqual(summary[key] / float(row[key]), 1, delta=1e-12, msg=key)
        prefix = "" if where == run else f"{where.name}/"
        U, V = saved(run, f"{prefix}factors/U", f"{prefix}factors/V")
        self.assert_close(np.linalg.norm(U @ V.T - problem.X) / np.linalg.norm(problem.X), float(row["test_error"]), 1e-10)
        return best


class Statistics(NoiseCase):
    SEEDS = range(5)

    def test_pick_is_near_the_oracle_and_the_rate(self):
        sigma = 0.1
        problems = [self.noisy(sigma, seed) for seed in self.SEEDS]
        for k in (RANK, 8 * RANK):
            ratios, oracles = [], []
            for seed, problem in enumerate(problems):
                run = self.solve_noisy(problem, f"run{k}.{seed}", k=k, stop="validation", hold_out=0.1, seed=seed, alpha=1e-4,
                                 metrics_every=1, tolerance=0, max_iterations=1000)
                summary = harness.summary(run)
                self.assertEqual(summary["reason"], "validation")
                error = summary["test_error"]
                oracles.append(error / min(harness.column(run, "test_error")))
                ratios.append(error / rate(sigma))
                self.assertEqual(summary["estimates"]["basis"], "given noise_std")
                self.assertEqual(summary["estimates"]["noise_std"], sigma)
                shutil.rmtree(run)
            with self.subTest(k=k, oracles=oracles, ratios=ratios):
                self.assertLessEqual(statistics.median(oracles), 1.05)
                self.assertLessEqual(max(oracles), 1.2)
                self.assertLessEqual(statistics.median(ratios), 1.3)
                self.assertLessEqual(max(ratios), 1.5)

    def test_estimates_without_the_noise_level(self):
        sigma, inside = 0.1, 0
        for seed in self.SEEDS:
            problem = forget_noise(self.noisy(sigma, seed))
            run = self.solve_noisy(problem, f"run{seed}", k=6, stop="validation", hold_out=0.1, seed=seed, alpha=1e-4)
            summary = harness.summary(run)
            estimates = summary["estimates"]
            self.assertEqual(estimates["basis"], "training residual", estimates)
            self.assertLess(abs(estimates["noise_std"] / sigma - 1), 0.1)
            inside += estimates["relative_error_low"] <= summary["test_error"] <= estimates["relative_error_high"]
            self.assertIn("  held out   relative error ", (run / "log.txt").read_text())
        self.assertGreaterEqual(inside, len(self.SEEDS) - 1)

    def test_no_noise_level_of_a_bad_fit(self):
        """Before it has converged, and after it has taken up the noise, only a bound is left, which holds."""
        problem = forget_noise(self.noisy(0.1))
        for name, basis, settings in (("early", "noise unknown: the fit has not converged", dict(max_iterations=30)),
                                      ("late", "noise unknown: the fit has taken up noise", dict(max_iterations=900))):
            run = self.solve_noisy(problem, name, k=24, hold_out=0.1, alpha=1e-4, tolerance=0, **settings)
            estimates = harness.summary(run)["estimates"]
            self.assertEqual(estimates["basis"], basis)
            self.assertEqual([estimates[key] for key in ("noise_std", "relative_error", "relative_error_low")], [None, None, 0])
            self.assertGreater(estimates["relative_error_high"], harness.summary(run)["test_error"])

    def test_discrepancy(self):
        sigma = 0.1
        problem = self.noisy(sigma)
        for settings in (dict(), dict(noise_std=sigma)):
            run = self.solve_noisy(problem, f"run{len(settings)}", k=6, stop="discrepancy", metrics_every=1, tolerance=0, **settings)
            summary = harness.summary(run)
            self.assertEqual((summary["reason"], harness.attributes(run)["reason"]), ("discrepancy", "discrepancy"))
            bound = sigma**2 * (1 + 2 * math.sqrt(2 / M))
            losses = harness.column(run, "loss")
            self.assertLessEqual(2 * losses[-1], bound)
            self.assertGreater(2 * losses[-2], bound)
            self.assertIn("residual as small as the noise", self.outcome.out)
            self.assertLess(summary["test_error"], 2.5 * rate(sigma))
            self.assertIsNone(summary["estimates"])
            self.assertIsNone(summary["best_iteration"])
            self.solve_noisy(problem, f"run{len(settings)}", k=6, stop="discrepancy", metrics_every=1, tolerance=0, max_iterations=20000, **settings)
            self.assertIn("nothing to do", self.outcome.out)


class BestPoint(NoiseCase):
    SETTINGS = dict(k=6, stop="validation", metrics_every=1, alpha=0.05, tolerance=0)

    def setUp(self):
        super().setUp()
        self.truth = ref.plant(12, 10, 2, 201, seed=1, held_out=60, noise=0.2)
        self.problem = self.small()

    def test_every_end(self):
        """Patience, target and tolerance: the answer is the best point, and the state has the last one."""
        ends = (("validation", dict(patience=25)), ("target", dict(max_iterations=150, patience=1000)),
                ("tolerance", dict(tolerance=0.12, patience=1000)))
        for np_, (reason, settings) in enumerate(ends, 1):
            run = self.solve(self.problem, reason, np=np_, **{**self.SETTINGS, **settings})
            summary = harness.summary(run)
            self.assertEqual(summary["reason"], reason)
            best = self.assert_answer_is_best(run, self.truth)
            self.assertLess(best, summary["iterations"], "the end is past the minimum")
            U, V = saved(run, "state/U", "state/V")
            self.assert_close(self.truth.loss(U, V), float(harness.rows(run)[-1]["loss"]), 1e-10)
            self.assertIn(f"best at iteration {best}", self.outcome.out)
            for change in (dict(), dict(max_iterations=10001) if reason != "target" else dict()):
                self.solve(self.problem, reason, **{**self.SETTINGS, **settings, **change})
                self.assertIn("nothing to do", self.outcome.out)

    def test_patience(self):
        """The last new minimum is followed by so many iterations; without a number, by what the signal takes to grow."""
        run = self.solve(self.problem, patience=17, **self.SETTINGS)
        losses = harness.column(run, "validation_loss")
        mark, at = losses[0], 0
        for t, loss in enumerate(losses):
            if loss < (1 - 1e-5) * mark:
                mark, at = loss, t
        self.assertEqual(len(losses) - 1, at + 17)
        step = float(harness.rows(run)[0]["step"])
        sigma = np.linalg.svd(self.truth.back_projection(), compute_uv=False)
        signal = sigma[ref.gap_rank(sigma, 6) - 1]
        auto = self.solve(self.problem, "auto", **self.SETTINGS)
        expected = math.ceil(math.log(1000) / math.log(1 + step * signal))
        self.assertEqual(harness.summary(auto)["iterations"], at + expected)

    def test_resumed_at_every_number_of_ranks(self):
        settings = {**self.SETTINGS, "patience": 25}
        whole = self.solve(self.problem, "whole", **settings)
        end, best = (harness.summary(whole)[key] for key in ("iterations", "best_iteration"))
        for number, t in enumerate((1, 2, 20, best - 1, best, best + 1, end - 1, 10000)):
            parts = self.solve(self.problem, "parts", np=(2, 3, 1)[number % 3], threads=1 + number % 2, **{**settings, "max_iterations": t})
        self.assert_same_bits(whole, parts)
        names = ("state/U", "state/V", "state/best", "factors/U", "factors/V")
        for left, right in zip(saved(whole, *names), saved(parts, *names)):
            self.assertEqual(left.tobytes(), right.tobytes())
        left, right = (harness.summary(run) for run in (whole, parts))
        for key in ("reason", "iterations", "best_iteration", "loss", "relative_residual", "validation_loss", "test_error", "rank_estimate",
                    "passes_over_A", "estimates"):
            self.assertEqual(left[key], right[key], key)

    def test_lower_tolerance_goes_on(self):
        settings = {**self.SETTINGS, "patience": 1000}
        run = self.solve(self.problem, **{**settings, "tolerance": 0.15})
        first = harness.summary(run)
        run = self.solve(self.problem, **{**settings, "tolerance": 0.12})
        second = harness.summary(run)
        self.assertEqual((first["reason"], second["reason"]), ("tolerance", "tolerance"))
        self.assertGreater(second["iterations"], first["iterations"])
        whole = self.solve(self.problem, "whole", **{**settings, "tolerance": 0.12})
        self.assert_same_bits(whole, run)

    def test_start_from_the_answer(self):
        """A checkpoint as a start gives its best point."""
        run = self.solve(self.problem, patience=25, **self.SETTINGS)
        again = self.solve(self.problem, "again", k=6, init=f"file:{run / 'checkpoint.h5'}", max_iterations=0)
        self.assertAlmostEqual(harness.summary(again)["validation_loss"] / harness.summary(run)["validation_loss"], 1, delta=1e-12)

    def test_replicas(self):
        """Each for itself, with the bits of any number of ranks, and through interruptions."""
        settings = {**self.SETTINGS, "patience": 25, "k": "6,2,4", "seed": "0,1,2"}
        sweep = self.solve(self.problem, "sweep", np=2, **settings)
        summary = harness.summary(sweep)
        self.assertEqual(summary["reason"], "validation")
        for r, one in enumerate(summary["replicas"]):
            self.assertEqual(one["reason"], "validation")
            best = self.assert_answer_is_best(sweep, self.truth, sweep / f"replica_{r}")
            self.assertEqual(one["best_iteration"], best)
            self.assertEqual(one["estimates"], harness.summary(sweep / f"replica_{r}")["estimates"])
            self.assertIn(f"replica {r}: validation at iteration {one['iterations']}", self.outcome.out)
        least = min(summary["replicas"], key=lambda one: one["validation_loss"])
        self.assertEqual(summary["validation_loss"], least["validation_loss"], "the best of all has the lowest held-out loss")
        ends = sorted(one["iterations"] for one in summary["replicas"])
        self.assertLess(ends[0], ends[-1])
        for number, t in enumerate((3, ends[0] - 5, ends[0] + 1, 10000)):
            parts = self.solve(self.problem, "parts", np=1 + number % 3, **{**settings, "max_iterations": t})
        for r in range(3):
            names = [f"replica_{r}/{name}" for name in ("factors/U", "state/V", "state/best")]
            for left, right in zip(saved(sweep, *names), saved(parts, *names)):
                self.assertEqual(left.tobytes(), right.tobytes(), r)
        self.solve(self.problem, "sweep", **settings)
        self.assertIn("nothing to do", self.outcome.out)


class Refusals(NoiseCase):
    def test_texts(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(8, 7, 1, 101, seed=1))
        for settings, words in ((dict(stop="validation"), ("stop", "hold_out = 0.1")),
                                (dict(stop="validation", replicas=2), ("hold_out = 0.1",)),
                                (dict(stop="discrepancy"), ("stop", "give noise_std")),
                                (dict(method="auto", stop="validation", hold_out=0.1), ("stop", "auto"))):
            for np_ in (0, 2):
                with self.subTest(settings, np=np_):
                    self.solve(problem, "bad", np=np_, code=78, **settings)
                    self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))
                    for word in words:
                        self.assertIn(word, self.outcome.errors[0])
                    self.assertFalse((self.dir / "bad").exists())

    def test_rule_may_not_change(self):
        problem = self.small()
        run = self.solve(problem, k=3, max_iterations=5)
        before = harness.tree(run)
        for change in (dict(stop="validation"), dict(patience=3), dict(noise_std=0.1)):
            self.solve(problem, k=3, max_iterations=9, code=78, **change)
            self.assertEqual(harness.tree(run), before)

    def test_without_held_out_data(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(8, 7, 1, 101, seed=1))
        run = self.solve(problem, k=2, max_iterations=5)
        summary = json.loads((run / "summary.json").read_text())
        self.assertIsNone(summary["estimates"])
        self.assertIsNone(summary["best_iteration"])
        self.assertNotIn("held out", (run / "log.txt").read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
