// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Worker processes and their generations (see parent.h).
 *
 * A change of generation, in this order: everything new is read and checked; ports
 * are widened in the kernel, which refuses what they do not allow; new workers start
 * and register; the old ones are told to take nothing new; ports are set in the
 * kernel as the new configuration says; ports that this daemon served and does not
 * any more are given back.  Before the new workers are registered nothing else has
 * changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/clock.h"
#include "../common/signer.h"
#include "../common/signer_wire.h"
#include "log.h"
#include "parent.h"

/* A worker that lived shorter died "at once". */
#define QUICK_DEATH_MS 10000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
/* The first behind the standard ones. */
#define FIRST_FD 3
/* For old workers to take the news. */
#define DRAIN_REPORT_MS 2000

static void drop_generation(struct parent *parent, struct generation *generation)
{
	if (generation && generation != parent->generation && !generation->workers)
		generation_free(generation);
}

/* The &ticket_store_user of one */
static bool names_ticket_keys(const void *who, const char *path)
{
	const struct generation *generation = who;

	for (size_t i = 0; generation && i < generation->config.count; i++) {
		const struct port_config *port = &generation->config.ports[i];

		if (!port->broken && port->ticket_keys && !strcmp(port->ticket_keys, path))
			return true;
	}
	return false;
}

/* That of all: workers of an old one still open tickets. */
static bool any_names_ticket_keys(const void *who, const char *path)
{
	const struct parent *parent = who;

	if (names_ticket_keys(parent->generation, path))
		return true;
	for (const struct worker_slot *worker = parent->all; worker; worker = worker->next)
		if (names_ticket_keys(worker->generation, path))
			return true;
	return false;
}

/* Not while a generation is on its way: it is in no list, and wants its own. */
static void forget_ticket_keys(struct parent *parent)
{
	ticket_store_forget(&parent->tickets, any_names_ticket_keys, parent);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int close_all_but(int *keep, size_t count)
{
	int from = FIRST_FD, err = 0;

	qsort(keep, count, sizeof(*keep), compare_fds);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] > from)
			err |= close_range(from, keep[i] - 1, 0);
		if (keep[i] >= from)
			from = keep[i] + 1;
	}
	return err | close_range(from, ~0U, 0);
}

/* In the child: its copy. */
static void forget_generation(struct parent *parent, struct generation *generation)
{
	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		if (worker->generation == generation)
			worker->generation = NULL;
	generation_free(generation);
}

/*
 * What strangers send must not get at keys that were replaced: they may be those that are known to
 * others.  Not before the child has closed what is the parent's: for a token that nobody holds in
 * here the parent must go on to wait.
 */
static void forget_others(struct parent *parent, const struct generation *own)
{
	if (parent->generation != own)
		forget_generation(parent, parent->generation);
	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		if (worker->generation && worker->generation != own)
			forget_generation(parent, worker->generation);
}

static void run_child(struct parent *parent, const struct worker_slot *worker, pid_t parent_pid,
		      int report)
{
	struct generation *generation = worker->generation;
	int *keep = calloc(generation->config.count + 1, sizeof(*keep));
	size_t count;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "tlsportd-worker");
	if (getppid() != parent_pid || !keep)
		_exit(1);
	count = generation_connect(generation, keep);
	keep[count++] = report;
	/* Nothing of the parent's: not its lock, sockets or other workers' pipes. */
	if (close_all_but(keep, count))
		_exit(1);
	free(keep);
	forget_others(parent, generation);
	_exit(worker_run(generation, &parent->user, report, worker->numbers));
}

static void free_worker(struct worker_slot *worker)
{
	if (worker->report >= 0)
		close(worker->report);
	munmap(worker->numbers, sizeof(*worker->numbers));
	free(worker);
}

static struct worker_slot *new_worker(struct generation *generation, unsigned int slot)
{
	struct worker_slot *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->numbers = mmap(NULL, sizeof(*worker->numbers), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (worker->numbers == MAP_FAILED) {
		free(worker);
		return NULL;
	}
	worker->slot = slot;
	worker->generation = generation;
	worker->report = -1;
	return worker;
}

static int start_worker(struct parent *parent, struct generation *generation, unsigned int slot)
{
	struct worker_slot *worker = new_worker(generation, slot);
	pid_t parent_pid = getpid();
	int report[2];

	if (!worker || pipe2(report, O_CLOEXEC | O_NONBLOCK)) {
		log_error("worker %u cannot be started: %s", slot, strerror(errno));
		if (worker)
			free_worker(worker);
		return -1;
	}
	worker->report = report[0];
	worker->pid = fork();
	if (!worker->pid) {
		close(report[0]);
		run_child(parent, worker, parent_pid, report[1]);
	}
	close(report[1]);
	if (worker->pid < 0) {
		log_error("worker %u cannot be started: %s", slot, strerror(errno));
		free_worker(worker);
		return -1;
	}
	worker->started = clock_ms();
	worker->next = parent->all;
	parent->all = worker;
	generation->workers++;
	return 0;
}

static void end_worker(struct parent *parent, struct worker_slot **at)
{
	struct worker_slot *worker = *at;

	*at = worker->next;
	worker->generation->workers--;
	drop_generation(parent, worker->generation);
	free_worker(worker);
}

/* Next start of a slot whose worker died. */
static void schedule(struct parent *parent, const struct worker_slot *worker)
{
	unsigned int slot = worker->slot;
	int64_t delay = 0;

	if (clock_ms() - worker->started < QUICK_DEATH_MS) {
		delay = (int64_t)BACKOFF_MIN_MS << parent->deaths[slot];
		if (delay > BACKOFF_MAX_MS)
			delay = BACKOFF_MAX_MS;
		else
			parent->deaths[slot]++;
	} else {
		parent->deaths[slot] = 0;
	}
	parent->restart_at[slot] = clock_ms() + delay;
	if (delay >= BACKOFF_MAX_MS)
		log_error("worker %u dies at once, again and again; next try in %lld s", slot,
			  (long long)delay / 1000);
}

static void tell_death(const struct worker_slot *worker, int status)
{
	if (WIFSIGNALED(status))
		log_error("worker %u (pid %d) was ended by signal %d (%s)", worker->slot,
			  (int)worker->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) || worker->state != WORKER_STATE_DRAINING)
		log_error("worker %u (pid %d) ended with status %d", worker->slot, (int)worker->pid,
			  WEXITSTATUS(status));
}

/* What the workers' pipes say. */
void parent_reports(struct parent *parent)
{
	struct worker_slot *worker;
	char what;

	for (worker = parent->all; worker; worker = worker->next) {
		while (worker->report >= 0 && read(worker->report, &what, 1) == 1) {
			if (what == WORKER_REGISTERED && worker->state == WORKER_STATE_STARTING)
				worker->state = WORKER_STATE_READY;
			else if (what == WORKER_DRAINING)
				worker->state = WORKER_STATE_DRAINING;
		}
	}
}

/* Not a worker: one that signs, perhaps. */
static void tell_signer(pid_t pid, int status)
{
	const char *key = signer_ended(pid);

	if (!key)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SIGNER_EXIT_HUNG)
		log_error("%s: the token does not answer any more: another process takes over",
			  key);
	else
		log_error("%s: the process that signs with it ended (%s %d): the token is lost",
			  key, WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void reap(struct parent *parent)
{
	struct worker_slot **at;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (at = &parent->all; *at && (*at)->pid != pid; at = &(*at)->next)
			;
		if (!*at) {
			if (!ocsp_fetch_ended(&parent->fetches, pid, status))
				tell_signer(pid, status);
			continue;
		}
		parent_reports(parent); /* what it said at last */
		tell_death(*at, status);
		if ((*at)->generation == parent->generation &&
		    (*at)->state != WORKER_STATE_DRAINING)
			schedule(parent, *at);
		end_worker(parent, at);
	}
}

void parent_reap(struct parent *parent)
{
	reap(parent);
	forget_ticket_keys(parent);
}

int parent_restart(struct parent *parent)
{
	int64_t now = clock_ms(), next = -1;

	for (unsigned int slot = 0; slot < parent->workers; slot++) {
		int64_t at = parent->restart_at[slot];

		if (!at)
			continue;
		if (at <= now) {
			parent->restart_at[slot] = 0;
			if (!start_worker(parent, parent->generation, slot))
				continue;
			at = now + BACKOFF_MAX_MS;
			parent->restart_at[slot] = at;
		}
		if (next < 0 || at - now < next)
			next = at - now;
	}
	return next;
}

static unsigned int count_in(struct parent *parent, const struct generation *generation,
			     enum worker_state state)
{
	unsigned int count = 0;

	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		count += worker->generation == generation && worker->state == state;
	return count;
}

/*
 * Wait until no worker of this generation is in @state any more; those that
 * should have got there and died are missing then.
 */
static void wait_out(struct parent *parent, const struct generation *generation,
		     enum worker_state state, int limit_ms)
{
	int64_t until = clock_ms() + limit_ms;

	for (;;) {
		parent_reports(parent);
		if (!count_in(parent, generation, state) || clock_ms() >= until)
			return;
		/* Reports are rare and short: no need to poll all the pipes. */
		poll(NULL, 0, 5);
		reap(parent);
	}
}

static void signal_workers(struct parent *parent, const struct generation *generation, int signal)
{
	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		if (!generation || worker->generation == generation)
			kill(worker->pid, signal);
}

/* All workers of a generation; true when all of them registered. */
static bool start_workers(struct parent *parent, struct generation *generation)
{
	unsigned int slot = 0;

	while (slot < parent->workers && !start_worker(parent, generation, slot))
		slot++;
	/* Where there is no process one is tried later, unless all have to be there at once. */
	for (; slot < parent->workers && generation == parent->generation; slot++)
		parent->restart_at[slot] = clock_ms() + BACKOFF_MAX_MS;
	wait_out(parent, generation, WORKER_STATE_STARTING, WORKER_START_MS);
	return count_in(parent, generation, WORKER_STATE_READY) == parent->workers;
}

/*
 * What tlsportctl has taken out stays out, though the configuration in force has it still (the
 * reload was refused, perhaps): only what has just been read makes a port.
 */
static void note_gone(struct parent *parent, struct generation *generation)
{
	struct tlsport_nl_port port;

	for (size_t i = 0; i < generation->config.count; i++)
		generation->ports[i].gone =
			tlsport_nl_ops->port_get(&parent->nl, generation->config.ports[i].port,
						 &port) == -ENOENT;
}

static int set_ports(struct parent *parent, const struct generation *generation,
		     struct text *errors)
{
	const struct config *config = &generation->config;
	int ret = 0;

	for (size_t i = 0; i < config->count; i++) {
		struct tlsport_nl_policy policy = port_config_policy(&config->ports[i]);

		/* at the start there are no served ports yet */
		if ((generation->ports && generation->ports[i].gone) ||
		    !tlsport_nl_ops->port_set(&parent->nl, config->ports[i].port, &policy))
			continue;
		text_add(errors, "port %u: the kernel refused it: %s\n", config->ports[i].port,
			 parent->nl.error);
		ret = -1;
	}
	return ret;
}

/*
 * What workers of either generation negotiate is allowed while there are both.  Whoever is
 * refused it says so when the ports are set.  True: one is another now.
 */
static bool widen_ports(struct parent *parent, const struct generation *new)
{
	const struct config *config = &new->config;
	bool widened = false;

	for (size_t i = 0; i < config->count; i++) {
		struct tlsport_nl_policy policy = port_config_policy(&config->ports[i]);
		uint16_t port = config->ports[i].port;
		struct tlsport_nl_port old;

		if (tlsport_nl_ops->port_get(&parent->nl, port, &old))
			continue;
		/* the other way round: all else stays until the new ones are there */
		if (port_config_widen(&old.policy, &policy))
			widened |= !tlsport_nl_ops->port_set(&parent->nl, port, &old.policy);
	}
	return widened;
}

/* A port that was served, unless it is in the new configuration. */
static void give_back_port(struct parent *parent, uint16_t port, const struct config *new)
{
	int err;

	if (config_find(new, port))
		return;
	err = tlsport_nl_ops->port_del(&parent->nl, port);
	/* tlsportctl may have taken it out before */
	if (err && err != -ENOENT)
		log_warning("port %u: cannot be taken out: %s", port, parent->nl.error);
	else
		log_notice("port %u is not served any more", port);
}

static void tell_errors(struct text *errors)
{
	if (errors->len)
		log_error_lines(errors->chars);
	text_free(errors);
}

/* Nothing may take its time before the ports are set: until then they are in plaintext. */
static int start_generation(struct parent *parent)
{
	struct text errors = { NULL, 0 };
	int err;

	parent->generation =
		generation_new(++parent->generations, parent->config_dir, parent->run_dir, &errors);
	tell_errors(&errors);
	if (!parent->generation)
		return -1;
	/* Ready would be a lie: that port is in plaintext. */
	err = set_ports(parent, parent->generation, &errors);
	tell_errors(&errors);
	if (err)
		return -1;
	signer_pass(PARENT_START_TOKENS_MS);
	err = generation_fill(parent->generation, &parent->tickets, &errors);
	tell_errors(&errors);
	return err;
}

int parent_start(struct parent *parent)
{
	if (start_generation(parent))
		return -1;
	if (start_workers(parent, parent->generation))
		return 0;
	/* Some are enough for a start; the others are tried again. */
	if (count_in(parent, parent->generation, WORKER_STATE_READY))
		return 0;
	log_error("no worker could be started");
	return -1;
}

static void forget_deaths(struct parent *parent)
{
	memset(parent->restart_at, 0, sizeof(parent->restart_at));
	memset(parent->deaths, 0, sizeof(parent->deaths));
}

static void retire(struct parent *parent, struct generation *old)
{
	signal_workers(parent, old, WORKER_DRAIN_SIGNAL);
	wait_out(parent, old, WORKER_STATE_READY, DRAIN_REPORT_MS);
	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		if (worker->generation == old)
			worker->state = WORKER_STATE_DRAINING;
}

void parent_retire(struct parent *parent)
{
	forget_deaths(parent);
	/* What the other one takes out from here on, parent_return() has to set again. */
	note_gone(parent, parent->generation);
	retire(parent, parent->generation);
}

static void set_again(struct parent *parent)
{
	struct text errors = { NULL, 0 };

	if (set_ports(parent, parent->generation, &errors))
		log_error_lines(errors.chars);
	text_free(&errors);
}

void parent_stay(struct parent *parent)
{
	note_gone(parent, parent->generation);
	set_again(parent);
}

void parent_return(struct parent *parent)
{
	for (unsigned int slot = 0; slot < parent->workers; slot++)
		parent->restart_at[slot] = clock_ms();
	parent_restart(parent);
	set_again(parent);
}

int parent_prepare(struct parent *parent, struct text *errors)
{
	signer_pass(PARENT_RELOAD_TOKENS_MS);
	parent->generation = generation_load(++parent->generations, parent->config_dir,
					     parent->run_dir, &parent->tickets, errors);
	if (!parent->generation || errors->len)
		return -1;
	widen_ports(parent, parent->generation);
	if (start_workers(parent, parent->generation))
		return 0;
	text_add(errors, "its workers could not be started: see the log\n");
	return -1;
}

int parent_succeed(struct parent *parent, const uint16_t *ports, size_t count, struct text *errors)
{
	int ret = set_ports(parent, parent->generation, errors);

	for (size_t i = 0; i < count; i++)
		give_back_port(parent, ports[i], &parent->generation->config);
	return ret;
}

/*
 * @renewed: it has the configuration in force.
 * -1: the old one is in force, @new is gone, or only the kernel refused a port.
 */
static int change_over(struct parent *parent, struct generation *new, bool renewed,
		       struct text *errors)
{
	struct generation *old = parent->generation;
	bool widened;
	int ret;

	new->workers++;
	widened = widen_ports(parent, new);
	if (!start_workers(parent, new)) {
		new->workers--;
		text_add(errors, "the new workers could not be started: see the log\n");
		signal_workers(parent, new, SIGKILL);
		if (widened)
			parent_stay(parent);
		/* freed with its last worker, see drop_generation() */
		drop_generation(parent, new);
		return -1;
	}
	new->workers--;
	parent->generation = new;
	forget_deaths(parent);
	old->workers++; /* its last worker may be reaped meanwhile */
	retire(parent, old);
	if (renewed)
		note_gone(parent, new);
	ret = set_ports(parent, new, errors);
	for (size_t i = 0; i < old->config.count; i++)
		give_back_port(parent, old->config.ports[i].port, &new->config);
	old->workers--;
	drop_generation(parent, old);
	log_notice("generation %u is in force, %zu ports", new->number, new->config.count);
	return ret;
}

static void keep_renewal_errors(struct parent *parent, const struct text *errors)
{
	free(parent->renewal_errors);
	parent->renewal_errors = errors->len ? strdup(errors->chars) : NULL;
}

static int reload(struct parent *parent, struct text *errors)
{
	struct generation *new;
	int err;

	signer_pass(PARENT_RELOAD_TOKENS_MS);
	new = generation_load(++parent->generations, parent->config_dir, parent->run_dir,
			      &parent->tickets, errors);
	if (!new)
		return -1;
	if (errors->len) {
		generation_free(new);
		return -1;
	}
	err = change_over(parent, new, false, errors);
	if (!err)
		keep_renewal_errors(parent, errors);
	return err;
}

int parent_reload(struct parent *parent, struct text *errors)
{
	int err = reload(parent, errors);

	forget_ticket_keys(parent); /* those of what was refused, and of the old one */
	return err;
}

static int renew(struct parent *parent, struct text *errors)
{
	struct generation *new;

	signer_pass(0);
	ticket_store_refresh(&parent->tickets, names_ticket_keys, parent->generation, errors);
	new = generation_renew(parent->generations + 1, parent->generation, &parent->tickets,
			       errors);

	if (!new)
		return errors->len ? -1 : 0;
	parent->generations++;
	if (change_over(parent, new, true, errors) &&
	    parent->generation->number != parent->generations)
		return 1;
	return errors->len ? -1 : 0;
}

int parent_renew(struct parent *parent, struct text *errors)
{
	int ret = renew(parent, errors);

	/* What is tried again each minute need not be told each minute. */
	if (errors->len &&
	    (!parent->renewal_errors || strcmp(parent->renewal_errors, errors->chars)))
		log_error_lines(errors->chars);
	keep_renewal_errors(parent, errors);
	return ret;
}

void parent_stop(struct parent *parent)
{
	int64_t until = clock_ms() + WORKER_STOP_MS;

	for (struct worker_slot *worker = parent->all; worker; worker = worker->next)
		worker->state = WORKER_STATE_DRAINING;
	signal_workers(parent, NULL, WORKER_DRAIN_SIGNAL);
	while (parent->all && clock_ms() < until) {
		poll(NULL, 0, 5);
		parent_reap(parent);
	}
	signal_workers(parent, NULL, SIGKILL);
	while (parent->all && waitpid(parent->all->pid, NULL, 0) > 0)
		end_worker(parent, &parent->all);
	signer_pass(0); /* which none asks in: those that sign end */
	generation_free(parent->generation);
	parent->generation = NULL;
	free(parent->renewal_errors);
	parent->renewal_errors = NULL;
}
