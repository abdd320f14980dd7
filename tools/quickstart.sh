#!/usr/bin/env bash
# From a fresh Debian machine to a recovered picture: install, build, sense, solve on two ranks, draw.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'EOF'
usage: tools/quickstart.sh [--picture FILE] [--height N] [--ranks P] [-o DIR] [-- SETTING...]

Senses a photograph with fewer than half as many random measurements as it has pixels, recovers it by
gradient descent on two factors with as many columns as the picture, and draws the outcome.

  --picture FILE  any picture (default: a photograph that comes with matplotlib)
  --height N      rows it is scaled to (default 192; the time grows with the fourth power)
  --ranks P       MPI ranks (default 2)
  -o DIR          where to put everything (default build/quickstart)
  -- SETTING...   further settings of mxsense solve, for instance: -- --seed 1 --max_iterations 1000

Run it again to resume or to redraw.
EOF
}

picture=()
height=192
ranks=2
out=build/quickstart
while (($# > 0)); do
  case $1 in
  --picture) picture=(--picture "${2:?--picture needs a file}") && shift ;;
  --height) height=${2:?--height needs a number} && shift ;;
  --ranks) ranks=${2:?--ranks needs a number} && shift ;;
  -o) out=${2:?-o needs a directory} && shift ;;
  --) shift && break ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 64 ;;
  esac
  shift
done

started=$SECONDS
say() { printf '\n== %s (%d s so far)\n' "$1" $((SECONDS - started)); }

say "packages"
tools/deps.sh run

say "build"
if [[ ! -f build/CMakeCache.txt ]]; then
  cmake --preset release -DMXSENSE_TESTS=OFF
fi
cmake --build build

say "a picture, and random measurements of it"
mkdir -p "$out"
tools/make_picture_problem.py "${picture[@]}" --height "$height" -o "$out/picture.h5"

say "recovery on $ranks ranks"
# One thread per rank, any number of ranks on any number of cores.
export OPENBLAS_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
if [[ $(id -u) -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
columns=$(/usr/bin/python3 -c 'import h5py, sys; a = h5py.File(sys.argv[1]).attrs; print(min(a["n1"], a["n2"]))' \
  "$out/picture.h5")
mpirun -np "$ranks" build/mxsense solve jobs/picture.yaml --problem "$out/picture.h5" --k "$columns" "$@" \
  -o "$out/run"

say "drawing"
tools/plot_matrix.py "$out/run" --curves -o "$out/picture.png"
tools/plot_run.py "$out/run" -o "$out/run.png"
printf '\nlook at %s\n' "$out/picture.png"
printf 'done in %d s\n' $((SECONDS - started))
