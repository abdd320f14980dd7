"""Files of every format version that there was are read as they were meant, and those of other versions are refused by name."""
import json
import pathlib
import re
import shutil
import unittest

import h5py
import numpy as np

import harness
from faults import fault
from harness import Case

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
KERNEL = {"OPENBLAS_CORETYPE": "Haswell"}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]\d+)?\b")


def numbers(lines):
    return [number for line in lines for number in NUMBER.findall(line)]


@fault(16)
class Formats(Case):
    VERSION = 1

    def setUp(self):
        super().setUp()
        self.result = json.loads((GOLDEN / f"result_v{self.VERSION}.json").read_text())

    def golden(self, kind, suffix="h5"):
        return GOLDEN / f"{kind}_v{self.VERSION}.{suffix}"

    def resume(self, last, code=0, change=lambda file: None, previous=False):
        """Go on from the golden checkpoint in a directory that has nothing else."""
        run = self.dir / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        shutil.copy(self.golden("checkpoint"), run / "checkpoint.h5")
        if previous:
            shutil.copy(self.golden("checkpoint"), run / "checkpoint.prev.h5")
        with h5py.File(run / "checkpoint.h5", "a") as file:
            change(file)
        self.outcome = self.run_ok("solve", self.golden("config", "yaml"), "--problem", self.golden("problem"), "--max_iterations", last,
                                   "-o", run, np=1, code=code, env=KERNEL)
        return run

    def test_info(self):
        for name, lines in self.result["info"].items():
            told = numbers(self.run_ok("info", GOLDEN / name, np=0).out.splitlines()[1:])
            for number in numbers(lines):
                self.assertIn(number, told, name)

    def test_resume(self):
        """Twenty iterations: ten are in the file, ten are new, and the answer is the recorded one."""
        if harness.attributes(GOLDEN, self.golden("checkpoint").name)["blas_kernel"] != "Haswell" or "Haswell" not in \
                harness.run("--version", np=0, env=KERNEL).out:
            self.skipTest("needs the BLAS kernels that the file was made with")
        run = self.resume(20)
        for name, actual in zip("UV", harness.factors(run)):
            wanted = np.array([[float.fromhex(entry) for entry in row] for row in self.result["factors"][name]])
            self.assert_close(actual, wanted, 1e-11, name)
        self.assertEqual(harness.column(run, "iteration").tolist(), [0, 5, 10, 15, 20])

    def test_settings(self):
        """The settings of then are those of now, but for keys that are new."""
        run = self.dir / "fresh"
        self.run_ok("solve", self.golden("config", "yaml"), "--problem", self.golden("problem"), "-o", run, np=1, env=KERNEL)
        echo = (run / "config.yaml").read_text().splitlines()
        for line in self.golden("config", "yaml").read_text().splitlines():
            if not line.startswith("problem:"):
                self.assertIn(line, echo)

    def version(self, number):
        return lambda file: file.attrs.modify("format_version", number)

    def test_checkpoint_of_another_version(self):
        """A newer one is no damage: not even the one before is taken in its place."""
        for number in (self.VERSION + 1, 0):
            with self.subTest(number):
                path = self.dir / "edited.h5"
                shutil.copy(self.golden("checkpoint"), path)
                with h5py.File(path, "a") as file:
                    self.version(number)(file)
                outcome = harness.run("info", path, np=0)
                self.assertEqual(outcome.code, 65, str(outcome))
                self.assertIn(f"format_version {number}", outcome.errors[0])
                self.resume(20, code=65 if number > self.VERSION else 74, change=self.version(number))
                self.assertIn(f"format_version {number}", self.outcome.errors[0])
        self.resume(20, code=65, change=self.version(2), previous=True)

    def test_problem_of_another_version(self):
        path = self.dir / "edited.h5"
        for number in (self.VERSION + 1, 2**40, 0, -1):
            shutil.copy(self.golden("problem"), path)
            with h5py.File(path, "a") as file:
                self.version(number)(file)
            outcome = harness.run("solve", "--problem", path, "-o", self.dir / "run", np=1)
            self.assertEqual(outcome.code, 65, str(outcome))
            self.assertIn(f"format_version {number}", outcome.errors[0])
            self.assertFalse((self.dir / "run").exists())


if __name__ == "__main__":
    unittest.main()
