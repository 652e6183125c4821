/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects of the module, who owns them and which lock guards them; a
 * section a file, in the order of Documentation/design.rst.
 *
 * Lock order, outermost first; those of one file alone are in Documentation/design.rst:
 *	tlsport_net.lock > tlsport_listener.mode_sem > lock_sock(listener) >
 *		tlsport_listener.lock > sk_callback_lock(listener)
 *	tlsport_net.lock > tlsport_port.lock, tlsport_net.workers_lock
 *	tlsport_listener.mode_sem > tlsport_conn.lock > tlsport_conn.tx_lock >
 *		net/tls's tx_lock > lock_sock(connection) > sk_callback_lock
 *	tlsport_conn.lock > tlsport_listener.lock, tlsport_port.lock, tlsport_net.workers_lock,
 *		tlsport_conn.interrupt_lock
 *	(these spinlocks are never nested in each other)
 */
#ifndef _TLSPORT_H
#define _TLSPORT_H

#include <linux/module.h>
#include <linux/net.h>
#include <linux/rhashtable-types.h>
#include <linux/xarray.h>
#include <net/genetlink.h>
#include <net/inet_connection_sock.h>
#include <net/netns/generic.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tls.h>
#include <linux/tlsport.h>
#include "compat.h"

/* Limits and timeouts: every number of the module that is not of an RFC. */
#define TLSPORT_HANDSHAKE_TIMEOUT_MS 10000
#define TLSPORT_MAX_HANDSHAKES	     4096
#define TLSPORT_MAX_PER_SOURCE	     1024
#define TLSPORT_SOURCE_BUCKETS	     1024      /* sources share a count 1 : 1024 */
#define TLSPORT_SOURCE_SHARE	     128       /* more than 1/128 of a full port is many */
#define TLSPORT_KEY_LIMIT	     16777216  /* records under one key; AES-GCM: 2^24.5 */
#define TLSPORT_ACCEPT_RETRY	     (HZ / 10) /* no memory for a raw connection */
#define TLSPORT_ACCEPT_BATCH	     64	       /* raw connections before others get mode_sem */
#define TLSPORT_UPCALL_RETRY	     (HZ / 5)
#define TLSPORT_TX_RETRY	     (HZ / 10) /* what the send buffer had no room for ... */
#define TLSPORT_TX_RETRIES_MAX	     4	       /* ... each time twice as late, 1.6 s at most */
#define TLSPORT_CORK_TIMEOUT	     (HZ / 5)  /* an open record goes out all the same: as TCP */
#define TLSPORT_TAKEOVER_ROUNDS	     8

/* tls_context.tx_conf, rx_conf: net/tls/tls.h */
#define TLSPORT_CONF_SW		1
#define TLSPORT_CONF_HW		2
#define TLSPORT_FIN_TIMEOUT	(2 * HZ)     /* the peer's FIN after it has ours */
#define TLSPORT_CLOSING_LOOK	(2 * HZ)     /* at what is closing and takes its time */
#define TLSPORT_DRAIN_MAX	(256 * 1024) /* bytes ignored after an alert */
#define TLSPORT_CONTROL_RUN_MAX 32	     /* control records without data between */
#define TLSPORT_PEEKED_MAX	1024	     /* records that MSG_PEEK has decrypted */
#define TLSPORT_SECRET_MAX	48
#define TLSPORT_SERVER_NAME_MAX 255

/* RFC 8446 5.1 and B; RFC 5246 6.2.3 */
#define TLSPORT_HEADER_LEN     5
#define TLSPORT_CIPHERTEXT_MAX (16384 + 256)
#define TLSPORT_ALERT_LEN      2
#define TLSPORT_KEY_UPDATE_LEN 5
/* The longest record of TLS 1.3 for control, with content type and tag */
#define TLSPORT_CONTROL_MAX (TLSPORT_HEADER_LEN + TLSPORT_KEY_UPDATE_LEN + 1 + 16)

enum { TLSPORT_ALERT_WARNING = 1, TLSPORT_ALERT_FATAL = 2 };
enum {
	TLSPORT_ALERT_CLOSE_NOTIFY = 0,
	TLSPORT_ALERT_UNEXPECTED_MESSAGE = 10,
	TLSPORT_ALERT_BAD_RECORD_MAC = 20,
	TLSPORT_ALERT_RECORD_OVERFLOW = 22,
	TLSPORT_ALERT_ILLEGAL_PARAMETER = 47,
	TLSPORT_ALERT_DECODE_ERROR = 50,
	TLSPORT_ALERT_INTERNAL_ERROR = 80,
	TLSPORT_ALERT_USER_CANCELED = 90,
	TLSPORT_ALERT_NO_RENEGOTIATION = 100,
};

enum { TLSPORT_TYPE_CCS = 20, TLSPORT_TYPE_ALERT, TLSPORT_TYPE_HANDSHAKE, TLSPORT_TYPE_DATA };
enum { TLSPORT_MSG_CLIENT_HELLO = 1, TLSPORT_MSG_KEY_UPDATE = 24 };

/* Bits of tlsport_conn.tx_flags: 0 means that data goes straight to net/tls. */
enum {
	TLSPORT_TX_CLOSED,  /* no more data: close_notify or a fatal alert is due or out */
	TLSPORT_TX_CUT,	    /* nor an alert: what it would be behind is lost */
	TLSPORT_TX_CORKED,  /* TCP_CORK */
	TLSPORT_TX_WAITED,  /* a writer waits for tx_lock, with a timeout */
	TLSPORT_TX_OVERDUE, /* the open record has been held for long enough */
	TLSPORT_TX_BADMSG,  /* net/tls gave EBADMSG for what is due: the second time ends it */
	TLSPORT_TX_PUSH,    /* due: the record that MSG_MORE left open, or TCP had no memory for */
	TLSPORT_TX_UPDATE,  /* due: our KeyUpdate */
	TLSPORT_TX_REKEY,   /* due: the next key; the KeyUpdate is out */
	TLSPORT_TX_ALERT,   /* due: tlsport_conn.alert */
	TLSPORT_TX_FIN,	    /* due: FIN */
};

struct tlsport_conn;

#ifdef TLSPORT_HAVE_SENDPAGE
/* fragments.c: pieces of a connection's open record; under tx_lock */
struct tlsport_fragments {
	const void *end; /* of the last one, in the task's page fragment */
	u32 seq;	 /* of the record that was next */
	u8 buffer, list; /* for what is encrypted, of what is to be */
};

bool tlsport_fragments_fit(struct sock *sk, struct tlsport_fragments *f, size_t len);
void tlsport_fragments_added(struct sock *sk, struct tlsport_fragments *f, bool all);
#endif

/* main.c: one a network namespace */
struct tlsport_net {
	struct net *net;
	DECLARE_BITMAP(port_map, 65536); /* lock to write; read anywhere */
	struct mutex lock;		 /* ports, guarded */
	struct xarray ports;		 /* number to tlsport_port, RCU */
	unsigned int nports;
	bool guarded;
	spinlock_t workers_lock; /* workers, pending */
	struct list_head workers;
	struct list_head pending; /* connections whose upcall found nobody */
	struct delayed_work retry;
};

extern unsigned int tlsport_net_id;
/*
 * Open: of connections that a program has.  It may keep the lock of its sockets for as long as
 * it likes (memory of userfaultfd, FUSE): what waits for that is in the way of no handshake,
 * and of none that is closing.
 */
extern struct workqueue_struct *tlsport_wq, *tlsport_open_wq;

static inline struct tlsport_net *tlsport_pernet(const struct net *net)
{
	return net_generic(net, tlsport_net_id);
}

/* stats.c: one a port and CPU */
struct tlsport_stats {
	u64 count[__TLSPORT_A_STATS_MAX];
	u64 ended[__TLSPORT_REASON_COUNT];
	u64 tx_sw[__TLSPORT_SW_COUNT], rx_sw[__TLSPORT_SW_COUNT]; /* NONE: an interface */
};

#define TLSPORT_STAT(port, what) this_cpu_inc((port)->stats->count[TLSPORT_A_STATS_##what])

void tlsport_stats_sum(const struct tlsport_stats __percpu *stats, struct tlsport_stats *sum);

/* handshakes.c: sources whose addresses have the same hash; under port->lock */
struct tlsport_source {
	struct list_head stalled; /* who waits longest first */
	u32 handshakes, stalled_count;
	u64 due; /* ns, see too_fast() */
};

/*
 * port.c: owned by the registry until it is disabled, by listeners and
 * connections as long as they count in it.
 */
struct tlsport_port {
	u16 number;
	refcount_t ref;
	bool disabled;
	/* policy: written under tlsport_net.lock, read by READ_ONCE */
	u16 min_version, max_version;
	u8 truncation, offload, zerocopy;
	u32 handshake_timeout; /* ms */
	u32 max_handshakes, max_per_source, max_rate, max_rate_per_source, key_limit;
	atomic_t open;
	spinlock_t lock; /* handshakes.c: all below */
	u32 handshakes;
	u64 due;			/* ns, see too_fast() */
	struct list_head busy, stalled; /* who waits longest first */
	siphash_key_t source_key;
	struct tlsport_source *sources; /* TLSPORT_SOURCE_BUCKETS */
	struct tlsport_stats __percpu *stats;
	struct rcu_head rcu;
};

static inline bool tlsport_port_on(const struct net *net, u16 number)
{
	return test_bit(number, tlsport_pernet(net)->port_map);
}

struct tlsport_port *tlsport_port_get(struct net *net, u16 number);
void tlsport_port_put(struct tlsport_port *port);
int tlsport_port_set(struct net *net, u16 number, struct nlattr **attrs,
		     struct netlink_ext_ack *extack);
int tlsport_port_del(struct net *net, u16 number);
void tlsport_ports_exit(struct net *net);

/*
 * listener.c: a listening socket of an application.  Born in the tracepoint
 * probe or by take-over, ended by the socket's release; connections that it
 * has not handed over, the accept work and accept() callers hold references.
 */
enum tlsport_listener_mode {
	TLSPORT_MODE_LISTEN_TLS,   /* served */
	TLSPORT_MODE_LISTEN_SHUT,  /* take-over is not proven safe */
	TLSPORT_MODE_LISTEN_PLAIN, /* its port was disabled */
};

struct tlsport_listener {
	struct hlist_node node; /* listeners hash, RCU */
	struct socket *sock;	/* the program's; to compare, but for who keeps it from closing */
	struct sock *sk;	/* TCP's: sock->sk, or of MPTCP the first subflow */
	bool mptcp;
	const struct proto_ops *base;	     /* of sock, before us */
	const struct proto_ops *tcp;	     /* of TCP for raw connections; of MPTCP when needed */
	void (*data_ready)(struct sock *sk); /* of sk, before us */
	/* mode, port: write to change them; without it a mode that serves less, by WRITE_ONCE() */
	struct rw_semaphore mode_sem;
	enum tlsport_listener_mode mode;
	struct tlsport_port *port;
	struct delayed_work accept_work;
	bool stale;		/* mode and port are of an earlier life: accept_work looks again */
	bool ending;		/* shut(), until it listens again */
	spinlock_t lock;	/* all below */
	struct list_head ready; /* wait for accept() */
	struct list_head handshakes;
	unsigned int nready, nhandshakes;
	bool closing;
	refcount_t ref;
	struct rcu_head rcu;
};

int tlsport_listener_init(void);
void tlsport_listener_exit(void);
struct tlsport_listener *tlsport_listener_find(const struct sock *sk);
struct tlsport_listener *tlsport_listener_get(const struct socket *sock);
void tlsport_listener_put(struct tlsport_listener *l);
int tlsport_listener_hook(struct sock *sk, enum tlsport_listener_mode mode);
bool tlsport_listener_hookable(const struct sock *sk);
bool tlsport_listener_serving(const struct sock *sk);
void tlsport_listener_shut(struct sock *sk);
void tlsport_listener_set_mode(struct tlsport_listener *l, enum tlsport_listener_mode mode,
			       struct tlsport_port *port);
void tlsport_listeners_disable(struct tlsport_port *port);
void tlsport_listener_ready(struct tlsport_conn *conn);
void tlsport_listener_forget(struct tlsport_conn *conn);

/* raw_accept.c */
int tlsport_raw_hook(struct sock *sk);
void tlsport_raw_unhook(struct sock *sk);
int tlsport_raw_accept_to(struct socket *listen, struct socket *sock, const struct proto_ops *ops,
			  bool kern);
struct socket *tlsport_raw_accept(struct sock *sk, const struct proto_ops *ops);
int tlsport_raw_reset_queue(struct sock *listen);
void tlsport_raw_exit(void);

/* mptcp.c */
bool tlsport_mptcp_listener(const struct sock *sk);
const struct proto_ops *tlsport_mptcp_tcp_ops(const struct sock *sk);
int tlsport_mptcp_strip(struct sk_buff *skb, int off);
int tlsport_mptcp_reset_queue(struct socket *sock, const struct proto_ops *ops);

/* takeover.c */
int tlsport_takeover(struct net *net, struct tlsport_port *port);
void tlsport_takeover_again(struct tlsport_listener *l);
bool tlsport_takeover_sleeper(struct sock *sk);

/*
 * conn.c: from the raw accept to the end.  One reference belongs to the table
 * until the connection is dead, each queued work item holds one.
 */
struct tlsport_conn {
	struct rhash_head node; /* table, by id */
	u64 id;
	refcount_t ref;
	struct mutex lock; /* state, sock and all of the handshake */
	enum tlsport_conn_state state;
	enum tlsport_reason reason; /* why it ends, once it is known */
	struct tlsport_port *port;
	const struct net *net; /* to compare, not to follow */
	struct socket *sock;   /* private, while no application has it */
	struct sock *sk;       /* until dead; belongs to the socket that has it */
	struct work_struct work;
	struct timer_list timer; /* handshake or linger deadline */
	bool timed_out;
	u8 end_request; /* a reason: end it, asked from any context */
	/* listener, until handed over: under listener->lock */
	struct tlsport_listener *listener;
	struct list_head listener_node;
	/* handshake */
	struct list_head port_node;    /* port->busy or ->stalled, port->lock */
	struct list_head source_node;  /* source->stalled, port->lock */
	struct list_head pending_node; /* tlsport_net.pending, workers_lock */
	u32 source;		       /* bucket of port->sources */
	u32 worker;		       /* portid of who has its secrets, or is asked */
	u32 shown;		       /* bytes in the unanswered upcall */
	u32 need;		       /* bytes in the queue before a look is worth it */
	/* the port's when the worker was chosen: by these it is judged */
	u16 min_version, max_version;
	u8 offload;
	bool upcalled; /* an answer is due */
	/* closing, under lock */
	bool flushed;		  /* close_notify and FIN are in TCP's queue */
	bool fin_acked;		  /* the peer has it all */
	u32 drained, una;	  /* bytes that nobody reads; snd_una at the last look */
	unsigned long deadline;	  /* jiffies */
	struct completion *acked; /* a close() with SO_LINGER waits */
	struct inode *app_inode;  /* of the application's socket: its wait queue */
	/* callbacks of the sk while ours are in: under sk_callback_lock */
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*error_report)(struct sock *sk);
	/* facts */
	ktime_t started;
	u16 family, peer_port, version, suite, cipher;
	bool resumed;
	u8 tx_sw, rx_sw; /* enum tlsport_sw, of when the keys came */
	u16 left;	 /* BIT(enum tlsport_sw): counted since, see tlsport_offload_look() */
	struct in6_addr local, peer;
	char *server_name;
	/* for the application, written before the connection is ready */
	void *details; /* TLSPORT_A_DETAIL_* */
	u32 details_len;
	u32 preamble_left;		   /* bytes that it has not read */
	struct tlsport_preamble *preamble; /* NULL: none */
	/* session: rx_*, alert under lock; tx_flags by atomic bit operations */
	bool rx_closed, rx_shut, rx_flooded;
	bool reset_told; /* one call has had the error of TCP */
	u8 truncation;	 /* the port's when the keys came, as key_limit */
	u8 control_run;
	u8 secret_len;
	u8 fragment_len, fragment[TLSPORT_KEY_UPDATE_LEN - 1]; /* of a message that is begun */
	u32 hello_left;					       /* of one that is refused */
	u64 fragment_seq;				       /* of the record behind it */
	u16 alert; /* level << 8 | description, to be sent */
	int rx_err;
	u8 tx_retries;		    /* of what is due, without room; a race costs a delay */
	spinlock_t interrupt_lock;  /* the writer stays in its system call */
	struct mutex tx_lock;	    /* one transmits: data or what is due; tx_secret */
	struct task_struct *writer; /* of the application, who has tx_lock */
	unsigned long tx_flags;
	u32 key_limit; /* records under one key */
	int rcvlowat;  /* SO_RCVLOWAT, from when an application has it */
#ifdef TLSPORT_HAVE_SENDPAGE
	struct tlsport_fragments fragments;
#endif
	u8 tx_secret[TLSPORT_SECRET_MAX], rx_secret[TLSPORT_SECRET_MAX];
	struct rcu_head rcu;
};

int tlsport_conn_init(void);
void tlsport_conn_exit(void);
extern struct rhashtable tlsport_conns;
struct tlsport_conn *tlsport_conn_get(const struct net *net, u64 id);
void tlsport_conn_put(struct tlsport_conn *conn);
void tlsport_conn_queue(struct tlsport_conn *conn);
void tlsport_conn_start(struct tlsport_listener *l, struct socket *sock);
void tlsport_conn_request_end(struct tlsport_conn *conn, enum tlsport_reason reason);
int tlsport_conn_continue(struct tlsport_conn *conn, struct genl_info *info);
int tlsport_conn_fail(struct tlsport_conn *conn, struct genl_info *info);
void tlsport_conn_worker_died(struct net *net, u32 portid);
bool tlsport_conn_set_callbacks(struct tlsport_conn *conn);
void tlsport_conn_restore_callbacks(struct tlsport_conn *conn);
void tlsport_conn_note(struct tlsport_conn *conn, enum tlsport_reason reason);
void tlsport_conn_rx_failed(struct tlsport_conn *conn);
void tlsport_conn_told(struct tlsport_conn *conn, int err);
void tlsport_conn_count_end(struct tlsport_conn *conn, enum tlsport_reason reason);
void tlsport_conn_dead(struct tlsport_conn *conn);
bool tlsport_sk_secured(const struct sock *sk);
bool tlsport_sk_active_open(const struct sock *sk);
size_t tlsport_sk_discard(struct sock *sk, size_t len);
int tlsport_sk_take_error(struct sock *sk);
void tlsport_sk_forget_small(struct sock *sk);
int tlsport_sk_send(struct sock *sk, const void *data, size_t len);
bool tlsport_sk_fin_is_lost(struct sock *sk);

static inline struct tlsport_conn *tlsport_conn_of(const struct sock *sk)
{
	return sk->sk_user_data;
}

/* No reader gets more: close_notify has come, or the connection is broken. */
static inline bool tlsport_conn_rx_ended(const struct tlsport_conn *conn)
{
	return READ_ONCE(conn->rx_err) || READ_ONCE(conn->rx_closed);
}

/* handshakes.c */
u32 tlsport_handshakes_source(const struct tlsport_conn *conn);
enum tlsport_reason tlsport_handshakes_enter(struct tlsport_conn *conn);
void tlsport_handshakes_stall(struct tlsport_conn *conn);
bool tlsport_handshakes_resume(struct tlsport_conn *conn);
void tlsport_handshakes_leave(struct tlsport_conn *conn);
void tlsport_handshakes_end(struct tlsport_port *port, enum tlsport_reason reason);

/*
 * upcall.c: a worker is a netlink socket of the helper, owned by
 * tlsport_net.workers until the socket is released.
 */
struct tlsport_worker {
	struct list_head node;
	u32 portid;
	bool drain;
	void __user *scratch; /* in the memory of whoever sends from it */
};

int tlsport_upcall(struct tlsport_conn *conn, u32 inq, bool eof);
void tlsport_upcall_cancel(struct tlsport_conn *conn);
void tlsport_upcall_forget(struct tlsport_conn *conn);
void tlsport_upcall_kick(struct tlsport_net *tn, bool all);
void tlsport_upcall_retry_work(struct work_struct *work);
int tlsport_worker_set(struct net *net, u32 portid, void __user *scratch, bool drain);
void __user *tlsport_worker_scratch(struct net *net, u32 portid);
bool tlsport_worker_release(struct net *net, u32 portid);

/* attach.c */
int tlsport_attach_ulp(struct socket *sock);
int tlsport_attach_check(const struct tlsport_conn *conn, struct genl_info *info);
int tlsport_attach(struct tlsport_conn *conn, void __user *scratch, struct genl_info *info);
const char *tlsport_attach_driver(const struct sock *sk);

/* offload.c */
struct tlsport_offload_now {
	enum tlsport_sw tx, rx;
	char device[IFNAMSIZ]; /* "": none */
};

int tlsport_offload_keep_out(struct sock *sk, int direction);
int tlsport_offload_let_in(struct sock *sk, int direction, int err);
bool tlsport_offload_unwanted(struct sock *sk, int direction, enum tlsport_offload policy);
enum tlsport_sw tlsport_offload_outcome(struct sock *sk, const struct tls_crypto_info *keys,
					int direction, enum tlsport_offload policy);
int tlsport_offload_attached(struct tlsport_conn *conn);
void tlsport_offload_detach(struct sock *sk);
void tlsport_offload_exit(void);
void tlsport_offload_look(struct tlsport_conn *conn, struct tlsport_offload_now *now);

/* sockopt.c */
int tlsport_sockopt_get(struct tlsport_conn *conn, int optname, char __user *optval,
			int __user *optlen);

/* preamble.c */
int tlsport_preamble_set(struct tlsport_conn *conn, const void *data, u32 len);
int tlsport_preamble_read(struct tlsport_conn *conn, struct iov_iter *to, size_t len, bool peek,
			  bool *end);
ssize_t tlsport_preamble_splice(struct tlsport_conn *conn, struct pipe_inode_info *pipe,
				size_t len);
void tlsport_preamble_free(struct tlsport_conn *conn);

/* zerocopy.c */
bool tlsport_zerocopy_page(const struct sock *sk, struct page *page);
bool tlsport_zerocopy_iter(const struct sock *sk, const struct iov_iter *iter);

/* session.c */
const struct proto_ops *tlsport_session_ops(const struct sock *sk, const struct proto_ops *base);
const struct proto_ops *tlsport_session_base(const struct socket *sock);
void tlsport_session_lowat(struct sock *sk);
void tlsport_session_exit(void);

/* transmit.c: what the module sends on an open connection */
/* How many records this key has encrypted.  tx_lock held. */
static inline u64 tlsport_tx_records(const struct sock *sk)
{
	return get_unaligned_be64(tls_get_ctx(sk)->tx.rec_seq);
}

void tlsport_transmit_alert(struct tlsport_conn *conn, u8 level, u8 description);
int tlsport_transmit_close_record(struct socket *sock, const struct proto_ops *base);
void tlsport_transmit_due(struct socket *sock, const struct proto_ops *base);
void tlsport_transmit_room(struct sock *sk, void (*write_space)(struct sock *sk));
bool tlsport_transmit_is_due(const struct tlsport_conn *conn);
void tlsport_transmit_overdue(struct tlsport_conn *conn);
int tlsport_transmit_begin(struct socket *sock, const struct proto_ops *base, unsigned int *flags);
ssize_t tlsport_transmit_end(struct socket *sock, const struct proto_ops *base, ssize_t ret,
			     size_t len, unsigned int flags);

/* record.c: what the peer sent and nobody has read */
bool tlsport_record_broken(const struct sock *sk);
void tlsport_record_stop(struct sock *sk);
bool tlsport_record_good(struct sock *sk);
bool tlsport_record_is_control(struct sock *sk);
int tlsport_record_next(struct socket *sock, const struct proto_ops *base);
u64 tlsport_record_seq(struct sock *sk);
bool tlsport_record_drop(struct sock *sk);
bool tlsport_record_trim(struct sock *sk);
int tlsport_record_inq(struct sock *sk, const struct tlsport_conn *conn);
u8 tlsport_record_alert(struct sock *sk, const struct tlsport_conn *conn);

/* control.c: records that the application never sees */
int tlsport_control_handle(struct socket *sock, const struct proto_ops *base);
bool tlsport_control_interleaved(struct socket *sock, const struct proto_ops *base);
int tlsport_control_handle_locked(struct socket *sock, const struct proto_ops *base);
int tlsport_control_recv(struct socket *sock, const struct proto_ops *base, void *buf, size_t len,
			 int flags, u8 *type);
void tlsport_control_fatal(struct socket *sock, const struct proto_ops *base, u8 alert,
			   enum tlsport_reason reason);
void tlsport_control_record_error_locked(struct socket *sock, const struct proto_ops *base,
					 int err);
int tlsport_control_record_error(struct socket *sock, const struct proto_ops *base, int err);

/* close.c */
int tlsport_close(struct socket *sock, const struct proto_ops *base);
void tlsport_close_unaccepted(struct tlsport_conn *conn, u8 alert);
void tlsport_close_work(struct tlsport_conn *conn);

/* rekey.c */
int tlsport_rekey_init(void);
void tlsport_rekey_exit(void);
int tlsport_rekey_rx(struct sock *sk, struct tlsport_conn *conn);
int tlsport_rekey_tx(struct sock *sk, struct tlsport_conn *conn, int flags);

/* charge.c */
void tlsport_charge(struct sock *sk);

/* guard.c */
int tlsport_guard_init(struct net *net);
void tlsport_guard_exit(struct net *net);

/* netlink.c, dump.c */
extern struct genl_family tlsport_genl_family;
int tlsport_netlink_init(void);
void tlsport_netlink_exit(void);
int tlsport_port_doit(struct sk_buff *skb, struct genl_info *info);
int tlsport_port_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int tlsport_listener_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int tlsport_conn_dump_start(struct netlink_callback *cb);
int tlsport_conn_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int tlsport_conn_dump_done(struct netlink_callback *cb);

/* main.c: switches of the tests, each off by default */
extern unsigned int tlsport_linger_timeout;
extern bool tlsport_fail_hook, tlsport_no_syn_guard, tlsport_no_payload_guard;

#endif /* _TLSPORT_H */
