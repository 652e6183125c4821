// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * disable and list.  (enable is a file of its own: it can be undone.)
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/cert_check.h"
#include "../common/cert_dir.h"
#include "../common/text_file.h"

/* A drop-in that is to be removed; kept in memory in case it must come back. */
struct removal {
	char path[CTL_PATH_LEN];
	struct dropin old;
};

static int load_removal(struct removal *removal, const char *dir, uint16_t port)
{
	int ret;

	dropin_path(dir, port, removal->path, sizeof(removal->path));
	ret = dropin_load(removal->path, &removal->old);
	if (ret)
		return fail("cannot read %s: %s", removal->path, text_file_error(-ret));
	if (dropin_is_foreign(&removal->old, port))
		return fail(
			"%s configures other ports too: edit it by hand and run 'tlsportctl reload'",
			removal->path);
	return CTL_DONE;
}

static int remove_dropin(const struct removal *removal)
{
	if (removal->old.exists && unlink(removal->path))
		return fail("cannot remove %s: %s", removal->path, strerror(errno));
	return CTL_DONE;
}

static void put_back(const struct removal *removal)
{
	int ret = removal->old.exists ? dropin_restore(removal->path, &removal->old) : 0;

	if (ret)
		warn("%s was not put back: %s", removal->path, strerror(-ret));
}

/* tlsportd has no say in it: the kernel does not hand it connections any more. */
static bool reload_after_removal(uint16_t port)
{
	enum daemon_answer answer;
	char *text;

	answer = daemon_reload(&text);
	if (answer == DAEMON_ERROR)
		warn("port %u is disabled, but tlsportd did not reload: %s", port,
		     text ? text : "out of memory");
	free(text);
	return answer != DAEMON_ERROR;
}

struct use {
	const char *path;
	struct stat file;
	bool found;
};

static bool is_file(const char *path, const struct stat *file)
{
	struct stat st;

	return !stat(path, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

/* By whatever path: a link, or the same directory under another name. */
static bool is_in(const char *path, const struct stat *file)
{
	struct cert_dir dir;
	char why[CTL_ERROR_LEN];
	bool found = false;
	struct stat st;
	size_t i;

	if (stat(path, &st) || !S_ISDIR(st.st_mode))
		return false;
	if (cert_dir_list(path, &dir, why, sizeof(why)))
		return true; /* who knows */
	for (i = 0; i < dir.count; i++)
		found |= is_file(dir.pairs[i].cert, file) ||
			 (dir.pairs[i].key && is_file(dir.pairs[i].key, file));
	cert_dir_free(&dir);
	return found;
}

/* Another port may have been given the file, or all that are beside it. */
static void look_for_use(uint16_t port, const char *file, void *arg)
{
	char value[CTL_PATH_LEN];
	struct dropin dropin;
	struct use *use = arg;

	(void)port;
	if (dropin_load(file, &dropin)) {
		use->found = true; /* who knows */
		return;
	}
	for (size_t i = 0; i < dropin.nlines && !use->found; i++) {
		use->found = strstr(dropin.lines[i], use->path) ||
			     (strstr(dropin.lines[i], "cert-dir") &&
			      strstr(dropin.lines[i], "/" SELF_SIGNED_DIR));
		if (dropin_value(dropin.lines[i], value, sizeof(value)))
			use->found |= is_file(value, &use->file) || is_in(value, &use->file);
	}
	dropin_free(&dropin);
}

static bool is_used(const char *path)
{
	struct use use = { .path = path };

	if (stat(path, &use.file))
		return true; /* nothing to remove */
	dropin_each(look_for_use, &use);
	return use.found;
}

/* Who had the key certified puts that certificate in its place: then neither is ours any more. */
static bool is_self_signed(const char *cert, const char *key)
{
	struct cert_facts facts = { 0 };
	char why[CTL_ERROR_LEN];

	return !cert_check(cert, key, NULL, &facts, why, sizeof(why)) && facts.self_signed;
}

static bool names_self_signed(const struct dropin *dropin, uint16_t port)
{
	char cert[CTL_PATH_LEN], key[CTL_PATH_LEN];

	return dropin_get(dropin, "cert", cert, sizeof(cert)) && enable_wrote(port, cert) &&
	       dropin_get(dropin, "key", key, sizeof(key)) && enable_wrote(port, key);
}

/*
 * Keys that --self-signed made for this port, once or more often, are of no more use than its
 * drop-in.
 */
static void remove_self_signed(const struct removal *removal, uint16_t port)
{
	char cert[CTL_PATH_LEN], key[CTL_PATH_LEN];

	if (!names_self_signed(&removal->old, port))
		return;
	for (unsigned int i = 0; enable_names(port, i, cert, key); i++) {
		if (is_used(cert) || is_used(key) || !is_self_signed(cert, key))
			continue;
		if (unlink(cert) || unlink(key))
			warn("%s and %s were not removed: %s", cert, key, strerror(errno));
	}
}

static int disable_port(struct tlsport_nl *nl, bool loaded, uint16_t port,
			struct removal *permanent, struct removal *runtime)
{
	char elsewhere[CTL_PATH_LEN];
	struct tlsport_nl_port old;
	bool registered = false;
	int ret;

	if (dropin_elsewhere(port, elsewhere, sizeof(elsewhere)))
		return fail(
			"port %u is configured by hand in %s: remove it there and run 'tlsportctl reload'",
			port, elsewhere);
	ret = load_removal(permanent, ctl.config_dir, port);
	if (!ret)
		ret = load_removal(runtime, ctl.run_dir, port);
	if (ret)
		return ret;
	if (loaded) {
		ret = tlsport_nl_ops->port_get(nl, port, &old);
		if (ret && ret != -ENOENT)
			return fail("port %u: %s", port, nl->error);
		registered = !ret;
	}
	if (!registered && !permanent->old.exists && !runtime->old.exists)
		return loaded ? fail("port %u is not enabled", port) : fail("%s", nl->error);

	/* The drop-ins first: a tlsportd that starts meanwhile must not register again. */
	ret = remove_dropin(permanent);
	if (!ret)
		ret = remove_dropin(runtime);
	if (!ret && registered && tlsport_nl_ops->port_del(nl, port))
		ret = fail("port %u: %s", port, nl->error);
	if (ret) {
		put_back(permanent);
		put_back(runtime);
		return ret;
	}
	if (reload_after_removal(port)) {
		remove_self_signed(permanent, port);
		remove_self_signed(runtime, port);
	}
	output_line("port %u is disabled: new listening sockets are plain TCP", port);
	output_json(json_pack("{s:i, s:s}", "port", (int)port, "state", "disabled"));
	return CTL_DONE;
}

int disable_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	struct removal permanent = { 0 }, runtime = { 0 };
	struct tlsport_nl nl;
	struct args args;
	uint16_t port;
	int ret, lock;

	ret = args_parse(argc, argv, none, 1, &args);
	if (ret)
		return ret;
	if (!args.nwords)
		return usage("disable needs a port: tlsportctl disable PORT");
	ret = args_port(args.words[0], &port);
	if (ret)
		return ret;
	/* Without the module nothing is registered, but a drop-in may be removed. */
	ret = tlsport_nl_ops->open(&nl);
	if (ret && ret != -ENOENT)
		return fail("%s", nl.error);
	lock = dropin_lock(ctl.config_dir);
	ret = disable_port(&nl, !ret, port, &permanent, &runtime);
	if (lock >= 0)
		close(lock);
	dropin_free(&permanent.old);
	dropin_free(&runtime.old);
	tlsport_nl_ops->close(&nl);
	return ret;
}

/* Ports by number: those of the kernel and those that are configured. */
static void note_port(uint16_t port, const char *path, void *arg)
{
	bool *wanted = arg;

	(void)path;
	wanted[port] = true;
}

static json_t *describe_port(const struct tlsport_nl_port *kernel, const json_t *daemon,
			     uint16_t port)
{
	const json_t *entry = daemon_port(daemon, port);
	struct port_state state;

	port_state(kernel, daemon, port, &state);
	return json_pack("{s:i, s:s?, s:s, s:o, s:O?, s:O?, s:O?, s:O?, s:O?}", "port", (int)port,
			 "service", service_name(port), "state", state.state, "why",
			 output_string(state.why), "cert", json_object_get(entry, "cert"),
			 "subject", json_object_get(entry, "subject"), "not_after",
			 json_object_get(entry, "not_after"), "key_type",
			 json_object_get(entry, "key_type"), "certificates",
			 json_object_get(entry, "certificates"));
}

/* Of several certificates: the one that expires first, with how many more there are. */
static void sum_up(json_t *row)
{
	const json_t *all = json_object_get(row, "certificates"), *one, *first = NULL;
	char text[CTL_ERROR_LEN];
	size_t i, used;

	json_array_foreach(all, i, one) {
		if (json_is_true(json_object_get(one, "usable")) &&
		    (!first || json_integer_value(json_object_get(one, "not_after")) <
				       json_integer_value(json_object_get(first, "not_after"))))
			first = one;
	}
	if (!first)
		return;
	used = snprintf(text, sizeof(text), "%s%s",
			json_is_true(json_object_get(first, "self_signed")) ? "SELF-SIGNED " : "",
			json_string_value(json_object_get(first, "subject")));
	if (json_array_size(all) > 1 && used < sizeof(text))
		snprintf(text + used, sizeof(text) - used, " +%zu", json_array_size(all) - 1);
	json_object_set_new(row, "subject", output_string(text));
	json_object_set(row, "not_after", json_object_get(first, "not_after"));
}

/* "shut: tlsportd is not running" */
static void shorten(json_t *rows)
{
	const char *why;
	char text[CTL_ERROR_LEN + 32];
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		sum_up(row);
		why = json_string_value(json_object_get(row, "why"));
		if (!why || !*why)
			continue;
		snprintf(text, sizeof(text), "%s: %s",
			 json_string_value(json_object_get(row, "state")), why);
		json_object_set_new(row, "state", output_string(text));
	}
}

static const struct column list_columns[] = {
	{ "port", "PORT", NULL },
	{ "service", "SERVICE", NULL },
	{ "state", "STATE", NULL },
	{ "subject", "CERTIFICATE", NULL },
	{ "not_after", "EXPIRES", output_time },
};

int list_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	static bool wanted[65536];
	struct port_list list;
	struct tlsport_nl nl;
	json_t *rows, *daemon;
	struct args args;
	unsigned int port;
	size_t i;
	int ret;

	ret = args_parse(argc, argv, none, 0, &args);
	if (ret)
		return ret;
	if (tlsport_nl_ops->open(&nl))
		return fail("%s", nl.error);
	if (port_list_get(&nl, &list)) {
		ret = fail("%s", nl.error);
		goto close;
	}
	memset(wanted, 0, sizeof(wanted));
	dropin_each(note_port, wanted);
	for (i = 0; i < list.count; i++)
		wanted[list.ports[i].number] = true;
	daemon = daemon_status();
	rows = json_array();
	for (port = 1; port < 65536; port++)
		if (wanted[port])
			json_array_append_new(rows, describe_port(port_list_find(&list, port),
								  daemon, port));
	if (!ctl.json) {
		shorten(rows);
		output_table(list_columns, sizeof(list_columns) / sizeof(list_columns[0]), rows);
	}
	output_json(json_pack("{s:o}", "ports", rows));
	json_decref(daemon);
	free(list.ports);
close:
	tlsport_nl_ops->close(&nl);
	return ret;
}
