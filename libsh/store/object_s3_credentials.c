/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/object_s3_credentials.h"

#include <jansson.h>
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
	RENEW_PAUSE_MS = 10 * 1000, /* between attempts while the old key still serves */
	NAME_MAX_BYTES = 256,
	VALUE_MAX_BYTES = 8192,
};

struct object_s3_credentials {
	pthread_mutex_t lock;
	char *file, *profile, *instance; /* instance NULL: not to be asked */
	bool from_environment, refused;
	struct object_s3_key key;
	struct stat seen; /* of the file when it was read */
	int64_t next_renewal_ms;
	struct err instance_error; /* of the last time it was asked */
};

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	mem_free(s);
}

void object_s3_key_release(struct object_s3_key *k)
{
	wipe(k->access_key);
	wipe(k->secret_key);
	wipe(k->token);
	memset(k, 0, sizeof(*k));
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static void key_set(struct object_s3_credentials *c, const char *access, const char *secret,
	const char *token, int64_t expires_ms)
{
	uint64_t generation = c->key.generation + 1;

	object_s3_key_release(&c->key);
	c->key = (struct object_s3_key){mem_strdup(access), mem_strdup(secret),
		mem_strdup(token ? token : ""), expires_ms, generation};
	c->refused = false;
}

struct object_s3_credentials *object_s3_credentials_new(void)
{
	struct object_s3_credentials *c = mem_zalloc(sizeof(*c));
	const char *access = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");
	const char *file = variable("AWS_SHARED_CREDENTIALS_FILE"), *home = variable("HOME");
	const char *profile = variable("AWS_PROFILE"),
		   *instance = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *disabled = variable("AWS_EC2_METADATA_DISABLED");

	pthread_mutex_init(&c->lock, NULL);
	if (access && secret) {
		key_set(c, access, secret, variable("AWS_SESSION_TOKEN"), INT64_MAX);
		c->from_environment = true;
	}
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
	mem_free(c->file);
	mem_free(c->profile);
	mem_free(c->instance);
	mem_free(c);
}

/* ---- the shared file ---- */

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r");
	n = strlen(s);
	while (n && strchr(" \t\r", s[n - 1]))
		s[--n] = '\0';
	return s;
}

/* Lines "[profile]" and "name = value"; # and ; start comments. What else other tools keep there is passed
 * over. */
static bool parse_file(struct object_s3_credentials *c, char *text)
{
	const char *access = NULL, *secret = NULL, *token = NULL;
	bool ours = false;

	for (char *next, *line = text; line; line = next) {
		char *equals, *name, *value;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line = trim(line);
		if (*line == '[') {
			line[strcspn(line, "]")] = '\0';
			ours = !strcmp(trim(line + 1), c->profile);
			continue;
		}
		equals = strchr(line, '=');
		if (!ours || !equals || *line == '#' || *line == ';')
			continue;
		*equals = '\0';
		name = trim(line);
		value = trim(equals + 1);
		if (!strcmp(name, "aws_access_key_id"))
			access = value;
		else if (!strcmp(name, "aws_secret_access_key"))
			secret = value;
		else if (!strcmp(name, "aws_session_token"))
			token = value;
	}
	if (!access || !secret)
		return false;
	key_set(c, access, secret, token, INT64_MAX);
	return true;
}

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

static bool read_file(struct object_s3_credentials *c, struct err *why)
{
	struct buf text = BUF_INIT(FILE_MAX_BYTES);
	bool found = false;

	if (!c->file) {
		err_set(why, ERR_NOT_FOUND, "HOME is not set");
	} else if (disk_read_file(c->file, &text, why) == 0) {
		found = text.data && parse_file(c, text.data);
		if (!found)
			err_set(why, ERR_NOT_FOUND, "%s has no keys for the profile %s", c->file, c->profile);
	}
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_release(&text);
	return found;
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
			a->body.len < VALUE_MAX_BYTES)
			return 0;
		if (a->complete || attempt == INSTANCE_ATTEMPTS)
			break;
		buf_release(&a->body);
	}
	return a->complete ? err_set(e, ERR_UNAVAILABLE, "the instance metadata answered %d to %s", a->status,
				     path)
			   : -1;
}

static int instance_parse(struct object_s3_credentials *c, const struct buf *body, struct err *e)
{
	json_t *root = json_loadb(body->data, body->len, 0, NULL);
	const char *access = json_string_value(json_object_get(root, "AccessKeyId"));
	const char *secret = json_string_value(json_object_get(root, "SecretAccessKey"));
	const char *token = json_string_value(json_object_get(root, "Token"));
	const char *expiration = json_string_value(json_object_get(root, "Expiration"));
	int64_t expires_ms = INT64_MAX;
	int result = -1;

	if (!access || !secret || !expiration || clock_parse_rfc3339(expiration, &expires_ms, NULL) < 0)
		err_set(e, ERR_UNAVAILABLE, "the instance metadata has no usable keys");
	else
		result = 0;
	if (result == 0)
		key_set(c, access, secret, token, expires_ms);
	json_decref(root);
	return result;
}

static int ask_instance(struct object_s3_credentials *c, struct http_client *h, struct err *e)
{
	struct http_call_answer token = {0}, role = {0}, keys = {0};
	char *field = NULL, *path = NULL;
	int result = -1;

	if (instance_get(h, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token,
		    e) < 0)
		goto out;
	field = mem_printf(
		"X-aws-ec2-metadata-token: %.*s", (int)strcspn(token.body.data, "\r\n"), token.body.data);
	if (instance_get(h, "GET", INSTANCE_KEYS_PATH, field, &role, e) < 0)
		goto out;
	role.body.data[strcspn(role.body.data, "\r\n")] = '\0';
	if (strlen(role.body.data) > NAME_MAX_BYTES || role.body.data[strcspn(role.body.data, " ?#/")]) {
		err_set(e, ERR_UNAVAILABLE, "the instance metadata names a strange role");
		goto out;
	}
	path = mem_printf(INSTANCE_KEYS_PATH "%s", role.body.data);
	if (instance_get(h, "GET", path, field, &keys, e) == 0)
		result = instance_parse(c, &keys.body, e);
out:
	if (keys.body.data)
		explicit_bzero(keys.body.data, keys.body.len);
	buf_release(&token.body);
	buf_release(&role.body);
	buf_release(&keys.body);
	mem_free(field);
	mem_free(path);
	return result;
}

static bool read_instance(struct object_s3_credentials *c, struct err *why)
{
	struct http_client *h;
	bool found = false;

	if (!c->instance) {
		err_set(why, ERR_NOT_FOUND, "instance metadata is switched off");
		return false;
	}
	if (clock_mono_ms() >= c->next_renewal_ms || c->refused) {
		err_clear(&c->instance_error);
		h = http_client_new(c->instance, NULL, &c->instance_error);
		found = h && ask_instance(c, h, &c->instance_error) == 0;
		http_client_free(h);
		c->next_renewal_ms = clock_mono_ms() + RENEW_PAUSE_MS;
	}
	if (!found && why)
		*why = c->instance_error;
	return found;
}

/* ---- whoever asks ---- */

static int find_key(struct object_s3_credentials *c, struct err *e)
{
	struct err file = ERR_INIT, instance = ERR_INIT;

	if (read_file(c, &file) || read_instance(c, &instance))
		return 0;
	err_set(e, ERR_UNAVAILABLE, "no keys for S3: not in the environment; %s; %s", file.text,
		instance.text);
	return err_hint(e, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write %s",
		c->file ? c->file : "~/.aws/credentials");
}

/* Renewed early; while that fails the old one is used to its end. */
static int renew(struct object_s3_credentials *c, struct err *e)
{
	int64_t now = clock_real_ms();

	if (!c->refused && c->key.expires_ms - now > RENEW_BEFORE_MS)
		return 0;
	if (read_instance(c, e) || (c->key.expires_ms > now && !c->refused))
		return 0;
	return err_prefix(e, "the key of S3 has expired and cannot be renewed");
}

int object_s3_credentials_get(struct object_s3_credentials *c, struct object_s3_key *k, struct err *e)
{
	int result = 0;

	pthread_mutex_lock(&c->lock);
	if (!c->key.access_key)
		result = (file_changed(c), find_key(c, e));
	else if (!c->from_environment && c->key.expires_ms == INT64_MAX && file_changed(c))
		read_file(c, NULL); /* a file that is half written leaves the old key */
	else if (c->key.expires_ms != INT64_MAX)
		result = renew(c, e);
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
