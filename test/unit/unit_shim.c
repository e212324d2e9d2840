/*
 * unit_shim.c
 *	  The test runner that unit_shim.h promises.
 */
#include "unit_shim.h"

#include <stdarg.h>
#include <stdio.h>

#define UNIT_PRINTED_FAILURES	5

static uint64_t unit_state;
static unsigned unit_cases;
static unsigned unit_failed;
static unsigned long unit_checks;
static unsigned unit_case_failures;

bool
unit_check(bool ok, const char *file, int line, const char *condition,
		   const char *format,...)
{
	va_list		args;

	unit_checks++;
	if (ok)
		return true;
	if (unit_case_failures++ < UNIT_PRINTED_FAILURES)
	{
		printf("# %s:%d: not true: %s\n#   ", file, line, condition);
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		printf("\n");
	}
	return false;
}

void
unit_run(const char *name, void (*body) (void))
{
	unit_case_failures = 0;
	unit_seed(42);
	body();
	unit_cases++;
	if (unit_case_failures > 0)
		unit_failed++;
	printf("%s %u - %s\n", unit_case_failures > 0 ? "not ok" : "ok",
		   unit_cases, name);
	fflush(stdout);
}

int
unit_finish(void)
{
	printf("1..%u\n# %lu checks\n", unit_cases, unit_checks);
	printf("%u passed, %u failed\n", unit_cases - unit_failed, unit_failed);
	return unit_failed == 0 ? 0 : 1;
}

void
unit_seed(uint64_t seed)
{
	unit_state = seed;
}

uint64_t
unit_random(void)
{
	uint64_t	z = (unit_state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

uint64_t
unit_random_below(uint64_t limit)
{
	return limit == 0 ? 0 : unit_random() % limit;
}
