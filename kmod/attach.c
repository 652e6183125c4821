// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys into net/tls, on the private socket, in the worker's downcall.
 *
 * The crypto_info goes through a page of the worker's own memory and a user
 * sockptr: with a kernel sockptr net/tls copies behind struct tls_crypto_info,
 * which recent kernels report as a field-spanning write.
 */
#include <crypto/aead.h>
#include <linux/uaccess.h>
#include "tlsport.h"

int tlsport_attach_ulp(struct socket *sock)
{
	return sock->ops->setsockopt(sock, SOL_TCP, TCP_ULP, KERNEL_SOCKPTR("tls"), sizeof("tls"));
}

static int info_len(u16 cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return sizeof(struct tls12_crypto_info_aes_gcm_128);
	case TLS_CIPHER_AES_GCM_256:
		return sizeof(struct tls12_crypto_info_aes_gcm_256);
	case TLS_CIPHER_CHACHA20_POLY1305:
		return sizeof(struct tls12_crypto_info_chacha20_poly1305);
	default:
		return -1;
	}
}

/* RFC 8446 B.4: SHA-384 goes with AES-256-GCM, SHA-256 with the others. */
static int secret_len(u16 cipher)
{
	return cipher == TLS_CIPHER_AES_GCM_256 ? 48 : 32;
}

/**
 * tlsport_attach_check - may these keys be attached?
 * @conn: was begun under a policy that they must meet; the port may have another by now
 * @info: CONTINUE with TX and RX
 *
 * Return: 0, or -EINVAL with the reason as extack text.
 */
int tlsport_attach_check(const struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *tx = info->attrs[TLSPORT_A_HS_TX], *rx = info->attrs[TLSPORT_A_HS_RX];
	struct nlattr *ts = info->attrs[TLSPORT_A_HS_TX_SECRET];
	struct nlattr *rs = info->attrs[TLSPORT_A_HS_RX_SECRET];
	const struct tls_crypto_info *t = nla_data(tx), *r = nla_data(rx);

	if (t->version != r->version || t->cipher_type != r->cipher_type) {
		NL_SET_ERR_MSG(info->extack, "TX and RX differ in version or cipher");
		return -EINVAL;
	}
	if (t->version < conn->min_version || t->version > conn->max_version) {
		NL_SET_ERR_MSG(info->extack, "the port does not allow this TLS version");
		return -EINVAL;
	}
	if (nla_len(tx) != info_len(t->cipher_type) || nla_len(rx) != nla_len(tx)) {
		NL_SET_ERR_MSG(info->extack,
			       "TX or RX is no AES-GCM or CHACHA20-POLY1305 structure");
		return -EINVAL;
	}
	if (t->version == TLS_1_3_VERSION &&
	    (!ts || !rs || nla_len(ts) != secret_len(t->cipher_type) ||
	     nla_len(rs) != nla_len(ts))) {
		NL_SET_ERR_MSG(info->extack,
			       "TLS 1.3 needs both traffic secrets, as long as the suite's hash");
		return -EINVAL;
	}
	return 0;
}

static int give_keys(struct socket *sock, int direction, void __user *scratch,
		     const struct nlattr *nla)
{
	int err = -EFAULT;

	pagefault_disable(); /* the page is there: the caller has pinned it */
	if (copy_to_user(scratch, nla_data(nla), nla_len(nla)))
		goto out;
	err = sock->ops->setsockopt(sock, SOL_TLS, direction, USER_SOCKPTR(scratch), nla_len(nla));
	if (clear_user(scratch, nla_len(nla)))
		err = -EFAULT;
out:
	pagefault_enable();
	return err;
}

/* An interface that is to stay out of it does. */
static int set_keys(struct socket *sock, int direction, void __user *scratch,
		    const struct nlattr *nla, enum tlsport_offload policy)
{
	bool out = tlsport_offload_unwanted(sock->sk, direction, policy);
	int err = out ? tlsport_offload_keep_out(sock->sk, direction) : 0;

	if (err)
		return err;
	err = give_keys(sock, direction, scratch, nla);
	return out ? tlsport_offload_let_in(sock->sk, direction, err) : err;
}

/*
 * net/tls has one function that closes the open record: that of who got keys last, in
 * either direction.  An interface's TX must keep its own: software's would take its
 * context for one of software.
 */
static int set_rx_keys(struct socket *sock, void __user *scratch, const struct nlattr *nla,
		       enum tlsport_offload policy)
{
	struct tls_context *ctx = tls_get_ctx(sock->sk);
	typeof(ctx->push_pending_record) push = ctx->push_pending_record;
	int err = set_keys(sock, TLS_RX, scratch, nla, policy);

	if (ctx->tx_conf == TLSPORT_CONF_HW) {
		lock_sock(sock->sk);
		ctx->push_pending_record = push;
		release_sock(sock->sk);
	}
	return err;
}

/* net/tls remembers the callbacks that it finds: they must not be ours. */
static void restore_write_space(struct tlsport_conn *conn)
{
	write_lock_bh(&conn->sk->sk_callback_lock);
	WRITE_ONCE(conn->sk->sk_write_space, conn->write_space);
	write_unlock_bh(&conn->sk->sk_callback_lock);
}

static void keep_secrets(struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *tx = info->attrs[TLSPORT_A_HS_TX_SECRET];
	struct nlattr *rx = info->attrs[TLSPORT_A_HS_RX_SECRET];

	if (conn->version != TLS_1_3_VERSION)
		return;
	conn->secret_len = nla_len(tx);
	memcpy(conn->tx_secret, nla_data(tx), nla_len(tx));
	memcpy(conn->rx_secret, nla_data(rx), nla_len(rx));
}

/*
 * What the application asks for, or reads first.  Without it a program would take
 * one client for another: no memory is an end.
 */
static int keep_for_application(struct tlsport_conn *conn, struct genl_info *info)
{
	struct nlattr *details = info->attrs[TLSPORT_A_HS_DETAILS];
	struct nlattr *preamble = info->attrs[TLSPORT_A_HS_PREAMBLE];

	if (details && nla_len(details)) {
		conn->details = kvmalloc(nla_len(details), GFP_KERNEL_ACCOUNT);
		if (!conn->details)
			return -ENOMEM;
		memcpy(conn->details, nla_data(details), nla_len(details));
		conn->details_len = nla_len(details);
	}
	return preamble ? tlsport_preamble_set(conn, nla_data(preamble), nla_len(preamble)) : 0;
}

/**
 * tlsport_attach - the hand-over checklist
 * @conn: all handshake bytes are sent, all that were shown as used are consumed
 * @scratch: the worker's page, pinned; NULL: the worker is gone, or it could not be
 * @info: CONTINUE, passed by tlsport_attach_check()
 *
 * TX comes before RX, for RX looks at the receive queue at once.  Our callbacks
 * leave between the two: the payload guard knows a handshake by them, and a
 * session by TX.
 *
 * Context: the worker's sendmsg(), conn->lock held.
 * Return: 0; -EPROTO: attached, but the port requires an interface that encrypts, so
 * that the connection must end, with an alert; another negative errno: by RST.
 */
int tlsport_attach(struct tlsport_conn *conn, void __user *scratch, struct genl_info *info)
{
	const struct tls_crypto_info *keys = nla_data(info->attrs[TLSPORT_A_HS_TX]);
	enum tlsport_offload policy = conn->offload;
	struct socket *sock = conn->sock;
	int err, one = 1;

	if (!scratch)
		return -EFAULT;
	err = keep_for_application(conn, info);
	if (err)
		return err;
	if (!inet_csk(conn->sk)->icsk_ulp_ops) /* the client had closed before its hello was seen */
		return -ENOTCONN;
	restore_write_space(conn);
	err = set_keys(sock, TLS_TX, scratch, info->attrs[TLSPORT_A_HS_TX], policy);
	if (err)
		return err;
	conn->tx_sw = tlsport_offload_outcome(conn->sk, keys, TLS_TX, policy);
	tlsport_conn_restore_callbacks(conn);
	err = set_rx_keys(sock, scratch, info->attrs[TLSPORT_A_HS_RX], policy);
	if (err)
		return err;
	conn->rx_sw = tlsport_offload_outcome(conn->sk, keys, TLS_RX, policy);
	if (keys->version == TLS_1_3_VERSION) { /* decrypt straight into the reader's buffer */
		err = sock->ops->setsockopt(sock, SOL_TLS, TLS_RX_EXPECT_NO_PAD,
					    KERNEL_SOCKPTR(&one), sizeof(one));
		if (err)
			return err;
	}
	if (READ_ONCE(conn->port->zerocopy)) { /* of an interface alone, see zerocopy.c */
		err = sock->ops->setsockopt(sock, SOL_TLS, TLS_TX_ZEROCOPY_RO, KERNEL_SOCKPTR(&one),
					    sizeof(one));
		if (err)
			return err;
	}
	if (!tlsport_session_ops(conn->sk, sock->ops))
		return -EOPNOTSUPP;
	err = tlsport_offload_attached(conn);
	if (err)
		return err;
	conn->version = keys->version;
	conn->cipher = keys->cipher_type;
	conn->key_limit = READ_ONCE(conn->port->key_limit);
	conn->truncation = READ_ONCE(conn->port->truncation);
	keep_secrets(conn, info);
	return policy == TLSPORT_OFFLOAD_REQUIRE && conn->tx_sw != TLSPORT_SW_NONE ? -EPROTO : 0;
}

/* Context: the sk cannot close.  Who encrypts, as /proc/crypto names it; NULL: a NIC. */
const char *tlsport_attach_driver(const struct sock *sk)
{
	struct tls_context *ctx = tls_get_ctx(sk);

	if (!ctx || ctx->tx_conf == TLSPORT_CONF_HW || !ctx->priv_ctx_tx)
		return NULL;
	return crypto_tfm_alg_driver_name(crypto_aead_tfm(tls_sw_ctx_tx(ctx)->aead_send));
}
