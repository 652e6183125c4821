// SPDX-License-Identifier: GPL-2.0-or-later
/* Has the name of tlsport's netlink family, without which tlsport cannot be loaded. */
#include <linux/module.h>
#include <net/genetlink.h>

static struct genl_family taken = { .name = "tlsport", .version = 1, .module = THIS_MODULE };

static int __init taken_init(void)
{
	return genl_register_family(&taken);
}

static void __exit taken_exit(void)
{
	genl_unregister_family(&taken);
}

module_init(taken_init);
module_exit(taken_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test: the name of a netlink family is taken");
