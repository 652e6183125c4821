// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AES-GCM as a NIC has it: a record may stop after any byte and go on with the next packet.
 *
 * The AEADs of the crypto API want a record whole, so this puts one together from its
 * counter mode and a hash of our own (NIST SP 800-38D).  State belongs to the caller.
 */
#include <linux/scatterlist.h>

#include "nicsim.h"

/* What four bits that leave a word at its low end add at the high end */
static u64 reduction[16];

/* Times x: the leftmost bit of a block is the lowest power. */
static void shift(struct nicsim_word *word)
{
	bool carry = word->low & 1;

	word->low = word->low >> 1 | word->high << 63;
	word->high >>= 1;
	if (carry)
		word->high ^= 0xe1ULL << 56;
}

/**
 * nicsim_gcm_init() - make the table that all keys share, once
 */
void nicsim_gcm_init(void)
{
	int i, bit;

	for (i = 0; i < ARRAY_SIZE(reduction); i++) {
		struct nicsim_word word = { .low = i };

		for (bit = 0; bit < 4; bit++)
			shift(&word);
		reduction[i] = word.high;
	}
}

static void make_table(struct nicsim_word *table, const u8 *hash_key)
{
	int power, i;

	table[0] = (struct nicsim_word){};
	table[8].high = get_unaligned_be64(hash_key);
	table[8].low = get_unaligned_be64(hash_key + 8);
	for (power = 4; power; power >>= 1) {
		table[power] = table[power << 1];
		shift(&table[power]);
	}
	for (power = 2; power < 16; power <<= 1) {
		for (i = 1; i < power; i++) {
			table[power + i].high = table[power].high ^ table[i].high;
			table[power + i].low = table[power].low ^ table[i].low;
		}
	}
}

static void add_half(const struct nicsim_word *table, struct nicsim_word *sum, u8 half)
{
	u8 out = sum->low & 15;

	sum->low = sum->low >> 4 | sum->high << 60;
	sum->high = sum->high >> 4 ^ reduction[out];
	sum->high ^= table[half].high;
	sum->low ^= table[half].low;
}

static void hash_block(const struct nicsim_word *table, struct nicsim_word *hash, const u8 *block)
{
	struct nicsim_word sum = {};
	u8 value[NICSIM_BLOCK];
	int i;

	put_unaligned_be64(hash->high ^ get_unaligned_be64(block), value);
	put_unaligned_be64(hash->low ^ get_unaligned_be64(block + 8), value + 8);
	for (i = NICSIM_BLOCK - 1; i >= 0; i--) {
		add_half(table, &sum, value[i] & 15);
		add_half(table, &sum, value[i] >> 4);
	}
	*hash = sum;
}

/* Text that follows what was hashed; gcm->done is not yet past it. */
static void hash_text(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, const u8 *text,
		      u32 len)
{
	u32 at = gcm->done % NICSIM_BLOCK, part;

	while (len) {
		if (!at && len >= NICSIM_BLOCK) {
			part = NICSIM_BLOCK;
			hash_block(key->table, &gcm->hash, text);
		} else {
			part = min_t(u32, len, NICSIM_BLOCK - at);
			memcpy(gcm->block + at, text, part);
			at = (at + part) % NICSIM_BLOCK;
			if (!at)
				hash_block(key->table, &gcm->hash, gcm->block);
		}
		text += part;
		len -= part;
	}
}

static int count_on(const struct nicsim_gcm_key *key, const u8 *first, u32 block, u8 *text, u32 len)
{
	SYNC_SKCIPHER_REQUEST_ON_STACK(request, key->ctr);
	u8 counter[NICSIM_BLOCK];
	struct scatterlist sg;
	int err;

	memcpy(counter, first, sizeof(counter));
	put_unaligned_be32(block, counter + sizeof(counter) - 4);
	sg_init_one(&sg, text, len);
	skcipher_request_set_sync_tfm(request, key->ctr);
	skcipher_request_set_callback(request, 0, NULL, NULL);
	skcipher_request_set_crypt(request, &sg, &sg, len, counter);
	err = crypto_skcipher_encrypt(request);
	skcipher_request_zero(request);
	return err;
}

/* Texts begin with counter 2; a block that was left in its middle is begun anew. */
static int crypt(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, u8 *text, u32 len)
{
	u32 block = 2 + gcm->done / NICSIM_BLOCK, at = gcm->done % NICSIM_BLOCK, part;
	u8 *whole;
	int err;

	if (at) {
		whole = kmalloc(NICSIM_BLOCK, GFP_ATOMIC);
		if (!whole)
			return -ENOMEM;
		part = min_t(u32, len, NICSIM_BLOCK - at);
		memcpy(whole + at, text, part);
		memset(whole, 0, at);
		err = count_on(key, gcm->counter, block, whole, at + part);
		memcpy(text, whole + at, part);
		kfree_sensitive(whole);
		if (err)
			return err;
		text += part;
		len -= part;
		block++;
	}
	return len ? count_on(key, gcm->counter, block, text, len) : 0;
}

/**
 * nicsim_gcm_set_key() - make a key ready
 * @key: zeroed; on success the caller clears it by nicsim_gcm_clear_key()
 * @secret: AES key of @len bytes
 * @len: 16 or 32
 * @salt: of the connection
 *
 * Context: may sleep.
 * Return: 0 or a negative errno.
 */
int nicsim_gcm_set_key(struct nicsim_gcm_key *key, const u8 *secret, unsigned int len,
		       const u8 *salt)
{
	const u8 zero[NICSIM_BLOCK] = {};
	u8 *hash_key;
	int err;

	key->ctr = crypto_alloc_sync_skcipher("ctr(aes)", 0, 0);
	if (IS_ERR(key->ctr)) {
		err = PTR_ERR(key->ctr);
		key->ctr = NULL;
		return err;
	}
	memcpy(key->salt, salt, sizeof(key->salt));
	hash_key = kzalloc(NICSIM_BLOCK, GFP_KERNEL);
	err = hash_key ? crypto_sync_skcipher_setkey(key->ctr, secret, len) : -ENOMEM;
	if (!err)
		err = count_on(key, zero, 0, hash_key, NICSIM_BLOCK);
	if (!err)
		make_table(key->table, hash_key);
	kfree_sensitive(hash_key);
	if (err)
		nicsim_gcm_clear_key(key);
	return err;
}

/**
 * nicsim_gcm_clear_key() - the end of a key
 * @key: that nicsim_gcm_set_key() made; wiped
 */
void nicsim_gcm_clear_key(struct nicsim_gcm_key *key)
{
	crypto_free_sync_skcipher(key->ctr);
	memzero_explicit(key, sizeof(*key));
}

/**
 * nicsim_gcm_begin() - begin a record
 * @key: of the flow
 * @gcm: state of the record, overwritten
 * @nonce: what the record carries of it
 * @aad: NICSIM_AAD bytes
 *
 * Return: 0 or a negative errno.
 */
int nicsim_gcm_begin(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, const u8 *nonce,
		     const u8 *aad)
{
	u8 block[NICSIM_BLOCK] = {};

	memset(gcm, 0, sizeof(*gcm));
	memcpy(gcm->counter, key->salt, NICSIM_SALT);
	memcpy(gcm->counter + NICSIM_SALT, nonce, NICSIM_NONCE);
	memcpy(block, aad, NICSIM_AAD);
	hash_block(key->table, &gcm->hash, block);
	return count_on(key, gcm->counter, 1, gcm->mask, NICSIM_TAG);
}

/**
 * nicsim_gcm_crypt() - encrypt or decrypt what comes next of a record
 * @key: of the flow
 * @gcm: state of the record
 * @text: changed in place; not on the stack
 * @len: its length
 * @encrypt: else decrypt
 *
 * Return: 0 or a negative errno: the record can then not go on.
 */
int nicsim_gcm_crypt(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, u8 *text, u32 len,
		     bool encrypt)
{
	int err;

	if (!encrypt)
		hash_text(key, gcm, text, len);
	err = crypt(key, gcm, text, len);
	if (err)
		return err;
	if (encrypt)
		hash_text(key, gcm, text, len);
	gcm->done += len;
	return 0;
}

/**
 * nicsim_gcm_end() - all of the text has passed
 * @key: of the flow
 * @gcm: state of the record
 * @tag: of NICSIM_TAG bytes, returned
 */
void nicsim_gcm_end(const struct nicsim_gcm_key *key, struct nicsim_gcm *gcm, u8 *tag)
{
	u8 block[NICSIM_BLOCK];
	u32 at = gcm->done % NICSIM_BLOCK;

	if (at) {
		memset(gcm->block + at, 0, NICSIM_BLOCK - at);
		hash_block(key->table, &gcm->hash, gcm->block);
	}
	put_unaligned_be64(NICSIM_AAD * 8, block);
	put_unaligned_be64((u64)gcm->done * 8, block + 8);
	hash_block(key->table, &gcm->hash, block);
	put_unaligned_be64(gcm->hash.high ^ get_unaligned_be64(gcm->mask), tag);
	put_unaligned_be64(gcm->hash.low ^ get_unaligned_be64(gcm->mask + 8), tag + 8);
}
