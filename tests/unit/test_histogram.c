// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Histograms of the load generator: whatever the value, its group says it to 0.8 %.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "../../bench/load/load.h"

/* The group that has one value, which must be the only. */
static unsigned int only_group(const struct histogram *histogram)
{
	unsigned int found = 0, groups = 0;

	for (unsigned int i = 0; i < HISTOGRAM_GROUPS; i++) {
		if (!histogram->counts[i])
			continue;
		found = i;
		groups++;
	}
	assert_int_equal(groups, 1);
	return found;
}

static void check_value(uint64_t value)
{
	struct histogram *histogram = calloc(1, sizeof(*histogram));
	uint64_t highest;

	histogram_add(histogram, value);
	highest = histogram_highest(only_group(histogram));
	assert_true(highest >= value);
	assert_true(highest - value <= value / 128);
	free(histogram);
}

static void values_are_within_their_group(void **state)
{
	for (uint64_t value = 0; value < 5000; value++)
		check_value(value);
	for (unsigned int bit = 12; bit < 63; bit++)
		for (int offset = -1; offset <= 1; offset++)
			check_value((UINT64_C(1) << bit) + offset);
	check_value(INT64_MAX);
}

static void groups_follow_each_other(void **state)
{
	for (unsigned int group = 1; group < HISTOGRAM_GROUPS; group++)
		assert_true(histogram_highest(group) > histogram_highest(group - 1));
}

static void negative_is_zero(void **state)
{
	struct histogram *histogram = calloc(1, sizeof(*histogram));

	histogram_add(histogram, -5);
	assert_int_equal(only_group(histogram), 0);
	free(histogram);
}

static void merged_counts_add_up(void **state)
{
	struct histogram *one = calloc(1, sizeof(*one)), *other = calloc(1, sizeof(*other));

	histogram_add(one, 1000);
	histogram_add(other, 1000);
	histogram_add(other, 1000);
	histogram_merge(one, other);
	assert_int_equal(one->counts[only_group(one)], 3);
	free(one);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_within_their_group),
		cmocka_unit_test(groups_follow_each_other),
		cmocka_unit_test(negative_is_zero),
		cmocka_unit_test(merged_counts_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
