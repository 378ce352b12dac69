"""Two registries of one host with a link between them that knows the frames of a move (docs/internals/migrate.md) and does one fault
to it: as a certain frame comes, or after a time."""
import json, os, re, resource, signal, socket, struct, subprocess, threading, time

from tap import PATIENCE, until

HEADER = 32
KINDS = ["", "hello", "offer", "answer", "inventory", "reserved", "pages", "round", "state", "finish", "ready", "commit", "done",
         "abort", "ask", "verdict", "disk", "join", "joined", "missing", "want", "pushed", "complete", "packed"]
# Which side sends a kind; both say hello and tell of rounds.
FROM_SOURCE = ["hello", "offer", "inventory", "pages", "round", "state", "finish", "commit"]
FROM_DESTINATION = ["hello", "answer", "reserved", "round", "ready", "done"]


class Host:
    """A folder of machines, with something that receives there. `room` in bytes: it is a file system of its own."""

    def __init__(self, doppel, engine, scratch, name, room=None):
        self.program, self.engine, self.name = doppel, engine, name
        self.root, self.socket = os.path.join(scratch, name), os.path.join(scratch, name + ".sock")
        self.room, self.limited = room, None
        os.mkdir(self.root)
        if room:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=700" % room, "tmpfs", self.root], check=True)
        self.environment = dict(os.environ, DOPPEL_STATE=self.root, XDG_CACHE_HOME=os.path.join(scratch, "cache"))
        self.log = open(os.path.join(scratch, name + ".log"), "ab")
        self.receive()

    def receive(self):
        self.receiver = subprocess.Popen([self.program, "receive", "unix:" + self.socket], env=self.environment, stdout=self.log,
                                         stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)
        until(self.listens)

    def listens(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def doppel(self, *arguments, timeout=5 * PATIENCE):
        run = subprocess.run([self.program, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=timeout)
        return run.returncode, run.stdout + run.stderr

    def start(self, image, harts, *more):
        """A guest that writes all of its memory."""
        status, output = self.doppel("run", "-d", "--name", "web", "--engine", self.engine, "--memory", "64M", "--cpus", str(harts),
                                     "--firmware", image, *more)
        return status == 0 and until(lambda: min(self.turns(harts)) >= 2), output

    def move(self, to, *options):
        return self.doppel("migrate", "web", "unix:" + to, "--quiet", *options)

    def machine(self):
        status, text = self.doppel("ls", "--format", "json")
        found = [m for m in json.loads(text) if m["name"] == "web"] if status == 0 else []
        return found[0] if found else None

    def pid(self):
        return (self.machine() or {}).get("pid")

    def runs(self):
        machine = self.machine()
        return machine is not None and machine["state"] == "running"

    def read(self, name):
        try:
            with open(os.path.join(self.root, "machines/web", name), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def console(self):
        return self.read("console.log")

    def turns(self, harts):
        return [len(re.findall(r"^%d \d+\s*$" % hart, self.console(), re.M)) for hart in range(harts)]

    def goes_on(self, harts):
        """The guest writes and checks two turns more: all of its memory is right."""
        before = self.turns(harts)
        return until(lambda: all(a >= b + 2 for a, b in zip(self.turns(harts), before))) and "WRONG" not in self.console()

    def report(self):
        return "--- %s:\n%s%s" % (self.name, self.read("monitor.log"), self.console()[-200:])

    # What may befall it.

    def fill(self):
        with open(os.path.join(self.root, "filler"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    def limit(self, pid, size):
        """By its own user: it may have one of its own."""
        with open("/proc/%d/status" % pid) as file:
            user, group = map(int, re.findall(r"^[UG]id:\s+(\d+)", file.read(), re.M))
        who = {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 else {}
        run = subprocess.run(["prlimit", "--pid", str(pid), "--as=%s:" % size], capture_output=True, text=True, **who)
        if run.returncode:
            raise OSError(run.stderr.strip())

    def starve(self):
        """No more memory for the machine's monitor from now on."""
        pid = self.pid()
        if pid:
            with open("/proc/%d/statm" % pid) as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            self.limit(pid, size)
            self.limited = pid

    def relieve(self):
        if self.room and os.path.exists(os.path.join(self.root, "filler")):
            os.unlink(os.path.join(self.root, "filler"))
        if self.limited:
            try:
                self.limit(self.limited, "unlimited")
            except OSError:  # it is gone
                pass
            self.limited = None
        if self.receiver.poll() is not None:
            self.receive()

    def kill(self):
        """The machine's monitor."""
        pid = self.pid()
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_receiver(self):
        """With the processes in which it serves connections."""
        os.killpg(self.receiver.pid, signal.SIGKILL)
        self.receiver.wait()

    def remove(self):
        self.doppel("rm", "--force", "web")

    def end(self):
        self.relieve()
        self.remove()
        self.receiver.terminate()
        self.receiver.wait()
        self.log.close()
        if self.room:
            subprocess.run(["umount", "-l", self.root])


class Fault:
    """What happens to the link, and when: as the n-th frame of a kind comes from one side, or so many seconds after the first."""

    def __init__(self, what, side=None, kind=None, count=1, after=None):
        self.what, self.side, self.kind, self.count, self.after = what, side, kind, count, after
        self.happened = False

    def __str__(self):
        if self.after is not None:
            return "%s after %d ms" % (self.what, self.after * 1000)
        return "%s at %s's %s%s" % (self.what, self.side, self.kind, " %d" % self.count if self.count > 1 else "")

    def due(self, side, kind):
        if self.happened or self.after is not None or side != self.side or kind != self.kind:
            return False
        self.count -= 1
        self.happened = self.count == 0
        return self.happened


class Link:
    """Between source and destination; does a fault once. Connections after it are let through."""

    def __init__(self, scratch, to, fault, source, destination, dice):
        self.path, self.to, self.fault, self.dice = os.path.join(scratch, "link.sock"), to, fault, dice
        self.hosts = {"source": source, "destination": destination}
        self.pairs, self.flowing = [], threading.Event()
        self.flowing.set()
        self.closed = False
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

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
            if not self.pairs and self.fault.after is not None:
                threading.Thread(target=self.strike_later, daemon=True).start()
            self.pairs.append((near, far))
            for side, a, b in (("source", near, far), ("destination", far, near)):
                threading.Thread(target=self.carry, args=(side, a, b), daemon=True).start()

    def carry(self, side, a, b):
        try:
            while True:
                header = self.take(a, HEADER)
                kind, length = struct.unpack_from("<H", header, 4)[0], struct.unpack_from("<L", header, 8)[0]
                frame = bytearray(header + self.take(a, length))
                name = KINDS[kind] if kind < len(KINDS) else ""
                if self.fault.due(side, name):
                    self.strike(frame, b)
                self.flowing.wait()
                b.sendall(frame)
        except OSError:
            self.cut([(a, b)])

    @staticmethod
    def cut(pairs):
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    @staticmethod
    def take(a, count):
        data = b""
        while len(data) < count:
            piece = a.recv(count - len(data))
            if not piece:
                raise OSError("end")
            data += piece
        return data

    def strike(self, frame, b):
        what = self.fault.what
        if what == "flip":
            frame[self.dice.randrange(len(frame))] ^= 1 << self.dice.randrange(8)
        elif what == "version":
            struct.pack_into("<H", frame, 6, 77)
        elif what == "token":
            frame[HEADER] ^= 1
        elif what == "late cut":
            b.sendall(frame)
            raise OSError("cut")
        elif what == "half":
            b.sendall(frame[:self.dice.randrange(len(frame))])
            raise OSError("cut")
        else:
            self.befall(what)

    def strike_later(self):
        time.sleep(self.fault.after)
        if not self.closed:
            self.fault.happened = True
            self.befall(self.fault.what)

    def befall(self, what):
        """What can happen at any time."""
        word, _, side = what.partition(" of ")
        if word == "cut":
            self.cut(list(self.pairs))
        elif word.startswith("stall"):
            self.flowing.clear()
            time.sleep(float(word.split()[1]))
            self.flowing.set()
        elif word == "death":
            self.hosts[side].kill()
        elif word == "death of both":
            for host in self.hosts.values():
                host.kill()
        elif word == "full disk":
            self.hosts[side].fill()
        elif word == "no memory":
            try:
                self.hosts[side].starve()
            except OSError as error:
                self.fault.happened = False
                print("# %s: %s" % (self.fault, error))
        elif word == "lost receiver":
            self.hosts["destination"].kill_receiver()
        else:
            raise ValueError(what)

    def close(self):
        self.closed = True
        self.flowing.set()
        # Its number may be the next link's listener's: nobody waits at it any more when it is closed.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()
        self.cut(self.pairs)
