#!/usr/bin/env python3
"""Clones, saves and restored files amid which something is killed: the command, the process that writes the file, a clone's monitor. Afterwards the
machine runs on with all of its memory, what else can be started is whole, and what was left behind goes. Prints TAP. A kill is
drawn from a seed, which is told; it comes again with DOPPEL_SEED=SEED and KILLS 1.
usage: kills.py DOPPEL ENGINE KILLS PATTERN"""
import json, os, random, re, shutil, signal, struct, subprocess, sys, tempfile, time

from tap import PATIENCE, finish, result, until

# Kills after which the machine is taken back: its disk can have 64 layers.
BETWEEN = 6
DISK, KNOWN = 1 << 20, b"known " * 999
# What is done to which machine, and what may be killed meanwhile. `web` runs, `saved` is at rest.
WORK = [(["clone", "web"], ["command", "writer", "clone"]),
        (["clone", "web", "--count", "3"], ["command", "writer", "clone"]),
        (["clone", "web", "--snapshot", "base"], ["command", "clone"]),
        (["clone", "saved", "--count", "3", "--snapshot", "base"], ["command", "clone"]),
        (["restore", "FILE", "--name", "new"], ["command"]),
        (["snapshot", "web", "new"], ["command", "writer"]),
        (["snapshot", "web", "new", "--parent", "base"], ["command", "writer"]),
        (["snapshot", "web", "new", "--compress"], ["command", "writer"])]
# Of files that a machine's folder has at times only.
PASSING = {"control", "lock", "monitor.log", "console.log", "console.log.1", "vsock", "state.json", "machine.yaml", "snapshots"}


def children(pid):
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found += map(int, file.read().split())
    except OSError:  # it has ended
        pass
    return found


class Machines:
    """A registry of its own."""

    def __init__(self, doppel, engine, scratch):
        self.program, self.engine, self.scratch = doppel, engine, scratch
        self.folder, self.exported = os.path.join(scratch, "state/machines"), os.path.join(scratch, "base.snap")
        self.environment = dict(os.environ, DOPPEL_STATE=os.path.join(scratch, "state"),
                                XDG_CACHE_HOME=os.path.join(scratch, "cache"))

    def begin(self, *arguments):
        return subprocess.Popen([self.program, *arguments], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def doppel(self, *arguments):
        run = self.begin(*arguments)
        output = run.communicate(timeout=5 * PATIENCE)[0]
        return run.returncode, output

    def must(self, *arguments):
        status, output = self.doppel(*arguments)
        if status:
            raise RuntimeError("doppel %s: %s" % (" ".join(arguments), output))
        return output

    def list(self):
        return {m["name"]: m for m in json.loads(self.must("ls", "--format", "json"))}

    def read(self, name, file):
        try:
            with open(os.path.join(self.folder, name, file), errors="replace") as opened:
                return opened.read()
        except OSError:
            return ""

    def turns(self, name):
        return len(re.findall(r"^0 \d+\s*$", self.read(name, "console.log"), re.M))

    def goes_on(self, name):
        """The guest checks and writes all of its memory once more."""
        before = self.turns(name)
        return until(lambda: self.turns(name) >= before + 2) and "WRONG" not in self.read(name, "console.log")

    def files(self, name):
        """What stays in a machine's folder; layers of its disk as one."""
        return sorted({re.sub(r"^disk.*", "disk", file) for file in os.listdir(os.path.join(self.folder, name))} - PASSING)

    def snapshots(self, name):
        return self.must("snapshot", "ls", name, "--quiet").split()

    def disk(self, name):
        """Whether what the guest's disk has is what it was made with."""
        disk, raw = os.path.join(self.folder, name, "disk.qcow2"), os.path.join(self.scratch, "read.raw")
        if not os.path.exists(disk):
            raw = os.path.join(self.folder, name, "disk.raw")
        else:
            self.must("disk", "convert", disk, raw)
        with open(raw, "rb") as file:
            good = file.read(len(KNOWN)) == KNOWN
        if os.path.exists(disk):
            os.unlink(raw)
        return good

    def processes(self):
        """All that were started here."""
        mark, found = ("DOPPEL_STATE=" + self.environment["DOPPEL_STATE"]).encode(), 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as file:
                    found += mark in file.read().split(b"\0")
            except OSError:
                pass
        return found

    def make(self, pattern):
        """A machine that runs and one that is saved, each with files and a disk of its own."""
        image = os.path.join(self.scratch, "image")
        os.mkdir(image)
        with open(os.path.join(image, "kernel"), "wb") as file:  # an empty one: the firmware is the guest
            file.write(struct.pack("<IIQQQIIQQII", 0x6f, 0, 0x200000, 4096, 0, 2, 0, 0, 0x5643534952, 0x05435352, 0).ljust(4096, b"\0"))
        with open(os.path.join(image, "disk.raw"), "wb") as file:
            file.write(KNOWN)
            file.truncate(DISK)
        self.must("image", "import", "--name", "own", image)
        for name in ("web", "saved"):
            self.must("create", name, "own", "--firmware", pattern, "--memory", "64M", "--engine", self.engine)
            self.must("start", name)
            if not until(lambda: self.turns(name) >= 2):
                raise RuntimeError("%s does not run: %s" % (name, self.read(name, "monitor.log")))
            self.must("snapshot", name, "base")
        self.must("stop", "--force", "saved")
        self.must("snapshot", "export", "saved", "base", self.exported)


class Kill:
    """One, drawn; `lasts` is what each work takes when it is let alone."""

    def __init__(self, machines, dice, lasts):
        self.machines, self.dice = machines, dice
        work, victims = dice.choice(WORK)
        self.work = [machines.exported if word == "FILE" else word for word in work]
        self.victim, self.part = dice.choice(victims), dice.random()
        self.key, self.lasts = " ".join(work), lasts
        self.said = []

    def __str__(self):
        return "%s, its %s at %d %%" % (self.key, self.victim, self.part * 100)

    def measure(self):
        if self.key in self.lasts:
            return
        began = time.monotonic()
        self.must_be_left_alone()
        self.lasts[self.key] = time.monotonic() - began

    def must_be_left_alone(self):
        self.machines.must(*self.work)
        if self.work[0] == "snapshot":
            self.machines.must("snapshot", "rm", "web", "new")
        else:
            self.machines.must("rm", "--force", *(set(self.machines.list()) - {"web", "saved"}))

    def strike(self):
        """Whether it came in time."""
        monitor = self.machines.list()["web"]["pid"]
        before = set(children(monitor))
        command = self.machines.begin(*self.work)
        if self.victim == "command":
            time.sleep(self.part * self.lasts[self.key])
            found = [command.pid]
        else:
            parent = monitor if self.victim == "writer" else command.pid
            known = before if self.victim == "writer" else set()
            found = []
            while not found and command.poll() is None:
                found = sorted(set(children(parent)) - known)
                time.sleep(0.0005)
            time.sleep(self.part * self.lasts[self.key] / 4)
        happened = False
        for pid in found[-1:]:
            try:
                os.kill(pid, signal.SIGKILL)
                happened = True
            except ProcessLookupError:
                pass
        self.said.append(command.communicate(timeout=5 * PATIENCE)[0])
        return happened

    # What holds afterwards: what is wrong, or nothing.

    def runs_on(self):
        web = self.machines.list()["web"]
        if "could not be removed again" in self.said[0]:
            return "what failed stays"
        if web["state"] != "running" or not self.machines.goes_on("web"):
            return "web is %s: %s" % (web["state"], self.machines.read("web", "monitor.log"))
        return None

    def others_are_whole(self):
        for name, machine in self.machines.list().items():
            if name in ("web", "saved"):
                continue
            if machine["state"] not in ("running", "starting"):
                status, output = self.machines.doppel("start", name)
                # It may have been on its way: a clone's record is written when it runs.
                if status and not until(lambda: self.machines.list()[name]["state"] == "running"):
                    return "%s, which was %s, does not start: %s" % (name, machine["state"], output)
            if not until(lambda: self.machines.turns(name) > 0) or not self.machines.goes_on(name):
                return "%s does not run right: %s" % (name, self.machines.read(name, "console.log")[-200:])
            if self.machines.files(name) != self.machines.files("web"):
                return "%s has %s" % (name, self.machines.files(name))
            if not until(lambda: self.machines.list()[name]["state"] == "running"):
                return "%s is %s" % (name, self.machines.list()[name]["state"])
            self.machines.must("stop", "--force", name)
            if not self.machines.disk(name):
                return "the disk of %s is not what it was" % name
            self.machines.must("rm", name)
        return None

    def is_free(self):
        """What is written for nobody any more keeps nobody waiting."""
        self.machines.must("snapshot", "web", "after")

    def works_again(self):
        for name in ("web", "saved"):
            for tag in self.machines.snapshots(name):
                self.machines.must("snapshot", "inspect", name, tag, "--verify")
            if not {"base"} <= set(self.machines.snapshots(name)) <= {"base", "new", "after"}:
                return "%s has the snapshots %s" % (name, self.machines.snapshots(name))
        for clone in self.machines.must("clone", "web").split() + self.machines.must("clone", "saved", "--snapshot", "base").split():
            if not self.machines.goes_on(clone):
                return "%s does not run right" % clone
            self.machines.must("rm", "--force", clone)
        for tag in set(self.machines.snapshots("web")) - {"base"}:
            self.machines.must("snapshot", "rm", "web", tag)
        return None

    def nothing_is_left(self, processes):
        making = [name for name in os.listdir(self.machines.folder) if name.startswith(".making.")]
        for name in making:  # who makes one has ten minutes
            os.utime(os.path.join(self.machines.folder, name), (0, 0))
        if making:
            self.machines.must("rm", "--force", *self.machines.must("clone", "web").split())
        if set(os.listdir(self.machines.folder)) != {"web", "saved"}:
            return "left: %s" % os.listdir(self.machines.folder)
        for name in ("web", "saved"):
            if os.listdir(os.path.join(self.machines.folder, name, "snapshots")) != ["base.snap"]:
                return "left: %s" % os.listdir(os.path.join(self.machines.folder, name, "snapshots"))
            files = os.listdir(os.path.join(self.machines.folder, name))
            if any(file.startswith(".") for file in files):
                return "left: %s" % files
        if not until(lambda: self.machines.processes() == processes):
            return "%d processes, and not %d" % (self.machines.processes(), processes)
        return None

    def meet(self, name, processes):
        happened, wrong = False, None
        try:
            self.measure()
            happened = self.strike()
            self.is_free()
            wrong = (self.runs_on() or self.others_are_whole() or self.works_again() or self.runs_on() or
                     self.nothing_is_left(processes))
        except RuntimeError as error:
            wrong = str(error)
        return result(wrong is None, "%s, %s%s" % (name, self, "" if happened else " (not come to)"),
                      "%s\nsaid: %s\nmonitor: %s" % (wrong, "".join(self.said), self.machines.read("web", "monitor.log")[-500:]))


def catch_writer_of(machines, work, undo):
    """A command that saves and its writing process, which is stopped; or nothing, when that was done before."""
    def state(pid):
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    monitor = machines.list()["web"]["pid"]
    before, found = set(children(monitor)), []
    command = machines.begin(*work)
    while not found and command.poll() is None:
        found = sorted(set(children(monitor)) - before)
    try:
        os.kill(found[0], signal.SIGSTOP)
        while state(found[0]) != "Z":
            if state(found[0]) == "T":
                return command, found[0]
    except (IndexError, OSError):
        pass
    command.communicate(timeout=5 * PATIENCE)
    machines.doppel(*undo)
    return None


def catch_writer(machines, work, undo):
    caught, attempts = None, 0
    while not caught and attempts < 20:
        caught, attempts = catch_writer_of(machines, work, undo), attempts + 1
    return caught


def save_for_nobody(machines):
    """What a killed command leaves is neither waited for nor kept."""
    caught = catch_writer(machines, ["snapshot", "web", "given-up"], ["snapshot", "rm", "web", "given-up"])
    if not caught:
        return result(False, "a save whose command is killed is given up", "its writer was never met")
    command, writer = caught
    command.kill()
    command.communicate(timeout=5 * PATIENCE)
    following = machines.begin("snapshot", "web", "following")
    time.sleep(0.2)
    os.kill(writer, signal.SIGCONT)
    output = following.communicate(timeout=5 * PATIENCE)[0]
    tags = machines.snapshots("web")
    for tag in set(tags) - {"base"}:
        machines.must("snapshot", "rm", "web", tag)
    return result(following.returncode == 0 and set(tags) == {"base", "following"} and machines.goes_on("web"),
                  "a save whose command is killed is given up", "%s\n%s" % (output, tags))


def can_run_early():
    """Where the kernel tells of memory that a device touches, clones do not wait for theirs."""
    try:
        os.close(os.open("/dev/userfaultfd", os.O_RDWR))
        return True
    except OSError:
        with open("/proc/sys/vm/unprivileged_userfaultfd") as file:
            return file.read().strip() == "1"


def begin_early(machines):
    """A clone that runs, and whose memory is not written before its writer goes on."""
    caught = catch_writer(machines, ["clone", "web", "--name", "early"], ["rm", "--force", "early"])
    if not caught:
        raise RuntimeError("its writer was never met")
    if not until(lambda: machines.list().get("early", {}).get("state") == "running"):
        raise RuntimeError("it does not run before its memory is written: %s" % machines.list())
    return caught


def clone_in_time(machines):
    command, writer = begin_early(machines)
    refused = [machines.doppel("snapshot", "early", "new"), machines.doppel("clone", "early")]
    waits = command.poll() is None
    os.kill(writer, signal.SIGCONT)
    output = command.communicate(timeout=5 * PATIENCE)[0]
    good = waits and command.returncode == 0 and all(status and "memory is there" in said for status, said in refused)
    good = good and machines.goes_on("early") and machines.goes_on("web")
    again = machines.must("clone", "early").split() if good else []
    good = good and machines.goes_on(again[0])
    machines.must("rm", "--force", "early", *again)
    return result(good, "a clone runs before its memory is written, and has all of it then", "%s %s" % (refused, output))


def clone_without_writer(machines):
    command, writer = begin_early(machines)
    os.kill(writer, signal.SIGKILL)
    output = command.communicate(timeout=5 * PATIENCE)[0]
    return result(command.returncode != 0 and "early" not in machines.list() and machines.goes_on("web"),
                  "a clone whose writer dies is none, and its source runs on", "%s %s" % (output, machines.list()))


def clone_without_command(machines):
    command, writer = begin_early(machines)
    command.kill()
    command.communicate(timeout=5 * PATIENCE)
    os.kill(writer, signal.SIGCONT)
    ended = until(lambda: machines.list()["early"]["state"] == "failed")
    said = machines.must("inspect", "early")
    machines.must("rm", "early")
    return result(ended and "ended amid" in said and machines.goes_on("web"),
                  "a clone whose command is killed amid fails plainly", said)


def clone_without_source(machines):
    command, writer = begin_early(machines)
    machines.must("stop", "--force", "web")
    os.kill(writer, signal.SIGCONT)
    output = command.communicate(timeout=5 * PATIENCE)[0]
    gone = "early" not in machines.list()
    machines.must("start", "web")
    return result(command.returncode != 0 and gone and machines.goes_on("web"),
                  "a clone whose source is stopped amid is none", "%s %s" % (output, machines.list()))


def early_clones(machines):
    if not can_run_early():
        return
    for test in (clone_in_time, clone_without_writer, clone_without_command, clone_without_source):
        try:
            test(machines)
        except RuntimeError as error:
            result(False, test.__name__, str(error))


def return_to_base(machines):
    """Which ends the chain of layers that its disk has grown, and all that only it needed."""
    status, output = machines.doppel("restore", "--force", "web", "base")
    layers = [file for file in os.listdir(os.path.join(machines.folder, "web")) if file.startswith("disk")]
    return result(status == 0 and machines.goes_on("web") and len(layers) == 2, "what was saved before is gone back to",
                  "%s\n%s" % (output, layers))


def main():
    doppel, engine, count, pattern = os.path.realpath(sys.argv[1]), sys.argv[2], int(sys.argv[3]), os.path.realpath(sys.argv[4])
    # The long form draws others each time.
    seed = int(os.environ.get("DOPPEL_SEED", random.randrange(1 << 32) if os.environ.get("DOPPEL_LONG") else 264))
    scratch = tempfile.mkdtemp()
    machines, lasts = Machines(doppel, engine, scratch), {}
    try:
        machines.make(pattern)
        save_for_nobody(machines)
        early_clones(machines)
        processes = machines.processes()
        for i in range(count):
            if not Kill(machines, random.Random(seed + i), lasts).meet("seed %d" % (seed + i), processes):
                break
            if i % BETWEEN == BETWEEN - 1 and not return_to_base(machines):
                break
        machines.must("stop", "--force", "web")
        for name in ("web", "saved"):
            result(machines.disk(name), "the disk of %s is what it was" % name)
    finally:
        machines.doppel("rm", "--all", "--force")
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


sys.exit(main())
