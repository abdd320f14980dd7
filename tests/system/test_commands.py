"""The command line: help, version, options, precedence of settings, dry runs."""
import re
import unittest

import harness
import reference as ref
from harness import Case, options

COMMANDS = ("gen", "solve", "check", "study", "slurm", "bench", "info", "export")

# A value for every option that --help may show; an option without one fails the test.
VALUES = {
    "gen": dict(n1=9, n2=7, rank=2, condition=3, ensemble="dense", storage="f32", measurements="1e2", blocks="auto", noise=0.01,
                hold_out=0.2, seed=5),
    "solve": dict(measurements=90, hold_out=0.1, storage="f32", model="asymmetric", method="gd", k=3, init="random", alpha=0.01, step=0.1,
                  seed=2, max_iterations="2e1", tolerance=1e-9, metrics_every=4, singular_values=2, checkpoint_every="7,1min",
                  checkpoint_share=0.5, checkpoint_keep="all", max_walltime="1h", stall_warning="30s", stall_limit="1d",
                  progress="off", quiet="true", verbose="false", reduction="fast", svd="scalapack", replicas=2, threads=2, block_rows=32,
                  momentum=0.8, line_search="false", balance=0.25, label_noise=0, perturb=0.01, batch="all", step_decay=0.5, step_delay=50,
                  weights="none", inner="gram", jacobian_memory=2, progressive="false", stop="tolerance", patience=7, noise_std=0.1,
                  **{"lambda": 0.1}),
}
VALUES["check"] = VALUES["solve"]
VALUES["bench"] = dict(n1=9, n2=7, measurements=100, ensemble="dense", storage="f32", k=3, reduction="fast", threads=2, quick="true")


def shown(text):
    """The long options at the beginning of a line of help."""
    return re.findall(r"^\s+(?:-\w,\s+)?--([a-z_0-9]+)", text, re.M)


class Help(Case):
    def test_without_launcher_and_with(self):
        for np_ in (0, 3):
            top = self.run_ok("--help", np=np_).out
            for command in COMMANDS:
                self.assertEqual(top.count(f"\n  {command} "), 1, top)
                text = self.run_ok(command, "--help", np=np_).out
                self.assertIn(f"mxsense {command}", text.splitlines()[0])
                self.assertIn("Exit codes:", text)
                self.assertNotIn("null", text)
                self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_version(self):
        for np_ in (0, 3):
            out = self.run_ok("--version", np=np_).out
            self.assertEqual(out.count("mxsense "), 1, out)
            for word in ("commit", "compiler", "flags", "MPI", "HDF5", "BLAS", "kernel", "ScaLAPACK"):
                self.assertRegex(out, rf"(?m)^{word}\s+\S+")

    def test_every_option_works(self):
        for command, values in VALUES.items():
            names = shown(self.run_ok(command, "--help", np=0).out)
            missing = set(names) - set(values) - {"output", "problem", "io", "help"}
            self.assertEqual(missing, set(), f"{command}: give {missing} a value in this test")
            self.assertEqual(set(values) - set(names), set(), f"{command} --help does not show these")
        problem = self.gen(**VALUES["gen"])
        loaded = ref.load(problem)
        self.assertEqual((loaded.A.shape, len(loaded.y_val)), ((100, 63), 20))
        plain = self.gen("plain.h5", ensemble="dense", n1=9, n2=7, rank=2, measurements=100)
        run = self.solve(plain, np=2, **VALUES["solve"])
        config = self.config(run)
        for name, value in VALUES["solve"].items():
            if name not in ("checkpoint_every",):
                wanted = str(int(float(value))) if name in ("max_iterations", "measurements") else str(value)
                try:
                    self.assertEqual(float(config[name]), float(wanted), name)
                except ValueError:
                    self.assertEqual(config[name].strip('"'), wanted, name)
        self.run_ok("check", *options(problem=plain, **VALUES["check"]), np=2)
        self.run_ok("bench", *options(io=self.dir, **VALUES["bench"]), np=2)

    @staticmethod
    def config(run):
        return dict(line.split(": ", 1) for line in (run / "config.yaml").read_text().splitlines() if ": " in line and line[0] != "#")


class Spelling(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(n1=9, n2=7, rank=2, measurements=100)

    def config(self, *arguments, name="run"):
        self.run_ok("solve", *options(problem=self.problem, max_iterations=2), *arguments, "-o", self.dir / name, np=0)
        return Help.config(self.dir / name)

    def test_forms_of_an_option(self):
        for number, form in enumerate((["--metrics_every", "3"], ["--metrics-every", "3"], ["--metrics_every=3"], ["--metrics-every=3e0"],
                                       ["--metrics_every", "5", "--metrics_every", "3"])):
            self.assertEqual(self.config(*form, name=f"run{number}")["metrics_every"], "3")

    def test_precedence(self):
        """Defaults, then the file, then the command line."""
        (self.dir / "run.yaml").write_text("k: 4   # columns\nseed: 11\nmetrics-every: 6\n")
        config = self.config(self.dir / "run.yaml", "--seed", "12")
        self.assertEqual((config["k"], config["seed"], config["metrics_every"], config["reduction"]), ("4", "12", "6", "reproducible"))

    def test_paths(self):
        """A relative path starts at the current directory; the effective settings have absolute ones; odd names work."""
        folder = self.dir / "a folder: with #odd 'names', é"
        folder.mkdir()
        (folder / "p 1.h5").write_bytes(self.problem.read_bytes())
        (folder / "run.yaml").write_text('problem: "p 1.h5"\nmax_iterations: 3\n')
        self.run_ok("solve", "run.yaml", "-o", "run 1", np=0, cwd=folder)
        self.assertIn(str(folder), (folder / "run 1" / "config.yaml").read_text())
        self.run_ok("solve", folder / "run 1" / "config.yaml", "-o", "again", np=2, cwd=self.dir)
        self.assert_same_bits(folder / "run 1", self.dir / "again")

    def test_locale_does_not_matter(self):
        self.assertEqual(float(self.config("--alpha", "0.125", name="c")["alpha"]), 0.125)
        self.run_ok("solve", *options(problem=self.problem, max_iterations=2, alpha=0.125), "-o", self.dir / "de", np=0,
                    env={"LC_ALL": "de_DE.UTF-8"})
        self.assert_same_bits(self.dir / "c", self.dir / "de")


class Check(Case):
    def test_dry_run(self):
        """Tells shapes, memory, disk and time, and leaves nothing behind."""
        problem = self.gen(n1=9, n2=7, rank=2, measurements=100)
        before = harness.tree(self.dir)
        for np_ in (0, 3):
            out = self.run_ok("check", *options(problem=problem, k=3), np=np_).out
            total, *parts = map(float, re.search(r"about (\S+) seconds per iteration: (\S+) compute, (\S+) allreduce, (\S+) metrics", out).groups())
            self.assertAlmostEqual(sum(parts) / total, 1, 1)
            for word in ("9", "7", "100", "memory", "disk", "per iteration"):
                self.assertIn(word, out)
        self.assertEqual(harness.tree(self.dir), before)

    def test_files(self):
        folder = self.dir / "folder"
        folder.mkdir()
        problem = self.gen(n1=9, n2=7, rank=2, measurements=100)
        for np_, more in ((0, ()), (2, ("--problem", problem))):
            out = self.run_ok("check", *more, "--io", folder, np=np_).out
            self.assertRegex(out, "(?m)^io .*verified")
        self.assertEqual(list(folder.iterdir()), [])
        outcome = self.run_ok("check", "--io", self.dir / "nowhere", np=0, code=66)
        self.assertEqual(len(outcome.errors), 1)

    def test_bad_settings(self):
        problem = self.gen(n1=9, n2=7, rank=2, measurements=100)
        outcome = self.run_ok("check", *options(problem=problem, k=-3), np=0, code=78)
        self.assertEqual(len(outcome.errors), 1)
        self.run_ok("check", *options(problem=self.dir / "nowhere.h5"), np=2, code=66)


class StudyFiles(Case):
    """What mxsense study makes of its file; test_study.py runs some."""
    TEXT = """\
title: two sizes
size: small
sizes: {small: {problem: {n: 9}}, full: {repeats: 2}}
problem: {n: 12, rank: [1, 2], rho: {from: 2, to: 3, step: 0.5}}
solve: {method: gd, k: 2r, alpha: [1e-1, 1e-2]}
"""

    def setUp(self):
        super().setUp()
        self.file = self.dir / "s.yaml"
        self.file.write_text(self.TEXT)

    def plan(self, *arguments, np=0):
        """The head, and the rows of the table as dictionaries."""
        head, *lines = self.run_ok("study", self.file, "--plan", *arguments, np=np).out.splitlines()
        titles = lines[1].split()
        return head, [dict(zip(titles, line.split(), strict=True)) for line in lines[2:]]

    def refused(self, code, text, *arguments, np=0):
        outcome = self.run_ok("study", *arguments, np=np, code=code)
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn(text, outcome.errors[0])

    def test_plan(self):
        head, rows = self.plan()
        self.assertEqual(head, "two sizes (small): 12 points in 6 runs, 6 problems")
        self.assertEqual([(row["rank"], row["rho"], row["alpha"], row["measurements"]) for row in rows[:4]],
                         [("1", "2", "0.1", "34"), ("1", "2", "0.01", "34"), ("1", "2.5", "0.1", "43"), ("1", "2.5", "0.01", "43")])
        self.assertEqual([row["replica"] for row in rows], ["0", "1"] * 6)
        self.assertEqual(len({row["run"] for row in rows}), 6)
        self.assertEqual(self.plan(np=2), (head, rows), "the same on more ranks, printed once")
        head, rows = self.plan("--size", "full")
        self.assertEqual(head, "two sizes (full): 24 points in 12 runs, 12 problems")
        self.assertEqual(harness.tree(self.dir).keys(), {"s.yaml"}, "nothing is made")

    def test_a_longer_list_has_the_old_points(self):
        """Points are known by what they are: those of before keep their names."""
        self.file.write_text(self.TEXT + "pack: off\n")
        before = {row["run"] for row in self.plan()[1]}
        self.file.write_text(self.TEXT.replace("[1e-1,", "[1, 0.1,").replace("n: 9", "n1: 9, n2: 9").replace("n: 12, ", "") + "pack: off\n")
        after = {row["run"] for row in self.plan()[1]}
        self.assertEqual((len(before), len(after)), (12, 18))
        self.assertLess(before, after)

    def test_the_example_of_the_help_is_one(self):
        text = self.run_ok("study", "--help", np=0).out
        example = re.search(r"(?ms)^  title: .*?(?=^\S)", text)[0]
        self.file.write_text(example)
        self.assertIn("630 points", self.plan()[0])
        for key in ("zip", "ranks", "sizes", "size", "pack", "repeats", "repeat_over", "title", "problem", "solve"):
            self.assertRegex(text, rf"\b{key}: ")

    def test_mistakes(self):
        directory = self.dir / "out"
        for text, why in (("problem: {n: 9, rnk: 1}\n", "s.yaml:1: unknown key of problem 'rnk': did you mean 'rank'?"),
                          ("problem: {n: 9, rank: 10, rho: 2}\n", "s.yaml: point 0 (the only point): rank: 10 is more than min(n1, n2) = 9"),
                          ("\nproblems: 1\n", "s.yaml:2: unknown key 'problems': did you mean 'problem'?"),
                          ("problem: {n: 9, rank: 1, rho: 2}\nsolve: {seed: [1, 2], quiet: true}\n", "s.yaml:2: solve.quiet: not in a study"),
                          ("{", "s.yaml:2: not valid YAML")):
            self.file.write_text(text)
            for np_ in (0, 2):
                self.refused(78, why, self.file, "-o", directory, np=np_)
        self.file.write_text(self.TEXT)
        self.refused(66, "none.yaml", self.dir / "none.yaml", "-o", directory)
        self.refused(66, "no study here", "--collect", "-o", directory)
        self.refused(78, "there are small, full", self.file, "--size=ful", "-o", directory)
        self.refused(64, "missing option --output", self.file)
        self.refused(64, "no study file given", "-o", directory)
        self.refused(64, "give one", self.file, "--plan", "--collect", "-o", directory)
        self.refused(64, "goes with --slurm", self.file, "--parts=2", "-o", directory)
        self.refused(64, "did you mean 'at_once'", self.file, "--at-onc=2", "-o", directory)
        for part in ("3", "0/2", "3/2", "a/b", "1/2/3", "/", "1/"):
            self.refused(78, "--part", self.file, f"--part={part}", "-o", directory)
        self.assertFalse(directory.exists())


if __name__ == "__main__":
    unittest.main()
