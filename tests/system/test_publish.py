"""Checkpoints on the disk: kills between any two steps, older ones that are kept, and directories that cannot be written."""
import os
import shutil
import unittest

import harness
from faults import fault
from test_disk import Disk


class Denied(Disk):
    """Directories that cannot be a run's, for somebody who is not root."""

    def setUp(self):
        super().setUp()
        self.nobody = ()
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                if os.environ.get("CI") == "true":
                    self.fail("needs setpriv, to become somebody else")
                self.skipTest("needs setpriv, to become somebody else")
            self.nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        self.place = self.dir / "place"
        self.place.mkdir(mode=0o777)
        for path in (self.dir, self.place):
            path.chmod(0o777)
        for parent in self.dir.parents:
            if not os.stat(parent).st_mode & 0o005 == 0o005:
                self.skipTest(f"{parent} is not for others")

    def refused(self, code, run, word):
        for np in (0, 2):
            before = harness.tree(self.place)
            outcome = self.finish(self.start(run, np=np, prefix=self.nobody, env={"HOME": "/tmp"}), code)
            self.assertIn(word, outcome.errors[0])
            self.assertIn(str(run), outcome.errors[0])
            self.assertEqual(outcome.out, "")
            self.assertEqual(harness.tree(self.place), before)

    @fault(11)
    def test_new(self):
        self.refused(73, self.place / "no" / "run", "parent")
        (self.place / "file").touch()
        self.refused(73, self.place / "file", "not a directory")
        self.refused(73, self.place / "file" / "run", "not a directory")
        for mode in (0o555, 0o666, 0o000):
            shut = self.place / f"shut{mode:o}"
            shut.mkdir()
            shut.chmod(mode)
            self.addCleanup(shut.chmod, 0o777)
            self.refused(77, shut / "run", "Permission denied")
            self.refused(77, shut, "Permission denied")

    @fault(11)
    def test_run_of_before(self):
        run = self.place / "run"
        self.finish(self.start(run, settings=dict(max_iterations=50)), 0)
        run.chmod(0o555)
        self.addCleanup(run.chmod, 0o777)
        self.refused(77, run, "Permission denied")


class Kills(Disk):
    """Before and after every call of the protocol, in a checkpoint that has one before it."""
    CALLS = ("open=checkpoint.tmp:1", "open=checkpoint.tmp:2", "open=checkpoint.tmp:3", "open=checkpoint.tmp:5", "fallocate=checkpoint.tmp:1",
             "fallocate=checkpoint.tmp:3", "H5Dwrite:1", "H5Dwrite:4", "H5Fflush:1", "H5Fclose:2", "fsync=checkpoint.tmp:1",
             "link=checkpoint.tmp:1", "rename=checkpoint.h5:1", "rename=checkpoint.prev.h5:1", "fsync=killed:6", "link=checkpoint.0:1")

    AT_THE_END = ("open=checkpoint.tmp:1", "H5Dwrite:4", "fsync=checkpoint.tmp:1", "link=checkpoint.tmp:1", "rename=checkpoint.h5:1",
                  "rename=checkpoint.prev.h5:1", "fsync=killed:6")
    KEEP = dict(checkpoint_keep=2)

    @fault(2)
    def test_every_step(self):
        before = self.dir / "before"
        self.finish(self.start(before, np=0, settings=dict(max_iterations=50, **self.KEEP)), 0)
        for number, call in enumerate(self.CALLS):
            for when in ("kill", "after_kill"):
                with self.subTest(call, when=when):
                    run = self.dir / f"killed{number}{when}"
                    shutil.copytree(before, run)
                    self.killed(run, f"{when}:{call}:0", 2 if number % 8 == 6 else 0, (50, 60))

    @fault(33)
    def test_every_step_at_the_end(self):
        before = self.dir / "before"
        self.finish(self.start(before, np=0, settings=dict(max_iterations=180, **self.KEEP)), 0)
        for number, call in enumerate(self.AT_THE_END):
            with self.subTest(call):
                run = self.dir / f"killed{number}"
                shutil.copytree(before, run)
                self.killed(run, f"kill:{call}:0", 0, (180, 200))

    def killed(self, run, rule, np, allowed):
        log = self.dir / f"{run.name}.struck"
        self.start(run, np=np, settings=self.KEEP, fault=rule, env={"MXS_FAULT_LOG": str(log)}).finish()
        self.assertTrue(log.exists(), f"{rule} did not strike")
        self.run_ok("info", run, np=0)
        self.assertIn(int(harness.attributes(run)["iteration"]), allowed)
        self.finish(self.start(run, np=0, settings=self.KEEP), 0)
        self.good(run)
        self.assert_same_bits(self.whole, run)


class Keep(Disk):
    """checkpoint_keep."""

    def kept(self, run):
        return [int(path.name.split(".")[1]) for path in sorted(run.glob("checkpoint.0*.h5"))]

    def test_as_many_as_asked_for(self):
        for keep, wanted in ((0, []), (1, [180]), (3, [140, 160, 180]), ("all", list(range(20, 200, 20)))):
            run = self.dir / f"keep{keep}"
            self.finish(self.start(run, settings=dict(checkpoint_keep=keep)), 0)
            self.assertEqual(self.kept(run), wanted)
            for iteration in wanted:
                path = run / f"checkpoint.{iteration:010d}.h5"
                self.assertEqual(harness.attributes(run, path.name)["iteration"], iteration)
                self.assertIn(path.name, self.run_ok("info", run, np=0).out)
            self.assert_same_bits(self.whole, run)
        # What was kept stays when nothing more is to be kept.
        self.finish(self.start(self.dir / "keep3", settings=dict(max_iterations=240, checkpoint_keep=0)), 0)
        self.assertEqual(self.kept(self.dir / "keep3"), [140, 160, 180])

    @fault(12)
    def test_falls_back_to_the_newest_good_one(self):
        run = self.dir / "run"
        keep = dict(checkpoint_keep="all")
        self.finish(self.start(run, settings=dict(max_iterations=150, **keep)), 0)
        for name in ("checkpoint.h5", "checkpoint.prev.h5"):  # the last of the kept ones is the one before
            os.truncate(run / name, 1000)
        outcome = self.finish(self.start(run, settings=keep), 0)
        warning, = outcome.lines("warning")
        self.assertIn("going on from", warning)
        self.assertIn("checkpoint.0000000120.h5", warning)
        self.assert_same_bits(self.whole, run)
        self.good(run)
        self.assertEqual(self.kept(run), list(range(20, 200, 20)))

    def test_going_back(self):
        """To an older one: those of later iterations stay until the run has come there again."""
        run = self.dir / "run"
        keep = dict(checkpoint_keep=3)
        self.finish(self.start(run, settings=keep), 0)
        shutil.copy(run / "checkpoint.0000000140.h5", run / "checkpoint.h5")
        (run / "checkpoint.prev.h5").unlink()
        self.finish(self.start(run, settings=dict(max_iterations=150, checkpoint_every=5, **keep)), 0)
        self.assertEqual(self.kept(run), [140, 145, 160, 180])
        self.finish(self.start(run, settings=keep), 0)
        self.assertEqual(self.kept(run), [150, 160, 180])
        self.assert_same_bits(self.whole, run)

    def test_without_the_two_newest(self):
        run = self.dir / "run"
        keep = dict(checkpoint_keep=2)
        self.finish(self.start(run, settings=keep), 0)
        (run / "checkpoint.h5").unlink()
        (run / "checkpoint.prev.h5").unlink()
        outcome = self.finish(self.start(run, settings=keep), 0)
        self.assertIn("going on from", outcome.lines("warning")[0])
        self.good(run)
        self.assert_same_bits(self.whole, run)

    def test_without_hard_links(self):
        run = self.dir / "run"
        self.finish(self.start(run, settings=dict(checkpoint_keep=3), fault="EPERM:link"), 0)
        self.assertEqual(self.kept(run), [120, 140, 160])
        self.good(run)
        self.assert_same_bits(self.whole, run)


if __name__ == "__main__":
    unittest.main()
