"""What a solve takes at its peak: this rank's A as stored, and a few times X and the factors."""
import os
import subprocess
import unittest

import harness
from harness import Case, PROGRAM, options

MIB = 2**20


class Peak(Case):
    def peak(self, **settings):
        """Largest resident size of a solve on one rank, in bytes."""
        process = subprocess.Popen([PROGRAM, "solve", *options(k=5, max_iterations=3, **settings), "-o", self.dir / "run"],
                                   stdout=subprocess.DEVNULL, env={**harness.DEFAULTS, **os.environ})
        _, status, usage = os.wait4(process.pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        return 1024 * usage.ru_maxrss

    def check(self, n1, n2, m, shard, storage="auto", **recipe):
        file = self.gen(n1=n1, n2=n2, rank=2, measurements=m, **recipe)
        most = shard + 8 * (8 * (n1 + n2) * 5 + 4 * n1 * n2) + 64 * MIB
        peak = self.peak(problem=file, storage=storage)
        self.assertLess(peak, most)
        return peak

    def test_generated(self):
        for ensemble, m in (("rademacher", 320), ("gaussian8", 128), ("gaussian", 64), ("fast", 64000)):
            with self.subTest(ensemble):
                self.check(2048, 2048, m, 0, ensemble=ensemble)
                self.clean()

    def test_stored(self):
        n1, n2, m = 512, 256, 256
        for storage, width in (("f64", 8), ("f32", 4), ("bf16", 2)):
            with self.subTest(storage):
                shard = m * n1 * n2 * width
                self.assertGreater(self.check(n1, n2, m, shard, ensemble="dense", storage=storage), shard)
                self.clean()

    def test_bits(self):
        self.check(1024, 1024, 1024, 1024 * 2**20 // 8, ensemble="rademacher", storage="bits")

    def clean(self):
        subprocess.run(["rm", "-rf", *self.dir.iterdir()], check=True)


if __name__ == "__main__":
    unittest.main()
