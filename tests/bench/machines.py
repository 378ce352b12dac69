"""Starts guests under an engine or the peer, reads their console line by line with the time of each."""
import os
import pathlib
import re
import selectors
import subprocess
import time

import payload

ROOT = payload.HERE.parent.parent
DOPPEL = os.environ.get("DOPPEL") or str(ROOT / "build" / "doppel")
PEER = os.environ.get("PEER") or "qemu-system-riscv64"
ENGINES = ("interpret", "translate")
# Virtio 1 over MMIO, and the random bytes that our machines have beside any other virtio device.
PEER_VIRTIO = ("-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device")


def command(machine, initrd, memory, append):
    kernel, append = str(payload.IMAGE / "kernel"), ("console=ttyS0 quiet " + append).strip()
    if machine in ENGINES:
        return [DOPPEL, "run", "--engine", machine, "--kernel", kernel, "--initrd", str(initrd), "--memory",
                f"{memory}M", "--append", append]
    return [PEER, "-M", "virt", "-m", f"{memory}M", "-smp", "1", "-nographic", "-no-reboot", "-kernel", kernel,
            "-initrd", str(initrd), "-append", append]


class Console:
    """A process and its output. Always closed, which ends the process."""

    def __init__(self, arguments):
        self.started = time.monotonic()
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def more(self, deadline):
        """Reads what there is; False when it ended or nothing came in time."""
        if not self.selector.select(max(0, deadline - time.monotonic())):
            return False
        data = os.read(self.process.stdout.fileno(), 65536)
        self.pending += data
        return bool(data)

    def line(self, seconds):
        """The next line, or None."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.pending:
            if not self.more(deadline):
                return None
        text, _, self.pending = self.pending.partition(b"\n")
        return text.decode(errors="replace").strip("\r ")

    def text(self, wanted, seconds):
        """Waits for a text anywhere; True when it came."""
        deadline = time.monotonic() + seconds
        while wanted.encode() not in self.pending:
            if not self.more(deadline):
                return False
        return True


def boot_seconds(machine, memory=512, limit=120):
    """From the start of the process to the first line of user space, and to the prompt of the shell."""
    with Console(command(machine, payload.IMAGE / "initramfs", memory, "")) as console:
        if not console.text("doppel: init", limit):
            return None
        first = time.monotonic() - console.started
        if not console.text("debian-tiny:/# ", limit):
            return None
        return first, time.monotonic() - console.started


def memory_of(process, guest_mib):
    """(resident, of it the guest's memory) in KiB; the latter is the mapping of its size, or the largest. Memory that the
    process has mapped twice (translated code, to write and to run) counts once."""
    resident = guest = 0
    counted = "Rss"
    best = (-1, 0)
    size = 0
    for line in pathlib.Path(f"/proc/{process}/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = "Pss" if "memfd:" in line else "Rss"
        elif key == "Size":
            size = int(rest.split()[0])
        elif key == counted:
            rss = int(rest.split()[0])
            resident += rss
            rank = (1 << 40) if size == guest_mib * 1024 else size
            if rank > best[0]:
                best, guest = (rank, rss), rss
    return resident, guest


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(machine, memory=256, settle=2.0, watch=6.0):
    """At the prompt: share of a core, resident KiB, KiB of it that are the guest's pages; or None."""
    with Console(command(machine, payload.IMAGE / "initramfs", memory, "")) as console:
        if not console.text("debian-tiny:/# ", 120):
            return None
        time.sleep(settle)
        process, before = console.process.pid, processor_seconds(console.process.pid)
        started = time.monotonic()
        time.sleep(watch)
        share = (processor_seconds(process) - before) / (time.monotonic() - started)
        resident, guest = memory_of(process, memory)
        return share, resident, guest
