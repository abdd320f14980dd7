/* A run directory: what is refused, who owns it, and what is left behind. */
#include "run/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
  mxsi_rundir_sweep(&dir, 0);
  assert_false(exists("config.yaml.tmp"));
  assert_false(exists("checkpoint.tmp.x.h5"));
  assert_true(exists("STOP"));
  mxsi_rundir_close(&dir, 0);
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
      cmocka_unit_test_setup_teardown(foreign_directories_are_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(runs_are_known, set_up, tear_down),
      cmocka_unit_test_setup_teardown(bad_paths, set_up, tear_down),
      cmocka_unit_test_setup_teardown(files_are_replaced_and_appended, set_up, tear_down),
      cmocka_unit_test_setup_teardown(full_disk_is_seen, set_up, tear_down),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed != 0 || mxs_alloc_outstanding() != 0;
}
