"""Generated ensembles as a data format: entries that may never change, and the statistics that the solver relies on.

The numpy twin stands for the program here: where both are compared, they are equal to the last bit."""
import pathlib
import sys
import unittest

import numpy as np
import scipy.special
import scipy.stats

from test_ensembles import entries

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import mxsense_ensembles as twin

GOLDEN = {  # seed 12345, measurement 7, 100 x 100: signs of the first 64 as a number, or entries 0, 1, 8 and 9999
    "rademacher": "825b7cc12e5bf200",
    "fast": "2b2237423861fac9",
    "gaussian8": ["0x0.0p+0", "-0x1.9dc7f6034c28fp+0", "0x1.a39be7731e5c0p-1", "0x1.57d8a4c571c45p+0"],
    "gaussian": ["-0x1.d8769385d6061p+0", "0x1.45902ed37e234p-2", "-0x1.b5dda69642be3p-4", "0x1.387acaa296dc4p-2"],
}


def twin_rows(kind, n, first, count, seed=1):
    return twin.rows(kind, seed, (1, n), first, count, block_rows=64).astype(float)


class Golden(unittest.TestCase):
    def test_twin(self):
        for kind, golden in GOLDEN.items():
            with self.subTest(kind):
                row = twin_rows(kind, 10000, 7, 1, seed=12345)[0]
                if isinstance(golden, str):
                    self.assertEqual(f"{sum(1 << j for j in range(64) if row[j] < 0):016x}", golden)
                else:
                    self.assertEqual([row[j].item().hex() for j in (0, 1, 8, 9999)], golden)

    def test_program_is_the_twin(self):
        """Rows across many borders of chunks, and of steps and words."""
        for kind in twin.ENSEMBLES:
            for n in (64, 65, 1023, 1025, 70000):
                for first in (0, 2**32 - 1):
                    with self.subTest(kind, n=n, first=first):
                        np.testing.assert_array_equal(entries(kind, 2**64 - 3, n, first, 3, 64),
                                                      twin_rows(kind, n, first, 3, 2**64 - 3))

    def test_sense(self):
        rng = np.random.default_rng(1)
        X = rng.standard_normal((30, 21))
        for kind in twin.ENSEMBLES:
            with self.subTest(kind):
                A = twin.rows(kind, 5, X.shape, 40, 150, block_rows=64).astype(float)
                y = twin.sense(X, kind, 150, 5, first=40, block_rows=64)
                self.assertLess(np.max(np.abs(y - A @ X.ravel())), 1e-12 * X.size)


class Statistics(unittest.TestCase):
    """Seeds are fixed: a failure is a change, not bad luck."""

    N, ROWS = 8192, 256

    def setUp(self):
        self.total = self.N * self.ROWS

    def assert_uniform(self, bins, cells):
        self.assertGreater(scipy.stats.chisquare(np.bincount(bins, minlength=cells)).pvalue, 1e-3)

    def test_moments(self):
        for kind in twin.ENSEMBLES:
            with self.subTest(kind):
                a = twin_rows(kind, self.N, 0, self.ROWS).ravel()
                self.assertLess(abs(np.mean(a)), 4 / np.sqrt(self.total))
                self.assertLess(abs(np.mean(a**2) - 1), 4 * np.sqrt(2 / self.total))
                self.assertLess(abs(np.mean(a**3)), 4 * np.sqrt(15 / self.total))

    def test_rows_and_columns_are_independent(self):
        """Correlations of all pairs of rows, of places in two steps, and of places a chunk apart: none stands out."""
        for kind in twin.ENSEMBLES:
            a = twin_rows(kind, self.N, 0, self.ROWS)
            by_place = a.reshape(-1, 32).T
            by_chunk = a.reshape(-1, 1024).T if kind == "gaussian" else a.reshape(-1, 64).T
            for name, b in (("rows", a), ("places", by_place), ("chunks", by_chunk)):
                # Signs have squares without variance; the squares show what a sign hides.
                powers = (b, b**2 - 1) if kind.startswith("gaussian") else (b,)
                for power, c in enumerate(powers, 1):
                    with self.subTest(kind, of=name, power=power):
                        c = (c - np.mean(c)) / np.std(c)
                        correlation = c @ c.T * (1 / np.sqrt(c.shape[1]))
                        off = correlation[np.triu_indices(len(c), 1)]
                        expected = np.sqrt(2 * np.log(len(off)))
                        self.assertLess(np.max(np.abs(off)), expected + 2)
                        if kind != "fast":
                            self.assertLess(abs(np.mean(off**2) - 1), 6 * np.sqrt(2 / len(off)) + 0.01)

    def test_gaussian_is_normal(self):
        a = twin_rows("gaussian", self.N, 0, self.ROWS).ravel()
        self.assertGreater(scipy.stats.kstest(a, scipy.special.ndtr).pvalue, 1e-3)
        self.assertLess(abs(np.mean(a**4) - 3), 4 * np.sqrt(96 / self.total))
        for bound in (2, 3, 4, 4.5):
            expected = 2 * scipy.special.ndtr(-bound) * self.total
            self.assertLess(abs(np.sum(np.abs(a) > bound) - expected), 4 * np.sqrt(expected))

    def test_gaussian_pairs_are_uniform(self):
        """Back from the entries to both uniforms of each word."""
        steps = twin_rows("gaussian", self.N, 0, self.ROWS).reshape(-1, 2, 8)
        cos, sin = steps[:, 0].ravel(), steps[:, 1].ravel()
        u0, u1 = np.exp(-(cos**2 + sin**2) / 2), np.arctan2(sin, cos) / (2 * np.pi) % 1
        for u in (u0, u1):
            self.assertGreater(scipy.stats.kstest(u, "uniform").pvalue, 1e-3)
            self.assert_uniform((u * 4096).astype(int), 4096)
        self.assert_uniform((u0 * 64).astype(int) * 64 + (u1 * 64).astype(int), 4096)
        self.assert_uniform((u0[1:] * 64).astype(int) * 64 + (u0[:-1] * 64).astype(int), 4096)
        words = twin.stream_words(1, twin.STREAM_ENSEMBLE, 0, self.ROWS, self.N // 2).ravel()
        np.testing.assert_allclose(u0, ((words & np.uint64(2**32 - 1)) + 0.5) / 2**32, rtol=1e-9)
        np.testing.assert_allclose(u1, ((words >> np.uint64(32)) + 0.5) / 2**32, rtol=0, atol=1e-11)

    def test_normals_are_right(self):
        """The formula of the twin against numpy's functions, to the error that is promised."""
        rng = np.random.default_rng(2)
        words = rng.integers(0, 2**64, 2**20, dtype=np.uint64)
        words[:4096] &= ~np.uint64(2**32 - 2**8)  # the smallest u0
        words[4096:8192] |= np.uint64(2**32 - 2**8)  # the largest
        u0, u1 = ((words & np.uint64(2**32 - 1)) + 0.5) / 2**32, ((words >> np.uint64(32)) + 0.5) / 2**32
        r = np.sqrt(-2 * np.log(u0))
        pairs = twin.normals(words).reshape(-1, 2, 8)
        self.assertLess(np.max(np.abs(pairs[:, 0].ravel() - r * np.cos(2 * np.pi * u1)) / r), 1e-11)
        self.assertLess(np.max(np.abs(pairs[:, 1].ravel() - r * np.sin(2 * np.pi * u1)) / r), 1e-11)

    def test_gaussian8_has_its_levels(self):
        a = twin_rows("gaussian8", self.N, 0, self.ROWS).ravel()
        levels, at = np.unique(a, return_inverse=True)
        table = np.concatenate([twin.LEVELS, -twin.LEVELS])
        unique, weight = np.unique(table, return_counts=True)
        self.assertEqual(len(levels), len(unique))
        self.assertLess(abs(np.mean(table**2) / np.mean(twin.LEVELS**2) - 1), 1e-14)
        self.assertLess(np.max(np.abs(twin.LEVELS)), 128)
        self.assertGreater(scipy.stats.chisquare(np.bincount(at), weight * a.size / 256).pvalue, 1e-3)

    def test_fast_is_orthogonal(self):
        """Rows of one block, of length a power of two."""
        a = twin_rows("fast", 1024, 64, 64)
        np.testing.assert_array_equal(a @ a.T, 1024 * np.eye(64))
        self.assertEqual(len(set(twin.places(1, 0, 10, 1024).tolist())), 1024)


if __name__ == "__main__":
    unittest.main()
