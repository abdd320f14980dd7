"""Cards T2, T5, D1 and GN1: preconditioned descent, stopping on held-out measurements, Gauss-Newton.

TMC: Tong, Ma, Chi, Accelerating ill-conditioned low-rank matrix estimation via scaled gradient descent, JMLR 22 (150), 2021: read. Its
condition number is that of X* itself, its loss has a factor 1/2 and normalised measurements: the same iterates for the same step."""

import numpy as np

from papers.core import (Card, Check, COLORS, MARKERS, band, each, first_below, grid, log_log, slope, span, ticks)

TMC = "Tong, Ma, Chi, JMLR 22 (150), 2021"
TARGET = 1e-6


# ---------------------------------------------------------------- T2


def reached(point, target):
    """Iterations to an error."""
    metrics = point.metrics()
    place = first_below(metrics["test_error"], target)
    return np.nan if np.isnan(place) else metrics["iteration"][int(place)]


def measure_t2(work):
    points, (condition, method) = grid(work.study("T2"), "condition", "method")
    curves = [[points[i, j, 0].metrics()["test_error"] for j in range(len(method))] for i in range(len(condition))]
    return {"condition": condition.astype(float), "method": method, "to": each(points, lambda p: reached(p, TARGET)),
            "to_more": each(points[:, 0], lambda p: reached(p, 3e-9)), "curves": curves}


def judge_t2(data):
    """to: iterations to 1e-6, (condition, method, seed), scaled_gd first; to_more: of scaled_gd to 3e-9; the first condition is 1."""
    to = np.where(np.isfinite(data["to"]), data["to"], np.inf)
    scaled, plain = to[-1, 0] / to[0, 0], to[-1, 1] / to[0, 1]
    more = np.where(np.isfinite(data["to_more"]), data["to_more"], np.inf)
    same = to[0, 1] / to[0, 0]
    top = data["condition"][-1]
    return [
        Check(f"scaled_gd: iterations to 1e-6 at condition {top:g} over those at 1", span(scaled), "median below 1.3",
              np.median(scaled) < 1.3),
        Check("the same to 3e-9", span(more[-1] / more[0]), "median below 1.3", np.median(more[-1] / more[0]) < 1.3),
        Check("gd over scaled_gd at condition 1", span(same), "1: within 15 %", abs(np.median(same) - 1) < 0.15),
        Check(f"gd: iterations at condition {top:g} over those at 1", span(plain), "median above 8: gd does see the condition",
              np.median(plain) > 8, control=True)]


def draw_t2(data, figure):
    axes, = figure.axes
    for i, condition in enumerate(data["condition"]):
        for j, method in enumerate(data["method"]):
            curve = data["curves"][i][j]
            axes.plot(np.arange(1, curve.size + 1), curve, color=COLORS[i], marker="", ls="-" if j == 0 else "--",
                      label=f"{method}, {condition:g}")
    axes.set(yscale="log", xscale="log", xlabel="iteration, from 1", ylabel="relative error", title="Condition 1, 5, 20: first problems")


# ---------------------------------------------------------------- T5


def measure_t5(work):
    points, (condition, method) = grid(work.study("T5"), "condition", "method")
    return {"condition": condition.astype(float), "method": method, "to": each(points, lambda p: reached(p, TARGET)),
            "passes": each(points, lambda p: p["passes_over_A"]),
            "iterations": each(points, lambda p: p["iterations"]), "iteration_s": each(points, lambda p: p["iteration_s"])}


def judge_t5(data):
    """to: iterations to 1e-6, (condition, method, seed): gd, scaled_gd, agn. Seconds are shown and not judged."""
    high = data["condition"] >= 5
    to = np.where(np.isfinite(data["to"]), data["to"], np.nan)
    exponents = slope(data["condition"][high], to[high].transpose(1, 2, 0))
    passes = np.median(data["passes"] / data["iterations"], axis=(0, 2))
    seconds = np.median(data["iteration_s"], axis=(0, 2))
    middle = np.median(exponents, axis=-1)
    return [
        Check("scaled_gd: exponent of the iterations in the condition", span(exponents[1]), "0: within 0.1", abs(middle[1]) < 0.1),
        Check("agn (one factor at a time): the same", span(exponents[2]), "0: within 0.1", abs(middle[2]) < 0.1),
        Check("passes over A of an iteration: gd, scaled_gd, agn",
              ", ".join(f"{p:.2f}" for p in passes) + "; seconds, not judged: " + ", ".join(f"{s:.2g}" for s in seconds),
              "scaled_gd as gd: within 5 %", abs(passes[1] / passes[0] - 1) < 0.05),
        Check("gd: exponent of the iterations in the condition", span(exponents[0]), "1: within 0.2", abs(middle[0] - 1) < 0.2,
              control=True)]


def draw_t5(data, figure):
    left, right = figure.axes
    for index, method in enumerate(data["method"]):
        band(left, data["condition"], data["to"][:, index], str(method), index)
        band(right, data["condition"], data["to"][:, index] * data["iteration_s"][:, index], str(method), index)
    log_log(left, "condition", "iterations", "To an error of 1e-6")
    log_log(right, "condition", "seconds (of this machine, as it was)", "The same in seconds")
    for axes in (left, right):
        ticks(axes, "x", data["condition"])


# ---------------------------------------------------------------- D1


def measure_d1(work):
    points, (noise, k, stop) = grid(work.study("D1"), "noise", "k", "stop")
    whole, picked = points[:, :, list(stop).index("tolerance")], points[:, :, list(stop).index("validation")]
    m = each(whole[:, 0], lambda p: p["measurements"])
    first = whole[0, 0, 0]
    norm = np.linalg.norm(first.problem().X)
    rate = noise[:, None].astype(float) * np.sqrt((int(first["n1"]) + int(first["n2"])) * int(first["rank"]) / m) / norm
    read = each(whole, lambda p: (lambda e: (e.min(), e[-1]))(p.metrics()["test_error"]))
    curves = [[{name: whole[i, j, 0].metrics()[name] for name in ("test_error",
                                                                  "validation_loss")} for j in range(len(k))] for i in range(len(noise))]
    return {"noise": noise.astype(float), "k": k.astype(int), "best": read[..., 0], "final": read[..., 1],
            "picked": each(picked, lambda p: p["test_error"]),
            "rate": rate[:, None], "curves": curves}


def judge_d1(data):
    """best, final, picked: error at best, at the end, where validation stops, (noise, k, seed); rate: of statistics, (noise, 1, seed)."""
    pick, near, over = data["picked"] / data["best"], data["picked"] / data["rate"], data["final"] / data["picked"]
    def text(values):
        return "; ".join(f"{noise:g}: " + ", ".join(f"{v:.3g}" for v in np.median(row, axis=-1)) for noise,
                         row in zip(data["noise"], values))
    return [
        Check("error where validation stops over the least of the run: medians over k, per noise", text(pick), "all below 1.1",
              np.all(np.median(pick, axis=-1) < 1.1)),
        Check("the same, 95 % of all runs", f"{np.percentile(pick, 95):.3g}", "below 1.3", np.percentile(pick, 95) < 1.3),
        Check("error over sqrt(sigma^2 (n1 + n2) r / m)", text(near), "all within 0.7 to 1.6: the right order, at every k",
              np.all((np.median(near, axis=-1) > 0.7) & (np.median(near, axis=-1) < 1.6))),
        Check(f"error of the last iteration over that of the stop, k = {data['k'][-1]}",
              ", ".join(f"{v:.3g}" for v in np.median(over[:, -1], axis=-1)),
              "above 1.5: going on fits the noise", np.all(np.median(over[:, -1], axis=-1) > 1.5), control=True)]


def draw_d1(data, figure):
    left, right = figure.axes
    for index, k in enumerate(data["k"]):
        curve = data["curves"][-1][index]
        for axes, name in ((left, "test_error"), (right, "validation_loss")):
            axes.plot(np.maximum(np.arange(curve[name].size), 1), curve[name], color=COLORS[index], marker="", label=f"k = {k}")
            place = np.nanargmin(curve["validation_loss"])
            axes.plot(max(place, 1), curve[name][place], color=COLORS[index], marker="o", ls="none")
    log_log(left, "iteration", "relative error", f"noise {data['noise'][-1]:g}, first problem")
    log_log(right, "iteration", "held-out loss", "circle: where validation stops")


# ---------------------------------------------------------------- GN1


def measure_gn(work):
    points, (rho, condition, init) = grid(work.study("GN1"), "rho", "condition", "init")
    return {"rho": rho.astype(float), "condition": condition.astype(float), "init": init,
            "error": each(points, lambda p: p["test_error"]), "iterations": each(points, lambda p: p["iterations"])}


def judge_gn(data):
    """error, iterations: (rho, condition, init, seed); init: spectral, random; conditions 1 and 1e4."""
    ok = data["error"] < 1e-4
    rate = ok.mean(axis=-1)
    enough = data["rho"] >= 1.5
    seeds = ok.shape[-1]
    slack = 2 / np.sqrt(seeds)
    spectral = rate[enough, :, 0]
    taken = data["iterations"][enough][:, :, 0][ok[enough][:, :, 0]]
    rising = [bool(np.all(np.diff(rate[:, c, i]) > -slack)) for c in range(rate.shape[1]) for i in range(rate.shape[2])]
    return [
        Check("recovered from the spectral start, rho 1.5 and more: condition " + ", ".join(f"{c:g}" for c in data["condition"]),
              "; ".join(", ".join(f"{v:.0%}" for v in row) for row in spectral), "at least 90 % each, whatever the condition",
              np.all(spectral >= 0.9)),
        Check("its iterations there", span(taken) if taken.size else "none", "median at most 30", taken.size and np.median(taken) <= 30),
        Check("success rates over rho: " + "; ".join(f"{i}, condition {c:g}" for c in data["condition"] for i in data["init"]),
              "; ".join(", ".join(f"{v:.0%}" for v in rate[:, c, i]) for c in range(rate.shape[1]) for i in range(rate.shape[2])),
              f"each rises, but for {slack:.2f}", all(rising)),
        Check(f"recovered from a random start, condition 1, rho {data['rho'][-1]:g}", f"{rate[-1, 0, -1]:.0%}", "at least 90 %",
              rate[-1, 0, -1] >= 0.9),
        Check(f"recovered at rho = {data['rho'][0]:g}: spectral, random", ", ".join(f"{v:.0%}" for v in rate[0].mean(axis=0)),
              "at most 50 %: next to the limit of information",
              np.all(rate[0].mean(axis=0) <= 0.5), control=True)]


def draw_gn(data, figure):
    axes, = figure.axes
    rate = (data["error"] < 1e-4).mean(axis=-1)
    for c, condition in enumerate(data["condition"]):
        for i, init in enumerate(data["init"]):
            axes.plot(data["rho"], rate[:, c, i], color=COLORS[c], marker=MARKERS[i], ls="-" if i == 0 else "--",
                      label=f"{init}, condition {condition:g}")
    axes.set(xlabel=r"$\rho$ = m / (r (n1 + n2 - r))", ylabel="fraction recovered (error < 1e-4)", title="Gauss-Newton with known rank",
             ylim=(-0.04, 1.04))


CARDS = [
    Card("T2", "ScaledGD does not see the condition", TMC,
         "With known rank and the spectral start, the error of ScaledGD falls at the same linear rate for every condition number; at "
         "condition 1 it is gradient descent.",
         "m = 4 r (n1 + n2 - r), k = r, step 0.5 for both (s1 = 1), singular values evenly spaced from 1 to 1/condition.",
         "Gradient descent on the same problems must slow down by more than 8 from condition 1 to 20.", measure_t2, judge_t2, draw_t2),
    Card("T5", "iterations and seconds against the condition", TMC,
         "Gradient descent needs iterations in proportion to the condition number, ScaledGD as many whatever it is, at the same price "
         "for each. (The source's third method is alternating minimisation, which is not here; beside them is the preconditioned "
         "alternation, agn, which updates one factor at a time.)",
         "m = 6 r (n1 + n2 - r), error 1e-6, step 0.5. Price counted in passes over A; seconds are shown.",
         "The exponent of gradient descent must be about 1.", measure_t5, judge_t5, draw_t5, 2),
    Card("D1", "stopping by validation", "Ding et al., arXiv 2209.10675 (abstract)",
         "With noise and k above the rank, stopping where the loss on a few held-out measurements is least gives nearly the least error "
         "of the whole run, of the order that the rank, not k, would have.",
         "A tenth held out, alpha = 1e-4, step 0.25; the program's own stop: validation beside a run of 1200 iterations. The rate is "
         "sqrt(sigma^2 (n1 + n2) r / m) over ||X*||, with y not normalised.",
         "At the largest k the last iteration must be worse by more than 1.5: without stopping the noise is fitted.", measure_d1,
         judge_d1, draw_d1, 2),
    Card("GN1", "Gauss-Newton near the information limit", "Zilber, Nadler (GNMR), 2022: their published code",
         "With known rank, few more measurements than degrees of freedom and any condition, Gauss-Newton on the linearised factorisation "
         "recovers X*, in few iterations.",
         "No weights (weights: none), spectral or random start, success is an error below 1e-4. The step here is the least squares on "
         "the tangent space, then the best approximation of rank r; GNMR solves the same linearisation in the factors: next to the limit "
         "the rates may differ.",
         "At rho = 1.05 it must fail in most runs.", measure_gn, judge_gn, draw_gn),
]
