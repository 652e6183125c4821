// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test's module: whoever wants a gcm(aes) that is synchronous gets none, as of a
 * kernel that has that of a driver alone.
 */
#include <crypto/aead.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/string.h>

/* What is called instead; no tracer changes it. */
static notrace noinline struct crypto_aead *none(void)
{
	return ERR_PTR(-ENOENT);
}

static int begins(struct kprobe *probe, struct pt_regs *regs)
{
	const char *name = (const char *)regs_get_kernel_argument(regs, 0);

	if (!(regs_get_kernel_argument(regs, 2) & CRYPTO_ALG_ASYNC) || strcmp(name, "gcm(aes)"))
		return 0;
	instruction_pointer_set(regs, (unsigned long)none);
	return 1;
}

/* Its presence keeps the probe from being made a jump, past which no function can be replaced. */
static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = {
	.symbol_name = "crypto_alloc_aead",
	.pre_handler = begins,
	.post_handler = after,
};

static int __init no_sync_gcm_init(void)
{
	return register_kprobe(&probe);
}

static void __exit no_sync_gcm_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(no_sync_gcm_init);
module_exit(no_sync_gcm_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test: there is no synchronous gcm(aes)");
