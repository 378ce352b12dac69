#!/usr/bin/env python3
"""Moves amid which something breaks: at each boundary of the stages and at random moments. Afterwards exactly one side has the machine,
and all of its memory is right. Prints TAP. A fault is drawn from a seed, which is told; it comes again with DOPPEL_SEED=SEED and
FAULTS 1.
Environment: DOPPEL_LONG=1 draws post-copy, and links that stand still for longer than either side waits, too.
usage: faults.py DOPPEL ENGINE FAULTS PATTERN-1 PATTERN-2"""
import os, random, shutil, sys, tempfile

import hosts
from link import FROM_DESTINATION, FROM_SOURCE, Fault, Host, Link
from tap import finish, result, until

MODES = [[], ["--offline"], ["--connections", "3"],
         *([["--post-copy"], ["--post-copy", "--connections", "3"]] if os.environ.get("DOPPEL_LONG") else [])]
ROOM = 8 << 20
# To a frame, as it passes; to anything, at any time.
OF_FRAMES = ["cut", "late cut", "half", "flip", "version"]
OF_ALL = ["cut", "death of source", "death of destination", "stall 1", "no memory of source", "no memory of destination",
          "lost receiver"]
OF_FILES = ["full disk of source", "full disk of destination"]
# After its switch post-copy outlasts the link, but not the death of a side.
OF_LINKS = ["cut", "late cut", "half", "flip", "stall 1"]
# Longer than either side waits.
OF_LONG = ["stall 12", "stall 35"]


def has(host):
    """Whether the machine may run there: it does, or it was killed and could be started."""
    if host.runs():
        return True
    if host.machine() is None:
        return False
    return host.doppel("start", "web")[0] == 0


def settled(host):
    """Nothing is under way any more."""
    return host.machine() is None or host.doppel("migrate", "web", "--status")[0] != 0


def recover(a, b):
    """As a user would, after the fault is over. What was said."""
    for host in (a, b):
        host.relieve()
    until(lambda: settled(a))
    said = ""
    if a.machine() is not None and (b.machine() is not None or not a.runs()):
        said = a.doppel("migrate", "web", "unix:" + b.socket, "--recover")[1]
    until(lambda: (b.machine() or {"state": "gone"})["state"] not in ("created", "starting"))
    return said


def dies(fault, *hosts):
    """A side may end by it: a sanitizer, too, ends a program that it finds no memory for itself in."""
    if fault.what.startswith("no memory"):
        return any("Failed to mmap" in host.report() for host in hosts)
    return fault.what.startswith("death")


class Place:
    """Two hosts, and the machine that goes to and fro between them as long as it lives."""

    def __init__(self, scratch, a, b, images):
        self.scratch, self.a, self.b, self.images, self.harts = scratch, a, b, images, 0

    def prepare(self, harts):
        """A running machine at `a`. What was wrong."""
        for host in (self.a, self.b):
            host.relieve()
        if self.harts == harts and self.a.runs() and self.b.machine() is None:
            return None
        for host in (self.a, self.b):
            host.remove()
        self.harts = harts
        started, output = self.a.start(self.images[harts], harts)
        return None if started else output + self.a.report()

    def meet(self, name, fault, harts, options, dice):
        a, b, told = self.a, self.b, str(fault)
        wrong = self.prepare(harts)
        if wrong is not None:
            self.harts = 0
            return result(False, "%s: the guest starts" % name, wrong)
        between = Link(self.scratch, b.socket, fault, a, b, dice)
        status, output = a.move(between.path, *options)
        between.closed = True
        output += recover(a, b)
        alive = [host for host in (a, b) if host.runs()]
        owners = [host for host in (a, b) if has(host)]
        good = len(owners) == 1 and len(alive) <= 1
        if good and not dies(fault, a, b):
            good = alive == owners
        if good and status == 0:
            good = owners == [b]
        # Nothing befell it: it has to move, unless a busy host keeps a side waiting.
        good = good and (fault.happened or status == 0 or "stands still" in output)
        good = good and owners[0].goes_on(harts)
        between.close()
        if good:
            self.a, self.b = owners[0], a if owners[0] is b else b
        else:
            self.harts = 0
        return result(good, "%s, %s%s%s" % (name, told, "".join(", " + option.lstrip("-") for option in options), "" if fault.happened else " (not come to)"),
                      "exit status %d, alive at %s, owned by %s\n%s\n%s\n%s" %
                      (status, [h.name for h in alive], [h.name for h in owners], output, a.report(), b.report()))


def boundaries():
    """Around the commitment, where it counts most; each run has these."""
    for what in ("cut", "late cut"):
        yield Fault(what, "source", "commit")
        yield Fault(what, "destination", "done")
    yield Fault("token", "source", "commit")
    yield Fault("version", "source", "inventory")
    yield Fault("death of source", "source", "commit")
    yield Fault("death of destination", "destination", "ready")


def drawn(dice, kinds, frames):
    side = dice.choice(["source", "destination"])
    kind = dice.choice(FROM_SOURCE if side == "source" else FROM_DESTINATION)
    if dice.random() < 0.3:
        return Fault(dice.choice(kinds), after=dice.random() * dice.choice([0.2, 1.0]))
    return Fault(dice.choice(frames + kinds), side, kind, dice.randrange(1, 30) if kind == "pages" else 1)


def main():
    why = hosts.enter(links=False)
    doppel, engine, count = os.path.realpath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    images = {1: os.path.realpath(sys.argv[4]), 2: os.path.realpath(sys.argv[5])}
    # The long form draws others each time.
    seed = int(os.environ.get("DOPPEL_SEED", random.randrange(1 << 32) if os.environ.get("DOPPEL_LONG") else 2469307744))
    kinds = OF_ALL + ([] if why else OF_FILES) + (OF_LONG if os.environ.get("DOPPEL_LONG") else [])
    scratch = tempfile.mkdtemp(dir=None if why else hosts.SCRATCH)
    a, b = (Host(doppel, engine, scratch, name, None if why else ROOM) for name in "ab")
    place = Place(scratch, a, b, images)
    try:
        if "DOPPEL_SEED" not in os.environ:
            for fault in boundaries():
                place.meet("boundary", fault, 1, [], random.Random(0))
        for i in range(count):
            dice = random.Random(seed + i)
            harts, options = dice.choice([1, 2]), dice.choice(MODES)
            fault = drawn(dice, ["cut", "stall 1"], OF_LINKS) if "--post-copy" in options else drawn(dice, kinds, OF_FRAMES)
            place.meet("seed %d" % (seed + i), fault, harts, options, dice)
    finally:
        a.end()
        b.end()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


sys.exit(main())
