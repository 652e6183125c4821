// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes that sign, as who asks them sees them; see signer.h, and
 * signer_process.c for the other side.
 *
 * The list has those that somebody holds, and those that are starting or have failed:
 * they are there for the next signer_get(), and are dropped when none asks for long.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "refuse.h"
#include "signer.h"
#include "signer_process.h"
#include "signer_wire.h"
#include "token_uri.h"

/* What is waited for at once, in units of 1/SIGNER_SHARE ms */
#define CREDIT_MAX (SIGNER_SHARE * SIGNER_SIGN_MS)
#define DIED	   "%s: the module ended the process that it was loaded into"
/* A key that does not fit is not looked for again in a process that is younger. */
#define FRESH_MS 10000
/* What nobody holds stays for so long; ports ask for it each minute while they want it. */
#define KEEP_MS 120000
/* Who is lost again within this time is replaced after it. */
#define LOST_MS 60000

/* Does the file of the PIN have another content?  One that is not there has none. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

enum signer_state {
	SIGNER_STARTING,
	SIGNER_SERVES,
	SIGNER_FAILED_TO_START,
	SIGNER_ENDED,
};

/**
 * struct signer - a process, or that there was one
 * @pin: file; NULL: no PIN
 * @pid: 0: it was collected
 * @control: socket to the process; -1: it ended
 * @since: when it came into its state, or its turn to log in, ms
 * @waits_for_others: to log in: no limit of time counts
 * @asked: when it was last asked for, ms
 * @pass: likewise
 * @outdated: it is not given out any more
 * @wrong: one that asks it has rejected it
 * @lost: when the last process of this key was, 0: none
 * @replace_at: another is to be started, ms; 0: no
 * @error: why there is no process, while it is starting: the last time
 * @challenge: of the proofs
 * @fd: of this process, to ask; -1
 * @number: of the last request
 * @waits: it was not answered
 * @slow: the last answer was
 * @rejected: for what it has signed for this process
 * @rests: until then none is made
 */
struct signer {
	char *uri;
	char *pin;
	struct stamp stamp;
	enum signer_state state;
	pid_t pid;
	int control;
	int64_t since;
	bool waits_for_others;
	int64_t asked;
	unsigned int pass;
	unsigned int holders;
	bool outdated;
	bool wrong;
	int64_t lost;
	int64_t replace_at;
	char error[512];
	struct signer_challenge challenge;
	struct signer_proof proofs[SIGNER_PROOFS];
	int fd;
	uint32_t number;
	bool waits;
	bool slow;
	bool rejected;
	int64_t rests;
	struct signer *next;
};

static struct signer *signers;
static const char *record_dir = "/run/tlsport";

/* The pass: 0 as its number: there are none */
static struct {
	unsigned int number;
	int64_t until;
	int64_t failed_before; /* is tried again */
	int64_t began_before;  /* may have another key by now */
	bool missed;
} pass;

/* Of starting processes; -1: nobody wants to know */
static int events = -1;
static bool news;

/* For slow tokens; see signer_sign() */
static struct {
	int64_t credit;
	int64_t at;
} patience = { .credit = CREDIT_MAX };

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

/* --- starting --- */

static void enter(struct signer *signer, enum signer_state state)
{
	signer->state = state;
	signer->since = clock_ms();
	signer->waits_for_others = false;
}

static void watch(const struct signer *signer, int operation)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (events >= 0 && signer->control >= 0)
		epoll_ctl(events, operation, signer->control, &event);
}

static void close_control(struct signer *signer)
{
	/* Not by close(2) alone: a child that was just forked has it still. */
	watch(signer, EPOLL_CTL_DEL);
	if (signer->control >= 0)
		close(signer->control);
	signer->control = -1;
}

static void forget(struct signer *signer)
{
	struct signer **at = &signers;

	while (*at && *at != signer)
		at = &(*at)->next;
	if (*at)
		*at = signer->next;
	signer_disconnect(signer);
	close_control(signer);
	free(signer->uri);
	free(signer->pin);
	free(signer);
}

/* Who is killed while it logs in has had its PIN refused, as far as the record of PINs knows. */
static void fail_to_start(struct signer *signer, const char *fmt, const char *arg)
	__attribute__((format(printf, 2, 0)));

static void fail_to_start(struct signer *signer, const char *fmt, const char *arg)
{
	if (signer->pid)
		kill(signer->pid, SIGKILL); /* it is collected like all that end */
	close_control(signer);
	snprintf(signer->error, sizeof(signer->error), fmt, arg);
	enter(signer, SIGNER_FAILED_TO_START);
	news = true;
}

/* Where it is looked for after execve(2); the socket may be there already. */
static int place_control(int control)
{
	int high = fcntl(control, F_DUPFD, SIGNER_CONTROL_FD + 1);

	if (high < 0 || dup2(high, SIGNER_CONTROL_FD) < 0)
		return -1;
	return close_range(SIGNER_CONTROL_FD + 1, ~0U, 0);
}

/* Nothing of who started it is left: not its memory, and not its sockets. */
static void run_process(const struct signer *signer, pid_t starter, int control)
{
	char *const words[SIGNER_ARGC + 1] = {
		SIGNER_NAME, signer->uri, signer->pin ? signer->pin : "", (char *)record_dir, NULL,
	};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t all;

	/* Until it has handlers. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != starter || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || place_control(control))
		_exit(1);
	execv("/proc/self/exe", words);
	_exit(127);
}

static void start_process(struct signer *signer)
{
	pid_t starter = getpid();
	int pair[2];

	memset(signer->proofs, 0, sizeof(signer->proofs));
	signer->pid = 0;
	if (getrandom(&signer->challenge, sizeof(signer->challenge), 0) !=
		    sizeof(signer->challenge) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		fail_to_start(signer, "no socket for the process that signs: %s", strerror(errno));
		return;
	}
	signer->control = pair[0];
	signer->pid = fork();
	if (!signer->pid)
		run_process(signer, starter, pair[1]);
	close(pair[1]);
	if (signer->pid < 0) {
		signer->pid = 0;
		fail_to_start(signer, "no process to sign: %s", strerror(errno));
		return;
	}
	/* If it has ended already that will be seen. */
	(void)!send(signer->control, &signer->challenge, sizeof(signer->challenge), MSG_NOSIGNAL);
	watch(signer, EPOLL_CTL_ADD);
	enter(signer, SIGNER_STARTING);
}

/* Another is to be started at once, or later where the one before it was lost just now. */
static void lose(struct signer *signer)
{
	const int64_t now = clock_ms(), last = signer->lost;

	signer->lost = now;
	signer->replace_at = last && now - last < LOST_MS ? now + LOST_MS : now;
}

static void take_proof(struct signer *signer, const struct signer_answer *answer)
{
	struct signer_proof *proof = &signer->proofs[answer->number];

	proof->len = answer->len;
	memcpy(proof->signature, answer->data, answer->len);
}

static void take_answer(struct signer *signer, struct signer_answer *answer)
{
	if (answer->status == SIGNER_PROOF && answer->number < SIGNER_PROOFS) {
		take_proof(signer, answer);
	} else if (answer->status == SIGNER_WAITS || answer->status == SIGNER_GOES_ON) {
		enter(signer, SIGNER_STARTING);
		signer->waits_for_others = answer->status == SIGNER_WAITS;
	} else if (answer->status == SIGNER_GOOD) {
		signer->error[0] = '\0';
		enter(signer, SIGNER_SERVES);
		news = true;
	} else {
		answer->data[sizeof(answer->data) - 1] = '\0';
		fail_to_start(signer, "%s", (char *)answer->data);
	}
}

/* Its workers have no use for it: it is as if it had ended. */
static void take_complaint(struct signer *signer, const struct signer_answer *answer)
{
	if (answer->status != SIGNER_REJECTED || signer->wrong)
		return;
	signer->outdated = signer->wrong = true;
	lose(signer);
}

static void take(struct signer *signer, struct signer_answer *answer, ssize_t len)
{
	const bool whole = len >= (ssize_t)offsetof(struct signer_answer, data) &&
			   (size_t)len - offsetof(struct signer_answer, data) == answer->len;

	if (signer->state == SIGNER_STARTING && whole)
		take_answer(signer, answer);
	else if (signer->state == SIGNER_STARTING)
		fail_to_start(signer, DIED, signer->uri);
	else if (whole)
		take_complaint(signer, answer);
}

static int64_t time_left(const struct signer *signer)
{
	if (signer->waits_for_others)
		return SIGNER_START_MS;
	return signer->since + SIGNER_START_MS - clock_ms();
}

/* What it has said; and is its time over? */
static void hear(struct signer *signer)
{
	struct signer_answer answer;
	ssize_t len;

	while (signer->state == SIGNER_STARTING || signer->state == SIGNER_SERVES) {
		len = recv(signer->control, &answer, sizeof(answer), MSG_DONTWAIT);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			break;
		take(signer, &answer, len);
		if (len > 0)
			continue;
		/* Of one that served the end is a child's. */
		watch(signer, EPOLL_CTL_DEL);
		break;
	}
	if (signer->state == SIGNER_STARTING && time_left(signer) <= 0)
		fail_to_start(signer, "%s: the token does not answer", signer->uri);
}

static void await_start(struct signer *signer, int64_t until)
{
	struct pollfd fd = { .fd = signer->control, .events = POLLIN };
	int64_t left, now = clock_ms();

	hear(signer);
	while (signer->state == SIGNER_STARTING && now < until) {
		left = time_left(signer);
		poll(&fd, 1, left < until - now ? left : until - now);
		hear(signer);
		now = clock_ms();
	}
}

int signer_events(void)
{
	if (events >= 0)
		return events;
	events = epoll_create1(EPOLL_CLOEXEC);
	for (struct signer *signer = signers; signer; signer = signer->next)
		watch(signer, EPOLL_CTL_ADD);
	return events;
}

static int64_t idle_until(const struct signer *signer)
{
	return (signer->asked > signer->since ? signer->asked : signer->since) + KEEP_MS;
}

/* When there is something to be done with it, -1: never */
static int64_t due_at(const struct signer *signer)
{
	if (signer->state == SIGNER_STARTING)
		return clock_ms() + time_left(signer);
	if (signer->replace_at)
		return signer->replace_at;
	return signer->holders ? -1 : idle_until(signer);
}

/* true: it was dropped */
static bool attend(struct signer *signer)
{
	hear(signer);
	if (signer->replace_at && signer->replace_at <= clock_ms()) {
		signer->replace_at = 0;
		news = true;
	}
	if (signer->holders || signer->state == SIGNER_STARTING || idle_until(signer) > clock_ms())
		return false;
	forget(signer);
	return true;
}

bool signer_attend(int64_t *next)
{
	struct signer *signer, *following;
	bool had = news;
	int64_t at, left;

	*next = -1;
	for (signer = signers; signer; signer = following) {
		following = signer->next;
		if (attend(signer))
			continue;
		at = due_at(signer);
		if (at < 0)
			continue;
		left = at - clock_ms();
		if (*next < 0 || left < *next)
			*next = left > 0 ? left : 0;
	}
	had |= news;
	news = false;
	return had;
}

/* --- the list --- */

void signer_run_dir(const char *run_dir)
{
	record_dir = run_dir;
}

void signer_pass(int patience_ms)
{
	int64_t now = clock_ms();

	pass.number++;
	pass.until = now + patience_ms;
	pass.failed_before = patience_ms ? now : now - SIGNER_AGAIN_MS;
	pass.began_before = patience_ms ? now : now - FRESH_MS;
	pass.missed = false;
}

bool signer_missed(void)
{
	return pass.missed;
}

static struct signer *find(const char *uri, const char *pin, const struct stamp *stamp)
{
	struct signer *signer = signers;

	while (signer && (strcmp(signer->uri, uri) || !same_text(signer->pin, pin) ||
			  !same_stamp(&signer->stamp, stamp) || signer->outdated ||
			  signer->state == SIGNER_ENDED))
		signer = signer->next;
	return signer;
}

/* It knows when those before it were lost, and is there in their place. */
static void succeed(struct signer *signer)
{
	for (struct signer *old = signers; old; old = old->next) {
		if (strcmp(old->uri, signer->uri))
			continue;
		if (old->lost > signer->lost)
			signer->lost = old->lost;
		old->replace_at = 0;
	}
}

static void note_asked(struct signer *signer)
{
	signer->asked = clock_ms();
	signer->pass = pass.number;
}

/* Starts it as well. */
static struct signer *add(const char *uri, const char *pin, const struct stamp *stamp)
{
	struct signer *signer = calloc(1, sizeof(*signer));

	if (!signer)
		return NULL;
	*signer = (struct signer){
		.uri = strdup(uri),
		.pin = pin ? strdup(pin) : NULL,
		.stamp = *stamp,
		.control = -1,
		.fd = -1,
	};
	if (!signer->uri || (pin && !signer->pin)) {
		forget(signer);
		return NULL;
	}
	snprintf(signer->error, sizeof(signer->error), "%s: the token has not answered yet", uri);
	succeed(signer);
	signer->next = signers;
	signers = signer;
	start_process(signer);
	return signer;
}

/* Started, if it is not; NULL: out of memory */
static struct signer *look_up(const char *uri, const char *passphrase)
{
	char *pin = token_pin_file(uri, passphrase);
	const struct stamp stamp = stamp_of(pin);
	struct signer *signer = find(uri, pin, &stamp);

	if (!signer)
		signer = add(uri, pin, &stamp);
	else if (signer->state == SIGNER_FAILED_TO_START &&
		 (!pass.number || signer->since < pass.failed_before))
		start_process(signer);
	free(pin);
	if (signer)
		note_asked(signer);
	return signer;
}

void signer_begin(const char *uri, const char *passphrase)
{
	look_up(uri, passphrase);
}

struct signer *signer_get(const char *uri, const char *passphrase, char *err, size_t errlen)
{
	struct signer *signer = look_up(uri, passphrase);
	const bool others = news;

	if (signer && signer->state == SIGNER_STARTING) {
		await_start(signer, pass.number ? pass.until : clock_ms() + SIGNER_START_MS);
		if (signer->state != SIGNER_STARTING)
			news = others;
	}
	if (signer && signer->state == SIGNER_SERVES)
		return signer_hold(signer);
	pass.missed = true;
	refuse(err, errlen, "%s", signer ? signer->error : "out of memory");
	return NULL;
}

struct signer *signer_hold(struct signer *signer)
{
	if (signer)
		signer->holders++;
	return signer;
}

/* One that was asked for in this pass will be, by others of this pass or in the next. */
void signer_put(struct signer *signer)
{
	if (!signer || --signer->holders)
		return;
	if (!pass.number || signer->pass != pass.number || signer->outdated ||
	    signer->state == SIGNER_ENDED)
		forget(signer);
}

const char *signer_uri(const struct signer *signer)
{
	return signer->uri;
}

bool signer_lives(const struct signer *signer)
{
	return signer->state == SIGNER_SERVES && !signer->wrong;
}

const char *signer_ended(pid_t pid)
{
	struct signer *signer = signers;

	while (signer && signer->pid != pid)
		signer = signer->next;
	if (!signer)
		return NULL;
	signer->pid = 0;
	hear(signer); /* what it said at last */
	/* Something else may have the socket still. */
	if (signer->state == SIGNER_STARTING)
		fail_to_start(signer, DIED, signer->uri);
	if (signer->state != SIGNER_SERVES)
		return NULL;
	close_control(signer);
	enter(signer, SIGNER_ENDED);
	if (!signer->wrong)
		lose(signer);
	return signer->uri;
}

const struct signer_proof *signer_proof(const struct signer *signer, size_t number)
{
	return &signer->proofs[number];
}

const uint8_t *signer_challenge(const struct signer *signer)
{
	return signer->challenge.bytes;
}

void signer_doubt(struct signer *signer)
{
	const int64_t before = pass.number ? pass.began_before : clock_ms() - FRESH_MS;
	struct stamp stamp = stamp_of(signer->pin);
	struct signer *other;

	if (signer->outdated)
		return;
	if (signer->since > before) {
		pass.missed = true;
		return;
	}
	signer->outdated = true;
	other = add(signer->uri, signer->pin, &stamp);
	if (other)
		note_asked(other);
}

bool signer_is_replaced(const struct signer *signer)
{
	return signer->outdated && pass.until > clock_ms();
}

/* --- signatures --- */

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
	if (sendmsg(signer->control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		err = errno;
		close(pair[0]);
		close(pair[1]);
		errno = err;
		return -1;
	}
	close(pair[1]);
	signer->fd = pair[0];
	signer->waits = signer->rejected = false;
	return signer->fd;
}

void signer_disconnect(struct signer *signer)
{
	if (signer->fd >= 0)
		close(signer->fd);
	signer->fd = -1;
}

/* Not by send(), which is another call than workers may make. */
static int send_request(const struct signer *signer, struct signer_request *request)
{
	struct iovec iov = { request, offsetof(struct signer_request, data) + request->len };
	const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(signer->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)iov.iov_len ? 0 :
												-1;
}

void signer_reject(struct signer *signer)
{
	struct signer_request request = { .how = SIGNER_REJECT };

	/* One that does not hear it has ended, or is about to: for its workers all the same. */
	send_request(signer, &request);
	signer_disconnect(signer);
	signer->rejected = true;
}

/* The answer to the last request; those to requests that were given up are passed over. */
static int await_answer(struct signer *signer, struct signer_answer *answer, int64_t until)
{
	struct pollfd poll_fd = { signer->fd, POLLIN, 0 };
	int64_t left;
	ssize_t len;
	int ready;

	for (;;) {
		left = until - clock_ms();
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
		if (len < (ssize_t)offsetof(struct signer_answer, data) ||
		    (size_t)len - offsetof(struct signer_answer, data) != answer->len ||
		    answer->number != signer->number)
			continue;
		signer->waits = false;
		return 0;
	}
}

static int gone(const struct signer *signer, char *err, size_t errlen)
{
	const char *why = "the token does not answer";

	if (signer->fd < 0)
		why = signer->rejected ? "it has signed wrongly, and is not asked any more" :
					 "the process that signs with it has ended";
	return refuse(err, errlen, "%s: %s", signer->uri, why);
}

/* What others take is not taken from one that is quick. */
static bool is_patient(const struct signer *signer)
{
	int64_t now = clock_ms();

	if (!signer->slow)
		return true;

	patience.credit += now - patience.at;
	if (patience.credit > CREDIT_MAX)
		patience.credit = CREDIT_MAX;
	patience.at = now;
	return patience.credit > 0;
}

/* 0, or -1: it takes too long */
static int ask(struct signer *signer, struct signer_answer *answer)
{
	int64_t began = clock_ms(), took;
	int ret = await_answer(signer, answer, began + SIGNER_SIGN_MS);

	took = clock_ms() - began;
	signer->slow = took > SIGNER_QUICK_MS;
	if (signer->slow)
		patience.credit -= SIGNER_SHARE * took;
	if (ret)
		signer->rests = clock_ms() + SIGNER_REST_MS;
	return ret;
}

int signer_sign(struct signer *signer, enum token_how how, const uint8_t *data, size_t len,
		uint8_t *to, char *err, size_t errlen)
{
	struct signer_request request = { .number = signer->number + 1, .how = how, .len = len };
	struct signer_answer answer;

	if (len <= sizeof(request.data))
		memcpy(request.data, data, len);
	if (!signer_request_is_proper(&request))
		return refuse(err, errlen, "%s: that is nothing to be signed", signer->uri);
	if (signer->fd < 0 || signer->rests > clock_ms() ||
	    (signer->waits && await_answer(signer, &answer, 0)))
		return gone(signer, err, errlen);
	if (!is_patient(signer))
		return refuse(
			err, errlen,
			"%s: the token is so slow that other handshakes would have to wait for it: more workers do more at once",
			signer->uri);
	signer->number = request.number;
	if (send_request(signer, &request)) {
		signer_disconnect(signer);
		return gone(signer, err, errlen);
	}
	signer->waits = true;
	if (ask(signer, &answer))
		return gone(signer, err, errlen);
	if (answer.status == SIGNER_GOOD) {
		memcpy(to, answer.data, answer.len);
		return answer.len;
	}
	answer.data[sizeof(answer.data) - 1] = '\0';
	return refuse(err, errlen, "%s", (char *)answer.data);
}
