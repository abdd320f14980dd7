"""A study as an array of jobs under a real Slurm: tasks are killed, requeued and told that their time is up, and the table is the same."""
import contextlib
import csv
import pathlib
import unittest

import cluster
import harness
import kills
from harness import Case

TEXT = """problem: {n: 12, rank: [1, 2], rho: 4}
solve:
  method: gd
  k: [3, 5]
  alpha: [1e-1, 1e-2]
  max_iterations: 60
repeats: 8
"""
SLOW = "sleep15:MPI_Allreduce=500"


def rows(directory):
    """What does not depend on time."""
    with open(directory / "table.csv", newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    end = table[0].index("wall_s")
    return [row[:end] for row in table]


class StudyJobs(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.slurm = cluster.Cluster(2)
        cls.addClassCleanup(cls.slurm.stop)
        cls.text = cls.slurm.scratch / "study.yaml"
        cls.text.write_text(TEXT)

    def submit(self, name, *options, rules=SLOW, parts=2):
        """The script as the program writes it."""
        script = self.slurm.scratch / f"{name}.sbatch"
        self.run_ok("study", self.text, "--slurm", script, "--parts", parts, "--time", "10min", "--ranks", 2, "-o", self.slurm.scratch / name,
                    "--force", np=0)
        return self.slurm.submit(script, f"--output={self.slurm.scratch}/{name}-%a.log", *options, env=self.slurm.program(f"{name}.sh", rules))

    def ranks(self, name, part):
        """Process ids, on this machine as all fake nodes are."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                if words[0] == harness.PROGRAM and part in words and str(self.slurm.scratch / name) in words:
                    found.append(int(path.parent.name))
        return found

    def ended(self, name):
        return len(list((self.slurm.scratch / name).glob("runs/*/summary.json")))

    def assert_same(self, name):
        self.run_ok("study", "--collect", "-o", self.slurm.scratch / name, np=0)
        whole = self.dir / "whole"
        self.run_ok("study", self.text, "-o", whole, "--quiet", np=0)
        self.assertEqual(rows(self.slurm.scratch / name), rows(whole))

    def test_array(self):
        """The ranks of a task are killed three times, and it is submitted again each time: 64 points."""
        array = self.submit("array", "--no-requeue")
        for strike in range(3):
            ended = self.ended("array")
            array.wait_for(lambda before=ended: self.ended("array") > before and self.ranks("array", "1/2"), "a pass and the next one")
            kills.end(self.ranks("array", "1/2"))
            array.wait_for(lambda job=array: all(record["JobState"] in cluster.ENDED for record in job.records()), "its end")
            states = {record["ArrayTaskId"]: record["JobState"] for record in array.records()}
            self.assertEqual(states, {"1": "FAILED", "2": "COMPLETED"} if strike == 0 else {"1": "FAILED"})
            self.run_ok("study", "--collect", "-o", self.slurm.scratch / "array", np=0, code=75)
            array = self.submit("array", "--array=1", "--no-requeue", rules=SLOW if strike < 2 else "")
        array.wait()
        self.assert_same("array")

    def test_requeue(self):
        """By somebody, and by itself when Slurm tells it that its time is up."""
        array = self.submit("requeue")
        array.wait_for(lambda: self.ended("requeue") >= 2, "two passes")
        self.slurm.command("scontrol", "requeue", f"{array.number}_1")
        self.slurm.command("scancel", "--batch", "--signal=USR1", f"{array.number}_2")
        array.wait()
        self.assertEqual({record["Restarts"] for record in array.records()}, {"1"})
        log = (self.slurm.scratch / "requeue-2.log").read_text()
        self.assertIn("out of time: task 2 is back in the queue", log)
        self.assertIn("restart 1", log)
        self.assert_same("requeue")


if __name__ == "__main__":
    unittest.main()
