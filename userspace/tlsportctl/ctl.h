/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tlsportctl, the administrator's tool.  A section a file, in the order in
 * which a command uses them: this header is the table of contents.
 */
#ifndef _TLSPORTCTL_CTL_H
#define _TLSPORTCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "../common/version.h"
#include "../netlink/tlsport_nl.h"

#define CTL_PATH_LEN  4096
#define CTL_ERROR_LEN 512
/* tlsportd reads certificates and asks the kernel while it reloads, and waits for its successor. */
#define CTL_DAEMON_TIMEOUT_S 30
#define CTL_DAEMON_REPLY_MAX (16 << 20)

/* Exit status, and what each command returns. */
enum ctl_status {
	CTL_DONE,
	CTL_FAILED,
	CTL_USAGE,
};

/* Of a network interface, as ethtool(8) shows it */
enum feature_state {
	FEATURE_ABSENT,
	FEATURE_OFF,
	FEATURE_ON,
};

/**
 * struct ctl - where things are; set by main.c, and by tests
 * @config_dir: permanent drop-ins are in ports.d below it
 * @run_dir: runtime drop-ins, and the control socket of tlsportd
 * @netns: name of the network namespace; NULL: this one
 * @proc_dir: procfs
 * @sys_dir: sysfs
 * @tlsportd: program that check-config runs; NULL: beside us, else in PATH
 * @feature: state of a feature of an interface
 * @json: print JSON
 * @out: standard output
 * @err: standard error
 */
struct ctl {
	const char *config_dir;
	const char *run_dir;
	const char *netns;
	const char *proc_dir;
	const char *sys_dir;
	const char *tlsportd;
	enum feature_state (*feature)(const char *device, const char *name);
	bool json;
	FILE *out;
	FILE *err;
};

extern struct ctl ctl;

/* main.c */

/**
 * struct command - a line of the command table
 * @name: as typed
 * @run: returns enum ctl_status; argv[0] is the command's name
 * @args: what follows the name in the usage line
 * @what: one sentence
 * @help: description of its options, lines that end in newlines, or NULL
 */
struct command {
	const char *name;
	int (*run)(int argc, char *argv[]);
	const char *args;
	const char *what;
	const char *help;
};

/* The tests compile main.c with -Dmain=tlsportctl_main. */
int tlsportctl_main(int argc, char *argv[]);

/* netns.c */

/* Goes into ctl.netns, and sets the directories that are not.  CTL_DONE, CTL_FAILED or CTL_USAGE, told */
int netns_enter(void);
/* Of systemd, that starts the tlsportd of the namespace */
const char *netns_unit(void);

/* args.c: a command's own arguments */

#define ARGS_MAX 40

/**
 * struct args - parsed arguments
 * @words: positional arguments
 * @values: by index of the option table: value, "" for a flag, NULL: not given
 */
struct args {
	const char *words[ARGS_MAX];
	int nwords;
	const char *values[ARGS_MAX];
};

/**
 * struct args_option - --name VALUE; a table ends with a NULL name
 * @flag: --name alone
 * @empty: VALUE may be ""
 */
struct args_option {
	const char *name;
	bool flag;
	bool empty;
};

/* CTL_DONE or CTL_USAGE, told.  @max_words: words that the command takes at most */
int args_parse(int argc, char *argv[], const struct args_option *options, int max_words,
	       struct args *args);
/* A number or a service name.  CTL_DONE or CTL_USAGE, told. */
int args_port(const char *word, uint16_t *port);

/* service.c: names of the TLS ports */

struct service {
	const char *name;
	uint16_t port;
	const char *what; /* NULL: a second name of the line before */
};

extern const struct service services[]; /* ends with a NULL name */

/* 0: no such name */
uint16_t service_port(const char *name);
/* NULL: no name */
const char *service_name(uint16_t port);
int services_command(int argc, char *argv[]);

/* dropin.c: ports.d/PORT.conf, as tlsportd/config.h describes it */

/**
 * struct dropin - a drop-in in memory, line by line, comments too
 * @exists: it was read from a file
 */
struct dropin {
	bool exists;
	char **lines;
	size_t nlines;
};

/* "DIR/ports.d/PORT.conf" */
void dropin_path(const char *dir, uint16_t port, char *path, size_t len);
/* 0, also when there is no file (then !exists), or -errno, for text_file_error() */
int dropin_load(const char *path, struct dropin *dropin);
void dropin_free(struct dropin *dropin);
/* False: not set */
bool dropin_get(const struct dropin *dropin, const char *key, char *value, size_t len);
/* What a line sets, whatever its key.  False: nothing */
bool dropin_value(const char *line, char *value, size_t len);
/* Replaces the line that sets @key, or adds one at the end.  0 or -ENOMEM */
int dropin_set(struct dropin *dropin, const char *key, const char *value);
/* Removes what sets @key. */
void dropin_unset(struct dropin *dropin, const char *key);
/* A line at the end.  0 or -ENOMEM */
int dropin_add(struct dropin *dropin, const char *line);
/* mkdir -p of the directory that holds @path.  0 or -errno */
int dropin_make_directory(const char *path);
/* Writes and syncs PATH.tmp, creating directories; nobody reads that name.  0 or -errno */
int dropin_stage(const char *path, const struct dropin *dropin);
/* Makes what was staged the drop-in: all or nothing.  0 or -errno */
int dropin_commit(const char *path);
void dropin_discard(const char *path);
/* The file as it was loaded: stage and commit, or unlink if it did not exist. */
int dropin_restore(const char *path, const struct dropin *old);
/* Locks @dir against another tlsportctl until the descriptor is closed; -1: not locked */
int dropin_lock(const char *dir);
/* Has it a section that is not [port @port]?  Such a file is not for us to edit. */
bool dropin_is_foreign(const struct dropin *dropin, uint16_t port);
/* Is the port configured by a file that is not its drop-in?  Then @path is that file. */
bool dropin_elsewhere(uint16_t port, char *path, size_t len);
/*
 * Calls @fn for each port that a file of the configuration is for, by its name or
 * by a section [port N]: tlsport.conf and ports.d below the config directory,
 * ports.d below the run directory.  In no order; a port may come twice.
 */
void dropin_each(void (*fn)(uint16_t port, const char *path, void *arg), void *arg);

/* enable.c: below the config directory */
#define SELF_SIGNED_DIR "self-signed"
/* Has it made this file for the port, by --self-signed? */
bool enable_wrote(uint16_t port, const char *path);
/* Under which names it makes them for the @i-th time, each CTL_PATH_LEN.  False: not so often */
bool enable_names(uint16_t port, unsigned int i, char *cert, char *key);

/* daemon.c: the control socket of tlsportd */

enum daemon_answer {
	DAEMON_OK,
	DAEMON_ABSENT, /* nobody listens on the socket */
	DAEMON_ERROR,  /* @text says why */
};

/* @request out, reply or reason in *@text, which the caller frees. */
enum daemon_answer daemon_ask(const char *request, char **text);
enum daemon_answer daemon_reload(char **text);
/* Object of the status reply; NULL: no daemon.  Of one that does not answer it has "error" alone. */
json_t *daemon_status(void);
/* Why that is so, borrowed, or NULL: it answers, or is not there.  Its workers may serve all the same. */
const char *daemon_silent(const json_t *status);
/* Its entry for a port, borrowed, or NULL */
const json_t *daemon_port(const json_t *status, uint16_t port);
int reload_command(int argc, char *argv[]);
int upgrade_command(int argc, char *argv[]);
int check_config_command(int argc, char *argv[]);

/* listener.c: listening sockets that no connection reaches */

/* Warns of those on @port.  0 or -errno with nl->error */
int listener_warn(struct tlsport_nl *nl, uint16_t port);

/* enable.c, port.c */

int enable_command(int argc, char *argv[]);
int disable_command(int argc, char *argv[]);
int list_command(int argc, char *argv[]);

/* state.c: is a port served? */

/**
 * struct port_state - @state: "served", "idle", "shut", "plaintext" or "unknown"
 */
struct port_state {
	const char *state;
	char why[CTL_ERROR_LEN];
};

/* @kernel NULL: not registered; @daemon NULL: tlsportd does not run */
void port_state(const struct tlsport_nl_port *kernel, const json_t *daemon, uint16_t number,
		struct port_state *state);

/**
 * struct port_list - ports of the kernel, sorted
 */
struct port_list {
	struct tlsport_nl_port *ports;
	size_t count;
};

int port_list_get(struct tlsport_nl *nl, struct port_list *list);
const struct tlsport_nl_port *port_list_find(const struct port_list *list, uint16_t number);

/* status.c, system.c */

int status_command(int argc, char *argv[]);
/* New references; JSON null when the system does not tell. */
json_t *system_module_version(void);
json_t *system_gcm_driver(void);
json_t *system_tls_stat(void);

/* check.c */

int check_command(int argc, char *argv[]);
enum feature_state system_feature(const char *device, const char *name);

/* conn.c */

int conns_command(int argc, char *argv[]);

/* output.c: text and JSON */

/**
 * struct column - of a table
 * @key: of the objects in the array
 * @heading: above it
 * @format: how text differs from the JSON value, or NULL
 */
struct column {
	const char *key;
	const char *heading;
	void (*format)(const json_t *value, char *text, size_t len);
};

/* One line on stderr; with --json also an object on stdout.  Return CTL_FAILED, CTL_USAGE. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line on stderr; with --json also in the result's "warnings". */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A JSON string of any bytes: jansson takes none that is not UTF-8 */
json_t *output_string(const char *text);
/* Prints the result of a command if JSON is wanted, with the warnings; takes @result. */
void output_json(json_t *result);
void output_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An array of objects as a table, columns as wide as needed */
void output_table(const struct column *columns, size_t count, const json_t *rows);
/* A JSON value as a cell: "-" for null, yes and no, strings and numbers as they are */
void output_cell(const json_t *value, char *text, size_t len);
/* Seconds since 1970 as a date; another type as a cell */
void output_time(const json_t *value, char *text, size_t len);
/* For a new command in the same process (tests) */
void output_reset(void);

#endif /* _TLSPORTCTL_CTL_H */
