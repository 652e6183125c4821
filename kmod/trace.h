/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: the life of a connection, and of every object that is made. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tlsport

#if !defined(_TLSPORT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TLSPORT_TRACE_H

#include <linux/tracepoint.h>
#include <linux/tlsport.h>

#define TLSPORT_TRACE_REASON(symbol, name, text) { TLSPORT_REASON_##symbol, name },

DECLARE_EVENT_CLASS(tlsport_conn_class,
	TP_PROTO(u64 id, u16 port, u16 version, u16 suite, int reason),
	TP_ARGS(id, port, version, suite, reason),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u16, port)
		__field(u16, version)
		__field(u16, suite)
		__field(int, reason)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->port = port;
		__entry->version = version;
		__entry->suite = suite;
		__entry->reason = reason;
	),
	TP_printk("id=%llu port=%u version=%04x suite=%04x reason=%s", __entry->id, __entry->port,
		  __entry->version, __entry->suite,
		  __print_symbolic(__entry->reason, TLSPORT_REASONS(TLSPORT_TRACE_REASON) { -1, "" }))
);

#define TLSPORT_CONN_EVENT(event) \
DEFINE_EVENT(tlsport_conn_class, event, \
	TP_PROTO(u64 id, u16 port, u16 version, u16 suite, int reason), \
	TP_ARGS(id, port, version, suite, reason))

TLSPORT_CONN_EVENT(tlsport_handshake_start);
TLSPORT_CONN_EVENT(tlsport_handshake_done);
TLSPORT_CONN_EVENT(tlsport_handshake_fail);
TLSPORT_CONN_EVENT(tlsport_close);

DECLARE_EVENT_CLASS(tlsport_object_class,
	TP_PROTO(const char *kind, const void *object),
	TP_ARGS(kind, object),
	TP_STRUCT__entry(
		__field(const char *, kind)
		__field(const void *, object)
	),
	TP_fast_assign(
		__entry->kind = kind;
		__entry->object = object;
	),
	TP_printk("kind=%s object=%p", __entry->kind, __entry->object)
);

DEFINE_EVENT(tlsport_object_class, tlsport_object_new,
	TP_PROTO(const char *kind, const void *object), TP_ARGS(kind, object));
DEFINE_EVENT(tlsport_object_class, tlsport_object_free,
	TP_PROTO(const char *kind, const void *object), TP_ARGS(kind, object));

#endif /* _TLSPORT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
