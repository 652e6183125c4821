/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tlsportctl talks to, played: the kernel (a table of ports behind
 * tlsport_nl_ops), tlsportd (a thread on RUN_DIR/control), the certificate
 * check (but with REAL_CERTIFICATES), and a /proc and /sys.  All of them write into
 * one log of steps.
 */
#ifndef _CTL_MOCK_H
#define _CTL_MOCK_H

#include "../../userspace/tlsportctl/ctl.h"

#define MOCK_PORTS 8
#define MOCK_TEXT  16384

struct mock {
	/* A directory of this test; below it etc, run, proc and sys. */
	char root[64];
	char steps[MOCK_TEXT];

	/* The kernel: errors are negative errno, 0 works */
	int open_error;
	int set_error;
	int del_error;
	struct tlsport_nl_port ports[MOCK_PORTS];
	unsigned int port_count;
	struct tlsport_nl_listener listeners[MOCK_PORTS];
	unsigned int listener_count;
	struct tlsport_nl_conn conns[MOCK_PORTS];
	unsigned int conn_count;

	/* The certificate check */
	const char *cert_error;
	const char *cert_warning;
	const char *cert_fault;
	bool cert_by_ca;
	const char *client_ca_error;
	const char *self_signed_error;

	/* tlsportd: what all reloads but the first are answered, NULL: like that */
	const char *again_reply;
	/* The status is just this number, 0: what mock_daemon_start() was given */
	unsigned int generation;
	/* So many reloads are in force, whatever is answered */
	unsigned int reloads_taken;

	/* The last command */
	int status;
	char *out;
	char *err;
};

extern struct mock mock;

/* cmocka's setup and teardown of a test */
int mock_setup(void **state);
int mock_teardown(void **state);

/* Runs tlsportctl with the words of @line, --config-dir and --run-dir of the mock. */
int mock_run(const char *line);
/* Starts tlsportd; it answers what is set here.  NULL: closes without an answer */
void mock_daemon_start(const char *order_reply, const char *status_reply);
void mock_daemon_stop(void);

struct tlsport_nl_port *mock_port(uint16_t number);
void mock_write(const char *name, const char *text);
/* NULL: there is no such file; else freed by the caller */
char *mock_read(const char *name);
bool mock_exists(const char *name);

#endif /* _CTL_MOCK_H */
