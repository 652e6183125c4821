// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test's module: sk_err has an error again when a function begins, the first parameter of
 * which is the socket.  So it is when net/tls, at work on another processor, had met
 * the error before somebody took it, and leaves there what became of it.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <net/sock.h>

static char *at;
module_param(at, charp, 0400);
MODULE_PARM_DESC(at, "function");

static int error;
module_param(error, int, 0400);
MODULE_PARM_DESC(error, "errno, positive");

static int begins(struct kprobe *probe, struct pt_regs *regs)
{
	struct sock *sk = (struct sock *)regs_get_kernel_argument(regs, 0);

	cmpxchg(&sk->sk_err, 0, error);
	return 0;
}

static struct kprobe probe = { .pre_handler = begins };

static int __init late_error_init(void)
{
	probe.symbol_name = at;
	return at ? register_kprobe(&probe) : -EINVAL;
}

static void __exit late_error_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(late_error_init);
module_exit(late_error_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test: an error comes back to a socket");
