"""Studies: the same table whatever the ranks, groups, parts and interruptions; every point is solved once; nobody hangs."""
import csv
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

import h5py
import numpy as np

import harness
import kills
import test_terminal
from harness import Case, Process

TEXT = """title: a test, of two ranks
problem:
  n: 12
  rank: [1, 2]
  rho: 4
solve:
  method: gd
  k: [2r, 5]
  alpha: {from: 1e-1, to: 1e-3, count: 3, scale: log}
  max_iterations: 60
repeats: 5
"""
POINTS, RUNS = 60, 10
SLOW = "sleep4:MPI_Allreduce=500"  # an iteration takes milliseconds
PLACES = ("run", "replica", "packed")  # where a point was solved


def table(directory):
    with open(directory / "table.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results(rows, drop=()):
    """The columns that depend neither on time nor on ranks."""
    names = list(rows[0])
    return [{name: row[name] for name in names[:names.index("wall_s")] if name not in drop} for row in rows]


def runs(directory):
    return sorted(path.name for path in (directory / "runs").iterdir())


class Study(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owner = cls("setUp")
        cls.owner.setUp()
        cls.addClassCleanup(cls.owner.doCleanups)
        cls.whole = cls.owner.study("whole", np=0)

    def write(self, text=TEXT, name="study.yaml"):
        path = self.dir / name
        path.write_text(text)
        return path

    def study(self, name="study", *options, text=TEXT, np=1, code=0, **more):
        directory = self.dir / name
        self.outcome = self.run_ok("study", self.write(text), "-o", directory, *options, np=np, code=code, **more)
        return directory

    @staticmethod
    def reason(run):
        return harness.summary(run)["reason"] if (run / "summary.json").exists() else None

    def assert_same(self, directory, expected=None, drop=(), note=""):
        left, right = results(table(expected or self.whole), drop), results(table(directory), drop)
        self.assertEqual(list(left[0]), list(right[0]))
        if left != right:
            self.fail(f"{note}: {directory.name}: " + harness.first_difference(left, right))

    # ---- the table ---------------------------------------------------------------------------------

    def test_ranks_and_groups(self):
        for np_, options in ((1, []), (3, []), (3, ["--ranks", 2]), (2, ["--ranks", 1, "--at_once", 2])):
            with self.subTest(np=np_, options=options):
                directory = self.study(f"n{np_}{len(options)}", *options, "--quiet", np=np_)
                self.assert_same(directory)
                used = {row["ranks_used"] for row in table(directory)}
                self.assertEqual(used, {str(options[1] if options else np_)})
                self.assertEqual(len(self.outcome.out.splitlines()), 1, "quiet: the last line only")
                self.assertEqual(self.outcome.err, "", "what runs warn of is in their logs")

    def test_axis_of_ranks(self):
        text = TEXT.replace("repeats: 5", "repeats: 2\nranks: [1, 3, 2]")
        directory = self.study(np=3, text=text)
        rows = table(directory)
        self.assertEqual(len(rows), 72)
        self.assertTrue(all(row["ranks_used"] == row["ranks"] for row in rows))
        groups = [results([row for row in rows if row["ranks"] == ranks], (*PLACES, "point", "ranks")) for ranks in "132"]
        self.assertEqual(groups[0], groups[1])
        self.assertEqual(groups[0], groups[2])
        outcome = self.run_ok("study", self.write(text), "-o", self.dir / "few", np=2, code=78)
        self.assertRegex(outcome.errors[0], r"ranks: .* asks for 3, and there are 2: start 3")
        self.assertEqual(len(outcome.errors), 1)
        self.assertFalse((self.dir / "few").exists())

    def test_columns(self):
        rows = table(self.whole)
        self.assertEqual(len(rows), POINTS)
        self.assertEqual([row["point"] for row in rows], [str(i) for i in range(POINTS)])
        self.assertEqual([row["rank"] for row in rows], ["1"] * 30 + ["2"] * 30)
        self.assertEqual([row["k"] for row in rows], ["2"] * 15 + ["5"] * 15 + ["4"] * 15 + ["5"] * 15)
        self.assertEqual([row["alpha"] for row in rows[:15:5]], ["0.1", "0.01", "0.001"])
        self.assertEqual([row["solve.seed"] for row in rows[:6]], ["0", "1", "2", "3", "4", "0"])
        self.assertEqual({(row["rank"], row["measurements"], row["rho"]) for row in rows}, {("1", "92", "4"), ("2", "176", "4")})
        self.assertEqual({row["reason"] for row in rows}, {"target"})
        for row in rows[::7]:
            run = self.whole / row["run"]
            summary = harness.summary(run / f"replica_{row['replica']}")
            for key in ("loss", "relative_residual", "test_error", "alpha", "step"):
                self.assertEqual(float(row[key]), summary[key], key)
            self.assertEqual(float(row["compute_s"]), summary["timings"]["compute"]["mean"])
            self.assertEqual((row["validation_loss"], row["certificate"], row["best_iteration"]), ("", "", ""))
            self.assertEqual(int(row["packed"]), len(harness.summary(run)["replicas"]))

    def test_hdf5(self):
        rows = table(self.whole)
        with h5py.File(self.whole / "table.h5", "r") as file:
            group = file["table"]
            self.assertEqual(group.attrs["title"].decode() if isinstance(group.attrs["title"], bytes) else group.attrs["title"],
                             "a test, of two ranks")
            self.assertIn("commit", group.attrs)
            self.assertEqual(set(group), set(rows[0]))
            for name, data in group.items():
                texts = [row[name] for row in rows]
                if data.dtype.kind == "f":
                    self.assertTrue(np.array_equal(data[...], [float(text or "nan") for text in texts], equal_nan=True), name)
                elif data.dtype.kind == "i":
                    self.assertEqual(list(data[...]), [int(text) if text else np.iinfo("i8").min for text in texts], name)
                else:
                    self.assertEqual([text.decode() for text in data[...]], texts, name)

    def test_packed_and_alone(self):
        directory = self.study(text=TEXT + "pack: off\n", np=0)
        self.assertEqual(len(runs(directory)), POINTS)
        for together, alone in zip(table(self.whole), table(directory)):
            self.assertEqual((alone["replica"], alone["packed"]), ("-1", "1"))
            for name in ("loss", "relative_residual", "test_error", "alpha", "step"):
                self.assertTrue(math.isclose(float(together[name]), float(alone[name]), rel_tol=1e-9), name)
            same = ("point", "repeat", "k", "rank", "measurements", "problem.seed", "solve.seed", "reason", "iterations", "rank_estimate")
            self.assertEqual([together[name] for name in same], [alone[name] for name in same])

    def test_longer_lists(self):
        directory = self.study(np=0)
        before = {name: (directory / "runs" / name / "summary.json").stat().st_mtime_ns for name in runs(directory)}
        longer = TEXT.replace("count: 3", "count: 5").replace("repeats: 5", "repeats: 6")
        self.study(text=longer, np=2)
        self.assertIn(f"120 points in 12 runs, 12 problems; {POINTS} done before", self.outcome.out)
        for name, stamp in before.items():
            self.assertEqual((directory / "runs" / name / "summary.json").stat().st_mtime_ns, stamp)
        rows = table(directory)
        self.assertEqual(len(rows), 120)
        self.assertEqual({row["reason"] for row in rows}, {"target"})
        self.assertEqual(len({row["run"] for row in rows}), 2 * RUNS + 2)
        old = [row for row in rows if row["run"][5:] in before]
        drop = (*PLACES, "point")
        self.assertEqual(results(old, drop), results(table(self.whole), drop))
        files = harness.tree(directory / "runs")
        self.study(text=longer, np=0)
        self.assertIn("120 done before", self.outcome.out)
        self.assertEqual(harness.tree(directory / "runs"), files, "there was nothing to do")

    def test_diverging_points(self):
        text = TEXT.replace("max_iterations: 60", "max_iterations: 60\n  step: [1e4, auto]")
        for name, more in (("packed", ""), ("alone", "pack: off\n")):
            rows = table(self.study(name, text=text.replace("repeats: 5", "repeats: 1") + more, np=2))
            self.assertEqual([row["reason"] for row in rows], ["diverged", "target"] * 12)
        self.assertIn("12 diverged, 12 target", self.outcome.out)

    def test_terminal(self):
        """One line that is rewritten, and the last ones; in a file a line for each run."""
        directory = self.dir / "study"
        text = TEXT.replace("repeats: 5", "repeats: 2")
        code, out, err = test_terminal.Terminal.on_terminal(self, harness.command(["study", self.write(text), "-o", directory], 0))
        self.assertEqual((code, err), (0, ""), out)
        lines = out.replace("\r\n", "\n").split("\n")
        self.assertEqual(len(lines), 3, out)
        updates = lines[1].split("\r")
        self.assertEqual([piece.split()[0] for piece in updates if "points" in piece], ["0/24", "6/24", "12/24", "18/24", "24/24"])
        shutil.rmtree(directory)
        outcome = self.run_ok("study", self.write(text), "-o", directory, np=0)
        self.assertEqual(len(outcome.out.splitlines()), 3 + 4, outcome.out)
        self.assertNotIn("\r", outcome.out)

    # ---- stops and ends -----------------------------------------------------------------------------

    def test_kills(self):
        seed = kills.chosen_seed()
        print(f"{self.id()}: MXS_TEST_SEED={seed}", flush=True)
        rng = random.Random(seed)
        directory = self.dir / "study"
        struck = 0
        for np_ in (0, 2, 0, 2):
            process = Process(["study", self.write(), "-o", directory], np=np_, fault=SLOW)
            process.wait_for((directory / "runs").exists)
            pause = time.monotonic() + rng.uniform(0, 0.4 if np_ == 0 else 1.2)
            process.wait_for(lambda: time.monotonic() > pause)  # pylint: disable=cell-var-from-loop
            struck += process.running()
            kills.end(kills.session(process.popen.pid))
            process.end()
        self.assertGreaterEqual(struck, 3)
        self.study(np=1)
        self.assert_same(directory)
        self.assertEqual(len(runs(directory)), RUNS, "every pass is the one that it was")
        self.assertEqual(list(directory.glob("**/*.part.*")), [], "what was killed is swept away")

    def test_stop_file_and_signals(self):
        passes = {run: i for i, run in enumerate(dict.fromkeys(row["run"] for row in table(self.whole)))}
        groups = ["--ranks", "1", "--at_once", "max"]
        for name, np_, options in (("STOP", 2, []), ("USR1", 2, []), ("STOP3", 3, groups), ("USR3", 3, groups)):
            directory = self.dir / name
            with self.subTest(name):
                process = Process(["study", self.write(), "-o", directory, *options], np=np_, fault=SLOW)
                self.assertTrue(process.wait_for(lambda: any(directory.glob("runs/*/summary.json"))))  # pylint: disable=cell-var-from-loop
                if name.startswith("STOP"):
                    (directory / "STOP").touch()
                else:
                    process.signal(signal.SIGUSR1)
                outcome = process.finish()
                self.assertEqual(outcome.code, 75, str(outcome))
                self.assertFalse((directory / "STOP").exists())
                self.assertRegex(outcome.out, r"to come: \d+ points: .*; run the study to go on\n")
                left = [row["reason"] for row in table(directory)]
                self.assertIn("missing", left)
                self.assertIn("target", left)
                self.assertTrue(all(row["loss"] == "" for row in table(directory) if row["reason"] != "target"))
                for group in range(3 if options else 1):
                    mine = [row for row in table(directory) if passes[row["run"]] % 3 == group]
                    self.assertGreater(len({row["run"] for row in mine if row["reason"] != "target"}), 0, f"group {group} stopped too")
                self.study(name, np=0)
                self.assert_same(directory)

    def test_signal_between_runs(self):
        """After the last iteration of a run there is none that could ask."""
        directory = self.dir / "study"
        process = Process(["study", self.write(), "-o", directory], np=0, fault="sleep1000:rename=summary.json:1")
        self.assertTrue(process.wait_for(lambda: any(directory.glob("runs/*/replica_0/summary.json.tmp.*"))))
        process.signal(signal.SIGUSR1)
        outcome = process.finish()
        self.assertEqual(outcome.code, 75, str(outcome))
        self.assertEqual(len(runs(directory)), 1)
        self.assertEqual([row["reason"] for row in table(directory)].count("target"), POINTS // RUNS)

    def test_time_of_the_job(self):
        """The scheduler tells rank 0 when the job ends; the other groups have a rank 0 of their own."""
        env = {"SLURM_JOB_END_TIME": str(int(time.time()) + 5)}
        options = ["--ranks", 1, "--at_once", "max"]
        directory = self.study("study", *options, np=2, env=env, fault="sleep60:MPI_Allreduce=500", code=75)
        self.assertEqual(self.outcome.errors, [])
        self.assertLess(len([row for row in table(directory) if row["reason"] == "target"]), POINTS)
        self.study(np=2)
        self.assert_same(directory)

    def test_what_was_left_behind(self):
        """Of a process that has ended it is swept away, although nobody has asked for its end yet; not of one that lives."""
        directory = self.dir / "study"
        self.run_ok("study", self.write(), "-o", directory, "--part", "1/10", np=0)
        with subprocess.Popen(["true"]) as ended, subprocess.Popen(["sleep", "60"]) as living:
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            names = [directory / f"problems/x.h5.part.{process.pid}.{socket.gethostname()}.tmp" for process in (ended, living)]
            for name in names:
                name.touch()
            self.run_ok("study", self.write(), "-o", directory, "--part", "1/10", np=0)
            living.kill()
        self.assertEqual([name.exists() for name in names], [False, True])

    def test_parts(self):
        directory = self.dir / "study"
        path = self.write()
        process = [Process(["study", path, "-o", directory, "--part", f"{i}/3"], np=0) for i in (1, 3)]
        for outcome in (one.finish() for one in process):
            self.assertEqual(outcome.code, 0, str(outcome))
            self.assertRegex(outcome.out, r"part [13] of 3: \d+ points in \d runs")
        outcome = self.run_ok("study", "--collect", "-o", directory, np=0, code=75)
        self.assertRegex(outcome.out, r"to come: 18 points: 1 \(.*\), .*; run the study to go on\n.*60 rows: 42 target, 18 missing|"
                                      r"60 rows: .*18 missing")
        self.assertEqual({row["reason"] for row in table(directory)}, {"target", "missing"})
        known = {row["point"]: row for row in results(table(self.whole))}
        for row in results(table(directory)):
            expected = known[row["point"]]
            given = [name for name in row if row["reason"] == "target" or name in ("k", "alpha", "rank", "n1", "run", "packed", "rho")]
            self.assertEqual([row[name] for name in given], [expected[name] for name in given])
        processes = [Process(["study", path, "-o", directory, "--part", f"{i}/3"], np=0) for i in (1, 2, 3)]
        for one in processes:
            self.assertEqual(one.finish().code, 0)
        self.run_ok("study", "--collect", "-o", directory, np=0)
        self.assert_same(directory)

    def test_stop_of_all_parts(self):
        """The file stays until it is removed, so that all see it."""
        directory = self.dir / "study"
        directory.mkdir()
        (directory / "STOP").touch()
        outcome = self.run_ok("study", self.write(), "-o", directory, "--part", "2/3", np=0, code=75)
        self.assertIn(f"without {directory}/STOP", outcome.out)
        self.assertTrue((directory / "STOP").exists())
        self.assertEqual(runs(directory), [])

    # ---- errors -------------------------------------------------------------------------------------

    def test_damaged_problem(self):
        """One group fails, the others stop in the middle; all leave with the same code, and the run is named."""
        groups = ["--ranks", "1", "--at_once", "max"]
        for np_, repeat, options in ((2, 0, []), (3, 0, groups), (3, 1, groups)):
            with self.subTest(np=np_, repeat=repeat):
                directory = self.dir / f"study{np_}{repeat}"
                shutil.copytree(self.whole, directory, symlinks=True)
                bad = directory / table(directory)[30 + repeat]["run"]
                damaged = directory / "problems" / os.path.basename(re.search(r"^problem: (.*\.h5)", (bad / "config.yaml").read_text(), re.M)[1])
                for run in {row["run"] for row in table(directory)[30:]}:
                    shutil.rmtree(directory / run)
                with open(damaged, "r+b") as file:
                    file.truncate(1500)
                outcome = self.run_ok("study", self.write(), "-o", directory, *options, np=np_, code=65, fault="sleep20:MPI_Allreduce=500")
                self.assertEqual(len(outcome.errors), 1, str(outcome))
                self.assertRegex(outcome.errors[0], rf"{bad.name} \(rank 2, .*#{repeat}\): .*{damaged.name}")
                ended = [name for name in runs(directory) if self.reason(directory / "runs" / name) == "target"]
                self.assertEqual(len(ended), RUNS // 2, "the others did not go on")
                damaged.unlink()
                self.study(directory.name, np=2)
                self.assert_same(directory)

    def test_foreign_directory(self):
        directory = self.dir / "foreign"
        directory.mkdir()
        (directory / "thesis.tex").touch()
        outcome = self.run_ok("study", self.write(), "-o", directory, np=2, code=73)
        self.assertIn("not empty and not of a study", outcome.errors[0])
        self.assertEqual([path.name for path in directory.iterdir()], ["thesis.tex"])


if __name__ == "__main__":
    unittest.main()
