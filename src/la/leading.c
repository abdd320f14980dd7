#include "la/la.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

/* Up to this order a full SVD costs less than a second; beyond it only the leading part is
 * computed. */
enum { FULL_SVD_ORDER = 768, OVERSAMPLING = 16, MOST_ITERATIONS = 60 };

typedef struct workspace {
  int64_t width;
  double *V, *Q, *Z; /* cols x width, rows x width, cols x width */
  double *s, *before, *core, *left, *right;
} workspace;

static void workspace_clear(workspace *w) {
  mxs_release(&w->V);
  mxs_release(&w->Q);
  mxs_release(&w->Z);
  mxs_release(&w->s);
  mxs_release(&w->before);
  mxs_release(&w->core);
  mxs_release(&w->left);
  mxs_release(&w->right);
}

static mxs_status workspace_create(workspace *w, int64_t rows, int64_t cols, int64_t width) {
  *w = (workspace){.width = width};
  MXS_TRY(mxs_alloc(cols * width, sizeof *w->V, &w->V));
  MXS_TRY(mxs_alloc(rows * width, sizeof *w->Q, &w->Q));
  MXS_TRY(mxs_alloc(cols * width, sizeof *w->Z, &w->Z));
  MXS_TRY(mxs_alloc(width, sizeof *w->s, &w->s));
  MXS_TRY(mxs_alloc(width, sizeof *w->before, &w->before));
  MXS_TRY(mxs_alloc(width * width, sizeof *w->core, &w->core));
  MXS_TRY(mxs_alloc(width * width, sizeof *w->left, &w->left));
  return mxs_alloc(width * width, sizeof *w->right, &w->right);
}

/* V <- orth(A^T orth(A V)); w->Q = orth(A V), w->core = R^T with A^T Q = V R, w->s its singular
 * values. */
static mxs_status iterate(mxs_cmat A, workspace *w) {
  const int64_t c = w->width;
  mxs_la_gemm(0, 0, 1.0, A, mxs_cview(w->V, A.cols, c), 0.0, mxs_view(w->Q, A.rows, c));
  MXS_TRY(mxs_la_qr(mxs_cview(w->Q, A.rows, c), w->Q, NULL));
  mxs_la_gemm(1, 0, 1.0, A, mxs_cview(w->Q, A.rows, c), 0.0, mxs_view(w->Z, A.cols, c));
  MXS_TRY(mxs_la_qr(mxs_cview(w->Z, A.cols, c), w->V, w->core));
  memcpy(w->before, w->s, (size_t)c * sizeof *w->s);
  return mxs_la_svd(mxs_cview(w->core, c, c), w->s, w->left, w->right);
}

/* Iterate to convergence of the leading values, then rotate: A^T Q = V R and R = left S right give
 * A ~ (Q right^T) S (V left)^T. */
static mxs_status subspace(
    mxs_cmat A, int64_t count, workspace *w, double *s, double *U, double *V) {
  const int64_t c = w->width;
  for (int64_t j = 0; j < A.cols; j++)
    mxs_random_gaussian_row(0, MXS_STREAM_RANGE_FINDER, j, c, w->V + j * c);
  for (int iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    MXS_TRY(iterate(A, w));
    double change = 0.0;
    for (int64_t i = 0; i < count; i++)
      change = fmax(change, fabs(w->s[i] - w->before[i]));
    if (change <= 1e-14 * w->s[0])
      break;
  }
  memcpy(s, w->s, (size_t)count * sizeof *s);
  const mxs_cmat right = {w->right, count, c, c};
  const mxs_cmat left = {w->left, c, count, c};
  mxs_la_gemm(0, 1, 1.0, mxs_cview(w->Q, A.rows, c), right, 0.0, mxs_view(U, A.rows, count));
  mxs_la_gemm(0, 0, 1.0, mxs_cview(w->V, A.cols, c), left, 0.0, mxs_view(V, A.cols, count));
  return MXS_OK;
}

static mxs_status full(mxs_cmat A, int64_t count, double *s, double *U, double *V) {
  const int64_t p = A.rows < A.cols ? A.rows : A.cols;
  double *all = NULL;
  double *left = NULL;
  double *right = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(p, sizeof *all, &all), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(A.rows * p, sizeof *left, &left), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p * A.cols, sizeof *right, &right), cleanup);
  MXS_TRY_GOTO(status, mxs_la_svd(A, all, left, right), cleanup);
  memcpy(s, all, (size_t)count * sizeof *s);
  for (int64_t j = 0; j < count; j++) {
    for (int64_t i = 0; i < A.rows; i++)
      U[i * count + j] = left[i * p + j];
    for (int64_t i = 0; i < A.cols; i++)
      V[i * count + j] = right[j * A.cols + i];
  }
cleanup:
  mxs_release(&all);
  mxs_release(&left);
  mxs_release(&right);
  return status;
}

mxs_status mxs_la_leading(mxs_cmat A, int64_t count, double *s, double *U, double *V) {
  const int64_t p = A.rows < A.cols ? A.rows : A.cols;
  if (p <= FULL_SVD_ORDER || count + OVERSAMPLING >= p / 2)
    return full(A, count, s, U, V);
  workspace w;
  mxs_status status = workspace_create(&w, A.rows, A.cols, count + OVERSAMPLING);
  if (status == MXS_OK)
    status = subspace(A, count, &w, s, U, V);
  workspace_clear(&w);
  return status;
}
