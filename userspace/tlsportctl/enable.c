// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * enable: the one command that changes three things, the drop-in, the kernel
 * and tlsportd.  Either all three are changed or none.
 *
 * The order keeps the port from ever being in plaintext once it was meant to
 * be TLS: what can fail is tried first (options, certificate, module, writing
 * the new drop-in under a name that nobody reads), then the kernel shuts the
 * port, then the drop-in gets its name, then tlsportd reads it and serves.
 */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/cert_check.h"
#include "../common/cert_dir.h"
#include "../common/client_ca.h"
#include "../common/port_config.h"
#include "../common/self_signed.h"
#include "../common/text_file.h"
#include "../common/token_uri.h"

#define FIRST_LINE "# Written by tlsportctl enable; see tlsport.conf(5)."

/**
 * struct wanted - settings of the port
 * @given: on the command line; absolute where they are paths; "": the default again
 * @config: those, and those of the drop-in that are kept
 */
struct wanted {
	const char *given[PORT_KEYS];
	char paths[PORT_KEYS][CTL_PATH_LEN];
	struct port_config config;
};

struct change {
	struct tlsport_nl nl;
	uint16_t port;
	/* The drop-in to write. */
	char path[CTL_PATH_LEN];
	char permanent_path[CTL_PATH_LEN];
	struct dropin old;
	struct dropin new;
	/* That it is made from, if it exists. */
	const char *source;
	/* The runtime drop-in that a permanent change replaces. */
	char runtime_path[CTL_PATH_LEN];
	struct dropin old_runtime;
	bool registered;
	struct tlsport_nl_port old_port;
	/* What was configured before; 0 of .given: nothing that is known. */
	struct tlsport_nl_policy old_policy;
	struct tlsport_nl_policy policy;
};

/* Options behind the settings. */
enum {
	OPTION_RUNTIME = PORT_KEYS,
	OPTION_SELF_SIGNED,
	OPTION_NAME,
	OPTIONS,
};

static const struct args_option *enable_options(void)
{
	static struct args_option options[OPTIONS + 1] = {
		[OPTION_RUNTIME] = { "runtime", .flag = true },
		[OPTION_SELF_SIGNED] = { "self-signed", .flag = true },
		[OPTION_NAME] = { .name = "name" },
	};
	int i;

	for (i = 0; i < PORT_KEYS; i++)
		options[i] = (struct args_option){ port_keys[i].name, .empty = true };
	return options;
}

/* Not realpath(): a link such as letsencrypt's live/ must stay one. */
static const char *absolute_path(const char *file, char *path)
{
	char cwd[CTL_PATH_LEN];

	if (file[0] == '/' || !getcwd(cwd, sizeof(cwd)) ||
	    (size_t)snprintf(path, CTL_PATH_LEN, "%s/%s", cwd, file) >= CTL_PATH_LEN)
		return file;
	return path;
}

/* Where --self-signed writes: certificate and key of a port begin with it, or NULL */
static const char *self_signed_stem(uint16_t port, char *stem)
{
	char path[CTL_PATH_LEN];
	const char *dir = absolute_path(ctl.config_dir, path);

	if (strlen(dir) > CTL_PATH_LEN - 64)
		return NULL;
	snprintf(stem, CTL_PATH_LEN, "%.4032s/" SELF_SIGNED_DIR "/%u", dir, port);
	return stem;
}

bool enable_wrote(uint16_t port, const char *path)
{
	char stem[CTL_PATH_LEN];
	size_t len;

	if (!self_signed_stem(port, stem))
		return false;
	len = strlen(stem);
	return !strncmp(path, stem, len) && (path[len] == '.' || path[len] == '-') &&
	       !strchr(path + len, '/');
}

bool enable_names(uint16_t port, unsigned int i, char *cert, char *key)
{
	char stem[CTL_PATH_LEN], number[8] = "";

	if (i >= 1000 || !self_signed_stem(port, stem))
		return false;
	if (i)
		snprintf(number, sizeof(number), "-%u", i);
	snprintf(cert, CTL_PATH_LEN, "%.4080s%s.crt", stem, number);
	snprintf(key, CTL_PATH_LEN, "%.4080s%s.key", stem, number);
	return true;
}

/* Names that no file has yet: those of a certificate in force must not change before all is checked. */
static int free_names(uint16_t port, char *cert, char *key)
{
	unsigned int i;

	for (i = 0; enable_names(port, i, cert, key); i++)
		if (access(cert, F_OK) && access(key, F_OK))
			return dropin_make_directory(cert);
	return i ? -EEXIST : -ENAMETOOLONG;
}

static void drop_self_signed(const struct wanted *wanted)
{
	unlink(wanted->paths[port_key_index("cert")]);
	unlink(wanted->paths[port_key_index("key")]);
}

/* --self-signed: makes the certificate, and gives it as --cert and --key do. */
static int make_self_signed(const struct change *change, const char *names, struct args *args,
			    struct wanted *wanted)
{
	char *cert = wanted->paths[port_key_index("cert")];
	char *key = wanted->paths[port_key_index("key")];
	char host[256], why[CTL_ERROR_LEN];
	int ret;

	if (!names) {
		if (gethostname(host, sizeof(host) - 1))
			return fail("this machine has no name: give one with --name");
		host[sizeof(host) - 1] = '\0';
		names = host;
	}
	ret = free_names(change->port, cert, key);
	if (ret)
		return fail("%s/self-signed: %s", ctl.config_dir, strerror(-ret));
	if (self_signed_write(cert, key, names, why, sizeof(why))) {
		drop_self_signed(wanted); /* one of the two may be there */
		return fail("%s", why);
	}
	args->values[port_key_index("cert")] = cert;
	args->values[port_key_index("key")] = key;
	return CTL_DONE;
}

static int check_self_signed(const struct args *args)
{
	bool self_signed = args->values[OPTION_SELF_SIGNED];

	if (args->values[OPTION_NAME] && !self_signed)
		return usage("--name is for --self-signed");
	if (self_signed &&
	    (args->values[port_key_index("cert")] || args->values[port_key_index("key")]))
		return usage("--self-signed makes certificate and key: without --cert and --key");
	return CTL_DONE;
}

/* What the command line has, by itself: wrong use if it is wrong. */
static int take_given(const struct args *args, struct wanted *wanted)
{
	char why[PORT_CONFIG_ERROR_LEN];
	int i, ret = CTL_DONE;

	port_config_free(&wanted->config);
	port_config_init(&wanted->config, 0);
	for (i = 0; i < PORT_KEYS && !ret; i++) {
		wanted->given[i] = args->values[i];
		if (!wanted->given[i] || !*wanted->given[i])
			continue;
		if (port_keys[i].path && !token_uri_is(args->values[i]))
			wanted->given[i] = absolute_path(args->values[i], wanted->paths[i]);
		if (port_config_set(&wanted->config, i, wanted->given[i], why))
			ret = usage("--%s", why);
	}
	return ret;
}

/* Of the drop-in as it is; with what is wrong it is none. */
static void note_old_policy(struct change *change)
{
	char value[CTL_PATH_LEN], why[PORT_CONFIG_ERROR_LEN];
	struct port_config config;
	bool good = change->new.exists;
	int i;

	port_config_init(&config, change->port);
	for (i = 0; i < PORT_KEYS && good; i++)
		if (dropin_get(&change->new, port_keys[i].name, value, sizeof(value)))
			good = !port_config_set(&config, i, value, why);
	if (good && !port_config_finish(&config, why))
		change->old_policy = port_config_policy(&config);
	port_config_free(&config);
}

/* Is it one of the words of @text?  "offload" is none of "offload-tls13". */
static bool is_named(const char *key, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t len;

	for (; *text; text += len + strcspn(text + len, letters)) {
		len = strspn(text, letters);
		if (len == strlen(key) && !strncmp(text, key, len))
			return true;
	}
	return false;
}

/* What does not go together may be in part what nobody has given now: where it is from, or "". */
static const char *tell_source(const struct change *change, const struct wanted *wanted,
			       const char *why, char *text, size_t len)
{
	const char *key;
	char value[2];
	int i;

	text[0] = '\0';
	for (i = 0; i < PORT_KEYS && !*text; i++) {
		key = port_keys[i].name;
		if (!wanted->given[i] && is_named(key, why) &&
		    dropin_get(&change->new, key, value, sizeof(value)))
			snprintf(text, len, " (%s is in %s: --%s \"\" takes it out)", key,
				 change->source, key);
	}
	return text;
}

/* With what is kept: only then can be said what does not go together. */
static int take_stored(const struct change *change, struct wanted *wanted)
{
	char value[CTL_PATH_LEN], why[PORT_CONFIG_ERROR_LEN], source[CTL_PATH_LEN];
	int i;

	port_config_free(&wanted->config);
	port_config_init(&wanted->config, change->port);
	for (i = 0; i < PORT_KEYS; i++) {
		const char *want = wanted->given[i];

		if (!want && dropin_get(&change->new, port_keys[i].name, value, sizeof(value)))
			want = value;
		if (want && *want && port_config_set(&wanted->config, i, want, why))
			return fail("%s%s", why,
				    tell_source(change, wanted, why, source, sizeof(source)));
	}
	if (port_config_finish(&wanted->config, why)) {
		/* what is kept is no wrong use of the command */
		if (!change->new.exists)
			return usage("%s", why);
		return fail("%s%s", why, tell_source(change, wanted, why, source, sizeof(source)));
	}
	if (port_config_note(&wanted->config, why, sizeof(why)))
		warn("port %u: %s", change->port, why);
	if (port_config_absent(&wanted->config, why, sizeof(why)))
		warn("port %u: this machine does not have address %s now; at addresses that are not named the port is shut",
		     change->port, why);
	if (!wanted->config.cert && !wanted->config.cert_dir)
		return fail(
			"port %u %s: name its certificate with --cert FILE, or more with --cert-dir DIR",
			change->port,
			change->new.exists ? "would have no certificate" : "is not enabled yet");
	if (wanted->config.key && !wanted->config.cert)
		return fail("port %u: --key without --cert%s", change->port,
			    tell_source(change, wanted, "key", source, sizeof(source)));
	return CTL_DONE;
}

/* The check speaks of "key file" when it is not the certificate's file that it means. */
static const char *warned_file(const struct cert_pair *pair, const char *warning)
{
	return pair->key && !strncmp(warning, "key file", 8) ? pair->key : pair->cert;
}

static int check_certificate(const struct port_config *port, const struct cert_pair *pair)
{
	struct cert_facts facts = { 0 };
	char why[CTL_ERROR_LEN] = "";
	unsigned int i;

	if (cert_check(pair->cert, pair->key, port->passphrase, &facts, why, sizeof(why)))
		return fail("%s", why);
	if (port->profile == PROFILE_STRICT && facts.fault[0])
		return fail("%s: %s (profile strict)", pair->cert, facts.fault);
	for (i = 0; i < facts.warning_count; i++)
		warn("%s: %s", warned_file(pair, facts.warnings[i]), facts.warnings[i]);
	return CTL_DONE;
}

static int check_clients(const struct port_config *port)
{
	struct client_ca clients;
	char why[CTL_ERROR_LEN];

	if (port->client_auth == CLIENT_AUTH_NONE)
		return CTL_DONE;
	if (client_ca_read(port->client_ca, port->client_crl, &clients, why, sizeof(why)))
		return fail("%s", why);
	if (why[0])
		warn("%s", why);
	client_ca_free(&clients);
	return CTL_DONE;
}

static int check_certificates(const struct port_config *port)
{
	const struct cert_pair pair = { port->cert, port->key };
	char why[CTL_ERROR_LEN];
	struct cert_dir dir;
	int ret = CTL_DONE;
	size_t i;

	if (port->cert)
		ret = check_certificate(port, &pair);
	if (ret || !port->cert_dir)
		return ret;
	if (cert_dir_list(port->cert_dir, &dir, why, sizeof(why)))
		return fail("%s", why);
	for (i = 0; i < dir.count && !ret; i++)
		ret = check_certificate(port, &dir.pairs[i]);
	cert_dir_free(&dir);
	return ret;
}

/* Nothing that is in ours is there for it then: PrivateTmp= in its unit. */
static bool daemon_has_own(const char *dir)
{
	json_t *status = daemon_status();
	struct stat ours, theirs;
	char path[CTL_PATH_LEN];

	snprintf(path, sizeof(path), "%s/%lld/root%s", ctl.proc_dir,
		 json_integer_value(json_object_get(status, "pid")), dir);
	json_decref(status);
	return !stat(dir, &ours) && !stat(path, &theirs) &&
	       (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino);
}

/* We see them, but who is to read them is tlsportd. */
static int check_reach(const struct wanted *wanted)
{
	static const char *const dirs[] = { "/tmp", "/var/tmp" };
	char real[PATH_MAX];
	size_t d, len;
	int i;

	for (i = 0; i < PORT_KEYS; i++) {
		const char *file = wanted->given[i];

		if (!file || !port_keys[i].path || !realpath(file, real))
			continue;
		for (d = 0; d < sizeof(dirs) / sizeof(dirs[0]); d++) {
			len = strlen(dirs[d]);
			if (!strncmp(real, dirs[d], len) && real[len] == '/' &&
			    daemon_has_own(dirs[d]))
				return fail(
					"%s: tlsportd has a %s of its own (PrivateTmp=yes), where it is not: put it elsewhere",
					file, dirs[d]);
		}
	}
	return CTL_DONE;
}

static int load_dropin(const char *path, uint16_t port, struct dropin *dropin)
{
	int ret = dropin_load(path, dropin);

	if (ret)
		return fail("cannot read %s: %s", path, text_file_error(-ret));
	if (dropin_is_foreign(dropin, port))
		return fail(
			"%s configures other ports too: edit it by hand and run 'tlsportctl reload'",
			path);
	return CTL_DONE;
}

/* What is in force is changed: a runtime drop-in goes before the permanent one. */
static int load_dropins(struct change *change, bool runtime)
{
	int ret;

	dropin_path(ctl.config_dir, change->port, change->permanent_path,
		    sizeof(change->permanent_path));
	dropin_path(ctl.run_dir, change->port, change->runtime_path, sizeof(change->runtime_path));
	dropin_path(runtime ? ctl.run_dir : ctl.config_dir, change->port, change->path,
		    sizeof(change->path));
	ret = load_dropin(change->path, change->port, &change->old);
	if (!ret && !runtime)
		ret = load_dropin(change->runtime_path, change->port, &change->old_runtime);
	change->source = change->runtime_path;
	if (!ret)
		ret = load_dropin(change->source, change->port, &change->new);
	if (ret || change->new.exists)
		return ret;
	change->source = change->permanent_path;
	return load_dropin(change->source, change->port, &change->new);
}

static int set_lines(struct change *change, const struct wanted *wanted)
{
	int i, ret = 0;

	if (!change->new.exists)
		ret = dropin_add(&change->new, FIRST_LINE);
	for (i = 0; i < PORT_KEYS && !ret; i++) {
		if (wanted->given[i] && *wanted->given[i])
			ret = dropin_set(&change->new, port_keys[i].name, wanted->given[i]);
		else if (wanted->given[i])
			dropin_unset(&change->new, port_keys[i].name);
	}
	return ret ? fail("out of memory") : CTL_DONE;
}

/*
 * As it was; but tlsportd, which was amid a reload perhaps, may have widened it for a moment, and
 * a refused reload does not narrow it.
 */
static struct tlsport_nl_policy undone_policy(const struct change *change)
{
	struct tlsport_nl_policy policy = change->old_port.policy;
	const struct tlsport_nl_policy *old = &change->old_policy;

	if (!old->given || old->min_version > policy.max_version ||
	    old->max_version < policy.min_version)
		return policy;
	if (old->min_version > policy.min_version)
		policy.min_version = old->min_version;
	if (old->max_version < policy.max_version)
		policy.max_version = old->max_version;
	if (old->offload == TLSPORT_OFFLOAD_REQUIRE)
		policy.offload = old->offload;
	return policy;
}

static void undo_kernel(struct change *change)
{
	struct tlsport_nl_policy policy = undone_policy(change);
	int ret;

	if (change->registered)
		ret = tlsport_nl_ops->port_set(&change->nl, change->port, &policy);
	else
		ret = tlsport_nl_ops->port_del(&change->nl, change->port);
	if (ret)
		warn("port %u: the kernel's settings were not put back: %s", change->port,
		     change->nl.error);
}

static void undo_dropins(struct change *change)
{
	int ret = dropin_restore(change->path, &change->old);

	if (!ret && change->old_runtime.exists)
		ret = dropin_restore(change->runtime_path, &change->old_runtime);
	if (ret)
		warn("%s was not put back: %s", change->path, strerror(-ret));
}

static int commit_dropin(struct change *change)
{
	int ret = dropin_commit(change->path);

	/* A runtime drop-in would hide the permanent one. */
	if (!ret && change->old_runtime.exists && unlink(change->runtime_path))
		ret = -errno;
	return ret;
}

/* The number of what tlsportd has in force; -1: it does not say, and *@why why, or there is none. */
static json_int_t generation_in_force(char **why)
{
	json_t *status = daemon_status();
	const char *silent = daemon_silent(status);
	json_int_t number = -1;

	if (silent && why)
		*why = strdup(silent);
	if (status && !silent)
		number = json_integer_value(json_object_get(status, "generation"));
	json_decref(status);
	return number;
}

/**
 * struct refusal - tlsportd has not done what it was told
 * @why: NULL: it has, or there is none
 * @told: it was
 * @before: what it had in force then
 */
struct refusal {
	char *why;
	bool told;
	json_int_t before;
};

static int reload_daemon(struct change *change, bool *served, struct refusal *refusal)
{
	enum daemon_answer answer;
	char *text;

	refusal->before = generation_in_force(&refusal->why);
	if (refusal->why)
		return CTL_FAILED;
	refusal->told = true;
	answer = daemon_reload(&text);
	*served = answer == DAEMON_OK;
	if (answer == DAEMON_ABSENT)
		warn("tlsportd is not running: port %u is shut until it is started (systemctl start %s)",
		     change->port, netns_unit());
	if (answer == DAEMON_ERROR) {
		refusal->why = text ? text : strdup("out of memory");
		return CTL_FAILED;
	}
	free(text);
	return CTL_DONE;
}

/*
 * All is put back, but tlsportd may have read what was there before that: the kernel has refused a
 * port, this one or another, or there was no answer in time.
 */
static const char *settle_daemon(const struct refusal *refusal)
{
	json_int_t now = generation_in_force(NULL);
	bool again;
	char *text;

	if (now >= 0 && now == refusal->before)
		return "refused, nothing was changed";
	again = daemon_reload(&text) == DAEMON_OK;
	free(text);
	/* with the other port refused once more */
	if (again || (now >= 0 && generation_in_force(NULL) > now))
		return "failed, and has all as it was again";
	return "failed, and may have the new settings in force until 'tlsportctl reload' succeeds";
}

static int fail_refused(const struct change *change, const struct refusal *refusal)
{
	const char *what = "does not answer, nothing was changed";

	if (refusal->told)
		what = settle_daemon(refusal);
	return fail("port %u: tlsportd %s: %s", change->port, what, refusal->why);
}

/*
 * From here on something is changed: see the top of this file.  Until tlsportd has other
 * workers those that it has answer: it sets the port as it is to be when they drain.
 */
static int carry_out(struct change *change, bool *served)
{
	struct tlsport_nl_policy policy = change->policy;
	bool widened = change->registered && port_config_widen(&policy, &change->old_port.policy);
	struct refusal refusal = { .why = NULL };
	int ret;

	ret = dropin_stage(change->path, &change->new);
	if (ret)
		return fail("cannot write %s: %s", change->path, strerror(-ret));
	if (tlsport_nl_ops->port_set(&change->nl, change->port, &policy)) {
		ret = fail("port %u: %s", change->port, change->nl.error);
		goto discard;
	}
	ret = commit_dropin(change);
	if (ret) {
		ret = fail("cannot write %s: %s", change->path, strerror(-ret));
		goto undo;
	}
	ret = reload_daemon(change, served, &refusal);
	if (!ret && !*served && widened &&
	    tlsport_nl_ops->port_set(&change->nl, change->port, &change->policy))
		ret = fail("port %u: %s", change->port, change->nl.error);
	if (!ret)
		return CTL_DONE;
undo:
	undo_dropins(change);
	undo_kernel(change);
	if (refusal.why)
		ret = fail_refused(change, &refusal);
	free(refusal.why);
discard:
	dropin_discard(change->path);
	return ret;
}

static void tell_success(const struct change *change, bool served)
{
	const char *service = service_name(change->port);

	if (served)
		output_line("port %u%s%s%s speaks TLS", change->port, service ? " (" : "",
			    service ? service : "", service ? ")" : "");
	output_json(json_pack("{s:i, s:s?, s:s}", "port", (int)change->port, "service", service,
			      "state", served ? "enabled" : "shut"));
}

static int change_port(struct change *change, struct args *args, struct wanted *wanted)
{
	char elsewhere[CTL_PATH_LEN];
	bool served = false;
	int ret;

	if (dropin_elsewhere(change->port, elsewhere, sizeof(elsewhere)))
		return fail(
			"port %u is configured by hand in %s: change it there and run 'tlsportctl reload'",
			change->port, elsewhere);
	ret = load_dropins(change, args->values[OPTION_RUNTIME]);
	if (ret)
		return ret;
	note_old_policy(change);
	ret = take_stored(change, wanted);
	if (!ret)
		ret = check_certificates(&wanted->config);
	if (!ret)
		ret = check_clients(&wanted->config);
	if (!ret)
		ret = check_reach(wanted);
	if (!ret)
		ret = set_lines(change, wanted);
	if (ret)
		return ret;
	change->policy = port_config_policy(&wanted->config);

	ret = tlsport_nl_ops->port_get(&change->nl, change->port, &change->old_port);
	if (ret && ret != -ENOENT)
		return fail("port %u: %s", change->port, change->nl.error);
	change->registered = !ret;

	ret = carry_out(change, &served);
	if (ret)
		return ret;
	if (listener_warn(&change->nl, change->port))
		warn("port %u: its listening sockets could not be examined: %s", change->port,
		     change->nl.error);
	tell_success(change, served);
	return CTL_DONE;
}

static int change_self_signed(struct change *change, struct args *args, struct wanted *wanted)
{
	int ret = make_self_signed(change, args->values[OPTION_NAME], args, wanted);

	if (ret)
		return ret;
	ret = take_given(args, wanted);
	if (!ret)
		ret = change_port(change, args, wanted);
	if (ret)
		drop_self_signed(wanted);
	return ret;
}

int enable_command(int argc, char *argv[])
{
	struct change change = { 0 };
	struct wanted wanted = { 0 };
	struct args args;
	int ret, lock;

	ret = args_parse(argc, argv, enable_options(), 1, &args);
	if (ret)
		return ret;
	if (!args.nwords)
		return usage("enable needs a port: tlsportctl enable PORT --cert FILE --key FILE");
	ret = args_port(args.words[0], &change.port);
	if (ret)
		return ret;
	ret = check_self_signed(&args);
	if (ret)
		return ret;
	ret = take_given(&args, &wanted);
	if (!ret && tlsport_nl_ops->open(&change.nl))
		ret = fail("%s", change.nl.error);
	if (ret)
		goto out;

	lock = dropin_lock(ctl.config_dir);
	if (args.values[OPTION_SELF_SIGNED])
		ret = change_self_signed(&change, &args, &wanted);
	else
		ret = change_port(&change, &args, &wanted);
	if (lock >= 0)
		close(lock);
	dropin_free(&change.old);
	dropin_free(&change.old_runtime);
	dropin_free(&change.new);
	tlsport_nl_ops->close(&change.nl);
out:
	port_config_free(&wanted.config);
	return ret;
}
