#include "base/random.h"
#include "la/la.h"
#include "optim/optim_impl.h"

#include <math.h>
#include <string.h>

enum { INTERVAL = 100 };

/* A gradient below this times s_1 and the norm of the factors is nearly zero; a residual above this
 * share of y is not small; a loss below this share of that at the last kick has fallen. */
#define SMALL_GRADIENT 1e-3
#define LARGE_RESIDUAL 1e-2
#define FALLEN 0.99

static double norm_of_both(const mxs_optim *o, const double *P, const double *Q) {
  return hypot(mxs_la_frobenius(mxs_cview(P, o->problem->n1, o->k)),
               mxs_la_frobenius(mxs_cview(Q, o->problem->n2, o->k)));
}

static int is_due(const mxs_optim *o, double gradient, double size) {
  const mxs_problem *p = o->problem;
  const double y2 = p->y_norm2 / (2.0 * (double)p->m_train);
  const double last = o->number[MXSI_KICKED];
  if (last > 0.0 && ((double)o->iteration - (last - 1.0) < INTERVAL ||
                     o->at->loss > FALLEN * o->number[MXSI_KICKED_LOSS]))
    return 0;
  return gradient <= SMALL_GRADIENT * o->s1 * size &&
         o->at->loss > LARGE_RESIDUAL * LARGE_RESIDUAL * y2;
}

/* Normal numbers of this iteration; the row after the last tells the radius. */
static void draw(const mxs_optim *o, mxs_stream stream, int64_t rows, double *out) {
  for (int64_t i = 0; i < rows; i++)
    mxs_random_gaussian_row(o->seed, stream, o->iteration * (rows + 1) + i, o->k, out + i * o->k);
}

/* A uniform point of a ball: a direction, and a length whose power of the dimension is uniform. */
static void add_kick(mxs_optim *o, double radius) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2;
  const int symmetric = mxsi_optim_symmetric(o);
  const double dimension = (double)((symmetric ? n1 : n1 + n2) * o->k);
  double *P = o->work_U, *Q = o->work_V;
  draw(o, MXS_STREAM_PERTURB_U, n1, P);
  if (symmetric)
    memcpy(Q, P, (size_t)(n2 * o->k) * sizeof *Q);
  else
    draw(o, MXS_STREAM_PERTURB_V, n2, Q);
  const double uniform =
      mxs_random_uniform(o->seed, MXS_STREAM_PERTURB_U, o->iteration * (n1 + 1) + n1);
  mxsi_optim_move(o, -radius * pow(uniform, 1.0 / dimension) / norm_of_both(o, P, Q), P, Q);
}

void mxsi_optim_kick(mxs_optim *o, const double *gU, const double *gV) {
  const double size = norm_of_both(o, o->U, o->V);
  if (o->options->perturb == 0.0 || !is_due(o, norm_of_both(o, gU, gV), size))
    return;
  add_kick(o, o->options->perturb * (size > 0.0 ? size : sqrt(o->s1 / o->problem->scale2)));
  o->number[MXSI_KICKED] = (double)o->iteration + 1.0;
  o->number[MXSI_KICKED_LOSS] = o->at->loss;
}
