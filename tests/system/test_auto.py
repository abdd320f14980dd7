"""The method auto, which is the default: right rank, error and verdict without a setting, and the same bits wherever it is
interrupted and by however many ranks it is computed."""
import os
import re
import signal
import unittest

import numpy as np

import harness
import reference as ref
from harness import Case, Process

SHAPE = dict(ensemble="rademacher", n1=24, n2=20, seed=4)
# What takes an attempt through all that it may come to; `words`: in the events of the run.
STAGES = {
    "pursuit": (dict(rank=4, measurements=360, condition=5), dict(k=8), ("rank raised",)),
    "descent": (dict(rank=4, measurements=200), dict(k=6), ("rank lowered", "attempt 3", "the descent came to rank 4")),
    "weights": (dict(rank=4, measurements=150), dict(k=6), ("attempt 4",)),
    "part": (dict(rank=2, measurements=30000, noise=0.1), dict(block_rows=64), ("begins with a part", "measurements join")),
    "polish": (dict(rank=2, measurements=3000, noise=0.1), dict(block_rows=64, jacobian_memory=1e-4), ("gradient steps",)),
}


class Auto(Case):
    def gen(self, name="p.h5", np=0, **settings):
        return super().gen(name, np, **{**SHAPE, **settings})

    def solve(self, problem, name="run", np=0, **settings):
        return super().solve(problem, name, np, **{"method": None, **settings})

    def certificate(self, run):
        found = harness.summary(run)["certificate"]
        if found is not None:
            self.assertLessEqual({"status", "relative_error", "basis", "reason", "rank", "low", "high", "bound", "noise_std", "passes_over_A"},
                                 set(found))
        return found

    def last_line(self):
        return self.outcome.out.rstrip().splitlines()[-1]


class Verdict(Auto):
    def test_without_any_setting(self):
        problem = self.gen(n1=60, n2=50, rank=3, measurements=2000)
        run = self.dir / "run"
        self.outcome = self.run_ok("solve", "--problem", problem, "-o", run, np=1)
        self.assertEqual(self.outcome.lines("warning"), [])
        found, summary = self.certificate(run), harness.summary(run)
        self.assertEqual((found["status"], found["rank"], found["reason"], summary["reason"]), ("recovered", 3, "", "tolerance"))
        self.assertLess(found["relative_error"], 1e-10)
        self.assertLess(summary["test_error"], 1e-10)
        self.assertLess(summary["test_error"], found["bound"])
        self.assertLess(found["passes_over_A"], 12)
        self.assertEqual([factor.shape for factor in harness.factors(run)], [(60, 3), (50, 3)])
        self.assertTrue(self.last_line().startswith("recovered: rank 3, relative error at most"), self.last_line())
        self.assertRegex(self.run_ok("info", run, np=0).out, r"(?m)^  certificate +recovered, rank 3")
        config = (run / "config.yaml").read_text()
        self.assertIn("\nmethod: auto\n", config)
        self.assertIn("\nhold_out: 0.1\n", config)
        self.run_ok("solve", run / "config.yaml", "-o", self.dir / "again", np=2)
        self.assert_same_bits(run, self.dir / "again")
        self.assertIn("nothing to do", self.run_ok("solve", "--problem", problem, "-o", run, np=1).out)

    def test_noise(self):
        for seed in (1, 2):
            run = self.solve(self.gen(f"{seed}.h5", rank=3, measurements=900, noise=0.3, seed=seed), f"run{seed}")
            found, error = self.certificate(run), harness.summary(run)["test_error"]
            self.assertEqual((found["status"], found["rank"]), ("recovered up to noise", 3))
            self.assertTrue(found["low"] < error < found["high"] <= found["bound"], f"{found} {error}")
            self.assertAlmostEqual(found["noise_std"], 0.3, delta=0.03)
            self.assertTrue(self.last_line().startswith("recovered up to noise: rank 3"), self.last_line())

    def test_too_few_measurements(self):
        run = self.solve(self.gen(rank=4, measurements=150), k=6)
        found = self.certificate(run)
        self.assertEqual(found["status"], "not certified")
        self.assertTrue(found["reason"])
        self.assertIn(f"not certified, {found['reason']}", self.last_line())
        warning, = self.outcome.lines("warning")
        self.assertRegex(warning, r"three for each degree of freedom, 129 for rank 1 and 252 for rank 2")
        run = self.solve(self.gen("fewer.h5", rank=1, measurements=40), "fewer")
        self.assertEqual(self.certificate(run)["status"], "not certified")
        self.assertEqual(len(self.outcome.lines("warning")), 1)

    def test_held_out(self):
        """None at all, and those of the file."""
        run = self.solve(self.gen(rank=2, measurements=600), hold_out=0)
        self.assertIsNone(self.certificate(run))
        self.assertLess(harness.summary(run)["test_error"], 1e-9)
        self.assertIn("no measurements were held out", self.last_line())
        self.assertIn("give hold_out: 0.1", self.outcome.out)
        own = self.gen("own.h5", rank=2, measurements=600, hold_out=0.1)
        run = self.solve(own, "own")
        self.assertEqual(self.certificate(run)["status"], "recovered")
        self.assertIn("\nhold_out: 0\n", (run / "config.yaml").read_text())
        self.solve(own, "refused", hold_out=0.1, code=78)

    def test_k_below_the_rank(self):
        run = self.solve(self.gen(rank=4, measurements=1500), k=2)
        self.assertEqual(self.certificate(run)["status"], "not certified")
        self.assertIn("give a larger k", self.last_line())

    def test_an_early_end_is_no_verdict(self):
        problem = self.gen(rank=2, measurements=1000, noise=0.3)
        for iterations in (0, 1):
            found = self.certificate(self.solve(problem, f"run{iterations}", max_iterations=iterations))
            self.assertEqual((found["status"], found["reason"]), ("not certified", "the run ended before the search did"))

    def test_part_of_the_measurements(self):
        """Where there are many more than the rank needs, few are looked at more than once."""
        problem = self.gen(rank=2, measurements=30000, condition=3)
        found = self.certificate(self.solve(problem))
        self.assertEqual((found["status"], found["rank"]), ("recovered", 2))
        self.assertLess(found["passes_over_A"], 2)
        whole = self.certificate(self.solve(problem, "whole", progressive="no"))
        self.assertEqual(whole["status"], "recovered")
        self.assertGreater(whole["passes_over_A"], 3)

    def test_little_memory(self):
        """Where not even as many rows of the Jacobian as unknowns fit, it ends all the same."""
        problem = self.gen(rank=2, measurements=3000)
        for number, memory in enumerate((1e-5, 1e-4)):
            run = self.solve(problem, f"run{number}", block_rows=64, jacobian_memory=memory)
            self.assertEqual(self.certificate(run)["status"], "recovered")
            self.assertLess(harness.summary(run)["iterations"], 100)

    def test_rates_add_up(self):
        """Over all ranks that the factors had."""
        run = self.solve(self.gen(rank=4, measurements=200), k=6)
        summary = harness.summary(run)
        self.assertGreater(summary["rates"]["passes_over_A"], 0.9 * summary["passes_over_A"])
        self.assertGreater(summary["timings"]["compute"]["mean"], 0)


class Edges(Auto):
    def test_shapes(self):
        """Rows, columns and numbers; with one measurement nothing is held out."""
        cases = (("row", dict(n1=1, n2=20, measurements=150), {}, 1e-9), ("column", dict(n1=20, n2=1, measurements=150), {}, 1e-9),
                 ("number", dict(n1=1, n2=1, measurements=5), dict(k=1), 1e-9), ("one", dict(n1=4, n2=3, measurements=1), {}, 2),
                 ("k", dict(measurements=500), dict(k=1), 1e-9))
        for name, recipe, settings, error in cases:
            with self.subTest(name):
                run = self.solve(self.gen(f"{name}.h5", rank=1, **recipe), name, **settings)
                self.assertLess(harness.summary(run)["test_error"], error)
                other = self.solve(self.dir / f"{name}.h5", f"{name}3", np=3, **settings)
                self.assert_same_bits(run, other)

    def test_zero(self):
        plan = ref.plant(11, 9, 2, 301, seed=1)
        plan.y = 0 * plan.y
        run = self.solve(harness.write_problem(self.dir / "zero.h5", plan, truth="none"))
        self.assertEqual(np.count_nonzero(harness.product(run)), 0)
        found = self.certificate(run)
        self.assertEqual((found["status"], found["rank"], found["relative_error"]), ("recovered", 0, 0))

    def test_symmetric(self):
        """One factor, found from measurements and from less of them."""
        for name, rank, m in (("many", 2, 500), ("few", 3, 90)):
            plan = ref.plant(14, 14, rank, m, seed=5, sigma=np.linspace(1, 0.5, rank))
            plan.V = plan.U
            plan.y = plan.A @ (plan.U @ plan.U.T).ravel()
            problem = harness.write_problem(self.dir / f"{name}.h5", plan)
            run = self.solve(problem, name, model="symmetric")
            U, V = harness.factors(run)
            self.assertEqual(U.tobytes(), V.tobytes())
            self.assert_same_bits(run, self.solve(problem, f"{name}3", np=3, model="symmetric"))
            self.assert_close(harness.product(run), plan.U @ plan.U.T, 1e-9 if name == "many" else 2)
            if name == "many":
                self.assertEqual(self.certificate(run)["status"], "recovered")
            last = harness.summary(run)["iterations"]
            for number, stop in enumerate((1, last // 2, last - 1)):
                self.solve(problem, f"{name}-parts", np=1 + number, model="symmetric", max_iterations=stop)
            self.assert_same_bits(run, self.solve(problem, f"{name}-parts", np=2, model="symmetric"))

    def test_refusals(self):
        problem = self.gen(rank=2, measurements=300)
        start = harness.write_factors(self.dir / "start.h5", np.ones((24, 2)), np.ones((20, 2)))
        for number, change in enumerate((dict(alpha=0.1), dict(replicas=2), dict(init=f"file:{start}"), dict(batch=64),
                                         dict(stop="validation"), dict(seed="1,2"))):
            name, = change
            self.solve(problem, f"run{number}", code=78, **change)
            error, = self.outcome.errors
            self.assertIn(f"error: {name}: " if name != "seed" else "seed", error)
            self.assertIn("method: ", error)


class Bits(Auto):
    def test_ensembles(self):
        cases = [(kind, dict(ensemble=kind), {}) for kind in ("dense", "gaussian", "gaussian8", "rademacher", "fast")]
        cases += [("f32", dict(ensemble="dense", storage="f32"), {}), ("bits", {}, dict(storage="bits")), ("threads", {}, dict(threads=3))]
        for name, recipe, settings in cases:
            with self.subTest(name):
                problem = self.gen(f"{name}.h5", rank=2, measurements=700, **recipe)
                one = self.solve(problem, f"{name}1", **{key: value for key, value in settings.items() if key != "threads"})
                three = self.solve(problem, f"{name}3", np=3, **settings)
                self.assert_same_bits(one, three, name)
                self.assertEqual(self.certificate(one), self.certificate(three))
                found = self.certificate(one)
                self.assertEqual((found["status"], found["rank"]), ("recovered", 2))

    def test_interrupted_in_every_stage(self):
        """Before and after all that it tells of."""
        for name, (recipe, settings, words) in STAGES.items():
            with self.subTest(name):
                problem = self.gen(f"{name}.h5", **recipe)
                whole = self.solve(problem, f"{name}-whole", np=2, **settings)
                told = harness.events(whole, "auto")
                for word in words:
                    self.assertTrue(any(word in event["text"] for event in told), f"{word} in {told}")
                self.assertIn(told[-1]["text"], (whole / "log.txt").read_text())
                last = harness.summary(whole)["iterations"]
                stops = sorted({at + more for at in (event["iteration"] for event in told) for more in (0, 1)} | {last // 2})
                for number, stop in enumerate(stop for stop in stops if stop < last):
                    self.solve(problem, f"{name}-parts", np=1 + number % 3, **settings, max_iterations=stop)
                parts = self.solve(problem, f"{name}-parts", np=3, **settings)
                self.assert_same_bits(whole, parts, f"after {stops}")
                self.assertEqual(self.certificate(whole), self.certificate(parts))

    def test_signals_and_kills(self):
        recipe, settings, _ = STAGES["weights"]
        problem = self.gen(**recipe)
        whole = self.solve(problem, "whole", **settings)
        run = self.dir / "parts"
        self.solve(problem, "parts", code=75, **settings, max_walltime="0s")
        arguments = ["solve", *harness.options(problem=problem, method=None, checkpoint_every=1, **settings), "-o", run]
        for number, kind in enumerate((signal.SIGUSR1, signal.SIGKILL, signal.SIGUSR1, signal.SIGKILL)):
            before = len(harness.events(run, "checkpoint"))
            process = Process(arguments, np=1 + number % 3)
            self.addCleanup(process.end)
            if process.wait_for(lambda: len(harness.events(run, "checkpoint")) > before + 15):
                for rank in process.ranks()[:1] if kind == signal.SIGKILL else []:
                    os.kill(rank, kind)
                if kind != signal.SIGKILL:
                    process.signal(kind)
            outcome = process.finish()
            self.assertIn(outcome.code, (0, 75, 137), str(outcome))
        self.run_ok(*arguments, np=2)
        self.assert_same_bits(whole, run)
        self.assertEqual(self.certificate(whole), self.certificate(run))

    def test_live_line(self):
        """Rank and stage, and no time that nobody knows."""
        recipe, settings, _ = STAGES["weights"]
        self.solve(self.gen(**recipe), progress="on", checkpoint_every=1, **settings)
        live = re.findall(r"\d+  rank \d+, (\w+)  residual", self.outcome.out)
        self.assertLessEqual(set(live), {"pursuit", "descent"})
        self.assertTrue(live, self.outcome.out[-2000:])
        self.assertNotRegex(self.outcome.out, r"\d (s|min|h|d) left")


if __name__ == "__main__":
    unittest.main()
