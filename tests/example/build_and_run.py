#!/usr/bin/python3
"""Builds the core of the library without HDF5 and ScaLAPACK, installs it, and runs an embedding program in both ways."""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys


def run(*command, **options):
    print("+", *command, flush=True)
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, **options)
    if result.returncode != 0:
        print(result.stdout)
        sys.exit(f"exit code {result.returncode}: {' '.join(map(str, command))}")
    return result.stdout


def main():
    parser = argparse.ArgumentParser()
    for name in ("cmake", "mpiexec", "source", "build"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path if name in ("source", "build") else str)
    arguments = parser.parse_args()
    cmake, source, build, here = arguments.cmake, arguments.source, arguments.build, pathlib.Path(__file__).parent
    shutil.rmtree(build, ignore_errors=True)
    core = ("-DMXSENSE_IO=OFF", "-DMXSENSE_SCALAPACK=OFF", "-DMXSENSE_TESTS=OFF", "-DCMAKE_BUILD_TYPE=Release")
    # Nothing that the core does not need may be found: no pkg-config file of HDF5, libyaml, jansson or ScaLAPACK is asked for.
    library = build / "library"
    log = run(cmake, "-S", source, "-B", library, "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX={build / 'prefix'}", "-DMXSENSE_WERROR=ON", *core)
    for name in ("hdf5", "yaml", "jansson", "scalapack"):
        if name in log.lower():
            sys.exit(f"the core build looks for {name}:\n{log}")
    run(cmake, "--build", library, "-j2")
    run(cmake, "--install", library)
    ways = {"embedded": ("-DMXSENSE_SOURCE=" + str(source), *core), "installed": ("-DCMAKE_PREFIX_PATH=" + str(build / "prefix"),)}
    for way, options in ways.items():
        run(cmake, "-S", here, "-B", build / way, "-G", "Ninja", *options)
        run(cmake, "--build", build / way, "-j2")
        for ranks in (1, 2):
            print(f"{way}, {ranks} ranks:", run(arguments.mpiexec, "-np", ranks, build / way / "embed"), end="")
        run(build / way / "consumer")
    needed = run("ldd", build / "installed" / "embed")
    for name in ("hdf5", "yaml", "jansson", "scalapack"):
        if name in needed:
            sys.exit(f"the core library needs {name}")
    pkg_config = next((build / "prefix").glob("**/mxsense.pc"), None)
    if pkg_config is None:
        sys.exit("no mxsense.pc is installed")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pkg_config.parent)}
    flags = run("pkg-config", "--cflags", "--libs", "mxsense", env=environment).split()
    library_folder = pkg_config.parent.parent
    run("mpicc", "-std=c11", here / "embed.c", "-o", build / "with_pkg_config", *flags, "-lm", f"-Wl,-rpath,{library_folder}")
    run(arguments.mpiexec, "-np", 2, build / "with_pkg_config")


if __name__ == "__main__":
    main()
