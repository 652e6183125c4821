// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counts of values by groups whose width grows with the value: those below 256 are groups of
 * their own, above each doubling has 128.
 */
#include "load.h"

static unsigned int group_of(uint64_t value)
{
	unsigned int shift;

	if (value < 2 << HISTOGRAM_BITS)
		return value;
	shift = 63 - __builtin_clzll(value) - HISTOGRAM_BITS;
	return (shift << HISTOGRAM_BITS) + (value >> shift);
}

void histogram_add(struct histogram *histogram, int64_t value)
{
	histogram->counts[group_of(value < 0 ? 0 : value)]++;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned int i = 0; i < HISTOGRAM_GROUPS; i++)
		to->counts[i] += from->counts[i];
}

uint64_t histogram_highest(unsigned int group)
{
	unsigned int shift;
	uint64_t lowest;

	if (group < 2 << HISTOGRAM_BITS)
		return group;
	shift = (group >> HISTOGRAM_BITS) - 1;
	lowest = ((group & ((1 << HISTOGRAM_BITS) - 1)) + (UINT64_C(1) << HISTOGRAM_BITS)) << shift;
	return lowest + (UINT64_C(1) << shift) - 1;
}
