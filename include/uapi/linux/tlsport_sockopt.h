/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * tlsport: what an application may ask about the TLS of its connection, by
 * getsockopt() on the socket that accept() gave it.  It needs no privilege.
 * On a socket that is no connection of a TLS port: ENOPROTOOPT or EOPNOTSUPP,
 * as for every level that is not known.
 */
#ifndef _UAPI_LINUX_TLSPORT_SOCKOPT_H
#define _UAPI_LINUX_TLSPORT_SOCKOPT_H

#include <linux/types.h>

#define SOL_TLSPORT	0x746c

enum {
	/* struct tlsport_info; a shorter buffer gets its beginning, as of TCP_INFO */
	TLSPORT_INFO = 1,
	/*
	 * netlink attributes TLSPORT_A_DETAIL_*; ERANGE and the length that is
	 * needed where the buffer is too small; ENODATA: there are none
	 */
	TLSPORT_DETAILS,
};

/**
 * struct tlsport_info - of a connection
 * @id: as in "tlsportctl conns"; never reused
 * @version: 0x0303 or 0x0304
 * @suite: IANA number
 * @resumed: by a session ticket
 * @tx_mode: enum tlsport_mode
 * @rx_mode: enum tlsport_mode
 * @pad: 0
 * @details_len: of TLSPORT_DETAILS; 0: there are none
 * @reserved: 0
 * @server_name: SNI; "": the client named none
 */
struct tlsport_info {
	__u64 id;
	__u16 version;
	__u16 suite;
	__u8 resumed;
	__u8 tx_mode;
	__u8 rx_mode;
	__u8 pad;
	__u32 details_len;
	__u32 reserved;
	char server_name[256];
};

/* Integers are in host byte order. */
enum {
	TLSPORT_A_DETAIL_UNSPEC,
	TLSPORT_A_DETAIL_ALPN,			/* binary, the protocol that was negotiated */
	/* The certificate of the client, which was verified; none: it has none. */
	TLSPORT_A_DETAIL_CLIENT_SUBJECT,	/* string, RFC 4514: "CN=…,O=…" */
	TLSPORT_A_DETAIL_CLIENT_CN,		/* string, its common name */
	TLSPORT_A_DETAIL_CLIENT_NAME,		/* multi: string: DNS:, email:, URI: or IP: first */
	TLSPORT_A_DETAIL_CLIENT_SHA256,		/* binary, 32 bytes, of its DER */
	/*
	 * multi: binary, DER: its own, then those behind it, as far as there is
	 * room; only the first was proven
	 */
	TLSPORT_A_DETAIL_CLIENT_CERT,
	__TLSPORT_A_DETAIL_MAX,
};

#define TLSPORT_A_DETAIL_MAX (__TLSPORT_A_DETAIL_MAX - 1)

#endif /* _UAPI_LINUX_TLSPORT_SOCKOPT_H */
