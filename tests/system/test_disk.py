"""Full disks, quotas and limits under a run: noticed, without a hang; never fewer than one verified checkpoint."""
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

import harness
from faults import fault
from harness import Case, Process, options

SETTINGS = dict(k=5, max_iterations=200, tolerance=0, checkpoint_every=20)
INSIDE = "MXS_TEST_MOUNTS"  # set in a process with mounts of its own


def own_mounts():
    """Run this file again where it may mount what nobody else sees; why that cannot be."""
    if os.environ.get(INSIDE):
        return None
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return "needs root and unshare, to mount a small disk"
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        return "this system lets nobody mount anything (unshare -m fails)"
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, "-B", *sys.argv])
    return None


CANNOT_MOUNT = None


class Disk(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.whole = self.solve(self.problem, "whole", **SETTINGS)

    def start(self, directory, np=1, settings=(), **how):
        process = Process(["solve", *options(problem=self.problem, **{**SETTINGS, **dict(settings)}), "-o", directory], np=np, **how)
        self.addCleanup(process.end)
        return process

    def finish(self, process, code):
        outcome = process.finish()
        self.assertEqual(outcome.code, code, str(outcome))
        self.assertEqual(len(outcome.errors), 0 if code == 0 else 1, str(outcome))
        return outcome

    def good(self, directory):
        """A verified checkpoint, no file of a failed one; its iteration."""
        self.run_ok("info", directory, np=0)
        self.assertEqual([name for name in os.listdir(directory) if "tmp" in name], [])
        return int(harness.attributes(directory)["iteration"])

    def goes_on(self, directory, np=0):
        self.finish(self.start(directory, np=np), 0)
        self.good(directory)
        self.assert_same_bits(self.whole, directory)


class Rules(Disk):
    """What the system says no to, once and for good, in each step; the checkpoint before stays."""
    STEPS = ("ENOSPC:fallocate=checkpoint.tmp:{}:0", "EDQUOT:fallocate=checkpoint.tmp:{}:0", "ENOSPC:H5Dwrite:{}", "EDQUOT:H5Dwrite:{}",
             "ENOSPC:H5Fflush:{}", "EIO:fsync=checkpoint.tmp:{}:0", "EDQUOT:fsync=checkpoint.tmp:{}:0",
             "ENOSPC:link=checkpoint.tmp:{}:0", "EIO:rename=checkpoint.h5:{}:0", "EIO:rename=checkpoint.prev.h5:{}:0",
             "EACCES:open=checkpoint.tmp:{}:0")

    @fault(8, 10)
    def test_once(self):
        """The run goes on, says so, and ends with the same bits."""
        for number, step in enumerate(self.STEPS):
            with self.subTest(step):
                run = self.dir / f"once{number}"
                outcome = self.finish(self.start(run, np=2 * (number % 2), fault=step.format(2)), 0)
                warning, = outcome.lines("warning")
                self.assertIn("no checkpoint at iteration", warning)
                self.good(run)
                self.assert_same_bits(self.whole, run)

    @fault(8, 10)
    def test_for_good(self):
        """Three failures in a row: exit code 74."""
        before = self.dir / "before"
        self.finish(self.start(before, np=0, settings=dict(max_iterations=50)), 0)
        for number, step in enumerate(self.STEPS[::2]):
            with self.subTest(step):
                run = self.dir / f"ever{number}"
                shutil.copytree(before, run)
                outcome = self.finish(self.start(run, np=2 * (number % 2), fault=step.format("1+")), 74)
                self.assertEqual(len(outcome.lines("warning")), 2, str(outcome))
                # Its file may be in place although what came after it failed.
                self.assertIn(self.good(run), (50, 100) if "prev" in step else (50,))
                self.goes_on(run)

    @fault(8)
    def test_last_one(self):
        """The one at the end must not fail."""
        run = self.dir / "run"
        never = dict(checkpoint_every=0)
        self.finish(self.start(run, settings=never, fault="ENOSPC:fallocate=checkpoint.tmp"), 74)
        self.assertFalse((run / "checkpoint.h5").exists())
        self.goes_on(run)

    @fault(8)
    def test_directory_that_does_not_reach_the_disk(self):
        run = self.dir / "dirsync"
        self.finish(self.start(run, settings=dict(max_iterations=20)), 0)
        outcome = self.finish(self.start(run, settings=dict(max_iterations=40), fault="EIO:fsync=dirsync:6+:0"), 74)
        self.assertIn("force to the disk", outcome.errors[0])
        self.goes_on(run)

    @fault(10)
    def test_file_size_limit(self):
        run = self.dir / "run"
        self.finish(self.start(run, settings=dict(max_iterations=50)), 0)
        for np in (1, 3):
            process = self.start(run, np=np, settings=dict(max_iterations=10**9, checkpoint_every="1h"))
            self.assertTrue(process.first_line())
            ranks = process.ranks()
            for pid in ranks:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 17, 1 << 17))
            process.signal(signal.SIGUSR1)
            outcome = self.finish(process, 74)
            self.assertIn("File too large", outcome.errors[0])
            self.assertEqual(self.good(run), 50)
        self.goes_on(run)

    @fault(9)
    def test_log_on_a_full_device(self):
        for name in ("log.txt", "events.jsonl"):
            with self.subTest(name):
                run = self.dir / name.replace(".", "_")
                self.finish(self.start(run, settings=dict(max_iterations=50)), 0)
                (run / name).unlink()
                (run / name).symlink_to("/dev/full")
                outcome = self.finish(self.start(run, np=2), 74)
                self.assertIn(name, outcome.errors[0])
                (run / name).unlink()
                self.goes_on(run)


class Small(Disk):
    """Disks that are full."""

    def setUp(self):
        if CANNOT_MOUNT:
            if os.environ.get("CI") == "true":
                self.fail(CANNOT_MOUNT)
            self.skipTest(CANNOT_MOUNT)
        super().setUp()
        self.disk = self.dir / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.disk], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)

    def fill(self, leave):
        """Leave so many bytes."""
        room = os.statvfs(self.disk)
        with open(self.disk / "filler", "ab") as filler:
            filler.write(bytes(room.f_bavail * room.f_frsize - leave))

    def empty(self):
        (self.disk / "filler").unlink()

    @fault(8)
    def test_full(self):
        """Neither back end of MPI-IO hangs, and none says that all is well."""
        for io in ("ompio", "romio321"):
            for np, rules in ((1, None), (4, None), (4, "ENOTSUP:fallocate")):
                with self.subTest(io=io, np=np, rules=rules):
                    run = self.disk / f"{io}{np}{len(rules or '')}"
                    env = {"OMPI_MCA_io": io}
                    self.finish(self.start(run, np=0, settings=dict(max_iterations=50)), 0)
                    self.fill(leave=1 << 17)
                    outcome = self.finish(self.start(run, np=np, env=env, fault=rules), 74)
                    self.assertIn("No space left", outcome.errors[0])
                    self.assertEqual(self.good(run), 50)
                    self.empty()
                    self.goes_on(run)

    def fills_up(self, run, np, io, rule):
        """While the first rank sleeps before a call of the last checkpoint but one."""
        how = dict(np=np, env={"OMPI_MCA_io": io})
        self.finish(self.start(run, np=0, settings=dict(max_iterations=100)), 0)
        log = self.dir / f"{run.name}.struck"
        how["env"]["MXS_FAULT_LOG"] = str(log)
        writing = self.start(run, settings=dict(checkpoint_every=190), fault=rule, **how)
        self.assertTrue(writing.wait_for(lambda: log.exists() and "sleep" in log.read_text()))
        time.sleep(0.5)  # what is known of the file so far is on the disk
        self.fill(leave=0)
        outcome = writing.finish()
        self.empty()
        self.assertEqual(outcome.code, 74, str(outcome))
        self.assertEqual((len(outcome.lines("warning")), len(outcome.errors)), (1, 1), str(outcome))
        self.assertEqual(self.good(run), 100)
        self.goes_on(run)

    @fault(8)
    def test_fills_up_in_the_middle(self):
        """After the room was asked for, where it is not promised, and where the create gave it back."""
        for rule in ("ENOTSUP:fallocate;sleep2000:H5Dwrite:1:0", "sleep2000:fallocate=checkpoint.tmp:3:0"):
            for np, io in ((1, "ompio"), (4, "ompio"), (4, "romio321")):
                with self.subTest(rule, np=np, io=io):
                    self.fills_up(self.disk / f"{rule[:5]}{np}{io}", np, io, rule)

    @fault(9)
    def test_full_under_metrics(self):
        run = self.disk / "run"
        rows = dict(metrics_every=1, checkpoint_every="1h", max_iterations=20000)
        self.finish(self.start(run, settings={**rows, "max_iterations": 50}), 0)
        self.fill(leave=1 << 16)
        outcome = self.finish(self.start(run, np=2, settings=rows), 74)
        self.assertIn("No space left", outcome.errors[0])
        self.assertEqual(self.good(run), 50)
        self.empty()
        self.finish(self.start(run, settings={**rows, "max_iterations": 100}), 0)
        self.good(run)

    @fault(8)
    def test_keeping_many_on_a_small_disk(self):
        """Kept checkpoints fill the disk: the newest stay."""
        run = self.disk / "run"
        self.fill(leave=1 << 20)
        outcome = self.start(run, settings=dict(checkpoint_every=2, checkpoint_keep="all")).finish()
        self.assertEqual(outcome.code, 74, str(outcome))
        self.good(run)
        self.empty()
        self.goes_on(run)


if __name__ == "__main__":
    CANNOT_MOUNT = own_mounts()
    unittest.main()
