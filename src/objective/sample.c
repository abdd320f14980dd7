#include "objective/objective_impl.h"

#include "base/random.h"

static int64_t count_training(const mxs_data *data, int64_t j) {
  const mxsi_range range = mxsi_block_range(data, j);
  int64_t count = 0;
  for (int64_t i = 0; i < range.count; i++)
    count += data->weight == NULL || data->weight[range.at + i] != 0.0;
  return count;
}

mxs_status mxsi_sample_create(mxs_objective *o) {
  const mxs_data *data = &o->problem->train;
  const int64_t own = data->blocks.own_count;
  MXS_TRY(mxs_alloc(own, sizeof *o->sampled, &o->sampled));
  MXS_TRY(mxs_alloc(own, sizeof *o->train_count, &o->train_count));
  for (int64_t j = 0; j < own; j++)
    o->train_count[j] = count_training(data, j);
  mxs_objective_sample(o, NULL);
  return MXS_OK;
}

void mxs_objective_sample(mxs_objective *o, const mxs_sample *sample) {
  const mxs_comm *comm = o->problem->comm;
  const mxs_blocks *blocks = &o->problem->train.blocks;
  o->sample = sample != NULL ? *sample : (mxs_sample){0};
  o->sampled_count = 0;
  for (int64_t j = 0; j < blocks->own_count; j++) {
    const int64_t behind = (comm->rank + j * comm->size - o->sample.first) % blocks->count;
    const int64_t place = behind < 0 ? behind + blocks->count : behind;
    if (o->sample.count == 0 || place < o->sample.count)
      o->sampled[o->sampled_count++] = j;
  }
}

/* The noise of measurement i is number i of row `draw`. */
const double *mxsi_sample_targets(const mxs_objective *o,
                                  const mxsi_worker *worker,
                                  const mxsi_range *range) {
  const mxs_data *data = &o->problem->train;
  const mxs_sample *sample = &o->sample;
  const double *y = data->y + range->at;
  if (sample->label_noise == 0.0)
    return y;
  const int64_t first = range->first - data->first;
  const int64_t whole = first / MXSI_NOISE_STEP;
  const int64_t end = (first + range->count + MXSI_NOISE_STEP - 1) / MXSI_NOISE_STEP;
  double *targets = worker->y + first % MXSI_NOISE_STEP;
  mxs_random_gaussian(sample->seed, MXS_STREAM_LABEL_NOISE, sample->draw, whole, end - whole,
                      worker->y);
  for (int64_t i = 0; i < range->count; i++)
    targets[i] = y[i] + sample->label_noise * targets[i];
  return targets;
}

void mxsi_sample_count(const mxs_objective *o, int validation, mxs_reducer *reducer) {
  for (int64_t a = 0; a < o->sampled_count; a++) {
    const int64_t j = o->sampled[a];
    const int64_t train = o->train_count[j];
    mxs_reducer_count(reducer, WORD_TRAIN, train);
    mxs_reducer_count(reducer, WORD_HELD, mxsi_block_range(&o->problem->train, j).count - train);
  }
  if (validation)
    mxs_reducer_count(reducer, WORD_HELD, mxs_blocks_own_rows(&o->problem->validation.blocks));
}

void mxsi_sample_total(const mxs_objective *o, int64_t count[2]) {
  count[0] = count[1] = 0;
  for (int64_t a = 0; a < o->sampled_count; a++) {
    const int64_t j = o->sampled[a];
    count[0] += o->train_count[j];
    count[1] += mxsi_block_range(&o->problem->train, j).count - o->train_count[j];
  }
  count[0] = mxs_comm_sum(o->problem->comm, count[0]);
  count[1] = mxs_comm_sum(o->problem->comm, count[1]);
}
