"""Replicated state that goes wrong on one rank: noticed in that very pass, and never part of a result."""
import os
import signal
import unittest

import harness
import reference as ref
from faults import fault
from harness import Case, Process


@fault(28)
class Corruption(Case):
    SETTINGS = dict(k=4, max_iterations=120, tolerance=0, checkpoint_every=50, metrics_every=7)
    LARGE = "MPI_Allreduce=900"  # the sums of a pass: other reductions have a few words

    def setUp(self):
        super().setUp()
        self.problem = harness.write_problem(self.dir / "p.h5", ref.plant(16, 12, 2, 400, seed=1, held_out=30))
        self.whole = self.solve(self.problem, "whole", **self.SETTINGS)

    def struck(self, rules, np, name, code=0, **settings):
        log = self.dir / f"{name}.faults"
        directory = self.dir / name
        arguments = ["solve", *harness.options(problem=self.problem, **{**self.SETTINGS, **settings}), "-o", directory]
        outcome = harness.run(*arguments, np=np, fault=rules, env={"MXS_FAULT_LOG": str(log)})
        self.assertEqual(outcome.code, code, str(outcome))
        self.assertTrue(log.exists(), "the fault has struck")
        return directory, outcome

    def test_rolled_back_to_the_same_bits(self):
        """Before the first checkpoint (to the start), after one, in the last pass; on the root and elsewhere."""
        for np, nth, rank, back in ((3, 20, 1, 0), (2, 70, 0, 50), (4, 110, 3, 100), (2, 122, 1, 100)):
            with self.subTest(np=np, nth=nth, rank=rank):
                run, outcome = self.struck(f"flip:{self.LARGE}:{nth}:{rank}", np, f"r{nth}")
                self.assertEqual(len(outcome.lines("warning")), 1, str(outcome))
                self.assertIn(f"back to iteration {back}", outcome.lines("warning")[0])
                if np > 2:
                    self.assertIn(f"rank {rank} (host ", outcome.lines("warning")[0])
                self.assertEqual([event["iteration"] for event in harness.events(run, "rollback")], [back])
                self.assert_same_bits(self.whole, run)
                left, right = (harness.summary(directory) for directory in (self.whole, run))
                for key in ("reason", "iterations", "loss", "relative_residual", "passes_over_A", "test_error"):
                    self.assertEqual(left[key], right[key], key)

    def test_persistent_corruption_ends_the_run(self):
        run, outcome = self.struck(f"flip:{self.LARGE}:70+:2", 3, "run", code=70)
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn("rank 2 (host ", outcome.errors[0])
        self.assertEqual(harness.summary(run)["reason"], "error")
        self.assertEqual(harness.attributes(run)["iteration"], 50, "the last good checkpoint is kept")
        self.solve(self.problem, "run", np=2, **self.SETTINGS)
        self.assert_same_bits(self.whole, run)

    def test_plain_sums_and_replicas(self):
        for name, settings in (("fast", dict(reduction="fast")), ("replicas", dict(replicas=3))):
            with self.subTest(name):
                whole = self.solve(self.problem, f"{name}-whole", np=3, **{**self.SETTINGS, **settings})
                run, outcome = self.struck(f"flip:{self.LARGE}:60:1", 3, name, **settings)
                self.assertEqual(len(outcome.lines("warning")), 1, str(outcome))
                self.assertEqual(harness.summary(whole)["loss"], harness.summary(run)["loss"])


class StoredMeasurements(Case):
    """A bit of A that changes in the memory of a rank while the run is under way."""

    def flip(self, pid, row):
        """Invert a bit of every copy of a row of A in the memory of a process; returns how many there were."""
        pattern, found = row.tobytes(), 0
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for line in maps:
                span, rights, *rest = line.split()
                if not rights.startswith("rw") or rest[-1] in ("[vvar]", "[vsyscall]"):
                    continue
                begin, end = (int(text, 16) for text in span.split("-"))
                memory.seek(begin)
                data = memory.read(end - begin)
                at = data.find(pattern)
                while at >= 0:
                    memory.seek(begin + at + 3)
                    memory.write(bytes([data[at + 3] ^ 1]))
                    found += 1
                    at = data.find(pattern, at + 1)
        return found

    @fault(29)
    def test_ends_the_run(self):
        plan = ref.plant(16, 12, 2, 400, seed=1)
        problem = harness.write_problem(self.dir / "p.h5", plan)
        run = self.dir / "run"
        endless = dict(k=4, max_iterations=10**9, tolerance=0, checkpoint_every=2000, metrics_every=1000)
        process = Process(["solve", *harness.options(problem=problem, **endless), "-o", run], np=2)
        self.addCleanup(process.end)
        self.assertTrue(process.wait_for((run / "checkpoint.h5").exists))
        ranks = process.ranks()
        for pid in ranks:
            os.kill(pid, signal.SIGSTOP)
        self.assertGreater(sum(self.flip(pid, plan.A[250]) for pid in ranks), 0, "A is in memory")
        for pid in ranks:
            os.kill(pid, signal.SIGCONT)
        outcome = process.finish()
        self.assertEqual(outcome.code, 70, str(outcome))
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn("memory", outcome.errors[0])
        # The last checkpoint is from before: the run goes on from it as if nothing had happened.
        at = harness.attributes(run)["iteration"]
        settings = {**endless, "max_iterations": int(at) + 50}
        self.solve(problem, "run", np=3, **settings)
        self.assert_same_bits(self.solve(problem, "whole", **settings), run)


if __name__ == "__main__":
    unittest.main()
