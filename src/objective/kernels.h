/** @file
 *  Hot loops of the Jacobian. Room `objective`; all Local.
 *
 *  Sums have a fixed order: those over columns go by fused multiply-adds to eight lanes, j mod 8,
 *  that are added pairwise at the end; those over rows or measurements ascend. So neither the
 *  instruction set nor how rows are grouped changes a bit. */
#ifndef MXS_OBJECTIVE_KERNELS_H
#define MXS_OBJECTIVE_KERNELS_H

#include <stdint.h>

/** The point as the kernels want it, and room of one thread. */
typedef struct mxsi_tangent {
  int64_t n1, n2, k;
  int64_t ld;       /**< of Vt and C: n2 rounded up to MXSI_TANGENT_LANES */
  const double *U;  /**< n1 x k */
  const double *Vt; /**< V^T, k x n2, zeros behind */
  double *C;        /**< k x ld, of this thread */
} mxsi_tangent;

enum { MXSI_TANGENT_LANES = 8 };

typedef struct mxsi_loops {
  /** row = [vec(A V), vec(A^T U)] of one measurement A, n1 x n2: A is read from memory once. Cost:
   *  4 n1 n2 k flops. */
  void (*tangent_row)(const mxsi_tangent *at, const double *A, double *row);

  /** <a, b>. */
  double (*dot)(const double *a, const double *b, int64_t n);

  /** b += s a. */
  void (*axpy)(double s, const double *a, double *b, int64_t n);

  /** to = a, rounded. */
  void (*to_single)(const double *a, float *to, int64_t n);

  /** out += J^T (J d): `rows` rows of ld numbers, a multiple of 16, as many of d and out. Rows are
   *  read from memory once. */
  void (*normal_rows)(const float *J, int64_t rows, int64_t ld, const double *d, double *out);
} mxsi_loops;

/** Loops of an instruction set: 0 plain C, 1 AVX2, 2 AVX-512; NULL where the processor has it not.
 */
enum { MXSI_LOOPS = 3 };
const mxsi_loops *mxsi_loops_of(int set);

/** The fastest that the processor has. */
const mxsi_loops *mxsi_loops_fastest(void);

#endif
