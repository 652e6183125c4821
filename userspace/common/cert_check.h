/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is this certificate with this key fit to serve a port, and what does it say?
 * Used by tlsportd when it loads a port and by tlsportctl before it changes
 * one, so that both give the same answer in the same words.
 *
 * Needs -lwolfssl; its header does not need wolfSSL's.
 */
#ifndef _TLSPORT_CERT_CHECK_H
#define _TLSPORT_CERT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define CERT_NAME_LEN	  256
#define CERT_WARNINGS_MAX 8
#define CERT_WARNING_LEN  192
#define CERT_URL_LEN	  256
#define CERT_ISSUER_LEN	  64
/* A certificate that ends sooner gets a warning. */
#define CERT_EXPIRY_WARNING (14 * 24 * 3600)

enum cert_key_kind {
	CERT_KEY_NONE,
	CERT_KEY_ECDSA,
	CERT_KEY_RSA,
};

/**
 * struct cert_issuer - a certificate behind the server's own
 * @number: in the file, from 2 on; 0: there is none
 * @name: its common name, cut where it is long, or ""
 */
struct cert_issuer {
	unsigned int number;
	char name[CERT_ISSUER_LEN];
	time_t not_after;
};

/**
 * struct cert_facts - what the server's own certificate says
 * @subject: common name, else the first DNS name, else ""
 * @serial: serial number in lower case hexadecimal
 * @key_type: for people: "ECDSA P-256", "RSA 2048"
 * @key_kind: for programs
 * @key_bits: 256, 384 or 521; the modulus of RSA
 * @not_before: validity, seconds since 1970
 * @not_after: validity, seconds since 1970
 * @chain_len: certificates in the file, the server's own included
 * @issuer: of those behind it the one that ends first, without a root that is not needed
 * @self_signed: nobody else vouches for it
 * @must_staple: clients are to refuse it without an OCSP response (RFC 7633)
 * @ocsp_url: of its responder, where it is http; else ""
 * @fault: the first of the warnings that a careful administrator takes for an error, else ""
 * @end_told: the first of the warnings is what cert_ends() said
 * @warning_count: warnings in use
 * @warnings: sentences without a full stop: it can be served, but the
 *	administrator should know
 */
struct cert_facts {
	char subject[CERT_NAME_LEN];
	char serial[64];
	char key_type[24];
	enum cert_key_kind key_kind;
	int key_bits;
	time_t not_before;
	time_t not_after;
	unsigned int chain_len;
	struct cert_issuer issuer;
	bool self_signed;
	bool must_staple;
	char ocsp_url[CERT_URL_LEN];
	char fault[CERT_WARNING_LEN];
	bool end_told;
	unsigned int warning_count;
	char warnings[CERT_WARNINGS_MAX][CERT_WARNING_LEN];
};

struct signer;

/**
 * struct cert_files - PEM text of a certificate chain and its key
 * @key: of a key in a token its URI
 * @key_mode: st_mode of the file that holds the key, or the token's PIN
 * @passphrase_mode: st_mode of the file whose passphrase opened the key; 0: none did
 * @signer: signs with the key in a token; else NULL
 *
 * Read once and then both checked and loaded, so that what is served is what
 * was checked.
 */
struct cert_files {
	char *cert;
	size_t cert_len;
	char *key;
	size_t key_len;
	unsigned int key_mode;
	unsigned int passphrase_mode;
	struct signer *signer;
};

/**
 * cert_check() - check a certificate chain and its key
 * @cert: PEM file: the server's certificate first, then its issuers
 * @key: PEM file of the private key, or "pkcs11:..."; NULL or "": the key is in @cert
 * @passphrase: file whose first line opens the key if it is encrypted, or the token; NULL: none
 * @facts: filled in as far as it was understood; may be NULL
 * @err: on failure one line that names the file and what is wrong
 * @errlen: size of @err
 *
 * An expired or not yet valid certificate is a warning, not a failure.
 *
 * Return: 0 when it can be served, else -1.
 */
int cert_check(const char *cert, const char *key, const char *passphrase, struct cert_facts *facts,
	       char *err, size_t errlen);

/**
 * cert_files_read() - read the files of a certificate
 * @passphrase: as in cert_check(); the key is decrypted in @files
 *
 * Return: 0, or -1 with @err filled in and nothing to free.
 */
int cert_files_read(const char *cert, const char *key, const char *passphrase,
		    struct cert_files *files, char *err, size_t errlen);

/**
 * cert_files_check() - cert_check() on what was read
 * @cert: name for messages
 * @key: name for messages, NULL or "" as in cert_check()
 */
int cert_files_check(const struct cert_files *files, const char *cert, const char *key,
		     struct cert_facts *facts, char *err, size_t errlen);

/* PEM of the certificates alone, without what else is in their file; NULL: out of memory */
char *cert_files_chain(const struct cert_files *files);

/**
 * struct cert_names - whom the server's own certificate is for
 * @names: DNS names in lower case, "*.example.org" among them; without any the common name
 */
struct cert_names {
	char **names;
	size_t count;
};

/* Of files that were checked.  0, or -1: out of memory, and nothing to free */
int cert_files_names(const struct cert_files *files, struct cert_names *names);
void cert_names_free(struct cert_names *names);

/*
 * Does it, or an issuer in its file, end soon, or did it?  Then @text says when: "expires in 3
 * days".
 */
bool cert_ends(const struct cert_facts *facts, time_t now, char *text, size_t len);

/* The warning of its end as it is now: the rest of them stays true. */
void cert_facts_update(struct cert_facts *facts, time_t now);

/* Wipes the key, gives the signer back. */
void cert_files_free(struct cert_files *files);

#endif /* _TLSPORT_CERT_CHECK_H */
