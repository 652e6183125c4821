// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes that sign, see signer.h.  First who asks, then the process itself.
 *
 * Sockets are of packets: a request or an answer is one.  The process has a thread
 * for each that asks, with a session of its own, so that a token that can sign
 * several things at once does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "signer.h"
#include "token_uri.h"

/* A DigestInfo of SHA-512 has 83 bytes. */
#define REQUEST_MAX 128
#define ERROR_MAX   TOKEN_SIGNATURE_MAX
/* Of the process: its end of the socket to who started it. */
#define CONTROL_FD 3

struct request {
	uint32_t number;
	uint32_t how; /* enum token_how */
	uint32_t len;
	uint8_t data[REQUEST_MAX];
};

enum answer_status {
	ANSWER_GOOD,
	ANSWER_FAILED,
	ANSWER_PIN_REFUSED,
};

/* What there is in @data is a signature or, with the 0 behind it, why there is none. */
struct answer {
	uint32_t number;
	uint32_t status;
	uint32_t len;
	uint8_t data[ERROR_MAX];
};

/* Does the file of the PIN have another content?  One that is not there has none. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

/**
 * struct signer - a process, or that its PIN was refused
 * @pin: file; NULL: no PIN
 * @control: socket to the process; -1: it ended, or there was none
 * @fd: of this process, to ask; -1
 * @number: of the last request
 * @waits: it was not answered
 * @refused: why there is no process; ""
 */
struct signer {
	char *uri;
	char *pin;
	struct stamp stamp;
	pid_t pid;
	int control;
	unsigned int holders;
	int fd;
	uint32_t number;
	bool waits;
	char refused[512];
	struct signer *next;
};

static struct signer *signers;

static int refuse(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(char *err, size_t errlen, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, errlen, fmt, args);
	va_end(args);
	return -1;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct stamp stamp_of(const char *file)
{
	struct stat st;

	if (!file || stat(file, &st))
		return (struct stamp){ 0 };
	return (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* --- the process --- */

struct asker {
	struct token *token;
	int fd;
};

static pthread_mutex_t askers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t askers_gone = PTHREAD_COND_INITIALIZER;
static unsigned int askers;

static int send_answer(int fd, const struct answer *answer)
{
	size_t len = offsetof(struct answer, data) + answer->len;

	return send(fd, answer, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

static void fail_with(struct answer *answer, const char *why)
{
	answer->status = ANSWER_FAILED;
	answer->len = snprintf((char *)answer->data, sizeof(answer->data), "%s", why) + 1;
}

/* true: the token is lost, and this process of no use */
static bool make_answer(struct token_session *session, const struct request *request,
			struct answer *answer)
{
	char err[512];
	bool lost;
	int len;

	len = token_sign(session, request->how, request->data, request->len, answer->data, &lost,
			 err, sizeof(err));
	if (len >= 0) {
		answer->status = ANSWER_GOOD;
		answer->len = len;
		return false;
	}
	fail_with(answer, err);
	return lost;
}

static void serve_asker(struct asker *asker)
{
	char why[512];
	struct token_session *session = token_session(asker->token, why, sizeof(why));
	struct request request;
	struct answer answer;
	bool lost = false;
	ssize_t len;

	while (!lost && (len = recv(asker->fd, &request, sizeof(request), 0)) > 0) {
		if ((size_t)len < offsetof(struct request, data) ||
		    (size_t)len - offsetof(struct request, data) != request.len)
			break;
		answer.number = request.number;
		if (session)
			lost = make_answer(session, &request, &answer);
		else
			fail_with(&answer, why);
		if (send_answer(asker->fd, &answer))
			break;
	}
	if (lost)
		_exit(1);
	token_session_end(session);
}

static void *run_asker(void *arg)
{
	struct asker *asker = arg;

	serve_asker(asker);
	close(asker->fd);
	free(asker);
	pthread_mutex_lock(&askers_lock);
	askers--;
	pthread_cond_signal(&askers_gone);
	pthread_mutex_unlock(&askers_lock);
	return NULL;
}

static void add_asker(struct token *token, int fd)
{
	struct asker *asker = malloc(sizeof(*asker));
	pthread_t thread;

	if (!asker) {
		close(fd);
		return;
	}
	*asker = (struct asker){ token, fd };
	pthread_mutex_lock(&askers_lock);
	if (pthread_create(&thread, NULL, run_asker, asker)) {
		close(fd);
		free(asker);
	} else {
		askers++;
		pthread_detach(thread);
	}
	pthread_mutex_unlock(&askers_lock);
}

/* The socket of one that asks; -1: whoever started us wants no more */
static int receive_asker(void)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *header;
	int fd;

	if (recvmsg(CONTROL_FD, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	header = CMSG_FIRSTHDR(&msg);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static int run_process(const char *uri, const char *pin)
{
	struct answer answer = { 0 };
	bool pin_refused;
	char err[512];
	struct token *token = token_open(uri, pin, &pin_refused, err, sizeof(err));
	int fd;

	if (!token) {
		fail_with(&answer, err);
		if (pin_refused)
			answer.status = ANSWER_PIN_REFUSED;
	}
	if (send_answer(CONTROL_FD, &answer) || !token)
		return 1;
	while ((fd = receive_asker()) >= 0)
		add_asker(token, fd);
	pthread_mutex_lock(&askers_lock);
	while (askers)
		pthread_cond_wait(&askers_gone, &askers_lock);
	pthread_mutex_unlock(&askers_lock);
	token_close(token);
	return 0;
}

static void begin_process(const char *uri, const char *pin, pid_t starter, int control)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "tlsport-signer");
	if (getppid() != starter)
		_exit(1);
	/* Nothing of who started it: it would keep its sockets open. */
	if (dup2(control, CONTROL_FD) < 0 || close_range(CONTROL_FD + 1, ~0U, 0))
		_exit(1);
	_exit(run_process(uri, pin));
}

/* --- who asks --- */

static void forget(struct signer *signer)
{
	struct signer **at = &signers;

	while (*at && *at != signer)
		at = &(*at)->next;
	if (*at)
		*at = signer->next;
	signer_disconnect(signer);
	if (signer->control >= 0)
		close(signer->control);
	free(signer->uri);
	free(signer->pin);
	free(signer);
}

/* 0, or -1: it is not there, says no, or says nothing */
static int await_start(struct signer *signer, char *err, size_t errlen)
{
	struct pollfd poll_fd = { signer->control, POLLIN, 0 };
	struct answer answer;
	ssize_t len = -1;

	if (poll(&poll_fd, 1, SIGNER_START_MS) > 0)
		len = recv(signer->control, &answer, sizeof(answer), 0);
	else
		kill(signer->pid, SIGKILL);
	if (len >= (ssize_t)offsetof(struct answer, data) && answer.status == ANSWER_GOOD)
		return 0;
	waitpid(signer->pid, NULL, 0);
	signer->pid = 0;
	close(signer->control);
	signer->control = -1;
	if (len <= (ssize_t)offsetof(struct answer, data))
		return refuse(err, errlen, "%s: %s", signer->uri,
			      len < 0 ? "the token does not answer" :
					"the module ended the process that it was loaded into");
	answer.data[sizeof(answer.data) - 1] = '\0';
	if (answer.status == ANSWER_PIN_REFUSED)
		snprintf(signer->refused, sizeof(signer->refused), "%.511s", (char *)answer.data);
	return refuse(err, errlen, "%s", (char *)answer.data);
}

static int start_process(struct signer *signer, char *err, size_t errlen)
{
	pid_t starter = getpid();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return refuse(err, errlen, "%s: no socket: %m", signer->uri);
	signer->pid = fork();
	if (!signer->pid)
		begin_process(signer->uri, signer->pin, starter, pair[1]);
	close(pair[1]);
	if (signer->pid < 0) {
		close(pair[0]);
		return refuse(err, errlen, "%s: no process for it: %m", signer->uri);
	}
	signer->control = pair[0];
	return await_start(signer, err, errlen);
}

/* What of it is known already: in use, or refused.  Of what was refused before, no more. */
static struct signer *find(const char *uri, const char *pin, const struct stamp *stamp)
{
	struct signer *signer, *next, *found = NULL;

	for (signer = signers; signer; signer = next) {
		bool same = !strcmp(signer->uri, uri) && same_text(signer->pin, pin);

		next = signer->next;
		if (same && same_stamp(&signer->stamp, stamp) &&
		    (signer->refused[0] || signer_lives(signer)))
			found = signer;
		else if (same && signer->refused[0])
			forget(signer);
	}
	return found;
}

static struct signer *add(const char *uri, char *pin, const struct stamp *stamp)
{
	struct signer *signer = calloc(1, sizeof(*signer));

	if (!signer)
		return NULL;
	*signer = (struct signer){ .pin = pin, .stamp = *stamp, .control = -1, .fd = -1 };
	signer->uri = strdup(uri);
	if (!signer->uri) {
		free(signer);
		return NULL;
	}
	signer->next = signers;
	signers = signer;
	return signer;
}

struct signer *signer_get(const char *uri, const char *passphrase, char *err, size_t errlen)
{
	char *pin = token_pin_file(uri, passphrase);
	const struct stamp stamp = stamp_of(pin);
	struct signer *signer = find(uri, pin, &stamp);

	if (signer) {
		free(pin);
		if (!signer->refused[0])
			return signer_hold(signer);
		refuse(err, errlen, "%s", signer->refused);
		return NULL;
	}
	signer = add(uri, pin, &stamp);
	if (!signer) {
		free(pin);
		refuse(err, errlen, "out of memory");
		return NULL;
	}
	if (!start_process(signer, err, errlen))
		return signer_hold(signer);
	if (!signer->refused[0])
		forget(signer);
	return NULL;
}

struct signer *signer_hold(struct signer *signer)
{
	if (signer)
		signer->holders++;
	return signer;
}

void signer_put(struct signer *signer)
{
	if (signer && !--signer->holders)
		forget(signer);
}

bool signer_lives(const struct signer *signer)
{
	return signer->control >= 0;
}

const char *signer_ended(pid_t pid)
{
	for (struct signer *signer = signers; signer; signer = signer->next) {
		if (signer->pid != pid || signer->control < 0)
			continue;
		close(signer->control);
		signer->control = -1;
		return signer->uri;
	}
	return NULL;
}

int signer_connect(struct signer *signer)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { "", 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	int pair[2], err;

	if (signer->fd >= 0)
		return signer->fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &pair[1], sizeof(int));
	if (sendmsg(signer->control, &msg, MSG_NOSIGNAL) < 0) {
		err = errno;
		close(pair[0]);
		close(pair[1]);
		errno = err;
		return -1;
	}
	close(pair[1]);
	signer->fd = pair[0];
	signer->waits = false;
	return signer->fd;
}

void signer_disconnect(struct signer *signer)
{
	if (signer->fd >= 0)
		close(signer->fd);
	signer->fd = -1;
}

/* The answer to the last request; those to requests that were given up are passed over. */
static int await_answer(struct signer *signer, struct answer *answer, int64_t until)
{
	struct pollfd poll_fd = { signer->fd, POLLIN, 0 };
	int64_t left;
	ssize_t len;
	int ready;

	for (;;) {
		left = until - now_ms();
		ready = poll(&poll_fd, 1, left > 0 ? left : 0);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return -1;
		len = read(signer->fd, answer, sizeof(*answer));
		if (len <= 0) {
			signer_disconnect(signer);
			return -1;
		}
		if (len < (ssize_t)offsetof(struct answer, data) ||
		    (size_t)len - offsetof(struct answer, data) != answer->len ||
		    answer->number != signer->number)
			continue;
		signer->waits = false;
		return 0;
	}
}

static int gone(const struct signer *signer, char *err, size_t errlen)
{
	return refuse(err, errlen, "%s: %s", signer->uri,
		      signer->fd < 0 ? "the process that signs with it has ended" :
				       "the token does not answer");
}

int signer_sign(struct signer *signer, enum token_how how, const uint8_t *data, size_t len,
		uint8_t *to, char *err, size_t errlen)
{
	struct request request = { .how = how, .len = len };
	struct iovec iov = { &request, offsetof(struct request, data) + len };
	const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct answer answer;

	if (len > sizeof(request.data))
		return refuse(err, errlen, "%s: that is too long to be signed", signer->uri);
	if (signer->fd < 0 || (signer->waits && await_answer(signer, &answer, 0)))
		return gone(signer, err, errlen);
	request.number = ++signer->number;
	memcpy(request.data, data, len);
	/* Not send(), which is another call than workers may make. */
	if (sendmsg(signer->fd, &msg, MSG_NOSIGNAL) != (ssize_t)iov.iov_len) {
		signer_disconnect(signer);
		return gone(signer, err, errlen);
	}
	signer->waits = true;
	if (await_answer(signer, &answer, now_ms() + SIGNER_SIGN_MS))
		return gone(signer, err, errlen);
	if (answer.status == ANSWER_GOOD) {
		memcpy(to, answer.data, answer.len);
		return answer.len;
	}
	answer.data[sizeof(answer.data) - 1] = '\0';
	return refuse(err, errlen, "%s", (char *)answer.data);
}
