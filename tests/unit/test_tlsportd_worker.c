// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The worker's messages: HANDSHAKE in, CONTINUE or FAIL out, without a kernel.
 * worker.c is included for its static functions; nl_send() is ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../userspace/tlsportd/worker.c"

#include "engine_client.h"

static struct nlmsghdr *sent; /* a copy of the last message */
static unsigned int sent_count;
static int send_error;

/* Linked in place of libnl's: -Wl,--wrap=nl_send */
int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg);

int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg)
{
	(void)sk;
	free(sent);
	sent = malloc(nlmsg_hdr(msg)->nlmsg_len);
	memcpy(sent, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
	sent_count++;
	return send_error ? send_error : (int)sent->nlmsg_len;
}

static unsigned int received;

/* Likewise: there is always one more, and it takes its time. */
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	received++;
	poll(NULL, 0, RECEIVE_MS / 4);
	return 0;
}

static unsigned int allocations;
struct nl_msg *__real_nlmsg_alloc_size(size_t max);
struct nl_msg *__wrap_nlmsg_alloc_size(size_t max);

struct nl_msg *__wrap_nlmsg_alloc_size(size_t max)
{
	allocations++;
	return __real_nlmsg_alloc_size(max);
}

#define FAMILY 0x1c

static struct worker *worker;
static struct worker_numbers numbers;
static struct generation generation;
static struct port_config port_config;
static struct served_port served;
static struct client *client;

static int setup(void **state)
{
	const struct engine_policy policy = test_policy(443);

	(void)state;
	port_config.port = 443;
	served.config = &port_config;
	served.context = test_context(&policy, TEST_P256);
	generation.config.ports = &port_config;
	generation.config.count = 1;
	generation.ports = &served;
	worker = calloc(1, sizeof(*worker));
	worker->generation = &generation;
	worker->family = FAMILY;
	worker->numbers = memset(&numbers, 0, sizeof(numbers));
	worker->sk = nl_socket_alloc();
	nl_socket_disable_auto_ack(worker->sk);
	client = client_new(TLS1_2_VERSION, TLS1_3_VERSION);
	sent_count = 0;
	send_error = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshakes_free(&worker->handshakes);
	nlmsg_free(worker->answer);
	nl_socket_free(worker->sk);
	free(worker);
	engine_context_free(served.context);
	client_free(client);
	free(sent);
	sent = NULL;
	return 0;
}

static void event(uint8_t command, uint64_t id, uint16_t port, const void *data, size_t len,
		  bool eof)
{
	struct nl_msg *msg = __real_nlmsg_alloc_size(len + 1024);

	genlmsg_put(msg, 0, 0, FAMILY, 0, 0, command, TLSPORT_FAMILY_VERSION);
	nla_put_u64(msg, TLSPORT_A_HS_ID, id);
	if (port)
		nla_put_u16(msg, TLSPORT_A_HS_PORT, port);
	if (len)
		nla_put(msg, TLSPORT_A_HS_DATA, len, data);
	if (eof)
		nla_put_flag(msg, TLSPORT_A_HS_EOF);
	nla_put(msg, TLSPORT_A_HS_LOCAL_ADDR, 4, "\x7f\0\0\2");
	nla_put(msg, TLSPORT_A_HS_PEER_ADDR, 4, "\x7f\0\0\1");
	nla_put_u16(msg, TLSPORT_A_HS_PEER_PORT, 12345);
	on_message(worker, nlmsg_hdr(msg));
	nlmsg_free(msg);
}

static struct nlattr *attrs[TLSPORT_A_HS_MAX + 1];

static void check_sent(uint8_t command, uint64_t id)
{
	assert_non_null(sent);
	assert_int_equal(genlmsg_parse(sent, 0, attrs, TLSPORT_A_HS_MAX, NULL), 0);
	assert_int_equal(sent->nlmsg_type, FAMILY);
	assert_int_equal(sent->nlmsg_flags, NLM_F_REQUEST);
	assert_int_equal(genlmsg_hdr(sent)->cmd, command);
	assert_int_equal(nla_get_u64(attrs[TLSPORT_A_HS_ID]), id);
}

static void check_numbers(uint64_t begun, uint64_t done, uint64_t failed)
{
	assert_int_equal(numbers.begun, begun);
	assert_int_equal(numbers.done, done);
	assert_int_equal(numbers.failed, failed);
}

static size_t from_client(uint8_t *buffer, size_t size)
{
	int n;

	SSL_do_handshake(client->ssl);
	n = BIO_read(client->out, buffer, size);
	return n > 0 ? n : 0;
}

static void to_client(void)
{
	if (attrs[TLSPORT_A_HS_DATA])
		BIO_write(client->in, nla_data(attrs[TLSPORT_A_HS_DATA]),
			  nla_len(attrs[TLSPORT_A_HS_DATA]));
}

static void test_handshake(void **state)
{
	uint8_t buffer[16384];
	size_t len;

	(void)state;
	len = from_client(buffer, sizeof(buffer));
	event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, len, false);
	check_sent(TLSPORT_CMD_CONTINUE, 7);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_CONSUMED]), len);
	assert_null(attrs[TLSPORT_A_HS_TX]);
	assert_int_equal(worker->handshakes.count, 1);
	check_numbers(1, 0, 0);
	to_client();
	len = from_client(buffer, sizeof(buffer));
	/* data behind it is not consumed */
	memset(buffer + len, 'x', 100);
	event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, len + 100, false);
	check_sent(TLSPORT_CMD_CONTINUE, 7);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_CONSUMED]), len);
	assert_int_equal(nla_len(attrs[TLSPORT_A_HS_TX]),
			 sizeof(struct tls12_crypto_info_aes_gcm_256));
	assert_int_equal(nla_len(attrs[TLSPORT_A_HS_RX]),
			 sizeof(struct tls12_crypto_info_aes_gcm_256));
	assert_int_equal(nla_len(attrs[TLSPORT_A_HS_TX_SECRET]), 48);
	assert_int_equal(nla_len(attrs[TLSPORT_A_HS_RX_SECRET]), 48);
	assert_int_equal(nla_get_u16(attrs[TLSPORT_A_HS_SUITE]), 0x1302);
	assert_null(attrs[TLSPORT_A_HS_RESUMED]);
	assert_string_equal(nla_get_string(attrs[TLSPORT_A_HS_SERVER_NAME]), "test.example");
	assert_int_equal(worker->handshakes.count, 0);
	assert_int_equal(sent_count, 2);
	check_numbers(1, 1, 0);
}

static void test_what_the_application_gets(void **state)
{
	static const uint8_t addresses[] = "\x7f\0\0\1\x7f\0\0\2\x30\x39\1\xbb";
	uint8_t buffer[16384];
	const uint8_t *header;
	size_t len;

	(void)state;
	for (int v2 = 0; v2 < 2; v2++) {
		port_config.proxy_protocol = v2 ? 2 : 0;
		client_again(client, NULL);
		len = from_client(buffer, sizeof(buffer));
		event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, len, false);
		check_sent(TLSPORT_CMD_CONTINUE, 7);
		assert_null(attrs[TLSPORT_A_HS_PREAMBLE]);
		to_client();
		len = from_client(buffer, sizeof(buffer));
		event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, len, false);
		check_sent(TLSPORT_CMD_CONTINUE, 7);
		assert_non_null(attrs[TLSPORT_A_HS_TX]);
		assert_null(attrs[TLSPORT_A_HS_DETAILS]); /* neither ALPN nor a certificate */
		assert_int_equal(attrs[TLSPORT_A_HS_PREAMBLE] != NULL, v2);
	}
	header = nla_data(attrs[TLSPORT_A_HS_PREAMBLE]);
	assert_memory_equal(header, "\r\n\r\n\0\r\nQUIT\n", 12);
	assert_memory_equal(header + 16, addresses, sizeof(addresses) - 1);
	port_config.proxy_protocol = 0;
}

static void test_tls12_has_no_secrets(void **state)
{
	uint8_t buffer[16384];

	(void)state;
	SSL_set_max_proto_version(client->ssl, TLS1_2_VERSION);
	event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, from_client(buffer, sizeof(buffer)), false);
	check_sent(TLSPORT_CMD_CONTINUE, 7);
	to_client();
	event(TLSPORT_CMD_HANDSHAKE, 7, 443, buffer, from_client(buffer, sizeof(buffer)), false);
	check_sent(TLSPORT_CMD_CONTINUE, 7);
	assert_non_null(attrs[TLSPORT_A_HS_TX]);
	assert_null(attrs[TLSPORT_A_HS_TX_SECRET]);
	assert_null(attrs[TLSPORT_A_HS_RX_SECRET]);
}

/* A hello that takes more than one message: each shows what was not consumed. */
static void test_hello_in_several_messages(void **state)
{
	static uint8_t buffer[70000];
	static unsigned char protos[60000];
	size_t len, at = 0, part;

	(void)state;
	for (size_t i = 0; i < sizeof(protos); i += 100)
		protos[i] = 99;
	SSL_set_alpn_protos(client->ssl, protos, sizeof(protos));
	len = from_client(buffer, sizeof(buffer));
	assert_true(len > 60000);
	while (at < len) {
		/* whole records, as many as fit into one message */
		for (part = 0; at + part < len; part += 5 + get16(buffer + at + part + 3))
			if (part + 5 + get16(buffer + at + part + 3) > TLSPORT_DATA_MAX)
				break;
		event(TLSPORT_CMD_HANDSHAKE, 9, 443, buffer + at, part, false);
		check_sent(TLSPORT_CMD_CONTINUE, 9);
		assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_CONSUMED]), part);
		at += part;
		assert_int_equal(attrs[TLSPORT_A_HS_DATA] != NULL, at == len);
	}
	assert_true(sent_count > 1);
}

static void test_failures(void **state)
{
	uint8_t buffer[16384];
	size_t len = from_client(buffer, sizeof(buffer));

	(void)state;
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, "\x80 no record", 11, false);
	check_sent(TLSPORT_CMD_FAIL, 1);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_REASON]), TLSPORT_REASON_NOT_TLS);
	assert_int_equal(nla_len(attrs[TLSPORT_A_HS_DATA]), 7);

	event(TLSPORT_CMD_HANDSHAKE, 2, 444, buffer, len, false);
	check_sent(TLSPORT_CMD_FAIL, 2);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_REASON]), TLSPORT_REASON_NO_CONTEXT);
	assert_memory_equal(nla_data(attrs[TLSPORT_A_HS_DATA]), "\x15\x03\x03\x00\x02\x02\x50", 7);

	event(TLSPORT_CMD_HANDSHAKE, 3, 443, NULL, 0, true);
	check_sent(TLSPORT_CMD_FAIL, 3);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_REASON]), TLSPORT_REASON_PEER_CLOSED);
	assert_null(attrs[TLSPORT_A_HS_DATA]);
	assert_int_equal(worker->handshakes.count, 0);
	check_numbers(3, 0, 3);
}

static void test_cancel(void **state)
{
	uint8_t buffer[16384];
	size_t len = from_client(buffer, sizeof(buffer));

	(void)state;
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, buffer, len, false);
	event(TLSPORT_CMD_HANDSHAKE, 2, 443, buffer, len, false);
	assert_int_equal(worker->handshakes.count, 2);
	event(TLSPORT_CMD_CANCEL, 1, 0, NULL, 0, false);
	assert_int_equal(worker->handshakes.count, 1);
	event(TLSPORT_CMD_CANCEL, 1, 0, NULL, 0, false);
	assert_null(handshakes_find(&worker->handshakes, 1));
	assert_non_null(handshakes_find(&worker->handshakes, 2));
	assert_int_equal(sent_count, 2);
	check_numbers(2, 0, 0);
}

/* event() comes to 127.0.0.2. */
static void test_address(void **state)
{
	static const struct in6_addr served_at[] = {
		{ .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 2 } },
		{ .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 3 } },
	};
	uint8_t buffer[16384];
	size_t len = from_client(buffer, sizeof(buffer));

	(void)state;
	port_config.address_count = 1;
	port_config.addresses[0] = served_at[0];
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, buffer, len, false);
	check_sent(TLSPORT_CMD_CONTINUE, 1);
	port_config.addresses[0] = served_at[1];
	event(TLSPORT_CMD_HANDSHAKE, 2, 443, buffer, len, false);
	check_sent(TLSPORT_CMD_FAIL, 2);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_REASON]), TLSPORT_REASON_NO_CONTEXT);
	assert_memory_equal(nla_data(attrs[TLSPORT_A_HS_DATA]), "\x15\3\3\0\2\2\x50", 7);
	port_config.address_count = 0;
}

static void test_stale_answer_frees_the_handshake(void **state)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} message = { .error.error = -ESTALE };
	uint8_t buffer[16384];
	size_t len = from_client(buffer, sizeof(buffer));

	(void)state;
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, buffer, len, false);
	message.error.msg.nlmsg_seq = sent->nlmsg_seq;
	event(TLSPORT_CMD_HANDSHAKE, 2, 443, buffer, len, false);
	on_error(worker, &message.error);
	assert_null(handshakes_find(&worker->handshakes, 1));
	assert_non_null(handshakes_find(&worker->handshakes, 2));
}

static void test_answer_that_cannot_be_sent(void **state)
{
	uint8_t buffer[16384];

	(void)state;
	send_error = -NLE_NOMEM;
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, buffer, from_client(buffer, sizeof(buffer)), false);
	assert_int_equal(worker->handshakes.count, 0);
	check_numbers(1, 0, 1);
	/* it tried to say so */
	check_sent(TLSPORT_CMD_FAIL, 1);
	assert_int_equal(nla_get_u32(attrs[TLSPORT_A_HS_REASON]), TLSPORT_REASON_WORKER_ERROR);
}

static void test_messages_that_are_not_for_us(void **state)
{
	static const int types[] = { FAMILY + 1, NLMSG_ERROR, NLMSG_DONE };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct nl_msg *msg = nlmsg_alloc();

		genlmsg_put(msg, 0, 0, types[i], 0, 0, TLSPORT_CMD_HANDSHAKE, 1);
		on_message(worker, nlmsg_hdr(msg));
		nlmsg_free(msg);
	}
	/* without an id there is nobody to answer */
	event(TLSPORT_CMD_HANDSHAKE, 0, 0, NULL, 0, false);
	event(TLSPORT_CMD_PORT_GET, 1, 443, NULL, 0, false);
	assert_int_equal(sent_count, 0);
}

/* The first answer makes the message that all have. */
static void test_one_message(void **state)
{
	uint8_t buffer[16384];
	size_t len;

	(void)state;
	allocations = 0;
	for (uint64_t id = 1; id < 5; id++) {
		client_again(client, NULL);
		len = from_client(buffer, sizeof(buffer));
		event(TLSPORT_CMD_HANDSHAKE, id, 443, buffer, len, false);
		check_sent(TLSPORT_CMD_CONTINUE, id);
		to_client();
		len = from_client(buffer, sizeof(buffer));
		event(TLSPORT_CMD_HANDSHAKE, id, 443, buffer, len, false);
		check_sent(TLSPORT_CMD_CONTINUE, id);
		assert_non_null(attrs[TLSPORT_A_HS_TX]);
	}
	assert_int_equal(allocations, 1);
	/* nothing of it is left there */
	for (size_t i = 0; i < MESSAGE_MAX; i++)
		assert_int_equal(((uint8_t *)nlmsg_hdr(worker->answer))[i], 0);
}

/* Between them there are signals to be looked at. */
static void test_slow_messages(void **state)
{
	(void)state;
	received = 0;
	assert_true(receive(worker));
	assert_in_range(received, 1, 4);
}

/* Its client has as long as the port says, and the worker goes when it has no more of them. */
static void test_slow_client(void **state)
{
	uint8_t buffer[16384];
	struct handshake *slow;
	int64_t now = clock_ms();

	(void)state;
	port_config.handshake_timeout = 120000;
	assert_int_equal(generation_longest(&generation), 120000);
	worker->longest = generation_longest(&generation) + WORKER_MARGIN_MS;
	worker->report = -1;
	event(TLSPORT_CMD_HANDSHAKE, 1, 443, buffer, from_client(buffer, sizeof(buffer)), false);
	slow = handshakes_find(&worker->handshakes, 1);
	assert_non_null(slow);
	slow->seen = now - 119000;
	forget_stale(worker);
	assert_ptr_equal(handshakes_find(&worker->handshakes, 1), slow);
	assert_false(drained(worker));
	drain(worker);
	assert_in_range(worker->drain_until - now, 120000, 135000);
	assert_false(drained(worker));
	slow->seen = now - 126000;
	forget_stale(worker);
	assert_null(handshakes_find(&worker->handshakes, 1));
	assert_true(drained(worker));
	/* where timeouts are short, too, the kernel is believed for a minute */
	worker->longest = 1000;
	client_again(client, NULL);
	event(TLSPORT_CMD_HANDSHAKE, 2, 443, buffer, from_client(buffer, sizeof(buffer)), false);
	handshakes_find(&worker->handshakes, 2)->seen = now - 50000;
	forget_stale(worker);
	assert_int_equal(worker->handshakes.count, 1);
	worker->drain_until = now - 1;
	assert_true(drained(worker));
	port_config.handshake_timeout = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_handshake),
		TEST(test_what_the_application_gets),
		TEST(test_tls12_has_no_secrets),
		TEST(test_hello_in_several_messages),
		TEST(test_failures),
		TEST(test_cancel),
		TEST(test_address),
		TEST(test_stale_answer_frees_the_handshake),
		TEST(test_answer_that_cannot_be_sent),
		TEST(test_messages_that_are_not_for_us),
		TEST(test_one_message),
		TEST(test_slow_messages),
		TEST(test_slow_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
