/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the OCSP responders of certificates, in the background, well before what is at
 * hand expires.  The answers are files below the run directory, where a certificate
 * that is loaded finds its own.
 *
 * Each question is a process of its own, executed anew, so that there are no keys in it,
 * without rights, and ended when it takes too long: it speaks with strangers.
 */
#ifndef _TLSPORTD_OCSP_FETCH_H
#define _TLSPORTD_OCSP_FETCH_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "sandbox.h"

struct certificate;
struct generation;
struct ocsp_fetch;

/**
 * struct ocsp_fetches - what is fetched; all zeros: nothing
 * @running: processes that ask
 * @fresh: an answer came that no generation has
 * @swept: answers that an earlier tlsportd left and nobody wants are gone; not before all
 *	certificates of a generation can be served
 */
struct ocsp_fetches {
	struct ocsp_fetch *list;
	unsigned int running;
	bool fresh;
	bool swept;
};

/* The name that such a process has, by which main() knows it. */
#define OCSP_FETCH_NAME "tlsportd-ocsp"

/*
 * Its main(): the chain is its input, the response its output, or in its place, and in the log, why
 * there is none.  Its status
 */
int ocsp_fetch_main(const char *cert, const char *url);

/* File of the answer for this certificate.  0, or -1: none can be named */
int ocsp_fetch_path(const char *run_dir, const char *chain, char path[PATH_MAX]);

/* Once for each generation: its certificates are those that are asked for. */
void ocsp_fetch_update(struct ocsp_fetches *fetches, const struct generation *generation);

/* Starts what is due; seconds until something is, -1: nothing will be. */
time_t ocsp_fetch_run(struct ocsp_fetches *fetches, const struct sandbox_user *user);

/* A child ended; was it one of these? */
bool ocsp_fetch_ended(struct ocsp_fetches *fetches, pid_t pid, int status);

/* Why the last question was not answered; NULL: it was, or nobody has asked yet. */
const char *ocsp_fetch_error(const struct ocsp_fetches *fetches,
			     const struct certificate *certificate);

/* Is it time for a new generation?  Once for all answers that come together. */
bool ocsp_fetch_fresh(struct ocsp_fetches *fetches);

void ocsp_fetch_close(struct ocsp_fetches *fetches);

#endif /* _TLSPORTD_OCSP_FETCH_H */
