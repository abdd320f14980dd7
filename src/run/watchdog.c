/* pthread_condattr_setclock(). */
#define _GNU_SOURCE
#include "run/watchdog.h"

#include "base/clock.h"
#include "base/place.h"
#include "base/text.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 64, SLOT_SIZE = 128, PLACE_SIZE = 64, EXIT_STALLED = 70, EXIT_CHECKPOINT = 74 };

static const double most_pause_s = 1; /* between two looks */
static const double most_grace_s = 5; /* for the others to write their lines */
static const double slow_factor = 10; /* over the longest pass */
static const double save_factor = 20; /* over the last checkpoint */
static const double save_limit_s = 300;

/* What a rank says of itself in its slot of the file. */
typedef struct slot {
  long long beat;
  char place[PLACE_SIZE];
} slot;

/* Who a rank is. */
typedef struct member {
  char host[HOST_SIZE];
  long long pid;
} member;

struct mxsi_watchdog {
  mxsi_watchdog_options options;
  int rank, size;
  char *file;
  member *members;
  slot *slots;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t ends;
  int ended, running;
  /* Written by the main thread: */
  atomic_llong beat, iteration;
  _Atomic double beat_at, longest, save_began, save_s;
};

/* ---- the file -------------------------------------------------------------------------------- */

static void write_slot(const mxsi_watchdog *w, long long beat) {
  char text[SLOT_SIZE];
  double since = 0.0;
  const char *place = mxs_place_get(&since);
  const int length = snprintf(text, sizeof text, "%lld %s", beat, place);
  memset(text + length, ' ', sizeof text - (size_t)length - 1);
  text[sizeof text - 1] = '\n';
  const int fd = open(w->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0)
    return;
  if (pwrite(fd, text, sizeof text, (off_t)w->rank * SLOT_SIZE) < 0 || fsync(fd) != 0) {
    /* Then this rank is one that does not answer: what else it could do needs the file too. */
  }
  (void)close(fd);
}

/* The line of a rank; an empty place where it has none of this beat. A rank may be one pass ahead
 * of one that stalls. */
static void parse_slot(const char *text, long long beat, slot *out) {
  char *end = NULL;
  out->place[0] = '\0';
  out->beat = strtoll(text, &end, 10);
  if (end == text || *end != ' ' || llabs(out->beat - beat) > 1)
    return;
  (void)snprintf(out->place, sizeof out->place, "%s", end + 1);
  for (size_t last = strlen(out->place); last > 0 && out->place[last - 1] == ' '; last--)
    out->place[last - 1] = '\0';
}

static void read_slots(const mxsi_watchdog *w, long long beat) {
  const int fd = open(w->file, O_RDONLY | O_CLOEXEC);
  for (int r = 0; r < w->size; r++) {
    char text[SLOT_SIZE] = "";
    if (fd < 0 || pread(fd, text, sizeof text - 1, (off_t)r * SLOT_SIZE) < 0)
      text[0] = '\0';
    parse_slot(text, beat, &w->slots[r]);
  }
  if (fd >= 0)
    (void)close(fd);
}

/* ---- what is told ------------------------------------------------------------------------------
 */

/* "rank 1 (host n2, process 55)" of up to three, else "ranks 1, 4-7 on 2 hosts". */
static mxs_status add_silent(const mxsi_watchdog *w, mxs_text *out) {
  int told = 0;
  int count = 0;
  for (int r = 0; r < w->size; r++)
    count += w->slots[r].place[0] == '\0';
  for (int r = 0; r < w->size && told < 3; r++)
    if (w->slots[r].place[0] == '\0')
      MXS_TRY(mxs_text_add(out, "%srank %d (host %s, process %lld)", told++ == 0 ? "" : ", ", r,
                           w->members[r].host, w->members[r].pid));
  if (count > told)
    MXS_TRY(mxs_text_add(out, " and %d more", count - told));
  return count == 0 ? MXS_OK : mxs_text_add(out, " %s not answer", count == 1 ? "does" : "do");
}

static int says(const mxsi_watchdog *w, int rank, const char *place) {
  return rank < w->size && strcmp(w->slots[rank].place, place) == 0;
}

/* "rank 0 waits for ..." or "each of the ranks 0, 2-3 waits for ...", of all that said the same as
 * rank `first`. */
static mxs_status add_group(const mxsi_watchdog *w, int first, mxs_text *out) {
  const char *place = w->slots[first].place;
  int begin = -1;
  int listed = 0;
  int count = 0;
  for (int r = first; r < w->size; r++)
    count += says(w, r, place);
  MXS_TRY(mxs_text_add(out, "%s%s", out->length > 0 ? "; " : "",
                       count > 1 ? "each of the ranks" : "rank"));
  for (int r = first; r <= w->size; r++) {
    const int same = says(w, r, place);
    if (same && begin < 0)
      begin = r;
    if (same || begin < 0)
      continue;
    MXS_TRY(mxs_text_add(out, "%s%d", listed++ == 0 ? " " : ", ", begin));
    if (r - 1 > begin)
      MXS_TRY(mxs_text_add(out, "-%d", r - 1));
    begin = -1;
  }
  return mxs_text_add(out, " %s", place);
}

static int is_first_of_group(const mxsi_watchdog *w, int rank) {
  for (int r = 0; r < rank; r++)
    if (says(w, r, w->slots[rank].place))
      return 0;
  return w->slots[rank].place[0] != '\0';
}

static mxs_status describe(const mxsi_watchdog *w, mxs_text *out) {
  MXS_TRY(add_silent(w, out));
  for (int r = 0; r < w->size; r++)
    if (is_first_of_group(w, r))
      MXS_TRY(add_group(w, r, out));
  return MXS_OK;
}

/* Whether it is for this rank to tell: the first one that answered. */
static int is_teller(const mxsi_watchdog *w) {
  for (int r = 0; r < w->rank; r++)
    if (w->slots[r].place[0] != '\0')
      return 0;
  return 1;
}

static int someone_is_silent(const mxsi_watchdog *w) {
  for (int r = 0; r < w->size; r++)
    if (w->slots[r].place[0] == '\0')
      return 1;
  return 0;
}

static void tell(const mxsi_watchdog *w, const char *kind, double seconds, const char *more) {
  mxs_text text = {0};
  if (describe(w, &text) == MXS_OK)
    (void)fprintf(stderr, "mxsense: %s: no progress for %.0f s since iteration %lld: %s%s\n", kind,
                  seconds, (long long)atomic_load(&w->iteration), text.data, more);
  mxs_release(&text.data);
}

/* ---- the thread --------------------------------------------------------------------------------
 */

/* Wait; 0 when the end has come. */
static int pause_for(mxsi_watchdog *w, double seconds) {
  struct timespec until;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  const double whole = floor(seconds);
  until.tv_sec += (time_t)whole;
  until.tv_nsec += (long)((seconds - whole) * 1e9);
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  (void)pthread_mutex_lock(&w->mutex);
  int waiting = 0;
  while (!w->ended && waiting == 0)
    waiting = pthread_cond_timedwait(&w->ends, &w->mutex, &until);
  const int goes_on = !w->ended;
  (void)pthread_mutex_unlock(&w->mutex);
  return goes_on;
}

static double threshold(const mxsi_watchdog *w) {
  const double slow = fmax(w->options.warning_s, slow_factor * atomic_load(&w->longest));
  return atomic_load(&w->save_began) > 0.0 ? fmax(slow, save_factor * atomic_load(&w->save_s))
                                           : slow;
}

/* Write this rank's line, leave the others time for theirs, and tell. Before the first pass has
 * ended nobody knows how long one takes: then it takes a silent rank. */
static void report(mxsi_watchdog *w, long long beat, double since) {
  write_slot(w, beat);
  if (!pause_for(w, fmin(most_grace_s, w->options.warning_s)) || atomic_load(&w->beat) != beat)
    return;
  read_slots(w, beat);
  if (is_teller(w) && (someone_is_silent(w) || atomic_load(&w->longest) > 0.0))
    tell(w, "warning", mxs_clock() - since, "");
}

static void end_process(mxsi_watchdog *w, long long beat, double since, int code) {
  write_slot(w, beat);
  (void)pause_for(w, fmin(most_grace_s, w->options.warning_s));
  read_slots(w, beat);
  if (atomic_load(&w->beat) != beat)
    return;
  if (is_teller(w))
    tell(w, "error", mxs_clock() - since,
         code == EXIT_CHECKPOINT
             ? ": the checkpoint hangs, the one before is good; run the same line again"
             : ": the limit (stall_limit) is reached; run the same line again");
  _exit(code);
}

/* The exit code that a stall of so long has earned; 0: none yet. */
static int sentence(const mxsi_watchdog *w, double elapsed, double now) {
  const double began = atomic_load(&w->save_began);
  const double limit = w->options.limit_s;
  const double saving = began > 0.0 ? now - began : 0.0;
  if (atomic_load(&w->beat) == 0)
    return 0; /* it loads, for as long as the file takes */
  if (saving > fmax(save_limit_s, save_factor * atomic_load(&w->save_s)) ||
      (began > 0.0 && elapsed > limit))
    return EXIT_CHECKPOINT;
  return elapsed > limit ? EXIT_STALLED : 0;
}

static void *watch(void *of) {
  mxsi_watchdog *w = of;
  const double pause_s = fmin(most_pause_s, w->options.warning_s / 4);
  long long told_beat = -1;
  double next = 0.0;
  double signed_at = -INFINITY;
  while (pause_for(w, pause_s)) {
    const double now = mxs_clock();
    if (w->rank == 0 && now - signed_at >= MXSI_HEARTBEAT_S) {
      mxsi_rundir_heartbeat(w->options.dir);
      signed_at = now;
    }
    const long long beat = atomic_load(&w->beat);
    const double since = atomic_load(&w->beat_at);
    const int code = sentence(w, now - since, now);
    if (beat != told_beat)
      next = threshold(w);
    if (code != 0)
      end_process(w, beat, since, code);
    else if (now - since > fmax(next, threshold(w))) {
      told_beat = beat;
      next = 2.0 * (now - since);
      report(w, beat, since);
    }
  }
  return NULL;
}

/* ---- the main thread's part
 * ---------------------------------------------------------------------- */

static void list_members(const mxs_comm *comm, mxsi_watchdog *w) {
  member mine = {.pid = (long long)getpid()};
  char name[MPI_MAX_PROCESSOR_NAME] = "";
  int length = 0;
  MPI_Get_processor_name(name, &length);
  (void)snprintf(mine.host, sizeof mine.host, "%.*s", HOST_SIZE - 1, name);
  MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, w->members, (int)sizeof mine, MPI_BYTE,
                comm->mpi);
}

/* Signals are for the main thread. */
static int start_thread(mxsi_watchdog *w) {
  sigset_t all, before;
  pthread_condattr_t clock;
  (void)pthread_condattr_init(&clock);
  (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  (void)pthread_mutex_init(&w->mutex, NULL);
  (void)pthread_cond_init(&w->ends, &clock);
  (void)pthread_condattr_destroy(&clock);
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&w->thread, NULL, watch, w);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  w->running = failed == 0;
  return failed;
}

mxs_status mxsi_watchdog_start(const mxs_comm *comm,
                               const mxsi_watchdog_options *options,
                               mxsi_watchdog **out) {
  mxsi_watchdog *w = NULL;
  *out = NULL;
  mxs_status status = mxs_alloc(1, sizeof *w, &w);
  if (status == MXS_OK) {
    w->options = *options;
    w->rank = comm->rank;
    w->size = comm->size;
    atomic_store(&w->beat_at, mxs_clock());
    status = mxs_text_format(&w->file, "%s/" MXSI_STALL_NAME, options->path);
  }
  if (status == MXS_OK)
    status = mxs_alloc(comm->size, sizeof *w->members, &w->members);
  if (status == MXS_OK)
    status = mxs_alloc(comm->size, sizeof *w->slots, &w->slots);
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK) {
    list_members(comm, w);
    status = start_thread(w) == 0 ? MXS_OK : mxs_fail(MXS_ERR_MEMORY, "cannot start a thread");
    status = mxs_comm_agree(comm, status);
  }
  *out = w;
  if (status != MXS_OK)
    mxsi_watchdog_stop(out);
  return status;
}

void mxsi_watchdog_stop(mxsi_watchdog **watchdog) {
  mxsi_watchdog *w = *watchdog;
  if (w == NULL)
    return;
  if (w->running) {
    (void)pthread_mutex_lock(&w->mutex);
    w->ended = 1;
    (void)pthread_cond_signal(&w->ends);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->ends);
    (void)pthread_mutex_destroy(&w->mutex);
  }
  mxs_release(&w->file);
  mxs_release(&w->members);
  mxs_release(&w->slots);
  mxs_release(watchdog);
}

double mxsi_watchdog_beat(mxsi_watchdog *w, int64_t iteration) {
  const double now = mxs_clock();
  const double took = now - atomic_load(&w->beat_at);
  const double stalled = took > threshold(w) ? took : 0.0;
  const long long beat = atomic_load(&w->beat);
  if (beat > 0 && stalled <= 0.0)
    atomic_store(&w->longest, fmax(atomic_load(&w->longest), took));
  atomic_store(&w->iteration, (long long)iteration);
  atomic_store(&w->beat_at, now);
  atomic_store(&w->beat, beat + 1);
  return stalled;
}

void mxsi_watchdog_checkpoint(mxsi_watchdog *w, int begins) {
  const double now = mxs_clock();
  if (!begins)
    atomic_store(&w->save_s, now - atomic_load(&w->save_began));
  atomic_store(&w->save_began, begins ? now : 0.0);
}
