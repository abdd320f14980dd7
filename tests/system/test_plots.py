"""The plotting scripts in tools: each draws small real inputs, the file is what its suffix says and not blank, and mistakes have a reason."""
import contextlib
import csv
import html
import importlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import h5py
import matplotlib.image
import numpy as np

import harness
from harness import Case

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import mxsense_plot
import plot_scaling
import plot_study
from mxsense_io import read_table


class Plots(Case):
    """One planted problem and its runs serve all tests."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory(prefix="t", dir=os.environ.get("MXS_TEST_TMP"))
        cls.addClassCleanup(cls.shared.cleanup)
        root = pathlib.Path(cls.shared.name)
        cls.problem, cls.one, cls.other, cls.many = (root / name for name in ("p.h5", "one", "other", "many"))
        recipe = dict(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=400, hold_out=0.1, seed=1)
        cls.start("gen", *harness.options(**recipe), "-o", cls.problem)
        common = dict(problem=cls.problem, metrics_every=2)
        cls.start("solve", *harness.options(k=5, alpha=1e-4, max_iterations=120, **common), "-o", cls.one)
        cls.start("solve", *harness.options(method="scaled_gd", k=2, max_iterations=40, **common), "-o", cls.other)
        cls.start("solve", *harness.options(k=5, alpha="1e-2,1e-3,1e-4", max_iterations=40, **common), "-o", cls.many)

    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.dir)

    @classmethod
    def start(cls, *arguments):
        outcome = harness.run(*arguments, np=1)
        assert outcome.code == 0, outcome

    def script(self, name, *arguments, code=0):
        """Run a script in this process, in the scratch directory."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", [name, *map(str, arguments)]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                importlib.import_module(name.removesuffix(".py")).main()
                ended = 0
            except SystemExit as end:
                ended = end.code or 0
        self.assertEqual(ended, code, out.getvalue() + err.getvalue())
        if code == 0:
            self.assertEqual(err.getvalue(), "")
        else:
            self.assertRegex(err.getvalue(), rf"(?s)^(usage: .*)?{name}: [^\n]+\n$")
        return subprocess.CompletedProcess(arguments, ended, out.getvalue(), err.getvalue())

    def draw(self, name, *arguments, texts=(), colors=30):
        """Draw as SVG and PNG; the texts are in it, the picture is as large as the figure and has colours."""
        save = mxsense_plot.save

        def save_both(figure, path, *rest):
            save(figure, pathlib.Path(path).with_suffix(".png"), *rest)
            save(figure, path, *rest)
            self.inches = figure.get_size_inches()

        with mock.patch.object(mxsense_plot, "save", save_both):
            out = self.script(name, *arguments, "-o", "plot.svg").stdout
        svg = (self.dir / "plot.svg").read_text()
        words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", svg)).split())
        for text in texts:
            self.assertTrue(text in words, f"'{text}' is not in the figure of {name}")
        self.assertFalse(re.search(r"\bnan\b", words), "a label is not a number")
        image = matplotlib.image.imread(self.dir / "plot.png")
        np.testing.assert_allclose(image.shape[1::-1], 120 * self.inches, atol=1)
        self.assertGreater(len(np.unique((255 * image[::3, ::3]).astype(np.uint8).reshape(-1, image.shape[2]), axis=0)), colors)
        self.assertGreater(np.mean(np.any(image[..., :3] < 0.98, axis=2)), 0.02, "blank")
        self.assertEqual(sorted(path.name for path in self.dir.glob("*plot*")), ["plot.png", "plot.svg"], "nothing else is left")
        return out, words

    def write(self, name, rows):
        with open(self.dir / name, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return name

    # ------------------------------------------------------------ runs

    def test_a_run(self):
        self.draw("plot_run.py", self.one, texts=["one: 120 iterations", "Loss", "held out", "Effective rank", "3 refinement", "iteration"])
        self.script("plot_run.py", self.one / "checkpoint.h5", "--problem", self.problem, "-o", "r.pdf", "--title", "")
        self.assertTrue((self.dir / "r.pdf").read_bytes().startswith(b"%PDF"))

    def test_several_runs(self):
        long = "a label that is longer than anyone would like to have in a figure, but here it is, and then it goes on, and on, for quite some time"
        self.draw("plot_run.py", self.one, self.other, self.many, texts=["one", "other", "many, replica 2", "phase 3 begins", "Balance"])
        _, words = self.draw("plot_run.py", self.one, self.other, "--labels", "plain", long, texts=["plain", "a label that", "quite some time"])
        self.assertIn("…", words)

    def test_replicas(self):
        _, words = self.draw("plot_run.py", self.many, texts=["3 replicas", "What they came to", "Residual"])
        self.assertRegex(words, r"2:[^:]*1e-4")

    def test_an_unfinished_run(self):
        directory = self.dir / "early"
        self.run_ok("solve", *harness.options(problem=self.problem, k=3, max_walltime="0s"), "-o", directory, code=75)
        (directory / "summary.json").unlink()
        self.draw("plot_run.py", directory, self.many / "replica_1", texts=["early", "many, replica 1"])
        self.script("plot_run.py", directory)
        self.assertTrue((directory / "run.png").is_file())
        (directory / "metrics.csv").write_text("iteration,loss\n")
        self.assertIn("no rows of metrics yet", self.script("plot_run.py", directory, code=66).stderr)

    def test_mistakes_with_runs(self):
        self.script("plot_run.py", code=64)
        self.assertIn("no such file", self.script("plot_run.py", "none", code=66).stderr)
        self.assertIn("not a run directory", self.script("plot_run.py", self.dir, code=66).stderr)
        self.assertIn("ends with .png", self.script("plot_run.py", self.one, "-o", "x.jpg", code=64).stderr)
        self.assertIn("say where", self.script("plot_run.py", self.one, self.other, code=64).stderr)
        self.assertIn("1 labels for 2", self.script("plot_run.py", self.one, self.other, "-o", "x.png", "--labels", "a", code=64).stderr)
        self.assertIn("cannot write", self.script("plot_run.py", self.one, "-o", "none/x.png", code=73).stderr)
        self.assertIn("no such file", self.script("plot_run.py", self.one, "--problem", "none.h5", code=66).stderr)

    # ------------------------------------------------------------ matrices

    def test_matrices(self):
        out, _ = self.draw("plot_matrix.py", self.one, texts=["16 x 12", "Back-projection", "Recovered, 5 columns", "192 unknowns from 400 measurements"])
        self.assertIn(f"relative error {harness.summary(self.one)['test_error']:.3g};", out)
        _, words = self.draw("plot_matrix.py", self.many, "--replica", "2", "--curves", "--back-projection", "never", texts=["Error", "Loss"])
        self.assertNotIn("Back-projection", words)
        # Without a truth, of a shape that is far from square.
        rng = np.random.default_rng(0)
        A = rng.standard_normal((300, 60, 4))
        with h5py.File(self.dir / "wide.h5", "w") as file:
            file["A"], file["y"] = A, np.tensordot(A, np.outer(rng.standard_normal(60), rng.standard_normal(4)), 2)
        run = self.solve(self.dir / "wide.h5", k=1, max_iterations=30)
        _, words = self.draw("plot_matrix.py", run, texts=["Recovered, 1 columns", "Back-projection"])
        self.assertNotIn("Error", words)

    def test_a_picture(self):
        subprocess.run([TOOLS / "make_picture_problem.py", "--height", "24", "-o", "face.h5"], check=True, capture_output=True, timeout=harness.LIMIT)
        run = self.solve(self.dir / "face.h5", k=12, max_iterations=30)
        out, _ = self.draw("plot_matrix.py", run, "--curves", texts=["Back-projection", "best rank 5"])
        self.assertIn("with the mean grey level counted in", out)

    def test_mistakes_with_matrices(self):
        self.assertIn("holds 3 replicas: choose one", self.script("plot_matrix.py", self.many, code=64).stderr)
        self.assertIn("replicas 0 .. 2", self.script("plot_matrix.py", self.many, "--replica", "3", code=64).stderr)
        small = self.gen("small.h5", n1=4, n2=4, rank=1, measurements=20)
        self.assertIn("matrices of 4 x 4", self.script("plot_matrix.py", self.one, "--problem", small, code=65).stderr)
        self.assertIn("no such directory", self.script("plot_matrix.py", "none", code=66).stderr)

    # ------------------------------------------------------------ studies

    def study(self, name="table.csv"):
        """Columns as a study has them: success grows with rho, the error with alpha; a hole, and every way to end."""
        rng, rows = np.random.default_rng(1), []
        for point, (ensemble, rank, rho, alpha, repeat) in enumerate(
                (e, r, p, a, j) for e in ("gaussian", "rademacher") for r in (1, 2, 3) for p in (1.0, 1.5, 2.0, 2.5) for a in (1e-1, 1e-2, 1e-3)
                for j in range(4)):
            if rank == 3 and rho == 1:
                continue
            good = rng.random() < 1 / (1 + np.exp(-6 * (rho - 1.2 - 0.2 * rank)))
            reason = {7: "diverged", 11: "missing", 13: "unfinished"}.get(point, "tolerance")
            error = "" if point in (7, 11, 13) else alpha * 1e-3 * rng.uniform(1, 2) if good else rng.uniform(0.1, 1)
            rows.append({"point": point, "repeat": repeat, "run": f"runs/{point:016x}", "replica": -1, "ensemble": ensemble, "rank": rank, "rho": rho,
                         "alpha": alpha, "problem.seed": repeat, "solve.seed": repeat, "measurements": int(30 * rank * rho), "reason": reason,
                         "iterations": "" if reason in ("missing", "unfinished") else int(rng.integers(100, 900)), "test_error": error,
                         "step": rng.random(), "wall_s": rng.random(), "commit": "6149e0537"})
        return self.write(name, rows), rows

    def test_lines(self):
        table, rows = self.study()
        out, words = self.draw("plot_study.py", table, "--x", "alpha", "--y", "test_error", "--by", "rank", "--where", "ensemble=gaussian", "rho>2",
                               texts=["start scale", "0.01", "1e-3", "= 3"])
        self.assertNotIn("pooled", out)
        out, _ = self.draw("plot_study.py", table, "--x", "rho", "--y", "success<1e-3", "iterations", "reason=diverged", "wall_s",
                           texts=["success rate (error < 1e-3)", "100 %", "iterations", "wall time"])
        self.assertIn("left out: 2 of 264 runs", out)
        self.assertIn("pooled: ensemble (2 values), rank (3 values), alpha (3 values)", out)
        self.draw("plot_study.py", table, "--x", "ensemble", "--y", "test_error", "--by", "alpha", "rank", texts=["gaussian", "rademacher"])
        self.draw("plot_study.py", table, "--x", "rho", "--y", "iterations", "--where", "rho=2", "rank=1")

    def test_what_lines_are(self):
        """Medians, quartiles and rates are those of numpy."""
        name, rows = self.study()
        table = {key: column[np.array([row["reason"] not in ("missing", "unfinished") for row in rows])] for key, column in read_table(self.dir / name).items()}
        error, success = plot_study.Value(table, "test_error"), plot_study.Value(table, "success<1e-3")
        for (rank, rho), members in plot_study.groups_of(table, ["rank", "rho"]):
            values = [float(row["test_error"] or "inf") for row in rows if (row["rank"], row["rho"]) == (rank, rho)
                      and row["reason"] not in ("missing", "unfinished")]
            self.assertEqual(len(values), len(members))
            if np.isfinite(values).all():
                np.testing.assert_allclose(error.middle(members), np.quantile(values, (0.5, 0.25, 0.75)))
            rate, low, high = success.middle(members)
            self.assertEqual(rate, np.mean(np.array(values) < 1e-3), "runs that diverged count")
            self.assertTrue(-1e-12 <= low <= rate + 1e-12 and rate - 1e-12 <= high <= 1 + 1e-12)
        np.testing.assert_allclose(plot_study.wilson(8, 10), (0.8, 0.490162, 0.943318), atol=1e-5)

    def test_maps(self):
        table, _ = self.study()
        self.draw("plot_study.py", table, "--heat", "rho", "rank", "success<1e-3", texts=["no data", "50 % succeed", "success rate", "100"])
        self.draw("plot_study.py", table, "--heat", "alpha", "rho", "test_error", "--by", "ensemble", "rank", texts=["gaussian,", "rademacher,", "no data"])
        self.draw("plot_study.py", table, "--heat", "rank", "ensemble", "iterations", "--contour", "500", texts=["rademacher", "iterations = 500"])

    def test_what_is_in_a_table(self):
        table, _ = self.study()
        out = self.script("plot_study.py", table).stdout
        self.assertIn("rho                    4 values: 1, 1.5, 2, 2.5", out)
        self.assertNotIn("seed", out)
        self.assertNotIn("step", out)

    def test_mistakes_with_studies(self):
        table, _ = self.study()
        lines = ["plot_study.py", table, "--x", "alpha", "--y"]
        self.assertIn("no column `beta`: there are point", self.script("plot_study.py", table, "--x", "beta", "--y", "test_error", code=65).stderr)
        self.assertIn("problem.seed or solve.seed", self.script("plot_study.py", table, "--x", "seed", "--y", "test_error", code=65).stderr)
        self.assertIn("column of texts", self.script(*lines, "reason", code=64).stderr)
        self.assertIn("no rows are left of 264", self.script(*lines, "iterations", "--where", "rank=9", code=65).stderr)
        self.assertIn("`rank~1`: give COLUMN=", self.script(*lines, "iterations", "--where", "rank~1", code=64).stderr)
        self.assertIn("x is not a number", self.script(*lines, "iterations", "--where", "rank<x", code=64).stderr)
        self.assertIn("give --x and --y", self.script("plot_study.py", table, "--x", "alpha", code=64).stderr)
        self.assertIn("leave out --x", self.script(*lines, "iterations", "--heat", "rho", "rank", "iterations", code=64).stderr)
        self.assertIn("holds no table.h5", self.script("plot_study.py", self.one, code=66).stderr)
        self.assertIn("No such file", self.script("plot_study.py", "none.csv", code=66).stderr)

    # ------------------------------------------------------------ scaling and rates

    def scaling(self, weak, simulated=0, ranks=(1, 2, 4, 8)):
        rng, rows = np.random.default_rng(2), []
        for p in ranks:
            for _ in range(2):
                compute, reduce = 0.4 / (1 if weak else p) * rng.uniform(1, 1.1), 1e-3 * np.log2(2 * p)
                rows.append({"ranks_used": p, "measurements": 1000 * (p if weak else 1), "iterations": 20, "iteration_s": compute + reduce,
                             "compute_s": 20 * compute, "reduce_s": 20 * reduce, "metrics_s": 1e-9, "model_iteration_s": 0.4 / (1 if weak else p),
                             "simulated": simulated, "ensemble": "fast"})
        return rows

    def test_scaling(self):
        strong, weak = self.write("strong.csv", self.scaling(False)), self.write("weak.csv", self.scaling(True))
        simulated = self.write("sim.csv", self.scaling(False, simulated=1, ranks=(16, 64, 256)))
        _, words = self.draw("plot_scaling.py", strong, simulated,
                             texts=["Strong scaling", "simulated", "model", "ideal", "compute", "reduce", "256", "Efficiency"])
        self.assertNotIn("metrics", words, "too small to be seen")
        self.draw("plot_scaling.py", weak, texts=["Weak scaling", "100 %"])
        self.draw("plot_scaling.py", simulated, "--by", "ensemble", "--kind", "weak", texts=["Weak scaling", "simulated"])
        # Parts may be of a run or of an iteration; a model may go further than what was measured.
        few = [{**row, "compute_s": row["compute_s"] / 20, "reduce_s": row["reduce_s"] / 20, "metrics_s": row["metrics_s"] / 20} for row in self.scaling(True)]
        compute = plot_scaling.read(self.dir / self.write("one.csv", few))[0]["compute_s"]
        np.testing.assert_allclose(compute, plot_scaling.read(self.dir / weak)[0]["compute_s"])
        np.testing.assert_allclose(compute, [row["compute_s"] for row in few], rtol=1e-6)
        few.append({**dict.fromkeys(few[0], ""), "ranks_used": 64, "measurements": 64000, "model_iteration_s": 0.5, "simulated": 0})
        self.draw("plot_scaling.py", self.write("one.csv", [{**row, "series": ""} for row in few]), texts=["64", "model", "compute"])
        two = [{**row, "series": kernel} for row in few for kernel in ("fast", "gaussian")]
        self.draw("plot_scaling.py", self.write("one.csv", two), texts=["fast", "gaussian", "model"])
        # Without parts, measurements and iterations: tools/collect.py has other names.
        self.write("few.csv", [{"ranks": p, "seconds_per_iteration": 1 / p} for p in (1, 2)])
        self.draw("plot_scaling.py", "few.csv", texts=["Strong scaling"])
        self.assertIn("no column iteration_s", self.script("plot_scaling.py", self.write("no.csv", [{"ranks": 1}]), code=65).stderr)
        self.assertIn("ensemble: no row has a value", self.script("plot_scaling.py", self.write("no.csv", [
            {"ranks": 1, "iteration_s": 1, "ensemble": ""}]), "--by", "ensemble", code=65).stderr)
        self.assertIn("no column `n`", self.script("plot_scaling.py", strong, "--by", "n", code=65).stderr)
        self.assertIn("no row has ranks", self.script("plot_scaling.py", self.write("no.csv", [{"ranks": 1, "iteration_s": ""}]), code=65).stderr)

    def test_scaling_efficiency(self):
        self.write("a.csv", [{"ranks": p, "iteration_s": t, "measurements": 10} for p, t in ((2, 1.0), (4, 0.6), (4, 0.5), (4, 0.4))])
        rows = plot_scaling.joined([plot_scaling.read(self.dir / "a.csv")], [])
        one = plot_scaling.series(rows, "iteration")
        self.assertEqual(one.efficiency(one, plot_scaling.kind_of(rows)).tolist(), [1.0, 1.0])
        self.assertEqual(one.efficiency(one, "weak").tolist(), [1.0, 2.0])

    def test_rates(self):
        self.run_ok("bench", "--quick", "-o", self.dir / "bench.json", "--io", self.dir, np=1)
        self.draw("plot_roofline.py", "bench.json", texts=["plain read of memory", "stored f64", "gaussian8", "of a read", "1/8", "two BLAS products"])
        self.draw("plot_roofline.py", "bench.json", "bench.json", texts=["bench: "])
        bench = json.loads((self.dir / "bench.json").read_text())
        bench["kernels"] = [kernel for kernel in bench["kernels"] if kernel["ensemble"] == "fast"][:1]
        (self.dir / "fast.json").write_text(json.dumps(bench))
        self.draw("plot_roofline.py", "fast.json", texts=["no kernel reads"])
        (self.dir / "other.json").write_text("[1]")
        self.assertIn("not the output of `mxsense bench", self.script("plot_roofline.py", "other.json", code=65).stderr)
        self.assertIn("not JSON", self.script("plot_roofline.py", self.problem.parent / "one/log.txt", code=65).stderr)
        self.assertIn("No such file", self.script("plot_roofline.py", "none.json", code=66).stderr)

    def test_as_commands(self):
        """Without a display, and with a help that teaches."""
        environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
        for name in ("plot_run.py", "plot_matrix.py", "plot_study.py", "plot_scaling.py", "plot_roofline.py"):
            out = self.script(name, "--help").stdout
            self.assertIn(f"tools/{name}", out)
            self.assertIn("Exit codes:", out)
            self.assertTrue(os.access(TOOLS / name, os.X_OK), name)
        done = subprocess.run([TOOLS / "plot_run.py", self.one, "-o", "plot.svg"], capture_output=True, text=True, check=False, env=environment,
                              timeout=harness.LIMIT)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "written plot.svg\n", ""))


if __name__ == "__main__":
    unittest.main()
