"""A rank is killed before or after each step that makes a checkpoint or ends a run: a verified checkpoint is there, and the same
command line ends with the same bits."""
import shutil
import unittest

import harness
import kills
from faults import fault
from harness import Case

# What rank 0 does on the way to a published checkpoint, and what all ranks do.
ROOT = ("open=checkpoint.tmp", "fallocate=checkpoint.tmp", "H5Dwrite", "H5Fflush", "H5Fclose", "fsync=checkpoint.tmp", "link=.old.h5",
        "rename=/checkpoint.h5$", "rename=checkpoint.prev.h5$", "fsync=/run$")
ALL = ("open=checkpoint.tmp", "H5Dwrite", "H5Fflush", "H5Fclose")
# What comes after the last checkpoint.
END = ("fsync=metrics.csv", "open=summary.json", "fsync=summary.json", "rename=summary.json", "fsync=events.jsonl", "fsync=log.txt",
       "close=.lock", "MPI_Finalize")


def spread(count, most):
    """At most so many of 1 .. count, the first and the last among them."""
    if count <= most:
        return range(1, count + 1)
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


class Steps(Case):
    FIRST, LAST = 20, 60

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.settings = dict(k=5, tolerance=0, metrics_every=10)
        self.begun = self.solve(self.problem, "begun", max_iterations=self.FIRST, **self.settings)
        self.whole = self.solve(self.problem, "whole", np=2, max_iterations=self.LAST, **self.settings)

    def job(self, name, **settings):
        """A run that did some iterations, with checkpoints, and has more to do."""
        (self.dir / name).mkdir()
        directory = self.dir / name / "run"
        shutil.copytree(self.begun, directory)
        return kills.Job(self, directory, self.problem, **self.settings, max_iterations=self.LAST, **settings)

    def counts(self, calls, rank, **settings):
        counts = kills.count_calls(self.job(f"counted{rank}", **settings), 2, calls, rank)
        missing = [call for call, count in counts.items() if count == 0]
        self.assertEqual(missing, [], f"rank {rank} never makes these calls")
        return counts

    def strike(self, number, action, call, nth, rank, **settings):
        """Kill there, and finish on another number of ranks."""
        note = f"{action}:{call}:{nth}:{rank}"
        np = 2 + number % 3
        job = self.job(f"killed{number}", **settings)
        job.finish(job.start(np, fault=note), 137)
        job.verify()
        job.complete(1 + (np + number) % 4, self.whole, note)

    @fault(2)
    def test_checkpoint(self):
        """In the middle of a run, on the rank that publishes and on one that does not."""
        cadence = dict(checkpoint_every=(self.LAST - self.FIRST) // 2)
        cases = []
        for rank, calls in ((0, ROOT), (1, ALL)):
            for call, count in self.counts(calls, rank, **cadence).items():
                # The first half of the calls belongs to the first of two checkpoints.
                for nth in spread(max(1, count // 2), 2):
                    cases += [(action, call, nth, rank) for action in ("kill", "after_kill")]
        print(f"{len(cases)} kills", flush=True)
        kills.together([(number, *case) for number, case in enumerate(cases)],
                       lambda *case: self.strike(*case, **cadence))

    @fault(33)
    def test_final_checkpoint_and_end(self):
        """Before and after the last checkpoint was published, and until the process is gone."""
        cadence = dict(checkpoint_every="1h")
        cases = []
        for call, count in self.counts(ROOT + END, 0, **cadence).items():
            actions = ("after_kill",) if call in ROOT else ("kill", "after_kill")
            cases += [(action, call, count, 0) for action in actions]
        cases += [(action, "MPI_Finalize", 1, 1) for action in ("kill", "after_kill")]
        print(f"{len(cases)} kills", flush=True)
        kills.together([(number, *case) for number, case in enumerate(cases)], lambda *case: self.strike(*case, **cadence))

    @fault(33)
    def test_nothing_to_do_after_the_end(self):
        """Everything is on the disk when the last rank leaves: the next start changes nothing."""
        job = self.job("run", checkpoint_every="1h")
        job.finish(job.start(3, fault="kill:MPI_Finalize:1:0"), 137)
        before = {name: data for name, data in harness.tree(job.directory).items() if name != "log.txt"}
        outcome = job.complete(2, self.whole)
        self.assertIn("nothing to do", outcome.out)
        after = {name: data for name, data in harness.tree(job.directory).items() if name != "log.txt"}
        self.assertEqual(before, after)


if __name__ == "__main__":
    unittest.main()
