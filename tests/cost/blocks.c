// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A plugin of QEMU that counts the instructions of each block of code between two
 * marks, which are functions of the client.  Arguments: out=FILE, begin=ADDRESS,
 * end=ADDRESS.  At each end it appends to FILE a line "end" and for each block a
 * line "WHOSE ADDRESS INSTRUCTIONS".
 *
 * Whose they are is guessed, for this version of the interface has no registers:
 * the kernel works for whoever was in user mode last.  The client is linked to a
 * low address, all others are not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What this needs of the interface, version 1: qemu-plugin.h is in no package. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*tb_exec_cb)(unsigned int vcpu, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, tb_exec_cb cb,
					  enum qemu_plugin_cb_flags flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

int qemu_plugin_version = 1;

#define BUCKETS	   65536
#define CLIENT_END 0x10000000

enum owner { CLIENT, SERVER, OWNERS };
static const char *const owners[OWNERS] = { "client", "server" };

struct block {
	struct block *next;
	uint64_t address, instructions, count[OWNERS];
};

static struct block *blocks[BUCKETS];
static enum owner owner;
static uint64_t begin, end;
static const char *out = "blocks.out";

static void count(unsigned int vcpu, void *data)
{
	struct block *b = data;

	(void)vcpu;
	b->count[owner] += b->instructions;
}

static void count_user(unsigned int vcpu, void *data)
{
	struct block *b = data;

	owner = b->address < CLIENT_END ? CLIENT : SERVER;
	count(vcpu, data);
}

static void count_begins(unsigned int vcpu, void *data)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct block *b = blocks[i]; b; b = b->next)
			memset(b->count, 0, sizeof(b->count));
	count_user(vcpu, data);
}

static void count_ends(unsigned int vcpu, void *data)
{
	FILE *file = fopen(out, "a");

	(void)vcpu;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (int i = 0; i < BUCKETS; i++)
		for (struct block *b = blocks[i]; b; b = b->next)
			for (int who = 0; who < OWNERS; who++)
				if (b->count[who])
					fprintf(file, "%s %" PRIx64 " %" PRIu64 "\n", owners[who],
						b->address, b->count[who]);
	fputs("end\n", file);
	fclose(file);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb), n = qemu_plugin_tb_n_insns(tb);
	struct block **bucket = &blocks[(address ^ address >> 16 ^ n * 31) % BUCKETS], *b = *bucket;
	tb_exec_cb cb = address >> 63 ? count : count_user;

	(void)id;
	while (b && (b->address != address || b->instructions != n))
		b = b->next;
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			abort();
		*b = (struct block){ .next = *bucket, .address = address, .instructions = n };
		*bucket = b;
	}
	if (address == begin)
		cb = count_begins;
	if (address == end)
		cb = count_ends;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, cb, QEMU_PLUGIN_CB_NO_REGS, b);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
		else if (!strncmp(argv[i], "begin=", 6))
			begin = strtoull(argv[i] + 6, NULL, 0);
		else if (!strncmp(argv[i], "end=", 4))
			end = strtoull(argv[i] + 4, NULL, 0);
		else
			return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
