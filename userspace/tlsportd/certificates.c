// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates and keys of a port, see certificates.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/cert_dir.h"
#include "certificates.h"

static int add(struct certificates *certificates, const char *cert, const char *key,
	       const char *passphrase, bool strict)
{
	struct certificate *one = &certificates->list[certificates->count++];

	one->strict = strict;
	one->cert = strdup(cert);
	one->key = key ? strdup(key) : NULL;
	one->passphrase = passphrase ? strdup(passphrase) : NULL;
	return one->cert && (one->key || !key) && (one->passphrase || !passphrase) ? 0 : -1;
}

int certificates_find(const struct port_config *port, struct certificates *certificates, char *err,
		      size_t errlen)
{
	const bool strict = port->profile == PROFILE_STRICT;
	struct cert_dir dir = { NULL, 0 };
	int failed = 0;

	memset(certificates, 0, sizeof(*certificates));
	if (port->cert_dir && cert_dir_list(port->cert_dir, &dir, err, errlen) && !port->cert)
		return -1;
	certificates->list = calloc(dir.count + 1, sizeof(*certificates->list));
	if (!certificates->list)
		failed = -1;
	if (!failed && port->cert)
		failed = add(certificates, port->cert, port->key, port->passphrase, strict);
	for (size_t i = 0; i < dir.count && !failed; i++)
		/* It may be in the directory, too. */
		if (!port->cert || strcmp(port->cert, dir.pairs[i].cert))
			failed = add(certificates, dir.pairs[i].cert, dir.pairs[i].key,
				     port->passphrase, strict);
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
	certificate->usable = false;
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

void certificate_load(struct certificate *certificate)
{
	forget(certificate);
	if (!cert_files_read(certificate->cert, certificate->key, certificate->passphrase,
			     &certificate->files, certificate->error, sizeof(certificate->error)))
		judge(certificate, certificate->strict);
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
	if (!files.cert || !files.key) {
		free(files.cert);
		free(files.key);
		return -1;
	}
	forget(certificate);
	certificate->files = files;
	judge(certificate, false); /* it may have expired since */
	return certificate->usable ? 0 : -1;
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
		failed = add(to, one->cert, one->key, one->passphrase, one->strict) ||
			 certificate_keep(&to->list[to->count - 1], one);
	}
	if (to->list && !failed)
		return 0;
	certificates_free(to);
	return -1;
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
	const struct cert_files *a = &one->files, *b = &other->files;

	return a->cert_len == b->cert_len && a->key_len == b->key_len && a->cert && b->cert &&
	       !memcmp(a->cert, b->cert, a->cert_len) && !memcmp(a->key, b->key, a->key_len);
}
