// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A test's module: a server in the kernel.  It accepts from the listening socket that has
 * the number that is written to its parameter, and lets go of what it gets; writing
 * fails as the accept does.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/net.h>

static int accept_from(const char *text, const struct kernel_param *param)
{
	struct socket *sock, *conn;
	int fd, err;

	err = kstrtoint(text, 10, &fd);
	if (err)
		return err;
	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	err = kernel_accept(sock, &conn, O_NONBLOCK);
	if (err >= 0)
		sock_release(conn);
	sockfd_put(sock);
	return err < 0 ? err : 0;
}

static const struct kernel_param_ops listener_ops = { .set = accept_from };
module_param_cb(listener, &listener_ops, NULL, 0200);
MODULE_PARM_DESC(listener, "number of a listening socket");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test: accept() in the kernel");
