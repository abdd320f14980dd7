/* A run directory: what is refused, who owns it, and what is left behind. */
#include "run/rundir_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char base[512];
static char path[1024];
static int warnings;
static char last_warning[2048];

static void count_warning(void *ctx, const char *text) {
  (void)ctx;
  warnings++;
  (void)snprintf(last_warning, sizeof last_warning, "%s", text);
}

static mxsi_owner me; /* this process */
static const mxsi_owner owner = {.host = "first-host", .job = "4711", .pid = 1234, .restart = 2};

static mxs_status open_dir(double patience_s, mxsi_rundir *dir) {
  return mxsi_rundir_open(path, &owner, patience_s, count_warning, NULL, dir);
}

static int set_up(void **state) {
  (void)state;
  const char *tmp = getenv("MXS_TEST_TMP");
  (void)snprintf(base, sizeof base, "%s/rundirXXXXXX", tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(base) == NULL)
    return -1;
  (void)snprintf(path, sizeof path, "%s/run", base);
  warnings = 0;
  mxsi_owner_find(&me);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  char command[1200];
  (void)snprintf(command, sizeof command, "chmod -R u+rwX '%s' && rm -rf '%s'", base, base);
  return system(command); /* NOLINT(cert-env33-c) */
}

static void write_file(const char *name, const char *text) {
  char full[2048];
  (void)snprintf(full, sizeof full, "%s/%s", path, name);
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static int exists(const char *name) {
  char full[2048];
  struct stat info;
  (void)snprintf(full, sizeof full, "%s/%s", path, name);
  return stat(full, &info) == 0;
}

static void creates_and_leaves_no_lock(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_true(dir.created);
  assert_true(exists(".lock"));
  mxsi_rundir_close(&dir, 0);
  assert_true(exists("."));
  assert_false(exists(".lock"));
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_false(dir.created);
  mxsi_rundir_close(&dir, 1);
  assert_true(exists("."));
}

static void undo_removes_what_was_made(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  mxsi_rundir_close(&dir, 1);
  assert_false(exists("."));
}

static void second_owner_is_refused_and_told_who(void **state) {
  (void)state;
  mxsi_rundir first, second;
  assert_int_equal(open_dir(0, &first), MXS_OK);
  assert_int_equal(open_dir(0.3, &second), MXS_ERR_PERMISSION);
  assert_int_equal(warnings, 1);
  assert_non_null(strstr(mxs_last_error(), "first-host"));
  assert_non_null(strstr(mxs_last_error(), "1234"));
  assert_non_null(strstr(mxs_last_error(), "4711"));
  assert_true(exists(".lock"));
  mxsi_rundir_close(&first, 0);
  assert_int_equal(open_dir(0, &second), MXS_OK);
  mxsi_rundir_close(&second, 0);
}

/* A lock file that its owner did not remove: killed, so nobody holds it. */
static void stale_lock_is_taken(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(mkdir(path, 0777), 0);
  write_file(".lock", "{\"host\":\"gone\",\"pid\":1}");
  write_file("config.yaml.tmp", "k: ");
  write_file("checkpoint.tmp.x.h5", "");
  write_file("STOP", "");
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_int_equal(warnings, 1);
  assert_non_null(strstr(last_warning, "gone"));
  assert_non_null(strstr(dir.taken, "lock is free"));
  assert_false(exists("config.yaml.tmp"));
  assert_false(exists("checkpoint.tmp.x.h5"));
  assert_true(exists("STOP"));
  mxsi_rundir_close(&dir, 0);
}

/* ---- proof of death, without and with locks -------------------------------------------------- */

/* Leave a lock file behind as an owner would, and try to own its directory. */
static mxs_status open_after(const mxsi_record *left, double patience_s, mxsi_rundir *dir) {
  char *text = NULL;
  assert_int_equal(mkdir(path, 0777), 0);
  assert_int_equal(mxsi_record_text(left, &text), MXS_OK);
  write_file(".lock", text);
  mxs_release(&text);
  return mxsi_rundir_open(path, &me, patience_s, count_warning, NULL, dir);
}

static void is_taken(const mxsi_record *left, double patience_s, const char *proof) {
  mxsi_rundir dir;
  assert_int_equal(open_after(left, patience_s, &dir), MXS_OK);
  assert_non_null(strstr(dir.taken, proof));
  assert_non_null(strstr(dir.taken, left->owner.host));
  assert_true(mxsi_rundir_owned(&dir));
  mxsi_rundir_close(&dir, 0);
  assert_false(exists(".lock"));
}

static void is_refused(const mxsi_record *left, double patience_s) {
  mxsi_rundir dir;
  assert_int_equal(open_after(left, patience_s, &dir), MXS_ERR_PERMISSION);
  assert_non_null(strstr(mxs_last_error(), left->owner.host));
  assert_non_null(strstr(mxs_last_error(), ".lock"));
  assert_true(exists(".lock"));
}

/* A number that no process has: that of a child that has ended. */
static long gone_process(void) {
  const pid_t child = fork();
  if (child == 0)
    _exit(0);
  assert_true(child > 0 && waitpid(child, NULL, 0) == child);
  return child;
}

static void process_that_is_gone(void **state) {
  (void)state;
  mxsi_record left = {.owner = me, .token = "0123456789abcdef"};
  left.owner.pid = gone_process();
  is_taken(&left, 60, "gone"); /* at once */
}

static void process_that_is_another_one(void **state) {
  (void)state;
  mxsi_record left = {.owner = me, .token = "0123456789abcdef"};
  left.owner.started--;
  is_taken(&left, 60, "another one has its number");
}

static void process_that_has_ended_but_was_not_waited_for(void **state) {
  (void)state;
  mxsi_record left = {.owner = me, .token = "0123456789abcdef"};
  const struct timespec while_it_ends = {.tv_nsec = 100000000};
  left.owner.pid = fork();
  if (left.owner.pid == 0)
    _exit(0);
  (void)nanosleep(&while_it_ends, NULL);
  is_taken(&left, 60, "has ended");
  (void)waitpid((pid_t)left.owner.pid, NULL, 0);
}

static void process_that_lives(void **state) {
  (void)state;
  const mxsi_record left = {.owner = me, .token = "0123456789abcdef", .beat = 1};
  is_refused(&left, 0.3);
}

static void other_host_without_a_sign_of_life(void **state) {
  (void)state;
  const mxsi_record left = {.owner = owner, .token = "0123456789abcdef", .beat = 1};
  is_taken(&left, 0.3, "no more sign of life");
  assert_int_equal(warnings, 2); /* that it waits, and that it took over */
}

/* It may be one that gives none. */
static void other_host_that_never_gave_a_sign(void **state) {
  (void)state;
  const mxsi_record left = {.owner = owner, .token = "0123456789abcdef"};
  is_refused(&left, 0.3);
}

static void lock_file_without_a_word(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(mkdir(path, 0777), 0);
  write_file(".lock", "");
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_int_equal(warnings, 0);
  mxsi_rundir_close(&dir, 0);
}

static atomic_int alive;

/* The owner on another host: gives signs of life until it is told to end. */
static void *live(void *unused) {
  const struct timespec between = {.tv_nsec = 50000000};
  char name[2048];
  (void)unused;
  (void)snprintf(name, sizeof name, "%s/.lock", path);
  while (atomic_load(&alive)) {
    const mxsi_rundir dir = {.open = 1, .lock_fd = open(name, O_WRONLY)};
    if (dir.lock_fd >= 0) {
      mxsi_rundir_heartbeat(&dir);
      (void)close(dir.lock_fd);
    }
    (void)nanosleep(&between, NULL);
  }
  return NULL;
}

static void is_refused_while_alive(const mxsi_record *left) {
  pthread_t thread;
  atomic_store(&alive, 1);
  assert_int_equal(pthread_create(&thread, NULL, live, NULL), 0);
  is_refused(left, 1);
  atomic_store(&alive, 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

static void other_host_that_lives(void **state) {
  (void)state;
  const mxsi_record left = {.owner = owner, .token = "0123456789abcdef", .beat = 1};
  is_refused_while_alive(&left);
}

/* Locks of some file systems are good on one host only. */
static void other_host_that_lives_and_has_a_lock_of_its_own(void **state) {
  (void)state;
  const mxsi_record left = {.owner = owner, .token = "0123456789abcdef", .beat = 1, .locked = 1};
  is_refused_while_alive(&left);
}

static void other_host_that_had_a_lock(void **state) {
  (void)state;
  const mxsi_record left = {.owner = owner, .token = "0123456789abcdef", .locked = 1};
  is_taken(&left, 0.3, "lock is free");
}

static void signs_of_life_change_the_lock_file_in_place(void **state) {
  (void)state;
  mxsi_rundir dir;
  mxsi_record record;
  char *text = NULL;
  assert_int_equal(mxsi_rundir_open(path, &me, 0, count_warning, NULL, &dir), MXS_OK);
  mxsi_rundir_heartbeat(&dir);
  mxsi_record_read(&dir, &record, &text);
  mxs_release(&text);
  assert_true(record.beat > 0);
  assert_true(record.locked);
  assert_int_equal(record.owner.pid, getpid());
  assert_true(record.owner.started > 0);
  assert_string_equal(record.owner.machine, me.machine);
  assert_string_equal(record.token, dir.token);
  assert_true(mxsi_rundir_owned(&dir));
  mxsi_rundir_close(&dir, 0);
  mxsi_rundir_heartbeat(&dir); /* nothing */
}

/* ---- a former owner -------------------------------------------------------------------------- */

/* The same job started again: its lock is held, and it is taken over after a while. */
static void former_owner_changes_nothing(void **state) {
  (void)state;
  mxsi_rundir first, second;
  mxsi_owner again = owner;
  FILE *begun = NULL;
  assert_int_equal(open_dir(0, &first), MXS_OK);
  assert_int_equal(mxsi_file_begin(&first, "a", &begun), MXS_OK);
  assert_true(fputs("stale\n", begun) >= 0);
  again.restart++;
  assert_int_equal(mxsi_rundir_open(path, &again, 0.3, count_warning, NULL, &second), MXS_OK);
  assert_non_null(strstr(second.taken, "same job"));
  assert_int_equal(mxsi_file_replace(&second, "a", "new\n"), MXS_OK);
  assert_false(mxsi_rundir_owned(&first));
  assert_int_equal(mxsi_file_publish(&first, "a", begun), MXS_ERR_PERMISSION);
  mxsi_file_abandon(&first, "a", &begun);
  assert_int_equal(mxsi_file_replace(&first, "a", "stale\n"), MXS_ERR_PERMISSION);
  assert_non_null(strstr(mxs_last_error(), "first-host"));
  assert_int_equal(mxsi_file_rename(&first, "a", "b"), MXS_ERR_PERMISSION);
  assert_int_equal(mxsi_file_append(&first, "a", &begun), MXS_ERR_PERMISSION);
  mxsi_rundir_remove(&first, "a");
  mxsi_rundir_close(&first, 1);
  assert_true(mxsi_rundir_owned(&second));
  char *text = mxsi_file_read(second.fd, "a");
  assert_non_null(text);
  assert_string_equal(text, "new\n");
  mxs_release(&text);
  mxsi_rundir_close(&second, 0);
}

/* What a former owner asked for before it lost the directory finds nothing to rename. */
static void temporary_files_of_a_former_owner_are_gone(void **state) {
  (void)state;
  mxsi_rundir first, second;
  mxsi_owner again = owner;
  FILE *begun = NULL;
  char name[64];
  assert_int_equal(open_dir(0, &first), MXS_OK);
  assert_int_equal(mxsi_file_begin(&first, "summary.json", &begun), MXS_OK);
  (void)snprintf(name, sizeof name, "summary.json.tmp.%s", first.token);
  assert_true(exists(name));
  again.restart++;
  assert_int_equal(mxsi_rundir_open(path, &again, 0, count_warning, NULL, &second), MXS_OK);
  assert_false(exists(name));
  mxsi_file_abandon(&first, "summary.json", &begun);
  mxsi_rundir_close(&first, 0);
  mxsi_rundir_close(&second, 0);
}

static void earlier_start_of_a_job_does_not_take_over_a_later_one(void **state) {
  (void)state;
  mxsi_rundir first, second;
  mxsi_owner before = owner;
  before.restart--;
  assert_int_equal(open_dir(0, &first), MXS_OK);
  assert_int_equal(mxsi_rundir_open(path, &before, 0.3, count_warning, NULL, &second),
                   MXS_ERR_PERMISSION);
  mxsi_rundir_close(&first, 0);
}

static void lock_file_that_was_removed_by_hand(void **state) {
  (void)state;
  mxsi_rundir dir;
  char name[2048];
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  (void)snprintf(name, sizeof name, "%s/.lock", path);
  assert_int_equal(unlink(name), 0);
  assert_false(mxsi_rundir_owned(&dir));
  assert_int_equal(mxsi_rundir_check(&dir), MXS_ERR_PERMISSION);
  assert_non_null(strstr(mxs_last_error(), "removed"));
  mxsi_rundir_close(&dir, 1);
  assert_true(exists("."));
}

static void foreign_directories_are_refused(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(mkdir(path, 0777), 0);
  write_file("thesis.tex", "\\title{}");
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  assert_false(exists(".lock"));
  write_file("config.yaml", "editor: vi\n"); /* of another program */
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  write_file(".lock", "of another program");
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  assert_true(exists(".lock"));
  assert_true(exists("thesis.tex"));
}

static void runs_are_known(void **state) {
  (void)state;
  mxsi_rundir dir;
  assert_int_equal(mkdir(path, 0777), 0);
  write_file("notes", "");
  write_file("config.yaml", "problem: /p.h5\nk: 3\n");
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  mxsi_rundir_remove(&dir, "config.yaml");
  mxsi_rundir_close(&dir, 0);
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  write_file("checkpoint.prev.h5", "");
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  mxsi_rundir_close(&dir, 0);
}

static void bad_paths(void **state) {
  (void)state;
  mxsi_rundir dir;
  (void)snprintf(path, sizeof path, "%s/no/run", base);
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  assert_non_null(strstr(mxs_last_error(), "parent"));
  (void)snprintf(path, sizeof path, "%s", base);
  write_file("file", "");
  (void)snprintf(path, sizeof path, "%s/file", base);
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  (void)snprintf(path, sizeof path, "%s/file/run", base);
  assert_int_equal(open_dir(0, &dir), MXS_ERR_CREATE);
  if (geteuid() == 0)
    return; /* permissions do not bind root */
  assert_int_equal(chmod(base, 0555), 0);
  (void)snprintf(path, sizeof path, "%s/run", base);
  assert_int_equal(open_dir(0, &dir), MXS_ERR_PERMISSION);
}

static void files_are_replaced_and_appended(void **state) {
  (void)state;
  mxsi_rundir dir;
  FILE *file = NULL;
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_int_equal(mxsi_file_replace(&dir, "a", "one\n"), MXS_OK);
  assert_int_equal(mxsi_file_replace(&dir, "a", "two\nthr"), MXS_OK);
  assert_false(exists("a.tmp"));
  assert_int_equal(mxsi_file_append(&dir, "a", &file), MXS_OK); /* the cut line is ended */
  assert_true(fputs("four\n", file) >= 0);
  assert_int_equal(mxsi_file_close(&dir, "a", &file), MXS_OK);
  assert_null(file);
  char *text = mxsi_file_read(dir.fd, "a");
  assert_non_null(text);
  assert_string_equal(text, "two\nthr\nfour\n");
  mxs_release(&text);
  assert_null(mxsi_file_read(dir.fd, "b"));
  mxsi_rundir_close(&dir, 0);
}

static void full_disk_is_seen(void **state) {
  (void)state;
  mxsi_rundir dir;
  FILE *file = fopen("/dev/full", "w");
  assert_int_equal(open_dir(0, &dir), MXS_OK);
  assert_non_null(file);
  assert_true(fputs("text\n", file) >= 0);
  assert_int_equal(mxsi_file_close(&dir, "log.txt", &file), MXS_ERR_IO);
  assert_non_null(strstr(mxs_last_error(), "log.txt"));
  mxsi_rundir_close(&dir, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(creates_and_leaves_no_lock, set_up, tear_down),
      cmocka_unit_test_setup_teardown(undo_removes_what_was_made, set_up, tear_down),
      cmocka_unit_test_setup_teardown(second_owner_is_refused_and_told_who, set_up, tear_down),
      cmocka_unit_test_setup_teardown(stale_lock_is_taken, set_up, tear_down),
      cmocka_unit_test_setup_teardown(process_that_is_gone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(process_that_is_another_one, set_up, tear_down),
      cmocka_unit_test_setup_teardown(process_that_has_ended_but_was_not_waited_for, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(process_that_lives, set_up, tear_down),
      cmocka_unit_test_setup_teardown(other_host_without_a_sign_of_life, set_up, tear_down),
      cmocka_unit_test_setup_teardown(other_host_that_never_gave_a_sign, set_up, tear_down),
      cmocka_unit_test_setup_teardown(lock_file_without_a_word, set_up, tear_down),
      cmocka_unit_test_setup_teardown(other_host_that_lives, set_up, tear_down),
      cmocka_unit_test_setup_teardown(other_host_that_lives_and_has_a_lock_of_its_own, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(other_host_that_had_a_lock, set_up, tear_down),
      cmocka_unit_test_setup_teardown(signs_of_life_change_the_lock_file_in_place, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(former_owner_changes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(temporary_files_of_a_former_owner_are_gone, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(earlier_start_of_a_job_does_not_take_over_a_later_one, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(lock_file_that_was_removed_by_hand, set_up, tear_down),
      cmocka_unit_test_setup_teardown(foreign_directories_are_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(runs_are_known, set_up, tear_down),
      cmocka_unit_test_setup_teardown(bad_paths, set_up, tear_down),
      cmocka_unit_test_setup_teardown(files_are_replaced_and_appended, set_up, tear_down),
      cmocka_unit_test_setup_teardown(full_disk_is_seen, set_up, tear_down),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed != 0 || mxs_alloc_outstanding() != 0;
}
