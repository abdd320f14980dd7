/* An HDF5 file: HDF5 may crash on it in a process that looks first, but what it gets through there,
 * reading it gets through as well. Both run in children, so that its crashes are kept apart from
 * ours. */
#include "fuzz.h"

#include "ckpt/ckpt_impl.h"
#include "problem/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_SECONDS = 2, REFUSED = 1 };

/* Of the sanitizers, where there are any. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static char path[] = "/tmp/fuzzXXXXXX";

static int look(void) {
  return mxs_problem_survey(path) == MXS_ERR_DATA || mxs_ckpt_survey(path) == MXS_ERR_DATA ? REFUSED
                                                                                           : 0;
}

/* All that a job does with a file. */
static int use(void) {
  char seal[MXS_STORE_DIGEST_TEXT];
  char *report = NULL;
  mxs_ckpt *ckpt = NULL;
  int newer = 0;
  const mxs_status verified = mxs_problem_verify(path, &report);
  mxs_release(&report);
  const mxs_status loaded = mxsi_ckpt_load(path, &ckpt, seal, &newer);
  mxs_ckpt_destroy(&ckpt);
  FUZZ_REQUIRE(verified != MXS_OK || loaded != MXS_OK, "a problem is no checkpoint");
  FUZZ_REQUIRE(mxs_alloc_outstanding() == 0, "memory is released");
  return 0;
}

/* How it ends in a process of its own. */
static int in_child(int (*work)(void)) {
  int ended = 0;
  const pid_t child = fork();
  if (child == 0) {
    const struct rlimit seconds = {CHILD_SECONDS, CHILD_SECONDS + 1};
    const struct rlimit none = {0, 0};
    static const int caught[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGALRM};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
      (void)signal(caught[i], SIG_DFL); /* not the fuzzer's */
    if (__sanitizer_set_death_callback != NULL)
      __sanitizer_set_death_callback(NULL);
    if (work == look && freopen("/dev/null", "w", stderr) == NULL)
      _exit(REFUSED);
    (void)setrlimit(RLIMIT_CPU, &seconds);
    (void)setrlimit(RLIMIT_CORE, &none);
    _exit(work());
  }
  FUZZ_REQUIRE(child > 0 && waitpid(child, &ended, 0) == child, "a child");
  return ended;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const int file = mkstemp(path);
  FUZZ_REQUIRE(file >= 0 && write(file, data, size) == (ssize_t)size, path);
  (void)close(file);
  const int looked = in_child(look);
  if (WIFEXITED(looked) && WEXITSTATUS(looked) == 0) {
    const int used = in_child(use);
    FUZZ_REQUIRE(WIFEXITED(used) && WEXITSTATUS(used) == 0, "reading survives what looking did");
  }
  (void)unlink(path);
  (void)snprintf(path, sizeof path, "/tmp/fuzzXXXXXX");
  return 0;
}
