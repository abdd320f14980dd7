#!/usr/bin/python3
"""Runs clang-format or clang-tidy over the C sources; exits with 77 (skipped) where the tool is missing."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return result.returncode, result.stdout


def sources(source):
    return sorted(str(path) for room in ("src", "include", "tests", "examples")
                  for path in (source / room).glob("**/*.[ch]"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("format", "tidy"))
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, help="folder with compile_commands.json")
    arguments = parser.parse_args()
    tool = "clang-" + arguments.what
    if shutil.which(tool) is None:
        print(f"{tool} is not installed: skipped")
        return 77
    if arguments.what == "format":
        commands = [[tool, "--dry-run", "-Werror", *sources(arguments.source)]]
    else:
        compiled = json.loads((arguments.build / "compile_commands.json").read_text())
        names = sorted({entry["file"] for entry in compiled if entry["file"].endswith(".c")})
        commands = [[tool, "--quiet", "-p", str(arguments.build), name] for name in names]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for code, output in pool.map(run, commands):
            if code != 0:
                bad += 1
                print("\n".join(line for line in output.splitlines() if "warnings generated" not in line))
    print(f"{tool}: {bad} of {len(commands)} runs with findings")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
