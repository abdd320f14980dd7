"""A private Slurm for tests, and jobs on it. Where Slurm cannot run the tests are skipped, saying why; but not where CI is set."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import time
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/slurm-sandbox"
LIMIT = 450  # seconds, against hangs
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY", "BOOT_FAIL", "PREEMPTED"}
CANNOT = {69, 77}


class Cluster:
    """A sandbox with its own directory, and a scratch directory that jobs start in."""

    def __init__(self, nodes, cpus=4):
        self.dir = tempfile.mkdtemp(prefix="mxs", dir="/tmp")  # short, since sockets in it have at most 107 characters
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="s", dir=os.environ.get("MXS_TEST_TMP")))
        # The launcher's settings of the other tests are for one node.
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("OMPI_", "SLURM_", "SBATCH_", "TMPDIR"))}
        # Fake nodes share their network devices and processors: plain TCP between them, and no waiting at full speed.
        self.env.update(SLURM_CONF=f"{self.dir}/slurm.conf", MXSENSE=harness.PROGRAM, OMPI_MCA_odls_base_sigkill_timeout="1",
                        OMPI_MCA_pml="ob1", OMPI_MCA_btl="self,vader,tcp", OMPI_MCA_mpi_yield_when_idle="1",
                        MXSENSE_COLLECT=str(ROOT / "tools/collect.py"))
        started = self.tool("start", "--nodes", nodes, "--cpus", cpus)
        if started.returncode != 0:
            self.stop()
            if started.returncode in CANNOT and not os.environ.get("CI"):
                raise unittest.SkipTest(started.stderr.strip())
            raise AssertionError(f"the sandbox does not start: {started.stdout}{started.stderr}")

    def tool(self, *arguments):
        return subprocess.run([TOOL, *map(str, arguments), "--dir", self.dir], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False)

    def stop(self):
        self.tool("stop")
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def command(self, *arguments, env=(), code=0):
        outcome = subprocess.run([*map(str, arguments)], env={**self.env, **dict(env)}, cwd=self.scratch, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=60, check=False)
        if outcome.returncode != code:
            raise AssertionError(f"{arguments}: exit code {outcome.returncode}\n{outcome.stdout}\n{outcome.stderr}")
        return outcome.stdout

    def program(self, name, rules):
        """The program with the faults of `rules` in its ranks."""
        path = self.scratch / name
        path.write_text(f"#!/bin/sh\nexport LD_PRELOAD='{harness.FAULT}' MXS_FAULT='{rules}'\nexec '{harness.PROGRAM}' \"$@\"\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return {"MXSENSE": str(path)}

    def edit(self, template, name, **lines):
        """Copy a file of jobs/ and edit it as a user does: settings='(...)' replaces the line of that name."""
        text = (ROOT / "jobs" / template).read_text()
        for key, value in lines.items():
            text, count = re.subn(rf"^{key}=.*$", lambda _: f"{key}={value}", text, flags=re.M)
            if count != 1:
                raise AssertionError(f"jobs/{template} has {count} lines {key}=")
        path = self.scratch / name
        path.write_text(text)
        return path

    def submit(self, script, *options, env=()):
        return Job(self, self.command("sbatch", "--parsable", *options, script, env=env).strip().split(";")[0])


class Job:
    """A job of a cluster, or all tasks of an array."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number

    def records(self):
        out = self.cluster.command("scontrol", "-o", "show", "job", self.number)
        return [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in out.splitlines() if line.strip()]

    def record(self):
        return self.records()[0]

    def log(self):
        path = pathlib.Path(self.record()["StdOut"])
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            ended = all(record["JobState"] in ENDED for record in self.records())
            if (ended and not condition()) or time.monotonic() > end:
                raise AssertionError(f"job {self.number} has ended, or waits {LIMIT} s, for {what}: {self.records()}\n{self.log()[-6000:]}")
            time.sleep(0.2)
        return self

    def wait(self, code=0):
        """To its end; with arrays that of all tasks."""
        self.wait_for(lambda: all(record["JobState"] in ENDED for record in self.records()), "its end")
        for record in self.records():
            if record["ExitCode"] != f"{code}:0":
                path = pathlib.Path(record["StdOut"])
                raise AssertionError(f"job {record['JobId']}: {record['JobState']}, exit code {record['ExitCode']}, not {code}\n"
                                     f"{path.read_text(errors='replace')[-6000:] if path.exists() else 'no log'}")
        return self

    def running(self):
        return self.wait_for(lambda: self.record()["JobState"] == "RUNNING", "its start")

    def restarts(self):
        return int(self.record()["Restarts"])

    def signal(self, *options):
        self.cluster.command("scancel", *options, self.number)


