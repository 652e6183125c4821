/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client that speaks HTTP to a port of TLS: its request, and the answer that
 * sends it to https.  Pure functions on bytes.
 */
#ifndef _TLSPORTD_PLAIN_HTTP_H
#define _TLSPORTD_PLAIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request's head that is longer is not answered. */
#define PLAIN_HTTP_MAX 8192
/* Room for an answer: the head again, and what is around it. */
#define PLAIN_HTTP_ANSWER_MAX (PLAIN_HTTP_MAX + 256)

enum plain_http {
	PLAIN_HTTP_NOT,	   /* it is none, or one that cannot be answered so */
	PLAIN_HTTP_MORE,   /* the head is not whole yet */
	PLAIN_HTTP_ANSWER, /* there is an answer */
};

/**
 * plain_http_redirect() - 301, or 308 where the method must stay, to the same address with https
 * @port: that it is on
 * @answer: room for PLAIN_HTTP_ANSWER_MAX
 * @answer_len: of PLAIN_HTTP_ANSWER
 */
enum plain_http plain_http_redirect(const uint8_t *data, size_t len, uint16_t port, char *answer,
				    size_t *answer_len);

#endif /* _TLSPORTD_PLAIN_HTTP_H */
