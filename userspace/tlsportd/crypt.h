/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The little cryptography that tlsportd does itself around the library's
 * handshake: look into a handshake record before the library does, seal an
 * alert, seal tickets, check a peer's public value.
 */
#ifndef _TLSPORTD_CRYPT_H
#define _TLSPORTD_CRYPT_H

#include "../common/tls.h"

#define CRYPT_NONCE_LEN	 12
#define CRYPT_KEY_MAX	 32
#define CRYPT_SHA256_LEN 32

/**
 * struct record_keys - protection of one direction
 * @iv: TLS 1.3 and ChaCha20: 12 bytes; TLS 1.2 GCM: 4 bytes of salt
 * @seq: of the next record
 */
struct record_keys {
	uint16_t version;
	enum tls_aead aead;
	uint8_t key[CRYPT_KEY_MAX];
	uint8_t iv[CRYPT_NONCE_LEN];
	uint64_t seq;
};

/* AEAD with a nonce of 12 bytes and a tag of 16; in place is allowed.  0 or -1. */
int crypt_seal(enum tls_aead aead, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad,
	       size_t aad_len, const uint8_t *text, size_t len, uint8_t *to, uint8_t *tag);
int crypt_open(enum tls_aead aead, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad,
	       size_t aad_len, const uint8_t *text, size_t len, const uint8_t *tag, uint8_t *to);

/* HKDF-Expand-Label(secret, label, "", len) of RFC 8446 7.1; secret_len says the hash. */
int crypt_expand_label(const uint8_t *secret, size_t secret_len, const char *label, uint8_t *to,
		       size_t len);

/* Record keys of TLS 1.3 from a traffic secret. */
int crypt_record_keys(const struct tls_suite *suite, const uint8_t *secret,
		      struct record_keys *keys);

/**
 * crypt_record_open() - open a record; on success the sequence number moves on
 * @record: with its header
 * @to: room for its length
 * @type: TLS 1.3: in, the outer type; out, the inner one, 0 when there is none
 *
 * Return: length of the content, or -1 when it does not authenticate.
 */
int crypt_record_open(struct record_keys *keys, const uint8_t *record, size_t len, uint8_t *to,
		      uint8_t *type);

/**
 * crypt_record_seal() - seal a record; on success the sequence number moves on
 * @len: TLS_PLAINTEXT_MAX at most
 * @nonce: explicit nonce of TLS 1.2 GCM, else unused
 * @to: room for @len + 5 + 8 + 1 + 16
 *
 * Return: length of the record, or -1.
 */
int crypt_record_seal(struct record_keys *keys, uint8_t type, const uint8_t *nonce,
		      const uint8_t *text, size_t len, uint8_t *to);

/* SHA-256 over some pieces. */
struct crypt_piece {
	const void *data;
	size_t len;
};
int crypt_sha256(const struct crypt_piece *pieces, size_t count, uint8_t to[CRYPT_SHA256_LEN]);

/* Can it exchange keys in this group?  Some groups are younger than some libraries. */
bool crypt_has_group(uint16_t group);

/* Is this public value one that a handshake may use?  0 or -1. */
int crypt_share_check(uint16_t group, const uint8_t *share, size_t len);

/* Text to exactly @len bytes.  0 or -1 */
int crypt_base64_decode(const char *text, void *to, size_t len);

/* Length of the text, which is not ended by a 0; 0 when @room is too small. */
size_t crypt_base64_encode(const void *from, size_t len, char *to, size_t room);

/* The kernel's; never from a state that a fork would share.  0 or -1. */
int crypt_random(void *to, size_t len);

#endif /* _TLSPORTD_CRYPT_H */
