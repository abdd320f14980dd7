"""What destructive tests share: who of a job is alive, and what must hold however it was ended."""
import concurrent.futures
import os
import pathlib
import random
import signal
import time

import harness
from harness import Process, options

ENDS = 30  # seconds from a kill to the end of the job, which takes mpirun two or three; only a hang takes as long


def chosen_seed():
    """MXS_TEST_SEED, or another one every time."""
    return int(os.environ.get("MXS_TEST_SEED", random.SystemRandom().randrange(2**32)))


def session(leader):
    """Ids of the processes that live in the session of `leader`: a launcher and all that it started on this host."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(status.parent.name))
    return found


def end(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_until_gone(leader, limit=ENDS):
    """Nobody of a job outlives its launcher by more than the seconds that a launcher's death takes to be noticed."""
    deadline = time.monotonic() + limit
    while True:
        left = session(leader)
        if not left:
            return
        if time.monotonic() > deadline:
            end(left)
            raise AssertionError(f"processes {left} outlive their job by {limit} s")
        time.sleep(0.02)


def together(cases, function, threads=6):
    """function(*case) for all cases, a few at a time, for they mostly wait; all that fail are told."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        futures = [(case, pool.submit(function, *case)) for case in cases]
    failed = [f"{case}: {future.exception()}" for case, future in futures if future.exception() is not None]
    if failed:
        raise AssertionError(f"{len(failed)} of {len(futures)} failed\n" + "\n".join(failed))


class Job:
    """A run directory of `case`, and the settings with which it is started again and again."""

    def __init__(self, case, directory, problem, **settings):
        self.case, self.directory, self.problem, self.settings = case, pathlib.Path(directory), problem, settings

    def start(self, np, fault=None, env=(), prefix=(), **settings):
        arguments = ["solve", *options(problem=self.problem, **{**self.settings, **settings}), "-o", self.directory]
        # What killed ranks leave of shared memory goes with the test's folder.
        process = Process(arguments, np=np, fault=fault, prefix=prefix,
                          env={"OMPI_MCA_btl_vader_backing_directory": str(self.case.dir), **dict(env)})
        self.case.addCleanup(process.end)
        return process

    def finish(self, process, *codes, limit=harness.LIMIT):
        """Wait for the end, which leaves no process behind; expect one of the exit codes."""
        leader = process.popen.pid
        outcome = process.finish(limit)
        wait_until_gone(leader)
        self.case.assertIn(outcome.code, codes, str(outcome))
        return outcome

    def verify(self):
        """A published checkpoint is there and is good."""
        outcome = harness.run("info", self.directory, np=0)
        self.case.assertEqual(outcome.code, 0, str(outcome))

    def complete(self, np, whole, note="", limit=harness.LIMIT):
        """The same command line, until the run is done: it has the bits of the run that nobody disturbed."""
        outcome = self.finish(self.start(np), 0, limit=limit)
        self.case.assertEqual(outcome.errors, [], str(outcome))
        self.verify()
        self.case.assertEqual(harness.attributes(self.directory)["iteration"], harness.summary(self.directory)["iterations"])
        self.case.assert_same_bits(whole, self.directory, note)
        left = [name for name in os.listdir(self.directory) if "tmp" in name]
        self.case.assertEqual(left, [], f"{note}: temporary files of killed runs are removed")
        return outcome


def count_calls(job, np, calls, rank=0, **settings):
    """How often a run of the job makes each of the calls of fault.c, on one rank; the job is done afterwards."""
    log = job.case.dir / f"calls{rank}"
    process = job.start(np, fault=";".join(f"sleep0:{call}:0:{rank}" for call in calls), env={"MXS_FAULT_LOG": str(log)}, **settings)
    job.finish(process, 0)
    lines = log.read_text().splitlines()
    return {call: sum(line.startswith(f"sleep0:{call if '=' in call else call + '='} ") for line in lines) for call in calls}
