/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * tlsport: TLS on registered TCP ports.  Generic netlink ABI between the
 * module, its helper (tlsportd) and administration (tlsportctl).
 *
 * Documentation/netlink/specs/tlsport.yaml describes the same ABI; a test
 * holds the two together.  All commands need CAP_NET_ADMIN in the user
 * namespace that owns the socket's network namespace and act in that network
 * namespace.  Integers are in host byte order, addresses in network order.
 */
#ifndef _UAPI_LINUX_TLSPORT_H
#define _UAPI_LINUX_TLSPORT_H

#include <linux/tlsport_reason.h>
#include <linux/tlsport_sw.h>

#define TLSPORT_FAMILY_NAME	"tlsport"
#define TLSPORT_FAMILY_VERSION	1

/* Bytes that a worker's scratch page must have, see TLSPORT_A_WORKER_SCRATCH. */
#define TLSPORT_SCRATCH_LEN	4096

/* Handshake bytes in one message, either way. */
#define TLSPORT_DATA_MAX	32768

/* What one connection may have for its application, see TLSPORT_A_HS_DETAILS. */
#define TLSPORT_DETAILS_MAX	16384
#define TLSPORT_PREAMBLE_MAX	4096

/**
 * enum tlsport_reason - why a connection ended (table in tlsport_reason.h)
 */
enum tlsport_reason {
#define TLSPORT_REASON_ENUM(symbol, name, text) TLSPORT_REASON_##symbol,
	TLSPORT_REASONS(TLSPORT_REASON_ENUM)
#undef TLSPORT_REASON_ENUM
	/* private: */
	__TLSPORT_REASON_COUNT
};

/**
 * enum tlsport_sw - why software does the records (table in tlsport_sw.h)
 */
enum tlsport_sw {
#define TLSPORT_SW_ENUM(symbol, name, text) TLSPORT_SW_##symbol,
	TLSPORT_SW_REASONS(TLSPORT_SW_ENUM)
#undef TLSPORT_SW_ENUM
	/* private: */
	__TLSPORT_SW_COUNT
};

/**
 * enum tlsport_offload - may a network interface do the records of a port?
 * @TLSPORT_OFFLOAD_AUTO: where it can (default)
 * @TLSPORT_OFFLOAD_OFF: never
 * @TLSPORT_OFFLOAD_REQUIRE: a connection whose records it does not encrypt is
 *	refused
 */
enum tlsport_offload {
	TLSPORT_OFFLOAD_AUTO,
	TLSPORT_OFFLOAD_OFF,
	TLSPORT_OFFLOAD_REQUIRE,
};

/**
 * enum tlsport_truncation - what a FIN without close_notify is
 * @TLSPORT_TRUNCATION_STRICT: an error, reads give ECONNRESET (default)
 * @TLSPORT_TRUNCATION_TOLERATE: end of file
 */
enum tlsport_truncation {
	TLSPORT_TRUNCATION_STRICT,
	TLSPORT_TRUNCATION_TOLERATE,
};

/**
 * enum tlsport_listener_state - what a listening socket on a port does
 * @TLSPORT_LISTENER_TLS: it is served
 * @TLSPORT_LISTENER_SHUT: it listened before the port was enabled and a thread
 *	may sleep in accept(): no connection reaches it until its program is
 *	restarted
 * @TLSPORT_LISTENER_FOREIGN: it cannot be served (kernel-owned, of a sockmap,
 *	memory ran out): no connection reaches it
 * @TLSPORT_LISTENER_PLAIN: its port was disabled: plain TCP
 */
enum tlsport_listener_state {
	TLSPORT_LISTENER_TLS,
	TLSPORT_LISTENER_SHUT,
	TLSPORT_LISTENER_FOREIGN,
	TLSPORT_LISTENER_PLAIN,
};

/**
 * enum tlsport_conn_state - life of a connection
 * @TLSPORT_CONN_HELLO: the ClientHello is awaited or unanswered
 * @TLSPORT_CONN_HANDSHAKE: past the first answer, a worker holds its secrets
 * @TLSPORT_CONN_READY: TLS attached, waits for the application's accept()
 * @TLSPORT_CONN_OPEN: with the application
 * @TLSPORT_CONN_CLOSING: ended, its last bytes are on their way
 * @TLSPORT_CONN_DEAD: ended (never seen in a dump)
 */
enum tlsport_conn_state {
	TLSPORT_CONN_HELLO,
	TLSPORT_CONN_HANDSHAKE,
	TLSPORT_CONN_READY,
	TLSPORT_CONN_OPEN,
	TLSPORT_CONN_CLOSING,
	TLSPORT_CONN_DEAD,
};

/**
 * enum tlsport_mode - who encrypts or decrypts
 * @TLSPORT_MODE_NONE: nobody yet
 * @TLSPORT_MODE_SW: the kernel's crypto API
 * @TLSPORT_MODE_NIC: the network interface
 */
enum tlsport_mode {
	TLSPORT_MODE_NONE,
	TLSPORT_MODE_SW,
	TLSPORT_MODE_NIC,
};

/* Attributes of a port: PORT_SET, PORT_DEL, PORT_GET */
enum {
	TLSPORT_A_PORT_UNSPEC,
	TLSPORT_A_PORT_NUMBER,			/* u16, 1..65535 */
	TLSPORT_A_PORT_MIN_VERSION,		/* u16, 0x0303 (default) or 0x0304 */
	TLSPORT_A_PORT_MAX_VERSION,		/* u16, 0x0303 or 0x0304 (default) */
	TLSPORT_A_PORT_TRUNCATION,		/* u8, enum tlsport_truncation */
	TLSPORT_A_PORT_HANDSHAKE_TIMEOUT,	/* u32, ms, 100..600000 (10000) */
	TLSPORT_A_PORT_MAX_HANDSHAKES,		/* u32, 1..1000000 (4096) */
	/* u32, 1..1000000 (1024); a source is an IPv4 address or an IPv6 /64 */
	TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE,
	/*
	 * u32, 1..16777216 (16777216): records that are sent under one key; then
	 * comes KeyUpdate or, with TLS 1.2, the end.  AES-GCM allows 2^24.5.
	 */
	TLSPORT_A_PORT_KEY_LIMIT,
	TLSPORT_A_PORT_OFFLOAD,			/* u8, enum tlsport_offload */
	/*
	 * u8, 0..1 (0): the interface reads what sendfile() sends from files that
	 * nobody can write; others are copied, as without it.
	 */
	TLSPORT_A_PORT_ZEROCOPY,
	/* u32, 0..1000000 (0: no limit): handshakes that one source begins in a second */
	TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE,
	/* PORT_GET only: */
	TLSPORT_A_PORT_LISTENERS,		/* u32, listening sockets served now */
	TLSPORT_A_PORT_LISTENERS_SHUT,		/* u32, listening sockets kept shut now */
	TLSPORT_A_PORT_HANDSHAKES,		/* u32, handshakes in flight now */
	TLSPORT_A_PORT_OPEN,			/* u32, attached connections now */
	TLSPORT_A_PORT_STATS,			/* nest of TLSPORT_A_STATS_* */
	/* u32, 0..1000000 (0: no limit): handshakes that begin in a second; PORT_SET, too */
	TLSPORT_A_PORT_MAX_HANDSHAKE_RATE,
	__TLSPORT_A_PORT_MAX,
};

#define TLSPORT_A_PORT_MAX (__TLSPORT_A_PORT_MAX - 1)

/* Counters of a port since it was enabled, all u64 (uint in the spec) */
enum {
	TLSPORT_A_STATS_UNSPEC,
	TLSPORT_A_STATS_PAD,
	TLSPORT_A_STATS_STARTED,		/* raw connections taken */
	TLSPORT_A_STATS_ATTACHED,		/* handshakes done, keys in net/tls */
	TLSPORT_A_STATS_ATTACHED_TLS13,		/* of these TLS 1.3, the rest TLS 1.2 */
	TLSPORT_A_STATS_RESUMED,		/* of these by a session ticket */
	TLSPORT_A_STATS_ACCEPTED,		/* handed to the application */
	TLSPORT_A_STATS_GUARD_SYN,	/* kept from a listener that is not served */
	TLSPORT_A_STATS_GUARD_PAYLOAD,		/* plaintext segments stopped on the way out */
	TLSPORT_A_STATS_UPCALLS,		/* messages to workers */
	TLSPORT_A_STATS_UPCALL_RETRIES,		/* found no worker or a full socket */
	TLSPORT_A_STATS_KEY_UPDATES,		/* KeyUpdate messages carried out */
	TLSPORT_A_STATS_SENDFILE_COPIED,	/* zerocopy: calls that were copied */
	/* multi: nest of TLSPORT_A_ENDED_*, one a reason whose count is not 0 */
	TLSPORT_A_STATS_ENDED,
	/* multi: nest of TLSPORT_A_SW_*, one a reason that was met */
	TLSPORT_A_STATS_SW,
	__TLSPORT_A_STATS_MAX,
};

#define TLSPORT_A_STATS_MAX (__TLSPORT_A_STATS_MAX - 1)

enum {
	TLSPORT_A_ENDED_UNSPEC,
	TLSPORT_A_ENDED_PAD,
	TLSPORT_A_ENDED_REASON,			/* u32, enum tlsport_reason */
	TLSPORT_A_ENDED_COUNT,			/* u64 */
	__TLSPORT_A_ENDED_MAX,
};

#define TLSPORT_A_ENDED_MAX (__TLSPORT_A_ENDED_MAX - 1)

/*
 * Directions of connections by who did their records; one that leaves its
 * interface later counts under both.
 */
enum {
	TLSPORT_A_SW_UNSPEC,
	TLSPORT_A_SW_PAD,
	TLSPORT_A_SW_REASON,			/* u32, enum tlsport_sw; none: an interface */
	TLSPORT_A_SW_TX,			/* u64 */
	TLSPORT_A_SW_RX,			/* u64 */
	__TLSPORT_A_SW_MAX,
};

#define TLSPORT_A_SW_MAX (__TLSPORT_A_SW_MAX - 1)

/* A listening socket on a registered port: LISTENER_GET */
enum {
	TLSPORT_A_LISTENER_UNSPEC,
	TLSPORT_A_LISTENER_PORT,		/* u16 */
	TLSPORT_A_LISTENER_INODE,		/* u32, of the socket; 0: none */
	TLSPORT_A_LISTENER_UID,			/* u32, of the socket's owner */
	TLSPORT_A_LISTENER_STATE,		/* u8, enum tlsport_listener_state */
	TLSPORT_A_LISTENER_ADDR,		/* binary, 4 or 16 bytes */
	TLSPORT_A_LISTENER_BACKLOG,		/* u32, what listen(2) allows */
	TLSPORT_A_LISTENER_HANDSHAKES,		/* u32, in flight */
	TLSPORT_A_LISTENER_READY,		/* u32, wait for accept() */
	__TLSPORT_A_LISTENER_MAX,
};

#define TLSPORT_A_LISTENER_MAX (__TLSPORT_A_LISTENER_MAX - 1)

/* A connection: CONN_GET */
enum {
	TLSPORT_A_CONN_UNSPEC,
	TLSPORT_A_CONN_PAD,
	TLSPORT_A_CONN_ID,			/* u64, never reused */
	TLSPORT_A_CONN_PORT,			/* u16; in a request: only this one */
	TLSPORT_A_CONN_STATE,			/* u8, enum tlsport_conn_state */
	TLSPORT_A_CONN_LOCAL_ADDR,		/* binary, 4 or 16 bytes */
	TLSPORT_A_CONN_PEER_ADDR,		/* binary, 4 or 16 bytes */
	TLSPORT_A_CONN_PEER_PORT,		/* u16 */
	TLSPORT_A_CONN_AGE,			/* u64, ms since the raw accept */
	TLSPORT_A_CONN_VERSION,			/* u16, 0x0303 or 0x0304 */
	TLSPORT_A_CONN_SUITE,			/* u16, IANA number */
	TLSPORT_A_CONN_RESUMED,			/* flag */
	TLSPORT_A_CONN_SERVER_NAME,		/* string, SNI */
	TLSPORT_A_CONN_TX_MODE,			/* u8, enum tlsport_mode */
	TLSPORT_A_CONN_RX_MODE,			/* u8, enum tlsport_mode */
	TLSPORT_A_CONN_DRIVER,			/* string, of TX, as in /proc/crypto */
	TLSPORT_A_CONN_TX_SW,			/* u8, enum tlsport_sw, of TX that is SW */
	TLSPORT_A_CONN_RX_SW,			/* u8, enum tlsport_sw, of RX that is SW */
	/* string: the interface that has the connection's keys, or else that of its route */
	TLSPORT_A_CONN_DEVICE,
	__TLSPORT_A_CONN_MAX,
};

#define TLSPORT_A_CONN_MAX (__TLSPORT_A_CONN_MAX - 1)

/* A worker of the helper: WORKER_SET */
enum {
	TLSPORT_A_WORKER_UNSPEC,
	TLSPORT_A_WORKER_PAD,
	/*
	 * u64: address in the caller's memory, at the begin of a page, of TLSPORT_SCRATCH_LEN
	 * bytes that the kernel may use while the caller's CONTINUE runs; it passes keys to
	 * net/tls there and clears them.  Needed once, at registration.
	 */
	TLSPORT_A_WORKER_SCRATCH,
	TLSPORT_A_WORKER_DRAIN,			/* flag: no new handshakes to this socket */
	__TLSPORT_A_WORKER_MAX,
};

#define TLSPORT_A_WORKER_MAX (__TLSPORT_A_WORKER_MAX - 1)

/* A handshake: HANDSHAKE and CANCEL from the kernel, CONTINUE and FAIL to it */
enum {
	TLSPORT_A_HS_UNSPEC,
	TLSPORT_A_HS_PAD,
	TLSPORT_A_HS_ID,			/* u64, the connection */
	TLSPORT_A_HS_PORT,			/* u16 */
	TLSPORT_A_HS_LOCAL_ADDR,		/* binary, 4 or 16 bytes */
	TLSPORT_A_HS_PEER_ADDR,			/* binary, 4 or 16 bytes */
	TLSPORT_A_HS_PEER_PORT,			/* u16 */
	/*
	 * binary, TLSPORT_DATA_MAX at most.  Up: what is at the head of the
	 * receive queue, whole records; or, when the first bytes cannot be a
	 * TLS record, all that is there.  Down: bytes to send.
	 */
	TLSPORT_A_HS_DATA,
	TLSPORT_A_HS_EOF,			/* flag: the peer will send no more */
	/* u32: so many of the bytes shown are used up; more than 0 in a CONTINUE without keys */
	TLSPORT_A_HS_CONSUMED,
	/*
	 * With both of these CONTINUE ends the handshake: the structure that
	 * setsockopt(SOL_TLS, TLS_TX / TLS_RX) takes (linux/tls.h).
	 */
	TLSPORT_A_HS_TX,			/* binary, struct tls12_crypto_info_* */
	TLSPORT_A_HS_RX,			/* binary, struct tls12_crypto_info_* */
	/* TLS 1.3: application traffic secrets, 32 or 48 bytes, for KeyUpdate */
	TLSPORT_A_HS_TX_SECRET,			/* binary */
	TLSPORT_A_HS_RX_SECRET,			/* binary */
	TLSPORT_A_HS_SUITE,			/* u16, IANA number */
	TLSPORT_A_HS_RESUMED,			/* flag */
	TLSPORT_A_HS_SERVER_NAME,		/* string, 255 bytes at most */
	TLSPORT_A_HS_REASON,			/* u32, enum tlsport_reason, with FAIL */
	/*
	 * binary, TLSPORT_DETAILS_MAX at most, with the keys: attributes of
	 * linux/tlsport_sockopt.h, given to the application as they are
	 */
	TLSPORT_A_HS_DETAILS,
	/*
	 * binary, 1..TLSPORT_PREAMBLE_MAX, with the keys: what the application
	 * reads before what the client has sent
	 */
	TLSPORT_A_HS_PREAMBLE,
	__TLSPORT_A_HS_MAX,
};

#define TLSPORT_A_HS_MAX (__TLSPORT_A_HS_MAX - 1)

/*
 * Commands.  "do" requests are answered by an ACK or an error with text
 * (NLMSGERR_ATTR_MSG); "dump" by one message an object.
 */
enum {
	TLSPORT_CMD_UNSPEC,
	/*
	 * do, PORT attributes: register a port or change its policy (attributes
	 * that are left out keep their value, or get the default when new).
	 * From its success on nothing leaves the port in plaintext, helper or
	 * not.  Listening sockets that already exist are taken over when that
	 * is provably safe, else kept shut: see LISTENER_GET.  Connections keep
	 * what they began with: versions and offload of when their worker was
	 * chosen, truncation and key limit of when their keys came.
	 */
	TLSPORT_CMD_PORT_SET,
	/* do, PORT_NUMBER: -ENOENT when it is not registered */
	TLSPORT_CMD_PORT_DEL,
	/* do with PORT_NUMBER or dump: replies PORT_SET-like messages */
	TLSPORT_CMD_PORT_GET,
	TLSPORT_CMD_LISTENER_GET,		/* dump */
	TLSPORT_CMD_CONN_GET,			/* dump; CONN_PORT limits it */
	/* do: the sending socket takes handshakes until it is closed */
	TLSPORT_CMD_WORKER_SET,
	/* event to one worker: answer with CONTINUE or FAIL, once */
	TLSPORT_CMD_HANDSHAKE,
	/* event to the worker that has it: this connection ended, forget it */
	TLSPORT_CMD_CANCEL,
	/* do: HS_ID, CONSUMED, DATA, and at the end keys; -ESTALE: it ended */
	TLSPORT_CMD_CONTINUE,
	/* do: HS_ID, DATA (the alert to send), REASON; -ESTALE: it ended */
	TLSPORT_CMD_FAIL,
	__TLSPORT_CMD_MAX,
};

#define TLSPORT_CMD_MAX (__TLSPORT_CMD_MAX - 1)

#endif /* _UAPI_LINUX_TLSPORT_H */
