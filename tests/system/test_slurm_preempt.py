"""Scripts that mxsense slurm wrote, and preemption, under a real Slurm of two nodes."""
import concurrent.futures
import unittest

import cluster
import harness
from faults import fault
from harness import Case

KEYS = dict(k=5, tolerance=0, metrics_every=30, max_iterations=240)
PACE = "MPI_Allreduce=1000"  # once in an iteration


class TwoNodes(Case):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owner = cls("setUp")
        cls.owner.setUp()
        cls.addClassCleanup(cls.owner.doCleanups)
        cls.slurm = cluster.Cluster(2)
        cls.addClassCleanup(cls.slurm.stop)
        cls.problem = cls.slurm.scratch / "p.h5"
        cls.owner.run_ok("gen", *harness.options(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1), "-o", cls.problem)
        cls.whole = cls.owner.solve(cls.problem, "whole", **KEYS)

    def write(self, name, *more, **settings):
        """A script by mxsense slurm; returns its path."""
        path = self.slurm.scratch / f"{name}.sbatch"
        self.run_ok("slurm", *harness.options(problem=self.problem, **{**KEYS, **settings}), *more, "--tasks-per-node=2", "-o", path, np=0)
        return path

    def submit(self, script, *options, name="", rules="sleep20:" + PACE):
        name = name or script.stem
        return self.slurm.submit(script, f"--output={self.slurm.scratch}/{name}.log", *options, env=self.slurm.program(f"{name}.sh", rules))

    def wait_for(self, job, run, checkpoints):
        job.wait_for(lambda: len(harness.events(run, "checkpoint")) >= checkpoints, f"{checkpoints} checkpoints of {run}")

    def one(self, name, *more):
        self.submit(self.write(name, "--nodes=1", "--time=5min", *more)).wait()
        self.assert_same_bits(self.whole, self.slurm.scratch / f"{name}-run")

    def threads(self):
        """Two threads, two nodes, and a name with a blank."""
        run = self.slurm.scratch / "with threads"
        self.submit(self.write("threads", "--nodes=2", "--time=5min", "--directory", run, threads=2)).wait()
        self.assertEqual(harness.summary(run)["machine"]["ranks"], 4)
        self.assert_same_bits(self.whole, run)

    def chain(self):
        """Its iterations take more than the time limit, by a model that knows nothing of the tolerance."""
        script = self.write("chain", "--nodes=2", "--time=1min", "--launcher=srun", max_iterations=10**9, checkpoint_every=20)
        self.assertEqual(script.read_text().count("--max_iterations 1000000000"), 1)
        script.write_text(script.read_text().replace("--max_iterations 1000000000", "--max_iterations 240"))
        job = self.submit(script)
        self.wait_for(job, self.slurm.scratch / "chain-run", 2)
        job.signal("--batch", "--signal=USR1")
        job.wait()
        self.assertGreaterEqual(job.restarts(), 1)
        self.assert_same_bits(self.whole, self.slurm.scratch / "chain-run")

    def array(self):
        listed = self.slurm.scratch / "list.txt"
        listed.write_text("--max_iterations 30 --seed 2\n# no task\n--max_iterations 30 --alpha 1e-3\n--max_iterations 30 --k 4")
        self.submit(self.write("array", "--nodes=1", "--time=5min", "--array", listed)).wait()
        for number, settings in enumerate((dict(seed=2), dict(alpha="1e-3"), dict(k=4)), start=1):
            alone = self.solve(self.problem, f"alone{number}", **{**KEYS, "max_iterations": 30, **settings})
            self.assert_same_bits(alone, self.slurm.scratch / f"array-run/{number}")

    def test_written_scripts(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            started = [pool.submit(self.one, "single"), pool.submit(self.one, "by_srun", "--launcher=srun"),
                       *(pool.submit(work) for work in (self.threads, self.chain, self.array))]
        for future in started:
            with self.subTest(str(future)):
                future.result()

    @fault(7)
    def test_preemption(self):
        """By a job that needs all nodes. Ranks of srun get a TERM and some time; those of mpirun only what follows."""
        jobs = {}
        for node, launcher in ((1, "mpirun"), (2, "srun")):
            script = self.write(launcher, "--nodes=1", "--time=5min", "--chain", f"--launcher={launcher}", checkpoint_every=20)
            jobs[launcher] = self.submit(script, f"--nodelist=n{node}", "--exclusive", rules="sleep150:" + PACE)
        for launcher, job in jobs.items():
            self.wait_for(job, self.slurm.scratch / f"{launcher}-run", 2)
        urgent = self.slurm.scratch / "urgent.sbatch"
        urgent.write_text("#!/bin/sh\nsleep 2\n")
        self.slurm.submit(urgent, "--partition=urgent", "--nodes=2", "--exclusive").wait()
        for launcher, job in jobs.items():
            with self.subTest(launcher):
                job.wait()
                run = self.slurm.scratch / f"{launcher}-run"
                self.assertEqual(job.restarts(), 1)
                self.assertIn("restart 1: from iteration", job.log())
                self.assertEqual(len(harness.events(run, "stop")), 2, "both starts ended with a checkpoint")
                self.assert_same_bits(self.whole, run)


if __name__ == "__main__":
    unittest.main()
