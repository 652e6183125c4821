// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl_mock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../userspace/common/cert_check.h"
#include "../../userspace/common/client_ca.h"
#include "../../userspace/common/self_signed.h"

#define STOP "stop"

struct mock mock;

/* tlsportd's thread and the test take turns; the lock is for the tools. */
static pthread_mutex_t steps_lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	bool runs;
	pthread_t thread;
	int fd;
	const char *order_reply; /* reload, upgrade */
	const char *status_reply;
	unsigned int reloads;
} helper;

static void __attribute__((format(printf, 1, 2))) step(const char *format, ...)
{
	size_t used;
	va_list args;

	pthread_mutex_lock(&steps_lock);
	used = strlen(mock.steps);
	va_start(args, format);
	vsnprintf(mock.steps + used, sizeof(mock.steps) - used, format, args);
	va_end(args);
	pthread_mutex_unlock(&steps_lock);
}

/* Does the drop-in of @port exist at this moment, and is it staged? */
static const char *dropin_now(uint16_t port)
{
	char name[64];

	snprintf(name, sizeof(name), "etc/ports.d/%u.conf.tmp", port);
	if (mock_exists(name))
		return "staged";
	snprintf(name, sizeof(name), "run/ports.d/%u.conf.tmp", port);
	if (mock_exists(name))
		return "staged";
	snprintf(name, sizeof(name), "run/ports.d/%u.conf", port);
	if (mock_exists(name))
		return "runtime";
	snprintf(name, sizeof(name), "etc/ports.d/%u.conf", port);
	return mock_exists(name) ? "permanent" : "none";
}

#ifndef REAL_CERTIFICATES
int cert_check(const char *cert, const char *key, const char *passphrase, struct cert_facts *facts,
	       char *err, size_t errlen)
{
	step("cert_check %s %s%s%s\n", cert, key ? key : "-", passphrase ? " " : "",
	     passphrase ? passphrase : "");
	if (mock.cert_error) {
		snprintf(err, errlen, "%s", mock.cert_error);
		return -1;
	}
	memset(facts, 0, sizeof(*facts));
	facts->self_signed = !mock.cert_by_ca;
	if (mock.cert_fault)
		snprintf(facts->fault, sizeof(facts->fault), "%s", mock.cert_fault);
	if (mock.cert_warning) {
		facts->warning_count = 1;
		snprintf(facts->warnings[0], sizeof(facts->warnings[0]), "%s", mock.cert_warning);
	}
	return 0;
}

int client_ca_read(const char *ca, const char *crl, struct client_ca *clients, char *err,
		   size_t errlen)
{
	step("client_ca %s %s\n", ca, crl ? crl : "-");
	memset(clients, 0, sizeof(*clients));
	snprintf(err, errlen, "%s", mock.client_ca_error ? mock.client_ca_error : "");
	return mock.client_ca_error ? -1 : 0;
}

void client_ca_free(struct client_ca *clients)
{
}

int self_signed_write(const char *cert, const char *key, const char *names, char *err,
		      size_t errlen)
{
	int fd = creat(key, 0600); /* and then something fails */

	if (fd >= 0)
		close(fd);
	step("self_signed %s %s %s\n", cert, key, names);
	snprintf(err, errlen, "%s", mock.self_signed_error ? mock.self_signed_error : "");
	return mock.self_signed_error ? -1 : 0;
}
#endif

struct tlsport_nl_port *mock_port(uint16_t number)
{
	unsigned int i;

	for (i = 0; i < mock.port_count; i++)
		if (mock.ports[i].number == number)
			return &mock.ports[i];
	return NULL;
}

static int refuse(struct tlsport_nl *nl, int error, const char *text)
{
	snprintf(nl->error, sizeof(nl->error), "%s", text);
	return error;
}

static int mock_open(struct tlsport_nl *nl)
{
	memset(nl, 0, sizeof(*nl));
	if (mock.open_error == -ENOENT)
		return refuse(nl, mock.open_error,
			      "the tlsport module is not loaded: run 'modprobe tlsport'");
	if (mock.open_error)
		return refuse(nl, mock.open_error, "netlink socket: Too many open files");
	return 0;
}

static void mock_close(struct tlsport_nl *nl)
{
	(void)nl;
}

static int mock_port_set(struct tlsport_nl *nl, uint16_t number,
			 const struct tlsport_nl_policy *policy)
{
	struct tlsport_nl_port *port = mock_port(number);

	step("port_set %u dropin=%s\n", number, dropin_now(number));
	if (mock.set_error == -EPERM)
		return refuse(nl, -EPERM, "needs CAP_NET_ADMIN: run as root");
	if (mock.set_error)
		return refuse(nl, mock.set_error, "the kernel's own sentence");
	if (!port) {
		port = &mock.ports[mock.port_count++];
		*port = (struct tlsport_nl_port){
			.number = number,
			.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0304, 0, 10000, 4096, 1024 },
		};
	}
	if (policy->given & 1U << TLSPORT_A_PORT_MIN_VERSION)
		port->policy.min_version = policy->min_version;
	if (policy->given & 1U << TLSPORT_A_PORT_MAX_VERSION)
		port->policy.max_version = policy->max_version;
	if (policy->given & 1U << TLSPORT_A_PORT_TRUNCATION)
		port->policy.truncation = policy->truncation;
	if (policy->given & 1U << TLSPORT_A_PORT_HANDSHAKE_TIMEOUT)
		port->policy.handshake_timeout = policy->handshake_timeout;
	if (policy->given & 1U << TLSPORT_A_PORT_MAX_HANDSHAKES)
		port->policy.max_handshakes = policy->max_handshakes;
	if (policy->given & 1U << TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE)
		port->policy.max_handshakes_per_source = policy->max_handshakes_per_source;
	if (policy->given & 1U << TLSPORT_A_PORT_KEY_LIMIT)
		port->policy.key_limit = policy->key_limit;
	if (policy->given & 1U << TLSPORT_A_PORT_OFFLOAD)
		port->policy.offload = policy->offload;
	if (policy->given & 1U << TLSPORT_A_PORT_ZEROCOPY)
		port->policy.zerocopy = policy->zerocopy;
	if (policy->given & 1U << TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE)
		port->policy.max_handshake_rate_per_source = policy->max_handshake_rate_per_source;
	if (policy->given & 1U << TLSPORT_A_PORT_MAX_HANDSHAKE_RATE)
		port->policy.max_handshake_rate = policy->max_handshake_rate;
	return 0;
}

static int mock_port_del(struct tlsport_nl *nl, uint16_t number)
{
	struct tlsport_nl_port *port = mock_port(number);

	step("port_del %u dropin=%s\n", number, dropin_now(number));
	if (mock.del_error)
		return refuse(nl, mock.del_error, "the kernel's own sentence");
	if (!port)
		return refuse(nl, -ENOENT, "port is not registered");
	*port = mock.ports[--mock.port_count];
	return 0;
}

static int mock_port_get(struct tlsport_nl *nl, uint16_t number, struct tlsport_nl_port *port)
{
	struct tlsport_nl_port *found = mock_port(number);

	if (!found)
		return refuse(nl, -ENOENT, "port is not registered");
	*port = *found;
	return 0;
}

static int mock_ports(struct tlsport_nl *nl, tlsport_nl_port_fn fn, void *arg)
{
	unsigned int i;
	int ret = 0;

	(void)nl;
	for (i = 0; i < mock.port_count && !ret; i++)
		ret = fn(&mock.ports[i], arg);
	return ret;
}

static int mock_listeners(struct tlsport_nl *nl, tlsport_nl_listener_fn fn, void *arg)
{
	unsigned int i;
	int ret = 0;

	(void)nl;
	for (i = 0; i < mock.listener_count && !ret; i++)
		ret = fn(&mock.listeners[i], arg);
	return ret;
}

static int mock_conns(struct tlsport_nl *nl, uint16_t number, tlsport_nl_conn_fn fn, void *arg)
{
	unsigned int i;
	int ret = 0;

	(void)nl;
	for (i = 0; i < mock.conn_count && !ret; i++)
		if (!number || mock.conns[i].port == number)
			ret = fn(&mock.conns[i], arg);
	return ret;
}

static const struct tlsport_nl_ops mock_ops = {
	.open = mock_open,
	.close = mock_close,
	.port_set = mock_port_set,
	.port_del = mock_port_del,
	.port_get = mock_port_get,
	.ports = mock_ports,
	.listeners = mock_listeners,
	.conns = mock_conns,
};

static bool answer(int fd)
{
	const char *reply = NULL;
	char request[64], status[64];
	ssize_t len;

	len = recv(fd, request, sizeof(request) - 1, 0);
	if (len <= 0)
		return true;
	request[len] = '\0';
	if (!strcmp(request, STOP))
		return false;
	if (!strcmp(request, "reload")) {
		step("reload dropin=%s\n", dropin_now(443));
		reply = helper.reloads++ && mock.again_reply ? mock.again_reply :
							       helper.order_reply;
		mock.generation += helper.reloads <= mock.reloads_taken;
	} else if (!strcmp(request, "upgrade")) {
		reply = helper.order_reply;
	} else if (!strcmp(request, "status")) {
		snprintf(status, sizeof(status), "{\"generation\":%u}", mock.generation);
		reply = mock.generation ? status : helper.status_reply;
	}
	if (reply)
		send(fd, reply, strlen(reply), MSG_NOSIGNAL);
	return true;
}

static void *helper_thread(void *arg)
{
	bool go_on = true;
	int fd;

	(void)arg;
	while (go_on) {
		fd = accept(helper.fd, NULL, NULL);
		if (fd < 0)
			break;
		go_on = answer(fd);
		close(fd);
	}
	return NULL;
}

static void helper_address(struct sockaddr_un *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/run/control", mock.root);
}

void mock_daemon_start(const char *order_reply, const char *status_reply)
{
	struct sockaddr_un addr;

	helper.order_reply = order_reply;
	helper.status_reply = status_reply;
	helper.reloads = 0;
	helper_address(&addr);
	helper.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(helper.fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(helper.fd, 8) ||
	    pthread_create(&helper.thread, NULL, helper_thread, NULL))
		abort();
	helper.runs = true;
}

void mock_daemon_stop(void)
{
	struct sockaddr_un addr;
	int fd;

	if (!helper.runs)
		return;
	helper_address(&addr);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) || send(fd, STOP, 4, 0) != 4)
		abort();
	pthread_join(helper.thread, NULL);
	close(fd);
	close(helper.fd);
	unlink(addr.sun_path);
	helper.runs = false;
}

static void path_of(const char *name, char *path, size_t len)
{
	snprintf(path, len, "%s/%s", mock.root, name);
}

void mock_write(const char *name, const char *text)
{
	char path[256], *slash;
	FILE *file;

	path_of(name, path, sizeof(path));
	for (slash = path + strlen(mock.root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file))
		abort();
}

char *mock_read(const char *name)
{
	char path[256], *text;
	FILE *file;
	size_t len;

	path_of(name, path, sizeof(path));
	file = fopen(path, "r");
	if (!file)
		return NULL;
	text = calloc(1, MOCK_TEXT);
	len = fread(text, 1, MOCK_TEXT - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

bool mock_exists(const char *name)
{
	char path[256];

	path_of(name, path, sizeof(path));
	return !access(path, F_OK);
}

int mock_run(const char *line)
{
	char copy[1024], etc[128], run[128], *word, *save;
	char *argv[64] = { "tlsportctl", "--config-dir", etc, "--run-dir", run };
	size_t out_len, err_len;
	int argc = 5;

	path_of("etc", etc, sizeof(etc));
	path_of("run", run, sizeof(run));
	snprintf(copy, sizeof(copy), "%s", line);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	free(mock.out);
	free(mock.err);
	output_reset();
	ctl.json = false;
	ctl.out = open_memstream(&mock.out, &out_len);
	ctl.err = open_memstream(&mock.err, &err_len);
	mock.status = tlsportctl_main(argc, argv);
	fclose(ctl.out);
	fclose(ctl.err);
	return mock.status;
}

int mock_setup(void **state)
{
	static char proc[128], sys[128];
	char path[128];

	(void)state;
	memset(&mock, 0, sizeof(mock));
	snprintf(mock.root, sizeof(mock.root), "/tmp/test_ctl.XXXXXX");
	if (!mkdtemp(mock.root))
		return -1;
	path_of("run", path, sizeof(path));
	mkdir(path, 0755);
	path_of("etc", path, sizeof(path));
	mkdir(path, 0755);
	path_of("proc", proc, sizeof(proc));
	mkdir(proc, 0755);
	path_of("sys", sys, sizeof(sys));
	mkdir(sys, 0755);
	ctl.proc_dir = proc;
	ctl.sys_dir = sys;
	ctl.tlsportd = NULL;
	ctl.netns = NULL;
	tlsport_nl_ops = &mock_ops;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int mock_teardown(void **state)
{
	(void)state;
	mock_daemon_stop();
	output_reset();
	free(mock.out);
	free(mock.err);
	mock.out = mock.err = NULL;
	return nftw(mock.root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
