// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test's module: the Nth allocation that tlsport makes fails.
 *
 * An allocation is tlsport's when a function of tlsport is on the call stack: its
 * own, and those of net/tls, crypto, netlink and TCP on its behalf, whatever the
 * context: system call, work item, softirq, tracepoint probe.  The kernel's fault
 * injection knows tasks alone, and no kernel of a distribution has it.
 *
 * A kprobe at the entry of each allocating function calls one that returns NULL in
 * its stead: nothing was allocated, nothing is to be undone.  One allocation counts
 * once: a function of the table that another one called does not.  Nor does what a
 * softirq does that happened to come on top of tlsport, the copy of a packet for
 * the test that listens to the wire, and the page that a program's memory gets
 * because tlsport reads or writes there.  What may not fail (__GFP_NOFAIL) neither
 * counts nor fails.
 *
 * Out of reach: objects and pages that a caller has kept from before, as the
 * networking core does for packets that come.
 */
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/stacktrace.h>
#include <linux/string.h>

#define DEPTH 64

/* __kmalloc_node() and its like have one more parameter behind the size */
#define AFTER_SIZE (1 + IS_ENABLED(CONFIG_SLAB_BUCKETS))

struct code {
	unsigned long begin, end;
};

struct allocator {
	const char *names[3]; /* of 6.1 and newer kernels: the first that there is */
	int gfp;	      /* which parameter */
	struct code text;
	struct kprobe probe;
};

static struct allocator allocators[] = {
	{ { "kmem_cache_alloc", "kmem_cache_alloc_noprof" }, 1 },
	{ { "kmem_cache_alloc_lru", "kmem_cache_alloc_lru_noprof" }, 2 },
	{ { "kmem_cache_alloc_node", "kmem_cache_alloc_node_noprof" }, 1 },
	{ { "kmem_cache_alloc_bulk", "kmem_cache_alloc_bulk_noprof" }, 1 },
	{ { "__kmalloc", "__kmalloc_noprof" }, 1 },
	{ { "__kmalloc_node", "__kmalloc_node_noprof" }, AFTER_SIZE },
	{ { "__kmalloc_node_track_caller", "__kmalloc_node_track_caller_noprof" }, AFTER_SIZE },
	{ { "kmalloc_trace", "__kmalloc_cache_noprof" }, 1 },
	{ { "kmalloc_node_trace", "__kmalloc_cache_node_noprof" }, 1 },
	{ { "kmalloc_large", "__kmalloc_large_noprof" }, 1 },
	{ { "kmalloc_large_node", "__kmalloc_large_node_noprof" }, 1 },
	{ { "__vmalloc_node_range", "__vmalloc_node_range_noprof" }, 4 },
	{ { "pcpu_alloc", "pcpu_alloc_noprof" }, 3 },
	{ { "__alloc_pages", "__alloc_frozen_pages_noprof", "__alloc_pages_noprof" }, 0 },
	{ { "skb_page_frag_refill" }, 2 }, /* returns false */
};

static struct code tlsport;
/* What is called by these is not tlsport's, though it is on the stack. */
static const char *const foreign_names[] = { "handle_softirqs", "dev_queue_xmit_nit",
					     "handle_mm_fault" };
static struct code foreign[ARRAY_SIZE(foreign_names)];

static unsigned long text;
module_param(text, ulong, 0400);
MODULE_PARM_DESC(text, "where tlsport's .text begins");

static bool rest;
module_param(rest, bool, 0600);
MODULE_PARM_DESC(rest, "all that come after the Nth fail, too");

static int nth; /* 0: disarmed */
static atomic_t seen;
static unsigned long victim[DEPTH]; /* the allocating function, and who called it */
static int victim_depth;

static bool within(const struct code *code, unsigned long address)
{
	return address >= code->begin && address < code->end;
}

/* What is called instead; no tracer changes it. */
static notrace noinline void *fail(void)
{
	return NULL;
}

/* The callers of a probed function, from the inside out; returns how many. */
static int callers(const struct allocator *a, struct pt_regs *regs, unsigned long *stack)
{
	unsigned long caller = *(unsigned long *)kernel_stack_pointer(regs);
	int i = 0, n = stack_trace_save(stack, DEPTH, 1);

	/* before the probed function are those of the probe */
	while (i < n && stack[i] != caller && !within(&a->text, stack[i]))
		i++;
	while (i < n && within(&a->text, stack[i]))
		i++;
	if (i < n && stack[i] == caller)
		i++;
	if (i == 0)
		return 0;
	/* an unwinder may miss who called a function that has no frame yet */
	stack[--i] = caller;
	memmove(stack, stack + i, (n - i) * sizeof(*stack));
	return n - i;
}

/* tlsport's, and not inside another allocation or something foreign */
static bool is_ours(const unsigned long *stack, int n)
{
	int i, j;

	for (i = 0; i < n; i++) {
		if (within(&tlsport, stack[i]))
			return true;
		for (j = 0; j < ARRAY_SIZE(foreign); j++)
			if (within(&foreign[j], stack[i]))
				return false;
		for (j = 0; j < ARRAY_SIZE(allocators); j++)
			if (within(&allocators[j].text, stack[i]))
				return false;
	}
	return false;
}

static int before(struct kprobe *probe, struct pt_regs *regs)
{
	const struct allocator *a = container_of(probe, struct allocator, probe);
	int wanted = smp_load_acquire(&nth), number, n; /* before what nth_set() resets */
	unsigned long stack[DEPTH];

	if (!wanted || regs_get_kernel_argument(regs, a->gfp) & (__force unsigned long)__GFP_NOFAIL)
		return 0;
	n = callers(a, regs, stack);
	if (!is_ours(stack, n))
		return 0;
	number = atomic_inc_return(&seen);
	if (number < wanted || (number > wanted && !READ_ONCE(rest)))
		return 0;
	if (number == wanted) {
		victim[0] = a->text.begin;
		memcpy(victim + 1, stack, min(n, DEPTH - 1) * sizeof(*stack));
		smp_store_release(&victim_depth, min(n + 1, DEPTH)); /* the names are there */
	}
	instruction_pointer_set(regs, (unsigned long)fail);
	return 1;
}

/* Its presence keeps the probe from being made a jump, past which no function can be replaced. */
static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static int nth_set(const char *value, const struct kernel_param *param)
{
	int wanted, err = kstrtoint(value, 0, &wanted);

	if (err)
		return err;
	WRITE_ONCE(nth, 0);
	if (!wanted) /* what was seen stays to be read */
		return 0;
	victim_depth = 0;
	atomic_set(&seen, 0);
	smp_store_release(&nth, wanted); /* the count begins at 0 */
	return 0;
}

static const struct kernel_param_ops nth_ops = { .set = nth_set, .get = param_get_int };
module_param_cb(nth, &nth_ops, &nth, 0600);
MODULE_PARM_DESC(nth, "arm: this one fails, from now on; 0: none");

static int seen_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&seen));
}

static const struct kernel_param_ops seen_ops = { .get = seen_get };
module_param_cb(seen, &seen_ops, NULL, 0400);
MODULE_PARM_DESC(seen, "how many there were while it was armed");

static int victim_get(char *buffer, const struct kernel_param *param)
{
	int i, at = 0, n = smp_load_acquire(&victim_depth); /* before the names */

	for (i = 0; i < n; i++)
		at += sysfs_emit_at(buffer, at, "%pS\n", (void *)victim[i]);
	return at;
}

static const struct kernel_param_ops victim_ops = { .get = victim_get };
module_param_cb(victim, &victim_ops, NULL, 0400);
MODULE_PARM_DESC(victim, "the call that failed and its callers; empty: none did");

static int missed_get(char *buffer, const struct kernel_param *param)
{
	unsigned long missed = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(allocators); i++)
		missed += allocators[i].probe.nmissed;
	return sysfs_emit(buffer, "%lu\n", missed);
}

static const struct kernel_param_ops missed_ops = { .get = missed_get };
module_param_cb(missed, &missed_ops, NULL, 0400);
MODULE_PARM_DESC(missed, "not looked at: they interrupted a look at another one");

/* A function from its address on */
static void set_code(struct code *code, unsigned long address)
{
	char name[KSYM_SYMBOL_LEN], *slash;
	unsigned long size = 0;

	sprint_symbol(name, address); /* name+0x0/0xSIZE */
	slash = strchr(name, '/');
	if (!slash || kstrtoul(slash + 1, 0, &size))
		size = 0;
	code->begin = address;
	code->end = address + size;
}

/* The pages that the module's text lies in; modules share none. */
static int find_tlsport(void)
{
	char name[KSYM_SYMBOL_LEN];

	tlsport.begin = text & PAGE_MASK;
	tlsport.end = text;
	do {
		tlsport.end = (tlsport.end & PAGE_MASK) + PAGE_SIZE;
		sprint_symbol(name, tlsport.end);
	} while (strstr(name, " [tlsport]"));
	sprint_symbol(name, text);
	return strstr(name, " [tlsport]") ? 0 : -EINVAL;
}

static int find_foreign(void)
{
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(foreign); i++) {
		struct kprobe probe = { .symbol_name = foreign_names[i] };

		err = register_kprobe(&probe); /* knows the addresses of names */
		if (err)
			break;
		set_code(&foreign[i], (unsigned long)probe.addr);
		unregister_kprobe(&probe);
	}
	return err;
}

static int probe_allocator(struct allocator *a)
{
	int i, err = -ENOENT;

	for (i = 0; i < ARRAY_SIZE(a->names) && a->names[i] && err == -ENOENT; i++) {
		memset(&a->probe, 0, sizeof(a->probe));
		a->probe.symbol_name = a->names[i];
		a->probe.pre_handler = before;
		a->probe.post_handler = after;
		err = register_kprobe(&a->probe);
	}
	if (err)
		pr_err("failnth: %s: error %d\n", a->names[0], err);
	else
		set_code(&a->text, (unsigned long)a->probe.addr);
	return err;
}

/* Half a table would let failures pass unseen: all of it or nothing. */
static int __init failnth_init(void)
{
	int i, err = find_tlsport() ?: find_foreign();

	if (err)
		return err;
	for (i = 0; i < ARRAY_SIZE(allocators); i++) {
		err = probe_allocator(&allocators[i]);
		if (err)
			goto err_probes;
	}
	return 0;

err_probes:
	while (i--)
		unregister_kprobe(&allocators[i].probe);
	return err;
}

static void __exit failnth_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(allocators); i++)
		unregister_kprobe(&allocators[i].probe);
}

module_init(failnth_init);
module_exit(failnth_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test: the Nth allocation that tlsport makes fails");
