/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only file that knows kernel versions: old interfaces in the shape of the
 * newest one.  Tested: Linux 6.1, 6.12 and 7.3.
 */
#ifndef _TLSPORT_COMPAT_H
#define _TLSPORT_COMPAT_H

#include <linux/version.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <net/dst.h>
#include <net/inet_common.h>
#include <net/sock.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0) /* before it was in sock.h */
#include <net/proto_memory.h>
#endif

#if !IS_ENABLED(CONFIG_64BIT)
#error "tlsport needs a 64-bit kernel"
#endif
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "tlsport needs Linux 6.1 or newer: this kernel is older"
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#warning "tlsport was tested on Linux 6.1 to 7.3; this kernel is newer"
#elif LINUX_VERSION_MAJOR * 100 + LINUX_VERSION_PATCHLEVEL != 601 && \
	LINUX_VERSION_MAJOR * 100 + LINUX_VERSION_PATCHLEVEL != 612 && \
	LINUX_VERSION_MAJOR * 100 + LINUX_VERSION_PATCHLEVEL != 703
#warning "tlsport was tested on Linux 6.1, 6.12 and 7.3; this kernel is between them"
#endif
#ifndef TLSPORT_HAVE_SPLICE_EOF
#error "tlsport needs a kernel whose sendfile() tells where it ends: 6.5, or a later 6.1.y"
#endif

#if IS_ENABLED(CONFIG_PREEMPT_RT)
#error "tlsport needs a kernel without PREEMPT_RT: its locks sleep where sockets are hooked"
#endif

/* The structure of a socket is charged to a memory cgroup by accept() since 6.12. */
static inline void tlsport_charge_object(void *object)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	kmem_cache_charge(object, GFP_KERNEL | __GFP_NOFAIL);
#endif
}

/* Does the memory of this socket count in what tcp_mem limits?  Not of all, since 6.19. */
static inline bool tlsport_is_in_tcp_mem(const struct sock *sk)
{
#ifdef sk_bypass_prot_mem
	return !sk->sk_bypass_prot_mem;
#else
	return true;
#endif
}

/* addresses of proto_ops: of a size that is not known since 6.19 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#define TLSPORT_SOCKADDR	struct sockaddr
#else
#define TLSPORT_SOCKADDR	struct sockaddr_unsized
#endif

/* proto_ops->accept, proto->accept: flags and kern until 6.9, then a struct */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define TLSPORT_ACCEPT_PARAMS	struct socket *sock, struct socket *newsock, int flags, bool kern
#define TLSPORT_ACCEPT_FLAGS	flags
#define TLSPORT_ACCEPT_KERN	kern
#define TLSPORT_ACCEPT_ERR	(*err)
#define TLSPORT_PROT_ACCEPT_PARAMS	struct sock *sk, int flags, int *err, bool kern
#define TLSPORT_PROT_ACCEPT_ARGS	sk, flags, err, kern
static inline int tlsport_base_accept(const struct proto_ops *ops, struct socket *sock,
				      struct socket *newsock, int flags, bool kern)
{
	return ops->accept(sock, newsock, flags, kern);
}

static inline struct sock *tlsport_base_prot_accept(struct proto *prot, struct sock *sk, int flags)
{
	int err;

	return prot->accept(sk, flags, &err, true);
}
#else
#define TLSPORT_ACCEPT_PARAMS	struct socket *sock, struct socket *newsock, \
				struct proto_accept_arg *arg
#define TLSPORT_ACCEPT_FLAGS	(arg->flags)
#define TLSPORT_ACCEPT_KERN	(arg->kern)
#define TLSPORT_ACCEPT_ERR	(arg->err)
#define TLSPORT_PROT_ACCEPT_PARAMS	struct sock *sk, struct proto_accept_arg *arg
#define TLSPORT_PROT_ACCEPT_ARGS	sk, arg
static inline int tlsport_base_accept(const struct proto_ops *ops, struct socket *sock,
				      struct socket *newsock, int flags, bool kern)
{
	struct proto_accept_arg arg = { .flags = flags, .kern = kern };

	return ops->accept(sock, newsock, &arg);
}

static inline struct sock *tlsport_base_prot_accept(struct proto *prot, struct sock *sk, int flags)
{
	struct proto_accept_arg arg = { .flags = flags, .kern = true };

	return prot->accept(sk, &arg);
}
#endif

/*
 * inet_connection_sock_af_ops->syn_recv_sock: stable kernels have got one more
 * parameter; Kbuild looks into the header.
 */
#ifdef TLSPORT_HAVE_OPT_CHILD_INIT
#define TLSPORT_SYN_RECV_SOCK_PARAMS	const struct sock *sk, struct sk_buff *skb, \
					struct request_sock *req, struct dst_entry *dst, \
					struct request_sock *req_unhash, bool *own_req, \
					void (*opt_child_init)(struct sock *newsk, \
							       const struct sock *sk)
#define TLSPORT_SYN_RECV_SOCK_ARGS	sk, skb, req, dst, req_unhash, own_req, opt_child_init
#else
#define TLSPORT_SYN_RECV_SOCK_PARAMS	const struct sock *sk, struct sk_buff *skb, \
					struct request_sock *req, struct dst_entry *dst, \
					struct request_sock *req_unhash, bool *own_req
#define TLSPORT_SYN_RECV_SOCK_ARGS	sk, skb, req, dst, req_unhash, own_req
#endif

/* proto_ops->sendpage: gone since 6.5 (MSG_SPLICE_PAGES) */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define TLSPORT_HAVE_SENDPAGE
#define TLSPORT_SPLICE_FLAGS	0
#else
#define TLSPORT_SPLICE_FLAGS	MSG_SPLICE_PAGES
#endif

/* net/tls waits for a new TLS_RX after a KeyUpdate since 6.14 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define TLSPORT_KEY_UPDATE_DONE(rx)	WRITE_ONCE((rx)->key_update_pending, false)
#else
#define TLSPORT_KEY_UPDATE_DONE(rx)	do { } while (0)
#endif

/* __inet_lookup_listener() and its like lost the hashinfo parameter in 6.18 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define TLSPORT_HASHINFO(net)	(net)->ipv4.tcp_death_row.hashinfo,
#else
#define TLSPORT_HASHINFO(net)
#endif

/* notification of a send without copies: for device memory, too, since 6.16 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define TLSPORT_ZEROCOPY_ALLOC(sk, len)	msg_zerocopy_realloc(sk, len, NULL)
#else
#define TLSPORT_ZEROCOPY_ALLOC(sk, len)	msg_zerocopy_realloc(sk, len, NULL, false)
#endif

/* inet_recv_error() has lost the address's length; Kbuild looks into the header. */
static inline int tlsport_recv_error(struct sock *sk, struct msghdr *msg, size_t len)
{
#ifdef TLSPORT_HAVE_RECV_ERROR_ADDR_LEN
	int addr_len = 0, ret = inet_recv_error(sk, msg, len, &addr_len);

	if (ret >= 0)
		msg->msg_namelen = addr_len;
	return ret;
#else
	return inet_recv_error(sk, msg, len);
#endif
}

/* since 6.17, and in later ones of stable kernels; Kbuild looks into the header */
#ifndef TLSPORT_HAVE_DST_DEV_RCU
static inline struct net_device *dst_dev_rcu(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev);
}
#endif

/* get_unaligned_be64() moved */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

/* TLS_RECORD_TYPE_* moved */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/tls_prot.h>
#endif

/* would give the keys away past an overridden getsockopt */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 1, 0)
#define TLSPORT_HAVE_GETSOCKOPT_ITER
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#define tlsport_sk_uid(sk)	sock_i_uid(sk)
#else
#define tlsport_sk_uid(sk)	sk_uid(sk)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define timer_delete_sync(timer)	del_timer_sync(timer)
#endif

/* struct file: how a reference is taken when the last may just have gone */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define tlsport_file_get(file)	atomic_long_inc_not_zero(&(file)->f_count)
#else
#define tlsport_file_get(file)	file_ref_get(&(file)->f_ref)
#endif

/* attributes of a dump request */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define TLSPORT_DUMP_ATTRS(dumpit_info)	((dumpit_info)->attrs)
#else
#define TLSPORT_DUMP_ATTRS(dumpit_info)	((dumpit_info)->info.attrs)
#endif

/* What software has encrypted may go anywhere. */
static inline void tlsport_skb_encrypted(struct sk_buff *skb)
{
#ifdef CONFIG_TLS_DEVICE
	skb->decrypted = 0;
#endif
}

/* struct cipher_context: iv and rec_seq were pointers until 6.9; memcpy() takes both */

#endif /* _TLSPORT_COMPAT_H */
