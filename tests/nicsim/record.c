// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stream as records: where they begin and end, and which can be encrypted or decrypted.
 *
 * A walk goes over bytes that follow each other, however they lie in packets.  The lock
 * of the flow guards all.
 */
#include "nicsim.h"

/**
 * nicsim_record_is_header() - whether bytes can be the header of a record
 * @header: NICSIM_HEADER bytes
 */
bool nicsim_record_is_header(const u8 *header)
{
	u16 len = get_unaligned_be16(header + 3);

	return header[0] >= 20 && header[0] <= 23 && header[1] == 3 && header[2] == 3 &&
	       len >= NICSIM_NONCE + NICSIM_TAG &&
	       len <= NICSIM_NONCE + NICSIM_MAX_PLAINTEXT + NICSIM_TAG;
}

/**
 * nicsim_record_start() - the next byte is the first of a record
 * @record: state of the flow
 * @number: of the record; counted from 0 while it is not known
 * @numbered: whether it is known
 */
void nicsim_record_start(struct nicsim_record *record, u64 number, bool numbered)
{
	record->number = number;
	record->numbered = numbered;
	record->keyed = numbered;
	record->offset = 0;
	record->len = 0;
	record->bad_tag = false;
}

static int begin(const struct nicsim_gcm_key *key, struct nicsim_record *record)
{
	u8 aad[NICSIM_AAD];

	put_unaligned_be64(record->number, aad);
	memcpy(aad + 8, record->prepend, 3);
	put_unaligned_be16(record->len - NICSIM_PREPEND - NICSIM_TAG, aad + 11);
	return nicsim_gcm_begin(key, &record->gcm, record->prepend + NICSIM_HEADER, aad);
}

/* Header and nonce pass as they are. */
static int walk_prepend(const struct nicsim_gcm_key *key, struct nicsim_record *record,
			const u8 *data, u32 len)
{
	u32 end = record->offset < NICSIM_HEADER ? NICSIM_HEADER : NICSIM_PREPEND;
	u32 part = min(len, end - record->offset);
	int err = 0;

	memcpy(record->prepend + record->offset, data, part);
	record->offset += part;
	if (record->offset < end)
		return part;
	if (end == NICSIM_HEADER) {
		if (!nicsim_record_is_header(record->prepend))
			return -EPROTO;
		record->len = NICSIM_HEADER + get_unaligned_be16(record->prepend + 3);
	} else if (record->keyed) {
		err = begin(key, record);
		if (record->len == NICSIM_PREPEND + NICSIM_TAG)
			nicsim_gcm_end(key, &record->gcm, record->tag);
	}
	return err ?: part;
}

static int walk_text(const struct nicsim_gcm_key *key, struct nicsim_record *record,
		     struct nicsim_walk *walk, u8 *data, u32 len)
{
	u32 end = record->len - NICSIM_TAG, part = min(len, end - record->offset);
	int err;

	if (record->keyed) {
		err = nicsim_gcm_crypt(key, &record->gcm, data, part,
				       walk->direction == NICSIM_ENCRYPT);
		if (err)
			return err;
		if (record->offset + part == end)
			nicsim_gcm_end(key, &record->gcm, record->tag);
	}
	record->offset += part;
	return part;
}

static int walk_tag(struct nicsim_record *record, struct nicsim_walk *walk, u8 *data, u32 len)
{
	u32 at = record->offset - (record->len - NICSIM_TAG), part = min(len, NICSIM_TAG - at);
	u8 *tag = record->tag + at;

	if (record->keyed) {
		if (!at && nicsim_strikes(walk->bad_tags))
			*tag ^= 1;
		if (walk->direction == NICSIM_ENCRYPT)
			memcpy(data, tag, part);
		else if (memcmp(data, tag, part))
			record->bad_tag = true;
		walk->bad_tags_seen += record->bad_tag;
	}
	record->offset += part;
	if (record->offset == record->len) {
		nicsim_record_start(record, record->number + 1, record->numbered);
		walk->ended++;
	}
	return part;
}

/**
 * nicsim_record_walk() - go over the next bytes of a stream
 * @key: of the flow
 * @record: where the stream is
 * @walk: what to do, and what was seen
 * @data: bytes of the stream, changed in place
 * @len: how many
 *
 * Context: softirqs off.
 * Return: 0; -EPROTO, where a header must be there is none; another negative errno. After
 * an error the position is lost.
 */
int nicsim_record_walk(const struct nicsim_gcm_key *key, struct nicsim_record *record,
		       struct nicsim_walk *walk, u8 *data, u32 len)
{
	int part;

	while (len) {
		bool keyed = record->keyed;

		if (record->offset < NICSIM_PREPEND)
			part = walk_prepend(key, record, data, len);
		else if (record->offset < record->len - NICSIM_TAG)
			part = walk_text(key, record, walk, data, len);
		else
			part = walk_tag(record, walk, data, len);
		if (part < 0)
			return part;
		if (!keyed)
			walk->unkeyed += part;
		data += part;
		len -= part;
	}
	return 0;
}

/**
 * nicsim_record_skip() - bytes are missing
 * @record: where the stream is
 * @len: how many
 *
 * Return: whether it is still known where the next record begins.
 */
bool nicsim_record_skip(struct nicsim_record *record, u32 len)
{
	if (!record->len || len > record->len - record->offset)
		return false;
	record->offset += len;
	record->keyed = false;
	if (record->offset == record->len)
		nicsim_record_start(record, record->number + 1, record->numbered);
	return true;
}
