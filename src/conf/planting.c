#include "conf/planting.h"

#include <math.h>
#include <stddef.h>

static const mxs_choice ensembles[] = {
    {"gaussian", MXS_ENSEMBLE_GAUSSIAN},     {"gaussian8", MXS_ENSEMBLE_GAUSSIAN8},
    {"rademacher", MXS_ENSEMBLE_RADEMACHER}, {"fast", MXS_ENSEMBLE_FAST},
    {"dense", MXS_ENSEMBLE_DENSE},           {NULL, 0}};
static const mxs_choice storages[] = {
    {"f64", MXS_STORAGE_F64}, {"f32", MXS_STORAGE_F32}, {"bf16", MXS_STORAGE_BF16}, {NULL, 0}};

#define FIELD(name) .key = #name, .offset = offsetof(mxs_planting, name)

static const mxs_option options[] = {
    {FIELD(n1), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "rows of X*"},
    {FIELD(n2), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "columns of X*"},
    {FIELD(rank), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "rank of X*, at most min(n1, n2)"},
    {FIELD(condition), .type = MXS_OPTION_REAL, .preset = "1", .low = 1, .high = INFINITY,
     .section = "Problem", .help = "largest over smallest non-zero singular value of X*"},
    {FIELD(ensemble), .type = MXS_OPTION_CHOICE, .preset = "gaussian", .choices = ensembles,
     .section = "Measurements",
     .help =
         "gaussian: entries of A i.i.d. N(0, 1); gaussian8: of 256 levels; rademacher: +1 or "
         "-1; fast: random rows of a Walsh-Hadamard transform with random signs, in blocks; all "
         "generated when needed; dense: the gaussian entries, stored in the file"},
    {FIELD(blocks), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INFINITY, .section = "Measurements",
     .help = "of --ensemble fast: each costs one transform in each direction and is worked on by "
             "one rank; auto: as few as can be, the fastest"},
    {FIELD(storage), .type = MXS_OPTION_CHOICE, .preset = "f64", .choices = storages,
     .section = "Measurements", .help = "of the A of --ensemble dense"},
    {FIELD(measurements), .type = MXS_OPTION_INTEGER, .low = 1, .high = INFINITY,
     .flags = MXS_OPTION_REQUIRED, .section = "Measurements", .help = "number m of measurements"},
    {FIELD(noise), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Measurements", .help = "standard deviation of the noise added to y"},
    {FIELD(hold_out), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = 1,
     .flags = MXS_OPTION_BELOW_HIGH, .section = "Measurements",
     .help = "this fraction of m follows as further measurements, to validate on"},
    {FIELD(seed), .type = MXS_OPTION_INTEGER, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Measurements", .help = "of X*, A and the noise"},
};

#undef FIELD

const mxs_table mxs_planting_table = {"option", "mxsense gen --help", options,
                                      (int)(sizeof options / sizeof options[0])};

mxs_status mxs_planting_check(const mxs_planting *planting, int storage_given) {
  const int64_t smaller = planting->n1 < planting->n2 ? planting->n1 : planting->n2;
  if (planting->rank > smaller)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "rank: %lld is more than min(n1, n2) = %lld: give a smaller rank",
                    (long long)planting->rank, (long long)smaller);
  if (planting->ensemble != MXS_ENSEMBLE_DENSE && storage_given)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "storage: only ensemble dense stores A: drop one of the two options");
  if (planting->ensemble != MXS_ENSEMBLE_FAST && planting->blocks != 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "blocks: only ensemble fast has blocks: drop one of the two options");
  return MXS_OK;
}

mxs_plant mxs_planting_recipe(const mxs_planting *planting) {
  const double held_out = planting->hold_out * (double)planting->measurements;
  return (mxs_plant){.n1 = planting->n1,
                     .n2 = planting->n2,
                     .rank = planting->rank,
                     .measurements = planting->measurements,
                     .held_out = (int64_t)llround(held_out),
                     .condition = planting->condition,
                     .noise = planting->noise,
                     .ensemble = (mxs_ensemble)planting->ensemble,
                     .seed = (uint64_t)planting->seed,
                     .blocks = planting->blocks};
}
