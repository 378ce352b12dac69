#!/usr/bin/env python3
"""Machines that move while their guest writes all of its memory and checks it: back and forth, in each mode, paused, cancelled, refused.
Prints TAP.
usage: moves.py DOPPEL ENGINE PATTERN-1 PATTERN-2"""
import json, os, shutil, sys, tempfile, threading

from link import Host
from tap import finish, result, until

guests = {1: os.path.realpath(sys.argv[3]), 2: os.path.realpath(sys.argv[4])}
scratch = tempfile.mkdtemp()


def back_and_forth(a, b, harts):
    started, output = a.start(guests[harts], harts)
    if not result(started, "a guest of %d harts writes its memory" % harts, output + a.console()[-300:]):
        return
    for options in ([], ["--offline"], ["--post-copy"], ["--max-downtime", "30ms"], ["--post-copy"],
                    ["--auto-post-copy", "--max-downtime", "1ms"], ["--connections", "4"], ["--post-copy", "--connections", "3"],
                    ["--offline", "--connections", "16", "--compress", "zstd"], ["--connections", "2"]):
        status, output = a.move(b.socket, *options)
        good = status == 0 and b.goes_on(harts) and a.machine() is None
        result(good, "it moves, %s, and all of its memory with it" % (" ".join(options) or "by pre-copy"),
               output + a.read("monitor.log") + b.read("monitor.log") + b.console()[-300:])
        a, b = b, a
    a.doppel("pause", "web")
    status, output = a.move(b.socket)
    machine = b.machine()
    result(status == 0 and machine["state"] == "paused", "a paused machine moves and stays paused", output)
    b.doppel("resume", "web")
    result(b.goes_on(harts), "and goes on when it is resumed", b.console()[-300:])
    a.remove()
    b.remove()


def on_a_switch(a, b):
    """Both are on one segment of this host, where the machine is at one of two ports at a time."""
    segment = "switch=moves%d" % os.getpid()
    a.start(guests[1], 1, "--net", segment)
    for here, there in ((a, b), (b, a)):
        status, output = here.move(there.socket)
        result(status == 0 and there.goes_on(1) and here.machine() is None, "it moves, and with it its place on a switch",
               output + there.read("monitor.log"))
    a.remove()
    b.remove()


def progress(a):
    status, output = a.doppel("migrate", "web", "--status", "--format", "json")
    return json.loads(output) if status == 0 else {}


def left_of_round(a):
    """Pages that are due still, amid the first round; None: before it, or after."""
    now = progress(a)
    return now["left"] if now.get("name") == "pre-copy" and now["round"] == 0 and now["left"] < now["due"] else None


def cancelled(a, b):
    a.start(guests[1], 1)
    mover = threading.Thread(target=a.move, args=(b.socket, "--bandwidth", "1M"))
    mover.start()
    moving = until(lambda: left_of_round(a) is not None)
    first = left_of_round(a)
    result(first is not None and until(lambda: (left_of_round(a) or first) < first), "its progress shows amid a round",
           "%s, then %s" % (first, progress(a)))
    status, output = a.doppel("migrate", "web", "--cancel")
    mover.join()
    result(moving and status == 0 and a.goes_on(1) and until(lambda: b.machine() is None), "a move is cancelled",
           output + a.read("monitor.log"))
    a.remove()
    b.remove()


def refused(a, b):
    a.start(guests[1], 1)
    b.doppel("create", "web", "--firmware", guests[1])
    status, output = a.move(b.socket)
    result(status != 0 and "already" in output and a.goes_on(1), "a name that is taken there is refused", output)
    b.remove()
    status, output = a.move(os.path.join(scratch, "nowhere"))
    result(status != 0 and a.goes_on(1), "a destination that is not there is told", output)
    a.remove()


def main():
    a, b = (Host(os.path.realpath(sys.argv[1]), sys.argv[2], scratch, name) for name in "ab")
    try:
        for harts in (1, 2):
            back_and_forth(a, b, harts)
        on_a_switch(a, b)
        cancelled(a, b)
        refused(a, b)
    finally:
        a.end()
        b.end()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


sys.exit(main())
