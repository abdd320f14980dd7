#include "op/op.h"

mxs_pass mxsi_pass_part(const mxs_pass *pass, int64_t done, int64_t most) {
  mxs_pass part = *pass;
  part.first = pass->first + done;
  part.count = pass->count - done < most ? pass->count - done : most;
  part.y = pass->y != NULL ? pass->y + done : NULL;
  part.weight = pass->weight != NULL ? pass->weight + done : NULL;
  part.w = pass->w + done;
  return part;
}

mxs_single mxsi_pass_single(const mxs_pass *pass, int64_t r) {
  return (mxs_single){.count = pass->count,
                      .x = pass->x != NULL ? pass->x[r] : NULL,
                      .y = pass->y,
                      .weight = pass->weight,
                      .w = pass->w + r * pass->stride,
                      .g = pass->g != NULL ? pass->g[r] : NULL};
}

mxs_status mxsi_op_plan(const mxs_op_table *op, void *self, int64_t replicas, int threads) {
  return op->plan != NULL ? op->plan(self, replicas, threads) : MXS_OK;
}

mxs_status mxsi_op_point(const mxs_op_table *op,
                         void *self,
                         int64_t replicas,
                         const double *const *x) {
  return op->point != NULL ? op->point(self, replicas, x) : MXS_OK;
}

mxs_op_info mxsi_op_info(const mxs_op_table *op, const void *self) {
  mxs_op_info info = {.bytes = 0};
  if (op->info != NULL)
    op->info(self, &info);
  return info;
}

mxs_status mxsi_op_single(const mxs_op_table *op,
                          void *self,
                          int64_t first,
                          const mxs_single *single) {
  const mxs_pass pass = {.first = first,
                         .count = single->count,
                         .replicas = 1,
                         .x = single->x != NULL ? &single->x : NULL,
                         .y = single->y,
                         .weight = single->weight,
                         .w = single->w,
                         .g = single->g != NULL ? &single->g : NULL};
  MXS_TRY(mxsi_op_plan(op, self, 1, 1));
  if (pass.x != NULL)
    MXS_TRY(mxsi_op_point(op, self, 1, pass.x));
  return op->pass(self, &pass);
}
