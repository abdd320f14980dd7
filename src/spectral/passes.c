/* | symbol | meaning                                                          |
 * |--------|------------------------------------------------------------------|
 * | S      | A*(y); the gradient at (0, V) is -S V, at (U, 0) it is -S^T U    |
 * | Q, V   | orthonormal: Q = orth(S V), V = orth(S^T Q)                      |
 * | R      | S^T Q = V R = V (W diag(s) Z), so S ~ (Q Z^T) diag(s) (V W)^T    | */
#include "base/random.h"
#include "la/la.h"
#include "spectral/spectral.h"

#include <math.h>
#include <string.h>

enum { OVERSAMPLING = 10, MOST_ITERATIONS = 12 };

/* Leading values that move by less than this share of the first have settled. */
#define SETTLED 1e-10

typedef struct passes {
  mxs_objective *objective;
  const mxs_problem *problem;
  int64_t width;
  double *room;
  double *Q, *V, *zero; /* n1 x width, n2 x width, of the larger */
  double *R, *W, *Z, *s, *before;
} passes;

static mxs_status allocate(passes *t) {
  const int64_t c = t->width, left = t->problem->n1 * c, right = t->problem->n2 * c;
  const int64_t more = left > right ? left : right;
  MXS_TRY(mxs_alloc(left + right + more + 3 * c * c + 2 * c, sizeof *t->room, &t->room));
  t->Q = t->room;
  t->V = t->Q + left;
  t->zero = t->V + right;
  t->R = t->zero + more;
  t->W = t->R + c * c;
  t->Z = t->W + c * c;
  t->s = t->Z + c * c;
  t->before = t->s + c;
  return MXS_OK;
}

mxs_status mxs_spectrum_apply(mxs_objective *objective,
                              const mxs_point *points,
                              int64_t r,
                              mxs_evaluation *at) {
  mxs_requests none = {0};
  MXS_TRY(mxs_objective_pass(objective, points, &none, at));
  if (at[r].nonfinite)
    return mxs_fail(MXS_ERR_DATA, "the back-projection of y overflows: rescale A and y");
  return MXS_OK;
}

/* Q <- orth(S V), V <- orth(S^T Q); the singular values of R. */
static mxs_status iterate(passes *t) {
  const int64_t n1 = t->problem->n1, n2 = t->problem->n2, c = t->width;
  mxs_evaluation at;
  const mxs_point forward = {.U = mxs_cview(t->zero, n1, c), .V = mxs_cview(t->V, n2, c)};
  MXS_TRY(mxs_spectrum_apply(t->objective, &forward, 0, &at));
  MXS_TRY(mxs_comm_agree(t->problem->comm, mxs_la_qr(mxs_cview(at.gU, n1, c), t->Q, NULL)));
  const mxs_point back = {.U = mxs_cview(t->Q, n1, c), .V = mxs_cview(t->zero, n2, c)};
  MXS_TRY(mxs_spectrum_apply(t->objective, &back, 0, &at));
  mxs_status status = mxs_la_qr(mxs_cview(at.gV, n2, c), t->V, t->R);
  for (int64_t i = 0; i < c * c; i++)
    t->R[i] = -t->R[i];
  memcpy(t->before, t->s, (size_t)c * sizeof *t->s);
  if (status == MXS_OK)
    status = mxs_la_svd(mxs_cview(t->R, c, c), t->s, t->W, t->Z);
  return mxs_comm_agree(t->problem->comm, status);
}

static int is_settled(const passes *t, int64_t count) {
  double change = 0.0;
  for (int64_t i = 0; i < count; i++)
    change = fmax(change, fabs(t->s[i] - t->before[i]));
  return change <= SETTLED * t->s[0];
}

static mxs_status subspace(passes *t, mxs_spectrum *out) {
  const int64_t n1 = t->problem->n1, n2 = t->problem->n2, c = t->width;
  for (int64_t i = 0; i < n2; i++)
    mxs_random_gaussian_row(0, MXS_STREAM_RANGE_FINDER, i, c, t->V + i * c);
  for (int iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    MXS_TRY(iterate(t));
    if (is_settled(t, out->count))
      break;
  }
  memcpy(out->s, t->s, (size_t)out->count * sizeof *out->s);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(t->Q, n1, c), (mxs_cmat){t->Z, out->count, c, c}, 0.0,
              mxs_view(out->left, n1, out->count));
  mxs_la_gemm(0, 0, 1.0, mxs_cview(t->V, n2, c), (mxs_cmat){t->W, c, out->count, c}, 0.0,
              mxs_view(out->right, n2, out->count));
  return MXS_OK;
}

mxs_status mxsi_spectrum_by_passes(mxs_problem *p,
                                   mxs_reduction reduction,
                                   int threads,
                                   mxs_spectrum *out) {
  const int64_t order = p->n1 < p->n2 ? p->n1 : p->n2;
  const int64_t width = out->count + OVERSAMPLING < order ? out->count + OVERSAMPLING : order;
  passes t = {.problem = p, .width = width};
  mxs_status status = mxs_comm_agree(p->comm, allocate(&t));
  if (status == MXS_OK)
    status = mxs_objective_create(p, reduction, &width, 1, threads, &t.objective);
  if (status == MXS_OK)
    status = subspace(&t, out);
  if (t.objective != NULL)
    out->visits = mxs_objective_get_profile(t.objective).visits;
  mxs_objective_destroy(&t.objective);
  mxs_release(&t.room);
  return status;
}
