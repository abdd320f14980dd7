// The installed headers from C++, without a solve.
#include <mxsense/mxsense.h>

int main() {
  const mxs_solve_options options = mxs_solve_defaults();
  return options.max_iterations > 0 && mxs_status_exit_code(MXS_ERR_DATA) == 65 ? 0 : 1;
}
