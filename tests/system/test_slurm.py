"""The job files under a real Slurm: whatever it does to a job, the run ends as if nothing had happened."""
import concurrent.futures
import csv
import sys
import time
import unittest

import cluster
import harness
from faults import fault
from harness import Case

PACE = "MPI_Allreduce=1000"  # once in an iteration
SHORT, LONG = 150, 2400      # iterations
SRUN = "(srun --mpi=pmix --wait=5)"
SCENARIOS = {}

# A client of PMIx that comes to the barrier as ranks do in MPI_Init, rank 1 late; the others must find its file then.
BARRIER = f"""#!{sys.executable}
import ctypes, os, pathlib, time
pmix = ctypes.CDLL("libpmix.so.2")
none = ctypes.c_size_t(0)
late = pathlib.Path("late" + os.environ["SLURM_JOB_ID"])
assert pmix.PMIx_Init(ctypes.create_string_buffer(1024), None, none) == 0
if os.environ["SLURM_PROCID"] == "1":
    time.sleep(2)
    late.touch()
assert pmix.PMIx_Fence(None, none, None, none) == 0
assert late.exists(), "the barrier did not wait for rank 1"
assert pmix.PMIx_Finalize(None, none) == 0
"""


def scenario(function):
    """Scenarios run at the same time, and a test waits for each of them."""
    SCENARIOS[function.__name__] = function
    return function


class Setting:
    """A cluster with a problem on it, and how the runs of it end."""

    def __init__(self, case, nodes):
        self.case = case
        self.slurm = cluster.Cluster(nodes)
        self.scratch = self.slurm.scratch
        self.problem = self.scratch / "p.h5"
        case.run_ok("gen", *harness.options(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1), "-o", self.problem)
        self.whole = {count: case.solve(self.problem, f"whole{count}", **self.keys(count)) for count in (SHORT, LONG)}

    @staticmethod
    def keys(iterations):
        return dict(k=5, tolerance=0, metrics_every=30, max_iterations=iterations)

    def settings(self, iterations, *more):
        return f"({' '.join(harness.options(problem=self.problem, checkpoint_every=20, **self.keys(iterations)))} {' '.join(more)})"

    def run(self, template, name, *options, rules="sleep30:" + PACE, iterations=SHORT, **lines):
        """Submit an edited template with the run directory `name`."""
        script = self.slurm.edit(template, f"{name}.sbatch", settings=self.settings(iterations), directory=name, **lines)
        return self.slurm.submit(script, "--exclude=n4", f"--output={self.scratch}/{name}.log", *options,
                                 env=self.slurm.program(f"{name}.sh", rules))

    def wait_for(self, job, name, checkpoints):
        """Until the run has written some checkpoints."""
        job.wait_for(lambda: len(harness.events(self.scratch / name, "checkpoint")) >= checkpoints, f"{checkpoints} checkpoints of {name}")

    def same(self, name, iterations=SHORT):
        self.case.assert_same_bits(self.whole[iterations], self.scratch / name, name)

    def starts(self, name):
        return len(harness.events(self.scratch / name, "start")) + len(harness.events(self.scratch / name, "resume"))


# ---- one job

@scenario
def one_job_and_again(here):
    """Out of time: 75; the same job again goes on."""
    job = here.run("solve.sbatch", "solve", "--ntasks=3")
    here.wait_for(job, "solve", 2)
    job.signal("--batch", "--signal=USR1")
    job.wait(75)
    here.run("solve.sbatch", "solve", "--ntasks=2").wait()
    here.same("solve")


@scenario
def one_job_by_srun(here):
    job = here.run("solve_srun.sbatch", "srun", "--nodes=3", "--ntasks=3")
    here.wait_for(job, "srun", 2)
    job.signal("--signal=USR1")
    job.wait(75)
    here.run("solve_srun.sbatch", "srun", "--nodes=1", "--ntasks=2").wait()
    here.same("srun")


@scenario
def srun_waits_for_all_ranks(here):
    """In the barrier of MPI_Init. Else a rank that is ahead writes to one that cannot receive yet, which then crashes."""
    program = here.scratch / "barrier.py"
    program.write_text(BARRIER)
    program.chmod(0o755)
    (here.scratch / "barrier.txt").write_text("--seed 1\n")
    jobs = []
    for template, options, lines in (("solve_srun", (), {}), ("chain", (), {"directory": "barrier"}),
                                     ("array", ("--array=1",), {"list": "barrier.txt", "parent": "barriers"}),
                                     ("strong", ("--array=3", "--oversubscribe"), {"parent": "barriers"}),
                                     ("weak", ("--array=3", "--oversubscribe"), {"parent": "barriers"})):
        launch = {} if template == "solve_srun" else {"launch": SRUN}
        script = here.slurm.edit(f"{template}.sbatch", f"barrier_{template}.sbatch", **launch, **lines)
        jobs.append(here.slurm.submit(script, "--exclude=n4", "--nodes=3", "--ntasks=3", f"--output={here.scratch}/barrier_{template}.log",
                                      *options, env={"MXSENSE": str(program)}))
    for job in jobs:
        job.wait()


# ---- chains

@scenario
def chain_over_the_time_limit(here):
    """More than three times the minute that it asks for: Slurm looks at its limits every half minute and signals between 15 and 45 s."""
    job = here.run("chain.sbatch", "limit", "--nodes=2", "--ntasks=2", "--time=1", "--signal=B:USR1@15", rules="sleep40:" + PACE,
                   iterations=LONG).wait()
    here.case.assertGreaterEqual(job.restarts(), 2, job.log()[-3000:])
    here.case.assertEqual(here.starts("limit"), job.restarts() + 1)
    here.case.assertEqual(len(harness.events(here.scratch / "limit", "stop")), job.restarts() + 1, "every job ends in time")
    here.same("limit", LONG)


@scenario
def chain_by_its_own_walltime(here):
    """The run itself sees that its time is up."""
    script = here.slurm.edit("chain.sbatch", "own.sbatch", settings=here.settings(SHORT, "--max_walltime 3s"), directory="own", launch=SRUN)
    job = here.slurm.submit(script, "--exclude=n4", "--ntasks=2", f"--output={here.scratch}/own.log",
                            env=here.slurm.program("own.sh", "sleep40:" + PACE)).wait()
    here.case.assertGreaterEqual(job.restarts(), 1, job.log()[-3000:])
    here.same("own")


@scenario
def chain_requeued_by_somebody(here):
    job = here.run("chain.sbatch", "requeue", "--nodes=2", "--ntasks=3", launch=SRUN)
    here.wait_for(job, "requeue", 2)
    here.slurm.command("scontrol", "requeue", job.number)
    job.wait()
    here.case.assertEqual(job.restarts(), 1)
    here.case.assertEqual(job.log().count("restart 1: from iteration"), 1, "the log goes on")
    here.same("requeue")


@scenario
def chain_where_requeue_is_refused(here):
    """Then a new job follows, which waits for the end of the first."""
    job = here.run("chain.sbatch", "follow", "--ntasks=2", "--no-requeue", "--job-name=follow")
    here.wait_for(job, "follow", 2)
    job.signal("--batch", "--signal=USR1")
    job.wait(75)
    other = job.log().rsplit("Submitted batch job ", 1)
    here.case.assertEqual(len(other), 2, job.log()[-3000:])
    follower = cluster.Job(here.slurm, other[1].split()[0]).wait()
    here.case.assertIn("restart 1: from iteration", follower.log())
    here.case.assertEqual(follower.record()["JobName"], "follow")
    here.same("follow")


@scenario
def chain_after_the_death_of_a_node(here):
    """The only node loses power; Slurm notices and requeues the job, which starts once the node is back."""
    script = here.slurm.edit("chain.sbatch", "node.sbatch", settings=here.settings(SHORT), directory="node", launch=SRUN)
    job = here.slurm.submit(script, "--nodelist=n4", "--ntasks=3", f"--output={here.scratch}/node.log",
                            env=here.slurm.program("node.sh", "sleep30:" + PACE))
    here.wait_for(job, "node", 2)
    for verb in ("kill-node", "start-node"):
        outcome = here.slurm.tool(verb, 4)
        here.case.assertEqual(outcome.returncode, 0, outcome.stderr)
    job.wait()
    here.case.assertGreaterEqual(job.restarts(), 1)
    here.case.assertEqual(len(harness.events(here.scratch / "node", "stop")), 1, "the first start did not come to its end")
    here.same("node")


@scenario
def chain_after_the_death_of_ranks(here):
    """In its 55th iteration every time: it gets on, so the job starts again."""
    job = here.run("chain.sbatch", "rank", "--ntasks=2", rules=f"kill:{PACE}:55:1").wait()
    here.case.assertIn(job.restarts(), (2, 3))
    here.same("rank")


@scenario
def chain_that_dies_too_often(here):
    """On two nodes, where the rank that is left does not always notice."""
    job = here.run("chain.sbatch", "often", "--nodes=2", "--ntasks=2", rules=f"kill:{PACE}:45:1", most_deaths=1, launch=SRUN).wait(137)
    here.case.assertEqual(job.restarts(), 1)
    here.case.assertIn("the chain ends: ranks died 2 times", job.log())


@scenario
def chain_that_does_not_advance(here):
    job = here.run("chain.sbatch", "stuck", "--ntasks=2", rules=f"kill:{PACE}:5:0").wait(137)
    here.case.assertEqual(job.restarts(), 0)
    here.case.assertIn("the chain ends: it did not advance", job.log())


@scenario
def chain_whose_launch_fails(here):
    """A rank dies before the run begins, once; and every time."""
    program = here.slurm.program("launch.sh", "")["MXSENSE"]
    flag = here.scratch / "launched"
    with open(program, encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    with open(program, "w", encoding="utf-8") as file:
        file.writelines([lines[0], f'[ -e {flag} ] || {{ touch {flag}; kill -SEGV $$; }}\n', *lines[1:]])
    for name, most, code, restarts in (("launch", 3, 0, 1), ("never", 0, 139, 0)):
        flag.unlink(missing_ok=True)
        script = here.slurm.edit("chain.sbatch", f"{name}.sbatch", settings=here.settings(SHORT), directory=name, launch=SRUN, most_deaths=most)
        job = here.slurm.submit(script, "--exclude=n4", "--ntasks=1", f"--output={here.scratch}/{name}.log", env={"MXSENSE": program}).wait(code)
        here.case.assertEqual(job.restarts(), restarts, job.log()[-3000:])
    here.case.assertIn("the chain ends: the launch failed 1 times", job.log())
    here.same("launch")


@scenario
def chain_with_wrong_settings(here):
    script = here.slurm.edit("chain.sbatch", "wrong.sbatch", settings=f"(--problem {here.problem} --k 0)", directory="wrong")
    job = here.slurm.submit(script, "--exclude=n4", "--ntasks=2", f"--output={here.scratch}/wrong.log").wait(78)
    here.case.assertEqual(job.restarts(), 0)


@scenario
def chain_that_somebody_stops(here):
    job = here.run("chain.sbatch", "stopped", "--ntasks=2")
    here.wait_for(job, "stopped", 1)
    (here.scratch / "stopped/STOP").touch()
    job.wait(75)
    here.case.assertEqual(job.restarts(), 0)
    here.case.assertIn("the chain ends: the file STOP asked for it", job.log())
    job = here.run("chain.sbatch", "stopped", "--ntasks=3", rules="").wait()
    here.same("stopped")


@scenario
def chain_that_somebody_cancels(here):
    job = here.run("chain.sbatch", "cancelled", "--ntasks=2", launch=SRUN)
    here.wait_for(job, "cancelled", 1)
    job.signal()
    job.wait_for(lambda: job.record()["JobState"] == "CANCELLED", "its cancellation")
    time.sleep(3)
    here.case.assertEqual((job.record()["JobState"], job.restarts()), ("CANCELLED", 0), "it stays so")


# ---- arrays

@scenario
def array_and_its_table(here):
    (here.scratch / "list.txt").write_text("# seeds\n--seed 3 --k 4\n\n  --seed 4\n")
    script = here.slurm.edit("array.sbatch", "array.sbatch", settings=here.settings(SHORT), list="list.txt", parent="array")
    array = here.slurm.submit(script, "--exclude=n4", "--ntasks=2", env=here.slurm.program("array.sh", "sleep20:" + PACE))
    table = here.slurm.edit("collect.sbatch", "collect.sbatch", runs="(array/{1..2})", table="array.csv")
    collect = here.slurm.submit(table, "--exclude=n4", f"--dependency=afterok:{array.number}", "--kill-on-invalid-dep=yes")
    here.slurm.command("scontrol", "requeue", f"{array.running().number}_2")
    array.wait()
    collect.wait()
    with open(here.scratch / "array.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    here.case.assertEqual([(row["run"], row["seed"], row["k"], row["reason"]) for row in rows],
                          [("array/1", "3", "4", "target"), ("array/2", "4", "5", "target")])
    summary = harness.summary(here.scratch / "array/2")
    for key in ("iterations", "relative_residual", "test_error", "loss"):
        here.case.assertEqual(float(rows[1][key]), summary[key], key)
    here.case.assertNotIn("tolerance", rows[0], "a setting that is the same everywhere")
    here.case.assertIn("array/2", collect.log())
    for number, seed, k in ((1, 3, 4), (2, 4, 5)):
        alone = here.case.solve(here.problem, f"alone{number}", **{**here.keys(SHORT), "k": k, "seed": seed})
        here.case.assert_same_bits(alone, here.scratch / f"array/{number}")


def scaling_series(here, kind, counts, **lines):
    script = here.slurm.edit(f"{kind}.sbatch", f"{kind}.sbatch", settings=f"(--problem {here.problem} --method gd --k 5)", parent=kind, iterations=30,
                             **lines)
    here.slurm.submit(script, "--exclude=n4", f"--array={','.join(map(str, counts))}%1", f"--ntasks={counts[-1]}", "--oversubscribe").wait()
    out = here.slurm.command(here.slurm.env["MXSENSE_COLLECT"], "--scaling", kind, "-o", f"{kind}.csv",
                             *(f"{kind}/{count}" for count in counts))
    here.case.assertIn("efficiency", out)
    with open(here.scratch / f"{kind}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    here.case.assertEqual([int(row["ranks"]) for row in rows], list(counts))
    here.case.assertEqual([int(row["iterations"]) for row in rows], [30] * len(counts))
    for row in rows:
        ratio = float(rows[0]["seconds_per_iteration"]) / float(row["seconds_per_iteration"])
        efficiency = ratio / int(row["ranks"]) if kind == "strong" else ratio
        here.case.assertAlmostEqual(float(row["efficiency"]), efficiency)
        here.case.assertAlmostEqual(float(row["speedup"]), efficiency * int(row["ranks"]))
    return rows


@scenario
def strong_scaling(here):
    scaling_series(here, "strong", (1, 2, 4))
    for count in (2, 4):
        here.case.assert_same_bits(here.scratch / "strong/1", here.scratch / f"strong/{count}")


@scenario
def weak_scaling(here):
    rows = scaling_series(here, "weak", (1, 2, 3), measurements=300)
    here.case.assertEqual([row["measurements"] for row in rows], ["300", "600", "900"])


class Jobs(Case):
    """On four nodes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owner = cls("setUp")
        cls.owner.setUp()
        cls.addClassCleanup(cls.owner.doCleanups)
        cls.here = Setting(cls.owner, 4)
        cls.addClassCleanup(cls.here.slurm.stop)
        cls.pool = concurrent.futures.ThreadPoolExecutor(len(SCENARIOS))
        cls.addClassCleanup(cls.pool.shutdown)
        cls.results = {name: cls.pool.submit(function, cls.here) for name, function in SCENARIOS.items()}

    def result(self, *functions):
        for function in functions:
            with self.subTest(function.__name__):
                self.results[function.__name__].result()

    @fault(6)
    def test_one_job(self):
        self.result(one_job_and_again, one_job_by_srun, srun_waits_for_all_ranks)

    @fault(6)
    def test_time_limit(self):
        self.result(chain_over_the_time_limit, chain_by_its_own_walltime, chain_where_requeue_is_refused)

    @fault(7)
    def test_requeue(self):
        self.result(chain_requeued_by_somebody)

    @fault(3)
    def test_death_of_a_node(self):
        self.result(chain_after_the_death_of_a_node)

    @fault(1)
    def test_death_of_ranks(self):
        self.result(chain_after_the_death_of_ranks, chain_that_dies_too_often, chain_that_does_not_advance, chain_whose_launch_fails)

    def test_ends_of_a_chain(self):
        self.result(chain_with_wrong_settings, chain_that_somebody_stops, chain_that_somebody_cancels)

    def test_arrays(self):
        self.result(array_and_its_table, strong_scaling, weak_scaling)


if __name__ == "__main__":
    unittest.main()
