#include "la/la.h"
#include "run/run_impl.h"

#include <hdf5.h>
#include <string.h>

/* The first "model name" of /proc/cpuinfo, where there is one. */
static void find_cpu(char *text, size_t size) {
  char line[512];
  (void)snprintf(text, size, "unknown");
  FILE *file = fopen("/proc/cpuinfo", "r");
  if (file == NULL)
    return;
  while (fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL)
      continue;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(text, size, "%s", colon + 1 + strspn(colon + 1, " "));
    break;
  }
  (void)fclose(file);
}

static void find_mpi(char *text, size_t size) {
  char version[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  (void)MPI_Get_library_version(version, &length);
  version[strcspn(version, ",\n")] = '\0';
  (void)snprintf(text, size, "%.100s", version);
}

static int64_t count_hosts(const mxs_comm *comm) {
  MPI_Comm host = MPI_COMM_NULL;
  int rank = 0;
  (void)MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &host);
  (void)MPI_Comm_rank(host, &rank);
  (void)MPI_Comm_free(&host);
  return mxs_comm_sum(comm, rank == 0);
}

void mxsi_machine_find(const mxs_comm *comm, mxsi_machine *machine) {
  unsigned major = 0, minor = 0, release = 0;
  memset(machine, 0, sizeof *machine);
  machine->ranks = comm->size;
  machine->hosts = count_hosts(comm);
  find_cpu(machine->cpu, sizeof machine->cpu);
  find_mpi(machine->mpi, sizeof machine->mpi);
  (void)H5get_libversion(&major, &minor, &release);
  (void)snprintf(machine->hdf5, sizeof machine->hdf5, "%u.%u.%u", major, minor, release);
  (void)snprintf(machine->blas, sizeof machine->blas, "%s", mxs_la_blas_config());
  (void)snprintf(machine->blas_kernel, sizeof machine->blas_kernel, "%s", mxs_la_blas_kernel());
}
