/* Operations on names: folders, links, renames. */
#include "operations.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void op_mkdir(void)
{
	struct place p = pick();
	unsigned folders = 0;

	for (int i = 0; i < NODES; i++)
		folders += nodes[i].kind == FOLDER_NODE;
	if (p.node < 0 && (folders >= FOLDERS || folder_depth(p.folder) >= DEPTH))
		return;
	if (answered(mkdir(p.path, 0755), p.node >= 0 ? EEXIST : 0, p.path))
		name_add(p.folder, p.text, node_new(FOLDER_NODE, 0755));
}

void op_rmdir(void)
{
	struct place p = pick();
	int wanted = p.node < 0 ? ENOENT : nodes[p.node].kind != FOLDER_NODE ? ENOTDIR :
		     !folder_is_empty(p.node) ? ENOTEMPTY : 0;

	if (answered(rmdir(p.path), wanted, p.path))
		name_remove(p.name);
}

void op_unlink(void)
{
	struct place p = pick();
	int wanted = p.node < 0 ? ENOENT : nodes[p.node].kind == FOLDER_NODE ? EISDIR : 0;

	if (answered(unlink(p.path), wanted, p.path))
		name_remove(p.name);
}

void op_link(void)
{
	struct place from = pick(), to = pick();
	int wanted = from.node < 0 ? ENOENT : to.node >= 0 ? EEXIST : nodes[from.node].kind == FOLDER_NODE ? EPERM : 0;

	if (answered(link(from.path, to.path), wanted, to.path))
		name_add(to.folder, to.text, from.node);
}

void op_symlink(void)
{
	struct place p = pick();
	char target[64];

	snprintf(target, sizeof target, "../nowhere/%u", below(1000000));
	if (answered(symlink(target, p.path), p.node >= 0 ? EEXIST : 0, p.path)) {
		int node = node_new(LINK_NODE, 0777);

		name_add(p.folder, p.text, node);
		node_put(node, 0, (const uint8_t *)target, strlen(target));
	}
}

void op_readlink(void)
{
	struct place p = pick();
	uint8_t target[256];
	ssize_t got = readlink(p.path, (char *)target, sizeof target);

	if (!answered(got, p.node < 0 ? ENOENT : nodes[p.node].kind != LINK_NODE ? EINVAL : 0, p.path))
		return;
	if ((size_t)got != nodes[p.node].size)
		fail(p.path, "%zd bytes instead of %zu", got, nodes[p.node].size);
	compare(target, 0, (size_t)got, p.node, p.path);
}

static int replace_error(const struct place *from, const struct place *to)
{
	if (to->node >= 0 && nodes[to->node].kind == FOLDER_NODE && is_below(from->folder, to->node))
		return ENOTEMPTY;
	if (to->node < 0 || to->node == from->node)
		return 0;
	if (nodes[from->node].kind == FOLDER_NODE)
		return nodes[to->node].kind != FOLDER_NODE ? ENOTDIR : folder_is_empty(to->node) ? 0 : ENOTEMPTY;
	return nodes[to->node].kind == FOLDER_NODE ? EISDIR : 0;
}

static int rename_error(const struct place *from, const struct place *to, unsigned flags)
{
	if (from->node < 0)
		return ENOENT;
	if (flags & RENAME_EXCHANGE && to->node < 0)
		return ENOENT;
	if (flags & RENAME_NOREPLACE && to->node >= 0)
		return EEXIST;
	if (nodes[from->node].kind == FOLDER_NODE && is_below(to->folder, from->node))
		return EINVAL;
	if (flags & RENAME_EXCHANGE)
		return nodes[to->node].kind == FOLDER_NODE && is_below(from->folder, to->node) ? EINVAL : 0;
	return replace_error(from, to);
}

static void exchange(const struct place *from, const struct place *to)
{
	names[from->name].node = to->node;
	names[to->name].node = from->node;
}

void op_rename(void)
{
	static const unsigned kinds[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	struct place from = pick(), to = pick();
	unsigned flags = kinds[below(5)];
	int wanted = rename_error(&from, &to, flags);
	int node = from.node;

	if (!answered(renameat2(AT_FDCWD, from.path, AT_FDCWD, to.path, flags), wanted, to.path))
		return;
	if (flags & RENAME_EXCHANGE) {
		exchange(&from, &to);
	} else if (to.node != node) {
		if (to.node >= 0)
			name_remove(to.name);
		/* It keeps its links: one more, then one less. */
		name_add(to.folder, to.text, node);
		name_remove(from.name);
	}
}
