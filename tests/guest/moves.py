#!/usr/bin/env python3
"""Machines that move while their guest writes all of its memory and checks it: back and forth, in each mode; and with faults at
each boundary of the stages and at random moments, after which exactly one side has the machine. Prints TAP.
usage: moves.py DOPPEL ENGINE FAULTS PATTERN-1 PATTERN-2"""
import json, os, random, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

doppel, engine, faults = os.path.realpath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
guests = {1: os.path.realpath(sys.argv[4]), 2: os.path.realpath(sys.argv[5])}
scratch = tempfile.mkdtemp()
seed = int(os.environ.get("DOPPEL_SEED", random.randrange(1 << 32)))
dice = random.Random(seed)
number = failed = 0
HEADER = 32
KINDS = ["", "hello", "offer", "answer", "inventory", "reserved", "pages", "round", "state", "finish", "ready", "commit", "done",
         "abort", "ask", "verdict"]
# Which side sends a kind first; both say hello and tell of rounds.
FROM_SOURCE = ["hello", "offer", "inventory", "pages", "round", "state", "finish", "commit"]
FROM_DESTINATION = ["hello", "answer", "reserved", "round", "ready", "done"]
LONG = 60


def result(good, name, detail=""):
    global number, failed
    number += 1
    failed |= not good
    print("ok" if good else "not ok", number, "-", name)
    if not good:
        for line in str(detail).splitlines()[-60:]:
            print("#", line)
    sys.stdout.flush()
    return good


class Host:
    """A folder of machines, with something that receives there."""

    def __init__(self, name):
        self.root, self.socket = os.path.join(scratch, name), os.path.join(scratch, name + ".sock")
        os.mkdir(self.root)
        self.environment = dict(os.environ, DOPPEL_STATE=self.root, XDG_CACHE_HOME=os.path.join(scratch, "cache"))
        self.log = open(os.path.join(scratch, name + ".log"), "wb")
        self.receiver = subprocess.Popen([doppel, "receive", "unix:" + self.socket], env=self.environment, stdout=self.log,
                                         stderr=self.log, stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists(self.socket))

    def doppel(self, *arguments, timeout=LONG):
        run = subprocess.run([doppel, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=timeout)
        return run.returncode, run.stdout + run.stderr

    def machine(self):
        status, text = self.doppel("ls", "--format", "json")
        found = [m for m in json.loads(text) if m["name"] == "web"] if status == 0 else []
        return found[0] if found else None

    def runs(self):
        machine = self.machine()
        return machine is not None and machine["state"] == "running"

    def console(self):
        try:
            with open(os.path.join(self.root, "machines/web/console.log"), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def monitor_log(self):
        try:
            with open(os.path.join(self.root, "machines/web/monitor.log"), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def turns(self):
        return [int(turn) for turn in re.findall(r"^\d+ (\d+)\s*$", self.console(), re.M)]

    def goes_on(self, harts):
        """The guest writes and checks two turns more: all of its memory is right."""
        before = {h: len(re.findall(r"^%d \d+\s*$" % h, self.console(), re.M)) for h in range(harts)}

        def further():
            return all(len(re.findall(r"^%d \d+\s*$" % h, self.console(), re.M)) >= before[h] + 2 for h in range(harts))

        return until(further) and "WRONG" not in self.console()

    def remove(self):
        self.doppel("rm", "--force", "web")

    def end(self):
        self.remove()
        self.receiver.terminate()
        self.receiver.wait()
        self.log.close()


def until(what, seconds=LONG):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Fault:
    """What happens to the link, and when: as the n-th frame of a kind comes from one side."""

    def __init__(self, what, side, kind, count=1):
        self.what, self.side, self.kind, self.count = what, side, kind, count
        self.happened = False

    def __str__(self):
        return "%s at %s's %s%s" % (self.what, self.side, self.kind, " %d" % self.count if self.count > 1 else "")

    def due(self, side, kind):
        if self.happened or side != self.side or kind != self.kind:
            return False
        self.count -= 1
        self.happened = self.count == 0
        return self.happened


class Link:
    """Between source and destination; knows frames, and does a fault once. Connections after it are let through."""

    def __init__(self, to, fault, source, destination):
        self.path, self.to, self.fault = os.path.join(scratch, "link.sock"), to, fault
        self.hosts = {"source": source, "destination": destination}
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.to)
            except OSError:
                near.close()
                continue
            for side, a, b in (("source", near, far), ("destination", far, near)):
                threading.Thread(target=self.carry, args=(side, a, b), daemon=True).start()

    def carry(self, side, a, b):
        try:
            while True:
                header = self.take(a, HEADER)
                kind, length = struct.unpack_from("<H", header, 4)[0], struct.unpack_from("<L", header, 8)[0]
                frame = bytearray(header + self.take(a, length))
                name = KINDS[kind] if kind < len(KINDS) else ""
                if self.fault and self.fault.due(side, name):
                    self.strike(frame, a, b)
                b.sendall(frame)
        except OSError:
            for end in (a, b):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def take(self, a, count):
        data = b""
        while len(data) < count:
            piece = a.recv(count - len(data))
            if not piece:
                raise OSError("end")
            data += piece
        return data

    def strike(self, frame, a, b):
        what = self.fault.what
        if what == "flip":
            frame[dice.randrange(len(frame))] ^= 1 << dice.randrange(8)
        elif what == "version":
            struct.pack_into("<H", frame, 6, 2)
        elif what == "token":
            frame[HEADER] ^= 1
        elif what == "late cut":
            b.sendall(frame)
            raise OSError("cut")
        elif what == "half":
            b.sendall(frame[:dice.randrange(len(frame))])
            raise OSError("cut")
        elif what == "stall":
            time.sleep(12)
        elif what.startswith("kill"):
            self.kill(self.hosts[what.split()[1]])
            raise OSError("cut")
        else:
            raise OSError("cut")

    @staticmethod
    def kill(host):
        machine = host.machine()
        if machine and machine.get("pid"):
            try:
                os.kill(machine["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self):
        self.listener.close()


def start(host, harts):
    status, output = host.doppel("run", "-d", "--name", "web", "--engine", engine, "--memory", "64M", "--cpus", str(harts),
                                 "--firmware", guests[harts])
    return status == 0 and until(lambda: len(host.turns()) >= 2 * harts), output


def move(source, to, *options):
    return source.doppel("migrate", "web", "unix:" + to, "--quiet", *options)


def back_and_forth(a, b, harts):
    started, output = start(a, harts)
    if not result(started, "a guest of %d harts writes its memory" % harts, output + a.console()[-300:]):
        return
    for options in ([], ["--offline"], ["--max-downtime", "30ms"], []):
        status, output = move(a, b.socket, *options)
        good = status == 0 and b.goes_on(harts) and a.machine() is None
        result(good, "it moves, %s, and all of its memory with it" % (" ".join(options) or "by pre-copy"),
               output + a.monitor_log() + b.monitor_log() + b.console()[-300:])
        a, b = b, a
    a.doppel("pause", "web")
    status, output = move(a, b.socket)
    machine = b.machine()
    result(status == 0 and machine["state"] == "paused", "a paused machine moves and stays paused", output)
    b.doppel("resume", "web")
    result(b.goes_on(harts), "and goes on when it is resumed", b.console()[-300:])
    a.remove()
    b.remove()


def has(host):
    """Whether the machine may run there: it does, or it was killed and could be started."""
    if host.runs():
        return True
    if host.machine() is None:
        return False
    status, _ = host.doppel("start", "web")
    return status == 0


def meet(a, b, fault, harts=1):
    """One move with one fault. Afterwards one side has the machine, and if it was not killed its memory is right."""
    started, output = start(a, harts)
    link = Link(b.socket, fault, a, b)
    status, output = move(a, link.path, *dice.choice([[], [], ["--offline"]])) if started else (1, output)
    if a.machine() is not None and b.machine() is not None:
        _, more = a.doppel("migrate", "web", "unix:" + b.socket, "--recover")
        output += more
    elif a.machine() is not None and not a.runs():
        output += a.doppel("migrate", "web", "unix:" + b.socket, "--recover")[1]
    until(lambda: (b.machine() or {"state": "gone"})["state"] != "created")
    alive = [host for host in (a, b) if host.runs()]
    owners = [host for host in (a, b) if has(host)]
    good = started and len(owners) == 1 and len(alive) <= 1
    if good and fault.what.split()[0] != "kill":
        good = alive == owners
    good = good and owners[0].goes_on(harts)
    if good and status == 0:
        good = owners == [b]
    result(good, "one side has it after: %s%s" % (fault, "" if fault.happened else " (did not come to it)"),
           "exit status %d, alive at %s, owned by %s\n%s\n--- a:\n%s%s\n--- b:\n%s%s" %
           (status, [h.root for h in alive], [h.root for h in owners], output, a.monitor_log(), a.console()[-200:],
            b.monitor_log(), b.console()[-200:]))
    link.close()
    a.remove()
    b.remove()


def boundaries():
    """The faults that every run has: around the commitment, where it counts most."""
    for what in ("cut", "late cut"):
        yield Fault(what, "source", "commit")
        yield Fault(what, "destination", "done")
    yield Fault("token", "source", "commit")
    yield Fault("version", "source", "inventory")
    yield Fault("kill source", "source", "commit")
    yield Fault("kill destination", "destination", "ready")


def random_fault():
    side = dice.choice(["source", "destination"])
    kind = dice.choice(FROM_SOURCE if side == "source" else FROM_DESTINATION)
    # The guest is killed on the side that has it; where that is after the commit, only the ballot knows.
    what = dice.choice(["cut", "late cut", "half", "flip", "cut", "kill source", "kill destination"])
    return Fault(what, side, kind, dice.randrange(1, 30) if kind == "pages" else 1)


def cancelled(a, b):
    start(a, 1)
    mover = threading.Thread(target=move, args=(a, b.socket, "--bandwidth", "1M"))
    mover.start()
    moving = until(lambda: a.doppel("migrate", "web", "--status")[0] == 0 and
                   "pre-copy" in a.doppel("migrate", "web", "--status")[1])
    status, output = a.doppel("migrate", "web", "--cancel")
    mover.join()
    result(moving and status == 0 and a.goes_on(1) and until(lambda: b.machine() is None), "a move is cancelled",
           output + a.monitor_log())
    a.remove()
    b.remove()


def refused(a, b):
    start(a, 1)
    b.doppel("create", "web", "--firmware", guests[1])
    status, output = move(a, b.socket)
    result(status != 0 and "already" in output and a.goes_on(1), "a name that is taken there is refused", output)
    b.remove()
    status, output = move(a, os.path.join(scratch, "nowhere"))
    result(status != 0 and a.goes_on(1), "a destination that is not there is told", output)
    a.remove()


def main():
    a, b = Host("a"), Host("b")
    try:
        for harts in (1, 2):
            back_and_forth(a, b, harts)
        cancelled(a, b)
        refused(a, b)
        for fault in boundaries():
            meet(a, b, fault)
        print("# seed", seed)
        for _ in range(faults):
            meet(a, b, random_fault(), dice.choice([1, 2]))
    finally:
        a.end()
        b.end()
        shutil.rmtree(scratch, ignore_errors=True)
    print("1..%d" % number)
    return failed


sys.exit(main())
