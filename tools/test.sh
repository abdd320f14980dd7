#!/usr/bin/env bash
# Install what is missing, build with warnings as errors, and test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'EOF'
usage: tools/test.sh [--quick | --asan | --tidy | --soak | --fuzz SECONDS] [--jobs N] [--build DIR]

  (default)    the scripts themselves, preset core (no HDF5, no ScaLAPACK: unit and MPI tests), preset asan
               (the tests labelled asan, under address and undefined-behaviour sanitizers), preset fuzz for 10
               seconds a target where clang has libFuzzer, then preset dev with every test
  --quick      preset dev: lint, format, unit and MPI tests only
  --asan       preset asan only
  --tidy       preset dev: clang-tidy only
  --soak       preset dev: 100 random kills and 2000 damaged files, a quarter of an hour or more; MXS_TEST_SEED
               repeats the choices of a seed
  --fuzz N     preset fuzz: every target of tests/fuzz for N seconds, from its corpus; what it finds is kept in
               the build folder
  --jobs N     tests at a time (default 2; MPI tests count as two)
  --build DIR  parent of the build folders (default: the source tree)

Ends with ctest's own summary; exits with 0 only if everything passed. Single groups: ctest --test-dir
build-dev -L unit (or mpi, io, fuzz, system, slurm, soak, paper, example, lint, format, tidy). Quick tests run first.
EOF
}

mode=default
jobs=2
fuzz_seconds=10
build_root=$PWD
while (($# > 0)); do
  case $1 in
  --quick | --asan | --tidy | --soak) mode=${1#--} ;;
  --fuzz) mode=fuzz && fuzz_seconds=${2:?--fuzz needs seconds} && shift ;;
  --jobs) jobs=${2:?--jobs needs a number} && shift ;;
  --build) build_root=${2:?--build needs a directory} && shift ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 64 ;;
  esac
  shift
done

failed=()
times=()

# step NAME COMMAND...: run it, keep its time, remember a failure.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  "$@" || status=$?
  times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
  if ((status != 0)); then
    failed+=("$name")
  fi
  return "$status"
}

build() {
  local preset=$1
  cmake --preset "$preset" -B "$build_root/build-$preset" -Wno-dev && cmake --build "$build_root/build-$preset"
}

run_tests() {
  local preset=$1
  shift
  ctest --test-dir "$build_root/build-$preset" -j "$jobs" --output-on-failure --no-tests=error "$@"
}

has_fuzzer() {
  command -v clang >/dev/null && [[ -e $(clang -print-file-name=libclang_rt.fuzzer-x86_64.a) ]]
}

# Each target from its corpus, at low priority; inputs that end it stay in the build folder.
fuzz() {
  local target folder=$build_root/build-fuzz
  for target in settings manifest summary file; do
    mkdir -p "$folder/found/$target" "$folder/grown/$target"
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OPENBLAS_NUM_THREADS=1 nice \
      "$folder/tests/fuzz/fuzz_$target" -max_total_time="$fuzz_seconds" -max_len=16384 -rss_limit_mb=4096 -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="$folder/found/$target/" "$folder/grown/$target" "tests/fuzz/corpus/$target" ||
      return 1
  done
}

run_fuzz() {
  if step "build fuzz" cmake --preset fuzz -B "$build_root/build-fuzz" -Wno-dev &&
    step "build fuzz" cmake --build "$build_root/build-fuzz" --target fuzz_settings fuzz_manifest fuzz_summary fuzz_file; then
    step "fuzz" fuzz || true
  fi
}

check_scripts() {
  local script
  for script in tools/*.sh tools/slurm-sandbox jobs/*.sbatch .ci/run; do
    if command -v shellcheck >/dev/null; then
      shellcheck "$script" || return 1
    else
      bash -n "$script" || return 1
    fi
  done
  /usr/bin/python3 -B tools/mxsense_ensembles.py
}

step "install packages" tools/deps.sh test
if [[ $mode == default ]]; then
  step "scripts" check_scripts || true
  for preset in core asan; do
    labels='unit|mpi'
    [[ $preset == core ]] || labels=asan
    if step "build $preset" build "$preset"; then
      step "test $preset" run_tests "$preset" -L "$labels" || true
    fi
  done
fi

if [[ $mode == fuzz ]] || { [[ $mode == default ]] && has_fuzzer; }; then
  run_fuzz
fi

# The main suite comes last, so that the closing lines are ctest's.
preset=dev
case $mode in
quick) selection=(-L 'lint|format|unit|mpi') ;;
tidy) selection=(-L tidy) ;;
asan) preset=asan && selection=(-L asan) ;;
*) selection=() ;;
esac
if [[ $mode != fuzz ]] && step "build $preset" build "$preset"; then
  printf '\n== times so far\n'
  printf '%s\n' "${times[@]}"
  if [[ $mode == soak ]]; then
    step "soak" /usr/bin/python3 -B tests/soak.py --program "$build_root/build-dev/mxsense" \
      ${MXS_TEST_SEED:+--seed "$MXS_TEST_SEED"} || true
  else
    step "test $preset" run_tests "$preset" "${selection[@]}" || true
  fi
fi

if ((${#failed[@]} > 0)); then
  printf 'tools/test.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
