/** @file
 *  Hot loops of the Jacobian. Room `objective`; all Local.
 *
 *  Sums have a fixed order: those over columns go to eight lanes, j mod 8, added pairwise at the
 *  end; those over rows or measurements ascend. Products are fused into sums where the processor
 *  can, so bits are those of one kind of CPU, as BLAS's are. */
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

/** row = [vec(A V), vec(A^T U)] of one measurement A, n1 x n2: rows of A in panels that are read
 *  from memory once, while those of `next` bytes ahead are called for. Cost: 4 n1 n2 k flops. */
void mxsi_tangent_row(const mxsi_tangent *at, const double *A, double *row);

/** <a, b>. */
double mxsi_dot(const double *a, const double *b, int64_t n);

/** b += s a. */
void mxsi_axpy(double s, const double *a, double *b, int64_t n);

/** to = a, rounded. */
void mxsi_to_single(const double *a, float *to, int64_t n);

/** out += J^T (J d): `rows` rows of ld numbers, a multiple of 16, J aligned to 64 bytes. Rows are
 *  read from memory once. */
void mxsi_normal_rows(const float *J, int64_t rows, int64_t ld, const double *d, double *out);

#endif
