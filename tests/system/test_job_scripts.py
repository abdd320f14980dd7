"""mxsense slurm and study write the scripts of jobs/ with some lines replaced; tools/collect.py makes tables of runs. No Slurm here."""
import csv
import difflib
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
from harness import Case

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = r"#+SBATCH --(ntasks|nodes|ntasks-per-node|cpus-per-task|time|mem|signal|array)="
LINE = rf"({HEAD}|(program|settings|directory|launch|list|parent|study|options|parts)=)"


class Scripts(Case):

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)

    def write(self, *arguments, code=0, name="job.sbatch", np=0, **settings):
        self.outcome = self.run_ok("slurm", *harness.options(**settings), *arguments, "-o", self.dir / name, np=np, code=code)
        return (self.dir / name).read_text() if code == 0 else ""

    def base(self, *more, **settings):
        return self.write("--nodes=2", "--time=2h", *more, **{"problem": self.problem, "k": 5, "max_iterations": 100, **settings})

    def refused(self, code, text, *arguments, **options):
        outcome = harness.run("slurm", *arguments, np=0, **options)
        self.assertEqual(outcome.code, code, str(outcome))
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn(text, outcome.errors[0])

    def assert_template(self, name, text):
        """Only lines that say what to run and what to ask for differ from the file of jobs/."""
        template = (ROOT / "jobs" / name).read_text()
        for line in difflib.ndiff(template.splitlines(), text.splitlines()):
            if line[0] in "+-":
                self.assertRegex(line[2:], "^" + LINE)
        shell = shutil.which("shellcheck")
        path = self.dir / "checked.sbatch"
        path.write_text(text)
        checked = subprocess.run([shell or "bash", *([] if shell else ["-n"]), path], capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_templates(self):
        self.assert_template("solve.sbatch", self.base())
        self.assertIn("one job", self.outcome.out)
        self.assert_template("solve_srun.sbatch", self.base("--force", "--launcher=srun"))
        self.assert_template("chain.sbatch", self.base("--force", "--chain"))
        self.assert_template("chain.sbatch", self.base("--force", "--chain", "--launcher=srun"))
        listed = self.dir / "list.txt"
        listed.write_text("--seed 1\n--seed=2 --step 0.1\n")
        text = self.base("--force", "--array", listed)
        self.assert_template("array.sbatch", text)
        self.assertIn("\n#SBATCH --array=1-2\n", text)
        self.assertIn(f"\nlist={listed}\n", text)

    def test_values(self):
        text = self.base("--tasks-per-node", "3", "--directory=/tmp/it's here", threads=2)
        for line in ("#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=3", "#SBATCH --cpus-per-task=2", "#SBATCH --time=0-02:00:00",
                     "#SBATCH --signal=B:USR1@300", r"directory='/tmp/it'\''s here'", 'launch=(mpirun -np "$SLURM_NTASKS" --bind-to none)',
                     f"settings=(--problem {self.problem} --method gd --k 5 --max_iterations 100 --threads 2)",
                     f"program=${{MXSENSE:-{os.path.realpath(harness.PROGRAM)}}}"):
            self.assertIn(line + "\n", text)
        for time, line in (("0s", "0-00:01:00"), ("90s", "0-00:02:00"), ("1-12:30:00", "1-12:30:00"), ("40d", "40-00:00:00"), ("59:01", "0-01:00:00")):
            self.assertIn(f"#SBATCH --time={line}\n", self.write("--nodes=1", "--force", f"--time={time}", problem=self.problem))
        self.assertIn("USR1@30\n", self.write("--nodes=1", "--force", "--time=2min", problem=self.problem), "a quarter of a short time")
        self.assertIn("--signal=USR1@300\n", self.base("--force", "--launcher=srun"), "to the ranks")
        default = re.search(r"ntasks-per-node=(\d+)", self.base("--force"))[1]
        self.assertEqual(int(default), os.sysconf("SC_NPROCESSORS_ONLN"))

    def test_settings_file(self):
        """The script names it by its absolute path, and the problem in it too."""
        (self.dir / "run.yaml").write_text("problem: p.h5\nk: 5\nmax_iterations: 10\n")
        self.run_ok("slurm", "run.yaml", "--seed=7", "--nodes=1", "--time=1h", "-o", "job", np=0, cwd=self.dir)
        text = (self.dir / "job").read_text()
        self.assertIn(f"settings=({self.dir}/run.yaml --problem {self.problem} --seed 7)\n", text)
        self.assertIn(f"directory={self.dir}/job-run\n", text)
        self.assertTrue(os.access(self.dir / "job", os.X_OK))

    def test_chain_where_the_time_is_short(self):
        self.assertIn("next_job", self.base(max_iterations=10**12))
        self.assertIn("a chain of jobs", self.outcome.out)
        self.assertNotIn("next_job", self.base("--force"))

    def test_memory_grows_with_the_ranks_of_a_node(self):
        dense = self.gen("dense.h5", ensemble="dense", n1=100, n2=100, rank=2, measurements=4000)  # 320 MB

        def memory(nodes, tasks):
            text = self.write("--force", f"--nodes={nodes}", f"--tasks-per-node={tasks}", "--time=1h", problem=dense, k=4)
            return int(re.search(r"#SBATCH --mem=(\d+)M", text)[1])

        alone, shared, spread = memory(1, 1), memory(1, 2), memory(2, 1)
        self.assertGreater(alone, 1.2 * 320e6 / 2**20)
        self.assertLess(spread, alone)
        self.assertGreater(shared, alone, "the same A, and two programs")
        self.assertLess(shared, alone + 300)

    def test_any_number_of_ranks_writes_it(self):
        text = self.base("--tasks-per-node=4")
        (self.dir / "job.sbatch").unlink()
        parallel = self.write("--nodes=2", "--time=2h", "--tasks-per-node=4", np=2, problem=self.problem, k=5, max_iterations=100)
        self.assertEqual(parallel, text)

    def test_refusals(self):
        script = self.dir / "j.sbatch"
        line = ["--problem", self.problem, "--nodes=1", "--time=1h", "-o", script]
        self.refused(64, "missing option --time", "--problem", self.problem, "--nodes=1", "-o", script)
        self.refused(64, "missing option --nodes", "--problem", self.problem, "--time=1h", "-o", script)
        self.refused(64, "missing option --output", "--problem", self.problem, "--time=1h", "--nodes=1")
        self.refused(78, "is not a time with its unit", *line, "--time=60")
        self.refused(78, "launcher", *line, "--launcher=ssh")
        self.refused(78, "problem", "--nodes=1", "--time=1h", "-o", script)
        self.refused(64, "--array and --chain", *line, "--chain", "--array", self.problem)
        self.refused(66, "no such", *line, "--array", self.dir / "none.txt")
        self.refused(66, "none.h5", *line, "--problem", self.dir / "none.h5")
        self.refused(73, "cannot create", *line, "-o", self.dir / "none/j.sbatch")
        listed = self.dir / "list.txt"
        for text, code, why in (("--seed 1\n\n--sed 2\n", 64, f"{listed}:3: unknown option --sed: did you mean 'seed'?"),
                                ("--k 0\n", 78, f"{listed}:1: --k: '0'"), ("run.yaml\n", 64, f"{listed}:1: unexpected argument"),
                                ("# nothing\n", 65, "no options")):
            listed.write_text(text)
            self.refused(code, why, *line, "--array", listed)
        self.assertFalse(script.exists())
        script.write_text("mine\n")
        self.refused(73, "--force", *line)
        self.assertEqual(script.read_text(), "mine\n")
        self.run_ok("slurm", *line, "--force", np=0)
        self.assertIn("#SBATCH", script.read_text())

    def test_study(self):
        study = self.dir / "s.yaml"
        study.write_text("problem: {n: 12, rank: [1, 2], rho: 4}\nsolve: {k: [1r, 2r], threads: 2}\nranks: [1, 3]\nsizes: {a: {}, b: {}}\n")
        script = self.dir / "s.sbatch"
        line = ["study", study, "--slurm", script, "--time=2h", "-o", self.dir / "it's", "--size=a"]
        out = self.run_ok(*line, "--parts=8", "--at_once=max", np=0).out
        self.assertIn("an array of 8 tasks for 8 points in 8 runs", out)
        text = script.read_text()
        self.assert_template("study.sbatch", text)
        for wanted in ("#SBATCH --array=1-8", "#SBATCH --ntasks=3", "#SBATCH --cpus-per-task=2", "#SBATCH --time=0-02:00:00", "parts=8",
                       "#SBATCH --signal=B:USR1@300", f"study={study}", "options=(--size=a --at_once=max)", rf"directory='{self.dir}/it'\''s'",
                       'launch=(mpirun -np "$SLURM_NTASKS" --bind-to none)', f"program=${{MXSENSE:-{os.path.realpath(harness.PROGRAM)}}}"):
            self.assertIn(wanted + "\n", text)
        self.assertTrue(os.access(script, os.X_OK))
        self.assertFalse((self.dir / "it's").exists())
        for code, why, more in ((73, "--force", ["--parts=2"]), (78, "--parts: 9", ["--parts=9", "--force"]),
                                (78, "--ranks: 2 are too few", ["--ranks=2", "--force"]), (64, "--part:", ["--part=1/2"])):
            outcome = self.run_ok(*line, *more, np=0, code=code)
            self.assertIn(why, outcome.errors[0])
        self.assertEqual(script.read_text(), text)
        self.run_ok(*line, "--ranks=5", "--force", np=2)
        self.assertIn("#SBATCH --array=1-1\n#SBATCH --ntasks=5\n", script.read_text())
        self.run_ok(*[word for word in line if word != "--time=2h"], np=0, code=64)

    def test_help(self):
        out = self.run_ok("slurm", "--help", np=0).out
        for word in ("--nodes", "--time", "--tasks_per_node", "--launcher", "--chain", "--array", "--force", "--directory", "Examples:"):
            self.assertIn(word, out)


class Tables(Case):

    def collect(self, *arguments, code=0):
        outcome = subprocess.run([ROOT / "tools/collect.py", *map(str, arguments)], cwd=self.dir, capture_output=True, text=True, check=False)
        self.assertEqual(outcome.returncode, code, outcome.stdout + outcome.stderr)
        return outcome

    def table(self, name="t.csv"):
        with open(self.dir / name, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_tables(self):
        problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.solve(problem, "10", k=5, max_iterations=20)
        self.solve(problem, "9", k=6, max_iterations=20)
        self.solve(problem, "many", k=5, max_iterations=20, alpha="1e-3,1e-2")
        self.collect("10", "9", "many", "-o", "t.csv")
        rows = self.table()
        self.assertEqual([(row["run"], row["k"], row["replica"]) for row in rows], [("9", "6", ""), ("10", "5", ""), ("many", "5", "0"), ("many", "5", "1")])
        self.assertEqual([float(row["alpha"]) for row in rows[2:]], [1e-3, 1e-2])
        self.assertEqual(float(rows[0]["loss"]), harness.summary(self.dir / "9")["loss"], "all digits")
        # Missing and unfinished runs are named, and the table has the others.
        self.run_ok("solve", *harness.options(problem=problem, k=5, max_walltime="0s"), "-o", self.dir / "early", code=75)
        (self.dir / "empty").mkdir()
        outcome = self.collect("9", "early", "-o", "t.csv", code=75)
        self.assertIn("early: not finished: walltime", outcome.stderr)
        outcome = self.collect("9", "early", "empty", "none", "-o", "t.csv", code=66)
        for text in ("empty: missing: no config.yaml", "none: missing: no such directory", "early: not finished"):
            self.assertIn(text, outcome.stderr)
        self.assertEqual([row["run"] for row in self.table()], ["9", "early"])
        (self.dir / "9/summary.json").write_text("{")
        self.assertIn("9: missing: summary.json is damaged", self.collect("9", code=66).stderr)
        (self.dir / "9/summary.json").unlink()
        self.assertIn("9: not finished: unfinished", self.collect("9", code=75).stderr)
        self.collect(code=64)
        self.collect("9", "--scaling", "sideways", code=64)


if __name__ == "__main__":
    unittest.main()
