/* summary.json of a run directory: whatever it holds, it is read or refused. */
#include "fuzz.h"

#include "run/run_impl.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char folder[] = "/tmp/fuzzXXXXXX";
  static mxsi_rundir dir = {.fd = -1};
  if (dir.fd < 0) {
    FUZZ_REQUIRE(mkdtemp(folder) != NULL, folder);
    dir = (mxsi_rundir){.path = folder, .fd = open(folder, O_RDONLY | O_DIRECTORY)};
  }
  const int file = openat(dir.fd, "summary.json", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  FUZZ_REQUIRE(file >= 0 && write(file, data, size) == (ssize_t)size, folder);
  (void)close(file);
  char reason[16];
  int64_t iterations = 0;
  double residual = 0.0;
  if (mxsi_summary_read(&dir, reason, &iterations, &residual))
    FUZZ_REQUIRE(memchr(reason, '\0', sizeof reason) != NULL, "a reason ends");
  (void)unlinkat(dir.fd, "summary.json", 0);
  (void)rmdir(folder); /* comes again: the descriptor keeps it until the end */
  (void)close(dir.fd);
  dir.fd = -1;
  (void)snprintf(folder, sizeof folder, "/tmp/fuzzXXXXXX");
  FUZZ_REQUIRE(mxs_alloc_outstanding() == 0, "memory is released");
  return 0;
}
