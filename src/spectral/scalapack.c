#include "la/la.h"
#include "spectral/spectral.h"

#include <math.h>
#include <string.h>

/* BLACS and ScaLAPACK ship no C headers. */
int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int nprow, int npcol);
void Cblacs_gridinfo(int context, int *nprow, int *npcol, int *myrow, int *mycol);
void Cblacs_gridexit(int context);
int numroc_(const int *n, const int *nb, const int *iproc, const int *isrcproc, const int *nprocs);
void descinit_(int *desc,
               const int *m,
               const int *n,
               const int *mb,
               const int *nb,
               const int *irsrc,
               const int *icsrc,
               const int *ictxt,
               const int *lld,
               int *info);
void Cpdgemr2d(int m,
               int n,
               double *a,
               int ia,
               int ja,
               const int *desca,
               double *b,
               int ib,
               int jb,
               const int *descb,
               int context);
void pdgesvd_(const char *jobu,
              const char *jobvt,
              const int *m,
              const int *n,
              double *a,
              const int *ia,
              const int *ja,
              const int *desca,
              double *s,
              double *u,
              const int *iu,
              const int *ju,
              const int *descu,
              double *vt,
              const int *ivt,
              const int *jvt,
              const int *descvt,
              double *work,
              const int *lwork,
              int *info);

void pdpotrf_(const char *uplo,
              const int *n,
              double *a,
              const int *ia,
              const int *ja,
              const int *desca,
              int *info);
void pdpotrs_(const char *uplo,
              const int *n,
              const int *nrhs,
              const double *a,
              const int *ia,
              const int *ja,
              const int *desca,
              double *b,
              const int *ib,
              const int *jb,
              const int *descb,
              int *info);

enum { DESCRIPTOR = 9, GRID_BLOCK = 32, PANEL = 128, TILE = 128 };

/* A matrix spread over a BLACS grid: column-major, as Fortran sees it. */
typedef struct spread_matrix {
  int descriptor[DESCRIPTOR];
  double *a;
} spread_matrix;

typedef struct grids {
  int handle;
  int row;    /* 1 x P: slabs */
  int square; /* nprow x npcol, as square as P allows, and no larger than the matrix has blocks */
  int root;   /* 1 x 1: rank 0 */
} grids;

/* All of M = S^T, n2 x n1 column-major: the memory of S row-major. */
typedef struct factorisation {
  const mxs_comm *comm;
  grids grid;
  int rows, cols, order, count; /* n2, n1, min(n1, n2), leading triplets wanted */
  spread_matrix M, U, Vt;       /* on the square grid */
  spread_matrix root_U, root_Vt;
  double *s, *slab, *work;
} factorisation;

static int at_most(int a, int b) {
  return a < b ? a : b;
}

/* PDGESVD takes ranks without a part of the matrix for a sign of different processors: every rank
 * of the grid gets a block. */
static void grids_open(const mxs_comm *comm, int rows, int cols, grids *g) {
  const int nprow = at_most((int)sqrt((double)comm->size), (rows + GRID_BLOCK - 1) / GRID_BLOCK);
  const int npcol = at_most(comm->size / nprow, (cols + GRID_BLOCK - 1) / GRID_BLOCK);
  g->handle = Csys2blacs_handle(comm->mpi);
  g->row = g->square = g->root = g->handle;
  Cblacs_gridinit(&g->row, "R", 1, comm->size);
  Cblacs_gridinit(&g->square, "R", nprow, npcol);
  Cblacs_gridinit(&g->root, "R", 1, 1);
}

static void grids_close(grids *g) {
  if (g->root >= 0)
    Cblacs_gridexit(g->root);
  if (g->square >= 0)
    Cblacs_gridexit(g->square);
  Cblacs_gridexit(g->row);
  Cfree_blacs_system_handle(g->handle);
}

/* Describe a rows x cols matrix on a grid; ranks outside it take part in redistributions with
 * context -1. */
static mxs_status spread_create(
    int context, int rows, int cols, int mb, int nb, spread_matrix *out) {
  int nprow = -1;
  int npcol = -1;
  int myrow = -1;
  int mycol = -1;
  const int zero = 0;
  if (context >= 0)
    Cblacs_gridinfo(context, &nprow, &npcol, &myrow, &mycol);
  if (myrow < 0) {
    memset(out->descriptor, 0, sizeof out->descriptor);
    out->descriptor[0] = 1;
    out->descriptor[1] = -1;
    return mxs_alloc(1, sizeof *out->a, &out->a);
  }
  const int local_rows = numroc_(&rows, &mb, &myrow, &zero, &nprow);
  const int local_cols = numroc_(&cols, &nb, &mycol, &zero, &npcol);
  const int ld = local_rows > 1 ? local_rows : 1;
  int info = 0;
  descinit_(out->descriptor, &rows, &cols, &mb, &nb, &zero, &zero, &context, &ld, &info);
  if (info != 0)
    return mxs_fail(MXS_ERR_NUMERIC, "ScaLAPACK refused to describe a %d x %d matrix (%d)", rows,
                    cols, info);
  return mxs_alloc((int64_t)ld * (local_cols > 0 ? local_cols : 1), sizeof *out->a, &out->a);
}

static mxs_status allocate(factorisation *f) {
  MXS_TRY(spread_create(f->grid.square, f->rows, f->cols, GRID_BLOCK, GRID_BLOCK, &f->M));
  MXS_TRY(spread_create(f->grid.square, f->rows, f->order, GRID_BLOCK, GRID_BLOCK, &f->U));
  MXS_TRY(spread_create(f->grid.square, f->order, f->cols, GRID_BLOCK, GRID_BLOCK, &f->Vt));
  MXS_TRY(spread_create(f->grid.root, f->rows, f->count, f->rows, f->count, &f->root_U));
  MXS_TRY(spread_create(f->grid.root, f->count, f->cols, f->count, f->cols, &f->root_Vt));
  return mxs_alloc(f->order, sizeof *f->s, &f->s);
}

static void release(factorisation *f) {
  mxs_release(&f->M.a);
  mxs_release(&f->U.a);
  mxs_release(&f->Vt.a);
  mxs_release(&f->root_U.a);
  mxs_release(&f->root_Vt.a);
  mxs_release(&f->s);
  mxs_release(&f->slab);
  mxs_release(&f->work);
}

/* Sum the shares into slabs of rows of S (columns of M), and from there to the square grid.
 * Collective. */
static mxs_status scatter(factorisation *f, double *share) {
  const int width = (f->cols + f->comm->size - 1) / f->comm->size;
  spread_matrix slab = {0};
  mxs_status status = spread_create(f->grid.row, f->rows, f->cols, f->rows, width, &slab);
  f->slab = slab.a;
  MXS_TRY(mxs_comm_agree(f->comm, status));
  for (int owner = 0; owner < f->comm->size; owner++) {
    const int first = owner * width < f->cols ? owner * width : f->cols;
    const int columns = f->cols - first < width ? f->cols - first : width;
    const int64_t total = (int64_t)columns * f->rows;
    const int64_t piece = INT64_C(1) << 27;
    for (int64_t done = 0; done < total; done += piece) {
      const int n = (int)(total - done < piece ? total - done : piece);
      MPI_Reduce(share + (int64_t)first * f->rows + done, slab.a + done, n, MPI_DOUBLE, MPI_SUM,
                 owner, f->comm->mpi);
    }
  }
  Cpdgemr2d(f->rows, f->cols, slab.a, 1, 1, slab.descriptor, f->M.a, 1, 1, f->M.descriptor,
            f->grid.row);
  return MXS_OK;
}

/* Ranks of the square grid only; the others wait in the redistribution that follows. */
static mxs_status factorise(factorisation *f) {
  const int one = 1;
  int lwork = -1;
  int info = 0;
  double wanted = 0.0;
  if (f->M.descriptor[1] < 0)
    return MXS_OK;
  for (int query = 1; query >= 0; query--) {
    pdgesvd_("V", "V", &f->rows, &f->cols, f->M.a, &one, &one, f->M.descriptor, f->s, f->U.a, &one,
             &one, f->U.descriptor, f->Vt.a, &one, &one, f->Vt.descriptor,
             query ? &wanted : f->work, &lwork, &info);
    if (query) {
      lwork = (int)fmin(wanted + 16.0, 2147483000.0);
      MXS_TRY(mxs_alloc(lwork, sizeof *f->work, &f->work));
    }
  }
  if (info != 0)
    return mxs_fail(MXS_ERR_NUMERIC, "ScaLAPACK's SVD returned %d: use svd = replicated", info);
  return MXS_OK;
}

/* M = U' S V'^T, so S = V' S U'^T: right vectors are columns of U', left vectors rows of V'^T. */
static void gather(factorisation *f, double *s, double *left, double *right) {
  const int64_t n1 = f->cols;
  const int64_t n2 = f->rows;
  const int64_t count = f->count;
  Cpdgemr2d(f->rows, f->count, f->U.a, 1, 1, f->U.descriptor, f->root_U.a, 1, 1,
            f->root_U.descriptor, f->grid.row);
  Cpdgemr2d(f->count, f->cols, f->Vt.a, 1, 1, f->Vt.descriptor, f->root_Vt.a, 1, 1,
            f->root_Vt.descriptor, f->grid.row);
  if (f->comm->rank == 0) {
    memcpy(s, f->s, (size_t)count * sizeof *s);
    memcpy(left, f->root_Vt.a, (size_t)(n1 * count) * sizeof *left);
    for (int64_t i = 0; i < n2; i++)
      for (int64_t j = 0; j < count; j++)
        right[i * count + j] = f->root_U.a[j * n2 + i];
  }
  mxs_comm_bcast(f->comm, s, count * (int64_t)sizeof *s, 0);
  mxs_comm_bcast(f->comm, left, n1 * count * (int64_t)sizeof *left, 0);
  mxs_comm_bcast(f->comm, right, n2 * count * (int64_t)sizeof *right, 0);
}

mxs_status mxsi_distributed_svd(const mxs_comm *comm,
                                double *share,
                                int64_t n1,
                                int64_t n2,
                                int64_t count,
                                double *s,
                                double *left,
                                double *right) {
  factorisation f = {.comm = comm,
                     .rows = (int)n2,
                     .cols = (int)n1,
                     .order = (int)(n1 < n2 ? n1 : n2),
                     .count = (int)count};
  grids_open(comm, f.rows, f.cols, &f.grid);
  mxs_status status = mxs_comm_agree(comm, allocate(&f));
  if (status == MXS_OK)
    status = scatter(&f, share);
  if (status == MXS_OK)
    status = mxs_comm_agree(comm, factorise(&f));
  if (status == MXS_OK)
    gather(&f, s, left, right);
  release(&f);
  grids_close(&f.grid);
  return status;
}

/* H = unit L^T L + E and x, in column panels of the upper triangle, then on the square grid. */
typedef struct definite {
  const mxs_comm *comm;
  const mxs_definite_system *of;
  grids grid;
  spread_matrix slab, H, x, root;
  double *tile; /* TILE x n */
  double *part; /* of this rank, a panel; in rows its columns, up to the diagonal */
  double *sum;  /* over the ranks */
  double *more; /* column of E */
} definite;

static mxs_status definite_allocate(definite *f) {
  const int n = (int)f->of->order;
  MXS_TRY(spread_create(f->grid.row, n, n, n, PANEL, &f->slab));
  MXS_TRY(spread_create(f->grid.square, n, n, GRID_BLOCK, GRID_BLOCK, &f->H));
  MXS_TRY(spread_create(f->grid.square, n, 1, GRID_BLOCK, GRID_BLOCK, &f->x));
  MXS_TRY(spread_create(f->grid.root, n, 1, n, 1, &f->root));
  MXS_TRY(mxs_alloc((int64_t)n * TILE, sizeof *f->tile, &f->tile));
  MXS_TRY(mxs_alloc((int64_t)n * PANEL, sizeof *f->part, &f->part));
  MXS_TRY(mxs_alloc((int64_t)n * PANEL, sizeof *f->sum, &f->sum));
  return mxs_alloc(n, sizeof *f->more, &f->more);
}

static void definite_release(definite *f) {
  mxs_release(&f->slab.a);
  mxs_release(&f->H.a);
  mxs_release(&f->x.a);
  mxs_release(&f->root.a);
  mxs_release(&f->tile);
  mxs_release(&f->part);
  mxs_release(&f->sum);
  mxs_release(&f->more);
}

/* Columns first .. end of L^T L, of this rank's rows. */
static void form_part(const definite *f, int64_t first, int64_t end) {
  const int64_t n = f->of->order;
  memset(f->part, 0, (size_t)((end - first) * end) * sizeof *f->part);
  for (int64_t row = 0; row < f->of->count; row += TILE) {
    const int64_t count = f->of->count - row < TILE ? f->of->count - row : TILE;
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < end; j++)
        f->tile[i * end + j] = (double)f->of->rows[(row + i) * n + j];
    mxs_la_gemm(1, 0, 1.0, (mxs_cmat){f->tile + first, count, end - first, end},
                (mxs_cmat){f->tile, count, end, end}, 1.0, mxs_view(f->part, end - first, end));
  }
}

static void put_panel(const definite *f, int64_t first, int64_t end, double *to) {
  const int64_t n = f->of->order;
  for (int64_t j = first; j < end; j++) {
    f->of->extra(f->of->ctx, j, f->more);
    for (int64_t i = 0; i < end; i++)
      to[(j - first) * n + i] = f->of->unit * f->sum[(j - first) * end + i] + f->more[i];
  }
}

/* Collective. */
static void definite_form(definite *f) {
  const int64_t n = f->of->order;
  const int ranks = f->comm->size;
  for (int64_t panel = 0; panel * PANEL < n; panel++) {
    const int64_t first = panel * PANEL;
    const int64_t end = n - first < PANEL ? n : first + PANEL;
    const int owner = (int)(panel % ranks);
    form_part(f, first, end);
    MPI_Reduce(f->part, f->sum, (int)((end - first) * end), MPI_DOUBLE, MPI_SUM, owner,
               f->comm->mpi);
    if (f->comm->rank == owner)
      put_panel(f, first, end, f->slab.a + panel / ranks * PANEL * n);
  }
  Cpdgemr2d((int)n, (int)n, f->slab.a, 1, 1, f->slab.descriptor, f->H.a, 1, 1, f->H.descriptor,
            f->grid.row);
}

/* Collective. */
static void definite_solve(definite *f, double *x, int *solved) {
  const int n = (int)f->of->order;
  const int one = 1;
  int info = 0;
  if (f->comm->rank == 0)
    memcpy(f->root.a, x, (size_t)n * sizeof *x);
  Cpdgemr2d(n, 1, f->root.a, 1, 1, f->root.descriptor, f->x.a, 1, 1, f->x.descriptor, f->grid.row);
  if (f->H.descriptor[1] >= 0) {
    pdpotrf_("U", &n, f->H.a, &one, &one, f->H.descriptor, &info);
    if (info == 0)
      pdpotrs_("U", &n, &one, f->H.a, &one, &one, f->H.descriptor, f->x.a, &one, &one,
               f->x.descriptor, &info);
  }
  *solved = mxs_comm_max(f->comm, info != 0) == 0;
  if (!*solved)
    return;
  Cpdgemr2d(n, 1, f->x.a, 1, 1, f->x.descriptor, f->root.a, 1, 1, f->root.descriptor, f->grid.row);
  if (f->comm->rank == 0)
    memcpy(x, f->root.a, (size_t)n * sizeof *x);
  mxs_comm_bcast(f->comm, x, n * (int64_t)sizeof *x, 0);
}

int mxs_has_distributed(void) {
  return 1;
}

mxs_status mxs_distributed_definite(const mxs_comm *comm,
                                    const mxs_definite_system *system,
                                    double *x,
                                    int *solved) {
  definite f = {.comm = comm, .of = system};
  *solved = 0;
  grids_open(comm, (int)system->order, (int)system->order, &f.grid);
  const mxs_status status = mxs_comm_agree(comm, definite_allocate(&f));
  if (status == MXS_OK) {
    definite_form(&f);
    definite_solve(&f, x, solved);
  }
  definite_release(&f);
  grids_close(&f.grid);
  return status;
}
