"""What surrounds a run: memory that is not there, clocks that jump, ranks with other files, crowded cores, locales and odd paths."""
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
import kills
from faults import fault
from harness import Case, Process, options

# Stands in for the program: sets up its rank, and keeps the exit code of every rank, of which a launcher tells only one.
WRAPPER = """#!/bin/bash
trap '' TERM
rank=${OMPI_COMM_WORLD_RANK:-0}
program=(env LD_PRELOAD="$WRAP_PRELOAD" MXS_FAULT="$WRAP_FAULT" "$WRAP_PROGRAM")
if [[ -n $WRAP_LIMIT && $rank == "$WRAP_RANK" ]]; then
  program=(prlimit "--as=$WRAP_LIMIT" "${program[@]}")
fi
"${program[@]}" "$@"
code=$?
echo $code >"$WRAP_CODES/$rank"
exit $code
"""


class Environment(Case):
    SETTINGS = dict(k=5, max_iterations=30, tolerance=0, metrics_every=5)

    def setUp(self):
        super().setUp()
        self.problem = self.gen("p.h5", ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.whole = self.solve(self.problem, "whole", **self.SETTINGS)
        self.wrapper = self.dir / "wrapper"
        self.wrapper.write_text(WRAPPER)
        self.wrapper.chmod(0o755)

    def arguments(self, name, problem=None, **settings):
        return ["solve", *options(problem=problem or self.problem, **{**self.SETTINGS, **settings}), "-o", self.dir / name]

    def wrapped(self, name, np, fault_rules="", limit="", rank=0, **settings):
        """The outcome of a run, and the exit codes of the ranks that the launcher did not kill before they could tell."""
        codes = self.dir / f"{name}.codes"
        codes.mkdir()
        variables = {"WRAP_PROGRAM": harness.PROGRAM, "WRAP_PRELOAD": harness.FAULT if fault_rules else "", "WRAP_FAULT": fault_rules,
                     "WRAP_LIMIT": limit, "WRAP_RANK": rank, "WRAP_CODES": codes}
        process = Process(self.arguments(name, **settings), np=np, env={key: str(value) for key, value in variables.items()},
                          program=str(self.wrapper))
        outcome = process.finish()
        kills.wait_until_gone(process.popen.pid)
        told = [path.read_text().strip() for path in codes.iterdir()]
        return outcome, {int(text) for text in told if text}

    # ---- memory -----------------------------------------------------------------------------------

    def out_of_memory(self, name, note, **how):
        """One message and the same code on all ranks, and what is there goes on; or the run does without."""
        outcome, codes = self.wrapped(name, 2, checkpoint_every=10, **how)
        text = f"{note}: {codes}\n{outcome}"
        self.assertIn(outcome.code, (0, 70), text)
        self.assertEqual(codes, {outcome.code}, text)
        if outcome.out or outcome.code == 0:  # else a rank may have failed before it knew the others, and rank 0 speaks for all
            self.assertEqual(len(outcome.errors), 1 if outcome.code else 0, text)
        self.run_ok(*self.arguments(name), np=3)
        self.assert_same_bits(self.whole, self.dir / name, note)
        return outcome.code

    @fault(21)
    def test_an_allocation_fails(self):
        log, cases = self.dir / "log", []
        for rank in (0, 1):
            harness.run(*self.arguments(f"counted{rank}", checkpoint_every=10), np=2, fault=f"sleep0:malloc:0:{rank}",
                        env={"MXS_FAULT_LOG": str(log)})
            count = len(log.read_text().splitlines())
            log.unlink()
            self.assertGreater(count, 50, "the program allocates through malloc")
            print(f"rank {rank}: {count} allocations", flush=True)
            cases += [(f"rank{rank}_{i}", f"ENOMEM:malloc:{nth}:{rank}")
                      for i, nth in enumerate(sorted({1 + round(i * (count - 1) / 7) for i in range(8)}))]
        found = []
        kills.together([(name, rule) for name, rule in cases],
                       lambda name, rule: found.append(self.out_of_memory(name, rule, fault_rules=rule)))
        self.assertIn(70, found, "no allocation failed")

    @fault(21)
    def test_limit_on_the_address_space(self):
        """Of one rank: libraries meet it as well."""
        if not shutil.which("prlimit"):
            self.skipTest("needs prlimit")
        process = Process(self.arguments("long", max_iterations=10**9))
        self.addCleanup(process.end)
        process.first_line()
        process.wait_for((self.dir / "long" / "metrics.csv").exists)
        peak = [int(re.search(r"VmPeak:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024 for pid in process.ranks()][0]
        process.end()
        if peak > 2**40:
            self.skipTest("a sanitizer takes all address space")
        print(f"a rank takes {peak >> 20} MB of address space", flush=True)
        found = []
        kills.together([(f"limit{percent}", percent, percent % 2) for percent in (60, 71, 80, 91, 99, 140)],
                       lambda name, percent, rank: found.append(
                           self.out_of_memory(name, f"{percent} %", limit=peak * percent // 100, rank=rank)))
        self.assertEqual(sorted(set(found)), [0, 70])

    # ---- cores and clocks -------------------------------------------------------------------------

    @fault(24)
    def test_more_ranks_and_threads_than_cores(self):
        for np, threads in ((8, 1), (2, 8), (8, 8)):
            run = self.solve(self.problem, f"np{np}t{threads}", np=np, threads=threads, **self.SETTINGS)
            self.assert_same_bits(self.whole, run)

    def jump(self, number, rules):
        name, length = f"jump{number}", 600
        settings = dict(max_iterations=length, checkpoint_every="10,1h")
        outcome = harness.run(*self.arguments(name, **settings), np=2, fault=rules)
        self.assertEqual((outcome.code, outcome.errors), (0, []), f"{rules}\n{outcome}")
        run = self.dir / name
        self.assert_same_bits(self.long, run, rules)
        summary = harness.summary(run)
        self.assertEqual((summary["reason"], summary["iterations"]), ("target", length))
        seconds = list(harness.column(run, "seconds"))
        self.assertTrue(all(a <= b for a, b in zip([0, *seconds], seconds)), f"{rules}: {seconds}")
        self.assertLess(seconds[-1], harness.LIMIT)
        self.assertTrue(0 < summary["timings"]["wall"] < harness.LIMIT, summary["timings"])
        times = harness.events(run)
        for event in times:
            self.assertGreaterEqual(event.get("seconds", 0), 0, f"{rules}: {event}")
            self.assertLess(event.get("seconds", 0), harness.LIMIT, f"{rules}: {event}")
        first, last = (datetime.datetime.fromisoformat(times[i]["time"].rstrip("Z")) for i in (0, -1))
        return (last - first).total_seconds()

    @fault(25)
    def test_clock_jumps(self):
        """A day forward or back, of one rank or all, from the start or in the middle; in a resumed run too."""
        self.long = self.solve(self.problem, "long", **{**self.SETTINGS, "max_iterations": 600})
        day = 86400
        for number, (rules, shift) in enumerate(((f"+{day}:clock", 0), (f"-{day}:clock", 0), (f"+{day}:clock:30:0", day),
                                                 (f"-{day}:clock:30:0", -day), (f"+{day}:clock:30:1", 0))):
            moved = self.jump(number, rules)
            self.assertLess(abs(moved - shift), harness.LIMIT, f"{rules}: the events tell of {moved} s")
        harness.run(*self.arguments("jump9", max_iterations=300), np=2, fault=f"+{day}:clock")
        self.assertLess(self.jump(9, f"-{day}:clock"), -day)

    # ---- ranks that differ ------------------------------------------------------------------------

    def mismatch(self, name, first, second, code=69):
        """Two ranks with a command each: refused with one line, and nothing is left."""
        with open(self.dir / f"{name}.err", "w+") as err:
            process = subprocess.run([harness.MPIEXEC, "-q", "-np", "1", *map(str, first), ":", "-np", "1", *map(str, second)],
                                     env={**harness.DEFAULTS, **os.environ}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
                                     timeout=harness.LIMIT)
            err.seek(0)
            text = err.read()
        errors = [line for line in text.splitlines() if line.startswith("mxsense: error: ")]
        self.assertEqual((process.returncode, len(errors)), (code, 1), f"{name}: {process.returncode}\n{text}")
        self.assertFalse((self.dir / name).exists(), f"{name}: a refused start leaves nothing")
        return errors[0]

    @fault(32)
    def test_two_settings_files(self):
        for name, text in (("a", "k: 5\n"), ("b", "k: 6\n")):
            (self.dir / f"{name}.yaml").write_text(text)
        commands = [[harness.PROGRAM, "solve", self.dir / f"{name}.yaml", "--problem", self.problem, "-o", self.dir / "files"] for name in "ab"]
        self.mismatch("files", *commands)

    @fault(32)
    def test_two_studies(self):
        """Ranks that would form other groups, or solve other parts, never meet again."""
        (self.dir / "s.yaml").write_text("problem: {n: 6, rank: 1, rho: 4}\nsolve: {method: gd, k: [1, 2], max_iterations: 3}\npack: off\n")
        command = [harness.PROGRAM, "study", self.dir / "s.yaml", "-o", self.dir / "study"]
        for options in (["--ranks", "1", "--at_once", "max"], ["--part", "1/2"], ["--plan"]):
            self.assertIn("command line", self.mismatch("study", command, [*command, *options]))

    @fault(32)
    def test_two_builds(self):
        commit = re.search(r"(?m)^commit\s+(\w+)", self.run_ok("--version", np=0).out).group(1)
        if commit == "unknown":
            self.skipTest("this build does not know its commit")
        other = self.dir / "other"
        data = pathlib.Path(harness.PROGRAM).read_bytes()
        self.assertIn(commit.encode(), data)
        other.write_bytes(data.replace(commit.encode(), commit[::-1].encode() if commit != commit[::-1] else b"0" * len(commit)))
        other.chmod(0o755)
        arguments = self.arguments("builds")
        self.assertIn("build", self.mismatch("builds", [harness.PROGRAM, *arguments], [other, *arguments]))

    def see(self, path, instead):
        """Command that sees another file at a path."""
        return ["unshare", "--mount", "bash", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "bash", instead, path]

    @fault(32)
    def test_two_files_of_one_name(self):
        """A node with a stale or another copy of the problem."""
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("needs the right to make mount namespaces")
        stored = dict(ensemble="dense", n1=16, n2=12, rank=2, measurements=300)
        own, other, shape = (self.gen(f"{name}.h5", **{**stored, **change}) for name, change in
                             (("own", dict(seed=1)), ("another", dict(seed=2)), ("shape", dict(seed=1, measurements=299))))
        seed = self.gen("seed.h5", ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=2)
        for name, path, instead in (("content", own, other), ("shape", own, shape), ("recipe", self.problem, seed)):
            with self.subTest(name):
                command = [harness.PROGRAM, *self.arguments(name, path)]
                self.mismatch(name, command, [*self.see(path, instead), *command])

    # ---- locale and paths -------------------------------------------------------------------------

    @fault(35)
    def test_decimal_comma(self):
        """A real locale, made for the test."""
        if not shutil.which("localedef"):
            self.skipTest("needs localedef")
        locales = self.dir / "locales"
        locales.mkdir()
        made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", locales / "de_DE.UTF-8"], capture_output=True, text=True, check=False)
        if not (locales / "de_DE.UTF-8").exists():
            self.skipTest(f"cannot make a locale: {made.stderr.strip()}")
        german = {"LOCPATH": str(locales), "LC_ALL": "de_DE.UTF-8"}
        shown = subprocess.run(["bash", "-c", 'printf "%.1f" 0,5'], env={**os.environ, **german}, capture_output=True, text=True, check=False)
        self.assertEqual(shown.stdout, "0,5", "the locale has a decimal comma")
        settings = self.dir / "run.yaml"
        settings.write_text(f"problem: {self.problem}\nmethod: gd\nalpha: 0.125\nstep: 2.5e-1\n")
        texts = []
        for name, env in (("plain", {}), ("german", german)):
            self.run_ok("solve", settings, *options(**self.SETTINGS), "-o", self.dir / name, np=2, env=env)
            self.run_ok("gen", *options(n1=9, n2=7, rank=2, measurements=50, condition=1.5, noise=0.25, seed=3), "-o", self.dir / f"{name}.h5",
                        np=0, env=env)
            self.run_ok("export", self.dir / name, "--what", "X", "-o", self.dir / f"{name}.csv", np=0, env=env)
            harness.summary(self.dir / name)
            texts.append(((self.dir / name / "config.yaml").read_text(), (self.dir / f"{name}.csv").read_text(),
                          self.run_ok("info", self.dir / f"{name}.h5", np=0, env=env).out.replace(name, "")))
        self.assertEqual(*texts)
        self.assert_same_bits(self.dir / "plain", self.dir / "german")

    @fault(35)
    def test_odd_paths(self):
        """Of problem, settings and run; one with a line break in it is refused."""
        names = ("with  two spaces ", "it's \"quoted\"", "Ünïcödé-Größe-数据", "$HOME;&|*?[x]~", "back\\slash", "-dash", "100%s%n",
                 "# no comment: [a, {b", "x" * 200)
        for number, name in enumerate(names):
            with self.subTest(name):
                folder = self.dir / str(number) / name
                folder.mkdir(parents=True)
                problem = folder / f"{name} p.h5"
                shutil.copy(self.problem, problem)
                self.run_ok("solve", *options(problem=problem, **{**self.SETTINGS, "max_iterations": 10}), "-o", folder / "run", np=2)
                shutil.copy(folder / "run" / "config.yaml", folder / f"{name} .yaml")
                self.run_ok("solve", folder / f"{name} .yaml", "--max_iterations", "30", "-o", folder / "run", np=0)
                self.assert_same_bits(self.whole, folder / "run")
                self.run_ok("info", folder / "run", np=0)
                harness.summary(folder / "run")
        outcome = self.run_ok(*self.arguments("line\nbreak"), np=2, code=78)
        self.assertEqual(len(outcome.errors), 1, str(outcome))
        self.assertIn("control character", outcome.errors[0])

    @fault(35)
    def test_long_paths(self):
        """Up to the system's 4095 bytes the same result; beyond, an error that is ours."""
        deep = self.dir
        while len(str(deep)) < 3600:
            deep = deep / ("d" * 200)
        deep.mkdir(parents=True)
        run = self.solve(self.problem, deep / "run", np=2, **self.SETTINGS)
        self.assert_same_bits(self.whole, run)
        for length in (4000, 4090, 4096, 5000):
            folder = str(deep) + "/r" * ((length - len(str(deep))) // 2)
            outcome = harness.run("solve", *options(problem=self.problem, **self.SETTINGS), "-o", folder, np=2)
            self.assertIn(outcome.code, (64, 73, 78), f"{length}: {outcome}")
            self.assertEqual(len(outcome.errors), 1, f"{length}: {outcome}")


if __name__ == "__main__":
    unittest.main()
