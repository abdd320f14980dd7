"""Ranks, launchers and whole jobs are killed, and told to stop, at random times: the job ends, a verified checkpoint is there, and the
same command line ends with the same bits. MXS_TEST_KILLS and MXS_TEST_SEED choose how many random kills, and which."""
import os
import random
import signal
import time
import unittest

import harness
import kills
from faults import fault
from harness import RANKS, Case

KILLS = int(os.environ.get("MXS_TEST_KILLS", 8))


class Kill(Case):
    """A run of a second or so, longer when it goes in parts."""
    LENGTH = dict(k=5, max_iterations=6000, tolerance=0, metrics_every=300)

    def setUp(self):
        super().setUp()
        seed = kills.chosen_seed()
        self.random = random.Random(seed)
        print(f"{self.id()}: MXS_TEST_SEED={seed}", flush=True)
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        start = time.monotonic()
        self.whole = self.solve(self.problem, "whole", np=2, **self.LENGTH)
        self.duration = time.monotonic() - start

    def job(self, name="run", **settings):
        return kills.Job(self, self.dir / name, self.problem, **{**self.LENGTH, **settings})

    def pause(self, process, seconds):
        deadline = time.monotonic() + seconds
        process.wait_for(lambda: time.monotonic() > deadline)

    # ---- kills ------------------------------------------------------------------------------------

    def end_of(self, job, process):
        """The exit code. mpirun itself waits for ever for a rank that is killed while it connects to it, before the program begins, and says
        so: it has been ended then, and nobody may be left."""
        try:
            return job.finish(process, 0, 137).code
        except AssertionError as error:
            if "hangs" not in str(error) or "PMIX ERROR: UNREACHABLE" not in str(error):
                raise
            kills.wait_until_gone(process.popen.pid)
            return "launcher hung"

    def kill_ranks(self, name, count, rng):
        job, codes = self.job(name, checkpoint_every=50), []
        for _ in range(count):
            process = job.start(rng.choice(RANKS[1:4]))
            process.wait_for(process.ranks)
            self.pause(process, rng.uniform(0, self.duration))
            ranks = process.ranks()
            kills.end([rng.choice(ranks)] if ranks else [])
            codes.append(self.end_of(job, process))
            if (job.directory / "checkpoint.h5").exists():
                job.verify()
        job.complete(3, self.whole, f"{name}: {codes}")
        self.codes += codes

    @fault(1)
    def test_random_rank(self):
        """At any time from the start of the launcher to the end, in two runs side by side."""
        self.codes = []
        kills.together([(f"run{i}", (KILLS + i) // 2, random.Random(self.random.random())) for i in range(2)], self.kill_ranks)
        self.assertIn(137, self.codes, "nobody was killed")

    @fault(3)
    def test_all_at_once(self):
        """As when the power of a node goes: launcher and ranks."""
        job = self.job(checkpoint_every=50)
        for _ in range(max(3, KILLS // 2)):
            process = job.start(self.random.choice(RANKS[:4]))
            self.assertTrue(process.wait_for(process.ranks))
            self.pause(process, self.random.uniform(0, self.duration))
            kills.end(kills.session(process.popen.pid))
            job.finish(process, -signal.SIGKILL, 0)
        job.complete(2, self.whole)

    @fault(3)
    def test_launcher_alone(self):
        """Its ranks live on for a second or more and may publish: the next start waits for them, or goes on from what they left."""
        job = self.job(checkpoint_every=50)
        leaders = []
        for _ in range(max(3, KILLS // 2)):
            process = job.start(self.random.choice((2, 3)))
            self.assertTrue(process.wait_for(process.ranks))
            self.pause(process, self.random.uniform(0, self.duration))
            leaders.append(process.popen.pid)
            process.signal(signal.SIGKILL)
            process.popen.wait()
        outcome = job.complete(2, self.whole)
        for line in outcome.lines("warning"):
            self.assertRegex(line, "waiting|taken over")
        for leader in leaders:
            kills.wait_until_gone(leader)

    # ---- signals ----------------------------------------------------------------------------------

    def stop_at_random(self, number, rng):
        """SIGUSR1 from the first line of the log on."""
        job, codes = self.job(f"usr1_{number}", checkpoint_every=50), []
        while not codes or codes[-1] == 75:
            process = job.start(1 + (number + len(codes)) % 4)
            if len(codes) < 2:
                self.assertTrue(process.first_line(), process.text("err"))
                self.pause(process, rng.uniform(0, 0.3 * self.duration))
                process.signal(signal.SIGUSR1)
            outcome = job.finish(process, 75, 0)
            self.assertEqual(outcome.errors, [], str(outcome))
            codes.append(outcome.code)
            job.verify()
            summary = harness.summary(job.directory)
            self.assertEqual(summary["reason"], "stopped" if outcome.code == 75 else "target")
            self.assertEqual(harness.attributes(job.directory)["iteration"], summary["iterations"])
        self.assert_same_bits(self.whole, job.directory, f"SIGUSR1: {codes}")
        self.stopped += codes.count(75)

    def stop_in_checkpoint(self, number, call):
        """SIGUSR1 while a rank is in a step of a checkpoint."""
        job = self.job(f"inside_{number}", checkpoint_every=50)
        process = job.start(2, fault=f"sleep700:{call}")
        arrived = process.wait_for(lambda: any(path.name.startswith("checkpoint.tmp") for path in job.directory.glob("*")))
        self.assertTrue(arrived, process.text("err"))
        process.signal(signal.SIGUSR1)
        outcome = job.finish(process, 75)
        self.assertEqual(outcome.errors, [], str(outcome))
        job.verify()
        job.complete(3, self.whole, f"SIGUSR1 in {call}")

    @fault(4)
    def test_usr1(self):
        self.stopped = 0
        cases = [(self.stop_at_random, number, random.Random(self.random.random())) for number in range(2)]
        cases += [(self.stop_in_checkpoint, number, call) for number, call in
                  enumerate(("H5Fclose:2+:0", "H5Dwrite:3:1", "fsync=checkpoint.tmp:1:0", "rename=/checkpoint.h5$:1:0"))]
        kills.together(cases, lambda function, *case: function(*case))
        self.assertGreater(self.stopped, 0, "no start was stopped")

    def terminate(self, name, timeout):
        """mpirun tells its ranks after `timeout` seconds, and kills them as much later. The run is slow, so that it is still there."""
        job = self.job(name, checkpoint_every=20, max_iterations=1000)
        process = job.start(2, fault="sleep100:MPI_Allreduce=2000:20+:1",
                            env={} if timeout is None else {"OMPI_MCA_odls_base_sigkill_timeout": str(timeout)})
        self.assertTrue(process.wait_for((job.directory / "checkpoint.h5").exists), process.text("err"))
        process.signal(signal.SIGTERM)
        job.finish(process, 1)
        job.verify()
        if timeout is not None:
            self.assertEqual(harness.summary(job.directory)["reason"], "stopped", "there was time for a checkpoint")
        job.complete(3, self.short, f"SIGTERM, {timeout} s")

    @fault(5)
    def test_sigterm(self):
        """The default of a second, and enough for any checkpoint."""
        self.short = self.solve(self.problem, "short", **{**self.LENGTH, "max_iterations": 1000})
        kills.together([("long", 5), ("default", None)], self.terminate)


if __name__ == "__main__":
    unittest.main()
