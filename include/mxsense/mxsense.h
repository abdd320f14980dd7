/** @file
 *  mxsense: recovery of low-rank matrices from linear measurements by factorised gradient descent.
 *  Includes all public headers. Start at solve.h. */
#ifndef MXSENSE_MXSENSE_H
#define MXSENSE_MXSENSE_H

#include "mxsense/base.h"
#include "mxsense/op.h"
#include "mxsense/problem.h"
#include "mxsense/solve.h"

#endif
