// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registry of the TLS ports of a network namespace.  tlsport_net.lock guards
 * it; the packet path reads the bitmap, everything else looks up by RCU.
 *
 * A port belongs to the administrator who registered it, not to a helper
 * process: without a helper it stays registered and nothing gets through.
 */
#include <linux/siphash.h>
#include "tlsport.h"
#include "trace.h"

static void port_free(struct rcu_head *rcu)
{
	struct tlsport_port *port = container_of(rcu, struct tlsport_port, rcu);

	trace_tlsport_object_free("port", port);
	free_percpu(port->stats);
	kvfree(port->sources);
	kfree(port);
}

void tlsport_port_put(struct tlsport_port *port)
{
	if (refcount_dec_and_test(&port->ref))
		call_rcu(&port->rcu, port_free);
}

/**
 * tlsport_port_get - find a registered port
 * @net: network namespace
 * @number: port number
 *
 * Context: any.
 * Return: the port with a reference for the caller, or NULL.
 */
struct tlsport_port *tlsport_port_get(struct net *net, u16 number)
{
	struct tlsport_port *port;

	rcu_read_lock();
	port = xa_load(&tlsport_pernet(net)->ports, number);
	if (port && !refcount_inc_not_zero(&port->ref))
		port = NULL;
	rcu_read_unlock();
	return port;
}

static struct tlsport_port *port_new(u16 number)
{
	struct tlsport_port *port = kzalloc(sizeof(*port), GFP_KERNEL_ACCOUNT);
	int i;

	if (!port)
		return NULL;
	port->stats = alloc_percpu_gfp(struct tlsport_stats, GFP_KERNEL_ACCOUNT);
	port->sources =
		kvcalloc(TLSPORT_SOURCE_BUCKETS, sizeof(*port->sources), GFP_KERNEL_ACCOUNT);
	if (!port->stats || !port->sources) {
		free_percpu(port->stats);
		kvfree(port->sources);
		kfree(port);
		return NULL;
	}
	port->number = number;
	port->min_version = TLS_1_2_VERSION;
	port->max_version = TLS_1_3_VERSION;
	port->truncation = TLSPORT_TRUNCATION_STRICT;
	port->offload = TLSPORT_OFFLOAD_AUTO;
	port->handshake_timeout = TLSPORT_HANDSHAKE_TIMEOUT_MS;
	port->max_handshakes = TLSPORT_MAX_HANDSHAKES;
	port->max_per_source = TLSPORT_MAX_PER_SOURCE;
	port->key_limit = TLSPORT_KEY_LIMIT;
	refcount_set(&port->ref, 1);
	spin_lock_init(&port->lock);
	INIT_LIST_HEAD(&port->busy);
	INIT_LIST_HEAD(&port->stalled);
	for (i = 0; i < TLSPORT_SOURCE_BUCKETS; i++)
		INIT_LIST_HEAD(&port->sources[i].stalled);
	get_random_bytes(&port->source_key, sizeof(port->source_key));
	trace_tlsport_object_new("port", port);
	return port;
}

static void port_policy(struct tlsport_net *tn, struct tlsport_port *port, struct nlattr **attrs)
{
	spin_lock_bh(&tn->workers_lock); /* both or neither: note_policy() */
	if (attrs[TLSPORT_A_PORT_MIN_VERSION])
		WRITE_ONCE(port->min_version, nla_get_u16(attrs[TLSPORT_A_PORT_MIN_VERSION]));
	if (attrs[TLSPORT_A_PORT_MAX_VERSION])
		WRITE_ONCE(port->max_version, nla_get_u16(attrs[TLSPORT_A_PORT_MAX_VERSION]));
	spin_unlock_bh(&tn->workers_lock);
	if (attrs[TLSPORT_A_PORT_TRUNCATION])
		WRITE_ONCE(port->truncation, nla_get_u8(attrs[TLSPORT_A_PORT_TRUNCATION]));
	if (attrs[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT])
		WRITE_ONCE(port->handshake_timeout,
			   nla_get_u32(attrs[TLSPORT_A_PORT_HANDSHAKE_TIMEOUT]));
	if (attrs[TLSPORT_A_PORT_MAX_HANDSHAKES])
		WRITE_ONCE(port->max_handshakes, nla_get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKES]));
	if (attrs[TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE])
		WRITE_ONCE(port->max_per_source,
			   nla_get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKES_PER_SOURCE]));
	if (attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE])
		WRITE_ONCE(port->max_rate_per_source,
			   nla_get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE_PER_SOURCE]));
	if (attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE])
		WRITE_ONCE(port->max_rate, nla_get_u32(attrs[TLSPORT_A_PORT_MAX_HANDSHAKE_RATE]));
	if (attrs[TLSPORT_A_PORT_KEY_LIMIT])
		WRITE_ONCE(port->key_limit, nla_get_u32(attrs[TLSPORT_A_PORT_KEY_LIMIT]));
	if (attrs[TLSPORT_A_PORT_OFFLOAD])
		WRITE_ONCE(port->offload, nla_get_u8(attrs[TLSPORT_A_PORT_OFFLOAD]));
	if (attrs[TLSPORT_A_PORT_ZEROCOPY])
		WRITE_ONCE(port->zerocopy, nla_get_u8(attrs[TLSPORT_A_PORT_ZEROCOPY]));
}

static int port_check_versions(const struct tlsport_port *port, struct nlattr **attrs,
			       struct netlink_ext_ack *extack)
{
	u16 min = port ? port->min_version : TLS_1_2_VERSION;
	u16 max = port ? port->max_version : TLS_1_3_VERSION;

	if (attrs[TLSPORT_A_PORT_MIN_VERSION])
		min = nla_get_u16(attrs[TLSPORT_A_PORT_MIN_VERSION]);
	if (attrs[TLSPORT_A_PORT_MAX_VERSION])
		max = nla_get_u16(attrs[TLSPORT_A_PORT_MAX_VERSION]);
	if (min <= max)
		return 0;
	NL_SET_ERR_MSG(extack, "the minimum TLS version is above the maximum");
	return -EINVAL;
}

/* With tn->lock; the registry's reference goes. */
static void port_remove(struct tlsport_net *tn, struct tlsport_port *port)
{
	WRITE_ONCE(port->disabled, true);
	smp_mb(); /* before the walk; a listener being hooked looks when it is in the hash */
	tlsport_listeners_disable(port); /* before the guard lets MPTCP through */
	clear_bit(port->number, tn->port_map);
	xa_erase(&tn->ports, port->number);
	tn->nports--;
	tlsport_handshakes_end(port, TLSPORT_REASON_PORT_DISABLED);
	tlsport_port_put(port);
}

/* With tn->lock.  The last one takes the guards along. */
static void port_unregister(struct tlsport_net *tn, struct tlsport_port *port)
{
	port_remove(tn, port);
	if (!tn->nports)
		tlsport_guard_exit(tn->net);
}

/**
 * tlsport_port_set - register a port, or change its policy
 * @net: network namespace
 * @number: port number, not 0
 * @attrs: TLSPORT_A_PORT_*, checked by the netlink policy
 * @extack: where an error is explained
 *
 * When it returns 0 nothing in plaintext leaves the port or reaches its
 * application any more.  The order is: registry and guards (new listeners are
 * hooked, no packet creates a connection at an old one), then the take-over of
 * old listeners, with the reset of old connections before new ones may come.
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno, then all is as before, but that old connections
 * may have been reset.
 */
int tlsport_port_set(struct net *net, u16 number, struct nlattr **attrs,
		     struct netlink_ext_ack *extack)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_port *port, *fresh = NULL;
	int err;

	mutex_lock(&tn->lock);
	port = xa_load(&tn->ports, number);
	err = port_check_versions(port, attrs, extack);
	if (err)
		goto out;
	if (port) {
		port_policy(tn, port, attrs);
		goto out;
	}
	err = -ENOMEM;
	fresh = port_new(number);
	if (!fresh) {
		NL_SET_ERR_MSG(extack, "no memory for the port");
		goto out;
	}
	err = tlsport_guard_init(net);
	if (err) {
		NL_SET_ERR_MSG(extack, "no memory for the netfilter guard, or too many hooks");
		goto err_port;
	}
	port_policy(tn, fresh, attrs);
	err = xa_err(xa_store(&tn->ports, number, fresh, GFP_KERNEL));
	if (err) {
		NL_SET_ERR_MSG(extack, "no memory for the port");
		goto err_guard;
	}
	tn->nports++;
	set_bit(number, tn->port_map);
	synchronize_net(); /* every packet from here on meets the guards */
	err = tlsport_takeover(net, fresh);
	if (err) {
		NL_SET_ERR_MSG(extack, "no memory to take over what listens or is connected");
		port_unregister(tn, fresh);
	}
	goto out;

err_guard:
	if (!tn->nports)
		tlsport_guard_exit(net);
err_port:
	tlsport_port_put(fresh);
out:
	mutex_unlock(&tn->lock);
	return err;
}

/**
 * tlsport_port_del - take a port out of the registry
 * @net: network namespace
 * @number: port number
 *
 * Handshakes in flight end, established connections go on as TLS, listening
 * sockets serve plain TCP from now on.
 *
 * Context: process, may sleep.
 * Return: 0, or -ENOENT when the port is not registered.
 */
int tlsport_port_del(struct net *net, u16 number)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_port *port;

	mutex_lock(&tn->lock);
	port = xa_load(&tn->ports, number);
	if (port)
		port_unregister(tn, port);
	mutex_unlock(&tn->lock);
	return port ? 0 : -ENOENT;
}

void tlsport_ports_exit(struct net *net)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_port *port;
	unsigned long number;

	mutex_lock(&tn->lock);
	xa_for_each(&tn->ports, number, port)
		port_remove(tn, port);
	xa_destroy(&tn->ports);
	mutex_unlock(&tn->lock);
}
