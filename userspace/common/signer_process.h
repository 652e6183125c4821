/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that signs, see signer.h and signer_wire.h. */
#ifndef _TLSPORT_SIGNER_PROCESS_H
#define _TLSPORT_SIGNER_PROCESS_H

/* By this name, and with the arguments of signer_main(), a program is executed again. */
#define SIGNER_NAME "tlsport-signer"
#define SIGNER_ARGC 4

/**
 * signer_main() - its life
 * @argv: SIGNER_NAME, the key's URI, the file of the PIN or "", and the directory
 *	of the record of PINs
 *
 * Return: exit status.
 */
int signer_main(char **argv);

#endif /* _TLSPORT_SIGNER_PROCESS_H */
