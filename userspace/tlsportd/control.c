// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket, see control.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/version.h"
#include "control.h"
#include "crypt.h"
#include "log.h"

/* A packet must fit into the socket's buffer: thousands of ports. */
#define SEND_BUFFER (4 * 1024 * 1024)

int control_listen(const char *run_dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, err;

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control", run_dir) >=
	    sizeof(addr.sun_path)) {
		log_error("%s/control: name too long for a socket", run_dir);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		log_error("control socket: %s", strerror(errno));
		return -1;
	}
	unlink(addr.sun_path); /* of a predecessor: we hold the lock */
	mask = umask(0177);
	err = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 16);
	umask(mask);
	if (err) {
		log_error("%s: %s", addr.sun_path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

int control_accept(int listener)
{
	int size = SEND_BUFFER, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static const char *state_name(enum worker_state state)
{
	switch (state) {
	case WORKER_STATE_STARTING:
		return "starting";
	case WORKER_STATE_READY:
		return "ready";
	case WORKER_STATE_DRAINING:
		return "draining";
	}
	return "?";
}

static json_t *workers_json(const struct parent *parent)
{
	json_t *all = json_array();

	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		json_array_append_new(all, json_pack("{s:i, s:i, s:s, s:I, s:I, s:I}", "pid",
						     (int)worker->pid, "generation",
						     (int)worker->generation->number, "state",
						     state_name(worker->state), "begun",
						     (json_int_t)worker->numbers->begun, "done",
						     (json_int_t)worker->numbers->done, "failed",
						     (json_int_t)worker->numbers->failed));
	return all;
}

/* Names out of certificates may hold any bytes: what is no UTF-8, or not there, is left out. */
static json_t *text_json(const char *text, size_t len)
{
	json_t *value = json_stringn(text, len);

	return value ? value : json_string("?");
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, text_json(text, text ? strlen(text) : 0));
}

/* What is wrong with the response, and why there will be no other; "": nothing is */
static void tell_ocsp(const struct certificate *certificate, const struct parent *parent,
		      char *text, size_t len)
{
	const struct ocsp_response *response = &certificate->response;
	const char *fetch = ocsp_fetch_error(&parent->fetches, certificate);
	const char *error = certificate->response_error;

	if (!error[0] && response->len && response->until <= time(NULL))
		error = "the OCSP response has expired";
	snprintf(text, len, "%s%s%s", error, error[0] && fetch ? "; " : "", fetch ? fetch : "");
}

/* Until when the response that is stapled is valid; null: none is */
static json_t *ocsp_json(const struct certificate *certificate, const struct parent *parent)
{
	const struct ocsp_response *response = &certificate->response;
	const bool good = response->len && response->until > time(NULL);
	json_t *object = json_object();
	char error[2048];

	tell_ocsp(certificate, parent, error, sizeof(error));
	json_object_set_new(object, "until", good ? json_integer(response->until) : json_null());
	json_object_set_new(object, "must_staple", json_boolean(certificate->facts.must_staple));
	json_object_set_new(object, "error",
			    error[0] ? text_json(error, strlen(error)) : json_null());
	return object;
}

/* What is wrong with it now though it is served: it may end long after it was loaded. */
static json_t *warnings_json(const struct cert_facts *facts)
{
	struct cert_facts now = *facts;
	json_t *all = json_array();

	if (facts->not_after)
		cert_facts_update(&now, time(NULL));
	for (unsigned int w = 0; w < now.warning_count; w++)
		json_array_append_new(all, text_json(now.warnings[w], strlen(now.warnings[w])));
	return all;
}

/* Likewise with what is known of its clients */
static json_t *client_warnings_json(const struct served_port *port)
{
	const struct port_config *config = port->config;
	json_t *all = json_array();
	char text[512];

	for (size_t at = 0; client_ca_warning(&port->clients, config->client_ca, config->client_crl,
					      time(NULL), &at, text, sizeof(text));)
		json_array_append_new(all, text_json(text, strlen(text)));
	return all;
}

static void describe(json_t *object, const struct certificate *certificate,
		     const struct parent *parent)
{
	const struct cert_facts *facts = &certificate->facts;

	set_text(object, "cert", certificate->cert);
	set_text(object, "key", certificate->key ? certificate->key : certificate->cert);
	set_text(object, "subject", facts->subject);
	json_object_set_new(object, "not_before", json_integer(facts->not_before));
	json_object_set_new(object, "not_after", json_integer(facts->not_after));
	set_text(object, "serial", facts->serial);
	set_text(object, "key_type", facts->key_type);
	json_object_set_new(object, "self_signed", json_boolean(facts->self_signed));
	json_object_set_new(object, "ocsp", ocsp_json(certificate, parent));
	json_object_set_new(object, "warnings", warnings_json(facts));
}

static json_t *certificates_json(const struct certificates *certificates,
				 const struct parent *parent)
{
	json_t *all = json_array();

	for (size_t i = 0; i < certificates->count; i++) {
		const struct certificate *one = &certificates->list[i];
		json_t *object = json_object(), *names = json_array();

		describe(object, one, parent);
		for (size_t j = 0; j < one->names.count; j++)
			json_array_append_new(names, json_string(one->names.names[j]));
		json_object_set_new(object, "names", names);
		json_object_set_new(object, "usable",
				    json_boolean(one->usable && !one->refusal[0]));
		if (!one->usable || one->refusal[0])
			set_text(object, "error", one->usable ? one->refusal : one->error);
		json_array_append_new(all, object);
	}
	return all;
}

static json_t *suites_json(const struct port_config *config)
{
	json_t *names = json_array();

	for (size_t i = 0; i < config->suite_count; i++)
		json_array_append_new(names,
				      json_string(tls_suite_by_id(config->suites[i])->openssl));
	return names;
}

static json_t *groups_json(const struct port_config *config)
{
	json_t *names = json_array();

	/* Those that nobody has asked for are left out where the library has them not. */
	for (size_t i = 0; i < config->group_count; i++)
		if (crypt_has_group(config->groups[i]))
			json_array_append_new(names,
					      json_string(port_group_name(config->groups[i])));
	return names;
}

static json_t *alpn_json(const struct tls_alpn *alpn)
{
	json_t *names = json_array();

	for (size_t at = 0; at < alpn->len; at += 1 + alpn->list[at])
		json_array_append_new(names, json_stringn((const char *)alpn->list + at + 1,
							  alpn->list[at]));
	return names;
}

static json_t *addresses_json(const struct port_config *config)
{
	json_t *names = json_array();
	char text[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < config->address_count; i++) {
		port_address_text(&config->addresses[i], text);
		json_array_append_new(names, json_string(text));
	}
	return names;
}

/* Those that open this port's tickets; null without resumption */
static json_t *tickets_json(const struct port_config *config, const struct ticket_store *tickets)
{
	struct ticket_facts facts;

	if (!config->resumption)
		return json_null();
	facts = ticket_store_facts(tickets, config->ticket_keys);
	return json_pack("{s:I, s:o}", "count", (json_int_t)facts.count, "since",
			 facts.since ? json_integer(facts.since) : json_null());
}

/* What the kernel does not know of a port's settings. */
static json_t *settings_json(const struct port_config *config, const struct ticket_store *tickets)
{
	return json_pack(
		"{s:o, s:s, s:o, s:o, s:b, s:o, s:b, s:s, s:s, s:b, s:s?, s:o, s:s?, s:s?, s:s, s:s?, s:s?, s:I, s:s}",
		"addresses", addresses_json(config), "profile", port_profile_name(config->profile),
		"ciphers", suites_json(config), "groups", groups_json(config),
		"prefer_server_ciphers", !config->client_order, "alpn", alpn_json(&config->alpn),
		"strict_sni", config->strict_sni, "ocsp", port_ocsp_name(config->ocsp), "plaintext",
		port_plaintext_name(config->plaintext), "resumption", config->resumption,
		"ticket_keys", config->ticket_keys, "tickets", tickets_json(config, tickets),
		"cert_dir", config->cert_dir, "passphrase", config->passphrase, "client_auth",
		port_client_auth_name(config->client_auth), "client_ca", config->client_ca,
		"client_crl", config->client_crl, "client_depth", (json_int_t)config->client_depth,
		"proxy_protocol", config->proxy_protocol ? "v2" : "off");
}

/* Behind "port N: "; NULL: it is of another port */
static const char *error_of(const char *line, uint16_t port)
{
	char prefix[16];
	int len = snprintf(prefix, sizeof(prefix), "port %u: ", port);

	return strncmp(line, prefix, len) ? NULL : line + len;
}

/* Several ports may have the same file of ticket keys: that it is wrong is said once for all. */
static bool is_of_file(const char *line, const char *file)
{
	size_t len = file ? strlen(file) : 0;

	return len && !strncmp(line, file, len) && line[len] == ':';
}

/* Of the last renewal's errors those of the port: why newer files are not in force */
static json_t *renewal_json(const char *errors, const struct port_config *config)
{
	json_t *all = json_array();

	for (size_t len; errors && *errors; errors += len + (errors[len] == '\n')) {
		const char *error = error_of(errors, config->port);

		len = strcspn(errors, "\n");
		if (!error && is_of_file(errors, config->ticket_keys))
			error = errors;
		if (error)
			json_array_append_new(all, text_json(error, errors + len - error));
	}
	return all;
}

/* The first certificate stands for the port. */
static json_t *port_json(const struct served_port *port, const struct parent *parent)
{
	static const struct certificate none = { .cert = "" };
	json_t *object = json_object();

	json_object_set_new(object, "port", json_integer(port->config->port));
	describe(object, port->certificates.count ? port->certificates.list : &none, parent);
	json_object_set_new(object, "client_warnings", client_warnings_json(port));
	json_array_extend(json_object_get(object, "warnings"),
			  json_object_get(object, "client_warnings"));
	json_object_set_new(object, "certificates", certificates_json(&port->certificates, parent));
	json_object_set_new(object, "renewal_errors",
			    renewal_json(parent->renewal_errors, port->config));
	json_object_set_new(object, "settings", settings_json(port->config, &parent->tickets));
	json_object_set_new(object, "usable", json_boolean(port->context));
	if (!port->context)
		set_text(object, "error", port->error);
	return object;
}

char *control_status(const struct parent *parent)
{
	const struct generation *generation = parent->generation;
	json_t *ports = json_array(), *status;
	char *text;

	for (size_t i = 0; i < generation->config.count; i++)
		json_array_append_new(ports, port_json(&generation->ports[i], parent));
	status = json_pack("{s:i, s:s, s:s, s:i, s:o, s:o}", "pid", (int)getpid(), "version",
			   TLSPORT_VERSION, "wolfssl", engine_library(), "generation",
			   (int)generation->number, "workers", workers_json(parent), "ports",
			   ports);
	text = json_dumps(status, JSON_COMPACT);
	json_decref(status);
	return text;
}

static void reply(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		log_warning("control socket: reply not sent: %s", strerror(errno));
}

static void carry_out(int fd, struct parent *parent,
		      int (*order)(struct parent *parent, struct text *errors))
{
	struct text message = { NULL, 0 }, errors = { NULL, 0 };

	if (!order(parent, &errors)) {
		reply(fd, "ok");
	} else {
		text_add(&message, "error: %s", errors.chars ? errors.chars : "out of memory");
		while (message.len && message.chars[message.len - 1] == '\n')
			message.chars[--message.len] = '\0';
		reply(fd, message.chars ? message.chars : "error: out of memory");
		text_free(&message);
	}
	text_free(&errors);
}

bool control_serve(int fd, struct parent *parent, const struct control_orders *orders)
{
	char request[CONTROL_REQUEST_MAX + 1];
	ssize_t len = recv(fd, request, CONTROL_REQUEST_MAX, 0);
	char *status;

	if (len <= 0)
		return len < 0 && (errno == EAGAIN || errno == EINTR);
	while (len && (request[len - 1] == '\n' || !request[len - 1]))
		len--;
	request[len] = '\0';
	if (!strcmp(request, "reload")) {
		carry_out(fd, parent, orders->reload);
	} else if (!strcmp(request, "upgrade")) {
		carry_out(fd, parent, orders->upgrade);
	} else if (!strcmp(request, "status")) {
		status = control_status(parent);
		reply(fd, status ? status : "error: out of memory");
		free(status);
	} else {
		reply(fd, "error: unknown request; allowed are reload, status and upgrade");
	}
	return true;
}
