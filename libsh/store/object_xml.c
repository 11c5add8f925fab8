/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/object_xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

struct parse {
	XML_Parser parser;
	object_xml_element *element;
	void *ctx;
	char path[OBJECT_XML_PATH_MAX];
	size_t path_len;
	struct buf text;
	int result;
	const char *refused;
};

static void refuse(struct parse *p, const char *why)
{
	p->refused = why;
	XML_StopParser(p->parser, XML_FALSE);
}

/* Expat still calls the handlers of what it has begun, of the end of <a/> in particular, after a stop. */
static bool stopped(const struct parse *p)
{
	return p->refused || p->result;
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = ctx;
	size_t n = strlen(name);

	(void)attributes;
	if (stopped(p))
		return;
	if (p->path_len + n + 2 > sizeof(p->path)) {
		refuse(p, "its elements are nested too deep");
		return;
	}
	p->path_len += (size_t)snprintf(
		p->path + p->path_len, sizeof(p->path) - p->path_len, "%s%s", p->path_len ? "/" : "", name);
	buf_reset(&p->text);
}

static void XMLCALL on_text(void *ctx, const XML_Char *text, int n)
{
	struct parse *p = ctx;

	if (!stopped(p) && buf_add(&p->text, text, (size_t)n) < 0)
		refuse(p, "a text in it is too long");
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
	struct parse *p = ctx;
	size_t n = strlen(name);

	if (stopped(p))
		return;
	p->result = p->element(p->ctx, p->path, p->text.data ? p->text.data : "");
	if (p->result) {
		XML_StopParser(p->parser, XML_FALSE);
		return;
	}
	p->path_len -= n;
	p->path_len -= p->path_len > 0; /* the slash */
	p->path[p->path_len] = '\0';
	buf_reset(&p->text);
}

static void XMLCALL on_doctype(
	void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	(void)name, (void)system, (void)public, (void)internal;
	refuse(ctx, "it has a document type");
}

int object_xml_parse(const void *data, size_t n, object_xml_element *element, void *ctx, struct err *e)
{
	struct parse p = {.element = element, .ctx = ctx, .text = BUF_INIT(OBJECT_XML_TEXT_MAX)};
	enum XML_Status status;
	int result;

	/* White space keeps the connection of a long operation alive, and may come first. */
	while (n && strchr(" \t\r\n", *(const char *)data) && *(const char *)data) {
		data = (const char *)data + 1;
		n--;
	}
	if (n > INT32_MAX)
		return err_set(e, ERR_TOO_LARGE, "%zu bytes of XML", n);
	p.parser = XML_ParserCreate(NULL);
	if (!p.parser)
		return err_set(e, ERR_INTERNAL, "expat does not start");
	XML_SetUserData(p.parser, &p);
	XML_SetElementHandler(p.parser, on_start, on_end);
	XML_SetCharacterDataHandler(p.parser, on_text);
	XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
	status = XML_Parse(p.parser, data, (int)n, 1);
	result = p.result;
	if (!result && status != XML_STATUS_OK)
		result = err_set(e, ERR_CORRUPT, "the answer is not the XML of S3: %s",
			p.refused ? p.refused : XML_ErrorString(XML_GetErrorCode(p.parser)));
	XML_ParserFree(p.parser);
	buf_release(&p.text);
	return result;
}

struct find {
	const char *path;
	char *out;
	size_t out_bytes;
	bool found;
};

static int find_element(void *ctx, const char *path, const char *text)
{
	struct find *f = ctx;

	if (!f->found && !strcmp(path, f->path) && strlen(text) < f->out_bytes) {
		memcpy(f->out, text, strlen(text) + 1);
		f->found = true;
	}
	return 0;
}

int object_xml_find(const void *p, size_t n, const char *path, char *out, size_t out_bytes, struct err *e)
{
	struct find f = {path, out, out_bytes, false};

	if (object_xml_parse(p, n, find_element, &f, e) < 0)
		return -1;
	return f.found ? 0 : err_set(e, ERR_CORRUPT, "the answer has no usable %s", path);
}

int object_xml_escape(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			buf_adds(out, "&amp;");
		else if (*text == '<')
			buf_adds(out, "&lt;");
		else if (*text == '>')
			buf_adds(out, "&gt;");
		else if (*text == '"')
			buf_adds(out, "&quot;");
		else
			buf_addc(out, *text);
	}
	return out->overflow ? -1 : 0;
}
