/* sched_getaffinity(). */
#define _GNU_SOURCE
#include "bench/machine.h"

#include "conf/build.h"
#include "la/la.h"

#include <hdf5.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LEVELS = 6 };

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

/* Processors of this rank, and of all ranks on its host. */
static void count_cores(const mxs_comm *comm, MPI_Comm host, mxs_machine *machine) {
  cpu_set_t mine, all;
  CPU_ZERO(&mine);
  const int known = sched_getaffinity(0, sizeof mine, &mine) == 0;
  MPI_Allreduce(&mine, &all, (int)sizeof mine, MPI_BYTE, MPI_BOR, host);
  machine->cores = -mxs_comm_max(comm, known ? -CPU_COUNT(&all) : 0);
  machine->cores_per_rank = -mxs_comm_max(comm, known ? -CPU_COUNT(&mine) : 0);
}

static void count_hosts(const mxs_comm *comm, mxs_machine *machine) {
  MPI_Comm host = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  (void)MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &host);
  (void)MPI_Comm_rank(host, &rank);
  (void)MPI_Comm_size(host, &size);
  count_cores(comm, host, machine);
  (void)MPI_Comm_free(&host);
  machine->hosts = mxs_comm_sum(comm, rank == 0);
  machine->ranks_per_host = mxs_comm_max(comm, size);
}

/* The largest cache of the first processor as Linux tells it; sysconf() multiplies that of virtual
 * machines by their processors. */
static int64_t find_cache(void) {
  int64_t largest = 0;
  for (int index = 0; index < CACHE_LEVELS; index++) {
    char path[96];
    long long kilobytes = 0;
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    FILE *file = fopen(path, "r");
    if (file == NULL)
      break;
    char text[32] = "";
    if (fgets(text, sizeof text, file) != NULL)
      kilobytes = strtoll(text, NULL, 10);
    (void)fclose(file); /* only read */
    largest = kilobytes * 1024 > largest ? kilobytes * 1024 : largest;
  }
  return largest;
}

void mxs_machine_find(const mxs_comm *comm, mxs_machine *machine) {
  unsigned major = 0, minor = 0, release = 0;
  memset(machine, 0, sizeof *machine);
  machine->ranks = comm->size;
  count_hosts(comm, machine);
  machine->cache_bytes = find_cache();
  find_cpu(machine->cpu, sizeof machine->cpu);
  find_mpi(machine->mpi, sizeof machine->mpi);
  (void)H5get_libversion(&major, &minor, &release);
  (void)snprintf(machine->hdf5, sizeof machine->hdf5, "%u.%u.%u", major, minor, release);
  (void)snprintf(machine->blas, sizeof machine->blas, "%s", mxs_la_blas_config());
  (void)snprintf(machine->blas_kernel, sizeof machine->blas_kernel, "%s", mxs_la_blas_kernel());
}

json_t *mxs_machine_json(const mxs_machine *machine) {
  return json_pack("{s:i, s:I, s:s, s:s, s:s}", "ranks", machine->ranks, "hosts",
                   (json_int_t)machine->hosts, "cpu", machine->cpu, "blas", machine->blas,
                   "blas_kernel", machine->blas_kernel);
}

json_t *mxs_machine_build_json(const mxs_machine *machine) {
  const mxs_build build = mxs_build_get();
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "version", build.version, "commit",
                   build.commit, "compiler", build.compiler, "flags", build.flags, "mpi",
                   machine->mpi, "hdf5", machine->hdf5);
}
