/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration files.
 *
 * DIR/tlsport.conf (need not be there), DIR/ports.d/NAME.conf and
 * RUN_DIR/ports.d/NAME.conf; a file of the run directory hides one of the same
 * name.  Sections are "[port N]"; in ports.d/N.conf, with N a port number, the
 * section line may be left out.
 */
#ifndef _TLSPORTD_CONFIG_H
#define _TLSPORTD_CONFIG_H

#include "../common/port_config.h"
#include "text.h"

#define CONFIG_DIR "/etc/tlsport"

struct config {
	struct port_config *ports; /* by port number */
	size_t count;
};

/**
 * config_load() - read all files
 * @run_dir: NULL: none
 * @errors: one line "FILE:LINE: what is wrong, what is allowed" each
 *
 * Certificates are not looked at.  With errors @config has every port whose
 * number could be read, so that it can be kept from speaking plaintext.
 *
 * Return: 0, or -1 when there were errors; @config is to be freed either way.
 */
int config_load(const char *config_dir, const char *run_dir, struct config *config,
		struct text *errors);

/* CONFIG_DIR need not be there; another one was named, and a slip of the pen is no configuration. */
void config_check_dir(const char *config_dir, struct text *errors);

void config_free(struct config *config);

/* A copy of its own; 0 or -1: out of memory, and @copy is empty. */
int config_copy(const struct config *config, struct config *copy);

const struct port_config *config_find(const struct config *config, uint16_t port);

#endif /* _TLSPORTD_CONFIG_H */
