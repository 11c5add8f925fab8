/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting: lock and check the data directory (one that is not there is made last), open the listening sockets, start the family; when all have
 * answered START, say ready. SIGHUP reads the settings again. SIGTERM or SIGINT drains: the family ends in
 * order within drain.timeout, else it is killed and the exit status is 1; a second signal kills at once.
 * Nothing is lost by that, what was acknowledged is on disk: the next start has more to recover.
 */
#include "daemon/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/children.h"
#include "daemon/datadir.h"
#include "daemon/listeners.h"
#include "daemon/notify.h"
#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

enum {
	DESCRIPTORS_BESIDES_CLIENTS = 512,
	SAME_SIGNAL_MS = 500, /* timeout(1) and others signal the process and its group: one wish */
};

struct supervisor {
	const struct configuration *config;
	struct settings *settings;
	struct datadir datadir;
	struct listeners listeners;
	struct loop *loop;
	struct signals signals;
	struct children *children;
	struct timer drain_deadline;
	bool announced, stopping;
	int64_t stopping_since_ms;
	int exit_status;
};

/* ---- the end ---- */

static void gone(void *ctx, bool clean)
{
	struct supervisor *s = ctx;

	if (!clean)
		s->exit_status = 1;
	loop_stop(s->loop, s->exit_status);
}

static void drain_overdue(void *ctx)
{
	struct supervisor *s = ctx;

	log_warn("not drained within drain.timeout=%s: killing what is left",
		settings_string(s->settings, "drain.timeout"));
	children_kill(s->children);
}

static void stop(struct supervisor *s, int signo)
{
	if (s->stopping && clock_mono_ms() - s->stopping_since_ms < SAME_SIGNAL_MS)
		return;
	if (s->stopping) {
		log_warn("%s again: not waiting for the rest to drain", strsignal(signo));
		children_kill(s->children);
		return;
	}
	s->stopping = true;
	s->stopping_since_ms = clock_mono_ms();
	log_info("%s: draining", strsignal(signo));
	notify_send("STOPPING=1");
	datadir_withdraw(&s->datadir, "ready");
	listeners_close(&s->listeners); /* ours; the agents close theirs */
	loop_timer_set(
		s->loop, &s->drain_deadline, settings_number(s->settings, "drain.timeout"), drain_overdue, s);
	children_drain(s->children);
}

static void hopeless(void *ctx)
{
	struct supervisor *s = ctx;

	log_error("giving up: a process that shd consists of cannot start, see above why");
	s->stopping = true;
	children_kill(s->children);
}

/* ---- reload ---- */

/*
 * Each connection is a descriptor; agents inherit the limit. It is raised as far as it goes at once, since an
 * agent that runs would not hear of it when http.max_connections is reloaded.
 */
static void raise_descriptor_limit(const struct settings *s)
{
	int64_t want = settings_number(s, "http.max_connections") + DESCRIPTORS_BESIDES_CLIENTS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) || getrlimit(RLIMIT_NOFILE, &limit))
			return;
	}
	if (limit.rlim_cur < (rlim_t)want)
		log_warn("this process may open %llu descriptors only: fewer than http.max_connections=%lld "
			 "clients can be served",
			(unsigned long long)limit.rlim_cur,
			(long long)settings_number(s, "http.max_connections"));
}

static void reload(struct supervisor *s)
{
	struct buf changed = BUF_INIT(4096), fixed = BUF_INIT(4096);
	struct err e = ERR_INIT;
	struct settings *new_ = configuration_load(s->config, &e), *old = s->settings;
	char state[64];

	if (!new_) {
		log_error("settings not reloaded, the old ones stay: %s%s%s", e.text, *e.hint ? "; " : "",
			e.hint);
		return;
	}
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_ns() / 1000);
	notify_send(state);
	settings_diff(old, new_, false, &fixed);
	settings_diff(old, new_, true, &changed);
	if (fixed.len)
		log_warn("these settings take effect at the next start: %s", fixed.data);
	settings_keep_fixed(new_, old);
	s->settings = new_;
	log_set_by_name(settings_string(new_, "log.format"), settings_string(new_, "log.level"));
	raise_descriptor_limit(new_);
	children_configure(s->children, new_);
	settings_free(old);
	log_info("settings reloaded; changed: %s", changed.len ? changed.data : "none");
	notify_send("READY=1");
	buf_release(&changed);
	buf_release(&fixed);
}

static void signal_came(void *ctx, int signo)
{
	struct supervisor *s = ctx;

	if (signo == SIGCHLD)
		children_reap(s->children);
	else if (signo == SIGHUP && !s->stopping)
		reload(s);
	else if (signo == SIGTERM || signo == SIGINT)
		stop(s, signo);
}

/* ---- the start ---- */

static void publish(struct supervisor *s, const char *name, const char *text)
{
	struct err e = ERR_INIT;

	if (datadir_publish(&s->datadir, name, text, &e))
		log_error("%s", e.text);
}

static void ready(void *ctx)
{
	struct supervisor *s = ctx;
	struct buf b = BUF_INIT(4096);

	if (s->announced || s->stopping) {
		log_info("all processes are running again");
		return;
	}
	s->announced = true;
	listeners_addresses(&s->listeners, "http", &b);
	log_info("ready: http on %s, data in %s", b.data, s->datadir.path);
	publish(s, "ready", "");
	notify_send("READY=1\nSTATUS=serving");
	buf_release(&b);
}

static void say_what_settings_mean(const struct settings *s)
{
	int64_t interval_ms;
	enum wal_sync sync = settings_wal_sync(s, &interval_ms);

	if (sync == WAL_SYNC_INTERVAL)
		log_warn("wal.sync=%s: unless a request names level wal or object, what it wrote in the last "
			 "%lld ms is lost when this machine fails",
			settings_string(s, "wal.sync"), (long long)interval_ms);
	else if (sync == WAL_SYNC_NEVER)
		log_warn("wal.sync=never: unless a request names level object, what it wrote is lost when "
			 "this machine fails before "
			 "it is in a segment");
	if (strcmp(settings_origin(s, "kafka.listen"), "default") && *settings_string(s, "kafka.listen"))
		log_info("kafka.listen=%s is set, but this version does not speak Kafka's protocol yet: "
			 "nothing listens there",
			settings_string(s, "kafka.listen"));
}

/* Keys in our environment are for one role. Another process of the same user could read them from our memory
 * as well. */
static void hide_secrets(void)
{
	if (getenv("AWS_SECRET_ACCESS_KEY") || getenv("AWS_SESSION_TOKEN") || getenv("PGPASSWORD"))
		prctl(PR_SET_DUMPABLE, 0);
}

static int open_family(struct supervisor *s, struct err *e)
{
	static const int signos[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
	static const struct children_events events = {ready, hopeless, gone};

	s->loop = loop_new(e);
	if (!s->loop ||
		loop_signals(s->loop, &s->signals, signos, (int)array_count(signos), signal_came, s, e))
		return -1;
	s->children = children_new(s->loop, s->datadir.path, &s->listeners,
		(int)settings_number(s->settings, "agents"), &events, s);
	children_configure(s->children, s->settings);
	return children_start(s->children, e);
}

/* A data directory is made only when we can listen. When it is there, its lock tells more than a port that is taken. */
static int claim(struct supervisor *s, struct err *e)
{
	const char *dir = settings_string(s->settings, "data.dir");
	bool made = datadir_is_made(dir);

	if (made && datadir_open(&s->datadir, dir, e))
		return -1;
	if (listeners_open(&s->listeners, "http", settings_string(s->settings, "http.listen"), e))
		return -1;
	return made ? 0 : datadir_open(&s->datadir, dir, e);
}

static int begin(struct supervisor *s, struct err *e)
{
	struct buf ports = BUF_INIT(1024);
	char pid[16];
	int status;

	if (claim(s, e))
		return -1;
	listeners_ports(&s->listeners, "http", &ports);
	publish(s, "http.port", ports.data);
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	publish(s, "shd.pid", pid);
	say_what_settings_mean(s->settings);
	status = open_family(s, e);
	buf_release(&ports);
	return status;
}

int supervisor_run(const struct configuration *config, struct settings *settings)
{
	struct supervisor s = {.config = config, .settings = settings, .datadir = DATADIR_INIT};
	struct err e = ERR_INIT;
	int status;

	log_set_by_name(settings_string(settings, "log.format"), settings_string(settings, "log.level"));
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	notify_init();
	raise_descriptor_limit(settings);
	hide_secrets();
	if (begin(&s, &e)) {
		log_error("%s%s%s", e.text, *e.hint ? "; " : "", e.hint);
		status = err_exit_status(e.code);
	} else {
		status = loop_run(s.loop);
		log_info("stopped");
	}
	children_free(s.children); /* without their channels those that were started end */
	listeners_close(&s.listeners);
	datadir_release(&s.datadir);
	if (s.loop)
		loop_free(s.loop);
	settings_free(s.settings);
	return status;
}
