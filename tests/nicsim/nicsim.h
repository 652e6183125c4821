/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pair of network interfaces, each the model of a NIC that does TLS inline.
 *
 * A section a file, in the order in which a packet meets them.
 */
#ifndef _NICSIM_H
#define _NICSIM_H

#include <linux/etherdevice.h>
#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/tcp.h>
#include <crypto/skcipher.h>

#include "compat.h"

/* Limits */
enum {
	NICSIM_MAX_MTU = 9000,
	NICSIM_MAX_FRAME = NICSIM_MAX_MTU + 64, /* with link header and tags */
	NICSIM_RING = 1024,	 /* packets that wait for the receiver: the sender's queue stops */
	NICSIM_MAX_FLOWS = 4096, /* both directions; the knob's default */
	NICSIM_FLOW_BITS = 10,	 /* buckets of the flow table */
	NICSIM_TRACKED = 32,	 /* records after which an unanswered question is dropped */
	NICSIM_CONFIRMED = 2,	 /* headers in a row that make a guess a good one */
	NICSIM_PER_MILLION = 1000000,
	NICSIM_LARGE = 500, /* bytes of a packet that is worth dropping */
};

/* TLS 1.2 with AES-GCM on the wire (RFC 5288) */
enum {
	NICSIM_HEADER = 5,
	NICSIM_NONCE = 8,
	NICSIM_PREPEND = NICSIM_HEADER + NICSIM_NONCE,
	NICSIM_BLOCK = 16,
	NICSIM_TAG = 16,
	NICSIM_SALT = 4,
	NICSIM_AAD = 13,
	NICSIM_MAX_PLAINTEXT = 16384,
};

enum nicsim_stat {
	NICSIM_RX_PACKETS,
	NICSIM_RX_BYTES,
	NICSIM_RX_DROPPED,
	NICSIM_TX_PACKETS,
	NICSIM_TX_BYTES,
	NICSIM_TX_DROPPED,
	NICSIM_WIRE_LOST,
	NICSIM_WIRE_REORDERED,
	NICSIM_TX_TLS_ENCRYPTED_PACKETS,
	NICSIM_TX_TLS_ENCRYPTED_BYTES,
	NICSIM_TX_TLS_CTX,
	NICSIM_TX_TLS_DEL,
	NICSIM_TX_TLS_OOO,
	NICSIM_TX_TLS_FALLBACK,
	NICSIM_TX_TLS_RESYNC_REQ,
	NICSIM_TX_TLS_RESYNC_RES,
	NICSIM_TX_TLS_SKIP_NO_SYNC_DATA,
	NICSIM_TX_TLS_DROP_NO_SYNC_DATA,
	NICSIM_TX_TLS_DROP_BYPASS_REQ,
	NICSIM_RX_TLS_DECRYPTED_PACKETS,
	NICSIM_RX_TLS_DECRYPTED_BYTES,
	NICSIM_RX_TLS_CTX,
	NICSIM_RX_TLS_DEL,
	NICSIM_RX_TLS_RESYNC_REQ_PKT,
	NICSIM_RX_TLS_RESYNC_REQ_START,
	NICSIM_RX_TLS_RESYNC_REQ_END,
	NICSIM_RX_TLS_RESYNC_REQ_SKIP,
	NICSIM_RX_TLS_RESYNC_RES_OK,
	NICSIM_RX_TLS_RESYNC_RES_SKIP,
	NICSIM_RX_TLS_AUTH_FAILED,
	NICSIM_RX_TLS_ERR,
	NICSIM_STATS,
};

enum nicsim_tx_resync {
	NICSIM_TX_REBUILD, /* from the record that net/tls keeps */
	NICSIM_TX_NEXT,	   /* net/tls tells where the next record begins */
	NICSIM_TX_RESYNCS,
};

/* in the order of enum tls_offload_sync_type */
enum nicsim_rx_resync {
	NICSIM_RX_REQUEST,
	NICSIM_RX_HINT,
	NICSIM_RX_ASYNC,
	NICSIM_RX_RESYNCS,
};

enum nicsim_forget {
	NICSIM_KEEP,
	NICSIM_FORGET_POSITION,
	NICSIM_FORGET_FLOW,
	NICSIM_FORGETS,
};

/* What sysfs sets.  Those named _next count down as they strike. */
struct nicsim_knobs {
	atomic_t max_flows;
	atomic_t add_fails_next;
	atomic_t resync_lost_next;
	atomic_t tx_bad_tags_next;
	atomic_t rx_bad_tags_next;
	atomic_t drop_after; /* so many large packets pass first */
	atomic_t drop_next;  /* large packets, not acknowledgements and the like */
	atomic_t drop;	     /* of a million packets */
	atomic_t reorder;    /* of a million packets */
	atomic_t rate;	     /* kbit/s; 0: no limit */
	atomic_t delay;	     /* microseconds */
	atomic_t forget_at_link_down;
	atomic_t tx_resync;
	atomic_t rx_resync; /* of flows that come */
};

struct nicsim {
	struct net_device *dev;
	struct net_device __rcu *peer;
	struct napi_struct napi;
	struct sk_buff_head ring; /* arrived here */
	struct hrtimer arrival;	  /* of the first in the ring, when that is still on the wire */
	struct sk_buff *held; /* on the wire to the peer, overtaken; the transmit queue's lock */
	u64 sent;	      /* when the last bit was; likewise */
	u8 *scratch;	      /* of the poll function: a packet as it was on the wire */
	struct nicsim_knobs knobs;
	atomic64_t stats[NICSIM_STATS];

	spinlock_t flows_lock; /* the two lists and the table, for writers */
	atomic_t flows;
	struct list_head flow_list;
	struct hlist_head flow_table[1 << NICSIM_FLOW_BITS]; /* receiving ones, by RCU */
};

static inline void nicsim_count_more(struct nicsim *nic, enum nicsim_stat stat, u64 n)
{
	atomic64_add(n, &nic->stats[stat]);
}

static inline void nicsim_count(struct nicsim *nic, enum nicsim_stat stat)
{
	nicsim_count_more(nic, stat, 1);
}

/* Whether a knob that counts down strikes this time. */
static inline bool nicsim_strikes(atomic_t *next)
{
	return atomic_read(next) && atomic_dec_if_positive(next) >= 0;
}

/* netdev.c */
extern const struct net_device_ops nicsim_netdev_ops;
void nicsim_netdev_setup(struct net_device *dev);

/* wire.c */
struct sk_buff *nicsim_wire_copy(struct net_device *to, const struct sk_buff *skb);
void nicsim_wire_checksum(struct sk_buff *skb, const struct sk_buff *original);
void nicsim_wire_send(struct nicsim *nic, struct net_device *to, struct sk_buff *skb);
struct sk_buff *nicsim_wire_receive(struct nicsim *nic);
bool nicsim_wire_arrived(struct nicsim *nic);
void nicsim_wire_init(struct nicsim *nic);
void nicsim_wire_purge(struct nicsim *nic);

/* gcm.c */
struct nicsim_word {
	u64 high, low;
};

struct nicsim_gcm_key {
	struct crypto_sync_skcipher *ctr;
	struct nicsim_word table[16]; /* the hash key times each half of a byte */
	u8 salt[NICSIM_SALT];
};

/* One record in the middle of its encryption or decryption */
struct nicsim_gcm {
	struct nicsim_word hash;
	u8 block[NICSIM_BLOCK]; /* of the hash, not full yet */
	u32 done;		/* bytes of text */
	u8 counter[NICSIM_BLOCK];
	u8 mask[NICSIM_TAG];
};

void nicsim_gcm_init(void);
int nicsim_gcm_set_key(struct nicsim_gcm_key *key, const u8 *secret, unsigned int len,
		       const u8 *salt);
void nicsim_gcm_clear_key(struct nicsim_gcm_key *key);
int nicsim_gcm_begin(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, const u8 *nonce,
		     const u8 *aad);
int nicsim_gcm_crypt(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, u8 *text, u32 len,
		     bool encrypt);
void nicsim_gcm_end(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, u8 *tag);

/* record.c */
enum nicsim_direction {
	NICSIM_ENCRYPT,
	NICSIM_DECRYPT,
};

/* Where in the stream of records we are */
struct nicsim_record {
	u64 number;
	u32 offset; /* how much of the record has passed */
	u32 len;    /* all of it; 0 until the header has passed */
	u8 prepend[NICSIM_PREPEND];
	u8 tag[NICSIM_TAG];
	bool numbered; /* the number is known: the next record can be keyed */
	bool keyed;    /* all of the record has passed so far: it can be encrypted or decrypted */
	bool bad_tag;
	struct nicsim_gcm gcm;
};

struct nicsim_walk {
	enum nicsim_direction direction;
	atomic_t *bad_tags; /* the knob */
	u32 unkeyed;	    /* bytes that could not be encrypted or decrypted */
	u32 bad_tags_seen;
	u32 ended; /* records */
};

bool nicsim_record_is_header(const u8 *header);
void nicsim_record_start(struct nicsim_record *record, u64 number, bool numbered);
int nicsim_record_walk(const struct nicsim_gcm_key *key, struct nicsim_record *record,
		       struct nicsim_walk *walk, u8 *data, u32 len);
bool nicsim_record_skip(struct nicsim_record *record, u32 len);

/* flow.c */
struct nicsim_tuple {
	union {
		__be32 local4;
		struct in6_addr local6;
	};
	union {
		__be32 remote4;
		struct in6_addr remote6;
	};
	__be16 local_port;
	__be16 remote_port;
	u16 family;
	u16 zero; /* the tuple is hashed and compared as bytes */
};

enum nicsim_flow_state {
	NICSIM_SYNCED,	 /* position and record number are known */
	NICSIM_LOST,	 /* neither */
	NICSIM_TRACKING, /* the position is a guess, and net/tls was asked for the number */
	NICSIM_DEAD,	 /* the device has forgotten the flow */
};

struct nicsim_flow {
	struct nicsim *nic;
	struct list_head list;
	struct hlist_node node;
	enum tls_offload_ctx_dir direction;
	struct nicsim_tuple tuple;
	struct sock *sk; /* valid from tls_dev_add to tls_dev_del, receiving flows alone */
	struct nicsim_gcm_key key;

	spinlock_t lock; /* all below */
	enum nicsim_flow_state state;
	u32 expected; /* TCP sequence number */
	u32 start;    /* of the offload */
	struct nicsim_record record;

	/* receiving flows */
	enum nicsim_rx_resync resync;
	struct tls_offload_resync_async async;
	u32 guess; /* NICSIM_TRACKING: where the first header is */
	bool asked;
	bool async_open; /* a request was started and not ended */
	bool hinted;	 /* NICSIM_LOST: a record of this number begins there */
	u32 hint;
	u64 hint_number;
};

extern const struct tlsdev_ops nicsim_tlsdev_ops;
struct nicsim_flow *nicsim_flow_find(struct nicsim *nic, const struct nicsim_tuple *tuple);
void nicsim_flow_link_down(struct nicsim *nic);

/* tx.c */
struct nicsim_flow *nicsim_tx_flow(struct net_device *dev, const struct sk_buff *skb);
struct sk_buff *nicsim_tx_begin(struct nicsim_flow **flow, struct sk_buff *skb);
bool nicsim_tx_encrypt(struct nicsim_flow *flow, struct sk_buff *skb, u32 payload_offset);
int nicsim_tx_resync(struct nicsim_flow *flow, u32 seq, u64 number);

/* rx.c */
int nicsim_rx_poll(struct napi_struct *napi, int budget);
int nicsim_rx_resync(struct nicsim_flow *flow, u32 seq, u64 number);
void nicsim_rx_lose(struct nicsim_flow *flow);

/* knobs.c */
extern const struct attribute_group nicsim_knobs_group;
void nicsim_knobs_init(struct nicsim_knobs *knobs);

/* ethtool.c */
extern const struct ethtool_ops nicsim_ethtool_ops;

#endif
