// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates by host name, see sni.h. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sni.h"

/* RFC 1035 2.3.4 */
#define NAME_MAX_LEN 255

int sni_add(struct sni_table *table, const char *name, unsigned int certificate)
{
	struct sni_name *names = realloc(table->names, (table->count + 1) * sizeof(*names));

	if (!names)
		return -1;
	table->names = names;
	names[table->count++] = (struct sni_name){ name, certificate };
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct sni_name *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	if (order)
		return order;
	return left->certificate < right->certificate ? -1 : left->certificate > right->certificate;
}

void sni_sort(struct sni_table *table)
{
	if (table->count)
		qsort(table->names, table->count, sizeof(*table->names), by_name);
}

/* The first of those that are not before @name. */
static size_t lower_bound(const struct sni_table *table, const char *name)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(table->names[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct sni_name *sni_find_exact(const struct sni_table *table, const char *name,
				      size_t *count)
{
	size_t first = lower_bound(table, name), end = first;

	while (end < table->count && !strcmp(table->names[end].name, name))
		end++;
	*count = end - first;
	return *count ? &table->names[first] : NULL;
}

const struct sni_name *sni_find(const struct sni_table *table, struct bytes host, size_t *count)
{
	char name[NAME_MAX_LEN + 1];
	const struct sni_name *found;
	char *dot;

	*count = 0;
	if (!host.len || host.len > NAME_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < host.len; i++)
		name[i] = tolower(host.data[i]);
	name[host.len] = '\0';
	/* Who asks for "*.example.org" asks for no host. */
	if (strchr(name, '*'))
		return NULL;
	found = sni_find_exact(table, name, count);
	dot = strchr(name, '.');
	if (found || !dot || dot == name)
		return found;
	dot[-1] = '*';
	return sni_find_exact(table, dot - 1, count);
}

void sni_free(struct sni_table *table)
{
	free(table->names);
	memset(table, 0, sizeof(*table));
}
