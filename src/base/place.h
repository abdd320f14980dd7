/** @file
 *  What this process is doing, in a few words, for a thread that watches it. Room `base`. */
#ifndef MXS_BASE_PLACE_H
#define MXS_BASE_PLACE_H

/** Say what begins now: a text that lives for ever, such as "computes". Local; of the thread that
 *  communicates. @returns what was said before, to be said again when this has ended */
const char *mxs_place_enter(const char *what);

/** What was said last, and when on mxs_clock(). Local; of any thread. */
const char *mxs_place_get(double *since);

#endif
