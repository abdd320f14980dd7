#include "cli/cli.h"
#include "conf/build.h"
#include "la/la.h"

#include <hdf5.h>
#include <string.h>

int mxs_cli_version(const mxs_cli_session *session) {
  const mxs_build build = mxs_build_get();
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  (void)MPI_Get_library_version(mpi, &length); /* legal before MPI_Init */
  mpi[strcspn(mpi, ",\n")] = '\0';
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  (void)H5get_libversion(&major, &minor, &release);
  mxs_cli_print(session, "mxsense %s\n", build.version);
  mxs_cli_print(session, "commit     %s\n", build.commit);
  mxs_cli_print(session, "compiler   %s\n", build.compiler);
  mxs_cli_print(session, "flags      %s\n", build.flags);
  mxs_cli_print(session, "MPI        %s (MPI %d.%d)\n", mpi, MPI_VERSION, MPI_SUBVERSION);
  mxs_cli_print(session, "HDF5       %u.%u.%u, parallel\n", major, minor, release);
  mxs_cli_print(session, "BLAS       %s\n", mxs_la_blas_config());
  mxs_cli_print(session, "kernel     %s\n", mxs_la_blas_kernel());
  mxs_cli_print(session, "ScaLAPACK  %s\n", build.scalapack[0] != '\0' ? build.scalapack : "none");
  return 0;
}
