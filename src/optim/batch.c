#include "optim/optim.h"

#include "base/random.h"

void mxs_optim_batch(const mxs_problem *p,
                     const mxs_solve_options *options,
                     uint64_t seed,
                     int64_t iteration,
                     mxs_sample *sample) {
  const mxs_blocks *blocks = &p->train.blocks;
  const int64_t wanted = (options->batch + blocks->rows - 1) / blocks->rows;
  if (options->batch == 0 || wanted >= blocks->count)
    return;
  const double place = mxs_random_uniform(seed, MXS_STREAM_BATCH, iteration);
  sample->first = (int64_t)(place * (double)blocks->count) % blocks->count;
  sample->count = wanted;
  sample->skip_validation = 1;
}
