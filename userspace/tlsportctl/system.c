// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the system says of itself: /sys/module, /proc/crypto, /proc/net/tls_stat.
 */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#define LINE_LEN 256

static FILE *open_below(const char *dir, const char *name)
{
	char path[CTL_PATH_LEN];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "re");
}

json_t *system_module_version(void)
{
	FILE *file = open_below(ctl.sys_dir, "module/tlsport/version");
	char line[LINE_LEN] = "";

	if (!file)
		return json_null();
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line[0] ? output_string(line) : json_null();
}

/* "name         : gcm(aes)": the value if the line is of @key, else NULL */
static const char *crypto_value(char *line, const char *key)
{
	size_t len = strlen(key);
	char *colon = strchr(line, ':');

	if (strncmp(line, key, len) || (line[len] != ' ' && line[len] != ':') || !colon)
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	return colon + 1 + strspn(colon + 1, " ");
}

/* The one of the highest priority: net/tls asks for the algorithm, not for a driver. */
json_t *system_gcm_driver(void)
{
	char line[LINE_LEN], driver[LINE_LEN] = "", best[LINE_LEN] = "";
	FILE *file = open_below(ctl.proc_dir, "crypto");
	long priority = -1;
	const char *value;
	bool gcm = false;

	if (!file)
		return json_null();
	while (fgets(line, sizeof(line), file)) {
		value = crypto_value(line, "name");
		if (value) {
			gcm = !strcmp(value, "gcm(aes)");
			continue;
		}
		value = crypto_value(line, "driver");
		if (value)
			snprintf(driver, sizeof(driver), "%s", value);
		value = crypto_value(line, "priority");
		if (value && gcm && atol(value) > priority) {
			priority = atol(value);
			snprintf(best, sizeof(best), "%s", driver);
		}
	}
	fclose(file);
	return best[0] ? output_string(best) : json_null();
}

json_t *system_tls_stat(void)
{
	FILE *file = open_below(ctl.proc_dir, "net/tls_stat");
	char line[LINE_LEN], name[LINE_LEN];
	long long value;
	json_t *stats;

	if (!file)
		return json_null();
	stats = json_object();
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%255s %lld", name, &value) == 2)
			json_object_set_new(stats, name, json_integer(value));
	fclose(file);
	return stats;
}
