#include "op/kernels_rows.h"

#include "op/op.h"

#include <stdio.h>

/* Bytes ahead in a row; rows and columns that share x and g in cache on the far path. */
enum { HINT_BYTES = 2048, FAR_GROUPS = 16, FAR_COLUMNS = 4096 };

enum { NEAR_BYTES = 1 << 20, FAR_BYTES = 1 << 24 };

/* Matrices for which visits one after another cost less than a visit for all. */
enum { FEW = 3 };

typedef enum rows_path { PATH_NEAR, PATH_BEHIND, PATH_FAR } rows_path;

void mxsi_rows_init(mxs_rows *rows, mxs_storage storage, int64_t entries) {
  const mxs_kernels *best = mxsi_kernels_avx512();
  if (best == NULL)
    best = mxsi_kernels_avx2();
  if (best == NULL)
    best = mxsi_kernels_portable();
  *rows = (mxs_rows){.storage = storage,
                     .entries = entries,
                     .kernels = best,
                     .near_bytes = NEAR_BYTES,
                     .far_bytes = FAR_BYTES,
                     .replicas = 1,
                     .threads = 1};
}

/* Doubles leave the loop that reads ahead no time to fill: memory is the limit as it is, and hints
 * serve them better. */
static rows_path path_of(const mxs_rows *rows) {
  const int64_t bytes =
      2 * (int64_t)MXS_GROUP * mxsi_row_bytes(rows) + 2 * rows->entries * (int64_t)sizeof(double);
  if (bytes > rows->far_bytes)
    return PATH_FAR;
  return bytes <= rows->near_bytes || rows->storage == MXS_STORAGE_F64 ? PATH_NEAR : PATH_BEHIND;
}

/* One matrix, and a group of its rows. */
typedef struct visit {
  const mxs_rows *rows;
  const mxs_single *single;
  const char *a;
  int64_t following;
  int64_t whole; /* columns in whole steps */
} visit;

typedef struct row_group {
  mxs_strip strip;
  int64_t first;
  double lanes[MXS_GROUP * MXS_STEP];
  double c[MXS_GROUP];
} row_group;

static row_group group_at(const visit *v, int64_t first) {
  const int64_t left = v->single->count - first;
  const int64_t row_bytes = mxsi_row_bytes(v->rows);
  return (row_group){.first = first,
                     .strip = {.storage = v->rows->storage,
                               .a = v->a + first * row_bytes,
                               .row_bytes = row_bytes,
                               .rows = left < MXS_GROUP ? left : MXS_GROUP,
                               .to = v->whole}};
}

/* What is left of the residual once the lanes are summed, and its weights. */
static void finish_forward(const visit *v, row_group *group) {
  const mxs_single *single = v->single;
  const mxs_strip *s = &group->strip;
  for (int64_t i = 0; i < s->rows; i++) {
    const int64_t at = group->first + i;
    if (single->x != NULL) {
      double z = mxsi_sum_lanes(group->lanes + MXS_STEP * i);
      for (int64_t j = v->whole; j < v->rows->entries; j++)
        z = __builtin_fma(mxsi_entry(s->storage, s->a + i * s->row_bytes, j), single->x[j], z);
      single->w[at] = single->y != NULL ? z - single->y[at] : z;
    }
    group->c[i] = single->weight != NULL ? single->weight[at] * single->w[at] : single->w[at];
  }
}

static void finish_adjoint(const visit *v, const row_group *group) {
  const mxs_strip *s = &group->strip;
  double *g = v->single->g;
  for (int64_t i = 0; i < s->rows; i++)
    for (int64_t j = v->whole; j < v->rows->entries; j++)
      g[j] = __builtin_fma(mxsi_entry(s->storage, s->a + i * s->row_bytes, j), group->c[i], g[j]);
}

/* How many rows of the next group the adjoint direction brings into cache: as many as come in
 * while it runs. Floats take less time from memory to convert than they take to come. */
static int64_t rows_ahead(mxs_storage storage) {
  return storage == MXS_STORAGE_F32 ? 1 : 2;
}

/* Doubles are read as they are, which the processor's own prefetching keeps up with. */
static void hint_same_rows(mxs_strip *s, int64_t first) {
  for (int64_t i = 0; i < MXS_GROUP; i++)
    s->hint[i] = i < first || s->storage == MXS_STORAGE_F64 ? 0 : HINT_BYTES;
}

static void hint_next_rows(const visit *v, row_group *group) {
  const int64_t behind = v->single->count + v->following - group->first - MXS_GROUP;
  for (int64_t i = 0; i < MXS_GROUP; i++)
    group->strip.hint[i] =
        i < rows_ahead(v->rows->storage) && i < behind ? MXS_GROUP * group->strip.row_bytes : 0;
}

static void visit_near(const visit *v) {
  const mxs_kernels *kernels = v->rows->kernels;
  for (int64_t first = 0; first < v->single->count; first += MXS_GROUP) {
    row_group group = group_at(v, first);
    hint_same_rows(&group.strip, rows_ahead(v->rows->storage));
    if (v->single->x != NULL)
      kernels->forward(&group.strip, v->single->x, group.lanes);
    finish_forward(v, &group);
    if (v->single->g == NULL)
      continue;
    hint_next_rows(v, &group);
    kernels->adjoint(&group.strip, group.c, v->single->g);
    finish_adjoint(v, &group);
  }
}

static void visit_behind(const visit *v) {
  const mxs_kernels *kernels = v->rows->kernels;
  const mxs_single *single = v->single;
  row_group last = {.first = -1};
  for (int64_t first = 0; first < single->count; first += MXS_GROUP) {
    row_group next = group_at(v, first);
    hint_same_rows(&next.strip, 0);
    if (last.strip.rows == MXS_GROUP && next.strip.rows == MXS_GROUP) {
      kernels->both(&next.strip, single->x, next.lanes, &last.strip, last.c, single->g);
    } else {
      kernels->forward(&next.strip, single->x, next.lanes);
      if (last.strip.rows > 0)
        kernels->adjoint(&last.strip, last.c, single->g);
    }
    finish_adjoint(v, &last);
    finish_forward(v, &next);
    last = next;
  }
  kernels->adjoint(&last.strip, last.c, single->g);
  finish_adjoint(v, &last);
}

static void far_forward(const visit *v, row_group *groups, int count) {
  for (int64_t from = 0; from < v->whole; from += FAR_COLUMNS) {
    for (int k = 0; k < count; k++) {
      mxs_strip strip = groups[k].strip;
      strip.from = from;
      strip.to = from + FAR_COLUMNS < v->whole ? from + FAR_COLUMNS : v->whole;
      v->rows->kernels->forward(&strip, v->single->x, groups[k].lanes);
    }
  }
}

static void far_adjoint(const visit *v, const row_group *groups, int count) {
  int64_t from = 0;
  for (int64_t to = v->whole; to > 0; to = from) {
    from = (to - 1) / FAR_COLUMNS * FAR_COLUMNS;
    for (int k = 0; k < count; k++) {
      mxs_strip strip = groups[k].strip;
      strip.from = from;
      strip.to = to;
      v->rows->kernels->adjoint(&strip, groups[k].c, v->single->g);
    }
  }
  for (int k = 0; k < count; k++)
    finish_adjoint(v, &groups[k]);
}

static void visit_far(const visit *v) {
  row_group groups[FAR_GROUPS];
  int64_t first = 0;
  while (first < v->single->count) {
    int count = 0;
    for (; count < FAR_GROUPS && first < v->single->count; count++, first += MXS_GROUP) {
      groups[count] = group_at(v, first);
      hint_same_rows(&groups[count].strip, 0);
    }
    if (v->single->x != NULL)
      far_forward(v, groups, count);
    for (int k = 0; k < count; k++)
      finish_forward(v, &groups[k]);
    if (v->single->g != NULL)
      far_adjoint(v, groups, count);
  }
}

static void visit_one(
    const mxs_rows *rows, const mxs_pass *pass, int64_t r, const char *a, int64_t following) {
  const mxs_single single = mxsi_pass_single(pass, r);
  const visit v = {.rows = rows,
                   .single = &single,
                   .a = a,
                   .following = following,
                   .whole = rows->entries - rows->entries % MXS_STEP};
  const rows_path path = path_of(rows);
  const int pipelined =
      path == PATH_BEHIND && rows->kernels->both != NULL && single.x != NULL && single.g != NULL;
  if (path == PATH_FAR)
    visit_far(&v);
  else if (pipelined)
    visit_behind(&v);
  else
    visit_near(&v);
}

/* A group stays in cache from one matrix to the next. */
static void visit_few(const mxs_rows *rows,
                      const mxs_pass *pass,
                      const char *a,
                      int64_t following) {
  for (int64_t done = 0; done < pass->count; done += MXS_GROUP) {
    const mxs_pass group = mxsi_pass_part(pass, done, MXS_GROUP);
    const int64_t behind = following + pass->count - done - group.count;
    for (int64_t r = 0; r < pass->replicas; r++)
      visit_one(rows, &group, r, a + done * mxsi_row_bytes(rows), r == 0 ? behind : 0);
  }
}

void mxsi_rows_visit(const mxs_rows *rows, const mxs_pass *pass, const void *a, int64_t following) {
  if (pass->replicas == 1)
    visit_one(rows, pass, 0, a, following);
  else if (pass->replicas <= FEW && path_of(rows) != PATH_FAR)
    visit_few(rows, pass, a, following);
  else
    mxsi_rows_visit_many(rows, pass, a);
}

double mxsi_rows_squares(const mxs_rows *rows, int64_t count, const void *a) {
  double total = 0.0;
  mxs_strip row = {.storage = rows->storage,
                   .a = a,
                   .row_bytes = mxsi_row_bytes(rows),
                   .rows = 1,
                   .to = rows->entries - rows->entries % MXS_STEP};
  for (int64_t i = 0; i < count; i++, row.a += row.row_bytes) {
    double lanes[MXS_STEP] = {0};
    rows->kernels->square(&row, lanes);
    double sum = mxsi_sum_lanes(lanes);
    for (int64_t j = row.to; j < rows->entries; j++) {
      const double entry = mxsi_entry(rows->storage, row.a, j);
      sum = __builtin_fma(entry, entry, sum);
    }
    total += sum;
  }
  return total;
}

/* A tile of one row may be as long as the row. */
const double *mxsi_rows_doubles(const mxs_rows *rows, int64_t count, const void *a, double *room) {
  if (rows->storage == MXS_STORAGE_F64)
    return a;
  mxs_strip row = {.storage = rows->storage,
                   .a = a,
                   .row_bytes = mxsi_row_bytes(rows),
                   .rows = 1,
                   .to = rows->entries - rows->entries % MXS_STEP};
  for (int64_t i = 0; i < count; i++, row.a += row.row_bytes) {
    double *out = room + i * rows->entries;
    rows->kernels->widen(&row, out);
    for (int64_t j = row.to; j < rows->entries; j++)
      out[j] = mxsi_entry(rows->storage, row.a, j);
  }
  return room;
}

void mxsi_rows_info(const mxs_rows *rows, mxs_op_info *info) {
  static const char *const paths[] = {[PATH_NEAR] = "fused, groups of 4 rows",
                                      [PATH_BEHIND] = "fused one group behind, groups of 4 rows",
                                      [PATH_FAR] = "two directions from memory, groups of 64 rows"};
  char many[64] = "";
  if (rows->replicas > 1)
    (void)snprintf(many, sizeof many, "fused, %lld matrices", (long long)rows->replicas);
  (void)snprintf(info->path, sizeof info->path, "%s, %s, %s",
                 rows->replicas > 1 ? many : paths[path_of(rows)], mxs_storage_name(rows->storage),
                 rows->kernels->name);
  if (rows->replicas > 1)
    info->bytes += rows->threads * (int64_t)sizeof(double) *
                   (rows->replicas * (MXS_MANY_ROWS * (MXS_STEP + 1) + MXS_GATHERED + 1) +
                    (int64_t)MXS_GROUP * MXS_TILE_COLUMNS);
}
