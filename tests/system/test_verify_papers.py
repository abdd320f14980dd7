"""tools/verify-papers: the cards at the smallest size, and that a claim which is false of the numbers is not seen."""
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import warnings

import numpy as np

import harness
from harness import Case

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools")
sys.path.insert(0, TOOLS)
VERIFY = os.path.join(TOOLS, "verify-papers")

from papers import asymmetric, core, methods, symmetric

CARDS = {card.name: card for module in (asymmetric, symmetric, methods) for card in module.CARDS}
# At this size; `not seen` would be as good an outcome of a card, but it would be another one.
SEEN = set(CARDS)


def start(*words, **options):
    return subprocess.Popen([sys.executable, "-B", VERIFY, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**harness.DEFAULTS, **os.environ, "MXSENSE": harness.PROGRAM}, **options)


def verify(*words, limit=280):
    process = start(*words)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"hangs: {words}") from None
    return process.returncode, out, err


class Report(Case):
    def test_all_cards(self):
        """Every card at size tiny: the verdicts of the report, its table, its pictures."""
        code, out, err = verify("-o", self.dir / "out", "--size", "tiny", "--ranks", 2)
        self.assertIn(code, (0, 1), out + err)
        report = (self.dir / "out" / "REPORT.md").read_text()
        rows = dict(re.findall(r"^\| \[([\w-]+)\]\([^)]*\) \| [^|]* \| (verified|not seen) \|", report, re.MULTILINE))
        self.assertEqual(set(rows), set(CARDS))
        self.assertEqual({name for name, verdict in rows.items() if verdict == "verified"}, SEEN, report)
        self.assertEqual(code, 0)
        self.assertIn("verified", out.splitlines()[-1])
        for word in ("commit", "size tiny", "processors", f"{len(SEEN)} of {len(CARDS)} verified"):
            self.assertIn(word, report)
        self.assertNotIn("reproduces", report)
        for name, card in CARDS.items():
            self.assertIn(f"## {name}: {card.title}", report)
            self.assertGreater((self.dir / "out" / f"{name}.png").stat().st_size, 5000)
        # Again: nothing is run, the same report.
        before = {path: path.stat().st_mtime_ns for path in (self.dir / "out").glob("**/checkpoint.h5")}
        self.assertGreater(len(before), 50)
        code, _, err = verify("-o", self.dir / "out", "--size", "tiny", "--ranks", 2)
        self.assertEqual(code, 0, err)
        self.assertEqual((self.dir / "out" / "REPORT.md").read_text(), report)
        self.assertEqual({path: path.stat().st_mtime_ns for path in (self.dir / "out").glob("**/checkpoint.h5")}, before)

    def test_stopped_and_continued(self):
        """A signal ends it with 75; the same line goes on, to the same table."""
        code, _, err = verify("-o", self.dir / "whole", "--size", "tiny", "--cards", "P1-b")
        self.assertEqual(code, 0, err)
        process = start("-o", self.dir / "cut", "--size", "tiny", "--cards", "P1-b")
        end = time.monotonic() + 60
        while not list((self.dir / "cut").glob("P1-b/runs/*/checkpoint.h5")) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 75, err)
        code, _, err = verify("-o", self.dir / "cut", "--size", "tiny", "--cards", "P1-b")
        self.assertEqual(code, 0, err)
        whole, cut = (core.mxsense_io.read_table(self.dir / name / "P1-b" / "table.csv") for name in ("whole", "cut"))
        for name in ("alpha", "max_iterations", "reason", "iterations", "loss", "test_error", "relative_residual"):
            self.assertEqual(list(whole[name]), list(cut[name]), name)

    def test_study_files(self):
        """Every size of every study file is sound; all but the identities have twenty problems at the sizes that count."""
        core.symmetric_problem(self.dir / "symmetric.h5", 12, 2, 100, 0)
        jobs = core.ROOT / "jobs"
        files = [path for path in [*jobs.glob("*.yaml"), *(jobs / "papers").glob("*.yaml")] if "\nsizes:" in path.read_text()]
        self.assertEqual({path.stem for path in files if path.parent.name == "papers"}, set(CARDS))
        for path in files:
            for size in re.findall(r"^  (tiny|small|full):", path.read_text(), re.MULTILINE):
                with self.subTest(f"{path.stem}, {size}"):
                    outcome = harness.run("study", path, "--size", size, "--plan", np=0, cwd=self.dir)
                    self.assertEqual(outcome.code, 0, outcome.err)
                    if path.parent.name == "papers" and size != "tiny" and path.stem != "P1-e":
                        own = symmetric.PROBLEMS.get(path.stem, {}).get(size)
                        repeats = {int(number) for number in re.findall(r"repeats: (\d+)",
                                                                        re.search(rf"^  {size}:.*", path.read_text(), re.MULTILINE)[0])}
                        self.assertGreaterEqual(own[3] if own else min(repeats), 20)

    def test_usage(self):
        for words, text in ((("--cards", "P9"), "no card P9"), (("--size", "huge"), "huge"), (("--ranks", "0"), "--ranks")):
            code, _, err = verify("-o", self.dir / "out", *words)
            self.assertEqual(code, 64, err)
            self.assertIn(text, err)
        code, _, err = verify("-o", self.dir / "out", "--program", self.dir / "none")
        self.assertEqual(code, 66, err)
        self.assertIn("give --program", err)

    def test_failure_of_the_program(self):
        """What goes wrong in a run is told, with its exit code."""
        code, _, err = verify("-o", self.dir / "out", "--size", "tiny", "--cards", "P1-e", "--program", "/bin/false")
        self.assertEqual(code, 1, err)
        self.assertNotIn("Traceback", err)
        self.assertIn("exit code 1", err)


# ---------------------------------------------------------------- judgement


def spread(values, seeds=20, width=0.05):
    """Numbers as they should be, a little different for every seed: (..., seed)."""
    return np.asarray(values, dtype=float)[..., None] * np.exp(width * np.random.default_rng(1).standard_normal(seeds))


def decay(t, rate):
    return t, np.exp(-rate * t)


ALPHA = np.array([1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
T = np.arange(10.0, 2410.0, 10.0)


def like_p1a():
    error = np.stack([np.array([0.9, *(2 * ALPHA[1:]**p)]) for p in (0.5, 0.9)])
    return {"rho": np.array([3.0, 16.0]), "alpha": ALPHA, "error": spread(error), "residual": spread(error / 50)}


def like_p1b():
    step = np.array([1 / 16, 1 / 8, 1 / 4, 1 / 2])
    largest = np.stack([np.array([0.1, 0.01 * mu, 0.01 * mu]) for mu in step])
    return {"step": step, "alpha": np.array([1e-1, 1e-4, 1e-6]), "largest": spread(largest),
            "first": spread(np.tile([0.1, 1e-7, 1e-11], (4, 1)))}


def like_p1c():
    s3 = np.array([0.75, 0.5, 0.3, 0.15])
    spectrum = np.stack([np.array([1.0, 1.0, s, s]) for s in s3])[:, None].repeat(20, axis=1)
    p = asymmetric.exponent(spectrum[:, 0], 0.25, 2)
    return {"m": np.array([400.0, 800, 2400, 6000]), "alpha": ALPHA[2:], "step": 0.25, "rank": 2, "spectrum": spectrum,
            "error": spread(ALPHA[2:]**p[:, None])}


def like_p1d():
    return {"k": np.array([3, 6, 12, 30, 30]), "alpha": np.array([1e-4] * 4 + [1e-1]), "half": spread([50, 46, 42, 40, 10], width=0.01),
            "plateau": spread([1e-6, 2e-3, 3e-3, 4e-3, 0.8]), "error": spread([1e-12, 1e-3, 2e-3, 3e-3, 0.8])}


def like_p1e():
    small, large = np.full(3, 1e-15), np.full(3, 1e-2)
    return {"method": np.array(["gd", "nesterov"]), **{name: np.stack([small, large]) for name in ("coupling", "drift")},
            "moved": np.stack([large, large])}


def like_p1f():
    return {"k": np.array([5, 10, 20]), "rank": 3, "found": np.full((3, 20), 3.0), "before": spread([80, 80, 80]),
            "after": spread([150, 150, 150]), "plain": spread([1e-3, 2e-3, 3e-3])}


def like_p2a():
    return {"m": np.array([4.0, 10, 40]), "alpha": ALPHA[2:], "error": spread(np.stack([ALPHA[2:]**p for p in (0.9, 1.2, 1.6)]))}


def like_p2b():
    t = np.arange(141.0)
    dip = 0.2 * np.clip(np.abs(t - 45) / 40, 0.005, 1.0)
    small = {"data": np.where(t > 90, 0.2, dip), "truth": np.where(t < 60, 0.2, 1e-3), "error": np.where(t < 60, 1.0, 1e-6)}
    large = {"data": np.full(141, 0.19), "truth": np.full(141, 0.1), "error": np.where(t < 5, 1.0, 0.1)}
    return {"alpha": np.array([1e-1, 1e-6]), "between": np.full(20, 0.2),
            **{name: np.stack([large[name], small[name]])[:, None].repeat(20, axis=1) for name in small}}


def like_p2c():
    return {"k": np.array([6, 20, 80]), "half": np.array([52, 51, 50.0])[:, None] + np.arange(20) % 3,
            "error": spread([1e-6, 1.1e-6, 1e-6])}


def like_xd1():
    seeds = range(10)
    return {"alpha": np.array([0.5, 0.25]), "curves": {"large": [decay(T, 0.016) for _ in seeds],
                                                       "medium": [decay(T, 0.004) for _ in seeds],
            "same": [(T, 1 / T) for _ in seeds], "exact": [decay(T, 0.05) for _ in seeds]}}


def like_j1():
    """Dips at 10, 20, 30, deep as alpha and m say."""
    t = np.arange(0.0, 60, 2)
    def curve(depth):
        return np.stack([t, *(np.maximum(np.minimum(1, np.abs(t - at) / 10), depth) for at in (10, 20, 30))], axis=-1)
    depths = np.array([[0.5, 0.1, 0.05], [0.3, 0.05, 0.01]])
    return {"m": np.array([4.0, 20]), "alpha": np.array([1, 0.1, 1e-3]),
            "curves": np.stack([[[curve(d)] * 20 for d in row] for row in depths])}


def like_t2():
    return {"condition": np.array([1.0, 5, 20]), "method": np.array(["scaled_gd", "gd"]),
            "to": spread([[80, 80], [80, 300], [82, 1200]], width=0.01), "to_more": spread([120, 120, 125], width=0.01)}


def like_t5():
    c = np.array([1.0, 5, 10, 20, 40])
    to = np.stack([60 * c, np.full(5, 70), np.full(5, 50)], axis=-1)
    return {"condition": c, "method": np.array(["gd", "scaled_gd", "agn"]), "to": spread(to), "passes": spread(to, width=0),
            "iterations": spread(to, width=0), "iteration_s": spread(to * 0 + 1e-3)}


def like_d1():
    best = np.full((2, 3), 0.1)
    return {"noise": np.array([0.1, 0.3]), "k": np.array([3, 6, 20]), "best": spread(best), "picked": spread(best * 1.01),
            "final": spread(best * [1, 1.6, 2.5]), "rate": spread(np.full((2, 1), 0.09))}


def like_gn1():
    rate = np.array([[[0.2, 0.0], [0.1, 0.0]], [[1, 0.2], [0.9, 0.2]], [[1, 0.8], [1, 0.6]], [[1, 1], [1, 1]]])
    ok = np.arange(20) / 20 < rate[..., None]
    return {"rho": np.array([1.05, 1.2, 1.5, 2.5]), "condition": np.array([1.0, 1e4]), "init": np.array(["spectral", "random"]),
            "error": np.where(ok, 1e-9, 0.5), "iterations": np.where(ok, 8, 60)}


def changed(data, name, function):
    return {**data, name: function(np.array(data[name], dtype=float))}


def curves_of(data, name, curve):
    return {**data, "curves": {**data["curves"], name: [curve] * len(data["curves"][name])}}


# Numbers of which the claim holds, and of which one thing each is false.
LIES = {
    "P1-a": (like_p1a, {
        "a large start recovers too": lambda d: changed(d, "error", lambda e: np.where(e > 0.5, 1e-2, e)),
        "the error does not depend on alpha": lambda d: changed(d, "error", lambda e: np.where(e > 0.5, e, 1e-3)),
        "the exponent is a half": lambda d: changed(d, "error", lambda e: np.concatenate([e[:1], e[1:]**(0.5 / 0.9)])),
        "few measurements do it as well": lambda d: changed(d, "error", lambda e: np.stack([e[0] * (ALPHA**0.3)[:, None], e[1]])),
        "no recovery": lambda d: changed(d, "error", lambda e: 10 * e**0.1)}),
    "P1-b": (like_p1b, {
        "it grows with the root of the step": lambda d: changed(d, "largest", np.sqrt),
        "it follows the start": lambda d: changed(d, "largest", lambda e: e * [[[1], [100], [1]]]),
        "the factors are not coupled": lambda d: changed(d, "largest", lambda e: e * [[[1], [100], [100]]]),
        "the step shows from a large start as well": lambda d: changed(d, "largest",
                                                                       lambda e: np.concatenate([10 * e[:, 1:2], e[:, 1:]], axis=1))}),
    "P1-c": (like_p1c, {
        "the exponent is 3/5 throughout": lambda d: changed(d, "error", lambda e: np.broadcast_to(ALPHA[2:, None]**0.6, e.shape)),
        "the exponents are those of another m": lambda d: changed(d, "error", lambda e: np.roll(e, 1, axis=0)),
        "twice the exponent": lambda d: changed(d, "error", np.square)}),
    "P1-d": (like_p1d, {
        "k = r has a plateau": lambda d: changed(d, "error", lambda e: np.maximum(e, 1e-6)),
        "the plateau grows with k": lambda d: changed(d, "plateau", lambda e: e * [[1], [1], [2], [4], [1]]),
        "more columns are slower": lambda d: changed(d, "half", lambda e: e[::-1]),
        "a large start recovers": lambda d: changed(d, "error", lambda e: np.minimum(e, 0.1)),
        "columns prevent recovery": lambda d: changed(d, "plateau", lambda e: e * 10)}),
    "P1-e": (like_p1e, {
        "the steps are others": lambda d: changed(d, "coupling", lambda e: e + 1e-9),
        "the drift is another": lambda d: changed(d, "drift", lambda e: e + 1e-11),
        "nothing drifts": lambda d: changed(d, "moved", lambda e: 0 * e),
        "the check does not tell methods apart": lambda d: changed(d, "coupling", lambda e: 0 * e)}),
    "P1-f": (like_p1f, {
        "the gap is elsewhere": lambda d: changed(d, "found", lambda e: e + 1),
        "it does not converge": lambda d: changed(d, "after", lambda e: np.nan * e),
        "it depends on k": lambda d: changed(d, "after", lambda e: e * [[1], [1.5], [2]]),
        "plain descent does it as well": lambda d: changed(d, "plain", lambda e: 1e-6 * e)}),
    "P2-a": (like_p2a, {
        "the exponent is one": lambda d: changed(d, "error", lambda e: np.concatenate([e[:2], e[2:]**(1 / 1.6)])),
        "the error does not depend on alpha": lambda d: changed(d, "error", lambda e: e[:, [0, 0, 0, 0]]),
        "it falls with m": lambda d: changed(d, "error", lambda e: e[::-1]),
        "few measurements do it as well": lambda d: changed(d, "error", lambda e: e[[2, 2, 2]])}),
    "P2-b": (like_p2b, {
        "no alignment": lambda d: changed(d, "data", lambda e: np.maximum(e, 0.1)),
        "it stays with A*(y)": lambda d: changed(d, "data", lambda e: np.minimum.accumulate(e, axis=-1)),
        "it never comes to X*": lambda d: changed(d, "truth", lambda e: np.maximum(e, 0.1)),
        "it goes to X* at once": lambda d: changed(d, "truth", lambda e: 0.01 * e),
        "the error falls first": lambda d: changed(d, "error", lambda e: 0.1 * e),
        "a large start aligns too": lambda d: changed(d, "data", lambda e: e[[1, 1]])}),
    "P2-c": (like_p2c, {
        "more columns are slower": lambda d: changed(d, "half", lambda e: 1.3 * e[::-1] + np.array([[0], [10], [20]])),
        "they make no difference": lambda d: changed(d, "half", lambda e: e[[1, 1, 1]]),
        "the floor rises": lambda d: changed(d, "error", lambda e: e * [[1], [2], [9]])}),
    "XD1": (like_xd1, {
        "U U^T is linear": lambda d: curves_of(d, "same", decay(T, 0.01)),
        "U V^T is not": lambda d: curves_of(d, "large", (T, 1 / T**2)),
        "its rate does not depend on alpha": lambda d: curves_of(d, "medium", decay(T, 0.015)),
        "U U^T is slow with k = r": lambda d: curves_of(d, "exact", (T, 1 / T))}),
    "J1": (like_j1, {
        "all at once": lambda d: changed(d, "curves", lambda c: c[..., [0, 3, 3, 3]]),
        "in reverse": lambda d: changed(d, "curves", lambda c: c[..., [0, 3, 2, 1]]),
        "the start does not matter": lambda d: changed(d, "curves", lambda c: c[:, [2, 2, 2]]),
        "fewer measurements are better": lambda d: changed(d, "curves", lambda c: c[::-1])}),
    "T2": (like_t2, {
        "scaled_gd sees the condition": lambda d: changed(d, "to", lambda e: e * [[[1], [1]], [[1], [1]], [[2], [1]]]),
        "in the tail": lambda d: changed(d, "to_more", lambda e: e * [[1], [1], [2]]),
        "gd does not": lambda d: changed(d, "to", lambda e: e[:, [0, 0]]),
        "it does not get there": lambda d: changed(d, "to", lambda e: np.where(e < 100, np.nan, e))}),
    "T5": (like_t5, {
        "scaled_gd grows with the root": lambda d: changed(d, "to",
                                                           lambda e: e * np.stack([d["condition"]**p for p in (0, 0.5, 0)],
                                                                                  axis=-1)[..., None]),
        "one factor at a time grows with the root": lambda d: changed(d, "to",
                                                                      lambda e: e * np.stack([d["condition"]**p for p in (0, 0, 0.5)],
                                                                                             axis=-1)[..., None]),
        "gd grows with the square": lambda d: changed(d, "to",
                                                      lambda e: e * np.stack([d["condition"]**p for p in (1, 0, 0)], axis=-1)[..., None]),
        "scaled_gd costs two passes": lambda d: changed(d, "passes", lambda e: e * [[1], [2], [1]])}),
    "D1": (like_d1, {
        "validation picks badly": lambda d: changed(d, "picked", lambda e: 1.3 * e),
        "k spoils the rate": lambda d: {**d, **{name: d[name] * np.array([1, 2, 4])[:, None] for name in ("picked", "best", "final")}},
        "nothing is overfitted": lambda d: changed(d, "final", lambda e: np.minimum(e, 0.1))}),
    "GN1": (like_gn1, {
        "the condition spoils it": lambda d: changed(d, "error", lambda e: np.where((d["condition"] > 1)[:, None, None], 0.5, e)),
        "it recovers without information": lambda d: changed(d, "error", lambda e: 0 * e),
        "many measurements hurt": lambda d: changed(d, "error", lambda e: e[[0, 2, 3, 1]]),
        "it takes long": lambda d: changed(d, "iterations", lambda e: 10 * e)}),
}


class Judgement(unittest.TestCase):
    def setUp(self):
        """Some lies are without any number."""
        quiet = warnings.catch_warnings()
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)
        warnings.simplefilter("ignore")

    def test_every_card_has_lies(self):
        self.assertEqual(set(LIES), set(CARDS))

    def test_what_is_claimed_is_seen(self):
        for name, (numbers, _) in LIES.items():
            with self.subTest(name):
                failed = [f"{check.name}: {check.value}" for check in CARDS[name].judge(numbers()) if not check.passed]
                self.assertEqual(failed, [])

    def test_what_is_false_is_not_seen(self):
        for name, (numbers, lies) in LIES.items():
            for lie, tell in lies.items():
                with self.subTest(f"{name}: {lie}"):
                    self.assertEqual(core.verdict(CARDS[name].judge(tell(numbers()))), "not seen")

    def test_every_check_can_fail(self):
        """Each check of each card, controls too, is failed by one of the lies."""
        for name, (numbers, lies) in LIES.items():
            failed = set()
            for tell in lies.values():
                failed |= {place for place, check in enumerate(CARDS[name].judge(tell(numbers()))) if not check.passed}
            with self.subTest(name):
                never = [check.name for place, check in enumerate(CARDS[name].judge(numbers())) if place not in failed]
                self.assertEqual(never, [])

    def test_nothing_is_no_verdict(self):
        self.assertEqual(core.verdict([]), "not seen")


if __name__ == "__main__":
    unittest.main()
