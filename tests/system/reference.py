"""An independent implementation of what mxsense computes, in plain numpy: for comparison only, small sizes only.

Conventions: y_i = <A_i, X> + noise; f = 1/(2m) sum R_i^2 with R_i = <A_i, U V^T> - y_i; both factors step from the old pair.
"""
import dataclasses
import pathlib
import sys

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from mxsense_ensembles import rows as generated_rows  # noqa: E402 (numpy too, and as independent)

EPS = np.finfo(float).eps

GENERATED = ("rademacher", "gaussian", "gaussian8", "fast")

# ---------------------------------------------------------------- problems


@dataclasses.dataclass
class Problem:
    """Measurement matrices as rows of A (m x n1 n2), measurements y, held-out ones, and the truth or None."""
    n1: int
    n2: int
    A: np.ndarray
    y: np.ndarray
    U: np.ndarray = None
    V: np.ndarray = None
    A_val: np.ndarray = None
    y_val: np.ndarray = None

    @property
    def X(self):
        return None if self.U is None else self.U @ self.V.T

    def first(self, m):
        """The problem with its first m measurements only."""
        return dataclasses.replace(self, A=self.A[:m], y=self.y[:m])

    def back_projection(self):
        return (self.y @ self.A).reshape(self.n1, self.n2) / len(self.y)

    def residual(self, U, V):
        return self.A @ (U @ V.T).ravel() - self.y

    def gradient(self, U, V):
        G = (self.residual(U, V) @ self.A).reshape(self.n1, self.n2) / len(self.y)
        return G @ V, G.T @ U

    def loss(self, U, V):
        return np.sum(self.residual(U, V)**2) / (2 * len(self.y))

    def auto_step(self):
        return 0.25 / np.linalg.norm(self.back_projection(), 2)

    def auto_alpha(self):
        scale2 = np.sum(self.A**2) / self.A.size
        return 1e-3 * np.sqrt(np.linalg.norm(self.back_projection(), 2) / scale2)


def plant(n1, n2, r, m, seed, sigma=None, noise=0.0, held_out=0, entries="normal"):
    """A random problem: orthonormal singular vectors, singular values `sigma` (ones if not given)."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(np.ones(r) if sigma is None else np.asarray(sigma, float))
    U, V = (np.linalg.qr(rng.standard_normal((n, r)))[0] * root for n in (n1, n2))
    total = m + held_out
    if entries == "normal":
        A = rng.standard_normal((total, n1 * n2))
    else:
        A = rng.integers(-3, 4, (total, n1 * n2)).astype(float)
    y = A @ (U @ V.T).ravel() + noise * rng.standard_normal(total)
    return Problem(n1, n2, A[:m], y[:m], U, V, A[m:] if held_out else None, y[m:] if held_out else None)


def load(path):
    """Read a problem file; the matrices of a generated ensemble are computed here."""
    with h5py.File(path, "r") as file:
        y = file["y"][...].astype(float)
        m = len(y)
        y_val = file["validation/y"][...].astype(float) if "validation/y" in file else None
        if "A" in file:
            A = file["A"][...].astype(float)
            n1, n2 = A.shape[1:] if A.ndim == 3 else (int(file["A"].attrs[name]) for name in ("n1", "n2"))
            A = A.reshape(m, n1 * n2)
            A_val = None if y_val is None else file["validation/A"][...].astype(float).reshape(len(y_val), -1)
        else:
            kind = file.attrs["ensemble"]
            kind = kind.decode() if isinstance(kind, bytes) else kind
            n1, n2, seed = (int(file.attrs[name]) for name in ("n1", "n2", "seed"))
            total = m + (0 if y_val is None else len(y_val))
            block_rows = int(file.attrs["block_rows"]) if kind == "fast" else None
            A = generated_rows(kind, seed, (n1, n2), 0, total, block_rows=block_rows).astype(float)
            A, A_val = A[:m], None if y_val is None else A[m:]
        U, V = ((file[f"truth/{name}"][...] for name in "UV") if "truth/U" in file else (None, None))
    return Problem(n1, n2, A, y, U, V, A_val, y_val)


# ---------------------------------------------------------------- metrics


def gap_rank(sigma, most):
    """Place i <= most of the largest s_i / s_{i+1}."""
    kept = sigma[:most + 1]
    with np.errstate(divide="ignore"):
        return int(np.argmax(kept[:-1] / kept[1:])) + 1 if len(kept) > 1 else 1


def largest_angle(P, Q):
    """Largest principal angle between the ranges of two matrices with orthonormal columns, accurate at both ends."""
    sine = np.linalg.norm(Q - P @ (P.T @ Q), 2)
    cosine = np.linalg.svd(P.T @ Q, compute_uv=False)[-1]
    return float(np.arctan2(sine, cosine))


def angles(left, right, r):
    """Largest angles between the leading-r singular subspaces of two matrices, left and right; NaN when there are none."""
    if right is None or r is None or r > min(left.shape):
        return np.nan, np.nan
    (P, s, Qt), (L, _, Rt) = np.linalg.svd(left), np.linalg.svd(right)
    return largest_angle(L[:, :r], P[:, :r]), largest_angle(Rt[:r].T, Qt[:r].T)


def metrics(problem, U, V, step, singular_values=None):
    """All columns that do not depend on time, as a dictionary; `phase`, a rule with memory, is left out."""
    k = U.shape[1]
    X, S = U @ V.T, problem.back_projection()
    dU, dV = problem.gradient(U, V)
    sigma = np.linalg.svd(X, compute_uv=False)
    p = sigma[:k] / sigma.sum()
    p = p[p > 0]
    truth = problem.X
    r = gap_rank(np.linalg.svd(S, compute_uv=False), k) if truth is None else problem.U.shape[1]
    with_r = r if k >= r else None
    row = {
        "loss": problem.loss(U, V),
        "grad_norm": np.sqrt(np.sum(dU**2) + np.sum(dV**2)),
        "test_error": np.nan if truth is None else np.linalg.norm(X - truth) / np.linalg.norm(truth),
        "validation_loss": np.nan,
        "imbalance": np.linalg.norm(U.T @ U - V.T @ V, 2),
        "effective_rank": np.exp(-np.sum(p * np.log(p))),
        "step": step,
    }
    if problem.y_val is not None:
        row["validation_loss"] = np.mean((problem.A_val @ X.ravel() - problem.y_val)**2) / 2
    row["angle_left"], row["angle_right"] = angles(X, truth, with_r)
    row["angle_data_left"], row["angle_data_right"] = angles(X, S, with_r)
    for j in range(singular_values or min(k, 10)):
        row[f"sigma_{j + 1}"] = sigma[j] if j < len(sigma) else np.nan
    return row


def descend(problem, U, V, step, iterations, every=10, **options):
    """Factors after `iterations` updates, and the metrics rows as {iteration: columns}."""
    U, V, rows = U.copy(), V.copy(), {}
    for t in range(iterations + 1):
        if t % every == 0 or t == iterations:
            rows[t] = metrics(problem, U, V, step, **options)
        if t < iterations:
            dU, dV = problem.gradient(U, V)
            U, V = U - step * dU, V - step * dV
    return U, V, rows


# ---------------------------------------------------------------- other methods


def spd_divide(G, F, shift):
    """G (F^T F + shift I)^+."""
    return G @ np.linalg.pinv(F.T @ F + shift * np.eye(F.shape[1]), rcond=1e-13, hermitian=True)


def first_minimum(c):
    """Smallest positive root of the derivative of sum_i c[i] t^i."""
    roots = np.roots(np.polyder(np.polynomial.Polynomial(c).convert().coef[::-1]))
    return min(root.real for root in roots if abs(root.imag) < 1e-9 * abs(root) and root.real > 0)


def quartic(problem, U, V, P, Q, weight=0.0):
    """f, and weight / 4 times the imbalance, at (U - t P, V - t Q): five coefficients, from five values of t."""
    t = np.arange(5.0) - 2
    scale = np.sqrt((np.sum(U**2) + np.sum(V**2)) / (np.sum(P**2) + np.sum(Q**2)))
    values = []
    for x in scale * t:
        left, right = U - x * P, V - x * Q
        values.append(problem.loss(left, right) + weight / 4 * np.sum((left.T @ left - right.T @ right)**2))
    return np.linalg.solve(np.vander(t, 5, increasing=True), values) / scale**np.arange(5)


def best_rank(X, k, symmetric):
    """Balanced factors of the best approximation of rank k, of the positive semidefinite ones where asked."""
    if symmetric:
        values, vectors = np.linalg.eigh((X + X.T) / 2)
        U = vectors[:, -k:] * np.sqrt(np.maximum(values[-k:], 0))
        return U, U.copy()
    left, s, right = np.linalg.svd(X)
    return left[:, :k] * np.sqrt(s[:k]), right[:k].T * np.sqrt(s[:k])


def tangent_step(problem, U, V, step, symmetric):
    """Riemannian gradient descent with dense matrices; step None: the best one."""
    k, X = U.shape[1], U @ V.T
    G = (problem.residual(U, V) @ problem.A).reshape(X.shape) / len(problem.y)
    if symmetric:
        G = (G + G.T) / 2
    left, right = np.linalg.qr(U)[0], np.linalg.qr(V)[0]
    inside = left @ (left.T @ G)
    W = inside + (G - inside) @ right @ right.T
    if step is None:
        step = np.sum(W**2) / np.mean((problem.A @ W.ravel())**2)
    return best_rank(X - step * W, k, symmetric)


def follow(problem, U, V, method, iterations, step, symmetric=False, momentum=0.9, shift=0.0, weight=0.0):
    """Factors after `iterations` updates of a method; step None: exact line search, or the best of riemannian_gd. `step` of the methods
    that divide by Gram matrices is in their units; `weight` is that of the balancing regulariser, times scale^2."""
    scale2 = np.mean(problem.A**2)
    U, V = U.copy(), V.copy()
    W, Z = U.copy(), V.copy()
    for t in range(iterations):
        if method == "riemannian_gd":
            U, V = tangent_step(problem, U, V, None if step is None else step / scale2, symmetric)
            continue
        P, Q = problem.gradient(U, V)
        if symmetric:
            P = Q = (P + Q) / 2
        if method == "nesterov":
            w, z = U - step * P, V - step * Q
            beta = momentum if t else 0.0
            U, V, W, Z = w + beta * (w - W), z + beta * (z - Z), w, z
            continue
        if method == "gd":
            D = U.T @ U - V.T @ V
            P, Q = P + weight * U @ D, Q - weight * V @ D
        else:
            P, Q = spd_divide(P, V, shift) / scale2, spd_divide(Q, U, shift) / scale2
        if method == "agn" and not symmetric:
            P, Q = (P, 0 * Q) if t % 2 == 0 else (0 * P, Q)
        mu = first_minimum(quartic(problem, U, V, P, Q, weight)) if step is None else step
        U, V = U - mu * P, V - mu * Q
    return U, V
