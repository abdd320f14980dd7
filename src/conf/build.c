#include "conf/build.h"

/* The build system gives these; without it the file still compiles. */
#ifndef MXS_BUILD_VERSION
#define MXS_BUILD_VERSION "unknown"
#endif
#ifndef MXS_BUILD_COMMIT
#define MXS_BUILD_COMMIT "unknown"
#endif
#ifndef MXS_BUILD_COMPILER
#define MXS_BUILD_COMPILER "unknown"
#endif
#ifndef MXS_BUILD_FLAGS
#define MXS_BUILD_FLAGS "unknown"
#endif
#ifndef MXS_BUILD_SCALAPACK
#define MXS_BUILD_SCALAPACK ""
#endif

mxs_build mxs_build_get(void) {
  return (mxs_build){.version = MXS_BUILD_VERSION,
                     .creator = "mxsense " MXS_BUILD_VERSION,
                     .commit = MXS_BUILD_COMMIT,
                     .compiler = MXS_BUILD_COMPILER,
                     .flags = MXS_BUILD_FLAGS,
                     .scalapack = MXS_BUILD_SCALAPACK};
}
