#include "cli/cli.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Generations of vector units. */
enum { UNITS_OLD, UNITS_AVX2, UNITS_AVX512 };

/* What the kernels of OpenBLAS use. Names not listed are newer ones, or of other processors: they
 * stay. */
static int units_of_kernel(const char *kernel) {
  static const char *const old[] = {
      "Prescott",     "Core2",       "Penryn",   "Dunnington", "Nehalem",     "Katmai",
      "Coppermine",   "Northwood",   "Banias",   "Atom",       "Athlon",      "Opteron",
      "Opteron_SSE3", "Barcelona",   "Bobcat",   "Nano",       "Sandybridge", "Bulldozer",
      "Piledriver",   "Steamroller", "Excavator"};
  for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
    if (strcmp(kernel, old[i]) == 0)
      return UNITS_OLD;
  if (strcmp(kernel, "Haswell") == 0 || strcmp(kernel, "Zen") == 0)
    return UNITS_AVX2;
  return UNITS_AVX512;
}

static int units_of_processor(void) {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd"))
    return UNITS_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return UNITS_AVX2;
#endif
  return UNITS_OLD;
}

/* More threads than one per rank would change bits and fight for cores, whatever the environment of
 * the job says. */
static void pin_threads(void *library) {
  void *symbol = dlsym(library, "openblas_set_num_threads");
  void (*set_threads)(int) = NULL;
  memcpy(&set_threads, &symbol,
         sizeof symbol); /* ISO C has no cast from data to function pointers */
  if (set_threads != NULL)
    set_threads(1);
}

/* OpenBLAS knows processors by family and model, and may take an old kernel for those that came
 * after it: 0.3.21 takes Prescott on an Emerald Rapids core, 14 instead of 64 GF/s in dgemm. On a
 * Zen 5 core SkylakeX gives 107 GF/s and Haswell 64, and 85 against 19 where one factor has 10
 * columns: so AVX-512 kernels wherever the processor has the units. The variable is read when the
 * library is loaded: hence the new start. */
static const char *raise_kernel(const char *kernel, char **argv) {
  static const char guard[] = "MXSENSE_KERNEL_CHOSEN";
  const int units = units_of_processor();
  if (units <= units_of_kernel(kernel))
    return NULL;
  if (getenv(guard) == NULL && getenv("OPENBLAS_CORETYPE") == NULL &&
      setenv("OPENBLAS_CORETYPE", units == UNITS_AVX512 ? "SkylakeX" : "Haswell", 1) == 0 &&
      setenv(guard, "1", 1) == 0)
    (void)execv("/proc/self/exe",
                argv); /* comes back only on failure: then as it is, with a warning */
  if (getenv(guard) == NULL)
    return NULL; /* the user's own choice */
  return units_of_kernel(kernel) == UNITS_OLD
             ? "BLAS uses kernels of an older processor and is several times slower than it could "
               "be: set "
               "OPENBLAS_CORETYPE=Haswell or SkylakeX"
             : "BLAS does not use this processor's AVX-512 units: set OPENBLAS_CORETYPE=SkylakeX";
}

const char *mxs_cli_select_kernel(char **argv) {
  void *library = dlopen(NULL, RTLD_LAZY);
  if (library == NULL)
    return NULL;
  pin_threads(library);
  void *symbol = dlsym(library, "openblas_get_corename");
  char *(*get_corename)(void) = NULL;
  memcpy(&get_corename, &symbol, sizeof symbol);
  const char *warning = get_corename == NULL ? NULL : raise_kernel(get_corename(), argv);
  (void)dlclose(library);
  return warning;
}
