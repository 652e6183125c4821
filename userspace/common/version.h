/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _TLSPORT_VERSION_H
#define _TLSPORT_VERSION_H

/* A package may say another with -DTLSPORT_VERSION. */
#ifndef TLSPORT_VERSION
#define TLSPORT_VERSION "0.1"
#endif

#endif /* _TLSPORT_VERSION_H */
