#include "guest/account.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"

#define FIELDS_MAX 8

/* Splits at colons, in place; the number of fields. */
static size_t split(char *line, char *fields[FIELDS_MAX])
{
	size_t count = 0;

	line[strcspn(line, "\n")] = '\0';
	while (line && count < FIELDS_MAX)
		fields[count++] = strsep(&line, ":");
	return count;
}

static bool is_number(const char *text, unsigned *out)
{
	char *end;
	unsigned long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *end || number >= UINT32_MAX)
		return false;
	*out = (unsigned)number;
	return true;
}

static FILE *open_list(const char *root, const char *name)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/etc/%s", root, name);
	return fopen(path, "re");
}

static bool take_user(char *line, const char *name, struct account *out)
{
	char *fields[FIELDS_MAX];
	unsigned user, group, wanted;

	if (split(line, fields) != 7 || !is_number(fields[2], &user) || !is_number(fields[3], &group))
		return false;
	if (strcmp(fields[0], name) != 0 && (!is_number(name, &wanted) || wanted != user))
		return false;
	out->user = user;
	out->group = group;
	snprintf(out->name, sizeof out->name, "%s", fields[0]);
	snprintf(out->home, sizeof out->home, "%s", fields[5]);
	snprintf(out->shell, sizeof out->shell, "%s", *fields[6] ? fields[6] : "/bin/sh");
	return true;
}

static bool is_member(char *list, const char *name)
{
	char *one;

	while ((one = strsep(&list, ",")))
		if (strcmp(one, name) == 0)
			return true;
	return false;
}

static void add_groups(const char *root, struct account *account)
{
	FILE *in = open_list(root, "group");
	char *line = NULL, *fields[FIELDS_MAX];
	size_t size = 0;
	unsigned group;

	account->groups[account->group_count++] = account->group;
	while (in && account->group_count < ACCOUNT_GROUPS_MAX && getline(&line, &size, in) >= 0)
		if (split(line, fields) == 4 && is_number(fields[2], &group) && group != account->group &&
		    is_member(fields[3], account->name))
			account->groups[account->group_count++] = group;
	free(line);
	if (in)
		fclose(in);
}

int account_find(const char *root, const char *name, struct account *out)
{
	FILE *in = open_list(root, "passwd");
	struct account account = {.user = 0, .name = "root", .home = "/root", .shell = "/bin/sh"};
	bool found = !in && (strcmp(name, "root") == 0 || strcmp(name, "0") == 0);
	char *line = NULL;
	size_t size = 0;

	while (in && !found && getline(&line, &size, in) >= 0)
		found = take_user(line, name, &account);
	free(line);
	if (in)
		fclose(in);
	if (!found)
		return -ENOENT;
	add_groups(root, &account);
	*out = account;
	return 0;
}
