"""tools/simulate.py: the simulated scaling is deterministic, follows its rates and its network, says what it is, and reaches its target."""
import csv
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "simulate.py"
SMALL = {"n": 200, "k": 5, "entries_per_rank": 4e6}
LIMIT = 280  # seconds; only a hang takes as long


class Simulate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="t", dir=os.environ.get("MXS_TEST_TMP")))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)

    def simulate(self, ranks, code=0, **settings):
        """Output of the tool and the rows that it writes."""
        table = self.dir / "table.csv"
        words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        result = subprocess.run([sys.executable, "-B", TOOL, "--ranks", ",".join(map(str, ranks)), *words, "--build", self.dir / "build", "-o", table],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
        self.assertEqual(result.returncode, code, result.stdout)
        if code:
            return result.stdout, []
        with open(table, newline="") as file:
            rows = [{key: value if key in ("reduction", "allreduce", "series") else float(value) for key, value in row.items()}
                    for row in csv.DictReader(file)]
        return result.stdout, rows

    def test_table_says_what_it_is_and_is_the_same_twice(self):
        first, second = (self.simulate((2, 8, 32), **SMALL) for _ in range(2))
        self.assertEqual(first, second)
        out, rows = first
        self.assertEqual([(row["ranks_used"], row["reduction"]) for row in rows],
                         [(ranks, mode) for mode in ("reproducible", "fast") for ranks in (2, 8, 32)])
        lines = out.splitlines()
        self.assertEqual([line for line in lines if "simulated" not in line], [lines[1]], "only the names of the columns do without")
        for row in rows:
            self.assertEqual((row["simulated"], row["measurements"]), (1, 100 * row["ranks_used"]))
            self.assertTrue(math.isclose(row["iteration_s"], row["compute_s"] + row["reduce_s"]))
            self.assertTrue(0 < row["efficiency"] < 1, row)

    def test_computation_takes_what_the_rates_say(self):
        for rate, block_s, fixed_s in ((1e9, 1e-3, 5e-4), (2e9, 1e-3, 5e-4), (1e9, 0, 0)):
            _, rows = self.simulate((2, 8), **SMALL, block_rows="share", reduction="reproducible", entries_per_s=rate, block_s=block_s,
                                    fixed_s=fixed_s)
            for row in rows:
                self.assertEqual((row["blocks"], row["block_rows"]), (row["ranks_used"], 100))
                self.assertAlmostEqual(row["compute_s"], 4e6 / rate + block_s + fixed_s, 6)

    def test_message_of_the_exact_sums_is_twice_the_plain_one(self):
        _, rows = self.simulate((2,), **SMALL)
        numbers = 2 * SMALL["n"] * SMALL["k"] + 2
        exact, plain = (row["reduce_bytes"] for row in rows)
        self.assertEqual(exact, 8 * (2 * numbers + 4 * 16 + 10), "two limbs, counters of exponents, status")
        self.assertEqual(plain, 8 * (numbers + 10))

    def test_reduction_follows_the_network(self):
        """Bandwidth and latency each for itself, a rank a host: as the formula says, the latency by the logarithm of the ranks."""
        fabric = {**SMALL, "block_rows": "share", "ranks_per_host": 1, "reduction": "reproducible"}
        for latency, bandwidth in ((1e-9, 1e8), (1e-4, 1e12)):
            _, rows = self.simulate((4, 16, 32), **fabric, latency=latency, bandwidth=bandwidth)
            for row in rows:
                self.assertLess(row["reduce_s"], 1.05 * row["alpha_beta_s"] + 1e-6)
                self.assertGreater(row["reduce_s"], 0.4 * row["alpha_beta_s"])
            steps = [row["reduce_s"] / math.log2(row["ranks_used"]) for row in rows]
            self.assertLess(steps[2], 2.1 * steps[0], "two links a route in a leaf, four between leaves")

    def test_target(self):
        """90 % at 10^9 entries a rank, and not on any network."""
        _, rows = self.simulate((64,), reduction="reproducible")
        self.assertEqual((rows[0]["entries_per_rank"], rows[0]["measurements"]), (1e9, 64000))
        self.assertGreaterEqual(rows[0]["efficiency"], 0.9)
        _, slow = self.simulate((8,), reduction="reproducible", ranks_per_host=1, bandwidth=1e7)
        self.assertLess(slow[0]["efficiency"], 0.5)

    def test_wrong_settings(self):
        out, _ = self.simulate((0,), code=2)
        self.assertIn("at least 1", out)
        out, _ = self.simulate((8,), code=1, hosts=2, ranks_per_host=2)
        self.assertIn("give more --hosts", out)


if __name__ == "__main__":
    unittest.main()
