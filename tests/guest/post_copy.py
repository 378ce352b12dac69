#!/usr/bin/env python3
"""Moves by post-copy whose link breaks when the machine is at its destination and some of its memory is not: it stands still there, and
goes on when another link brings the rest; and moves that turn to post-copy. Prints TAP.
usage: post_copy.py DOPPEL ENGINE PATTERN-1 PATTERN-2"""
import os, random, shutil, signal, sys, tempfile, threading

from link import Fault, Host, Link
from tap import finish, result, until

guests = {1: os.path.realpath(sys.argv[3]), 2: os.path.realpath(sys.argv[4])}
scratch = tempfile.mkdtemp()
seed = int(os.environ.get("DOPPEL_SEED", random.randrange(1 << 32)))
dice = random.Random(seed)
# Slow enough that the link breaks amid it.
SLOWLY = ["--post-copy", "--bandwidth", "32M"]


def logs(*hosts):
    return "".join("--- %s:\n%s%s" % (host.name, host.read("monitor.log"), host.console()[-300:]) for host in hosts)


def state(host):
    return (host.machine() or {"state": ""})["state"]


def turned(a, b):
    a.start(guests[2], 2)
    outcome = []
    mover = threading.Thread(target=lambda: outcome.extend(a.move(b.socket, "--bandwidth", "4M")))
    mover.start()
    until(lambda: "pre-copy" in a.doppel("migrate", "web", "--status")[1])
    status, output = a.doppel("migrate", "web", "unix:" + b.socket, "--to-post-copy")
    moved = status == 0 and until(b.runs)
    a.doppel("migrate", "web", "--set-bandwidth", "0")
    mover.join()
    result(moved and outcome[0] == 0 and b.goes_on(2) and a.machine() is None, "a move turns to post-copy",
           output + str(outcome) + logs(a, b))
    a.remove()
    b.remove()


def packed(a, b):
    a.start(guests[1], 1)
    status, output = a.move(b.socket, "--compress", "zstd")
    result(status == 0 and b.goes_on(1) and a.machine() is None, "it moves with compressed pages", output + logs(a, b))
    a.remove()
    b.remove()


def terminate(host):
    """As who shuts a host down does."""
    pid = host.pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
    return pid and until(lambda: "another signal" in host.read("monitor.log"))


def cut_off(a, b, fault, harts):
    a.start(guests[harts], harts)
    broken = Link(scratch, b.socket, fault, a, b, dice)
    status, output = a.move(broken.path, *SLOWLY)
    # All was there; or the source had not heard that it runs there, so whoever moves it asked, and brought the rest.
    if status == 0 and (fault.kind == "pushed" or fault.happened):
        result(b.goes_on(harts) and a.machine() is None, "post-copy ended by itself after: %s" % fault, output + logs(a, b))
        broken.close()
        b.remove()
        return
    # When the last word is lost it has all, and runs.
    stands = status != 0 and until(lambda: state(b) == ("running" if fault.kind == "pushed" else "paused")) and a.machine() is not None
    resumed, more = b.doppel("resume", "web")
    stopped, text = a.doppel("stop", "web")
    output += more + text
    stands = stands and terminate(a)
    status, more = a.doppel("migrate", "web", "unix:" + b.socket, "--recover")
    good = stands and resumed != 0 and stopped != 0 and status == 0 and b.goes_on(harts) and a.machine() is None
    result(good, "post-copy is recovered after: %s" % fault,
           "stood %d, resume %d, stop %d, recover %d\n" % (stands, resumed, stopped, status) + output + more + logs(a, b))
    broken.close()
    a.remove()
    b.remove()


def lost(a, b):
    a.start(guests[1], 1)
    broken = Link(scratch, b.socket, Fault("death of source", "source", "pages", 20), a, b, dice)
    a.move(broken.path, *SLOWLY)
    stands = until(lambda: state(b) == "paused")
    started = a.doppel("start", "web")
    status, output = a.doppel("migrate", "web", "unix:" + b.socket, "--recover")
    result(stands and started[0] != 0 and status != 0 and "lost" in output and not a.runs() and not b.runs(),
           "without its source's memory it runs nowhere", str(started) + output + logs(a, b))
    broken.close()
    b.remove()
    result(b.machine() is None, "and is removed", logs(b))
    a.remove()


def ended(a, b):
    """Who is told that nothing is needed any more lets go."""
    a.start(guests[1], 1)
    broken = Link(scratch, b.socket, Fault("cut", "source", "pages", 20), a, b, dice)
    a.move(broken.path, *SLOWLY)
    stands = until(lambda: state(b) == "paused")
    ended, text = b.doppel("stop", "web", "--force")
    status, output = a.doppel("migrate", "web", "unix:" + b.socket, "--recover")
    # Whoever moves it may have asked once more by himself.
    told = status == 0 or "there is no machine" in output
    result(stands and ended == 0 and told and a.machine() is None, "a machine that ended there needs nothing from here",
           text + output + logs(a, b))
    broken.close()
    b.remove()


def cuts():
    """On either of the two links."""
    yield Fault("cut", "source", "pages", dice.randrange(3, 30))
    yield Fault("half", "source", "pages", dice.randrange(3, 30))
    yield Fault("late cut", "source", "pushed")


def main():
    print("# seed", seed)
    a, b = (Host(os.path.realpath(sys.argv[1]), sys.argv[2], scratch, name) for name in "ab")
    try:
        turned(a, b)
        packed(a, b)
        for fault in cuts():
            cut_off(a, b, fault, dice.choice([1, 2]))
        lost(a, b)
        ended(a, b)
    finally:
        a.end()
        b.end()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


sys.exit(main())
