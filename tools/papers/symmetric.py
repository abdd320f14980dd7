"""Cards P2-a to P2-c, XD1 and J1: positive semidefinite matrices, U U^T, and U V^T beside it.

SS: Stoeger, Soltanolkotabi, Small random initialization is akin to spectral learning, NeurIPS 2021, arXiv 2106.15013: abstract read,
structure and exponent from works that restate it. Traps: its loss has a factor 1/4, and for the same step its iterates are those of
mxsense; its start has entries of variance alpha^2 / k, that of mxsense alpha^2; its condition number is that of X, not of X X^T (here
both are 1); some report squared errors, here they never are."""

import numpy as np

from papers.core import (Card, Check, COLORS, band, decreasing, each, first_below, grid, least_early, log_log, mxsense_io, share,
                         slope, span, symmetric_problem, ticks, write_start)

SS = "Stöger, Soltanolkotabi, NeurIPS 2021, arXiv 2106.15013"
EXPONENT = 21 / 16
# Problems of our own: n, rank, measurements, how many.
PROBLEMS = {
    "P2-a": {"tiny": (16, 2, 960, 3), "small": (40, 3, 4800, 20), "full": (100, 5, 20000, 50)},
    "P2-b": {"tiny": (16, 2, 320, 3), "small": (30, 3, 900, 20), "full": (60, 3, 1800, 50)},
    "P2-c": {"tiny": (20, 3, 600, 12), "small": (40, 3, 1200, 20), "full": (100, 5, 5000, 50)},
    "XD1": {"tiny": (16, 2, 320, 3), "small": (30, 3, 720, 20), "full": (50, 3, 1200, 50)},
    "J1": {"tiny": (16, 2, 960, 3), "small": (30, 4, 2400, 20), "full": (50, 5, 5000, 20)},
}


def tables(work, card, starts=lambda folder, seed, n, r: None, **kind):
    """The study of a card on each of its problems, and (n, r)."""
    n, r, m, count = PROBLEMS[card][work.size]

    def prepare(folder, seed):
        symmetric_problem(folder / "symmetric.h5", n, r, m, seed, **kind)
        starts(folder, seed, n, r)
    return work.study_each(card, count, prepare), n, r


def joined(tables, *axes):
    """Points of many tables in one array, the problems last."""
    return grid([point for table in tables for point in table], *axes)


def span_of(S, r):
    """Leading r eigenvectors of the symmetric part."""
    values, vectors = np.linalg.eigh((S + S.T) / 2)
    return vectors[:, np.argsort(values)[::-1][:r]]


# ---------------------------------------------------------------- P2-a


def measure_a(work):
    found, n, r = tables(work, "P2-a")
    points, (measurements, alpha) = joined(found, "solve.measurements", "alpha")
    return {"m": measurements.astype(float) / (n * r), "alpha": alpha.astype(float),
            "error": each(points, lambda p: least_early(p.metrics()["test_error"]))}


def judge_a(data):
    """error: (m / (n r), alpha, seed), m going up."""
    slopes = slope(data["alpha"], data["error"].transpose(0, 2, 1))
    middle = np.median(slopes, axis=-1)
    falls = [decreasing(e) for e in data["error"].transpose(0, 2, 1).reshape(-1, len(data["alpha"]))]
    return [
        Check(f"exponent of the error in alpha, m = {data['m'][-1]:g} n r", span(slopes[-1]),
              "at least 21/16 - 0.05 (the isometry constant is small)", middle[-1] >= EXPONENT - 0.05),
        Check("median exponents over m / (n r)", ", ".join(f"{s:.3g} at {m:g}" for s, m in zip(middle, data["m"])), "grow",
              decreasing(middle[::-1])),
        Check("error over alpha, all runs", share(falls), "falls in at least 90 %",
              np.mean(falls) >= 0.9),
        Check(f"exponent at m = {data['m'][0]:g} n r", f"{middle[0]:.3g}", "below 21/16 - 0.1: too few measurements for the guarantee",
              middle[0] < EXPONENT - 0.1, control=True)]


def draw_a(data, figure):
    axes, = figure.axes
    for index, m in enumerate(data["m"]):
        band(axes, data["alpha"], data["error"][index], f"m = {m:g} n r", index)
    low = np.median(data["error"][-1, -1])
    axes.plot(data["alpha"], low * 0.5 * (data["alpha"] / data["alpha"][-1])**EXPONENT, "k:", marker="", label="slope 21/16")
    log_log(axes, "alpha (standard deviation of the entries)", "relative error", "Error where the plateau begins")


# ---------------------------------------------------------------- P2-b


def measure_b(work):
    found, n, r = tables(work, "P2-b", stored=True)
    points, (alpha,) = joined(found, "alpha")

    def read(point):
        m = point.metrics()
        return np.array([m["angle_data_left"], m["angle_left"], m["test_error"]])[:, :141]

    def limit(point):
        problem = point.problem()
        S, X = span_of(problem.back_projection(), r), span_of(problem.X, r)
        return np.arcsin(min(np.linalg.norm(X - S @ (S.T @ X), 2), 1.0))
    curves = each(points, read)
    return {"alpha": alpha.astype(float), "data": curves[:, :, 0], "truth": curves[:, :, 1], "error": curves[:, :, 2],
            "between": each(points[0], limit)}


def judge_b(data):
    """data, truth: angles to A*(y) and to X*, error: (alpha, seed, iteration), the small start last; between: angle of the two (seed)."""
    between = data["between"]
    near, at = data["data"].min(axis=-1) / between, data["data"].argmin(axis=-1)
    half = np.array([first_below(e, 0.5) for e in data["error"][-1]])
    flat = data["error"][-1][np.arange(between.size), at[-1]]
    rises = data["data"][-1, :, -1] / between
    truth = data["truth"][-1, :, -1] / between
    plateau = data["truth"][-1][np.arange(between.size), at[-1]] / between
    return [
        Check("nearest angle to the leading vectors of A*(y), over the angle of these to X*", span(near[-1]), "median below 0.1",
              np.median(near[-1]) < 0.1),
        Check("nearest before the error falls below 1/2", share(at[-1] < half), "at least 90 %", np.mean(at[-1] < half) >= 0.9),
        Check("error at that moment", span(flat), "median above 0.9: it is still flat", np.median(flat) > 0.9),
        Check("angle to X* at that moment, over the same", span(plateau), "1: within 10 %", abs(np.median(plateau) - 1) < 0.1),
        Check("angle to A*(y) at the end, over the same", span(rises), "1: within 10 % (it turns to X*)",
              abs(np.median(rises) - 1) < 0.1),
        Check("angle to X* at the end, over the same", span(truth), "median below 0.05", np.median(truth) < 0.05),
        Check(f"nearest angle from alpha = {data['alpha'][0]:g}", span(near[0]), "median above 0.2: a large start does not align first",
              np.median(near[0]) > 0.2, control=True)]


def draw_b(data, figure):
    left, right = figure.axes
    t = np.arange(data["data"].shape[-1])
    for axes, index, title in ((left, -1, f"alpha = {data['alpha'][-1]:g}"), (right, 0, f"alpha = {data['alpha'][0]:g} (control)")):
        band(axes, t, data["data"][index].T, "angle to A*(y)", 0, marker="")
        band(axes, t, data["truth"][index].T, "angle to X*", 1, marker="")
        band(axes, t, data["error"][index].T, "relative error", 2, marker="", ls="--")
        axes.axhline(np.median(data["between"]), color="0.4", lw=0.8, ls=":")
        axes.set(yscale="log", xlabel="iteration", title=title)
        axes.text(t[-1], np.median(data["between"]), "A*(y) to X*", ha="right", va="bottom", fontsize=7.5, color="0.3")
    left.set_ylabel("angle, rad")


# ---------------------------------------------------------------- P2-c


def measure_c(work):
    found, n, r = tables(work, "P2-c")
    points, (k,) = joined(found, "k")

    def read(point):
        error = point.metrics()["test_error"]
        return first_below(error, 0.5), least_early(error)
    both = each(points, read)
    return {"k": k.astype(int), "half": both[..., 0], "error": both[..., 1]}


def judge_c(data):
    """half: iterations until the error is below 1/2, error: on the plateau, (k, seed), k going up from 2 r."""
    times, floors = np.median(data["half"], axis=-1), np.median(data["error"], axis=-1)
    paired = data["half"][-1] / data["half"][0]
    error = paired.std(ddof=1) / np.sqrt(paired.size)
    return [
        Check("iterations with the most over those with the fewest columns, of the same problem",
              f"mean {paired.mean():.4g}, standard error {error:.2g}",
              "below 1 by two standard errors", paired.mean() + 2 * error < 1),
        Check("median iterations until the error is below 1/2, over k", ", ".join(f"{t:g}" for t in times), "do not grow (5 %)",
              decreasing(times, 0.05)),
        Check("largest over least median error on the plateau", f"{floors.max() / floors.min():.3g}", "below 3: the same floor",
              floors.max() / floors.min() < 3)]


def draw_c(data, figure):
    left, right = figure.axes
    band(left, data["k"], data["half"], None, 0)
    band(right, data["k"], data["error"], None, 1)
    left.set(xscale="log", xlabel="columns k", ylabel="iterations", title="Until the error is below 1/2")
    log_log(right, "columns k", "relative error", "Where the plateau begins")
    right.set_ylim(np.median(data["error"]) / 30, np.median(data["error"]) * 30)
    for axes in (left, right):
        ticks(axes, "x", data["k"])


# ---------------------------------------------------------------- XD1

SCALES = {"large": 0.5, "medium": 0.25, "exact": 0.5}


def measure_xd(work):
    def starts(folder, seed, n, r):
        random = np.random.default_rng([seed, 77])
        U, V = random.standard_normal((2, n, 5)) / np.sqrt(n)
        for name in ("large", "medium"):
            write_start(folder / f"{name}.h5", SCALES[name] * U, SCALES[name] / 3 * V)
        write_start(folder / "same.h5", SCALES["large"] * U, SCALES["large"] * U)
        write_start(folder / "exact.h5", SCALES["exact"] * U[:, :r], SCALES["exact"] * U[:, :r])
    found, n, r = tables(work, "XD1", starts)
    order = ["large", "medium", "same", "exact"]
    points = np.array([[next(point for point in table if stem(point["init"]) == name) for table in found] for name in order])
    curves = [[(p.metrics()["iteration"], p.metrics()["test_error"]) for p in row] for row in points]
    return {"alpha": np.array([SCALES["large"], SCALES["medium"]]), "curves": dict(zip(order, curves))}


def stem(init):
    return str(init).removeprefix("file:").removesuffix(".h5").rsplit("/", 1)[-1]


def rate(t, error):
    """Decay per iteration, from the second half of what is above 1e-9: error ~ exp(-rate t)."""
    above = np.flatnonzero(error > 1e-9)
    part = above[above.size // 2:]
    return -np.polyfit(t[part], np.log(error[part]), 1)[0]


def power(t, error):
    """Exponent of the error in t over the last three quarters."""
    part = t >= t[-1] / 4
    return np.polyfit(np.log(t[part]), np.log(error[part]), 1)[0]


def judge_xd(data):
    """curves: per start a list of (iteration, error) over the seeds; large and medium: U V^T from (alpha, alpha / 3), same: U U^T with
    the same k, exact: U U^T with k = r."""
    curves = data["curves"]
    rates = {name: np.array([rate(*one) for one in curves[name]]) for name in ("large", "medium")}
    ends = {name: np.array([one[1][-1] for one in curves[name]]) for name in curves}
    in_alpha = np.log(rates["large"] / rates["medium"]) / np.log(data["alpha"][0] / data["alpha"][1])
    powers = np.array([power(*one) for one in curves["same"]])
    return [
        Check("U U^T, k above r: exponent of the error in the iteration", span(powers), "-1: within 0.25 (squared error 1 / T^2)",
              abs(np.median(powers) + 1) < 0.25),
        Check("U U^T, k above r: error at the end", span(ends["same"]), "above 1e-4", np.median(ends["same"]) > 1e-4),
        Check("U V^T of the same data, unequal scales: error at the end", span(ends["large"]),
              "below 1e-8, and in every run below that of U U^T",
              np.median(ends["large"]) < 1e-8 and np.all(ends["large"] < ends["same"])),
        Check("exponent of its rate in alpha", span(in_alpha), "2: within 0.6", abs(np.median(in_alpha) - 2) < 0.6),
        Check("U U^T with k = r: error at the end", span(ends["exact"]), "below 1e-9: it is the surplus columns that slow it down",
              np.median(ends["exact"]) < 1e-9, control=True)]


def draw_xd(data, figure):
    left, right = figure.axes
    labels = {"large": f"U V^T, alpha = {data['alpha'][0]:g}", "medium": f"U V^T, alpha = {data['alpha'][1]:g}",
              "same": "U U^T, k above r", "exact": "U U^T, k = r"}
    for index, (name, curves) in enumerate(data["curves"].items()):
        for number, (t, error) in enumerate(curves):
            for axes in (left, right):
                axes.plot(np.maximum(t, 1), np.maximum(error, 1e-13), color=COLORS[index], marker="", lw=0.7, alpha=0.6)
        left.plot([], [], color=COLORS[index], marker="", label=labels[name])
    left.set(yscale="log", xlabel="iteration", ylabel="relative error", title="Linear rates are lines here")
    right.set(yscale="log", xscale="log", xlabel="iteration", title="Powers of the iteration are lines here")


# ---------------------------------------------------------------- J1


def partial_errors(U, parts):
    """||U U^T - X_s||_F^2 / ||X_s||_F^2 of each X_s."""
    W = U @ U.T
    return [np.sum((W - X)**2) / np.sum(X**2) for X in parts]


def measure_j(work):
    found, n, r = tables(work, "J1", normal=True)
    points, (measurements, alpha) = joined(found, "solve.measurements", "alpha")

    def read(point):
        values, vectors = np.linalg.eigh(point.problem().X)
        values, vectors = values[::-1][:r], vectors[:, ::-1][:, :r]
        parts = [vectors[:, :s] * values[:s] @ vectors[:, :s].T for s in range(1, r + 1)]
        kept = {int(path.name.split(".")[1]): path for path in point.directory.glob("checkpoint.*.h5") if path.name.split(".")[1].isdigit()}
        curve = [[t, *partial_errors(mxsense_io.read_factors(kept[t], None if point.alone else point.replica)[0],
                                     parts)] for t in sorted(kept)]
        return np.array(curve)
    return {"m": measurements.astype(float) / (n * r), "alpha": alpha.astype(float), "curves": each(points, read)}


def judge_j(data):
    """curves: (m, alpha, seed, point, 1 + r): iteration and E_1 .. E_r; alpha goes down, m up."""
    E = data["curves"][..., 1:]
    dips, when = E.min(axis=-2), E.argmin(axis=-2)
    ordered = np.all(np.diff(when[-1, -1], axis=-1) > 0, axis=-1)
    deep = np.median(dips[-1], axis=1)
    mean = np.exp(np.log(np.median(dips, axis=2)).mean(axis=-1))
    return [
        Check("runs whose nearest points to X_1, X_2, .. come in this order (smallest alpha, largest m)", share(ordered),
              "at least 90 %", np.mean(ordered) >= 0.9),
        Check("median least E_s over s = 1 .. r, alpha " + "; ".join(f"{a:g}" for a in data["alpha"]),
              "; ".join(", ".join(f"{d:.2g}" for d in row) for row in deep),
              "deeper with smaller alpha, for every s", all(decreasing(deep[:, s]) for s in range(deep.shape[1]))),
        Check("geometric mean over s, smallest alpha, over m / (n r)",
              ", ".join(f"{mean[i, -1]:.2g} at {m:g}" for i, m in enumerate(data["m"])), "deeper with more measurements",
              decreasing(mean[:, -1])),
        Check(f"the same mean from alpha = {data['alpha'][0]:g} over that from {data['alpha'][-1]:g}, largest m",
              f"{mean[-1, 0] / mean[-1, -1]:.3g}", "above 3: a large start learns all at once",
              mean[-1, 0] / mean[-1, -1] > 3, control=True)]


def draw_j(data, figure):
    left, right = figure.axes
    for axes, index in ((left, -1), (right, 0)):
        curve = data["curves"][-1, index, 0]
        for s in range(curve.shape[1] - 1):
            axes.plot(curve[:, 0], curve[:, 1 + s], color=COLORS[s], marker="", label=f"s = {s + 1}")
        axes.set(yscale="log", xlabel="iteration", title=f"alpha = {data['alpha'][index]:g}, first problem")
    left.set_ylabel(r"$\Vert UU^T-X_s\Vert^2 / \Vert X_s\Vert^2$")


XD = "Xiong, Ding, Du, ICLR 2024, arXiv 2310.01769 (abstract)"
JIN = "Jin, Li, Lyu, Du, Lee, ICML 2023, arXiv 2301.11500"

CARDS = [
    Card("P2-a", "error against alpha, U U^T", SS + " (exponent as restated by Karnik et al., arXiv 2410.16247)",
         "From a small random start with k above the rank the error of U U^T is at most a constant times alpha^(21/16), where the "
         "measurements have a small isometry constant.",
         "X* = F F^T with orthonormal columns of F, step 0.25, k = n; alpha is the standard deviation of the entries, sqrt(k) times less "
         "than the source's. Errors are not squared.",
         "With few measurements the assumption does not hold, and the exponent must be smaller.", measure_a, judge_a, draw_a),
    Card("P2-b", "the signature of the angles", SS,
         "Small random initialisation is akin to spectral learning: first the leading singular vectors of U turn to those of A*(y), "
         "while the error is flat; then they leave these and turn to X*.",
         "A_i symmetric and stored, step 0.25. Angles are those of the metrics, compared with the angle between the leading vectors of "
         "A*(y) and X*, computed in numpy before the run.",
         "From alpha = 0.1 the iterate must not come as near to A*(y).", measure_b, judge_b, draw_b, 2),
    Card("P2-c", "more columns, fewer iterations", SS + "; the picture is that of Karnik et al., arXiv 2410.16247",
         "With more columns the descent needs fewer iterations (a small effect), and ends at the same floor.",
         "Entries of the start of variance alpha^2 / k, as in the source: alpha is given divided by sqrt(k). k from 2 r to 2 n.",
         "No control: with columns that make no difference, or a floor that rises, the numbers fail (tests).", measure_c, judge_c,
         draw_c, 2),
    Card("XD1", "imbalance speeds up", XD,
         "With more columns than the rank, U U^T from a random start converges like 1 / T at best (squared error 1 / T^2), while U V^T "
         "for the same matrix converges linearly, at a rate that grows with the square of the scale of the start: it is the imbalance "
         "between the factors that drives it.",
         "k = 5; U and V start at scales alpha and alpha / 3 (times N(0, 1 / n) entries), from files; step 0.2.",
         "U U^T with k = r must converge linearly.", measure_xd, judge_xd, draw_xd, 2),
    Card("J1", "incremental learning", JIN,
         "From a small start gradient descent comes near the best approximations of rank 1, 2, .. of X* one after the other; nearer, the "
         "smaller the start and the more measurements there are.",
         "X* = F F^T with normal F, k = n, automatic step (0.25 / s1; the source's 0.005 is about as much for its X*). E_s is squared "
         "here, as there; from checkpoints at every sixth iteration.",
         "From alpha = 1 the approaches must be much less close.", measure_j, judge_j, draw_j, 2),
]
