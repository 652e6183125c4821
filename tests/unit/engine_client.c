// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "engine_client.h"

static char *pem_of(BIO *bio, size_t *len)
{
	char *text, *data;

	*len = BIO_get_mem_data(bio, &data);
	text = malloc(*len + 1);
	assert_non_null(text);
	memcpy(text, data, *len);
	text[*len] = '\0';
	BIO_free(bio);
	return text;
}

static void add_names(X509 *x509, const char *names)
{
	X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, names);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(x509, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static void make_files(enum test_key key, const char *common_name, const char *names,
		       struct cert_files *files)
{
	EVP_PKEY *pkey = key == TEST_RSA  ? EVP_RSA_gen(2048) :
			 key == TEST_P384 ? EVP_EC_gen("P-384") :
					    EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *cert = BIO_new(BIO_s_mem()), *text = BIO_new(BIO_s_mem());
	X509_NAME *name;

	assert_non_null(pkey);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 0x1234 + key);
	X509_set_version(x509, 2);
	X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x509), 90 * 24 * 3600);
	X509_set_pubkey(x509, pkey);
	name = X509_get_subject_name(x509);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)common_name, -1, -1,
				   0);
	X509_set_issuer_name(x509, name);
	if (names)
		add_names(x509, names);
	assert_true(X509_sign(x509, pkey, EVP_sha256()));
	PEM_write_bio_X509(cert, x509);
	PEM_write_bio_PrivateKey(text, pkey, NULL, NULL, 0, NULL, NULL);
	memset(files, 0, sizeof(*files));
	files->cert = pem_of(cert, &files->cert_len);
	files->key = pem_of(text, &files->key_len);
	files->key_mode = 0100600;
	X509_free(x509);
	EVP_PKEY_free(pkey);
}

static void check_files(const struct cert_files *files, struct cert_facts *facts)
{
	char err[256] = "";

	if (cert_files_check(files, "test.crt", "test.key", facts, err, sizeof(err)))
		fail_msg("%s", err);
}

void test_files(enum test_key key, struct cert_files *files, struct cert_facts *facts)
{
	static struct cert_files cache[3];

	if (!cache[key].cert)
		make_files(key, "test.example", NULL, &cache[key]);
	*files = cache[key];
	check_files(files, facts);
}

void test_files_named(enum test_key key, const char *common_name, const char *names,
		      struct cert_files *files, struct cert_facts *facts)
{
	make_files(key, common_name, names, files);
	check_files(files, facts);
}

struct engine_policy test_policy(uint16_t port)
{
	struct engine_policy policy = {
		.port = port,
		.min_version = TLS_1_2,
		.max_version = TLS_1_3,
		.suite_count = TLS_SUITES,
		.groups = { GROUP_X25519, GROUP_SECP256R1, GROUP_SECP384R1 },
		.group_count = 3,
	};

	for (int i = 0; i < TLS_SUITES; i++)
		policy.suites[i] = tls_suites[i].id;
	return policy;
}

struct engine_context *test_context(const struct engine_policy *policy, enum test_key key)
{
	struct engine_context *context;
	struct cert_files files;
	struct cert_facts facts;
	struct cert_names names = { NULL, 0 };
	const struct engine_certificate certificate = { &files, &facts, &names, NULL, NULL };
	char err[256] = "";

	test_files(key, &files, &facts);
	context = engine_context_new(policy, &certificate, 1, err, sizeof(err));
	if (!context)
		fail_msg("%s", err);
	return context;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct client *client = SSL_get_app_data(ssl);

	SSL_SESSION_free(client->session);
	client->session = session;
	client->sessions++;
	return 1;
}

static void expand(const uint8_t *secret, size_t secret_len, const char *label, uint8_t *to,
		   size_t len)
{
	const EVP_MD *md = secret_len == 48 ? EVP_sha384() : EVP_sha256();
	uint8_t info[64], n = 0;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);

	info[n++] = 0;
	info[n++] = len;
	info[n++] = 6 + strlen(label);
	memcpy(info + n, "tls13 ", 6);
	memcpy(info + n + 6, label, strlen(label));
	n += 6 + strlen(label);
	info[n++] = 0;
	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	EVP_PKEY_CTX_set_hkdf_mode(ctx, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY);
	EVP_PKEY_CTX_set_hkdf_md(ctx, md);
	EVP_PKEY_CTX_set1_hkdf_key(ctx, secret, secret_len);
	EVP_PKEY_CTX_add1_hkdf_info(ctx, info, n);
	assert_int_equal(EVP_PKEY_derive(ctx, to, &len), 1);
	EVP_PKEY_CTX_free(ctx);
}

/* OpenSSL's key log: keep the client's handshake keys. */
static void on_keylog(const SSL *ssl, const char *line)
{
	static const char name[] = "CLIENT_HANDSHAKE_TRAFFIC_SECRET ";
	struct client *client = SSL_get_app_data(ssl);
	union engine_crypto_info *info = &client->handshake_keys;
	uint8_t iv[12], *secret;
	long len;

	if (strncmp(line, name, strlen(name)))
		return;
	secret = OPENSSL_hexstr2buf(strrchr(line, ' ') + 1, &len);
	assert_non_null(secret);
	memset(info, 0, sizeof(*info));
	if (len == 48) {
		info->info.version = TLS_1_3_VERSION;
		info->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		expand(secret, len, "key", info->gcm256.key, 32);
		expand(secret, len, "iv", iv, 12);
		memcpy(info->gcm256.salt, iv, 4);
		memcpy(info->gcm256.iv, iv + 4, 8);
	}
	OPENSSL_free(secret);
}

void client_again(struct client *client, SSL_SESSION *session)
{
	/* without a shutdown OpenSSL would not use the session again */
	if (client->ssl)
		SSL_set_shutdown(client->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(client->ssl);
	client->ssl = SSL_new(client->ctx);
	client->in = BIO_new(BIO_s_mem());
	client->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(client->in, -1);
	SSL_set_bio(client->ssl, client->in, client->out);
	SSL_set_connect_state(client->ssl);
	SSL_set_app_data(client->ssl, client);
	SSL_set_tlsext_host_name(client->ssl, "test.example");
	if (session)
		SSL_set_session(client->ssl, session);
}

struct client *client_new(int min_version, int max_version)
{
	struct client *client = calloc(1, sizeof(*client));

	client->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(client->ctx, min_version);
	SSL_CTX_set_max_proto_version(client->ctx, max_version);
	SSL_CTX_set_session_cache_mode(client->ctx,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client->ctx, on_session);
	SSL_CTX_set_keylog_callback(client->ctx, on_keylog);
	client_again(client, NULL);
	return client;
}

void client_free(struct client *client)
{
	SSL_free(client->ssl);
	SSL_SESSION_free(client->session);
	SSL_CTX_free(client->ctx);
	free(client);
}

static void feed(struct flow *flow, struct client *client, size_t len)
{
	const uint8_t *out;
	size_t consumed, out_len;

	flow->status =
		engine_feed(flow->engine, flow->pending, len, false, &consumed, &out, &out_len);
	assert_true(consumed <= len);
	memmove(flow->pending, flow->pending + consumed, flow->pending_len - consumed);
	flow->pending_len -= consumed;
	if (out_len) {
		BIO_write(client->in, out, out_len);
		assert_true(flow->sent_len + out_len <= sizeof(flow->sent));
		memcpy(flow->sent + flow->sent_len, out, out_len);
		flow->sent_len += out_len;
	}
	if (flow->status == ENGINE_DONE)
		assert_int_equal(engine_result(flow->engine, &flow->result), 0);
}

enum engine_status flow_run(struct flow *flow, const struct engine_context *context,
			    struct client *client)
{
	flow->engine = engine_new(context);
	assert_non_null(flow->engine);
	for (int turn = 0; turn < 20 && flow->status == ENGINE_MORE; turn++) {
		size_t before = flow->pending_len, at;
		int n, done = SSL_do_handshake(client->ssl);

		/* TLS 1.3 may send behind its Finished at once; before, as a false start */
		if (done == 1 && flow->data) {
			assert_int_equal(SSL_write(client->ssl, flow->data, strlen(flow->data)),
					 (int)strlen(flow->data));
			flow->data = NULL;
		}
		n = BIO_read(client->out, flow->pending + before, sizeof(flow->pending) - before);
		if (n <= 0)
			break;
		flow->pending_len += n;
		if (!flow->chunk) {
			feed(flow, client, flow->pending_len);
			continue;
		}
		for (at = before; at < flow->pending_len && flow->status == ENGINE_MORE;) {
			size_t len = at + flow->chunk, had = flow->pending_len;

			if (len > had)
				len = had;
			feed(flow, client, len);
			at = len - (had - flow->pending_len);
		}
	}
	/* what the engine's last flight holds for the client */
	SSL_do_handshake(client->ssl);
	return flow->status;
}

void flow_end(struct flow *flow)
{
	engine_free(flow->engine);
	memset(flow, 0, sizeof(*flow));
}

static uint64_t seq_of(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* Nonce, associated data and cipher of RFC 8446 5.3 and RFC 5288, RFC 7905. */
struct aead {
	const EVP_CIPHER *cipher;
	const uint8_t *key;
	uint8_t nonce[12];
	uint8_t aad[13];
	int aad_len;
	int explicit_len;
};

static void prepare(const union engine_crypto_info *info, const uint8_t *header, size_t text_len,
		    const uint8_t *explicit, struct aead *aead)
{
	const uint8_t *salt, *iv, *seq;
	bool tls13 = info->info.version == TLS_1_3_VERSION;
	int salt_len = 4;

	memset(aead, 0, sizeof(*aead));
	switch (info->info.cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		aead->cipher = EVP_aes_128_gcm();
		aead->key = info->gcm128.key;
		salt = info->gcm128.salt;
		iv = info->gcm128.iv;
		seq = info->gcm128.rec_seq;
		break;
	case TLS_CIPHER_AES_GCM_256:
		aead->cipher = EVP_aes_256_gcm();
		aead->key = info->gcm256.key;
		salt = info->gcm256.salt;
		iv = info->gcm256.iv;
		seq = info->gcm256.rec_seq;
		break;
	default:
		aead->cipher = EVP_chacha20_poly1305();
		aead->key = info->chacha.key;
		salt = info->chacha.iv;
		iv = info->chacha.iv + 4;
		seq = info->chacha.rec_seq;
	}
	memcpy(aead->nonce, salt, salt_len);
	if (!tls13 && info->info.cipher_type != TLS_CIPHER_CHACHA20_POLY1305) {
		aead->explicit_len = 8;
		memcpy(aead->nonce + 4, explicit, 8);
	} else {
		memcpy(aead->nonce + 4, iv, 8);
		for (int i = 0; i < 8; i++)
			aead->nonce[4 + i] ^= seq[i];
	}
	if (tls13) {
		memcpy(aead->aad, header, 5);
		aead->aad_len = 5;
	} else {
		put64(aead->aad, seq_of(seq));
		memcpy(aead->aad + 8, header, 3);
		put16(aead->aad + 11, text_len);
		aead->aad_len = 13;
	}
}

int test_open_record(const union engine_crypto_info *info, const uint8_t *record, size_t len,
		     uint8_t *to, uint8_t *type)
{
	size_t skip = info->info.version == TLS_1_2_VERSION &&
				      info->info.cipher_type != TLS_CIPHER_CHACHA20_POLY1305 ?
			      8 :
			      0;
	size_t text_len = len - 5 - skip - 16;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct aead aead;
	int n, ok;

	prepare(info, record, text_len, record + 5, &aead);
	ok = EVP_DecryptInit_ex(ctx, aead.cipher, NULL, aead.key, aead.nonce) &&
	     EVP_DecryptUpdate(ctx, NULL, &n, aead.aad, aead.aad_len) &&
	     EVP_DecryptUpdate(ctx, to, &n, record + 5 + skip, text_len) &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(record + len - 16)) &&
	     EVP_DecryptFinal_ex(ctx, to + n, &n);
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		return -1;
	*type = record[0];
	if (info->info.version == TLS_1_3_VERSION) {
		while (text_len && !to[text_len - 1])
			text_len--;
		*type = to[--text_len];
	}
	return text_len;
}

int test_seal_record(const union engine_crypto_info *info, uint8_t type, const void *text,
		     size_t len, uint8_t *to)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool tls13 = info->info.version == TLS_1_3_VERSION;
	uint8_t inner[17000];
	struct aead aead;
	size_t skip;
	int n;

	memcpy(inner, text, len);
	if (tls13)
		inner[len++] = type;
	to[0] = tls13 ? TLS_APPLICATION_DATA : type;
	put16(to + 1, TLS_1_2);
	skip = tls13 || info->info.cipher_type == TLS_CIPHER_CHACHA20_POLY1305 ? 0 : 8;
	if (skip)
		memcpy(to + 5,
		       info->info.cipher_type == TLS_CIPHER_AES_GCM_128 ? info->gcm128.iv :
									  info->gcm256.iv,
		       8);
	put16(to + 3, skip + len + 16);
	prepare(info, to, len, to + 5, &aead);
	assert_true(EVP_EncryptInit_ex(ctx, aead.cipher, NULL, aead.key, aead.nonce));
	assert_true(EVP_EncryptUpdate(ctx, NULL, &n, aead.aad, aead.aad_len));
	assert_true(EVP_EncryptUpdate(ctx, to + 5 + skip, &n, inner, len));
	assert_true(EVP_EncryptFinal_ex(ctx, to + 5 + skip + n, &n));
	assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, to + 5 + skip + len));
	EVP_CIPHER_CTX_free(ctx);
	return 5 + skip + len + 16;
}
