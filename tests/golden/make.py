#!/usr/bin/python3
"""Write the golden files of the formats as the program in $MXSENSE writes them now: files of earlier versions are kept, and must be read
for as long as the program says so.

usage: MXSENSE=build/mxsense make.py VERSION

The files were made in a folder /golden, which the settings name, with OPENBLAS_CORETYPE=Haswell, on one rank:
  problem_vN.h5     a planted problem with a stored A of floats, a truth and held-out measurements
  recipe_vN.h5      the same of a generated ensemble
  checkpoint_vN.h5  ten iterations of a solve of problem_vN.h5
  config_vN.yaml    its effective settings
  result_vN.json    its factors after twenty, and what `info` says of the files
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import h5py

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path("/golden")
ENVIRONMENT = {**os.environ, "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
RECIPE = "--n1 5 --n2 4 --rank 2 --measurements 64 --hold_out 0.125 --noise 0.001 --condition 2 --seed 11".split()
SETTINGS = "--k 2 --alpha 0.05 --step 0.2 --seed 3 --tolerance 0 --metrics_every 5 --singular_values 2".split()


def program(*arguments):
    return subprocess.run([os.environ["MXSENSE"], *map(str, arguments)], check=True, env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=60).stdout


def main():
    version = f"v{int(sys.argv[1])}"
    WORK.mkdir()
    try:
        problem, recipe, run = WORK / f"problem_{version}.h5", WORK / f"recipe_{version}.h5", WORK / "run"
        program("gen", *RECIPE, "--ensemble", "dense", "--storage", "f32", "-o", problem)
        program("gen", *RECIPE, "--ensemble", "rademacher", "-o", recipe)
        program("solve", "--problem", problem, *SETTINGS, "--max_iterations", "10", "-o", run)
        checkpoint = shutil.copy(run / "checkpoint.h5", WORK / f"checkpoint_{version}.h5")
        shutil.copy(run / "config.yaml", HERE / f"config_{version}.yaml")
        info = {path.name: program("info", path).splitlines()[1:] for path in map(pathlib.Path, (problem, recipe, checkpoint))}
        program("solve", "--problem", problem, *SETTINGS, "--max_iterations", "20", "-o", run)
        with h5py.File(run / "checkpoint.h5") as file:
            factors = {name: [[entry.hex() for entry in row] for row in file[f"factors/{name}"][...].tolist()] for name in "UV"}
        for path in (problem, recipe, checkpoint):
            shutil.copy(path, HERE)
        (HERE / f"result_{version}.json").write_text(json.dumps({"factors": factors, "info": info}, indent=1) + "\n")
    finally:
        shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
