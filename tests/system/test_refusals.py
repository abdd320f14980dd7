"""What may not change between two starts of a run, and what happens when a run cannot go on."""
import os
import unittest
from unittest import mock

import numpy as np

import harness
import reference as ref
from faults import fault
from harness import Case


@fault(15)
class Resume(Case):
    SETTINGS = dict(k=4, alpha=1e-2, step=0.2, seed=3, max_iterations=12, tolerance=0)
    CHANGES = (dict(seed=4), dict(k=5), dict(alpha=2e-2), dict(step=0.1), dict(hold_out=0.1), dict(reduction="fast"), dict(storage="f32"),
               dict(measurements=200), dict(singular_values=2))

    def setUp(self):
        super().setUp()
        self.plan = ref.plant(11, 9, 2, 301, seed=1)
        self.problem = harness.write_problem(self.dir / "p.h5", self.plan)
        self.run_dir = self.solve(self.problem, **self.SETTINGS)
        self.before = harness.tree(self.run_dir)

    def refused(self, name, problem, np, **settings):
        """One line that names what differs, exit 78, and the run as it was."""
        self.solve(problem, np=np, code=78, **settings)
        self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))
        self.assertIn(name, self.outcome.errors[0])
        after = harness.tree(self.run_dir)
        changed = [key for key in after.keys() | self.before.keys() if after.get(key) != self.before.get(key)]
        self.assertEqual(changed, [], "a refused start changes nothing")

    def test_settings(self):
        for number, change in enumerate(self.CHANGES):
            name, = change
            with self.subTest(name):
                settings = {**self.SETTINGS, "max_iterations": 20, **change}
                self.refused(name, self.problem, 1 + 2 * (number % 2), **settings)

    def test_start(self):
        U, V = harness.factors(self.run_dir)
        start = harness.write_factors(self.dir / "start.h5", U, V)
        self.refused("init", self.problem, 1, **{**self.SETTINGS, "init": f"file:{start}", "max_iterations": 20})

    def test_other_problems(self):
        one_entry = ref.dataclasses.replace(self.plan, A=self.plan.A.copy())
        one_entry.A[200, 5] = np.nextafter(one_entry.A[200, 5], 10)
        others = {"A": one_entry, "y": ref.dataclasses.replace(self.plan, y=self.plan.y + 1e-9), "shape": ref.plant(9, 11, 2, 301, seed=1),
                  "fewer": self.plan.first(300)}
        for number, (name, other) in enumerate(others.items()):
            with self.subTest(name):
                path = harness.write_problem(self.dir / f"{name}.h5", other)
                self.refused("problem", path, 1 + 2 * (number % 2), **{**self.SETTINGS, "max_iterations": 20})

    def test_blas_kernel(self):
        """Another BLAS kernel gives other bits; plain sums promise none."""
        kernel = harness.attributes(self.run_dir)["blas_kernel"]
        kernel = kernel.decode() if isinstance(kernel, bytes) else kernel
        if kernel == "unknown":
            self.skipTest("this BLAS does not tell its kernel")
        other = "Nehalem" if kernel != "Nehalem" else "Sandybridge"
        settings = {**self.SETTINGS, "max_iterations": 20}
        with mock.patch.dict(os.environ, OPENBLAS_CORETYPE=other):
            self.refused(f"OPENBLAS_CORETYPE={kernel}", self.problem, 2, **settings)
            fast = {**settings, "reduction": "fast"}
            self.solve(self.problem, "fast", **{**fast, "max_iterations": 5})
        self.solve(self.problem, "fast", **fast)

    def test_it_still_goes_on(self):
        self.solve(self.problem, **{**self.SETTINGS, "max_iterations": 20})
        self.assertEqual(harness.attributes(self.run_dir)["iteration"], 20)


@fault(18)
class Divergence(Case):
    def setUp(self):
        super().setUp()
        self.plan = ref.plant(11, 9, 2, 301, seed=1)
        self.problem = harness.write_problem(self.dir / "p.h5", self.plan)

    def diverge(self, name, np_, step, **settings):
        run = self.solve(self.problem, name, np=np_, code=76, k=4, alpha=0.1, step=step, tolerance=0, **settings)
        summary = harness.summary(run)
        self.assertEqual(summary["reason"], "diverged")
        self.assertRegex(self.outcome.out + self.outcome.err, rf"\b{summary['iterations']}\b")
        self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))
        return run, summary["iterations"]

    def test_step_far_too_large(self):
        stopped = [self.diverge(f"np{np_}", np_, 1e3, checkpoint_every=1)[1] for np_ in (1, 3)]
        self.assertEqual(*stopped)
        self.assertLessEqual(stopped[0], 5)

    def test_last_good_checkpoint_is_kept(self):
        """Some updates go well, with a checkpoint at each; the reference from the last one is lost as well."""
        stopped = []
        for np_ in (1, 3):
            run, iteration = self.diverge(f"np{np_}", np_, 4.0, checkpoint_every=1)
            stopped.append(iteration)
            U, V = harness.factors(run)
            self.assertTrue(np.isfinite(U).all() and np.isfinite(V).all())
            kept = harness.attributes(run)["iteration"]
            self.assertTrue(0 < kept < iteration, (kept, iteration))
            with np.errstate(all="ignore"):
                for _ in range(iteration - kept + 3):
                    dU, dV = self.plan.gradient(U, V)
                    U, V = U - 4.0 * dU, V - 4.0 * dV
                self.assertFalse(self.plan.loss(U, V) < 1e6 * np.mean(self.plan.y**2))
            self.run_ok("info", run, np=0)
            self.assertEqual(self.diverge(f"np{np_}", 2, 4.0, checkpoint_every=1)[1], iteration)
        self.assertEqual(*stopped)

    def test_writes_no_checkpoint(self):
        run = self.solve(self.problem, k=4, alpha=0.1, step=4.0, max_iterations=2, tolerance=0)
        before = (run / "checkpoint.h5").read_bytes()
        self.diverge("run", 2, 4.0, checkpoint_every="1h")
        self.assertEqual((run / "checkpoint.h5").read_bytes(), before)


@fault(32)
class Mismatch(Case):
    def test_ranks_with_different_command_lines(self):
        """All ranks end with 69, one speaks, and nothing is created."""
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        run = self.dir / "run"
        for change in (["--k", "5"], ["--k", "4", "-o", str(self.dir / "other")]):
            outcome = harness.run(["solve", "--problem", problem, "--k", "4", "-o", run], ["solve", "--problem", problem, "-o", run, *change])
            self.assertEqual(outcome.code, 69, str(outcome))
            self.assertEqual(len(outcome.errors), 1, str(outcome))
            self.assertEqual([path.name for path in self.dir.iterdir()], ["p.h5"])


if __name__ == "__main__":
    unittest.main()
