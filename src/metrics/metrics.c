#include "metrics/metrics.h"

#include "la/la.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 24, FIXED_BEFORE = 7, FIXED_AFTER = 7 };

/* The phase rule's constants (metrics.h). */
#define GROWTH 100.0
#define ALIGNED 0.4
#define RESIDUAL 0.5

struct mxs_metrics {
  const mxs_problem *problem;
  const mxs_spectrum *spectrum;
  int64_t sigmas;
  int64_t columns;
  double truth_norm; /* ||X*||_F */
  char (*text)[NAME_SIZE];
  const char **names;
};

/* SVD of U V^T through its small core: left is n1 x count, right n2 x count, count = min(k, n1,
 * n2). */
typedef struct decomposition {
  int64_t count;
  double *s, *left, *right;
} decomposition;

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static void decomposition_clear(decomposition *d) {
  mxs_release(&d->s);
  mxs_release(&d->left);
  mxs_release(&d->right);
}

static mxs_status decompose(mxs_cmat U, mxs_cmat V, decomposition *d) {
  *d = (decomposition){.count = min64(min64(U.rows, V.rows), U.cols)};
  MXS_TRY(mxs_alloc(d->count, sizeof *d->s, &d->s));
  MXS_TRY(mxs_alloc(U.rows * d->count, sizeof *d->left, &d->left));
  MXS_TRY(mxs_alloc(V.rows * d->count, sizeof *d->right, &d->right));
  return mxs_la_svd_product(U, V, d->s, d->left, d->right);
}

/* [A, sign B], row-major. */
static mxs_status join(mxs_cmat A, mxs_cmat B, double sign, double **out) {
  const int64_t cols = A.cols + B.cols;
  MXS_TRY(mxs_alloc(A.rows * cols, sizeof **out, out));
  for (int64_t i = 0; i < A.rows; i++) {
    memcpy(*out + i * cols, A.a + i * A.ld, (size_t)A.cols * sizeof **out);
    for (int64_t j = 0; j < B.cols; j++)
      (*out)[i * cols + A.cols + j] = sign * B.a[i * B.ld + j];
  }
  return MXS_OK;
}

/* R of A = Q R, p x A.cols. */
static mxs_status triangle_of(mxs_cmat A, int64_t p, double **R) {
  MXS_TRY(mxs_alloc(p * A.cols, sizeof **R, R));
  return mxs_la_qr(A, NULL, *R);
}

/* ||[A, B] [C, -D]^T||_F = ||A C^T - B D^T||_F by the triangles of the QR factorisations. */
static mxs_status factor_distance(
    mxs_cmat A, mxs_cmat C, mxs_cmat B, mxs_cmat D, double *distance) {
  const int64_t cols = A.cols + B.cols;
  const int64_t p1 = min64(A.rows, cols);
  const int64_t p2 = min64(C.rows, cols);
  double *left = NULL;
  double *right = NULL;
  double *R1 = NULL;
  double *R2 = NULL;
  double *core = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, join(A, B, 1.0, &left), cleanup);
  MXS_TRY_GOTO(status, join(C, D, -1.0, &right), cleanup);
  MXS_TRY_GOTO(status, triangle_of(mxs_cview(left, A.rows, cols), p1, &R1), cleanup);
  MXS_TRY_GOTO(status, triangle_of(mxs_cview(right, C.rows, cols), p2, &R2), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p1 * p2, sizeof *core, &core), cleanup);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(R1, p1, cols), mxs_cview(R2, p2, cols), 0.0,
              mxs_view(core, p1, p2));
  *distance = mxs_la_frobenius(mxs_cview(core, p1, p2));
cleanup:
  mxs_release(&left);
  mxs_release(&right);
  mxs_release(&R1);
  mxs_release(&R2);
  mxs_release(&core);
  return status;
}

static mxs_status truth_norm(const mxs_problem *p, double *norm) {
  const mxs_truth *truth = &p->truth;
  *norm = (double)NAN;
  if (truth->X != NULL) {
    *norm = mxs_la_frobenius(mxs_cview(truth->X, p->n1, p->n2));
  } else if (truth->U != NULL) {
    const mxs_cmat none_U = {truth->U, p->n1, 0, truth->cols};
    const mxs_cmat none_V = {truth->V, p->n2, 0, truth->cols};
    return factor_distance(mxs_cview(truth->U, p->n1, truth->cols),
                           mxs_cview(truth->V, p->n2, truth->cols), none_U, none_V, norm);
  }
  return MXS_OK;
}

static mxs_status test_error(const mxs_metrics *m, mxs_cmat U, mxs_cmat V, double *error) {
  const mxs_problem *p = m->problem;
  const mxs_truth *truth = &p->truth;
  double distance = 0.0;
  *error = (double)NAN;
  if (truth->X != NULL) {
    double *E = NULL;
    const int64_t entries = p->n1 * p->n2;
    MXS_TRY(mxs_alloc(entries, sizeof *E, &E));
    memcpy(E, truth->X, (size_t)entries * sizeof *E);
    mxs_la_gemm(0, 1, -1.0, U, V, 1.0, mxs_view(E, p->n1, p->n2));
    distance = mxs_la_frobenius(mxs_cview(E, p->n1, p->n2));
    mxs_release(&E);
  } else if (truth->U != NULL) {
    MXS_TRY(factor_distance(U, V, mxs_cview(truth->U, p->n1, truth->cols),
                            mxs_cview(truth->V, p->n2, truth->cols), &distance));
  }
  if (m->truth_norm > 0.0)
    *error = distance / m->truth_norm;
  return MXS_OK;
}

mxs_status mxs_metrics_create(const mxs_problem *problem,
                              const mxs_spectrum *spectrum,
                              int64_t sigmas,
                              mxs_metrics **out) {
  static const char *const before[FIXED_BEFORE] = {
      "iteration", "seconds", "loss", "grad_norm", "test_error", "validation_loss", "imbalance"};
  static const char *const after[FIXED_AFTER] = {
      "effective_rank",   "angle_left", "angle_right", "angle_data_left",
      "angle_data_right", "phase",      "step"};
  *out = NULL;
  mxs_metrics *m = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *m, &m));
  m->problem = problem;
  m->spectrum = spectrum;
  m->sigmas = sigmas;
  m->columns = FIXED_BEFORE + sigmas + FIXED_AFTER;
  mxs_status status = mxs_alloc(sigmas, sizeof *m->text, &m->text);
  if (status == MXS_OK)
    status = mxs_alloc(m->columns, sizeof *m->names, &m->names);
  if (status != MXS_OK) {
    mxs_metrics_destroy(&m);
    return status;
  }
  memcpy(m->names, before, sizeof before);
  memcpy(m->names + FIXED_BEFORE + sigmas, after, sizeof after);
  for (int64_t i = 0; i < sigmas; i++) {
    (void)snprintf(m->text[i], NAME_SIZE, "sigma_%lld", (long long)(i + 1) % 1000000000);
    m->names[FIXED_BEFORE + i] = m->text[i];
  }
  status = truth_norm(problem, &m->truth_norm);
  if (status != MXS_OK)
    mxs_metrics_destroy(&m);
  *out = m;
  return status;
}

void mxs_metrics_destroy(mxs_metrics **metrics) {
  if (*metrics == NULL)
    return;
  mxs_release(&(*metrics)->text);
  mxs_release(&(*metrics)->names);
  mxs_release(metrics);
}

int64_t mxs_metrics_columns(const mxs_metrics *metrics, const char *const **names) {
  *names = metrics->names;
  return metrics->columns;
}

/* Largest principal angle between the spans of the first r columns of W and of L, orthonormal both:
 * its sine is the norm of W - L L^T W, accurate where the cosine is not; its cosine the least
 * singular value of L^T W. */
static mxs_status largest_angle(mxs_cmat W, mxs_cmat L, int64_t r, double *angle) {
  const int64_t n = W.rows;
  const mxs_cmat w = {W.a, n, r, W.ld};
  const mxs_cmat l = {L.a, n, r, L.ld};
  double *inner = NULL;
  double *rest = NULL;
  double *s = NULL;
  double sine = 0.0;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(r * r, sizeof *inner, &inner), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(n * r, sizeof *rest, &rest), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(r, sizeof *s, &s), cleanup);
  mxs_la_gemm(1, 0, 1.0, l, w, 0.0, mxs_view(inner, r, r));
  for (int64_t i = 0; i < n; i++)
    memcpy(rest + i * r, w.a + i * w.ld, (size_t)r * sizeof *rest);
  mxs_la_gemm(0, 0, -1.0, l, mxs_cview(inner, r, r), 1.0, mxs_view(rest, n, r));
  MXS_TRY_GOTO(status, mxs_la_svd(mxs_cview(inner, r, r), s, NULL, NULL), cleanup);
  MXS_TRY_GOTO(status, mxs_la_norm2(mxs_cview(rest, n, r), &sine), cleanup);
  *angle = atan2(fmin(sine, 1.0), fmin(s[r - 1], 1.0));
cleanup:
  mxs_release(&inner);
  mxs_release(&rest);
  mxs_release(&s);
  return status;
}

static mxs_status imbalance(mxs_cmat U, mxs_cmat V, double *norm) {
  double *D = NULL;
  MXS_TRY(mxs_alloc(U.cols * U.cols, sizeof *D, &D));
  mxs_la_gemm(1, 0, 1.0, U, U, 0.0, mxs_view(D, U.cols, U.cols));
  mxs_la_gemm(1, 0, -1.0, V, V, 1.0, mxs_view(D, U.cols, U.cols));
  const mxs_status status = mxs_la_norm2_symmetric(mxs_cview(D, U.cols, U.cols), norm);
  mxs_release(&D);
  return status;
}

static double effective_rank(const decomposition *d) {
  double sum = 0.0;
  double entropy = 0.0;
  for (int64_t i = 0; i < d->count; i++)
    sum += d->s[i];
  if (!(sum > 0.0))
    return (double)NAN;
  for (int64_t i = 0; i < d->count; i++)
    if (d->s[i] > 0.0)
      entropy -= d->s[i] / sum * log(d->s[i] / sum);
  return exp(entropy);
}

/* Angles of both sides to subspaces with `available` columns; NaN where r of them do not exist. */
static mxs_status side_angles(const mxs_metrics *m,
                              const decomposition *d,
                              mxs_cmat left,
                              mxs_cmat right,
                              int64_t r,
                              double out[2]) {
  const mxs_problem *p = m->problem;
  out[0] = out[1] = (double)NAN;
  if (r < 1 || r > d->count || r > left.cols || left.a == NULL)
    return MXS_OK;
  MXS_TRY(largest_angle(mxs_cview(d->left, p->n1, d->count), left, r, &out[0]));
  return largest_angle(mxs_cview(d->right, p->n2, d->count), right, r, &out[1]);
}

/* Values above the largest gap, among those above 1e-3 of the first; what follows the last one
 * counts as 1e-3. */
static int64_t rank_estimate_of(const decomposition *d) {
  int64_t rank = 0;
  double largest = 0.0;
  for (int64_t i = 0; i < d->count && d->s[i] > 1e-3 * d->s[0]; i++) {
    const double next = i + 1 < d->count ? d->s[i + 1] : 1e-3 * d->s[0];
    const double ratio = next > 0.0 ? d->s[i] / next : (double)INFINITY;
    if (ratio > largest) {
      largest = ratio;
      rank = i + 1;
    }
  }
  return rank;
}

static void move_phase(
    const decomposition *d, int64_t r, double angle, double relative_residual, mxs_phase *phase) {
  if (phase->phase == 0.0)
    *phase = (mxs_phase){1.0, d->s[r - 1], angle};
  const int grown = d->s[r - 1] >= GROWTH * phase->sigma_start;
  const int aligned = angle <= ALIGNED || angle >= phase->angle_before;
  if (phase->phase < 2.0 && grown && aligned)
    phase->phase = 2.0;
  if (relative_residual < RESIDUAL)
    phase->phase = 3.0;
  phase->angle_before = angle;
}

mxs_status mxs_metrics_row(
    mxs_metrics *m, const mxs_iterate *at, mxs_phase *phase, double *row, int64_t *rank_estimate) {
  const mxs_problem *p = m->problem;
  const mxs_spectrum *spectrum = m->spectrum;
  const mxs_truth *truth = &p->truth;
  const int64_t r = truth->rank > 0 ? truth->rank : at->gap_rank;
  const mxs_cmat data_left = mxs_cview(spectrum->left, p->n1, spectrum->count);
  const mxs_cmat data_right = mxs_cview(spectrum->right, p->n2, spectrum->count);
  decomposition d = {0};
  double watched[2];
  double *after = row + FIXED_BEFORE + m->sigmas;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, decompose(at->U, at->V, &d), cleanup);
  row[0] = (double)at->iteration;
  row[1] = at->seconds;
  row[2] = at->loss;
  row[3] = at->grad_norm;
  MXS_TRY_GOTO(status, test_error(m, at->U, at->V, &row[4]), cleanup);
  row[5] = at->validation_loss;
  MXS_TRY_GOTO(status, imbalance(at->U, at->V, &row[6]), cleanup);
  for (int64_t i = 0; i < m->sigmas; i++)
    row[FIXED_BEFORE + i] = i < d.count ? d.s[i] : (double)NAN;
  after[0] = effective_rank(&d);
  MXS_TRY_GOTO(status,
               side_angles(m, &d, mxs_cview(truth->left, p->n1, truth->rank),
                           mxs_cview(truth->right, p->n2, truth->rank), truth->rank, &after[1]),
               cleanup);
  MXS_TRY_GOTO(status, side_angles(m, &d, data_left, data_right, r, &after[3]), cleanup);
  MXS_TRY_GOTO(status, side_angles(m, &d, data_left, data_right, at->gap_rank, watched), cleanup);
  move_phase(&d, at->gap_rank, fmax(watched[0], watched[1]), at->relative_residual, phase);
  after[5] = phase->phase;
  after[6] = at->step;
  *rank_estimate = rank_estimate_of(&d);
cleanup:
  decomposition_clear(&d);
  return status;
}
