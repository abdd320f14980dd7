"""A run directory has one owner: a dead one is proven dead, and one that stalled notices that it lost the directory."""
import concurrent.futures
import json
import os
import pathlib
import signal
import threading
import time
import unittest

import harness
from faults import fault
from harness import Case, Process, options

SETTINGS = dict(k=5, max_iterations=200, tolerance=0, checkpoint_every=50)
NO_LOCKS = "ENOLCK:lock"
WAITS = 120  # seconds; a limit for what waits for half a minute on a busy machine


def job(restart):
    return {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": str(restart)}


def state(pid):
    """'T': stopped; '': gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


class Owner(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.whole = self.solve(self.problem, "whole", **SETTINGS)

    def start(self, directory, np=1, settings=(), **how):
        process = Process(["solve", *options(problem=self.problem, **{**SETTINGS, **dict(settings)}), "-o", directory], np=np, **how)
        self.addCleanup(process.end)
        return process

    def stopped_rank(self, process):
        """Process id of the rank that a rule stopped."""
        found = []

        def look():
            found[:] = [pid for pid in process.ranks() if state(pid) == "T"]
            return found

        if not process.wait_for(look):
            self.fail(f"nobody stopped\n{process.finish()}")
        return found[0]

    def finish_ok(self, process, code=0):
        outcome = process.finish(WAITS)
        self.assertEqual(outcome.code, code, str(outcome))
        self.assertEqual(len(outcome.errors), 0 if code in (0, 75) else 1, str(outcome))
        return outcome

    def leftovers(self, directory):
        return [name for name in os.listdir(directory) if "tmp" in name or name.startswith(".lock")]


class Two(Owner):
    @fault(26)
    def test_at_the_same_moment(self):
        """One does the work; the other waits for its end, and finds nothing to do."""
        for number in range(20):
            run = self.dir / f"run{number}"
            both = [self.start(run, np=0) for _ in range(2)]
            outcomes = [self.finish_ok(process) for process in both]
            self.assertEqual(sum("nothing to do" in outcome.out for outcome in outcomes), 1, "\n".join(map(str, outcomes)))
            self.assertEqual(len(harness.events(run, "start")), 1)
            self.assertEqual(self.leftovers(run), [])
            self.assert_same_bits(self.whole, run)

    @fault(26, 34)
    def test_at_the_same_moment_without_locks(self):
        for number in range(5):
            run = self.dir / f"run{number}"
            outcomes = [self.finish_ok(process) for process in [self.start(run, np=0, fault=NO_LOCKS) for _ in range(2)]]
            self.assertEqual(sum("nothing to do" in outcome.out for outcome in outcomes), 1, "\n".join(map(str, outcomes)))
            self.assert_same_bits(self.whole, run)

    def after_a_kill(self, run, proof, **how):
        """The rank that holds the directory is killed; the next start does not wait."""
        first = self.start(run, settings=dict(max_iterations=10**9), **how)
        self.assertTrue(first.wait_for((run / "checkpoint.h5").exists))
        pid, = first.ranks()
        os.kill(pid, signal.SIGKILL)
        first.finish()
        self.assertTrue((run / ".lock").exists())
        outcome = self.finish_ok(self.start(run, settings=dict(max_iterations=self.longer(run)), **how))
        self.assertNotIn("waiting", outcome.err)
        warning, = [line for line in outcome.lines("warning") if "taken over" in line]
        for word in (f"process {pid}", proof):
            self.assertIn(word, warning)
        self.assertIn(proof, harness.events(run, "takeover")[0]["from"])
        self.assertEqual(self.leftovers(run), [])

    def longer(self, run):
        return int(harness.attributes(run)["iteration"]) + 10

    @fault(1, 26)
    def test_killed(self):
        self.after_a_kill(self.dir / "run", "its lock is free")

    @fault(26, 34)
    def test_killed_without_locks(self):
        self.after_a_kill(self.dir / "run", "its process is gone", fault=NO_LOCKS)

    @fault(34)
    def test_without_locks(self):
        run = self.dir / "run"
        outcome = self.finish_ok(self.start(run, np=2, fault=NO_LOCKS))
        self.assertEqual(len(outcome.lines("warning")), 1, str(outcome))
        self.assertIn("no locks", outcome.lines("warning")[0])
        self.assertEqual(self.leftovers(run), [])
        self.assert_same_bits(self.whole, run)


class HalfAMinute(Owner):
    """What has to wait before it may take over, side by side."""

    # Where the former owner stops, and whether it does so in its last checkpoint.
    STOPS = ("stop:open=checkpoint.tmp:1:0", "stop:H5Dwrite:3:0", "stop:fsync=checkpoint.tmp:1:0", "stop:link=checkpoint.tmp:1:0",
             "after_stop:link=checkpoint.tmp:1:0", "stop:rename=checkpoint.h5:2:0", "after_stop:rename=checkpoint.h5:2:0",
             "stop:rename=checkpoint.prev.h5:1:0", "after_stop:rename=checkpoint.prev.h5:1:0", "stop:rename=checkpoint.h5:4:0",
             "stop:rename=summary.json:1:0")

    def stalls(self, rule, np):
        """The same job starts again while the rank that its first start stalled in has not been ended."""
        run = self.dir / f"stalls{self.STOPS.index(rule)}"
        old = self.start(run, np=np, fault=rule, exported=job(0))
        pid = self.stopped_rank(old)
        new = self.finish_ok(self.start(run, np=np, exported=job(1)))
        self.assertIn("same job", "".join(new.lines("warning")))
        self.assert_same_bits(self.whole, run, rule)
        before = harness.tree(run)
        os.kill(pid, signal.SIGCONT)
        outcome = self.finish_ok(old, 77)
        self.assertIn("lost the directory", outcome.errors[0])
        self.assertEqual(harness.tree(run), before, rule)
        self.assertEqual(self.leftovers(run), [])

    def stalls_while_iterating(self):
        """It notices while the new one still runs, which it names, and does not disturb it."""
        run = self.dir / "iterating"
        endless = dict(max_iterations=10**9, checkpoint_every=10000, metrics_every=10**6)
        old = self.start(run, settings=endless, exported=job(0))
        self.assertTrue(old.wait_for((run / "checkpoint.h5").exists))
        pid, = old.ranks()
        os.kill(pid, signal.SIGSTOP)
        new = self.start(run, settings=endless, exported=job(1))
        self.assertTrue(new.wait_for(lambda: "taken over" in new.text("err") and new.text("out"), WAITS), new.text("err"))
        os.kill(pid, signal.SIGCONT)
        lost = self.finish_ok(old, 77)
        self.assertIn(f"process {new.ranks()[0]}", lost.errors[0])
        self.assertTrue(new.wait_for(lambda: any(event["restart"] == 1 for event in harness.events(run, "checkpoint"))))
        new.signal(signal.SIGUSR1)
        self.finish_ok(new, 75)
        self.run_ok("info", run, np=0)
        self.assertEqual(harness.attributes(run)["iteration"], harness.summary(run)["iterations"])

    def left_behind(self, name, **changes):
        """A run directory with the lock file of an owner on a file system without locks."""
        run = self.dir / name
        first = self.start(run, settings=dict(max_iterations=50), fault="after_kill:rename=checkpoint.h5:1:0")
        first.finish()
        lock = run / ".lock"
        owner = json.loads(lock.read_text())
        owner.update(locked=False, beat=7, **changes)
        beat, token = owner.pop("beat"), owner.pop("token")
        lock.write_text(f'{{"beat":{beat:20d},"token":"{token}",' + json.dumps(owner)[1:])
        return run, lock

    def alive(self):
        """On this system, by its process, which says nothing."""
        with open("/proc/self/stat") as stat:
            started = int(stat.read().rsplit(")", 1)[1].split()[19])
        run, _ = self.left_behind("alive", pid=os.getpid(), started=started)
        before = harness.tree(run)
        outcome = self.finish_ok(self.start(run, fault=NO_LOCKS), 77)
        self.assertIn(str(os.getpid()), outcome.errors[0])
        self.assertIn(str(run / ".lock"), outcome.errors[0])
        self.assertEqual(harness.tree(run), before)

    def dead_elsewhere(self):
        run, _ = self.left_behind("dead", host="faraway", machine="another")
        outcome = self.finish_ok(self.start(run, fault=NO_LOCKS))
        self.assertIn("no more sign of life", outcome.err)
        self.assertIn("faraway", outcome.err)
        self.assert_same_bits(self.whole, run)

    def alive_elsewhere(self):
        run, lock = self.left_behind("elsewhere", host="faraway", machine="another")
        done = threading.Event()

        def live():
            beat = 8
            while not done.wait(2):
                with open(lock, "r+b") as file:
                    file.seek(8)
                    file.write(b"%20d" % beat)
                beat += 1

        thread = threading.Thread(target=live)
        thread.start()
        try:
            outcome = self.finish_ok(self.start(run, fault=NO_LOCKS), 77)
        finally:
            done.set()
            thread.join()
        self.assertIn("faraway", outcome.errors[0])
        self.assertTrue(lock.exists())

    @fault(26, 27, 34)
    def test_all(self):
        tasks = [(self.stalls, rule, 2 if "H5Dwrite" in rule or "fsync" in rule else 1) for rule in self.STOPS]
        tasks += [(self.stalls_while_iterating,), (self.alive,), (self.dead_elsewhere,), (self.alive_elsewhere,)]
        with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
            running = [(task, pool.submit(*task)) for task in tasks]
        for task, future in running:
            with self.subTest(task[0].__name__, arguments=task[1:]):
                future.result()


if __name__ == "__main__":
    unittest.main()
