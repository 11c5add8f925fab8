/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/object_s3_credentials.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "libsh/run/http_client.h"

#define INSTANCE_ENDPOINT "http://169.254.169.254"
#define INSTANCE_KEYS_PATH "/latest/meta-data/iam/security-credentials/"

enum {
	FILE_MAX_BYTES = 1 << 20,
	INSTANCE_TIMEOUT_MS = 2000,
	INSTANCE_ATTEMPTS = 2,
	RENEW_BEFORE_MS = 5 * 60 * 1000,
	RENEW_PAUSE_MS = 10 * 1000, /* between attempts that bring nothing new */
};

struct object_s3_credentials {
	char *file, *profile, *instance; /* instance NULL: not to be asked */
	bool from_environment;
	struct err environment_error; /* what is wrong there */
	pthread_mutex_t lock;	      /* for what follows */
	pthread_cond_t asked;	      /* the instance was */
	struct object_s3_key key;
	bool refused;	  /* the service does not take it any more */
	struct stat seen; /* of the file when it was read */
	bool asking;	  /* a thread is at the instance, without the lock */
	int64_t next_renewal_ms;
	struct err instance_error; /* of the last time it was asked */
};

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Takes the new key's texts over. */
static void replace_key(struct object_s3_credentials *c, struct object_s3_key *key)
{
	key->generation = c->key.generation + 1;
	object_s3_key_release(&c->key);
	c->key = *key;
	c->refused = false;
}

static struct bytes text_bytes(const char *text)
{
	return (struct bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

static void read_environment(struct object_s3_credentials *c)
{
	const char *access = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");

	c->from_environment = access && secret;
	if (c->from_environment &&
		object_s3_key_set(&c->key, text_bytes(access), text_bytes(secret),
			text_bytes(variable("AWS_SESSION_TOKEN")), INT64_MAX, &c->environment_error) < 0)
		err_prefix(&c->environment_error, "the keys of S3 in the environment");
}

struct object_s3_credentials *object_s3_credentials_new(void)
{
	struct object_s3_credentials *c = mem_zalloc(sizeof(*c));
	const char *file = variable("AWS_SHARED_CREDENTIALS_FILE"), *home = variable("HOME");
	const char *profile = variable("AWS_PROFILE"),
		   *instance = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *disabled = variable("AWS_EC2_METADATA_DISABLED");

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->asked, NULL);
	read_environment(c);
	if (file)
		c->file = mem_strdup(file);
	else if (home)
		c->file = mem_printf("%s/.aws/credentials", home);
	c->profile = mem_strdup(profile ? profile : "default");
	if (!disabled || strcasecmp(disabled, "true") != 0)
		c->instance = mem_strdup(instance ? instance : INSTANCE_ENDPOINT);
	return c;
}

void object_s3_credentials_free(struct object_s3_credentials *c)
{
	if (!c)
		return;
	object_s3_key_release(&c->key);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->asked);
	mem_free(c->file);
	mem_free(c->profile);
	mem_free(c->instance);
	mem_free(c);
}

/* ---- the shared file ---- */

static bool file_changed(struct object_s3_credentials *c)
{
	struct stat st;

	if (!c->file || stat(c->file, &st) < 0)
		return false; /* what was read from it still serves */
	if (!c->refused && st.st_ino == c->seen.st_ino && st.st_size == c->seen.st_size &&
		st.st_mtim.tv_sec == c->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == c->seen.st_mtim.tv_nsec)
		return false;
	c->seen = st;
	return true;
}

static int read_file(struct object_s3_credentials *c, struct err *e)
{
	struct buf text = BUF_INIT(FILE_MAX_BYTES);
	struct object_s3_key key;
	int result = -1;

	if (!c->file)
		return err_set(e, ERR_NOT_FOUND, "HOME is not set");
	if (disk_read_file(c->file, &text, e) == 0) {
		result = object_s3_key_from_file(&key, text.data ? text.data : (char[]){""}, c->profile, e);
		if (result == 0)
			replace_key(c, &key);
		else
			err_prefix(e, "%s", c->file);
	}
	buf_release_secret(&text);
	return result;
}

/* ---- the instance ---- */

static int instance_get(struct http_client *h, const char *method, const char *path, const char *field,
	struct http_call_answer *a, struct err *e)
{
	const char *fields[] = {field, NULL};
	struct http_call_request q = {.method = method,
		.path = path,
		.accept = "*/*",
		.fields = fields,
		.timeout_ms = INSTANCE_TIMEOUT_MS,
		.reads_only = true};

	if (!strcmp(method, "PUT")) {
		q.content_type = "text/plain";
		q.body = "";
	}
	for (int attempt = 1;; attempt++) {
		if (http_client_do(h, &q, a, e) == 0 && a->status == 200 && a->body.len &&
			a->body.len < OBJECT_S3_KEY_TEXT_MAX * 4)
			return 0;
		if (a->complete || attempt == INSTANCE_ATTEMPTS)
			break;
		buf_release(&a->body);
	}
	return a->complete ? err_set(e, ERR_UNAVAILABLE, "the instance metadata answered %d to %s", a->status,
				     path)
			   : -1;
}

static bool is_made_of(const char *text, const char *more)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(more, *text))
			return false;
	return true;
}

/* The first line of an answer, which must be a word of letters, digits, and some more. */
static int first_line(struct http_call_answer *a, const char *more, const char *what, struct err *e)
{
	a->body.data[strcspn(a->body.data, "\r\n")] = '\0';
	if (!*a->body.data || strlen(a->body.data) > OBJECT_S3_KEY_TEXT_MAX ||
		!is_made_of(a->body.data, more))
		return err_set(e, ERR_UNAVAILABLE, "the instance metadata give a strange %s", what);
	return 0;
}

static int ask_instance(struct http_client *h, struct object_s3_key *key, struct err *e)
{
	struct http_call_answer token = {0}, role = {0}, keys = {0};
	char *field = NULL, *path = NULL;
	int result = -1;

	if (instance_get(h, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token,
		    e) < 0 ||
		first_line(&token, "+/=-_.", "token", e) < 0)
		goto out;
	field = mem_printf("X-aws-ec2-metadata-token: %s", token.body.data);
	if (instance_get(h, "GET", INSTANCE_KEYS_PATH, field, &role, e) < 0 ||
		first_line(&role, "+=,.@-_", "role", e) < 0)
		goto out;
	path = mem_printf(INSTANCE_KEYS_PATH "%s", role.body.data);
	if (instance_get(h, "GET", path, field, &keys, e) == 0)
		result = object_s3_key_from_instance(key, keys.body.data, keys.body.len, e);
	if (result < 0)
		err_prefix(e, "the instance metadata have no usable keys");
out:
	buf_release_secret(&keys.body);
	buf_release_secret(&token.body);
	buf_release(&role.body);
	mem_free_secret(field);
	mem_free(path);
	return result;
}

/* Without the lock, which the others need to go on with the old key. */
static void renew(struct object_s3_credentials *c)
{
	struct object_s3_key key;
	struct err failed = ERR_INIT;
	struct http_client *h;
	bool changed = false;
	int result = -1;

	c->asking = true;
	pthread_mutex_unlock(&c->lock);
	h = http_client_new(c->instance, NULL, &failed);
	if (h) {
		http_client_set_direct(h);
		result = ask_instance(h, &key, &failed);
	}
	http_client_free(h);
	pthread_mutex_lock(&c->lock);
	c->asking = false;
	c->instance_error = failed;
	if (result == 0) {
		changed = !c->key.access_key || strcmp(c->key.access_key, key.access_key);
		replace_key(c, &key);
	}
	c->next_renewal_ms = changed ? 0 : clock_mono_ms() + RENEW_PAUSE_MS;
	pthread_cond_broadcast(&c->asked);
}

static bool is_due(const struct object_s3_credentials *c)
{
	return !c->key.access_key || c->refused || c->key.expires_ms - clock_real_ms() <= RENEW_BEFORE_MS;
}

/* When it came just now our clock may say what it wants. */
static bool is_usable(const struct object_s3_credentials *c)
{
	return c->key.access_key && !c->refused &&
	       (c->key.expires_ms > clock_real_ms() || c->instance_error.code == ERR_NONE);
}

static int get_from_instance(struct object_s3_credentials *c, struct err *e)
{
	if (!c->instance)
		return err_set(e, ERR_NOT_FOUND, "instance metadata is switched off");
	while (c->asking && !is_usable(c))
		pthread_cond_wait(&c->asked, &c->lock);
	if (!c->asking && is_due(c) && (c->refused || clock_mono_ms() >= c->next_renewal_ms))
		renew(c);
	if (is_usable(c))
		return 0;
	if (e)
		*e = c->instance_error;
	return -1;
}

/* ---- whoever asks ---- */

static const char *environment_lacks(void)
{
	bool access = variable("AWS_ACCESS_KEY_ID"), secret = variable("AWS_SECRET_ACCESS_KEY");

	if (access == secret)
		return "not in the environment";
	return access ? "the environment lacks AWS_SECRET_ACCESS_KEY" : "the environment lacks AWS_ACCESS_KEY_ID";
}

static int find_key(struct object_s3_credentials *c, struct err *e)
{
	struct err file = ERR_INIT, instance = ERR_INIT;

	file_changed(c); /* from now on */
	if (read_file(c, &file) == 0 || get_from_instance(c, &instance) == 0)
		return 0;
	err_set(e, ERR_UNAVAILABLE, "no keys for S3: %s; %s; %s", environment_lacks(), file.text,
		instance.text);
	return err_hint(e, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write %s",
		c->file ? c->file : "~/.aws/credentials");
}

static int current_key(struct object_s3_credentials *c, struct err *e)
{
	if (c->environment_error.code) {
		if (e)
			*e = c->environment_error;
		return -1;
	}
	if (c->from_environment)
		return 0;
	if (!c->key.access_key)
		return find_key(c, e);
	if (c->key.expires_ms == INT64_MAX) {
		if (file_changed(c))
			read_file(c, NULL); /* a file that is half written leaves the old key */
		return 0;
	}
	if (get_from_instance(c, e) == 0)
		return 0;
	return err_prefix(e, "the key of S3 has expired and cannot be renewed");
}

int object_s3_credentials_get(struct object_s3_credentials *c, struct object_s3_key *k, struct err *e)
{
	int result;

	pthread_mutex_lock(&c->lock);
	result = current_key(c, e);
	c->refused = false;
	if (result == 0) {
		*k = c->key;
		k->access_key = mem_strdup(c->key.access_key);
		k->secret_key = mem_strdup(c->key.secret_key);
		k->token = mem_strdup(c->key.token);
	} else if (e) {
		e->code = ERR_UNAVAILABLE;
	}
	pthread_mutex_unlock(&c->lock);
	return result;
}

void object_s3_credentials_refused(struct object_s3_credentials *c, uint64_t generation)
{
	pthread_mutex_lock(&c->lock);
	if (c->key.generation == generation)
		c->refused = true;
	pthread_mutex_unlock(&c->lock);
}
