"""Output: progress on a terminal only, a quiet way, and a standard output that is closed."""
import os
import pty
import subprocess
import time
import unittest

import harness
from faults import fault
from harness import Case, options


class Terminal(Case):
    LENGTH = dict(k=8, max_iterations=1000, tolerance=0, metrics_every=500)

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=32, n2=24, rank=2, measurements=2000, seed=1)

    def arguments(self, name, np_=0, **settings):
        return harness.command(["solve", *options(problem=self.problem, **{**self.LENGTH, **settings}), "-o", self.dir / name], np_)

    def on_terminal(self, command):
        """Exit code, and what a terminal of 80 columns receives."""
        master, slave = pty.openpty()
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env={**harness.DEFAULTS, **os.environ, "TERM": "xterm"})
        os.close(slave)
        output, end = b"", time.monotonic() + harness.LIMIT
        while time.monotonic() < end:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the last writer has gone
                break
            if not piece:
                break
            output += piece
        os.close(master)
        error = process.communicate(timeout=harness.LIMIT)[1]
        return process.returncode, output.decode(), error.decode()

    def test_progress_on_a_terminal(self):
        code, out, err = self.on_terminal(self.arguments("run"))
        self.assertEqual((code, err), (0, ""))
        updates = [piece for piece in out.replace("\r\n", "\n").split("\r") if piece.strip()]
        self.assertGreater(len(updates), 2, out)
        self.assertIn("target", out)
        for line in (self.dir / "run" / "log.txt").read_text().splitlines():
            self.assertNotIn("\r", line)
            self.assertNotIn("\x1b", line)

    def test_no_progress_elsewhere(self):
        """Not into a file or a pipe, though mpirun shows its ranks a terminal."""
        for np_ in (0, 2):
            outcome = harness.run("solve", *options(problem=self.problem, **self.LENGTH), "-o", self.dir / f"run{np_}", np=np_)
            self.assertEqual((outcome.code, outcome.err), (0, ""))
            self.assertNotIn("\r", outcome.out)
            self.assertNotIn("\x1b", outcome.out)
            self.assertTrue(outcome.out)

    def test_progress_off_and_on(self):
        code, out, _ = self.on_terminal(self.arguments("off", progress="off"))
        self.assertEqual(code, 0)
        self.assertNotIn("\r", out.replace("\r\n", "\n"))
        outcome = harness.run("solve", *options(problem=self.problem, **self.LENGTH, progress="on"), "-o", self.dir / "on", np=0)
        self.assertEqual(outcome.code, 0)
        self.assertGreater(len(outcome.out), 0)

    def test_quiet(self):
        for np_ in (0, 2):
            outcome = harness.run("solve", *options(problem=self.problem, **self.LENGTH), "--quiet", "-o", self.dir / f"run{np_}", np=np_)
            self.assertEqual((outcome.code, outcome.out, outcome.err), (0, "", ""))
            self.assertTrue((self.dir / f"run{np_}" / "summary.json").exists())

    def test_verbose_says_more(self):
        lengths = []
        for name, extra in (("plain", []), ("verbose", ["--verbose"])):
            outcome = harness.run("solve", *options(problem=self.problem, **self.LENGTH), *extra, "-o", self.dir / name, np=2)
            self.assertEqual(outcome.code, 0)
            lengths.append(len(outcome.out))
        self.assertLess(*lengths)

    @fault(31)
    def test_closed_output(self):
        """The reader goes away, or was never there: the run goes on, and ends well."""
        reference = self.dir / "reference"
        subprocess.run(self.arguments("reference"), stdout=subprocess.DEVNULL, check=True, timeout=harness.LIMIT, env={**harness.DEFAULTS, **os.environ})
        for name, np_, ending in (("head", 0, "| head -1"), ("closed", 0, ">&-"), ("error", 0, "2>&-"), ("both", 0, ">&- 2>&-"), ("closed2", 2, ">&-"), ("full", 0, "> /dev/full")):
            script = f'"$@" {ending}; exit ${{PIPESTATUS[0]}}'
            result = subprocess.run(["bash", "-c", script, "bash", *self.arguments(name, np_)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, timeout=harness.LIMIT, env={**harness.DEFAULTS, **os.environ})
            with self.subTest(name):
                self.assertEqual(result.returncode, 0, result)
                self.assert_same_bits(reference, self.dir / name)
                if name == "head":
                    self.assertEqual(len(result.stdout.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
