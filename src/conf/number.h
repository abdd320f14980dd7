/** @file
 *  Strict numbers and times: all of the text must be one, and LC_NUMERIC has no say. Room `conf`.
 */
#ifndef MXS_CONF_NUMBER_H
#define MXS_CONF_NUMBER_H

#include "mxsense/base.h"

/** When to write a checkpoint: whichever comes first; 0 switches one off. */
typedef struct mxs_cadence {
  int64_t iterations;
  double seconds;
} mxs_cadence;

enum { MXS_REAL_TEXT = 32, MXS_CADENCE_TEXT = 64 };

/** Decimal integer; a fraction or exponent is accepted where the value is whole: "1e3" and "2.50e1"
 *  are 1000 and 25. Local.
 *  @retval MXS_ERR_SETTINGS not an integer, or beyond 64 bits; the text goes on from the quoted
 *  value: "is not ..." */
MXS_CHECKED mxs_status mxs_parse_integer(const char *text, int64_t *value);

/** Finite decimal number; "nan", "inf" and hexadecimal forms are refused. Local.
 *  @retval MXS_ERR_SETTINGS as above */
MXS_CHECKED mxs_status mxs_parse_real(const char *text, double *value);

/** "200" iterations, a time ("30s", "10min", "2h", "1d"), or one of each: "200,10min". Local.
 * @retval MXS_ERR_SETTINGS as above */
MXS_CHECKED mxs_status mxs_parse_cadence(const char *text, mxs_cadence *value);

/** A time in seconds: "30s", "10min", "2h", "1d", or as Slurm writes it, "MM:SS", "HH:MM:SS",
 *  "D-HH:MM:SS". Local. @retval MXS_ERR_SETTINGS as above */
MXS_CHECKED mxs_status mxs_parse_time(const char *text, double *seconds);

/** Shortest decimal that reads back to the same bits ("nan", "inf", "-inf" for the rest). Local. */
void mxs_format_real(double value, char out[MXS_REAL_TEXT]);

/** Text that mxs_parse_cadence() reads back to the same value. Local. */
void mxs_format_cadence(mxs_cadence value, char out[MXS_CADENCE_TEXT]);

#endif
