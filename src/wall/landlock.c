#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wall/private.h"

/* The kernel's interface (Documentation/userspace-api/landlock.rst), written here since the headers of a host
 * may be older than its kernel. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define VERSION_ASKED  1u
#define RULE_BENEATH   1
#define FS_EXECUTE     (UINT64_C(1) << 0)
#define FS_WRITE_FILE  (UINT64_C(1) << 1)
#define FS_READ_FILE   (UINT64_C(1) << 2)
#define FS_READ_DIR    (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_CHAR   (UINT64_C(1) << 6)
#define FS_MAKE_FILE   (UINT64_C(1) << 8)
#define FS_MAKE_BLOCK  (UINT64_C(1) << 11)
#define FS_TRUNCATE    (UINT64_C(1) << 14)
#define FS_IOCTL_DEV   (UINT64_C(1) << 15)
#define SCOPE_SOCKETS  UINT64_C(1) /* abstract ones */
#define ALL_SCOPES     UINT64_C(3) /* and signals */
#define FS_BITS(count) ((UINT64_C(1) << (count)) - 1)

struct ruleset {
	uint64_t files, network, scopes;
};

struct beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* What each version of the interface knows, and how much of struct ruleset it reads. */
static const struct {
	uint64_t files, network, scopes;
	size_t size;
} versions[] = {
	{FS_BITS(13), 0, 0, 8}, {FS_BITS(14), 0, 0, 8},  {FS_BITS(15), 0, 0, 8},
	{FS_BITS(15), 3, 0, 16}, {FS_BITS(16), 3, 0, 16}, {FS_BITS(16), 3, 3, 24},
};

static int allow(int rules, const char *path, uint64_t allowed)
{
	struct beneath rule = {.allowed = allowed, .parent = open(path, O_PATH | O_CLOEXEC)};
	long r;

	if (rule.parent < 0)
		return -errno;
	r = syscall(SYS_landlock_add_rule, rules, RULE_BENEATH, &rule, 0);
	if (r < 0)
		r = -errno;
	close(rule.parent);
	return (int)r;
}

static int add_rules(int rules, const struct wall_plan *plan, uint64_t handled)
{
	uint64_t never = FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV;
	int r;

	if (plan->folder)
		return allow(rules, ".", plan->folder_read_only ? FS_READ_FILE | FS_READ_DIR : handled & ~never);
	for (const char *const *file = plan->files; file && *file; file++) {
		r = allow(rules, *file, FS_READ_FILE);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* An empty set of rules for all that the kernel's version knows of `scopes` and, without `network`, the rest; what it
 * handles of files goes to *handled. */
static int make_rules(bool network, uint64_t scopes, uint64_t *handled)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, VERSION_ASKED);
	struct ruleset all = {.files = 0};
	size_t index;
	int rules;

	if (version < 1)
		return -ENOSYS;
	index = (size_t)version < ARRAY_SIZE(versions) ? (size_t)version - 1 : ARRAY_SIZE(versions) - 1;
	*handled = all.files = versions[index].files;
	all.network = network ? 0 : versions[index].network;
	all.scopes = versions[index].scopes & scopes;
	rules = (int)syscall(SYS_landlock_create_ruleset, &all, versions[index].size, 0);
	return rules < 0 ? -errno : rules;
}

/* Kernels before 6.15 take signals between threads of a process for such that leave their domain. */
int wall_landlock_self(int folder)
{
	uint64_t handled = 0;
	struct beneath rule = {.parent = folder};
	int rules = make_rules(false, SCOPE_SOCKETS, &handled);

	rule.allowed = handled & (FS_READ_FILE | FS_WRITE_FILE | FS_MAKE_FILE | FS_REMOVE_FILE | FS_TRUNCATE);
	if (rules < 0 || folder < 0 || syscall(SYS_landlock_add_rule, rules, RULE_BENEATH, &rule, 0) == 0)
		return rules;
	close(rules);
	return -EIO;
}

unsigned wall_landlock_enter(int rules)
{
	return rules >= 0 && syscall(SYS_landlock_restrict_self, rules, 0) == 0 ? WALL_LANDLOCK : 0;
}

unsigned wall_landlock(const struct wall_plan *plan)
{
	uint64_t handled = 0;
	int rules = make_rules(plan->network, ALL_SCOPES, &handled);
	unsigned parts = 0;

	if (rules < 0)
		return 0;
	if (add_rules(rules, plan, handled) == 0)
		parts = wall_landlock_enter(rules);
	close(rules);
	return parts;
}
