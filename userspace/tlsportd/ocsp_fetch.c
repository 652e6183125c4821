// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks OCSP responders, see ocsp_fetch.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypt.h"
#include "generation.h"
#include "log.h"
#include "ocsp_fetch.h"

/* For a question, name resolution and all. */
#define ASK_SECONDS 10
#define ASK_AT_ONCE 8
/* Who does not end by itself. */
#define KILL_SECONDS (ASK_SECONDS + 5)
/* Of what it writes. */
#define ANSWER_FILE_MAX (2 * OCSP_RESPONSE_MAX)
/* After a failure, twice as long after each further one. */
#define AGAIN_MIN 60
#define AGAIN_MAX 3600
/* After an answer, whatever it says of its validity. */
#define ANSWERED_MIN 900
/* Those due so soon come with one that is due now: each time makes a generation. */
#define TOGETHER  3600
#define CHAIN_MAX (1024 * 1024)
/* Of what the process says of a failure. */
#define WHY_MAX 256

/**
 * struct ocsp_fetch - a certificate
 * @cert: its file, for messages
 * @path: file of the answer
 * @until: of the response at hand
 * @due: when to ask
 * @answered: when the last answer came, 0: none has
 * @failures: since the last answer
 * @error: of the last one, where there are any
 * @started: when @pid was, monotonic
 * @pid: of the process that asks; 0: none does
 * @wanted: by the generation in force
 */
struct ocsp_fetch {
	char *cert;
	char *chain;
	char url[CERT_URL_LEN];
	char path[PATH_MAX];
	time_t until;
	time_t due;
	time_t answered;
	unsigned int failures;
	char error[CERT_URL_LEN + WHY_MAX + 32];
	time_t started;
	pid_t pid;
	bool wanted;
	struct ocsp_fetch *next;
};

static int read_all(int fd, char *to, size_t room)
{
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, to + have, room - have)) > 0)
		have += n;
	return n;
}

int ocsp_fetch_main(const char *cert, const char *url)
{
	char *chain = calloc(1, CHAIN_MAX + 1), why[WHY_MAX] = "out of memory";
	struct ocsp_response response = { NULL };
	int failed = 1;

	if (chain && !read_all(STDIN_FILENO, chain, CHAIN_MAX))
		failed = ocsp_ask(chain, url, &response, why, sizeof(why)) != 0;
	if (failed) {
		log_warning("%s: no OCSP response from %s: %s", cert, url, why);
		if (write(STDOUT_FILENO, why, strlen(why)) < 0)
			log_warning("%s: OCSP: %s", cert, strerror(errno));
	} else {
		failed = write(STDOUT_FILENO, response.der, response.len) != (ssize_t)response.len;
	}
	ocsp_response_free(&response);
	free(chain);
	return failed;
}

int ocsp_fetch_path(const char *run_dir, const char *chain, char path[PATH_MAX])
{
	const struct crypt_piece piece = { chain, strlen(chain) };
	uint8_t hash[CRYPT_SHA256_LEN];
	char name[33];

	if (!run_dir || crypt_sha256(&piece, 1, hash))
		return -1;
	for (int i = 0; i < 16; i++)
		sprintf(name + 2 * i, "%02x", hash[i]);
	return snprintf(path, PATH_MAX - 4, "%s/ocsp/%s", run_dir, name) < PATH_MAX - 4 ? 0 : -1;
}

static struct ocsp_fetch *find(struct ocsp_fetches *fetches, const char *path)
{
	struct ocsp_fetch *fetch = fetches->list;

	while (fetch && strcmp(fetch->path, path))
		fetch = fetch->next;
	return fetch;
}

static void fetch_free(struct ocsp_fetch *fetch)
{
	free(fetch->cert);
	free(fetch->chain);
	free(fetch);
}

static struct ocsp_fetch *add(struct ocsp_fetches *fetches, const struct certificate *certificate,
			      char *chain, const char *path)
{
	struct ocsp_fetch *fetch = calloc(1, sizeof(*fetch));

	if (!fetch)
		return NULL;
	fetch->cert = strdup(certificate->cert);
	fetch->chain = strdup(chain);
	strcpy(fetch->url, certificate->facts.ocsp_url);
	strcpy(fetch->path, path);
	if (!fetch->cert || !fetch->chain) {
		fetch_free(fetch);
		return NULL;
	}
	fetch->next = fetches->list;
	fetches->list = fetch;
	return fetch;
}

/* Asked for when half of the validity of what is at hand is over. */
static void want(struct ocsp_fetches *fetches, const struct certificate *certificate)
{
	const struct ocsp_response *response = &certificate->response;
	time_t due = response->len ? response->since + (response->until - response->since) / 2 : 0;
	char *chain = cert_files_chain(&certificate->files), path[PATH_MAX];
	struct ocsp_fetch *fetch = NULL;

	if (chain && !ocsp_fetch_path(certificate->run_dir, chain, path)) {
		fetch = find(fetches, path);
		if (!fetch)
			fetch = add(fetches, certificate, chain, path);
	}
	free(chain);
	if (!fetch)
		return;
	fetch->wanted = true;
	if (response->until == fetch->until)
		return;
	fetch->until = response->until;
	fetch->due = due;
	if (fetch->answered && due < fetch->answered + ANSWERED_MIN)
		fetch->due = fetch->answered + ANSWERED_MIN;
}

static void drop_unwanted(struct ocsp_fetches *fetches)
{
	struct ocsp_fetch **at = &fetches->list, *fetch;

	while ((fetch = *at)) {
		if (fetch->wanted || fetch->pid) {
			at = &fetch->next;
			continue;
		}
		*at = fetch->next;
		unlink(fetch->path);
		fetch_free(fetch);
	}
}

/* "NAME" or "NAME.new", where NAME is that of an answer that is asked for */
static bool is_wanted(const struct ocsp_fetches *fetches, const char *name)
{
	size_t len = strcspn(name, ".");

	for (const struct ocsp_fetch *fetch = fetches->list; fetch; fetch = fetch->next) {
		const char *own = strrchr(fetch->path, '/') + 1;

		if (strlen(own) == len && !strncmp(own, name, len))
			return true;
	}
	return false;
}

/* What was replaced while no tlsportd ran. */
static void sweep(const struct ocsp_fetches *fetches, const char *run_dir)
{
	const struct dirent *entry;
	char path[PATH_MAX];
	DIR *dir = NULL;

	if (run_dir && snprintf(path, sizeof(path), "%s/ocsp", run_dir) < PATH_MAX)
		dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !is_wanted(fetches, entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

/*
 * Only then is it known which answers nobody wants: a token may be slow, and a section that is
 * wrong be mended.
 */
static bool is_complete(const struct generation *generation)
{
	for (size_t i = 0; i < generation->config.count; i++) {
		const struct certificates *all = &generation->ports[i].certificates;

		if (generation->config.ports[i].broken || generation->ports[i].error[0] ||
		    !all->count)
			return false;
		for (size_t j = 0; j < all->count; j++)
			if (!all->list[j].usable)
				return false;
	}
	return true;
}

void ocsp_fetch_update(struct ocsp_fetches *fetches, const struct generation *generation)
{
	for (struct ocsp_fetch *fetch = fetches->list; fetch; fetch = fetch->next)
		fetch->wanted = false;
	for (size_t i = 0; i < generation->config.count; i++) {
		const struct certificates *all = &generation->ports[i].certificates;

		for (size_t j = 0; j < all->count; j++) {
			const struct certificate *one = &all->list[j];

			if (one->usable && one->ocsp == OCSP_FETCH && one->facts.ocsp_url[0] &&
			    engine_staples())
				want(fetches, one);
		}
	}
	drop_unwanted(fetches);
	if (fetches->swept || !is_complete(generation))
		return;
	sweep(fetches, generation->run_dir);
	fetches->swept = true;
}

/* The answer comes beside its file, and takes its place when it is whole. */
static void name_new(const struct ocsp_fetch *fetch, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s", fetch->path);
	strcat(path, ".new");
}

static int open_answer(const struct ocsp_fetch *fetch)
{
	char path[PATH_MAX];
	char *slash;

	name_new(fetch, path);
	slash = strrchr(path, '/');
	*slash = '\0';
	if (mkdir(path, 0700) && errno != EEXIST)
		return -1;
	*slash = '/';
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int open_chain(const struct ocsp_fetch *fetch)
{
	const ssize_t len = strlen(fetch->chain);
	int fd = memfd_create("chain", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, fetch->chain, len) == len && !lseek(fd, 0, SEEK_SET))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void run_child(const struct ocsp_fetch *fetch, const struct sandbox_user *user,
		      pid_t parent_pid, int chain, int answer)
{
	char *const words[] = { OCSP_FETCH_NAME, fetch->cert, (char *)fetch->url, NULL };
	const struct rlimit answer_max = { ANSWER_FILE_MAX, ANSWER_FILE_MAX };
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent_pid)
		_exit(1);
	if (fetch->failures) /* that was told */
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	if (dup2(chain, STDIN_FILENO) < 0 || dup2(answer, STDOUT_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0U, 0) || sandbox_drop(user) ||
	    setrlimit(RLIMIT_FSIZE, &answer_max))
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(ASK_SECONDS);
	execv("/proc/self/exe", words);
	log_warning("%s: OCSP: tlsportd cannot be executed again: %s", fetch->cert,
		    strerror(errno));
	_exit(1);
}

static time_t monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int start(struct ocsp_fetch *fetch, const struct sandbox_user *user)
{
	int chain = open_chain(fetch), answer = open_answer(fetch);
	pid_t parent_pid = getpid();

	fetch->started = monotonic();
	if (chain >= 0 && answer >= 0)
		fetch->pid = fork();
	if (chain >= 0 && answer >= 0 && !fetch->pid)
		run_child(fetch, user, parent_pid, chain, answer);
	if (chain >= 0)
		close(chain);
	if (answer >= 0)
		close(answer);
	if (fetch->pid > 0)
		return 0;
	fetch->pid = 0;
	return -1;
}

static void failed(struct ocsp_fetch *fetch)
{
	time_t again = AGAIN_MIN << (fetch->failures < 6 ? fetch->failures : 6);

	fetch->failures++;
	fetch->due = time(NULL) + (again < AGAIN_MAX ? again : AGAIN_MAX);
}

/* -1: never */
static time_t sooner(time_t one, time_t other)
{
	return one < 0 || other < one ? other : one;
}

/* What the process does with its alarm is its own matter: seconds until it has to have ended */
static time_t end_late(const struct ocsp_fetch *fetch)
{
	time_t left = fetch->started + KILL_SECONDS - monotonic();

	if (left > 0)
		return left;
	kill(fetch->pid, SIGKILL);
	return KILL_SECONDS;
}

time_t ocsp_fetch_run(struct ocsp_fetches *fetches, const struct sandbox_user *user)
{
	time_t now = time(NULL), limit = now, next = -1;

	for (struct ocsp_fetch *fetch = fetches->list; fetch; fetch = fetch->next)
		if (!fetch->pid && !fetch->failures && fetch->due <= now)
			limit = now + TOGETHER;
	for (struct ocsp_fetch *fetch = fetches->list; fetch; fetch = fetch->next) {
		if (fetch->pid) {
			next = sooner(next, end_late(fetch));
			continue;
		}
		if (fetch->failures && fetch->due > now + AGAIN_MAX) /* the clock was set back */
			fetch->due = now + AGAIN_MAX;
		if (fetch->due <= (fetch->failures ? now : limit)) {
			if (fetches->running >= ASK_AT_ONCE)
				continue; /* until one ends */
			if (!start(fetch, user)) {
				fetches->running++;
				continue;
			}
			snprintf(fetch->error, sizeof(fetch->error),
				 "OCSP: no process can be started: %s", strerror(errno));
			log_error("%s: %s", fetch->cert, fetch->error);
			failed(fetch);
		}
		next = sooner(next, fetch->due - now);
	}
	return next;
}

/* It speaks with strangers: not all of it need be text. */
static void read_why(const char *path, char why[WHY_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, why, WHY_MAX - 1);

	if (fd >= 0)
		close(fd);
	why[len > 0 ? len : 0] = '\0';
	for (char *at = why; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	if (!*why)
		snprintf(why, WHY_MAX, "the process that asks it failed");
}

/* @path: where its answer should be */
static void note_failure(struct ocsp_fetch *fetch, int status, const char *path)
{
	const int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	char why[WHY_MAX];

	if (sig)
		snprintf(why, sizeof(why), "%s",
			 sig == SIGALRM ? "no answer in time" : strsignal(sig));
	else
		read_why(path, why);
	snprintf(fetch->error, sizeof(fetch->error), "no OCSP response from %s: %s", fetch->url,
		 why);
	if (sig && !fetch->failures) /* else it has told itself */
		log_warning("%s: %s", fetch->cert, fetch->error);
}

bool ocsp_fetch_ended(struct ocsp_fetches *fetches, pid_t pid, int status)
{
	struct ocsp_fetch *fetch = fetches->list;
	char path[PATH_MAX];

	while (fetch && fetch->pid != pid)
		fetch = fetch->next;
	if (!fetch)
		return false;
	fetch->pid = 0;
	fetches->running--;
	name_new(fetch, path);
	if (!status && !rename(path, fetch->path)) {
		if (fetch->failures)
			log_notice("%s: %s answers again", fetch->cert, fetch->url);
		fetch->failures = 0;
		fetch->answered = time(NULL);
		/* unless it is another one: that says when */
		fetch->due = time(NULL) + AGAIN_MAX;
		fetches->fresh = true;
		return true;
	}
	note_failure(fetch, status, path);
	unlink(path);
	failed(fetch);
	return true;
}

const char *ocsp_fetch_error(const struct ocsp_fetches *fetches,
			     const struct certificate *certificate)
{
	const struct ocsp_fetch *fetch = fetches->list;
	char path[PATH_MAX], *chain;

	if (!fetch || certificate->ocsp != OCSP_FETCH || !certificate->usable)
		return NULL;
	chain = cert_files_chain(&certificate->files);
	if (!chain || ocsp_fetch_path(certificate->run_dir, chain, path))
		fetch = NULL;
	while (fetch && strcmp(fetch->path, path))
		fetch = fetch->next;
	free(chain);
	return fetch && fetch->failures ? fetch->error : NULL;
}

bool ocsp_fetch_fresh(struct ocsp_fetches *fetches)
{
	bool fresh = fetches->fresh && !fetches->running;

	if (fresh)
		fetches->fresh = false;
	return fresh;
}

void ocsp_fetch_close(struct ocsp_fetches *fetches)
{
	struct ocsp_fetch *fetch;

	while ((fetch = fetches->list)) {
		fetches->list = fetch->next;
		if (fetch->pid)
			kill(fetch->pid, SIGKILL);
		fetch_free(fetch);
	}
}
