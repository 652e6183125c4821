// SPDX-License-Identifier: GPL-2.0-only
/*
 * getsockopt(SOL_TLSPORT): what the application may know of its connection.  All
 * of it is written before the connection is ready, and changes no more; keys are
 * not among it.
 */
#include <linux/uaccess.h>
#include <linux/tlsport_sockopt.h>
#include "tlsport.h"

static enum tlsport_mode mode(enum tlsport_sw sw)
{
	return sw == TLSPORT_SW_NONE ? TLSPORT_MODE_NIC : TLSPORT_MODE_SW;
}

static int get_info(struct tlsport_conn *conn, char __user *optval, int len, int __user *optlen)
{
	struct tlsport_info info = {
		.id = conn->id,
		.version = conn->version,
		.suite = conn->suite,
		.resumed = conn->resumed,
		.details_len = conn->details_len,
	};
	struct tlsport_offload_now now;

	mutex_lock(&conn->lock);
	tlsport_offload_look(conn, &now);
	mutex_unlock(&conn->lock);
	info.tx_mode = mode(now.tx);
	info.rx_mode = mode(now.rx);
	if (conn->server_name)
		strscpy(info.server_name, conn->server_name, sizeof(info.server_name));
	len = min_t(int, len, sizeof(info));
	return put_user(len, optlen) || copy_to_user(optval, &info, len) ? -EFAULT : 0;
}

static int get_details(struct tlsport_conn *conn, char __user *optval, int len, int __user *optlen)
{
	const int need = conn->details_len;

	if (!need)
		return -ENODATA;
	if (put_user(need, optlen))
		return -EFAULT;
	if (len < need)
		return -ERANGE;
	return copy_to_user(optval, conn->details, need) ? -EFAULT : 0;
}

/**
 * tlsport_sockopt_get - an option of level SOL_TLSPORT
 * @conn: the connection, with the application
 * @optname: TLSPORT_INFO, TLSPORT_DETAILS
 * @optval: of the caller
 * @optlen: likewise
 *
 * Context: process, may sleep.
 * Return: 0 or a negative errno.
 */
int tlsport_sockopt_get(struct tlsport_conn *conn, int optname, char __user *optval,
			int __user *optlen)
{
	int len;

	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	switch (optname) {
	case TLSPORT_INFO:
		return get_info(conn, optval, len, optlen);
	case TLSPORT_DETAILS:
		return get_details(conn, optval, len, optlen);
	default:
		return -ENOPROTOOPT;
	}
}
