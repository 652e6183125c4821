/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What engine.c needs of the TLS library: one server handshake that is fed
 * records which have been looked at already.  engine_wolfssl.c implements it.
 */
#ifndef _TLSPORTD_LIBRARY_H
#define _TLSPORTD_LIBRARY_H

#include "../common/cert_check.h"
#include "../common/client_ca.h"
#include "crypt.h"
#include "hello.h"
#include "tickets.h"

/* No flight that is longer fits into one message to the kernel. */
#define LIBRARY_OUT_MAX 32768

/**
 * struct traffic - a traffic secret of TLS 1.3 and what the library derived from it
 * @keys: version, suite's AEAD, key and IV; sequence number 0
 * @have: which of these were seen
 */
struct traffic {
	uint8_t secret[TLS_SECRET_MAX];
	struct record_keys keys;
	struct {
		bool secret;
		bool key;
		bool iv;
	} have;
};

enum library_status {
	LIBRARY_MORE,
	LIBRARY_DONE,
	LIBRARY_FAILED,
};

struct library_context;

/**
 * struct library_clients - what is asked of a client's certificate
 * @ca: who may have signed it
 * @required: a client without one is refused
 */
struct library_clients {
	const struct client_ca *ca;
	bool required;
};

/**
 * struct library - one handshake in the library
 * @in: the record that is being fed, as far as it was not read
 * @out: what the last feed wants to send
 * @shown: the ClientHello, or ClientKeyExchange, as the library got it
 * @heard: the same as the client sent it, which the transcript is of
 * @shown_tail: it ends in so many bytes of binders
 * @heard_tail: likewise
 * @psks: which of the client's PSKs the library was shown
 * @session_id: of TLS 1.3: ServerHello is to echo it, although the library did not see it
 * @named: the library saw a server_name of TLS 1.2, and answers it
 * @downgraded: the port could do TLS 1.3, the client gets 1.2, and no random of it is out
 * @hash_len: of the one hash of the transcript that is asked for; 0: of any
 * @staple: OCSP response for a client whose shown hello asks for it
 * @client_handshake: TLS 1.3
 * @client: application traffic, likewise
 * @server: likewise
 * @binding: what a ticket is good for besides the port's policy
 * @chain: resumptions since the last full handshake
 * @error: the library's code after LIBRARY_FAILED
 */
struct library {
	void *ssl;
	const struct library_context *context;
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
	size_t out_room;
	struct bytes shown;
	struct bytes heard;
	size_t shown_tail;
	size_t heard_tail;
	uint16_t psks[HELLO_PSKS_MAX];
	struct bytes session_id;
	bool named;
	bool downgraded;
	uint8_t hash_len;
	struct bytes staple;
	struct traffic client_handshake;
	struct traffic client;
	struct traffic server;
	bool tickets;
	uint8_t binding[CRYPT_SHA256_LEN];
	uint8_t chain;
	int error;
};

/**
 * library_context_new() - certificate, key and settings, for many handshakes
 * @tickets: NULL: no resumption
 * @clients: NULL: they are not asked for certificates
 *
 * Return: NULL with @err filled in.
 */
struct library_context *library_context_new(const struct hello_policy *policy,
					    const struct cert_files *files,
					    const struct ticket_keys *tickets,
					    const struct library_clients *clients, char *err,
					    size_t errlen);
void library_context_free(struct library_context *context);

const char *library_version(void);
/* Can it send OCSP responses? */
bool library_staples(void);
/* Tickets are the library's own structures: those of another version are not for it. */
uint32_t library_version_number(void);

/* 0 or -1.  @tickets: the client may get and use tickets */
int library_open(struct library *library, const struct library_context *context, bool tickets,
		 const uint8_t binding[CRYPT_SHA256_LEN]);
/* The protocol that the shown hello has; before it is fed.  0 or -1. */
int library_alpn(struct library *library, struct bytes name);
/* Likewise the name of the host.  0 or -1 */
int library_server_name(struct library *library, struct bytes name);
/* Does it look like one under a key of ours? */
bool library_knows_ticket(const struct library *library, struct bytes ticket);
void library_close(struct library *library);

/* The longest ServerHello that is looked at: with a key share of X25519MLKEM768. */
#define LIBRARY_SERVER_HELLO_MAX 2048

/**
 * library_server_hello() - what the library's ServerHello has to be instead
 * @message: handshake message of the library
 * @to: room for LIBRARY_SERVER_HELLO_MAX
 *
 * It gets the session id that the library did not see, and of a PSK the number that the
 * client knows it by.  In a resumed handshake of TLS 1.2 it has no answer to server_name
 * (RFC 6066 3) and status_request.
 *
 * Return: the new length; 0 when it is no ServerHello, or right as it is.
 */
size_t library_server_hello(const struct library *library, const uint8_t *message, size_t len,
			    uint8_t *to);

/* One record.  What it wants to send is added to @library->out. */
enum library_status library_feed(struct library *library, const uint8_t *record, size_t len);

/* The alert that @library->error deserves; @message: type of the client's that it is about, 0: a hello */
int library_alert(const struct library *library, uint8_t message);
const char *library_error_text(const struct library *library);

bool library_resumed(const struct library *library);

/* Those that the library protects records with under this secret.  0, or -1: there is no secret */
int library_keys13(const struct traffic *traffic, const struct tls_suite *suite,
		   struct record_keys *keys);

/* TLS 1.2, once there are keys; sequence numbers are 0. */
int library_keys12(const struct library *library, const struct tls_suite *suite,
		   struct record_keys *client, struct record_keys *server);

/* Records sent under the last keys. */
uint64_t library_sent(const struct library *library);

#endif /* _TLSPORTD_LIBRARY_H */
