// SPDX-License-Identifier: GPL-2.0-or-later
/* Record headers and reassembly, see records.h. */
#include <stdlib.h>
#include <string.h>

#include "records.h"

enum record_status record_next(const uint8_t *data, size_t len, size_t max, struct record *record,
			       int *alert)
{
	size_t body_len;

	if (!len)
		return RECORD_PARTIAL;
	if (data[0] < TLS_CHANGE_CIPHER_SPEC || data[0] > TLS_APPLICATION_DATA) {
		*alert = ALERT_UNEXPECTED_MESSAGE;
		return RECORD_BAD;
	}
	if (len < 2)
		return RECORD_PARTIAL;
	/* The minor number is to be ignored: RFC 8446 5.1, RFC 5246 E.1. */
	if (data[1] != 3) {
		*alert = ALERT_PROTOCOL_VERSION;
		return RECORD_BAD;
	}
	if (len < TLS_RECORD_HEADER)
		return RECORD_PARTIAL;
	body_len = get16(data + 3);
	if (body_len > max) {
		*alert = ALERT_RECORD_OVERFLOW;
		return RECORD_BAD;
	}
	if (len < TLS_RECORD_HEADER + body_len)
		return RECORD_PARTIAL;
	*record = (struct record){
		.type = data[0],
		.bytes = data,
		.len = TLS_RECORD_HEADER + body_len,
		.body = data + TLS_RECORD_HEADER,
		.body_len = body_len,
	};
	return RECORD_WHOLE;
}

static int make_room(struct message *message, size_t need)
{
	uint8_t *bytes;

	if (need <= message->room)
		return 0;
	/* No realloc(): the old copy has to be wiped. */
	bytes = malloc(need);
	if (!bytes)
		return ALERT_INTERNAL_ERROR;
	if (message->len)
		memcpy(bytes, message->bytes, message->len);
	if (message->bytes)
		explicit_bzero(message->bytes, message->room);
	free(message->bytes);
	message->bytes = bytes;
	message->room = need;
	return 0;
}

/* Header, or what of it is there. */
static int take_head(struct message *message, uint8_t type, size_t max, const uint8_t *fragment,
		     size_t *len)
{
	int alert;

	if (!message->len && fragment[0] != type)
		return ALERT_UNEXPECTED_MESSAGE;
	if (*len > TLS_HANDSHAKE_HEADER - message->len)
		*len = TLS_HANDSHAKE_HEADER - message->len;
	alert = make_room(message, TLS_HANDSHAKE_HEADER);
	if (alert)
		return alert;
	memcpy(message->bytes + message->len, fragment, *len);
	message->len += *len;
	if (message->len < TLS_HANDSHAKE_HEADER)
		return 0;
	message->want = TLS_HANDSHAKE_HEADER + get24(message->bytes + 1);
	return message->want > max ? ALERT_DECODE_ERROR : 0;
}

int message_take(struct message *message, uint8_t type, size_t max, const uint8_t **fragment,
		 size_t *len)
{
	size_t n = *len;
	int alert;

	if (!message->want) {
		alert = take_head(message, type, max, *fragment, &n);
		*fragment += n;
		*len -= n;
		if (alert || !message->want)
			return alert;
		n = *len;
	}
	if (n > message->want - message->len)
		n = message->want - message->len;
	alert = make_room(message, message->want);
	if (alert)
		return alert;
	if (n)
		memcpy(message->bytes + message->len, *fragment, n);
	message->len += n;
	*fragment += n;
	*len -= n;
	return 0;
}

int message_add(struct message *message, uint8_t type, size_t max, const uint8_t *fragment,
		size_t len)
{
	int alert;

	/* RFC 8446 5.1: no handshake record is empty */
	if (!len)
		return ALERT_UNEXPECTED_MESSAGE;
	alert = message_take(message, type, max, &fragment, &len);
	return alert || !len ? alert : ALERT_UNEXPECTED_MESSAGE;
}

void message_free(struct message *message)
{
	if (message->bytes)
		explicit_bzero(message->bytes, message->room);
	free(message->bytes);
	memset(message, 0, sizeof(*message));
}
