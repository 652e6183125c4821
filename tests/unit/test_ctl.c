// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tlsportctl as a whole, main() included, against the mock of ctl_mock.h.
 * A test is a promise; output is TAP.
 */
#include "ctl_mock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ALL_OPTIONS \
	"--cert, --key, --passphrase, --cert-dir, --address, --strict-sni, --ocsp, --profile, --min-version, --max-version, --ciphers, --groups, " \
	"--prefer-server-ciphers, --alpn, --plaintext, --truncation, --handshake-timeout, --max-handshakes, --max-handshakes-per-source, " \
	"--max-handshake-rate, --max-handshake-rate-per-source, --key-limit, --resumption, --ticket-keys, --client-auth, --client-ca, --client-crl, --client-depth, --proxy-protocol, --offload, --offload-tls13, --zerocopy, --runtime, --self-signed, --name"

#define STATUS_REPLY \
	"{\"pid\":7,\"version\":\"0.1\",\"wolfssl\":\"5.5.4\",\"workers\":[" \
	"{\"pid\":8,\"generation\":2,\"state\":\"ready\",\"begun\":9,\"done\":6,\"failed\":2}],\"ports\":[{\"port\":443," \
	"\"cert\":\"/c.pem\",\"key\":\"/k.pem\",\"subject\":\"example.org\"," \
	"\"not_after\":1893456000,\"serial\":\"0a\",\"key_type\":\"ECDSA P-256\"," \
	"\"usable\":true,\"error\":null,\"certificates\":[{\"cert\":\"/c.pem\"," \
	"\"subject\":\"example.org\",\"not_after\":1893456000,\"serial\":\"0a\"," \
	"\"key_type\":\"ECDSA P-256\",\"usable\":true,\"names\":[\"example.org\"," \
	"\"*.example.org\"],\"ocsp\":{\"until\":1795000000,\"must_staple\":true," \
	"\"error\":\"and that is wrong\"},\"warnings\":[\"it expires in 3 days\"]}],\"client_warnings\":[\"crl.pem: has ended\"],\"renewal_errors\":[\"c.pem: junk\"],\"settings\":{\"profile\":\"modern\",\"ciphers\":[\"A\",\"B\"]," \
	"\"groups\":[\"X25519\"],\"alpn\":[],\"strict_sni\":true,\"ocsp\":\"file\",\"plaintext\":\"reject\"," \
	"\"resumption\":true,\"ticket_keys\":\"/t\",\"tickets\":{\"count\":3,\"since\":1000000000}," \
	"\"prefer_server_ciphers\":false}}]}"

static void expect(const char *line, int status, const char *out, const char *err)
{
	mock_run(line);
	assert_string_equal(mock.err, err);
	if (out)
		assert_string_equal(mock.out, out);
	assert_int_equal(mock.status, status);
}

static void expect_file(const char *name, const char *text)
{
	char *found = mock_read(name);

	assert_non_null(found);
	assert_string_equal(found, text);
	free(found);
}

static json_t *run_json(const char *line)
{
	json_error_t error;
	json_t *value;

	mock_run(line);
	value = json_loads(mock.out, 0, &error);
	if (!value)
		fail_msg("not JSON: %s: %s", error.text, mock.out);
	return value;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(none)";
}

/* args.c, main.c */

static void bad_input_is_one_exact_line(void **state)
{
	static const struct {
		const char *line;
		int status;
		const char *err;
	} cases[] = {
		{ "", 2, "no command: see tlsportctl --help" },
		{ "open 443", 2,
		  "unknown command 'open': there are enable, disable, list, status, conns, check, services, reload, upgrade, check-config" },
		{ "enable", 2,
		  "enable needs a port: tlsportctl enable PORT --cert FILE --key FILE" },
		{ "disable", 2, "disable needs a port: tlsportctl disable PORT" },
		{ "enable nonsense --cert c", 2,
		  "'nonsense' is neither a port number nor a known service name: see tlsportctl services" },
		{ "enable 44x --cert c", 2,
		  "'44x' is neither a port number nor a known service name: see tlsportctl services" },
		{ "enable 0 --cert c", 2, "port 0 is out of range: 1 to 65535" },
		{ "enable 65536 --cert c", 2, "port 65536 is out of range: 1 to 65535" },
		{ "enable 99999999999999999999 --cert c", 2,
		  "port 99999999999999999999 is out of range: 1 to 65535" },
		{ "enable -1 --cert c", 2, "port -1 is out of range: 1 to 65535" },
		{ "enable 443 444", 2,
		  "'444' is one argument too many for 'enable': see tlsportctl enable --help" },
		{ "enable 443 --color blue", 2,
		  "unknown option '--color': allowed are " ALL_OPTIONS },
		{ "enable 443 -c c", 2, "unknown option '-c': allowed are " ALL_OPTIONS },
		{ "list --all", 2,
		  "unknown option '--all': this command has none but --json and --help" },
		{ "enable 443 --cert", 2, "--cert needs a value" },
		{ "enable 443 --cert --key k", 2, "--cert needs a value" },
		{ "enable 443 --self-signed --name=", 2, "--name needs a value" },
		{ "enable 443 --cert=", 1,
		  "port 443 is not enabled yet: name its certificate with --cert FILE, or more with --cert-dir DIR" },
		{ "enable 443 --runtime=yes", 2, "--runtime takes no value" },
		{ "list --run-dir", 2, "--run-dir needs a value" },
		{ "enable 443 --min-version 1.1", 2, "--min-version: '1.1' is not 1.2 or 1.3" },
		{ "enable 443 --min-version 1.3 --max-version 1.2", 2,
		  "min-version is above max-version" },
		{ "enable 443 --name a", 2, "--name is for --self-signed" },
		{ "enable 443 --self-signed --cert /c", 2,
		  "--self-signed makes certificate and key: without --cert and --key" },
		{ "enable 443 --profile modern --max-version 1.2", 2,
		  "max-version is below TLS 1.3, which the profile asks for" },
		{ "enable 443 --ciphers ECDHE-RSA-AES128-GCM-SHA256 --min-version 1.3", 2,
		  "ciphers has no suite of TLS 1.3, which min-version asks for" },
		{ "enable 443 --ciphers A,B", 2,
		  "--ciphers: 'A,B' is not one of TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, "
		  "ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256, "
		  "ECDHE-RSA-AES128-GCM-SHA256, ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-RSA-CHACHA20-POLY1305 (or their IANA names), with ':' between them" },
		{ "enable 443 --alpn h2,imap", 2,
		  "--alpn: 'h2,imap' is not a name of a protocol, such as h2 or http/1.1, with ':' between them" },
		{ "enable 443 --truncation maybe", 2,
		  "--truncation: 'maybe' is not strict or tolerate" },
		{ "enable 443 --handshake-timeout 601", 2,
		  "--handshake-timeout: '601' is not a time from 0.1 to 600 seconds (\"10\", \"2.5s\", \"500ms\")" },
		{ "enable 443 --handshake-timeout 99ms", 2,
		  "--handshake-timeout: '99ms' is not a time from 0.1 to 600 seconds (\"10\", \"2.5s\", \"500ms\")" },
		{ "enable 443 --handshake-timeout nan", 2,
		  "--handshake-timeout: 'nan' is not a time from 0.1 to 600 seconds (\"10\", \"2.5s\", \"500ms\")" },
		{ "enable 443 --max-handshakes 0", 2,
		  "--max-handshakes: '0' is not a number from 1 to 1000000" },
		{ "enable 443 --max-handshakes-per-source 1000001", 2,
		  "--max-handshakes-per-source: '1000001' is not a number from 1 to 1000000" },
		{ "enable 443 --max-handshake-rate-per-source 1000001", 2,
		  "--max-handshake-rate-per-source: '1000001' is not a number from 1 to 1000000, or off" },
		{ "enable 443 --key-limit 16777217", 2,
		  "--key-limit: '16777217' is not a number from 1 to 16777216" },
		{ "enable 443 --resumption never", 2, "--resumption: 'never' is not on or off" },
		{ "enable 443 --zerocopy yes", 2, "--zerocopy: 'yes' is not on or off" },
		{ "enable 443 --offload on", 2, "--offload: 'on' is not auto, off or require" },
		{ "enable 443 --offload-tls13 1.2", 2,
		  "--offload-tls13: '1.2' is not negotiate-1.2 or refuse" },
		{ "enable 443 --offload require --min-version 1.3", 2,
		  "offload = require leaves no TLS version with min-version 1.3: the kernel offloads TLS 1.2 only" },
		{ "enable 443", 1,
		  "port 443 is not enabled yet: name its certificate with --cert FILE, or more with --cert-dir DIR" },
		{ "disable 443", 1, "port 443 is not enabled" },
		{ "status 443", 1, "port 443 is not enabled" },
		{ "conns x", 2,
		  "'x' is neither a port number nor a known service name: see tlsportctl services" },
		{ "reload", 1, "tlsportd is not running: start it (systemctl start tlsport)" },
		{ "upgrade", 1, "tlsportd is not running: start it (systemctl start tlsport)" },
	};
	char err[1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(err, sizeof(err), "tlsportctl: %s\n", cases[i].err);
		expect(cases[i].line, cases[i].status, "", err);
	}
	assert_string_equal(mock.steps, "");
}

static void bad_namespace_is_told(void **state)
{
	(void)state;
	expect("list --netns", 2, "", "tlsportctl: --netns needs a value\n");
	expect("--netns ../etc list", 2, "",
	       "tlsportctl: --netns: '../etc' is not the name of a network namespace\n");
	expect("--netns tlsport-no-such list", 1, "",
	       "tlsportctl: there is no network namespace 'tlsport-no-such': 'ip netns list' shows those that there are\n");
	assert_string_equal(netns_unit(), "tlsport@tlsport-no-such");
}

static void errors_are_json_too(void **state)
{
	json_t *value;

	(void)state;
	value = run_json("--json enable 0");
	assert_string_equal(text_of(value, "error"), "port 0 is out of range: 1 to 65535");
	assert_string_equal(mock.err, "tlsportctl: port 0 is out of range: 1 to 65535\n");
	json_decref(value);
}

static void missing_module_is_said(void **state)
{
	static const char *const lines[] = {
		"enable 443 --cert c", "disable 443", "list", "status", "conns",
	};
	size_t i;

	(void)state;
	mock.open_error = -ENOENT;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		expect(lines[i], 1, "",
		       "tlsportctl: the tlsport module is not loaded: run 'modprobe tlsport'\n");
}

static void missing_right_is_said_and_nothing_written(void **state)
{
	(void)state;
	mock.set_error = -EPERM;
	expect("enable 443 --cert /c.pem", 1, "",
	       "tlsportctl: port 443: needs CAP_NET_ADMIN: run as root\n");
	assert_false(mock_exists("etc/ports.d/443.conf"));
	assert_false(mock_exists("etc/ports.d/443.conf.tmp"));
}

/* enable reads private keys. */
static void there_are_no_core_dumps(void **state)
{
	struct rlimit limit;

	(void)state;
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	expect("--version", 0, NULL, "");
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 0);
}

static void every_command_has_help(void **state)
{
	static const char *const names[] = {
		"enable",   "disable", "list",	  "status",	  "conns",
		"services", "reload",  "upgrade", "check-config",
	};
	char line[64], usage_line[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(line, sizeof(line), "%s --help", names[i]);
		snprintf(usage_line, sizeof(usage_line), "Usage: tlsportctl %s", names[i]);
		expect(line, 0, NULL, "");
		assert_non_null(strstr(mock.out, usage_line));
	}
	expect("--help", 0, NULL, "");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(strstr(mock.out, names[i]));
	expect("--version", 0, "tlsportctl " TLSPORT_VERSION "\n", "");
}

/* service.c */

static void services_have_their_ports(void **state)
{
	static const struct {
		const char *name;
		uint16_t port;
	} cases[] = {
		{ "https", 443 },   { "imaps", 993 },	     { "pop3s", 995 },
		{ "smtps", 465 },   { "submissions", 465 },  { "domain-s", 853 },
		{ "ldaps", 636 },   { "ftps", 990 },	     { "ftps-data", 989 },
		{ "nntps", 563 },   { "ircs-u", 6697 },	     { "sips", 5061 },
		{ "mqtts", 8883 },  { "secure-mqtt", 8883 }, { "amqps", 5671 },
		{ "telnets", 992 }, { "HTTPS", 443 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(service_port(cases[i].name), cases[i].port);
	assert_int_equal(service_port("no-such-service"), 0);
	assert_string_equal(service_name(465), "smtps");
	assert_null(service_name(4711));
}

static void services_need_no_module(void **state)
{
	json_t *value;

	(void)state;
	mock.open_error = -ENOENT;
	value = run_json("services --json");
	assert_int_equal(mock.status, 0);
	assert_true(json_array_size(json_object_get(value, "services")) > 10);
	json_decref(value);
}

/* dropin.c */

static void dropin_keeps_what_is_not_changed(void **state)
{
	static const char text[] =
		"# mine\n\ncert = /a.pem ; the old one\nextra=1\nkey: /k.pem  \n";
	char path[256], value[64];
	struct dropin dropin;

	(void)state;
	mock_write("etc/ports.d/443.conf", text);
	snprintf(path, sizeof(path), "%s/etc/ports.d/443.conf", mock.root);
	assert_int_equal(dropin_load(path, &dropin), 0);
	assert_true(dropin.exists);
	assert_true(dropin_get(&dropin, "cert", value, sizeof(value)));
	assert_string_equal(value, "/a.pem");
	assert_true(dropin_get(&dropin, "key", value, sizeof(value)));
	assert_string_equal(value, "/k.pem");
	assert_false(dropin_get(&dropin, "ext", value, sizeof(value)));
	assert_int_equal(dropin_stage(path, &dropin), 0);
	assert_int_equal(dropin_commit(path), 0);
	expect_file("etc/ports.d/443.conf", text);

	assert_int_equal(dropin_set(&dropin, "cert", "/b.pem"), 0);
	assert_int_equal(dropin_set(&dropin, "groups", "X25519"), 0);
	assert_int_equal(dropin_stage(path, &dropin), 0);
	expect_file("etc/ports.d/443.conf", text);
	assert_int_equal(dropin_commit(path), 0);
	expect_file("etc/ports.d/443.conf",
		    "# mine\n\ncert = /b.pem\nextra=1\nkey: /k.pem  \ngroups = X25519\n");
	dropin_free(&dropin);
}

static void replaced_list_goes_with_all_its_lines(void **state)
{
	struct dropin dropin;
	char path[256];

	(void)state;
	mock_write("etc/ports.d/443.conf",
		   "[port 443]\nciphers = A:\n  B:\n\tC\n# after\ncert = /c\n");
	snprintf(path, sizeof(path), "%s/etc/ports.d/443.conf", mock.root);
	assert_int_equal(dropin_load(path, &dropin), 0);
	assert_false(dropin_is_foreign(&dropin, 443));
	assert_true(dropin_is_foreign(&dropin, 444));
	assert_int_equal(dropin_set(&dropin, "ciphers", "D"), 0);
	assert_int_equal(dropin_stage(path, &dropin), 0);
	assert_int_equal(dropin_commit(path), 0);
	expect_file("etc/ports.d/443.conf", "[port 443]\nciphers = D\n# after\ncert = /c\n");
	dropin_free(&dropin);
}

static void a_list_goes_on_behind_comments(void **state)
{
	struct dropin dropin;
	char path[256], value[64];

	(void)state;
	mock_write("etc/ports.d/443.conf",
		   "ciphers = A:\n# note\n  B:\n\n \t\n  ; old\n\tC\n# end\n  [port 443]\n  x\n");
	snprintf(path, sizeof(path), "%s/etc/ports.d/443.conf", mock.root);
	assert_int_equal(dropin_load(path, &dropin), 0);
	assert_true(dropin_get(&dropin, "ciphers", value, sizeof(value)));
	assert_string_equal(value, "A:B:C");
	assert_int_equal(dropin_set(&dropin, "ciphers", "D"), 0);
	assert_int_equal(dropin_stage(path, &dropin), 0);
	assert_int_equal(dropin_commit(path), 0);
	expect_file("etc/ports.d/443.conf",
		    "ciphers = D\n# note\n\n \t\n  ; old\n# end\n  [port 443]\n  x\n");
	dropin_free(&dropin);
}

static void what_is_configured_by_hand_is_left_alone(void **state)
{
	char err[256];

	(void)state;
	mock_write("etc/tlsport.conf", "  [port 443]\ncert = /c.pem\n");
	mock_write("etc/ports.d/993.conf",
		   "[port 993]\ncert = /c.pem\n [port 995]\ncert = /c.pem\n");
	mock.ports[mock.port_count++].number = 443;
	snprintf(
		err, sizeof(err),
		"tlsportctl: port 443 is configured by hand in %s/etc/tlsport.conf: change it there and run 'tlsportctl reload'\n",
		mock.root);
	expect("enable 443 --cert /d.pem", 1, "", err);
	snprintf(
		err, sizeof(err),
		"tlsportctl: port 443 is configured by hand in %s/etc/tlsport.conf: remove it there and run 'tlsportctl reload'\n",
		mock.root);
	expect("disable 443", 1, "", err);
	snprintf(
		err, sizeof(err),
		"tlsportctl: %s/etc/ports.d/993.conf configures other ports too: edit it by hand and run 'tlsportctl reload'\n",
		mock.root);
	expect("enable 993 --min-version 1.3", 1, "", err);
	expect("disable 993", 1, "", err);
	assert_string_equal(mock.steps, "");

	expect("list", 0, NULL, "");
	assert_non_null(strstr(mock.out, "995   pop3s"));
}

static void dropin_that_cannot_be_written_stays(void **state)
{
	struct dropin dropin = { 0 };
	char path[256];

	(void)state;
	mock_write("etc/ports.d", "a file, not a directory");
	snprintf(path, sizeof(path), "%s/etc/ports.d/443.conf", mock.root);
	assert_int_equal(dropin_set(&dropin, "cert", "/b.pem"), 0);
	assert_int_equal(dropin_stage(path, &dropin), -ENOTDIR);
	dropin_free(&dropin);
	assert_int_equal(mock_run("enable 443 --cert /c.pem"), 1);
	assert_null(mock_port(443));
	expect_file("etc/ports.d", "a file, not a directory");
}

/* What some editors begin a file with is no part of its first key. */
static void dropin_may_begin_with_a_mark(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "\xef\xbb\xbf"
					   "cert = /c.pem\n");
	mock_write("etc/ports.d/444.conf", "\xef\xbb\xbf[port 993]\ncert = /c.pem\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --cert /d.pem", 0, NULL, "");
	expect_file("etc/ports.d/443.conf", "cert = /d.pem\n");
	assert_int_equal(mock_run("disable 444"), 1);
	assert_non_null(strstr(mock.err, "configures other ports too"));
}

static void dropin_that_is_no_file_is_told(void **state)
{
	char path[256], err[512];

	(void)state;
	snprintf(path, sizeof(path), "%s/etc/ports.d", mock.root);
	assert_int_equal(mkdir(path, 0755), 0);
	strcat(path, "/443.conf");
	snprintf(err, sizeof(err), "tlsportctl: cannot read %s: not a regular file\n", path);
	assert_int_equal(mkdir(path, 0755), 0);
	expect("enable 443 --cert /c.pem", 1, "", err);
	expect("disable 443", 1, "", err);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0644), 0);
	alarm(10);
	expect("enable 443 --cert /c.pem", 1, "", err);
	alarm(0);
	unlink(path);
	assert_int_equal(symlink("gone", path), 0);
	snprintf(err, sizeof(err), "tlsportctl: cannot read %s: a link that leads nowhere\n", path);
	expect("enable 443 --cert /c.pem", 1, "", err);
	assert_string_equal(mock.steps, "");
}

/* enable.c */

static void enable_goes_in_this_order(void **state)
{
	struct stat st;
	char path[256];

	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable https --cert /c.pem --key /k.pem --min-version 1.3", 0,
	       "port 443 (https) speaks TLS\n", "");
	assert_string_equal(mock.steps, "cert_check /c.pem /k.pem\n"
					"port_set 443 dropin=staged\n"
					"reload dropin=permanent\n");
	expect_file("etc/ports.d/443.conf", "# Written by tlsportctl enable; see tlsport.conf(5).\n"
					    "cert = /c.pem\nkey = /k.pem\nmin-version = 1.3\n");
	snprintf(path, sizeof(path), "%s/etc/ports.d/443.conf", mock.root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(mock_port(443)->policy.given, TLSPORT_NL_POLICY_ALL);
	assert_int_equal(mock_port(443)->policy.min_version, 0x0304);
}

static void enable_makes_a_certificate(void **state)
{
	char steps[512], drop_in[512];

	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --self-signed --name a.example,192.0.2.1", 0,
	       "port 443 (https) speaks TLS\n", "");
	snprintf(
		steps, sizeof(steps),
		"self_signed %s/etc/self-signed/443.crt %s/etc/self-signed/443.key a.example,192.0.2.1\n"
		"cert_check %s/etc/self-signed/443.crt %s/etc/self-signed/443.key\n"
		"port_set 443 dropin=staged\nreload dropin=permanent\n",
		mock.root, mock.root, mock.root, mock.root);
	assert_string_equal(mock.steps, steps);
	snprintf(drop_in, sizeof(drop_in),
		 "# Written by tlsportctl enable; see tlsport.conf(5).\n"
		 "cert = %s/etc/self-signed/443.crt\nkey = %s/etc/self-signed/443.key\n",
		 mock.root, mock.root);
	expect_file("etc/ports.d/443.conf", drop_in);
	mock.self_signed_error = "the TLS library: it made no key";
	expect("enable 444 --self-signed", 1, "", "tlsportctl: the TLS library: it made no key\n");
	assert_false(mock_exists("etc/self-signed/444.key"));
	assert_null(mock_port(444));
	mock.cert_fault = "self-signed: nobody vouches for it";
	mock.self_signed_error = NULL;
	assert_int_equal(mock_run("enable 444 --self-signed --profile strict"), 1);
	assert_non_null(strstr(
		mock.err,
		"self-signed/444.crt: self-signed: nobody vouches for it (profile strict)\n"));
	assert_null(mock_port(444));
}

static void enable_keeps_a_list_of_several_lines(void **state)
{
	static const char list[] =
		"cert = /c.pem\nciphers = TLS_AES_128_GCM_SHA256:\n\tECDHE-RSA-AES128-GCM-SHA256\n";
	char want[256];

	(void)state;
	mock_write("etc/ports.d/443.conf", list);
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --alpn h2", 0, NULL, "");
	snprintf(want, sizeof(want), "%salpn = h2\n", list);
	expect_file("etc/ports.d/443.conf", want);
}

/* All of its lines say which versions are spoken. */
static void enable_reads_all_of_a_list(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf",
		   "cert = /c.pem\nciphers = TLS_AES_128_GCM_SHA256: ; best\n"
		   "\tTLS_AES_256_GCM_SHA384\n  :ECDHE-RSA-AES128-GCM-SHA256: ; old\n# end\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --max-version 1.2", 0, NULL, "");
	assert_int_equal(mock_port(443)->policy.min_version, 0x0303);
	assert_int_equal(mock_port(443)->policy.max_version, 0x0303);
}

static void enable_tells_of_a_version_that_falls_away(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 4711 --cert /c.pem --ciphers ECDHE-RSA-AES128-GCM-SHA256", 0, NULL,
	       "tlsportctl: warning: port 4711: TLS 1.3 is not spoken: ciphers has no suite of it\n");
	assert_int_equal(mock_port(4711)->policy.max_version, 0x0303);
}

static void enable_warns_of_an_address_of_others(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 4711 --cert /c.pem --address 127.0.0.1,192.0.2.7", 0, NULL,
	       "tlsportctl: warning: port 4711: this machine does not have address 192.0.2.7 now; at addresses that are not named the port is shut\n");
}

static void enable_takes_numbers_and_equal_signs(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable --cert=/c.pem 4711 --max-handshakes=5", 0, "port 4711 speaks TLS\n", "");
	assert_int_equal(mock_port(4711)->policy.max_handshakes, 5);
}

static void enable_again_changes_what_is_given(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "# mine\ncert = /c.pem\nkey = /k.pem\nfuture = 1\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --truncation tolerate", 0, "port 443 (https) speaks TLS\n", "");
	expect_file("etc/ports.d/443.conf",
		    "# mine\ncert = /c.pem\nkey = /k.pem\nfuture = 1\ntruncation = tolerate\n");
	assert_non_null(strstr(mock.steps, "cert_check /c.pem /k.pem\n"));
}

static void enable_checks_given_against_kept(void **state)
{
	char err[512];

	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\nmax-version = 1.2\n");
	snprintf(err, sizeof(err),
		 "tlsportctl: min-version is above max-version "
		 "(max-version is in %s/etc/ports.d/443.conf: --max-version \"\" takes it out)\n",
		 mock.root);
	expect("enable 443 --min-version 1.3", 1, "", err);
	expect_file("etc/ports.d/443.conf", "cert = /c.pem\nmax-version = 1.2\n");
	/* what is given with it is not stored */
	expect("enable 443 --min-version 1.3 --max-version 1.2", 1, "",
	       "tlsportctl: min-version is above max-version\n");
	mock_write("run/ports.d/443.conf", "cert = /c.pem\nticket-keys = /t\n");
	snprintf(err, sizeof(err),
		 "tlsportctl: ticket-keys does nothing with resumption = off "
		 "(ticket-keys is in %s/run/ports.d/443.conf: --ticket-keys \"\" takes it out)\n",
		 mock.root);
	expect("enable 443 --resumption off", 1, "", err);
	mock_write("run/ports.d/443.conf", "cert = /c.pem\nmin-version = 9\n");
	snprintf(err, sizeof(err),
		 "tlsportctl: min-version: '9' is not 1.2 or 1.3 "
		 "(min-version is in %s/run/ports.d/443.conf: --min-version \"\" takes it out)\n",
		 mock.root);
	expect("enable 443 --alpn h2", 1, "", err);
}

static void enable_takes_a_setting_out(void **state)
{
	char err[512];

	(void)state;
	mock_write(
		"etc/ports.d/443.conf",
		"# mine\ncert = /c.pem\nclient-auth = require\nclient-ca = /ca\n"
		"ciphers = TLS_AES_128_GCM_SHA256:\n# both\n\tTLS_AES_256_GCM_SHA384\nalpn = h2\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --client-auth none --client-ca= --ciphers= --groups=", 0, NULL, "");
	expect_file("etc/ports.d/443.conf",
		    "# mine\ncert = /c.pem\nclient-auth = none\n# both\nalpn = h2\n");
	assert_int_equal(mock_port(443)->policy.min_version, 0x0303);
	expect("enable 443 --cert=", 1, "",
	       "tlsportctl: port 443 would have no certificate: name its certificate with --cert FILE, or more with --cert-dir DIR\n");
	expect("enable 443 --key /k.pem", 0, NULL, "");
	snprintf(
		err, sizeof(err),
		"tlsportctl: port 443: --key without --cert (key is in %s/etc/ports.d/443.conf: --key \"\" takes it out)\n",
		mock.root);
	expect("enable 443 --cert-dir /d --cert=", 1, "", err);
}

static void enable_makes_paths_absolute(void **state)
{
	char cwd[256], line[1024];

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	mock_daemon_start("ok", STATUS_REPLY);
	mock_run("enable 443 --cert c.pem --key sub/k.pem");
	assert_int_equal(mock.status, 0);
	snprintf(
		line, sizeof(line),
		"# Written by tlsportctl enable; see tlsport.conf(5).\ncert = %s/c.pem\nkey = %s/sub/k.pem\n",
		cwd, cwd);
	expect_file("etc/ports.d/443.conf", line);
}

static void enable_takes_a_key_in_a_token(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	mock_run("enable 443 --cert /c.pem --key pkcs11:token=web;object=www --passphrase /pin");
	assert_int_equal(mock.status, 0);
	mock_run("enable 443 --min-version 1.3");
	assert_int_equal(mock.status, 0);
	expect_file("etc/ports.d/443.conf",
		    "# Written by tlsportctl enable; see tlsport.conf(5).\ncert = /c.pem\n"
		    "key = pkcs11:token=web;object=www\npassphrase = /pin\nmin-version = 1.3\n");
	mock_run("enable 443 --key pkcs11:token=web?pin-value=1234");
	assert_int_equal(mock.status, 2);
}

static void bad_certificate_changes_nothing(void **state)
{
	static const char *const reasons[] = {
		"/c.pem: cannot be read: No such file or directory",
		"/k.pem: cannot be read: Permission denied",
		"/k.pem: the key does not belong to /c.pem",
		"/k.pem: the key is encrypted",
	};
	char err[256];
	size_t i;

	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		mock.cert_error = reasons[i];
		mock.steps[0] = '\0';
		snprintf(err, sizeof(err), "tlsportctl: %s\n", reasons[i]);
		expect("enable 443 --cert /c.pem --key /k.pem", 1, "", err);
		assert_string_equal(mock.steps, "cert_check /c.pem /k.pem\n");
		assert_false(mock_exists("etc/ports.d"));
		assert_null(mock_port(443));
	}
}

static void files_that_tlsportd_does_not_see_are_refused(void **state)
{
	char line[256], err[512], path[256];

	(void)state;
	mock_write("c.pem", "");
	mock_write("proc/7/root/tmp/x", ""); /* 7: in STATUS_REPLY */
	mock_daemon_start("ok", STATUS_REPLY);
	snprintf(line, sizeof(line), "enable 443 --cert %s/c.pem", mock.root);
	snprintf(
		err, sizeof(err),
		"tlsportctl: %s/c.pem: tlsportd has a /tmp of its own (PrivateTmp=yes), where it is not: put it elsewhere\n",
		mock.root);
	expect(line, 1, "", err);
	assert_null(strstr(mock.steps, "port_set"));
	assert_false(mock_exists("etc/ports.d"));
	/* by a link from elsewhere, too */
	snprintf(path, sizeof(path), "%s/c.pem", mock.root);
	unlink("test_ctl.link");
	assert_int_equal(symlink(path, "test_ctl.link"), 0);
	mock_run("enable 443 --cert test_ctl.link");
	unlink("test_ctl.link");
	assert_non_null(strstr(mock.err, "test_ctl.link: tlsportd has a /tmp of its own"));
	expect("enable 443 --cert /c.pem", 0, NULL, "");
	/* it sees what we do */
	snprintf(path, sizeof(path), "%s/proc/7/root/tmp/x", mock.root);
	unlink(path);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/tmp", path), 0);
	expect(line, 0, NULL, "");
}

static void authorities_of_clients_are_checked_first(void **state)
{
	char *text, err[512];

	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	mock.client_ca_error = "/ca.pem: no certificate in it";
	expect("enable 443 --cert /c.pem --client-auth require --client-ca /ca.pem --client-crl /crl.pem",
	       1, "", "tlsportctl: /ca.pem: no certificate in it\n");
	assert_string_equal(mock.steps, "cert_check /c.pem -\nclient_ca /ca.pem /crl.pem\n");
	assert_false(mock_exists("etc/ports.d"));
	assert_null(mock_port(443));
	mock.client_ca_error = NULL;
	expect("enable 443 --cert /c.pem --client-auth require --client-ca /ca.pem", 0,
	       "port 443 (https) speaks TLS\n", "");
	text = mock_read("etc/ports.d/443.conf");
	assert_non_null(strstr(text, "client-auth = require\n"));
	free(text);
	/* one setting alone goes with those that are kept */
	expect("enable 443 --client-auth request", 0, "port 443 (https) speaks TLS\n", "");
	/* what makes no sense together is refused before anything is looked at */
	snprintf(err, sizeof(err),
		 "tlsportctl: client-ca does nothing without client-auth = request or require "
		 "(client-ca is in %s/etc/ports.d/443.conf: --client-ca \"\" takes it out)\n",
		 mock.root);
	expect("enable 443 --client-auth none", 1, "", err);
}

static void certificate_warning_is_passed_on(void **state)
{
	json_t *value;

	(void)state;
	mock.cert_warning = "expired on 2020-01-01";
	mock_daemon_start("ok", STATUS_REPLY);
	value = run_json("enable 443 --cert /c.pem --json");
	assert_string_equal(mock.err, "tlsportctl: warning: /c.pem: expired on 2020-01-01\n");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(value, "warnings"), 0)),
		"/c.pem: expired on 2020-01-01");
	assert_string_equal(text_of(value, "state"), "enabled");
	assert_int_equal(mock.status, 0);
	json_decref(value);
}

static void kernel_refusal_is_its_own_sentence(void **state)
{
	(void)state;
	mock.set_error = -EINVAL;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --cert /c.pem", 1, "",
	       "tlsportctl: port 443: the kernel's own sentence\n");
	assert_null(strstr(mock.steps, "reload"));
	assert_false(mock_exists("etc/ports.d/443.conf"));
	assert_false(mock_exists("etc/ports.d/443.conf.tmp"));
}

static void daemon_refusal_of_a_new_port_leaves_nothing(void **state)
{
	(void)state;
	mock_daemon_start("error: port 443: groups: wolfSSL 5.5.4 has no X25519MLKEM768",
			  STATUS_REPLY);
	expect("enable 443 --cert /c.pem --groups X25519MLKEM768:P-256", 1, "",
	       "tlsportctl: port 443: tlsportd refused, nothing was changed: port 443: groups: wolfSSL 5.5.4 has no X25519MLKEM768\n");
	assert_string_equal(mock.steps, "cert_check /c.pem -\n"
					"port_set 443 dropin=staged\n"
					"reload dropin=permanent\n"
					"port_del 443 dropin=none\n");
	assert_null(mock_port(443));
	assert_false(mock_exists("etc/ports.d/443.conf.tmp"));
}

static void daemon_refusal_puts_the_old_settings_back(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\nmax-handshakes = 9\n");
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){
		.number = 443,
		.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0304, 0, 10000, 9, 1024 },
	};
	mock_daemon_start("error: bad", STATUS_REPLY);
	expect("enable 443 --max-handshakes 8", 1, "",
	       "tlsportctl: port 443: tlsportd refused, nothing was changed: bad\n");
	expect_file("etc/ports.d/443.conf", "cert = /c.pem\nmax-handshakes = 9\n");
	assert_non_null(mock_port(443));
	assert_int_equal(mock_port(443)->policy.max_handshakes, 9);
	assert_null(strstr(mock.steps, "port_del"));
}

/* The kernel has refused a port after all, this one or another: tlsportd has the new settings by then. */
static void what_tlsportd_has_taken_is_taken_back(void **state)
{
	static const struct {
		const char *again, *what;
		unsigned int taken;
	} cases[] = {
		{ "ok", "tlsportd failed, and has all as it was again: bad\n", 2 },
		{ "error: bad", "tlsportd failed, and has all as it was again: bad\n", 2 },
		{ "error: worse",
		  "tlsportd failed, and may have the new settings in force until 'tlsportctl reload' succeeds: bad\n",
		  1 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mock.generation = 4;
		mock.reloads_taken = cases[i].taken;
		mock.again_reply = cases[i].again;
		mock.steps[0] = '\0';
		mock_daemon_start("error: bad", NULL);
		assert_int_equal(mock_run("enable 443 --cert /c.pem"), 1);
		if (!strstr(mock.err, cases[i].what))
			fail_msg("%s", mock.err);
		assert_string_equal(mock.steps, "cert_check /c.pem -\n"
						"port_set 443 dropin=staged\n"
						"reload dropin=permanent\n"
						"port_del 443 dropin=none\n"
						"reload dropin=none\n");
		mock_daemon_stop();
	}
}

/* Without a change of what is in force it is told once: it would take what others have in hand. */
static void true_refusal_is_told_once(void **state)
{
	(void)state;
	mock.generation = 4;
	mock_daemon_start("error: bad", NULL);
	expect("enable 443 --cert /c.pem", 1, "",
	       "tlsportctl: port 443: tlsportd refused, nothing was changed: bad\n");
	assert_null(strstr(mock.steps, "reload dropin=none"));
}

/* tlsportd, amid another reload, had widened the port when it was looked at. */
static void daemon_refusal_leaves_nothing_widened(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\nmax-version = 1.2\noffload = require\n");
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){
		.number = 443,
		.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0304, 0, 10000, 9, 1024 },
	};
	mock_daemon_start("error: bad", STATUS_REPLY);
	mock_run("enable 443 --max-handshakes 8");
	if (!strstr(mock.err, "tlsportd refused"))
		fail_msg("%s", mock.err);
	assert_int_equal(mock_port(443)->policy.min_version, 0x0303);
	assert_int_equal(mock_port(443)->policy.max_version, 0x0303);
	assert_int_equal(mock_port(443)->policy.offload, TLSPORT_OFFLOAD_REQUIRE);
	assert_int_equal(mock_port(443)->policy.max_handshakes, 9);
}

static void enable_widens_until_the_daemon_has_reloaded(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\nmax-version = 1.2\n");
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){
		.number = 443,
		.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0303, 0, 10000, 9, 1024 },
	};
	/* whose mock sets no ports */
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --min-version 1.3 --max-version 1.3", 0, "port 443 (https) speaks TLS\n",
	       "");
	assert_int_equal(mock_port(443)->policy.min_version, 0x0303);
	assert_int_equal(mock_port(443)->policy.max_version, 0x0304);
}

static void enable_without_a_daemon_widens_for_a_moment(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\n");
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){
		.number = 443,
		.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0304, 0, 10000, 9, 1024 },
	};
	assert_int_equal(mock_run("enable 443 --min-version 1.3"), 0);
	assert_string_equal(mock.steps, "cert_check /c.pem -\n"
					"port_set 443 dropin=staged\n"
					"port_set 443 dropin=permanent\n");
	assert_int_equal(mock_port(443)->policy.min_version, 0x0304);
}

static void silent_daemon_is_a_refusal(void **state)
{
	(void)state;
	mock_daemon_start(NULL, NULL);
	expect("enable 443 --cert /c.pem", 1, "",
	       "tlsportctl: port 443: tlsportd does not answer, nothing was changed: tlsportd closed the connection without an answer\n");
	assert_null(strstr(mock.steps, "reload"));
	assert_null(mock_port(443));
	mock_daemon_stop();
	/* no more than the settings are put back for it */
	mock_daemon_start(NULL, STATUS_REPLY);
	expect("enable 443 --cert /c.pem", 1, "",
	       "tlsportctl: port 443: tlsportd refused, nothing was changed: tlsportd closed the connection without an answer\n");
	assert_null(mock_port(443));
}

static void without_daemon_the_port_is_shut(void **state)
{
	(void)state;
	expect("enable 443 --cert /c.pem", 0, "",
	       "tlsportctl: warning: tlsportd is not running: port 443 is shut until it is started (systemctl start tlsport)\n");
	assert_non_null(mock_port(443));
	assert_true(mock_exists("etc/ports.d/443.conf"));
}

static void runtime_goes_to_the_run_directory(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --runtime --max-handshakes 3", 0, NULL, "");
	expect_file("etc/ports.d/443.conf", "cert = /c.pem\n");
	expect_file("run/ports.d/443.conf", "cert = /c.pem\nmax-handshakes = 3\n");

	/* A permanent change takes over what was in force. */
	expect("enable 443 --resumption off", 0, NULL, "");
	expect_file("etc/ports.d/443.conf",
		    "cert = /c.pem\nmax-handshakes = 3\nresumption = off\n");
	assert_false(mock_exists("run/ports.d/443.conf"));
}

static void refused_permanent_change_brings_runtime_back(void **state)
{
	(void)state;
	mock_write("run/ports.d/443.conf", "cert = /c.pem\n");
	mock_daemon_start("error: bad", STATUS_REPLY);
	mock_run("enable 443 --resumption off");
	assert_int_equal(mock.status, 1);
	expect_file("run/ports.d/443.conf", "cert = /c.pem\n");
	assert_false(mock_exists("etc/ports.d/443.conf"));
}

/* listener.c */

static void add_process(const char *pid, const char *comm, const char *link)
{
	char name[64], path[256];

	snprintf(name, sizeof(name), "proc/%s/comm", pid);
	mock_write(name, comm);
	snprintf(name, sizeof(name), "proc/%s/fd/x", pid);
	mock_write(name, "");
	snprintf(path, sizeof(path), "%s/proc/%s/fd/3", mock.root, pid);
	assert_int_equal(symlink(link, path), 0);
}

static void add_listener(uint8_t state, uint32_t inode)
{
	mock.listeners[mock.listener_count++] = (struct tlsport_nl_listener){
		.port = 443,
		.inode = inode,
		.uid = 33,
		.state = state,
	};
}

static void shut_listener_names_its_process(void **state)
{
	(void)state;
	add_process("123", "python3\n", "socket:[4711]");
	add_process("124", "other\n", "socket:[4712]");
	add_listener(TLSPORT_LISTENER_SHUT, 4711);
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --cert /c.pem", 0, "port 443 (https) speaks TLS\n",
	       "tlsportctl: warning: port 443: python3 (pid 123) has listened since before the port was enabled and may sleep in accept(): restart it; until then no connection reaches it\n");
}

static void many_holders_are_counted(void **state)
{
	static const char *const pids[] = { "5", "6", "7", "8", "9", "10" };
	size_t i;

	(void)state;
	for (i = 0; i < 6; i++)
		add_process(pids[i], "nginx\n", "socket:[4711]");
	add_listener(TLSPORT_LISTENER_SHUT, 4711);
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --cert /c.pem", 0, NULL,
	       "tlsportctl: warning: port 443: nginx (pid 5), nginx (pid 6), nginx (pid 7), nginx (pid 8) and 2 more have listened since before the port was enabled and may sleep in accept(): restart them; until then no connection reaches it\n");
}

static void foreign_and_unknown_listeners_are_told(void **state)
{
	(void)state;
	add_listener(TLSPORT_LISTENER_TLS, 1);
	add_listener(TLSPORT_LISTENER_FOREIGN, 0);
	add_listener(TLSPORT_LISTENER_SHUT, 99);
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --cert /c.pem", 0, NULL,
	       "tlsportctl: warning: port 443: the kernel itself listens on a socket that cannot be served (the kernel's own, or of a sockmap): no connection reaches it; have a program listen with plain TCP\n"
	       "tlsportctl: warning: port 443: a program of user 33 (socket 99) has listened since before the port was enabled and may sleep in accept(): restart it; until then no connection reaches it\n");
}

/* port.c */

static void disable_goes_in_this_order(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\n");
	mock_write("run/ports.d/443.conf", "cert = /c.pem\n");
	mock.ports[mock.port_count++].number = 443;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("disable https", 0, "port 443 is disabled: new listening sockets are plain TCP\n",
	       "");
	assert_string_equal(mock.steps, "port_del 443 dropin=none\nreload dropin=none\n");
}

static void write_self_signed_dropin(uint16_t port, uint16_t of)
{
	char name[64], text[512];

	snprintf(name, sizeof(name), "etc/ports.d/%u.conf", port);
	snprintf(text, sizeof(text),
		 "cert = %s/etc/self-signed/%u.crt\nkey = %s/etc/self-signed/%u.key\n", mock.root,
		 of, mock.root, of);
	mock_write(name, text);
}

static void disable_removes_what_self_signed_made(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --self-signed --name a", 0, NULL, "");
	mock_write("etc/self-signed/443.crt", "");
	mock_write("etc/self-signed/444.crt", "");
	mock_write("etc/self-signed/44.crt", "");
	mock_write("etc/self-signed/44.key", "");
	write_self_signed_dropin(444, 443); /* another's: its own are not named */
	expect("disable 444", 0, NULL, "");
	assert_true(mock_exists("etc/self-signed/443.key"));
	assert_true(mock_exists("etc/self-signed/444.crt"));
	write_self_signed_dropin(4, 44);
	expect("disable 4", 0, NULL, "");
	assert_true(mock_exists("etc/self-signed/44.key"));
	mock_write("etc/ports.d/a.conf", "[port 1]\ncert-dir = /etc/self-signed\n");
	write_self_signed_dropin(44, 44);
	expect("disable 44", 0, NULL, "");
	assert_true(mock_exists("etc/self-signed/44.key"));
	mock_write("etc/ports.d/a.conf", "[port 1]\ncert-dir = /etc/certs\n");
	expect("disable 443", 0, NULL, "");
	assert_false(mock_exists("etc/self-signed/443.key"));
	assert_false(mock_exists("etc/self-signed/443.crt"));
	assert_true(mock_exists("etc/self-signed/444.crt"));
}

static void disable_removes_all_that_self_signed_made(void **state)
{
	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	expect("enable 443 --self-signed", 0, NULL, "");
	mock_write("etc/self-signed/443.crt", "");
	expect("enable 443 --self-signed", 0, NULL, "");
	mock_write("etc/self-signed/443-1.crt", "");
	expect("disable 443", 0, NULL, "");
	assert_false(mock_exists("etc/self-signed/443.key"));
	assert_false(mock_exists("etc/self-signed/443.crt"));
	assert_false(mock_exists("etc/self-signed/443-1.key"));
	assert_false(mock_exists("etc/self-signed/443-1.crt"));
}

static void self_signed_443(void)
{
	write_self_signed_dropin(443, 443);
	mock_write("etc/self-signed/443.crt", "");
	mock_write("etc/self-signed/443.key", "");
}

static void keeps_443(void)
{
	expect("disable 443", 0, NULL, "");
	assert_true(mock_exists("etc/self-signed/443.key"));
	assert_true(mock_exists("etc/self-signed/443.crt"));
	self_signed_443();
}

static void disable_keeps_keys_that_others_use(void **state)
{
	char to[128], link[128], text[512];

	(void)state;
	mock_daemon_start("ok", STATUS_REPLY);
	self_signed_443();
	/* a certificate of an authority for the key, here or elsewhere */
	mock.cert_by_ca = true;
	keeps_443();
	mock.cert_by_ca = false;
	snprintf(text, sizeof(text), "cert = /ca.crt\nkey = %s/etc/self-signed/443.key\n",
		 mock.root);
	mock_write("etc/ports.d/443.conf", text);
	keeps_443();
	/* another port has it by another path */
	snprintf(to, sizeof(to), "%s/etc/self-signed", mock.root);
	snprintf(link, sizeof(link), "%s/link", mock.root);
	assert_int_equal(symlink(to, link), 0);
	snprintf(text, sizeof(text), "cert = %s/443.crt\nkey = %s/443.key ; ours\n", link, link);
	mock_write("etc/ports.d/444.conf", text);
	keeps_443();
	snprintf(text, sizeof(text), "cert-dir = %s\n", link);
	mock_write("etc/ports.d/444.conf", text);
	keeps_443();
	remove(link);
	snprintf(text, sizeof(text), "cert = %s/etc//self-signed/443.crt\n", mock.root);
	mock_write("etc/ports.d/444.conf", text);
	keeps_443();
	mock_write("etc/ports.d/444.conf", "cert = /c\n");
	expect("disable 443", 0, NULL, "");
	assert_false(mock_exists("etc/self-signed/443.key"));
}

static void failed_disable_changes_nothing(void **state)
{
	(void)state;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\n");
	mock.ports[mock.port_count++].number = 443;
	mock.del_error = -EPERM;
	expect("disable 443", 1, "", "tlsportctl: port 443: the kernel's own sentence\n");
	expect_file("etc/ports.d/443.conf", "cert = /c.pem\n");
}

static void dropin_can_go_without_the_module(void **state)
{
	(void)state;
	mock.open_error = -ENOENT;
	mock_write("etc/ports.d/443.conf", "cert = /c.pem\n");
	expect("disable 443", 0, NULL, "");
	assert_false(mock_exists("etc/ports.d/443.conf"));
}

static void list_tells_who_is_served(void **state)
{
	(void)state;
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){ .number = 8443, .listeners = 1 };
	mock.ports[mock.port_count++] = (struct tlsport_nl_port){ .number = 443, .listeners = 1 };
	mock_write("etc/ports.d/993.conf", "cert = /c.pem\n");
	mock_daemon_start("ok", STATUS_REPLY);
	expect("list", 0, NULL, "");
	assert_non_null(strstr(mock.out, "443   https"));
	assert_non_null(strstr(mock.out, "served"));
	assert_non_null(strstr(mock.out, "example.org"));
	assert_non_null(strstr(mock.out, "2030-01-01"));
	assert_non_null(strstr(mock.out, "shut: tlsportd does not know it: tlsportctl reload"));
	assert_non_null(strstr(mock.out, "plaintext: configured, not registered in the kernel"));
	mock_daemon_stop();
	mock_daemon_start(
		"ok",
		"{\"pid\":7,\"version\":\"0.1\",\"wolfssl\":\"5.5.4\",\"workers\":[],"
		"\"ports\":[{\"port\":443,\"usable\":true,\"subject\":\"a\",\"not_after\":1,"
		"\"certificates\":[{\"subject\":\"a\",\"not_after\":1893456000,\"usable\":true},"
		"{\"subject\":\"b\",\"not_after\":1800000000,\"usable\":true,\"self_signed\":true},"
		"{\"subject\":\"c\",\"not_after\":0,\"usable\":false}]}]}");
	expect("list", 0, NULL, "");
	assert_non_null(strstr(mock.out, "SELF-SIGNED b +2"));
	assert_non_null(strstr(mock.out, "2027-01-15"));
}

static void states_follow_kernel_and_daemon(void **state)
{
	json_t *good = json_loads(STATUS_REPLY, 0, NULL);
	json_t *bad = json_loads("{\"ports\":[{\"port\":443,\"usable\":false,\"error\":\"gone\"}]}",
				 0, NULL);
	struct tlsport_nl_port port = { .number = 443, .listeners = 1 };
	struct port_state found;

	(void)state;
	port_state(NULL, good, 443, &found);
	assert_string_equal(found.state, "plaintext");
	port_state(&port, NULL, 443, &found);
	assert_string_equal(found.state, "shut");
	assert_string_equal(found.why, "tlsportd is not running");
	port_state(&port, bad, 443, &found);
	assert_string_equal(found.state, "shut");
	assert_string_equal(found.why, "gone");
	port_state(&port, good, 443, &found);
	assert_string_equal(found.state, "served");
	assert_string_equal(found.why, "");
	port.listeners_shut = 2;
	port_state(&port, good, 443, &found);
	assert_string_equal(found.state, "served");
	assert_string_equal(found.why, "2 listening sockets are kept shut");
	port.listeners = 0;
	port_state(&port, good, 443, &found);
	assert_string_equal(found.state, "shut");
	port.listeners_shut = 0;
	port_state(&port, good, 443, &found);
	assert_string_equal(found.state, "idle");
	json_decref(good);
	json_decref(bad);
}

/* status.c, conn.c */

static void fill_status(void)
{
	struct tlsport_nl_port *port = &mock.ports[mock.port_count++];

	*port = (struct tlsport_nl_port){
		.number = 443,
		.policy = { TLSPORT_NL_POLICY_ALL, 0x0303, 0x0304, 0, 10000, 4096, 1024 },
		.listeners = 1,
		.open = 2,
	};
	port->stats[TLSPORT_A_STATS_STARTED] = 18446744073709ULL;
	port->ended[TLSPORT_REASON_NOT_TLS] = 3;
	port->policy.offload = TLSPORT_OFFLOAD_REQUIRE;
	port->tx_sw[TLSPORT_SW_NONE] = 5;
	port->rx_sw[TLSPORT_SW_DEVICE_FULL] = 6;
	mock_write("sys/module/tlsport/version", "0.1\n");
	mock_write("proc/crypto",
		   "name         : gcm(aes)\ndriver       : slow\npriority     : 100\n\n"
		   "name         : gcm(aes)\ndriver       : fast\npriority     : 400\n\n"
		   "name         : cbc(aes)\ndriver       : other\npriority     : 900\n");
	mock_write("proc/net/tls_stat",
		   "TlsCurrTxSw                     \t2\nTlsDecryptError\t0\n");
}

static void status_shows_counters_with_reasons(void **state)
{
	(void)state;
	fill_status();
	mock_daemon_start("ok", STATUS_REPLY);
	expect("status", 0, NULL, "");
	assert_non_null(strstr(mock.out, "module   loaded, version 0.1\n"));
	assert_non_null(strstr(mock.out, "helper   tlsportd 0.1 (pid 7), wolfSSL 5.5.4\n"));
	assert_non_null(
		strstr(mock.out,
		       "worker   pid 8, generation 2, ready: of 9 handshakes 6 done, 2 failed\n"));
	assert_non_null(strstr(mock.out, "gcm(aes) by fast\n"));
	assert_non_null(strstr(mock.out, "TlsCurrTxSw              2\n"));
	assert_null(strstr(mock.out, "TlsDecryptError"));
	assert_non_null(strstr(mock.out, "port 443 (https): served\n"));
	assert_non_null(strstr(mock.out, "18446744073709  connections taken\n"));
	assert_non_null(strstr(mock.out, "  for example.org *.example.org\n"
					 "  OCSP response stapled, valid until 2026-11-18\n"
					 "  and that is wrong\n"
					 "  warning: it expires in 3 days\n"
					 "  warning: crl.pem: has ended\n"
					 "  NOT RENEWED: c.pem: junk\n"));
	assert_non_null(strstr(
		mock.out,
		"  profile modern, resumption on, ocsp file, plaintext reject, strict-sni on\n"
		"  ciphers A B\n  prefer-server-ciphers off\n  groups X25519\n"
		"  ticket keys: 3 from /t, unchanged for "));
	assert_non_null(strstr(mock.out, "because the peer did not speak TLS\n"));
	assert_non_null(
		strstr(mock.out,
		       "offload require, zerocopy off: clients that speak TLS 1.3 are refused\n"));
	assert_non_null(
		strstr(mock.out, "  nic -                         5 sending, 0 receiving: "));
	assert_non_null(
		strstr(mock.out, "  sw  device-full               0 sending, 6 receiving: "));
}

static enum feature_state features[8][2];

/* eth0 to eth7 */
static enum feature_state mock_feature(const char *device, const char *name)
{
	assert_int_equal(strlen(device), 4);
	return features[device[3] - '0'][!strcmp(name, "tls-hw-rx-offload")];
}

static void check_finds_what_is_off(void **state)
{
	(void)state;
	fill_status();
	ctl.feature = mock_feature;
	features[0][0] = FEATURE_OFF;
	features[0][1] = FEATURE_ON;
	features[1][0] = FEATURE_ON;
	features[1][1] = FEATURE_OFF;
	features[6][0] = FEATURE_OFF;
	mock.conns[mock.conn_count++] =
		(struct tlsport_nl_conn){ .id = 1, .port = 443, .device = "eth0" };
	mock.conns[mock.conn_count++] =
		(struct tlsport_nl_conn){ .id = 2, .port = 443, .device = "lo" };
	mock.conns[mock.conn_count++] = (struct tlsport_nl_conn){
		.id = 3, .port = 443, .device = "eth3", .tx_sw = TLSPORT_SW_BOND
	};
	/* Of a port that has been disabled, or does not want it */
	mock.conns[mock.conn_count++] =
		(struct tlsport_nl_conn){ .id = 4, .port = 444, .device = "eth5" };
	mock_write("proc/net/route",
		   "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
		   "eth1\t00000000\t01020304\t0003\t0\t0\t0\t00000000\n"
		   "eth6\t00000A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
		   "eth7\t00010A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n");
	mock_write(
		"proc/net/ipv6_route",
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2\n");
	expect("check", 1,
	       "eth0 can encrypt TLS and does not: turn it on with 'ethtool -K eth0 tls-hw-tx-offload on'\n"
	       "eth1 can decrypt TLS and does not: turn it on with 'ethtool -K eth1 tls-hw-rx-offload on'\n"
	       "eth6 can encrypt TLS and does not: turn it on with 'ethtool -K eth6 tls-hw-tx-offload on'\n"
	       "eth2 cannot encrypt TLS, which a port with offload require needs\n"
	       "connections over eth3 are encrypted by software, for it is part of a bond, which net/tls "
	       "does not do it for: a port with offload require refuses them\n",
	       "");
	mock.ports[0].policy.offload = TLSPORT_OFFLOAD_OFF;
	expect("check", 0, "nothing was found\n", "");
	mock_write(
		"proc/crypto",
		"name         : gcm(aes)\ndriver       : gcm_base(ctr(aes-generic),ghash-generic)\n"
		"priority     : 100\n");
	expect("check", 1,
	       "gcm(aes) is served by gcm_base(ctr(aes-generic),ghash-generic), the generic C code: "
	       "load the driver for this processor (x86: modprobe aesni_intel)\n",
	       "");
	mock_write("proc/crypto",
		   "name         : gcm(aes)\ndriver       : gcm_base(ctr(aes-lib),ghash-lib)\n"
		   "priority     : 100\n\n"
		   "name         : gcm(aes)\ndriver       : gcm-aes-lib\npriority     : 110\n");
	expect("check", 1,
	       "gcm(aes) is served by gcm-aes-lib, the kernel's library, block by block: "
	       "load the driver for this processor (x86: modprobe aesni_intel)\n",
	       "");
	mock_write("proc/crypto",
		   "name         : gcm(aes)\ndriver       : gcm-aes-lib\npriority     : 110\n\n"
		   "name         : gcm(aes)\ndriver       : generic-gcm-aesni\n"
		   "priority     : 400\n");
	expect("check", 0, "nothing was found\n", "");
	ctl.feature = system_feature;
}

static void json_is_valid_everywhere(void **state)
{
	static const char *const lines[] = {
		"list --json",	   "status --json", "status 443 --json",  "conns --json",
		"services --json", "reload --json", "disable 443 --json", "--version --json",
	};
	json_t *value;
	size_t i;

	(void)state;
	fill_status();
	mock_daemon_start("ok", STATUS_REPLY);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		value = run_json(lines[i]);
		assert_int_equal(mock.status, 0);
		json_decref(value);
	}
	mock_daemon_stop();
	value = run_json("status --json");
	assert_true(json_is_null(json_object_get(value, "helper")));
	json_decref(value);
}

/* Its workers may serve: nobody is told that the ports are shut. */
static void daemon_that_does_not_answer_is_no_absent_one(void **state)
{
	static const struct {
		const char *reply, *why;
	} cases[] = {
		{ "[1,2", "what tlsportd answers is no status" },
		{ "[1,2]", "what tlsportd answers is no status" },
		{ "error: busy", "busy" },
		{ NULL, "tlsportd closed the connection without an answer" },
	};
	json_t *value;
	char line[128];
	size_t i;

	(void)state;
	fill_status();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mock_daemon_start("ok", cases[i].reply);
		expect("status", 0, NULL, "");
		assert_null(strstr(mock.out, "not running"));
		snprintf(line, sizeof(line), "helper   unknown: %s\n", cases[i].why);
		assert_non_null(strstr(mock.out, line));
		expect("list", 0, NULL, "");
		snprintf(line, sizeof(line), "unknown: %s", cases[i].why);
		assert_non_null(strstr(mock.out, line));
		assert_null(strstr(mock.out, "shut"));
		value = run_json("status --json");
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(value, "helper"), "error")),
				    cases[i].why);
		json_decref(value);
		mock_daemon_stop();
	}
	expect("status", 0, NULL, "");
	assert_non_null(strstr(mock.out, "helper   not running: all ports are shut"));
}

static void conns_are_described(void **state)
{
	struct tlsport_nl_conn *conn = &mock.conns[mock.conn_count++];
	json_t *value, *row;

	(void)state;
	*conn = (struct tlsport_nl_conn){
		.id = 42,
		.port = 443,
		.state = TLSPORT_CONN_OPEN,
		.age = 61500,
		.local = { 4, { 192, 0, 2, 1 } },
		.peer = { 16, { 0x20, 1, 0x0d, 0xb8, [15] = 9 } },
		.peer_port = 5555,
		.version = 0x0304,
		.suite = 0x1301,
		.resumed = true,
		.tx_mode = TLSPORT_MODE_SW,
		.tx_sw = TLSPORT_SW_TLS13,
		.device = "eth0",
		.rx_mode = TLSPORT_MODE_NIC,
	};
	strcpy(conn->server_name, "a\033[1mb.example");
	strcpy(conn->driver, "generic-gcm-aesni");
	expect("conns", 0,
	       "ID  STATE  PEER                LOCAL          TLS  SUITE                   TX  WHY    RX   WHY  DEVICE  DRIVER             RESUMED  NAME            AGE\n"
	       "42  open   [2001:db8::9]:5555  192.0.2.1:443  1.3  TLS_AES_128_GCM_SHA256  sw  tls13  nic  -    eth0    generic-gcm-aesni  yes      a?[1mb.example  1m01s\n",
	       "");
	value = run_json("conns https --json");
	row = json_array_get(json_object_get(value, "connections"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "age_ms")), 61500);
	assert_string_equal(text_of(row, "server_name"), "a?[1mb.example");
	assert_string_equal(text_of(row, "tx_why"), "tls13");
	assert_true(json_is_null(json_object_get(row, "rx_why")));
	json_decref(value);
	value = run_json("conns 444 --json");
	assert_int_equal(json_array_size(json_object_get(value, "connections")), 0);
	json_decref(value);
}

/* daemon.c */

static void reload_passes_the_answer_on(void **state)
{
	(void)state;
	mock_daemon_start("ok", NULL);
	expect("reload", 0, "", "");
	mock_daemon_stop();
	mock_daemon_start("error: a.conf:1: gone\nb.conf:2: wrong\n", NULL);
	expect("reload", 1, "",
	       "tlsportctl: tlsportd did not reload: a.conf:1: gone; b.conf:2: wrong\n");
}

static void upgrade_passes_the_answer_on(void **state)
{
	(void)state;
	mock_daemon_start("ok", "{\"pid\": 7, \"version\": \"1.2.3\"}");
	expect("upgrade", 0, "tlsportd 1.2.3 (pid 7) has taken over\n", "");
	mock_daemon_stop();
	mock_daemon_start("ok", "junk");
	expect("upgrade", 1, "",
	       "tlsportctl: tlsportd has taken over, and does not say who it is\n");
	mock_daemon_stop();
	mock_daemon_start("error: /usr/sbin/tlsportd: Exec format error\nthe old tlsportd goes on",
			  NULL);
	expect("upgrade", 1, "",
	       "tlsportctl: upgrade: /usr/sbin/tlsportd: Exec format error; the old tlsportd goes on\n");
}

static void check_config_asks_tlsportd(void **state)
{
	char program[256];
	json_t *value;

	(void)state;
	snprintf(program, sizeof(program), "%s/tlsportd", mock.root);
	mock_write("tlsportd",
		   "#!/bin/sh\necho \"$1 $2\" >&2\ncase $3 in */etc) exit 0;; esac\nexit 1\n");
	chmod(program, 0755);
	ctl.tlsportd = program;
	expect("check-config", 0, "the configuration is valid\n", "-t --config-dir\n");
	mock_write("tlsportd", "#!/bin/sh\necho 'port 443: bad' >&2\nexit 1\n");
	chmod(program, 0755);
	expect("check-config", 1, "", "port 443: bad\n");
	value = run_json("check-config --json");
	assert_true(json_is_false(json_object_get(value, "valid")));
	json_decref(value);
}

#define PROMISE(test) cmocka_unit_test_setup_teardown(test, mock_setup, mock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROMISE(bad_input_is_one_exact_line),
		PROMISE(bad_namespace_is_told),
		PROMISE(errors_are_json_too),
		PROMISE(missing_module_is_said),
		PROMISE(missing_right_is_said_and_nothing_written),
		PROMISE(there_are_no_core_dumps),
		PROMISE(every_command_has_help),
		PROMISE(services_have_their_ports),
		PROMISE(services_need_no_module),
		PROMISE(dropin_keeps_what_is_not_changed),
		PROMISE(replaced_list_goes_with_all_its_lines),
		PROMISE(a_list_goes_on_behind_comments),
		PROMISE(what_is_configured_by_hand_is_left_alone),
		PROMISE(dropin_that_cannot_be_written_stays),
		PROMISE(dropin_may_begin_with_a_mark),
		PROMISE(dropin_that_is_no_file_is_told),
		PROMISE(enable_goes_in_this_order),
		PROMISE(enable_makes_a_certificate),
		PROMISE(enable_keeps_a_list_of_several_lines),
		PROMISE(enable_reads_all_of_a_list),
		PROMISE(enable_tells_of_a_version_that_falls_away),
		PROMISE(enable_warns_of_an_address_of_others),
		PROMISE(enable_takes_numbers_and_equal_signs),
		PROMISE(enable_again_changes_what_is_given),
		PROMISE(enable_checks_given_against_kept),
		PROMISE(enable_takes_a_setting_out),
		PROMISE(enable_makes_paths_absolute),
		PROMISE(enable_takes_a_key_in_a_token),
		PROMISE(bad_certificate_changes_nothing),
		PROMISE(files_that_tlsportd_does_not_see_are_refused),
		PROMISE(authorities_of_clients_are_checked_first),
		PROMISE(certificate_warning_is_passed_on),
		PROMISE(kernel_refusal_is_its_own_sentence),
		PROMISE(daemon_refusal_of_a_new_port_leaves_nothing),
		PROMISE(daemon_refusal_puts_the_old_settings_back),
		PROMISE(what_tlsportd_has_taken_is_taken_back),
		PROMISE(true_refusal_is_told_once),
		PROMISE(daemon_refusal_leaves_nothing_widened),
		PROMISE(enable_widens_until_the_daemon_has_reloaded),
		PROMISE(enable_without_a_daemon_widens_for_a_moment),
		PROMISE(silent_daemon_is_a_refusal),
		PROMISE(without_daemon_the_port_is_shut),
		PROMISE(runtime_goes_to_the_run_directory),
		PROMISE(refused_permanent_change_brings_runtime_back),
		PROMISE(shut_listener_names_its_process),
		PROMISE(many_holders_are_counted),
		PROMISE(foreign_and_unknown_listeners_are_told),
		PROMISE(disable_goes_in_this_order),
		PROMISE(disable_removes_what_self_signed_made),
		PROMISE(disable_removes_all_that_self_signed_made),
		PROMISE(disable_keeps_keys_that_others_use),
		PROMISE(failed_disable_changes_nothing),
		PROMISE(dropin_can_go_without_the_module),
		PROMISE(list_tells_who_is_served),
		PROMISE(states_follow_kernel_and_daemon),
		PROMISE(status_shows_counters_with_reasons),
		PROMISE(check_finds_what_is_off),
		PROMISE(json_is_valid_everywhere),
		PROMISE(daemon_that_does_not_answer_is_no_absent_one),
		PROMISE(conns_are_described),
		PROMISE(reload_passes_the_answer_on),
		PROMISE(upgrade_passes_the_answer_on),
		PROMISE(check_config_asks_tlsportd),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tlsportctl", tests, NULL, NULL);
}
