// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control socket of tlsportd (SOCK_SEQPACKET, one request and one reply a
 * connection), and the commands that only pass something on to tlsportd.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_NAME    "control"
#define DAEMON_PROGRAM "tlsportd"
#define ERROR_PREFIX   "error: "

static const struct args_option no_options[] = { { .name = NULL } };

static enum daemon_answer cannot(char **text, const char *what)
{
	/* what a socket whose time is over says */
	int err = errno == EAGAIN ? ETIMEDOUT : errno;

	if (asprintf(text, "%s %s/" SOCKET_NAME ": %s", what, ctl.run_dir, strerror(err)) < 0)
		*text = NULL;
	return DAEMON_ERROR;
}

static enum daemon_answer connect_daemon(int *fd, char **text)
{
	const struct timeval patience = { .tv_sec = CTL_DAEMON_TIMEOUT_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" SOCKET_NAME,
			     ctl.run_dir) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return cannot(text, "cannot connect to");
	}
	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return cannot(text, "no socket for");
	setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!connect(*fd, (struct sockaddr *)&addr, sizeof(addr)))
		return DAEMON_OK;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) {
		close(*fd);
		return DAEMON_ABSENT;
	}
	cannot(text, "cannot connect to");
	close(*fd);
	return DAEMON_ERROR;
}

/* "a\nb" as "a; b": tlsportd tells all the errors of a configuration at once. */
static char *one_line(const char *lines)
{
	char *text = malloc(2 * strlen(lines) + 1), *to = text;

	for (; text && *lines; lines++) {
		if (*lines == '\n')
			*to++ = ';';
		*to++ = *lines == '\n' ? ' ' : *lines;
	}
	if (text)
		*to = '\0';
	return text;
}

/* A packet of any size: its length first, without taking it. */
static enum daemon_answer receive(int fd, char **text)
{
	ssize_t len;
	char *reply;

	len = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
	if (len < 0)
		return cannot(text, "no answer from");
	if (len == 0 || len > CTL_DAEMON_REPLY_MAX) {
		*text = strdup("tlsportd closed the connection without an answer");
		return DAEMON_ERROR;
	}
	reply = malloc(len + 1);
	if (!reply)
		return cannot(text, "no memory for the answer of");
	len = recv(fd, reply, len, 0);
	if (len < 0) {
		free(reply);
		return cannot(text, "no answer from");
	}
	reply[len] = '\0';
	while (len && (reply[len - 1] == '\n' || reply[len - 1] == ' '))
		reply[--len] = '\0';
	if (!strncmp(reply, ERROR_PREFIX, strlen(ERROR_PREFIX))) {
		*text = one_line(reply + strlen(ERROR_PREFIX));
		free(reply);
		return DAEMON_ERROR;
	}
	*text = reply;
	return DAEMON_OK;
}

enum daemon_answer daemon_ask(const char *request, char **text)
{
	enum daemon_answer answer;
	int fd = -1;

	*text = NULL;
	answer = connect_daemon(&fd, text);
	if (answer != DAEMON_OK)
		return answer;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		answer = cannot(text, "cannot send to");
	else
		answer = receive(fd, text);
	close(fd);
	return answer;
}

/* One that is carried out, or not. */
static enum daemon_answer daemon_order(const char *word, char **text)
{
	enum daemon_answer answer = daemon_ask(word, text);

	if (answer == DAEMON_OK && (!*text || strcmp(*text, "ok")))
		return DAEMON_ERROR;
	return answer;
}

enum daemon_answer daemon_reload(char **text)
{
	return daemon_order("reload", text);
}

json_t *daemon_status(void)
{
	enum daemon_answer answer;
	json_t *status = NULL;
	const char *why;
	char *text;

	answer = daemon_ask("status", &text);
	if (answer == DAEMON_ABSENT)
		return NULL;
	if (answer == DAEMON_OK)
		status = json_loads(text, 0, NULL);
	if (!json_is_object(status)) {
		json_decref(status);
		why = answer == DAEMON_OK ? "what tlsportd answers is no status" : text;
		status = json_pack("{s:o}", "error", output_string(why ? why : "out of memory"));
	}
	free(text);
	return status;
}

const char *daemon_silent(const json_t *status)
{
	return json_string_value(json_object_get(status, "error"));
}

const json_t *daemon_port(const json_t *status, uint16_t port)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(status, "ports"), i, entry)
		if (json_integer_value(json_object_get(entry, "port")) == port)
			return entry;
	return NULL;
}

/* One word to tlsportd; @refused begins the line that says why not. */
static int give_order(int argc, char *argv[], const char *word, const char *refused)
{
	enum daemon_answer answer;
	struct args args;
	char *text;
	int ret;

	ret = args_parse(argc, argv, no_options, 0, &args);
	if (ret)
		return ret;
	answer = daemon_order(word, &text);
	if (answer == DAEMON_ABSENT)
		ret = fail("tlsportd is not running: start it (systemctl start %s)", netns_unit());
	else if (answer == DAEMON_ERROR)
		ret = fail("%s: %s", refused, text ? text : "out of memory");
	free(text);
	return ret;
}

int reload_command(int argc, char *argv[])
{
	int ret = give_order(argc, argv, "reload", "tlsportd did not reload");

	if (!ret)
		output_json(json_pack("{s:b}", "reloaded", 1));
	return ret;
}

/* Who has taken over, as it says itself. */
static int tell_upgraded(void)
{
	json_t *status = daemon_status();

	if (!status || daemon_silent(status)) {
		json_decref(status);
		return fail("tlsportd has taken over, and does not say who it is");
	}
	output_line("tlsportd %s (pid %lld) has taken over",
		    json_string_value(json_object_get(status, "version")),
		    json_integer_value(json_object_get(status, "pid")));
	output_json(json_pack("{s:O?, s:O?}", "version", json_object_get(status, "version"), "pid",
			      json_object_get(status, "pid")));
	json_decref(status);
	return CTL_DONE;
}

int upgrade_command(int argc, char *argv[])
{
	int ret = give_order(argc, argv, "upgrade", "upgrade");

	return ret ? ret : tell_upgraded();
}

/* tlsportd beside this program: in a build tree, and where both are installed. */
static const char *find_daemon(char *path, size_t len)
{
	ssize_t n = readlink("/proc/self/exe", path, len - sizeof(DAEMON_PROGRAM) - 1);
	char *slash;

	if (ctl.tlsportd)
		return ctl.tlsportd;
	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash + 1, DAEMON_PROGRAM);
		if (!access(path, X_OK))
			return path;
	}
	return DAEMON_PROGRAM;
}

static void run_daemon_check(const char *program, int out)
{
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execlp(program, program, "-t", "--config-dir", ctl.config_dir, "--run-dir", ctl.run_dir,
	       (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* What tlsportd says, line by line: passed on, or an array in JSON. */
static json_t *pass_lines(int fd)
{
	json_t *lines = json_array();
	FILE *file = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		json_array_append_new(lines, output_string(line));
		if (!ctl.json)
			fprintf(ctl.err, "%s\n", line);
	}
	free(line);
	if (file)
		fclose(file);
	return lines;
}

int check_config_command(int argc, char *argv[])
{
	char path[CTL_PATH_LEN];
	int pipefd[2], wstatus, ret;
	const char *program;
	struct args args;
	json_t *lines;
	bool valid;
	pid_t pid;

	ret = args_parse(argc, argv, no_options, 0, &args);
	if (ret)
		return ret;
	program = find_daemon(path, sizeof(path));
	fflush(ctl.out);
	fflush(ctl.err);
	if (pipe(pipefd))
		return fail("cannot run %s: %s", program, strerror(errno));
	pid = fork();
	if (pid < 0)
		return fail("cannot run %s: %s", program, strerror(errno));
	if (!pid)
		run_daemon_check(program, pipefd[1]);
	close(pipefd[1]);
	lines = pass_lines(pipefd[0]);
	if (waitpid(pid, &wstatus, 0) != pid)
		wstatus = -1;
	valid = WIFEXITED(wstatus) && !WEXITSTATUS(wstatus);
	output_json(json_pack("{s:b, s:o}", "valid", valid, "messages", lines));
	if (valid)
		output_line("the configuration is valid");
	return valid ? CTL_DONE : CTL_FAILED;
}
