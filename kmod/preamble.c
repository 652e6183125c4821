// SPDX-License-Identifier: GPL-2.0-only
/*
 * The preamble: bytes of the helper that the application reads before the first of
 * its client, such as a header of the PROXY protocol.
 *
 * Made before the connection is ready, freed with it.  Its lock is the readers' alone:
 * copying to a program's memory may take as long as the program likes.
 * tlsport_conn.preamble_left is what is unread; without a preamble it is 0, and
 * that test is all that a reader pays.
 */
#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/uio.h>
#include <linux/splice.h>
#include "tlsport.h"

struct tlsport_preamble {
	struct mutex lock; /* preamble_left */
	u32 len;
	u8 data[];
};

/**
 * tlsport_preamble_set - before the connection is ready
 * @conn: the connection
 * @data: 1 to TLSPORT_PREAMBLE_MAX bytes
 * @len: of @data
 *
 * Context: process, conn->lock held.
 * Return: 0 or -ENOMEM.
 */
int tlsport_preamble_set(struct tlsport_conn *conn, const void *data, u32 len)
{
	struct tlsport_preamble *preamble = kmalloc(struct_size(preamble, data, len), GFP_KERNEL);

	if (!preamble)
		return -ENOMEM;
	mutex_init(&preamble->lock);
	preamble->len = len;
	memcpy(preamble->data, data, len);
	conn->preamble = preamble;
	conn->preamble_left = len;
	return 0;
}

/**
 * tlsport_preamble_read - what is left of it, for a reader
 * @conn: with a preamble
 * @to: where to
 * @len: room there
 * @peek: it stays
 * @end: set: what comes next is the client's
 *
 * Context: process, no locks.
 * Return: bytes, 0: another reader has had the rest; or -EFAULT.
 */
int tlsport_preamble_read(struct tlsport_conn *conn, struct iov_iter *to, size_t len, bool peek,
			  bool *end)
{
	struct tlsport_preamble *preamble = conn->preamble;
	size_t n, left;

	mutex_lock(&preamble->lock);
	left = conn->preamble_left;
	len = min(len, left);
	n = copy_to_iter(preamble->data + preamble->len - left, len, to);
	*end = n == left;
	if (!peek)
		WRITE_ONCE(conn->preamble_left, left - n);
	mutex_unlock(&preamble->lock);
	return n || !len ? n : -EFAULT;
}

static void release_page(struct splice_pipe_desc *spd, unsigned int i)
{
	put_page(spd->pages[i]);
}

/**
 * tlsport_preamble_splice - likewise, into a pipe
 * @conn: with a preamble
 * @pipe: locked by the caller
 * @len: as much as is wanted
 *
 * Return: bytes, 0: another reader has had the rest; or a negative errno.
 */
ssize_t tlsport_preamble_splice(struct tlsport_conn *conn, struct pipe_inode_info *pipe, size_t len)
{
	struct tlsport_preamble *preamble = conn->preamble;
	struct page *page = alloc_page(GFP_KERNEL);
	struct partial_page partial = { 0 };
	struct splice_pipe_desc spd = {
		.pages = &page,
		.partial = &partial,
		.nr_pages = 1,
		.nr_pages_max = 1,
		.ops = &nosteal_pipe_buf_ops,
		.spd_release = release_page,
	};
	ssize_t n = 0;

	if (!page)
		return -ENOMEM;
	mutex_lock(&preamble->lock);
	partial.len = min_t(size_t, len, conn->preamble_left);
	memcpy(page_address(page), preamble->data + preamble->len - conn->preamble_left,
	       partial.len);
	if (partial.len)
		n = splice_to_pipe(pipe, &spd);
	else
		put_page(page);
	if (n > 0)
		WRITE_ONCE(conn->preamble_left, conn->preamble_left - n);
	mutex_unlock(&preamble->lock);
	return n;
}

/* The connection ends. */
void tlsport_preamble_free(struct tlsport_conn *conn)
{
	kfree(conn->preamble);
}
