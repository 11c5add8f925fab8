/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/object_s3_keys.h"

#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/format/json_scan.h"

void object_s3_key_release(struct object_s3_key *k)
{
	mem_free_secret(k->access_key);
	mem_free_secret(k->secret_key);
	mem_free_secret(k->token);
	memset(k, 0, sizeof(*k));
}

static bool is_word(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] <= ' ' || text.data[i] > '~')
			return false;
	return text.len <= OBJECT_S3_KEY_TEXT_MAX;
}

static char *copy(struct bytes text)
{
	return mem_strndup(text.data ? (const char *)text.data : "", text.len);
}

int object_s3_key_set(struct object_s3_key *k, struct bytes access_key, struct bytes secret_key,
	struct bytes token, int64_t expires_ms, struct err *e)
{
	if (!access_key.len || !secret_key.len)
		return err_set(e, ERR_BAD_DATA, "the access key or the secret key is empty");
	if (!is_word(access_key) || !is_word(secret_key) || !is_word(token))
		return err_set(e, ERR_BAD_DATA, "a key is too long, or holds a blank or what is not ASCII");
	*k = (struct object_s3_key){copy(access_key), copy(secret_key), copy(token), expires_ms, 0};
	return 0;
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

static struct bytes text_bytes(const char *text)
{
	return (struct bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

/* Lines "[profile]" and "name = value"; # and ; start comments. What else other tools keep there is passed
 * over. */
int object_s3_key_from_file(struct object_s3_key *k, char *text, const char *profile, struct err *e)
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
			ours = !strcmp(trim(line + 1), profile);
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
		return err_set(e, ERR_NOT_FOUND, "it has no keys for the profile %.64s", profile);
	return object_s3_key_set(k, text_bytes(access), text_bytes(secret), text_bytes(token), INT64_MAX, e);
}

/* ---- the instance ---- */

enum field { ACCESS, SECRET, TOKEN, EXPIRATION, FIELDS };

static int scan_fields(struct json_scan *s, struct bytes fields[FIELDS], struct err *e)
{
	struct bytes name;
	int got = json_scan_open(s, JSON_OBJECT, e);

	while (got == 0 && (got = json_scan_member(s, &name, e)) > 0) {
		struct bytes *field = JSON_IS(&name, "AccessKeyId")	  ? &fields[ACCESS]
				      : JSON_IS(&name, "SecretAccessKey") ? &fields[SECRET]
				      : JSON_IS(&name, "Token")		  ? &fields[TOKEN]
				      : JSON_IS(&name, "Expiration")	  ? &fields[EXPIRATION]
									  : NULL;

		if (field && json_scan_kind(s) == JSON_STRING)
			got = json_scan_string(s, field, e);
		else
			got = json_scan_skip(s, NULL, e);
	}
	return got < 0 ? -1 : json_scan_end(s, e);
}

int object_s3_key_from_instance(struct object_s3_key *k, char *json, size_t n, struct err *e)
{
	struct bytes fields[FIELDS] = {{NULL, 0}};
	struct arena arena = ARENA_INIT;
	char expiration[CLOCK_RFC3339_BYTES] = "";
	int64_t expires_ms = 0;
	struct json_scan s;
	int result;

	json_scan_init(&s, json, n, &arena);
	result = scan_fields(&s, fields, e);
	if (result == 0 && fields[EXPIRATION].len < sizeof(expiration)) {
		if (fields[EXPIRATION].len)
			memcpy(expiration, fields[EXPIRATION].data, fields[EXPIRATION].len);
		result = clock_parse_rfc3339(expiration, &expires_ms, e);
	} else if (result == 0) {
		result = err_set(e, ERR_BAD_DATA, "its key does not say when it ends");
	}
	if (result == 0)
		result = object_s3_key_set(k, fields[ACCESS], fields[SECRET], fields[TOKEN], expires_ms, e);
	for (int i = 0; i < FIELDS; i++) /* in json, or unescaped in the arena */
		if (fields[i].len)
			explicit_bzero((void *)(uintptr_t)fields[i].data, fields[i].len);
	arena_release(&arena);
	return result;
}
