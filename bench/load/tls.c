// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS of the client's side: a context a thread, for threads that share one wait for its locks.
 */
#include "load.h"

#include <openssl/err.h>

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct connection *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->session);
	c->session = session;
	return 1;
}

SSL_CTX *tls_context(void)
{
	static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384" };
	static const char *const lists[] = {
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
		"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
	};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int strong = o.cipher == 256;

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, o.version) ||
	    !SSL_CTX_set_max_proto_version(ctx, o.version))
		return NULL;
	if (o.cipher && (!SSL_CTX_set_ciphersuites(ctx, suites[strong]) ||
			 !SSL_CTX_set_cipher_list(ctx, lists[strong])))
		return NULL;
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	if (o.resume) {
		SSL_CTX_set_session_cache_mode(ctx,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, keep_session);
	}
	return ctx;
}

/* Prepares the handshake; one that can be resumed is. */
bool tls_open(struct connection *c)
{
	c->ssl = SSL_new(c->worker->ctx);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || !SSL_set_tlsext_host_name(c->ssl, o.name))
		return false;
	SSL_set_app_data(c->ssl, c);
	SSL_set_connect_state(c->ssl);
	return !c->session || SSL_set_session(c->ssl, c->session);
}

const char *tls_why(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return reason ? reason : "end of the connection";
}
