/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What functions that have returned leave behind. */
#ifndef _TLSPORTD_STACK_H
#define _TLSPORTD_STACK_H

/* Wipes what the caller's calls may have left below its own frame. */
void stack_wipe(void);

#endif /* _TLSPORTD_STACK_H */
