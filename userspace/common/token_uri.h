/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "key = pkcs11:...": which private key of which token it is (RFC 7512), and where
 * its PIN is.
 */
#ifndef _TLSPORT_TOKEN_URI_H
#define _TLSPORT_TOKEN_URI_H

#include <stdbool.h>
#include <stddef.h>

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

/* Does it name a key in a token, and not a file? */
bool token_uri_is(const char *key);

/**
 * token_uri_parse() - read one, and refuse what could not be honoured
 * @why: on failure what is wrong, and what is allowed; it never has a PIN in it
 *
 * Return: to be freed by p11_kit_uri_free(), or NULL.
 */
P11KitUri *token_uri_parse(const char *text, char *why, size_t len);

/* The file of pin-source=, or "" */
const char *token_uri_pin_file(P11KitUri *uri);

/**
 * token_pin_file() - where the PIN is
 * @passphrase: that of the port, for URIs without a pin-source; may be NULL
 *
 * Return: to be freed, or NULL: there is none.
 */
char *token_pin_file(const char *text, const char *passphrase);

#endif /* _TLSPORT_TOKEN_URI_H */
