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
