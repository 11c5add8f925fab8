/* SPDX-License-Identifier: Apache-2.0 */
/* An object store that fails on demand: another store behind rules in a file. For tests; the rules are in
 * object.h. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "libsh/store/object.h"

enum { RULES_MAX = 256, RULES_FILE_MAX = 64 << 10, DELAY_MAX_MS = 600000 };
enum fault_op { OP_PUT, OP_GET, OP_SIZE, OP_REMOVE, OP_LIST, OP_ANY };
enum fault_mode { UNAVAILABLE, IO, NO_SPACE, OUTCOME_UNKNOWN, NOT_DONE, SHORT, FLIP, DELAY, PASS };

static const char *const op_names[] = {"put", "get", "size", "remove", "list", "*"};
static const char *const mode_names[] = {
	"unavailable", "io", "no_space", "outcome_unknown", "not_done", "short", "flip", "delay"};

struct fault_rule {
	int op, mode;
	int64_t after, times, percent, seed, delay_ms; /* times -1: no end */
	uint64_t random;			       /* state that follows from seed */
};
struct fault_store {
	struct object_store base, *inner;
	char *rules_path;
	pthread_mutex_t lock; /* for what follows */
	struct stat seen;     /* of the rules file when it was read */
	struct err broken;    /* why it could not be */
	struct fault_rule rules[RULES_MAX];
	int count;
};

static struct fault_store *fault_of(struct object_store *s)
{
	return container_of(s, struct fault_store, base);
}

static uint64_t random_next(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int word_index(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (word && !strcmp(word, words[i]))
			return (int)i;
	return -1;
}

static int parse_option(struct fault_rule *r, char *word, struct err *e)
{
	char *equals = strchr(word, '=');
	struct {
		const char *name;
		int64_t *value, max;
	} options[] = {
		{"after", &r->after, INT64_MAX},
		{"times", &r->times, INT64_MAX},
		{"percent", &r->percent, 100},
		{"seed", &r->seed, INT64_MAX},
		{"delay_ms", &r->delay_ms, DELAY_MAX_MS},
	};

	if (equals)
		*equals = '\0';
	for (size_t i = 0; equals && i < array_count(options); i++)
		if (!strcmp(word, options[i].name))
			return text_parse_int(
				equals + 1, 0, options[i].max, options[i].name, options[i].value, e);
	return err_set(
		e, ERR_INVALID_ARGUMENT, "\"%s\" is not after=, times=, percent=, seed= or delay_ms=", word);
}

static int parse_rule(struct fault_rule *r, char *line, struct err *e)
{
	char *save = NULL, *op = strtok_r(line, " \t", &save), *mode = strtok_r(NULL, " \t", &save), *word;

	*r = (struct fault_rule){.times = -1, .percent = 100};
	r->op = word_index(op, op_names, array_count(op_names));
	r->mode = word_index(mode, mode_names, array_count(mode_names));
	if (r->op < 0 || r->mode < 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "it does not start with an operation and a mode");
	if ((r->mode == SHORT || r->mode == FLIP) && r->op != OP_GET)
		return err_set(e, ERR_INVALID_ARGUMENT, "%s is for get only", mode);
	while ((word = strtok_r(NULL, " \t", &save)) != NULL)
		if (parse_option(r, word, e) < 0)
			return -1;
	r->random = (uint64_t)r->seed;
	return 0;
}

static int parse_rules(struct fault_store *f, char *text, struct err *e)
{
	int number = 0;

	f->count = 0;
	for (char *next, *line = text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		number++;
		line[strcspn(line, "#\r")] = '\0';
		if (!line[strspn(line, " \t")])
			continue;
		if (f->count == RULES_MAX)
			return err_set(
				e, ERR_TOO_LARGE, "%s has more than %d rules", f->rules_path, RULES_MAX);
		if (parse_rule(&f->rules[f->count++], line, e) < 0)
			return err_prefix(e, "%s:%d", f->rules_path, number);
	}
	return 0;
}

static int rules_load(struct fault_store *f, struct err *e)
{
	struct buf text = BUF_INIT(RULES_FILE_MAX);
	struct err failed = ERR_INIT;
	int result = 0;

	f->count = 0;
	if (disk_read_file(f->rules_path, &text, &failed) < 0) {
		if (failed.code != ERR_NOT_FOUND) {
			if (e)
				*e = failed;
			result = -1;
		}
	} else if (text.data)
		result = parse_rules(f, text.data, e);
	buf_release(&text);
	return result;
}

static bool rules_changed(struct fault_store *f)
{
	struct stat st;

	if (stat(f->rules_path, &st) < 0)
		memset(&st, 0, sizeof(st));
	if (st.st_ino == f->seen.st_ino && st.st_size == f->seen.st_size &&
		st.st_mtim.tv_sec == f->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == f->seen.st_mtim.tv_nsec)
		return false;
	f->seen = st;
	return true;
}

static bool rule_hits(struct fault_rule *r, int op)
{
	if ((r->op != OP_ANY && r->op != op) || r->times == 0)
		return false;
	if (r->after > 0) {
		r->after--;
		return false;
	}
	if (r->percent < 100 && random_next(&r->random) % 100 >= (uint64_t)r->percent)
		return false;
	if (r->times > 0)
		r->times--;
	return true;
}

/* What is to happen to this call: a mode, PASS, or -1 when the rules cannot be read. Waits out delays. */
static int fault_decide(struct fault_store *f, int op, struct err *e)
{
	int64_t delay_ms = 0;
	int mode = PASS;

	pthread_mutex_lock(&f->lock);
	if (rules_changed(f)) {
		err_clear(&f->broken);
		rules_load(f, &f->broken);
	}
	if (f->broken.code) {
		mode = -1;
		if (e)
			*e = f->broken;
	}
	for (int i = 0; i < f->count && mode == PASS; i++) {
		if (!rule_hits(&f->rules[i], op))
			continue;
		delay_ms += f->rules[i].delay_ms;
		if (f->rules[i].mode != DELAY)
			mode = f->rules[i].mode;
	}
	pthread_mutex_unlock(&f->lock);
	if (delay_ms) {
		struct timespec t = {delay_ms / 1000, delay_ms % 1000 * 1000000};

		nanosleep(&t, NULL);
	}
	return mode;
}

/* The failures that happen before the store is asked: -1, else 0. */
static int fault_before(int mode, int op, const char *name, struct err *e)
{
	switch (mode) {
	case -1:
		return -1;
	case UNAVAILABLE:
		return err_set(e, ERR_UNAVAILABLE, "%s %s: made unavailable by a rule", op_names[op], name);
	case IO:
		return err_set(e, ERR_IO, "%s %s: made to fail by a rule", op_names[op], name);
	case NO_SPACE:
		return err_set(e, ERR_NO_SPACE, "%s %s: made full by a rule", op_names[op], name);
	case NOT_DONE:
		return err_set(e, ERR_OUTCOME_UNKNOWN, "%s %s: made unknown by a rule", op_names[op], name);
	default:
		return 0;
	}
}

/* And those behind it. */
static int fault_after(int mode, int op, const char *name, int result, struct err *e)
{
	if (result == 0 && mode == OUTCOME_UNKNOWN)
		return err_set(e, ERR_OUTCOME_UNKNOWN, "%s %s: made unknown by a rule", op_names[op], name);
	return result;
}

static int fault_put(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e)
{
	struct fault_store *f = fault_of(s);
	int mode = fault_decide(f, OP_PUT, e);

	if (fault_before(mode, OP_PUT, name, e) < 0)
		return -1;
	return fault_after(mode, OP_PUT, name, f->inner->driver->put(f->inner, name, fd, bytes, e), e);
}

static int fault_get(
	struct object_store *s, const char *name, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct fault_store *f = fault_of(s);
	int mode = fault_decide(f, OP_GET, e);

	if (fault_before(mode, OP_GET, name, e) < 0 ||
		f->inner->driver->get(f->inner, name, offset, p, n, e) < 0)
		return -1;
	if (mode == SHORT)
		return err_set(e, ERR_CORRUPT, "get %s: made short by a rule", name);
	if (mode == FLIP && n)
		((unsigned char *)p)[n / 2] ^= 1;
	return fault_after(mode, OP_GET, name, 0, e);
}

static int fault_size(struct object_store *s, const char *name, uint64_t *bytes, struct err *e)
{
	struct fault_store *f = fault_of(s);
	int mode = fault_decide(f, OP_SIZE, e);

	if (fault_before(mode, OP_SIZE, name, e) < 0)
		return -1;
	return fault_after(mode, OP_SIZE, name, f->inner->driver->size(f->inner, name, bytes, e), e);
}

static int fault_remove(struct object_store *s, const char *name, struct err *e)
{
	struct fault_store *f = fault_of(s);
	int mode = fault_decide(f, OP_REMOVE, e);

	if (fault_before(mode, OP_REMOVE, name, e) < 0)
		return -1;
	return fault_after(mode, OP_REMOVE, name, f->inner->driver->remove(f->inner, name, e), e);
}

static int fault_list(struct object_store *s, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct fault_store *f = fault_of(s);
	int mode = fault_decide(f, OP_LIST, e);

	if (fault_before(mode, OP_LIST, prefix, e) < 0)
		return -1;
	return fault_after(mode, OP_LIST, prefix, f->inner->driver->list(f->inner, prefix, each, ctx, e), e);
}

static int fault_prepare(struct object_store *s, struct err *e)
{
	return object_store_prepare(fault_of(s)->inner, e);
}

static void fault_state(struct object_store *s, struct object_store_state *state)
{
	*state = object_store_state(fault_of(s)->inner);
}

static void fault_free(struct object_store *s)
{
	struct fault_store *f = fault_of(s);

	object_store_free(f->inner);
	pthread_mutex_destroy(&f->lock);
	mem_free(f->rules_path);
	mem_free(f);
}

static const struct object_driver fault_driver = {
	.scheme = "fault",
	.put = fault_put,
	.get = fault_get,
	.size = fault_size,
	.remove = fault_remove,
	.list = fault_list,
	.prepare = fault_prepare,
	.state = fault_state,
	.free = fault_free,
};

int object_fault_open(
	struct object_store *inner, const char *rules_path, struct object_store **s, struct err *e)
{
	struct fault_store *f = mem_zalloc(sizeof(*f));

	f->base.driver = &fault_driver;
	f->inner = inner;
	f->rules_path = mem_strdup(rules_path);
	pthread_mutex_init(&f->lock, NULL);
	rules_changed(f);
	if (rules_load(f, e) < 0) {
		fault_free(&f->base);
		return -1;
	}
	*s = &f->base;
	return 0;
}
