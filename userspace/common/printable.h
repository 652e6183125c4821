/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names out of certificates are printed: no terminal controls. */
#ifndef _TLSPORT_PRINTABLE_H
#define _TLSPORT_PRINTABLE_H

static inline void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

#endif /* _TLSPORT_PRINTABLE_H */
