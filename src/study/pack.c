#include "base/hash.h"
#include "study/axes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_IN_A_PASS = 16, UNUSED = -1, ALONE = -2 };

/** From the digest of what points share to the pass that is open for them; ALONE: each is on its
 *  own. */
typedef struct slot {
  uint64_t digest;
  int64_t pass;
} slot;

/** Passes being made. */
typedef struct packing {
  mxs_study *study;
  mxs_text text;  /* of what is digested */
  int64_t *order; /* columns of the solve by key, in the order of the settings table */
  int64_t solve_columns;
  slot *points, *groups; /* [slots], by name and by what packs together */
  int64_t slots;         /* a power of two */
} packing;

/* ---- names ---------------------------------------------------------------------------------- */

static uint64_t digest_of(const mxs_text *text) {
  return mxs_hash64(text->data, (size_t)text->length, 0);
}

static void write_name(uint64_t digest, char out[17]) {
  (void)snprintf(out, 17, "%016" PRIx64, digest);
}

static void begin_text(mxs_text *text) {
  text->length = 0;
  if (text->data != NULL)
    text->data[0] = '\0';
}

static int may_differ(const mxsi_column *column) {
  static const char *const keys[] = {"alpha", "step", "k", "seed"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    if (strcmp(column->key, keys[i]) == 0)
      return 1;
  return 0;
}

/* What a solve is of and how it is done; what has its default is left out. Of what `shared` by the
   points of a pass, numbers that may differ are left out too, but not whether they are automatic.
 */
static mxs_status describe_solve(packing *p, const mxsi_point *point, int shared) {
  const mxs_study *study = p->study;
  mxs_text *text = &p->text;
  char number[MXSI_VALUE_TEXT];
  begin_text(text);
  MXS_TRY(mxs_text_add(text, "problem: %s\nranks: %lld\n",
                       study->problem_file != NULL ? study->problem_file : point->problem,
                       (long long)point->ranks));
  for (int64_t i = 0; i < p->solve_columns; i++) {
    const mxsi_column *column = &study->column[p->order[i]];
    const char *value = mxsi_study_value(study, point, p->order[i], number);
    if (shared && may_differ(column))
      value = strcmp(value, "auto") == 0 ? value : "number";
    if (column->preset == NULL || strcmp(value, column->preset) != 0)
      MXS_TRY(mxs_text_add(text, "%s: %s\n", column->key, value));
  }
  return MXS_OK;
}

static mxs_status name_problem(packing *p, mxsi_point *point) {
  const mxs_study *study = p->study;
  mxs_planting planting;
  int same = point->index > 0;
  for (int64_t c = 0; c < study->columns && same; c++)
    if (study->column[c].scope != MXSI_OF_SOLVE)
      same = point->values[c] == point[-1].values[c];
  if (same) {
    memcpy(point->problem, point[-1].problem, sizeof point->problem);
    return MXS_OK;
  }
  begin_text(&p->text);
  MXS_TRY(mxsi_study_planting(study, point, &planting));
  MXS_TRY(mxs_table_echo(&mxs_planting_table, &planting, &p->text));
  write_name(digest_of(&p->text), point->problem);
  return MXS_OK;
}

void mxsi_study_name_pass(const mxs_study *study, mxsi_pass *pass) {
  char names[MOST_IN_A_PASS * sizeof study->point->name];
  const mxsi_point *first = &study->point[pass->points[0]];
  size_t length = 0;
  memcpy(pass->problem, first->problem, sizeof pass->problem);
  memcpy(pass->run, first->name, sizeof pass->run);
  if (pass->count == 1)
    return;
  for (int64_t i = 0; i < pass->count; i++) {
    memcpy(names + length, study->point[pass->points[i]].name, sizeof study->point->name);
    length += sizeof study->point->name;
  }
  write_name(mxs_hash64(names, length, 0), pass->run);
}

/* ---- passes --------------------------------------------------------------------------------- */

/* The slot of a digest, taken for it where it has none. */
static slot *find_slot(slot *slots, int64_t count, uint64_t digest) {
  int64_t at = (int64_t)(digest & (uint64_t)(count - 1));
  while (slots[at].pass != UNUSED && slots[at].digest != digest)
    at = (at + 1) & (count - 1);
  slots[at].digest = digest;
  return &slots[at];
}

static mxs_status begin_pass(packing *p, mxsi_point *point) {
  mxs_study *study = p->study;
  mxsi_pass *pass = &study->pass[study->passes];
  *pass = (mxsi_pass){.count = 1, .ranks = point->ranks};
  MXS_TRY(mxs_alloc(1, sizeof *pass->points, &pass->points));
  pass->points[0] = point->index;
  point->pass = study->passes++;
  return MXS_OK;
}

/* Whether the solver takes these two, and so more like them, in one pass. */
static mxs_status try_pair(const mxs_study *study, int64_t first, int64_t second, int *packs) {
  mxs_settings *settings = NULL;
  int64_t points[] = {first, second};
  const mxsi_pass pair = {.count = 2, .points = points};
  MXS_TRY(mxs_alloc(1, sizeof *settings, &settings));
  mxs_status status = mxsi_study_settings(study, &pair, "/problem.h5", settings);
  if (status == MXS_OK) {
    status = mxs_settings_check(settings);
    mxs_settings_clear(settings);
  }
  mxs_release(&settings);
  *packs = status == MXS_OK;
  return status == MXS_ERR_SETTINGS ? MXS_OK : status;
}

static mxs_status join_pass(mxs_study *study, mxsi_pass *pass, mxsi_point *point) {
  int64_t *points = NULL;
  if (pass->count == 1) {
    MXS_TRY(mxs_alloc(MOST_IN_A_PASS, sizeof *points, &points));
    points[0] = pass->points[0];
    mxs_release(&pass->points);
    pass->points = points;
    study->point[points[0]].replica = 0;
  }
  point->pass = pass - study->pass;
  point->replica = pass->count;
  pass->points[pass->count++] = point->index;
  return MXS_OK;
}

/* With others like it where that can be, else on its own. */
static mxs_status place(packing *p, mxsi_point *point) {
  mxs_study *study = p->study;
  if (!study->pack)
    return begin_pass(p, point);
  MXS_TRY(describe_solve(p, point, 1));
  slot *group = find_slot(p->groups, p->slots, digest_of(&p->text));
  if (group->pass == ALONE)
    return begin_pass(p, point);
  if (group->pass == UNUSED || study->pass[group->pass].count == MOST_IN_A_PASS) {
    group->pass = study->passes;
    return begin_pass(p, point);
  }
  mxsi_pass *open = &study->pass[group->pass];
  int packs = 1;
  if (open->count == 1)
    MXS_TRY(try_pair(study, open->points[0], point->index, &packs));
  if (packs)
    return join_pass(study, open, point);
  group->pass = ALONE;
  return begin_pass(p, point);
}

static mxs_status pack_points(packing *p) {
  mxs_study *study = p->study;
  for (int64_t i = 0; i < study->count; i++) {
    mxsi_point *point = &study->point[i];
    if (study->problem_file == NULL)
      MXS_TRY(name_problem(p, point));
    MXS_TRY(describe_solve(p, point, 0));
    const uint64_t digest = digest_of(&p->text);
    write_name(digest, point->name);
    slot *known = find_slot(p->points, p->slots, digest);
    if (known->pass == UNUSED) {
      known->pass = i;
      MXS_TRY(place(p, point));
    } else {
      point->pass = study->point[known->pass].pass;
    }
  }
  /* Those that are the same as one before them; its place may have changed since. */
  for (int64_t i = 0; i < study->count; i++) {
    mxsi_point *point = &study->point[i];
    const mxsi_pass *pass = &study->pass[point->pass];
    for (int64_t j = 0; j < pass->count && point->replica < 0 && pass->count > 1; j++)
      if (strcmp(study->point[pass->points[j]].name, point->name) == 0)
        point->replica = j;
  }
  for (int64_t i = 0; i < study->passes; i++)
    mxsi_study_name_pass(study, &study->pass[i]);
  return MXS_OK;
}

static void order_columns(packing *p) {
  const mxs_study *study = p->study;
  for (int option = 0; option < mxs_settings_table.count; option++)
    for (int64_t c = 0; c < study->columns; c++)
      if (study->column[c].scope == MXSI_OF_SOLVE && study->column[c].option == option)
        p->order[p->solve_columns++] = c;
}

mxs_status mxsi_study_pack(mxs_study *study) {
  packing p = {.study = study, .slots = 2};
  while (p.slots < 2 * study->count)
    p.slots *= 2;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(study->count, sizeof *study->pass, &study->pass), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(study->columns, sizeof *p.order, &p.order), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p.slots, sizeof *p.points, &p.points), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p.slots, sizeof *p.groups, &p.groups), cleanup);
  for (int64_t i = 0; i < p.slots; i++)
    p.points[i].pass = p.groups[i].pass = UNUSED;
  order_columns(&p);
  status = pack_points(&p);
cleanup:
  mxs_release(&p.order);
  mxs_release(&p.points);
  mxs_release(&p.groups);
  mxs_release(&p.text.data);
  return status;
}
