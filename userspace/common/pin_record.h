/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which PINs a token was not content with.
 *
 * Tokens count wrong PINs, and lock: for ever, some of them.  So each try is written
 * down before it is made, where all who log in look: other keys of the same token,
 * other processes, and those after a restart.  What is not crossed out afterwards has
 * failed, also where no process lived to see it.
 */
#ifndef _TLSPORT_PIN_RECORD_H
#define _TLSPORT_PIN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/**
 * struct pin_record - a try that is being made; others of the same token wait for it
 * @line: where it is in the file
 * @end: behind it
 */
struct pin_record {
	int fd;
	off_t line;
	off_t end;
};

/**
 * pin_record_begin() - a PIN is about to be tried
 * @run_dir: the record is in there, and as lasting
 * @token: name of a file, the same for the same token
 * @pin: of the file that the PIN was read from: it is known by this, not by its name
 * @on_wait: called with true before it waits for others, and with false when it has not to
 * @why: what is wrong, where the PIN must not be tried
 *
 * Return: 0, then pin_record_end() is to follow; or -1.
 */
int pin_record_begin(const char *run_dir, const char *token, const struct stat *pin,
		     struct pin_record *record, void (*on_wait)(bool waits), char *why, size_t len);

/* @refused: the try counts against the PIN */
void pin_record_end(struct pin_record *record, bool refused);

#endif /* _TLSPORT_PIN_RECORD_H */
