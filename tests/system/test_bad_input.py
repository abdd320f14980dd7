"""Bad input ends with one line that names it and with the right exit code, on any number of ranks, and leaves nothing behind."""
import concurrent.futures
import os
import pathlib
import shutil
import tempfile
import unittest

import h5py
import numpy as np

import harness
import reference as ref
from faults import fault
from harness import Case, options

M, N1, N2 = 301, 11, 9


def replace(file, name, data):
    """Put other data under a name, or only take the old away."""
    if name in file:
        del file[name]
    if data is not None:
        file[name] = data


def poke(name, index, value, dtype="f8"):
    """A change of one entry."""
    def change(file):
        data = file[name][...].astype(dtype)
        data[index] = value
        replace(file, name, data)
    return change


def swap(name, make):
    """A change of a whole dataset: `make` gets the old data; None takes it away."""
    return lambda file: replace(file, name, make(file[name][...]))


def recipe(**attributes):
    """The file becomes one of a generated ensemble."""
    def change(file):
        del file["A"]
        del file["truth"]
        file.attrs.update({**dict(ensemble="rademacher", n1=N1, n2=N2, m=M, seed=1, ensemble_version=1), **attributes})
    return change


def squeeze(filter_name):
    def change(file):
        A = file["A"][...]
        del file["A"]
        file.create_dataset("A", data=A, chunks=(50, *A.shape[1:]), compression=filter_name)
    return change


def held_out(A, y):
    def change(file):
        file["validation/y"] = y
        if A is not None:
            file["validation/A"] = A
    return change


# What is done to a good file, and words of the message. All exit with 65.
FILES = {
    "no y": (swap("y", lambda y: None), "y"),
    "no A": (swap("A", lambda A: None), "A"),
    "A of one dimension": (swap("A", lambda A: A[:, 0, 0]), "A"),
    "A of four dimensions": (swap("A", lambda A: A[..., None]), "A"),
    "flat A without its shape": (swap("A", lambda A: A.reshape(M, -1)), "n1"),
    "y shorter than A": (swap("y", lambda y: y[:-1]), "300 301"),
    "y longer than A": (swap("y", lambda y: np.append(y, 0)), "302 301"),
    "y of two columns": (swap("y", lambda y: np.stack([y, y], axis=1)), "y"),
    "y of text": (swap("y", lambda y: y.astype("S20")), "y"),
    "A of text": (swap("A", lambda A: A.astype("S8")), "A"),
    "A complex": (swap("A", lambda A: A.astype("c16")), "A"),
    "A compound": (swap("A", lambda A: np.zeros(A.shape, [("a", "f8"), ("b", "i4")])), "A"),
    "A behind a filter that HDF5 does not bring": (squeeze("lzf"), "A lzf"),
    "no measurements": (lambda file: (replace(file, "y", np.zeros(0)), replace(file, "A", np.zeros((0, N1, N2)))), "measurement"),
    "NaN in y": (poke("y", 217, np.nan), "y 217"),
    "Inf in y": (poke("y", 0, np.inf), "y 0"),
    "NaN in A": (poke("A", (300, 10, 8), np.nan), "A 300 10 8"),
    "-Inf in A": (poke("A", (7, 0, 3), -np.inf), "A 7 0 3"),
    "NaN in A of float32": (poke("A", (155, 2, 3), np.nan, "f4"), "A 155 2 3"),
    "truth of other rows": (swap("truth/U", lambda U: U[:-1]), "truth"),
    "truth of other columns": (swap("truth/U", lambda U: U[:, :1]), "truth"),
    "half a truth": (swap("truth/V", lambda V: None), "truth"),
    "NaN in the truth": (poke("truth/U", (3, 1), np.nan), "truth"),
    "held-out A of another shape": (held_out(np.ones((5, N2, N1)), np.ones(5)), "validation"),
    "held-out y without A": (held_out(None, np.ones(5)), "validation"),
    "held-out y of another length": (held_out(np.ones((5, N1, N2)), np.ones(4)), "validation"),
    "NaN in held-out y": (held_out(np.ones((5, N1, N2)), np.array([1, 2, np.nan, 4, 5])), "validation 2"),
    "unknown ensemble": (recipe(ensemble="fourier"), "fourier rademacher"),
    "ensemble of the future": (recipe(ensemble_version=99), "99"),
    "ensemble of the past": (recipe(ensemble_version=0), "0 generate"),
    "fast without its blocks": (recipe(ensemble="fast"), "block_rows"),
    "fast with blocks of nothing": (recipe(ensemble="fast", block_rows=0), "block_rows 128"),
    "fast with blocks beyond the transform": (recipe(ensemble="fast", block_rows=129), "block_rows 129 128"),
    "A of unknown storage": (lambda file: file["A"].attrs.update(storage="f8"), "A storage f8 bf16"),
    "A that is not of bf16 numbers": (lambda file: file["A"].attrs.update(storage="bf16"), "A[ bf16"),
    "recipe without seed": (lambda file: (recipe()(file), file.attrs.pop("seed")), "seed"),
    "recipe with another m": (recipe(m=M + 1), "302 301"),
    "n1 of zero": (recipe(n1=0), "n1"),
    "n1 negative": (recipe(n1=-3), "n1"),
    "n1 n2 overflows": (recipe(n1=2**33, n2=2**33), "8589934592"),
}

# Settings of a solve with a good file: one that is wrong, its exit codes, and words of the message.
SETTINGS = {
    "k of zero": (dict(k=0), 78, "k"),
    "k negative": (dict(k=-1), 78, "k"),
    "k no number": (dict(k="many"), 78, "k many"),
    "k no integer": (dict(k=1.5), 78, "k 1.5"),
    "k with rubbish": (dict(k="3x"), 78, "k 3x"),
    "k beyond memory": (dict(k=10**17), (70, 78), ""),
    "alpha negative": (dict(alpha="-1"), 78, "alpha"),
    "alpha not a number": (dict(alpha="nan"), 78, "alpha"),
    "alpha infinite": (dict(alpha="inf"), 78, "alpha"),
    "block_rows of zero": (dict(block_rows=0), 78, "block_rows"),
    "step negative": (dict(step="-0.1"), 78, "step"),
    "hold_out of all": (dict(hold_out="1"), 78, "hold_out"),
    "hold_out negative": (dict(hold_out="-0.1"), 78, "hold_out"),
    "tolerance negative": (dict(tolerance="-1"), 78, "tolerance"),
    "max_iterations negative": (dict(max_iterations=-1), 78, "max_iterations"),
    "metrics_every negative": (dict(metrics_every=-1), 78, "metrics_every"),
    "seed too large": (dict(seed="1e40"), 78, "seed"),
    "unknown storage": (dict(storage="f16"), 78, "storage f16 f32"),
    "bits of what are no signs": (dict(storage="bits"), 65, "good.h5 A[ bits"),
    "unknown reduction": (dict(reduction="quick"), 78, "reduction fast"),
    "unknown method": (dict(method="magic"), 78, "method gd"),
    "unknown unit": (dict(checkpoint_every="10parsec"), 78, "checkpoint_every"),
    "more measurements than there are": (dict(measurements=M + 1), (65, 78), "measurements 301"),
    "unknown start": (dict(init="zeros"), 78, "init"),
    "start file missing": (dict(init="file:nowhere.h5"), 66, "nowhere.h5"),
    "mistyped option": (dict(max_iteration=3), 64, "max_iterations"),
    "abbreviated option": (dict(max=3), 64, "max"),
}

# Settings files: text, exit code, words of the message; the file and the line always belong to them.
YAML = {
    "mistyped key": ("k: 3\nalhpa: 1\n", "2 alhpa alpha"),
    "value out of range": ("alpha: 1\n\nk: -3\n", "3 k"),
    "list for a number": ("max_iterations: [1, 2]\n", "1 max_iterations"),
    "list in a list": ("seed: 1\nk: [1, [2]]\n", "2 k"),
    "word in a list": ("alpha: [0.1, small]\n", "1 alpha small"),
    "empty list": ("alpha: []\n", "1 alpha"),
    "mapping for a number": ("alpha: 1\nk:\n  a: 1\n", "k"),
    "key given twice": ("k: 1\nalpha: 1\nk: 2\n", "3 k"),
    "not YAML": ("k: 3\n  - {\n", "2"),
    "not a mapping": ("- k\n- 3\n", "1"),
}

GEN = {
    "rank too large": (dict(rank=10), "rank"),
    "rank of zero": (dict(rank=0), "rank"),
    "n1 negative": (dict(n1=-1), "n1"),
    "n1 n2 overflows": (dict(n1=2**33, n2=2**33), "n1"),
    "no measurements": (dict(measurements=0), "measurements"),
    "condition below one": (dict(condition="0.5"), "condition"),
    "noise negative": (dict(noise="-1"), "noise"),
    "noise not finite": (dict(noise="inf"), "noise"),
    "hold_out of all": (dict(hold_out="1"), "hold_out"),
    "unknown ensemble": (dict(ensemble="fourier"), "fourier"),
    "blocks of another ensemble": (dict(blocks=2), "blocks fast"),
    "blocks of nothing": (dict(ensemble="fast", blocks=51), "blocks 51 50"),
    "blocks beyond the transform": (dict(ensemble="fast", measurements=257, blocks=2), "blocks 3 block_rows 128"),
    "fast beyond all blocks": (dict(ensemble="fast", measurements=128 * 8192 + 1), "measurements 8192 block_rows"),
    "storage of what is not stored": (dict(storage="bf16"), "storage dense"),
    "storage of bits": (dict(ensemble="dense", storage="bits"), "storage bf16"),
}

# Storages that problems of generated ensembles cannot have.
NOT_STORED = (("gaussian", "bits"), ("gaussian", "f32"), ("gaussian8", "bits"), ("fast", "bits"), ("rademacher", "bf16"))


class BadInput(Case):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)
        self.plan = ref.plant(N1, N2, 2, M, seed=1)
        self.good = harness.write_problem(self.dir / "good.h5", self.plan)

    def names(self):
        return {name: None if data is None else len(data) for name, data in harness.tree(self.dir).items()}

    def expect(self, cases):
        """Run each case (name: arguments, codes, words, options) without launcher and on three ranks."""
        before = self.names()

        def run(item):
            number, (name, (arguments, codes, words, *rest), np_) = item
            problems = []
            # Cases run side by side: none may meet the directory of another.
            arguments = [f"{number}{argument}" if argument in ("run", "new.h5") else argument for argument in arguments]
            extra = rest[0] if rest else {}
            try:
                outcome = harness.run(*arguments, np=np_, cwd=self.dir, **extra)
            except AssertionError as error:
                return [f"{name}, np {np_}: {error}"]
            if outcome.code not in (codes if isinstance(codes, tuple) else (codes,)):
                problems.append(f"exit code instead of {codes}")
            if len(outcome.errors) != 1:
                problems.append(f"{len(outcome.errors)} error lines")
            strange = [line for line in outcome.err.splitlines() if line.strip() and not line.startswith("mxsense: ")]
            if strange and np_ == 0:
                problems.append("something else on standard error")
            missing = [word for word in words.split() if word not in " ".join(outcome.errors)]
            if missing:
                problems.append(f"does not name {missing}")
            return [f"{name}, np {np_}: {'; '.join(problems)}\n{outcome}"] if problems else []

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = sum(pool.map(run, enumerate((name, case, np_) for name, case in cases.items() for np_ in (0, 3))), [])
        after = self.names()
        created = sorted(name for name in after.keys() | before.keys() if after.get(name, 0) != before.get(name, 0))
        if created:
            found.append(f"left behind: {created}")
        if found:
            self.fail(f"{len(found)} findings\n" + "\n".join(found))

    @fault(17, 19, 20)
    def test_problem_files(self):
        cases = {}
        for number, (name, (change, words)) in enumerate(FILES.items()):
            path = self.dir / f"bad{number}.h5"
            shutil.copy(self.good, path)
            with h5py.File(path, "a") as file:
                change(file)
            cases[name] = (["solve", *options(problem=path, k=2), "-o", "run"], 65, f"{path.name} {words}")
        text = self.dir / "text.h5"
        text.write_text("not a problem\n" * 1000)
        (self.dir / "folder.h5").mkdir()
        (self.dir / "empty.h5").touch()
        (self.dir / "cut.h5").write_bytes(self.good.read_bytes()[:20000])
        for name, codes in (("text.h5", 65), ("empty.h5", 65), ("cut.h5", 65), ("folder.h5", (65, 66)), ("nowhere.h5", 66), ("no/where.h5", 66)):
            cases[name] = (["solve", *options(problem=name, k=2), "-o", "run"], codes, name)
        cases["held out twice"] = (["solve", *options(problem=self.with_validation(), k=2, hold_out=0.1), "-o", "run"], 78, "hold_out")
        self.expect(cases)

    def with_validation(self):
        return harness.write_problem(self.dir / "held.h5", ref.plant(N1, N2, 2, M, seed=1, held_out=9))

    def test_settings(self):
        self.expect({name: (["solve", *options(**{**dict(problem=self.good, k=2), **change}), "-o", "run"], codes, words)
                     for name, (change, codes, words) in SETTINGS.items()})

    def test_settings_files(self):
        cases = {}
        for number, (name, (text, words)) in enumerate(YAML.items()):
            path = self.dir / f"run{number}.yaml"
            path.write_text(text)
            cases[name] = (["solve", path.name, *options(problem=self.good), "-o", "run"], 78, f"{path.name} {words}")
        cases["missing"] = (["solve", "nowhere.yaml", "-o", "run"], 66, "nowhere.yaml")
        (self.dir / "lost.yaml").write_text("problem: nowhere.h5\n")
        cases["problem missing"] = (["solve", "lost.yaml", "-o", "run"], 66, "nowhere.h5")
        self.expect(cases)

    @fault(17, 19)
    def test_start_factors(self):
        U, V = (np.ones((n, 2)) for n in (N1, N2))
        bad = U.copy()
        bad[4, 1] = np.nan
        cases = {}
        for name, pair, words in (("rows", (U[:-1], V), ""), ("columns", (U[:, :1], V[:, :1]), ""), ("finite", (bad, V), "")):
            path = harness.write_factors(self.dir / f"start_{name}.h5", *pair)
            cases[name] = (["solve", *options(problem=self.good, k=2, init=f"file:{path}"), "-o", "run"], (65, 78), path.name + words)
        cases["not HDF5"] = (["solve", *options(problem=self.good, k=2, init="file:" + __file__), "-o", "run"], 65, os.path.basename(__file__))
        cases["no factors"] = (["solve", *options(problem=self.good, k=2, init=f"file:{self.good}"), "-o", "run"], 65, "factors")
        self.expect(cases)

    def test_gen(self):
        base = dict(n1=N1, n2=N2, rank=2, measurements=50, ensemble="rademacher")
        self.expect({name: (["gen", *options(**{**base, **change}), "-o", "new.h5"], 78, words) for name, (change, words) in GEN.items()})

    def test_storage_of_generated_problems(self):
        cases = {}
        for kind, storage in NOT_STORED:
            path = self.dir / f"{kind}.h5"
            if not path.exists():
                self.gen(path.name, n1=N1, n2=N2, rank=2, measurements=50, ensemble=kind)
            cases[f"{kind} {storage}"] = (["solve", *options(problem=path, k=2, storage=storage), "-o", "run"], 78, f"storage {storage} {kind} auto")
        self.expect(cases)

    def test_usage(self):
        solve = ["solve", *options(problem=self.good, k=2)]
        self.expect({
            "no command": ([], 64, ""),
            "unknown command": (["slove"], 64, "slove solve"),
            "no output directory": (solve, 64, "-o"),
            "no problem": (["solve", "--k", "2", "-o", "run"], (64, 78), "problem"),
            "value missing": ([*solve, "-o", "run", "--alpha"], 64, "alpha"),
            "unknown short option": ([*solve, "-z", "-o", "run"], 64, "-z"),
            "two settings files": (["solve", "a.yaml", "b.yaml", "-o", "run"], 64, "b.yaml"),
            "gen without output": (["gen", *options(n1=5, n2=5, rank=1, measurements=30)], 64, "-o"),
            "gen without shape": (["gen", "-o", "new.h5"], (64, 78), "n1"),
            "gen with a mistyped option": (["gen", *options(n1=5, n2=5, rank=1, measurement=30), "-o", "new.h5"], 64, "measurements"),
            "info without a file": (["info"], 64, ""),
            "info of nothing": (["info", "nowhere.h5"], 66, "nowhere.h5"),
            "info of text": (["info", __file__], 65, os.path.basename(__file__)),
        })

    def test_places(self):
        solve = ["solve", *options(problem=self.good, k=2), "-o"]
        gen = ["gen", *options(n1=5, n2=5, rank=1, measurements=30, ensemble="rademacher"), "-o"]
        (self.dir / "full").mkdir()
        (self.dir / "full" / "thesis.txt").write_text("not a run\n")
        (self.dir / "folder").mkdir()
        self.expect({
            "parent missing": ([*solve, "no/where"], 73, "no/where"),
            "a file": ([*solve, "good.h5"], 73, "good.h5"),
            "no run": ([*solve, "full"], 73, "full"),
            "gen, parent missing": ([*gen, "no/where.h5"], 73, "/no:"),
            "gen, a directory": ([*gen, "folder"], 73, "folder"),
        })

    def test_permissions(self):
        """As a user who may not write there."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv, to become somebody else")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        temporary = tempfile.mkdtemp(prefix="mxs")
        self.addCleanup(shutil.rmtree, temporary, ignore_errors=True)
        os.chmod(temporary, 0o777)
        extra = dict(prefix=nobody, env={"HOME": temporary})
        if harness.run("--version", np=0, cwd=temporary, **extra).code != 0 or not self.readable_by_all():
            self.skipTest("the build folder is not open to other users")
        closed, secret = self.dir / "closed", self.dir / "secret.h5"
        closed.mkdir(mode=0o755)
        (self.dir / "open").mkdir()
        os.chmod(self.dir / "open", 0o777)
        shutil.copy(self.good, secret)
        os.chmod(secret, 0o600)
        self.expect({
            "no new directory": (["solve", *options(problem=self.good, k=2), "-o", "closed/run"], 77, "closed/run", extra),
            "no new file": (["gen", *options(n1=5, n2=5, rank=1, measurements=30, ensemble="rademacher"), "-o", "closed/new.h5"], 77, "/closed:",
                            extra),
            "not readable": (["solve", *options(problem=secret, k=2), "-o", "open/run"], 77, "secret.h5", extra),
            "empty directory": (["solve", *options(problem=self.good, k=2), "-o", "closed"], 77, "closed", extra),
        })

    def readable_by_all(self):
        return all(parent.stat().st_mode & 0o005 == 0o005 for parent in pathlib.Path(self.dir).resolve().parents)


if __name__ == "__main__":
    unittest.main()
