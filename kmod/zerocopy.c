// SPDX-License-Identifier: GPL-2.0-only
/*
 * zerocopy = on: what sendfile() and splice() give is read by the network interface from
 * the page cache, perhaps again when a packet was lost.  A page that has changed
 * meanwhile would be encrypted under a nonce that has been used: the record is broken,
 * and the key is given away.  So only pages that nobody can write pass uncopied.
 *
 * Connections that software encrypts never come here.
 */
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include "tlsport.h"

/* A memfd that was sealed, for good: to cut off a part of a page overwrites it with zeroes. */
static bool is_sealed(struct inode *inode)
{
	const unsigned int wanted = F_SEAL_WRITE | F_SEAL_SHRINK;

	return inode->i_sb->s_magic == TMPFS_MAGIC &&
	       (READ_ONCE(SHMEM_I(inode)->seals) & wanted) == wanted;
}

/* What is not written here does not change: not so behind a server, or a program (FUSE). */
static bool is_local(const struct super_block *sb)
{
	switch (sb->s_magic) {
	case TMPFS_MAGIC:
	case BTRFS_SUPER_MAGIC:
		return true;
	case FUSE_SUPER_MAGIC:
		return false;
	default:
		return sb->s_bdev;
	}
}

/* Nobody can write until somebody with the right to do so changes the file or its mount. */
static bool is_read_only(struct inode *inode)
{
	return (IS_IMMUTABLE(inode) || sb_rdonly(inode->i_sb)) && is_local(inode->i_sb) &&
	       !inode_is_open_for_write(inode) && !mapping_writably_mapped(inode->i_mapping);
}

/* A page has no reference on its file: RCU keeps what is looked at. */
static bool is_immutable(struct page *page)
{
	struct address_space *mapping;
	struct inode *inode;
	bool immutable;

	rcu_read_lock();
	mapping = folio_mapping(page_folio(page));
	inode = mapping ? READ_ONCE(mapping->host) : NULL;
	immutable = inode && (IS_VERITY(inode) || is_sealed(inode) || is_read_only(inode));
	rcu_read_unlock();
	return immutable;
}

static bool are_immutable(struct page *page, size_t len)
{
	unsigned long pfn = page_to_pfn(page), last = pfn + (len - 1) / PAGE_SIZE;

	while (pfn <= last)
		if (!is_immutable(pfn_to_page(pfn++)))
			return false;
	return true;
}

/**
 * tlsport_zerocopy_page - may the interface read this page when it likes?
 * @sk: attached, an interface encrypts
 * @page: of a file, perhaps
 *
 * Context: process.  Return: false: it must be copied.
 */
bool tlsport_zerocopy_page(const struct sock *sk, struct page *page)
{
	if (!tls_get_ctx(sk)->zerocopy_sendfile)
		return false;
	if (is_immutable(page))
		return true;
	TLSPORT_STAT(tlsport_conn_of(sk)->port, SENDFILE_COPIED);
	return false;
}

/**
 * tlsport_zerocopy_iter - likewise, all that MSG_SPLICE_PAGES brings
 * @sk: attached, an interface encrypts
 * @iter: what is sent
 *
 * Context: process.  Return: false: it must be copied.
 */
bool tlsport_zerocopy_iter(const struct sock *sk, const struct iov_iter *iter)
{
	size_t skip = iter->iov_offset, left = iov_iter_count(iter);
	const struct bio_vec *bv = iter->bvec;
	bool immutable = iov_iter_is_bvec(iter);
	size_t n;

	if (!tls_get_ctx(sk)->zerocopy_sendfile)
		return false;
	for (; immutable && left; bv++, left -= n, skip = 0) {
		n = min_t(size_t, bv->bv_len - skip, left);
		immutable = !n || are_immutable(bv->bv_page, bv->bv_offset + skip + n);
	}
	if (!immutable)
		TLSPORT_STAT(tlsport_conn_of(sk)->port, SENDFILE_COPIED);
	return immutable;
}
