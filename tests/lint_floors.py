#!/usr/bin/python3
"""Checks that a room of src/ includes only rooms on lower floors, and that the library neither prints nor exits.

usage: lint_floors.py SOURCE_DIR | --self-test
"""
import pathlib
import re
import sys
import tempfile

FLOORS = {"base": 0, "comm": 1, "la": 1, "conf": 1, "store": 2, "op": 3, "problem": 4, "objective": 5, "spectral": 6,
          "metrics": 7, "optim": 7, "ckpt": 7, "solve": 8, "bench": 8, "run": 9, "study": 10, "cli": 11}
# Public headers declare types of every floor; the lowest rooms get those they need for their enumerations.
PUBLIC = {"base": {"base.h"}, "comm": {"base.h", "solve.h"}, "la": {"base.h"}, "store": {"base.h"},
          "conf": {"base.h", "problem.h", "solve.h"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
ENDS = re.compile(r"\b(exit|_exit|_Exit|quick_exit|abort|MPI_Abort)\s*\(")
PRINTS = re.compile(r"\b(v?printf|puts|putchar|perror)\s*\(|\bv?f(?:printf|puts|putc|write)\s*\([^;]*\bstd(?:out|err)\b")
# The watchdog ends a process whose main thread hangs.
MAY_PRINT, MAY_EXIT = {"run", "cli"}, {"cli", "run/watchdog"}


def blank(text):
    """The text without comments and strings, line for line."""
    return COMMENT_OR_STRING.sub(lambda match: "\n" * match.group().count("\n") or " ", text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_includes(room, text):
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), text, flags=re.S)
    for match in INCLUDE.finditer(text):
        folder, _, name = match.group(1).rpartition("/")
        line = line_of(text, match.start(1))
        if folder == "mxsense":
            if room in PUBLIC and name not in PUBLIC[room]:
                yield line, f"room {room} may not include the public header {name}"
        elif folder == room:
            continue
        elif folder not in FLOORS:
            yield line, f'"{match.group(1)}" names no room: write "room/header.h"'
        elif FLOORS[folder] >= FLOORS[room]:
            yield line, f"room {room} (floor {FLOORS[room]}) includes {match.group(1)} of floor {FLOORS[folder]}"


def check_calls(room, stem, text):
    code = blank(text)
    for pattern, allowed, verb in ((ENDS, MAY_EXIT, "end the program"), (PRINTS, MAY_PRINT, "print")):
        if room not in allowed and f"{room}/{stem}" not in allowed:
            for match in pattern.finditer(code):
                yield line_of(code, match.start()), f"room {room} may not {verb}: return a status with mxs_fail()"


def check(source):
    """Every finding as a line of text, and the number of files read."""
    findings, files = [], 0
    for path in sorted([*(source / "src").glob("**/*.[ch]"), *(source / "include").glob("**/*.h")]):
        files += 1
        text = path.read_text()
        where = path.relative_to(source)
        if where.parts[0] == "include":
            found = [(line_of(text, match.start(1)), "a public header may include only public headers")
                     for match in INCLUDE.finditer(text) if not match.group(1).startswith("mxsense/")]
        elif where.parts[1] not in FLOORS:
            found = [(1, f"{where.parts[1]} is no room: give it a floor in {pathlib.Path(__file__).name}")]
        else:
            found = [*check_includes(where.parts[1], text), *check_calls(where.parts[1], path.stem, text)]
        findings += [f"{where}:{line}: {what}" for line, what in found]
    return findings, files


def self_test():
    """A tree with known violations: each one is found, at its line, and nothing else."""
    tree = {
        "src/base/base.c": '#include "base/hash.h"\n#include "mxsense/solve.h"\n',
        "src/op/dense.c": '/* comment\n */\n#include "comm/blocks.h"\n#include "objective/objective.h"\n',
        "src/ckpt/ckpt.c": '#include "store/store.h"\n#include "metrics/metrics.h"\n#include "mxsense/solve.h"\n',
        "src/conf/yaml.c": '#include "mxsense/solve.h"\n#include "yaml.h"\n// #include "run/run.h"\n',
        "src/solve/solve.c": 'void f(void) {\n  /* exit(1); */\n  snprintf(s, 1, "exit(1)");\n  exit(1);\n}\n',
        "src/metrics/m.c": 'void f(void) {\n  printf("x");\n  (void)fprintf(stderr,\n    "x");\n  fprintf(file, "x");\n}\n',
        "src/run/run.c": '#include "solve/solve.h"\nvoid f(void) {\n  printf("x");\n  abort();\n}\n',
        "src/cli/main.c": '#include "run/run.h"\nint main(void) {\n  exit(0);\n}\n',
        "src/attic/a.c": "\n",
        "include/mxsense/op.h": '#include "mxsense/base.h"\n#include "op/op.h"\n',
    }
    expected = {"src/base/base.c:2", "src/op/dense.c:4", "src/ckpt/ckpt.c:2", "src/conf/yaml.c:2", "src/solve/solve.c:4",
                "src/metrics/m.c:2", "src/metrics/m.c:3", "src/run/run.c:4", "src/attic/a.c:1", "include/mxsense/op.h:2"}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in tree.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        findings, _ = check(pathlib.Path(folder))
    found = {":".join(finding.split(":")[:2]) for finding in findings}
    for what in sorted(found ^ expected):
        print(f"self-test: {what} {'missed' if what in expected else 'reported wrongly'}")
    return found != expected


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        return self_test()
    findings, files = check(pathlib.Path(sys.argv[1]))
    print("\n".join(findings) if findings else f"{files} files keep to the floors")
    return bool(findings) or files == 0


if __name__ == "__main__":
    sys.exit(main())
