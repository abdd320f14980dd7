"""Files that lie, are damaged, or are made to harm: an error message, never a crash of the job, and never believed."""
import os
import pathlib
import random
import shutil
import struct
import unittest

import h5py
import numpy as np

import harness
import mutate
import reference as ref
from faults import fault
from harness import Case

M, N1, N2 = 60, 4, 3
CORPUS = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "corpus" / "file"
SEED = int(os.environ.get("MXS_TEST_SEED", random.SystemRandom().randrange(2**32)))


def instead(name, make):
    """A change: a dataset goes, and `make(file, name)` puts something in its place."""
    def change(file):
        old = file[name][...]
        del file[name]
        make(file, name, old)
    return change


def typed(dtype):
    return instead("y", lambda file, name, old: file.create_dataset(name, shape=old.shape, dtype=dtype))


def linked(kind):
    def make(file, name, old):
        file[f"other_{name}"] = old
        file[name] = h5py.SoftLink(f"/other_{name}") if kind == "soft" else h5py.ExternalLink(file.filename, f"/other_{name}")
    return make


def loop(file, name, old):
    file[name], file["B"] = h5py.SoftLink("/B"), h5py.SoftLink(f"/{name}")


def virtual(file, name, old):
    file["source"] = old
    layout = h5py.VirtualLayout(shape=old.shape, dtype="f8")
    layout[...] = h5py.VirtualSource(file.filename, "source", shape=old.shape)
    file.create_virtual_dataset(name, layout)


def external(file, name, old):
    old.tofile(file.filename + ".raw")
    file.create_dataset(name, data=old, external=[(file.filename + ".raw", 0, h5py.h5f.UNLIMITED)])


def in_part(file, name, old):
    file.create_dataset(name, shape=old.shape, chunks=(10,))[:30] = old[:30]


def shaped(shape, **storage):
    return lambda file, name, old: file.create_dataset(name, shape=shape, dtype="f8", **storage)


def twice(file, name, old):
    """Through deflate twice."""
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((10,))
    create.set_deflate(1)
    create.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (1,))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple(old.shape), create).write(
        h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(old, "f8"))


def variable_length(file):
    value = np.empty(1, dtype=object)
    value[0] = np.ones(4)
    file.attrs.create("ensemble", value, dtype=h5py.vlen_dtype("f8"))


# What is done to a good file, and words of the one line about it. All exit with 65.
HOSTILE = {
    "soft link": (instead("y", linked("soft")), "/y soft link"),
    "external link": (instead("A", linked("external")), "/A external link"),
    "external link on the way": (lambda file: (file.move("truth", "real"), file.__setitem__("truth", h5py.ExternalLink(file.filename, "/real"))),
                                 "/truth external link"),
    "loop of links": (instead("A", loop), "/A soft link"),
    "link to nowhere": (lambda file: file.__setitem__("validation", h5py.ExternalLink("/etc/passwd", "/")), "/validation external link"),
    "virtual dataset": (instead("A", virtual), "/A virtual"),
    "data in another file": (instead("y", external), "/y external storage"),
    "never written": (instead("y", shaped((M,))), "/y never written"),
    "no chunk written": (instead("y", shaped((M,), chunks=(10,))), "/y never written"),
    "written in part": (instead("y", in_part), "/y 3 of 6 chunks"),
    "2^62 entries": (instead("y", shaped((2**62,), chunks=(2**10,))), "/y 2^59"),
    "2^40 x 2^40": (instead("A", shaped((2**40, 2**40), chunks=(2**5, 2**5))), "/A 2^59"),
    "2^56 in chunks": (instead("y", shaped((2**56,), chunks=(2**20,))), "/y cannot be in a file"),
    "product that overflows": (instead("A", shaped((2**32, 2**32, 2**32), chunks=(1, 1, 1024))), "/A 2^59"),
    "deflate twice": (instead("y", twice), "/y twice"),
    "strings": (typed(h5py.string_dtype()), "/y real numbers"),
    "references": (typed(h5py.ref_dtype), "/y real numbers"),
    "opaque": (typed(np.dtype("V8")), "/y real numbers"),
    "variable length": (typed(h5py.vlen_dtype("f8")), "/y real numbers"),
    "compound": (typed([("a", "f8"), ("b", "i4")]), "/y real numbers"),
    "arrays": (typed(np.dtype(("f8", (2,)))), "/y real numbers"),
    "a type, not data": (instead("y", lambda file, name, old: file.__setitem__(name, np.dtype("f8"))), "/y dataset"),
    "a group": (instead("A", lambda file, name, old: file.create_group(name)), "/A dataset"),
    "five dimensions": (instead("A", lambda file, name, old: file.__setitem__(name, old.reshape(M, N1, N2, 1, 1))), "/A 4 dimensions"),
    "a long attribute": (lambda file: file.attrs.__setitem__("ensemble", np.bytes_(b"d" * 5000)), "ensemble larger"),
    "an attribute of many": (lambda file: file.attrs.__setitem__("ensemble", np.ones(9)), "ensemble one value"),
    "an attribute of another kind": (lambda file: file.attrs.__setitem__("format", file["A"].ref), "format string"),
    "an attribute of variable length": (variable_length, "ensemble string"),
}

# Layouts, filters, types and versions that people use.
ORDINARY = {
    "compact": dict(compact=True), "chunks": dict(chunks=(7, 2, 2)), "one chunk": dict(chunks=(M, N1, N2)),
    "gzip": dict(chunks=(7, 4, 3), compression="gzip", compression_opts=9), "all at once": dict(compression="gzip", shuffle=True, fletcher32=True),
    "scale and offset": dict(chunks=(7, 4, 3), scaleoffset=9), "szip": dict(chunks=(20, 4, 3), compression="szip"),
    "growing": dict(maxshape=(None, N1, N2)), "larger chunks than data": dict(maxshape=(None, None, None), chunks=(100, 50, 50)),
    "big endian": dict(dtype=">f8"), "float32": dict(dtype="f4"), "float16": dict(dtype="f2"), "long double": dict(dtype=np.longdouble),
    "int16": dict(dtype=">i2"), "uint8": dict(dtype="u1"), "bool": dict(dtype=bool),
}


def poke(index, value):
    def change(file, name):
        data = file[name][...]
        data[index] = value
        file[name][...] = data
    return change


class Hostile(Case):
    def setUp(self):
        super().setUp()
        self.plan = ref.plant(N1, N2, 1, M, seed=1)
        self.good = harness.write_problem(self.dir / "good.h5", self.plan)
        print(f"{self.id()}: MXS_TEST_SEED={SEED}", flush=True)

    def edited(self, name, change):
        path = self.dir / name
        shutil.copy(self.good, path)
        with h5py.File(path, "a", libver="latest") as file:
            change(file)
        return path

    def told(self, paths, code):
        """The outcome of `info` on all of them."""
        outcome = harness.run("info", *paths, np=0, limit=300)
        self.assertEqual(outcome.code, code, str(outcome))
        return {path: [line for line in outcome.errors if f"{path}:" in line] for path in paths}

    def refused(self, path, words, np=2, **options):
        """The job says one line, and leaves nothing."""
        run = self.dir / "job"
        outcome = harness.run("solve", "--problem", path, "--k", 2, "-o", run, np=np, **options)
        self.assertEqual(outcome.code, 65, str(outcome))
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        for word in (path.name, *words.split()):
            self.assertIn(word, outcome.errors[0])
        self.assertFalse(run.exists())

    @fault(14, 19, 20)
    def test_hostile(self):
        paths = {self.edited(f"h{number}.h5", change): (name, words) for number, (name, (change, words)) in enumerate(HOSTILE.items())}
        told = self.told(list(paths), 65)
        for path, (name, words) in paths.items():
            with self.subTest(name):
                self.assertEqual(len(told[path]), 1, told[path])
                for word in words.split():
                    self.assertIn(word, told[path][0])
        for name in ("external link", "virtual dataset", "2^56 in chunks", "a long attribute"):
            path, words = next((path, words) for path, (other, words) in paths.items() if other == name)
            self.refused(path, words, np=3)

    @fault(14)
    def test_no_files_at_all(self):
        paths = []
        signature = b"\x89HDF\r\n\x1a\n"
        rng = random.Random(SEED)
        for number, data in enumerate((signature, signature + rng.randbytes(5000), signature + bytes(5000), b"\xff" * 5000,
                                       bytes(512) + signature + rng.randbytes(3000), self.good.read_bytes()[:96])):
            paths.append(self.dir / f"n{number}.h5")
            paths[-1].write_bytes(data)
        for path, errors in self.told(paths, 65).items():
            self.assertEqual(len(errors), 1, path)
        self.refused(paths[1], "")

    def test_ordinary(self):
        """What people write is read, in the formats of old and new libraries."""
        paths = []
        for number, (name, how) in enumerate(ORDINARY.items()):
            for libver in ("earliest", "latest"):
                if name == "szip" and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
                    continue
                path = self.dir / f"o{number}{libver}.h5"
                settings = dict(how)
                dtype = settings.pop("dtype", "f8")
                A = self.plan.A.reshape(M, N1, N2).astype(dtype)
                with h5py.File(path, "w", libver=libver, userblock_size=512 if number % 2 else 0) as file:
                    if settings.pop("compact", False):
                        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                        create.set_layout(h5py.h5d.COMPACT)
                        h5py.h5d.create(file.id, b"A", h5py.h5t.py_create(A.dtype), h5py.h5s.create_simple(A.shape), create).write(
                            h5py.h5s.ALL, h5py.h5s.ALL, A)
                    else:
                        file.create_dataset("A", data=A, **settings)
                    file["type"] = np.dtype("f8")
                    file.create_dataset("y", data=self.plan.y, dtype=file["type"])
                paths.append(path)
        self.told(paths, 0)

    @fault(14)
    def test_files_that_crash_the_library(self):
        """Found by mutation: they crash HDF5 1.10, or keep it busy; on whatever library, they do not harm the job."""
        paths = sorted(CORPUS.glob("*.h5"))
        self.assertTrue(paths)
        outcome = harness.run("info", *paths, np=0, limit=300)
        self.assertIn(outcome.code, (0, 65), str(outcome))
        crashing = [path for path in paths if any(f"{path}: HDF5 crashes" in line for line in outcome.errors)]
        if h5py.h5.get_libversion() == (1, 10, 8):
            self.assertTrue(crashing)
        for path in crashing[:2]:
            self.refused(path, "HDF5 crashes", np=3)

    @fault(14)
    def test_probe(self):
        """Whatever ends the process that looks first: the job gets a message, or the checkpoint before."""
        self.refused(self.good, "crashes signal 9", fault="child_kill:open=good.h5:1:0")
        self.refused(self.good, "does not get through", fault="child_hang:open=good.h5:1:0")
        settings = dict(k=2, tolerance=0)
        for last in (10, 20):
            run = self.solve(self.good, max_iterations=last, **settings)
        outcome = harness.run("solve", *harness.options(problem=self.good, max_iterations=30, **settings), "-o", run, np=2,
                              fault="child_kill:open=run/checkpoint.h5:1:0")
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assertEqual(len(outcome.lines("warning")), 1, str(outcome))
        for word in ("checkpoint.h5: HDF5 crashes", "going on from", "checkpoint.prev.h5"):
            self.assertIn(word, outcome.lines("warning")[0])
        self.assert_same_bits(self.solve(self.good, "whole", max_iterations=30, **settings), run)
        start = harness.write_factors(self.dir / "start.h5", np.ones((N1, 2)), np.ones((N2, 2)))
        outcome = harness.run("solve", *harness.options(problem=self.good, init=f"file:{start}", **settings), "-o", self.dir / "other", np=2,
                              fault="child_kill:open=start.h5:1:0")
        self.assertEqual(outcome.code, 65, str(outcome))
        self.assertIn("start.h5: HDF5 crashes", outcome.errors[0])

    @fault(14)
    def test_damaged_structure(self):
        """Trees, heaps and tables of the old format, byte by byte: told or not, nothing dies."""
        path = self.dir / "old.h5"
        with h5py.File(path, "w", libver="earliest") as file:
            A = self.plan.A.reshape(M, N1, N2)
            file.create_dataset("A", data=A, chunks=(7, N1, N2), compression="gzip", shuffle=True, fletcher32=True)
            file["y"] = self.plan.y
            file.attrs["ensemble"] = "dense"
        data = path.read_bytes()
        rng = random.Random(SEED)
        damaged = {}
        for mark in (b"TREE", b"HEAP", b"SNOD", b"GCOL"):
            at = data.find(mark)
            while at >= 0:
                for _ in range(8):
                    where, value = at + 4 + rng.randrange(40), rng.choice((b"\xff", b"\x00", b"\x7f", struct.pack("<I", 2**32 - 1)))
                    damaged[f"{mark.decode()} {where} {value.hex()}"] = data[:where] + value + data[where + len(value):]
                at = data.find(mark, at + 1)
        verdict = mutate.judge(path, damaged, self.dir, digests=False)
        self.assertEqual(verdict.wrong, {}, str(verdict))
        self.assertGreater(verdict.counts["rejected"], 0)

    @fault(17)
    def test_not_finite(self):
        """First, last and any entry of A, y, truth and held-out data, with its index."""
        held = harness.write_problem(self.dir / "held.h5", ref.plant(N1, N2, 1, M, seed=1, held_out=7))
        rng = random.Random(SEED)
        expected = {}
        with h5py.File(held) as file:
            shapes = {name: file[name].shape for name in ("A", "y", "truth/U", "truth/V", "validation/A", "validation/y")}
        for name, shape in shapes.items():
            for index in (tuple(0 for _ in shape), tuple(n - 1 for n in shape), tuple(rng.randrange(n) for n in shape)):
                path = self.dir / f"x{len(expected)}.h5"
                shutil.copy(held, path)
                with h5py.File(path, "a") as file:
                    poke(index, rng.choice((np.nan, np.inf, -np.inf)))(file, name)
                expected[path] = f"{name}[{', '.join(map(str, index))}] is "
        for path, errors in self.told(list(expected), 65).items():
            self.assertEqual(len(errors), 1, path)
            self.assertIn(expected[path], errors[0])
        for path in list(expected)[2::6]:
            self.refused(path, expected[path], np=3)


class Damage(Case):
    """Damaged checkpoints and planted problems: as good as whole, or refused."""

    def setUp(self):
        super().setUp()
        print(f"{self.id()}: MXS_TEST_SEED={SEED}", flush=True)
        self.problem = self.gen(ensemble="dense", storage="f32", n1=7, n2=6, rank=2, measurements=90, hold_out=0.1, seed=1)
        self.run_dir = self.solve(self.problem, k=3, tolerance=0, max_iterations=12, metrics_every=4)

    def judged(self, path, damaged):
        verdict = mutate.judge(path, damaged, self.dir)
        print(path.name, dict(verdict.counts), flush=True)
        self.assertEqual(verdict.wrong, {}, f"seed {SEED}: {verdict}")
        return verdict.counts

    @fault(13, 29)
    def test_mutations(self):
        for number, path in enumerate((self.run_dir / "checkpoint.h5", self.problem)):
            data = path.read_bytes()
            damaged = {str(one): one.apply(data) for one in mutate.mutations(SEED + number, 100, len(data))}
            self.assertGreater(self.judged(path, damaged)["rejected"], 40)

    @fault(12)
    def test_cut_short(self):
        path = self.run_dir / "checkpoint.h5"
        data = path.read_bytes()
        rng = random.Random(SEED)
        lengths = {0, 1, 8, len(data) // 2, len(data) - 1, *(rng.randrange(len(data)) for _ in range(60))}
        counts = self.judged(path, {f"{length} bytes": data[:length] for length in lengths})
        self.assertEqual(counts["rejected"], len(lengths))

    @fault(29)
    def test_bits_of_stored_data(self):
        """One bit of A, y or the truth in the file: no rank starts to compute with it."""
        for number, name in enumerate(("A", "y", "validation/A", "truth/V")):
            path = self.dir / f"flip{number}.h5"
            data = bytearray(self.problem.read_bytes())
            with h5py.File(self.problem) as file:
                at = file[name].id.get_offset() + 8 * (number + 1)
            data[at] ^= 1
            path.write_bytes(data)
            run = self.dir / "refused"
            outcome = harness.run("solve", "--problem", path, "--k", 3, "-o", run, np=1 + number)
            self.assertEqual(outcome.code, 65, str(outcome))
            self.assertEqual(len(outcome.errors), 1, str(outcome))
            for word in (path.name, f"/{name}: rows", "digest"):
                self.assertIn(word, outcome.errors[0])
            self.assertFalse(run.exists())


if __name__ == "__main__":
    unittest.main()
