// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tlsportd: start, options, and the parent's event loop.
 *
 * No core dumps, with or without --verbose, and no swapping: they would hold private keys.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "../common/clock.h"
#include "../common/memory.h"
#include "../common/signer.h"
#include "../common/signer_process.h"
#include "../common/version.h"
#include "control.h"
#include "handover.h"
#include "lock.h"
#include "log.h"
#include "parent.h"
#include "watch.h"

#define CLIENTS_MAX 16
/* Certificate and key are two files: who replaces both gets this long. */
#define RENEW_MS 200
/*
 * Workers that could not be started with new certificates are tried again so soon, and
 * tokens that are not there.
 */
#define AGAIN_MS 60000
/* A day */
#define ALARM_MS (24 * 3600 * 1000LL)
/* Seconds; RFC 8446 4.6.1 has no ticket live for longer than a week. */
#define ROTATION_MIN 60
#define ROTATION_MAX (7 * 24 * 3600)
/* Beyond the time that workers have to finish what they hold when another tlsportd is in charge. */
#define LEAVE_MS 1000

struct daemon {
	struct parent parent;
	int epoll;
	int signals;
	struct handover handover; /* what a successor gets */
	char **argv;
	unsigned int clients;
	int files;	  /* of watch_open(), -1 */
	time_t rotation;  /* of ticket keys, seconds */
	int64_t alarm_at; /* for certificates that end */
	int64_t renew_at; /* 0: nothing has happened to the files */
	int64_t retry_at; /* 0: there is nothing to be tried again */
	int64_t leave_at; /* at the latest, 0: no successor has taken over */
	bool stop;
};

static struct daemon the_daemon = {
	.parent = { .config_dir = CONFIG_DIR, .run_dir = "/run/tlsport" },
	.rotation = TICKET_ROTATION,
};

static const char usage[] =
	"Usage: tlsportd [OPTION]...\n"
	"Does the TLS handshakes of the ports that tlsport.conf names.\n"
	"\n"
	"  --config-dir DIR  configuration (default " CONFIG_DIR ")\n"
	"  --run-dir DIR     control socket and runtime configuration (default /run/tlsport)\n"
	"  --workers N       worker processes, 1 to 256 (default: one for each CPU)\n"
	"  --user NAME       user of the workers (default: tlsport, else nobody)\n"
	"  --ticket-rotation TIME  age at which keys of session tickets are replaced (default 12h)\n"
	"  -t, --test        check configuration, certificates and keys, and exit\n"
	"  --foreground      stay in the foreground; it always does\n"
	"  --verbose         tell why handshakes fail\n"
	"  --help            this text\n"
	"  --version         version of tlsportd and of its TLS library\n";

/* Not at the start: the network may come later. */
static void warn_of_addresses(const struct config *config)
{
	char text[PORT_CONFIG_ERROR_LEN];

	for (size_t i = 0; i < config->count; i++)
		if (port_config_absent(&config->ports[i], text, sizeof(text)))
			log_warning(
				"port %u: this machine does not have address %s now; at addresses that are not named the port is shut",
				config->ports[i].port, text);
}

static int test_configuration(const char *config_dir, const char *run_dir)
{
	struct ticket_store tickets = { .own = ticket_keys_new() };
	struct text errors = { NULL, 0 };
	struct generation *generation;
	int ret;

	config_check_dir(config_dir, &errors);
	signer_pass(SIGNER_START_MS);
	generation = generation_load(1, config_dir, run_dir, &tickets, &errors);
	if (errors.chars)
		fputs(errors.chars, stderr);
	if (generation)
		warn_of_addresses(&generation->config);
	ret = generation && !errors.len ? 0 : 1;
	if (!ret)
		printf("configuration is good, %zu port%s\n", generation->config.count,
		       generation->config.count == 1 ? "" : "s");
	generation_free(generation);
	ticket_store_close(&tickets);
	text_free(&errors);
	return ret;
}

static void tell_status(const struct parent *parent)
{
	size_t ports = parent->generation->config.count, shut = 0;

	for (size_t i = 0; i < ports; i++)
		shut += !parent->generation->ports[i].context;
	if (shut)
		sd_notifyf(0, "STATUS=%zu ports, %zu of them shut for want of a certificate", ports,
			   shut);
	else
		sd_notifyf(0, "STATUS=%zu ports", ports);
}

static bool has_left(const struct daemon *daemon, struct text *errors)
{
	if (daemon->leave_at)
		text_add(errors, "another tlsportd has just taken over: ask again\n");
	return daemon->leave_at;
}

static int reload(struct parent *parent, struct text *errors)
{
	const struct generation *old = parent->generation;
	struct timespec ts;
	int ret;

	if (has_left(&the_daemon, errors))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reading the configuration",
		   (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
	ret = parent_reload(parent, errors);
	if (errors->len) {
		log_error("reload: %s", parent->generation == old ?
						"the old configuration stays in force" :
						"the new configuration is in force, but");
		log_error_lines(errors->chars);
	}
	sd_notify(0, "READY=1");
	tell_status(parent);
	return ret;
}

/* Nothing is ours any more but the workers; the socket goes on in the successor. */
static void leave(struct daemon *daemon)
{
	epoll_ctl(daemon->epoll, EPOLL_CTL_DEL, daemon->handover.control, NULL);
	epoll_ctl(daemon->epoll, EPOLL_CTL_DEL, daemon->files, NULL);
	epoll_ctl(daemon->epoll, EPOLL_CTL_DEL, signer_events(), NULL);
	close(daemon->handover.control);
	close(daemon->handover.lock);
	if (daemon->files >= 0)
		close(daemon->files);
	daemon->handover.control = daemon->handover.lock = daemon->files = -1;
	daemon->leave_at = clock_ms() + generation_longest(daemon->parent.generation) +
			   WORKER_MARGIN_MS + LEAVE_MS;
}

static int upgrade(struct parent *parent, struct text *errors)
{
	struct daemon *daemon = &the_daemon;
	pid_t pid;

	if (has_left(daemon, errors))
		return -1;
	sd_notify(0, "STATUS=starting the tlsportd that is to take over");
	pid = handover_give(parent, &daemon->handover, daemon->argv, errors);
	if (pid < 0) {
		tell_status(parent);
		log_error("upgrade: this tlsportd goes on");
		if (errors->len)
			log_error_lines(errors->chars);
		text_add(errors, "the old tlsportd goes on\n");
		return -1;
	}
	log_notice("tlsportd with pid %d has taken over", (int)pid);
	leave(daemon);
	if (errors->len)
		text_add(errors, "the new tlsportd has taken over all the same\n");
	return errors->len ? -1 : 0;
}

static const struct control_orders orders = { .reload = reload, .upgrade = upgrade };

/*
 * Once for each generation: there may be other links and directories now.  They are
 * looked at once more: what came between is no event.
 */
static void watch_generation(struct daemon *daemon)
{
	ocsp_fetch_update(&daemon->parent.fetches, daemon->parent.generation);
	daemon->renew_at = clock_ms() + RENEW_MS;
	if (daemon->files >= 0 && watch_files(daemon->files, &daemon->parent.generation->config))
		log_warning(
			"not all certificates are watched (%s): 'tlsportctl reload' takes new ones",
			strerror(errno));
}

/* A broken new certificate is no end: more may be on its way. */
static void renew(struct daemon *daemon)
{
	struct text errors = { NULL, 0 };

	watch_generation(daemon);
	daemon->renew_at = daemon->retry_at = 0;
	if (parent_renew(&daemon->parent, &errors) > 0 ||
	    generation_wants_token(daemon->parent.generation))
		daemon->retry_at = clock_ms() + AGAIN_MS;
	text_free(&errors);
	tell_status(&daemon->parent);
}

static void on_signal(struct daemon *daemon)
{
	struct signalfd_siginfo info;
	struct text errors = { NULL, 0 };

	while (read(daemon->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			parent_reap(&daemon->parent);
			break;
		case SIGHUP:
			if (daemon->leave_at)
				break;
			reload(&daemon->parent, &errors);
			text_free(&errors);
			break;
		default:
			daemon->stop = true;
		}
	}
}

static int watch(struct daemon *daemon, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void on_connection(struct daemon *daemon)
{
	int fd = control_accept(daemon->handover.control);

	if (fd < 0)
		return;
	if (daemon->clients >= CLIENTS_MAX || watch(daemon, fd))
		close(fd);
	else
		daemon->clients++;
}

static void on_event(struct daemon *daemon, int fd)
{
	if (fd == daemon->signals) {
		on_signal(daemon);
	} else if (fd == daemon->handover.control) {
		on_connection(daemon);
	} else if (fd == signer_events()) {
		/* next_timeout() attends to them */
	} else if (fd == daemon->files) {
		if (watch_happened(fd) && !daemon->renew_at)
			daemon->renew_at = clock_ms() + RENEW_MS;
	} else if (!control_serve(fd, &daemon->parent, &orders)) {
		/* a child that was forked just now has it still, and it would go on having events */
		epoll_ctl(daemon->epoll, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
		daemon->clients--;
	}
}

/* 0: never */
static bool is_due(int64_t at)
{
	return at && at <= clock_ms();
}

/*
 * A token that has come or failed is news for the ports, or that was lost: a new process logs
 * in to it anew, and new workers ask it.  ms, -1: nothing is waited for
 */
static int64_t attend_signers(struct daemon *daemon)
{
	int64_t next;

	if (!signer_attend(&next))
		return next;
	daemon->renew_at = clock_ms();
	return 0;
}

static int64_t sooner(int64_t left, int64_t other)
{
	return other < left ? other : left;
}

/* Does what is due; ms until the next is. */
static int next_timeout(struct daemon *daemon)
{
	int64_t left, signers;
	time_t fetch;
	int restart;

	if (daemon->leave_at) {
		left = daemon->leave_at - clock_ms();
		return left < 0 ? 0 : left;
	}
	left = ticket_store_rotate(&daemon->parent.tickets);
	if (ocsp_fetch_fresh(&daemon->parent.fetches) && !daemon->renew_at)
		daemon->renew_at = clock_ms();
	attend_signers(daemon);
	if (is_due(daemon->renew_at) || is_due(daemon->retry_at))
		renew(daemon);
	if (daemon->renew_at)
		left = sooner(left, daemon->renew_at - clock_ms());
	if (daemon->retry_at)
		left = sooner(left, daemon->retry_at - clock_ms());
	signers = attend_signers(daemon); /* those that the renewal has begun, too */
	if (signers >= 0)
		left = sooner(left, signers);
	if (daemon->alarm_at <= clock_ms()) {
		generation_tell_ends(daemon->parent.generation);
		daemon->alarm_at = clock_ms() + ALARM_MS;
	}
	left = sooner(left, daemon->alarm_at - clock_ms());
	fetch = ocsp_fetch_run(&daemon->parent.fetches, &daemon->parent.user);
	if (fetch >= 0)
		left = sooner(left, fetch * 1000);
	restart = parent_restart(&daemon->parent);
	if (restart >= 0)
		left = sooner(left, restart);
	return left > 0 ? left : 0; /* time goes on between the looks at the clock */
}

static bool goes_on(const struct daemon *daemon)
{
	if (daemon->leave_at)
		return !daemon->stop && daemon->parent.all && daemon->leave_at > clock_ms();
	return !daemon->stop;
}

/* One event at a time: it may close what another one is of. */
static void loop(struct daemon *daemon)
{
	struct epoll_event event;
	unsigned int generation = daemon->parent.generation->number;
	int count;

	while (goes_on(daemon)) {
		count = epoll_wait(daemon->epoll, &event, 1, next_timeout(daemon));
		if (count < 0 && errno != EINTR) {
			log_error("epoll: %s", strerror(errno));
			return;
		}
		if (count > 0)
			on_event(daemon, event.data.fd);
		parent_reports(&daemon->parent);
		if (daemon->parent.generation->number != generation)
			watch_generation(daemon);
		generation = daemon->parent.generation->number;
	}
}

static int open_signals(struct daemon *daemon)
{
	sigset_t *set = &daemon->parent.signals;

	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
	/* Blocked from here on in the workers, too: they read theirs. */
	sigaddset(set, WORKER_DRAIN_SIGNAL);
	sigprocmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigdelset(set, WORKER_DRAIN_SIGNAL);
	daemon->signals = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	return daemon->signals;
}

/* The ports are registered, and workers serve them. */
static int start(struct daemon *daemon, bool succeeds)
{
	struct handover *handover = &daemon->handover;

	if (succeeds)
		return watch(daemon, handover->control) ? -1 :
							  handover_take(handover, &daemon->parent);
	if (parent_start(&daemon->parent))
		return -1;
	handover->control = control_listen(daemon->parent.run_dir);
	return handover->control < 0 ? -1 : watch(daemon, handover->control);
}

static int run(struct daemon *daemon, bool succeeds)
{
	struct parent *parent = &daemon->parent;

	if (ticket_store_open(&parent->tickets, parent->run_dir, daemon->rotation)) {
		log_error("no ticket keys: %s", strerror(errno));
		return 1;
	}
	if (tlsport_nl_ops->open(&parent->nl)) {
		log_error("%s", parent->nl.error);
		return 1;
	}
	daemon->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (daemon->epoll < 0 || open_signals(daemon) < 0 || watch(daemon, daemon->signals)) {
		log_error("event loop: %s", strerror(errno));
		return 1;
	}
	if (watch(daemon, signer_events()))
		log_warning("tokens are only looked at from time to time: %s", strerror(errno));
	if (start(daemon, succeeds)) {
		parent_stop(parent);
		return 1;
	}
	daemon->files = watch_open();
	if (daemon->files < 0 || watch(daemon, daemon->files))
		log_warning("certificates are not watched: %s", strerror(errno));
	watch_generation(daemon);
	/* At the start it is told with all that there is to a certificate. */
	daemon->alarm_at = clock_ms() + ALARM_MS;
	sd_notify(0, "READY=1");
	tell_status(parent);
	log_notice("%zu ports, %u workers, wolfSSL %s", parent->generation->config.count,
		   parent->workers, engine_library());
	loop(daemon);
	if (!daemon->leave_at) {
		sd_notify(0, "STOPPING=1\nSTATUS=the ports stay registered, and shut");
		close(daemon->handover.control);
	}
	parent_stop(parent);
	ocsp_fetch_close(&parent->fetches);
	ticket_store_close(&parent->tickets);
	tlsport_nl_ops->close(&parent->nl);
	return 0;
}

/* A successor is what has this name then, which may be a link: the name is kept, if it says where. */
static void keep_program(char **argv)
{
	static char path[PATH_MAX];

	if (!strchr(argv[0], '/') && readlink("/proc/self/exe", path, sizeof(path) - 1) > 0)
		argv[0] = path;
}

static unsigned int default_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : cpus;
}

static int parse_workers(const char *text, unsigned int *workers)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (!*text || *end || n < 1 || n > WORKERS_MAX) {
		fprintf(stderr, "tlsportd: --workers: '%s' is not a number from 1 to %d\n", text,
			WORKERS_MAX);
		return -1;
	}
	*workers = n;
	return 0;
}

/* "12h", "90m", "600s" */
static int parse_rotation(const char *text, time_t *rotation)
{
	char *end;
	long n = strtol(text, &end, 10);
	long unit = !strcmp(end, "h") ? 3600 : !strcmp(end, "m") ? 60 : !strcmp(end, "s");

	if (end == text || !unit || n < 1 || n > ROTATION_MAX || n * unit < ROTATION_MIN ||
	    n * unit > ROTATION_MAX) {
		fprintf(stderr,
			"tlsportd: --ticket-rotation: '%s' is not a time from 60s to 168h (\"12h\", \"90m\", \"600s\")\n",
			text);
		return -1;
	}
	*rotation = n * unit;
	return 0;
}

enum {
	OPTION_CONFIG_DIR = 256,
	OPTION_USER,
	OPTION_TICKET_ROTATION,
	OPTION_RUN_DIR,
	OPTION_WORKERS,
	OPTION_FOREGROUND,
	OPTION_VERBOSE,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option options[] = {
	{ "config-dir", required_argument, NULL, OPTION_CONFIG_DIR },
	{ "run-dir", required_argument, NULL, OPTION_RUN_DIR },
	{ "workers", required_argument, NULL, OPTION_WORKERS },
	{ "user", required_argument, NULL, OPTION_USER },
	{ "ticket-rotation", required_argument, NULL, OPTION_TICKET_ROTATION },
	{ "test", no_argument, NULL, 't' },
	{ "foreground", no_argument, NULL, OPTION_FOREGROUND },
	{ "verbose", no_argument, NULL, OPTION_VERBOSE },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	bool test = false, verbose = false, succeeds;
	struct daemon *daemon = &the_daemon;
	const char *user = NULL;
	int option;

	if (argc == SIGNER_ARGC && !strcmp(argv[0], SIGNER_NAME))
		return signer_main(argv);
	if (argc == 3 && !strcmp(argv[0], OCSP_FETCH_NAME)) {
		log_start(false);
		return ocsp_fetch_main(argv[1], argv[2]);
	}
	keep_program(argv);
	daemon->argv = argv;
	daemon->parent.workers = default_workers();
	while ((option = getopt_long(argc, argv, "t", options, NULL)) != -1) {
		switch (option) {
		case OPTION_CONFIG_DIR:
			daemon->parent.config_dir = optarg;
			break;
		case OPTION_RUN_DIR:
			daemon->parent.run_dir = optarg;
			break;
		case OPTION_WORKERS:
			if (parse_workers(optarg, &daemon->parent.workers))
				return 2;
			break;
		case OPTION_USER:
			user = optarg;
			break;
		case OPTION_TICKET_ROTATION:
			if (parse_rotation(optarg, &daemon->rotation))
				return 2;
			break;
		case 't':
			test = true;
			break;
		case OPTION_FOREGROUND:
			break;
		case OPTION_VERBOSE:
			verbose = true;
			break;
		case OPTION_HELP:
			fputs(usage, stdout);
			return 0;
		case OPTION_VERSION:
			printf("tlsportd %s, wolfSSL %s\n", TLSPORT_VERSION, engine_library());
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	log_start(verbose);
	memory_forbid_dumps();
	sandbox_lock_memory();
	signer_run_dir(daemon->parent.run_dir);
	if (test)
		return test_configuration(daemon->parent.config_dir, daemon->parent.run_dir);
	if (sandbox_choose_user(user, &daemon->parent.user))
		return 2;
	succeeds = handover_begun(&daemon->handover);
	if (!succeeds)
		daemon->handover.lock = lock_take(daemon->parent.run_dir);
	if (daemon->handover.lock < 0)
		return 1;
	return run(daemon, succeeds);
}
