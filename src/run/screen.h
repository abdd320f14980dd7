/** @file
 *  Standard output as people look at it: lines, and on a terminal one that is rewritten. Room
 *  `run`; all Local. */
#ifndef MXS_RUN_SCREEN_H
#define MXS_RUN_SCREEN_H

#include "conf/settings.h"

typedef struct mxs_screen {
  int out;         /**< standard output still takes what we write */
  int terminal_fd; /**< of the terminal that shows it; -1: none */
  int live;        /**< a live line is being rewritten on it */
  int live_shown;
} mxs_screen;

/** Find out what standard output is; with `quiet` nothing goes there. */
void mxs_screen_open(mxs_screen *screen, int quiet, mxs_progress progress);
void mxs_screen_close(mxs_screen *screen);

/** One line, given with its newline. */
void mxs_screen_line(mxs_screen *screen, const char *line);

/** Rewrite the live line; a narrow terminal shows the parts, two spaces apart, that fit. */
void mxs_screen_live(mxs_screen *screen, const char *text);

/** Clear the live line, until the next one. */
void mxs_screen_hide(mxs_screen *screen);

/** "12.3 s", "4 min 05 s", "3 h 20 min" */
void mxs_duration_text(double seconds, char text[32]);

#endif
