"""Problem files, runs and study tables of mxsense in numpy: read what the program writes, write what it reads.

    from mxsense_io import read_problem, read_run, read_table, write_problem

    write_problem("mine.h5", y, A=A, truth=X)                   # A: (m, n1, n2), or a memmap, or an iterator of chunks
    write_problem("signs.h5", sense(X, "rademacher", m, seed=1), ensemble="rademacher", shape=X.shape, seed=1)

    problem = read_problem("mine.h5")                           # n1, n2, m, y, y_validation, truth, X, ensemble, seed, noise
    problem.A(0, 100)                                           # the first 100 matrices, flattened: (100, n1 * n2)

    run = read_run("mine")                                      # a run directory, finished or not
    run.settings["k"], run.summary["reason"], run.events[-1]
    run.metrics()["test_error"], run.metrics(replica=2)         # columns of metrics.csv
    U, V = run.factors()                                        # the answer is U @ V.T

    table = read_table("study/table.h5")                        # or table.csv: columns by name, the same from both

What is missing, damaged or not what it should be is an Error whose text names the file and the remedy; its `code` is the
exit code that the program has for it: 64 wrong use, 65 bad data, 66 missing, 73 cannot create, 74 input or output failed.

Needs numpy and h5py. Files written here are complete or not there at all: they come by renaming."""

import contextlib
import csv
import json
import math
import os
import pathlib
import re

import h5py
import numpy as np

import mxsense_ensembles as ensembles

WRONG, BAD, MISSING, CANNOT_CREATE, FAILED = 64, 65, 66, 73, 74
FINISHED = {"target", "tolerance", "validation", "discrepancy", "diverged"}  # the reasons of runs that have ended
STORAGES = ("f64", "f32", "bf16", "bits")
CHUNK_BYTES = 32 << 20


class Error(Exception):
    """One line for the user, and the exit code that goes with it."""

    def __init__(self, text, code=BAD):
        super().__init__(text)
        self.code = code


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


@contextlib.contextmanager
def _open(path):
    """An HDF5 file to read."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise Error(f"{path}: no such file" if not path.exists() else f"{path}: is not a file", MISSING)
    try:
        file = h5py.File(path, "r")
    except OSError as why:
        raise Error(f"{path}: not an HDF5 file, or not readable: {why}") from None
    with file:
        yield file


def _attributes(file):
    return {name: _text(value.item() if isinstance(value, np.generic) else value) for name, value in file.attrs.items()}


# ---------------------------------------------------------------- problems


class Problem:
    """What a problem file says; A is read, or generated, where it is asked for.

    n1, n2, m     shape of X*, measurements (without those held out)
    y             (m,)
    y_validation  the held-out measurements, or None
    truth         (U, V), or X*, or None; X is the matrix itself, or None
    ensemble      dense, or the name of a generated one; seed and block_rows are None for dense
    noise         standard deviation of the noise in y, or None where the file does not say
    attributes    all attributes of the file, by name"""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        with _open(path) as file:
            self.attributes = _attributes(file)
            if "y" not in file:
                raise Error(f"{path}: holds no /y: not a problem file")
            self.ensemble = self.attributes.get("ensemble", "dense")
            self.y = file["y"][()].astype(np.float64)
            self.y_validation = file["validation/y"][()].astype(np.float64) if "validation/y" in file else None
            self.n1, self.n2 = self._shape(file)
            self.truth = self._truth(file)
        self.m = self.y.size
        self.m_validation = 0 if self.y_validation is None else self.y_validation.size
        self.seed, self.block_rows = (self.attributes.get(name) for name in ("seed", "block_rows"))
        if self.ensemble == "dense":
            self.seed = None
        self.noise = self.attributes.get("noise_std")

    def _shape(self, file):
        if self.ensemble == "dense":
            if "A" not in file:
                raise Error(f"{self.path}: neither a dataset /A nor an attribute `ensemble` is there")
            A = file["A"]
            return A.shape[1:] if A.ndim == 3 else tuple(int(A.attrs[name]) for name in ("n1", "n2"))
        if self.ensemble not in ensembles.ENSEMBLES:
            raise Error(f"{self.path}: ensemble `{self.ensemble}` is not known here; known are dense, {', '.join(ensembles.ENSEMBLES)}")
        return tuple(int(self.attributes[name]) for name in ("n1", "n2"))

    @staticmethod
    def _truth(file):
        if "truth/U" in file and "truth/V" in file:
            return file["truth/U"][()].astype(np.float64), file["truth/V"][()].astype(np.float64)
        return file["truth/X"][()].astype(np.float64) if "truth/X" in file else None

    @property
    def X(self):
        return self.truth[0] @ self.truth[1].T if isinstance(self.truth, tuple) else self.truth

    def A(self, first=0, count=None):
        """Measurement matrices first .. first + count - 1, flattened: (count, n1 * n2). Those held out follow as m, m + 1, ..."""
        whole = self.m + self.m_validation
        count = whole - first if count is None else count
        if first < 0 or count < 0 or first + count > whole:
            raise Error(f"{self.path}: measurements {first} .. {first + count - 1} asked for, there are {whole}", WRONG)
        if self.ensemble != "dense":
            return ensembles.rows(self.ensemble, self.seed, (self.n1, self.n2), first, count, self.block_rows)
        cut = min(max(self.m - first, 0), count)
        with _open(self.path) as file:
            parts = [file["A"][first : first + cut]] if cut > 0 or count == 0 else []
            if cut < count:
                start = first + cut - self.m
                parts.append(file["validation/A"][start : start + count - cut])
        return np.concatenate([part.reshape(len(part), -1) for part in parts])

    def chunks(self, bytes_=CHUNK_BYTES):
        """(first, rows) over the measurements that are not held out, so many bytes of doubles at a time."""
        step = max(1, bytes_ // (8 * self.n1 * self.n2))
        for first in range(0, self.m, step):
            yield first, self.A(first, min(step, self.m - first))

    def measure(self, X):
        """<A_i, X> of every measurement that is not held out."""
        x = np.asarray(X, dtype=np.float64).ravel()
        if self.ensemble == "fast":
            return ensembles.sense(X, "fast", self.m, self.seed, block_rows=self.block_rows)
        return np.concatenate([rows.astype(np.float64, copy=False) @ x for _, rows in self.chunks()])

    def back_projection(self):
        """1/m sum_i y_i A_i: X* and noise of relative size sqrt(n1 n2 / m), where the A_i have unit variance. One pass over A."""
        total = np.zeros(self.n1 * self.n2)
        for first, rows in self.chunks():
            total += self.y[first : first + len(rows)] @ rows.astype(np.float64, copy=False)
        return total.reshape(self.n1, self.n2) / self.m


def read_problem(path):
    """A problem file, of `mxsense gen` or anyone's."""
    try:
        return Problem(path)
    except KeyError as what:
        raise Error(f"{path}: {what.args[0]}") from None


# ---------------------------------------------------------------- runs


def read_metrics(path, replica=None):
    """Columns of a metrics.csv, or of the history in a checkpoint, as arrays by name. A last row that is being written is left out."""
    path = pathlib.Path(path)
    if path.suffix == ".csv":
        try:
            lines = path.read_text().split("\n")[:-1]
        except OSError as why:
            raise Error(f"{path}: {why.strerror}", MISSING) from None
        names = lines[0].split(",") if lines else []
        cells = [cell for cell in (line.split(",") for line in lines[1:]) if len(cell) == len(names)]
        try:
            values = np.array(cells, dtype=np.float64).reshape(-1, len(names))
        except ValueError as why:
            raise Error(f"{path}: {why}") from None
        return dict(zip(names, values.T))
    with _open(path) as file:
        group = _group(file, path, "metrics", replica)
        return {name: np.atleast_1d(column[()]).astype(np.float64) for name, column in file[group].items()}


def read_factors(path, replica=None):
    """U, V of a checkpoint, or of any file with /factors/U and /factors/V; of many replicas, of one of them."""
    with _open(path) as file:
        group = _group(file, path, "factors", replica)
        return file[f"{group}/U"][()], file[f"{group}/V"][()]


def _group(file, path, name, replica):
    """/name, or /replica_<r>/name."""
    many = replicas_in(file)
    if many and not 0 <= (replica or 0) < len(many):
        raise Error(f"{path}: holds replicas 0 to {len(many) - 1}, not {replica}", WRONG)
    if many and replica is None:
        raise Error(f"{path}: holds {len(many)} replicas: say which, 0 to {len(many) - 1}", WRONG)
    if not many and replica not in (None, 0):
        raise Error(f"{path}: holds one run, no replica {replica}", WRONG)
    group = f"{many[replica]}/{name}" if many else name
    if group not in file:
        raise Error(f"{path}: holds no /{group}: not a checkpoint")
    return group


def _replica_number(name):
    found = re.fullmatch(r"replica_(\d+)", name)
    return int(found[1]) if found else None


def replicas_in(names):
    """The names replica_<r> among those of a checkpoint or directory, by number."""
    return sorted((name for name in names if _replica_number(name) is not None), key=_replica_number)


def _value(text):
    """A value of config.yaml with its type: the program writes scalars and lists in one line."""
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if text.startswith("["):
        return [_value(part.strip()) for part in text[1:-1].split(",")]
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def read_settings(path):
    """config.yaml: integers, numbers, true and false, lists and text by key."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError as why:
        raise Error(f"{path}: {why.strerror}", MISSING) from None
    pairs = (line.partition(": ") for line in lines if ": " in line and not line.startswith("#"))
    return {key: _value(value.strip()) for key, _, value in pairs}


def _read_summary(path):
    """summary.json; empty where it is not there yet."""
    try:
        return json.loads(path.read_text())
    except OSError:
        return {}
    except ValueError:
        raise Error(f"{path}: is damaged") from None


class Run:
    """A run directory; of many replicas all of them, or the directory replica_<r> of one.

    path      of what was asked for; `directory` is the one with config.yaml
    settings  config.yaml with types: run.settings["k"] is an integer, run.settings["alpha"] a number or "auto" or a list
    summary   summary.json, empty for a run that was never stopped nor ended
    events    events.jsonl, a list of dictionaries
    replicas  how many there are; 1 for a run alone
    reason    why it ended, "unfinished" where it has not"""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise Error(f"{path}: no such directory", MISSING)
        whole, number = self.path.resolve(), _replica_number(self.path.resolve().name)
        self.one = number if number is not None and (whole.parent / "config.yaml").is_file() else None
        self.directory = whole.parent if self.one is not None else self.path
        if not (self.directory / "config.yaml").is_file():
            raise Error(f"{path}: no config.yaml: not a run directory", MISSING)
        self.settings = read_settings(self.directory / "config.yaml")
        self.summary = _read_summary(self.path / "summary.json")
        self.replicas = 1 if self.one is not None else self._count()
        if self.one is not None:
            self.settings = self.settings_of(self.one)

    def _count(self):
        lists = [len(value) for value in self.settings.values() if isinstance(value, list)]
        return max([self.settings.get("replicas", 1), *lists])

    @property
    def name(self):
        return self.path.resolve().name if self.one is None else f"{self.directory.name}, replica {self.one}"

    @property
    def reason(self):
        return self.summary.get("reason") or "unfinished"

    @property
    def finished(self):
        return self.reason in FINISHED

    @property
    def problem(self):
        """Path of the problem file that the run names, or None where it is not there any more."""
        path = pathlib.Path(str(self.settings.get("problem", "")))
        return path if path.is_file() else None

    @property
    def events(self):
        path = self.directory / "events.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.is_file() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def settings_of(self, replica):
        """Settings of one of many replicas: its own value of every list, its own seed."""
        lists = any(isinstance(value, list) for value in self.settings.values())
        chosen = {key: value[replica] if isinstance(value, list) else value for key, value in self.settings.items()}
        if not lists and self.settings.get("replicas", 1) > 1:
            chosen["seed"] = self.settings.get("seed", 0) + replica
        return chosen

    def summary_of(self, replica):
        """What a replica came to: `seed`, `k`, `alpha`, `step`, `reason`, errors; the summary of a run alone."""
        listed = self.summary.get("replicas")
        return self.summary if not listed else listed[self._check(replica)]

    def _check(self, replica):
        if not 0 <= replica < self.replicas:
            raise Error(f"{self.path}: replicas 0 .. {self.replicas - 1}, not {replica}", WRONG)
        return replica

    def _number(self, replica):
        """In the checkpoint: None for a run alone."""
        self._check(replica)
        return self.one if self.one is not None else replica if self.replicas > 1 else None

    def metrics(self, replica=0):
        """Columns by name, of a run that goes on as far as it is: from metrics.csv, else from the checkpoint."""
        number = self._number(replica)
        table = (self.directory if number is None else self.directory / f"replica_{number}") / "metrics.csv"
        if table.is_file():
            return read_metrics(table)
        return read_metrics(self._checkpoint(), number)

    def factors(self, replica=0):
        """U, V of the last checkpoint: the answer is U @ V.T."""
        return read_factors(self._checkpoint(), self._number(replica))

    def _checkpoint(self):
        for name in ("checkpoint.h5", "checkpoint.prev.h5"):
            if (self.directory / name).is_file():
                return self.directory / name
        raise Error(f"{self.path}: no checkpoint yet", MISSING)


def read_run(directory):
    """A run directory, finished or not, or replica_<r> in one."""
    return Run(directory)


# ---------------------------------------------------------------- tables of studies

# Columns that are text also where all of it looks like numbers, such as a commit 123e45.
TEXT_COLUMNS = {"run", "reason", "certificate", "certificate_reason", "kernel", "cpu", "commit"}
_NO_INTEGER = np.iinfo(np.int64).min


def _column(name, cells):
    """Texts as an array: integers, doubles with NaN for what is missing, or texts."""
    given = [cell for cell in cells if cell != ""]
    if name not in TEXT_COLUMNS:
        if not given:
            return np.full(len(cells), np.nan)
        with contextlib.suppress(ValueError):
            return _narrowed(np.array([float(cell) if cell else np.nan for cell in cells]), cells)
    return np.array(cells, dtype=object).astype(str)


def _narrowed(values, cells=None):
    """Doubles that are integers without a gap as integers."""
    whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**64)
    if not len(values) or not whole.all():
        return values
    exact = [int(cell) if re.fullmatch(r"[+-]?\d+", cell) else int(float(cell)) for cell in cells] if cells is not None else values
    kind = np.int64 if all(-(2**63) <= value < 2**63 for value in exact) else np.uint64
    return values if kind is np.uint64 and min(exact) < 0 else np.array([int(value) for value in exact], dtype=kind)


def _dataset_column(name, data):
    """A column of table.h5 as _column() would give it."""
    values = data[()]
    if values.dtype.kind in "OS":
        return _column(name, [_text(value) for value in values])
    if values.dtype.kind in "iu":
        gaps = values == _NO_INTEGER if values.dtype.kind == "i" else np.zeros(values.shape, dtype=bool)
        if not gaps.any():
            return values.astype(np.int64 if values.dtype.kind == "i" or values.max(initial=0) < 2**63 else np.uint64)
        values = np.where(gaps, np.nan, values)
    return _narrowed(values.astype(np.float64))


def read_table(path):
    """table.csv or table.h5 of a study, or any CSV with a heading: columns by name, the same from both.

    Columns of integers without a gap are int64, other numbers float64 with NaN for what is missing, the rest texts, "" for what is
    missing."""
    path = pathlib.Path(path)
    if path.suffix in (".h5", ".hdf5"):
        with _open(path) as file:
            if "table" not in file:
                raise Error(f"{path}: holds no /table: not the table of a study")
            group = file["table"]
            columns = {name: _dataset_column(name, group[name]) for name in group}
            return _in_order(columns, group.attrs.get("columns"))
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if line]
    except OSError as why:
        raise Error(f"{path}: {why.strerror}", MISSING) from None
    except (UnicodeDecodeError, csv.Error) as why:
        raise Error(f"{path}: not a CSV: {why}") from None
    if not lines:
        raise Error(f"{path}: is empty")
    uneven = [number for number, line in enumerate(lines, 1) if len(line) != len(lines[0])]
    if uneven:
        raise Error(f"{path}: row {uneven[0]} has {len(lines[uneven[0] - 1])} cells, the heading {len(lines[0])}")
    return {name: _column(name, [line[place] for line in lines[1:]]) for place, name in enumerate(lines[0])}


def _in_order(columns, names):
    """As in the attribute `columns`, where there is one."""
    names = [_text(name) for name in names] if names is not None else []
    return {name: columns[name] for name in [*(n for n in names if n in columns), *(n for n in columns if n not in names)]}


# ---------------------------------------------------------------- writing problems


def round_to(A, storage):
    """A rounded to the numbers of a storage, as doubles: measure with these, and y has no rounding error against the file."""
    A = np.asarray(A, dtype=np.float64)
    if storage == "f32":
        return A.astype(np.float32).astype(np.float64)
    if storage == "bf16":
        unit = np.ldexp(1.0, np.maximum(np.frexp(A)[1], -125) - 8)
        return np.rint(A / unit) * unit
    return A


def _checked(rows, name, first, storage):
    """Rows that may be written: of a sound type, finite, in range."""
    def refuse(bad, why):
        index = np.argwhere(bad)[0]
        place = ", ".join(str(i) for i in (index[0] + first, *index[1:]))
        raise Error(f"{name}[{place}] is {rows[tuple(index)]}{why}")

    if rows.dtype.kind not in "fiub":
        raise Error(f"{name}: has type {rows.dtype}; give real numbers")
    finite = np.isfinite(rows)
    if not finite.all():
        refuse(~finite, ": all must be finite")
    if storage == "bits" and not np.all(np.abs(rows) == 1):
        refuse(np.abs(rows) != 1, ": storage bits is for entries 1 and -1")
    limit = {"f32": float(np.finfo(np.float32).max), "bf16": 255 * 2.0**120}.get(storage, np.inf)
    if rows.dtype.kind == "f" and rows.size and np.abs(rows).max() > limit:
        refuse(np.abs(rows) > limit, f", too large for storage {storage}; use f64")
    return rows


def _row_chunks(A, shape, name):
    """Chunks (rows, n1 * n2) of an array, a memmap, a dataset, or an iterator of chunks."""
    n1, n2 = shape

    def flat(rows):
        rows = np.asarray(rows)
        if rows.shape[1:] not in ((n1, n2), (n1 * n2,)):
            raise Error(f"{name}: rows of shape {rows.shape[1:]}, expected ({n1}, {n2}) or ({n1 * n2},)", WRONG)
        return rows.reshape(len(rows), n1 * n2)

    if hasattr(A, "shape"):
        step = max(1, CHUNK_BYTES // (8 * n1 * n2))
        for first in range(0, A.shape[0], step):
            yield flat(A[first : first + step])
    else:
        for rows in A:
            yield flat(rows)


def _type_of(chunk, storage):
    """Type on disk: of the storage, or that of the rows."""
    if storage is not None:
        return {"f64": "<f8", "f32": "<f4", "bf16": "<f4", "bits": "i1"}[storage]
    if chunk.dtype.kind == "b":
        return np.dtype("i1")
    return {2: np.dtype("<f4"), 16: np.dtype("<f8")}.get(chunk.dtype.itemsize, chunk.dtype) if chunk.dtype.kind == "f" else chunk.dtype


def _write_rows(file, name, A, m, shape, storage):
    """A dataset (m, n1, n2), contiguous, a chunk at a time."""
    dataset, done = None, 0
    for rows in _row_chunks(A, shape, name):
        if done + len(rows) > m:
            raise Error(f"{name}: more than {m} rows, but y has {m} entries", WRONG)
        _checked(rows, name, done, storage)
        if dataset is None:
            dataset = file.create_dataset(name, (m, *shape), dtype=_type_of(rows, storage))
            if storage == "bf16":
                dataset.attrs["storage"] = np.bytes_("bf16")
        rows = round_to(rows, storage) if storage == "bf16" else rows
        dataset[done : done + len(rows)] = rows.reshape(len(rows), *shape)
        done += len(rows)
    if done != m:
        raise Error(f"{name}: {done} rows, but y has {m} entries", WRONG)


def _shape_of(A, shape):
    if shape is not None:
        n1, n2 = (int(n) for n in shape)
    elif getattr(A, "ndim", 0) == 3:
        n1, n2 = A.shape[1:]
    else:
        raise Error("shape: give (n1, n2); only an array A of shape (m, n1, n2) tells it", WRONG)
    if n1 < 1 or n2 < 1:
        raise Error(f"shape: ({n1}, {n2}): both must be at least 1", WRONG)
    return n1, n2


def _check_truth(truth, shape):
    """(U, V), X or None as arrays of the right shape."""
    if truth is None:
        return {}
    sides = {"truth/U": truth[0], "truth/V": truth[1]} if isinstance(truth, (tuple, list)) and len(truth) == 2 else {"truth/X": truth}
    sides = {name: np.asarray(side, dtype=np.float64) for name, side in sides.items()}
    wanted = {"truth/U": (shape[0], None), "truth/V": (shape[1], None), "truth/X": shape}
    for name, side in sides.items():
        if side.ndim != 2 or side.shape[0] != wanted[name][0] or wanted[name][1] not in (None, side.shape[1]):
            raise Error(f"{name}: shape {side.shape} does not fit X of {shape[0]} x {shape[1]}; give (U, V) or X", WRONG)
        _checked(side, name, 0, None)
    if len({side.shape[1] for side in sides.values()}) != 1:
        raise Error(f"truth: U has {truth[0].shape[1]} columns, V {truth[1].shape[1]}", WRONG)
    return sides


def _check_y(y, name):
    y = np.asarray(y)
    if y.ndim != 1 or y.size == 0:
        raise Error(f"{name}: shape {y.shape}, expected (m,) with m >= 1", WRONG)
    return _checked(y, name, 0, None).astype(np.float64)


def _recipe(ensemble, seed, block_rows, m, shape):
    """Attributes of a generated ensemble."""
    if ensemble not in ensembles.ENSEMBLES:
        raise Error(f"ensemble: `{ensemble}` is not known; give A, or one of {', '.join(ensembles.ENSEMBLES)}", WRONG)
    if seed is None or not 0 <= seed < 2**64:
        raise Error(f"seed: {seed}; the generated ensembles need one, 0 <= seed < 2^64", WRONG)
    recipe = {"seed": np.uint64(seed), "ensemble_version": ensembles.VERSION}
    order = 2 ** ensembles.order(math.prod(shape))
    if ensemble == "fast":
        if block_rows is None or not 1 <= block_rows <= order:
            raise Error(f"block_rows: {block_rows}; the ensemble fast needs it, in 1 .. {order} for {shape[0]} x {shape[1]}", WRONG)
        recipe["block_rows"] = int(block_rows)
    elif block_rows is not None:
        raise Error("block_rows: belongs to the ensemble fast", WRONG)
    return recipe


@contextlib.contextmanager
def _new_file(path, overwrite):
    """An HDF5 file beside `path` that takes its place when all went well."""
    path = pathlib.Path(path)
    if path.exists() and not overwrite:
        raise Error(f"{path}: exists already; remove it or choose another name", CANNOT_CREATE)
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as why:
        raise Error(f"{path}: cannot write: {why}", FAILED if path.parent.is_dir() else CANNOT_CREATE) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_problem(path, y, A=None, *, ensemble=None, shape=None, seed=None, block_rows=None, truth=None, y_validation=None,
                  A_validation=None, noise=None, storage=None, attributes=None, overwrite=False):
    """Write a problem file: measurements y of X* by matrices A, or by a generated ensemble.

    y             (m,), finite
    A             (m, n1, n2); or (m, n1 * n2), or an iterator of chunks of rows of either shape, with shape=(n1, n2). An array may
                  be a memmap or a dataset: it is read a chunk at a time
    ensemble      instead of A: rademacher, gaussian8, gaussian, fast, with shape, seed and, for fast, block_rows; then
                  y = mxsense_ensembles.sense(X, ensemble, m, seed)
    truth         (U, V), or X; optional, for the test error in the metrics
    y_validation  held-out measurements, with A_validation like A; of a generated ensemble they follow the m of y
    noise         standard deviation of the noise in y, where it is known: stop=discrepancy and the certificate use it
    storage       type of A on disk: f64, f32, bf16, bits (entries 1 and -1); default: as the rows are. What is rounded is A, so let
                  y be measured with round_to(A, storage)
    attributes    further ones, such as {"creator": "..."}
    overwrite     replace the file that is there; else it is an error"""
    y = _check_y(y, "y")
    if (A is None) == (ensemble is None):
        raise Error("give A or ensemble, one of them", WRONG)
    if ensemble is not None and storage is not None:
        raise Error(f"storage: belongs to A; {ensemble} is generated", WRONG)
    if storage not in (None, *STORAGES):
        raise Error(f"storage: `{storage}`; give one of {', '.join(STORAGES)}", WRONG)
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise Error(f"noise: {noise}; a standard deviation is at least 0", WRONG)
    shape = _shape_of(A, shape)
    if hasattr(A, "shape") and A.shape[0] != y.size:
        raise Error(f"A: {A.shape[0]} rows, but y has {y.size} entries", WRONG)
    recipe = {} if ensemble is None else _recipe(ensemble, seed, block_rows, y.size, shape)
    if y_validation is None and A_validation is not None or y_validation is not None and (A_validation is None) != (A is None):
        raise Error("validation: y_validation goes with A_validation where A is given, without where it is generated", WRONG)
    sides = _check_truth(truth, shape)
    held_out = None if y_validation is None else _check_y(y_validation, "y_validation")
    with _new_file(path, overwrite) as file:
        file.attrs.update({"format": np.bytes_("mxsense-problem"), "format_version": 1, "creator": np.bytes_("mxsense_io.py"),
                           "ensemble": np.bytes_(ensemble or "dense"), "n1": shape[0], "n2": shape[1], "m": y.size, **recipe})
        if noise is not None:
            file.attrs["noise_std"] = float(noise)
        file.attrs.update(attributes or {})
        file["y"] = y
        file.update(sides)
        if A is not None:
            _write_rows(file, "A", A, y.size, shape, storage)
        if held_out is not None:
            file["validation/y"] = held_out
            if A_validation is not None:
                _write_rows(file, "validation/A", A_validation, held_out.size, shape, storage)
