#include "op/streamed.h"

#include "base/hash.h"
#include "op/pieces.h"

#include <stdio.h>
#include <string.h>

enum {
  PIECE_BYTES = 1 << 22,
  READ_BYTES = 1 << 20 /* at a time: digested while they are in cache */
};

struct mxs_streamed {
  const mxs_blocks *blocks;
  mxs_row_source source;
  mxs_rows visits;
  mxs_pieces *pieces;
  int64_t piece_rows;
  int64_t pieces_of_block; /* of a whole one */
  int64_t *position;       /* in blocks->own of a block; -1: not ours */
  uint64_t *digest;        /* of each piece; 0: not read yet */
  double *squares;         /* sum of squares of each own block */
  int64_t front;           /* own block that was begun last; several threads write it */
};

/* Whole bands of the kernels, where a piece has as many rows. */
static int64_t rows_of_piece(int64_t row_bytes, int64_t block_rows) {
  const int64_t fit = PIECE_BYTES / row_bytes;
  const int64_t step = fit >= MXS_MANY_ROWS ? MXS_MANY_ROWS : MXS_GROUP;
  const int64_t rows = fit < MXS_GROUP ? MXS_GROUP : fit / step * step;
  return rows < block_rows ? rows : block_rows;
}

int64_t mxsi_streamed_bytes(int64_t entries, mxs_storage storage, int64_t block_rows, int threads) {
  const int64_t row_bytes = entries * mxsi_entry_bytes(storage);
  return mxsi_pieces_memory(rows_of_piece(row_bytes, block_rows) * row_bytes, threads);
}

/* ---------------------------------------------------------------- pieces */

/* Some rows of one piece. */
typedef struct part {
  int64_t block, first, count;
  int64_t piece; /* pieces of own block j: j pieces_of_block, ... */
  int64_t row;   /* of the piece, where the part begins */
  int64_t rows;  /* of the piece */
} part;

static part whole_piece(const mxs_streamed *s, int64_t piece) {
  const int64_t block = s->blocks->own[piece / s->pieces_of_block];
  const int64_t row = piece % s->pieces_of_block * s->piece_rows;
  const int64_t left = mxs_blocks_size(s->blocks, block) - row;
  const int64_t rows = left < s->piece_rows ? left : s->piece_rows;
  return (part){.block = block,
                .first = mxs_blocks_first(s->blocks, block) + row,
                .count = rows,
                .piece = piece,
                .rows = rows};
}

/* The part of a range inside an own block that lies in the piece of its first measurement. */
static part first_part(const mxs_streamed *s, int64_t first, int64_t count) {
  const int64_t row = first % s->blocks->rows;
  const int64_t j = s->position[first / s->blocks->rows];
  part p = whole_piece(s, j * s->pieces_of_block + row / s->piece_rows);
  p.row = row % s->piece_rows;
  p.first = first;
  p.count = count < p.rows - p.row ? count : p.rows - p.row;
  return p;
}

static int64_t piece_count(const mxs_streamed *s, int64_t j) {
  return (mxs_blocks_size(s->blocks, s->blocks->own[j]) - 1) / s->piece_rows + 1;
}

static mxs_status read_piece(void *ctx, int64_t piece, void *to) {
  const mxs_streamed *s = ctx;
  const part whole = whole_piece(s, piece);
  const int64_t row_bytes = mxsi_row_bytes(&s->visits);
  const int64_t most = row_bytes < READ_BYTES ? READ_BYTES / row_bytes : 1;
  uint64_t digest = 0;
  for (int64_t done = 0; done < whole.count; done += most) {
    const int64_t n = whole.count - done < most ? whole.count - done : most;
    char *rows = (char *)to + done * row_bytes;
    MXS_TRY(s->source.read(s->source.self, whole.first + done, n, rows));
    digest = mxs_hash64(rows, (size_t)(n * row_bytes), digest);
  }
  digest |= 1;
  if (s->digest[piece] == 0)
    s->digest[piece] = digest;
  return s->digest[piece] == digest
             ? MXS_OK
             : mxs_fail(MXS_ERR_IO,
                        "%s: rows %lld .. %lld are not what was read first: the file was changed, "
                        "or is damaged",
                        s->source.name, (long long)whole.first,
                        (long long)(whole.first + whole.count - 1));
}

/* What will be wanted after a piece: the rest of its block, then the blocks that nobody began. */
static void foresee(mxs_streamed *s, int64_t piece, int64_t next[MXS_PIECES_AHEAD]) {
  int64_t j = piece / s->pieces_of_block;
  int64_t at = piece % s->pieces_of_block;
  if (at == 0)
    __atomic_store_n(&s->front, j, __ATOMIC_RELAXED);
  int64_t front = __atomic_load_n(&s->front, __ATOMIC_RELAXED);
  for (int i = 0; i < MXS_PIECES_AHEAD; i++) {
    at++;
    if (at == piece_count(s, j)) {
      j = front = (front + 1) % s->blocks->own_count;
      at = 0;
    }
    next[i] = j * s->pieces_of_block + at;
  }
}

/* Hold the rows of a part; mxsi_pieces_give() lets go. */
static mxs_status take(mxs_streamed *s, const part *p, const char **rows) {
  int64_t next[MXS_PIECES_AHEAD];
  const void *data = NULL;
  foresee(s, p->piece, next);
  if (mxsi_pieces_take(s->pieces, p->piece, next, &data) != MXS_OK) {
    char text[512];
    (void)snprintf(text, sizeof text, "%s", mxs_last_error());
    return mxs_fail(MXS_ERR_IO,
                    "%s (block %lld, read again at every pass: storage stream); run the same line "
                    "again to go on from the last checkpoint",
                    text, (long long)p->block);
  }
  *rows = (const char *)data + p->row * mxsi_row_bytes(&s->visits);
  return MXS_OK;
}

mxs_status mxsi_streamed_look(
    mxs_streamed *s,
    int64_t j,
    mxs_status (*look)(void *ctx, int64_t first, int64_t count, const void *rows),
    void *ctx) {
  const int64_t none[MXS_PIECES_AHEAD] = {-1, -1};
  s->squares[j] = 0.0;
  for (int64_t at = 0; at < piece_count(s, j); at++) {
    const part p = whole_piece(s, j * s->pieces_of_block + at);
    const void *rows = NULL;
    MXS_TRY(mxsi_pieces_take(s->pieces, p.piece, none, &rows));
    const mxs_status status = look(ctx, p.first, p.count, rows);
    for (int64_t i = 0; i < p.count && status == MXS_OK; i++)
      s->squares[j] +=
          mxsi_rows_squares(&s->visits, 1, (const char *)rows + i * mxsi_row_bytes(&s->visits));
    mxsi_pieces_give(s->pieces, p.piece);
    if (status != MXS_OK)
      return status;
  }
  return MXS_OK;
}

/* ---------------------------------------------------------------- the operator */

static mxs_status check_ours(const mxs_streamed *s, int64_t first) {
  return s->position[first / s->blocks->rows] >= 0
             ? MXS_OK
             : mxs_fail(MXS_ERR_INTERNAL, "measurement %lld is not on this rank", (long long)first);
}

static mxs_status streamed_pass(void *self, const mxs_pass *pass) {
  mxs_streamed *s = self;
  MXS_TRY(check_ours(s, pass->first));
  MXS_TRY(mxsi_rows_begin(&s->visits, pass));
  for (int64_t done = 0; done < pass->count;) {
    const part p = first_part(s, pass->first + done, pass->count - done);
    const mxs_pass some = mxsi_pass_part(pass, done, p.count);
    const char *rows = NULL;
    MXS_TRY(take(s, &p, &rows));
    mxsi_rows_visit(&s->visits, &some, rows, p.rows - p.row - p.count);
    mxsi_pieces_give(s->pieces, p.piece);
    done += p.count;
  }
  return MXS_OK;
}

static mxs_status streamed_plan(void *self, int64_t replicas, int threads) {
  mxs_streamed *s = self;
  MXS_TRY(mxsi_rows_plan(&s->visits, replicas, threads));
  return mxsi_pieces_plan(s->pieces, threads);
}

/* Rows stay only as long as their piece is held: they are copied. */
static mxs_status streamed_rows(
    void *self, int64_t first, int64_t count, double *room, const double **out) {
  mxs_streamed *s = self;
  const int64_t n = s->visits.entries;
  MXS_TRY(check_ours(s, first));
  for (int64_t done = 0; done < count;) {
    const part p = first_part(s, first + done, count - done);
    double *to = room + done * n;
    const char *rows = NULL;
    MXS_TRY(take(s, &p, &rows));
    const double *from = mxsi_rows_doubles(&s->visits, p.count, rows, to);
    if (from != to)
      memcpy(to, from, (size_t)(p.count * n) * sizeof *to);
    mxsi_pieces_give(s->pieces, p.piece);
    done += p.count;
  }
  *out = room;
  return MXS_OK;
}

/* Row by row, as rows in memory are summed. */
static mxs_status streamed_frobenius2(void *self, int64_t first, int64_t count, double *sum) {
  mxs_streamed *s = self;
  MXS_TRY(check_ours(s, first));
  const int64_t block = first / s->blocks->rows;
  *sum = s->squares[s->position[block]];
  if (count == mxs_blocks_size(s->blocks, block))
    return MXS_OK;
  *sum = 0.0;
  for (int64_t done = 0; done < count;) {
    const part p = first_part(s, first + done, count - done);
    const char *rows = NULL;
    MXS_TRY(take(s, &p, &rows));
    for (int64_t i = 0; i < p.count; i++)
      *sum += mxsi_rows_squares(&s->visits, 1, rows + i * mxsi_row_bytes(&s->visits));
    mxsi_pieces_give(s->pieces, p.piece);
    done += p.count;
  }
  return MXS_OK;
}

/* Of what was read first: every piece that is read later is compared with it. */
static uint64_t streamed_digest(const void *self, int64_t first, int64_t count) {
  const mxs_streamed *s = self;
  uint64_t digest = 0;
  if (s->position[first / s->blocks->rows] < 0)
    return 0;
  for (int64_t done = 0; done < count;) {
    const part p = first_part(s, first + done, count - done);
    digest = mxs_hash64(&s->digest[p.piece], sizeof *s->digest, digest);
    done += p.count;
  }
  return digest;
}

static void streamed_info(const void *self, mxs_op_info *info) {
  const mxs_streamed *s = self;
  const mxs_pieces_info pieces = mxsi_pieces_get_info(s->pieces);
  mxs_op_info visits = {.bytes = 0};
  mxsi_rows_info(&s->visits, &visits);
  (void)snprintf(info->path, sizeof info->path, "%.80s, %.40s", visits.path, s->source.how);
  info->bytes = visits.bytes + pieces.bytes +
                8 * (s->blocks->count + s->blocks->own_count * (1 + s->pieces_of_block));
  info->generate_s = pieces.wait_s;
}

static void streamed_destroy(void *self) {
  mxs_streamed *s = self;
  mxsi_pieces_destroy(&s->pieces); /* ends the thread that reads */
  s->source.destroy(s->source.self);
  mxsi_rows_clear(&s->visits);
  mxs_release(&s->position);
  mxs_release(&s->digest);
  mxs_release(&s->squares);
  mxs_release(&s);
}

const mxs_op_table mxsi_op_streamed = {.name = "streamed",
                                       .pass = streamed_pass,
                                       .plan = streamed_plan,
                                       .frobenius2 = streamed_frobenius2,
                                       .rows = streamed_rows,
                                       .digest = streamed_digest,
                                       .info = streamed_info,
                                       .destroy = streamed_destroy};

static mxs_status allocate(mxs_streamed *s) {
  const mxs_blocks *blocks = s->blocks;
  MXS_TRY(mxs_alloc(blocks->count, sizeof *s->position, &s->position));
  MXS_TRY(mxs_alloc(blocks->own_count * s->pieces_of_block, sizeof *s->digest, &s->digest));
  MXS_TRY(mxs_alloc(blocks->own_count, sizeof *s->squares, &s->squares));
  for (int64_t block = 0; block < blocks->count; block++)
    s->position[block] = -1;
  for (int64_t j = 0; j < blocks->own_count; j++)
    s->position[blocks->own[j]] = j;
  const mxs_pieces_source pieces = {.bytes = s->piece_rows * mxsi_row_bytes(&s->visits),
                                    .read = read_piece,
                                    .ctx = s,
                                    .ahead = s->source.ahead};
  return mxsi_pieces_create(&pieces, &s->pieces);
}

mxs_status mxsi_streamed_create(int64_t entries,
                                mxs_storage storage,
                                const mxs_blocks *blocks,
                                const mxs_row_source *source,
                                mxs_streamed **out) {
  mxs_streamed *s = NULL;
  *out = NULL;
  mxs_status status = mxs_alloc(1, sizeof *s, &s);
  if (status != MXS_OK) {
    source->destroy(source->self);
    return status;
  }
  s->blocks = blocks;
  s->source = *source;
  mxsi_rows_init(&s->visits, storage, entries);
  s->piece_rows = rows_of_piece(mxsi_row_bytes(&s->visits), blocks->rows);
  s->pieces_of_block = (blocks->rows - 1) / s->piece_rows + 1;
  status = allocate(s);
  if (status != MXS_OK)
    streamed_destroy(s);
  else
    *out = s;
  return status;
}
