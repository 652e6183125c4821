/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of the TLS protocol that we speak of ourselves, by their names in the
 * RFCs, and the table of cipher suites that net/tls can carry.
 */
#ifndef _TLSPORT_TLS_H
#define _TLSPORT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_1_2 0x0303
#define TLS_1_3 0x0304

#define TLS_RECORD_HEADER     5
#define TLS_PLAINTEXT_MAX     16384
#define TLS_12_CIPHERTEXT_MAX (16384 + 2048)
#define TLS_13_CIPHERTEXT_MAX (16384 + 256)
#define TLS_HANDSHAKE_HEADER  4
#define TLS_RANDOM_LEN	      32
#define TLS_TAG_LEN	      16
#define TLS_SECRET_MAX	      48

enum tls_content {
	TLS_CHANGE_CIPHER_SPEC = 20,
	TLS_ALERT = 21,
	TLS_HANDSHAKE = 22,
	TLS_APPLICATION_DATA = 23,
};

enum tls_handshake_type {
	TLS_CLIENT_HELLO = 1,
	TLS_SERVER_HELLO = 2,
	TLS_CERTIFICATE = 11,
	TLS_CERTIFICATE_VERIFY = 15,
	TLS_CLIENT_KEY_EXCHANGE = 16,
	TLS_FINISHED = 20,
};

enum tls_alert_level {
	TLS_ALERT_WARNING = 1,
	TLS_ALERT_FATAL = 2,
};

/* An int that is 0 or one of these: 0, close_notify, is never a refusal of ours. */
enum tls_alert {
	ALERT_CLOSE_NOTIFY = 0,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_HANDSHAKE_FAILURE = 40,
	ALERT_BAD_CERTIFICATE = 42,
	ALERT_UNSUPPORTED_CERTIFICATE = 43,
	ALERT_CERTIFICATE_REVOKED = 44,
	ALERT_CERTIFICATE_EXPIRED = 45,
	ALERT_CERTIFICATE_UNKNOWN = 46,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_UNKNOWN_CA = 48,
	ALERT_DECODE_ERROR = 50,
	ALERT_DECRYPT_ERROR = 51,
	ALERT_PROTOCOL_VERSION = 70,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_INAPPROPRIATE_FALLBACK = 86,
	ALERT_USER_CANCELED = 90,
	ALERT_MISSING_EXTENSION = 109,
	ALERT_UNSUPPORTED_EXTENSION = 110,
	ALERT_UNRECOGNIZED_NAME = 112,
	ALERT_CERTIFICATE_REQUIRED = 116,
	ALERT_NO_APPLICATION_PROTOCOL = 120,
};

enum tls_group {
	GROUP_SECP256R1 = 23,
	GROUP_SECP384R1 = 24,
	GROUP_SECP521R1 = 25,
	GROUP_X25519 = 29,
	GROUP_X25519MLKEM768 = 0x11ec, /* TLS 1.3 alone */
};

enum tls_aead {
	AEAD_AES_128_GCM,
	AEAD_AES_256_GCM,
	AEAD_CHACHA20_POLY1305,
};

enum tls_auth {
	AUTH_ANY, /* TLS 1.3: the suite does not say */
	AUTH_ECDSA,
	AUTH_RSA,
};

/**
 * struct tls_suite - a cipher suite
 * @id: IANA number
 * @name: IANA name
 * @openssl: OpenSSL's name
 * @library: wolfSSL's name
 * @version: the only version it belongs to
 * @auth: key of the certificate that it needs
 * @aead: record protection
 * @hash_len: 32: SHA-256, 48: SHA-384
 * @key_len: of the record protection
 */
struct tls_suite {
	uint16_t id;
	const char *name;
	const char *openssl;
	const char *library;
	uint16_t version;
	enum tls_auth auth;
	enum tls_aead aead;
	uint8_t hash_len;
	uint8_t key_len;
};

#define TLS_SUITES 9
#define TLS_GROUPS 4

/**
 * struct tls_alpn - protocols, in order of preference, as ALPN (RFC 7301) has them
 * @len: 0: the extension is not spoken
 * @list: each with a byte of length before it
 */
struct tls_alpn {
	size_t len;
	uint8_t list[256];
};

/* All of them, in the default order of preference. */
extern const struct tls_suite tls_suites[TLS_SUITES];

/* NULL: not one of ours. */
const struct tls_suite *tls_suite_by_id(uint16_t id);

/* NULL: none of ours */
static inline const char *tls_version_name(uint16_t version)
{
	return version == TLS_1_2 ? "1.2" : version == TLS_1_3 ? "1.3" : NULL;
}
const struct tls_suite *tls_suite_by_name(const char *name, size_t len);

static inline uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static inline uint32_t get24(const uint8_t *p)
{
	return p[0] << 16 | p[1] << 8 | p[2];
}

static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static inline void put24(uint8_t *p, uint32_t v)
{
	p[0] = v >> 16;
	put16(p + 1, v);
}

static inline void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = v;
}

#endif /* _TLSPORT_TLS_H */
