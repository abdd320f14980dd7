#!/usr/bin/python3
"""Turn a picture into a matrix recovery problem: grey levels sensed by generated Rademacher matrices.

    tools/make_picture_problem.py -o picture.h5                     # a photograph that comes with matplotlib
    tools/make_picture_problem.py --picture mine.jpg --height 128 -o mine.h5

The picture is scaled down and converted to grey levels in [0, 1]; its mean is subtracted and kept as the
attribute picture_mean (one number: without it the largest singular value is mostly the mean, and descent needs
twice the iterations for the same picture). Then y_i = <A_i, X> with random signs A_i. The file holds y, the
seed and, for the error in the metrics, the picture itself; A is never stored."""

import argparse
import pathlib
import sys
import time

sys.dont_write_bytecode = True

import matplotlib
import numpy as np
from PIL import Image

from mxsense_ensembles import sense
from mxsense_io import Error, write_problem


def default_picture():
    """Rear Admiral Grace Hopper, photographed for the US Navy (public domain), from python-matplotlib-data."""
    return pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def load_grey(path, height):
    """Grey levels in [0, 1] of the picture at `path`, scaled to `height` rows."""
    with Image.open(path) as image:
        grey = image.convert("L")
        width = max(1, round(grey.width * height / grey.height))
        grey = grey.resize((width, height), Image.LANCZOS)
        return np.asarray(grey, dtype=np.float64) / 255.0


def best_rank_errors(X, ranks):
    """||X - X_r||_F / ||X||_F of the best rank-r approximations X_r."""
    s2 = np.linalg.svd(X, compute_uv=False) ** 2
    return [float(np.sqrt(s2[r:].sum() / s2.sum())) for r in ranks]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="problem file to write")
    parser.add_argument("--picture", type=pathlib.Path, help="any picture that PIL reads")
    parser.add_argument("--height", type=int, default=192, help="rows of the scaled picture (default 192)")
    parser.add_argument("--measurements", type=int, help="default: 48.5 %% of the number of pixels")
    parser.add_argument("--held-out", type=int, help="further ones for validation (default: 1 %% of the pixels)")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation added to y (default 0)")
    parser.add_argument("--seed", type=int, default=1, help="of the measurement matrices and the noise (default 1)")
    parser.add_argument("--keep-mean", action="store_true", help="do not subtract the mean grey level")
    arguments = parser.parse_args()

    path = arguments.picture or default_picture()
    if not path.is_file():
        sys.exit(f"{parser.prog}: no such file: {path}")
    X = load_grey(path, arguments.height)
    mean = 0.0 if arguments.keep_mean else float(X.mean())
    X -= mean
    m = arguments.measurements if arguments.measurements is not None else int(0.485 * X.size)
    held_out = arguments.held_out if arguments.held_out is not None else int(0.01 * X.size)
    start = time.time()
    y = sense(X, "rademacher", m + held_out, arguments.seed)
    y += arguments.noise * np.random.default_rng(arguments.seed).standard_normal(y.size)
    seconds = time.time() - start

    try:
        write_problem(arguments.output, y[:m], ensemble="rademacher", shape=X.shape, seed=arguments.seed, truth=X,
                      y_validation=y[m:] if held_out > 0 else None, noise=arguments.noise, overwrite=True,
                      attributes={"creator": parser.prog, "picture": path.name, "picture_mean": mean})
    except Error as why:
        sys.exit(f"{parser.prog}: {why}")

    print(f"picture      {path.name}, {X.shape[0]} x {X.shape[1]} = {X.size} pixels, mean grey level {mean:.3f} subtracted")
    print(f"measurements {m} matrices of random signs = {m / X.size:.1%} of the pixels, and {held_out} held out, "
          f"sensed in {seconds:.1f} s")
    ranks = [r for r in (5, 10, 15, 20, 30, 50) if r < min(X.shape)]
    print("best rank-r  " + ", ".join(f"r = {r}: {e:.3f}" for r, e in zip(ranks, best_rank_errors(X, ranks)))
          + "   (relative errors)")
    print(f"written      {arguments.output}")


if __name__ == "__main__":
    main()
