/* The geometry of matrices of rank k, against dense matrices. */
#include "optim/tangent.h"
#include "base/random.h"
#include "la/la.h"
#include "mpi/mpi_test.h"
#include "optim/optim.h"

#include <math.h>
#include <string.h>

enum { MOST = 12, MOST_ENTRIES = MOST * MOST, MOST_LENGTH = MOST * MOST + 2 * MOST * MOST };

typedef struct shape {
  int64_t n1, n2, k;
} shape;

/* 2k above and below min(n1, n2), k = min(n1, n2), one column, one row. */
static const shape shapes[] = {{9, 7, 2}, {7, 12, 3}, {8, 8, 5}, {6, 9, 6},
                               {5, 5, 5}, {12, 4, 1}, {1, 6, 1}, {1, 1, 1}};

enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct space {
  int64_t n1, n2, k;
  double F_U[MOST_ENTRIES], F_V[MOST_ENTRIES];
  double X[MOST_ENTRIES];
  mxsi_tangent t;
} space;

static void fill(int64_t row, int64_t count, double *values) {
  mxs_random_gaussian_row(11, MXS_STREAM_START_U, row, count, values);
}

static double norm_of(const double *A, int64_t count) {
  return mxs_la_frobenius(mxs_cview(A, 1, count));
}

static double distance(const double *A, const double *B, int64_t count) {
  double D[MOST_LENGTH];
  for (int64_t i = 0; i < count; i++)
    D[i] = A[i] - B[i];
  return norm_of(D, count);
}

static double inner(const double *a, const double *b, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; i++)
    sum += a[i] * b[i];
  return sum;
}

/* left right^T. */
static void product(
    const double *left, int64_t n1, const double *right, int64_t n2, int64_t k, double *X) {
  mxs_la_gemm(0, 1, 1.0, mxs_cview(left, n1, k), mxs_cview(right, n2, k), 0.0, mxs_view(X, n1, n2));
}

/* Q diag(values) Q^T or Q1 diag(values) Q2^T of random bases. */
static void with_values(int64_t row,
                        int64_t n1,
                        int64_t n2,
                        int symmetric,
                        int64_t count,
                        const double *values,
                        double *X) {
  double G[MOST_ENTRIES], R[MOST_ENTRIES], left[MOST_ENTRIES], right[MOST_ENTRIES];
  fill(row, n1 * n1, G);
  assert_int_equal(mxs_la_qr(mxs_cview(G, n1, n1), left, R), MXS_OK);
  fill(row + 1, n2 * n2, G);
  assert_int_equal(mxs_la_qr(mxs_cview(G, n2, n2), right, R), MXS_OK);
  memset(X, 0, (size_t)(n1 * n2) * sizeof *X);
  for (int64_t i = 0; i < n1; i++)
    for (int64_t j = 0; j < n2; j++)
      for (int64_t c = 0; c < count; c++)
        X[i * n2 + j] +=
            values[c] * left[i * n1 + c] * (symmetric ? left[j * n1 + c] : right[j * n2 + c]);
}

static double gram_error(const double *Q, int64_t n, int64_t k) {
  double worst = 0.0;
  for (int64_t a = 0; a < k; a++)
    for (int64_t b = 0; b < k; b++) {
      double sum = a == b ? -1.0 : 0.0;
      for (int64_t i = 0; i < n; i++)
        sum += Q[i * k + a] * Q[i * k + b];
      worst = fmax(worst, fabs(sum));
    }
  return worst;
}

/* The space at random balanced factors. */
static void enter(const shape *of, int64_t row, mxs_model model, space *s) {
  const int64_t n1 = of->n1, n2 = of->n2, k = of->k;
  *s = (space){.n1 = n1, .n2 = n2, .k = k};
  double before[MOST_ENTRIES];
  fill(row, n1 * k, s->F_U);
  fill(row + 1, n2 * k, s->F_V);
  if (model == MXS_MODEL_SYMMETRIC)
    memcpy(s->F_V, s->F_U, sizeof s->F_U);
  product(s->F_U, n1, s->F_V, n2, k, before);
  assert_int_equal(mxs_optim_balance(model, mxs_view(s->F_U, n1, k), mxs_view(s->F_V, n2, k)),
                   MXS_OK);
  product(s->F_U, n1, s->F_V, n2, k, s->X);
  assert_true(distance(s->X, before, n1 * n2) <= 1e-13 * norm_of(before, n1 * n2));
  assert_int_equal(mxsi_tangent_create(n1, n2, k, &s->t), MXS_OK);
  mxsi_tangent_at(&s->t, s->F_U, s->F_V);
}

static void bases_are_orthonormal(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    space s;
    enter(&shapes[i], 10, MXS_MODEL_ASYMMETRIC, &s);
    assert_true(gram_error(s.t.U, s.n1, s.k) <= 1e-14 && gram_error(s.t.V, s.n2, s.k) <= 1e-14);
    for (int64_t j = 0; j < s.k; j++) {
      assert_true(fabs(s.t.norm_U[j] - s.t.norm_V[j]) <= 1e-14 * s.t.norm_U[j]);
      assert_true(j == 0 || s.t.s[j] <= s.t.s[j - 1]);
    }
    mxsi_tangent_clear(&s.t);
  }
}

/* A tangent vector with U^T C = 0 and V^T B = 0. */
static void random_vector(const space *s, int64_t row, double *x) {
  double g[MOST_LENGTH];
  fill(row, s->t.length, g);
  mxsi_tangent_from_factors(&s->t, g, x);
}

/* U K V^T + C V^T + U B^T. */
static void dense(const space *s, const double *x, double *D) {
  const int64_t n1 = s->n1, n2 = s->n2, k = s->k;
  double left[MOST_ENTRIES];
  memcpy(left, x + s->t.C, (size_t)(n1 * k) * sizeof *left);
  mxs_la_gemm(0, 0, 1.0, mxs_cview(s->t.U, n1, k), mxs_cview(x, k, k), 1.0, mxs_view(left, n1, k));
  product(left, n1, s->t.V, n2, k, D);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(s->t.U, n1, k), mxs_cview(x + s->t.B, n2, k), 1.0,
              mxs_view(D, n1, n2));
}

static void factors_stand_for_tangent_vectors(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    space s;
    double x[MOST_LENGTH], d[MOST_LENGTH], D[MOST_ENTRIES], other[MOST_ENTRIES];
    enter(&shapes[i], 20, MXS_MODEL_ASYMMETRIC, &s);
    const int64_t entries = s.n1 * s.n2, k = s.k;
    random_vector(&s, 30, x);
    dense(&s, x, D);
    assert_true(fabs(norm_of(D, entries) - norm_of(x, s.t.length)) <= 1e-13 * norm_of(D, entries));
    mxsi_tangent_to_factors(&s.t, x, d);
    product(d, s.n1, s.F_V, s.n2, k, other);
    mxs_la_gemm(0, 1, 1.0, mxs_cview(s.F_U, s.n1, k), mxs_cview(d + s.n1 * k, s.n2, k), 1.0,
                mxs_view(other, s.n1, s.n2));
    assert_true(distance(D, other, entries) <= 1e-13 * norm_of(D, entries));
    mxsi_tangent_clear(&s.t);
  }
}

static void from_factors_is_the_adjoint(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    space s;
    double x[MOST_LENGTH], d[MOST_LENGTH], g[MOST_LENGTH], back[MOST_LENGTH];
    enter(&shapes[i], 40, MXS_MODEL_ASYMMETRIC, &s);
    const int64_t factors = (s.n1 + s.n2) * s.k;
    random_vector(&s, 50, x);
    mxsi_tangent_to_factors(&s.t, x, d);
    /* Of a gradient (G V, G^T U). */
    double G[MOST_ENTRIES];
    fill(60, s.n1 * s.n2, G);
    mxs_la_gemm(0, 0, 1.0, mxs_cview(G, s.n1, s.n2), mxs_cview(s.F_V, s.n2, s.k), 0.0,
                mxs_view(g, s.n1, s.k));
    mxs_la_gemm(1, 0, 1.0, mxs_cview(G, s.n1, s.n2), mxs_cview(s.F_U, s.n1, s.k), 0.0,
                mxs_view(g + s.n1 * s.k, s.n2, s.k));
    mxsi_tangent_from_factors(&s.t, g, back);
    assert_true(fabs(inner(d, g, factors) - inner(x, back, s.t.length)) <=
                1e-13 * norm_of(d, factors) * norm_of(g, factors));
    /* And it is what of G lies in the space. */
    double D[MOST_ENTRIES], P[MOST_ENTRIES], sum[MOST_ENTRIES];
    dense(&s, back, D);
    assert_int_equal(mxsi_tangent_normal(&s.t, G, P), MXS_OK);
    for (int64_t e = 0; e < s.n1 * s.n2; e++)
      sum[e] = D[e] + P[e];
    assert_true(distance(sum, G, s.n1 * s.n2) <= 1e-13 * norm_of(G, s.n1 * s.n2));
    /* Of anything else. */
    fill(70, factors, g);
    mxsi_tangent_from_factors(&s.t, g, back);
    assert_true(fabs(inner(d, g, factors) - inner(x, back, s.t.length)) <=
                1e-13 * norm_of(d, factors) * norm_of(g, factors));
    double UC[MOST_ENTRIES], VB[MOST_ENTRIES];
    mxs_la_gemm(1, 0, 1.0, mxs_cview(s.t.U, s.n1, s.k), mxs_cview(back + s.t.C, s.n1, s.k), 0.0,
                mxs_view(UC, s.k, s.k));
    mxs_la_gemm(1, 0, 1.0, mxs_cview(s.t.V, s.n2, s.k), mxs_cview(back + s.t.B, s.n2, s.k), 0.0,
                mxs_view(VB, s.k, s.k));
    assert_true(norm_of(UC, s.k * s.k) <= 1e-13 * norm_of(back, s.t.length));
    assert_true(norm_of(VB, s.k * s.k) <= 1e-13 * norm_of(back, s.t.length));
    mxsi_tangent_clear(&s.t);
  }
}

static void normal_part_is_normal(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    space s;
    double x[MOST_LENGTH], D[MOST_ENTRIES], G[MOST_ENTRIES], P[MOST_ENTRIES];
    enter(&shapes[i], 80, MXS_MODEL_ASYMMETRIC, &s);
    const int64_t entries = s.n1 * s.n2;
    fill(90, entries, G);
    random_vector(&s, 91, x);
    dense(&s, x, D);
    assert_int_equal(mxsi_tangent_normal(&s.t, G, P), MXS_OK);
    assert_true(fabs(inner(D, P, entries)) <= 1e-13 * norm_of(D, entries) * norm_of(G, entries));
    assert_int_equal(mxsi_tangent_normal(&s.t, G, G), MXS_OK); /* in place */
    assert_memory_equal(G, P, (size_t)entries * sizeof *G);
    assert_int_equal(mxsi_tangent_normal(&s.t, P, G), MXS_OK); /* twice is once */
    assert_true(distance(G, P, entries) <= 1e-13);
    if (s.k == (s.n1 < s.n2 ? s.n1 : s.n2))
      assert_true(norm_of(P, entries) <= 1e-13);
    mxsi_tangent_clear(&s.t);
  }
}

/* The best approximation of rank k of A, or that of positive semidefinite ones. */
static void truncated(
    const double *A, int64_t n1, int64_t n2, int64_t k, int symmetric, double *best) {
  double s[MOST], left[MOST_ENTRIES], right[MOST_ENTRIES];
  const int64_t p = n1 < n2 ? n1 : n2;
  memset(best, 0, (size_t)(n1 * n2) * sizeof *best);
  if (symmetric)
    assert_int_equal(mxs_la_eigen_symmetric(mxs_cview(A, n1, n1), s, right), MXS_OK);
  else
    assert_int_equal(mxs_la_svd(mxs_cview(A, n1, n2), s, left, right), MXS_OK);
  for (int64_t c = 0; c < k; c++) {
    const int64_t of = symmetric ? p - 1 - c : c;
    if (s[of] > 0.0)
      for (int64_t i = 0; i < n1; i++)
        for (int64_t j = 0; j < n2; j++)
          best[i * n2 + j] +=
              s[of] * (symmetric ? right[of * n1 + i] : left[i * p + of]) * right[of * n2 + j];
  }
}

static void assert_retracts(space *s, int symmetric, const double *x, double accuracy) {
  double D[MOST_ENTRIES], best[MOST_ENTRIES], got[MOST_ENTRIES];
  const int64_t entries = s->n1 * s->n2;
  dense(s, x, D);
  truncated(D, s->n1, s->n2, s->k, symmetric, best);
  double lost = -1.0;
  assert_int_equal(mxsi_tangent_retract(&s->t, symmetric, x, s->F_U, s->F_V, &lost), MXS_OK);
  product(s->F_U, s->n1, s->F_V, s->n2, s->k, got);
  assert_true(distance(got, best, entries) <= accuracy * (1e-300 + norm_of(D, entries)));
  if (!symmetric) {
    const double left_out = distance(D, best, entries);
    assert_true(fabs(sqrt(lost) - left_out) <= accuracy * (1e-300 + norm_of(D, entries)));
  }
  if (symmetric)
    assert_memory_equal(s->F_U, s->F_V, (size_t)(s->n1 * s->k) * sizeof *s->F_U);
  mxsi_tangent_at(&s->t, s->F_U, s->F_V); /* at a place where the next step can begin */
  assert_true(gram_error(s->t.U, s->n1, s->k) <= 1e-12);
  assert_true(gram_error(s->t.V, s->n2, s->k) <= 1e-12);
}

static void add_values(const space *s, double *x) {
  for (int64_t j = 0; j < s->k; j++)
    x[j * s->k + j] += s->t.s[j];
}

static void retraction_is_a_truncated_svd(void **state) {
  (void)state;
  static const double steps[] = {0.0, 1e-9, 0.1, 1.0, 100.0};
  for (int i = 0; i < SHAPES; i++)
    for (int f = 0; f < 5; f++) {
      space s;
      double x[MOST_LENGTH];
      enter(&shapes[i], 100, MXS_MODEL_ASYMMETRIC, &s);
      random_vector(&s, 110 + f, x);
      for (int64_t j = 0; j < s.t.length; j++)
        x[j] *= steps[f];
      add_values(&s, x);
      assert_retracts(&s, 0, x, 1e-13);
      mxsi_tangent_clear(&s.t);
    }
}

/* Repeated singular values, and directions that vanish. */
static void retraction_of_special_matrices(void **state) {
  (void)state;
  space s;
  double x[MOST_LENGTH];
  enter(&(shape){9, 7, 4}, 120, MXS_MODEL_ASYMMETRIC, &s);
  memset(x, 0, sizeof x);
  for (int64_t j = 0; j < 4; j++)
    x[j * 4 + j] = 2.0;
  assert_retracts(&s, 0, x, 1e-13);
  for (int64_t j = 0; j < 4; j++)
    x[j * 4 + j] = j < 2 ? 2.0 : 0.0;
  assert_retracts(&s, 0, x, 1e-13);
  x[0] = 1e-200;
  x[5] = 1e-203;
  assert_retracts(&s, 0, x, 1e-12);
  mxsi_tangent_clear(&s.t);
}

/* K symmetric with eigenvalues of both signs, B = C: a and -a among them, which have the same
 * singular value; more negative ones than columns to spare. */
static void symmetric_retraction(void **state) {
  (void)state;
  static const double values[][4] = {{3.0, 2.0, 1.0, 0.5},
                                     {3.0, -3.0, 1.0, -1.0},
                                     {-5.0, 2.0, 2.0, -2.0},
                                     {1.0, -4.0, -3.0, -2.0}};
  for (int64_t n = 4; n <= 12; n += 4)
    for (int f = 0; f < 8; f++) {
      space s;
      double x[MOST_LENGTH];
      enter(&(shape){n, n, 4}, 130 + f, MXS_MODEL_SYMMETRIC, &s);
      random_vector(&s, 140 + f, x);
      for (int64_t j = 0; j < s.t.length; j++)
        x[j] *= f < 4 ? 0.0 : 0.5;
      mxsi_tangent_symmetrise(&s.t, x);
      for (int64_t j = 0; j < 4; j++)
        x[j * 4 + j] += values[f % 4][j];
      assert_retracts(&s, 1, x, 1e-13);
      mxsi_tangent_clear(&s.t);
    }
}

static void symmetrise_projects(void **state) {
  (void)state;
  space s;
  double x[MOST_LENGTH], y[MOST_LENGTH], D[MOST_ENTRIES], E[MOST_ENTRIES];
  enter(&(shape){8, 8, 3}, 150, MXS_MODEL_SYMMETRIC, &s);
  random_vector(&s, 151, x);
  memcpy(y, x, sizeof y);
  mxsi_tangent_symmetrise(&s.t, y);
  dense(&s, x, D);
  dense(&s, y, E);
  for (int64_t i = 0; i < 8; i++)
    for (int64_t j = 0; j < 8; j++)
      assert_true(fabs(E[i * 8 + j] - 0.5 * (D[i * 8 + j] + D[j * 8 + i])) <= 1e-13);
  mxsi_tangent_clear(&s.t);
}

/* Balance alone: the factors of matrices with values of both signs, and without any. */
static void balance_of_symmetric_parts(void **state) {
  (void)state;
  enum { N = 7, K = 4 };
  static const double values[][K] = {
      {2.0, 1.0, -0.5, -3.0}, {1.0, -1.0, 1.0, -1.0}, {1.0, 1.0, 1.0, 1.0}, {0.0, 0.0, 0.0, 0.0}};
  for (int f = 0; f < 4; f++) {
    double A[N * N], best[N * N], got[N * N], left[N * N], right[N * N], s[N];
    double F_U[N * K], F_V[N * K];
    with_values(160 + 2 * f, N, N, 1, K, values[f], A);
    assert_int_equal(mxs_la_svd(mxs_cview(A, N, N), s, left, right), MXS_OK);
    for (int64_t i = 0; i < N; i++)
      for (int64_t j = 0; j < K; j++) {
        F_U[i * K + j] = s[j] * left[i * N + j];
        F_V[i * K + j] = right[j * N + i];
      }
    truncated(A, N, N, K, 1, best);
    assert_int_equal(
        mxs_optim_balance(MXS_MODEL_SYMMETRIC, mxs_view(F_U, N, K), mxs_view(F_V, N, K)), MXS_OK);
    product(F_U, N, F_V, N, K, got);
    assert_true(distance(got, best, (int64_t)N * N) <= 1e-13);
    assert_memory_equal(F_U, F_V, sizeof F_U);
  }
}

/* More columns than a side has: the matrix stays, and no column is zero. */
static void balance_of_too_many_columns(void **state) {
  (void)state;
  double F_U[3 * 5], F_V[6 * 5], before[18], after[18];
  fill(170, 15, F_U);
  fill(171, 30, F_V);
  product(F_U, 3, F_V, 6, 5, before);
  assert_int_equal(
      mxs_optim_balance(MXS_MODEL_ASYMMETRIC, mxs_view(F_U, 3, 5), mxs_view(F_V, 6, 5)), MXS_OK);
  product(F_U, 3, F_V, 6, 5, after);
  assert_true(distance(before, after, 18) <= 1e-13 * norm_of(before, 18));
  for (int64_t j = 0; j < 5; j++)
    assert_true(F_U[j] != 0.0 && F_V[j] != 0.0);
}

static void outside_is_the_norm_of_the_normal_part(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    space s;
    double G[MOST_ENTRIES], P[MOST_ENTRIES], wanted[MOST], got[MOST];
    enter(&shapes[i], 180, MXS_MODEL_ASYMMETRIC, &s);
    const int64_t least = s.n1 < s.n2 ? s.n1 : s.n2;
    const int64_t count = least < 3 ? least : 3;
    fill(190, s.n1 * s.n2, G);
    assert_int_equal(mxsi_tangent_normal(&s.t, G, P), MXS_OK);
    assert_int_equal(mxs_la_svd(mxs_cview(P, s.n1, s.n2), wanted, NULL, NULL), MXS_OK);
    const mxs_problem problem = {.n1 = s.n1, .n2 = s.n2};
    const mxs_evaluation at = {.G = G};
    mxs_optim o = {.problem = &problem, .k = s.k, .U = s.F_U, .V = s.F_V, .at = &at};
    assert_int_equal(mxs_optim_outside(&o, count, got), MXS_OK);
    for (int64_t j = 0; j < count; j++)
      assert_true(fabs(got[j] - wanted[j]) <= 1e-13 * norm_of(G, s.n1 * s.n2));
    memset(s.F_U, 0, sizeof s.F_U); /* X = 0 */
    assert_int_equal(mxs_optim_outside(&o, count, got), MXS_OK);
    for (int64_t j = 0; j < count; j++)
      assert_true(got[j] == 0.0);
    mxsi_tangent_clear(&s.t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bases_are_orthonormal),
      cmocka_unit_test(factors_stand_for_tangent_vectors),
      cmocka_unit_test(from_factors_is_the_adjoint),
      cmocka_unit_test(normal_part_is_normal),
      cmocka_unit_test(retraction_is_a_truncated_svd),
      cmocka_unit_test(retraction_of_special_matrices),
      cmocka_unit_test(symmetric_retraction),
      cmocka_unit_test(symmetrise_projects),
      cmocka_unit_test(balance_of_symmetric_parts),
      cmocka_unit_test(balance_of_too_many_columns),
      cmocka_unit_test(outside_is_the_norm_of_the_normal_part),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
