"""tools/mxsense_io.py: what it writes the program reads, what the program writes it reads, and the rest it refuses with a reason."""
import csv
import unittest

import h5py
import numpy as np

import harness
import reference as ref  # also puts tools on the path
from harness import Case

import mxsense_io as io
from mxsense_ensembles import rows, sense

SHAPE, RANK, M, HELD_OUT = (9, 7), 2, 240, 30


def planted(seed=1):
    """Matrices, a truth of rank 2 and what they measure of it."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((M + HELD_OUT, *SHAPE))
    U, V = (rng.standard_normal((n, RANK)) / np.sqrt(n) for n in SHAPE)
    return A, U, V, np.tensordot(A, U @ V.T, 2)


class Written(Case):
    def accepted(self, path, X, tolerance=1e-6, **settings):
        """`solve` finds X in it."""
        run = self.solve(path, path.stem, method=None, seed=1, **settings)
        self.assert_close(harness.product(run), X, tolerance, path.name)
        return io.read_run(run)

    def test_forms_of_A(self):
        A, U, V, y = planted()
        np.save(self.dir / "A.npy", A[:M])
        forms = {"array": A[:M], "memmap": np.load(self.dir / "A.npy", mmap_mode="r"),
                 "chunks": (A[first : min(first + 50, M)] for first in range(0, M, 50)), "flat": A[:M].reshape(M, -1),
                 "rows": (A[i : i + 1].reshape(1, -1) for i in range(M)), "fortran": np.asfortranarray(A[:M]),
                 "big_endian": A[:M].astype(">f8")}
        for name, form in forms.items():
            with self.subTest(name):
                path = self.dir / f"{name}.h5"
                io.write_problem(path, y[:M], A=form, shape=SHAPE, truth=(U, V), y_validation=y[M:], A_validation=A[M:], noise=0)
                if name in ("memmap", "chunks"):
                    self.accepted(path, U @ V.T)
                self.run_ok("info", path, np=0)
                problem = io.read_problem(path)
                np.testing.assert_array_equal(problem.A(), A.reshape(M + HELD_OUT, -1))
                np.testing.assert_array_equal(problem.A(M - 3, 7), A.reshape(M + HELD_OUT, -1)[M - 3 : M + 4])
                np.testing.assert_array_equal(problem.y_validation, y[M:])
                self.assertEqual((problem.n1, problem.n2, problem.m, problem.noise, problem.seed), (*SHAPE, M, 0, None))
        self.assertEqual([path.name for path in self.dir.glob("*.tmp*")], [])

    def test_constant_memory(self):
        """A dataset of another file goes over a chunk at a time."""
        A, U, V, y = planted()
        with h5py.File(self.dir / "raw.h5", "w") as raw:
            raw["A"] = A[:M]
            seen = []

            class Watched:
                shape = A[:M].shape
                ndim = 3

                def __getitem__(self, part):
                    seen.append(part)
                    return raw["A"][part]

            chunk, io.CHUNK_BYTES = io.CHUNK_BYTES, 8 * 63 * 100
            self.addCleanup(setattr, io, "CHUNK_BYTES", chunk)
            io.write_problem(self.dir / "p.h5", y[:M], A=Watched())
        self.assertEqual(seen, [slice(0, 100), slice(100, 200), slice(200, 300)])
        self.assertIsNone(io.read_problem(self.dir / "p.h5").truth)
        np.testing.assert_array_equal(io.read_problem(self.dir / "p.h5").A(0, M).reshape(M, *SHAPE), A[:M])

    def test_storages(self):
        A, U, V, _ = planted()
        A[0, 0, :6] = 0.0, 1e-39, -1e-40, 3.0078125, 3.0234375, -255 * 2.0**112  # small, ties to even, large
        for storage, kind in (("f64", "<f8"), ("f32", "<f4"), ("bf16", "<f4"), ("bits", "|i1")):
            with self.subTest(storage):
                wanted = np.sign(A[:M]) if storage == "bits" else io.round_to(A[:M], storage)
                wanted[wanted == 0] += storage == "bits"
                y = np.tensordot(wanted, U @ V.T, 2)
                path = self.dir / f"{storage}.h5"
                io.write_problem(path, y, A=wanted if storage == "bits" else A[:M], storage=storage, truth=U @ V.T)
                with h5py.File(path, "r") as file:
                    self.assertEqual(file["A"].dtype.str, kind)
                    self.assertIsNone(file["A"].chunks, "contiguous: storage stream reads it ahead")
                np.testing.assert_array_equal(io.read_problem(path).A().reshape(wanted.shape), wanted)
                self.run_ok("info", path, np=0)
                run = self.solve(path, storage, k=2, storage=storage, max_iterations=2)  # bf16: refused unless each entry is one
                self.assertEqual(io.read_run(run).reason, "target")
        A[0, 0] = planted()[0][0, 0]
        for kind in ("f2", "f4", "i2", "?", "g"):
            with self.subTest(kind):
                wanted = (A[:M] > 0 if kind == "?" else np.rint(3 * A[:M]) if kind == "i2" else A[:M]).astype(kind)
                path = self.dir / "kind.h5"
                io.write_problem(path, np.tensordot(wanted.astype(float), U @ V.T, 2), A=wanted, overwrite=True)
                np.testing.assert_array_equal(io.read_problem(path).A().reshape(wanted.shape), wanted.astype(float))
                self.run_ok("info", path, np=0)

    def test_generated(self):
        _, U, V, _ = planted()
        X = U @ V.T
        for ensemble in ref.GENERATED:
            with self.subTest(ensemble):
                extra = {"block_rows": 64} if ensemble == "fast" else {}
                y = sense(X, ensemble, M + HELD_OUT, 7, **extra)
                path = self.dir / f"{ensemble}.h5"
                io.write_problem(path, y[:M], ensemble=ensemble, shape=SHAPE, seed=7, truth=X, y_validation=y[M:], **extra)
                run = self.accepted(path, X)
                self.assertLess(run.summary["test_error"], 1e-6)
                problem = io.read_problem(path)
                np.testing.assert_array_equal(problem.A(M - 2, 5), rows(ensemble, 7, SHAPE, M - 2, 5, **extra))
                self.assert_close(problem.measure(X), problem.y, 1e-12)
                self.assert_close(problem.back_projection().ravel(), problem.y @ problem.A(0, M).astype(float) / M, 1e-14)

    def test_errors(self):
        A, U, V, y = planted()
        A, y = A[:M], y[:M]
        path = self.dir / "p.h5"
        nan, large, odd = A.copy(), A.copy(), np.sign(A)
        nan[5, 2, 3], large[0, 0, 0], odd[200, 8, 6] = np.nan, 1e39, 0.5

        def refused(code, why, *arguments, **keys):
            with self.assertRaises(io.Error) as caught:
                io.write_problem(path, *arguments, **keys)
            self.assertIn(why, str(caught.exception))
            self.assertEqual(caught.exception.code, code)
            self.assertNotIn("\n", str(caught.exception))
            self.assertEqual([name.name for name in self.dir.iterdir()], [], "nothing is left behind")

        refused(65, "A[5, 17] is nan", y, A=nan)
        refused(65, "A[0, 0] is 1e+39, too large for storage f32", y, A=large, storage="f32")
        refused(65, "A[200, 62] is 0.5: storage bits", y, A=odd, storage="bits")
        refused(65, "y[3] is inf", np.where(np.arange(M) == 3, np.inf, y), A=A)
        refused(65, "type complex128", y, A=A.astype(complex))
        refused(64, "A: 239 rows, but y has 240", y, A=A[1:])
        refused(64, "A: 200 rows, but y has 240", y, A=iter([A[:200]]), shape=SHAPE)
        refused(64, "more than 240 rows", y, A=iter([A, A[:1]]), shape=SHAPE)
        refused(64, "rows of shape (7, 9), expected (9, 7)", y, A=A.transpose(0, 2, 1), shape=SHAPE)
        refused(64, "shape: give (n1, n2)", y, A=A.reshape(M, -1))
        refused(64, "y: shape (240, 1)", y[:, None], A=A)
        refused(64, "y: shape (0,)", y[:0], A=A)
        refused(64, "give A or ensemble", y)
        refused(64, "give A or ensemble", y, A=A, ensemble="gaussian")
        refused(64, "`f16`; give one of f64", y, A=A, storage="f16")
        refused(64, "`gauss` is not known", y, ensemble="gauss", shape=SHAPE, seed=1)
        refused(64, "seed: None", y, ensemble="gaussian", shape=SHAPE)
        refused(64, "seed: -1", y, ensemble="gaussian", shape=SHAPE, seed=-1)
        refused(64, "block_rows: 65", y, ensemble="fast", shape=SHAPE, seed=1, block_rows=65)
        refused(64, "storage: belongs to A", y, ensemble="rademacher", shape=SHAPE, seed=1, storage="bits")
        refused(64, "truth/X: shape (7, 9)", y, A=A, truth=(U @ V.T).T)
        refused(64, "U has 1 columns, V 2", y, A=A, truth=(U[:, :1], V))
        refused(64, "validation", y, A=A, y_validation=y[:3])
        refused(64, "validation", y, A=A, A_validation=A[:3])
        refused(64, "noise: -1", y, A=A, noise=-1)
        path.write_text("mine")
        with self.assertRaisesRegex(io.Error, "exists already"):
            io.write_problem(path, y, A=A)
        self.assertEqual(path.read_text(), "mine")
        with self.assertRaises(io.Error) as caught:
            io.write_problem(self.dir / "none/p.h5", y, A=A)
        self.assertEqual(caught.exception.code, 73)


class Read(Case):
    RECIPE = dict(n1=9, n2=7, rank=2, measurements=200, hold_out=0.1, noise=0.01, condition=2, seed=2**40 + 3)

    def refused(self, code, why, call, *arguments, **keys):
        with self.assertRaises(io.Error) as caught:
            call(*arguments, **keys)
        self.assertIn(why, str(caught.exception))
        self.assertEqual(caught.exception.code, code)

    def test_problems_of_gen(self):
        for ensemble in ("dense", *ref.GENERATED):
            with self.subTest(ensemble):
                path = self.gen(f"{ensemble}.h5", ensemble=ensemble, **self.RECIPE)
                problem, wanted = io.read_problem(path), ref.load(path)
                np.testing.assert_array_equal(problem.A(), np.concatenate([wanted.A, wanted.A_val]))
                np.testing.assert_array_equal(problem.y, wanted.y)
                np.testing.assert_array_equal(problem.y_validation, wanted.y_val)
                np.testing.assert_array_equal(problem.truth[0], wanted.U)
                np.testing.assert_array_equal(problem.X, wanted.X)
                self.assertEqual((problem.ensemble, problem.noise, problem.attributes["condition"]), (ensemble, 0.01, 2))
                self.assertEqual(problem.seed, None if ensemble == "dense" else self.RECIPE["seed"])
                self.assertEqual(problem.A(219, 1).shape, (1, 63))
                self.refused(64, "asked for, there are 220", problem.A, 200, 21)

    def test_problems_that_are_none(self):
        (self.dir / "text.h5").write_text("no")
        with h5py.File(self.dir / "empty.h5", "w") as file:
            file["x"] = 1
        with h5py.File(self.dir / "other.h5", "w") as file:
            file["y"] = np.ones(3)
            file.attrs["ensemble"] = "rank_one"
        with h5py.File(self.dir / "recipe.h5", "w") as file:
            file["y"] = np.ones(3)
            file.attrs.update({"ensemble": "gaussian", "n1": 2})
        self.refused(66, "no such file", io.read_problem, self.dir / "none.h5")
        self.refused(65, "not an HDF5 file", io.read_problem, self.dir / "text.h5")
        self.refused(65, "holds no /y", io.read_problem, self.dir / "empty.h5")
        self.refused(65, "ensemble `rank_one` is not known", io.read_problem, self.dir / "other.h5")
        self.refused(65, "n2", io.read_problem, self.dir / "recipe.h5")

    def test_a_run(self):
        problem = self.gen("it's \"one\": #1.h5", ensemble="rademacher", **self.RECIPE)
        run = io.read_run(self.solve(problem, k=4, alpha=1e-3, max_iterations=40))
        self.assertEqual({key: run.settings[key] for key in ("method", "k", "alpha", "step", "tolerance", "line_search", "checkpoint_every")},
                         {"method": "gd", "k": 4, "alpha": 1e-3, "step": "auto", "tolerance": 1e-8, "line_search": False,
                          "checkpoint_every": "10min"})
        self.assertIsInstance(run.settings["k"], int)
        self.assertEqual(run.problem, problem)
        self.assertEqual((run.replicas, run.reason, run.finished, run.name), (1, "target", True, "run"))
        self.assertEqual(run.summary, harness.summary(run.path))
        self.assertEqual([event["event"] for event in run.events], [event["event"] for event in harness.events(run.path)])
        for name, values in run.metrics().items():
            np.testing.assert_array_equal(values, harness.column(run.path, name))
        for mine, wanted in zip(run.factors(), harness.factors(run.path)):
            np.testing.assert_array_equal(mine, wanted)
        self.assertEqual(run.metrics()["test_error"][-1], run.summary["test_error"])
        # The checkpoint has the same history, also when the table is gone.
        table = run.metrics()
        self.assertEqual(set(io.read_metrics(run.path / "checkpoint.h5")), set(table))
        with open(run.path / "metrics.csv", "a") as file:
            file.write("50,1,2")  # a row that is being written
        self.assertEqual(run.metrics()["iteration"].tolist(), table["iteration"].tolist())
        (run.path / "metrics.csv").unlink()
        for name, values in run.metrics().items():
            np.testing.assert_array_equal(values, table[name], name)
        self.refused(64, "replicas 0 .. 0", run.metrics, 1)
        self.refused(64, "no replica 1", io.read_factors, run.path / "checkpoint.h5", 1)

    def test_an_unfinished_run(self):
        problem = self.gen(ensemble="rademacher", **self.RECIPE)
        run = io.read_run(self.solve(problem, k=4, max_walltime="0s", code=75))
        self.assertEqual((run.reason, run.finished), ("walltime", False))
        self.assertEqual(run.metrics()["iteration"].tolist(), [0])
        (run.path / "summary.json").unlink()
        (run.path / "checkpoint.h5").rename(run.path / "checkpoint.prev.h5")
        run = io.read_run(run.path)
        self.assertEqual((run.summary, run.reason), ({}, "unfinished"))
        self.assertEqual(run.factors()[0].shape, (9, 4))
        (run.path / "checkpoint.prev.h5").unlink()
        self.refused(66, "no checkpoint yet", run.factors)
        (run.path / "metrics.csv").unlink()
        self.refused(66, "no checkpoint yet", run.metrics)
        (run.path / "summary.json").write_text("{")
        self.refused(65, "damaged", io.read_run, run.path)
        self.refused(66, "not a run directory", io.read_run, self.dir)
        self.refused(66, "no such directory", io.read_run, self.dir / "none")

    def test_replicas(self):
        problem = self.gen(ensemble="rademacher", **self.RECIPE)
        run = io.read_run(self.solve(problem, alpha="1e-2,1e-3", k="3,4", max_iterations=20))
        seeds = io.read_run(self.solve(problem, "seeds", replicas=3, seed=5, k=2, max_iterations=5))
        self.assertEqual((run.replicas, seeds.replicas), (2, 3))
        self.assertEqual([run.settings_of(r)["alpha"] for r in range(2)], [1e-2, 1e-3])
        self.assertEqual([seeds.settings_of(r)["seed"] for r in range(3)], [5, 6, 7])
        self.assertEqual([seeds.summary_of(r)["seed"] for r in range(3)], [5, 6, 7])
        for r in range(2):
            one = io.read_run(run.path / f"replica_{r}")
            self.assertEqual((one.name, one.replicas, one.settings["k"], one.problem), (f"run, replica {r}", 1, 3 + r, problem))
            self.assertEqual(one.summary["loss"], run.summary_of(r)["loss"])
            self.assertEqual(run.factors(r)[1].shape, (7, 3 + r))
            np.testing.assert_array_equal(one.factors()[0], run.factors(r)[0])
            np.testing.assert_array_equal(one.metrics()["loss"], run.metrics(r)["loss"])
            self.assertEqual(run.metrics(r)["loss"][-1], run.summary_of(r)["loss"])
        self.refused(64, "holds 2 replicas: say which", io.read_factors, run.path / "checkpoint.h5")
        self.refused(64, "replicas 0 .. 1, not 2", run.metrics, 2)

    def test_tables(self):
        """A table of each kind of column; CSV and HDF5 give the same."""
        lowest = np.iinfo(np.int64).min
        columns = {"point": [0, 1, 2], "run": ["runs/0", "runs/1", "runs/2"], "solve.seed": [0, 2**62 + 1, 5], "alpha": [0.1, 1e-3, 1e-30],
                   "k": [1.0, 2.0, 3.0], "reason": ["tolerance", "missing", "diverged"], "iterations": [10, lowest, 3],
                   "test_error": [1e-9, np.nan, 0.5], "validation_loss": [np.nan] * 3, "commit": ["6149e0537", "6149e0537", ""],
                   "certificate_reason": ["", "", ""], "ensemble": ["gaussian, \"8\"", "fast", "fast"]}
        with h5py.File(self.dir / "table.h5", "w") as file:
            group = file.create_group("table", track_order=True)
            for name, values in columns.items():
                if isinstance(values[0], str):
                    group.create_dataset(name, data=values, dtype=h5py.string_dtype())
                else:
                    group[name] = np.array(values)
        with open(self.dir / "table.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values()):
                writer.writerow(["" if value != value or value == lowest else f"{value:.17g}" if isinstance(value, float) else value
                                 for value in row])
        tables = [io.read_table(self.dir / name) for name in ("table.csv", "table.h5")]
        self.assertEqual(set(tables[0]), set(columns))
        for name in columns:
            np.testing.assert_array_equal(tables[0][name], tables[1][name], name)
            self.assertEqual(tables[0][name].dtype.kind, tables[1][name].dtype.kind, name)
        table = tables[0]
        self.assertEqual([table[name].dtype.kind for name in ("point", "solve.seed", "k", "alpha", "iterations", "run", "commit")], list("iiiffUU"))
        self.assertEqual(table["solve.seed"][1], 2**62 + 1)
        np.testing.assert_array_equal(table["iterations"], [10, np.nan, 3])
        (self.dir / "bad.csv").write_text("a,b\n1,2\n3\n")
        (self.dir / "empty.csv").write_text("")
        self.refused(65, "row 3 has 1 cells, the heading 2", io.read_table, self.dir / "bad.csv")
        self.refused(65, "is empty", io.read_table, self.dir / "empty.csv")
        self.refused(66, "No such file", io.read_table, self.dir / "none.csv")
        with h5py.File(self.dir / "p.h5", "w") as file:
            file["y"] = 1.0
        self.refused(65, "holds no /table", io.read_table, self.dir / "p.h5")


if __name__ == "__main__":
    unittest.main()
