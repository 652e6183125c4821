// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes certificates, see self_signed.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "self_signed.h"

#define DAYS	3650
#define DER_MAX 4096
#define PEM_MAX 8192
/* DER of a GeneralName: its length is one byte. */
#define DNS_NAME   0x82
#define IP_ADDRESS 0x87
#define SEQUENCE   0x30

struct made {
	char cert[PEM_MAX];
	size_t cert_len;
	char key[PEM_MAX];
	size_t key_len;
};

static int refuse(char *err, size_t errlen, const char *what, const char *why)
{
	snprintf(err, errlen, "%s: %s", what, why);
	return -1;
}

/* One name as a GeneralName; its length, 0: no room. */
static size_t general_name(const char *name, uint8_t *to, size_t room)
{
	size_t len = strlen(name);
	uint8_t address[16];
	const void *value = name;
	uint8_t tag = DNS_NAME;

	if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
		len = strchr(name, ':') ? 16 : 4;
		tag = IP_ADDRESS;
		value = address;
	}
	if (len > 127 || room < 2 + len)
		return 0;
	to[0] = tag;
	to[1] = len;
	memcpy(to + 2, value, len);
	return 2 + len;
}

static int valid_name(const char *name)
{
	return *name &&
	       strspn(name,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*:") ==
		       strlen(name);
}

/* Header of a SEQUENCE of so many bytes; its length. */
static size_t sequence(size_t len, uint8_t *to)
{
	size_t at = 0;

	to[at++] = SEQUENCE;
	if (len > 255)
		to[at++] = 0x82;
	else if (len > 127)
		to[at++] = 0x81;
	if (len > 255)
		to[at++] = len >> 8;
	to[at++] = len;
	return at;
}

static int alt_names(Cert *cert, const char *names, char *err, size_t errlen)
{
	uint8_t list[sizeof(cert->altNames) - 4];
	char copy[1024], *rest = copy, *name;
	size_t len = 0, head, more;

	if (snprintf(copy, sizeof(copy), "%s", names) >= (int)sizeof(copy))
		return refuse(err, errlen, "the names", "they are too long together");
	while ((name = strsep(&rest, ","))) {
		if (!valid_name(name))
			return refuse(err, errlen, name, "not the name of a host, nor an address");
		more = general_name(name, list + len, sizeof(list) - len);
		if (!more)
			return refuse(err, errlen, name, "too long for a certificate");
		len += more;
	}
	head = sequence(len, cert->altNames);
	memcpy(cert->altNames + head, list, len);
	cert->altNamesSz = head + len;
	return 0;
}

static int sign(Cert *cert, ecc_key *key, WC_RNG *rng, struct made *made)
{
	uint8_t der[DER_MAX];
	int len;

	if (wc_MakeCert(cert, der, sizeof(der), NULL, key, rng) <= 0)
		return -1;
	len = wc_SignCert(cert->bodySz, cert->sigType, der, sizeof(der), NULL, key, rng);
	if (len > 0)
		len = wc_DerToPem(der, len, (byte *)made->cert, sizeof(made->cert), CERT_TYPE);
	made->cert_len = len;
	return len > 0 ? 0 : -1;
}

static int export_key(ecc_key *key, struct made *made)
{
	uint8_t der[DER_MAX];
	int len = wc_EccKeyToDer(key, der, sizeof(der));

	if (len > 0)
		len = wc_DerToPem(der, len, (byte *)made->key, sizeof(made->key),
				  ECC_PRIVATEKEY_TYPE);
	explicit_bzero(der, sizeof(der));
	made->key_len = len;
	return len > 0 ? 0 : -1;
}

static int make(const char *names, struct made *made, char *err, size_t errlen)
{
	WC_RNG rng;
	ecc_key key;
	Cert cert;
	int ret;

	wolfSSL_Init();
	if (wc_InitCert(&cert) || wc_InitRng(&rng))
		return refuse(err, errlen, "the TLS library", "it could not be started");
	cert.daysValid = DAYS;
	cert.sigType = CTC_SHA256wECDSA;
	snprintf(cert.subject.commonName, sizeof(cert.subject.commonName), "%.*s",
		 (int)strcspn(names, ","), names);
	ret = alt_names(&cert, names, err, errlen);
	if (!ret && (wc_ecc_init(&key) || wc_ecc_make_key_ex(&rng, 32, &key, ECC_SECP256R1)))
		ret = refuse(err, errlen, "the TLS library", "it made no key");
	else if (!ret) {
#ifdef ECC_TIMING_RESISTANT
		wc_ecc_set_rng(&key, &rng);
#endif
		if (sign(&cert, &key, &rng, made) || export_key(&key, made))
			ret = refuse(err, errlen, "the TLS library", "it made no certificate");
		wc_ecc_free(&key);
	}
	wc_FreeRng(&rng);
	return ret;
}

/* Under a name that nobody reads. */
static int stage(const char *path, const char *text, size_t len, mode_t mode, char *err,
		 size_t errlen)
{
	char name[PATH_MAX];
	ssize_t n = -1;
	int fd;

	snprintf(name, sizeof(name), "%s.tmp", path);
	unlink(name);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd >= 0) {
		n = write(fd, text, len);
		if (n == (ssize_t)len && fsync(fd))
			n = -1;
		close(fd);
	}
	return n == (ssize_t)len ? 0 : refuse(err, errlen, name, strerror(errno));
}

static int commit(const char *path, char *err, size_t errlen)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s.tmp", path);
	return rename(name, path) ? refuse(err, errlen, path, strerror(errno)) : 0;
}

/* What was staged and is of no use without the other. */
static void discard(const char *path)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s.tmp", path);
	unlink(name);
}

int self_signed_write(const char *cert, const char *key, const char *names, char *err,
		      size_t errlen)
{
	struct made made;
	int ret;

	ret = make(names, &made, err, errlen) ||
	      stage(key, made.key, made.key_len, 0600, err, errlen) ||
	      stage(cert, made.cert, made.cert_len, 0644, err, errlen) ||
	      commit(key, err, errlen) || commit(cert, err, errlen);
	explicit_bzero(&made, sizeof(made));
	if (ret) {
		discard(key);
		discard(cert);
	}
	return ret ? -1 : 0;
}
