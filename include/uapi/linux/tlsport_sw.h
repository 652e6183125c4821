/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Why software does the records of a connection, and no network interface.  One table for
 * the enumeration, the counters and the texts of tlsportctl: symbol, name, one sentence.
 */
#ifndef _UAPI_LINUX_TLSPORT_SW_H
#define _UAPI_LINUX_TLSPORT_SW_H

#define TLSPORT_SW_REASONS(X) \
	X(NONE, "none", "a network interface does them") \
	X(OFF_BY_POLICY, "off-by-policy", "the port has offload = off") \
	X(NO_KERNEL_SUPPORT, "no-kernel-support", "the kernel has no CONFIG_TLS_DEVICE") \
	X(NO_ROUTE, "no-route", "the connection had no route when its keys came") \
	X(NO_FEATURE, "no-feature", "the interface has no TLS offload, or it is switched off") \
	X(TLS13, "tls13", "the kernel offloads TLS 1.2 only") \
	X(CIPHER, "cipher", "the kernel offloads AES-GCM only") \
	X(NO_SYNC_GCM, "no-sync-gcm", "offload needs a synchronous gcm(aes), and there is none") \
	X(DEVICE_DOWN, "device-down", "the interface was down, or went down since") \
	X(DEVICE_FULL, "device-full", "the interface is full, or refused the connection") \
	X(ROUTE_CHANGED, "route-changed", "the route leads through another interface now") \
	X(BOND, "bond", "over a bond net/tls might encrypt twice, which is not at all") \
	X(TX_SW, "tx-sw", "software encrypts: the kernel cannot safely offload decryption alone")

#endif /* _UAPI_LINUX_TLSPORT_SW_H */
