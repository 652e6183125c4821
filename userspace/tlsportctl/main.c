// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command table and the options that every command has.
 */
#include "ctl.h"

#include <string.h>

#include "../common/memory.h"
#include "../common/signer.h"
#include "../common/signer_process.h"

#define CONFIG_DIR "/etc/tlsport"
#define RUN_DIR	   "/run/tlsport"

#define ENABLE_HELP \
	"PORT is a number or a service name (https, imaps, see tlsportctl services).\n" \
	"A port that is enabled changes: what is given changes, the rest stays.\n" \
	"A setting that is given as \"\" is taken out: its default is in force again.\n" \
	"\n" \
	"  --cert FILE                    certificate and its issuers, PEM\n" \
	"  --key FILE                     private key, PEM (default: in the file of --cert)\n" \
	"  --passphrase FILE              what opens the key, where it is encrypted\n" \
	"  --cert-dir DIR                 more of them, each with its key, chosen by name (SNI)\n" \
	"  --address ADDR[,ADDR...]       local addresses that are served, the others are shut (all)\n" \
	"  --strict-sni on|off            refuse who asks for a name that none has (off)\n" \
	"  --ocsp off|file|fetch          OCSP responses to staple: NAME.ocsp, or asked for too (file)\n" \
	"  --self-signed                  make a certificate that nobody else vouches for, for\n" \
	"  --name NAME[,NAME...]          these hosts and addresses (this machine's name)\n" \
	"  --profile NAME                 intermediate, modern, strict or fips: defaults of these:\n" \
	"  --min-version 1.2|1.3          lowest TLS version (1.2)\n" \
	"  --max-version 1.2|1.3          highest TLS version (1.3)\n" \
	"  --ciphers NAME[:NAME...]       cipher suites\n" \
	"  --groups NAME[:NAME...]        key exchange groups\n" \
	"  --prefer-server-ciphers on|off the order of --ciphers counts, or the client's (on)\n" \
	"  --alpn NAME[:NAME...]          protocols that the application speaks (ALPN)\n" \
	"  --plaintext reject|alert|redirect  clients without TLS: nothing, or HTTP to https (reject)\n" \
	"  --truncation strict|tolerate   end without close_notify: an error (strict) or not\n" \
	"  --handshake-timeout TIME       0.1s to 600s (10s)\n" \
	"  --max-handshakes N             in flight on the port (4096)\n" \
	"  --max-handshakes-per-source N  in flight from one address (1024)\n" \
	"  --max-handshake-rate N|off     begun in a second on the port (off)\n" \
	"  --max-handshake-rate-per-source N|off  begun in a second from one address (off)\n" \
	"  --key-limit N                  records sent under one key (16777216)\n" \
	"  --resumption on|off            session tickets (on)\n" \
	"  --ticket-keys FILE|DIR         keys of tickets, shared by several machines\n" \
	"  --client-auth none|request|require  whether clients are asked for a certificate (none)\n" \
	"  --client-ca FILE               who may have signed it, PEM\n" \
	"  --client-crl FILE              lists of those that are revoked, PEM\n" \
	"  --client-depth N               certificates that may stand behind a client's own (4)\n" \
	"  --proxy-protocol off|v2        the program reads a PROXY header first (off)\n" \
	"  --offload auto|off|require     records done by the network interface (auto)\n" \
	"  --offload-tls13 negotiate-1.2|refuse  clients of TLS 1.3, when required (negotiate-1.2)\n" \
	"  --zerocopy on|off              the interface reads files that nobody can write (off)\n" \
	"  --runtime                      until the next boot: write to the run directory\n"

struct ctl ctl = {
	.proc_dir = "/proc",
	.sys_dir = "/sys",
	.feature = system_feature,
};

static const struct command commands[] = {
	{ "enable", enable_command, "PORT --cert FILE [--key FILE] [--SETTING VALUE ...]",
	  "speak TLS on a port, or change how", ENABLE_HELP },
	{ "disable", disable_command, "PORT",
	  "back to plain TCP: for new listening sockets, established connections go on", NULL },
	{ "list", list_command, "", "enabled ports, their state and certificates", NULL },
	{ "status", status_command, "[PORT]", "module, helper and all counters", NULL },
	{ "conns", conns_command, "[PORT]", "connections on enabled ports", NULL },
	{ "check", check_command, "", "what this machine could do better: nothing changes", NULL },
	{ "services", services_command, "", "well-known TLS ports, and which are enabled here",
	  NULL },
	{ "reload", reload_command, "", "have tlsportd read configuration and certificates again",
	  NULL },
	{ "upgrade", upgrade_command, "",
	  "replace tlsportd by the one that is installed now: no handshake fails", NULL },
	{ "check-config", check_config_command, "",
	  "have tlsportd check the configuration, nothing changes", NULL },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_general_help(void)
{
	size_t i;

	fprintf(ctl.out, "Usage: tlsportctl [OPTION...] COMMAND [ARGUMENT...]\n\n");
	for (i = 0; i < COMMANDS; i++)
		fprintf(ctl.out, "  %-13s %s\n", commands[i].name, commands[i].what);
	fprintf(ctl.out, "\nOptions of every command:\n"
			 "  --json            print JSON\n"
			 "  --config-dir DIR  instead of " CONFIG_DIR "\n"
			 "  --run-dir DIR     instead of " RUN_DIR "\n"
			 "  --netns NAME      in this network namespace, by its own tlsportd\n"
			 "  --help            of tlsportctl, or of a command\n"
			 "  --version\n");
}

static void print_command_help(const struct command *command)
{
	fprintf(ctl.out, "Usage: tlsportctl %s%s%s\n\n%s\n", command->name,
		*command->args ? " " : "", command->args, command->what);
	if (command->help)
		fprintf(ctl.out, "\n%s", command->help);
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	char known[CTL_ERROR_LEN];
	size_t i, used = 0;

	for (i = 0; i < COMMANDS; i++)
		used += snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
				 commands[i].name);
	return usage("unknown command '%s': there are %s", name, known);
}

struct general {
	bool help;
	bool version;
	/* The option that lacks its value */
	const char *bare;
};

static bool take_value(const char *name, const char **value, int argc, char *argv[], int *i,
		       struct general *general)
{
	size_t len = strlen(name);

	if (!strcmp(argv[*i], name)) {
		if (*i + 1 < argc)
			*value = argv[++*i];
		else
			general->bare = name;
		return true;
	}
	if (!strncmp(argv[*i], name, len) && argv[*i][len] == '=') {
		*value = argv[*i] + len + 1;
		return true;
	}
	return false;
}

/* Takes the general options out of argv, wherever they are; the new argc. */
static int take_general(int argc, char *argv[], struct general *general)
{
	int i, kept = 1;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			ctl.json = true;
		else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			general->help = true;
		else if (!strcmp(argv[i], "--version"))
			general->version = true;
		else if (!take_value("--config-dir", &ctl.config_dir, argc, argv, &i, general) &&
			 !take_value("--run-dir", &ctl.run_dir, argc, argv, &i, general) &&
			 !take_value("--netns", &ctl.netns, argc, argv, &i, general))
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

int main(int argc, char *argv[])
{
	struct general general = { 0 };
	const struct command *command;
	int ret;

	if (argc == SIGNER_ARGC && !strcmp(argv[0], SIGNER_NAME))
		return signer_main(argv);
	memory_forbid_dumps(); /* enable reads keys */
	if (!ctl.out)
		ctl.out = stdout;
	if (!ctl.err)
		ctl.err = stderr;
	argc = take_general(argc, argv, &general);
	if (general.bare)
		return usage("%s needs a value", general.bare);
	if (general.version) {
		output_line("tlsportctl %s", TLSPORT_VERSION);
		output_json(json_pack("{s:s}", "version", TLSPORT_VERSION));
		return CTL_DONE;
	}
	command = argc > 1 ? find_command(argv[1]) : NULL;
	if (argc > 1 && !command)
		return unknown_command(argv[1]);
	if (general.help && command) {
		print_command_help(command);
		return CTL_DONE;
	}
	if (general.help) {
		print_general_help();
		return CTL_DONE;
	}
	if (!command)
		return usage("no command: see tlsportctl --help");
	ret = ctl.netns ? netns_enter() : CTL_DONE;
	if (ret)
		return ret;
	if (!ctl.config_dir)
		ctl.config_dir = CONFIG_DIR;
	if (!ctl.run_dir)
		ctl.run_dir = RUN_DIR;
	signer_run_dir(ctl.run_dir);
	return command->run(argc - 1, argv + 1);
}
