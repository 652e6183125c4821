// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test's program: io_uring, by commands.  uring FD: operations on this inherited
 * socket.  It reads a line for each from stdin and prints one for each completion:
 * "OPERATION RESULT FLAGS HASH"; RESULT is negative for an error, FLAGS are + (more
 * come), n (the notification of a send without copies) and m (more is there to be read),
 * HASH is of the bytes that came, - where there are none.
 *
 *	recv LENGTH FLAGS, recvmsg LENGTH, read LENGTH, send LENGTH FLAGS, sendmsg LENGTH,
 *	send_zc LENGTH, write LENGTH, splice_in LENGTH, splice_out LENGTH, poll, poll_multi,
 *	recv_multi, accept, accept_multi, shutdown HOW, close, cancel
 *	link		the next one waits for this one
 *	fixed		registered files from now on
 *	use FD		this one from now on
 *	go COUNT	submits, and waits for so many completions
 *	look		prints how many are there
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS	   64
#define SLOT_LEN   (1 << 20)
#define BUFFERS	   32
#define BUFFER_LEN 4096
#define GROUP	   1

struct slot {
	char name[32];
	bool reads;
	struct iovec vec;
	struct msghdr msg;
	unsigned char *data;
};

static struct io_uring ring;
static struct slot slots[SLOTS];
static unsigned char buffers[BUFFERS][BUFFER_LEN];
static int used, target, target_flags, link_next, pipes[2];

static void die(const char *what, int err)
{
	fprintf(stderr, "uring: %s: %s\n", what, strerror(err));
	exit(1);
}

/* What the tests call TEXT */
static void fill(unsigned char *data, size_t len)
{
	char word[9];

	for (size_t i = 0; i < len; i += 8) {
		snprintf(word, sizeof(word), "%07zu ", i / 8 % 32768);
		memcpy(data + i, word, len - i < 8 ? len - i : 8);
	}
}

/* FNV-1a */
static uint64_t hash(const unsigned char *data, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 0x100000001b3;
	return h;
}

static struct slot *new_slot(const char *name, size_t len)
{
	struct slot *slot = &slots[used++ % SLOTS];

	if (!slot->data && !(slot->data = malloc(SLOT_LEN)))
		die("memory", errno);
	if (len > SLOT_LEN)
		die("length", EINVAL);
	snprintf(slot->name, sizeof(slot->name), "%s", name);
	slot->reads = !strncmp(name, "re", 2);
	slot->vec = (struct iovec){ slot->data, len };
	slot->msg = (struct msghdr){ .msg_iov = &slot->vec, .msg_iovlen = 1 };
	if (!slot->reads)
		fill(slot->data, len);
	return slot;
}

static void prepare(struct io_uring_sqe *sqe, struct slot *slot, int arg)
{
	static const int masks = POLLIN | POLLRDHUP;
	const char *op = slot->name;
	size_t len = slot->vec.iov_len;

	if (!strcmp(op, "recv"))
		io_uring_prep_recv(sqe, target, slot->data, len, arg);
	else if (!strcmp(op, "recvmsg"))
		io_uring_prep_recvmsg(sqe, target, &slot->msg, 0);
	else if (!strcmp(op, "read"))
		io_uring_prep_read(sqe, target, slot->data, len, 0);
	else if (!strcmp(op, "send"))
		io_uring_prep_send(sqe, target, slot->data, len, arg);
	else if (!strcmp(op, "sendmsg"))
		io_uring_prep_sendmsg(sqe, target, &slot->msg, 0);
	else if (!strcmp(op, "send_zc"))
		io_uring_prep_send_zc(sqe, target, slot->data, len, 0, 0);
	else if (!strcmp(op, "write"))
		io_uring_prep_write(sqe, target, slot->data, len, 0);
	else if (!strcmp(op, "splice_in"))
		io_uring_prep_splice(sqe, target, -1, pipes[1], -1, len, 0);
	else if (!strcmp(op, "splice_out"))
		io_uring_prep_splice(sqe, pipes[0], -1, target, -1, len, 0);
	else if (!strcmp(op, "poll"))
		io_uring_prep_poll_add(sqe, target, masks);
	else if (!strcmp(op, "poll_multi"))
		io_uring_prep_poll_multishot(sqe, target, masks);
	else if (!strcmp(op, "recv_multi"))
		io_uring_prep_recv_multishot(sqe, target, NULL, 0, 0);
	else if (!strcmp(op, "accept"))
		io_uring_prep_accept(sqe, target, NULL, NULL, 0);
	else if (!strcmp(op, "accept_multi"))
		io_uring_prep_multishot_accept(sqe, target, NULL, NULL, 0);
	else if (!strcmp(op, "shutdown"))
		io_uring_prep_shutdown(sqe, target, len);
	else if (!strcmp(op, "close"))
		io_uring_prep_close(sqe, target);
	else if (!strcmp(op, "cancel"))
		io_uring_prep_cancel_fd(sqe, target,
					target_flags ? IORING_ASYNC_CANCEL_FD_FIXED : 0);
	else
		die(op, EINVAL);
	if (!strcmp(op, "recv_multi")) {
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = GROUP;
	}
	if (!strcmp(op, "splice_in") && target_flags)
		sqe->splice_flags |= SPLICE_F_FD_IN_FIXED;
	else if (strcmp(op, "cancel"))
		sqe->flags |= target_flags;
}

static void operation(const char *name, size_t len, int arg)
{
	struct slot *slot = new_slot(name, len);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		die("ring", ENOSPC);
	prepare(sqe, slot, arg);
	if (link_next)
		sqe->flags |= IOSQE_IO_LINK;
	link_next = 0;
	io_uring_sqe_set_data(sqe, slot);
}

static void provide(unsigned char *buffer, int count, int first)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		die("ring", ENOSPC);
	io_uring_prep_provide_buffers(sqe, buffer, BUFFER_LEN, count, GROUP, first);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data(sqe, NULL);
	io_uring_submit(&ring);
}

static void completion(struct io_uring_cqe *cqe)
{
	struct slot *slot = io_uring_cqe_get_data(cqe);
	const unsigned char *data = slot->data;
	int buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

	if (cqe->flags & IORING_CQE_F_BUFFER)
		data = buffers[buffer];
	printf("%s %d %s%s%s", slot->name, cqe->res, cqe->flags & IORING_CQE_F_MORE ? "+" : "",
	       cqe->flags & IORING_CQE_F_NOTIF ? "n" : "",
	       cqe->flags & IORING_CQE_F_SOCK_NONEMPTY ? "m" : "");
	if (slot->reads && cqe->res > 0)
		printf(" %016llx\n", (unsigned long long)hash(data, cqe->res));
	else
		printf(" -\n");
	if (cqe->flags & IORING_CQE_F_BUFFER)
		provide(buffers[buffer], 1, buffer);
}

static void go(int count)
{
	struct io_uring_cqe *cqe;
	int err = io_uring_submit(&ring);

	if (err < 0)
		die("submit", -err);
	while (count--) {
		do {
			err = io_uring_wait_cqe(&ring, &cqe);
		} while (err == -EINTR);
		if (err)
			die("wait", -err);
		if (io_uring_cqe_get_data(cqe))
			completion(cqe);
		else
			die("buffers", -cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
	printf("done\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[80], word[32];
	long len;
	int arg, err;

	if (argc != 2)
		die("usage: uring FD", EINVAL);
	target = atoi(argv[1]);
	err = io_uring_queue_init(64, &ring, 0);
	if (err)
		die("io_uring", -err);
	if (pipe(pipes))
		die("pipe", errno);
	provide(buffers[0], BUFFERS, 0);
	while (fgets(line, sizeof(line), stdin)) {
		len = 0;
		arg = 0;
		if (sscanf(line, "%31s %ld %i", word, &len, &arg) < 1)
			continue;
		if (!strcmp(word, "go")) {
			go(len);
		} else if (!strcmp(word, "look")) {
			printf("%u\ndone\n", io_uring_cq_ready(&ring));
			fflush(stdout);
		} else if (!strcmp(word, "link")) {
			link_next = 1;
		} else if (!strcmp(word, "use")) {
			target = len;
		} else if (!strcmp(word, "fixed")) {
			err = io_uring_register_files(&ring, &target, 1);
			if (err)
				die("register", -err);
			target = 0;
			target_flags = IOSQE_FIXED_FILE;
		} else {
			operation(word, len, arg);
		}
	}
	io_uring_queue_exit(&ring);
	return 0;
}
