/*
 * codec_unit.c
 *	  The unit of integers: the greatest divisor of all their distances from the minimum.
 *	  Timestamps in whole minutes and scaled numbers have one.
 *
 * Distances are uint64, so that nothing overflows.  A divisor d = 2^k * odd is kept with the
 * inverse of its odd part modulo 2^64: multiplying by it and rotating by k divides exactly, and
 * yields at most UINT64_MAX / d if and only if the number was divisible.  So a value costs a
 * multiplication, and no division.
 */
#include "codec_port.h"

#include "codec_private.h"

/* A divisor, prepared for exact division. */
typedef struct VdbDivisor
{
	uint64		divisor;			/* not 0 */
	uint64		inverse;			/* of the odd part, modulo 2^64 */
	uint64		most;				/* UINT64_MAX / divisor */
	uint32		twos;				/* exponent of 2 in the divisor */
} VdbDivisor;

static VdbDivisor
vdb_divisor(uint64 divisor)
{
	VdbDivisor	d = {.divisor = divisor,.most = UINT64_MAX / divisor};
	uint64		odd;

	d.twos = (uint32) __builtin_ctzll(divisor);
	odd = divisor >> d.twos;
	/* correct in 3 bits; each Newton step doubles them */
	d.inverse = odd;
	for (int step = 0; step < 5; step++)
		d.inverse *= 2 - odd * d.inverse;
	Assert(odd * d.inverse == 1);
	return d;
}

/* Return the quotient if n is divisible, else a number above d->most. */
static inline uint64
vdb_divide_exactly(uint64 n, const VdbDivisor *d)
{
	uint64		product = n * d->inverse;

	return (product >> d->twos) | (product << ((64 - d->twos) & 63));
}

static uint64
vdb_gcd(uint64 a, uint64 b)
{
	while (b != 0)
	{
		uint64		rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/*
 * Return the greatest common divisor of all values[i] - min, or 1 if all are equal.  If the values
 * have no common divisor, only a few are read.
 */
uint64
vdb_unit_of(const int64 *values, uint32 count, int64 min)
{
	VdbDivisor	d = {0};

	for (uint32 pos = 0; pos < count; pos++)
	{
		uint64		distance = (uint64) values[pos] - (uint64) min;

		Assert(values[pos] >= min);
		if (distance == 0 ||
			(d.divisor != 0 && vdb_divide_exactly(distance, &d) <= d.most))
			continue;
		d = vdb_divisor(vdb_gcd(distance, d.divisor));
		if (d.divisor == 1)
			return 1;
	}
	return d.divisor == 0 ? 1 : d.divisor;
}

/* Compute the fields of values that have the unit: (value - base) / unit. */
void
vdb_unit_divide(const int64 *values, uint32 count, int64 base, uint64 unit,
				int64 *fields)
{
	VdbDivisor	d = vdb_divisor(unit);

	for (uint32 i = 0; i < count; i++)
	{
		uint64		quotient = vdb_divide_exactly((uint64) values[i] - (uint64) base, &d);

		Assert(quotient <= d.most);
		fields[i] = (int64) quotient;
	}
}
