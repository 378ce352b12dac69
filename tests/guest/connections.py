#!/usr/bin/env python3
"""Machines that move between hosts over a shaped link, while a client holds a connection to a Linux guest that writes and checks
its memory, and beside it, where they are given, a guest that does nothing but write and check all of its memory. Prints TAP.
usage: connections.py DOPPEL ENGINE HARTS,... MOVES HEART [PATTERN-1 PATTERN-2]
DOPPEL_MODES: how they are moved ("offline pre-copy post-copy")."""
import os, re, sys

import hosts
from tap import finish, result

# How machines are moved.
MODES = {
    "offline": ["--offline"],
    "pre-copy": [],
    "post-copy": ["--post-copy"],
}
MIB, WRITTEN = 128, 16


class Pattern:
    """The guest that only writes memory: it tells its turns, and ends with what was wrong."""

    def __init__(self, host, engine, image, harts):
        self.harts = harts
        status, self.output = host.doppel("run", "-d", "--name", "pattern", "--engine", engine, "--memory", "64M",
                                          "--cpus", str(harts), "--firmware", image)
        self.runs = status == 0 and hosts.until(lambda: all(self.turns(host)))

    def turns(self, host):
        text = host.text("pattern", "console.log")
        return [len(re.findall(r"^%d \d+\s*$" % hart, text, re.M)) for hart in range(self.harts)]

    def goes_on(self, host):
        """Two turns more of each hart: each page was checked after the move."""
        before = self.turns(host)
        return hosts.until(lambda: all(a >= b + 2 for a, b in zip(self.turns(host), before))) and \
            "WRONG" not in host.text("pattern", "console.log")


def routes(places, moves):
    """Back and forth between two, then around by way of all, and home."""
    at = 0
    for i in range(moves):
        to = 1 - at if i < moves // 2 else (at + 2) % len(places)
        if i == moves - 2 and to == 0:
            to = (at + 1) % len(places)
        to = 0 if i == moves - 1 else to
        yield places[at], places[to]
        at = to


def travel(places, mode, moves, stream, pattern):
    """How many moves went well, and what was wrong with the one that did not."""
    done = 0
    for a, b in routes(places, moves):
        for name in ("web", "pattern") if pattern else ("web",):
            status, output = a.move(name, b, *MODES[mode])
            if status or a.machine(name):
                return done, output + a.report(name) + b.report(name)
        if not stream.goes_on():
            return done, "%s -> %s: %s\n%s" % (a.name, b.name, stream.failure or "no answer", b.report("web"))
        if pattern and not pattern.goes_on(b):
            return done, b.report("pattern")
        done += 1
    return done, ""


# What a short life on a host that is emulated does without.
QUIET = "quiet mitigations=off nokaslr cryptomgr.notests audit=0 apparmor=0 "


def architecture(engine):
    """Options of `image pull`, the image's folder, what its kernel is told."""
    return (["--arch", "x86_64"], "debian-tiny@x86_64", QUIET) if engine == "kvm" else ([], "debian-tiny", "")


def boot(host, engine, harts, heart):
    _, image, told = architecture(engine)
    kernel, initrd = hosts.boot_files(heart, image)
    status, output = host.doppel("run", "-d", "--name", "web", "--engine", engine, "--memory", "%dM" % MIB, "--cpus", str(harts),
                                 "--kernel", kernel, "--initrd", initrd, "--append", told + hosts.boot_line(WRITTEN, harts),
                                 "--net", "tap=tap0,mac=" + hosts.MAC)
    return status == 0 and hosts.until(hosts.answers, max(300, hosts.PATIENCE)), output


def session(places, engine, moves, harts, heart, image):
    started, output = boot(places[0], engine, harts, heart)
    pattern = Pattern(places[0], engine, image, harts) if image else None
    if not result(started and (not pattern or pattern.runs), "%s, harts: %d: a guest answers its client" % (engine, harts),
                  output + (pattern.output if pattern else "") + places[0].report("web") + places[0].report("pattern")):
        return
    hosts.ask("dirty", 8 << 20)
    stream = hosts.Stream()
    stream.start()
    for mode in os.environ.get("DOPPEL_MODES", " ".join(MODES)).split():
        done, why = travel(places, mode, moves, stream, pattern)
        result(not why and not stream.failure, "%s, harts: %d: a connection and all memory last through %d moves, %s" %
               (engine, harts, moves, mode), "after %d moves\n%s\n%s" % (done, why, stream.failure))
    stream.end()
    print("# %d blocks went and came" % stream.count, flush=True)
    for host in places:
        host.doppel("rm", "--force", "--all")


def main():
    why = hosts.enter()
    doppel, engine, heart, images = os.path.realpath(sys.argv[1]), sys.argv[2], sys.argv[5], sys.argv[6:]
    if not why and hosts.subprocess.run([doppel, "image", "pull", "debian-tiny", *architecture(engine)[0]],
                                        capture_output=True).returncode:
        why = "the image can not be obtained here"
    if why:
        print("1..0 # SKIP", why)
        return 0
    wire = hosts.Wire(delay="1ms")
    places = [hosts.Host(wire, name, 1 + i, doppel) for i, name in enumerate(["a", "b", "c"])]
    for host in places:
        host.receive()
    for harts in map(int, sys.argv[3].split(",")):
        session(places, engine, int(sys.argv[4]), harts, heart, os.path.realpath(images[harts - 1]) if images else None)
    return finish()


sys.exit(main())
