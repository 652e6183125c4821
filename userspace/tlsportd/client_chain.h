/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Certificate message of a client: taken apart before the library sees it,
 * for the order of the messages behind it depends on it, and kept for the application.
 */
#ifndef _TLSPORTD_CLIENT_CHAIN_H
#define _TLSPORTD_CLIENT_CHAIN_H

#include "hello.h"

/* Longest message: wolfSSL takes chains of nine certificates. */
#define CLIENT_CHAIN_MAX 32768

/**
 * struct client_chain - certificates that a client sent
 * @der: one behind the other, its own first; NULL: it sent none
 * @own_len: of its own
 * @count: how many
 */
struct client_chain {
	uint8_t *der;
	size_t len;
	size_t own_len;
	unsigned int count;
};

/**
 * client_chain_parse() - take the body of a Certificate message apart
 * @version: its form depends on it
 *
 * What stands in the certificates is not looked at: the library verifies them.
 *
 * Return: 0, or the alert that it deserves and nothing to free.
 */
int client_chain_parse(uint16_t version, const uint8_t *body, size_t len,
		       struct client_chain *chain);

/* The values of the client's own certificate from its subject on.  False: it is none. */
bool client_chain_subject(const struct client_chain *chain, struct bytes *rest);

/* Kinds of keys: that of ECDSA is the group, or a curve that we have no number for. */
enum {
	CLIENT_KEY_UNREADABLE = 0,
	CLIENT_KEY_OTHER = 0xfffb,
	CLIENT_KEY_RSA,
	CLIENT_KEY_RSA_PSS,	    /* which signs by nothing else */
	CLIENT_KEY_RSA_PSS_LIMITED, /* likewise, and with these parameters */
	CLIENT_KEY_ECDSA,
};

/* The kind of the key in it. */
uint16_t client_chain_key(const struct client_chain *chain);

void client_chain_free(struct client_chain *chain);

#endif /* _TLSPORTD_CLIENT_CHAIN_H */
