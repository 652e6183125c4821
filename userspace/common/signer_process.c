// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process that signs, see signer_process.h.
 *
 * It has a thread for each that asks, with a session of its own, so that a token that
 * can sign several things at once does; where that has no more they share one.  A module
 * that does not come back from a call cannot be helped, so another thread looks after all
 * calls, and ends the process: who started it starts another.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"
#include "signer.h"
#include "signer_process.h"
#include "signer_wire.h"

#define INFO_HEAD_LEN 19

/* The digests that are signed, and the beginnings of their DigestInfo (RFC 8017 9.2) */
static const struct {
	size_t len;
	uint8_t info_head[INFO_HEAD_LEN];
} hashes[] = {
	{ 32,
	  { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
	    0x01, 0x05, 0x00, 0x04, 0x20 } },
	{ 48,
	  { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
	    0x02, 0x05, 0x00, 0x04, 0x30 } },
	{ 64,
	  { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
	    0x03, 0x05, 0x00, 0x04, 0x40 } },
};

/* Faults in a row, of all sessions, after which it is the process that is at fault */
#define FAULTS_MAX 5
/* Between looks at the calls, and between tries to start a thread */
#define LOOK_MS 500

static int send_answer(int fd, const struct signer_answer *answer)
{
	size_t len = offsetof(struct signer_answer, data) + answer->len;
	ssize_t sent;

	do {
		sent = send(fd, answer, len, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)len ? 0 : -1;
}

/* --- calls of the module, which may not come back --- */

struct call {
	int64_t began;
	struct call *next;
};

/* @progress: when one came back, or was the first to begin */
static struct {
	pthread_mutex_t lock;
	struct call *list;
	int64_t progress;
} calls = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void begin_call(struct call *call)
{
	call->began = clock_ms();
	pthread_mutex_lock(&calls.lock);
	if (!calls.list)
		calls.progress = call->began;
	call->next = calls.list;
	calls.list = call;
	pthread_mutex_unlock(&calls.lock);
}

static void end_call(struct call *call)
{
	struct call **at = &calls.list;

	pthread_mutex_lock(&calls.lock);
	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	calls.progress = clock_ms();
	pthread_mutex_unlock(&calls.lock);
}

/* Does the token do nothing, or one call for ever? */
static bool is_hung(void)
{
	const int64_t now = clock_ms();
	bool hung;

	pthread_mutex_lock(&calls.lock);
	hung = calls.list && now - calls.progress > SIGNER_HANG_MS;
	for (const struct call *call = calls.list; call; call = call->next)
		hung |= now - call->began > SIGNER_CALL_MS;
	pthread_mutex_unlock(&calls.lock);
	return hung;
}

static struct call start_call;

/* That another process logs in is no call; this one's own begins after it. */
static void on_wait(bool waits)
{
	const struct signer_answer answer = { .status = waits ? SIGNER_WAITS : SIGNER_GOES_ON };

	if (waits)
		end_call(&start_call);
	else
		begin_call(&start_call);
	send_answer(SIGNER_CONTROL_FD, &answer);
}

static void *look_after_calls(void *arg)
{
	while (!is_hung())
		poll(NULL, 0, LOOK_MS);
	_exit(SIGNER_EXIT_HUNG);
	return arg;
}

/* --- signatures --- */

struct asker {
	struct token *token;
	struct token_session *session; /* NULL: there is none at the moment */
	int fd;
};

/* Of those that have none of their own */
static struct {
	pthread_mutex_t lock;
	struct token_session *session;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_mutex_t askers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t askers_gone = PTHREAD_COND_INITIALIZER;
static unsigned int askers;
static atomic_uint faults;

static void fail_with(struct signer_answer *answer, const char *why)
{
	answer->status = SIGNER_FAILED;
	answer->len = snprintf((char *)answer->data, sizeof(answer->data), "%s", why) + 1;
}

/* Length, or -1: no session, or no signature; the session is given up where it is of no use. */
static int sign_in(struct token *token, struct token_session **session,
		   const struct signer_request *request, struct signer_answer *answer,
		   enum token_fault *fault)
{
	char err[512];
	int len = -1;

	if (!*session)
		*session = token_session(token, fault, err, sizeof(err));
	if (*session)
		len = token_sign(*session, request->how, request->data, request->len, answer->data,
				 fault, err, sizeof(err));
	if (len >= 0) {
		answer->status = SIGNER_GOOD;
		answer->len = len;
		return len;
	}
	fail_with(answer, err);
	if (*fault == TOKEN_FAILS) {
		token_session_end(*session);
		*session = NULL;
	}
	return -1;
}

static int sign(struct asker *asker, const struct signer_request *request,
		struct signer_answer *answer, enum token_fault *fault)
{
	int len = sign_in(asker->token, &asker->session, request, answer, fault);

	if (len >= 0 || *fault != TOKEN_FULL)
		return len;
	pthread_mutex_lock(&shared.lock);
	len = sign_in(asker->token, &shared.session, request, answer, fault);
	pthread_mutex_unlock(&shared.lock);
	return len;
}

/* Once more with another session, where that may help.  true: the process is of no use */
static bool make_answer(struct asker *asker, const struct signer_request *request,
			struct signer_answer *answer)
{
	enum token_fault fault;
	struct call call;
	int len;

	begin_call(&call);
	len = sign(asker, request, answer, &fault);
	if (len < 0 && fault == TOKEN_FAILS)
		len = sign(asker, request, answer, &fault);
	end_call(&call);
	if (len >= 0)
		atomic_store(&faults, 0);
	if (len >= 0 || fault == TOKEN_REFUSES || fault == TOKEN_FULL)
		return false;
	return fault == TOKEN_LOST || atomic_fetch_add(&faults, 1) + 1 >= FAULTS_MAX;
}

static bool is_digest_info(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (len == INFO_HEAD_LEN + hashes[i].len &&
		    !memcmp(data, hashes[i].info_head, INFO_HEAD_LEN))
			return true;
	return false;
}

bool signer_request_is_proper(const struct signer_request *request)
{
	if (request->len > sizeof(request->data))
		return false;
	if (request->how == TOKEN_RSA_PKCS1)
		return is_digest_info(request->data, request->len);
	if (request->how != TOKEN_ECDSA && request->how != TOKEN_RSA_PSS)
		return false;
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (request->len == hashes[i].len)
			return true;
	return false;
}

/* One is enough: others say the same. */
static void tell_rejection(void)
{
	static const struct signer_answer answer = { .status = SIGNER_REJECTED };
	static atomic_flag told = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&told))
		send_answer(SIGNER_CONTROL_FD, &answer);
}

/* Who asks may be a worker that was taken over. */
static void serve_asker(struct asker *asker)
{
	struct signer_request request;
	struct signer_answer answer;
	struct call call;
	bool lost = false;
	ssize_t len;

	while (!lost) {
		len = recv(asker->fd, &request, sizeof(request), 0);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < (ssize_t)offsetof(struct signer_request, data) ||
		    (size_t)len - offsetof(struct signer_request, data) != request.len)
			break;
		if (request.how == SIGNER_REJECT)
			tell_rejection();
		if (!signer_request_is_proper(&request))
			break;
		answer.number = request.number;
		lost = make_answer(asker, &request, &answer);
		if (send_answer(asker->fd, &answer))
			break;
	}
	if (lost)
		_exit(1);
	begin_call(&call);
	token_session_end(asker->session);
	end_call(&call);
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

/* Until there is room for it, or who started us has ended: who asks has no other. */
static int start_thread(void *(*run)(void *), void *arg)
{
	struct pollfd control = { .fd = SIGNER_CONTROL_FD };
	pthread_t thread;

	while (pthread_create(&thread, NULL, run, arg))
		if (poll(&control, 1, LOOK_MS) > 0)
			return -1;
	pthread_detach(thread);
	return 0;
}

static void add_asker(struct token *token, int fd)
{
	struct asker *asker = malloc(sizeof(*asker));

	if (!asker)
		_exit(1);
	*asker = (struct asker){ token, NULL, fd };
	pthread_mutex_lock(&askers_lock);
	askers++;
	pthread_mutex_unlock(&askers_lock);
	if (start_thread(run_asker, asker))
		_exit(1);
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
	ssize_t len;
	int fd;

	do {
		len = recvmsg(SIGNER_CONTROL_FD, &msg, MSG_CMSG_CLOEXEC);
	} while (len < 0 && errno == EINTR);
	if (!len)
		return -1;
	header = CMSG_FIRSTHDR(&msg);
	/* Without file descriptors left it can serve nobody new, and will not find out why. */
	if (len < 0 || (msg.msg_flags & MSG_CTRUNC) || !header || header->cmsg_type != SCM_RIGHTS)
		_exit(1);
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* --- the start --- */

const struct signer_proof_kind signer_proof_kinds[SIGNER_PROOFS] = {
	{ TOKEN_ECDSA, 32 },	 { TOKEN_ECDSA, 48 },	{ TOKEN_ECDSA, 64 },
	{ TOKEN_RSA_PKCS1, 32 }, { TOKEN_RSA_PSS, 32 }, { TOKEN_RSA_PSS, 48 },
	{ TOKEN_RSA_PSS, 64 },
};

static void set_request(struct signer_request *request, const struct signer_proof_kind *kind,
			const struct signer_challenge *challenge)
{
	size_t head = kind->how == TOKEN_RSA_PKCS1 ? INFO_HEAD_LEN : 0;

	request->how = kind->how;
	request->len = head + kind->len;
	memcpy(request->data, hashes[0].info_head, head);
	memcpy(request->data + head, challenge->bytes, kind->len);
}

/* A signature in each way that clients can ask for; all of them can be had, and soon enough. */
static int prove(struct token_session *session, const char *uri,
		 const struct signer_challenge *challenge, char *err, size_t errlen)
{
	struct signer_answer answer = { .status = SIGNER_PROOF };
	int64_t began, took = 0;
	struct signer_request request;
	enum token_fault fault;
	int len;

	for (size_t i = 0; i < SIGNER_PROOFS; i++) {
		if (!token_can(session, signer_proof_kinds[i].how))
			continue;
		set_request(&request, &signer_proof_kinds[i], challenge);
		began = clock_ms();
		len = token_sign(session, request.how, request.data, request.len, answer.data,
				 &fault, err, errlen);
		if (len < 0)
			return -1;
		took = clock_ms() - began;
		answer.number = i;
		answer.len = len;
		if (send_answer(SIGNER_CONTROL_FD, &answer))
			return -1;
	}
	if (took <= SIGNER_SIGN_MS)
		return 0;
	snprintf(err, errlen,
		 "%s: the token is too slow: a signature took %lld ms, and may take %d", uri,
		 (long long)took, SIGNER_SIGN_MS);
	return -1;
}

static struct token *start_token(char **argv, const struct signer_challenge *challenge, char *err,
				 size_t errlen)
{
	const char *uri = argv[1], *pin = argv[2][0] ? argv[2] : NULL;
	struct token *token = token_open(uri, pin, argv[3], on_wait, err, errlen);
	enum token_fault fault;

	if (token)
		shared.session = token_session(token, &fault, err, errlen);
	if (shared.session && !prove(shared.session, uri, challenge, err, errlen))
		return token;
	token_session_end(shared.session);
	token_close(token);
	return NULL;
}

static void nothing(int sig)
{
	(void)sig;
}

/*
 * Who started us ends us, after the last that asks: not systemd or a terminal, which
 * signal all at once.  What the module executes is not to inherit it.
 */
static void heed_no_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	sigset_t none;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int begin(struct signer_challenge *challenge)
{
	ssize_t len;

	prctl(PR_SET_NAME, SIGNER_NAME);
	memory_forbid_dumps(); /* a PIN for a while, and keys of a module in software */
	(void)memory_lock();   /* what may not be locked is no reason not to sign */
	heed_no_signals();
	if (fcntl(SIGNER_CONTROL_FD, F_SETFD, FD_CLOEXEC))
		return -1;
	do {
		len = recv(SIGNER_CONTROL_FD, challenge, sizeof(*challenge), 0);
	} while (len < 0 && errno == EINTR);
	return len == sizeof(*challenge) ? start_thread(look_after_calls, NULL) : -1;
}

/* Those that still ask are served first. */
static void await_askers(void)
{
	pthread_mutex_lock(&askers_lock);
	while (askers)
		pthread_cond_wait(&askers_gone, &askers_lock);
	pthread_mutex_unlock(&askers_lock);
}

int signer_main(char **argv)
{
	struct signer_challenge challenge;
	struct signer_answer answer = { .status = SIGNER_GOOD };
	struct token *token;
	char err[512] = "";
	int fd;

	if (begin(&challenge))
		return 1;
	begin_call(&start_call);
	token = start_token(argv, &challenge, err, sizeof(err));
	end_call(&start_call);
	if (!token)
		fail_with(&answer, err);
	if (send_answer(SIGNER_CONTROL_FD, &answer) || !token)
		return 1;
	while ((fd = receive_asker()) >= 0)
		add_asker(token, fd);
	await_askers();
	begin_call(&start_call);
	token_session_end(shared.session);
	token_close(token);
	end_call(&start_call);
	return 0;
}
