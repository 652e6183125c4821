// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * library.h by wolfSSL 5.5.4 to 5.9.
 *
 * The transcript: the library is shown a ClientHello of ours (hello.h), yet the
 * handshake is authenticated over the bytes that the client sent.  Its transcript
 * hashes are made with a device number of ours, so that every update passes by
 * on_crypto(), and there the shown hello is replaced by the heard one, and the
 * ServerHello by what goes out (library_server_hello()).  So is a ClientKeyExchange
 * whose public value the library would not take as it came.  Nothing else is changed
 * there; randomness comes from the kernel on the same way.
 *
 * Callbacks that are told of no connection find it in "current".
 */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/version.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/kdf.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../common/public_key.h"
#include "../common/signer.h"
#include "library.h"
#include "log.h"

#ifndef WOLF_CRYPTO_CB
#error "wolfSSL must be built with crypto callbacks (WOLF_CRYPTO_CB)"
#endif
#ifndef HAVE_PK_CALLBACKS
#error "wolfSSL must be built with public key callbacks (HAVE_PK_CALLBACKS)"
#endif
#ifndef ATOMIC_USER
#error "wolfSSL must be built with atomic user record callbacks (ATOMIC_USER)"
#endif

#ifdef WOLFSSL_SMALL_STACK_CACHE
#error "wolfSSL must be built without WOLFSSL_SMALL_STACK_CACHE: states of hashes are copied"
#endif

#define DEVICE	       0x746c7370 /* any number that is not taken */
#define TICKET_EXTRA   32	  /* ours, behind the library's own */
#define TICKET_MAC_LEN 32
/* Between messages that the token does not sign */
#define COMPLAINT_S 10
/* wolfSSL 5.9.2 counts resumptions in a row in one byte of the ticket nonce. */
#define TICKET_CHAIN_MAX 100

struct library_context {
	WOLFSSL_CTX *ctx;
	const struct ticket_keys *tickets;
	bool asks_clients;
	struct signer *signer;	       /* of a key in a token; else NULL */
	struct public_key *public_key; /* to verify what that signs */
};

static struct library *current;

static int on_recv(WOLFSSL *ssl, char *buf, int len, void *arg)
{
	struct library *library = arg;
	size_t n = (size_t)len < library->in_len ? (size_t)len : library->in_len;

	(void)ssl;
	if (!n)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, library->in, n);
	library->in += n;
	library->in_len -= n;
	return n;
}

static int on_send(WOLFSSL *ssl, char *buf, int len, void *arg)
{
	struct library *library = arg;
	size_t need = library->out_len + len, room;
	uint8_t *out;

	(void)ssl;
	if (need > LIBRARY_OUT_MAX)
		return WOLFSSL_CBIO_ERR_GENERAL;
	if (need > library->out_room) {
		room = need < 4096 ? 4096 : LIBRARY_OUT_MAX;
		out = realloc(library->out, room); /* nothing secret in there */
		if (!out)
			return WOLFSSL_CBIO_ERR_GENERAL;
		library->out = out;
		library->out_room = room;
	}
	memcpy(library->out + library->out_len, buf, len);
	library->out_len += len;
	return len;
}

/*
 * HKDF-Expand-Label (RFC 8446 7.1), which a handshake asks for twenty times and more.
 * A secret has up to four labels: the two blocks of HMAC that hold nothing but the
 * secret are hashed once for them, and forgotten with the end of the call.
 */
#define PRK_CACHE 4

struct hmac_key {
	uint8_t prk[TLS_SECRET_MAX];
	word32 len; /* 0: not in use */
	union {
		struct {
			wc_Sha256 inner;
			wc_Sha256 outer;
		} sha256;
		struct {
			wc_Sha384 inner;
			wc_Sha384 outer;
		} sha384;
	};
};

static struct hmac_key hmac_keys[PRK_CACHE];
static unsigned int hmac_next;

static void pad_key(const struct hmac_key *key, uint8_t pad, uint8_t *block, size_t len)
{
	memset(block, pad, len);
	for (word32 i = 0; i < key->len; i++)
		block[i] ^= key->prk[i];
}

#define HMAC_INIT(key, name, Name, block_len) \
	({ \
		uint8_t block_[block_len]; \
		int err_; \
\
		pad_key(key, 0x36, block_, sizeof(block_)); \
		err_ = wc_Init##Name##_ex(&(key)->name.inner, NULL, INVALID_DEVID) || \
		       wc_##Name##Update(&(key)->name.inner, block_, sizeof(block_)); \
		pad_key(key, 0x5c, block_, sizeof(block_)); \
		err_ = err_ || wc_Init##Name##_ex(&(key)->name.outer, NULL, INVALID_DEVID) || \
		       wc_##Name##Update(&(key)->name.outer, block_, sizeof(block_)); \
		explicit_bzero(block_, sizeof(block_)); \
		err_; \
	})

#define HMAC_RUN(key, name, Name, data, data_len, mac) \
	({ \
		wc_##Name hash_ = (key)->name.inner; \
		int err_; \
\
		err_ = wc_##Name##Update(&hash_, data, data_len) || wc_##Name##Final(&hash_, mac); \
		hash_ = (key)->name.outer; \
		err_ = err_ || wc_##Name##Update(&hash_, mac, (key)->len) || \
		       wc_##Name##Final(&hash_, mac); \
		explicit_bzero(&hash_, sizeof(hash_)); \
		err_; \
	})

/* NULL: the hash is none of ours, or it failed */
static const struct hmac_key *hmac_key_of(const byte *prk, word32 len)
{
	struct hmac_key *key;
	int err;

	for (size_t i = 0; i < PRK_CACHE; i++)
		if (hmac_keys[i].len == len && !memcmp(hmac_keys[i].prk, prk, len))
			return &hmac_keys[i];
	key = &hmac_keys[hmac_next++ % PRK_CACHE];
	memcpy(key->prk, prk, len);
	key->len = len;
	err = len == WC_SHA256_DIGEST_SIZE ? HMAC_INIT(key, sha256, Sha256, 64) :
					     HMAC_INIT(key, sha384, Sha384, 128);
	if (err)
		key->len = 0;
	return err ? NULL : key;
}

static void forget_hmac_keys(void)
{
	explicit_bzero(hmac_keys, sizeof(hmac_keys));
}

static int expand_label(byte *okm, word32 okm_len, const byte *prk, word32 prk_len,
			const byte *protocol, word32 protocol_len, const byte *label,
			word32 label_len, const byte *info, word32 info_len)
{
	uint8_t message[2 + 1 + 255 + 1 + 255 + 1], mac[TLS_SECRET_MAX], *at = message;
	const struct hmac_key *key = hmac_key_of(prk, prk_len);
	int err;

	if (!key)
		return HASH_TYPE_E;
	put16(at, okm_len);
	at[2] = protocol_len + label_len;
	at += 3;
	memcpy(at, protocol, protocol_len);
	at += protocol_len;
	memcpy(at, label, label_len);
	at += label_len;
	*at++ = info_len;
	if (info_len)
		memcpy(at, info, info_len);
	at += info_len;
	*at++ = 1; /* the first block of HKDF-Expand, and the last */
	err = prk_len == WC_SHA256_DIGEST_SIZE ?
		      HMAC_RUN(key, sha256, Sha256, message, at - message, mac) :
		      HMAC_RUN(key, sha384, Sha384, message, at - message, mac);
	if (!err)
		memcpy(okm, mac, okm_len);
	explicit_bzero(mac, sizeof(mac));
	return err ? HASH_TYPE_E : 0;
}

/* One of the hash's length and with no more than one block of output: as TLS 1.3 has it. */
static bool is_usual(word32 okm_len, word32 prk_len, word32 protocol_len, word32 label_len,
		     word32 info_len, int digest)
{
	return ((digest == WC_SHA256 && prk_len == WC_SHA256_DIGEST_SIZE) ||
		(digest == WC_SHA384 && prk_len == WC_SHA384_DIGEST_SIZE)) &&
	       okm_len <= prk_len && protocol_len + label_len <= 255 && info_len <= 255;
}

static bool is_label(const byte *label, word32 len, const char *want)
{
	return len == strlen(want) && !memcmp(label, want, len);
}

static void keep_secret(const byte *label, word32 label_len, const byte *okm, word32 okm_len)
{
	struct traffic *traffic = is_label(label, label_len, "c hs traffic") ?
					  &current->client_handshake :
				  is_label(label, label_len, "c ap traffic") ? &current->client :
				  is_label(label, label_len, "s ap traffic") ? &current->server :
									       NULL;

	if (!traffic || okm_len > TLS_SECRET_MAX)
		return;
	memset(traffic, 0, sizeof(*traffic));
	memcpy(traffic->secret, okm, okm_len);
	traffic->have.secret = true;
}

/* Keys are made anew neither here nor in the kernel: each label costs four blocks of a hash. */
static void keep_keys(const byte *prk, word32 prk_len, bool key, const byte *okm, word32 okm_len)
{
	struct traffic *const all[] = { &current->client_handshake, &current->client,
					&current->server };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct traffic *traffic = all[i];

		if (!traffic->have.secret || prk_len > TLS_SECRET_MAX ||
		    memcmp(prk, traffic->secret, prk_len))
			continue;
		if (key && okm_len <= CRYPT_KEY_MAX) {
			memcpy(traffic->keys.key, okm, okm_len);
			traffic->have.key = true;
		} else if (!key && okm_len == CRYPT_NONCE_LEN) {
			memcpy(traffic->keys.iv, okm, okm_len);
			traffic->have.iv = true;
		}
	}
}

/* The traffic secrets and keys pass by here when TLS 1.3 derives them. */
static int on_expand_label(byte *okm, word32 okm_len, const byte *prk, word32 prk_len,
			   const byte *protocol, word32 protocol_len, const byte *label,
			   word32 label_len, const byte *info, word32 info_len, int digest,
			   int side)
{
	int err;

	(void)side;
	if (current && is_usual(okm_len, prk_len, protocol_len, label_len, info_len, digest))
		err = expand_label(okm, okm_len, prk, prk_len, protocol, protocol_len, label,
				   label_len, info, info_len);
	else
		err = wc_Tls13_HKDF_Expand_Label(okm, okm_len, prk, prk_len, protocol, protocol_len,
						 label, label_len, info, info_len, digest);
	if (err || !current)
		return err;
	if (is_label(label, label_len, "key") || is_label(label, label_len, "iv"))
		keep_keys(prk, prk_len, *label == 'k', okm, okm_len);
	else
		keep_secret(label, label_len, okm, okm_len);
	return 0;
}

static bool is_same(const byte *in, word32 len, const uint8_t *data, size_t data_len)
{
	return len == data_len && !memcmp(in, data, len);
}

/* Is this the shown hello, it without its binders, or these?  Then what is meant of the heard one? */
static struct bytes heard(const struct library *library, const byte *in, word32 len)
{
	const struct bytes shown = library->shown, whole = library->heard;
	const size_t shown_tail = library->shown_tail, tail = library->heard_tail;

	if (!shown.len)
		return (struct bytes){ NULL, 0 };
	if (is_same(in, len, shown.data, shown.len))
		return whole;
	if (shown_tail && is_same(in, len, shown.data, shown.len - shown_tail))
		return (struct bytes){ whole.data, whole.len - tail };
	if (shown_tail && is_same(in, len, shown.data + shown.len - shown_tail, shown_tail))
		return (struct bytes){ whole.data + whole.len - tail, tail };
	return (struct bytes){ NULL, 0 };
}

/* Header, version, random; there is the length of the session id. */
#define SESSION_ID_AT (TLS_HANDSHAKE_HEADER + 2 + TLS_RANDOM_LEN)

static size_t echo_session_id(struct bytes id, const uint8_t *message, size_t len, uint8_t *to)
{
	const size_t at = SESSION_ID_AT;

	if (message[at])
		return 0;
	memcpy(to, message, at);
	put24(to + 1, len + id.len - TLS_HANDSHAKE_HEADER);
	to[at] = id.len;
	memcpy(to + at + 1, id.data, id.len);
	memcpy(to + at + 1 + id.len, message + at + 1, len - at - 1);
	return len + id.len;
}

#define SERVER_NAME    0
#define STATUS_REQUEST 5
#define PRE_SHARED_KEY 41

/* 0: there was nothing to be dropped */
static size_t drop_answers(const uint8_t *message, size_t len, uint8_t *to)
{
	/* session id, suite, compression; there are the extensions */
	const size_t list = SESSION_ID_AT + 1 + message[SESSION_ID_AT] + 2 + 1;
	size_t at, next, kept = list + 2;

	if (len < kept)
		return 0;
	memcpy(to, message, kept);
	for (at = kept; at + 4 <= len; at = next) {
		next = at + 4 + get16(message + at + 2);
		if (next > len)
			return 0;
		if (get16(message + at) == SERVER_NAME || get16(message + at) == STATUS_REQUEST)
			continue;
		memcpy(to + kept, message + at, next - at);
		kept += next - at;
	}
	put24(to + 1, kept - TLS_HANDSHAKE_HEADER);
	put16(to + list, kept - list - 2);
	return kept < len ? kept : 0;
}

/* Where in a ServerHello the number of the PSK stands; 0: it has none */
static size_t find_psk(const uint8_t *message, size_t len)
{
	/* session id, suite, compression, length of the extensions */
	size_t at = SESSION_ID_AT + 1 + message[SESSION_ID_AT] + 2 + 1 + 2;

	for (; at + 4 + 2 <= len; at += 4 + get16(message + at + 2))
		if (get16(message + at) == PRE_SHARED_KEY)
			return at + 4;
	return 0;
}

/* Of the new length, or of the old one; 0: it stays as it is */
static size_t number_psk(const struct library *library, const uint8_t *message, size_t len,
			 uint8_t *to, size_t new_len)
{
	size_t at = find_psk(new_len ? to : message, new_len ? new_len : len);
	uint16_t shown = at ? get16((new_len ? to : message) + at) : 0;

	if (!at || shown >= HELLO_PSKS_MAX || library->psks[shown] == shown)
		return new_len;
	if (!new_len)
		memcpy(to, message, len);
	put16(to + at, library->psks[shown]);
	return new_len ? new_len : len;
}

size_t library_server_hello(const struct library *library, const uint8_t *message, size_t len,
			    uint8_t *to)
{
	const struct bytes *id = &library->session_id;
	size_t new_len = 0;

	if (len <= SESSION_ID_AT || message[0] != TLS_SERVER_HELLO ||
	    get24(message + 1) != len - TLS_HANDSHAKE_HEADER ||
	    len + id->len > LIBRARY_SERVER_HELLO_MAX)
		return 0;
	if (id->len)
		new_len = echo_session_id(*id, message, len, to);
	else if ((library->named || library->staple.len) && library_resumed(library))
		new_len = drop_answers(message, len, to);
	return library->shown_tail ? number_psk(library, message, len, to, new_len) : new_len;
}

/* Hash in software: without the device, or it would come back here. */
#define HASH_INSTEAD(sha, update, data, len) \
	({ \
		int device_ = (sha)->devId, err_; \
\
		(sha)->devId = INVALID_DEVID; \
		err_ = update(sha, data, len); \
		(sha)->devId = device_; \
		err_; \
	})

static int hash_instead(wc_CryptoInfo *info, const uint8_t *data, size_t len)
{
	switch (info->hash.type) {
	case WC_HASH_TYPE_SHA256:
		return HASH_INSTEAD(info->hash.sha256, wc_Sha256Update, data, len);
	case WC_HASH_TYPE_SHA384:
		return HASH_INSTEAD(info->hash.sha384, wc_Sha384Update, data, len);
	case WC_HASH_TYPE_SHA512:
		return HASH_INSTEAD(info->hash.sha512, wc_Sha512Update, data, len);
	default:
		return CRYPTOCB_UNAVAILABLE; /* of TLS before 1.2 */
	}
}

/*
 * The library hashes the transcript in each hash that it has, for it asks later which one
 * the suite wants.  We know: the others are marked with the ClientHello, and do nothing
 * from then on.
 */
static char idle_hash;

static void **hash_mark(const wc_CryptoInfo *info)
{
	switch (info->hash.type) {
	case WC_HASH_TYPE_SHA256:
		return &info->hash.sha256->devCtx;
	case WC_HASH_TYPE_SHA384:
		return &info->hash.sha384->devCtx;
	case WC_HASH_TYPE_SHA512:
		return &info->hash.sha512->devCtx;
	default:
		return NULL;
	}
}

static bool is_wanted(int type)
{
	switch (current->hash_len) {
	case WC_SHA256_DIGEST_SIZE:
		return type == WC_HASH_TYPE_SHA256;
	case WC_SHA384_DIGEST_SIZE:
		return type == WC_HASH_TYPE_SHA384;
	default:
		return true;
	}
}

static int on_hash(wc_CryptoInfo *info)
{
	uint8_t message[LIBRARY_SERVER_HELLO_MAX];
	void **mark = hash_mark(info);
	struct bytes hello;
	size_t len;

	if (mark && *mark == &idle_hash)
		return 0;
	hello = heard(current, info->hash.in, info->hash.inSz);
	if (hello.len && mark && !is_wanted(info->hash.type)) {
		*mark = &idle_hash;
		return 0;
	}
	if (hello.len)
		return hash_instead(info, hello.data, hello.len);
	len = library_server_hello(current, info->hash.in, info->hash.inSz, message);
	return len ? hash_instead(info, message, len) : CRYPTOCB_UNAVAILABLE;
}

/*
 * RFC 8446 4.1.3.  The library marks its random of a full handshake alone.  A handshake asks
 * first for this random: whatever comes later may be a key.
 */
static void mark_downgrade(uint8_t *out, size_t len)
{
	static const uint8_t mark[8] = { 'D', 'O', 'W', 'N', 'G', 'R', 'D', 1 };

	if (!current || !current->downgraded)
		return;
	current->downgraded = false;
	if (len == TLS_RANDOM_LEN && library_resumed(current))
		memcpy(out + len - sizeof(mark), mark, sizeof(mark));
}

static int on_random(uint8_t *out, size_t len)
{
	if (crypt_random(out, len))
		return RNG_FAILURE_E;
	mark_downgrade(out, len);
	return 0;
}

static int on_crypto(int device, wc_CryptoInfo *info, void *arg)
{
	(void)device;
	(void)arg;
	switch (info->algo_type) {
	case WC_ALGO_TYPE_HASH:
		if (current && info->hash.in)
			return on_hash(info);
		return CRYPTOCB_UNAVAILABLE;
	case WC_ALGO_TYPE_RNG:
		return on_random(info->rng.out, info->rng.sz);
	case WC_ALGO_TYPE_SEED:
		return crypt_random(info->seed.seed, info->seed.sz) ? RNG_FAILURE_E : 0;
	default:
		return CRYPTOCB_UNAVAILABLE;
	}
}

/*
 * A resumed handshake counts as authenticated and goes past every check of the
 * port.  So a ticket opens only under the policy that it was sealed under: key
 * name, library and binding are authenticated with it, and so is all of the IV,
 * which has room for a longer nonce.
 */
#define TICKET_AAD_LEN (TICKET_NAME_LEN + 4 + CRYPT_SHA256_LEN + WOLFSSL_TICKET_IV_SZ)

static void ticket_aad(const struct library *library, const unsigned char *name,
		       const unsigned char *iv, uint8_t aad[TICKET_AAD_LEN])
{
	uint32_t version = library_version_number();

	memcpy(aad, name, TICKET_NAME_LEN);
	put16(aad + TICKET_NAME_LEN, version >> 16);
	put16(aad + TICKET_NAME_LEN + 2, version);
	memcpy(aad + TICKET_NAME_LEN + 4, library->binding, CRYPT_SHA256_LEN);
	memcpy(aad + TICKET_NAME_LEN + 4 + CRYPT_SHA256_LEN, iv, WOLFSSL_TICKET_IV_SZ);
}

/* The library has room for a longer one. */
static bool is_mac(const unsigned char *mac)
{
	for (size_t i = TLS_TAG_LEN; i < TICKET_MAC_LEN; i++)
		if (mac[i] != 0xff)
			return false;
	return true;
}

static int seal_ticket(struct library *library, unsigned char *name, unsigned char *iv,
		       unsigned char *mac, unsigned char *ticket, int len, int *out_len)
{
	uint8_t aad[TICKET_AAD_LEN];
	struct ticket_key key;
	int err;

	if (!library->tickets || *out_len < len + TICKET_EXTRA)
		return WOLFSSL_TICKET_RET_FATAL;
	if (!ticket_key_current(library->context->tickets, &key))
		return WOLFSSL_TICKET_RET_FATAL;
	memset(ticket + len, 0, TICKET_EXTRA);
	ticket[len] = library->chain + 1;
	len += TICKET_EXTRA;
	memcpy(name, key.name, TICKET_NAME_LEN);
	memset(mac, 0xff, TICKET_MAC_LEN);
	err = crypt_random(iv, WOLFSSL_TICKET_IV_SZ);
	ticket_aad(library, name, iv, aad);
	err = err || crypt_seal(AEAD_CHACHA20_POLY1305, key.key, iv, aad, sizeof(aad), ticket, len,
				ticket, mac);
	explicit_bzero(&key, sizeof(key));
	*out_len = len;
	return err ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_OK;
}

static int open_ticket(struct library *library, const unsigned char *name, const unsigned char *iv,
		       const unsigned char *mac, unsigned char *ticket, int len, int *out_len)
{
	uint8_t aad[TICKET_AAD_LEN];
	struct ticket_key key;
	int err;

	if (!library->tickets || len < TICKET_EXTRA || !is_mac(mac) ||
	    !ticket_key_find(library->context->tickets, name, &key))
		return WOLFSSL_TICKET_RET_REJECT;
	ticket_aad(library, name, iv, aad);
	err = crypt_open(AEAD_CHACHA20_POLY1305, key.key, iv, aad, sizeof(aad), ticket, len, mac,
			 ticket);
	explicit_bzero(&key, sizeof(key));
	if (err || ticket[len - TICKET_EXTRA] >= TICKET_CHAIN_MAX)
		return WOLFSSL_TICKET_RET_REJECT;
	library->chain = ticket[len - TICKET_EXTRA];
	*out_len = len - TICKET_EXTRA;
	return WOLFSSL_TICKET_RET_OK;
}

static int on_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
		     unsigned char iv[WOLFSSL_TICKET_IV_SZ],
		     unsigned char mac[WOLFSSL_TICKET_MAC_SZ], int seal, unsigned char *ticket,
		     int len, int *out_len, void *arg)
{
	struct library *library = wolfSSL_GetIOReadCtx(ssl);

	(void)arg;
	return seal ? seal_ticket(library, name, iv, mac, ticket, len, out_len) :
		      open_ticket(library, name, iv, mac, ticket, len, out_len);
}

#if LIBWOLFSSL_VERSION_HEX >= 0x05009002
/* The library frees what it is given. */
static int on_status(WOLFSSL *ssl, void *arg)
{
	const struct library *library = wolfSSL_GetIOReadCtx(ssl);
	size_t len = library->staple.len;
	uint8_t *copy = len ? XMALLOC(len, NULL, DYNAMIC_TYPE_OPENSSL) : NULL;

	(void)arg;
	if (!copy)
		return WOLFSSL_OCSP_STATUS_CB_NOACK;
	memcpy(copy, library->staple.data, len);
	wolfSSL_set_tlsext_status_ocsp_resp(ssl, copy, len);
	return WOLFSSL_OCSP_STATUS_CB_OK;
}

bool library_staples(void)
{
	return true;
}

static int set_staple(WOLFSSL_CTX *ctx)
{
	return wolfSSL_CTX_set_tlsext_status_cb(ctx, on_status) == WOLFSSL_SUCCESS ? 0 : -1;
}
#else
/* 5.5.4 ends the handshake, 5.7.2 sends none. */
bool library_staples(void)
{
	return false;
}

static int set_staple(WOLFSSL_CTX *ctx)
{
	(void)ctx;
	return 0;
}
#endif

/* It may fail for each handshake: once is enough for a while. */
static void complain(const char *err)
{
	static time_t last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (last && now.tv_sec - last < COMPLAINT_S)
		return;
	last = now.tv_sec;
	log_error("%s", err);
}

/*
 * Length, or -1: the handshake ends with internal_error
 *
 * A session of the token finds its key by name, and that may be another one by now.  And a
 * signature of RSA with a fault of the arithmetic gives the key away.
 */
static int sign_by_token(WOLFSSL *ssl, enum token_how how, const uint8_t *data, size_t len,
			 uint8_t to[TOKEN_SIGNATURE_MAX])
{
	const struct library_context *context =
		((const struct library *)wolfSSL_GetIOReadCtx(ssl))->context;
	char err[512];
	int signature_len;

	signature_len = signer_sign(context->signer, how, data, len, to, err, sizeof(err));
	if (signature_len < 0) {
		complain(err);
		return -1;
	}
	if (public_key_verify(context->public_key, how, data, len, to, signature_len))
		return signature_len;
	log_error("%s: what the token has signed is wrong: another process takes over",
		  signer_uri(context->signer));
	signer_reject(context->signer);
	return -1;
}

static int on_ecdsa_sign(WOLFSSL *ssl, const unsigned char *digest, unsigned int len,
			 unsigned char *out, word32 *out_len, const unsigned char *key,
			 unsigned int key_len, void *arg)
{
	uint8_t raw[TOKEN_SIGNATURE_MAX];
	int raw_len = sign_by_token(ssl, TOKEN_ECDSA, digest, len, raw);

	(void)key;
	(void)key_len;
	(void)arg;
	if (raw_len < 0)
		return WC_HW_E;
	return wc_ecc_rs_raw_to_sig(raw, raw_len / 2, raw + raw_len / 2, raw_len / 2, out, out_len);
}

static int rsa_sign(WOLFSSL *ssl, enum token_how how, const uint8_t *data, size_t len,
		    unsigned char *out, word32 *out_len)
{
	uint8_t signature[TOKEN_SIGNATURE_MAX];
	int signature_len = sign_by_token(ssl, how, data, len, signature);

	if (signature_len < 0)
		return WC_HW_E;
	if ((word32)signature_len > *out_len)
		return BUFFER_E;
	memcpy(out, signature, signature_len);
	*out_len = signature_len;
	return 0;
}

static int on_rsa_sign(WOLFSSL *ssl, const unsigned char *info, unsigned int len,
		       unsigned char *out, word32 *out_len, const unsigned char *key,
		       unsigned int key_len, void *arg)
{
	(void)key;
	(void)key_len;
	(void)arg;
	return rsa_sign(ssl, TOKEN_RSA_PKCS1, info, len, out, out_len);
}

static int on_pss_sign(WOLFSSL *ssl, const unsigned char *digest, unsigned int len,
		       unsigned char *out, unsigned int *out_len, int hash, int mgf,
		       const unsigned char *key, unsigned int key_len, void *arg)
{
	(void)hash; /* its length says which */
	(void)mgf;
	(void)key;
	(void)key_len;
	(void)arg;
	return rsa_sign(ssl, TOKEN_RSA_PSS, digest, len, out, out_len);
}

/*
 * The library looks after each RSA signature whether it is right, with the private key
 * that it does not have here: sign_by_token() has done so.
 */
static int on_rsa_check(WOLFSSL *ssl, unsigned char *signature, unsigned int len,
			unsigned char **out, const unsigned char *key, unsigned int key_len,
			void *arg)
{
	(void)ssl;
	(void)signature;
	(void)len;
	(void)out;
	(void)key;
	(void)key_len;
	(void)arg;
	return 0;
}

static int on_pss_check(WOLFSSL *ssl, unsigned char *signature, unsigned int len,
			unsigned char **out, int hash, int mgf, const unsigned char *key,
			unsigned int key_len, void *arg)
{
	(void)hash;
	(void)mgf;
	return on_rsa_check(ssl, signature, len, out, key, key_len, arg);
}

/* Before the certificate: the library takes size and type of the key from there then. */
static void sign_elsewhere(WOLFSSL_CTX *ctx)
{
	wolfSSL_CTX_SetEccSignCb(ctx, on_ecdsa_sign);
	wolfSSL_CTX_SetRsaSignCb(ctx, on_rsa_sign);
	wolfSSL_CTX_SetRsaSignCheckCb(ctx, on_rsa_check);
	wolfSSL_CTX_SetRsaPssSignCb(ctx, on_pss_sign);
	wolfSSL_CTX_SetRsaPssSignCheckCb(ctx, on_pss_check);
}

/* 0 or -1 */
static int take_files(WOLFSSL_CTX *ctx, const struct cert_files *files)
{
	if (files->signer)
		sign_elsewhere(ctx);
	if (wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const unsigned char *)files->cert,
						     files->cert_len) != WOLFSSL_SUCCESS)
		return -1;
	if (files->signer)
		return 0;
	return wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)files->key,
						 files->key_len,
						 WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS ?
		       0 :
		       -1;
}

static struct public_key *read_public_key(const struct cert_files *files)
{
	char *chain = cert_files_chain(files);
	WOLFSSL_BIO *bio = chain ? wolfSSL_BIO_new_mem_buf(chain, strlen(chain)) : NULL;
	WOLFSSL_X509 *x509 = bio ? wolfSSL_PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	struct public_key *key = public_key_new(x509);

	wolfSSL_X509_free(x509);
	wolfSSL_BIO_free(bio);
	free(chain);
	return key;
}

const char *library_version(void)
{
	return wolfSSL_lib_version();
}

uint32_t library_version_number(void)
{
	return wolfSSL_lib_version_hex();
}

static int start_library(void)
{
	static bool started;

	if (started)
		return 0;
	if (wolfSSL_Init() != WOLFSSL_SUCCESS ||
	    wc_CryptoCb_RegisterDevice(DEVICE, on_crypto, NULL))
		return -1;
	started = true;
	return 0;
}

static int set_suites(WOLFSSL_CTX *ctx, const struct hello_policy *policy)
{
	char list[TLS_SUITES * 48] = "";

	for (size_t i = 0; i < policy->suite_count; i++) {
		if (i)
			strcat(list, ":");
		strcat(list, tls_suite_by_id(policy->suites[i])->library);
	}
	return wolfSSL_CTX_set_cipher_list(ctx, list) == WOLFSSL_SUCCESS ? 0 : -1;
}

static int set_groups(WOLFSSL_CTX *ctx, const struct hello_policy *policy)
{
	int groups[TLS_GROUPS];

	/* wolfSSL's numbers of groups are IANA's */
	for (size_t i = 0; i < policy->group_count; i++)
		groups[i] = policy->groups[i];
	return wolfSSL_CTX_set_groups(ctx, groups, policy->group_count) == WOLFSSL_SUCCESS ? 0 : -1;
}

static void set_tickets(WOLFSSL_CTX *ctx, bool tickets)
{
	/* Both: 5.5.4 stores master secrets with the first alone. */
	wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
	wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_NO_INTERNAL);
	if (!tickets) {
		wolfSSL_CTX_set_num_tickets(ctx, 0);
		wolfSSL_CTX_no_ticket_TLSv13(ctx);
		wolfSSL_CTX_NoTicketTLSv12(ctx);
		return;
	}
	wolfSSL_CTX_set_num_tickets(ctx, 1);
	wolfSSL_CTX_set_timeout(ctx, TICKET_LIFETIME);
	wolfSSL_CTX_set_TicketHint(ctx, TICKET_LIFETIME);
	wolfSSL_CTX_set_TicketEncCb(ctx, on_ticket);
}

/*
 * They were checked.  One that is not taken has ended since: it is left out, and its
 * issuer's certificates are refused for want of it.
 */
static int load_crls(WOLFSSL_CTX *ctx, const char *crls)
{
	const char *crl;
	size_t len;

	if (wolfSSL_CTX_EnableCRL(ctx, WOLFSSL_CRL_CHECKALL) != WOLFSSL_SUCCESS)
		return -1;
#ifdef HAVE_CRL_IO
	/* Debian's would ask the address in the client's certificate for a list. */
	if (wolfSSL_CTX_SetCRL_IOCb(ctx, NULL) != WOLFSSL_SUCCESS)
		return -1;
#endif
	while ((crl = client_ca_next_crl(&crls, &len)))
		wolfSSL_CTX_LoadCRLBuffer(ctx, (const unsigned char *)crl, len,
					  WOLFSSL_FILETYPE_PEM);
	return 0;
}

/*
 * No Ed25519: in TLS 1.2 it signs the messages themselves, of which the library has
 * the shown hello in place of the heard one.  The authorities are not named, for the
 * library would name them with nothing in the names.
 */
#define CLIENT_SCHEMES \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:" \
	"RSA+SHA256:RSA+SHA384:RSA+SHA512"

static int set_clients(WOLFSSL_CTX *ctx, const struct library_clients *clients)
{
	const struct client_ca *ca = clients->ca;

	wolfSSL_CTX_set_verify(
		ctx,
		WOLFSSL_VERIFY_PEER | (clients->required ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		NULL);
	if (wolfSSL_CTX_set1_sigalgs_list(ctx, CLIENT_SCHEMES) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CLIENT_RSA_MIN) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_SetMinEccKey_Sz(ctx, CLIENT_ECC_MIN) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_load_verify_buffer(ctx, (const unsigned char *)ca->ca, ca->ca_len,
					   WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		return -1;
	return ca->crl ? load_crls(ctx, ca->crl) : 0;
}

struct library_context *library_context_new(const struct hello_policy *policy,
					    const struct cert_files *files,
					    const struct ticket_keys *tickets,
					    const struct library_clients *clients, char *err,
					    size_t errlen)
{
	struct library_context *context;
	WOLFSSL_CTX *ctx = NULL;

	context = calloc(1, sizeof(*context));
	if (!context || start_library() || !(ctx = wolfSSL_CTX_new(wolfTLS_server_method()))) {
		snprintf(err, errlen, "the TLS library could not be started");
		goto fail;
	}
	if (files->signer)
		context->public_key = read_public_key(files);
	if (take_files(ctx, files) || !files->signer != !context->public_key) {
		snprintf(err, errlen, "the TLS library does not take certificate and key");
		goto fail;
	}
	/* The maximum decides whether ServerHello.random says "I could do TLS 1.3". */
	if (wolfSSL_CTX_set_min_proto_version(ctx, policy->min_version) != WOLFSSL_SUCCESS ||
	    (policy->max_version == TLS_1_2 &&
	     wolfSSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != WOLFSSL_SUCCESS) ||
	    set_suites(ctx, policy) || set_groups(ctx, policy) || set_staple(ctx)) {
		snprintf(err, errlen,
			 "the TLS library does not take these versions, ciphers or groups");
		goto fail;
	}
	if (clients && set_clients(ctx, clients)) {
		snprintf(
			err, errlen,
			"the TLS library does not take the authorities of client certificates, or their revocation lists");
		goto fail;
	}
	set_tickets(ctx, tickets != NULL);
	wolfSSL_CTX_SetIORecv(ctx, on_recv);
	wolfSSL_CTX_SetIOSend(ctx, on_send);
	wolfSSL_CTX_SetHKDFExpandLabelCb(ctx, on_expand_label);
	wolfSSL_CTX_SetDevId(ctx, DEVICE);
	context->ctx = ctx;
	context->tickets = tickets;
	context->asks_clients = clients != NULL;
	context->signer = signer_hold(files->signer);
	return context;
fail:
	wolfSSL_CTX_free(ctx);
	if (context)
		public_key_free(context->public_key);
	free(context);
	return NULL;
}

void library_context_free(struct library_context *context)
{
	if (!context)
		return;
	wolfSSL_CTX_free(context->ctx);
	signer_put(context->signer);
	public_key_free(context->public_key);
	free(context);
}

int library_open(struct library *library, const struct library_context *context, bool tickets,
		 const uint8_t binding[CRYPT_SHA256_LEN])
{
	memset(library, 0, sizeof(*library));
	library->context = context;
	library->tickets = tickets && context->tickets;
	memcpy(library->binding, binding, CRYPT_SHA256_LEN);
	current = library;
	library->ssl = wolfSSL_new(context->ctx);
	current = NULL;
	if (!library->ssl)
		return -1;
	if (!library->tickets)
		wolfSSL_no_ticket_TLSv13(library->ssl);
	wolfSSL_SetIOReadCtx(library->ssl, library);
	wolfSSL_SetIOWriteCtx(library->ssl, library);
	return 0;
}

int library_alpn(struct library *library, struct bytes name)
{
	char text[256];

	memcpy(text, name.data, name.len);
	return wolfSSL_UseALPN(library->ssl, text, name.len, WOLFSSL_ALPN_FAILED_ON_MISMATCH) ==
			       WOLFSSL_SUCCESS ?
		       0 :
		       -1;
}

int library_server_name(struct library *library, struct bytes name)
{
	return wolfSSL_UseSNI(library->ssl, WOLFSSL_SNI_HOST_NAME, name.data, name.len) ==
			       WOLFSSL_SUCCESS ?
		       0 :
		       -1;
}

/* The library's ticket: name, IV, length of what is sealed, that, and the MAC */
#define TICKET_LEN_AT (TICKET_NAME_LEN + WOLFSSL_TICKET_IV_SZ)
#define TICKET_AROUND (TICKET_LEN_AT + 2 + TICKET_MAC_LEN)

bool library_knows_ticket(const struct library *library, struct bytes ticket)
{
	struct ticket_key key;
	bool known = library->tickets && ticket.len > TICKET_AROUND &&
		     ticket.len - TICKET_AROUND == get16(ticket.data + TICKET_LEN_AT) &&
		     ticket_key_find(library->context->tickets, ticket.data, &key);

	explicit_bzero(&key, sizeof(key));
	return known;
}

void library_close(struct library *library)
{
	wolfSSL_free(library->ssl);
	free(library->out);
	explicit_bzero(library, sizeof(*library));
}

/* The library keeps those that clients send: for others, who do not, and beyond their end. */
static void forget_intermediates(const struct library_context *context)
{
#if LIBWOLFSSL_VERSION_HEX >= 0x05009002
	if (context->asks_clients)
		wolfSSL_CertManagerUnloadIntermediateCerts(
			wolfSSL_CTX_GetCertManager(context->ctx));
#endif
}

enum library_status library_feed(struct library *library, const uint8_t *record, size_t len)
{
	enum library_status status = LIBRARY_MORE;
	int ret;

	library->in = record;
	library->in_len = len;
	current = library;
	ret = wolfSSL_accept(library->ssl);
	forget_hmac_keys();
	forget_intermediates(library->context);
	if (ret == WOLFSSL_SUCCESS) {
		status = LIBRARY_DONE;
	} else {
		library->error = wolfSSL_get_error(library->ssl, ret);
		if (library->error != WOLFSSL_ERROR_WANT_READ)
			status = LIBRARY_FAILED;
	}
	current = NULL;
	/* Every record is read to its end before more is wanted. */
	if (status != LIBRARY_FAILED && library->in_len) {
		library->error = BUFFER_ERROR;
		status = LIBRARY_FAILED;
	}
	library->in = NULL;
	library->in_len = 0;
	return status;
}

static const struct {
	int error;
	int alert;
} alerts[] = {
	{ VERIFY_FINISHED_ERROR, ALERT_DECRYPT_ERROR },
	{ BAD_BINDER, ALERT_DECRYPT_ERROR },
	{ VERIFY_MAC_ERROR, ALERT_BAD_RECORD_MAC },
	{ DECRYPT_ERROR, ALERT_BAD_RECORD_MAC },
	{ EXT_MASTER_SECRET_NEEDED_E, ALERT_HANDSHAKE_FAILURE },
	{ MATCH_SUITE_ERROR, ALERT_HANDSHAKE_FAILURE },
	{ SECURE_RENEGOTIATION_E, ALERT_HANDSHAKE_FAILURE },
	{ VERSION_ERROR, ALERT_PROTOCOL_VERSION },
	{ BUFFER_ERROR, ALERT_DECODE_ERROR },
	{ BUFFER_E, ALERT_DECODE_ERROR },
	{ LENGTH_ERROR, ALERT_DECODE_ERROR },
	{ PARSE_ERROR, ALERT_DECODE_ERROR },
	{ OUT_OF_ORDER_E, ALERT_UNEXPECTED_MESSAGE },
	{ SANITY_MSG_E, ALERT_UNEXPECTED_MESSAGE },
	{ DUPLICATE_MSG_E, ALERT_UNEXPECTED_MESSAGE },
	{ NO_CHANGE_CIPHER_E, ALERT_UNEXPECTED_MESSAGE },
	{ ECC_PEERKEY_ERROR, ALERT_ILLEGAL_PARAMETER },
	{ ECC_SHARED_ERROR, ALERT_ILLEGAL_PARAMETER },
	{ BAD_KEY_SHARE_DATA, ALERT_ILLEGAL_PARAMETER },
	{ INVALID_PARAMETER, ALERT_ILLEGAL_PARAMETER },
	/* the client's certificate */
	{ ASN_NO_SIGNER_E, ALERT_UNKNOWN_CA },
	{ ASN_SELF_SIGNED_E, ALERT_UNKNOWN_CA },
	{ MAX_CHAIN_ERROR, ALERT_UNKNOWN_CA },
	{ ASN_PATHLEN_SIZE_E, ALERT_UNKNOWN_CA },
	{ ASN_PATHLEN_INV_E, ALERT_UNKNOWN_CA },
	{ ASN_AFTER_DATE_E, ALERT_CERTIFICATE_EXPIRED },
	{ ASN_BEFORE_DATE_E, ALERT_CERTIFICATE_EXPIRED },
	{ CRL_CERT_REVOKED, ALERT_CERTIFICATE_REVOKED },
	{ CRL_MISSING, ALERT_CERTIFICATE_UNKNOWN },
	{ CRL_CERT_DATE_ERR, ALERT_CERTIFICATE_UNKNOWN },
	{ KEYUSE_SIGNATURE_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ EXTKEYUSE_AUTH_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ RSA_KEY_SIZE_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ECC_KEY_SIZE_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ASN_CRIT_EXT_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ASN_NAME_INVALID_E, ALERT_BAD_CERTIFICATE },
	{ ASN_SIG_CONFIRM_E, ALERT_BAD_CERTIFICATE },
	{ ASN_PARSE_E, ALERT_BAD_CERTIFICATE },
	{ ASN_VERSION_E, ALERT_BAD_CERTIFICATE },
	{ ASN_GETINT_E, ALERT_BAD_CERTIFICATE },
	{ ASN_OBJECT_ID_E, ALERT_BAD_CERTIFICATE },
	{ ASN_TAG_NULL_E, ALERT_BAD_CERTIFICATE },
	{ ASN_EXPECT_0_E, ALERT_BAD_CERTIFICATE },
	{ ASN_BITSTR_E, ALERT_BAD_CERTIFICATE },
	{ ASN_DATE_SZ_E, ALERT_BAD_CERTIFICATE },
	{ ASN_TIME_E, ALERT_BAD_CERTIFICATE },
	{ ASN_INPUT_E, ALERT_BAD_CERTIFICATE },
	{ ASN_ALT_NAME_E, ALERT_BAD_CERTIFICATE },
	{ ASN_SIG_OID_E, ALERT_BAD_CERTIFICATE },
	{ ASN_UNKNOWN_OID_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ECC_CURVE_OID_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ALGO_ID_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ASN_SIG_HASH_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ ASN_SIG_KEY_E, ALERT_UNSUPPORTED_CERTIFICATE },
	{ VERIFY_CERT_ERROR, ALERT_BAD_CERTIFICATE },
	{ SIG_VERIFY_E, ALERT_DECRYPT_ERROR },
	{ VERIFY_SIGN_ERROR, ALERT_DECRYPT_ERROR },
};

/* Of errors that mean something else elsewhere; 0: of none of them */
static int alert_of_message(int error, uint8_t message)
{
	switch (message) {
	case TLS_CERTIFICATE:
		/* the message was looked at: a certificate in it ends too early */
		return error == BUFFER_E ? ALERT_BAD_CERTIFICATE : 0;
	case TLS_CERTIFICATE_VERIFY:
		/* RSA in PKCS #1: what is signed is not the transcript */
		return error == VERIFY_CERT_ERROR ? ALERT_DECRYPT_ERROR : 0;
	default:
		return 0;
	}
}

int library_alert(const struct library *library, uint8_t message)
{
	int alert = alert_of_message(library->error, message);

	if (alert)
		return alert;
	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].error == library->error)
			return alerts[i].alert;
	/* numbers out of range, padding, encoding: the library says of each what it is */
	if (message == TLS_CERTIFICATE_VERIFY && library->error != MEMORY_E &&
	    library->error != MP_MEM)
		return ALERT_DECRYPT_ERROR;
	return ALERT_INTERNAL_ERROR;
}

const char *library_error_text(const struct library *library)
{
	return wolfSSL_ERR_reason_error_string(library->error);
}

int library_keys13(const struct traffic *traffic, const struct tls_suite *suite,
		   struct record_keys *keys)
{
	if (!traffic->have.secret)
		return -1;
	/* No version that was tried derives them elsewhere, but it may. */
	if (!traffic->have.key || !traffic->have.iv)
		return crypt_record_keys(suite, traffic->secret, keys);
	*keys = traffic->keys;
	keys->version = TLS_1_3;
	keys->aead = suite->aead;
	return 0;
}

bool library_resumed(const struct library *library)
{
	return wolfSSL_session_reused(library->ssl);
}

static int take_keys12(const struct tls_suite *suite, const uint8_t *key, const uint8_t *iv,
		       struct record_keys *keys)
{
	memset(keys, 0, sizeof(*keys));
	if (!key || !iv)
		return -1;
	keys->version = TLS_1_2;
	keys->aead = suite->aead;
	memcpy(keys->key, key, suite->key_len);
	memcpy(keys->iv, iv, suite->aead == AEAD_CHACHA20_POLY1305 ? CRYPT_NONCE_LEN : 4);
	return 0;
}

int library_keys12(const struct library *library, const struct tls_suite *suite,
		   struct record_keys *client, struct record_keys *server)
{
	if (wolfSSL_get_current_cipher_suite(library->ssl) != suite->id)
		return -1;
	return take_keys12(suite, wolfSSL_GetClientWriteKey(library->ssl),
			   wolfSSL_GetClientWriteIV(library->ssl), client) ||
			       take_keys12(suite, wolfSSL_GetServerWriteKey(library->ssl),
					   wolfSSL_GetServerWriteIV(library->ssl), server) ?
		       -1 :
		       0;
}

uint64_t library_sent(const struct library *library)
{
	word64 sequence = 0;

	/* Returns 1 for the number 0; it fails only without its arguments. */
	wolfSSL_GetSequenceNumber(library->ssl, &sequence);
	return sequence;
}
