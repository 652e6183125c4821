/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tlsport_nl: the administration half of the netlink ABI as plain structs.
 *
 * One struct tlsport_nl is one socket; it is used by one thread.  Functions
 * return 0 or a negative errno and leave one sentence for the user in
 * ->error: the kernel's own where it sent one.
 *
 * Callers go through tlsport_nl_ops, which a test points at its own table.
 */
#ifndef _TLSPORT_NL_H
#define _TLSPORT_NL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <linux/tlsport.h>

#define TLSPORT_NL_ERROR_LEN 256
/* RFC 6066: a host name in SNI; the longest driver name of the crypto API. */
#define TLSPORT_NL_NAME_LEN   256
#define TLSPORT_NL_DRIVER_LEN 128
#define TLSPORT_NL_DEVICE_LEN 16 /* IFNAMSIZ */

/**
 * struct tlsport_nl - a socket of the family
 * @sk: libnl's socket, NULL under a mock
 * @family: id of the family
 * @error: why the last call failed, one sentence without a newline
 */
struct tlsport_nl {
	struct nl_sock *sk;
	int family;
	char error[TLSPORT_NL_ERROR_LEN];
};

/**
 * struct tlsport_nl_policy - what PORT_SET sets
 * @given: bit TLSPORT_A_PORT_* set: that member is sent; always all in replies
 * @min_version: TLS version number, 0x0303 or 0x0304
 * @max_version: TLS version number
 * @truncation: enum tlsport_truncation
 * @handshake_timeout: milliseconds
 * @max_handshakes: in flight on the port
 * @max_handshakes_per_source: in flight from one address
 * @key_limit: records that are sent under one key
 * @offload: enum tlsport_offload
 * @zerocopy: 0 or 1
 * @max_handshake_rate_per_source: begun in a second; 0: no limit
 * @max_handshake_rate: likewise, on the port
 */
struct tlsport_nl_policy {
	uint32_t given;
	uint16_t min_version;
	uint16_t max_version;
	uint8_t truncation;
	uint32_t handshake_timeout;
	uint32_t max_handshakes;
	uint32_t max_handshakes_per_source;
	uint32_t key_limit;
	uint8_t offload;
	uint8_t zerocopy;
	uint32_t max_handshake_rate_per_source;
	uint32_t max_handshake_rate;
};

#define TLSPORT_NL_POLICY_ALL \
	(1U << TLSPORT_A_PORT_MIN_VERSION | 1U << TLSPORT_A_PORT_MAX_VERSION | \
	 1U << TLSPORT_A_PORT_TRUNCATION | 1U << TLSPORT_A_PORT_HANDSHAKE_TIMEOUT | \
	 1U << TLSPORT_A_PORT_MAX_HANDSHAKES | 1U << TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE | \
	 1U << TLSPORT_A_PORT_KEY_LIMIT | 1U << TLSPORT_A_PORT_OFFLOAD | \
	 1U << TLSPORT_A_PORT_ZEROCOPY | 1U << TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE | \
	 1U << TLSPORT_A_PORT_MAX_HANDSHAKE_RATE)

/**
 * struct tlsport_nl_port - a registered port
 * @number: the port
 * @policy: its settings
 * @listeners: listening sockets served now
 * @listeners_shut: listening sockets kept shut now
 * @handshakes: in flight now
 * @open: attached connections now
 * @stats: counters, index TLSPORT_A_STATS_* (nests and PAD stay 0)
 * @ended: counters, index enum tlsport_reason
 * @tx_sw: directions that send, by enum tlsport_sw; NONE: a network interface did them
 * @rx_sw: directions that receive, likewise
 */
struct tlsport_nl_port {
	uint16_t number;
	struct tlsport_nl_policy policy;
	uint32_t listeners;
	uint32_t listeners_shut;
	uint32_t handshakes;
	uint32_t open;
	uint64_t stats[TLSPORT_A_STATS_MAX + 1];
	uint64_t ended[__TLSPORT_REASON_COUNT];
	uint64_t tx_sw[__TLSPORT_SW_COUNT];
	uint64_t rx_sw[__TLSPORT_SW_COUNT];
};

/**
 * struct tlsport_nl_addr - an IP address
 * @len: 4, 16, or 0 when the kernel named none
 * @bytes: in network order
 */
struct tlsport_nl_addr {
	uint8_t len;
	uint8_t bytes[16];
};

/* struct tlsport_nl_listener - a listening socket on a registered port */
struct tlsport_nl_listener {
	uint16_t port;
	uint32_t inode;
	uint32_t uid;
	uint8_t state;
	struct tlsport_nl_addr addr;
	uint32_t backlog;
	uint32_t handshakes;
	uint32_t ready;
};

/* struct tlsport_nl_conn - a connection on a registered port */
struct tlsport_nl_conn {
	uint64_t id;
	uint16_t port;
	uint8_t state;
	struct tlsport_nl_addr local;
	struct tlsport_nl_addr peer;
	uint16_t peer_port;
	uint64_t age;
	uint16_t version;
	uint16_t suite;
	bool resumed;
	uint8_t tx_mode;
	uint8_t rx_mode;
	uint8_t tx_sw; /* enum tlsport_sw, when the mode is SW */
	uint8_t rx_sw;
	char server_name[TLSPORT_NL_NAME_LEN];
	char driver[TLSPORT_NL_DRIVER_LEN];
	char device[TLSPORT_NL_DEVICE_LEN];
};

typedef int (*tlsport_nl_port_fn)(const struct tlsport_nl_port *port, void *arg);
typedef int (*tlsport_nl_listener_fn)(const struct tlsport_nl_listener *listener, void *arg);
typedef int (*tlsport_nl_conn_fn)(const struct tlsport_nl_conn *conn, void *arg);

/**
 * struct tlsport_nl_ops - what can be asked of the module
 * @open: -ENOENT: the module is not loaded.  On failure nothing is to be closed
 * @close: also of a zeroed struct
 * @port_set: register @number or change its policy
 * @port_del: -ENOENT: it is not registered
 * @port_get: -ENOENT: it is not registered
 * @ports: calls @fn for each registered port
 * @listeners: calls @fn for each listening socket on a registered port
 * @conns: calls @fn for each connection; of port @number if it is not 0
 *
 * A callback that returns other than 0 ends the calls; its value is returned.
 */
struct tlsport_nl_ops {
	int (*open)(struct tlsport_nl *nl);
	void (*close)(struct tlsport_nl *nl);
	int (*port_set)(struct tlsport_nl *nl, uint16_t number,
			const struct tlsport_nl_policy *policy);
	int (*port_del)(struct tlsport_nl *nl, uint16_t number);
	int (*port_get)(struct tlsport_nl *nl, uint16_t number, struct tlsport_nl_port *port);
	int (*ports)(struct tlsport_nl *nl, tlsport_nl_port_fn fn, void *arg);
	int (*listeners)(struct tlsport_nl *nl, tlsport_nl_listener_fn fn, void *arg);
	int (*conns)(struct tlsport_nl *nl, uint16_t number, tlsport_nl_conn_fn fn, void *arg);
};

extern const struct tlsport_nl_ops *tlsport_nl_ops;

/*
 * Messages to structs and back, for the functions above and their test.  The
 * parsers return 0 or -EBADMSG.  tlsport_nl_error_text() copies the sentence
 * of an error message into @text and returns whether there was one.
 */
int tlsport_nl_port_parse(struct nlmsghdr *msg, struct tlsport_nl_port *port);
int tlsport_nl_listener_parse(struct nlmsghdr *msg, struct tlsport_nl_listener *listener);
int tlsport_nl_conn_parse(struct nlmsghdr *msg, struct tlsport_nl_conn *conn);
int tlsport_nl_policy_put(struct nl_msg *msg, uint16_t number,
			  const struct tlsport_nl_policy *policy);
bool tlsport_nl_error_text(const struct nlmsghdr *msg, char *text, size_t len);

/* The reasons of tlsport_reason.h: "peer_reset", "the peer reset it"; "?" past the table. */
const char *tlsport_nl_reason_name(unsigned int reason);
const char *tlsport_nl_reason_text(unsigned int reason);
/* Those of tlsport_sw.h, likewise. */
const char *tlsport_nl_sw_name(unsigned int reason);
const char *tlsport_nl_sw_text(unsigned int reason);

#endif /* _TLSPORT_NL_H */
