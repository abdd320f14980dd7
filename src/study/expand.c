#include "problem/problem_impl.h"
#include "study/axes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RANK_TEXT = 24 };

/* ---- what a point is ------------------------------------------------------------------------ */

static int64_t rank_of(const mxs_study *study, const mxsi_point *point) {
  int64_t rank = 0;
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == MXSI_OF_PROBLEM && strcmp(study->column[c].key, "rank") == 0 &&
        mxs_parse_integer(point->values[c], &rank) != MXS_OK)
      return 0;
  return rank;
}

const char *mxsi_study_value(const mxs_study *study,
                             const mxsi_point *point,
                             int64_t column,
                             char out[MXSI_VALUE_TEXT]) {
  const mxsi_column *one = &study->column[column];
  const int64_t factor = one->scope == MXSI_OF_SOLVE && strcmp(one->key, "k") == 0
                             ? mxsi_rank_multiple(point->values[column])
                             : 0;
  if (factor == 0)
    return point->values[column];
  const int64_t k = factor * rank_of(study, point);
  (void)snprintf(out, MXSI_VALUE_TEXT, "%lld", (long long)k);
  return out;
}

/* m of rho = m / (r (n1 + n2 - r)); what is a whole number but for rounding is that number. */
static mxs_status measurements_of_rho(double rho, const mxs_planting *planting, int64_t *out) {
  const double freedom =
      (double)planting->rank * (double)(planting->n1 + planting->n2 - planting->rank);
  const double m = rho * freedom;
  if (!(m < 9e18))
    return mxs_fail(MXS_ERR_SETTINGS, "rho: %g is too large", rho);
  *out = (int64_t)fmax(1.0, ceil(m - 1e-9 * fmax(1.0, m)));
  return MXS_OK;
}

static mxs_status derive(const mxsi_recipe *recipe, int64_t ranks, mxs_planting *out) {
  *out = recipe->planting;
  if (recipe->n > 0)
    out->n1 = out->n2 = recipe->n;
  if (recipe->rho > 0.0)
    MXS_TRY(measurements_of_rho(recipe->rho, out, &out->measurements));
  if (recipe->measurements_per_rank == 0)
    return MXS_OK;
  if (ranks == 0)
    return mxs_fail(MXS_ERR_SETTINGS, "measurements_per_rank: needs a number of ranks: give one in "
                                      "the place of 'ranks: all'");
  if (__builtin_mul_overflow(recipe->measurements_per_rank, ranks, &out->measurements))
    return mxs_fail(MXS_ERR_SETTINGS, "measurements_per_rank: %lld times %lld ranks are too many",
                    (long long)recipe->measurements_per_rank, (long long)ranks);
  return MXS_OK;
}

mxs_status mxsi_study_planting(const mxs_study *study, const mxsi_point *point, mxs_planting *out) {
  mxs_option storage[MXSI_PROBLEM_OPTIONS];
  const mxs_table table = mxsi_problem_table(storage);
  mxsi_recipe recipe = {.n = 0};
  MXS_TRY(mxs_table_defaults(&table, &recipe));
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == MXSI_OF_PROBLEM)
      MXS_TRY(mxs_table_set(&table, &recipe, study->column[c].option, point->values[c]));
  return derive(&recipe, point->ranks, out);
}

/* "3", or "[3, 5]" where the points of a pass differ. */
static mxs_status join_values(const mxs_study *study,
                              const mxsi_pass *pass,
                              int64_t column,
                              mxs_text *out) {
  char first[MXSI_VALUE_TEXT];
  char other[MXSI_VALUE_TEXT];
  const char *one = mxsi_study_value(study, &study->point[pass->points[0]], column, first);
  int differ = 0;
  for (int64_t i = 1; i < pass->count && !differ; i++)
    differ = strcmp(one, mxsi_study_value(study, &study->point[pass->points[i]], column, other));
  if (!differ)
    return mxs_text_add(out, "%s", one);
  for (int64_t i = 0; i < pass->count; i++) {
    one = mxsi_study_value(study, &study->point[pass->points[i]], column, other);
    MXS_TRY(mxs_text_add(out, "%s%s", i == 0 ? "[" : ", ", one));
  }
  return mxs_text_add(out, "]");
}

static mxs_status set_joined(const mxs_study *study,
                             const mxsi_pass *pass,
                             int64_t column,
                             mxs_settings *out) {
  mxs_text text = {0};
  mxs_status status = join_values(study, pass, column, &text);
  if (status == MXS_OK)
    status = mxs_table_set(&mxs_settings_table, out, study->column[column].option, text.data);
  mxs_release(&text.data);
  return status;
}

mxs_status mxsi_study_settings(const mxs_study *study,
                               const mxsi_pass *pass,
                               const char *problem,
                               mxs_settings *out) {
  mxs_status status = mxs_settings_defaults(out);
  for (int64_t c = 0; c < study->columns && status == MXS_OK; c++)
    if (study->column[c].scope == MXSI_OF_SOLVE)
      status = set_joined(study, pass, c, out);
  if (status == MXS_OK)
    status = mxs_settings_set(out, "problem", problem);
  if (status != MXS_OK)
    mxs_settings_clear(out);
  return status;
}

void mxsi_study_describe(const mxs_study *study, const mxsi_point *point, char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (int64_t c = 0; c < study->columns && used < size; c++)
    if (study->column[c].varies)
      used += (size_t)snprintf(out + used, size - used, "%s%s %s", used == 0 ? "" : ", ",
                               study->column[c].name, point->values[c]);
  if (study->repeats > 1 && used < size)
    used += (size_t)snprintf(out + used, size - used, "%s#%lld", used == 0 ? "" : ", ",
                             (long long)point->repeat);
  if (used == 0)
    (void)snprintf(out, size, "the only point");
}

/* ---- all of them ---------------------------------------------------------------------------- */

static mxs_status add_seed_text(int64_t seed, char **out) {
  return mxs_text_format(out, "%lld", (long long)seed);
}

/* The values of a seed that repeats count up: those of the file one after the other, each with all
   of its repeats. */
static mxs_status count_up(const mxs_study *study, mxsi_column *column) {
  char **values = NULL;
  MXS_TRY(mxs_alloc(column->count * study->repeats, sizeof *values, &values));
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < column->count * study->repeats && status == MXS_OK; i++) {
    int64_t seed = 0;
    status = mxs_parse_integer(column->values[i / study->repeats], &seed);
    if (status == MXS_OK && seed > INT64_MAX - study->repeats)
      status = mxs_fail(MXS_ERR_SETTINGS,
                        "%s:%zu: %s: %lld is too large for %lld repeats, which "
                        "count up from it",
                        study->path, column->line, column->name, (long long)seed,
                        (long long)study->repeats);
    if (status == MXS_OK)
      status = add_seed_text(seed + i % study->repeats, &values[i]);
  }
  for (int64_t i = 0; i < column->count; i++)
    mxs_release(&column->values[i]);
  mxs_release(&column->values);
  column->values = values;
  column->texts = column->count * study->repeats;
  return status;
}

static int counts_up(const mxsi_file *file, const mxsi_column *column) {
  const int over = column->scope == MXSI_OF_PROBLEM ? MXSI_REPEAT_PROBLEM : MXSI_REPEAT_START;
  return column->scope != MXSI_OF_STUDY && strcmp(column->key, "seed") == 0 &&
         (file->repeat_over & over) != 0;
}

static mxs_status count_points(mxsi_file *file) {
  mxs_study *study = file->study;
  study->count = study->repeats;
  for (int64_t c = 0; c < study->columns; c++)
    if (file->group[c] == c &&
        (__builtin_mul_overflow(study->count, study->column[c].count, &study->count) ||
         study->count > MXSI_POINT_LIMIT))
      return mxs_fail(MXS_ERR_SETTINGS,
                      "%s: more than %d points: make a list shorter, or advance lists together "
                      "by zip",
                      study->path, (int)MXSI_POINT_LIMIT);
  return MXS_OK;
}

/* The last axis is the fastest, and repeats are faster than any. */
static void fill_point(const mxsi_file *file, mxsi_point *point) {
  mxs_study *study = file->study;
  int64_t rest = point->index / study->repeats;
  point->repeat = point->index % study->repeats;
  for (int64_t lead = study->columns - 1; lead >= 0; lead--) {
    if (file->group[lead] != lead)
      continue;
    const int64_t i = rest % study->column[lead].count;
    rest /= study->column[lead].count;
    for (int64_t c = lead; c < study->columns; c++) {
      const mxsi_column *column = &study->column[c];
      if (file->group[c] == lead)
        point->values[c] = column->texts > column->count
                               ? column->values[i * study->repeats + point->repeat]
                               : column->values[i];
    }
  }
}

static void set_ranks(const mxs_study *study, mxsi_point *point) {
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == MXSI_OF_STUDY &&
        mxs_parse_integer(point->values[c], &point->ranks) != MXS_OK)
      point->ranks = 0; /* all */
}

/* ---- checks --------------------------------------------------------------------------------- */

static mxs_status refuse_point(const mxs_study *study, const mxsi_point *point, mxs_status status) {
  char what[256];
  if (status != MXS_ERR_SETTINGS)
    return status;
  mxsi_study_describe(study, point, what, sizeof what);
  return mxs_fail(status, "%s: point %lld (%s): %s", study->path, (long long)point->index, what,
                  mxs_last_error());
}

/* Whether a point has the values of the one before it in a section, but for the seed. */
static int same_as_before(const mxs_study *study, const mxsi_point *point, mxsi_scope scope) {
  if (point->index == 0)
    return 0;
  for (int64_t c = 0; c < study->columns; c++) {
    const mxsi_column *column = &study->column[c];
    const int of_it = column->scope == scope || column->scope == MXSI_OF_STUDY;
    if (of_it && strcmp(column->key, "seed") != 0 && point->values[c] != point[-1].values[c])
      return 0;
  }
  return 1;
}

/** A point being checked; settings and recipe stay for the next one that has the same. */
typedef struct checks {
  mxs_study *study;
  int storage_given, k_of_rank;
  mxs_planting planting;
  mxs_settings *settings;
} checks;

static mxs_status check_problem(checks *c, const mxsi_point *point) {
  MXS_TRY(mxsi_study_planting(c->study, point, &c->planting));
  MXS_TRY(mxs_planting_check(&c->planting, c->storage_given));
  const mxs_plant plant = mxs_planting_recipe(&c->planting);
  return mxsi_plant_check(&plant);
}

static mxs_status check_settings(checks *c, const mxsi_point *point) {
  int64_t index = point->index;
  const mxsi_pass alone = {.count = 1, .points = &index};
  mxs_settings_clear(c->settings);
  MXS_TRY(mxsi_study_settings(c->study, &alone, "/problem.h5", c->settings));
  return mxs_settings_check(c->settings);
}

/* What loading the problem would refuse. */
static mxs_status check_fit(const mxs_planting *planting, const mxs_settings *settings) {
  const mxs_plant plant = mxs_planting_recipe(planting);
  const int64_t block_rows = mxsi_plant_shape(&plant).block_rows;
  const int64_t least = plant.n1 < plant.n2 ? plant.n1 : plant.n2;
  if (settings->measurements > plant.measurements)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "solve.measurements: %lld, but the problem has %lld: lower it",
                    (long long)settings->measurements, (long long)plant.measurements);
  if (settings->hold_out > 0.0 && plant.held_out > 0)
    return mxs_fail(MXS_ERR_SETTINGS, "hold_out: the problem has its own held-out measurements: "
                                      "drop solve.hold_out or problem.hold_out");
  if (settings->model == MXS_MODEL_SYMMETRIC && plant.n1 != plant.n2)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "model: symmetric is for square problems, and this one is "
                    "%lld x %lld",
                    (long long)plant.n1, (long long)plant.n2);
  if (settings->method == MXS_METHOD_RIEMANNIAN_GD && settings->k.values[0] > least)
    return mxs_fail(MXS_ERR_SETTINGS, "k: riemannian_gd needs at most min(n1, n2) = %lld columns",
                    (long long)least);
  if (settings->block_rows > 0 && block_rows > 0 && settings->block_rows != block_rows)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "block_rows: that of the ensemble fast is fixed, %lld here: "
                    "leave it out",
                    (long long)block_rows);
  return mxsi_problem_check_storage(plant.ensemble, (mxs_storage)settings->storage, "the problem");
}

static mxs_status check_point(checks *c, const mxsi_point *point) {
  const int planted = c->study->problem_file == NULL;
  const int same_problem = same_as_before(c->study, point, MXSI_OF_PROBLEM);
  const int same_solve = same_as_before(c->study, point, MXSI_OF_SOLVE);
  if (planted && !same_problem)
    MXS_TRY(check_problem(c, point));
  if (!same_solve || (c->k_of_rank && !same_problem))
    MXS_TRY(check_settings(c, point));
  return planted && !(same_problem && same_solve) ? check_fit(&c->planting, c->settings) : MXS_OK;
}

static mxs_status check_points(mxs_study *study) {
  checks c = {.study = study};
  for (int64_t i = 0; i < study->columns; i++) {
    const mxsi_column *column = &study->column[i];
    c.storage_given = c.storage_given ||
                      (column->scope == MXSI_OF_PROBLEM && strcmp(column->key, "storage") == 0);
    for (int64_t j = 0; j < column->count && column->scope == MXSI_OF_SOLVE; j++)
      c.k_of_rank = c.k_of_rank || mxsi_rank_multiple(column->values[j]) > 0;
  }
  MXS_TRY(mxs_alloc(1, sizeof *c.settings, &c.settings));
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < study->count && status == MXS_OK; i++)
    status = refuse_point(study, &study->point[i], check_point(&c, &study->point[i]));
  mxs_settings_clear(c.settings);
  mxs_release(&c.settings);
  return status;
}

static mxs_status make_points(mxsi_file *file) {
  mxs_study *study = file->study;
  MXS_TRY(mxs_alloc(study->count, sizeof *study->point, &study->point));
  MXS_TRY(mxs_alloc(study->count * study->columns, sizeof *study->values, &study->values));
  for (int64_t i = 0; i < study->count; i++) {
    mxsi_point *point = &study->point[i];
    *point = (mxsi_point){.index = i, .values = study->values + i * study->columns, .replica = -1};
    fill_point(file, point);
    set_ranks(study, point);
  }
  return MXS_OK;
}

mxs_status mxsi_study_expand(mxsi_file *file) {
  mxs_study *study = file->study;
  MXS_TRY(count_points(file));
  for (int64_t c = 0; c < study->columns; c++)
    if (study->repeats > 1 && counts_up(file, &study->column[c]))
      MXS_TRY(count_up(study, &study->column[c]));
  MXS_TRY(make_points(file));
  MXS_TRY(check_points(study));
  return mxsi_study_pack(study);
}
