"""Checks of the numpy reference itself: published vectors, finite differences, exact identities."""
import unittest

import numpy as np

import reference as ref
from mxsense_ensembles import philox4x32


class Philox(unittest.TestCase):
    def test_known_answers(self):
        """The vectors that the authors of the generator publish."""
        ones = 0xFFFFFFFF
        for key, counter, expected in (
            ((0, 0), (0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ((ones, ones), (ones,) * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            ((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), "d16cfe09 94fdcceb 5001e420 24126ea1"),
        ):
            words = philox4x32(key, counter)
            self.assertEqual(" ".join(f"{int(word):08x}" for word in words), expected)

    def test_moments(self):
        count = 40000
        for kind in ref.GENERATED:
            x = ref.generated_rows(kind, 7, (1, count // 4), 0, 4, block_rows=4).astype(float).ravel()
            self.assertLess(abs(x.mean()), 5 / np.sqrt(count))
            self.assertLess(abs(np.mean(x**2) - 1), 5 * np.sqrt(2 / count))


class Descent(unittest.TestCase):
    def setUp(self):
        self.problem = ref.plant(7, 5, 2, 40, seed=1, noise=0.1)
        rng = np.random.default_rng(2)
        self.U, self.V, self.dU, self.dV = (rng.standard_normal((n, 3)) for n in (7, 5, 7, 5))

    def test_gradient_is_the_derivative_of_the_loss(self):
        gU, gV = self.problem.gradient(self.U, self.V)
        slope = np.sum(gU * self.dU) + np.sum(gV * self.dV)
        h = ref.EPS**(1 / 3)
        values = [self.problem.loss(self.U + s * h * self.dU, self.V + s * h * self.dV) for s in (1, -1)]
        self.assertAlmostEqual((values[0] - values[1]) / (2 * h), slope, delta=100 * h**2 * abs(values[0]))

    def test_loss_falls(self):
        _, _, rows = ref.descend(self.problem, self.U / 10, self.V / 10, self.problem.auto_step(), 60)
        losses = [row["loss"] for row in rows.values()]
        self.assertTrue(all(a > b for a, b in zip(losses, losses[1:])))

    def test_angles_at_both_ends(self):
        e = np.eye(4)
        for tilt in (0.0, 1e-12, 1e-3, 1.0, np.pi / 2):
            q = np.cos(tilt) * e[:, :1] + np.sin(tilt) * e[:, 1:2]
            self.assertAlmostEqual(ref.largest_angle(e[:, :1], q), tilt, delta=4 * ref.EPS)


if __name__ == "__main__":
    unittest.main()
