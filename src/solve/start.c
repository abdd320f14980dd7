/* | symbol  | meaning                                                                  |
 * |---------|--------------------------------------------------------------------------|
 * | S       | A*(y); T = (S + S^T) / 2 for the symmetric model                         |
 * | L, s, R | singular triplets of S, or of what stands for it                         |
 * | Om      | n2 x k, random normal                                                    |
 * | Q       | orth(S Om), or orth(T Om): S ~ Q Q^T S, T ~ Q (Q^T T Q) Q^T               | */
#include "solve/solve_impl.h"

#include "base/random.h"
#include "la/la.h"

#include <math.h>
#include <string.h>

static void random_rows(
    uint64_t seed, mxs_stream stream, double alpha, int64_t rows, int64_t k, double *factor) {
  for (int64_t i = 0; i < rows; i++)
    mxs_random_gaussian_row(seed, stream, i, k, factor + i * k);
  for (int64_t i = 0; i < rows * k; i++)
    factor[i] *= alpha;
}

static int is_symmetric(const mxs_solver *s) {
  return s->options.model == MXS_MODEL_SYMMETRIC;
}

static void copy_left(const mxs_solver *s, mxs_optim *o) {
  memcpy(o->V, o->U, (size_t)(s->problem->n2 * o->k) * sizeof *o->V);
}

void mxsi_start_randomly(const mxs_solver *s, mxsi_trajectory *t, double alpha) {
  const mxs_problem *p = s->problem;
  mxs_optim *o = &t->optim;
  random_rows(t->want.seed, MXS_STREAM_START_U, alpha, p->n1, t->k, o->U);
  if (is_symmetric(s))
    copy_left(s, o);
  else
    random_rows(t->want.seed, MXS_STREAM_START_V, alpha, p->n2, t->k, o->V);
}

/* What columns hold that the data do not tell: small random numbers, since a gradient of zero would
 * hold zeros for ever; zeros for methods that divide by the factors' Gram matrices, to which small
 * columns mean large steps. */
static void start_columns(const mxs_solver *s, mxsi_trajectory *t) {
  mxsi_start_randomly(s, t, t->number.alpha);
  if (t->rule->start == MXS_START_AUTO)
    return;
  memset(t->optim.U, 0, (size_t)(s->problem->n1 * t->k) * sizeof *t->optim.U);
  memset(t->optim.V, 0, (size_t)(s->problem->n2 * t->k) * sizeof *t->optim.V);
}

/* U <- B E^T diag(sqrt(w / scale^2)) for the k largest positive of `count` ascending eigenvalues w,
 * rows of E their vectors, B: n1 x count. */
static void take_eigenvectors(const mxs_solver *s,
                              mxsi_trajectory *t,
                              const double *B,
                              int64_t count,
                              const double *w,
                              const double *E) {
  const mxs_problem *p = s->problem;
  mxs_optim *o = &t->optim;
  start_columns(s, t);
  for (int64_t j = 0; j < t->k && j < count; j++) {
    const int64_t from = count - 1 - j;
    if (!(w[from] > 0.0))
      break;
    const double root = sqrt(w[from] / p->scale2);
    for (int64_t i = 0; i < p->n1; i++) {
      double sum = 0.0;
      for (int64_t l = 0; l < count; l++)
        sum += B[i * count + l] * E[from * count + l];
      o->U[i * t->k + j] = root * sum;
    }
  }
  copy_left(s, o);
}

/* Eigenvectors of the symmetric part of L diag(s) R^T, the part of S that the spectrum has, through
 * an orthonormal basis B of [L R]. */
static mxs_status start_symmetric(const mxs_solver *s, mxsi_trajectory *t) {
  const mxs_spectrum *of = &s->spectrum;
  const int64_t n = s->problem->n1, c = of->count;
  const int64_t width = 2 * c < n ? 2 * c : n;
  double *room = NULL;
  MXS_TRY(mxs_alloc(4 * n * c + 4 * width * c + 2 * width * width + width, sizeof *room, &room));
  double *both = room, *B = both + 2 * n * c, *left = B + 2 * n * c, *right = left + width * c;
  double *core = right + width * c, *E = core + width * width, *w = E + width * width;
  for (int64_t i = 0; i < n; i++) {
    memcpy(both + 2 * i * c, of->left + i * c, (size_t)c * sizeof *both);
    memcpy(both + 2 * i * c + c, of->right + i * c, (size_t)c * sizeof *both);
  }
  mxs_status status = mxs_la_qr(mxs_cview(both, n, 2 * c), B, NULL);
  const mxs_cmat basis = mxs_cview(B, n, width);
  mxs_la_gemm(1, 0, 0.5, basis, mxs_cview(of->left, n, c), 0.0, mxs_view(left, width, c));
  mxs_la_gemm(1, 0, 1.0, basis, mxs_cview(of->right, n, c), 0.0, mxs_view(right, width, c));
  for (int64_t i = 0; i < width * c; i++)
    left[i] *= of->s[i % c];
  const mxs_cmat L = mxs_cview(left, width, c), R = mxs_cview(right, width, c);
  mxs_la_gemm(0, 1, 1.0, L, R, 0.0, mxs_view(core, width, width));
  mxs_la_gemm(0, 1, 1.0, R, L, 1.0, mxs_view(core, width, width));
  if (status == MXS_OK)
    status = mxs_la_eigen_symmetric(mxs_cview(core, width, width), w, E);
  if (status == MXS_OK)
    take_eigenvectors(s, t, B, width, w, E);
  mxs_release(&room);
  return status;
}

/* Column j <- column j of vectors times sqrt(s_j / scale^2). */
static void take_columns(const mxs_solver *s,
                         const double *vectors,
                         int64_t rows,
                         const double *values,
                         int64_t count,
                         int64_t k,
                         double *factor) {
  for (int64_t j = 0; j < k && j < count && values[j] > 0.0; j++)
    for (int64_t i = 0; i < rows; i++)
      factor[i * k + j] = vectors[i * count + j] * sqrt(values[j] / s->problem->scale2);
}

static mxs_status start_spectrally(const mxs_solver *s, mxsi_trajectory *t) {
  const mxs_problem *p = s->problem;
  const mxs_spectrum *of = &s->spectrum;
  if (is_symmetric(s))
    return start_symmetric(s, t);
  start_columns(s, t);
  take_columns(s, of->left, p->n1, of->s, of->count, t->k, t->optim.U);
  take_columns(s, of->right, p->n2, of->s, of->count, t->k, t->optim.V);
  return MXS_OK;
}

/* The pass at (U, V) of one trajectory; its gradients are -S V and -S^T U where U V^T = 0.
 * Collective. */
static mxs_status pass_at(mxs_solver *s, int64_t r, const double *U, const double *V) {
  const int64_t k = s->trajectory[r].k;
  for (int64_t i = 0; i < s->replicas; i++)
    s->points[i] = (mxs_point){.idle = 1};
  s->points[r] =
      (mxs_point){.U = mxs_cview(U, s->problem->n1, k), .V = mxs_cview(V, s->problem->n2, k)};
  return mxs_spectrum_apply(s->objective, s->points, r, s->at);
}

/* U <- Om, V <- 0. Local. */
static void sketch(const mxs_solver *s, mxsi_trajectory *t, double *Om, double *zero) {
  random_rows(t->want.seed, MXS_STREAM_START_V, 1.0, s->problem->n2, t->k, Om);
  memset(zero, 0, (size_t)(s->problem->n1 * t->k) * sizeof *zero);
}

/* S^T Q = W diag(s) Z: U = Q Z^T sqrt(s / scale^2), V = W sqrt(s / scale^2). Local. */
static mxs_status take_sketch(const mxs_solver *s, mxsi_trajectory *t, int64_t r, const double *Q) {
  const mxs_problem *p = s->problem;
  const int64_t k = t->k, n2 = p->n2;
  const int64_t width = k < n2 ? k : n2;
  double *room = NULL;
  MXS_TRY(mxs_alloc(n2 * k + n2 * width + width * k + p->n1 * width + width, sizeof *room, &room));
  double *B = room, *W = B + n2 * k, *Z = W + n2 * width, *left = Z + width * k;
  double *values = left + p->n1 * width;
  for (int64_t i = 0; i < n2 * k; i++)
    B[i] = -s->at[r].gV[i];
  const mxs_status status = mxs_la_svd(mxs_cview(B, n2, k), values, W, Z);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(Q, p->n1, k), mxs_cview(Z, width, k), 0.0,
              mxs_view(left, p->n1, width));
  start_columns(s, t);
  take_columns(s, left, p->n1, values, width, k, t->optim.U);
  take_columns(s, W, n2, values, width, k, t->optim.V);
  mxs_release(&room);
  return status;
}

/* Q <- orth(Y) for Y: n1 x k, in place; columns beyond n1 are zero. Local. */
static mxs_status orthonormalise(const mxs_solver *s, int64_t k, double *Y) {
  const int64_t n1 = s->problem->n1;
  if (k <= n1)
    return mxs_la_qr(mxs_cview(Y, n1, k), Y, NULL);
  memset(Y, 0, (size_t)(n1 * k) * sizeof *Y);
  for (int64_t i = 0; i < n1; i++)
    Y[i * k + i] = 1.0;
  return MXS_OK;
}

/* Two passes; three for the symmetric model, whose sketch is T Om = (S Om + S^T Om) / 2. */
static mxs_status sketched(mxs_solver *s, mxsi_trajectory *t, int64_t r, double *Y, double *zero) {
  const int64_t n1 = s->problem->n1, k = t->k;
  double *Om = t->optim.work_V;
  sketch(s, t, Om, zero);
  MXS_TRY(pass_at(s, r, zero, Om));
  memcpy(Y, s->at[r].gU, (size_t)(n1 * k) * sizeof *Y);
  if (is_symmetric(s)) {
    MXS_TRY(pass_at(s, r, Om, zero));
    for (int64_t i = 0; i < n1 * k; i++)
      Y[i] += s->at[r].gV[i];
  }
  MXS_TRY(mxs_comm_agree(s->problem->comm, orthonormalise(s, k, Y)));
  memset(Om, 0, (size_t)(s->problem->n2 * k) * sizeof *Om);
  return pass_at(s, r, Y, Om);
}

/* The eigenvectors of Q^T T Q, from S^T Q. Local. */
static mxs_status take_symmetric(const mxs_solver *s,
                                 mxsi_trajectory *t,
                                 int64_t r,
                                 const double *Q) {
  const int64_t n = s->problem->n1, k = t->k;
  double *room = NULL;
  MXS_TRY(mxs_alloc(2 * k * k + k, sizeof *room, &room));
  double *core = room, *E = core + k * k, *w = E + k * k;
  const mxs_cmat basis = mxs_cview(Q, n, k), product = mxs_cview(s->at[r].gV, n, k);
  mxs_la_gemm(1, 0, -0.5, basis, product, 0.0, mxs_view(core, k, k));
  mxs_la_gemm(1, 0, -0.5, product, basis, 1.0, mxs_view(core, k, k));
  const mxs_status status = mxs_la_eigen_symmetric(mxs_cview(core, k, k), w, E);
  if (status == MXS_OK)
    take_eigenvectors(s, t, Q, k, w, E);
  mxs_release(&room);
  return status;
}

static mxs_status start_from_sketch(mxs_solver *s, mxsi_trajectory *t, int64_t r) {
  const int64_t count = s->problem->n1 * t->k;
  double *room = NULL;
  mxs_status status = mxs_comm_agree(s->problem->comm, mxs_alloc(2 * count, sizeof *room, &room));
  if (status == MXS_OK)
    status = sketched(s, t, r, room, room + count);
  if (status == MXS_OK)
    status = mxs_comm_agree(s->problem->comm, is_symmetric(s) ? take_symmetric(s, t, r, room)
                                                              : take_sketch(s, t, r, room));
  mxs_release(&room);
  return status;
}

static mxs_status start_as_given(const mxs_solver *s, mxsi_trajectory *t) {
  const mxs_problem *p = s->problem;
  mxs_optim *o = &t->optim;
  memcpy(o->U, s->start_U, (size_t)(p->n1 * t->k) * sizeof *o->U);
  memcpy(o->V, s->start_V, (size_t)(p->n2 * t->k) * sizeof *o->V);
  return MXS_OK;
}

static mxs_status set_factors(mxs_solver *s, mxsi_trajectory *t, int64_t r) {
  const mxs_start wanted = s->options.start;
  const mxs_start start = wanted != MXS_START_AUTO           ? wanted
                          : t->rule->start != MXS_START_AUTO ? t->rule->start
                                                             : MXS_START_RANDOM;
  if (s->start_U != NULL)
    return start_as_given(s, t);
  if (start == MXS_START_SPECTRAL)
    return mxs_comm_agree(s->problem->comm, start_spectrally(s, t));
  if (start == MXS_START_NYSTROM)
    return start_from_sketch(s, t, r);
  mxsi_start_randomly(s, t, t->number.alpha);
  return MXS_OK;
}

static mxs_status start_trajectory(mxs_solver *s, int64_t r) {
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = &s->trajectory[r];
  const double s1 = s->spectrum.s[0];
  const double top = s1 / p->scale2;
  const double automatic_alpha = top > 0.0 && isfinite(top) ? 1e-3 * sqrt(top) : 1e-3;
  t->number.s1 = s1;
  t->number.alpha = isnan(t->want.alpha) ? automatic_alpha : t->want.alpha;
  t->number.step =
      isnan(t->want.step) ? mxs_rule_step(t->rule, p, &s->options, t->k, s1) : t->want.step;
  t->number.loss_start = (double)NAN;
  t->count.gap_rank = mxs_gap_rank(s->spectrum.s, s->spectrum.count, t->k);
  if (s->options.method == MXS_METHOD_AUTO)
    return MXS_OK;
  MXS_TRY(set_factors(s, t, r));
  return t->rule->prepare != NULL ? t->rule->prepare(&t->optim) : MXS_OK;
}

mxs_status mxsi_solver_start(mxs_solver *s) {
  const mxs_solve_options *o = &s->options;
  mxs_sample sample = {0};
  if (o->method == MXS_METHOD_AUTO) {
    mxsi_auto_begin(s);
    mxsi_auto_sample(s, &sample);
  }
  mxs_objective_sample(s->objective, &sample);
  MXS_TRY(mxs_spectrum_compute(s->problem, s->objective, o->svd, o->reduction, &s->spectrum));
  s->visits_before -= s->spectrum.visits;
  for (int64_t r = 0; r < s->replicas; r++)
    MXS_TRY(start_trajectory(s, r));
  if (o->method == MXS_METHOD_AUTO && s->problem->y_norm2 > 0.0)
    MXS_TRY(mxsi_auto_start(s));
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    memcpy(t->scales, mxs_objective_scales(s->objective, r), sizeof t->scales);
    t->extent.visits = mxsi_solver_visits(s);
    t->count.started = 1;
  }
  return MXS_OK;
}
