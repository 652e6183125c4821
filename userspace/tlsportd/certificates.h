/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificates of a port, with their keys: found, read, checked.
 */
#ifndef _TLSPORTD_CERTIFICATES_H
#define _TLSPORTD_CERTIFICATES_H

#include <stdbool.h>

#include "../common/cert_check.h"
#include "../common/port_config.h"
#include "ocsp.h"

/**
 * struct certificate - one of them
 * @cert: its file
 * @key: file of its key; NULL: the same
 * @strict: one with a fault is of no use
 * @passphrase: file that opens the key if it is encrypted; NULL: none
 * @files: what is in them; kept when it is of no use, too, to see whether it changes
 * @facts: once it was checked
 * @usable: it can be served; else @error says why not
 * @refusal: why it is not served though it can be: it does not go with the port's settings, "": it is
 * @ocsp: where its OCSP response is looked for
 * @run_dir: where ocsp_fetch.h has its answers
 * @response: the one that is stapled, checked; of several the one that is valid longest
 * @response_bad: a file of one is of no use
 * @response_error: why there is none, or what is wrong with a better one; "": nothing is wrong
 */
struct certificate {
	char *cert;
	char *key;
	char *passphrase;
	bool strict;
	struct cert_files files;
	struct cert_facts facts;
	struct cert_names names;
	bool usable;
	char error[512];
	char refusal[512];
	enum port_ocsp ocsp;
	const char *run_dir;
	struct ocsp_response response;
	bool response_bad;
	char response_error[512];
};

/* That of cert = is the first; those of cert-dir = are in the order of their names. */
struct certificates {
	struct certificate *list;
	size_t count;
};

/**
 * certificates_find() - which there are; their files are not opened
 * @run_dir: where ocsp_fetch.h has its answers
 * @err: "" before; one line that says what is wrong, also of a cert-dir that is, where
 *	there is a cert
 *
 * Return: 0, or -1 with nothing to free.
 */
int certificates_find(const struct port_config *port, const char *run_dir,
		      struct certificates *certificates, char *err, size_t errlen);
void certificates_free(struct certificates *certificates);

/* Of the same file; NULL: none */
const struct certificate *certificates_of_file(const struct certificates *certificates,
					       const char *cert);

/* Reads and checks one that was found. */
void certificate_load(struct certificate *certificate);

/* What is in force, in place of what was read: @from is usable.  0 or -1: out of memory */
int certificate_keep(struct certificate *certificate, const struct certificate *from);

/* The OCSP response in force, where what was read is worse and the certificate the same.  0 or -1 */
int certificate_keep_response(struct certificate *certificate, const struct certificate *from);

/* All of them, as far as they are usable.  0, or -1 (out of memory) with nothing to free */
int certificates_copy(const struct certificates *from, struct certificates *to);

/* Those in force that are not among @to, behind them.  0, or -1: out of memory */
int certificates_keep_others(const struct certificates *from, struct certificates *to);

size_t certificates_usable(const struct certificates *certificates);

/* Is the same in the files of both, and the same stapled? */
bool certificate_same(const struct certificate *a, const struct certificate *b);

#endif /* _TLSPORTD_CERTIFICATES_H */
