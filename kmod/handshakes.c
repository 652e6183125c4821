// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshakes in flight of a port: counted, and shed when there are too many.
 *
 * One is busy while something is due of us, the first look at it or a worker's
 * answer, and stalled while it waits for its peer.  Only a stalled one is shed,
 * so none that a worker has, or is going to have.  A connection that was
 * refused counts on until its peer has taken the alert: it waits, too.
 *
 * port->lock guards all of it, and the order: who stalls goes to the end.  Whoever
 * is shed is in no list any more, and is told by its work item.
 */
#include <linux/siphash.h>
#include "tlsport.h"

/* A source is an IPv4 address or an IPv6 /64. */
u32 tlsport_handshakes_source(const struct tlsport_conn *conn)
{
	u64 source = conn->family == AF_INET6 ? *(const u64 *)&conn->peer :
						(__force u32)conn->peer.s6_addr32[0];

	return siphash_1u64(source, &conn->port->source_key) % TLSPORT_SOURCE_BUCKETS;
}

static void count(struct tlsport_conn *conn, int n)
{
	struct tlsport_port *port = conn->port;

	lockdep_assert_held(&port->lock);
	WRITE_ONCE(port->handshakes, port->handshakes + n);
	port->sources[conn->source].handshakes += n;
}

static void end_stall(struct tlsport_conn *conn)
{
	if (list_empty(&conn->source_node))
		return;
	list_del_init(&conn->source_node);
	conn->port->sources[conn->source].stalled_count--;
}

static void take_out(struct tlsport_conn *conn)
{
	if (list_empty(&conn->port_node))
		return;
	end_stall(conn);
	list_del_init(&conn->port_node);
	count(conn, -1);
}

/*
 * Whose oldest is shed when the port is full: the source with most that stall.
 * Where none has many they come from everywhere, and age alone counts: shared
 * buckets differ by chance, and a client's neighbours say nothing of it.
 */
static struct tlsport_conn *oldest_of_port(struct tlsport_port *port)
{
	u32 most = READ_ONCE(port->max_handshakes) / TLSPORT_SOURCE_SHARE;
	struct tlsport_source *heaviest = NULL;
	int i;

	for (i = 0; i < TLSPORT_SOURCE_BUCKETS; i++) {
		if (port->sources[i].stalled_count > most) {
			heaviest = &port->sources[i];
			most = heaviest->stalled_count;
		}
	}
	if (heaviest)
		return list_first_entry(&heaviest->stalled, struct tlsport_conn, source_node);
	return list_first_entry_or_null(&port->stalled, struct tlsport_conn, port_node);
}

static bool shed(struct tlsport_conn *conn)
{
	if (!conn)
		return false;
	take_out(conn);
	tlsport_conn_request_end(conn, TLSPORT_REASON_SHED);
	return true;
}

static bool make_room(struct tlsport_port *port, struct tlsport_source *source)
{
	while (source->handshakes >= READ_ONCE(port->max_per_source))
		if (!shed(list_first_entry_or_null(&source->stalled, struct tlsport_conn,
						   source_node)))
			return false;
	while (port->handshakes >= READ_ONCE(port->max_handshakes))
		if (!shed(oldest_of_port(port)))
			return false;
	return true;
}

/* Nanoseconds from one to the next; 0: as many as there are. */
static u64 interval(u32 rate)
{
	return rate ? NSEC_PER_SEC / rate : 0;
}

static bool ahead(u64 due, u64 step, u64 now)
{
	return step && due > now + NSEC_PER_SEC - step;
}

/*
 * A source, and all of the port, may begin a second's worth at once, then as many as
 * there is time for: due is when what has begun would be evenly spread.  Who is refused
 * has begun nothing.
 */
static bool too_fast(const struct tlsport_conn *conn, const struct tlsport_source *source)
{
	const struct tlsport_port *port = conn->port;
	u64 now = ktime_to_ns(conn->started);

	return ahead(source->due, interval(READ_ONCE(port->max_rate_per_source)), now) ||
	       ahead(port->due, interval(READ_ONCE(port->max_rate)), now);
}

static void begins(const struct tlsport_conn *conn, struct tlsport_source *source)
{
	struct tlsport_port *port = conn->port;
	u64 now = ktime_to_ns(conn->started);

	source->due = max(source->due, now) + interval(READ_ONCE(port->max_rate_per_source));
	port->due = max(port->due, now) + interval(READ_ONCE(port->max_rate));
}

/**
 * tlsport_handshakes_enter - one more
 * @conn: new, conn->lock held; it is busy
 *
 * Return: TLSPORT_REASON_NONE, or why it may not begin.
 */
enum tlsport_reason tlsport_handshakes_enter(struct tlsport_conn *conn)
{
	struct tlsport_port *port = conn->port;
	struct tlsport_source *source = &port->sources[conn->source];
	enum tlsport_reason reason = TLSPORT_REASON_NONE;

	spin_lock_bh(&port->lock);
	if (too_fast(conn, source)) {
		reason = TLSPORT_REASON_RATE;
	} else if (!make_room(port, source)) {
		reason = TLSPORT_REASON_OVERLOAD;
	} else {
		begins(conn, source);
		list_add_tail(&conn->port_node, &port->busy);
		count(conn, 1);
	}
	spin_unlock_bh(&port->lock);
	return reason;
}

/* conn->lock held.  It waits for its peer. */
void tlsport_handshakes_stall(struct tlsport_conn *conn)
{
	struct tlsport_port *port = conn->port;
	struct tlsport_source *source = &port->sources[conn->source];

	spin_lock_bh(&port->lock);
	if (!list_empty(&conn->port_node) && list_empty(&conn->source_node)) {
		list_move_tail(&conn->port_node, &port->stalled);
		list_add_tail(&conn->source_node, &source->stalled);
		source->stalled_count++;
	}
	spin_unlock_bh(&port->lock);
}

/* conn->lock held.  Its peer's bytes are whole records; false: too late, it was shed. */
bool tlsport_handshakes_resume(struct tlsport_conn *conn)
{
	struct tlsport_port *port = conn->port;
	bool in_flight;

	spin_lock_bh(&port->lock);
	in_flight = !list_empty(&conn->port_node);
	if (in_flight) {
		end_stall(conn);
		list_move_tail(&conn->port_node, &port->busy);
	}
	spin_unlock_bh(&port->lock);
	return in_flight;
}

/* conn->lock held.  It is over, well or not. */
void tlsport_handshakes_leave(struct tlsport_conn *conn)
{
	spin_lock_bh(&conn->port->lock);
	take_out(conn);
	spin_unlock_bh(&conn->port->lock);
}

/* Any context.  All of the port are to end. */
void tlsport_handshakes_end(struct tlsport_port *port, enum tlsport_reason reason)
{
	struct tlsport_conn *conn;

	spin_lock_bh(&port->lock);
	list_for_each_entry(conn, &port->busy, port_node)
		tlsport_conn_request_end(conn, reason);
	list_for_each_entry(conn, &port->stalled, port_node)
		tlsport_conn_request_end(conn, reason);
	spin_unlock_bh(&port->lock);
}
