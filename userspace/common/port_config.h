/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be set of a port: the keys of a section [port N] in the
 * configuration files, which are options of "tlsportctl enable", too.  One
 * table for both, so that both take the same values and refuse the others in
 * the same words.
 */
#ifndef _TLSPORT_PORT_CONFIG_H
#define _TLSPORT_PORT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "../netlink/tlsport_nl.h"
#include "tls.h"

/* Room that every "why" has: the longest names all that is allowed. */
#define PORT_CONFIG_ERROR_LEN 1024

#define PORT_ADDRESSES 16
#define PORT_KEYS      32

enum port_profile {
	PROFILE_INTERMEDIATE,
	PROFILE_MODERN,
	PROFILE_FIPS,
	PROFILE_STRICT, /* as modern, and only with certificates that have no fault */
};

/* Where the OCSP responses come from that are stapled. */
enum port_ocsp {
	OCSP_OFF,   /* none is */
	OCSP_FILE,  /* a file beside the certificate's */
	OCSP_FETCH, /* likewise, and the responder of the certificate */
};

/* What a client gets that speaks plaintext. */
enum port_plaintext {
	PLAINTEXT_REJECT,   /* nothing */
	PLAINTEXT_ALERT,    /* an alert */
	PLAINTEXT_REDIRECT, /* a request of HTTP: the way to https; else nothing */
};

/* Is a client asked for a certificate? */
enum port_client_auth {
	CLIENT_AUTH_NONE,
	CLIENT_AUTH_REQUEST, /* whoever has none gets in, too */
	CLIENT_AUTH_REQUIRE,
};

/**
 * struct port_config - one port as configured
 * @file: where it was found; NULL: not in a file
 * @line: of its section, 1 when there is no section line
 * @broken: something in its section is wrong: it can only be kept shut
 * @unread: its file could not be opened: nothing is known of the section
 * @given: bit of each key that was given
 * @lines: of these, 0: not out of a file
 * @addresses: local ones at which it is served, IPv4 mapped
 * @address_count: 0: at all
 * @cert: for clients that ask for no name or another; NULL: one of @cert_dir
 * @key: file, or URI of a key in a token; NULL: in the certificate's file
 * @passphrase: file of what opens keys that are encrypted, or the token; NULL: none
 * @cert_dir: more certificates, chosen by name
 * @strict_sni: who asks for no name that a certificate has is refused
 * @max_version: as given; see port_config_max_version()
 * @unspoken: version that fell away for want of a suite or a group, 0: none
 * @client_order: of suites that both have the client's first choice is taken
 * @groups_chosen: by the administrator; else all that the library has
 * @truncation: enum tlsport_truncation
 * @handshake_timeout: milliseconds
 * @max_handshake_rate: in a second; 0: as many as there are
 * @max_handshake_rate_per_source: likewise, of one source
 * @ticket_keys: file or directory; NULL: tlsportd's own
 * @client_auth: enum port_client_auth
 * @client_ca: file of the authorities of clients' certificates
 * @client_crl: file of their revocation lists; NULL: revocation is not looked at
 * @client_depth: how many certificates a client may send behind its own
 * @proxy_protocol: its version whose header the application reads first, 0: none
 * @offload: enum tlsport_offload
 * @offload_refuse_tls13: else TLS 1.2 is negotiated, where offload is required
 */
struct port_config {
	uint16_t port;
	char *file;
	unsigned int line;
	bool broken;
	bool unread;
	uint64_t given;
	unsigned int lines[PORT_KEYS];
	struct in6_addr addresses[PORT_ADDRESSES];
	size_t address_count;
	char *cert;
	char *key;
	char *passphrase;
	char *cert_dir;
	bool strict_sni;
	uint8_t ocsp; /* enum port_ocsp */
	enum port_profile profile;
	uint16_t min_version;
	uint16_t max_version;
	uint16_t unspoken;
	uint16_t suites[TLS_SUITES];
	size_t suite_count;
	bool client_order;
	uint16_t groups[TLS_GROUPS];
	size_t group_count;
	bool groups_chosen;
	struct tls_alpn alpn;
	uint8_t plaintext; /* enum port_plaintext */
	uint8_t truncation;
	uint32_t handshake_timeout;
	uint32_t max_handshakes;
	uint32_t max_handshakes_per_source;
	uint32_t max_handshake_rate;
	uint32_t max_handshake_rate_per_source;
	uint32_t key_limit;
	bool resumption;
	char *ticket_keys;
	uint8_t client_auth;
	char *client_ca;
	char *client_crl;
	uint32_t client_depth;
	uint8_t proxy_protocol;
	uint8_t offload;
	bool offload_refuse_tls13;
	bool zerocopy;
};

/**
 * struct port_key - a key of a section
 * @set: 0, or -1 with what is wrong, and what is allowed, without the key's name
 * @list: names with ':' between them, may go on in the next line of a file
 * @path: of a file
 */
struct port_key {
	const char *name;
	int (*set)(struct port_config *port, const char *value, char *why);
	bool list;
	bool path;
};

extern const struct port_key port_keys[PORT_KEYS];

/* Index in port_keys[], -1: no such key */
int port_key_index(const char *name);

/* Was it given? */
bool port_config_has(const struct port_config *port, const char *key);

/* Where in its file what is wrong with this key is to be mended: at its line, else at the section's */
unsigned int port_config_line(const struct port_config *port, const char *key);

/* Is it served at this address? */
bool port_config_at(const struct port_config *port, const struct in6_addr *local);

/* The defaults; nothing else in it is kept. */
void port_config_init(struct port_config *port, uint16_t number);

/**
 * port_config_set() - set a key, for the first time or anew
 * @key: index in port_keys[]
 * @why: on failure "KEY: what is wrong", and what is allowed
 *
 * Return: 0 or -1; after a failure the port is as before, or has less than it was given.
 */
int port_config_set(struct port_config *port, int key, const char *value, char *why);

/* IPv4 as it is written, where it is mapped. */
void port_address_text(const struct in6_addr *address, char text[INET6_ADDRSTRLEN]);

/**
 * port_config_finish() - when all keys are set: the profile fills in what was not, and
 * a version that has no suite, or no group, is not spoken
 * @why: on failure which keys do not go together; the first word is the one to be told
 *
 * Return: 0 or -1; @port can be kept shut as it is then.
 */
int port_config_finish(struct port_config *port, char *why);

/* Something that follows from its keys and may not have been meant?  Then @text says what. */
bool port_config_note(const struct port_config *port, char *text, size_t len);

/*
 * Are there of its addresses some that this machine does not have now?  Then @text names them.
 * Asked by bind(): not all that are local are on an interface, such as those of 127.0.0.0/8.
 */
bool port_config_absent(const struct port_config *port, char *text, size_t len);

/* 0 or -1: out of memory, and @copy is empty */
int port_config_copy(const struct port_config *port, struct port_config *copy);
void port_config_free(struct port_config *port);

/* The highest TLS version that is spoken: offload = require may take TLS 1.3 away. */
uint16_t port_config_max_version(const struct port_config *port);

/* What the kernel is told of it. */
struct tlsport_nl_policy port_config_policy(const struct port_config *port);

/**
 * port_config_widen() - a policy for while workers of two configurations answer
 * @policy: of the next one; made to allow what those of the last one negotiate, too
 * @old: of the last one
 *
 * Return: true when it is another now: it has to be set as it was when only the next ones answer.
 */
bool port_config_widen(struct tlsport_nl_policy *policy, const struct tlsport_nl_policy *old);

/* As profile =, ocsp =, plaintext = and client-auth = have them. */
const char *port_profile_name(enum port_profile profile);
const char *port_ocsp_name(enum port_ocsp ocsp);
const char *port_plaintext_name(enum port_plaintext plaintext);
const char *port_client_auth_name(enum port_client_auth client_auth);

/* As groups = has it; NULL: none of ours. */
const char *port_group_name(uint16_t group);

#endif /* _TLSPORT_PORT_CONFIG_H */
