#include "run/run_impl.h"

#include "run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t checkpoint_wanted;

static void on_stop(int number) {
  stop_signal = number;
}

static void on_checkpoint(int number) {
  (void)number;
  checkpoint_wanted = 1;
}

static void set_action(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  (void)sigemptyset(&action.sa_mask);
  (void)sigaction(number, &action, NULL);
}

void mxs_run_catch_signals(void) {
  /* Descriptors 0 to 2 that are closed would be given to the next files opened, and then written
   * into. */
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
      break;
  set_action(SIGUSR1, on_stop);
  set_action(SIGTERM, on_stop);
  set_action(SIGUSR2, on_checkpoint);
  set_action(SIGPIPE, SIG_IGN);
  set_action(SIGXFSZ, SIG_IGN);
}

int mxs_run_stop_wanted(void) {
  return stop_signal != 0;
}

int mxsi_signal_stop(void) {
  return stop_signal;
}

int mxsi_signal_take_checkpoint(void) {
  if (!checkpoint_wanted)
    return 0;
  checkpoint_wanted = 0;
  return 1;
}

const char *mxsi_signal_name(int number) {
  return number == SIGTERM ? "SIGTERM" : (number == SIGUSR2 ? "SIGUSR2" : "SIGUSR1");
}
