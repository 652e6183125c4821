// SPDX-License-Identifier: GPL-2.0-only
/* Init and exit, in order and in reverse; what a network namespace has. */
#include "tlsport.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

unsigned int tlsport_net_id;
struct workqueue_struct *tlsport_wq, *tlsport_open_wq;

static int linger_set(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 1, 3600);
}

unsigned int tlsport_linger_timeout = 30;
static const struct kernel_param_ops linger_ops = { .set = linger_set, .get = param_get_uint };
module_param_cb(linger_timeout, &linger_ops, &tlsport_linger_timeout, 0644);
MODULE_PARM_DESC(linger_timeout,
		 "seconds that a closed connection waits for a peer that takes nothing (30)");

bool tlsport_fail_hook, tlsport_no_syn_guard, tlsport_no_payload_guard;
module_param_named(fail_hook, tlsport_fail_hook, bool, 0600);
MODULE_PARM_DESC(fail_hook, "test: hooking a listener fails");
module_param_named(no_syn_guard, tlsport_no_syn_guard, bool, 0600);
MODULE_PARM_DESC(no_syn_guard, "test: the guard of incoming connections is off");
module_param_named(no_payload_guard, tlsport_no_payload_guard, bool, 0600);
MODULE_PARM_DESC(no_payload_guard, "test: the guard of outgoing payload is off");

static int __net_init tlsport_net_init(struct net *net)
{
	struct tlsport_net *tn = tlsport_pernet(net);

	tn->net = net;
	mutex_init(&tn->lock);
	xa_init(&tn->ports);
	spin_lock_init(&tn->workers_lock);
	INIT_LIST_HEAD(&tn->workers);
	INIT_LIST_HEAD(&tn->pending);
	INIT_DELAYED_WORK(&tn->retry, tlsport_upcall_retry_work);
	return 0;
}

/* A grace period before what the hooks look at goes. */
static void __net_exit tlsport_net_pre_exit(struct net *net)
{
	tlsport_guard_exit(net);
}

/*
 * No connection and no listener is left: their sockets hold the namespace.
 * Workers are when the module is unloaded under a running helper.
 */
static void __net_exit tlsport_net_exit(struct net *net)
{
	struct tlsport_net *tn = tlsport_pernet(net);
	struct tlsport_worker *w, *next;

	tlsport_ports_exit(net);
	cancel_delayed_work_sync(&tn->retry);
	list_for_each_entry_safe(w, next, &tn->workers, node) {
		list_del(&w->node);
		trace_tlsport_object_free("worker", w);
		kfree(w);
	}
	WARN_ON_ONCE(!list_empty(&tn->pending));
}

static struct pernet_operations tlsport_net_ops = {
	.init = tlsport_net_init,
	.pre_exit = tlsport_net_pre_exit,
	.exit = tlsport_net_exit,
	.id = &tlsport_net_id,
	.size = sizeof(struct tlsport_net),
};

static int __init tlsport_init(void)
{
	int err;

	tlsport_wq = alloc_workqueue("tlsport", WQ_UNBOUND, 0);
	if (!tlsport_wq)
		return -ENOMEM;
	err = -ENOMEM;
	tlsport_open_wq = alloc_workqueue("tlsport-open", WQ_UNBOUND, 0);
	if (!tlsport_open_wq)
		goto err_wq;
	err = tlsport_conn_init();
	if (err)
		goto err_open_wq;
	err = tlsport_rekey_init();
	if (err)
		goto err_conn;
	err = register_pernet_subsys(&tlsport_net_ops);
	if (err)
		goto err_rekey;
	err = tlsport_listener_init();
	if (err)
		goto err_net;
	err = tlsport_netlink_init();
	if (err)
		goto err_listener;
	return 0;

err_listener:
	tlsport_listener_exit();
err_net:
	unregister_pernet_subsys(&tlsport_net_ops);
err_rekey:
	tlsport_rekey_exit();
err_conn:
	tlsport_conn_exit();
err_open_wq:
	destroy_workqueue(tlsport_open_wq);
err_wq:
	destroy_workqueue(tlsport_wq);
	return err;
}

static void __exit tlsport_exit(void)
{
	tlsport_netlink_exit();
	tlsport_listener_exit();
	flush_workqueue(tlsport_open_wq);
	flush_workqueue(tlsport_wq); /* the last puts of what has ended */
	tlsport_raw_exit();
	unregister_pernet_subsys(&tlsport_net_ops);
	rcu_barrier(); /* call_rcu() of conn.c and listener.c ... */
	rcu_barrier(); /* ... which put ports by call_rcu() */
	tlsport_rekey_exit();
	tlsport_conn_exit();
	tlsport_session_exit();
	tlsport_offload_exit();
	destroy_workqueue(tlsport_open_wq);
	destroy_workqueue(tlsport_wq);
}

module_init(tlsport_init);
module_exit(tlsport_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
MODULE_DESCRIPTION("TLS on registered TCP ports");
MODULE_SOFTDEP("pre: tls");
MODULE_ALIAS_GENL_FAMILY(TLSPORT_FAMILY_NAME);
