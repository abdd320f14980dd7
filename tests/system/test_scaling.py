"""tools/scaling.py: efficiencies and the model's coefficients from tables whose numbers are known, and from a real study."""
import csv
import math
import pathlib
import subprocess
import sys
import unittest

import harness
from harness import Case

ROOT = pathlib.Path(__file__).resolve().parents[2]
PER_ENTRY, ALIKE, LATENCY, PER_BYTE = 2e-10, 3e-5, 4e-6, 1 / 8e9
N, ITERATIONS = 200, 50


def row_of(ranks, measurements, k, repeat=0, factor=1.0):
    """A row as mxsense study writes it, its times those of the model."""
    size = 2 * 8 * (2 * N * k + 20)
    compute = PER_ENTRY * math.ceil(measurements / ranks) * N * N + ALIKE
    reduce = (LATENCY * math.ceil(math.log2(ranks)) + PER_BYTE * size * 2 * (ranks - 1) / ranks) if ranks > 1 else 0.0
    compute, reduce = compute * factor, reduce * factor
    return {"point": 0, "repeat": repeat, "ensemble": "rademacher", "n1": N, "n2": N, "k": k, "measurements": measurements, "packed": 1,
            "ranks_used": ranks, "reason": "target", "iterations": ITERATIONS, "seconds_s": (compute + reduce) * ITERATIONS,
            "iteration_s": compute + reduce, "compute_s": compute * ITERATIONS, "reduce_s": reduce * ITERATIONS, "reduce_least_s": reduce * ITERATIONS, "metrics_s": 0.0,
            "inner_s": 0.0, "entries_per_s": 1e9, "bytes_per_s": "", "fraction_of_limit": "", "reduce_bytes": size}


class Scaling(Case):

    def table(self, rows, name="table.csv"):
        path = self.dir / name
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    def scaling(self, *arguments, code=0):
        outcome = subprocess.run([sys.executable, "-B", ROOT / "tools/scaling.py", *map(str, arguments)], stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(outcome.returncode, code, outcome.stdout + outcome.stderr)
        return outcome.stdout if code == 0 else outcome.stderr

    def rows(self, rows, *more):
        self.text = self.scaling(self.table(rows), "-o", self.dir / "out.csv", *more)
        with open(self.dir / "out.csv", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_model_is_found(self):
        """Noise of repeats does not move the medians; two sizes of message tell latency from bandwidth."""
        table = [row_of(ranks, 8000, 20, repeat, factor) for ranks in (1, 2, 4, 8) for repeat, factor in enumerate((1.0, 1.0, 1.7))]
        rows = self.rows(table, "--to", 32)
        self.assertEqual([row["ranks_used"] for row in rows], ["1", "2", "4", "8", "16", "32"])
        for row in rows:
            truth = row_of(int(row["ranks_used"]), 8000, 20)
            self.assertAlmostEqual(float(row["model_iteration_s"]) / truth["iteration_s"], 1, places=6)
            self.assertEqual(row["modelled"], str(int(int(row["ranks_used"]) > 8)))
            self.assertEqual(row["kind"], "strong")
        base, last = row_of(1, 8000, 20)["iteration_s"], row_of(8, 8000, 20)["iteration_s"]
        self.assertAlmostEqual(float(rows[3]["speedup"]), base / last, places=6)
        self.assertAlmostEqual(float(rows[3]["efficiency"]), base / last / 8, places=6)
        self.assertIn(f"{PER_ENTRY * 1e9:.4g} ns an entry", self.text)
        self.assertIn(f"{LATENCY * 1e6:.3g} us a level, {1e-9 / PER_BYTE:.3g} GB/s (fitted)", self.text)

    def test_weak(self):
        rows = self.rows([row_of(ranks, 1000 * ranks, 20) for ranks in (1, 2, 4)], "--to", 1024)
        self.assertEqual({row["kind"] for row in rows}, {"weak"})
        expected = row_of(1, 1000, 20)["iteration_s"] / row_of(1024, 1024000, 20)["iteration_s"]
        self.assertAlmostEqual(float(rows[-1]["model_efficiency"]), expected, places=6)
        self.assertEqual(rows[-1]["measurements"], "1024000")
        self.assertEqual(rows[-1]["efficiency"], "", "what was not measured is not given as if it was")

    def test_network_that_is_given(self):
        rows = self.rows([row_of(1, 1000, 20)], "--latency", "1e-3", "--bandwidth", "1e9")
        self.assertEqual(rows[0]["kind"], "measurement")
        self.assertIn("1e+03 us a level, 1 GB/s (as given)", self.text)

    def test_series_apart(self):
        """What differs in k is not one series, although its measurements are the same."""
        rows = self.rows([row_of(ranks, 4000, k) for ranks in (1, 2) for k in (4, 40)])
        self.assertEqual({row["series"] for row in rows}, {"k 4", "k 40"})

    def test_refusals(self):
        self.assertIn("no column compute_s", self.scaling(self.table([{"ranks_used": 1}]), code=65))
        self.assertIn("pack: off", self.scaling(self.table([{**row_of(1, 100, 2), "packed": 4}]), code=65))
        self.assertIn("no row has a time", self.scaling(self.table([{**row_of(1, 100, 2), "iteration_s": ""}]), code=65))
        self.scaling(self.dir / "none.csv", code=66)
        self.scaling("--to", "many", "x.csv", code=64)

    def test_real_study(self):
        (self.dir / "s.yaml").write_text("problem: {ensemble: [rademacher, dense], n: 24, rank: 2, measurements: 600}\n"
                                         "solve: {method: gd, k: 4, tolerance: 1e-6, max_iterations: 400}\nranks: [1, 2]\npack: off\n")
        self.run_ok("study", self.dir / "s.yaml", "-o", self.dir / "s", np=2)
        text = self.scaling(self.dir / "s/table.h5", "--to", 8, "-o", self.dir / "s.csv")
        with open(self.dir / "s.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["ranks_used"] for row in rows], ["1", "2", "4", "8"] * 2, text)
        self.assertEqual({row["series"] for row in rows}, {"ensemble rademacher", "ensemble dense"})
        for ensemble in (rows[:2], rows[4:6]):
            self.assertEqual(len({row["iterations"] for row in ensemble}), 1, "the same steps on any number of ranks")
            for row in ensemble:
                self.assertAlmostEqual(sum(float(row[f"{phase}_s"]) for phase in ("compute", "reduce", "wait", "metrics", "inner")),
                                       float(row["iteration_s"]), delta=1e-6 + 0.01 * float(row["iteration_s"]))
        self.assertIn("off by", text)


if __name__ == "__main__":
    unittest.main()
