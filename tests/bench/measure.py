"""Runs plans on the host and in guests; collects times and checksums."""
import os
import subprocess
import time

import machines
import payload

LIMIT = 90
MEMORY = 1024
CHANGE_ROOT = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


class Results:
    """Times in seconds and checksums by name and machine, failures as text."""

    def __init__(self):
        self.seconds, self.sums, self.failures, self.warnings = {}, {}, [], []

    def add(self, machine, name, seconds, checksum, wall):
        self.seconds.setdefault(name, {}).setdefault(machine, []).append(seconds)
        self.sums.setdefault(name, {}).setdefault(machine, set()).add(checksum)
        # Programs prepare data before their time starts, so theirs may only be shorter than what is seen from here.
        slack = 0.1 + 0.15 * (wall or 0)
        if wall and (seconds - wall > slack or (wall - seconds > slack and name in payload.workloads())):
            self.warnings.append(f"{machine} {name}: its own clock says {seconds:.3f} s, the host's {wall:.3f} s")

    def fail(self, machine, name, why):
        self.failures.append(f"{machine} {name}: {why}")

    def disagreements(self):
        return [f"{name}: checksums differ: " + ", ".join(f"{m} {'/'.join(sorted(s))}" for m, s in by.items())
                for name, by in self.sums.items() if len(set().union(*by.values())) > 1]


def parse(line):
    words = line.split()
    return (words[1], float(words[2]), words[3]) if len(words) == 4 and words[0] == "bench" else None


def run_native(plan, programs, root, results):
    """On one core, as the guests have one."""
    core = str(max(os.sched_getaffinity(0)))
    for kind, name in plan:
        if kind == "program":
            arguments = [str(programs["native"]), name]
        else:
            # The host's hardware for SHA-256 is left out: no RISC-V guest has its like.
            inside = ["/bench/bench", "--command", name, "/bin/sh", f"/bench/workloads/run/{name}"]
            arguments = ["env", "OPENSSL_ia32cap=:~0x20000000", "unshare", *["-r"] * (os.geteuid() != 0),
                         "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CHANGE_ROOT, str(root), *inside]
        try:
            done = subprocess.run(["taskset", "-c", core, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            results.fail("native", name, f"no answer in {LIMIT} s")
            continue
        found = [parse(line) for line in done.stdout.splitlines() if parse(line)]
        if len(found) == 1:
            results.add("native", *found[0], None)
        else:
            results.fail("native", name, (done.stdout + done.stderr).strip()[-300:])


def run_plan(console, machine, plan, results):
    """Follows one guest. Returns what of the plan remains if it died or hung, culprit first, and its last lines."""
    rest, began, said = list(plan), time.monotonic(), []
    while True:
        line = console.line(LIMIT)
        now = time.monotonic()
        if line is None:
            return rest, said
        said = said[-8:] + [line]
        if line.startswith("begin "):
            began = now
        elif parse(line):
            results.add(machine, *parse(line), now - began)
        elif line.startswith("failed "):
            results.fail(machine, line.split()[1], " | ".join(said))
        elif line == "bench-done":
            return [], said
        else:
            continue
        if line.startswith(("bench ", "failed ")) and rest and rest[0][1] == line.split()[1]:
            rest.pop(0)


def run_guest(machine, plan, static, results, directory):
    """The whole plan, in one guest unless one hangs or dies."""
    rest = list(plan)
    while rest:
        initrd = directory / f"initrd-{machine}"
        payload.make_initrd(initrd, static, rest)
        append = 'doppel.exec="sh /bench/guest"'
        with machines.Console(machines.command(machine, initrd, MEMORY, append)) as console:
            before = len(rest)
            rest, said = run_plan(console, machine, rest, results)
        if rest:
            results.fail(machine, rest[0][1], f"no answer in {LIMIT} s, or the machine ended: " + " | ".join(said))
            rest = rest[1:] if len(rest) <= before else []
