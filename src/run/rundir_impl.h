/** @file
 *  What the files of a run directory share: who owns it, and what may be in it. Room `run`; all
 *  Local. */
#ifndef MXS_RUN_RUNDIR_IMPL_H
#define MXS_RUN_RUNDIR_IMPL_H

#include "run/rundir.h"

#define MXSI_LOCK_NAME ".lock"

/** Contents of a lock file. */
typedef struct mxsi_record {
  mxsi_owner owner;
  char token[MXSI_TOKEN_TEXT]; /**< of this ownership; "": the file makes no sense */
  char since[32];
  long long beat; /**< of the last sign of life; 0: none yet */
  int locked;     /**< its owner holds a lock of the file system too */
} mxsi_record;

/** Text of a lock file, its first bytes of fixed length, so that a sign of life changes a few of
 *  them in place; released with mxs_release(). */
MXS_CHECKED mxs_status mxsi_record_text(const mxsi_record *record, char **text);

/** Bytes of a text ahead of the token, and those that a sign of life replaces. */
enum { MXSI_BEAT_AT = 8, MXSI_BEAT_TEXT = 20, MXSI_TOKEN_AT = 38 };

/** What DIR/.lock says, as far as it makes sense; its text as well (NULL where there is none),
 *  released with mxs_release(). */
void mxsi_record_read(const mxsi_rundir *dir, mxsi_record *record, char **text);

/** "the run on host h, process p, job j, since t" */
void mxsi_record_describe(const mxsi_record *record, char *text, size_t size);

/** Whether both are processes of one running system, so that one can look for the other. */
int mxsi_owner_is_near(const mxsi_owner *a, const mxsi_owner *b);

/** Why an owner on this system cannot be alive: "its process is gone"; NULL: it may be. */
const char *mxsi_owner_is_gone(const mxsi_owner *owner);

/** MXS_ERR_CREATE unless the directory is empty or holds a run. */
MXS_CHECKED mxs_status mxsi_rundir_check_content(const mxsi_rundir *dir);

/** A directory that cannot be made or used: the status that errno stands for. */
mxs_status mxsi_rundir_refuse(const char *path, const char *what, int reason);

#endif
