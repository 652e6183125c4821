// SPDX-License-Identifier: GPL-2.0-or-later
/* The channel between two tlsportd, see handover.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../common/clock.h"
#include "handover.h"
#include "lock.h"
#include "log.h"

#define VARIABLE "TLSPORTD_HANDOVER"
/* Every port there is, and room for the word before them. */
#define PACKET_MAX (65536 * 6 + 64)
/* Its end is on the way when the channel is closed. */
#define END_MS 1000
/* For the old one to tell systemd. */
#define CLOSE_MS 2000

enum {
	CHANNEL_FD = 3,
	LOCK_FD,
	CONTROL_FD,
};

static char packet[PACKET_MAX];

static int send_text(int channel, const char *text, size_t len)
{
	return send(channel, text, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

/* The next packet, or NULL: none came in time (ETIMEDOUT), or the other one is gone. */
static const char *receive(int channel, int limit_ms)
{
	struct pollfd fd = { .fd = channel, .events = POLLIN };
	int64_t until = clock_ms() + limit_ms, left;
	ssize_t len;
	int n;

	do {
		left = until - clock_ms();
		n = poll(&fd, 1, left < 0 ? 0 : left);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		errno = ETIMEDOUT;
		return NULL;
	}
	len = recv(channel, packet, sizeof(packet) - 1, 0);
	if (len <= 0) {
		errno = EPIPE;
		return NULL;
	}
	packet[len] = '\0';
	return packet;
}

/* What follows "error: ", NULL: it is none. */
static const char *error_in(const char *text)
{
	static const char prefix[] = "error: ";

	return strncmp(text, prefix, sizeof(prefix) - 1) ? NULL : text + sizeof(prefix) - 1;
}

static void send_errors(int channel, const struct text *errors)
{
	struct text text = { NULL, 0 };

	text_add(&text, "error: %s", errors->chars ? errors->chars : "out of memory\n");
	if (text.chars && text.len < PACKET_MAX)
		send_text(channel, text.chars, text.len);
	text_free(&text);
}

/* Where the successor looks for them; what they are here may be in the way of that. */
static int place_files(int channel, const struct handover *handover)
{
	const int files[] = { channel, handover->lock, handover->control };
	int high[3];

	for (int i = 0; i < 3; i++)
		high[i] = fcntl(files[i], F_DUPFD, CONTROL_FD + 1);
	for (int i = 0; i < 3; i++)
		if (high[i] < 0 || dup2(high[i], CHANNEL_FD + i) < 0)
			return -1;
	return close_range(CONTROL_FD + 1, ~0U, 0);
}

static void run_successor(char **argv, int channel, const struct handover *handover,
			  pid_t predecessor)
{
	char text[512];
	sigset_t none;

	if (place_files(channel, handover))
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(text, sizeof(text), "%d", (int)predecessor);
	setenv(VARIABLE, text, 1);
	execv(argv[0], argv);
	snprintf(text, sizeof(text), "error: %.400s: %s\n", argv[0], strerror(errno));
	send_text(CHANNEL_FD, text, strlen(text));
	_exit(127);
}

static pid_t start_successor(char **argv, const struct handover *handover, int *channel,
			     struct text *errors)
{
	pid_t self = getpid(), pid = -1;
	int pair[2], size = PACKET_MAX;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		text_add(errors, "no socket: %s\n", strerror(errno));
		return -1;
	}
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
			setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	pid = fork();
	if (!pid)
		run_successor(argv, pair[1], handover, self);
	close(pair[1]);
	if (pid < 0) {
		text_add(errors, "no process: %s\n", strerror(errno));
		close(pair[0]);
		return -1;
	}
	*channel = pair[0];
	return pid;
}

/* It is not to take over any more; why, as far as its end tells. */
static void end_successor(pid_t pid, const char *name, bool late, struct text *errors)
{
	int64_t until = clock_ms() + END_MS;
	int status = 0;
	pid_t ended;

	while (!late && !(ended = waitpid(pid, &status, WNOHANG)) && clock_ms() < until)
		poll(NULL, 0, 5);
	if (late || !ended) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		text_add(errors, "%s did not take over in time: it was ended, see the log\n", name);
	} else if (ended == pid && WIFSIGNALED(status)) {
		text_add(errors, "%s was ended by signal %d (%s) before it had taken over\n", name,
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else if (ended == pid) {
		text_add(errors, "%s ended with status %d before it had taken over: see the log\n",
			 name, WEXITSTATUS(status));
	} else {
		text_add(errors, "%s ended before it had taken over: see the log\n", name);
	}
}

static int send_ports(int channel, const struct config *config)
{
	size_t len = snprintf(packet, sizeof(packet), "ports");

	for (size_t i = 0; i < config->count; i++)
		len += snprintf(packet + len, sizeof(packet) - len, " %u", config->ports[i].port);
	return send_text(channel, packet, len);
}

/* 0: it has said what it should, or an error that @taken allows. */
static int hear(int channel, const char *wanted, int limit_ms, bool taken, pid_t pid,
		const char *name, struct text *errors)
{
	const char *text = receive(channel, limit_ms), *error = text ? error_in(text) : NULL;

	if (error)
		text_add(errors, "%s", error);
	if (text && (!strcmp(text, wanted) || (error && taken)))
		return 0;
	if (!error)
		end_successor(pid, name, text || errno == ETIMEDOUT, errors);
	return -1;
}

pid_t handover_give(struct parent *parent, const struct handover *handover, char **argv,
		    struct text *errors)
{
	int channel;
	pid_t pid = start_successor(argv, handover, &channel, errors);

	if (pid < 0)
		return -1;
	if (hear(channel, "ready", HANDOVER_START_MS, false, pid, argv[0], errors)) {
		parent_stay(parent);
		goto close_channel;
	}
	parent_retire(parent);
	/* When it cannot be told, its end is heard. */
	(void)send_ports(channel, &parent->generation->config);
	if (hear(channel, "done", HANDOVER_PORTS_MS, true, pid, argv[0], errors)) {
		lock_sign(handover->lock);
		parent_return(parent);
		goto close_channel;
	}
	/* Before it may speak for itself: systemd listens to the main process alone. */
	sd_notifyf(0, "MAINPID=%d", (int)pid);
	close(channel);
	return pid;

close_channel:
	close(channel);
	return -1;
}

bool handover_begun(struct handover *handover)
{
	const char *predecessor = getenv(VARIABLE);
	bool begun = predecessor && atoi(predecessor) == getppid();

	unsetenv(VARIABLE);
	for (int fd = CHANNEL_FD; begun && fd <= CONTROL_FD; fd++)
		begun = !fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (begun)
		*handover = (struct handover){ CHANNEL_FD, LOCK_FD, CONTROL_FD };
	return begun;
}

/* "ports 80 443" */
static int receive_ports(int channel, uint16_t **ports, size_t *count)
{
	static const char word[] = "ports";
	const char *text = receive(channel, HANDOVER_START_MS);
	char *end;

	if (!text || strncmp(text, word, sizeof(word) - 1))
		return -1;
	*ports = calloc(strlen(text), sizeof(**ports));
	if (!*ports)
		return -1;
	for (text += sizeof(word) - 1; *text == ' '; text = end)
		(*ports)[(*count)++] = strtoul(text + 1, &end, 10);
	return 0;
}

static int take_ports(const struct handover *handover, struct parent *parent)
{
	struct text errors = { NULL, 0 };
	uint16_t *ports;
	size_t count = 0;

	if (send_text(handover->channel, "ready", 5) ||
	    receive_ports(handover->channel, &ports, &count)) {
		log_error("the tlsportd that was to be replaced does not answer");
		return -1;
	}
	if (parent_succeed(parent, ports, count, &errors) && errors.len)
		log_error_lines(errors.chars);
	free(ports);
	lock_sign(handover->lock);
	if (errors.len)
		send_errors(handover->channel, &errors);
	else
		send_text(handover->channel, "done", 4);
	text_free(&errors);
	receive(handover->channel, CLOSE_MS);
	return 0;
}

int handover_take(const struct handover *handover, struct parent *parent)
{
	struct text errors = { NULL, 0 };
	int ret = parent_prepare(parent, &errors);

	if (ret) {
		if (errors.len)
			log_error_lines(errors.chars);
		send_errors(handover->channel, &errors);
	} else {
		ret = take_ports(handover, parent);
	}
	text_free(&errors);
	close(handover->channel);
	return ret;
}
