/* Loss, gradient and back-projection of every ensemble: the adjoint identity, central differences,
 * and the leaf that holds G itself against the one that holds the factor gradients. */
#include "objective_cases.h"

/* <A(X), w> = <X, A*(w)> over the measurements of each rank, one block at a time. */
static void adjoint_identity(void **state) {
  (void)state;
  for (int c = 0; c < CASES; c++) {
    if (cases[c].table != NULL) /* these speak for themselves */
      continue;
    mxs_problem *p = make(&cases[c], 3, 0.0);
    const mxs_blocks *blocks = &p->train.blocks;
    double x[ENTRIES];
    fill(1, ENTRIES, x);
    for (int64_t j = 0; j < blocks->own_count; j++) {
      double z[M];
      double w[M];
      double g[ENTRIES] = {0};
      double left = 0.0;
      double right = 0.0;
      double size = 0.0;
      const int64_t first = mxs_blocks_first(blocks, blocks->own[j]);
      const mxs_single pass = {.count = mxs_blocks_size(blocks, blocks->own[j]), .x = x, .w = z};
      fill(2, pass.count, w);
      assert_int_equal(mxsi_op_single(p->train.op, p->train.self, first, &pass), MXS_OK);
      const mxs_single back = {.count = pass.count, .w = w, .g = g};
      assert_int_equal(mxsi_op_single(p->train.op, p->train.self, first, &back), MXS_OK);
      for (int64_t i = 0; i < pass.count; i++) {
        left += z[i] * w[i];
        size += fabs(z[i] * w[i]);
      }
      for (int64_t e = 0; e < ENTRIES; e++)
        right += x[e] * g[e];
      assert_true(fabs(left - right) <= DBL_EPSILON * ENTRIES * ENTRIES * size);
    }
    mxs_problem_destroy(&p);
  }
}

static mxs_evaluation evaluate(mxs_objective *o, const double *U, const double *V, int64_t k) {
  const mxs_point at = {.U = mxs_cview(U, N1, k), .V = mxs_cview(V, N2, k)};
  mxs_requests requests = {0};
  mxs_evaluation out = {0};
  assert_ok(mxs_objective_pass(o, &at, &requests, &out));
  return out;
}

static double loss_at(mxs_objective *o, int64_t k, const point *at, const point *along, double t) {
  const point to = moved(at, along, -t);
  return evaluate(o, to.U, to.V, k).loss;
}

/* f along a line is a quartic: the five-point difference of step 1 is exact but for rounding. */
static void gradient_is_the_derivative(void **state) {
  (void)state;
  /* 3 columns: leaves of factor gradients; 12: n1 n2 < (n1 + n2) k, leaves of G. */
  static const int64_t columns[] = {1, 3, MOST_COLUMNS};
  const point at = random_point(3);
  const point along = random_point(5);
  for (int c = 0; c < CASES; c++) {
    for (size_t j = 0; j < sizeof columns / sizeof *columns; j++) {
      for (int reduction = 0; reduction < 2; reduction++) {
        const int64_t k = columns[j];
        mxs_problem *p = make(&cases[c], k, 0.2);
        mxs_objective *o = NULL;
        assert_ok(mxs_objective_create(p, (mxs_reduction)reduction, &k, 1, 1, &o));
        const double f[4] = {loss_at(o, k, &at, &along, -2.0), loss_at(o, k, &at, &along, -1.0),
                             loss_at(o, k, &at, &along, 1.0), loss_at(o, k, &at, &along, 2.0)};
        const double difference = (f[0] - 8.0 * f[1] + 8.0 * f[2] - f[3]) / 12.0;
        const mxs_evaluation out = evaluate(o, at.U, at.V, k);
        double slope = 0.0;
        for (int64_t i = 0; i < N1 * k; i++)
          slope += out.gU[i] * along.U[i];
        for (int64_t i = 0; i < N2 * k; i++)
          slope += out.gV[i] * along.V[i];
        assert_everywhere(fabs(slope - difference) <=
                          1000.0 * DBL_EPSILON * (f[0] + f[1] + f[2] + f[3]));
        assert_everywhere(p->m_train < M && p->m_train + p->m_validation ==
                                                M + (cases[c].table == NULL ? HELD_OUT : 0));
        assert_everywhere(out.train == p->m_train && out.held == p->m_validation);
        assert_everywhere(out.validation_loss > 0.0 && isfinite(out.validation_loss));
        mxs_objective_destroy(&o);
        mxs_problem_destroy(&p);
      }
    }
  }
}

/* At U V^T = 0 the gradient is minus the back-projection: gU = -S V for U = 0. */
static void back_projection_is_the_gradient_at_zero(void **state) {
  (void)state;
  enum { K = 3 };
  static const double zero[N1 * K];
  double V[N2 * K];
  double SV[N1 * K];
  fill(7, (int64_t)N2 * K, V);
  for (int c = 0; c < CASES; c++) {
    mxs_problem *p = make(&cases[c], K, 0.1);
    mxs_objective *o = NULL;
    const int64_t k = K;
    double *S = NULL;
    assert_ok(mxs_objective_create(p, MXS_REDUCTION_REPRODUCIBLE, &k, 1, 1, &o));
    assert_ok(mxs_objective_back_projection(o, &S));
    mxs_la_gemm(0, 0, -1.0, mxs_cview(S, N1, N2), mxs_cview(V, N2, K), 0.0, mxs_view(SV, N1, K));
    const mxs_evaluation out = evaluate(o, zero, V, K);
    const double size = mxs_la_frobenius(mxs_cview(SV, N1, K));
    for (int64_t i = 0; i < (int64_t)N1 * K; i++)
      assert_everywhere(fabs(out.gU[i] - SV[i]) <= 100.0 * DBL_EPSILON * size);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(adjoint_identity),
    cmocka_unit_test(gradient_is_the_derivative),
    cmocka_unit_test(back_projection_is_the_gradient_at_zero),
};

MPI_TEST_MAIN(tests)
