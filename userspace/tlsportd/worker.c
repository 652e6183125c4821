// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The worker: one netlink socket, one thread, one loop.  Every message of the
 * kernel is answered before the next one is read; nothing is kept of a handshake
 * after the answer that ends it.
 *
 * Answers that end a handshake hold keys.  They are wiped from the message once
 * it is sent, and NETLINK_CAP_ACK keeps the kernel from sending them back in an
 * error message.  What the calls below have left on the stack is wiped, too.
 *
 * Messages are read into one buffer and answered in another; libnl would allocate
 * for each, and once more to find that there is none.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <linux/tlsport.h>

#include "../common/clock.h"
#include "details.h"
#include "handshakes.h"
#include "log.h"
#include "proxy_header.h"
#include "stack.h"
#include "worker.h"

/* What waits in the socket while a slow handshake (RSA) is worked on. */
#define RECEIVE_BUFFER (8 * 1024 * 1024)
/* Messages before a look at signals. */
#define RECEIVE_BATCH 64
/* Likewise ms: a token may take its time for each. */
#define RECEIVE_MS 100
/* Attributes of a message besides its data. */
#define MESSAGE_ROOM 2048
/* What the kernel sends, and what it gets but for details of a client's certificate */
#define MESSAGE_MAX (TLSPORT_DATA_MAX + MESSAGE_ROOM + PROXY_HEADER_MAX)
#define EXPIRY_MS   5000
/* Answers whose errors can still be told to their handshake. */
#define ANSWERS 4096

struct worker {
	const struct generation *generation;
	struct nl_sock *sk;
	struct nl_msg *answer; /* room for MESSAGE_MAX */
	int family;
	int signals;
	int report;
	struct worker_numbers *numbers;
	struct handshakes handshakes;
	uint32_t sequence;
	uint64_t answers[ANSWERS]; /* ids by sequence number of the answer */
	int64_t longest;	   /* ms that a handshake may take, and some more */
	int64_t drain_until;	   /* 0: not draining */
	uint32_t registration;	   /* sequence number; 0: it is acknowledged, or refused */
	int refused;		   /* why, a negative errno, or 0 */
	_Alignas(struct nlmsghdr) uint8_t received[2 * TLSPORT_DATA_MAX];
};

/* Nobody else writes there: no locked instruction is needed. */
static void count(_Atomic uint64_t *number)
{
	atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* The one that is there, empty again, or one of its own: the caller's reference either way */
static struct nl_msg *empty_message(struct worker *worker, size_t room)
{
	if (room > MESSAGE_MAX)
		return nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + room);
	if (!worker->answer)
		worker->answer = nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + MESSAGE_MAX);
	if (!worker->answer)
		return NULL;
	nlmsg_get(worker->answer);
	nlmsg_hdr(worker->answer)->nlmsg_len = NLMSG_HDRLEN;
	return worker->answer;
}

static struct nl_msg *new_message(struct worker *worker, uint8_t command, size_t room)
{
	struct nl_msg *msg = empty_message(worker, room);

	if (!msg)
		return NULL;
	if (!++worker->sequence)
		worker->sequence = 1;
	if (!genlmsg_put(msg, NL_AUTO_PORT, worker->sequence, worker->family, 0, NLM_F_REQUEST,
			 command, TLSPORT_FAMILY_VERSION)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* Sends and puts; wipes, for it may hold keys. */
static int send_message(struct worker *worker, struct nl_msg *msg)
{
	int ret;

	nl_complete_msg(worker->sk, msg);
	ret = nl_send(worker->sk, msg);
	explicit_bzero(nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
	nlmsg_free(msg);
	return ret < 0 ? ret : 0;
}

static int put_result(struct nl_msg *msg, const struct engine_result *result)
{
	NLA_PUT(msg, TLSPORT_A_HS_TX, result->info_len, &result->tx);
	NLA_PUT(msg, TLSPORT_A_HS_RX, result->info_len, &result->rx);
	if (result->secret_len) {
		NLA_PUT(msg, TLSPORT_A_HS_TX_SECRET, result->secret_len, result->tx_secret);
		NLA_PUT(msg, TLSPORT_A_HS_RX_SECRET, result->secret_len, result->rx_secret);
	}
	NLA_PUT_U16(msg, TLSPORT_A_HS_SUITE, result->suite);
	if (result->resumed)
		NLA_PUT_FLAG(msg, TLSPORT_A_HS_RESUMED);
	if (*result->server_name)
		NLA_PUT_STRING(msg, TLSPORT_A_HS_SERVER_NAME, result->server_name);
	return 0;
nla_put_failure:
	return -NLE_NOMEM;
}

/**
 * struct extras - what goes to the application
 * @details: for it to ask; NULL: none
 * @preamble: for it to read first
 * @preamble_len: 0: none
 */
struct extras {
	uint8_t *details;
	size_t details_len;
	uint8_t preamble[PROXY_HEADER_MAX];
	size_t preamble_len;
};

static bool wants_header(const struct worker *worker, uint16_t number)
{
	const struct served_port *port = generation_port(worker->generation, number);

	return port && port->config->proxy_protocol;
}

/* The addresses are in each message of the kernel. */
static int put_header(struct nlattr **attrs, const struct engine_result *result,
		      const struct client_identity *client, struct extras *extras)
{
	const struct nlattr *local = attrs[TLSPORT_A_HS_LOCAL_ADDR];
	const struct nlattr *peer = attrs[TLSPORT_A_HS_PEER_ADDR];
	struct proxy_addresses addresses;

	if (!local || !peer || !attrs[TLSPORT_A_HS_PEER_PORT] || nla_len(local) != nla_len(peer) ||
	    (nla_len(local) != 4 && nla_len(local) != 16))
		return -NLE_MISSING_ATTR;
	addresses = (struct proxy_addresses){
		.local = nla_data(local),
		.peer = nla_data(peer),
		.family_len = nla_len(local),
		.local_port = nla_get_u16(attrs[TLSPORT_A_HS_PORT]),
		.peer_port = nla_get_u16(attrs[TLSPORT_A_HS_PEER_PORT]),
	};
	extras->preamble_len = proxy_header(&addresses, result, client, extras->preamble);
	return 0;
}

static int make_extras(const struct worker *worker, const struct engine_result *result,
		       struct nlattr **attrs, struct extras *extras)
{
	struct client_identity identity, *client = NULL;
	int err = 0;

	extras->details = NULL;
	extras->preamble_len = 0;
	if (result->client->count) {
		if (client_identity_read(result->client, &identity))
			return -NLE_NOMEM;
		client = &identity;
	}
	if (wants_header(worker, nla_get_u16(attrs[TLSPORT_A_HS_PORT])))
		err = put_header(attrs, result, client, extras);
	if (!err && details_build(result, client, &extras->details, &extras->details_len))
		err = -NLE_NOMEM;
	if (client)
		client_identity_free(client);
	return err;
}

static int put_extras(struct nl_msg *msg, const struct extras *extras)
{
	if (extras->details)
		NLA_PUT(msg, TLSPORT_A_HS_DETAILS, extras->details_len, extras->details);
	if (extras->preamble_len)
		NLA_PUT(msg, TLSPORT_A_HS_PREAMBLE, extras->preamble_len, extras->preamble);
	return 0;
nla_put_failure:
	return -NLE_NOMEM;
}

static int put_answer(struct nl_msg *msg, const struct handshake *handshake, size_t consumed,
		      const uint8_t *out, size_t out_len)
{
	NLA_PUT_U64(msg, TLSPORT_A_HS_ID, handshake->id);
	NLA_PUT_U32(msg, TLSPORT_A_HS_CONSUMED, consumed);
	if (out_len)
		NLA_PUT(msg, TLSPORT_A_HS_DATA, out_len, out);
	return 0;
nla_put_failure:
	return -NLE_NOMEM;
}

/* @result: of the handshake's end; NULL: it goes on */
static int send_answer(struct worker *worker, const struct handshake *handshake, size_t consumed,
		       const uint8_t *out, size_t out_len, const struct engine_result *result,
		       const struct extras *extras)
{
	size_t room = out_len + MESSAGE_ROOM +
		      (result ? extras->details_len + extras->preamble_len : 0);
	struct nl_msg *msg = new_message(worker, TLSPORT_CMD_CONTINUE, room);
	int err;

	if (!msg)
		return -NLE_NOMEM;
	err = put_answer(msg, handshake, consumed, out, out_len);
	if (!err && result)
		err = put_result(msg, result);
	if (!err && result)
		err = put_extras(msg, extras);
	if (err) {
		explicit_bzero(nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
		nlmsg_free(msg);
		return err;
	}
	worker->answers[worker->sequence % ANSWERS] = handshake->id;
	return send_message(worker, msg);
}

static int send_last(struct worker *worker, const struct handshake *handshake,
		     struct nlattr **attrs, size_t consumed, const uint8_t *out, size_t out_len)
{
	struct engine_result result;
	struct extras extras;
	int err;

	err = engine_result(handshake->engine, &result) ?
		      -NLE_FAILURE :
		      make_extras(worker, &result, attrs, &extras);
	if (!err) {
		err = send_answer(worker, handshake, consumed, out, out_len, &result, &extras);
		free(extras.details);
	}
	explicit_bzero(&result, sizeof(result));
	return err;
}

static int send_fail(struct worker *worker, uint64_t id, enum tlsport_reason reason,
		     const uint8_t *out, size_t out_len)
{
	struct nl_msg *msg = new_message(worker, TLSPORT_CMD_FAIL, out_len + MESSAGE_ROOM);

	if (!msg)
		return -NLE_NOMEM;
	NLA_PUT_U64(msg, TLSPORT_A_HS_ID, id);
	NLA_PUT_U32(msg, TLSPORT_A_HS_REASON, reason);
	if (out_len)
		NLA_PUT(msg, TLSPORT_A_HS_DATA, out_len, out);
	worker->answers[worker->sequence % ANSWERS] = id;
	return send_message(worker, msg);
nla_put_failure:
	nlmsg_free(msg);
	return -NLE_NOMEM;
}

/* Is the port served at the address that the client has connected to? */
static bool is_served_at(const struct port_config *config, struct nlattr *local)
{
	struct in6_addr address = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
	size_t len = local ? nla_len(local) : 0;

	if (!config->address_count)
		return true;
	if (len != 4 && len != sizeof(address))
		return false;
	memcpy(address.s6_addr + sizeof(address) - len, nla_data(local), len);
	return port_config_at(config, &address);
}

static struct handshake *begin(struct worker *worker, uint64_t id, struct nlattr **attrs,
			       int64_t now)
{
	uint16_t number = nla_get_u16(attrs[TLSPORT_A_HS_PORT]);
	const struct served_port *port = generation_port(worker->generation, number);
	struct handshake *handshake;
	struct engine *engine;

	if (port && !is_served_at(port->config, attrs[TLSPORT_A_HS_LOCAL_ADDR]))
		port = NULL;
	engine = engine_new(port ? port->context : NULL);
	if (!engine)
		return NULL;
	handshake = handshakes_add(&worker->handshakes, id, engine, now);
	if (!handshake) {
		engine_free(engine);
		return NULL;
	}
	handshake->port = number;
	count(&worker->numbers->begun);
	return handshake;
}

/* @attrs: the message of the kernel */
static void answer(struct worker *worker, struct handshake *handshake, struct nlattr **attrs,
		   const uint8_t *data, size_t len)
{
	const bool eof = attrs[TLSPORT_A_HS_EOF] != NULL;
	enum engine_status status;
	size_t consumed, out_len;
	const uint8_t *out;
	int err;

	status = engine_feed(handshake->engine, data, len, eof, &consumed, &out, &out_len);
	if (status == ENGINE_FAILED) {
		log_debug("port %u: handshake %llu failed: %s", handshake->port,
			  (unsigned long long)handshake->id, engine_reason_text(handshake->engine));
		err = send_fail(worker, handshake->id, engine_reason(handshake->engine), out,
				out_len);
	} else {
		err = status == ENGINE_DONE ?
			      send_last(worker, handshake, attrs, consumed, out, out_len) :
			      send_answer(worker, handshake, consumed, out, out_len, NULL, NULL);
		/* The kernel must not wait for an answer that could not be made. */
		if (err) {
			send_fail(worker, handshake->id, TLSPORT_REASON_WORKER_ERROR, NULL, 0);
			status = ENGINE_FAILED;
		}
	}
	if (err)
		log_error("port %u: handshake %llu: answer not sent: %s", handshake->port,
			  (unsigned long long)handshake->id, nl_geterror(err));
	if (status == ENGINE_MORE)
		return;
	count(status == ENGINE_DONE ? &worker->numbers->done : &worker->numbers->failed);
	handshakes_end(&worker->handshakes, handshake);
}

static void on_handshake(struct worker *worker, struct nlattr **attrs)
{
	int64_t now = clock_ms();
	struct handshake *handshake;
	const uint8_t *data = NULL;
	size_t len = 0;
	uint64_t id;

	if (!attrs[TLSPORT_A_HS_ID] || !attrs[TLSPORT_A_HS_PORT])
		return;
	id = nla_get_u64(attrs[TLSPORT_A_HS_ID]);
	if (attrs[TLSPORT_A_HS_DATA]) {
		data = nla_data(attrs[TLSPORT_A_HS_DATA]);
		len = nla_len(attrs[TLSPORT_A_HS_DATA]);
	}
	handshake = handshakes_find(&worker->handshakes, id);
	if (handshake)
		handshakes_touch(&worker->handshakes, handshake, now);
	else
		handshake = begin(worker, id, attrs, now);
	if (!handshake) {
		send_fail(worker, id, TLSPORT_REASON_NO_MEMORY, NULL, 0);
		return;
	}
	answer(worker, handshake, attrs, data, len);
	stack_wipe();
}

static void forget(struct worker *worker, uint64_t id)
{
	struct handshake *handshake = handshakes_find(&worker->handshakes, id);

	if (handshake)
		handshakes_end(&worker->handshakes, handshake);
}

static void on_event(struct worker *worker, struct nlmsghdr *header)
{
	struct nlattr *attrs[TLSPORT_A_HS_MAX + 1];

	if (!genlmsg_valid_hdr(header, 0) ||
	    genlmsg_parse(header, 0, attrs, TLSPORT_A_HS_MAX, NULL))
		return;
	switch (genlmsg_hdr(header)->cmd) {
	case TLSPORT_CMD_HANDSHAKE:
		on_handshake(worker, attrs);
		break;
	case TLSPORT_CMD_CANCEL:
		if (attrs[TLSPORT_A_HS_ID])
			forget(worker, nla_get_u64(attrs[TLSPORT_A_HS_ID]));
		break;
	}
}

static const char *error_text(const struct nlmsgerr *error)
{
	/* NETLINK_CAP_ACK: the attributes follow the header of the request at once */
	const struct nlmsghdr *header =
		(const struct nlmsghdr *)((const char *)error - NLMSG_HDRLEN);
	struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1];

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    nla_parse(attrs, NLMSGERR_ATTR_MAX, (struct nlattr *)(error + 1),
		      header->nlmsg_len - NLMSG_HDRLEN - sizeof(*error), NULL) ||
	    !attrs[NLMSGERR_ATTR_MSG])
		return "";
	return nla_get_string(attrs[NLMSGERR_ATTR_MSG]);
}

/* An answer was refused: the connection has ended, or the kernel did not like it. */
static void on_error(struct worker *worker, const struct nlmsgerr *error)
{
	uint64_t id = worker->answers[error->msg.nlmsg_seq % ANSWERS];

	if (error->msg.nlmsg_seq == worker->registration) {
		worker->registration = 0;
		worker->refused = error->error;
	}
	if (!error->error) /* an ACK */
		return;
	if (worker->sequence - error->msg.nlmsg_seq < ANSWERS)
		forget(worker, id);
	if (error->error != -ESTALE)
		log_warning("the kernel refused an answer: %s%s%s", strerror(-error->error),
			    *error_text(error) ? ": " : "", error_text(error));
}

static void on_message(struct worker *worker, struct nlmsghdr *header)
{
	if (header->nlmsg_type == worker->family)
		on_event(worker, header);
	else if (header->nlmsg_type == NLMSG_ERROR &&
		 header->nlmsg_len >= NLMSG_HDRLEN + sizeof(struct nlmsgerr))
		on_error(worker, nlmsg_data(header));
}

/* Reads and answers.  0, or -NLE_*; none of it is wrong that one message is cut or another process's. */
static int receive_one(struct worker *worker, int flags)
{
	struct nlmsghdr *header = (struct nlmsghdr *)worker->received;
	struct iovec vec = { worker->received, sizeof(worker->received) };
	struct sockaddr_nl from = { .nl_family = AF_NETLINK };
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &vec,
		.msg_iovlen = 1,
	};
	ssize_t n = recvmsg(nl_socket_get_fd(worker->sk), &msg, flags | MSG_TRUNC);
	int left = n;

	if (n < 0)
		return -nl_syserr2nlerr(errno);
	if ((size_t)n > sizeof(worker->received))
		return -NLE_MSG_TRUNC;
	if (from.nl_pid) /* not the kernel */
		return 0;
	for (; nlmsg_ok(header, left); header = nlmsg_next(header, &left))
		on_message(worker, header);
	return 0;
}

static int open_socket(struct worker *worker)
{
	int size = RECEIVE_BUFFER, on = 1, fd, err;
	struct nl_sock *sk = nl_socket_alloc();

	if (!sk)
		return -NLE_NOMEM;
	worker->sk = sk;
	err = genl_connect(sk);
	if (err)
		return err;
	worker->family = genl_ctrl_resolve(sk, TLSPORT_FAMILY_NAME);
	if (worker->family < 0)
		return worker->family;
	fd = nl_socket_get_fd(sk);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	nl_socket_disable_auto_ack(sk);
	return 0;
}

/* The kernel passes keys to net/tls in this page, in our own calls. */
static void *scratch_page(void)
{
	void *page = mmap(NULL, TLSPORT_SCRATCH_LEN, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	madvise(page, TLSPORT_SCRATCH_LEN, MADV_DONTDUMP);
	mlock(page, TLSPORT_SCRATCH_LEN); /* may be refused by RLIMIT_MEMLOCK: best effort */
	return page;
}

static int register_worker(struct worker *worker, void *page)
{
	struct nl_msg *msg = page ? new_message(worker, TLSPORT_CMD_WORKER_SET, 64) : NULL;
	int err;

	if (!msg)
		return -NLE_NOMEM;
	NLA_PUT_U64(msg, TLSPORT_A_WORKER_SCRATCH, (uintptr_t)page);
	nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_ACK;
	worker->registration = worker->sequence;
	err = send_message(worker, msg);
	while (!err && worker->registration) /* handshakes that come before the ACK are answered */
		err = receive_one(worker, 0);
	return err || !worker->refused ? err : -nl_syserr2nlerr(-worker->refused);
nla_put_failure:
	nlmsg_free(msg);
	return -NLE_NOMEM;
}

static void tell_parent(const struct worker *worker, char what)
{
	if (write(worker->report, &what, 1) != 1)
		log_debug("worker: the parent does not listen");
}

static void drain(struct worker *worker)
{
	struct nl_msg *msg;

	if (worker->drain_until)
		return;
	worker->drain_until = clock_ms() + worker->longest;
	msg = new_message(worker, TLSPORT_CMD_WORKER_SET, 64);
	if (!msg || nla_put_flag(msg, TLSPORT_A_WORKER_DRAIN)) {
		nlmsg_free(msg);
		worker->drain_until = 1; /* the kernel gives what we hold to others */
		return;
	}
	worker->answers[worker->sequence % ANSWERS] = 0;
	if (send_message(worker, msg))
		worker->drain_until = 1;
	tell_parent(worker, WORKER_DRAINING);
}

static void on_signal(struct worker *worker)
{
	struct signalfd_siginfo info;

	while (read(worker->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == WORKER_DRAIN_SIGNAL)
			drain(worker);
}

/* False: the worker cannot go on. */
static bool receive(struct worker *worker)
{
	int err, left = RECEIVE_BATCH;
	int64_t until = clock_ms() + RECEIVE_MS;

	do {
		err = receive_one(worker, MSG_DONTWAIT);
	} while (!err && --left && clock_ms() < until);
	switch (-err) {
	case 0:
	case NLE_AGAIN:
	case NLE_INTR:
		return true;
	case NLE_NOMEM:
		/* ENOBUFS: the kernel could not queue something and will try again. */
		return true;
	case NLE_MSG_TRUNC:
		log_error("worker: a message of the kernel was cut");
		return true;
	default:
		log_error("worker: netlink: %s", nl_geterror(err));
		return false;
	}
}

static bool drained(const struct worker *worker)
{
	return worker->drain_until &&
	       (!worker->handshakes.count || clock_ms() >= worker->drain_until);
}

static void forget_stale(struct worker *worker)
{
	int64_t stale = worker->longest > WORKER_STALE_MS ? worker->longest : WORKER_STALE_MS;

	handshakes_expire(&worker->handshakes, clock_ms() - stale);
}

static int run(struct worker *worker)
{
	struct pollfd fds[] = {
		{ .fd = nl_socket_get_fd(worker->sk), .events = POLLIN },
		{ .fd = worker->signals, .events = POLLIN },
	};

	while (!drained(worker)) {
		if (poll(fds, 2, worker->drain_until ? 100 : EXPIRY_MS) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents)
			on_signal(worker);
		if (fds[0].revents && !receive(worker))
			return 1;
		forget_stale(worker);
	}
	return 0;
}

int worker_run(const struct generation *generation, const struct sandbox_user *user, int report,
	       struct worker_numbers *numbers)
{
	static struct worker self;
	struct worker *worker = &self;
	void *page = scratch_page();
	sigset_t set;
	int err;

	worker->generation = generation;
	worker->longest = generation_longest(generation) + WORKER_MARGIN_MS;
	worker->report = report;
	worker->numbers = numbers;
	sigemptyset(&set);
	sigaddset(&set, WORKER_DRAIN_SIGNAL);
	worker->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (worker->signals < 0)
		return 1;
	err = open_socket(worker);
	if (!err && sandbox_enter(user))
		return 1;
	if (!err)
		err = register_worker(worker, page);
	if (err) {
		log_error("worker: the kernel does not take it: %s", nl_geterror(err));
		return 1;
	}
	tell_parent(worker, WORKER_REGISTERED);
	err = run(worker);
	handshakes_free(&worker->handshakes);
	nlmsg_free(worker->answer);
	nl_socket_free(worker->sk);
	return err;
}
