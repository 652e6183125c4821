/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records as they come from the peer, and handshake messages put together from
 * their fragments.
 */
#ifndef _TLSPORTD_RECORDS_H
#define _TLSPORTD_RECORDS_H

#include "../common/tls.h"

/**
 * struct record - one record of the peer
 * @bytes: with its header
 * @len: of it all
 */
struct record {
	uint8_t type;
	const uint8_t *bytes;
	size_t len;
	const uint8_t *body;
	size_t body_len;
};

enum record_status {
	RECORD_WHOLE,
	RECORD_PARTIAL, /* more bytes are needed */
	RECORD_BAD,	/* never a record that we may take: alert */
};

/**
 * record_next() - the record at the head of some bytes
 * @max: longest body that is allowed now
 * @alert: filled in for RECORD_BAD
 *
 * A wrong header is judged as soon as its bytes are there, for the rest may
 * never come.
 */
enum record_status record_next(const uint8_t *data, size_t len, size_t max, struct record *record,
			       int *alert);

/**
 * struct message - a handshake message in the making
 * @want: whole length with header, 0 while the header is incomplete
 */
struct message {
	uint8_t *bytes;
	size_t len;
	size_t room;
	size_t want;
};

/**
 * message_take() - take as much of a fragment as belongs to the message
 * @type: the only handshake type that is allowed
 * @max: longest message with its header
 * @fragment: moves on to what is behind it
 * @len: likewise; must not be 0
 *
 * Return: 0 or an alert.
 */
int message_take(struct message *message, uint8_t type, size_t max, const uint8_t **fragment,
		 size_t *len);

/**
 * message_add() - add a fragment of the last message of a flight
 *
 * As message_take(); the message ends where its record ends, so that a second one in
 * it is not allowed.
 */
int message_add(struct message *message, uint8_t type, size_t max, const uint8_t *fragment,
		size_t len);

static inline bool message_begun(const struct message *message)
{
	return message->len != 0;
}

static inline bool message_whole(const struct message *message)
{
	return message->want && message->len == message->want;
}

/* Wipes it, too: it may hold a key exchange. */
void message_free(struct message *message);

#endif /* _TLSPORTD_RECORDS_H */
