/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Why a connection on a TLS port ended: the one table behind the enumeration,
 * the counters, the tracepoints and what tlsportctl prints.
 *
 * X(symbol, name, text): TLSPORT_REASON_<symbol>; name is the counter's name;
 * text completes "the connection ended because ...".  New reasons are added
 * at the end: the numbers are ABI.
 */
#ifndef _UAPI_LINUX_TLSPORT_REASON_H
#define _UAPI_LINUX_TLSPORT_REASON_H

#define TLSPORT_REASONS(X) \
	X(NONE, "none", "it has not ended") \
	X(CLOSED, "closed", "the application closed it") \
	X(PEER_CLOSED, "peer_closed", "the peer closed it before the handshake was done") \
	X(PEER_RESET, "peer_reset", "the peer reset it") \
	X(PEER_ALERT, "peer_alert", "the peer sent a fatal alert") \
	X(HANDSHAKE_TIMEOUT, "handshake_timeout", "the handshake took longer than is allowed") \
	X(HANDSHAKE_REFUSED, "handshake_refused", "the handshake was refused with an alert") \
	X(NOT_TLS, "not_tls", "the peer did not speak TLS") \
	X(NO_CONTEXT, "no_context", "the port has no usable certificate at this address") \
	X(PROTOCOL_ERROR, "protocol_error", "the peer broke the protocol after the handshake") \
	X(BAD_RECORD_MAC, "bad_record_mac", "a record did not authenticate") \
	X(TRUNCATED, "truncated", "the peer ended the stream without close_notify") \
	X(REKEY_FAILED, "rekey_failed", "a KeyUpdate could not be carried out") \
	X(WORKER_DIED, "worker_died", "the helper that held its handshake died") \
	X(WORKER_ERROR, "worker_error", "the helper's answer was not usable") \
	X(ATTACH_FAILED, "attach_failed", "the kernel did not take the keys") \
	X(NO_MEMORY, "no_memory", "memory ran out") \
	X(SHED, "shed", "it was stalled, and too many handshakes were in flight") \
	X(PORT_DISABLED, "port_disabled", "its port was disabled during the handshake") \
	X(LISTENER_CLOSED, "listener_closed", "the listening socket was closed first") \
	X(PLAINTEXT_RESET, "plaintext_reset", "it was in plaintext when its port was enabled") \
	X(LINGER_TIMEOUT, "linger_timeout", "the peer did not take the last bytes in time") \
	X(KEY_LIMIT, "key_limit", "its TLS 1.2 key had encrypted all the records that it may") \
	X(OFFLOAD_REQUIRED, "offload_required", "the port requires offload, and it had none") \
	X(OVERLOAD, "overload", "too many handshakes were in flight, and none was stalled") \
	X(RATE, "rate", "more handshakes began in a second than its source, or the port, may have")

#endif /* _UAPI_LINUX_TLSPORT_REASON_H */
