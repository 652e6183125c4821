// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Listening sockets that no connection reaches, and which processes hold them.
 */
#include "ctl.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLDERS_NAMED 4
#define COMM_LEN      64
#define HOLDERS_LEN   (HOLDERS_NAMED * (COMM_LEN + 24))
#define WARNING_LEN   (HOLDERS_LEN + CTL_ERROR_LEN)

/* The processes that have a descriptor of one socket. */
struct holders {
	unsigned int count;
	char text[HOLDERS_LEN];
};

struct warning {
	uint16_t port;
	/* The last line told: many sockets of one process are one line. */
	char last[WARNING_LEN];
};

static bool process_holds(const char *pid, uint32_t inode)
{
	char path[CTL_PATH_LEN], link[64], wanted[64];
	struct dirent *entry;
	bool found = false;
	ssize_t len;
	DIR *dir;

	snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
	snprintf(path, sizeof(path), "%s/%s/fd", ctl.proc_dir, pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		if (len <= 0)
			continue;
		link[len] = '\0';
		found = !strcmp(link, wanted);
	}
	closedir(dir);
	return found;
}

static void process_name(const char *pid, char *name, size_t len)
{
	char path[CTL_PATH_LEN];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/comm", ctl.proc_dir, pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, len, file))
		snprintf(name, len, "?");
	name[strcspn(name, "\n")] = '\0';
	if (file)
		fclose(file);
}

static void add_holder(struct holders *holders, const char *pid)
{
	size_t used = strlen(holders->text);
	char name[COMM_LEN];

	if (holders->count++ >= HOLDERS_NAMED)
		return;
	process_name(pid, name, sizeof(name));
	snprintf(holders->text + used, sizeof(holders->text) - used, "%s%s (pid %s)",
		 used ? ", " : "", name, pid);
}

static void find_holders(uint32_t inode, struct holders *holders)
{
	struct dirent **entries;
	int count, i;

	memset(holders, 0, sizeof(*holders));
	if (!inode)
		return;
	count = scandir(ctl.proc_dir, &entries, NULL, versionsort);
	if (count < 0)
		return;
	for (i = 0; i < count; i++) {
		if (isdigit((unsigned char)entries[i]->d_name[0]) &&
		    process_holds(entries[i]->d_name, inode))
			add_holder(holders, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

/* "python3 (pid 123)", "nginx (pid 1), nginx (pid 2) and 3 more", "the kernel", ... */
static void describe_holders(const struct tlsport_nl_listener *listener,
			     const struct holders *holders, char *text, size_t len)
{
	if (holders->count > HOLDERS_NAMED)
		snprintf(text, len, "%s and %u more", holders->text,
			 holders->count - HOLDERS_NAMED);
	else if (holders->count)
		snprintf(text, len, "%s", holders->text);
	else if (listener->inode)
		snprintf(text, len, "a program of user %u (socket %u)", listener->uid,
			 listener->inode);
	else
		snprintf(text, len, "the kernel itself");
}

static int warn_of(const struct tlsport_nl_listener *listener, void *arg)
{
	struct warning *warning = arg;
	char who[HOLDERS_LEN + 32], text[WARNING_LEN];
	struct holders holders;
	bool many;

	if (listener->port != warning->port || (listener->state != TLSPORT_LISTENER_SHUT &&
						listener->state != TLSPORT_LISTENER_FOREIGN))
		return 0;
	find_holders(listener->inode, &holders);
	describe_holders(listener, &holders, who, sizeof(who));
	many = holders.count > 1;
	if (listener->state == TLSPORT_LISTENER_SHUT)
		snprintf(
			text, sizeof(text),
			"port %u: %s %s listened since before the port was enabled and may sleep in accept(): restart %s; until then no connection reaches it",
			listener->port, who, many ? "have" : "has", many ? "them" : "it");
	else
		snprintf(
			text, sizeof(text),
			"port %u: %s %s on a socket that cannot be served (the kernel's own, or of a sockmap): no connection reaches it; have a program listen with plain TCP",
			listener->port, who, many ? "listen" : "listens");
	if (strcmp(text, warning->last))
		warn("%s", text);
	snprintf(warning->last, sizeof(warning->last), "%s", text);
	return 0;
}

int listener_warn(struct tlsport_nl *nl, uint16_t port)
{
	struct warning warning = { .port = port };

	return tlsport_nl_ops->listeners(nl, warn_of, &warning);
}
