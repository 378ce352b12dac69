"""Measures devices of guests: disks, networks, sockets, shared folders, consoles, and what machines with them cost."""
import base64
import collections
import json
import os
import pathlib
import re
import struct
import subprocess
import time

import machines
import payload

DISK_BYTES, STAMP = 128 << 20, 512
FILE_BYTES, FILES = 32 << 20, 500
NETWORK_BYTES, REQUESTS = 64_000_000, 2000
LINES = {"serial": 8192, "virtio": 8192}
MEMORY = 512
LIMIT = 180
TRAFFIC = payload.HERE.parent / "guest" / "networks" / "traffic.c"
VIRTIOFSD = pathlib.Path("/usr/lib/qemu/virtiofsd")
VSOCK_PORT, VSOCK_CID = 5000, 4711


class Failed(Exception):
    """One guest's measurement came to nothing; the text says why."""


class Bench:
    """Programs and files that all guests share, and what was found."""

    def __init__(self, directory, options, data):
        self.directory, self.options, self.data = directory, options, data
        self.names = [m for m in options.machines.split(",") if m != "interpret"]
        sources_of = {"load": sorted((payload.HERE / "devices").glob("*.c")), "traffic": [TRAFFIC]}
        for kind, compiler in payload.COMPILERS.items():
            for name, sources in sources_of.items():
                subprocess.run([compiler, *payload.COMPILE, "-o", directory / f"{name}-{kind}", *sources], check=True)
        self.initrd = directory / "initrd"
        with open(self.initrd, "wb") as out:
            base = (payload.IMAGE / "initramfs").read_bytes()
            out.write(base + bytes(-len(base) % 512))
            archive = payload.Archive(out)
            for name in ("load", "traffic"):
                archive.file(f"bench/{name}", (directory / f"{name}-riscv64").read_bytes())
            archive.end()

    def add(self, machine, key, value):
        self.data["figures"].setdefault(key, {}).setdefault(machine, []).append(value)

    def note(self, machine, key, text):
        self.data["notes"].setdefault(key, {})[machine] = text


def command(bench, machine, script, ours=(), theirs=(), console="ttyS0"):
    """A guest that runs a shell script; options for our machine and for the peer's say what it has."""
    append = "doppel.exec64=" + base64.b64encode(script.encode()).decode()
    words = machines.command(machine, bench.initrd, MEMORY, append)
    words = [w.replace("console=ttyS0", f"console={console}") for w in words]
    return words + list(ours if machine in machines.ENGINES else [*machines.PEER_VIRTIO, *theirs])


def lines_of(words):
    """The console, line by line with the time of each; Failed unless the guest powers off by itself."""
    said = collections.deque(maxlen=12)
    with machines.Console(words) as console:
        while (line := console.line(LIMIT)) is not None:
            said.append(line)
            yield line, time.monotonic()
        try:
            status = console.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            status = f"no answer in {LIMIT} s"
    if status != 0:
        raise Failed(f"{status}: " + " | ".join(said))


def loads(words):
    """{name: value} of what the programs in the guest print."""
    found = {}
    for line, _ in lines_of(words):
        if m := re.fullmatch(r"load (\S+) ([0-9.]+)|(send|receive|echo): ([0-9.]+) \S+", line):
            found[m[1] or m[3]] = float(m[2] or m[4])
    return found


def disk_sum(path):
    """What load.h calls the sum, from the stamps of a raw disk."""
    total = 0
    with open(path, "rb") as disk:
        for block in range(DISK_BYTES // 4096):
            bytes_ = disk.read(4096)
            stamps = [struct.unpack_from("<QQ", bytes_, at) for at in range(0, 4096, STAMP)]
            if stamps != [(block * 8 + i, stamps[0][1]) for i in range(8)]:
                raise Failed(f"the disk's block {block} is not what the guest wrote")
            total += stamps[0][1] * (block % 1021 + 1)
    return total


def disk(bench, machine):
    for form in ("raw", "qcow2"):
        path = bench.directory / f"disk.{form}"
        path.unlink(missing_ok=True)
        subprocess.run([machines.DOPPEL, "disk", "create", path, str(DISK_BYTES)], check=True,
                       capture_output=True)
        found = loads(command(
            bench, machine, f"/bench/load disk /dev/vda {bench.options.seconds}",
            ["--disk", f"{path},format={form}"],
            ["-drive", f"file={path},format={form},if=none,id=d", "-device", "virtio-blk-device,drive=d"]))
        raw = path
        if form == "qcow2":
            raw = bench.directory / "content.raw"
            subprocess.run([machines.DOPPEL, "disk", "convert", path, raw], check=True, capture_output=True)
        if disk_sum(raw) != found.pop("sum", None):
            raise Failed(f"the {form} disk does not hold what the guest wrote last")
        for extra in {path, raw}:
            extra.unlink()
        for name, value in found.items():
            bench.add(machine, f"{form} {name}", value)


def network(bench, machine):
    """By the command that does the same alone, in a network of its own."""
    tap = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    words = [payload.HERE / "network", "--rounds", "1", "--machines", machine, "--json", "--bytes",
             str(NETWORK_BYTES), "--requests", str(REQUESTS), "--networks", "user,tap" if tap else "user"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    for kind, _, rounds in json.loads(done.stdout):
        if not rounds:
            raise Failed(f"network {kind}: see above")
        for found in rounds:
            for name in ("send", "receive", "cpu"):
                bench.add(machine, f"{kind} {name}", found[name])
            bench.add(machine, f"{kind} echo", 1e6 / found["echo"])


def ended(process):
    process.kill()
    process.wait()


def vsock(bench, machine):
    folder = bench.directory / "sockets"
    folder.mkdir(exist_ok=True)
    where = folder / str(VSOCK_PORT)
    if machine == "peer":
        if not os.access("/dev/vhost-vsock", os.R_OK | os.W_OK):
            for name in ("send", "receive", "echo"):
                bench.note(machine, f"vsock {name}", "no vhost-vsock")
            return
        where = f"vsock:{VSOCK_PORT}"
    script = "".join(f"/bench/traffic vsock {VSOCK_PORT} {what} || exit 1\n" for what in
                     (f"send {NETWORK_BYTES}", f"receive {NETWORK_BYTES}", f"echo {REQUESTS}"))
    server = subprocess.Popen([bench.directory / "traffic-native", "serve", str(where)])
    try:
        found = loads(command(bench, machine, script, ["--vsock", str(folder)],
                              ["-device", f"vhost-vsock-device,guest-cid={VSOCK_CID}"]))
    finally:
        ended(server)
        (folder / str(VSOCK_PORT)).unlink(missing_ok=True)
    for name in ("send", "receive"):
        bench.add(machine, f"vsock {name}", found[name])
    bench.add(machine, "vsock echo", 1e6 / found["echo"])


def check_folder(folder):
    """One file is left, every stamp of it in its place."""
    data = (folder / "data").read_bytes()
    stamps = [struct.unpack_from("<QQ", data, at) for at in range(0, len(data), STAMP)]
    if os.listdir(folder) != ["data"] or len(data) != FILE_BYTES or stamps != [(i, 1) for i in range(len(stamps))]:
        raise Failed("the shared folder does not hold what the guest wrote")
    (folder / "data").unlink()


def share(bench, machine):
    """The peer has a process of its own for it, and needs memory that both can see."""
    folder, socket = bench.directory / "shared", bench.directory / "virtiofsd.sock"
    folder.mkdir(exist_ok=True)
    server = None
    if machine == "peer":
        if not VIRTIOFSD.exists() or os.geteuid() != 0:
            for name in ("write", "read", "names"):
                bench.note(machine, f"file-{name}", "no virtiofsd")
            return
        server = subprocess.Popen([VIRTIOFSD, f"--socket-path={socket}", "-o", f"source={folder}", "-o", "cache=auto"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    script = f"mkdir /s && mount -t virtiofs share /s && /bench/load files /s {FILE_BYTES} {FILES}"
    try:
        found = loads(command(
            bench, machine, script, ["--share", f"{folder}:share"],
            ["-M", "virt,memory-backend=m", "-object", f"memory-backend-memfd,id=m,size={MEMORY}M,share=on",
             "-chardev", f"socket,id=c,path={socket}", "-device", "vhost-user-fs-device,chardev=c,tag=share"]))
    finally:
        if server:
            ended(server)
            socket.unlink(missing_ok=True)
    check_folder(folder)
    for name, value in found.items():
        bench.add(machine, name, value)


def console_lines(count):
    return [f"{i:08x}{i * i:055d}" for i in range(count)]


def console(bench, machine):
    for kind, count in LINES.items():
        node = "ttyS0" if kind == "serial" else "hvc0"
        words = command(bench, machine, f"/bench/load console {count * 64}", ["--console-device", kind], [], node)
        if machine == "peer" and kind == "virtio":
            words.remove("-nographic")
            words += ["-display", "none", "-monitor", "none", "-serial", "none", "-chardev", "stdio,id=c",
                      "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c"]
        came = [(line, when) for line, when in lines_of(words) if re.fullmatch("[0-9a-f]{8}[0-9]{55}", line)]
        if [line for line, _ in came] != console_lines(count):
            raise Failed(f"{kind}: {len(came)} lines came, or others than the guest wrote")
        bench.add(machine, f"console {kind}", (count - 1) * 64 / (came[-1][1] - came[0][1]) / 1e6)


def debian_is_here():
    listed = subprocess.run([machines.DOPPEL, "image", "ls", "--format", "json"], capture_output=True, check=True)
    return any(row["name"] == "debian" and row["state"] == "ready" for row in json.loads(listed.stdout))


def login(bench, machine):
    """A whole Debian from its unchanged disk; what it writes is dropped."""
    if not debian_is_here():
        bench.note(machine, "login", "no image")
        return
    image = payload.CACHE / "images" / "debian"
    words = [machines.DOPPEL, "run", "debian", "--engine", machine, "--memory", f"{MEMORY}M"]
    if machine == "peer":
        words = [machines.PEER, "-M", "virt", "-m", f"{MEMORY}M", "-smp", "1", "-nographic", "-no-reboot",
                 "-kernel", str(image / "kernel"), "-initrd", str(image / "initramfs"),
                 "-append", "console=ttyS0 quiet root=/dev/vda rw", *machines.PEER_VIRTIO,
                 "-drive", f"file={image / 'disk.raw'},format=raw,if=none,id=d,snapshot=on",
                 "-device", "virtio-blk-device,drive=d", "-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"]
    with machines.Console(words) as guest:
        if not guest.text(" login: ", LIMIT):
            raise Failed(f"no login in {LIMIT} s: {guest.pending[-500:]!r}")
        bench.add(machine, "login", time.monotonic() - guest.started)


def family(process):
    """A process and all that it started."""
    children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process] + [p for child in children for p in family(int(child))]


def beside_guest(process):
    """KiB of all processes of a machine, shared pages divided, without the mapping that is the guest's memory."""
    total = 0
    for member in family(process):
        size = 0
        for line in pathlib.Path(f"/proc/{member}/smaps").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key == "Size":
                size = int(rest.split()[0])
            elif key == "Pss" and size != MEMORY * 1024:
                total += int(rest.split()[0])
    return total


def memory(bench, machine):
    """At the prompt of the small guest with one device of each kind that both have."""
    path = bench.directory / "idle.raw"
    with open(path, "wb") as out:
        out.truncate(DISK_BYTES)
    words = command(bench, machine, "echo prompt; sleep 1000",
                    ["--disk", f"{path},format=raw", "--net", "user", "--balloon", f"{MEMORY}M"],
                    ["-drive", f"file={path},format=raw,if=none,id=d", "-device", "virtio-blk-device,drive=d", "-netdev",
                     "user,id=n", "-device", "virtio-net-device,netdev=n", "-device", "virtio-balloon-device"])
    with machines.Console(words) as guest:
        if not guest.text("prompt", LIMIT):
            raise Failed(f"no prompt: {guest.pending[-500:]!r}")
        time.sleep(3)
        bench.add(machine, "memory", beside_guest(guest.process.pid) / 1024)


GROUPS = {"disk": disk, "network": network, "vsock": vsock, "share": share, "console": console, "login": login,
          "memory": memory}


def measure(directory, options, data, say):
    """A B A B: in each round each group of measurements on one machine after the other."""
    data.update(figures={}, notes={})
    bench = Bench(directory, options, data)
    only = set(filter(None, options.only.split(",")))
    for number in range(options.rounds):
        for name, group in GROUPS.items():
            for machine in bench.names if not only or name in only else ():
                say(f"round {number + 1}: {name}, {machine}")
                try:
                    group(bench, machine)
                except (Failed, OSError, KeyError, subprocess.SubprocessError) as why:
                    data["failures"].append(f"{machine} {name}: {why}")
