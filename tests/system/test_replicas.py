"""Many runs in one pass: each replica is the run that it would be alone, ends for itself, and survives any interruption."""
import os
import random
import shutil
import signal
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from harness import Case, Process, options

EPS = np.finfo(float).eps


def replica(directory, r):
    return directory / f"replica_{r}"


def factors(directory, r, name="checkpoint.h5"):
    with h5py.File(directory / name, "r") as file:
        return file[f"replica_{r}/factors/U"][...], file[f"replica_{r}/factors/V"][...]


def bits(directory, count):
    """What must not depend on ranks, threads or interruptions, of each replica."""
    result = []
    with h5py.File(directory / "checkpoint.h5", "r") as file:
        for r in range(count):
            group = file[f"replica_{r}"]
            history = {name: data[...].tobytes() for name, data in group["metrics"].items() if name != "seconds"}
            table = [{key: text for key, text in row.items() if key != "seconds"} for row in harness.rows(replica(directory, r))]
            result.append({"U": group["factors/U"][...].tobytes(), "V": group["factors/V"][...].tobytes(), "history": history, "table": table})
    return result


class ReplicaCase(Case):
    def assert_same_replicas(self, a, b, count, note=""):
        for r, (left, right) in enumerate(zip(bits(a, count), bits(b, count))):
            for key in left:
                if left[key] != right[key]:
                    self.fail(f"{note}: {key} of replica {r} differs between {a.name} and {b.name}: "
                              + harness.first_difference(left[key], right[key]))

    SLACK = 100  # another order of the sums comes to a quarter of a unit for each iteration

    def assert_is_solo(self, sweep, r, solo):
        """To rounding: each of T iterations adds a few units of the last place to numbers of some size."""
        T = harness.summary(solo)["iterations"]
        bound = self.SLACK * EPS * max(T, 1)
        for ours, theirs in zip(factors(sweep, r), harness.factors(solo)):
            self.assertEqual(ours.shape, theirs.shape)
            self.assert_close(ours, theirs, bound, f"factors of replica {r}")
        left, right = (harness.rows(directory) for directory in (replica(sweep, r), solo))
        self.assertEqual([row["iteration"] for row in left], [row["iteration"] for row in right])
        self.assertEqual(list(left[0]), list(right[0]), "the columns are those of a solo run")
        for name in ("loss", "grad_norm", "test_error", "sigma_1"):
            self.assert_close([float(row[name]) for row in left], [float(row[name]) for row in right], bound, f"{name} of replica {r}")
        ours, theirs = harness.summary(replica(sweep, r)), harness.summary(solo)
        self.assertEqual(set(ours), set(theirs))
        for key in ("reason", "iterations", "rank_estimate"):
            self.assertEqual(ours[key], theirs[key], key)


class AsSolo(ReplicaCase):
    def compare(self, problem, lists, **common):
        """A sweep, and each of its replicas alone."""
        count = len(next(iter(lists.values())))
        text = {key: ",".join(map(str, values)) for key, values in lists.items()}
        sweep = self.solve(problem, "sweep", np=2, **text, **common)
        summary = harness.summary(sweep)
        self.assertFalse((sweep / "metrics.csv").exists())
        self.assertEqual([one["replica"] for one in summary["replicas"]], list(range(count)))
        for r in range(count):
            own = {key: values[r] for key, values in lists.items()}
            solo = self.solve(problem, f"solo{r}", **own, **common)
            self.assert_is_solo(sweep, r, solo)
            for key, value in own.items():
                self.assertEqual(summary["replicas"][r][key], value, key)
        return sweep

    def dense(self):
        return harness.write_problem(self.dir / "p.h5", ref.plant(13, 10, 2, 401, seed=1, held_out=40))

    def test_alpha(self):
        self.compare(self.dense(), dict(alpha=[0.1, 0.01, 0.05]), k=4, max_iterations=60, metrics_every=7, tolerance=0)

    def test_k(self):
        """Other numbers of columns make other numbers of singular values in the metrics."""
        sweep = self.compare(self.dense(), dict(k=[2, 5, 3]), alpha=0.05, max_iterations=50, metrics_every=10, tolerance=0)
        names = [[name for name in harness.rows(replica(sweep, r))[0] if name.startswith("sigma_")] for r in range(3)]
        self.assertEqual([len(n) for n in names], [2, 5, 3])

    def test_step_and_seed_on_a_generated_ensemble(self):
        problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=700, seed=4)
        self.compare(problem, dict(step=[0.1, 0.2], seed=[3, 11]), k=4, alpha=0.05, max_iterations=60, metrics_every=9, tolerance=0)

    def test_each_stops_for_itself(self):
        """Tolerances met at three different iterations, and a target."""
        sweep = self.compare(self.dense(), dict(alpha=[0.3, 0.1, 0.03], step=[0.2, 0.1, 0.005]), k=2, max_iterations=150,
                             metrics_every=10, tolerance=1e-3)
        summary = harness.summary(sweep)
        ends = [(one["reason"], one["iterations"]) for one in summary["replicas"]]
        self.assertEqual([reason for reason, _ in ends], ["tolerance", "tolerance", "target"])
        self.assertLess(ends[0][1], ends[1][1])
        self.assertEqual((summary["reason"], summary["iterations"]), ("target", 150))
        best = min(summary["replicas"], key=lambda one: one["relative_residual"])
        self.assertEqual([summary[key] for key in ("loss", "test_error")], [best[key] for key in ("loss", "test_error")])
        log = (sweep / "log.txt").read_text()
        for r, (reason, iteration) in enumerate(ends[:2]):
            self.assertIn(f"replica {r}: tolerance at iteration {iteration}, relative residual ", log)
            self.assertEqual(harness.rows(replica(sweep, r))[-1]["iteration"], str(iteration))

    def test_comparison_can_fail(self):
        problem = self.dense()
        sweep = self.solve(problem, "sweep", alpha="0.1,0.05", k=3, max_iterations=20, tolerance=0)
        solo = self.solve(problem, "solo", alpha=0.1 * (1 + 1e-9), k=3, max_iterations=20, tolerance=0)
        with self.assertRaises(AssertionError):
            self.assert_is_solo(sweep, 0, solo)


class Settings(ReplicaCase):
    def setUp(self):
        super().setUp()
        self.problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))

    def test_count_of_seeds(self):
        """replicas: R counts the seeds up, and the same as a list is the same run."""
        common = dict(k=3, alpha=0.05, max_iterations=20, tolerance=0)
        counted = self.solve(self.problem, "counted", replicas=3, seed=5, **common)
        listed = self.solve(self.problem, "listed", seed="5,6,7", **common)
        self.assert_same_replicas(counted, listed, 3)
        self.assertEqual([one["seed"] for one in harness.summary(counted)["replicas"]], [5, 6, 7])
        starts = [harness.rows(replica(counted, r))[0]["loss"] for r in range(3)]
        self.assertEqual(len(set(starts)), 3)

    def test_lists_in_yaml_and_the_echo(self):
        file = self.dir / "run.yaml"
        file.write_text(f"problem: {self.problem}\nmethod: gd\nalpha: [5e-2, 0.1]\nk: '3,4'\nmax_iterations: 15\ntolerance: 0\nhold_out: 0.1\n")
        first, second = self.dir / "first", self.dir / "second"
        self.run_ok("solve", file, "-o", first)
        config = (first / "config.yaml").read_text()
        for line in ("alpha: [0.05, 0.1]", "k: [3, 4]", "replicas: 2", "seed: 0"):
            self.assertIn(f"\n{line}\n", config)
        self.run_ok("solve", first / "config.yaml", "-o", second, np=2)
        self.assertEqual(config, (second / "config.yaml").read_text())
        self.assert_same_replicas(first, second, 2)

    def test_hold_out_goes_by_the_first_seed(self):
        common = dict(k=3, alpha=0.05, hold_out=0.2, max_iterations=10, tolerance=0)
        sweep = self.solve(self.problem, "sweep", seed="4,9", **common)
        solo = self.solve(self.problem, "solo", seed=4, **common)
        self.assert_is_solo(sweep, 0, solo)
        self.assert_close(harness.column(replica(sweep, 0), "validation_loss"), harness.column(solo, "validation_loss"), 1e-10)

    def test_refusals(self):
        for words, settings in ((("alpha", "seed"), dict(alpha="0.1,0.2", seed="1,2,3")), (("replicas", "alpha"), dict(alpha="0.1,0.2", replicas=3)),
                                (("k", "1.5", "integer"), dict(k="3,1.5")), (("step", "auto"), dict(step="auto,0.1")),
                                (("alpha", "''"), dict(alpha="0.1,")), (("replicas", "1024"), dict(replicas=1025)), (("k",), dict(k="[3,4"))):
            for np_ in (0, 2):
                with self.subTest(settings, np=np_):
                    outcome = self.run_ok("solve", *options(problem=self.problem, **settings), "-o", self.dir / "bad", np=np_, code=78)
                    self.assertEqual(len(outcome.errors), 1, str(outcome))
                    for word in words:
                        self.assertIn(word, outcome.errors[0])
                    self.assertFalse((self.dir / "bad").exists())

    def test_start_file_with_another_k(self):
        """A refusal after the directories could have been made leaves nothing."""
        rng = np.random.default_rng(1)
        start = harness.write_factors(self.dir / "start.h5", *(0.1 * rng.standard_normal((n, 4)) for n in (11, 9)))
        outcome = self.run_ok("solve", *options(problem=self.problem, k="3,4", init=f"file:{start}"), "-o", self.dir / "bad", code=78)
        self.assertIn("k", outcome.errors[0])
        self.assertFalse((self.dir / "bad").exists())
        same = self.solve(self.problem, "same", step="0.1,0.2", k=4, init=f"file:{start}", max_iterations=5, tolerance=0)
        more = self.solve(self.problem, "same", step="0.1,0.2", k=4, init=f"file:{start}", max_iterations=9, tolerance=0)
        whole = self.solve(self.problem, "whole", step="0.1,0.2", k=4, init=f"file:{start}", max_iterations=9, tolerance=0)
        self.assertEqual(same, more)
        self.assert_same_replicas(whole, more, 2)

    def test_replicas_may_not_change(self):
        common = dict(k=3, alpha=0.05, tolerance=0)
        run = self.solve(self.problem, replicas=2, max_iterations=5, **common)
        before = harness.tree(run)
        for change in (dict(replicas=3), dict(seed="0,2"), dict()):
            self.solve(self.problem, max_iterations=9, code=78, **common, **change)
            self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))
        self.assertEqual(harness.tree(run), before)


class Divergence(ReplicaCase):
    def setUp(self):
        super().setUp()
        self.problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))

    def test_one_among_good_ones(self):
        settings = dict(k=3, alpha=0.1, max_iterations=40, tolerance=0, metrics_every=5)
        sweep = self.solve(self.problem, "sweep", np=2, step="0.1,1e3,0.2", **settings)
        self.assertEqual(len(self.outcome.lines("warning")), 1, str(self.outcome))
        self.assertIn("(1)", self.outcome.lines("warning")[0])
        summary = harness.summary(sweep)
        self.assertEqual([one["reason"] for one in summary["replicas"]], ["target", "diverged", "target"])
        self.assertEqual(summary["reason"], "target")
        iteration = summary["replicas"][1]["iterations"]
        self.assertLessEqual(iteration, 5)
        self.assertIn(f"replica 1: diverged at iteration {iteration}", self.outcome.out)
        for r, step in ((0, 0.1), (2, 0.2)):
            self.assert_is_solo(sweep, r, self.solve(self.problem, f"solo{r}", step=step, **settings))
        self.solve(self.problem, "sweep", step="0.1,1e3,0.2", **settings)
        self.assertIn("nothing to do", self.outcome.out)
        longer = {**settings, "max_iterations": 50}
        self.solve(self.problem, "sweep", step="0.1,1e3,0.2", **longer)
        whole = self.solve(self.problem, "whole", step="0.1,1e3,0.2", **longer)
        self.assert_same_replicas(whole, sweep, 3)
        self.assertEqual(harness.summary(sweep)["replicas"][1]["iterations"], iteration)

    def test_all(self):
        run = self.solve(self.problem, np=2, code=76, k=3, alpha=0.1, step="1e3,2e3", tolerance=0)
        self.assertEqual(harness.summary(run)["reason"], "diverged")
        self.assertEqual([harness.summary(replica(run, r))["reason"] for r in range(2)], ["diverged"] * 2)


class Bits(ReplicaCase):
    def test_ranks_and_threads(self):
        for name, problem in (("dense", harness.write_problem(self.dir / "p.h5", ref.plant(14, 11, 2, 601, seed=1, held_out=90, noise=0.01))),
                              ("signs", self.gen("q.h5", ensemble="rademacher", n1=14, n2=11, rank=2, measurements=601))):
            settings = dict(k="4,5,3", alpha="0.1,0.01,0.05", max_iterations=30, metrics_every=7, tolerance=0)
            first = self.solve(problem, f"{name}1", np=1, **settings)
            for np_, threads in ((2, 1), (3, 2), (1, 3)):
                other = self.solve(problem, f"{name}{np_}.{threads}", np=np_, threads=threads, **settings)
                self.assert_same_replicas(first, other, 3, f"{name}: {np_} ranks, {threads} threads")


class Resume(ReplicaCase):
    SETTINGS = dict(k="3,4,3", alpha="0.3,0.05,0.1", step="0.2,0.1,0.05", metrics_every=7, tolerance=1e-2)

    def setUp(self):
        super().setUp()
        self.problem = harness.write_problem(self.dir / "p.h5", ref.plant(12, 9, 2, 351, seed=3))

    def test_every_few_iterations(self):
        """Some end by tolerance while others go on; each start looks at all of them again."""
        last = 90
        whole = self.solve(self.problem, "whole", max_iterations=last, **self.SETTINGS)
        ends = [(one["reason"], one["iterations"]) for one in harness.summary(whole)["replicas"]]
        self.assertEqual({reason for reason, _ in ends}, {"tolerance", "target"}, ends)
        for number, t in enumerate((1, 2, 10, 30, 50, 51, 70, 85, last)):
            parts = self.solve(self.problem, "parts", np=(2, 3, 1)[number % 3], threads=1 + number % 2, max_iterations=t, **self.SETTINGS)
        self.assert_same_replicas(whole, parts, 3)
        left, right = ([{key: one[key] for key in ("reason", "iterations", "loss", "test_error", "rank_estimate", "seed", "k", "alpha", "step")}
                        for one in harness.summary(run)["replicas"]] for run in (whole, parts))
        self.assertEqual(left, right)
        self.solve(self.problem, "parts", max_iterations=last, **self.SETTINGS)
        self.assertIn("nothing to do", self.outcome.out)

    def test_lower_tolerance(self):
        settings = {**self.SETTINGS, "max_iterations": 120}
        run = self.solve(self.problem, "run", **{**settings, "tolerance": 3e-2})
        before = [one["iterations"] for one in harness.summary(run)["replicas"]]
        self.assertGreater(len(set(before)), 1)
        self.solve(self.problem, "run", np=2, **settings)
        after = [one["iterations"] for one in harness.summary(run)["replicas"]]
        self.assertTrue(all(a >= b for a, b in zip(after, before)) and after != before, (before, after))
        self.assert_same_replicas(self.solve(self.problem, "whole", **settings), run, 3)
        self.assertEqual(harness.attributes(run)["iteration"], max(after))

    def test_lost_files(self):
        """Directories of replicas are made again; what an earlier start with more of them left goes."""
        whole = self.solve(self.problem, "whole", max_iterations=40, **self.SETTINGS)
        run = self.solve(self.problem, "run", max_iterations=20, **self.SETTINGS)
        shutil.rmtree(replica(run, 1))
        (replica(run, 0) / "metrics.csv.tmp").write_text("half")
        replica(run, 7).mkdir()
        (replica(run, 7) / "metrics.csv").write_text("iteration\n")
        self.solve(self.problem, "run", max_iterations=40, **self.SETTINGS)
        self.assert_same_replicas(whole, run, 3)
        self.assertFalse(replica(run, 7).exists())
        self.assertEqual(sorted(path.name for path in replica(run, 0).iterdir()), ["metrics.csv", "summary.json"])

    def test_no_directory_can_be_made(self):
        run = self.solve(self.problem, "run", max_iterations=20, **self.SETTINGS)
        shutil.rmtree(replica(run, 1))
        replica(run, 1).write_text("in the way")
        self.solve(self.problem, "run", max_iterations=40, code=73, **self.SETTINGS)
        self.assertIn("replica_1", self.outcome.errors[0])
        replica(run, 1).unlink()
        self.solve(self.problem, "run", max_iterations=40, **self.SETTINGS)


class Interruptions(ReplicaCase):
    SETTINGS = dict(k="4,3,4", alpha="0.1,1e-3,0.02", max_iterations=3000, tolerance=0, metrics_every=100)

    def test_stopped_and_killed(self):
        seed = random.SystemRandom().randrange(2**32)
        chosen = random.Random(seed)
        print(f"{self.id()}: seed {seed}", flush=True)
        problem = self.gen(ensemble="rademacher", n1=14, n2=10, rank=2, measurements=800, seed=1)
        whole = self.solve(problem, "whole", np=2, **self.SETTINGS)
        run = self.dir / "parts"
        interrupted = 0
        for number in range(5):
            process = Process(["solve", *options(problem=problem, checkpoint_every=100, threads=1 + number % 2, **self.SETTINGS), "-o", run],
                              np=chosen.choice((1, 2, 3)), env={"OMPI_MCA_btl_vader_backing_directory": str(self.dir)})
            self.addCleanup(process.end)
            process.wait_for((run / "checkpoint.h5").exists)
            table = replica(run, 2) / "metrics.csv"
            size = table.stat().st_size if table.exists() else 0
            process.wait_for(lambda: table.exists() and table.stat().st_size > size + chosen.randrange(2000))
            if number % 2:
                (run / "STOP").touch()
            else:
                for pid in process.ranks():
                    os.kill(pid, signal.SIGKILL)
                    break
            interrupted += process.finish().code != 0
        self.assertGreater(interrupted, 0, "no start was interrupted")
        (run / "STOP").unlink(missing_ok=True)
        self.solve(problem, "parts", np=3, **self.SETTINGS)
        self.assert_same_replicas(whole, run, 3)
        self.assertEqual([str(path) for path in run.glob("**/*tmp*")], [])


class Answers(ReplicaCase):
    def test_export_and_info(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        run = self.solve(problem, k="3,4", alpha=0.05, max_iterations=10, tolerance=0)
        for r in range(2):
            U, V = factors(run, r)
            self.run_ok("export", run, "--replica", r, "-o", self.dir / f"f{r}.npy", np=0)
            self.assertEqual(np.load(self.dir / f"f{r}_U.npy").tobytes(), U.tobytes())
            self.run_ok("export", run / "checkpoint.h5", "--replica", r, "--what", "X", "-o", self.dir / f"x{r}.npy", np=0)
            self.assert_close(np.load(self.dir / f"x{r}.npy"), U @ V.T, 100 * EPS)
        for more in ([], ["--replica", "2"]):
            outcome = self.run_ok("export", run, *more, "-o", self.dir / "none.npy", np=0, code=64)
            self.assertIn("replica", outcome.errors[0])
        solo = self.solve(problem, "solo", k=3, max_iterations=5, tolerance=0)
        self.run_ok("export", solo, "--replica", 0, "-o", self.dir / "solo.npy", np=0)
        self.run_ok("export", solo, "--replica", 1, "-o", self.dir / "solo1.npy", np=0, code=64)
        for source in (run, run / "checkpoint.h5"):
            out = self.run_ok("info", source, np=0).out
            for r in range(2):
                self.assertRegex(out, rf"(?m)^  replica {r} .*\b10\b")

    def test_log_lists_them(self):
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(11, 9, 2, 301, seed=1))
        run = self.solve(problem, seed="3,1000000007", k=3, alpha=0.05, max_iterations=20, tolerance=0)
        out = self.outcome.out
        self.assertRegex(out, r"(?m)^ +1 +1000000007 +3 +0\.05 +auto$")
        self.assertRegex(out, r"(?m)^ +iteration +running +worst residual +best residual +best test error")
        self.assertRegex(out, r"(?m)^ +1 +target +20 ")
        self.assertLessEqual({line for line in out.splitlines() if line}, set((run / "log.txt").read_text().splitlines()))
        events = [event["event"] for event in harness.events(run)]
        self.assertEqual((events[0], events[-1]), ("start", "stop"))

    def test_a_large_number(self):
        """More than there are files that may stay open."""
        problem = harness.write_problem(self.dir / "p.h5", ref.plant(5, 4, 1, 41, seed=1))
        settings = dict(k=1, alpha=0.1, replicas=270, tolerance=0, metrics_every=1)
        run = self.solve(problem, max_iterations=2, **settings)
        self.solve(problem, max_iterations=4, **settings)
        for r in (0, 255, 256, 269):
            self.assertEqual(harness.column(replica(run, r), "iteration").tolist(), [0, 1, 2, 3, 4])
        self.assertEqual(len(harness.summary(run)["replicas"]), 270)
        self.assertIn("238 more: see log.txt", self.outcome.out)


if __name__ == "__main__":
    unittest.main()
