/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each command is run with --list-options and its lines are read into `struct form`s, one per command or
 * subcommand; three writers turn them into scripts. Topic names are asked of the server at the moment of
 * completing.
 */
#include "cmd/completion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd/find.h"
#include "libsh/base/mem.h"

enum { FORMS_MAX = 256, FORM_OPTIONS_MAX = 64, LINE_BYTES = 4096 };
#define TOPICS "streamctl --timeout 2s topic list -q 2>/dev/null"

struct form_option {
	const char *letter, *name, *argument, *kind, *text; /* "" where there is none */
};
struct form {
	const char *command, *subcommand, *operands, *text;
	struct form_option options[FORM_OPTIONS_MAX];
	int option_count;
};
struct forms {
	struct form *list[FORMS_MAX];
	int count;
	struct form global; /* options that every command takes */
	struct arena arena;
};

static const char *const commands[] = {
#define COMMAND(name, group, summary) #name,
#include "cmd/command-list.def"
#undef COMMAND
};
static const char *const summaries[] = {
#define COMMAND(name, group, summary) summary,
#include "cmd/command-list.def"
#undef COMMAND
};

/* Cut the next field off a line of tab-separated ones. */
static const char *field(struct arena *a, char **line)
{
	char *start = strsep(line, "\t");

	return arena_strdup(a, start ? start : "");
}

static void read_option(struct forms *f, struct form *form, char *line)
{
	struct form_option *o;

	if (form->option_count == FORM_OPTIONS_MAX)
		return;
	o = &form->options[form->option_count++];
	o->letter = field(&f->arena, &line);
	o->name = field(&f->arena, &line);
	o->argument = field(&f->arena, &line);
	o->kind = field(&f->arena, &line);
	o->text = field(&f->arena, &line);
}

static void read_lines(struct forms *f, const char *command, FILE *in)
{
	char text[LINE_BYTES], *line;
	struct form *form = NULL;

	while ((line = fgets(text, sizeof(text), in))) {
		const char *kind;

		line[strcspn(line, "\n")] = '\0';
		kind = strsep(&line, "\t");
		if (!strcmp(kind, "command") && f->count < FORMS_MAX) {
			form = f->list[f->count++] = arena_alloc(&f->arena, sizeof(*form));
			form->command = command;
			form->subcommand = field(&f->arena, &line);
			form->operands = field(&f->arena, &line);
			form->text = field(&f->arena, &line);
		} else if (form && !strcmp(kind, "option")) {
			read_option(f, form, line);
		}
	}
}

static int read_forms(struct forms *f, struct err *e)
{
	char path[FIND_PATH_BYTES];
	struct buf global = BUF_INIT(1 << 20);

	for (size_t i = 0; i < array_count(commands); i++) {
		char *run;
		FILE *in;

		if (!find_command(commands[i], path, sizeof(path)))
			continue; /* a smaller installation */
		run = arena_printf(&f->arena, "'%s' --list-options", path);
		in = popen(run, "r");
		if (!in)
			return err_sys(e, ERR_IO, "cannot run %s", path);
		read_lines(f, commands[i], in);
		if (pclose(in))
			return err_set(e, ERR_INTERNAL, "%s --list-options failed", path);
	}
	options_tsv(command_global_options, &global);
	for (char *rest = global.data, *line; (line = strsep(&rest, "\n")) && *line;)
		read_option(f, &f->global, line + strlen("option\t"));
	buf_release(&global);
	return 0;
}

/* Does the command of this form have subcommands, and is this its first? */
static bool first_of_family(const struct forms *f, int i)
{
	return f->list[i]->subcommand[0] && (!i || strcmp(f->list[i - 1]->command, f->list[i]->command));
}

/* ---- bash ---- */

static void bash_words(struct buf *b, const struct form *form)
{
	for (int i = 0; i < form->option_count; i++) {
		const struct form_option *o = &form->options[i];

		if (o->letter[0])
			buf_addf(b, "-%s ", o->letter);
		buf_addf(b, "--%s ", o->name);
	}
}

static void bash_path(struct buf *b, const struct form *form)
{
	if (!form->command)
		buf_adds(b, "*");
	else
		buf_addf(b, "\"%s%s%s\"", form->command, form->subcommand[0] ? " " : "", form->subcommand);
}

/* The arguments of options: what stands after $previous. */
static void bash_arguments(struct buf *b, const struct form *form)
{
	for (int i = 0; i < form->option_count; i++) {
		const struct form_option *o = &form->options[i];

		if (!o->argument[0])
			continue;
		buf_adds(b, "\t");
		bash_path(b, form);
		buf_addf(b, "\" --%s\"", o->name);
		if (o->letter[0]) {
			buf_adds(b, "|");
			bash_path(b, form);
			buf_addf(b, "\" -%s\"", o->letter);
		}
		buf_adds(b, ") ");
		if (strchr(o->kind, '|')) {
			buf_adds(b, "COMPREPLY=($(compgen -W '");
			for (const char *c = o->kind; *c; c++)
				buf_addc(b, *c == '|' ? ' ' : *c);
			buf_adds(b, "' -- \"$current\")); ");
		} else if (!strcmp(o->kind, "topic")) {
			buf_adds(b, "COMPREPLY=($(compgen -W \"$(" TOPICS ")\" -- \"$current\")); ");
		} else if (!strcmp(o->kind, "file") || !strcmp(o->kind, "directory")) {
			buf_addf(b, "COMPREPLY=($(compgen -%c -- \"$current\")); ", o->kind[0]);
		}
		buf_adds(b, "return ;;\n");
	}
}

static void bash_operands(struct buf *b, const struct form *form)
{
	if (!form->operands[0])
		return;
	buf_adds(b, "\t");
	bash_path(b, form);
	buf_adds(b, ") ");
	if (strstr(form->operands, "topic"))
		buf_adds(b, "COMPREPLY=($(compgen -W \"$(" TOPICS ")\" -- \"$current\")); ");
	if (strstr(form->operands, "file"))
		buf_adds(b, "COMPREPLY+=($(compgen -f -- \"$current\")); ");
	buf_adds(b, ";;\n");
}

static void bash_option_words(struct buf *b, const struct forms *f)
{
	buf_adds(b, "\tcase $path in\n\t\"\") words='");
	bash_words(b, &f->global);
	buf_adds(b, "' ;;\n");
	for (int i = 0; i < f->count; i++) {
		buf_adds(b, "\t");
		bash_path(b, f->list[i]);
		buf_adds(b, ") words='");
		bash_words(b, f->list[i]);
		bash_words(b, &f->global);
		buf_adds(b, "' ;;\n");
	}
	buf_adds(b, "\tesac\n");
}

static void write_bash(struct buf *b, const struct forms *f)
{
	buf_adds(b, "# bash completion for streamctl; made from its option tables\n"
		    "_streamctl()\n{\n"
		    "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
		    "\tlocal path= words= word i\n"
		    "\tCOMPREPLY=()\n"
		    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		    "\t\tword=${COMP_WORDS[i]}\n"
		    "\t\tcase $word in\n"
		    "\t\t-s|--server|-c|--context|-o|--output|--timeout) ((i++)) ;;\n"
		    "\t\t-*) ;;\n"
		    "\t\t*)\tcase $path in\n"
		    "\t\t\t\"\") path=$word ;;\n");
	for (int i = 0; i < f->count; i++)
		if (first_of_family(f, i))
			buf_addf(b, "\t\t\t%s) path=\"$path $word\"; break ;;\n", f->list[i]->command);
	buf_adds(b, "\t\t\t*) break ;;\n\t\t\tesac ;;\n\t\tesac\n\tdone\n\tcase \"$path $previous\" in\n");
	for (int i = 0; i < f->count; i++)
		bash_arguments(b, f->list[i]);
	bash_arguments(b, &f->global);
	buf_adds(b, "\tesac\n\tif [[ $current == -* ]]; then\n");
	bash_option_words(b, f);
	buf_adds(b, "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n\t\treturn\n\tfi\n\tcase "
		    "$path in\n\t\"\") ");
	buf_adds(b, "COMPREPLY=($(compgen -W 'help");
	for (size_t i = 0; i < array_count(commands); i++)
		buf_addf(b, " %s", commands[i]);
	buf_adds(b, "' -- \"$current\")) ;;\n\thelp) COMPREPLY=($(compgen -W '");
	for (size_t i = 0; i < array_count(commands); i++)
		buf_addf(b, "%s ", commands[i]);
	buf_adds(b, "' -- \"$current\")) ;;\n");
	for (int i = 0; i < f->count; i++) {
		if (first_of_family(f, i)) {
			buf_addf(b, "\t%s) COMPREPLY=($(compgen -W '", f->list[i]->command);
			for (int k = i; k < f->count && !strcmp(f->list[k]->command, f->list[i]->command);
				k++)
				buf_addf(b, "%s ", f->list[k]->subcommand);
			buf_adds(b, "' -- \"$current\")) ;;\n");
		}
		bash_operands(b, f->list[i]);
	}
	buf_adds(b, "\tesac\n}\ncomplete -F _streamctl streamctl\n");
}

/* ---- zsh ---- */

/* Text inside single quotes and brackets of an _arguments spec. */
static void zsh_text(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			buf_adds(b, "'\\'");
		if (strchr("[]:\\", *text))
			buf_addc(b, '\\');
		buf_addc(b, *text);
	}
}

static void zsh_action(struct buf *b, const char *kind)
{
	if (strchr(kind, '|')) {
		buf_addc(b, '(');
		for (; *kind; kind++)
			buf_addc(b, *kind == '|' ? ' ' : *kind);
		buf_addc(b, ')');
	} else if (!strcmp(kind, "topic")) {
		buf_adds(b, "_streamctl_topics");
	} else if (!strcmp(kind, "file")) {
		buf_adds(b, "_files");
	} else if (!strcmp(kind, "directory")) {
		buf_adds(b, "_files -/");
	}
}

static void zsh_option(struct buf *b, const struct form_option *o, const char *spelling)
{
	buf_addf(b, " \\\n\t\t'*%s[", spelling);
	zsh_text(b, o->text);
	buf_addc(b, ']');
	if (o->argument[0]) {
		buf_addc(b, ':');
		zsh_text(b, o->argument);
		buf_addc(b, ':');
		zsh_action(b, o->kind);
	}
	buf_addc(b, '\'');
}

static void zsh_options(struct buf *b, const struct form *form)
{
	char spelling[100];

	for (int i = 0; i < form->option_count; i++) {
		const struct form_option *o = &form->options[i];

		if (o->letter[0]) {
			snprintf(spelling, sizeof(spelling), "-%s", o->letter);
			zsh_option(b, o, spelling);
		}
		snprintf(spelling, sizeof(spelling), "--%s", o->name);
		zsh_option(b, o, spelling);
	}
}

static void zsh_form(struct buf *b, const struct forms *f, const struct form *form)
{
	buf_addf(b, "_streamctl_%s%s%s()\n{\n\t_arguments -s", form->command, form->subcommand[0] ? "_" : "",
		form->subcommand);
	zsh_options(b, form);
	zsh_options(b, &f->global);
	if (!strcmp(form->operands, "topic file"))
		buf_adds(b, " \\\n\t\t'1:topic:_streamctl_topics' \\\n\t\t'*:file:_files'");
	else if (form->operands[0]) {
		buf_addf(b, " \\\n\t\t'*:%s:", form->operands);
		zsh_action(b, form->operands);
		buf_addc(b, '\'');
	}
	buf_adds(b, "\n}\n");
}

static void zsh_family(struct buf *b, const struct forms *f, int first)
{
	const char *command = f->list[first]->command;

	buf_addf(b, "_streamctl_%s()\n{\n\tif (( CURRENT == 2 )); then\n\t\tlocal -a names=(", command);
	for (int k = first; k < f->count && !strcmp(f->list[k]->command, command); k++) {
		buf_addf(b, " '%s:", f->list[k]->subcommand);
		zsh_text(b, f->list[k]->text);
		buf_addc(b, '\'');
	}
	buf_addf(b,
		" )\n\t\t_describe subcommand names\n\telif (( $+functions[_streamctl_%s_$words[2]] )); "
		"then\n"
		"\t\tshift words; (( CURRENT-- )); _streamctl_%s_$words[1]\n\tfi\n}\n",
		command, command);
}

static void write_zsh(struct buf *b, const struct forms *f)
{
	buf_adds(b, "#compdef streamctl\n# zsh completion for streamctl; made from its option tables\n"
		    "_streamctl_topics()\n{\n\tlocal -a names=(${(f)\"$(" TOPICS ")\"})\n"
		    "\t_describe topic names\n}\n");
	for (int i = 0; i < f->count; i++) {
		zsh_form(b, f, f->list[i]);
		if (first_of_family(f, i))
			zsh_family(b, f, i);
	}
	buf_adds(b, "_streamctl()\n{\n\tlocal state line\n\tlocal -a names=( 'help:Open the manual of a "
		    "command'");
	for (size_t i = 0; i < array_count(commands); i++) {
		buf_addf(b, " '%s:", commands[i]);
		zsh_text(b, summaries[i]);
		buf_addc(b, '\'');
	}
	buf_adds(b, " )\n\t_arguments -C");
	zsh_options(b, &f->global);
	buf_adds(b, " \\\n\t\t'1:command:->command' \\\n\t\t'*::argument:->argument'\n"
		    "\tcase $state in\n\tcommand) _describe command names ;;\n"
		    "\targument)\n\t\tif [[ $words[1] == help ]]; then _describe command names\n"
		    "\t\telif (( $+functions[_streamctl_$words[1]] )); then _streamctl_$words[1]; fi ;;\n"
		    "\tesac\n}\n_streamctl \"$@\"\n");
}

/* ---- fish ---- */

static void fish_quoted(struct buf *b, const char *text)
{
	buf_addc(b, '\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *text);
	}
	buf_addc(b, '\'');
}

static void fish_options(struct buf *b, const struct form *form, const char *condition)
{
	for (int i = 0; i < form->option_count; i++) {
		const struct form_option *o = &form->options[i];

		buf_addf(b, "complete -c streamctl%s", condition);
		if (o->letter[0])
			buf_addf(b, " -s %s", o->letter);
		buf_addf(b, " -l %s", o->name);
		if (strchr(o->kind, '|')) {
			buf_adds(b, " -x -a '");
			for (const char *c = o->kind; *c; c++)
				buf_addc(b, *c == '|' ? ' ' : *c);
			buf_addc(b, '\'');
		} else if (!strcmp(o->kind, "topic")) {
			buf_adds(b, " -x -a '(" TOPICS ")'");
		} else if (!strcmp(o->kind, "directory")) {
			buf_adds(b, " -x -a '(__fish_complete_directories)'");
		} else if (o->argument[0]) {
			buf_adds(b, strcmp(o->kind, "file") ? " -x" : " -r -F");
		}
		buf_adds(b, " -d ");
		fish_quoted(b, o->text);
		buf_addc(b, '\n');
	}
}

static void fish_form(struct buf *b, const struct forms *f, int i)
{
	const struct form *form = f->list[i];
	char condition[300];

	if (form->subcommand[0]) {
		snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s; and not "
			"__fish_seen_subcommand_from $__streamctl_%s'", form->command, form->command);
		buf_addf(b, "complete -c streamctl%s -f -a %s -d ", condition, form->subcommand);
		fish_quoted(b, form->text);
		buf_addc(b, '\n');
		snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s; and "
			"__fish_seen_subcommand_from %s'", form->command, form->subcommand);
	} else {
		snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s'", form->command);
	}
	if (strstr(form->operands, "topic"))
		buf_addf(b, "complete -c streamctl%s -f -a '(" TOPICS ")'\n", condition);
	if (strstr(form->operands, "file"))
		buf_addf(b, "complete -c streamctl%s -F\n", condition);
	fish_options(b, form, condition);
}

static void write_fish(struct buf *b, const struct forms *f)
{
	buf_adds(b, "# fish completion for streamctl; made from its option tables\nset -g "
		    "__streamctl_commands help");
	for (size_t i = 0; i < array_count(commands); i++)
		buf_addf(b, " %s", commands[i]);
	buf_adds(b, "\ncomplete -c streamctl -f\n");
	for (size_t i = 0; i < array_count(commands); i++) {
		buf_addf(b,
			"complete -c streamctl -n 'not __fish_seen_subcommand_from $__streamctl_commands' -a "
			"%s -d ",
			commands[i]);
		fish_quoted(b, summaries[i]);
		buf_addc(b, '\n');
	}
	buf_adds(b, "complete -c streamctl -n 'not __fish_seen_subcommand_from $__streamctl_commands' -a help"
		    " -d 'Open the manual of a command'\n"
		    "complete -c streamctl -n '__fish_seen_subcommand_from help' -a \"$__streamctl_commands\"\n");
	fish_options(b, &f->global, "");
	for (int i = 0; i < f->count; i++) {
		if (first_of_family(f, i)) {
			buf_addf(b, "set -g __streamctl_%s", f->list[i]->command);
			for (int k = i; k < f->count && !strcmp(f->list[k]->command, f->list[i]->command);
				k++)
				buf_addf(b, " %s", f->list[k]->subcommand);
			buf_addc(b, '\n');
		}
		fish_form(b, f, i);
	}
}

int completion_generate(const struct command_run *r, const char *shell)
{
	struct forms *f = mem_zalloc(sizeof(*f));
	struct buf b = BUF_INIT(4 << 20);
	struct err e = ERR_INIT;
	int status = EXIT_DONE;

	f->global.subcommand = f->global.operands = "";
	if (read_forms(f, &e)) {
		status = command_fail(r, &e);
	} else if (!strcmp(shell, "bash")) {
		write_bash(&b, f);
	} else if (!strcmp(shell, "zsh")) {
		write_zsh(&b, f);
	} else if (!strcmp(shell, "fish")) {
		write_fish(&b, f);
	} else {
		err_set(&e, ERR_USAGE, "no completions for \"%s\"; there are bash, zsh and fish", shell);
		status = command_fail(r, &e);
	}
	if (b.len)
		command_write(r, b.data, b.len);
	buf_release(&b);
	arena_release(&f->arena);
	mem_free(f);
	return status;
}
