"""storage: stream reads A from the problem file at every pass: the bits of A in memory, and one error where it cannot."""
import os
import re
import unittest

import h5py
import numpy as np

import harness
import reference as ref
import test_replicas
from harness import Case, Process, options

SETTINGS = dict(k=5, max_iterations=40, metrics_every=7, tolerance=0)
AHEAD, HDF5 = "read ahead from the file", "read through HDF5"


class Stream(Case):
    def plant(self, **recipe):
        return ref.plant(**{**dict(n1=14, n2=11, r=2, m=601, seed=1, held_out=90, noise=0.01), **recipe})

    def write(self, name="p.h5", **storage):
        return harness.write_problem(self.dir / name, self.plant(), **storage)

    def stream(self, problem, name="stream", how=AHEAD, **settings):
        run = self.solve(problem, name, storage="stream", **{**SETTINGS, **settings})
        self.assertRegex((run / "log.txt").read_text(), rf"kernel .*, {how}\n")
        return run


class SameBits(Stream):
    def test_ranks_and_threads(self):
        problem = self.write()
        memory = self.solve(problem, "memory", storage="f64", **SETTINGS)
        for np_, threads in ((1, 1), (2, 1), (3, 1), (1, 2)):
            with self.subTest(np=np_, threads=threads):
                run = self.stream(problem, f"np{np_}t{threads}", np=np_, threads=threads)
                self.assert_same_bits(memory, run)

    def test_several_pieces_in_a_block(self):
        """4 MB of a block are read at a time: 32 of its 160 rows of 125 kB."""
        problem = self.gen(ensemble="dense", storage="f64", n1=125, n2=125, rank=1, measurements=400, seed=2, np=2)
        settings = dict(k=2, max_iterations=6, metrics_every=1, tolerance=0, block_rows=160)
        memory = self.solve(problem, "memory", storage="f64", **settings)
        for np_ in (1, 2):
            self.assert_same_bits(memory, self.stream(problem, f"np{np_}", np=np_, **settings))

    def test_floats(self):
        problem = self.write(dtype="f4")
        memory = self.solve(problem, "memory", storage="f32", **SETTINGS)
        self.assert_same_bits(memory, self.stream(problem, np=2))

    def test_hold_out(self):
        problem = harness.write_problem(self.dir / "p.h5", self.plant(held_out=0))
        memory = self.solve(problem, "memory", storage="f64", hold_out=0.2, **SETTINGS)
        self.assert_same_bits(memory, self.stream(problem, np=2, hold_out=0.2))

    def test_replicas(self):
        """Five matrices in every visit to a piece."""
        problem = self.write()
        memory = self.solve(problem, "memory", storage="f64", replicas=5, **SETTINGS)
        stream = self.stream(problem, how=AHEAD, np=2, threads=2, replicas=5)
        self.assertIn("fused, 5 matrices", (stream / "log.txt").read_text())
        self.assertEqual(test_replicas.bits(memory, 5), test_replicas.bits(stream, 5))

    def test_other_layouts(self):
        """What does not lie in the file as in memory comes through HDF5."""
        cases = {"chunks": dict(chunks=(40, 5, 11), compression="gzip"), "endian": dict(dtype=">f8"),
                 "compact": dict(dtype=">f4"), "shuffled": dict(chunks=(64, 14, 11), shuffle=True, compression="gzip", dtype="f4")}
        for name, storage in cases.items():
            with self.subTest(name):
                problem = self.write(f"{name}.h5", **storage)
                memory = self.solve(problem, f"{name}-memory", **SETTINGS)
                for np_, threads in ((2, 2), (1, 1)) if name == "chunks" else ((2, 1),):
                    run = self.stream(problem, f"{name}{np_}", how=HDF5, np=np_, threads=threads)
                    self.assert_same_bits(memory, run)

    def test_integers(self):
        planted = self.plant(held_out=0, noise=0)
        A = np.random.default_rng(3).integers(-3, 4, planted.A.shape).astype("i2")
        problem = self.dir / "p.h5"
        with h5py.File(problem, "w") as file:
            file["A"] = A.reshape(len(A), planted.n1, planted.n2)
            file["y"] = A @ planted.X.ravel()
        memory = self.solve(problem, "memory", storage="f64", **SETTINGS)
        self.assert_same_bits(memory, self.stream(problem, how=HDF5))

    def test_user_block(self):
        """The numbers are further behind than HDF5's own addresses say."""
        planted = self.plant(held_out=0)
        problem = self.dir / "p.h5"
        with h5py.File(problem, "w", userblock_size=4096) as file:
            file["A"] = planted.A.reshape(len(planted.A), planted.n1, planted.n2)
            file["y"] = planted.y
        memory = self.solve(problem, "memory", storage="f64", **SETTINGS)
        self.assert_same_bits(memory, self.stream(problem, how=f"({AHEAD}|{HDF5})"))

    def test_interrupted(self):
        problem = self.write()
        whole = self.stream(problem, "whole", np=2)
        line = dict(np=3, threads=2)
        self.solve(problem, "parts", storage="stream", **{**SETTINGS, **line, "max_iterations": 17})
        run = self.solve(problem, "parts", storage="stream", **{**SETTINGS, **line})
        self.assertIn("resumed", (run / "log.txt").read_text())
        self.assert_same_bits(whole, run)


class Refused(Stream):
    def test_first_look(self):
        """What A in memory is refused for."""
        problem = self.write()
        with h5py.File(problem, "r+") as file:
            file["A"][417, 3, 4] = np.nan
        for np_ in (1, 3):
            self.solve(problem, f"np{np_}", storage="stream", np=np_, code=65, **SETTINGS)
            self.assertEqual(len(self.outcome.errors), 1, str(self.outcome))
            self.assertIn("A[417, 3, 4] is nan", self.outcome.err)

    def test_digests(self):
        problem = self.gen(ensemble="dense", storage="f32", n1=14, n2=11, rank=2, measurements=601, seed=2)
        self.stream(problem, "good", np=2)
        with h5py.File(problem, "r+") as file:
            file["A"][417, 3, 4] += 1
        self.solve(problem, "bad", storage="stream", np=2, code=65, **SETTINGS)
        self.assertIn("digest differs", self.outcome.err)

    def test_generated(self):
        problem = self.gen(ensemble="rademacher", n1=9, n2=7, rank=2, measurements=200)
        for command in ("solve", "check"):
            extra = ["-o", self.dir / "run"] if command == "solve" else []
            outcome = self.run_ok(command, *options(problem=problem, storage="stream"), *extra, code=78)
            self.assertIn("storage: stream is for a stored A", outcome.err)


class ChangedUnderTheRun(Stream):
    """The file is taken away, cut, or written to while it is being read."""

    def break_it(self, change, words, np=2, **storage):
        problem = self.write(**storage)
        run = self.dir / "run"
        line = options(problem=problem, storage="stream", **{**SETTINGS, "k": 3, "max_iterations": 10**7, "metrics_every": 1})
        process = Process(["solve", *line, "-o", run], np=np)
        self.assertTrue(process.wait_for(lambda: (run / "metrics.csv").exists() and len(harness.rows(run)) > 3))
        change(problem)
        outcome = process.finish()
        self.assertEqual(outcome.code, 74, str(outcome))
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn(str(problem), outcome.err)
        self.assertRegex(outcome.err, rf"{words}.*\(block \d+, read again at every pass: storage stream\)")

    def test_cut(self):
        self.break_it(lambda path: os.truncate(path, 100000), r"(cannot be read: the file ends before|was changed under the run)", np=1)

    def test_touched(self):
        self.break_it(os.utime, "was changed under the run")

    def test_written_to_in_secret(self):
        """Size and time are as they were; the numbers are not."""
        def change(path):
            before = os.stat(path)
            with open(path, "r+b") as file:
                file.seek(before.st_size // 3)
                file.write(os.urandom(200000))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.break_it(change, r"(rows \d+ .. \d+ are not what was read first|was changed under the run)")

    def test_cut_of_chunks(self):
        self.break_it(lambda path: os.truncate(path, 50000), "", chunks=(40, 5, 11), compression="gzip")


class Plan(Stream):
    def test_check(self):
        """The memory is that of the buffers."""
        problem = self.gen(ensemble="dense", storage="f64", n1=125, n2=125, rank=1, measurements=1500, seed=2, np=2)
        found = {}
        for storage in ("f64", "stream"):
            out = self.run_ok("check", *options(problem=problem, k=2, storage=storage)).out
            found[storage] = float(re.search(r"memory +about (\S+) MB", out)[1])
            self.assertEqual("storage stream: every rank reads 188 MB of the file per iteration" in out, storage == "stream", out)
        self.assertGreater(found["f64"], 187)
        self.assertLess(found["stream"], 30)


if __name__ == "__main__":
    unittest.main()
