"""Measurements of the machine, the prediction, and the profile of a run: their structure, and that they agree with themselves."""
import json
import math
import unittest

from harness import Case, options

TIME = {"best", "median", "repeats"}


class Bench(Case):
    def bench(self, *arguments, np=0, code=0, name="bench.json"):
        path = self.dir / name
        outcome = self.run_ok("bench", "--quick", *arguments, "--io", self.dir, "-o", path, np=np, code=code)
        return outcome, json.loads(path.read_text()) if code == 0 else None

    def check_time(self, time):
        self.assertEqual(set(time), TIME)
        self.assertLessEqual(time["best"], time["median"])
        self.assertGreater(time["best"], 0)
        self.assertGreaterEqual(time["repeats"], 3)

    def check_kernel(self, kernel, read):
        self.check_time(kernel["pass_s"])
        visited = kernel["rows"] * kernel["entries"]
        self.assertAlmostEqual(kernel["entries_per_s"] * kernel["pass_s"]["best"] / visited, 1, 6)
        stored = kernel["storage"] is not None
        self.assertEqual(kernel["bytes"] > 0, stored)
        for name in ("read_s", "bytes_per_s", "fraction_of_read", "fraction_of_limit"):
            self.assertEqual(kernel[name] is not None, stored, name)
        self.assertEqual(kernel["blas_s"] is not None, (kernel["ensemble"], kernel["storage"]) == ("dense", "f64"))
        if stored:
            width = {"f64": 8, "f32": 4, "bf16": 2, "bits": 1 / 8}[kernel["storage"]]
            self.assertTrue(1 <= kernel["bytes"] / (visited * width) < 1.1)  # rows of bits end with a whole word
            self.assertAlmostEqual(kernel["bytes_per_s"] * kernel["pass_s"]["best"] / kernel["bytes"], 1, 6)
            self.assertAlmostEqual(kernel["fraction_of_read"] * kernel["pass_s"]["best"] / kernel["read_s"]["best"], 1, 6)
            self.assertAlmostEqual(kernel["fraction_of_limit"] * read / kernel["bytes_per_s"], 1, 6)

    def check_model(self, model, rows, **problem):
        parts = model["parts"]
        self.assertEqual(set(parts), {"kernel", "factors", "commit", "allreduce", "metrics", "checkpoint"})
        self.assertTrue(all(part >= 0 for part in parts.values()), parts)
        self.assertTrue(math.isclose(sum(parts.values()), model["seconds_per_iteration"], rel_tol=1e-6))
        self.assertEqual(model["rows"], rows)
        self.assertEqual({key: model["problem"][key] for key in problem}, problem)

    def test_all_sections(self):
        problem = self.gen(n1=9, n2=7, rank=2, measurements=1000, hold_out=0.1, ensemble="dense", storage="f32")
        for np_, rows in ((0, 1100), (2, 512 + 64)):
            outcome, found = self.bench("--problem", problem, "--k", "3", np=np_, name=f"{np_}.json")
            ranks = max(np_, 1)
            self.assertEqual((found["format"], found["format_version"], found["quick"]), ("mxsense-bench", 1, True))
            self.assertEqual((found["machine"]["ranks"], found["machine"]["hosts"]), (ranks, 1))
            self.assertLessEqual({"cpu", "blas", "blas_kernel"}, set(found["machine"]))
            self.assertLessEqual({"version", "commit", "compiler", "flags"}, set(found["build"]))
            read = found["read"]["bytes_per_s"]
            self.assertAlmostEqual(found["read"]["total_bytes_per_s"] / (ranks * read), 1, 6)
            measured = {(kernel["ensemble"], kernel["storage"], kernel["entries"]) for kernel in found["kernels"]}
            self.assertEqual(len(measured), len(found["kernels"]))
            for entries in (10000, 65536):
                self.assertLessEqual({("dense", storage, entries) for storage in ("f64", "f32", "bf16", "bits")}, measured)
                self.assertLessEqual({(ensemble, None, entries) for ensemble in ("rademacher", "gaussian8", "gaussian", "fast")}, measured)
                self.assertIn(("rademacher", "bits", entries), measured)
            for kernel in found["kernels"]:
                with self.subTest(kernel=kernel):
                    self.check_kernel(kernel, read)
            self.check_reductions(found["reductions"])
            self.assertGreater(found["checkpoint"]["bytes"], 1e6)
            self.assertGreater(found["checkpoint"]["write_s"], 0)
            self.check_model(found["model"], rows, n1=9, n2=7, k=3, measurements=1000, held_out=100, ensemble="dense", storage="f32")
            for word in ("read bandwidth", "dense f64", "rademacher", "gaussian", "reproducible", "checkpoint", "iteration", "allreduce"):
                self.assertIn(word, outcome.out)
            self.assertLessEqual(max(map(len, outcome.out.splitlines())), 100)
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()), ["0.json", "2.json", "p.h5"])

    def check_reductions(self, reductions):
        self.assertEqual({reduction["mode"] for reduction in reductions}, {"reproducible", "fast"})
        for reduction in reductions:
            self.check_time(reduction["commit_s"])
            self.check_time(reduction["allreduce_s"])
            self.assertGreaterEqual(reduction["bytes"], 8 * reduction["length"])

    def test_shape_without_a_file(self):
        _, found = self.bench(*options(n1=12, n2=10, measurements=640, ensemble="rademacher", reduction="fast"))
        self.check_model(found["model"], 640, n1=12, n2=10, k=2, ensemble="rademacher", storage=None, reduction="fast")

    def test_refusals(self):
        problem = self.gen(n1=9, n2=7, rank=2, measurements=100)
        (self.dir / "there.json").write_text("mine")
        for arguments, code in ((["--n1", "5"], 64), (["--problem", problem, "--n1", "5"], 64), (["--measurements", "5"], 64),
                                (["--problem", self.dir / "nowhere.h5"], 66), (["--problem", problem, "--measurements", "101"], 78),
                                (["--k", "0"], 78)):
            with self.subTest(arguments=arguments):
                outcome, _ = self.bench(*arguments, code=code)
                self.assertEqual(len(outcome.errors), 1)
                self.assertFalse((self.dir / "bench.json").exists())
        outcome, _ = self.bench(np=2, code=73, name="there.json")
        self.assertEqual((self.dir / "there.json").read_text(), "mine")
        outcome = self.run_ok("bench", "--quick", "--io", self.dir / "nowhere", "-o", self.dir / "bench.json", np=0, code=66)
        self.assertFalse((self.dir / "bench.json").exists())


class Profile(Case):
    def profile(self, run):
        summary = json.loads((run / "summary.json").read_text())
        return summary, summary["timings"], summary["rates"]

    def test_generated(self):
        problem = self.gen(n1=9, n2=7, rank=2, measurements=400, hold_out=0.1, ensemble="rademacher")
        run = self.solve(problem, np=2, k=3, max_iterations=20)
        summary, timings, rates = self.profile(run)
        self.assertEqual(rates["passes_over_A"], summary["passes_over_A"])
        self.assertTrue(rates["kernel"])
        self.assertEqual([rates[name] for name in ("bytes_per_second", "limit_bytes_per_second", "fraction_of_limit")], [None] * 3)
        for part in ("load", "compute", "generate", "reduce", "inner", "metrics", "checkpoint"):
            self.assertEqual(set(timings[part]), {"min", "mean", "max"})
            self.assertLessEqual(timings[part]["min"], timings[part]["max"])
        self.assertLessEqual(timings["generate"]["max"], timings["compute"]["max"])
        self.assertLessEqual(timings["compute"]["mean"], timings["wall"])
        visited = rates["passes_over_A"] * 440 * 63 / 2
        mean = visited / timings["compute"]["mean"]
        self.assertTrue(0.5 * mean < rates["entries_per_second"]["mean"] < 2 * mean)
        log = (run / "log.txt").read_text()
        for line in ("kernel", "time", "rate", "reduced"):
            self.assertRegex(log, rf"(?m)^  {line} +\S")
        self.assertLessEqual(max(map(len, log.splitlines())), 110)
        # What was measured in this process, not since the first start.
        self.solve(problem, np=2, k=3, max_iterations=30)
        again, _, rates = self.profile(run)
        self.assertLess(rates["passes_over_A"], again["passes_over_A"])

    def test_stored(self):
        """A limit is measured where A is large enough to tell, and changes no bit."""
        problem = self.gen(n1=128, n2=128, rank=2, measurements=600, ensemble="dense")
        runs = [self.solve(problem, name=f"run{np_}", np=np_, k=3, max_iterations=3) for np_ in (0, 2)]
        self.assert_same_bits(*runs)
        _, _, alone = self.profile(runs[0])
        _, _, shared = self.profile(runs[1])
        self.assertGreater(alone["limit_bytes_per_second"], 0)
        self.assertAlmostEqual(alone["fraction_of_limit"] * alone["limit_bytes_per_second"] / alone["bytes_per_second"]["mean"], 1, 6)
        self.assertAlmostEqual(alone["bytes_per_second"]["mean"] / alone["entries_per_second"]["mean"], 8, 6)
        self.assertIsNone(shared["limit_bytes_per_second"])
        self.assertGreater(shared["bytes_per_second"]["mean"], 0)
        self.assertIn("of the limit", (runs[0] / "log.txt").read_text())


if __name__ == "__main__":
    unittest.main()
