#include "cli/usage.h"

static const char prologue[] =
	"# Completion for doppel in bash. Written by: doppel help --completion bash\n"
	"_doppel_words() {\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$current\")\n"
	"}\n"
	"_doppel_files() {\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$current\"; compgen -f -- \"$current\")\n"
	"}\n"
	"_doppel_names() {\n"
	"\t\"${COMP_WORDS[0]}\" \"$@\" 2>/dev/null | uniq\n"
	"}\n"
	"_doppel() {\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb= i\n"
	"\tCOMPREPLY=()\n"
	"\tif [[ $current == '=' ]]; then\n"
	"\t\tcurrent=\n"
	"\telif [[ $previous == '=' ]]; then\n"
	"\t\tprevious=${COMP_WORDS[COMP_CWORD-2]}\n"
	"\tfi\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tcase \"$verb/${COMP_WORDS[i]}\" in\n";

/* The words that lead from a group of verbs, or from nothing, to a verb. */
static void print_steps(FILE *out, const char *group, const struct verb *const *table)
{
	for (; *table; table++) {
		fprintf(out, "\t\t'%s/%s') verb='%s' ;;\n", group, verb_word(*table), (*table)->name);
		if ((*table)->verbs)
			print_steps(out, (*table)->name, (*table)->verbs);
	}
}

static void print_words(FILE *out, const struct option_spec *spec)
{
	const char *word;

	for (size_t i = 0; (word = option_word(spec, i)); i++)
		fprintf(out, "%s%s", i ? " " : "", word);
}

static void print_value(FILE *out, const struct verb *verb, const struct option_spec *spec)
{
	fprintf(out, "\t'%s --%s'", verb->name, spec->name);
	if (spec->letter)
		fprintf(out, " | '%s -%c'", verb->name, spec->letter);
	fputs(") ", out);
	if (spec->type == OPTION_PATH || spec->type == OPTION_ENUM) {
		fprintf(out, "%s '", spec->type == OPTION_PATH ? "_doppel_files" : "_doppel_words");
		print_words(out, spec);
		fputs("'; ", out);
	}
	fputs("return ;;\n", out);
}

static void print_values(FILE *out, const struct verb *const *table)
{
	for (; *table; table++) {
		for (size_t i = 0; i < (*table)->option_count; i++)
			if (verb_takes(*table, i) && (*table)->options[i].type != OPTION_FLAG)
				print_value(out, *table, &(*table)->options[i]);
		if ((*table)->verbs)
			print_values(out, (*table)->verbs);
	}
}

static void print_verb_words(FILE *out, const struct verb *const *table)
{
	for (; *table; table++)
		fprintf(out, " %s", verb_word(*table));
}

static void print_operands(FILE *out, const struct verb *verb)
{
	if (verb->verbs)
		print_verb_words(out, verb->verbs);
	else if (verb->operand_kind == OPERAND_VERB)
		print_verb_words(out, verbs);
	else if (operand_names[verb->operand_kind])
		fprintf(out, " $(_doppel_names %s)", operand_names[verb->operand_kind]);
}

static void print_choices(FILE *out, const struct verb *const *table)
{
	for (; *table; table++) {
		fprintf(out, "\t'%s/-'*) _doppel_words '--help", (*table)->name);
		for (size_t i = 0; i < (*table)->option_count; i++)
			if (verb_takes(*table, i))
				fprintf(out, " --%s", (*table)->options[i].name);
		fprintf(out, "' ;;\n\t'%s/'*) _doppel_words \"", (*table)->name);
		print_operands(out, *table);
		fputs("\" ;;\n", out);
		if ((*table)->verbs)
			print_choices(out, (*table)->verbs);
	}
}

void usage_completion_bash(FILE *out)
{
	fputs(prologue, out);
	print_steps(out, "", verbs);
	fputs("\t\tesac\n\tdone\n\tcase \"$verb $previous\" in\n", out);
	print_values(out, verbs);
	fputs("\tesac\n\tcase \"$verb/$current\" in\n", out);
	print_choices(out, verbs);
	fputs("\t'/-'*) _doppel_words '--help --version' ;;\n\t*) _doppel_words '", out);
	print_verb_words(out, verbs);
	fputs("' ;;\n\tesac\n}\ncomplete -F _doppel doppel\n", out);
}
