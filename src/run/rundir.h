/** @file
 *  The directory of a run: its lock and its text files. Room `run`; used on rank 0 only, so all
 *  Local. */
#ifndef MXS_RUN_RUNDIR_H
#define MXS_RUN_RUNDIR_H

#include "mxsense/base.h"

#include <stdio.h>

/** Who runs: written into DIR/.lock, so that a second run can name the first, and into the events.
 */
typedef struct mxsi_owner {
  char host[128];
  char machine[96]; /**< this start of the system, and its name space of processes; "": not told */
  char job[64];     /**< SLURM_JOB_ID or PBS_JOBID; "" without a scheduler */
  long pid;
  long long started; /**< start time of the process, in ticks of the system; 0: not told */
  long restart;      /**< SLURM_RESTART_COUNT, else 0 */
} mxsi_owner;

void mxsi_owner_find(mxsi_owner *owner);

/** Now in UTC, as 2026-01-31T23:59:59Z. */
void mxsi_utc_now(char text[32]);

enum { MXSI_TOKEN_TEXT = 17, MXSI_TAKEN_TEXT = 640 };

/** A directory that this process owns, or one of a replica in it; all zero: none. */
typedef struct mxsi_rundir {
  const char *path; /**< borrowed, for messages */
  int fd;           /**< of the directory */
  int lock_fd;
  int open;      /**< fd and lock_fd are valid, and the directory is ours */
  int created;   /**< this process made the directory */
  int lock_made; /**< this process made the lock file */
  int locked;    /**< lock_fd holds a lock of the file system */
  int hasty;     /**< a small run of many: what can be made again after a crash of the system is not
                    forced to the disk each on its own */
  int is_remote; /**< others see what is written only once it was forced there */
  char token[MXSI_TOKEN_TEXT];     /**< of this ownership, in the lock file */
  char taken[MXSI_TAKEN_TEXT];     /**< whom it was taken over from, and the proof; "": nobody */
  const struct mxsi_rundir *owner; /**< of a replica's directory: the run's; NULL: itself */
} mxsi_rundir;

/** Seconds between signs of life. */
#define MXSI_HEARTBEAT_S 2.0

/** Where ranks say what they wait for, when a run makes no progress. */
#define MXSI_STALL_NAME ".stall"

/** Make `path` if it is missing, refuse it if it holds something else than a run, and own it. Waits
 *  up to `patience_s` seconds for another owner to end, and says so once through `warn`.
 *
 *  DIR/.lock names the owner, who holds a lock of the file system on it. One that ends removes it;
 *  that of one that did not is taken over, and `warn` is told why, on this proof:
 *  - its lock is free, on the same system; from another one also no sign of life for 8 s, since
 *    some file systems keep locks within a host;
 *  - without locks: on the same system its process is gone, or is another one of that number; from
 *    another system, it gave signs of life before but none in all of `patience_s`;
 *  - the same job has a smaller restart count: the scheduler ended it; after `patience_s`, locked
 *    or not.
 *  Taking over puts a new file in the place of DIR/.lock, by which the former owner notices
 *  (mxsi_rundir_owned()), and removes all temporary files, so that it cannot publish what it has.
 *  @retval MXS_ERR_CREATE no parent, not a directory, or not empty and not a run
 *  @retval MXS_ERR_PERMISSION not writable, or in use: the text names host, process and job of the
 *  owner, and what to do */
MXS_CHECKED mxs_status mxsi_rundir_open(const char *path,
                                        const mxsi_owner *owner,
                                        double patience_s,
                                        void (*warn)(void *ctx, const char *text),
                                        void *ctx,
                                        mxsi_rundir *dir);

/** Whether DIR/.lock is still ours. Opens and reads a small file. Thread-safe. */
int mxsi_rundir_owned(const mxsi_rundir *dir);

/** The same as a status. @retval MXS_ERR_PERMISSION the text names who took over */
MXS_CHECKED mxs_status mxsi_rundir_check(const mxsi_rundir *dir);

/** Give a sign of life, seen by runs that wait for this directory: about every MXSI_HEARTBEAT_S
 *  seconds, from a thread that does not wait for iterations. Blocks as long as the file system
 * does. Thread-safe between mxsi_rundir_open() and mxsi_rundir_close(); nothing where `dir` is not
 * open.
 */
void mxsi_rundir_heartbeat(const mxsi_rundir *dir);

/** Give the directory up; with `undo`, also remove it if this process made it and it is empty. One
 *  that was lost is left as it is. NULL-safe. */
void mxsi_rundir_close(mxsi_rundir *dir, int undo);

/** Remove temporary files that a killed run left behind, and the files in replica_<r> of every r
 *  that is not below `replicas`. */
void mxsi_rundir_sweep(const mxsi_rundir *dir, int64_t replicas);

/** Open DIR/replica_<r>, which is made with `make`; `sub` borrows `path`, which it is given. Its
 *  files are written as those of DIR; it has no lock of its own.
 *  @retval MXS_ERR_CREATE cannot be made  @retval MXS_ERR_INPUT it is not there */
MXS_CHECKED mxs_status mxsi_rundir_enter(
    const mxsi_rundir *dir, int64_t replica, int make, const char *path, mxsi_rundir *sub);

/** Close what mxsi_rundir_enter() opened; its path stays good for messages. */
void mxsi_rundir_leave(mxsi_rundir *sub);

/** Remove what a run writes into DIR/replica_<r>, and that directory if it is empty then;
 *  nothing where that is a run of its own. */
void mxsi_rundir_drop(const mxsi_rundir *dir, int64_t replica);

/** Whether DIR/name exists. */
int mxsi_rundir_has(const mxsi_rundir *dir, const char *name);

/** Remove DIR/name if it exists and the directory is still ours. */
void mxsi_rundir_remove(const mxsi_rundir *dir, const char *name);

/** Write a file beside the one that it will replace: DIR/name.tmp.<token>. What changes a name in a
 *  directory that was lost fails with MXS_ERR_PERMISSION, here and below. */
MXS_CHECKED mxs_status mxsi_file_begin(const mxsi_rundir *dir, const char *name, FILE **file);

/** Flush to disk and rename what mxsi_file_begin() made to DIR/name; `file` stays open, now under
 *  its final name. */
MXS_CHECKED mxs_status mxsi_file_publish(const mxsi_rundir *dir, const char *name, FILE *file);

/** Close and remove what mxsi_file_begin() made; sets the pointer to NULL. */
void mxsi_file_abandon(const mxsi_rundir *dir, const char *name, FILE **file);

/** Rename DIR/from to DIR/to, on the disk. */
MXS_CHECKED mxs_status mxsi_file_rename(const mxsi_rundir *dir, const char *from, const char *to);

/** Replace DIR/name by `text` at once. */
MXS_CHECKED mxs_status mxsi_file_replace(const mxsi_rundir *dir,
                                         const char *name,
                                         const char *text);

/** Open DIR/name to append whole lines; a last line that a crash cut short is ended first. */
MXS_CHECKED mxs_status mxsi_file_append(const mxsi_rundir *dir, const char *name, FILE **file);

/** Flush to disk and close; NULL-safe; sets the pointer to NULL. */
mxs_status mxsi_file_close(const mxsi_rundir *dir, const char *name, FILE **file);

/** Text of DIR/name, released with mxs_release(); NULL if it cannot be read. */
char *mxsi_file_read(int dir_fd, const char *name);

/** MXS_ERR_IO naming DIR/name and errno. */
MXS_CHECKED mxs_status mxsi_file_fail(const mxsi_rundir *dir, const char *name, const char *what);

#endif
