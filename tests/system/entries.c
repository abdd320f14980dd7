/* Writes entries of a generated ensemble to standard output as doubles: ENSEMBLE SEED ENTRIES FIRST
 * COUNT BLOCK_ROWS. */
#include "op/fast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc != 7)
    return 64;
  const mxs_ensemble ensemble = strcmp(argv[1], "gaussian") == 0    ? MXS_ENSEMBLE_GAUSSIAN
                                : strcmp(argv[1], "gaussian8") == 0 ? MXS_ENSEMBLE_GAUSSIAN8
                                                                    : MXS_ENSEMBLE_RADEMACHER;
  const uint64_t seed = strtoull(argv[2], NULL, 10);
  const int64_t entries = strtoll(argv[3], NULL, 10), first = strtoll(argv[4], NULL, 10),
                count = strtoll(argv[5], NULL, 10), block_rows = strtoll(argv[6], NULL, 10);
  double *rows = NULL;
  if (mxs_alloc(entries * count, sizeof *rows, &rows) != MXS_OK)
    return 70;
  if (strcmp(argv[1], "fast") != 0)
    mxsi_generated_rows(ensemble, seed, entries, first, count, rows);
  else if (mxsi_fast_rows(seed, entries, block_rows, first, count, rows) != MXS_OK)
    return 70;
  const size_t total = (size_t)(entries * count);
  const int good = fwrite(rows, sizeof *rows, total, stdout) == total && fflush(stdout) == 0;
  mxs_release(&rows);
  return good ? 0 : 74;
}
