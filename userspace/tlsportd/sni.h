/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which certificates are for a host name: exact names first, then a wildcard
 * for its first label (RFC 6125 6.4.3).
 */
#ifndef _TLSPORTD_SNI_H
#define _TLSPORTD_SNI_H

#include "hello.h"

/**
 * struct sni_name - a name of a certificate
 * @name: lower case
 * @certificate: its number; of several with the same name the lower is preferred
 */
struct sni_name {
	const char *name;
	unsigned int certificate;
};

struct sni_table {
	struct sni_name *names;
	size_t count;
};

/* @name is not copied.  0 or -1: out of memory */
int sni_add(struct sni_table *table, const char *name, unsigned int certificate);

/* After the last sni_add(), before the first sni_find(). */
void sni_sort(struct sni_table *table);

/**
 * sni_find() - the certificates for a name
 * @host: as the client asks for it, in any case
 * @count: how many there are, one behind the other
 *
 * Return: the first, in order of preference; NULL: none.
 */
const struct sni_name *sni_find(const struct sni_table *table, struct bytes host, size_t *count);

/* Likewise for a name as a certificate has it, a wildcard too. */
const struct sni_name *sni_find_exact(const struct sni_table *table, const char *name,
				      size_t *count);

void sni_free(struct sni_table *table);

#endif /* _TLSPORTD_SNI_H */
