/** @file
 *  Small problems of every kind of operator, and their matrices one by one, for tests of the
 *  objective. */
#ifndef MXS_TESTS_OBJECTIVE_CASES_H
#define MXS_TESTS_OBJECTIVE_CASES_H

#include "base/random.h"
#include "la/la.h"
#include "objective/objective.h"
#include "op/op.h"

#include "mpi_test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { N1 = 13, N2 = 9, ENTRIES = N1 * N2, M = 301, HELD_OUT = 40, MOST_COLUMNS = 12 };

static inline void fill(int64_t row, int64_t count, double *values) {
  mxs_random_gaussian_row(77, MXS_STREAM_START_U, row, count, values);
}

/* A caller's operator, A_i = a_i b_i^T: products only. */
static inline void rank_one(int64_t i, double a[N1], double b[N2]) {
  double both[N1 + N2];
  fill(5000 + i, N1 + N2, both);
  memcpy(a, both, N1 * sizeof *a);
  memcpy(b, both + N1, N2 * sizeof *b);
}

static inline mxs_status rank_one_apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  double a[N1], b[N2];
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    rank_one(first + i, a, b);
    z[i] = 0.0;
    for (int64_t c = 0; c < U.cols; c++) {
      double left = 0.0, right = 0.0;
      for (int64_t p = 0; p < N1; p++)
        left += a[p] * U.a[p * U.ld + c];
      for (int64_t q = 0; q < N2; q++)
        right += b[q] * V.a[q * V.ld + c];
      z[i] += left * right;
    }
  }
  return MXS_OK;
}

static inline mxs_status rank_one_adjoint(void *self,
                                          int64_t first,
                                          int64_t count,
                                          const double *w,
                                          int transpose,
                                          mxs_cmat B,
                                          mxs_mat C) {
  double a[N1], b[N2];
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    rank_one(first + i, a, b);
    const double *in = transpose ? a : b, *out = transpose ? b : a;
    for (int64_t c = 0; c < B.cols; c++) {
      double sum = 0.0;
      for (int64_t q = 0; q < B.rows; q++)
        sum += in[q] * B.a[q * B.ld + c];
      for (int64_t p = 0; p < C.rows; p++)
        C.a[p * C.ld + c] += w[i] * out[p] * sum;
    }
  }
  return MXS_OK;
}

static const mxs_op_table rank_one_table = {
    .name = "rank-one", .apply = rank_one_apply, .adjoint_mul = rank_one_adjoint};

static inline mxs_status rank_one_y(void *self, int64_t first, int64_t count, double *y) {
  (void)self;
  for (int64_t i = 0; i < count; i++)
    fill(1000 + first + i, 1, y + i);
  return MXS_OK;
}

/* A caller's full matrices, one X and one thread at a time: those of the Gaussian ensemble. */
static inline mxs_status plain_pass(void *self, const mxs_pass *pass) {
  double row[ENTRIES];
  (void)self;
  for (int64_t i = 0; i < pass->count; i++) {
    mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN, 5, ENTRIES, pass->first + i, 1, row);
    if (pass->x != NULL) {
      pass->w[i] = pass->y != NULL ? -pass->y[i] : 0.0;
      for (int64_t e = 0; e < ENTRIES; e++)
        pass->w[i] += row[e] * pass->x[0][e];
    }
    const double w = pass->weight != NULL ? pass->weight[i] * pass->w[i] : pass->w[i];
    for (int64_t e = 0; pass->g != NULL && e < ENTRIES; e++)
      pass->g[0][e] += w * row[e];
  }
  return MXS_OK;
}

static const mxs_op_table plain_table = {.name = "plain", .pass = plain_pass};

/* A stored ensemble: the Gaussian one, its rows kept. */
static inline void attach_dense(mxs_problem *p,
                                mxs_data *data,
                                int64_t first,
                                mxs_storage storage) {
  double row[ENTRIES];
  mxs_dense *dense = NULL;
  assert_ok(mxsi_dense_create(ENTRIES, storage, &data->blocks, &dense));
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t start = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    for (int64_t at = data->blocks.offset[j]; at < data->blocks.offset[j + 1]; at++) {
      mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN, 5, ENTRIES,
                          first + start + at - data->blocks.offset[j], 1, row);
      mxsi_dense_put(dense, at, 1, row);
    }
  }
  p->storage = storage;
  data->op = &mxsi_op_dense;
  data->self = dense;
}

static inline void attach(mxs_problem *p, mxs_ensemble ensemble, mxs_storage storage) {
  p->ensemble = ensemble;
  p->ensemble_seed = 5;
  p->storage = storage;
  if (ensemble == MXS_ENSEMBLE_DENSE) {
    attach_dense(p, &p->train, 0, storage);
    attach_dense(p, &p->validation, M, storage);
  } else {
    assert_ok(mxsi_problem_attach_generated(p, &p->train, 0));
    assert_ok(mxsi_problem_attach_generated(p, &p->validation, M));
  }
  mxs_data *const sets[2] = {&p->train, &p->validation};
  for (int s = 0; s < 2; s++) {
    for (int64_t j = 0; j < sets[s]->blocks.own_count; j++) {
      const int64_t first = mxs_blocks_first(&sets[s]->blocks, sets[s]->blocks.own[j]);
      fill(1000 + sets[s]->first + first, mxs_blocks_size(&sets[s]->blocks, sets[s]->blocks.own[j]),
           sets[s]->y + sets[s]->blocks.offset[j]);
    }
  }
}

typedef struct ensemble_case {
  mxs_ensemble ensemble;
  mxs_storage storage;
  const mxs_op_table *table; /* of the caller */
} ensemble_case;

static const ensemble_case cases[] = {
    {MXS_ENSEMBLE_DENSE, MXS_STORAGE_F64, NULL},
    {MXS_ENSEMBLE_DENSE, MXS_STORAGE_F32, NULL},
    {MXS_ENSEMBLE_DENSE, MXS_STORAGE_BF16, NULL},
    {MXS_ENSEMBLE_GAUSSIAN, MXS_STORAGE_AS_FILE, NULL},
    {MXS_ENSEMBLE_RADEMACHER, MXS_STORAGE_AS_FILE, NULL},
    {MXS_ENSEMBLE_RADEMACHER, MXS_STORAGE_BITS, NULL},
    {MXS_ENSEMBLE_GAUSSIAN8, MXS_STORAGE_AS_FILE, NULL},
    {MXS_ENSEMBLE_FAST, MXS_STORAGE_AS_FILE, NULL},
    {MXS_ENSEMBLE_USER, MXS_STORAGE_AS_FILE, &rank_one_table},
    {MXS_ENSEMBLE_USER, MXS_STORAGE_AS_FILE, &plain_table},
};

enum { CASES = sizeof cases / sizeof *cases };

static inline mxs_problem *make_on(MPI_Comm comm,
                                   const ensemble_case *c,
                                   int64_t k,
                                   double hold_out) {
  mxs_problem *p = NULL;
  const mxs_problem_options options = {.k = k, .hold_out = hold_out, .seed = 3};
  const mxs_shape shape = {.n1 = N1,
                           .n2 = N2,
                           .m = M,
                           .m_validation = HELD_OUT,
                           .block_rows = c->ensemble == MXS_ENSEMBLE_FAST ? 50 : 0};
  const mxs_problem_spec spec = {
      .n1 = N1, .n2 = N2, .m = M, .table = c->table, .measurements = rank_one_y};
  if (c->table != NULL) {
    assert_ok(mxs_problem_create(comm, &spec, &options, &p));
    return p;
  }
  assert_ok(mxsi_problem_begin(comm, &shape, &options, &p));
  p->block_rows = shape.block_rows;
  attach(p, c->ensemble, c->storage);
  assert_ok(mxsi_problem_finish(p, &options));
  return p;
}

static inline mxs_problem *make(const ensemble_case *c, int64_t k, double hold_out) {
  return make_on(MPI_COMM_WORLD, c, k, hold_out);
}

/* A_i of one measurement of the operator. */
static inline void matrix_of(const mxs_data *data, int64_t i, double row[ENTRIES]) {
  double one = 1.0;
  memset(row, 0, ENTRIES * sizeof *row);
  if (data->op->pass != NULL) {
    const mxs_single back = {.count = 1, .w = &one, .g = row};
    assert_int_equal(mxsi_op_single(data->op, data->self, i, &back), MXS_OK);
  } else {
    double identity[N2 * N2] = {0};
    for (int64_t q = 0; q < N2; q++)
      identity[q * N2 + q] = 1.0;
    assert_int_equal(data->op->adjoint_mul(data->self, i, 1, &one, 0, mxs_cview(identity, N2, N2),
                                           mxs_view(row, N1, N2)),
                     MXS_OK);
  }
}

typedef struct point {
  double U[N1 * MOST_COLUMNS], V[N2 * MOST_COLUMNS];
} point;

static inline mxs_point view_of(const point *at, int64_t k) {
  return (mxs_point){.U = mxs_cview(at->U, N1, k), .V = mxs_cview(at->V, N2, k)};
}

/* at - t along. */
static inline point moved(const point *at, const point *along, double t) {
  point to;
  for (int64_t i = 0; i < (int64_t)N1 * MOST_COLUMNS; i++)
    to.U[i] = at->U[i] - t * along->U[i];
  for (int64_t i = 0; i < (int64_t)N2 * MOST_COLUMNS; i++)
    to.V[i] = at->V[i] - t * along->V[i];
  return to;
}

static inline point random_point(int64_t row) {
  point at;
  fill(row, (int64_t)N1 * MOST_COLUMNS, at.U);
  fill(row + 1, (int64_t)N2 * MOST_COLUMNS, at.V);
  return at;
}

#endif
