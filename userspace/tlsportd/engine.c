// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The server handshake record by record (see engine.h).
 *
 * The library computes; what may come when, what is chosen and which alert goes
 * out is decided here, for it was found that the library is too lenient in the
 * first and not exact in the last.  Protected records of the client are opened
 * here first, with the same keys, to see what is in them; then the library gets
 * the messages: in the record that came if it holds just one, else in records of our
 * own, for the library wants the header of a message whole.
 *
 * Alerts: exactly one for a handshake that fails by the peer's fault, made here
 * and protected when something protected went out before; none as an answer to
 * an alert or to the end of the stream.  What the library wanted to send with
 * the failing record, its own alert among it, is dropped.
 *
 * What begins like text is no record of an unknown type (RFC 8446 5), but another
 * protocol: the port's policy says what it gets.  What begins like SSL 2.0 is told so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "library.h"
#include "plain_http.h"
#include "records.h"
#include "sni.h"

/* RFC 8446 4.2.10 wants a bound on what is skipped; a client's first flight. */
#define EARLY_DATA_MAX	    16384
#define EARLY_DATA_OVERHEAD 1024
/* TLS 1.2 lets warnings be ignored; this many are enough. */
#define WARNINGS_MAX 5
/* change_cipher_spec that TLS 1.3 ignores: one is what a client sends, or two; see CVE-2020-25648. */
#define COMPAT_CCS_MAX 8
/* Our ClientHello: one record, room for a ticket and more. */
#define CANONICAL_MAX	 8192
#define KEY_EXCHANGE_MAX (TLS_HANDSHAKE_HEADER + 256)
#define FINISHED_12_LEN	 12
/* A scheme and a signature, of RSA 16384 at most. */
#define CERTIFICATE_VERIFY_MAX (TLS_HANDSHAKE_HEADER + 2 + 2 + 2048)

/* Of ours, protected */
#define ALERT_ROOM (TLS_RECORD_HEADER + 64)
/* What the library gets at once of a message that came in pieces */
#define PIECE_MAX 1024

/* A step's result besides an alert. */
#define STEP_OK	    0
#define STEP_SILENT (-1) /* ended without an alert; the reason is set */

/**
 * struct identity - one certificate of a port
 * @policy: of the port, as far as it goes with its key
 * @response: to be stapled; NULL or empty: none
 * @binding: what a session was made under
 */
struct identity {
	struct hello_policy policy;
	struct library_context *library;
	const struct ocsp_response *response;
	uint8_t binding[CRYPT_SHA256_LEN];
};

/**
 * struct engine_context - a port
 * @identities: ECDSA before RSA, which costs more; but see @fallback
 * @fallback: a name that stands for that of a client that asks for none we have;
 *	NULL: there is none
 * @fallback_identity: the first that was given
 * @ask_client: for a certificate
 * @require_client: who has none is refused
 * @client_depth: certificates that may stand behind the client's own
 */
struct engine_context {
	struct identity *identities;
	size_t count;
	struct sni_table names;
	const char *fallback;
	unsigned int fallback_identity;
	uint16_t port;
	bool strict_sni;
	bool refuse_tls13;
	enum port_plaintext plaintext;
	bool ask_client;
	bool require_client;
	unsigned int client_depth;
};

enum state {
	STATE_HELLO,	     /* ClientHello */
	STATE_RETRIED,	     /* second ClientHello after HelloRetryRequest */
	STATE_TLS13,	     /* protected: Certificate if asked for, Finished */
	STATE_KEY_EXCHANGE,  /* TLS 1.2: Certificate if asked for, ClientKeyExchange */
	STATE_CHANGE_CIPHER, /* TLS 1.2: change_cipher_spec */
	STATE_TLS12,	     /* TLS 1.2: protected Finished */
};

/**
 * struct engine - one handshake
 * @identity: the certificate
 * @message: the one that is being put together
 * @expected: type of the client's next message, behind its hello; 0: none, but a change_cipher_spec
 * @client: the certificates that it sent
 * @fed: type of the message that the library gets, if it is not a hello
 * @hello1: the ClientHello that was answered with HelloRetryRequest
 * @rx: to look into records, once the client protects them
 * @tx: protection of an alert of ours, once something protected was sent
 * @fed_seq: protected records that the library got
 * @flight: bytes of the library's answer that go out even if what came behind their
 *	question is bad
 * @sealed: it was
 * @nonce: last explicit nonce of TLS 1.2 GCM
 * @early_left: bytes of early data that may be skipped yet
 * @plain: what came that begins like text or SSL 2.0, PLAIN_HTTP_MAX bytes of it at most
 * @answer: goes out in place of an alert
 */
struct engine {
	const struct engine_context *context;
	const struct identity *identity;
	enum state state;
	enum engine_status status;
	struct library library;
	struct message message;
	uint8_t expected;
	struct client_chain client;
	struct message hello1;
	struct hello_choice choice;
	struct record_keys rx;
	struct record_keys tx;
	uint64_t fed_seq;
	size_t flight;
	bool sealed;
	bool ccs_sent;
	uint8_t fed;
	uint8_t nonce[8];
	size_t early_left;
	unsigned int warnings;
	unsigned int compat_ccs;
	enum tlsport_reason reason;
	const char *text;
	uint8_t alert[ALERT_ROOM];
	uint8_t *plain;
	size_t plain_len;
	char *answer;
	size_t answer_len;
	char server_name[256];
};

const char *engine_library(void)
{
	return library_version();
}

bool engine_staples(void)
{
	return library_staples();
}

static uint16_t curve_of(const struct cert_facts *facts)
{
	if (facts->key_kind != CERT_KEY_ECDSA)
		return 0;
	return facts->key_bits == 256 ? GROUP_SECP256R1 :
	       facts->key_bits == 384 ? GROUP_SECP384R1 :
	       facts->key_bits == 521 ? GROUP_SECP521R1 :
					0;
}

/* What a session was made under; names that the client asks for come on top. */
static int bind_identity(struct identity *identity, uint16_t port, const struct cert_files *files)
{
	const struct crypt_piece pieces[] = {
		{ &port, sizeof(port) },
		{ &identity->policy, sizeof(identity->policy) },
		{ files->cert, files->cert_len },
	};

	return crypt_sha256(pieces, sizeof(pieces) / sizeof(pieces[0]), identity->binding);
}

static void fill_policy(struct hello_policy *want, const struct engine_policy *policy,
			const struct cert_facts *facts)
{
	want->min_version = policy->min_version;
	want->max_version = policy->max_version;
	want->auth = facts->key_kind == CERT_KEY_RSA ? AUTH_RSA : AUTH_ECDSA;
	want->curve = curve_of(facts);
	want->resumption = policy->tickets && !policy->clients.ca;
	want->alpn = policy->alpn;
	want->client_order = policy->client_order;
	for (size_t i = 0; i < policy->suite_count; i++) {
		const struct tls_suite *suite = tls_suite_by_id(policy->suites[i]);

		if (suite && suite->version >= want->min_version &&
		    suite->version <= want->max_version &&
		    (suite->auth == AUTH_ANY || suite->auth == want->auth))
			want->suites[want->suite_count++] = suite->id;
	}
	for (size_t i = 0; i < policy->group_count; i++)
		want->groups[want->group_count++] = policy->groups[i];
}

/* @identity is all zeros: no padding with noise in the hash */
static int identity_init(struct identity *identity, const struct engine_policy *policy,
			 const struct engine_certificate *certificate, char *err, size_t errlen)
{
	const struct library_clients clients = { policy->clients.ca, policy->clients.required };
	const struct cert_files *files = certificate->files;

	fill_policy(&identity->policy, policy, certificate->facts);
	if (!identity->policy.suite_count) {
		snprintf(err, errlen, "no cipher is left that fits the versions and the %s key",
			 identity->policy.auth == AUTH_RSA ? "RSA" : "ECDSA");
		return -1;
	}
	/* The flight must fit: PEM is a third longer than what is sent. */
	if (files->cert_len > LIBRARY_OUT_MAX - OCSP_RESPONSE_MAX) {
		snprintf(err, errlen, "the certificate chain is too long (%zu bytes)",
			 files->cert_len);
		return -1;
	}
	if (bind_identity(identity, policy->port, files)) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	identity->response = certificate->response;
	identity->library = library_context_new(
		&identity->policy, files, identity->policy.resumption ? policy->tickets : NULL,
		clients.ca ? &clients : NULL, err, errlen);
	return identity->library ? 0 : -1;
}

/* 0; 1: it is none that can be served; -1: out of memory, for the port */
static int add_identity(struct engine_context *context, const struct engine_policy *policy,
			const struct engine_certificate *certificate, char *err, size_t errlen)
{
	struct identity *identity = &context->identities[context->count];
	const struct cert_names *names = certificate->names;

	if (identity_init(identity, policy, certificate, err, errlen)) {
		memset(identity, 0, sizeof(*identity));
		return 1;
	}
	for (size_t i = 0; i < names->count; i++) {
		if (sni_add(&context->names, names->names[i], context->count)) {
			snprintf(err, errlen, "out of memory");
			library_context_free(identity->library);
			return -1;
		}
	}
	context->count++;
	return 0;
}

/* That of the first is told for all; each has its own. */
static void note_refusal(const struct engine_certificate *certificate, const char *why, char *err,
			 size_t errlen)
{
	if (certificate->refusal)
		snprintf(certificate->refusal, ENGINE_REFUSAL_LEN, "%s", why);
	if (!err[0])
		snprintf(err, errlen, "%s", why);
}

/* The first that was given and can be served is for clients that ask for no name of ours. */
static void choose_fallback(struct engine_context *context,
			    const struct engine_certificate *certificate)
{
	context->fallback_identity = context->count - 1;
	context->fallback = certificate->names->count ? certificate->names->names[0] : NULL;
}

struct engine_context *engine_context_new(const struct engine_policy *policy,
					  const struct engine_certificate *certificates,
					  size_t count, char *err, size_t errlen)
{
	struct engine_context *context = calloc(1, sizeof(*context));
	char why[ENGINE_REFUSAL_LEN] = "";
	size_t first = count;
	int failed = 0;

	if (context)
		context->identities = calloc(count, sizeof(*context->identities));
	if (!context || !context->identities) {
		snprintf(err, errlen, "out of memory");
		free(context);
		return NULL;
	}
	context->refuse_tls13 = policy->refuse_tls13;
	context->strict_sni = policy->strict_sni;
	context->port = policy->port;
	context->plaintext = policy->plaintext;
	context->ask_client = policy->clients.ca != NULL;
	context->require_client = policy->clients.required;
	context->client_depth = policy->clients.depth;
	for (int rsa = 0; rsa < 2; rsa++) {
		for (size_t i = 0; i < count && failed >= 0; i++) {
			if ((certificates[i].facts->key_kind == CERT_KEY_RSA) != rsa)
				continue;
			failed = add_identity(context, policy, &certificates[i], why, sizeof(why));
			if (failed > 0)
				note_refusal(&certificates[i], why, err, errlen);
			if (!failed && i < first) {
				first = i;
				choose_fallback(context, &certificates[i]);
			}
		}
	}
	if (failed < 0)
		snprintf(err, errlen, "%s", why);
	if (failed < 0 || !context->count) {
		engine_context_free(context);
		return NULL;
	}
	sni_sort(&context->names);
	return context;
}

void engine_context_free(struct engine_context *context)
{
	if (!context)
		return;
	for (size_t i = 0; i < context->count; i++)
		library_context_free(context->identities[i].library);
	free(context->identities);
	sni_free(&context->names);
	free(context);
}

struct engine *engine_new(const struct engine_context *context)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (engine)
		engine->context = context;
	return engine;
}

static void forget_hello(struct engine *engine)
{
	engine->library.shown = (struct bytes){ NULL, 0 };
	engine->library.heard = (struct bytes){ NULL, 0 };
	engine->library.shown_tail = 0;
	engine->library.heard_tail = 0;
	engine->library.session_id = (struct bytes){ NULL, 0 };
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	if (engine->library.ssl)
		library_close(&engine->library);
	message_free(&engine->message);
	message_free(&engine->hello1);
	client_chain_free(&engine->client);
	free(engine->plain);
	free(engine->answer);
	explicit_bzero(engine, sizeof(*engine));
	free(engine);
}

static int end_silently(struct engine *engine, enum tlsport_reason reason, const char *text)
{
	engine->reason = reason;
	engine->text = text;
	return STEP_SILENT;
}

static int refuse(struct engine *engine, int alert, const char *text)
{
	engine->text = text;
	return alert;
}

/* An alert of the peer: level and description, wherever they came from. */
static int on_alert(struct engine *engine, const uint8_t *body, size_t len)
{
	bool tls13 = engine->choice.version == TLS_1_3;

	if (len != 2)
		return refuse(engine, ALERT_DECODE_ERROR, "an alert that is not one");
	if (body[1] == ALERT_CLOSE_NOTIFY)
		return end_silently(engine, TLSPORT_REASON_PEER_CLOSED, "close_notify");
	/* RFC 8446 6: the level is ignored, all but user_canceled are fatal */
	if (tls13 ? body[1] != ALERT_USER_CANCELED : body[0] == TLS_ALERT_FATAL)
		return end_silently(engine, TLSPORT_REASON_PEER_ALERT, "fatal alert");
	if (!tls13 && body[0] != TLS_ALERT_WARNING)
		return refuse(engine, ALERT_ILLEGAL_PARAMETER, "an alert of an unknown level");
	if (++engine->warnings > WARNINGS_MAX)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, "too many warnings");
	return STEP_OK;
}

static bool is_ccs(const struct record *record)
{
	return record->type == TLS_CHANGE_CIPHER_SPEC && record->body_len == 1 &&
	       record->body[0] == 1;
}

/* One that TLS 1.3 ignores, RFC 8446 5: not between fragments, not without end. */
static bool is_compat_ccs(struct engine *engine, const struct record *record)
{
	return is_ccs(record) && !message_begun(&engine->message) &&
	       ++engine->compat_ccs <= COMPAT_CCS_MAX;
}

/* Give the library something; whether it is done has to be what we expect. */
static int feed_library(struct engine *engine, const uint8_t *record, size_t len, bool last)
{
	enum library_status status = library_feed(&engine->library, record, len);

	if (status == LIBRARY_FAILED)
		return refuse(engine, library_alert(&engine->library, engine->fed),
			      library_error_text(&engine->library));
	if ((status == LIBRARY_DONE) != last)
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library is out of step");
	if (last)
		engine->status = ENGINE_DONE;
	return STEP_OK;
}

static int feed_message(struct engine *engine, const uint8_t *message, size_t len)
{
	uint8_t record[TLS_RECORD_HEADER + CANONICAL_MAX] = { TLS_HANDSHAKE, 3, 3 };
	int alert = STEP_OK;
	size_t n;

	for (; len && !alert; message += n, len -= n) {
		n = len < CANONICAL_MAX ? len : CANONICAL_MAX;
		put16(record + 3, n);
		memcpy(record + TLS_RECORD_HEADER, message, n);
		alert = feed_library(engine, record, TLS_RECORD_HEADER + n, false);
	}
	explicit_bzero(record, sizeof(record));
	return alert;
}

/*
 * Middlebox compatibility, RFC 8446 D.4: a change_cipher_spec behind our first
 * handshake message when the client sent a session id.
 */
static int add_compat_ccs(struct engine *engine)
{
	static const uint8_t ccs[] = { TLS_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1 };
	struct library *library = &engine->library;
	struct record first;
	uint8_t *out;
	int alert;

	if (engine->ccs_sent)
		return STEP_OK;
	engine->ccs_sent = true;
	if (record_next(library->out, library->out_len, TLS_PLAINTEXT_MAX, &first, &alert) !=
		    RECORD_WHOLE ||
	    first.type != TLS_HANDSHAKE)
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library sent no ServerHello");
	if (library->out_len > first.len && library->out[first.len] == TLS_CHANGE_CIPHER_SPEC)
		return STEP_OK;
	out = malloc(library->out_len + sizeof(ccs));
	if (!out)
		return ALERT_INTERNAL_ERROR;
	memcpy(out, library->out, first.len);
	memcpy(out + first.len, ccs, sizeof(ccs));
	memcpy(out + first.len + sizeof(ccs), library->out + first.len,
	       library->out_len - first.len);
	free(library->out);
	library->out = out;
	library->out_len += sizeof(ccs);
	library->out_room = library->out_len;
	return STEP_OK;
}

/*
 * What goes out in place of the library's own ServerHello, if that is to be another.  A
 * HelloRetryRequest may be before it.
 */
static int rewrite_server_hello(struct engine *engine)
{
	struct library *library = &engine->library;
	const size_t at = engine->flight;
	uint8_t message[LIBRARY_SERVER_HELLO_MAX];
	struct record hello;
	size_t len, behind;
	uint8_t *out;
	int alert;

	if (record_next(library->out + at, library->out_len - at, TLS_PLAINTEXT_MAX, &hello,
			&alert) != RECORD_WHOLE)
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library sent no ServerHello");
	len = library_server_hello(library, hello.body, hello.body_len, message);
	if (!len && !library->session_id.len)
		return STEP_OK;
	out = len ? malloc(library->out_len + len) : NULL;
	if (!out)
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library sent no ServerHello");
	behind = at + TLS_RECORD_HEADER + len;
	memcpy(out, library->out, at + TLS_RECORD_HEADER);
	put16(out + at + 3, len);
	memcpy(out + at + TLS_RECORD_HEADER, message, len);
	memcpy(out + behind, hello.bytes + hello.len, library->out_len - at - hello.len);
	library->out_room = library->out_len + len;
	library->out_len += len - hello.body_len;
	free(library->out);
	library->out = out;
	return STEP_OK;
}

/* First record of ours behind change_cipher_spec: TLS 1.2 protects from there on. */
static const uint8_t *first_protected(const struct engine *engine)
{
	const uint8_t *out = engine->library.out;
	size_t left = engine->library.out_len;
	bool ccs = false;
	struct record record;
	int alert;

	while (record_next(out, left, TLS_12_CIPHERTEXT_MAX, &record, &alert) == RECORD_WHOLE) {
		if (ccs)
			return record.bytes;
		ccs = record.type == TLS_CHANGE_CIPHER_SPEC;
		out += record.len;
		left -= record.len;
	}
	return NULL;
}

/*
 * TLS 1.2 GCM: an explicit nonce must never repeat under a key.  wolfSSL starts
 * it at random and does not tell; it stands at the start of Finished, the only
 * protected record that was sent.  Whoever goes on goes on from the next.
 */
static void keep_nonce(struct engine *engine)
{
	const uint8_t *record = first_protected(engine);

	if (!record)
		return;
	memcpy(engine->nonce, record + TLS_RECORD_HEADER, sizeof(engine->nonce));
	for (size_t i = sizeof(engine->nonce); i-- && !++engine->nonce[i];)
		;
}

static int after_hello_13(struct engine *engine, const struct hello *hello)
{
	int alert = STEP_OK;

	if (engine->choice.hide_session_id || engine->choice.psk_count)
		alert = rewrite_server_hello(engine);
	if (!alert && hello->session_id.len)
		alert = add_compat_ccs(engine);
	if (alert)
		return alert;
	if (hello->early_data)
		engine->early_left = EARLY_DATA_MAX + EARLY_DATA_OVERHEAD;
	if (engine->choice.retry) {
		message_free(&engine->hello1);
		engine->hello1 = engine->message;
		memset(&engine->message, 0, sizeof(engine->message));
		engine->state = STATE_RETRIED;
		return STEP_OK;
	}
	/* After HelloRetryRequest there is no early data left to skip. */
	if (engine->state == STATE_RETRIED)
		engine->early_left = 0;
	engine->state = STATE_TLS13;
	engine->expected = engine->context->ask_client ? TLS_CERTIFICATE : TLS_FINISHED;
	if (library_keys13(&engine->library.client_handshake, engine->choice.suite, &engine->rx) ||
	    library_keys13(&engine->library.server, engine->choice.suite, &engine->tx))
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library gave no secrets");
	return STEP_OK;
}

static int take_keys12(struct engine *engine)
{
	if (library_keys12(&engine->library, engine->choice.suite, &engine->rx, &engine->tx))
		return refuse(engine, ALERT_INTERNAL_ERROR, "the library gave no keys");
	return STEP_OK;
}

static int after_hello_12(struct engine *engine)
{
	if ((engine->library.named || engine->choice.staple) && rewrite_server_hello(engine))
		return ALERT_INTERNAL_ERROR;
	if (!first_protected(engine)) {
		engine->state = STATE_KEY_EXCHANGE;
		engine->expected = engine->context->ask_client ? TLS_CERTIFICATE :
								 TLS_CLIENT_KEY_EXCHANGE;
		return STEP_OK;
	}
	/* resumed: our Finished is out, the client's comes next */
	engine->state = STATE_CHANGE_CIPHER;
	if (take_keys12(engine))
		return ALERT_INTERNAL_ERROR;
	keep_nonce(engine);
	engine->tx.seq = 1;
	return STEP_OK;
}

/* A session is resumed only for the same name: RFC 6066 3, RFC 8446 4.6.1. */
static int open_library(struct engine *engine, const struct hello *hello)
{
	const struct identity *identity = engine->identity;
	/* TLS 1.2 resumes with the suite that there was, or not: RFC 5246 7.4.1.3 */
	const uint16_t suite = engine->choice.version == TLS_1_2 ? engine->choice.suite->id : 0;
	const struct crypt_piece pieces[] = {
		{ identity->binding, sizeof(identity->binding) },
		{ &suite, sizeof(suite) },
		{ hello->server_name.data, hello->server_name.len },
	};
	uint8_t binding[CRYPT_SHA256_LEN];
	bool tickets;

	if (engine->library.ssl)
		return STEP_OK;
	tickets = identity->policy.resumption &&
		  (engine->choice.version == TLS_1_2 || engine->choice.psk_dhe);
	if (crypt_sha256(pieces, 3, binding) ||
	    library_open(&engine->library, identity->library, tickets, binding) ||
	    (engine->choice.named && library_server_name(&engine->library, hello->server_name)) ||
	    (engine->choice.alpn.len && library_alpn(&engine->library, engine->choice.alpn)))
		return refuse(engine, ALERT_INTERNAL_ERROR, "out of memory");
	return STEP_OK;
}

/* A worker outlives responses: what is over is not sent any more. */
static void choose_staple(struct engine *engine, const struct hello *hello)
{
	const struct ocsp_response *response = engine->identity->response;

	engine->choice.staple = hello->status_request && library_staples() && response &&
				response->len && time(NULL) < response->until;
	if (engine->choice.staple)
		engine->library.staple = (struct bytes){ response->der, response->len };
}

static bool is_known(const void *library, struct bytes identity)
{
	return library_knows_ticket(library, identity);
}

/* Does the hello lack what a full handshake needs?  0 or an alert */
static int without_session(struct engine *engine)
{
	/* RFC 8446 4.2.3 */
	if (engine->choice.psk_only)
		return refuse(engine, ALERT_MISSING_EXTENSION,
			      "no signature_algorithms, and no session that is known");
	if (engine->choice.refusal)
		return refuse(
			engine, engine->choice.refusal,
			"ClientHello offers nothing that the port allows, and no session that is known");
	return STEP_OK;
}

/* Before HelloRetryRequest they are of no use to the library, and may be gone after it. */
static int choose_psks(struct engine *engine, const struct hello *hello)
{
	struct hello_choice *choice = &engine->choice;
	struct library *library = &engine->library;
	int alert;

	if (!choice->psk)
		return STEP_OK;
	hello_choose_psks(hello, choice, is_known, library);
	alert = choice->psk_count ? STEP_OK : without_session(engine);
	if (choice->retry)
		choice->psk_count = 0;
	memcpy(library->psks, choice->psks, sizeof(library->psks));
	return alert;
}

static int answer_hello(struct engine *engine, struct hello *hello)
{
	const struct hello_policy *policy = &engine->identity->policy;
	struct library *library = &engine->library;
	uint8_t shown[CANONICAL_MAX];
	size_t len, tail;
	int alert;

	alert = open_library(engine, hello) ?: choose_psks(engine, hello);
	if (alert)
		return alert;
	choose_staple(engine, hello);
	/* the library fails for one that is longer than it makes */
	if (engine->choice.version == TLS_1_2 && hello->session_ticket.len &&
	    !library_knows_ticket(library, hello->session_ticket))
		hello->session_ticket.len = 0;
	if (engine->choice.version == TLS_1_2 && !hello->session_ticket.len)
		alert = without_session(engine);
	if (alert)
		return alert;
	len = hello_canonical(hello, policy, &engine->choice, shown, sizeof(shown), &tail);
	if (!len) {
		/* A ticket that large is none of ours. */
		engine->choice.psk_count = 0;
		hello->session_ticket.len = 0;
		len = hello_canonical(hello, policy, &engine->choice, shown, sizeof(shown), &tail);
	}
	if (!len)
		return refuse(engine, ALERT_INTERNAL_ERROR, "ClientHello cannot be rewritten");
	library->shown = (struct bytes){ shown, len };
	library->heard = hello->message;
	library->shown_tail = tail;
	library->heard_tail = hello->binders_len;
	if (engine->choice.hide_session_id)
		library->session_id = hello->session_id;
	library->named = engine->choice.named && engine->choice.version == TLS_1_2;
	library->downgraded = engine->choice.version == TLS_1_2 && policy->max_version == TLS_1_3;
	/* TLS 1.2: a client signs the transcript in the hash that it likes */
	library->hash_len = engine->choice.version == TLS_1_3 || !engine->context->ask_client ?
				    engine->choice.suite->hash_len :
				    0;
	alert = feed_message(engine, shown, len);
	/* what the library wants to send has a signature in it */
	if (!alert && !engine->choice.retry && !library_resumed(library))
		alert = without_session(engine);
	if (!alert)
		alert = engine->choice.version == TLS_1_3 ? after_hello_13(engine, hello) :
							    after_hello_12(engine);
	forget_hello(engine);
	return alert;
}

/* For listings and logs: what is no character of a host name must not reach a terminal. */
static void keep_server_name(struct engine *engine, struct bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		engine->server_name[i] = name.data[i] > 0x20 && name.data[i] < 0x7f ? name.data[i] :
										      '?';
	engine->server_name[name.len] = '\0';
}

/*
 * Tries those for a name; the alert is that of the first.  One that can do no more than
 * resume a session is taken if there is no other.
 */
static int choose_among(struct engine *engine, const struct hello *hello,
			const struct sni_name *names, size_t count)
{
	const struct engine_context *context = engine->context;
	bool resumes = false;
	int first = 0;

	for (size_t i = 0; i < count; i++) {
		const struct identity *identity = &context->identities[names[i].certificate];
		struct hello_choice choice = { 0 };
		int alert = hello_choose(hello, &identity->policy, &choice);

		if (!alert && (!choice.refusal || !resumes)) {
			engine->identity = identity;
			engine->choice = choice;
			resumes = choice.refusal;
			if (!resumes)
				return 0;
		}
		if (alert && !first && !resumes) {
			first = alert;
			engine->choice = choice;
		}
	}
	return resumes ? 0 : first;
}

/* Certificate, version, suite, group, signature scheme.  0 or an alert */
static int choose(struct engine *engine, const struct hello *hello)
{
	const struct engine_context *context = engine->context;
	const struct sni_name fallback = { NULL, context->fallback_identity };
	const struct sni_name *names;
	size_t count;
	int alert;

	names = sni_find(&context->names, hello->server_name, &count);
	if (names) {
		alert = choose_among(engine, hello, names, count);
		engine->choice.named = true;
		return alert;
	}
	if (!context->strict_sni && context->fallback)
		names = sni_find_exact(&context->names, context->fallback, &count);
	if (names)
		return choose_among(engine, hello, names, count);
	alert = choose_among(engine, hello, &fallback, 1);
	if (alert || !context->strict_sni)
		return alert;
	/* RFC 8446 9.2, RFC 6066 3 */
	alert = engine->choice.version == TLS_1_3 && !hello->server_name.data ?
			ALERT_MISSING_EXTENSION :
			ALERT_UNRECOGNIZED_NAME;
	return refuse(engine, alert, "no certificate for the name that the client asks for");
}

static int on_hello_whole(struct engine *engine)
{
	const struct identity *identity = engine->identity;
	struct hello_choice first = engine->choice;
	struct hello hello, hello1;
	int alert;

	alert = hello_parse(engine->message.bytes, engine->message.len, &hello);
	if (alert)
		return refuse(engine, alert, "malformed ClientHello");
	keep_server_name(engine, hello.server_name);
	alert = choose(engine, &hello);
	if (alert && engine->text)
		return alert;
	/* what is found only when a version is chosen */
	if (alert == ALERT_DECODE_ERROR || (alert && alert == hello.malformed_13))
		return refuse(engine, alert, "malformed ClientHello");
	if (alert == ALERT_NO_APPLICATION_PROTOCOL)
		return refuse(engine, alert, "no protocol of ALPN that the port has");
	if (alert)
		return refuse(engine, alert, "ClientHello offers nothing that the port allows");
	if (engine->context->refuse_tls13 && engine->choice.version == TLS_1_3) {
		engine->reason = TLSPORT_REASON_OFFLOAD_REQUIRED;
		return refuse(engine, ALERT_PROTOCOL_VERSION,
			      "the port requires offload, which TLS 1.3 has not");
	}
	if (engine->state == STATE_RETRIED) {
		alert = hello_parse(engine->hello1.bytes, engine->hello1.len, &hello1);
		if (!alert)
			alert = hello_retry_check(&hello1, &first, &hello, &engine->choice) ?:
					hello_retry_psks(&hello1, &hello, first.suite->hash_len,
							 is_known, &engine->library);
		/* what it was chosen by has to be the same in both, so this is */
		if (!alert && engine->identity != identity)
			alert = ALERT_ILLEGAL_PARAMETER;
		if (alert)
			return refuse(engine, alert, "second ClientHello differs");
	}
	if (engine->choice.share.data &&
	    crypt_share_check(engine->choice.group, engine->choice.share.data,
			      engine->choice.share.len))
		return refuse(engine, ALERT_ILLEGAL_PARAMETER, "invalid key share");
	alert = answer_hello(engine, &hello);
	/* It points into the message, which goes now or serves as the first one. */
	engine->choice.share = (struct bytes){ NULL, 0 };
	if (!alert)
		message_free(&engine->message);
	return alert;
}

/*
 * Early data is under a key that we never had.  A record of it has a type and a tag at
 * least: what is shorter counts as much, or there would be no end of empty ones.
 */
static bool skip_early_data(struct engine *engine, const struct record *record)
{
	const size_t least = 1 + TLS_TAG_LEN;
	const size_t len = record->body_len < least ? least : record->body_len;

	if (len > engine->early_left)
		return false;
	engine->early_left -= len;
	return true;
}

static int on_hello(struct engine *engine, const struct record *record)
{
	int alert;

	if (record->type == TLS_ALERT && !message_begun(&engine->message))
		return on_alert(engine, record->body, record->body_len);
	if (engine->state == STATE_RETRIED && !message_begun(&engine->message)) {
		if (is_compat_ccs(engine, record))
			return STEP_OK;
		/* RFC 8446 4.2.10: early data after HelloRetryRequest, by its type alone */
		if (record->type == TLS_APPLICATION_DATA && skip_early_data(engine, record))
			return STEP_OK;
	}
	if (record->type != TLS_HANDSHAKE)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, "ClientHello expected");
	/* longer ones are allowed for early data alone, see longest_body() */
	if (record->body_len > TLS_PLAINTEXT_MAX)
		return refuse(engine, ALERT_RECORD_OVERFLOW, "record too long");
	alert = message_add(&engine->message, TLS_CLIENT_HELLO, TLS_HANDSHAKE_HEADER + HELLO_MAX,
			    record->body, record->body_len);
	if (alert)
		return refuse(engine, alert, "malformed ClientHello");
	return message_whole(&engine->message) ? on_hello_whole(engine) : STEP_OK;
}

static const char *expected_text(const struct engine *engine)
{
	switch (engine->expected) {
	case TLS_CERTIFICATE:
		return "Certificate expected";
	case TLS_CERTIFICATE_VERIFY:
		return "CertificateVerify expected";
	case TLS_CLIENT_KEY_EXCHANGE:
		return "ClientKeyExchange expected";
	case TLS_FINISHED:
		return "Finished expected";
	default:
		return "change_cipher_spec expected";
	}
}

static size_t finished_len(const struct engine *engine)
{
	return TLS_HANDSHAKE_HEADER + (engine->choice.version == TLS_1_3 ?
					       engine->choice.suite->hash_len :
					       FINISHED_12_LEN);
}

/* Of the client's next message. */
static size_t longest_message(const struct engine *engine)
{
	switch (engine->expected) {
	case TLS_CERTIFICATE:
		return CLIENT_CHAIN_MAX;
	case TLS_CERTIFICATE_VERIFY:
		return CERTIFICATE_VERIFY_MAX;
	case TLS_CLIENT_KEY_EXCHANGE:
		return KEY_EXCHANGE_MAX;
	default:
		return finished_len(engine);
	}
}

/*
 * The library asks for signatures of keys for RSASSA-PSS alone.  It takes those of TLS 1.3,
 * and does not look at what else such a key is limited to.
 */
static bool is_client_key(bool tls13, uint16_t key)
{
	return key != CLIENT_KEY_RSA_PSS_LIMITED && (tls13 || key != CLIENT_KEY_RSA_PSS);
}

/* Whether it is valid the library sees; whether it has to be there is decided here. */
static int on_certificate(struct engine *engine, const uint8_t *body, size_t len)
{
	const bool tls13 = engine->choice.version == TLS_1_3;
	int alert = client_chain_parse(engine->choice.version, body, len, &engine->client);

	if (alert)
		return refuse(engine, alert, "malformed Certificate");
	if (!engine->client.count && engine->context->require_client)
		return refuse(engine, tls13 ? ALERT_CERTIFICATE_REQUIRED : ALERT_HANDSHAKE_FAILURE,
			      "the client has no certificate");
	if (engine->client.count > 1 + engine->context->client_depth)
		return refuse(engine, ALERT_UNKNOWN_CA, "the client's chain is too long");
	if (engine->client.count && !is_client_key(tls13, client_chain_key(&engine->client)))
		return refuse(engine, ALERT_UNSUPPORTED_CERTIFICATE,
			      "a key for RSASSA-PSS that the library cannot verify by");
	engine->expected = !tls13		? TLS_CLIENT_KEY_EXCHANGE :
			   engine->client.count ? TLS_CERTIFICATE_VERIFY :
						  TLS_FINISHED;
	return STEP_OK;
}

static int on_client_key_exchange(struct engine *engine, const uint8_t *body, size_t len)
{
	if (!len || !body[0] || len != 1u + body[0])
		return refuse(engine, ALERT_DECODE_ERROR, "malformed ClientKeyExchange");
	if (crypt_share_check(engine->choice.group, body + 1, len - 1))
		return refuse(engine, ALERT_ILLEGAL_PARAMETER, "invalid public value");
	engine->expected = engine->client.count ? TLS_CERTIFICATE_VERIFY : 0;
	return STEP_OK;
}

/*
 * What CertificateRequest asks for, see library_context_new(), and the client's key can do.
 * TLS 1.3 has no PKCS #1 here, and a hash goes with a curve.  What cannot be read the
 * library refuses.
 */
static bool is_client_scheme(uint16_t version, uint16_t key, uint16_t scheme)
{
	const bool tls12 = version == TLS_1_2;
	const bool rsa = key == CLIENT_KEY_RSA || key == CLIENT_KEY_UNREADABLE;
	const bool ecdsa = key == CLIENT_KEY_UNREADABLE ||
			   (tls12 && (key < CLIENT_KEY_OTHER || key == CLIENT_KEY_ECDSA));

	switch (scheme) {
	case 0x0403: /* ECDSA with SHA-256, SHA-384, SHA-512 */
		return ecdsa || key == GROUP_SECP256R1;
	case 0x0503:
		return ecdsa || key == GROUP_SECP384R1;
	case 0x0603:
		return ecdsa || key == GROUP_SECP521R1;
	case 0x0804: /* RSA-PSS */
	case 0x0805:
	case 0x0806:
		return rsa;
	case 0x0809: /* RSA-PSS of a key for nothing else */
	case 0x080a:
	case 0x080b:
		return key == CLIENT_KEY_RSA_PSS;
	case 0x0401: /* RSA, PKCS #1 */
	case 0x0501:
	case 0x0601:
		return rsa && tls12;
	default:
		return false;
	}
}

/* Algorithm and signature; whether it is the client's the library sees. */
static int on_certificate_verify(struct engine *engine, const uint8_t *body, size_t len)
{
	if (len < 4 || len != 4u + get16(body + 2))
		return refuse(engine, ALERT_DECODE_ERROR, "malformed CertificateVerify");
	if (!is_client_scheme(engine->choice.version, client_chain_key(&engine->client),
			      get16(body)))
		return refuse(
			engine, ALERT_ILLEGAL_PARAMETER,
			"the client signs by an algorithm that its key is not for, or that it was not asked for");
	if (len == 4)
		return refuse(engine, ALERT_DECRYPT_ERROR, "an empty signature");
	engine->expected = engine->choice.version == TLS_1_3 ? TLS_FINISHED : 0;
	return STEP_OK;
}

/* A whole message of the client; the library has not seen it yet. */
static int on_message(struct engine *engine)
{
	const uint8_t *body = engine->message.bytes + TLS_HANDSHAKE_HEADER;
	const size_t len = engine->message.len - TLS_HANDSHAKE_HEADER;

	engine->fed = engine->message.bytes[0];
	switch (engine->expected) {
	case TLS_CERTIFICATE:
		return on_certificate(engine, body, len);
	case TLS_CLIENT_KEY_EXCHANGE:
		return on_client_key_exchange(engine, body, len);
	case TLS_CERTIFICATE_VERIFY:
		return on_certificate_verify(engine, body, len);
	default: /* Finished */
		engine->expected = 0;
		return STEP_OK;
	}
}

/* The next message of a flight, as far as it is in this fragment. */
static int take_message(struct engine *engine, const uint8_t **fragment, size_t *len)
{
	struct message *message = &engine->message;
	int alert = ALERT_UNEXPECTED_MESSAGE;

	if (engine->expected)
		alert = message_take(message, engine->expected, longest_message(engine), fragment,
				     len);
	if (!alert && engine->expected == TLS_FINISHED && message->want &&
	    message->want != finished_len(engine))
		alert = ALERT_DECODE_ERROR;
	return alert ? refuse(engine, alert, expected_text(engine)) : STEP_OK;
}

/* A message in records of our own, under the client's keys. */
static int feed_sealed(struct engine *engine, const struct message *message, bool last)
{
	uint8_t record[TLS_RECORD_HEADER + 8 + PIECE_MAX + 1 + TLS_TAG_LEN];
	struct record_keys keys = engine->rx;
	int alert = STEP_OK, len;
	uint8_t nonce[8];
	size_t at, n;

	keys.seq = engine->fed_seq;
	for (at = 0; at < message->len && !alert; at += n) {
		n = message->len - at < PIECE_MAX ? message->len - at : PIECE_MAX;
		put64(nonce, keys.seq);
		len = crypt_record_seal(&keys, TLS_HANDSHAKE, nonce, message->bytes + at, n,
					record);
		if (len < 0)
			alert = refuse(engine, ALERT_INTERNAL_ERROR, "out of memory");
		else
			alert = feed_library(engine, record, len, last && at + n == message->len);
	}
	engine->fed_seq = keys.seq;
	explicit_bzero(&keys, sizeof(keys));
	return alert;
}

/* The message that is whole; @record: it came in this one, alone, else NULL */
static int feed_protected(struct engine *engine, const struct record *record)
{
	const bool last = !engine->expected;

	/* opened already: its own number is one less */
	if (!record || engine->rx.seq != engine->fed_seq + 1)
		return feed_sealed(engine, &engine->message, last);
	engine->fed_seq++;
	return feed_library(engine, record->bytes, record->len, last);
}

/* Messages in a protected record. */
static int on_handshake_content(struct engine *engine, const struct record *record,
				const uint8_t *content, size_t len)
{
	int alert = STEP_OK;
	bool alone;

	/* RFC 8446 5.1: no handshake record is empty */
	if (!len)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, expected_text(engine));
	alone = !message_begun(&engine->message);
	for (; len && !alert; alone = false) {
		alert = take_message(engine, &content, &len);
		if (alert || !message_whole(&engine->message))
			continue;
		alert = on_message(engine);
		/* what is behind the last one is looked at before that counts */
		if (!alert && !engine->expected && len)
			alert = take_message(engine, &content, &len);
		if (!alert)
			alert = feed_protected(engine, alone && !len ? record : NULL);
		message_free(&engine->message);
	}
	return alert;
}

/* What a protected record of the client holds; the library has not seen it yet. */
static int on_content(struct engine *engine, const struct record *record, uint8_t type,
		      const uint8_t *content, size_t len)
{
	if (len > TLS_PLAINTEXT_MAX)
		return refuse(engine, ALERT_RECORD_OVERFLOW, "record too long");
	if (type == TLS_ALERT && !message_begun(&engine->message)) {
		/* RFC 8446 5.4 */
		return len ? on_alert(engine, content, len) :
			     refuse(engine, ALERT_UNEXPECTED_MESSAGE, "an alert without content");
	}
	if (type != TLS_HANDSHAKE)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, expected_text(engine));
	return on_handshake_content(engine, record, content, len);
}

static int on_protected(struct engine *engine, const struct record *record)
{
	uint8_t content[TLS_12_CIPHERTEXT_MAX];
	uint8_t type = record->type;
	int len, alert;

	len = crypt_record_open(&engine->rx, record->bytes, record->len, content, &type);
	if (len < 0) {
		if (!engine->rx.seq && engine->early_left)
			return skip_early_data(engine, record) ?
				       STEP_OK :
				       refuse(engine, ALERT_UNEXPECTED_MESSAGE,
					      "too much early data");
		return refuse(engine, ALERT_BAD_RECORD_MAC, "record does not authenticate");
	}
	/* RFC 8446 5.4: padding counts */
	if (engine->choice.version == TLS_1_3 &&
	    record->body_len > TLS_PLAINTEXT_MAX + 1 + TLS_TAG_LEN)
		alert = refuse(engine, ALERT_RECORD_OVERFLOW, "record too long");
	else
		alert = on_content(engine, record, type, content, len);
	explicit_bzero(content, len);
	return alert;
}

static int on_tls13(struct engine *engine, const struct record *record)
{
	if (is_compat_ccs(engine, record))
		return STEP_OK;
	/* A client that could not make sense of ServerHello has no keys. */
	if (record->type == TLS_ALERT && record->body_len == 2 && !engine->rx.seq)
		return on_alert(engine, record->body, record->body_len);
	if (record->type != TLS_APPLICATION_DATA)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, "protected record expected");
	return on_protected(engine, record);
}

/* The library gets the public value as it takes it, the transcript as it came. */
static int feed_key_exchange(struct engine *engine)
{
	const struct message *message = &engine->message;
	uint8_t shown[KEY_EXCHANGE_MAX];
	int alert;

	memcpy(shown, message->bytes, message->len);
	hello_reduce_share(engine->choice.group, shown + TLS_HANDSHAKE_HEADER + 1);
	engine->library.shown = (struct bytes){ shown, message->len };
	engine->library.heard = (struct bytes){ message->bytes, message->len };
	alert = feed_message(engine, shown, message->len);
	forget_hello(engine);
	return alert;
}

/* The message that is whole */
static int feed_unprotected(struct engine *engine)
{
	if (engine->fed == TLS_CLIENT_KEY_EXCHANGE)
		return feed_key_exchange(engine);
	return feed_message(engine, engine->message.bytes, engine->message.len);
}

/* TLS 1.2: what is not protected yet; the library gets message by message. */
static int on_key_exchange(struct engine *engine, const struct record *record)
{
	const uint8_t *fragment = record->body;
	size_t len = record->body_len;
	int alert;

	if (record->type == TLS_ALERT && !message_begun(&engine->message))
		return on_alert(engine, record->body, record->body_len);
	if (record->type != TLS_HANDSHAKE || !len)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, expected_text(engine));
	while (len) {
		alert = take_message(engine, &fragment, &len);
		if (alert)
			return alert;
		if (!message_whole(&engine->message))
			return STEP_OK;
		alert = on_message(engine);
		if (!alert)
			alert = feed_unprotected(engine);
		if (alert)
			return alert;
		message_free(&engine->message);
	}
	if (engine->expected)
		return STEP_OK;
	engine->state = STATE_CHANGE_CIPHER;
	return take_keys12(engine);
}

static int on_change_cipher(struct engine *engine, const struct record *record)
{
	int alert;

	if (record->type == TLS_ALERT)
		return on_alert(engine, record->body, record->body_len);
	if (record->type != TLS_CHANGE_CIPHER_SPEC)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, "change_cipher_spec expected");
	if (!is_ccs(record))
		return refuse(engine, ALERT_DECODE_ERROR, "malformed change_cipher_spec");
	engine->fed = 0;
	alert = feed_library(engine, record->bytes, record->len, false);
	engine->state = STATE_TLS12;
	engine->expected = TLS_FINISHED;
	return alert;
}

static int on_tls12(struct engine *engine, const struct record *record)
{
	if (record->type == TLS_CHANGE_CIPHER_SPEC)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, expected_text(engine));
	return on_protected(engine, record);
}

static int step(struct engine *engine, const struct record *record)
{
	switch (engine->state) {
	case STATE_HELLO:
	case STATE_RETRIED:
		return on_hello(engine, record);
	case STATE_TLS13:
		return on_tls13(engine, record);
	case STATE_KEY_EXCHANGE:
		return on_key_exchange(engine, record);
	case STATE_CHANGE_CIPHER:
		return on_change_cipher(engine, record);
	case STATE_TLS12:
		return on_tls12(engine, record);
	}
	return ALERT_INTERNAL_ERROR;
}

static size_t longest_body(const struct engine *engine)
{
	switch (engine->state) {
	case STATE_TLS13:
	case STATE_RETRIED: /* early data may come */
		return TLS_13_CIPHERTEXT_MAX;
	case STATE_TLS12:
		return TLS_12_CIPHERTEXT_MAX;
	default:
		return TLS_PLAINTEXT_MAX;
	}
}

/* No record of a handshake has come yet; an alert may have. */
static bool starts(const struct engine *engine)
{
	return engine->state == STATE_HELLO && !message_begun(&engine->message);
}

/* So many bytes tell a protocol of text from a record of an unknown type. */
#define TEXT_MIN 3

static bool is_text(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && i < TEXT_MIN; i++)
		if ((data[i] < ' ' && !strchr("\t\r\n", data[i])) || data[i] > '~' || !data[i])
			return false;
	return true;
}

/* STEP_OK: more of it is needed. */
static int redirect(struct engine *engine, bool eof)
{
	if (!engine->answer)
		engine->answer = malloc(PLAIN_HTTP_ANSWER_MAX);
	if (!engine->answer)
		return end_silently(engine, TLSPORT_REASON_NO_MEMORY, "out of memory");
	switch (plain_http_redirect(engine->plain, engine->plain_len, engine->context->port,
				    engine->answer, &engine->answer_len)) {
	case PLAIN_HTTP_MORE:
		if (!eof)
			return STEP_OK;
		break;
	case PLAIN_HTTP_ANSWER:
		return end_silently(engine, TLSPORT_REASON_NOT_TLS, "HTTP without TLS");
	case PLAIN_HTTP_NOT:
		break;
	}
	return end_silently(engine, TLSPORT_REASON_NOT_TLS, "not TLS");
}

/* So many tell a ClientHello of SSL 2.0 from a record of an unknown type, or of 3.1. */
#define SSL2_MIN 5

/*
 * RFC 5246 E.2: a ClientHello in the form of SSL 2.0, as far as it has come: two bytes of
 * length, the type, and the version, 3.x or 0.2.
 */
static bool is_ssl2(const uint8_t *data, size_t len)
{
	return len && data[0] & 0x80 && (len < 3 || data[2] == TLS_CLIENT_HELLO) &&
	       (len < 4 || data[3] == 3 || data[3] == 0) &&
	       (len < 5 || data[3] == 3 || data[4] == 2);
}

/* All of it is used up: what is left in the queue would be shown again at once. */
static int on_plaintext(struct engine *engine, const uint8_t *data, size_t len, bool eof)
{
	bool ssl2;

	if (!engine->plain)
		engine->plain = malloc(PLAIN_HTTP_MAX);
	if (!engine->plain)
		return end_silently(engine, TLSPORT_REASON_NO_MEMORY, "out of memory");
	if (len > PLAIN_HTTP_MAX - engine->plain_len)
		len = PLAIN_HTTP_MAX - engine->plain_len;
	memcpy(engine->plain + engine->plain_len, data, len);
	engine->plain_len += len;
	ssl2 = is_ssl2(engine->plain, engine->plain_len);
	if (engine->plain_len < (ssl2 ? SSL2_MIN : TEXT_MIN) && (!eof || ssl2))
		return STEP_OK;
	if (ssl2)
		return refuse(engine, ALERT_PROTOCOL_VERSION, "ClientHello of SSL 2.0");
	engine->reason = TLSPORT_REASON_NOT_TLS;
	if (!is_text(engine->plain, engine->plain_len) ||
	    engine->context->plaintext == PLAINTEXT_ALERT)
		return refuse(engine, ALERT_UNEXPECTED_MESSAGE, "not TLS");
	if (engine->context->plaintext == PLAINTEXT_REDIRECT)
		return redirect(engine, eof);
	return end_silently(engine, TLSPORT_REASON_NOT_TLS, "not TLS");
}

/* Bytes that are no record: does the client start with them? */
static int on_garbage(struct engine *engine, int alert)
{
	if (!starts(engine) || alert != ALERT_UNEXPECTED_MESSAGE)
		return refuse(engine, alert, "malformed record");
	engine->reason = TLSPORT_REASON_NOT_TLS;
	return refuse(engine, alert, "not TLS");
}

/* What is in the library's output goes out. */
static void keep_flight(struct engine *engine)
{
	engine->flight = engine->library.out_len;
	engine->sealed = engine->state == STATE_TLS13 ||
			 (engine->choice.version == TLS_1_2 && engine->tx.seq);
}

static int run(struct engine *engine, const uint8_t *data, size_t len, bool eof, size_t *consumed)
{
	struct record record;
	int result = STEP_OK;
	int alert;

	if (engine->plain ||
	    (starts(engine) && len && (is_text(data, len) || is_ssl2(data, len)))) {
		*consumed = len;
		return on_plaintext(engine, data, len, eof);
	}
	while (result == STEP_OK && engine->status == ENGINE_MORE) {
		switch (record_next(data + *consumed, len - *consumed, longest_body(engine),
				    &record, &alert)) {
		case RECORD_PARTIAL:
			return STEP_OK;
		case RECORD_BAD:
			return on_garbage(engine, alert);
		case RECORD_WHOLE:
			*consumed += record.len;
			result = step(engine, &record);
			if (result == STEP_OK)
				keep_flight(engine);
			break;
		}
	}
	return result;
}

/* Into engine->alert; returns its length. */
static size_t make_alert(struct engine *engine, int description)
{
	const uint8_t body[2] = { TLS_ALERT_FATAL, description };
	uint8_t *alert = engine->alert;
	int len;

	if (engine->sealed) {
		len = crypt_record_seal(&engine->tx, TLS_ALERT, engine->nonce, body, sizeof(body),
					alert);
		return len < 0 ? 0 : len;
	}
	alert[0] = TLS_ALERT;
	put16(alert + 1, TLS_1_2);
	put16(alert + 3, sizeof(body));
	memcpy(alert + TLS_RECORD_HEADER, body, sizeof(body));
	return TLS_RECORD_HEADER + sizeof(body);
}

/* Behind the flight that this call has made before; without memory or room that goes alone. */
static void append_alert(struct engine *engine, size_t len)
{
	struct library *library = &engine->library;
	uint8_t *out = NULL;

	library->out_len = engine->flight;
	if (engine->flight + len <= LIBRARY_OUT_MAX)
		out = realloc(library->out, engine->flight + len); /* nothing secret in there */
	if (!out)
		return;
	memcpy(out + engine->flight, engine->alert, len);
	library->out = out;
	library->out_len = library->out_room = engine->flight + len;
}

static enum engine_status fail(struct engine *engine, int result, const uint8_t **out,
			       size_t *out_len)
{
	engine->status = ENGINE_FAILED;
	if (!engine->reason)
		engine->reason = TLSPORT_REASON_HANDSHAKE_REFUSED;
	*out = engine->answer_len ? (uint8_t *)engine->answer : engine->alert;
	*out_len = engine->answer_len	 ? engine->answer_len :
		   result == STEP_SILENT ? 0 :
					   make_alert(engine, result);
	if (engine->flight && *out_len) {
		append_alert(engine, *out_len);
		*out = engine->library.out;
		*out_len = engine->library.out_len;
	}
	return ENGINE_FAILED;
}

enum engine_status engine_feed(struct engine *engine, const uint8_t *data, size_t len, bool eof,
			       size_t *consumed, const uint8_t **out, size_t *out_len)
{
	int result;

	*consumed = 0;
	*out = NULL;
	*out_len = 0;
	engine->library.out_len = 0;
	engine->flight = 0;
	if (engine->status != ENGINE_MORE)
		return engine->status;
	if (!engine->context) {
		engine->reason = TLSPORT_REASON_NO_CONTEXT;
		result = refuse(engine, ALERT_INTERNAL_ERROR, "no usable certificate");
		return fail(engine, result, out, out_len);
	}
	result = run(engine, data, len, eof, consumed);
	if (result == STEP_OK && eof && engine->status == ENGINE_MORE)
		result = end_silently(engine, TLSPORT_REASON_PEER_CLOSED, "end of the stream");
	if (result != STEP_OK)
		return fail(engine, result, out, out_len);
	*out = engine->library.out;
	*out_len = engine->library.out_len;
	return engine->status;
}

enum tlsport_reason engine_reason(const struct engine *engine)
{
	return engine->reason;
}

const char *engine_reason_text(const struct engine *engine)
{
	return engine->text ? engine->text : "";
}

static void fill_info(const struct record_keys *keys, const uint8_t *nonce,
		      union engine_crypto_info *info, size_t *len)
{
	/* TLS 1.3: the last 8 bytes of the IV; TLS 1.2: the explicit nonce */
	const uint8_t *iv = keys->version == TLS_1_3 ? keys->iv + 4 : nonce;

	memset(info, 0, sizeof(*info));
	info->info.version = keys->version;
	switch (keys->aead) {
	case AEAD_AES_128_GCM:
		info->info.cipher_type = TLS_CIPHER_AES_GCM_128;
		memcpy(info->gcm128.key, keys->key, sizeof(info->gcm128.key));
		memcpy(info->gcm128.salt, keys->iv, sizeof(info->gcm128.salt));
		memcpy(info->gcm128.iv, iv, sizeof(info->gcm128.iv));
		put64(info->gcm128.rec_seq, keys->seq);
		*len = sizeof(info->gcm128);
		break;
	case AEAD_AES_256_GCM:
		info->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		memcpy(info->gcm256.key, keys->key, sizeof(info->gcm256.key));
		memcpy(info->gcm256.salt, keys->iv, sizeof(info->gcm256.salt));
		memcpy(info->gcm256.iv, iv, sizeof(info->gcm256.iv));
		put64(info->gcm256.rec_seq, keys->seq);
		*len = sizeof(info->gcm256);
		break;
	case AEAD_CHACHA20_POLY1305:
		info->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		memcpy(info->chacha.key, keys->key, sizeof(info->chacha.key));
		memcpy(info->chacha.iv, keys->iv, sizeof(info->chacha.iv));
		put64(info->chacha.rec_seq, keys->seq);
		*len = sizeof(info->chacha);
		break;
	}
}

int engine_result(struct engine *engine, struct engine_result *result)
{
	const struct library *library = &engine->library;
	const struct tls_suite *suite = engine->choice.suite;

	memset(result, 0, sizeof(*result));
	if (engine->status != ENGINE_DONE)
		return -1;
	/* It cannot come to this; nobody gets in if it does. */
	if (engine->context->ask_client &&
	    (library_resumed(library) ||
	     (engine->context->require_client && !engine->client.count)))
		return -1;
	if (engine->choice.version == TLS_1_3) {
		if (library_keys13(&library->client, suite, &engine->rx) ||
		    library_keys13(&library->server, suite, &engine->tx))
			return -1;
		memcpy(result->rx_secret, library->client.secret, suite->hash_len);
		memcpy(result->tx_secret, library->server.secret, suite->hash_len);
		result->secret_len = suite->hash_len;
	} else {
		/* in a resumed handshake it is out since the first call */
		keep_nonce(engine);
	}
	engine->tx.seq = library_sent(library);
	result->version = engine->choice.version;
	result->suite = suite->id;
	result->resumed = library_resumed(library);
	memcpy(result->server_name, engine->server_name, sizeof(result->server_name));
	result->alpn = engine->choice.alpn;
	result->client = &engine->client;
	fill_info(&engine->tx, engine->nonce, &result->tx, &result->info_len);
	fill_info(&engine->rx, engine->nonce, &result->rx, &result->info_len);
	return 0;
}
