/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ClientHello: parsed strictly, judged against a port's policy, and written
 * anew for the library with nothing in it but what was chosen.
 *
 * Why a new one: what the library does not see it cannot get wrong.  It gets
 * one version, one suite, one group, one key share and one signature scheme, so
 * that there is one place where these are chosen, and the alerts are right.
 * The transcript hash stays that of the client's own bytes, see engine_wolfssl.c.
 */
#ifndef _TLSPORTD_HELLO_H
#define _TLSPORTD_HELLO_H

#include "../common/tls.h"

/* RFC 8446 allows 2^24; a real one is below 3 KiB. */
#define HELLO_MAX 65536

struct bytes {
	const uint8_t *data; /* NULL: absent */
	size_t len;
};

/**
 * struct hello - a parsed ClientHello; all pointers are into the message
 *
 * Lists are without their own length prefix.
 */
struct hello {
	struct bytes message; /* with its handshake header */
	uint16_t legacy_version;
	const uint8_t *random;
	struct bytes session_id;
	struct bytes suites;
	struct bytes compression;
	struct bytes extensions;
	struct bytes server_name; /* host name */
	struct bytes groups;
	struct bytes point_formats;
	struct bytes schemes; /* signature_algorithms */
	struct bytes alpn;
	struct bytes versions;
	struct bytes key_shares;
	struct bytes psk_modes;
	struct bytes psk;   /* body of pre_shared_key */
	size_t binders_len; /* at the end of it, with the length prefix */
	struct bytes session_ticket;
	struct bytes renegotiation;
	bool status_request; /* of an OCSP response */
	bool extended_master_secret;
	bool early_data;
	bool encrypt_then_mac;
};

/**
 * struct hello_policy - what a port asks of a ClientHello
 * @suites: allowed, in order of preference
 * @client_order: of suites, the client's order of preference counts
 * @groups: allowed, in order of preference
 * @auth: key of its certificate
 * @curve: group of an ECDSA key
 * @resumption: tickets may be used
 * @alpn: what a client that offers ALPN has to offer one of
 */
struct hello_policy {
	uint16_t min_version;
	uint16_t max_version;
	uint16_t suites[TLS_SUITES];
	size_t suite_count;
	bool client_order;
	uint16_t groups[TLS_GROUPS];
	size_t group_count;
	enum tls_auth auth;
	uint16_t curve;
	bool resumption;
	struct tls_alpn alpn;
};

/**
 * struct hello_choice - what a handshake will use
 * @share: the client's key share in @group (TLS 1.3), absent when @retry
 * @retry: a HelloRetryRequest for @group is needed
 * @psk: pre_shared_key may be looked at
 * @psk_only: there is nothing else: the client takes no signature
 * @psk_dhe: the client can use tickets with forward secrecy
 * @alpn: the protocol, in the policy's list; absent: none
 * @named: a certificate was chosen by the name that the client asks for, which
 *	the answer says; set by the caller
 * @staple: the client gets an OCSP response; set by the caller
 * @hide_session_id: TLS 1.3: the library would not take its length; ServerHello
 *	has to echo it nevertheless
 */
struct hello_choice {
	uint16_t version;
	const struct tls_suite *suite;
	uint16_t group;
	uint16_t scheme;
	struct bytes share;
	struct bytes alpn;
	bool retry;
	bool psk;
	bool psk_only;
	bool psk_dhe;
	bool named;
	bool staple;
	bool hide_session_id;
};

/**
 * hello_parse() - take a ClientHello apart
 * @message: the whole handshake message; must outlive @hello
 *
 * Return: 0, or the alert that it deserves.
 */
int hello_parse(const uint8_t *message, size_t len, struct hello *hello);

/**
 * hello_choose() - decide version, suite, group and signature scheme
 *
 * The share's bytes are checked for length only: whether a point is on its
 * curve is for the caller.
 *
 * Return: 0, or the alert that ends the handshake.
 */
int hello_choose(const struct hello *hello, const struct hello_policy *policy,
		 struct hello_choice *choice);

/**
 * hello_retry_check() - is the second ClientHello what RFC 8446 4.1.2 allows?
 * @first: choice made on the first one, which led to HelloRetryRequest
 * @second: choice made on the second one
 *
 * Return: 0, or the alert that ends the handshake.
 */
int hello_retry_check(const struct hello *hello1, const struct hello_choice *first,
		      const struct hello *hello2, const struct hello_choice *second);

/**
 * hello_canonical() - write the ClientHello that the library gets
 *
 * With @choice->psk it ends in the client's own pre_shared_key, byte for byte.
 *
 * Return: length of the handshake message, 0 when @size is too small.
 */
size_t hello_canonical(const struct hello *hello, const struct hello_policy *policy,
		       const struct hello_choice *choice, uint8_t *to, size_t size);

/* Length of a public value in this group; 0: not a group of ours. */
size_t hello_share_len(uint16_t group);

#endif /* _TLSPORTD_HELLO_H */
