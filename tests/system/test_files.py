"""Problem files, checkpoints and exports: what `info` and `export` say of them, and that damage is found."""
import shutil
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from harness import Case


def flip(path, name):
    """Change one bit of a dataset's data, behind the library's back."""
    with h5py.File(path, "r") as file:
        dataset = file[name]
        offset = dataset.id.get_offset()
        if offset is None:
            offset = dataset.id.get_chunk_info(0).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(offset + 3)
        byte = raw.read(1)[0]
        raw.seek(offset + 3)
        raw.write(bytes([byte ^ 1]))


class Info(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(n1=13, n2=11, rank=2, measurements=200, hold_out=0.1, noise=0.01, seed=77)

    def test_problem(self):
        for np_ in (0, 2):
            out = self.run_ok("info", self.problem, np=np_).out
            for word in ("gaussian", "13", "11", "200", "20", "77"):
                self.assertIn(word, out)

    def test_hand_written_problem(self):
        path = harness.write_problem(self.dir / "hand.h5", ref.plant(7, 6, 2, 80, seed=1), dtype="f4", layout="2d")
        out = self.run_ok("info", path, np=0).out
        for word in ("dense", "7", "6", "80"):
            self.assertIn(word, out)

    def test_run(self):
        run = self.solve(self.problem, k=3, max_iterations=25, tolerance=0)
        for what in (run, run / "checkpoint.h5"):
            out = self.run_ok("info", what, np=0).out
            for word in ("25", "target"):
                self.assertIn(word, out)

    def test_damage_is_found(self):
        run = self.solve(self.problem, k=3, max_iterations=25, tolerance=0)
        dense = self.gen("dense.h5", ensemble="dense", n1=13, n2=11, rank=2, measurements=200, hold_out=0.1, seed=77)
        for path, names in ((self.problem, ("y", "validation/y", "truth/U")), (dense, ("A", "y", "validation/A")),
                            (run / "checkpoint.h5", ("factors/U", "factors/V", "metrics/loss"))):
            for name in names:
                with self.subTest(file=path.name, dataset=name):
                    bad = self.dir / "bad.h5"
                    shutil.copy(path, bad)
                    flip(bad, name)
                    outcome = harness.run("info", bad, np=0)
                    self.assertIn(outcome.code, (65, 74), str(outcome))
                    self.assertEqual(len(outcome.errors), 1, str(outcome))
                    self.assertIn("bad.h5", outcome.errors[0])


class DenseGen(Case):
    def test_stored_matrices(self):
        """--ensemble dense stores the gaussian entries; in float32, rounded, and y is of what is stored."""
        recipe = dict(ensemble="dense", n1=13, n2=11, rank=2, measurements=200, hold_out=0.1, seed=77)
        wanted = ref.generated_rows("gaussian", 77, (13, 11), 0, 220)
        for storage in ("f64", "f32"):
            for np_ in (1, 3):
                problem = ref.load(self.gen(f"{storage}{np_}.h5", np=np_, storage=storage, **recipe))
                A = np.concatenate([problem.A, problem.A_val])
                np.testing.assert_allclose(A, wanted, rtol=0, atol=1e-14 if storage == "f64" else 1e-6)
                y = np.concatenate([problem.y, problem.y_val])
                np.testing.assert_allclose(A @ problem.X.ravel(), y, rtol=0, atol=1e-13)


class Export(Case):
    def setUp(self):
        super().setUp()
        self.problem = self.gen(n1=13, n2=11, rank=2, measurements=300, seed=7)
        self.run_dir = self.solve(self.problem, k=3, max_iterations=60, tolerance=0)
        U, V = harness.factors(self.run_dir)
        self.wanted = {"U": U, "V": V, "X": U @ V.T, "singular_values": np.linalg.svd(U @ V.T, compute_uv=False)[:3]}

    @staticmethod
    def read(path, name):
        if path.suffix == ".npy":
            return np.load(path)
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", ndmin=2)
        with h5py.File(path, "r") as file:
            return file[name][...]

    def export(self, source, what, form, np_):
        """What is written, as {name: array}."""
        path = self.dir / f"{what}{np_}.{form}"
        self.run_ok("export", source, "--what", what, "--format", form, "-o", path, np=np_)
        if what == "factors":
            return {name: self.read(path if form == "h5" else path.with_stem(f"{path.stem}_{name}"), name) for name in "UV"}
        return {what: self.read(path, what)}

    def test_ending_chooses_the_format(self):
        for ending in ("npy", "csv", "h5"):
            path = self.dir / f"by_ending.{ending}"
            self.run_ok("export", self.run_dir, "--what", "X", "-o", path, np=0)
            self.assert_close(self.read(path, "X"), self.wanted["X"], 1e-14)
        self.run_ok("export", self.run_dir, "-o", self.dir / "none", np=0)
        self.assertTrue((self.dir / "none_U.npy").exists())
        outcome = self.run_ok("export", self.run_dir, "--format", "csv", "-o", self.dir / "wrong.npy", np=0, code=64)
        self.assertIn("wrong.npy", outcome.errors[0])
        self.assertEqual(list(self.dir.glob("wrong*")), [])

    def test_agrees_with_the_checkpoint(self):
        for what in ("factors", "singular_values", "X"):
            for form in ("npy", "csv", "h5"):
                for np_, source in ((0, self.run_dir), (2, self.run_dir / "checkpoint.h5")):
                    with self.subTest(what=what, form=form, np=np_):
                        for name, actual in self.export(source, what, form, np_).items():
                            wanted = self.wanted[name]
                            bound = 0 if name in "UV" else 100 * ref.EPS
                            np.testing.assert_allclose(actual.reshape(wanted.shape), wanted, rtol=0, atol=bound)

    def test_files_are_not_replaced(self):
        for what, name in (("factors", "there_U.npy"), ("X", "there.npy")):
            existing = self.dir / name
            existing.write_text("mine")
            self.refused(73, self.run_dir, "--what", what, "-o", self.dir / "there.npy")

    def test_refusals(self):
        x = self.dir / "x.npy"
        self.refused(73, self.run_dir, "-o", self.dir / "no" / "x.npy")
        self.refused((64, 78), self.run_dir, "--format", "docx", "-o", x)
        self.refused((64, 78), self.run_dir, "--what", "everything", "-o", x)
        self.refused(66, self.dir / "nowhere", "-o", x)
        self.refused(65, self.problem, "-o", x)

    def refused(self, codes, *arguments):
        before = harness.tree(self.dir)
        outcome = harness.run("export", *arguments, np=0)
        self.assertIn(outcome.code, codes if isinstance(codes, tuple) else (codes,), f"{arguments}\n{outcome}")
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertEqual(harness.tree(self.dir), before)


if __name__ == "__main__":
    unittest.main()
