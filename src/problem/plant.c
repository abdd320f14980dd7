#include "problem/problem_impl.h"

#include "base/random.h"
#include "la/la.h"
#include "op/fast.h"

#include <math.h>

static int64_t divide_up(int64_t a, int64_t b) {
  return a / b + (a % b != 0);
}

/* A block costs a transform whatever its rows: no number of ranks makes more of them faster. */
static int64_t fewest_blocks(const mxs_plant *plant) {
  return divide_up(plant->measurements, mxsi_fast_order(plant->n1 * plant->n2));
}

mxs_shape mxsi_plant_shape(const mxs_plant *plant) {
  mxs_shape shape = {
      .n1 = plant->n1, .n2 = plant->n2, .m = plant->measurements, .m_validation = plant->held_out};
  if (plant->ensemble == MXS_ENSEMBLE_FAST)
    shape.block_rows =
        divide_up(plant->measurements, plant->blocks > 0 ? plant->blocks : fewest_blocks(plant));
  return shape;
}

static mxs_status check_blocks(const mxs_plant *plant) {
  if (plant->ensemble != MXS_ENSEMBLE_FAST)
    return plant->blocks == 0 ? MXS_OK
                              : mxs_fail(MXS_ERR_SETTINGS,
                                         "blocks: only the ensemble fast has them: leave it out");
  const int64_t order = mxsi_fast_order(plant->n1 * plant->n2);
  const int64_t least = fewest_blocks(plant);
  const int64_t most = plant->measurements < MXS_MAX_BLOCKS ? plant->measurements : MXS_MAX_BLOCKS;
  if (least > MXS_MAX_BLOCKS)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "measurements = %lld: the ensemble fast has at most %d blocks, and block_rows "
                    "at most %lld for n1 n2 = %lld x %lld: lower it",
                    (long long)plant->measurements, (int)MXS_MAX_BLOCKS, (long long)order,
                    (long long)plant->n1, (long long)plant->n2);
  if (plant->blocks != 0 && (plant->blocks < least || plant->blocks > most))
    return mxs_fail(
        MXS_ERR_SETTINGS,
        "blocks = %lld is not in %lld .. %lld: block_rows, the measurements in a block, "
        "is 1 .. %lld for n1 n2 = %lld x %lld",
        (long long)plant->blocks, (long long)least, (long long)most, (long long)order,
        (long long)plant->n1, (long long)plant->n2);
  return MXS_OK;
}

mxs_status mxsi_plant_check(const mxs_plant *plant) {
  const int64_t least = plant->n1 < plant->n2 ? plant->n1 : plant->n2;
  int64_t entries = 0;
  if (plant->n1 < 1 || plant->n1 > MXS_LA_MAX)
    return mxs_fail(MXS_ERR_SETTINGS, "n1 = %lld is not in 1 .. %d", (long long)plant->n1,
                    (int)MXS_LA_MAX);
  if (plant->n2 < 1 || plant->n2 > MXS_LA_MAX)
    return mxs_fail(MXS_ERR_SETTINGS, "n2 = %lld is not in 1 .. %d", (long long)plant->n2,
                    (int)MXS_LA_MAX);
  if (__builtin_mul_overflow(plant->n1, plant->n2, &entries) || entries >= INT64_C(1) << 48)
    return mxs_fail(MXS_ERR_SETTINGS, "n1 n2 = %lld x %lld is beyond 2^48 entries",
                    (long long)plant->n1, (long long)plant->n2);
  if (plant->rank < 1 || plant->rank > least)
    return mxs_fail(MXS_ERR_SETTINGS, "rank = %lld is not in 1 .. min(n1, n2) = %lld",
                    (long long)plant->rank, (long long)least);
  if (plant->measurements < 1 || plant->held_out < 0 ||
      plant->measurements > INT64_MAX / 4 - plant->held_out)
    return mxs_fail(MXS_ERR_SETTINGS, "measurements = %lld: at least one is needed",
                    (long long)plant->measurements);
  MXS_TRY(check_blocks(plant));
  if (!(plant->condition >= 1.0 && isfinite(plant->condition)))
    return mxs_fail(MXS_ERR_SETTINGS, "condition = %g: must be at least 1", plant->condition);
  if (!(plant->noise >= 0.0 && isfinite(plant->noise)))
    return mxs_fail(MXS_ERR_SETTINGS, "noise = %g: must not be negative", plant->noise);
  return MXS_OK;
}

/* Q of the QR factorisation of a Gaussian n x rank matrix, columns scaled by sqrt(s_j). */
static mxs_status orthonormal(
    uint64_t seed, mxs_stream stream, int64_t n, const mxs_plant *plant, double *Q) {
  const int64_t rank = plant->rank;
  for (int64_t i = 0; i < n; i++)
    mxs_random_gaussian_row(seed, stream, i, rank, Q + i * rank);
  MXS_TRY(mxs_la_qr(mxs_cview(Q, n, rank), Q, NULL));
  for (int64_t j = 0; j < rank; j++) {
    const double t = rank > 1 ? (double)j / (double)(rank - 1) : 0.0;
    const double root = sqrt(1.0 - t * (1.0 - 1.0 / plant->condition));
    for (int64_t i = 0; i < n; i++)
      Q[i * rank + j] *= root;
  }
  return MXS_OK;
}

mxs_status mxsi_plant_truth(const mxs_comm *comm, const mxs_plant *plant, double *U, double *V) {
  mxs_status status = MXS_OK;
  if (comm->rank == 0) {
    status = orthonormal(plant->seed, MXS_STREAM_TRUTH_U, plant->n1, plant, U);
    if (status == MXS_OK)
      status = orthonormal(plant->seed, MXS_STREAM_TRUTH_V, plant->n2, plant, V);
  }
  MXS_TRY(mxs_comm_agree(comm, status));
  mxs_comm_bcast(comm, U, plant->n1 * plant->rank * (int64_t)sizeof *U, 0);
  mxs_comm_bcast(comm, V, plant->n2 * plant->rank * (int64_t)sizeof *V, 0);
  return MXS_OK;
}

void mxsi_plant_noise(const mxs_plant *plant, int64_t first, int64_t count, double *y) {
  if (plant->noise == 0.0)
    return;
  for (int64_t i = 0; i < count; i++) {
    double normal = 0.0;
    mxs_random_gaussian_row(plant->seed, MXS_STREAM_NOISE, first + i, 1, &normal);
    y[i] += plant->noise * normal;
  }
}

static mxs_status measure(mxs_data *data, const mxs_plant *plant, const double *X) {
  MXS_TRY(mxsi_op_plan(data->op, data->self, 1, 1));
  MXS_TRY(mxsi_op_point(data->op, data->self, 1, &X));
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    const int64_t count = mxs_blocks_size(&data->blocks, data->blocks.own[j]);
    double *y = data->y + data->blocks.offset[j];
    const mxs_pass pass = {.first = first, .count = count, .replicas = 1, .x = &X, .w = y};
    MXS_TRY(data->op->pass(data->self, &pass));
    mxsi_plant_noise(plant, first, count, y);
  }
  return MXS_OK;
}

/* Generated operators, X* and y of a recipe; Local but for the broadcast of the truth. */
static mxs_status plant_into(mxs_problem *p, const mxs_plant *plant) {
  double *U = NULL;
  double *V = NULL;
  double *X = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * plant->rank, sizeof *U, &U), agree);
  MXS_TRY_GOTO(status, mxs_alloc(p->n2 * plant->rank, sizeof *V, &V), agree);
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * p->n2, sizeof *X, &X), agree);
  MXS_TRY_GOTO(status, mxsi_problem_attach_generated(p, &p->train, 0), agree);
  MXS_TRY_GOTO(status, mxsi_problem_attach_generated(p, &p->validation, plant->measurements),
               agree);
agree:
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
  MXS_TRY_GOTO(status, mxsi_plant_truth(p->comm, plant, U, V), cleanup);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(U, p->n1, plant->rank), mxs_cview(V, p->n2, plant->rank), 0.0,
              mxs_view(X, p->n1, p->n2));
  MXS_TRY_GOTO(status, measure(&p->train, plant, X), cleanup);
  MXS_TRY_GOTO(status, measure(&p->validation, plant, X), cleanup);
  status =
      mxsi_problem_set_truth(p, mxs_cview(U, p->n1, plant->rank), mxs_cview(V, p->n2, plant->rank));
cleanup:
  mxs_release(&U);
  mxs_release(&V);
  mxs_release(&X);
  return status;
}

mxs_status mxs_problem_plant(MPI_Comm comm,
                             const mxs_plant *plant,
                             const mxs_problem_options *options,
                             mxs_problem **problem) {
  *problem = NULL;
  MXS_TRY(mxsi_plant_check(plant));
  if (plant->ensemble == MXS_ENSEMBLE_DENSE || plant->ensemble == MXS_ENSEMBLE_USER)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "ensemble: only the generated ones are planted in memory, not %s",
                    mxs_ensemble_name(plant->ensemble));
  MXS_TRY(mxsi_problem_check_storage(plant->ensemble, options->storage, "this problem"));
  mxs_problem *p = NULL;
  const mxs_shape shape = mxsi_plant_shape(plant);
  mxs_status status = mxsi_problem_begin(comm, &shape, options, &p);
  if (status != MXS_OK)
    return status;
  p->ensemble = plant->ensemble;
  p->storage = options->storage;
  p->ensemble_seed = plant->seed;
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, plant_into(p, plant)), cleanup);
  MXS_TRY_GOTO(status, mxsi_problem_finish(p, options), cleanup);
cleanup:
  if (status != MXS_OK)
    mxs_problem_destroy(&p);
  *problem = p;
  return status;
}
