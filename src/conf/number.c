#include "conf/number.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A decimal number taken apart: digits without leading zeros, value = digits * 10^exponent. */
typedef struct decimal {
  int negative;
  int digit_count;
  char digits[64];
  int too_long; /* more digits than a 64-bit integer can have */
  int64_t exponent;
} decimal;

enum { EXPONENT_LIMIT = 100000 };

static int is_digit(char c) {
  return c >= '0' && c <= '9';
}

static void take_digit(decimal *number, char c) {
  if (number->digit_count == 0 && c == '0')
    return;
  if (number->digit_count == (int)sizeof number->digits) {
    number->too_long = 1;
    number->exponent++;
    return;
  }
  number->digits[number->digit_count++] = c;
}

/* Digits with at most one point. Returns where they end, NULL if there are none. */
static const char *scan_mantissa(const char *p, decimal *number) {
  int seen = 0;
  int after_point = 0;
  for (;; p++) {
    if (is_digit(*p)) {
      seen = 1;
      number->exponent -= after_point;
      take_digit(number, *p);
    } else if (*p == '.' && !after_point) {
      after_point = 1;
    } else {
      return seen ? p : NULL;
    }
  }
}

/* "e", sign, digits. The value is clamped: beyond the limit every number overflows or underflows
 * anyway. */
static const char *scan_exponent(const char *p, decimal *number) {
  const int negative = p[1] == '-';
  p += p[1] == '-' || p[1] == '+' ? 2 : 1;
  if (!is_digit(*p))
    return NULL;
  int64_t exponent = 0;
  for (; is_digit(*p); p++)
    if (exponent < EXPONENT_LIMIT)
      exponent = 10 * exponent + (*p - '0');
  number->exponent += negative ? -exponent : exponent;
  return p;
}

/* 1 if all of `text` is a decimal number. */
static int scan_decimal(const char *text, decimal *number) {
  *number = (decimal){.negative = text[0] == '-'};
  const char *p = text[0] == '-' || text[0] == '+' ? text + 1 : text;
  p = scan_mantissa(p, number);
  if (p != NULL && (*p == 'e' || *p == 'E'))
    p = scan_exponent(p, number);
  return p != NULL && *p == '\0';
}

mxs_status mxs_parse_integer(const char *text, int64_t *value) {
  decimal number;
  if (!scan_decimal(text, &number))
    return mxs_fail(MXS_ERR_SETTINGS, "is not an integer");
  while (number.digit_count > 0 && number.digits[number.digit_count - 1] == '0') {
    number.digit_count--;
    number.exponent++;
  }
  if (number.digit_count > 0 && number.exponent < 0)
    return mxs_fail(MXS_ERR_SETTINGS, "is not an integer");
  int64_t sum = 0;
  if (number.too_long)
    return mxs_fail(MXS_ERR_SETTINGS, "has too many digits");
  int overflow = 0;
  for (int i = 0; i < number.digit_count && !overflow; i++)
    overflow = __builtin_mul_overflow(sum, 10, &sum) ||
               __builtin_sub_overflow(sum, number.digits[i] - '0', &sum);
  for (int64_t e = 0; sum != 0 && e < number.exponent && !overflow; e++)
    overflow = __builtin_mul_overflow(sum, 10, &sum);
  if (!overflow &&
      !number.negative) /* summed downwards: the most negative integer has no positive twin */
    overflow = __builtin_sub_overflow(0, sum, &sum);
  if (overflow)
    return mxs_fail(MXS_ERR_SETTINGS, "is beyond 64-bit integers");
  *value = sum;
  return MXS_OK;
}

/* Run under LC_NUMERIC = "C" whatever a host program has set; the thread's own locale comes back
 * afterwards. */
static locale_t enter_c_locale(locale_t *c_locale) {
  *c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  return *c_locale == (locale_t)0 ? (locale_t)0 : uselocale(*c_locale);
}

static void leave_c_locale(locale_t c_locale, locale_t before) {
  if (c_locale == (locale_t)0)
    return;
  uselocale(before);
  freelocale(c_locale);
}

mxs_status mxs_parse_real(const char *text, double *value) {
  decimal number;
  if (!scan_decimal(text, &number))
    return mxs_fail(MXS_ERR_SETTINGS, "is not a finite number");
  locale_t c_locale;
  const locale_t before = enter_c_locale(&c_locale);
  const double parsed = strtod(text, NULL);
  leave_c_locale(c_locale, before);
  if (!isfinite(parsed))
    return mxs_fail(MXS_ERR_SETTINGS, "is too large for a 64-bit number");
  if (parsed == 0.0 && number.digit_count > 0)
    return mxs_fail(MXS_ERR_SETTINGS, "is too small for a 64-bit number");
  *value = parsed;
  return MXS_OK;
}

/* "1e-08" as people write it: "1e-8". */
static void trim_exponent(char *text) {
  char *p = strchr(text, 'e');
  if (p == NULL)
    return;
  char *digits = p + 2;
  const size_t zeros = strspn(digits, "0");
  memmove(digits, digits + zeros, strlen(digits + zeros) + 1);
}

/* Also tells -0 from 0. */
static int same_bits(double a, double b) {
  return a == b && signbit(a) == signbit(b);
}

void mxs_format_real(double value, char out[MXS_REAL_TEXT]) {
  if (!isfinite(value)) {
    const char *word = value < 0.0 ? "-inf" : "inf";
    if (isnan(value))
      word = "nan";
    memcpy(out, word, strlen(word) + 1);
    return;
  }
  locale_t c_locale;
  const locale_t before = enter_c_locale(&c_locale);
  /* %g turns to exponents as soon as a whole number has more places than digits asked for. */
  int written = fabs(value) < 1e15 ? snprintf(out, MXS_REAL_TEXT, "%.0f", value) : 0;
  double back = written > 0 ? strtod(out, NULL) : (double)NAN;
  for (int digits = 1; digits <= 17 && !same_bits(back, value); digits++) {
    written = snprintf(out, MXS_REAL_TEXT, "%.*g", digits, value);
    back = strtod(out, NULL);
  }
  leave_c_locale(c_locale, before);
  if (written < 0)
    out[0] = '\0';
  trim_exponent(out);
}

/** Units of time, the longest first. */
static const struct {
  const char *suffix;
  double seconds;
} units[] = {{"d", 86400.0}, {"h", 3600.0}, {"min", 60.0}, {"s", 1.0}};

enum { UNIT_COUNT = sizeof units / sizeof units[0] };

/* The unit that ends a text of at most MXS_CADENCE_TEXT - 1 characters; -1: it has none. */
static int unit_of(const char *text) {
  const size_t length = strlen(text);
  for (int u = 0; u < UNIT_COUNT; u++) {
    const size_t suffix = strlen(units[u].suffix);
    if (length > suffix && strcmp(text + length - suffix, units[u].suffix) == 0)
      return u;
  }
  return -1;
}

static mxs_status parse_with_unit(const char *text, int unit, double *seconds) {
  char number[MXS_CADENCE_TEXT];
  const size_t length = strlen(text) - strlen(units[unit].suffix);
  double value = 0.0;
  memcpy(number, text, length);
  number[length] = '\0';
  MXS_TRY(mxs_parse_real(number, &value));
  value *= units[unit].seconds;
  if (value < 0.0 || !isfinite(value))
    return mxs_fail(MXS_ERR_SETTINGS, "has a negative time");
  *seconds = value;
  return MXS_OK;
}

/* Two digits at `*p`, which moves past them; -1: there are none. */
static int two_digits(const char **p) {
  if (!isdigit((unsigned char)(*p)[0]) || !isdigit((unsigned char)(*p)[1]))
    return -1;
  *p += 2;
  return 10 * ((*p)[-2] - '0') + ((*p)[-1] - '0');
}

/* D-HH:MM:SS, HH:MM:SS, MM:SS; the first field may have any number of digits. */
static int parse_colons(const char *text, double *seconds) {
  const char *p = text;
  const char *dash = strchr(text, '-');
  char *end = NULL;
  if (!isdigit((unsigned char)*p) || strchr(text, ':') == NULL)
    return 0;
  const double days = dash != NULL ? (double)strtoll(p, &end, 10) : 0.0;
  if (dash != NULL && (end != dash || !isdigit((unsigned char)dash[1])))
    return 0;
  p = dash != NULL ? dash + 1 : p;
  double value = (double)strtoll(p, &end, 10);
  int fields = 1;
  for (p = end; *p == ':' && fields < 3; fields++) {
    p++;
    const int next = two_digits(&p);
    if (next < 0 || next > 59)
      return 0;
    value = 60.0 * value + next;
  }
  *seconds = 86400.0 * days + value;
  return *p == '\0' && fields >= 2 && (dash == NULL || fields == 3);
}

mxs_status mxs_parse_time(const char *text, double *seconds) {
  const int unit = strlen(text) < MXS_CADENCE_TEXT ? unit_of(text) : -1;
  double value = 0.0;
  if (unit >= 0)
    return parse_with_unit(text, unit, seconds);
  if (!parse_colons(text, &value))
    return mxs_fail(MXS_ERR_SETTINGS, "is not a time with its unit");
  *seconds = value;
  return MXS_OK;
}

/* One part of a cadence: a number with a unit of time, or a plain number of iterations. */
static mxs_status parse_part(const char *part, mxs_cadence *value, int seen[2]) {
  const int unit = unit_of(part);
  if (unit >= 0) {
    MXS_TRY(parse_with_unit(part, unit, &value->seconds));
    return seen[1]++ ? mxs_fail(MXS_ERR_SETTINGS, "has a second time") : MXS_OK;
  }
  MXS_TRY(mxs_parse_integer(part, &value->iterations));
  if (value->iterations < 0 || seen[0]++)
    return mxs_fail(MXS_ERR_SETTINGS, "has a negative or a second number of iterations");
  return MXS_OK;
}

mxs_status mxs_parse_cadence(const char *text, mxs_cadence *value) {
  mxs_cadence parsed = {0, 0.0};
  int seen[2] = {0, 0};
  for (const char *p = text;;) {
    p += strspn(p, " ");
    const size_t length = strcspn(p, ",");
    size_t used = length;
    while (used > 0 && p[used - 1] == ' ')
      used--;
    char part[MXS_CADENCE_TEXT];
    if (used == 0 || used >= sizeof part)
      return mxs_fail(MXS_ERR_SETTINGS, "is not a number of iterations or a time");
    memcpy(part, p, used);
    part[used] = '\0';
    MXS_TRY(parse_part(part, &parsed, seen));
    if (p[length] == '\0')
      break;
    p += length + 1;
  }
  *value = parsed;
  return MXS_OK;
}

void mxs_format_cadence(mxs_cadence value, char out[MXS_CADENCE_TEXT]) {
  int unit = 0; /* the longest one in which the time is whole, so that it reads back exactly */
  while (unit < UNIT_COUNT - 1 && fmod(value.seconds, units[unit].seconds) != 0.0)
    unit++;
  char time[MXS_REAL_TEXT];
  mxs_format_real(value.seconds / units[unit].seconds, time);
  int written = 0;
  if (value.seconds == 0.0)
    written = snprintf(out, MXS_CADENCE_TEXT, "%lld", (long long)value.iterations);
  else if (value.iterations == 0)
    written = snprintf(out, MXS_CADENCE_TEXT, "%s%s", time, units[unit].suffix);
  else
    written = snprintf(out, MXS_CADENCE_TEXT, "%lld,%s%s", (long long)value.iterations, time,
                       units[unit].suffix);
  if (written < 0)
    out[0] = '\0';
}
