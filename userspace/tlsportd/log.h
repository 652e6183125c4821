/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages on standard error, with the journal's priorities when it reads them. */
#ifndef _TLSPORTD_LOG_H
#define _TLSPORTD_LOG_H

#include <stdbool.h>

void log_start(bool verbose);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Only with --verbose. */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool log_verbose(void);

/* Each line of a text as one message. */
void log_error_lines(const char *text);

#endif /* _TLSPORTD_LOG_H */
