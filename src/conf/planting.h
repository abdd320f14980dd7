/** @file
 *  Recipe of a planted problem as `mxsense gen` and study files give it: one typed table. Room
 *  `conf`. */
#ifndef MXS_CONF_PLANTING_H
#define MXS_CONF_PLANTING_H

#include "conf/table.h"
#include "mxsense/problem.h"

typedef struct mxs_planting {
  int ensemble; /**< mxs_ensemble */
  int storage;  /**< mxs_storage, of the ensemble that is stored */
  int64_t n1, n2, rank, measurements, blocks, seed;
  double condition, noise, hold_out;
} mxs_planting;

/** The table of these options, for --help and for parsing. */
extern const mxs_table mxs_planting_table;

/** What one option alone cannot tell; `storage_given` where it was not left to its default. Local.
 *  @retval MXS_ERR_SETTINGS names the option and the remedy */
MXS_CHECKED mxs_status mxs_planting_check(const mxs_planting *planting, int storage_given);

/** As the recipe that problems are made of. Local. */
mxs_plant mxs_planting_recipe(const mxs_planting *planting);

#endif
