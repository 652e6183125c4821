/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _TLSPORTD_VERSION_H
#define _TLSPORTD_VERSION_H

/* The build says; this is for builds by hand. */
#ifndef TLSPORT_VERSION
#define TLSPORT_VERSION "0.0"
#endif

#endif /* _TLSPORTD_VERSION_H */
