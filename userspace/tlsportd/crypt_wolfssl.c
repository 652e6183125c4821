// SPDX-License-Identifier: GPL-2.0-or-later
/* crypt.h by wolfCrypt. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/kdf.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/wolfmath.h>

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "crypt.h"

static int aes_key_len(enum tls_aead aead)
{
	return aead == AEAD_AES_128_GCM ? 16 : 32;
}

int crypt_seal(enum tls_aead aead, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad,
	       size_t aad_len, const uint8_t *text, size_t len, uint8_t *to, uint8_t *tag)
{
	Aes aes;
	int err;

	if (aead == AEAD_CHACHA20_POLY1305)
		return wc_ChaCha20Poly1305_Encrypt(key, nonce, aad, aad_len, text, len, to, tag) ?
			       -1 :
			       0;
	if (wc_AesInit(&aes, NULL, INVALID_DEVID))
		return -1;
	err = wc_AesGcmSetKey(&aes, key, aes_key_len(aead)) ||
	      wc_AesGcmEncrypt(&aes, to, text, len, nonce, CRYPT_NONCE_LEN, tag, TLS_TAG_LEN, aad,
			       aad_len);
	wc_AesFree(&aes);
	explicit_bzero(&aes, sizeof(aes));
	return err ? -1 : 0;
}

int crypt_open(enum tls_aead aead, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad,
	       size_t aad_len, const uint8_t *text, size_t len, const uint8_t *tag, uint8_t *to)
{
	Aes aes;
	int err;

	if (aead == AEAD_CHACHA20_POLY1305)
		return wc_ChaCha20Poly1305_Decrypt(key, nonce, aad, aad_len, text, len, tag, to) ?
			       -1 :
			       0;
	if (wc_AesInit(&aes, NULL, INVALID_DEVID))
		return -1;
	err = wc_AesGcmSetKey(&aes, key, aes_key_len(aead)) ||
	      wc_AesGcmDecrypt(&aes, to, text, len, nonce, CRYPT_NONCE_LEN, tag, TLS_TAG_LEN, aad,
			       aad_len);
	wc_AesFree(&aes);
	explicit_bzero(&aes, sizeof(aes));
	return err ? -1 : 0;
}

int crypt_expand_label(const uint8_t *secret, size_t secret_len, const char *label, uint8_t *to,
		       size_t len)
{
	static const char protocol[] = "tls13 ";

	return wc_Tls13_HKDF_Expand_Label(to, len, secret, secret_len, (const byte *)protocol,
					  sizeof(protocol) - 1, (const byte *)label, strlen(label),
					  (const byte *)"", 0,
					  secret_len == 48 ? WC_SHA384 : WC_SHA256) ?
		       -1 :
		       0;
}

int crypt_record_keys(const struct tls_suite *suite, const uint8_t *secret,
		      struct record_keys *keys)
{
	memset(keys, 0, sizeof(*keys));
	keys->version = TLS_1_3;
	keys->aead = suite->aead;
	if (crypt_expand_label(secret, suite->hash_len, "key", keys->key, suite->key_len))
		return -1;
	return crypt_expand_label(secret, suite->hash_len, "iv", keys->iv, CRYPT_NONCE_LEN);
}

static bool has_explicit_nonce(const struct record_keys *keys)
{
	return keys->version == TLS_1_2 && keys->aead != AEAD_CHACHA20_POLY1305;
}

static void make_nonce(const struct record_keys *keys, const uint8_t *explicit, uint8_t *nonce)
{
	uint8_t seq[8];

	memcpy(nonce, keys->iv, CRYPT_NONCE_LEN);
	if (has_explicit_nonce(keys)) {
		memcpy(nonce + 4, explicit, 8);
		return;
	}
	put64(seq, keys->seq);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= seq[i];
}

/* What the AEAD authenticates beside the text: RFC 5246 6.2.3.3, RFC 8446 5.2. */
static size_t make_aad(const struct record_keys *keys, const uint8_t *header, size_t len,
		       uint8_t *aad)
{
	if (keys->version == TLS_1_3) {
		memcpy(aad, header, 3);
		put16(aad + 3, len);
		return 5;
	}
	put64(aad, keys->seq);
	memcpy(aad + 8, header, 3);
	put16(aad + 11, len);
	return 13;
}

int crypt_record_open(struct record_keys *keys, const uint8_t *record, size_t len, uint8_t *to,
		      uint8_t *type)
{
	const uint8_t *text = record + TLS_RECORD_HEADER;
	size_t text_len = len - TLS_RECORD_HEADER, aad_len;
	uint8_t nonce[CRYPT_NONCE_LEN], aad[13];

	if (has_explicit_nonce(keys) && text_len < 8)
		return -1;
	make_nonce(keys, text, nonce);
	if (has_explicit_nonce(keys)) {
		text += 8;
		text_len -= 8;
	}
	if (text_len < TLS_TAG_LEN)
		return -1;
	text_len -= TLS_TAG_LEN;
	aad_len = make_aad(keys, record,
			   keys->version == TLS_1_3 ? text_len + TLS_TAG_LEN : text_len, aad);
	if (crypt_open(keys->aead, keys->key, nonce, aad, aad_len, text, text_len, text + text_len,
		       to))
		return -1;
	keys->seq++;
	if (keys->version == TLS_1_3) {
		while (text_len && !to[text_len - 1])
			text_len--;
		*type = text_len ? to[--text_len] : 0;
	}
	return text_len;
}

int crypt_record_seal(struct record_keys *keys, uint8_t type, const uint8_t *nonce,
		      const uint8_t *text, size_t len, uint8_t *to)
{
	uint8_t full[CRYPT_NONCE_LEN], aad[13];
	uint8_t *out = to + TLS_RECORD_HEADER;
	size_t aad_len;

	to[0] = type;
	put16(to + 1, TLS_1_2);
	if (has_explicit_nonce(keys)) {
		memcpy(out, nonce, 8);
		out += 8;
	}
	memcpy(out, text, len);
	if (keys->version == TLS_1_3) {
		out[len++] = type;
		to[0] = TLS_APPLICATION_DATA;
	}
	aad_len = make_aad(keys, to, keys->version == TLS_1_3 ? len + TLS_TAG_LEN : len, aad);
	make_nonce(keys, nonce, full);
	if (crypt_seal(keys->aead, keys->key, full, aad, aad_len, out, len, out, out + len)) {
		explicit_bzero(out, len);
		return -1;
	}
	keys->seq++;
	out += len + TLS_TAG_LEN;
	put16(to + 3, out - to - TLS_RECORD_HEADER);
	return out - to;
}

int crypt_sha256(const struct crypt_piece *pieces, size_t count, uint8_t to[CRYPT_SHA256_LEN])
{
	wc_Sha256 sha;
	int err = wc_InitSha256(&sha);

	if (err)
		return -1;
	for (size_t i = 0; i < count && !err; i++)
		if (pieces[i].len)
			err = wc_Sha256Update(&sha, pieces[i].data, pieces[i].len);
	err = err || wc_Sha256Final(&sha, to);
	wc_Sha256Free(&sha);
	return err ? -1 : 0;
}

/*
 * Values of X25519 whose result is zero for every secret (RFC 7748 6.1): the
 * points of low order and their forms that are not reduced, little endian.
 */
static int check_x25519(const uint8_t *share, size_t len)
{
	static const uint8_t low_order[][32] = {
		{ 0 },
		{ 1 },
		{ 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
		  0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
		  0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
		{ 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
		  0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
		  0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
		{ 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
		{ 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
		{ 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	};

	if (len != 32)
		return -1;
	for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++)
		if (!memcmp(share, low_order[i], 31) && (share[31] & 0x7f) == low_order[i][31])
			return -1;
	return 0;
}

/*
 * On the curve, reduced and not the point at infinity: all that RFC 8446
 * 4.2.8.2 asks, the cofactor being 1.  wc_ecc_check_key() would multiply by the
 * order as well, which costs as much as the key exchange itself.
 */
static int check_point(ecc_key *key)
{
	mp_int a, b, p;
	int err;

	if (mp_init_multi(&a, &b, &p, NULL, NULL, NULL))
		return -1;
	err = mp_read_radix(&p, key->dp->prime, MP_RADIX_HEX) ||
	      mp_read_radix(&a, key->dp->Af, MP_RADIX_HEX) ||
	      mp_read_radix(&b, key->dp->Bf, MP_RADIX_HEX) ||
	      wc_ecc_point_is_at_infinity(&key->pubkey) || mp_cmp(key->pubkey.x, &p) != MP_LT ||
	      mp_cmp(key->pubkey.y, &p) != MP_LT || wc_ecc_is_point(&key->pubkey, &a, &b, &p);
	mp_clear(&a);
	mp_clear(&b);
	mp_clear(&p);
	return err ? -1 : 0;
}

/*
 * An encapsulation key of ML-KEM-768: 768 numbers of 12 bits, each below q (FIPS 203,
 * 7.2), and 32 bytes that may be anything.
 */
static int check_mlkem768(const uint8_t *key)
{
	for (size_t i = 0; i < 1152; i += 3)
		if ((key[i] | (key[i + 1] & 0xf) << 8) >= 3329 ||
		    (key[i + 1] >> 4 | key[i + 2] << 4) >= 3329)
			return -1;
	return 0;
}

bool crypt_has_group(uint16_t group)
{
#ifndef WOLFSSL_HAVE_MLKEM
	if (group == GROUP_X25519MLKEM768)
		return false;
#endif
	return true;
}

int crypt_share_check(uint16_t group, const uint8_t *share, size_t len)
{
	int curve = group == GROUP_SECP256R1 ? ECC_SECP256R1 : ECC_SECP384R1;
	size_t want = group == GROUP_SECP256R1 ? 65 : 97;
	ecc_key key;
	int err;

	if (group == GROUP_X25519)
		return check_x25519(share, len);
	if (group == GROUP_X25519MLKEM768) /* the new one, then the old one */
		return len != 1184 + 32 || check_mlkem768(share) || check_x25519(share + 1184, 32) ?
			       -1 :
			       0;
	if (len != want || share[0] != 4 || wc_ecc_init(&key))
		return -1;
	err = wc_ecc_import_x963_ex(share, len, &key, curve) || check_point(&key);
	wc_ecc_free(&key);
	return err ? -1 : 0;
}

int crypt_base64_decode(const char *text, void *to, size_t len)
{
	uint8_t bytes[256];
	word32 have = sizeof(bytes);
	int err = Base64_Decode((const byte *)text, strlen(text), bytes, &have);

	if (!err && have == len)
		memcpy(to, bytes, len);
	else
		err = -1;
	explicit_bzero(bytes, sizeof(bytes));
	return err;
}

size_t crypt_base64_encode(const void *from, size_t len, char *to, size_t room)
{
	word32 have = room;

	return Base64_Encode_NoNl(from, len, (byte *)to, &have) ? 0 : have;
}

int crypt_random(void *to, size_t len)
{
	uint8_t *at = to;
	ssize_t n;

	while (len) {
		n = getrandom(at, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len -= n;
	}
	return 0;
}
