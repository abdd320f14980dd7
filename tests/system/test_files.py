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

    def test_damaged_measurements_are_not_solved(self):
        """A problem file with digests is verified when it is read."""
        dense = self.gen("dense.h5", ensemble="dense", n1=13, n2=11, rank=2, measurements=200, seed=77)
        flip(dense, "A")
        for np_ in (1, 3):
            self.solve(dense, np=np_, k=3, code=65)
            self.assertEqual(len(self.outcome.errors), 1)
            self.assertFalse((self.dir / "run").exists())


class DenseGen(Case):
    def test_stored_matrices(self):
        """--ensemble dense stores the gaussian entries; in float32, rounded, and y is of what is stored."""
        recipe = dict(ensemble="dense", n1=13, n2=11, rank=2, measurements=200, hold_out=0.1, seed=77)
        wanted = ref.gaussian(77, range(220), 143)
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
        self.wanted = {"U": U, "V": V, "X": U @ V.T, "sigma": np.linalg.svd(U @ V.T, compute_uv=False)[:3]}

    @staticmethod
    def read(path):
        if path.suffix == ".npy":
            return np.load(path)
        if path.suffix == ".csv":
            text = path.read_text().splitlines()
            skip = 1 if any(c.isalpha() and c not in "e" for c in text[0].replace("nan", "").replace("inf", "")) else 0
            return np.loadtxt(path, delimiter=",", skiprows=skip, ndmin=1)
        with h5py.File(path, "r") as file:
            found = []
            file.visititems(lambda name, item: found.append(item[...]) if isinstance(item, h5py.Dataset) else None)
            return found[0]

    def test_agrees_with_the_checkpoint(self):
        for what, wanted in self.wanted.items():
            for suffix in ("npy", "csv", "h5"):
                for np_, source in ((0, self.run_dir), (2, self.run_dir / "checkpoint.h5")):
                    with self.subTest(what=what, suffix=suffix, np=np_):
                        path = self.dir / f"{what}{np_}.{suffix}"
                        self.run_ok("export", source, "--what", what, "-o", path, np=np_)
                        actual = self.read(path).reshape(wanted.shape)
                        if what in "UV":
                            np.testing.assert_array_equal(actual, wanted)
                        else:
                            np.testing.assert_allclose(actual, wanted, rtol=0, atol=100 * ref.EPS)

    def test_refusals(self):
        existing = self.dir / "there.npy"
        existing.write_text("mine")
        for arguments, codes in (((self.run_dir, "-o", existing), (73,)), ((self.run_dir, "-o", self.dir / "no" / "x.npy"), (73,)),
                                 ((self.run_dir, "-o", self.dir / "x.docx"), (64, 78)), ((self.dir / "nowhere", "-o", self.dir / "x.npy"), (66,)),
                                 ((self.problem, "-o", self.dir / "x.npy"), (65,))):
            before = harness.tree(self.dir)
            outcome = harness.run("export", *arguments, np=0)
            self.assertIn(outcome.code, codes, f"{arguments}\n{outcome}")
            self.assertEqual(len(outcome.errors), 1, str(outcome))
            self.assertEqual(harness.tree(self.dir), before)


if __name__ == "__main__":
    unittest.main()
