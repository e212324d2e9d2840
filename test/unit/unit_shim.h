/*
 * unit_shim.h
 *	  A very small test runner: checks are counted, failures printed as TAP
 *	  lines, and the last line says "N passed, N failed".
 */
#ifndef UNIT_SHIM_H
#define UNIT_SHIM_H

#include <stdbool.h>
#include <stdint.h>

/* A check within a case; the first failures of a case are printed. */
#define UNIT_CHECK(condition, ...) \
	unit_check((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)

extern bool unit_check(bool ok, const char *file, int line,
					   const char *condition, const char *format,...)
			__attribute__((format(printf, 5, 6)));

/* Run one case: it passes when none of its checks failed. */
extern void unit_run(const char *name, void (*body) (void));

/* Print the last line; returns the exit status for main. */
extern int	unit_finish(void);

/* Reproducible random numbers (splitmix64) */
extern void unit_seed(uint64_t seed);
extern uint64_t unit_random(void);
extern uint64_t unit_random_below(uint64_t limit);

#endif							/* UNIT_SHIM_H */
