// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * check: what this machine could do better for the connections on enabled ports.
 * It changes nothing: a finding is one line that says what is wrong and what to do.
 *
 * Interfaces are those that connections use now and those that a route leads over.
 */
#include "ctl.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#define DEVICES_MAX 64
#define LINE_LEN    512
#define HEX	    "0123456789ABCDEF"

/**
 * struct devices - interfaces of the connections for which one may encrypt
 * @ports: all that are enabled
 * @carries: connections use it, or what has no other route would
 * @bond: a connection that uses a bond, which net/tls does not encrypt for
 */
struct devices {
	const struct port_list *ports;
	char names[DEVICES_MAX][IFNAMSIZ];
	bool carries[DEVICES_MAX];
	size_t count;
	char bond[IFNAMSIZ];
};

static const struct {
	const char *name;
	const char *what;
} tls_features[] = {
	{ "tls-hw-tx-offload", "encrypt" },
	{ "tls-hw-rx-offload", "decrypt" },
};

static void add_device(struct devices *devices, const char *name, bool carries)
{
	size_t i;

	if (!*name || !strcmp(name, "lo"))
		return;
	for (i = 0; i < devices->count; i++)
		if (!strcmp(devices->names[i], name))
			break;
	if (i == DEVICES_MAX)
		return;
	if (i == devices->count)
		snprintf(devices->names[devices->count++], IFNAMSIZ, "%s", name);
	devices->carries[i] |= carries;
}

static int add_of_conn(const struct tlsport_nl_conn *conn, void *arg)
{
	struct devices *devices = arg;
	const struct tlsport_nl_port *port = port_list_find(devices->ports, conn->port);

	if (!port || port->policy.offload == TLSPORT_OFFLOAD_OFF)
		return 0;
	if (conn->tx_sw == TLSPORT_SW_BOND)
		snprintf(devices->bond, IFNAMSIZ, "%s", conn->device);
	else
		add_device(devices, conn->device, true);
	return 0;
}

static FILE *open_proc(const char *name)
{
	char path[CTL_PATH_LEN];

	snprintf(path, sizeof(path), "%s/%s", ctl.proc_dir, name);
	return fopen(path, "re");
}

static void add_routes(struct devices *devices)
{
	char line[LINE_LEN], name[IFNAMSIZ], destination[33], prefix[3], mask[9];
	FILE *file = open_proc("net/route");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%15s %32s %*s %*s %*s %*s %*s %8s", name, destination, mask) ==
			    3 &&
		    strspn(destination, HEX) == 8)
			add_device(devices, name, !strcmp(mask, "00000000"));
	if (file)
		fclose(file);
	file = open_proc("net/ipv6_route");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%32s %2s %*s %*s %*s %*s %*s %*s %*s %15s", destination, prefix,
			   name) == 3)
			add_device(devices, name,
				   !strcmp(prefix, "00") && strspn(destination, "0") == 32);
	if (file)
		fclose(file);
}

static int ethtool(int fd, const char *device, void *data)
{
	struct ifreq request = { .ifr_data = data };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	return ioctl(fd, SIOCETHTOOL, &request);
}

static int count_features(int fd, const char *device)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} query = { { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES }, 0 };

	return ethtool(fd, device, &query) || !query.info.sset_mask ? 0 : (int)query.count;
}

/* The number of the feature, -1: the kernel does not know it */
static int feature_bit(int fd, const char *device, int count, const char *name)
{
	struct ethtool_gstrings *strings =
		calloc(1, sizeof(*strings) + (size_t)count * ETH_GSTRING_LEN);
	int i = count;

	if (!strings)
		return -1;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_FEATURES;
	strings->len = count;
	if (!ethtool(fd, device, strings))
		for (i = 0; i < count; i++)
			if (!strncmp((char *)strings->data + (size_t)i * ETH_GSTRING_LEN, name,
				     ETH_GSTRING_LEN))
				break;
	free(strings);
	return i < count ? i : -1;
}

enum feature_state system_feature(const char *device, const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), count, bit;
	enum feature_state state = FEATURE_ABSENT;
	struct ethtool_gfeatures *features = NULL;
	size_t blocks;

	if (fd < 0)
		return state;
	count = count_features(fd, device);
	bit = count > 0 ? feature_bit(fd, device, count, name) : -1;
	if (bit < 0)
		goto out;
	blocks = (count + 31) / 32;
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!features)
		goto out;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	if (ethtool(fd, device, features))
		goto out;
	if (features->features[bit / 32].active & 1U << bit % 32)
		state = FEATURE_ON;
	else if (features->features[bit / 32].available & 1U << bit % 32)
		state = FEATURE_OFF;
out:
	free(features);
	close(fd);
	return state;
}

static void __attribute__((format(printf, 2, 3))) found(json_t *findings, const char *format, ...)
{
	char text[CTL_ERROR_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	output_line("%s", text);
	json_array_append_new(findings, output_string(text));
}

/*
 * What it is if it is slow; NULL: it is the processor's own.  Tables in memory tell of the key
 * by their timing besides.  The library is what newer kernels have built in.
 */
static const char *slow_code(const char *driver)
{
	if (strstr(driver, "aes-generic") || strstr(driver, "aes-fixed-time"))
		return "the generic C code";
	return strstr(driver, "aes-lib") ? "the kernel's library, block by block" : NULL;
}

static void check_driver(json_t *findings)
{
	json_t *driver = system_gcm_driver();
	const char *name = json_string_value(driver), *slow = name ? slow_code(name) : NULL;

	if (slow)
		found(findings,
		      "gcm(aes) is served by %s, %s: load the driver for this processor (x86: modprobe aesni_intel)",
		      name, slow);
	json_decref(driver);
}

static void check_device(json_t *findings, const char *device, bool required)
{
	size_t i;

	for (i = 0; i < sizeof(tls_features) / sizeof(tls_features[0]); i++) {
		switch (ctl.feature(device, tls_features[i].name)) {
		case FEATURE_OFF:
			found(findings,
			      "%s can %s TLS and does not: turn it on with 'ethtool -K %s %s on'",
			      device, tls_features[i].what, device, tls_features[i].name);
			break;
		case FEATURE_ABSENT:
			if (required && !i)
				found(findings,
				      "%s cannot %s TLS, which a port with offload require needs",
				      device, tls_features[i].what);
			break;
		case FEATURE_ON:
			break;
		}
	}
}

static int check_all(struct tlsport_nl *nl)
{
	bool wanted = false, required = false;
	struct port_list list;
	struct devices devices = { .ports = &list };
	json_t *findings, *names;
	size_t i, count;
	int ret = 0;

	if (port_list_get(nl, &list))
		return fail("%s", nl->error);
	for (i = 0; i < list.count; i++) {
		wanted |= list.ports[i].policy.offload != TLSPORT_OFFLOAD_OFF;
		required |= list.ports[i].policy.offload == TLSPORT_OFFLOAD_REQUIRE;
	}
	if (wanted)
		ret = tlsport_nl_ops->conns(nl, 0, add_of_conn, &devices);
	free(list.ports);
	if (ret)
		return fail("%s", nl->error);
	if (wanted)
		add_routes(&devices);
	findings = json_array();
	names = json_array();
	check_driver(findings);
	for (i = 0; i < devices.count; i++) {
		json_array_append_new(names, output_string(devices.names[i]));
		check_device(findings, devices.names[i], required && devices.carries[i]);
	}
	if (*devices.bond)
		found(findings,
		      "connections over %s are encrypted by software, for it is part of a bond, which net/tls does not do it for%s",
		      devices.bond, required ? ": a port with offload require refuses them" : "");
	count = json_array_size(findings);
	if (!count)
		output_line("nothing was found");
	output_json(json_pack("{s:o, s:o}", "findings", findings, "devices", names));
	return count ? CTL_FAILED : CTL_DONE;
}

int check_command(int argc, char *argv[])
{
	static const struct args_option none[] = { { .name = NULL } };
	struct tlsport_nl nl;
	struct args args;
	int ret;

	ret = args_parse(argc, argv, none, 0, &args);
	if (ret)
		return ret;
	if (tlsport_nl_ops->open(&nl))
		return fail("%s", nl.error);
	ret = check_all(&nl);
	tlsport_nl_ops->close(&nl);
	return ret;
}
