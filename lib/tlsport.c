// SPDX-License-Identifier: MIT
/* getsockopt(SOL_TLSPORT) as structures, see tlsport.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netlink.h>
#include <linux/tlsport.h>
#include <linux/tlsport_sockopt.h>

#include "tlsport.h"

/**
 * struct object - all of one connection, in one piece of memory
 * @details: what the other members point into
 */
struct object {
	struct tlsport tlsport;
	struct tlsport_client client;
	struct tlsport_info info;
	char alpn[256];
	const char **names;
	struct tlsport_certificate *chain;
	uint8_t details[];
};

static const struct nlattr *next(const uint8_t **at, const uint8_t *end)
{
	const struct nlattr *attr = (const struct nlattr *)*at;

	if (end - *at < NLA_HDRLEN || attr->nla_len < NLA_HDRLEN || attr->nla_len > end - *at)
		return NULL;
	*at += end - *at < NLA_ALIGN(attr->nla_len) ? end - *at : NLA_ALIGN(attr->nla_len);
	return attr;
}

static size_t count(const uint8_t *at, const uint8_t *end, int type)
{
	const struct nlattr *attr;
	size_t n = 0;

	while ((attr = next(&at, end)))
		n += attr->nla_type == type;
	return n;
}

static void take(struct object *object, const struct nlattr *attr)
{
	const uint8_t *data = (const uint8_t *)attr + NLA_HDRLEN;
	const size_t len = attr->nla_len - NLA_HDRLEN;
	struct tlsport_client *client = &object->client;

	switch (attr->nla_type) {
	case TLSPORT_A_DETAIL_ALPN:
		memcpy(object->alpn, data, len < sizeof(object->alpn) ? len : 0);
		break;
	case TLSPORT_A_DETAIL_CLIENT_SUBJECT:
		client->subject = (const char *)data;
		break;
	case TLSPORT_A_DETAIL_CLIENT_CN:
		client->common_name = (const char *)data;
		break;
	case TLSPORT_A_DETAIL_CLIENT_NAME:
		object->names[client->name_count++] = (const char *)data;
		break;
	case TLSPORT_A_DETAIL_CLIENT_SHA256:
		memcpy(client->sha256, data, len == sizeof(client->sha256) ? len : 0);
		break;
	case TLSPORT_A_DETAIL_CLIENT_CERT:
		object->chain[client->chain_len++] = (struct tlsport_certificate){ data, len };
		break;
	}
}

/* 0 or -1: out of memory */
static int take_details(struct object *object, size_t len)
{
	const uint8_t *at = object->details, *end = at + len;
	const struct nlattr *attr;

	object->names = calloc(count(at, end, TLSPORT_A_DETAIL_CLIENT_NAME) + 1, sizeof(char *));
	object->chain =
		calloc(count(at, end, TLSPORT_A_DETAIL_CLIENT_CERT) + 1, sizeof(*object->chain));
	if (!object->names || !object->chain)
		return -1;
	object->client.subject = object->client.common_name = "";
	object->client.names = object->names;
	object->client.chain = object->chain;
	while ((attr = next(&at, end)))
		take(object, attr);
	return 0;
}

static void describe(struct object *object)
{
	const struct tlsport_info *info = &object->info;

	object->info.server_name[sizeof(info->server_name) - 1] = '\0';
	object->tlsport = (struct tlsport){
		.id = info->id,
		.version = info->version,
		.suite = info->suite,
		.resumed = info->resumed,
		.tx_nic = info->tx_mode == TLSPORT_MODE_NIC,
		.rx_nic = info->rx_mode == TLSPORT_MODE_NIC,
		.server_name = info->server_name,
		.alpn = object->alpn,
		.client = object->client.chain_len ? &object->client : NULL,
	};
}

struct tlsport *tlsport_info(int fd)
{
	struct tlsport_info info = { 0 };
	socklen_t len = sizeof(info);
	struct object *object;

	if (getsockopt(fd, SOL_TLSPORT, TLSPORT_INFO, &info, &len)) {
		if (errno == EOPNOTSUPP) /* IPv4 says so of what it does not know */
			errno = ENOPROTOOPT;
		return NULL;
	}
	object = calloc(1, sizeof(*object) + info.details_len);
	if (!object)
		return NULL;
	object->info = info;
	len = info.details_len;
	if ((len && getsockopt(fd, SOL_TLSPORT, TLSPORT_DETAILS, object->details, &len)) ||
	    take_details(object, len)) {
		tlsport_free(&object->tlsport);
		return NULL;
	}
	describe(object);
	return &object->tlsport;
}

void tlsport_free(struct tlsport *tlsport)
{
	struct object *object = (struct object *)tlsport;

	if (!object)
		return;
	free(object->names);
	free(object->chain);
	free(object);
}
