/* SPDX-License-Identifier: Apache-2.0 */
/* openapi.json and the table of routes say the same. */
#include <jansson.h>
#include <stdlib.h>
#include "daemon/agent/http/request.h"
#include "tests/unit/tap.h"

static const struct { const char *name; int method; } methods[] = {
	{"get", HTTP_GET}, {"post", HTTP_POST}, {"put", HTTP_PUT}, {"patch", HTTP_PATCH}, {"delete", HTTP_DELETE},
};

static const char *method_name(int method)
{
	for (size_t i = 0; i < array_count(methods); i++)
		if (methods[i].method == method)
			return methods[i].name;
	return NULL;
}

static bool is_route(const char *path, const char *method)
{
	for (const struct http_route *r = http_routes; r->pattern; r++)
		if (r->method && !strcmp(r->pattern, path) && !strcmp(method_name(r->method), method))
			return true;
	return false;
}

/* Each {name} of the path is declared as a parameter in the path. */
static bool declares_parameters(const char *path, const json_t *operation)
{
	const json_t *parameters = json_object_get(operation, "parameters");

	for (const char *p = strchr(path, '{'); p; p = strchr(p + 1, '{')) {
		size_t n = strcspn(p + 1, "}"), i;
		json_t *each;
		bool found = false;

		json_array_foreach(parameters, i, each) {
			const char *name = json_string_value(json_object_get(each, "name"));

			found = found || (name && strlen(name) == n && !memcmp(name, p + 1, n) &&
				!strcmp(json_string_value(json_object_get(each, "in")), "path"));
		}
		if (!found)
			return false;
	}
	return true;
}

int main(void)
{
	const char *top = getenv("top_srcdir");
	char name[4096];
	json_error_t error;
	json_t *root, *paths, *path, *operation;
	const char *pattern, *method;

	snprintf(name, sizeof(name), "%s/daemon/agent/http/openapi.json", top ? top : ".");
	root = json_load_file(name, JSON_REJECT_DUPLICATES, &error);
	if (!ok(root != NULL, "openapi.json is JSON")) {
		printf("# %s: %s\n", name, error.text);
		return done_testing();
	}
	paths = json_object_get(root, "paths");
	for (const struct http_route *r = http_routes; r->pattern; r++)
		if (r->method)
			ok(json_object_get(json_object_get(paths, r->pattern), method_name(r->method)) != NULL,
				"described: %s %s", method_name(r->method), r->pattern);
	json_object_foreach(paths, pattern, path) {
		json_object_foreach(path, method, operation) {
			ok(is_route(pattern, method), "routed: %s %s", method, pattern);
			ok(declares_parameters(pattern, operation) && json_object_get(operation, "responses") &&
				json_object_get(operation, "summary"), "complete: %s %s", method, pattern);
		}
	}
	json_decref(root);
	return done_testing();
}
