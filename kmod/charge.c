// SPDX-License-Identifier: GPL-2.0-only
/*
 * A connection's memory is charged to the memory cgroup of the program that
 * accepts it, as TCP's accept() does it.  The raw accept is a work item's, and so
 * in no cgroup: accept() makes up for it.
 *
 * Only where memory cgroups are of the unified hierarchy: the old one charges
 * sockets by a limit of its own, which modules cannot see.
 */
#include <linux/memcontrol.h>
#include "tlsport.h"

#ifdef CONFIG_MEMCG
/* What TCP has been charged for this socket: a number of whole pages */
static int charged(const struct sock *sk)
{
	return round_up(sk->sk_forward_alloc + atomic_read(&sk->sk_rmem_alloc) + sk->sk_wmem_queued,
			PAGE_SIZE);
}

/**
 * tlsport_charge - charge a connection to the caller's memory cgroup
 * @sk: with nobody's
 *
 * The kernel does not export what charges a cgroup alone: the socket is charged
 * once more, cgroup and TCP, and then TCP's part is given back.
 *
 * Context: the application's accept(), lock_sock(@sk) held.
 */
void tlsport_charge(struct sock *sk)
{
	struct mem_cgroup *memcg;
	int size;

	if (!mem_cgroup_sockets_enabled || !cgroup_subsys_on_dfl(memory_cgrp_subsys) ||
	    sk->sk_memcg || !current->mm)
		return;
	memcg = get_mem_cgroup_from_mm(current->mm);
	if (!memcg->css.parent) /* the root's is not counted */
		goto put;
	sk->sk_memcg = memcg;
	tlsport_charge_object(sk);
	size = charged(sk);
	if (!size)
		return;
	if (__sk_mem_schedule(sk, size, SK_MEM_RECV)) {
		sk->sk_memcg = NULL;
		__sk_mem_reclaim(sk, size);
		sk->sk_memcg = memcg;
		return;
	}
	sk->sk_memcg = NULL; /* the cgroup is full */
put:
	mem_cgroup_put(memcg);
}
#else
void tlsport_charge(struct sock *sk)
{
}
#endif
