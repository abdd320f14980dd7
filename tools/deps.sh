#!/usr/bin/env bash
# Install the Debian packages that mxsense needs, where they are missing.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: tools/deps.sh [run|test] [--list]

  run     what it takes to build and run mxsense and its Python tools (default)
  test    the same, and what the tests and source checks need
  --list  print the packages and install nothing

For Debian 12 and its relatives. Packages that are there are left alone; when none is missing this takes a
fraction of a second and needs no network. Uses sudo unless you are root.
EOF
}

run_packages=(
  gcc libc6-dev cmake ninja-build pkg-config
  openmpi-bin libopenmpi-dev
  libopenblas-dev libscalapack-openmpi-dev
  libhdf5-openmpi-dev hdf5-tools
  libyaml-dev libjansson-dev libxxhash-dev
  python3 python3-numpy python3-h5py-mpi python3-matplotlib python3-pil
)
test_packages=(
  g++ libcmocka-dev librandom123-dev python3-scipy util-linux procps iproute2 locales git clang-format clang-tidy shellcheck
  slurm-wlm slurm-client munge libsimgrid-dev
)

set_name=run
list_only=false
for argument in "$@"; do
  case $argument in
  run | test) set_name=$argument ;;
  --list) list_only=true ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 64 ;;
  esac
done

packages=("${run_packages[@]}")
if [[ $set_name == test ]]; then
  packages+=("${test_packages[@]}")
fi
if $list_only; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi
if ! command -v dpkg-query >/dev/null; then
  echo "tools/deps.sh: this is not a Debian system; install the equivalents of: ${packages[*]}" >&2
  exit 69
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  if [[ $state != ?i* ]]; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  echo "tools/deps.sh: all ${#packages[@]} packages of the set '$set_name' are installed"
  exit 0
fi

sudo=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "tools/deps.sh: not root and no sudo here; ask an administrator to install: ${missing[*]}" >&2
    exit 77
  fi
  sudo=(sudo)
fi
echo "tools/deps.sh: installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y)
"${apt[@]}" update || echo "tools/deps.sh: apt-get update failed; trying the package lists as they are" >&2
"${apt[@]}" install --no-install-recommends "${missing[@]}"
