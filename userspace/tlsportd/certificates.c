// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates and keys of a port, see certificates.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/cert_dir.h"
#include "../common/signer.h"
#include "certificates.h"
#include "engine.h"
#include "ocsp_fetch.h"

static int add(struct certificates *certificates, const char *cert, const char *key,
	       const struct certificate *like)
{
	struct certificate *one = &certificates->list[certificates->count++];

	one->strict = like->strict;
	one->ocsp = like->ocsp;
	one->run_dir = like->run_dir;
	one->cert = strdup(cert);
	one->key = key ? strdup(key) : NULL;
	one->passphrase = like->passphrase ? strdup(like->passphrase) : NULL;
	return one->cert && (one->key || !key) && (one->passphrase || !like->passphrase) ? 0 : -1;
}

int certificates_find(const struct port_config *port, const char *run_dir,
		      struct certificates *certificates, char *err, size_t errlen)
{
	const struct certificate like = {
		.passphrase = port->passphrase,
		.strict = port->profile == PROFILE_STRICT,
		.ocsp = port->ocsp,
		.run_dir = run_dir,
	};
	struct cert_dir dir = { NULL, 0 };
	int failed = 0;

	memset(certificates, 0, sizeof(*certificates));
	if (port->cert_dir && cert_dir_list(port->cert_dir, &dir, err, errlen) && !port->cert)
		return -1;
	certificates->list = calloc(dir.count + 1, sizeof(*certificates->list));
	if (!certificates->list)
		failed = -1;
	if (!failed && port->cert)
		failed = add(certificates, port->cert, port->key, &like);
	for (size_t i = 0; i < dir.count && !failed; i++)
		/* It may be in the directory, too. */
		if (!port->cert || strcmp(port->cert, dir.pairs[i].cert))
			failed = add(certificates, dir.pairs[i].cert, dir.pairs[i].key, &like);
	cert_dir_free(&dir);
	if (!failed)
		return 0;
	snprintf(err, errlen, "out of memory");
	certificates_free(certificates);
	return -1;
}

static void forget(struct certificate *certificate)
{
	cert_files_free(&certificate->files);
	cert_names_free(&certificate->names);
	ocsp_response_free(&certificate->response);
	certificate->response_bad = false;
	certificate->response_error[0] = '\0';
	certificate->usable = false;
	certificate->refusal[0] = '\0';
}

void certificates_free(struct certificates *certificates)
{
	for (size_t i = 0; i < certificates->count; i++) {
		forget(&certificates->list[i]);
		free(certificates->list[i].cert);
		free(certificates->list[i].key);
		free(certificates->list[i].passphrase);
	}
	free(certificates->list);
	memset(certificates, 0, sizeof(*certificates));
}

const struct certificate *certificates_of_file(const struct certificates *certificates,
					       const char *cert)
{
	for (size_t i = 0; i < certificates->count; i++)
		if (!strcmp(certificates->list[i].cert, cert))
			return &certificates->list[i];
	return NULL;
}

/* What was read: is it fit to be served? */
static void judge(struct certificate *certificate, bool strict)
{
	if (cert_files_check(&certificate->files, certificate->cert, certificate->key,
			     &certificate->facts, certificate->error, sizeof(certificate->error)))
		return;
	if (strict && certificate->facts.fault[0]) {
		snprintf(certificate->error, sizeof(certificate->error),
			 "%s: %s (profile = strict)", certificate->cert, certificate->facts.fault);
		return;
	}
	if (cert_files_names(&certificate->files, &certificate->names)) {
		snprintf(certificate->error, sizeof(certificate->error), "%s: out of memory",
			 certificate->cert);
		return;
	}
	certificate->usable = true;
}

/* Takes the file if it is good and valid longer than what there is. */
static void try_response(struct certificate *certificate, const char *chain, const char *path)
{
	struct ocsp_response found = { NULL };
	uint8_t der[OCSP_RESPONSE_MAX + 1];
	char why[256];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return;
	len = fd < 0 ? -1 : read(fd, der, sizeof(der));
	if (len < 0)
		snprintf(why, sizeof(why), "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	if (len < 0 || ocsp_check(chain, der, len, &found, why, sizeof(why))) {
		certificate->response_bad = true;
		snprintf(certificate->response_error, sizeof(certificate->response_error),
			 "OCSP response %s is not stapled: %s", path, why);
	} else if (found.until > certificate->response.until) {
		ocsp_response_free(&certificate->response);
		certificate->response = found;
	} else {
		ocsp_response_free(&found);
	}
}

/* NAME.ocsp, or as HAProxy has it NAME.pem.ocsp, and what the responder answered */
static void find_response(struct certificate *certificate)
{
	const char *ending = strrchr(certificate->cert, '.');
	int stem = strlen(certificate->cert);
	char *chain = cert_files_chain(&certificate->files), path[PATH_MAX];

	if (chain && snprintf(path, sizeof(path), "%s.ocsp", certificate->cert) < PATH_MAX)
		try_response(certificate, chain, path);
	if (ending && (!strcmp(ending, ".pem") || !strcmp(ending, ".crt")))
		stem = ending - certificate->cert;
	if (chain && snprintf(path, sizeof(path), "%.*s.ocsp", stem, certificate->cert) < PATH_MAX)
		try_response(certificate, chain, path);
	if (chain && certificate->ocsp == OCSP_FETCH &&
	    !ocsp_fetch_path(certificate->run_dir, chain, path))
		try_response(certificate, chain, path);
	free(chain);
}

/* Whether there is one, and what is to be said of it. */
static void judge_response(struct certificate *certificate)
{
	char *error = certificate->response_error;

	if (!certificate->usable)
		return;
	if (certificate->ocsp != OCSP_OFF && engine_staples())
		find_response(certificate);
	if (certificate->response.len || error[0])
		return;
	if (certificate->ocsp == OCSP_FETCH && !engine_staples())
		snprintf(error, sizeof(certificate->response_error),
			 "no OCSP response is stapled: wolfSSL %s cannot", engine_library());
	else if (certificate->ocsp == OCSP_FETCH && !certificate->facts.ocsp_url[0])
		snprintf(error, sizeof(certificate->response_error),
			 "no OCSP response can be fetched: the certificate names no responder");
	else if (certificate->facts.must_staple)
		snprintf(error, sizeof(certificate->response_error),
			 "must-staple, and there is no OCSP response: some clients will refuse it");
}

static void read_and_judge(struct certificate *certificate)
{
	forget(certificate);
	if (!cert_files_read(certificate->cert, certificate->key, certificate->passphrase,
			     &certificate->files, certificate->error, sizeof(certificate->error)))
		judge(certificate, certificate->strict);
}

void certificate_load(struct certificate *certificate)
{
	read_and_judge(certificate);
	/* The token may have another key of the name by now. */
	if (!certificate->usable && certificate->files.signer &&
	    signer_is_replaced(certificate->files.signer))
		read_and_judge(certificate);
	judge_response(certificate);
}

static char *copy_text(const char *from, size_t len)
{
	char *to = malloc(len + 1);

	if (to)
		memcpy(to, from, len + 1); /* with the 0 behind the text */
	return to;
}

int certificate_keep(struct certificate *certificate, const struct certificate *from)
{
	struct cert_files files = from->files;

	files.cert = copy_text(from->files.cert, files.cert_len);
	files.key = copy_text(from->files.key, files.key_len);
	files.signer = signer_hold(from->files.signer);
	if (!files.cert || !files.key) {
		cert_files_free(&files);
		return -1;
	}
	forget(certificate);
	certificate->files = files;
	judge(certificate, false); /* it may have expired since */
	return certificate->usable ? certificate_keep_response(certificate, from) : -1;
}

static bool same_files(const struct cert_files *a, const struct cert_files *b)
{
	return a->cert_len == b->cert_len && a->key_len == b->key_len && a->cert && b->cert &&
	       !memcmp(a->cert, b->cert, a->cert_len) && !memcmp(a->key, b->key, a->key_len);
}

int certificate_keep_response(struct certificate *certificate, const struct certificate *from)
{
	struct ocsp_response copy = from->response;

	if (!certificate->usable || !copy.len || copy.until <= time(NULL) ||
	    copy.until <= certificate->response.until ||
	    !same_files(&certificate->files, &from->files))
		return 0;
	copy.der = malloc(copy.len);
	if (!copy.der)
		return -1;
	memcpy(copy.der, from->response.der, copy.len);
	ocsp_response_free(&certificate->response);
	certificate->response = copy;
	return 0;
}

int certificates_copy(const struct certificates *from, struct certificates *to)
{
	int failed = 0;

	to->count = 0;
	to->list = calloc(from->count ? from->count : 1, sizeof(*to->list));
	for (size_t i = 0; to->list && i < from->count && !failed; i++) {
		const struct certificate *one = &from->list[i];

		if (!one->usable)
			continue;
		failed = add(to, one->cert, one->key, one) ||
			 certificate_keep(&to->list[to->count - 1], one);
	}
	if (to->list && !failed)
		return 0;
	certificates_free(to);
	return -1;
}

int certificates_keep_others(const struct certificates *from, struct certificates *to)
{
	struct certificate *list;

	list = realloc(to->list, (to->count + from->count + 1) * sizeof(*list));
	if (!list)
		return -1;
	memset(list + to->count, 0, (from->count + 1) * sizeof(*list));
	to->list = list;
	for (size_t i = 0; i < from->count; i++) {
		const struct certificate *one = &from->list[i];

		if (!one->usable || certificates_of_file(to, one->cert))
			continue;
		if (add(to, one->cert, one->key, one) ||
		    certificate_keep(&to->list[to->count - 1], one))
			return -1;
	}
	return 0;
}

size_t certificates_usable(const struct certificates *certificates)
{
	size_t count = 0;

	for (size_t i = 0; i < certificates->count; i++)
		count += certificates->list[i].usable;
	return count;
}

bool certificate_same(const struct certificate *one, const struct certificate *other)
{
	const struct ocsp_response *a = &one->response, *b = &other->response;

	return one->files.signer == other->files.signer && same_files(&one->files, &other->files) &&
	       a->len == b->len && (!a->len || !memcmp(a->der, b->der, a->len));
}
