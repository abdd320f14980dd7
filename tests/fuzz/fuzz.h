/** @file
 *  A target of the fuzzer: takes any bytes, and ends the process where something is wrong. With
 * clang and MXSENSE_FUZZ it is driven by libFuzzer, else by main.c with the files of corpus/. */
#ifndef MXS_TESTS_FUZZ_H
#define MXS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Say what is wrong and end. */
#define FUZZ_REQUIRE(condition, text)                                                              \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, text);              \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

#endif
