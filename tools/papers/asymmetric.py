"""Cards P1-a to P1-f: gradient descent on U V^T from a small random start, more columns than the rank.

SSX: Soltanolkotabi, Stoeger, Xie, Implicit balancing and regularization, COLT 2023, arXiv 2303.14244. Of it we have read the abstract
only: the cards hold what that states, and what follows from the update itself (marked as ours). Its loss has a factor 1/2 and
normalised measurements; mxsense divides by 2 m instead, and the iterates are the same for the same step. Steps are in units of
1 / s1, and s1 = 1 in the planted problems; alpha is the standard deviation of the entries of U and V and has the unit of sqrt(s1)."""

import numpy as np

from papers.core import (Card, Check, each, first_below, grid, least_early, mxsense_io, band, log_log, share, slope, span,
                         spectrum, decreasing, ticks, write_start, COLORS, MARKERS)

SSX = "Soltanolkotabi, Stöger, Xie, COLT 2023, arXiv 2303.14244 (abstract)"


# ---------------------------------------------------------------- P1-a


def measure_a(work):
    points, (rho, alpha) = grid(work.study("P1-a"), "rho", "alpha")
    return {"rho": rho.astype(float), "alpha": alpha.astype(float), "error": each(points, lambda p: p["test_error"]),
            "residual": each(points, lambda p: p["relative_residual"])}


def judge_a(data):
    """error, residual: (rho, alpha, seed); the first alpha is the large start, rho goes up."""
    alpha, error, residual = data["alpha"], data["error"], data["residual"]
    small = alpha <= 1e-3
    few = np.median(error[0], axis=-1)
    slopes = slope(alpha[small], error[:, small].transpose(0, 2, 1))
    gap = np.median(error[0, 0] / residual[0, 0])
    return [
        Check("median error from the smallest start", f"{few[-1]:.2e}", "below 1e-2, at rho = 3", few[-1] < 1e-2),
        Check("median error over alpha, from 1e-2 down", ", ".join(f"{e:.1e}" for e in few[1:]), "falls every time", decreasing(few[1:])),
        Check("runs in which it falls every time", share([decreasing(e) for e in error[0, 1:].T]), "at least 90 %",
              np.mean([decreasing(e) for e in error[0, 1:].T]) >= 0.9),
        Check(f"exponent of the error in alpha, rho = {data['rho'][-1]:g}", span(slopes[-1]), "at least 3/5 (many measurements)",
              np.median(slopes[-1]) >= 0.6),
        Check("error from alpha = 0.1", f"{np.median(error[0, 0]):.3g}, {gap:.3g} times the residual",
              "above 0.5 and 20 times the residual: it fits y, not X*", np.median(error[0, 0]) > 0.5 and gap > 20, control=True),
        Check(f"exponent of the error in alpha, rho = {data['rho'][0]:g}", span(slopes[0]),
              "below 3/5: too few measurements for the guarantee",
              np.median(slopes[0]) < 0.6, control=True)]


def draw_a(data, figure):
    left, right = figure.axes
    for index, rho in enumerate(data["rho"]):
        band(left, data["alpha"], data["error"][index], f"rho = {rho:g}", index)
        band(right, data["alpha"], data["residual"][index], None, index)
    x = data["alpha"][data["alpha"] <= 1e-2]
    left.plot(x, np.median(data["error"][-1, -1]) * 2 * (x / x[-1])**0.6, "k:", marker="", label="slope 3/5")
    log_log(left, "alpha", "relative error of the matrix", "Error of the matrix")
    log_log(right, "alpha", "relative residual", "Fit of the measurements")


# ---------------------------------------------------------------- P1-b


def measure_b(work):
    points, (step, alpha) = grid(work.study("P1-b"), "step", "alpha")
    both = each(points, lambda p: (lambda column: (column.max(), column[0]))(p.metrics()["imbalance"]))
    return {"step": step.astype(float), "alpha": alpha.astype(float), "largest": both[..., 0], "first": both[..., 1]}


def judge_b(data):
    """largest, first: imbalance over the run and at its start, (step, alpha, seed); the first alpha is the large start."""
    step, largest = data["step"], data["largest"]
    slopes = slope(step, largest.transpose(1, 2, 0))
    middle = int(np.argmin(np.abs(step - 0.25)))
    ratio = np.median(largest[middle, 1] / largest[middle, -1])
    start = np.median(largest[:, 0] / data["first"][:, 0])
    return [
        *(Check(f"exponent of the largest imbalance in the step, alpha {data['alpha'][i]:g}", span(slopes[i]), "1: within 0.9 to 1.2",
                0.9 < np.median(slopes[i]) < 1.2) for i in range(1, len(data["alpha"]))),
        Check(f"largest imbalance, alpha {data['alpha'][1]:g} over {data['alpha'][-1]:g}", f"{ratio:.3g}", "1: within a factor 1.5",
              1 / 1.5 < ratio < 1.5),
        Check("largest imbalance at step 1/4, alpha 1e-6", f"{np.median(largest[middle, -1]):.2e}",
              "below 0.05 s1: the factors stay coupled",
              np.median(largest[middle, -1]) < 0.05),
        Check("alpha = 0.1: exponent in the step; largest over first", f"{np.median(slopes[0]):.2f}; {start:.2f}",
              "about 0 and about 1: the start's imbalance is kept, the step does not show",
              abs(np.median(slopes[0])) < 0.3 and start < 1.5,
              control=True)]


def draw_b(data, figure):
    left, = figure.axes
    for index, alpha in enumerate(data["alpha"]):
        band(left, data["step"], data["largest"][:, index], f"alpha = {alpha:g}", index)
    left.plot(data["step"], np.median(data["largest"][-1, -1]) * data["step"] / data["step"][-1] / 2, "k:", marker="", label="slope 1")
    log_log(left, "step", r"largest $\Vert U^TU-V^TV\Vert$", "Imbalance over a run")
    ticks(left, "x", data["step"])


# ---------------------------------------------------------------- P1-c


def measure_c(work):
    points, (measurements, alpha) = grid(work.study("P1-c"), "measurements", "alpha")
    first = points[:, 0]
    return {"m": measurements.astype(float), "alpha": alpha.astype(float), "step": float(first[0, 0]["step"]),
            "rank": int(first[0, 0]["rank"]),
            "spectrum": each(first, spectrum), "error": each(points, lambda p: least_early(p.metrics()["test_error"]))}


def exponent(spectrum, step, rank):
    """2 (1 - q): directions r and r + 1 of A*(y) grow as alpha (1 + step s)^t until the r-th is of order one."""
    return 2 * (1 - np.log1p(step * spectrum[..., rank]) / np.log1p(step * spectrum[..., rank - 1]))


def judge_c(data):
    """spectrum: (m, seed, min(n1, n2)); error: (m, alpha, seed)."""
    predicted = exponent(data["spectrum"], data["step"], data["rank"])
    measured = slope(data["alpha"], data["error"].transpose(0, 2, 1))
    off = np.abs(measured - predicted)
    along = np.polyfit(predicted.ravel(), measured.ravel(), 1)[0]
    def misses(value):
        return int(np.sum(np.median(np.abs(measured - value), axis=-1) > 0.25))
    constants = {"3/5": misses(0.6), "21/16": misses(21 / 16), "their own mean": misses(measured.mean()),
                 "that of the next m": misses(np.roll(predicted, 1, axis=0))}
    return [
        *(Check(f"exponent at m = {m:g}: measured; predicted before the run", f"{span(measured[i])}; {np.median(predicted[i]):.3g}",
                "median difference below 0.25", np.median(off[i]) < 0.25) for i, m in enumerate(data["m"])),
        Check("runs off by less than 0.25", share(off < 0.25), "at least 90 %", np.mean(off < 0.25) >= 0.9),
        Check("measured over predicted exponent, slope of the line through all runs", f"{along:.3g}", "1: within 0.75 to 1.25",
              0.75 < along < 1.25),
        Check("other predictions, and how many m they miss by more than 0.25",
              "; ".join(f"{name}: {count}" for name, count in constants.items()),
              "each misses at least one", all(constants.values()), control=True)]


def draw_c(data, figure):
    left, right = figure.axes
    predicted = exponent(data["spectrum"], data["step"], data["rank"])
    measured = slope(data["alpha"], data["error"].transpose(0, 2, 1))
    for index, m in enumerate(data["m"]):
        band(left, data["alpha"], data["error"][index], f"m = {m:g}", index)
        right.plot(predicted[index], measured[index], ls="none", color=COLORS[index], marker=MARKERS[index], label=f"m = {m:g}")
    ends = np.array([0.3, 2.0])
    right.plot(ends, ends, "k", lw=0.9, marker="", label="equal")
    right.fill_between(ends, ends - 0.25, ends + 0.25, color="0.5", alpha=0.15, lw=0, label="within 0.25")
    log_log(left, "alpha", "relative error", "Error where the plateau begins")
    right.set(xlabel="predicted from the spectrum of A*(y)", ylabel="measured", title="Exponent of the error in alpha", xlim=ends,
              ylim=ends)


# ---------------------------------------------------------------- P1-d


def measure_d(work):
    points = work.study("P1-d")
    columns = list(dict.fromkeys((int(point["k"]), float(point["alpha"])) for point in points))
    runs = [[point for point in points if (int(point["k"]), float(point["alpha"])) == one] for one in columns]
    runs = np.array([[*one, None] for one in runs], dtype=object)[:, :-1]
    def read(point):
        error = point.metrics()["test_error"]
        return first_below(error, 0.5), error[min(400, error.size - 1)], error[-1]
    read = each(runs, read)
    return {"k": np.array([k for k, _ in columns]), "alpha": np.array([alpha for _, alpha in columns]), "half": read[..., 0],
            "plateau": read[..., 1], "error": read[..., 2]}


def judge_d(data):
    """half, plateau, error: (run, seed); run 0 has k = r, the last starts large and has the same k as the one before."""
    k, half, plateau, error = data["k"], data["half"], data["plateau"], data["error"]
    times = np.median(half[:-1], axis=-1)
    growth = np.median(plateau[-2]) / np.median(plateau[1])
    return [
        Check(f"k = r = {k[0]}: error at the end", span(error[0]), "below 1e-10 in 90 % of the runs: no plateau",
              np.mean(error[0] < 1e-10) >= 0.9),
        Check("k above r: median errors after 400 iterations", ", ".join(f"{np.median(p):.1e}" for p in plateau[1:-1]),
              "all below 2e-2: recovery at every k",
              np.all(np.median(plateau[1:-1], axis=-1) < 2e-2)),
        Check(f"error at k = {k[-2]} over that at k = {k[1]}", f"{growth:.3g}", "below 5: hardly any dependence on k", growth < 5),
        Check("median iterations until the error is below 1/2, over k", ", ".join(f"{t:g}" for t in times),
              "do not grow (5 %), and fall from k = r to the largest",
              decreasing(times, 0.05) and times[-1] < times[0]),
        Check(f"k = {k[-1]} from alpha = {data['alpha'][-1]:g}: error", span(error[-1]),
              "above 0.5: the small start does it, not the columns", np.median(error[-1]) > 0.5,
              control=True)]


def draw_d(data, figure):
    left, right = figure.axes
    k = data["k"]
    band(left, k[:-1], np.maximum(data["plateau"][:-1], 1e-16), "after 400 iterations", 0)
    band(left, k[:-1], np.maximum(data["error"][:-1], 1e-16), "at the end", 1)
    band(left, k[-1:], data["error"][-1:], f"end, alpha = {data['alpha'][-1]:g}", 2, ls="none")
    band(right, k[:-1], data["half"][:-1], None, 0)
    log_log(left, "columns k", "relative error", "Error against columns")
    right.set(xscale="log", xlabel="columns k", ylabel="iterations", title="Until the error is below 1/2")
    for axes in (left, right):
        ticks(axes, "x", k[:-1])


# ---------------------------------------------------------------- P1-e


def defects(problem, points, step):
    """Largest relative defect of each identity over consecutive points (U, V) of a trajectory, and the drift that was there.

    Z = [U; V] / sqrt 2, W = [U; -V] / sqrt 2, B = [0 G; G^T 0], G = A*(y - A(U V^T)), D = U^T U - V^T V:
    Z' = (I + step B) Z and W' = (I - step B) W;  D' = D + step^2 (V^T G^T G V - U^T G G^T U).
    Z Z^T - W W^T = [0 U V^T; V U^T 0] and Z^T W = D / 2 hold for any U and V, and would tell nothing."""
    A = problem.A(0, problem.m).astype(float)
    out = {"coupling": 0.0, "drift": 0.0}
    moved = 0.0

    def stacked(U, V, sign):
        return np.vstack([U, sign * V]) / np.sqrt(2)

    def seen(name, left, right, scale):
        out[name] = max(out[name], np.linalg.norm(left - right) / scale)

    for (U, V), (U1, V1) in zip(points, points[1:]):
        G = ((problem.y - A @ (U @ V.T).ravel()) @ A / problem.m).reshape(problem.n1, problem.n2)
        Z, W = stacked(U, V, 1), stacked(U, V, -1)
        B = np.block([[np.zeros((problem.n1,) * 2), G], [G.T, np.zeros((problem.n2,) * 2)]])
        seen("coupling", stacked(U1, V1, 1), Z + step * B @ Z, np.linalg.norm(Z))
        seen("coupling", stacked(U1, V1, -1), W - step * B @ W, np.linalg.norm(W))
        D, D1 = U.T @ U - V.T @ V, U1.T @ U1 - V1.T @ V1
        change = step**2 * ((G @ V).T @ (G @ V) - (G.T @ U).T @ (G.T @ U))
        size = np.linalg.norm(U.T @ U) + np.linalg.norm(V.T @ V)
        seen("drift", D1, D + change, size)
        moved = max(moved, np.linalg.norm(change) / size)
    return {**out, "moved": moved}


def measure_e(work):
    points, (method,) = grid(work.study("P1-e"), "method")
    out, paths = {"method": method}, []

    def trajectory(point):
        kept = {int(path.name.split(".")[1]): path for path in point.directory.glob("checkpoint.*.h5") if path.name.split(".")[1].isdigit()}
        path = [mxsense_io.read_factors(kept[t]) for t in sorted(kept)]
        if len(path) < 20 or sorted(kept) != list(range(min(kept), max(kept) + 1)):
            raise ValueError(f"{point.directory}: holds {len(path)} older checkpoints, which do not follow each other")
        paths.append([np.linalg.norm(U.T @ U - V.T @ V) for U, V in path])
        found = defects(point.problem(), path, float(point["step"]))
        return [found[name] for name in ("coupling", "drift", "moved")]
    values = each(points, trajectory)
    for index, name in enumerate(("coupling", "drift", "moved")):
        out[name] = values[..., index]
    return {**out, "pairs": len(paths[0]) - 1, "imbalance": np.array(paths).reshape(len(method), -1, len(paths[0]))}


def judge_e(data):
    """coupling, drift, moved: (method, seed), gd first."""
    def worst(name):
        return data[name][0].max()
    moved, other = data["moved"][0].max(), np.min([data["coupling"][1], data["drift"][1]], axis=-1)
    return [
        Check("[U; V] and [U; -V] take steps I + mu B and I - mu B", f"{worst('coupling'):.1e}", "below 1e-12",
              worst("coupling") < 1e-12),
        Check("U^T U - V^T V changes by mu^2 (V^T G^T G V - U^T G G^T U)", f"{worst('drift'):.1e}, while it moves by up to {moved:.1e}",
              "below 1e-12, and moves more than 1e-6",
              worst("drift") < 1e-12 and moved > 1e-6),
        Check("method nesterov, the same: steps and drift", f"{other[0]:.1e}, {other[1]:.1e}", "above 1e-6: not gradient descent",
              np.all(other > 1e-6), control=True)]


def draw_e(data, figure):
    left, = figure.axes
    for index, method in enumerate(data["method"]):
        band(left, np.arange(1, data["imbalance"].shape[-1] + 1), data["imbalance"][index].T, str(method), index, marker="")
    left.set(yscale="log", xlabel="iteration", ylabel=r"$\Vert U^TU-V^TV\Vert_F$", title="Imbalance along the trajectory")


# ---------------------------------------------------------------- P1-f


def truncated(U, V):
    """U, V of the directions above the largest gap of the spectrum of U V^T (among those above 1e-3 of the first), balanced."""
    (Qu, Ru), (Qv, Rv) = np.linalg.qr(U), np.linalg.qr(V)
    a, s, bt = np.linalg.svd(Ru @ Rv.T)
    count = min(max(int(np.sum(s > 1e-3 * s[0])), 1), s.size - 1)
    rank = int(np.argmax(s[:count] / s[1 : count + 1].clip(1e-300))) + 1
    root = np.sqrt(s[:rank])
    return Qu @ a[:, :rank] * root, Qv @ bt[:rank].T * root


def measure_f(work):
    points, (k, tolerance) = grid(work.study("P1-f"), "k", "tolerance")

    def polish(item):
        (place, seed), point = item
        run = point.run()
        folder = work.folder("P1-f", f"truncated_{work.size}", f"k{k[place]}_{seed:02d}")
        U, V = truncated(*run.factors(point.replica))
        write_start(folder / "start.h5", U, V)
        polished = work.solve(folder / "run", point.problem().path, method="scaled_gd", k=U.shape[1], step=0.5,
                              init=f"file:{folder / 'start.h5'}", tolerance=2e-14,
                              max_iterations=400, metrics_every=1)
        error = polished.metrics()["test_error"]
        reached = first_below(error, 1e-12)
        return U.shape[1], int(point["iterations"]), reached, error[-1]

    stopped = points[:, int(np.argmax(tolerance.astype(float)))]
    on = points[:, int(np.argmin(tolerance.astype(float)))]
    read = np.array(work.every(polish, [(place, point) for place, point in np.ndenumerate(stopped)]),
                    dtype=float).reshape(*stopped.shape, 4)
    curve = []
    for index in range(len(k)):
        polished = mxsense_io.read_run(work.directory / "P1-f" / f"truncated_{work.size}" / f"k{k[index]}_00" / "run").metrics()["test_error"]
        curve.append((np.asarray(on[index, 0].metrics()["test_error"]), int(read[index, 0, 1]), polished))
    return {"k": k, "rank": int(points.ravel()[0]["rank"]), "found": read[..., 0], "before": read[..., 1], "after": read[..., 2],
            "plain": each(on, lambda p: p["test_error"]),
            "curves": curve}


def judge_f(data):
    """found, before, after: rank, iterations before and after the truncation (to 1e-12), plain: error without it, (k, seed)."""
    whole = np.where(np.isfinite(data["after"]), data["before"] + data["after"], np.inf)
    times = np.median(whole, axis=-1)
    tail = np.median(np.where(np.isfinite(data["after"]), data["after"], np.inf), axis=-1)
    spread = np.max(times) / np.min(times) - 1 if np.all(np.isfinite(times)) else np.inf
    return [
        Check("median iterations to an error of 1e-12, over k",
              ", ".join(f"{t:.0f}" for t in times) + " (after the truncation " + ", ".join(f"{t:.0f}" for t in tail) + ")",
              "below 400", np.all(times < 400)),
        Check("runs whose spectral gap is at the rank", share(data["found"] == data["rank"]), "at least 90 %",
              np.mean(data["found"] == data["rank"]) >= 0.9),
        Check("their spread over k", f"{100 * spread:.0f} %", "at most 15 %", spread <= 0.15),
        Check("without truncation: median error after 500 iterations", ", ".join(f"{np.median(p):.1e}" for p in data["plain"]),
              "above 1e-4: a plateau",
              np.all(np.median(data["plain"], axis=-1) > 1e-4), control=True)]


def draw_f(data, figure):
    left, = figure.axes
    for index, (plain, cut, polished) in enumerate(data["curves"]):
        left.plot(plain, color=COLORS[index], marker="", ls=":")
        left.plot(cut + np.arange(len(polished)), np.maximum(polished, 1e-16), color=COLORS[index], marker="",
                  label=f"k = {data['k'][index]}")
    left.plot([], [], "k:", marker="", label="without truncation")
    left.set(yscale="log", xlabel="iteration", ylabel="relative error", title="Truncated at the spectral gap, first problem")


CARDS = [
    Card("P1-a", "error against alpha, U V^T", SSX,
         "Gradient descent from a small random start with more columns than the rank converges to the matrix that made the measurements, "
         "not just to any fit of them. Smaller starts give smaller errors; the exponent 3/5 is the one of the source's guarantee as we "
         "recall it (we have not read the theorem), so it is asked for only where there are many measurements, as the guarantee does.",
         "Singular values of X* evenly spaced from 1 to 1/2, step 0.25, entries of the start N(0, alpha^2), no tolerance, 600 "
         "iterations. rho = 16 is more than n1 n2 measurements at this size: the isometry constant is not small before.",
         "A large start (alpha = 0.1) must fit the measurements and miss the matrix; with few measurements the exponent must be below "
         "3/5.", measure_a, judge_a, draw_a, 2),
    Card("P1-b", "the imbalance law", SSX + "; the law is ours, from the exact drift of the imbalance (P1-e)",
         "The factors stay coupled along the whole trajectory. To first order in the step U^T U - V^T V does not change, so over a run "
         "it grows to a size proportional to the step, whatever the scale of the start is.",
         "rho = 3, four steps, as many iterations as the same time takes; the largest spectral size of U^T U - V^T V over the run, in "
         "units of s1.",
         "From a large start (alpha = 0.1) the imbalance is the start's own, and does not follow the step.", measure_b, judge_b, draw_b),
    Card("P1-c", "the exponent of the error in alpha, without a parameter",
         "ours; the exponents 3/5 (asymmetric) and 21/16 (symmetric) of the guarantees are worst cases of it",
         "While the start is small, direction i of A*(y) grows like alpha (1 + mu s_i)^t, until direction r is of order one. What "
         "direction r + 1 has become by then is the error: a power of alpha with exponent 2 (1 - q), q = log(1 + mu s_(r+1)) / log(1 + "
         "mu s_r), known before the first iteration.",
         "Rank 2, condition 1, step 0.25. The singular values are computed in numpy from the problem file alone; the error is the least "
         "up to three times the iteration at which it comes below 1/2.",
         "A constant exponent, or that of another m, must miss.", measure_c, judge_c, draw_c, 2),
    Card("P1-d", "any number of columns", SSX,
         "The matrix is recovered for every k from the rank to the smaller side. With k = r the error falls to rounding; above, it stays "
         "on a plateau that hardly depends on k, and the start is faster with more columns (more of them point the right way).",
         "rho = 3, alpha = 1e-4, step 0.25, 1500 iterations; the plateau is looked at after 400.",
         "With the most columns and alpha = 0.1 the matrix must not be recovered.",
         measure_d, judge_d, draw_d, 2),
    Card("P1-e", "identities along the trajectory",
         "ours: exact algebra of the simultaneous update, behind the coupling that " + SSX + " states",
         "With Z = [U; V] / sqrt 2 and W = [U; -V] / sqrt 2, gradient descent multiplies Z by I + mu B and W by I - mu B with one "
         "symmetric B; the imbalance changes by mu^2 (V^T G^T G V - U^T G G^T U) exactly, so that gradient flow keeps it.",
         "Every iterate kept as a checkpoint; G recomputed in numpy from the problem. Relative to the norms of Z and of U^T U and V^T V.",
         "The method nesterov must violate the two identities of the update.", measure_e, judge_e, draw_e),
    Card("P1-f", "truncation at the spectral gap", "ours; built on the propensity to low rank that " + SSX + " states",
         "Long before it is accurate, the overparameterised iterate shows the rank by the largest gap in its spectrum. Truncated there, "
         "ScaledGD takes it to rounding at a linear rate that does not depend on k.",
         "rho = 4, alpha = 1e-3; descent stops at a relative residual of 2 %; truncation and the start file in numpy; scaled_gd with "
         "step 1/2 to an error of 1e-12.",
         "Without truncation the error must stay above 1e-4.", measure_f, judge_f, draw_f),
]
