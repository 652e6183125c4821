// SPDX-License-Identifier: GPL-2.0-only
/*
 * KeyUpdate (RFC 8446 7.2): the next traffic secret, and the software context
 * of net/tls keyed with it in place.  With lock_sock no record is being
 * decrypted; with tx_lock too none is being encrypted, and the KeyUpdate record
 * that goes before has drained what was.  TLS 1.3 has no device path in the
 * kernels that this module knows.
 */
#include <crypto/aead.h>
#include <crypto/hash.h>
#include "tlsport.h"

#define LABEL_MAX 16

static struct crypto_shash *hmac256, *hmac384;
static DEFINE_MUTEX(hmac_lock); /* a tfm carries its key */

/* HKDF-Expand-Label (RFC 8446 7.1) with an empty context and one block of output at most */
static int expand_label(const u8 *secret, int hash_len, const char *label, u8 *out, int len)
{
	struct crypto_shash *tfm = hash_len == 48 ? hmac384 : hmac256;
	u8 info[2 + 1 + 6 + LABEL_MAX + 1 + 1], okm[TLSPORT_SECRET_MAX];
	SHASH_DESC_ON_STACK(desc, tfm);
	int l = strlen(label), n = 0, err;

	info[n++] = len >> 8;
	info[n++] = len;
	info[n++] = 6 + l;
	memcpy(info + n, "tls13 ", 6);
	memcpy(info + n + 6, label, l);
	n += 6 + l;
	info[n++] = 0;
	info[n++] = 1;
	desc->tfm = tfm;
	mutex_lock(&hmac_lock);
	err = crypto_shash_setkey(tfm, secret, hash_len) ?: crypto_shash_digest(desc, info, n, okm);
	mutex_unlock(&hmac_lock);
	if (!err)
		memcpy(out, okm, len);
	memzero_explicit(okm, sizeof(okm));
	shash_desc_zero(desc);
	return err;
}

struct next_keys {
	u8 secret[TLSPORT_SECRET_MAX], key[32], iv[12];
};

static int key_len(const struct tlsport_conn *conn)
{
	return conn->cipher == TLS_CIPHER_AES_GCM_128 ? 16 : 32;
}

static int next_keys(const struct tlsport_conn *conn, const u8 *secret, struct next_keys *k)
{
	int len = conn->secret_len;

	return expand_label(secret, len, "traffic upd", k->secret, len)		  ?:
		       expand_label(k->secret, len, "key", k->key, key_len(conn)) ?:
		       expand_label(k->secret, len, "iv", k->iv, sizeof(k->iv));
}

/* lock_sock held; for TX also net/tls's tx_lock. */
static int install(const struct tlsport_conn *conn, struct crypto_aead *aead,
		   struct cipher_context *cc, u8 *secret, const struct next_keys *k)
{
	int err = crypto_aead_setkey(aead, k->key, key_len(conn));

	if (err)
		return err;
	memcpy(cc->iv, k->iv, sizeof(k->iv));
	memset(cc->rec_seq, 0, 8);
	memcpy(secret, k->secret, conn->secret_len);
	return 0;
}

/**
 * tlsport_rekey_rx - go to the peer's next traffic key
 * @sk: TLS 1.3, software
 * @conn: its connection; the KeyUpdate is at the head of the receive queue
 *
 * Context: process, conn->lock held.
 * Return: 0 or a negative errno: the connection cannot go on.
 */
int tlsport_rekey_rx(struct sock *sk, struct tlsport_conn *conn)
{
	struct tls_context *ctx = tls_get_ctx(sk);
	struct next_keys k;
	int err;

	if (!conn->secret_len || ctx->rx_conf != TLSPORT_CONF_SW)
		return -EOPNOTSUPP;
	err = next_keys(conn, conn->rx_secret, &k);
	if (!err) {
		lock_sock(sk);
		err = install(conn, tls_sw_ctx_rx(ctx)->aead_recv, &ctx->rx, conn->rx_secret, &k);
		if (!err)
			TLSPORT_KEY_UPDATE_DONE(tls_sw_ctx_rx(ctx));
		release_sock(sk);
	}
	memzero_explicit(&k, sizeof(k));
	return err;
}

/**
 * tlsport_rekey_tx - go to our next traffic key
 * @sk: TLS 1.3, software
 * @conn: its connection; our KeyUpdate was the last record
 * @flags: MSG_DONTWAIT or 0
 *
 * Context: process, conn->tx_lock held.
 * Return: 0; -EAGAIN: net/tls's work item is sending, with MSG_DONTWAIT; else
 * a negative errno: the connection cannot go on.
 */
int tlsport_rekey_tx(struct sock *sk, struct tlsport_conn *conn, int flags)
{
	struct tls_context *ctx = tls_get_ctx(sk);
	struct next_keys k;
	int err;

	lockdep_assert_held(&conn->tx_lock);
	if (!conn->secret_len || ctx->tx_conf != TLSPORT_CONF_SW)
		return -EOPNOTSUPP;
	if (!(flags & MSG_DONTWAIT))
		mutex_lock(&ctx->tx_lock);
	else if (!mutex_trylock(&ctx->tx_lock))
		return -EAGAIN;
	err = next_keys(conn, conn->tx_secret, &k);
	if (!err) {
		lock_sock(sk);
		err = install(conn, tls_sw_ctx_tx(ctx)->aead_send, &ctx->tx, conn->tx_secret, &k);
		release_sock(sk);
	}
	mutex_unlock(&ctx->tx_lock);
	memzero_explicit(&k, sizeof(k));
	return err;
}

static struct crypto_shash *find_hmac(const char *name)
{
	struct crypto_shash *hmac = crypto_alloc_shash(name, 0, 0);

	if (hmac == ERR_PTR(-ENOENT))
		pr_err("tlsport: this kernel has no %s (CONFIG_CRYPTO_*)\n", name);
	return hmac;
}

int tlsport_rekey_init(void)
{
	hmac256 = find_hmac("hmac(sha256)");
	if (IS_ERR(hmac256))
		return PTR_ERR(hmac256);
	hmac384 = find_hmac("hmac(sha384)");
	if (IS_ERR(hmac384)) {
		crypto_free_shash(hmac256);
		return PTR_ERR(hmac384);
	}
	return 0;
}

void tlsport_rekey_exit(void)
{
	crypto_free_shash(hmac384);
	crypto_free_shash(hmac256);
}
