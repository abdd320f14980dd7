/* Latency and bandwidth between ranks 0 and 1, of a message there and back: a line of JSON. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 201 };

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median seconds of a message one way. */
static double one_way(int rank, char *data, int bytes) {
  double seconds[REPEATS];
  for (int i = 0; i < REPEATS; i++) {
    const double begin = MPI_Wtime();
    if (rank == 0) {
      MPI_Send(data, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
      MPI_Recv(data, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (rank == 1) {
      MPI_Recv(data, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(data, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
    seconds[i] = 0.5 * (MPI_Wtime() - begin);
  }
  qsort(seconds, REPEATS, sizeof *seconds, compare);
  return seconds[REPEATS / 2];
}

/* pingpong BYTES */
int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  const int bytes = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1 << 19;
  char *data = bytes > 8 ? calloc((size_t)bytes, 1) : NULL;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (data == NULL)
    MPI_Abort(MPI_COMM_WORLD, 64);
  const double small = one_way(rank, data, 8);
  const double large = one_way(rank, data, bytes);
  if (rank == 0)
    (void)printf("{\"latency\": %.9g, \"bandwidth\": %.9g}\n", small,
                 (double)(bytes - 8) / (large - small));
  free(data);
  MPI_Finalize();
  return 0;
}
