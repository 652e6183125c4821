/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificates in a directory, each with its key:
 *
 *   NAME.pem, NAME.crt	key in NAME.key or NAME-key.pem, else in the same file
 *   NAME/fullchain.pem	key in NAME/privkey.pem: as certbot's live/ has it
 *
 * Names that begin with a dot, NAME-key.pem, NAME.issuer.crt (lego's) and files with
 * other endings are not looked at.  Of a link that leads nowhere the name counts: whoever
 * opens it says so.
 */
#ifndef _TLSPORT_CERT_DIR_H
#define _TLSPORT_CERT_DIR_H

#include <stddef.h>

/**
 * struct cert_pair - where a certificate and its key are
 * @key: NULL: in the file of the certificate
 */
struct cert_pair {
	char *cert;
	char *key;
};

struct cert_dir {
	struct cert_pair *pairs; /* by name */
	size_t count;
};

/**
 * cert_dir_list() - the certificates in a directory; none of them is opened
 * @err: on failure one line that names the directory and what is wrong
 *
 * Return: 0, or -1 with nothing to free; a directory without a certificate is a failure.
 */
int cert_dir_list(const char *path, struct cert_dir *dir, char *err, size_t errlen);
void cert_dir_free(struct cert_dir *dir);

#endif /* _TLSPORT_CERT_DIR_H */
