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

#include "../common/bytes.h"
#include "../common/tls.h"

/*
 * The longest that is well-formed: the longest session id, list of suites, list of
 * compression methods and block of extensions.  A real one is below 3 KiB.
 */
#define HELLO_MAX (2 + TLS_RANDOM_LEN + 1 + 32 + 2 + 0xfffe + 1 + 0xff + 2 + 0xffff)

/* So many of a client's PSKs are looked at: real clients have one, or two. */
#define HELLO_PSKS_MAX 4

/**
 * struct hello - a parsed ClientHello; all pointers are into the message
 *
 * Lists are without their own length prefix.
 * @psk: the body of pre_shared_key, which is well-formed
 * @binders_len: at the end of it, with the length prefix
 * @malformed_12: an extension of TLS 1.2 alone is, which counts when that is chosen
 * @malformed_13: the alert for one of TLS 1.3 alone, which counts where the port has that
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
	struct bytes psk;
	size_t binders_len;
	struct bytes session_ticket;
	struct bytes renegotiation;
	bool status_request; /* of an OCSP response */
	bool extended_master_secret;
	bool early_data;
	bool encrypt_then_mac;
	bool malformed_12;
	int malformed_13;
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
 * @psks: which of the client's PSKs the library is shown, ascending; set by hello_choose_psks()
 * @psk_count: of them; 0 with @retry
 * @psk_only: there is nothing else: the client takes no signature
 * @refusal: TLS 1.2: the alert that a full handshake ends with; the client's session may be
 *	resumed nevertheless
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
	uint16_t psks[HELLO_PSKS_MAX];
	size_t psk_count;
	bool psk_only;
	int refusal;
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
 * hello_choose_psks() - which PSKs of the client are shown to the library?
 * @known: is this identity a ticket of ours?
 *
 * Those that are known, each once, HELLO_PSKS_MAX at most.  To @choice.
 */
void hello_choose_psks(const struct hello *hello, struct hello_choice *choice,
		       bool (*known)(const void *arg, struct bytes identity), const void *arg);

/**
 * hello_retry_check() - is the second ClientHello, but for pre_shared_key, what RFC 8446 4.1.2 allows?
 * @first: choice made on the first one, which led to HelloRetryRequest
 * @second: choice made on the second one
 *
 * Return: 0, or the alert that ends the handshake.
 */
int hello_retry_check(const struct hello *hello1, const struct hello_choice *first,
		      const struct hello *hello2, const struct hello_choice *second);

/**
 * hello_retry_psks() - is pre_shared_key of the second ClientHello what RFC 8446 4.1.2 allows?
 * @hash_len: of the suite
 * @known: is this identity a ticket of ours?  All others are nothing to us: a client may have
 *	made them up
 *
 * A PSK may go that does not fit the suite, which the length of its binder says; none may come.
 *
 * Return: 0, or the alert that ends the handshake.
 */
int hello_retry_psks(const struct hello *hello1, const struct hello *hello2, size_t hash_len,
		     bool (*known)(const void *arg, struct bytes identity), const void *arg);

/**
 * hello_canonical() - write the ClientHello that the library gets
 *
 * It ends in a pre_shared_key with those of @choice->psks, if there are any.
 * @binders_len: its binders, with the length prefix, at the end of the message
 *
 * Return: length of the handshake message, 0 when @size is too small.
 */
size_t hello_canonical(const struct hello *hello, const struct hello_policy *policy,
		       const struct hello_choice *choice, uint8_t *to, size_t size,
		       size_t *binders_len);

/* Length of a public value in this group; 0: not a group of ours. */
size_t hello_share_len(uint16_t group);

/**
 * hello_reduce_share() - write the same public value in its one canonical form
 * @share: of the length that @group asks for
 *
 * RFC 7748 5: of a value of X25519 the top bit does not count, and what is not below
 * 2^255 - 19 is reduced.  The library refuses both.  Other groups know one form alone.
 */
void hello_reduce_share(uint16_t group, uint8_t *share);

#endif /* _TLSPORTD_HELLO_H */
