"""Generated ensembles: entries are the documented function of (seed, i, p, q), and `gen` plants what it says."""
import dataclasses
import subprocess
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from harness import Case

RECIPE = dict(n1=13, n2=11, rank=3, condition=2, measurements=333, hold_out=0.1, seed=(5 << 32) + 77)


def entries(kind, seed, count, first, rows, block_rows=1):
    """The program's own entries."""
    arguments = [harness.ENTRIES, kind, *map(str, (seed, count, first, rows, block_rows))]
    output = subprocess.run(arguments, stdout=subprocess.PIPE, check=True, timeout=harness.LIMIT).stdout
    return np.frombuffer(output).reshape(rows, count)


class Entries(unittest.TestCase):
    def test_equal_to_the_documented_function(self):
        for seed in (0, 1, 2**32, 2**64 - 1):
            for first in (0, 5, 2**32 - 1, 2**40):
                for count in (1, 3, 127, 128, 129, 515):
                    for kind in ref.GENERATED:
                        with self.subTest(kind, seed=seed, first=first, count=count):
                            block_rows = 1 << (count - 1).bit_length()
                            wanted = ref.generated_rows(kind, seed, (1, count), first, 3, block_rows=block_rows)
                            np.testing.assert_array_equal(entries(kind, seed, count, first, 3, block_rows), wanted)

    def test_golden_values(self):
        """These may never change: problem files hold no more than the seed."""
        for kind, golden in (("rademacher", "825b7cc12e5bf200"), ("fast", "7b9df7d3b423d5fa")):
            signs = entries(kind, 12345, 64, 7, 1, block_rows=5)[0]
            word = sum(1 << bit for bit, sign in enumerate(signs) if sign < 0)
            self.assertEqual(f"{word:016x}", golden, kind)
        for kind, golden in (("gaussian", ["-0x1.d8769385d6061p+0", "0x1.45902ed37e234p-2", "0x1.212554774fdfap+1", "0x1.e9604edd94a18p-2"]),
                             ("gaussian8", ["0x0.0p+0", "-0x1.9dc7f6034c28fp+0", "0x1.11e95387975fap+0", "0x1.e98b38b0f8c0bp-2"])):
            values = [value.hex() for value in entries(kind, 12345, 4, 7, 1)[0].tolist()]
            self.assertEqual(values, golden, kind)


class Gen(Case):
    def test_measurements_are_of_the_truth(self):
        for np_, kind in enumerate(ref.GENERATED):
            with self.subTest(kind):
                path = self.gen(f"{kind}.h5", np=np_ + 1, ensemble=kind, **RECIPE)
                problem = ref.load(path)
                self.assertEqual(problem.y.shape, (333,))
                self.assertLessEqual(abs(len(problem.y_val) - 33.3), 1)
                x = problem.X.ravel()
                bound = 8 * ref.EPS * np.sqrt(x.size) * np.linalg.norm(x) * 7
                self.assertLess(np.max(np.abs(problem.A @ x - problem.y)), bound)
                self.assertLess(np.max(np.abs(problem.A_val @ x - problem.y_val)), bound)
                sigma = np.linalg.svd(problem.X, compute_uv=False)
                np.testing.assert_allclose(sigma[:3], (1, 0.75, 0.5), atol=50 * ref.EPS)
                self.assertLess(sigma[3], 50 * ref.EPS)
                np.testing.assert_allclose(problem.U.T @ problem.U, problem.V.T @ problem.V, atol=50 * ref.EPS)
                with h5py.File(path, "r") as file:
                    self.assertNotIn("A", file)
                    wanted = dict(format="mxsense-problem", ensemble=kind, n1=13, n2=11, m=333, seed=RECIPE["seed"], ensemble_version=1)
                    for name, value in wanted.items():
                        stored = file.attrs[name]
                        self.assertEqual(stored.decode() if isinstance(stored, bytes) else stored, value, name)
                    self.assertTrue({"format_version", "creator", "noise_std"} <= set(file.attrs))

    def test_same_bits_at_any_number_of_ranks(self):
        def content(path):
            with h5py.File(path, "r") as file:
                return {name: file[name][...].tobytes() for name in ("y", "validation/y", "truth/U", "truth/V")}

        for kind in ref.GENERATED:
            files = [content(self.gen(f"{kind}{np_}.h5", np=np_, ensemble=kind, noise=0.1, **RECIPE)) for np_ in (1, 3, 7)]
            self.assertEqual(files[0], files[1], kind)
            self.assertEqual(files[0], files[2], kind)

    def test_noise_has_its_size_and_nothing_else_changes(self):
        recipe = dict(RECIPE, measurements=4000, ensemble="rademacher")
        clean, noisy = (ref.load(self.gen(f"{noise}.h5", noise=noise, **recipe)) for noise in (0, 0.25))
        np.testing.assert_array_equal(clean.U, noisy.U)
        for a, b in ((clean.y, noisy.y), (clean.y_val, noisy.y_val)):
            noise = (b - a) / 0.25
            self.assertLess(abs(np.mean(noise)), 5 / np.sqrt(noise.size))
            self.assertLess(abs(np.mean(noise**2) - 1), 5 * np.sqrt(2 / noise.size))
            self.assertLess(abs(np.mean(noise * a)) / np.std(a), 5 / np.sqrt(noise.size))
            self.assertLess(abs(np.mean(noise[1:] * noise[:-1])), 5 / np.sqrt(noise.size))

    def test_seeds_differ(self):
        recipe = dict(RECIPE, ensemble="gaussian")
        a, b = (ref.load(self.gen(f"{seed}.h5", **dict(recipe, seed=seed))) for seed in (1, 2))
        self.assertGreater(np.linalg.norm(a.U - b.U), 0.1)
        self.assertGreater(np.linalg.norm(a.A - b.A) / np.sqrt(a.A.size), 1)
        correlation = np.mean(a.A * b.A)
        self.assertLess(abs(correlation), 5 / np.sqrt(a.A.size))

    def test_defaults(self):
        """Condition 1, no noise, nothing held out."""
        path = self.gen(n1=10, n2=8, rank=2, measurements=100, ensemble="rademacher", seed=1)
        problem = ref.load(path)
        self.assertIsNone(problem.y_val)
        np.testing.assert_allclose(np.linalg.svd(problem.X, compute_uv=False)[:2], 1, atol=50 * ref.EPS)
        self.assertLess(np.max(np.abs(problem.A @ problem.X.ravel() - problem.y)), 1e-13)


class Solve(Case):
    def test_follows_the_reference(self):
        """The generated matrices that the solver uses are those of the reference."""
        for np_, kind in enumerate(ref.GENERATED):
            with self.subTest(kind):
                path = self.gen(f"{kind}.h5", ensemble=kind, **RECIPE)
                problem = ref.load(path)
                rng = np.random.default_rng(1)
                U, V = (0.1 * rng.standard_normal((n, 5)) for n in (13, 11))
                start = harness.write_factors(self.dir / "start.h5", U, V)
                run = self.solve(path, kind, np=1 + np_, k=5, init=f"file:{start}", max_iterations=50, tolerance=0)
                wanted_U, wanted_V, rows = ref.descend(problem, U, V, problem.auto_step(), 50)
                self.assert_close(harness.product(run), wanted_U @ wanted_V.T, 1e-10)
                losses = harness.column(run, "validation_loss")
                self.assert_close(losses, [row["validation_loss"] for row in rows.values()], 1e-10)

    def test_a_file_with_only_the_recipe(self):
        """Written by hand: no format attributes, y of one's own."""
        path = self.dir / "hand.h5"
        A = ref.generated_rows("rademacher", 3, (6, 5), 0, 90).astype(float)
        X = np.outer(np.arange(1, 7), np.ones(5)) / 10
        with h5py.File(path, "w") as file:
            file["y"] = A @ X.ravel()
            file.attrs.update(dict(ensemble="rademacher", n1=6, n2=5, m=90, seed=3, ensemble_version=1))
        run = self.solve(path, k=1, max_iterations=3000)
        self.assertEqual(harness.summary(run)["reason"], "tolerance")
        self.assert_close(harness.product(run), X, 1e-6)
        self.assertIsNone(harness.summary(run)["test_error"])


class Fast(Case):
    RECIPE = dict(ensemble="fast", n1=64, n2=48, rank=3, measurements=3000, seed=6)

    def test_blocks_are_shared_by_ranks(self):
        path = self.gen(blocks=4, hold_out=0.1, np=2, **self.RECIPE)
        with h5py.File(path, "r") as file:
            self.assertEqual(file.attrs["block_rows"], 750)
        runs = [self.solve(path, f"np{np_}", np=np_, k=3, max_iterations=500) for np_ in (1, 2, 3, 5)]
        for run in runs[1:]:
            self.assert_same_bits(runs[0], run)
        self.assertEqual(harness.summary(runs[0])["reason"], "tolerance")
        self.assertLess(harness.summary(runs[0])["test_error"], 1e-7)

    def test_part_of_the_measurements(self):
        """The first 1700, a tenth of them held out, are the rows that the reference says."""
        path = self.gen(blocks=5, **self.RECIPE)
        problem = ref.load(path).first(1700)
        U, V = (0.1 * np.random.default_rng(2).standard_normal((n, 4)) for n in (64, 48))
        start = harness.write_factors(self.dir / "start.h5", U, V)
        run = self.solve(path, np=2, k=4, init=f"file:{start}", measurements=1700, max_iterations=20, tolerance=0)
        wanted_U, wanted_V, _ = ref.descend(problem, U, V, problem.auto_step(), 20)
        self.assert_close(harness.product(run), wanted_U @ wanted_V.T, 1e-10)
        held = [self.solve(path, f"held{np_}", np=np_, k=4, measurements=1700, hold_out=0.1, max_iterations=20, tolerance=0) for np_ in (1, 3)]
        self.assert_same_bits(*held)

    def test_as_few_blocks_as_can_be(self):
        for m, rows in ((3000, 3000), (4096, 4096), (4097, 2049)):
            with h5py.File(self.gen(f"{m}.h5", **dict(self.RECIPE, measurements=m)), "r") as file:
                self.assertEqual(file.attrs["block_rows"], rows)


class Storage(Case):
    def test_bits_kept_are_bits_generated(self):
        path = self.gen(ensemble="rademacher", **RECIPE)
        runs = [self.solve(path, f"{storage}{np_}", np=np_, k=4, storage=storage, max_iterations=50, tolerance=0)
                for storage, np_ in (("auto", 1), ("bits", 1), ("bits", 3))]
        for run in runs[1:]:
            self.assert_same_bits(runs[0], run)

    def follow(self, path, problem, storage):
        U, V = (0.1 * np.random.default_rng(3).standard_normal((n, 4)) for n in (13, 11))
        start = harness.write_factors(self.dir / "start.h5", U, V)
        run = self.solve(path, storage, np=2, k=4, storage=storage, init=f"file:{start}", max_iterations=30, tolerance=0)
        wanted_U, wanted_V, _ = ref.descend(problem, U, V, problem.auto_step(), 30)
        self.assert_close(harness.product(run), wanted_U @ wanted_V.T, 1e-10)

    def test_stored_signs_as_bits(self):
        plan = ref.plant(13, 11, 2, 400, seed=4)
        A = np.where(plan.A > 0, 1.0, -1.0)
        plan = dataclasses.replace(plan, A=A, y=A @ plan.X.ravel())
        self.follow(harness.write_problem(self.dir / "signs.h5", plan, dtype="i1"), plan, "bits")

    def test_bf16_of_a_file_of_doubles(self):
        """Entries are rounded to eight bits, and the run is that of the rounded ones."""
        plan = ref.plant(13, 11, 2, 400, seed=5)
        path = harness.write_problem(self.dir / "doubles.h5", plan)
        self.follow(path, dataclasses.replace(plan, A=bf16(plan.A)), "bf16")

    def test_gen_bf16(self):
        """A of bf16 numbers, with y of these, held so unless asked otherwise."""
        path = self.gen(ensemble="dense", storage="bf16", np=3, **RECIPE)
        problem = ref.load(path)
        np.testing.assert_array_equal(problem.A, bf16(problem.A))
        self.assertLess(np.max(np.abs(problem.A @ problem.X.ravel() - problem.y)), 1e-13)
        self.follow(path, problem, "auto")
        self.assertIn("bf16", self.outcome.out)


def bf16(A):
    """Nearest numbers of eight leading bits, ties to even."""
    mantissa, exponent = np.frexp(A)
    return np.ldexp(np.rint(mantissa * 256), exponent - 8)


if __name__ == "__main__":
    unittest.main()
