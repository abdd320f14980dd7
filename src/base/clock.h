/** @file
 *  Time of this process. Room `base`. */
#ifndef MXS_BASE_CLOCK_H
#define MXS_BASE_CLOCK_H

/** Seconds on a clock that only goes forward, from an arbitrary start; 0 where there is none.
 *  Local. */
double mxs_clock(void);

#endif
