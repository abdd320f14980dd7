"""Runs the program under test, with a time limit on everything, and reads what it leaves."""
import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import h5py
import numpy as np

PROGRAM = os.environ.get("MXSENSE", "mxsense")
MPIEXEC = os.environ.get("MXS_TEST_MPIEXEC", "mpirun")
ENTRIES = os.environ.get("MXS_TEST_ENTRIES", "mxs_test_entries")
FAULT = os.environ.get("MXS_TEST_FAULT", "libmxs_test_fault.so")
RANKS = (1, 2, 3, 4, 7)
LIMIT = 90  # seconds; only a hang takes as long

DEFAULTS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
}


@dataclasses.dataclass
class Outcome:
    """What a command left: exit code, output, and the lines of each kind on standard error."""
    code: int
    out: str
    err: str
    CROWDED = r"warning: \d+ (ranks? of \d+ threads? share|threads of a rank share)"

    def lines(self, kind):
        """But for the warning of more ranks or threads than cores, which are normal here."""
        return [line for line in self.err.splitlines() if line.startswith(f"mxsense: {kind}: ") and not re.search(self.CROWDED, line)]

    @property
    def crowded(self):
        return [line for line in self.err.splitlines() if re.search(self.CROWDED, line)]

    @property
    def errors(self):
        return self.lines("error")

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out[-3000:]}\n--- stderr\n{self.err[-3000:]}"


def fault_variables(rules):
    """Environment that injects the rules of fault.c into a program."""
    return {"LD_PRELOAD": FAULT, "MXS_FAULT": rules} if rules else {}


def command(arguments, np, prefix=(), exported=(), program=PROGRAM):
    """np = 0: without a launcher. A list of several argument lists: each on `np` ranks of one start. `exported`: variables for the
    ranks but not for the launcher."""
    if arguments and isinstance(arguments[0], list):
        groups = [["-np", str(np), PROGRAM, *map(str, group)] for group in arguments]
        return [*prefix, MPIEXEC, "-q", *sum(([":", *group] for group in groups[1:]), groups[0])]
    variables = [f"{key}={value}" for key, value in dict(exported).items()]
    launcher = [MPIEXEC, "-q", "-np", str(np), *(word for text in variables for word in ("-x", text))] if np else \
        ["env", *variables] if variables else []
    return [*prefix, *launcher, program, *map(str, arguments)]


class Process:
    """A command in its own process group, with output in files; `fault`: rules of fault.c that its ranks meet; `exported`: variables
    of theirs alone."""

    def __init__(self, arguments, np=1, env=(), cwd=None, prefix=(), fault=None, program=PROGRAM, exported=()):
        self.folder = tempfile.mkdtemp(prefix="p", dir=os.environ.get("MXS_TEST_TMP"))
        # A launcher removes the session directory that it finds in TMPDIR when it ends, be it another's that
        # starts just then: each has its own. The path is short, since sockets in it have at most 107 characters.
        self.session = tempfile.mkdtemp(prefix="mxs", dir="/tmp")
        os.chmod(self.session, 0o777)
        self.arguments = command(arguments, np, prefix, {**fault_variables(fault), **dict(exported)}, program)
        with open(self.path("out"), "wb") as out, open(self.path("err"), "wb") as err:
            self.popen = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                                          env={**DEFAULTS, **os.environ, **dict(env), "TMPDIR": self.session},
                                          start_new_session=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self, name):
        with open(self.path(name), errors="replace") as file:
            return file.read()

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def ranks(self):
        """Process ids of the ranks that mpirun started."""
        children = pathlib.Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        name = os.path.basename(PROGRAM)[:15]
        return [int(pid) for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name]

    def wait_for(self, condition, limit=LIMIT):
        """Wait until `condition()`, or the end of the process; True when the condition came first."""
        end = time.monotonic() + limit
        while not condition():
            if not self.running():
                return False
            if time.monotonic() > end:
                self.end()
                raise AssertionError(f"nothing happened in {limit} s: {' '.join(self.arguments)}\n{self.text('err')}")
            time.sleep(0.002)
        return True

    def first_line(self):
        """Wait for the first line of the log: from then on, signals are caught."""
        return self.wait_for(lambda: "\n" in self.text("out"))

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        shutil.rmtree(self.session, ignore_errors=True)

    def finish(self, limit=LIMIT):
        try:
            code = self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"hangs: {' '.join(self.arguments)}\n{self.text('out')[-2000:]}\n{self.text('err')}") from None
        outcome = Outcome(code, self.text("out"), self.text("err"))
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.session, ignore_errors=True)
        return outcome


def run(*arguments, limit=LIMIT, **options):
    """Run the program to its end; `np` ranks, 0 for none of mpirun."""
    return Process(arguments, **options).finish(limit)


def options(**settings):
    """--key value ...; checkpoints come when they are asked for, whatever they take. With a problem, gradient descent unless another
    method is named; method=None: the default."""
    if "problem" in settings:
        settings.setdefault("method", "gd")
    if "checkpoint_every" in settings:
        settings.setdefault("checkpoint_share", 1)
    given = {key: value for key, value in settings.items() if (key, value) != ("method", None)}
    return [text for key, value in given.items() for text in (f"--{key}", repr(value) if isinstance(value, float) else str(value))]


# ---------------------------------------------------------------- problem and factor files


def write_problem(path, problem, dtype="f8", layout="3d", truth="factors", **storage):
    """Write a reference.Problem as a person with h5py would; `storage` goes to create_dataset of A."""
    rows = {"A": (problem.A, problem.y), "validation/A": (problem.A_val, problem.y_val)}
    with h5py.File(path, "w") as file:
        for name, (A, y) in rows.items():
            if y is None:
                continue
            shape = (len(y), problem.n1, problem.n2) if layout == "3d" else A.shape
            dataset = file.create_dataset(name, data=A.reshape(shape).astype(dtype), **storage)
            if layout == "2d":
                dataset.attrs["n1"], dataset.attrs["n2"] = problem.n1, problem.n2
            file[name[:-1] + "y"] = y
        if truth == "factors":
            file["truth/U"], file["truth/V"] = problem.U, problem.V
        elif truth == "matrix":
            file["truth/X"] = problem.X
    return path


def write_factors(path, U, V):
    with h5py.File(path, "w") as file:
        file["factors/U"], file["factors/V"] = U, V
    return path


# ---------------------------------------------------------------- what a run leaves


def factors(directory, name="checkpoint.h5"):
    with h5py.File(pathlib.Path(directory, name), "r") as file:
        return file["factors/U"][...], file["factors/V"][...]


def product(directory):
    U, V = factors(directory)
    return U @ V.T


def attributes(directory, name="checkpoint.h5"):
    with h5py.File(pathlib.Path(directory, name), "r") as file:
        return {key: value.decode() if isinstance(value, bytes) else value for key, value in file.attrs.items()}


def summary(directory):
    return json.loads(pathlib.Path(directory, "summary.json").read_text())


def events(directory, name=None):
    """events.jsonl, or the events of one kind in it; none where it is not there. A line may be being written."""
    path = pathlib.Path(directory, "events.jsonl")
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    found = [json.loads(line) for line in whole.splitlines()]
    return [event for event in found if name in (None, event["event"])]


def rows(directory):
    """metrics.csv as a list of dictionaries of text."""
    with open(pathlib.Path(directory, "metrics.csv"), newline="") as file:
        return list(csv.DictReader(file))


def column(directory, name):
    return np.array([float(row[name]) for row in rows(directory)])


def bits(directory):
    """Everything that must not depend on ranks or interruptions: factors, metrics but for `seconds`, as bytes and text."""
    U, V = factors(directory)
    table = [{key: text for key, text in row.items() if key != "seconds"} for row in rows(directory)]
    with h5py.File(pathlib.Path(directory, "checkpoint.h5"), "r") as file:
        history = {name: data[...].tobytes() for name, data in file["metrics"].items() if name != "seconds"}
    return {"U": U.tobytes(), "V": V.tobytes(), "table": table, "history": history}


def tree(directory):
    """Every file below a directory with its contents."""
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
            for path in pathlib.Path(directory).glob("**/*")}


class Case(unittest.TestCase):
    """A test with a scratch directory of its own."""
    maxDiff = 4000

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="t", dir=os.environ.get("MXS_TEST_TMP")))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def run_ok(self, *arguments, code=0, **settings):
        """Run and expect an exit code, and not a word on standard error unless it is an error code."""
        outcome = run(*arguments, **settings)
        self.assertEqual(outcome.code, code, f"{arguments}\n{outcome}")
        if code == 0:
            self.assertEqual(outcome.lines("error"), [], str(outcome))
        return outcome

    def gen(self, name="p.h5", np=1, **settings):
        path = self.dir / name
        self.run_ok("gen", *options(**settings), "-o", path, np=np)
        return path

    def solve(self, problem, name="run", np=1, code=0, extra=(), env=(), **settings):
        """Solve into self.dir/name; returns the directory."""
        directory = self.dir / name
        self.outcome = self.run_ok("solve", *options(problem=problem, **settings), *extra, "-o", directory, np=np, code=code, env=env)
        return directory

    def assert_same_bits(self, a, b, note=""):
        left, right = (bits(directory) for directory in (a, b))
        for key in left:
            if left[key] != right[key]:
                self.fail(f"{note}: {key} differs between {a.name} and {b.name}: " + first_difference(left[key], right[key]))

    def assert_close(self, actual, expected, relative, note=""):
        error = np.linalg.norm(np.asarray(actual) - expected) / max(np.linalg.norm(expected), np.finfo(float).tiny)
        self.assertLessEqual(error, relative, note)


def first_difference(a, b):
    if isinstance(a, list):
        if len(a) != len(b):
            return f"{len(a)} and {len(b)} rows"
        return next(f"row {i}, {key}: {x[key]} and {y[key]}" for i, (x, y) in enumerate(zip(a, b)) for key in x if x[key] != y.get(key))
    if isinstance(a, dict):
        return ", ".join(sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key)))
    x, y = np.frombuffer(a), np.frombuffer(b)
    if x.shape != y.shape:
        return f"{x.size} and {y.size} numbers"
    return f"{np.count_nonzero(x != y)} of {x.size} numbers, largest difference {np.max(np.abs(x - y)):.3g}"
