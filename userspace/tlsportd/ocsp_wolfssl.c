// SPDX-License-Identifier: GPL-2.0-or-later
/* OCSP responses by wolfSSL, see ocsp.h. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ocsp.h>
#include <wolfssl/wolfio.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ocsp.h"

/* A line of the header must fit: those of proxies are long. */
#define HTTP_ROOM   16384
#define REQUEST_MAX 1024
/* Seconds for one of the responder's addresses. */
#define CONNECT_SECONDS 3

/**
 * struct subject - a certificate as OCSP has it
 * @request: names it
 * @trust: its issuer
 */
struct subject {
	OcspRequest *request;
	WOLFSSL_CERT_MANAGER *trust;
};

static void subject_free(struct subject *subject)
{
	wolfSSL_OCSP_REQUEST_free(subject->request);
	wolfSSL_CertManagerFree(subject->trust);
}

static int name_subject(struct subject *subject, WOLFSSL_X509 *cert, WOLFSSL_X509 *issuer)
{
	WOLFSSL_OCSP_CERTID *id = wolfSSL_OCSP_cert_to_id(NULL, cert, issuer);
	int len = 0;
	const unsigned char *der = wolfSSL_X509_get_der(issuer, &len);

	if (!id)
		return -1;
	if (!wolfSSL_OCSP_request_add0_id(subject->request, id)) {
		wolfSSL_OCSP_CERTID_free(id);
		return -1;
	}
	return wolfSSL_CertManagerLoadCABuffer(subject->trust, der, len, WOLFSSL_FILETYPE_ASN1) ==
				       WOLFSSL_SUCCESS &&
			       wolfSSL_CertManagerEnableOCSP(subject->trust, 0) == WOLFSSL_SUCCESS ?
		       0 :
		       -1;
}

static int subject_new(struct subject *subject, const char *chain, char *err, size_t errlen)
{
	WOLFSSL_BIO *text = wolfSSL_BIO_new_mem_buf(chain, strlen(chain));
	WOLFSSL_X509 *cert = wolfSSL_PEM_read_bio_X509(text, NULL, NULL, NULL);
	WOLFSSL_X509 *issuer = wolfSSL_PEM_read_bio_X509(text, NULL, NULL, NULL);
	int failed = -1;

	subject->request = wolfSSL_OCSP_REQUEST_new();
	subject->trust = wolfSSL_CertManagerNew();
	if (!issuer)
		snprintf(err, errlen, "the issuer, which signs it, is not behind the certificate");
	else if (!subject->request || !subject->trust || name_subject(subject, cert, issuer))
		snprintf(err, errlen, "it cannot be checked with certificate and issuer");
	else
		failed = 0;
	wolfSSL_X509_free(issuer);
	wolfSSL_X509_free(cert);
	wolfSSL_BIO_free(text);
	if (failed)
		subject_free(subject);
	return failed;
}

/* "20260102030405Z"; RFC 6960 has no other form.  0: none */
static time_t parse_time(const byte *text, size_t size)
{
	char digits[32] = "";
	struct tm tm = { 0 };
	const char *end;

	memcpy(digits, text, size < sizeof(digits) ? size : sizeof(digits) - 1);
	end = strptime(digits, "%Y%m%d%H%M%SZ", &tm);
	return end && !*end ? timegm(&tm) : 0;
}

/* The library has one error for all that it does not like. */
static const char *why_not(int error, const uint8_t *der, size_t len)
{
	OcspResponse *parsed;

	if (error == OCSP_CERT_REVOKED)
		return "it says that the certificate is revoked";
	if (error == OCSP_CERT_UNKNOWN)
		return "it says that the certificate is unknown";
	parsed = wolfSSL_d2i_OCSP_RESPONSE(NULL, &der, len);
	wolfSSL_OCSP_RESPONSE_free(parsed);
	return parsed ? "its issuer did not sign it for this certificate" :
			"it has expired, or is no OCSP response with a status (DER)";
}

static int check(const struct subject *subject, const uint8_t *der, size_t len,
		 struct ocsp_response *response, char *err, size_t errlen)
{
	CertStatus status = { 0 };
	int ret = wolfSSL_CertManagerCheckOCSPResponse(subject->trust, (byte *)der, len, NULL,
						       &status, NULL, subject->request);

	if (ret != WOLFSSL_SUCCESS) {
		snprintf(err, errlen, "%s", why_not(ret, der, len));
		return -1;
	}
	response->since = parse_time(status.thisDate, sizeof(status.thisDate));
	response->until = parse_time(status.nextDate, sizeof(status.nextDate));
	if (!response->since || response->until <= response->since) {
		snprintf(err, errlen, "it does not say how long it is valid");
		return -1;
	}
	response->der = malloc(len);
	if (!response->der) {
		snprintf(err, errlen, "out of memory");
		return -1;
	}
	memcpy(response->der, der, len);
	response->len = len;
	return 0;
}

int ocsp_check(const char *chain, const uint8_t *der, size_t len, struct ocsp_response *response,
	       char *err, size_t errlen)
{
	struct subject subject;
	int ret;

	if (len > OCSP_RESPONSE_MAX) {
		snprintf(err, errlen, "it is too long (more than %d bytes)", OCSP_RESPONSE_MAX);
		return -1;
	}
	if (subject_new(&subject, chain, err, errlen))
		return -1;
	ret = check(&subject, der, len, response, err, errlen);
	subject_free(&subject);
	return ret;
}

/* The first address that answers. */
static int connect_to(const char *host, const char *port, char *err, size_t errlen)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	struct addrinfo *all, *one;
	int fd = -1, failed;

	failed = getaddrinfo(host, port, &hints, &all);
	if (failed) {
		snprintf(err, errlen, "%s", gai_strerror(failed));
		return -1;
	}
	for (one = all; one && fd < 0; one = one->ai_next) {
		fd = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
		if (fd >= 0)
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (fd < 0 || !connect(fd, one->ai_addr, one->ai_addrlen))
			continue;
		snprintf(err, errlen, "%s", strerror(errno == EINPROGRESS ? ETIMEDOUT : errno));
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	return fd;
}

static int send_all(int fd, const uint8_t *data, size_t len)
{
	return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

/*
 * One byte a call: the library takes what it reads with the end of a header for the body, and
 * gives up when that is longer than the first chunk.
 */
static int take_byte(char *to, int room, void *fd)
{
	return room > 0 && recv(*(int *)fd, to, 1, 0) == 1 ? 1 : WOLFSSL_CBIO_ERR_GENERAL;
}

#if LIBWOLFSSL_VERSION_HEX < 0x05009002
/* It cannot staple (library_staples()), so nothing is asked for. */
#define wolfIO_HttpProcessResponseOcspGenericIO(take, ...) ((void)(take), -1)
#endif

/* Bytes of *@answer, which is the library's, or -1 */
static int exchange(int fd, const char *host, const char *path, OcspRequest *request,
		    uint8_t **answer)
{
	uint8_t room[HTTP_ROOM], body[REQUEST_MAX], *end = body;
	int len = wolfSSL_i2d_OCSP_REQUEST(request, NULL), head;

	if (len <= 0 || len > REQUEST_MAX || wolfSSL_i2d_OCSP_REQUEST(request, &end) != len)
		return -1;
	head = wolfIO_HttpBuildRequestOcsp(host, path, len, room, sizeof(room));
	if (head <= 0 || send_all(fd, room, head) || send_all(fd, body, len))
		return -1;
	len = wolfIO_HttpProcessResponseOcspGenericIO(take_byte, &fd, answer, room, sizeof(room),
						      NULL);
	return *answer && len > 0 ? len : -1;
}

static int ask(const struct subject *subject, const char *host, const char *port, const char *path,
	       struct ocsp_response *response, char *err, size_t errlen)
{
	int fd = connect_to(host, port, err, errlen), len, ret = -1;
	uint8_t *answer = NULL;

	if (fd < 0)
		return -1;
	len = exchange(fd, host, path, subject->request, &answer);
	if (len < 0)
		snprintf(err, errlen, "no answer of OCSP (HTTP status 200)");
	else if (len > OCSP_RESPONSE_MAX)
		snprintf(err, errlen, "the answer is too long (%d bytes)", len);
	else
		ret = check(subject, answer, len, response, err, errlen);
	XFREE(answer, NULL, DYNAMIC_TYPE_OCSP);
	close(fd);
	return ret;
}

int ocsp_ask(const char *chain, const char *url, struct ocsp_response *response, char *err,
	     size_t errlen)
{
	char *host = NULL, *port = NULL, *path = NULL;
	struct subject subject;
	int ret = -1, tls;

	if (subject_new(&subject, chain, err, errlen))
		return -1;
	if (wolfSSL_OCSP_parse_url((char *)url, &host, &port, &path, &tls) != WOLFSSL_SUCCESS ||
	    tls)
		snprintf(err, errlen, "not an address of HTTP");
	else
		ret = ask(&subject, host, port, path, response, err, errlen);
	XFREE(host, NULL, DYNAMIC_TYPE_OPENSSL);
	XFREE(port, NULL, DYNAMIC_TYPE_OPENSSL);
	XFREE(path, NULL, DYNAMIC_TYPE_OPENSSL);
	subject_free(&subject);
	return ret;
}

void ocsp_response_free(struct ocsp_response *response)
{
	free(response->der);
	memset(response, 0, sizeof(*response));
}
