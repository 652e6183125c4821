/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose certificates a port takes from clients: its certificate authorities and
 * their lists of revoked certificates.  Used by tlsportd when it loads a port and by
 * tlsportctl before it changes one, as cert_check.h is.
 *
 * Needs -lwolfssl; its header does not need wolfSSL's.
 */
#ifndef _TLSPORT_CLIENT_CA_H
#define _TLSPORT_CLIENT_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Bits of keys, of authorities and of clients. */
#define CLIENT_RSA_MIN 2048
#define CLIENT_ECC_MIN 256

/**
 * struct client_end - from when and until when one of them is of use
 * @is_crl: it is a revocation list
 * @which: "3 (name)": its number in the file, and of a certificate the name
 */
struct client_end {
	bool is_crl;
	char which[96];
	time_t since;
	time_t until;
};

/**
 * struct client_ca - what is in the files
 * @ca: PEM text of certificates
 * @crl: PEM text of certificate revocation lists; NULL: revocation is not looked at
 * @ca_len: of @ca
 * @crl_len: of @crl
 * @open: others than its owner can change the file of @ca
 * @ends: of all certificates and lists
 */
struct client_ca {
	char *ca;
	size_t ca_len;
	char *crl;
	size_t crl_len;
	bool open;
	struct client_end *ends;
	size_t end_count;
};

/**
 * client_ca_read() - read and check the files
 * @ca: file
 * @crl: file; NULL: none
 * @err: on failure one line that names the file and what is wrong; else one of warnings, or ""
 *
 * A list that has ended is a warning, and so is an authority that has while there is another:
 * no certificate of its issuer is taken then, and none that it signed.
 *
 * Return: 0, or -1 with nothing to free.
 */
int client_ca_read(const char *ca, const char *crl, struct client_ca *clients, char *err,
		   size_t errlen);
void client_ca_free(struct client_ca *clients);

/* 0 or -1: out of memory, and @to is empty */
int client_ca_copy(const struct client_ca *from, struct client_ca *to);
bool client_ca_same(const struct client_ca *a, const struct client_ca *b);

/**
 * client_ca_warning() - what is wrong with them by now, though the port is served
 * @ca: file, for messages
 * @crl: likewise
 * @at: 0 at first; moves on
 * @text: the next warning: what has ended, or ends soon
 *
 * Return: false when there are no more.
 */
bool client_ca_warning(const struct client_ca *clients, const char *ca, const char *crl, time_t now,
		       size_t *at, char *text, size_t len);

/**
 * client_ca_next_crl() - walk over the lists
 * @at: @crl at first; moves on behind it
 * @len: of the list, from its BEGIN to its END
 *
 * Return: the next one, NULL: there are no more, or it has no END (then *@at is not at the end)
 */
const char *client_ca_next_crl(const char **at, size_t *len);

#endif /* _TLSPORT_CLIENT_CA_H */
