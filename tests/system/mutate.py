"""Damaged copies of a file, and the judge of what the program makes of them.

    damaged = [mutation.apply(data) for mutation in mutations(seed, count, len(data))]
    verdict = judge(original, {name: bytes, ...}, folder)

A damaged file must be told from the original, or be as good as it: rejected with one line, or verified with the same contents; never
a signal, never a hang. `info` judges a hundred files in one process."""
import collections
import dataclasses
import pathlib
import random
import subprocess
import sys

import harness

SECTOR = 512
BATCH = 100


@dataclasses.dataclass(frozen=True)
class Mutation:
    """What happens to a file: `kind` is flip, zero, swap, byte or copy; `at` and `to` are places in it."""
    kind: str
    at: int
    to: int = 0

    def __str__(self):
        return f"{self.kind} {self.at} {self.to}"

    def apply(self, data):
        data = bytearray(data)
        if self.kind == "flip":
            data[self.at] ^= 1 << self.to
        elif self.kind == "byte":
            data[self.at] = self.to
        elif self.kind == "zero":
            data[self.at:self.at + SECTOR] = bytes(len(data[self.at:self.at + SECTOR]))
        elif self.kind == "copy":
            data[self.at:self.at + SECTOR] = data[self.to:self.to + SECTOR]
        elif self.kind == "swap":
            data = data[self.at:] + data[:self.at]
        return bytes(data)


def mutations(seed, count, size):
    """`count` changes of a file of `size` bytes, the same for the same seed; half of them flip a single bit."""
    rng = random.Random(seed)
    sectors = max(1, size // SECTOR)
    for number in range(count):
        kind = ("flip", "zero", "flip", "byte", "flip", "copy", "flip", "swap")[number % 8]
        if kind == "flip":
            yield Mutation(kind, rng.randrange(size), rng.randrange(8))
        elif kind == "byte":
            yield Mutation(kind, rng.randrange(size), rng.choice((0, 1, 0x7f, 0x80, 0xff)))
        elif kind == "swap":
            yield Mutation(kind, size // 2 if number % 16 == 7 else rng.randrange(1, size))
        else:
            yield Mutation(kind, rng.randrange(sectors) * SECTOR, rng.randrange(sectors) * SECTOR)


@dataclasses.dataclass
class Verdict:
    """Counts by outcome ("verified", "rejected", "crash of HDF5", ...), and what may not be: {name: text}."""
    counts: collections.Counter
    wrong: dict
    crashed: list = dataclasses.field(default_factory=list)

    def __str__(self):
        found = "\n".join(f"{name}: {text}" for name, text in self.wrong.items())
        return f"{dict(self.counts)}, {len(self.wrong)} wrong\n{found}"


def look(paths):
    """{path: (verified, error line or None)} of one `info`; None when that process itself did not end as it should."""
    process = harness.Process(["info", *paths], np=0)
    try:
        outcome = process.finish(30 + 15 * len(paths))
    except AssertionError:
        return None
    if outcome.code not in (0, 65, 66, 70, 74):
        return None
    text = {}
    current = None
    for line in outcome.out.splitlines():
        for path in paths:
            if line.startswith((f"problem file {path},", f"checkpoint {path},")):
                current = path
        if line == "verified":
            text[current] = True
    errors = {path: [line for line in outcome.errors if f"{path}:" in line] for path in paths}
    return {path: (text.get(path, False), errors[path]) for path in paths}


COMPARE = """
import sys, h5py, numpy
def names(path):
    found = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found
def contents(path, names):
    with h5py.File(path, "r") as file:
        return {name: (file[name].shape, numpy.asarray(file[name][()]).tobytes()) for name in names}
wanted = names(sys.argv[1])
good = contents(sys.argv[1], wanted)
for path in sys.argv[2:]:
    try:
        found = contents(path, wanted)
        other = sorted(name for name in wanted if good[name] != found[name])
        text = "other " + " ".join(other) if other else ""
    except Exception as error:
        text = f"h5py: {error}"
    print(path + "\\t" + text.replace("\\n", " "))
"""


def differences(original, paths):
    """{path: in what the file differs from the original, as h5py sees it in a process of its own; "" for not at all}."""
    process = subprocess.run([sys.executable, "-B", "-c", COMPARE, str(original), *map(str, paths)], capture_output=True, text=True,
                             timeout=120, check=False)
    told = dict(line.split("\t", 1) for line in process.stdout.splitlines())
    return {str(path): told.get(str(path), "h5py crashes") for path in paths}


def judge(original, damaged, folder, digests=True):
    """Let the program look at damaged copies {name: bytes} of a file that it verifies; one without `digests` may lie about its data."""
    verdict = Verdict(collections.Counter(), {})
    names = {}
    folder = pathlib.Path(folder)
    for number, (name, data) in enumerate(damaged.items()):
        path = folder / f"m{number}.h5"
        path.write_bytes(data)
        names[str(path)] = name
    paths = list(names)
    seen = {}
    for batch in (paths[i:i + BATCH] for i in range(0, len(paths), BATCH)):
        found = look(batch)
        if found is None:  # one of them took the process down: which?
            found = {path: (look([path]) or {path: None})[path] for path in batch}
        seen.update(found)
    verified = [path for path, found in seen.items() if found and found[0]]
    strange = differences(original, verified) if verified and digests else {}
    for path, found in seen.items():
        verdict.counts[count(found)] += 1
        if found is None:
            verdict.wrong[names[path]] = "the program crashed or hung"
        elif found[0] == bool(found[1]) or len(found[1]) > 1:
            verdict.wrong[names[path]] = f"neither verified nor rejected with one line: {found}"
        elif strange.get(path):
            verdict.wrong[names[path]] = f"verified, but {strange[path]}"
        if found and found[1] and "HDF5 crashes" in found[1][0]:
            verdict.crashed.append(names[path])
    for path in paths:
        pathlib.Path(path).unlink()
    return verdict


def count(found):
    if found is None:
        return "dead"
    if found[0]:
        return "verified"
    text = " ".join(found[1])
    return next((word for word in ("HDF5 crashes", "HDF5 runs out of memory", "HDF5 does not get through") if word in text), "rejected")
