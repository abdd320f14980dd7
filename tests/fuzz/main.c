/* Runs a target over every file of the folders on the command line; for compilers without
 * libFuzzer. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

enum { LARGEST = 1 << 20 };

static int run_file(const char *folder, const char *name) {
  static uint8_t data[LARGEST];
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rbe");
  if (file == NULL)
    return 0;
  const size_t size = fread(data, 1, sizeof data, file);
  (void)fclose(file); /* only read */
  (void)fprintf(stderr, "%s, %zu bytes\n", path, size);
  (void)LLVMFuzzerTestOneInput(data, size);
  return 1;
}

static int run_folder(const char *folder) {
  int count = 0;
  DIR *stream = opendir(folder);
  if (stream == NULL)
    return 0;
  for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
    if (entry->d_name[0] != '.')
      count += run_file(folder, entry->d_name);
  (void)closedir(stream);
  return count;
}

int main(int argc, char **argv) {
  int count = 0;
  for (int i = 1; i < argc; i++)
    count += run_folder(argv[i]);
  (void)fprintf(stderr, "%d files\n", count);
  return count > 0 ? 0 : 1;
}
