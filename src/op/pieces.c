#include "op/pieces.h"

#include "base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { SLOTS_OF_THREAD = 1 + MXS_PIECES_AHEAD, PATIENCE = 4 };

typedef enum slot_state {
  SLOT_FREE,    /* no piece, or one that was taken and given back */
  SLOT_READING, /* a piece on its way */
  SLOT_WAITING  /* a piece that was read ahead, and not taken yet */
} slot_state;

typedef struct slot {
  void *data;
  int64_t piece; /* -1: none */
  slot_state state;
  int64_t holders;
  int64_t used_at; /* on a clock of takes and reads */
} slot;

struct mxs_pieces {
  mxs_pieces_source source;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_t reader;
  int has_reader, ends;
  int slot_count;
  slot *slots;
  int64_t *wanted; /* of slot_count, in the order of asking */
  int wanted_count;
  int64_t clock;
  mxs_pieces_info info;
};

/* What follows, but for functions that say so, is called with the mutex locked. */

static slot *slot_of(const mxs_pieces *p, int64_t piece) {
  for (int i = 0; i < p->slot_count; i++)
    if (p->slots[i].piece == piece)
      return &p->slots[i];
  return NULL;
}

/* A piece that so many takes and reads have passed by was a wrong guess. */
static int is_idle(const mxs_pieces *p, const slot *s) {
  if (s->state == SLOT_WAITING)
    return p->clock - s->used_at > (int64_t)PATIENCE * p->slot_count;
  return s->state == SLOT_FREE && s->holders == 0;
}

/* The slot that can be done without longest; NULL: none can. */
static slot *idle_slot(const mxs_pieces *p) {
  slot *oldest = NULL;
  for (int i = 0; i < p->slot_count; i++) {
    slot *s = &p->slots[i];
    if (is_idle(p, s) && (oldest == NULL || s->used_at < oldest->used_at))
      oldest = s;
  }
  return oldest;
}

/* Read a piece into a slot, the mutex unlocked meanwhile. Slots may not move then: plans are made
 * while nobody takes, and wait for the reader. */
static mxs_status read_into(mxs_pieces *p, slot *s, int64_t piece, slot_state then) {
  s->piece = piece;
  s->state = SLOT_READING;
  (void)pthread_mutex_unlock(&p->mutex);
  const mxs_status status = p->source.read(p->source.ctx, piece, s->data);
  (void)pthread_mutex_lock(&p->mutex);
  s->state = status == MXS_OK ? then : SLOT_FREE;
  s->piece = status == MXS_OK ? piece : -1;
  s->used_at = ++p->clock;
  p->info.reads++;
  (void)pthread_cond_broadcast(&p->changed);
  return status;
}

static int is_wanted(const mxs_pieces *p, int64_t piece) {
  for (int i = 0; i < p->wanted_count; i++)
    if (p->wanted[i] == piece)
      return 1;
  return 0;
}

static void want(mxs_pieces *p, int64_t piece) {
  if (piece < 0 || !p->has_reader || slot_of(p, piece) != NULL || is_wanted(p, piece) ||
      p->wanted_count == p->slot_count)
    return;
  p->wanted[p->wanted_count++] = piece;
  (void)pthread_cond_broadcast(&p->changed);
}

/* The next piece to be read ahead; -1: none. */
static int64_t first_wanted(mxs_pieces *p) {
  while (p->wanted_count > 0) {
    const int64_t piece = p->wanted[0];
    if (slot_of(p, piece) == NULL)
      return piece;
    p->wanted_count--;
    memmove(p->wanted, p->wanted + 1, (size_t)p->wanted_count * sizeof *p->wanted);
  }
  return -1;
}

/* What was read ahead may be wrong, and goes when room is needed. */
static void forget_guesses(mxs_pieces *p) {
  p->wanted_count = 0;
  for (int i = 0; i < p->slot_count; i++)
    if (p->slots[i].state == SLOT_WAITING)
      p->slots[i].state = SLOT_FREE;
}

/* Read what is wanted first, if there is room. */
static int read_wanted(mxs_pieces *p) {
  const int64_t piece = first_wanted(p);
  slot *s = piece < 0 ? NULL : idle_slot(p);
  if (s == NULL)
    return 0;
  if (read_into(p, s, piece, SLOT_WAITING) == MXS_OK)
    p->info.reads_ahead++;
  else
    p->wanted_count = 0; /* it fails again when it is taken */
  return 1;
}

/* A slot for a piece that is wanted now; NULL: all are held, or being read into. */
static slot *make_room(mxs_pieces *p, int64_t piece) {
  slot *s = is_wanted(p, piece) ? idle_slot(p) : NULL;
  if (s != NULL)
    return s;
  forget_guesses(p);
  return idle_slot(p);
}

/* The slot that has a piece, read by whoever comes first. While another thread reads it this one
 * reads what comes next. */
static mxs_status find_or_read(mxs_pieces *p, int64_t piece, slot **out) {
  for (;;) {
    slot *s = slot_of(p, piece);
    if (s != NULL && s->state != SLOT_READING) {
      *out = s;
      return MXS_OK;
    }
    if (s == NULL && (s = make_room(p, piece)) != NULL) {
      *out = s;
      return read_into(p, s, piece, SLOT_FREE);
    }
    if (!read_wanted(p))
      (void)pthread_cond_wait(&p->changed, &p->mutex);
  }
}

/* The rest locks the mutex itself. */

static void *read_ahead(void *ctx) {
  mxs_pieces *p = ctx;
  (void)pthread_mutex_lock(&p->mutex);
  while (!p->ends)
    if (!read_wanted(p))
      (void)pthread_cond_wait(&p->changed, &p->mutex);
  (void)pthread_mutex_unlock(&p->mutex);
  return NULL;
}

mxs_status mxsi_pieces_take(mxs_pieces *p,
                            int64_t piece,
                            const int64_t next[MXS_PIECES_AHEAD],
                            const void **data) {
  const double start = mxs_clock();
  slot *s = NULL;
  *data = NULL;
  (void)pthread_mutex_lock(&p->mutex);
  const mxs_status status = find_or_read(p, piece, &s);
  if (status == MXS_OK) {
    s->state = SLOT_FREE;
    s->holders++;
    s->used_at = ++p->clock;
    *data = s->data;
    for (int i = 0; i < MXS_PIECES_AHEAD; i++)
      want(p, next[i]);
  }
  p->info.wait_s += mxs_clock() - start;
  (void)pthread_mutex_unlock(&p->mutex);
  return status;
}

void mxsi_pieces_give(mxs_pieces *p, int64_t piece) {
  (void)pthread_mutex_lock(&p->mutex);
  slot_of(p, piece)->holders--;
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->mutex);
}

mxs_pieces_info mxsi_pieces_get_info(mxs_pieces *p) {
  (void)pthread_mutex_lock(&p->mutex);
  mxs_pieces_info info = p->info;
  info.bytes = p->slot_count * p->source.bytes;
  (void)pthread_mutex_unlock(&p->mutex);
  return info;
}

int64_t mxsi_pieces_memory(int64_t bytes, int threads) {
  return (int64_t)threads * SLOTS_OF_THREAD * bytes;
}

/* ---------------------------------------------------------------- beginning and end */

static void end_reader(mxs_pieces *p) {
  if (!p->has_reader)
    return;
  (void)pthread_mutex_lock(&p->mutex);
  p->ends = 1;
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->mutex);
  (void)pthread_join(p->reader, NULL);
  p->has_reader = p->ends = 0;
}

/* Signals are for the main thread. */
static mxs_status start_reader(mxs_pieces *p) {
  sigset_t all, before;
  if (!p->source.ahead || p->has_reader)
    return MXS_OK;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&p->reader, NULL, read_ahead, p);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  p->has_reader = failed == 0;
  return failed == 0 ? MXS_OK : mxs_fail(MXS_ERR_MEMORY, "cannot start a thread that reads ahead");
}

static void release_slots(slot **slots, int from, int to) {
  for (int i = from; *slots != NULL && i < to; i++)
    mxs_release(&(*slots)[i].data);
  mxs_release(slots);
}

/* No reader runs. */
static mxs_status more_slots(mxs_pieces *p, int count) {
  slot *slots = NULL;
  int64_t *wanted = NULL;
  mxs_status status = mxs_alloc(count, sizeof *slots, &slots);
  if (status == MXS_OK)
    status = mxs_alloc(count, sizeof *wanted, &wanted);
  for (int i = p->slot_count; i < count && status == MXS_OK; i++) {
    slots[i].piece = -1;
    status = mxs_alloc(p->source.bytes, 1, &slots[i].data);
  }
  if (status != MXS_OK) {
    release_slots(&slots, p->slot_count, count);
    mxs_release(&wanted);
    return status;
  }
  for (int i = 0; i < p->slot_count; i++)
    slots[i] = p->slots[i];
  mxs_release(&p->slots);
  mxs_release(&p->wanted);
  p->slots = slots;
  p->wanted = wanted;
  p->wanted_count = 0;
  p->slot_count = count;
  return MXS_OK;
}

mxs_status mxsi_pieces_plan(mxs_pieces *p, int threads) {
  const int count = threads * SLOTS_OF_THREAD;
  if (count > p->slot_count) {
    end_reader(p);
    MXS_TRY(more_slots(p, count));
  }
  return start_reader(p);
}

mxs_status mxsi_pieces_create(const mxs_pieces_source *source, mxs_pieces **out) {
  mxs_pieces *p = NULL;
  *out = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *p, &p));
  p->source = *source;
  (void)pthread_mutex_init(&p->mutex, NULL);
  (void)pthread_cond_init(&p->changed, NULL);
  const mxs_status status = more_slots(p, SLOTS_OF_THREAD);
  if (status != MXS_OK)
    mxsi_pieces_destroy(&p);
  *out = p;
  return status;
}

void mxsi_pieces_destroy(mxs_pieces **pieces) {
  mxs_pieces *p = *pieces;
  if (p == NULL)
    return;
  end_reader(p);
  release_slots(&p->slots, 0, p->slot_count);
  mxs_release(&p->wanted);
  (void)pthread_cond_destroy(&p->changed);
  (void)pthread_mutex_destroy(&p->mutex);
  mxs_release(pieces);
}
