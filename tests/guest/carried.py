#!/usr/bin/env python3
"""Disks of machines that move while their guest writes them: on storage that both hosts share they change hands, else they are
copied along. Each record that the guest was told of as written is there afterwards, newest last. Prints TAP.
usage: carried.py DOPPEL ENGINE"""
import base64, os, re, shutil, subprocess, sys

from links import Host, doppel, engine, scratch
from tap import PATIENCE, finish, result, until

SIZE, SECTORS = 1 << 20, 1024
DISKS = ["raw", "qcow2", "overlay"]
# Record N is sector N modulo SECTORS of each disk, and told of when it is durable on all.
WRITER = """dmesg -n 1
i=0
while :; do
	printf '%0511d\\n' $i >/tmp/record
	for disk in vda vdb vdc; do
		dd if=/tmp/record of=/dev/$disk bs=512 seek=$((i % {sectors})) conv=notrunc,fsync 2>/dev/null || echo FAILED $disk
	done
	echo wrote $i
	i=$((i + 1))
done
"""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done.stdout + done.stderr)


def make_disks(folder, names=DISKS):
    os.makedirs(folder, exist_ok=True)
    for name in [name for name in ("raw", "base") if name == "base" or name in names]:
        with open(os.path.join(folder, name + ".raw"), "wb") as file:
            file.truncate(SIZE)
    if "qcow2" in names:
        run(doppel, "disk", "create", os.path.join(folder, "qcow2.qcow2"), str(SIZE))


def told(*hosts):
    """The newest record that a guest has told of."""
    found = [int(n) for host in hosts for n in re.findall(r"^wrote (\d+)\s*$", host.console(), re.M)]
    return max(found, default=-1)


def check(folder, newest):
    """All that was told of is there: what is wrong, or nothing."""
    for name, file in zip(DISKS, ("raw.raw", "qcow2.qcow2", "overlay.qcow2")):
        path = os.path.join(folder, file)
        if file.endswith("qcow2"):
            run(doppel, "disk", "check", path)
            run(doppel, "disk", "convert", path, os.path.join(scratch, "out.raw"))
            path = os.path.join(scratch, "out.raw")
        with open(path, "rb") as image:
            data = image.read()
        if file.endswith("qcow2"):
            os.unlink(path)
        for sector in range(min(SECTORS, newest + 1)):
            text = data[sector * 512:sector * 512 + 511]
            expected = newest - (newest - sector) % SECTORS
            found = int(text) if text.isdigit() else -1
            if found != expected and found != expected + SECTORS and not (found > newest and found % SECTORS == sector):
                return "%s: sector %d has record %d, not %d" % (name, sector, found, expected)
    return None


class Elsewhere:
    """A place where other files are at the same paths."""

    def __init__(self, over, own):
        os.makedirs(own)
        self.process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                                         'mount --bind "$1" "$2" && echo ready && exec sleep 3600', "sh", own, over],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.works = self.process.stdout.readline() == "ready\n"
        self.within = ["nsenter", "--mount", "--target", str(self.process.pid), "--"]

    def end(self):
        self.process.kill()
        self.process.wait()


def moves(a, b, options, what):
    before = told(a, b)
    status, output = a.doppel("migrate", "web", b.endpoint, "--quiet", *options)
    good = status == 0 and a.machine() is None and until(lambda: told(b) > before + 2) and "FAILED" not in b.console()
    result(good, what, "%s\n%s\n%s" % (output, b.log(), b.console()[-300:]))
    return good


def stays(a, b, options, message, what):
    before = told(a)
    status, output = a.doppel("migrate", "web", b.endpoint, "--quiet", *options)
    result(status != 0 and message in output and until(lambda: told(a) > before + 2), what, output + b.log())


def last(host):
    """It stands still; what it wrote last."""
    host.doppel("pause", "web")
    newest = told(host)
    host.doppel("rm", "--force", "web")
    return newest


def shared(a, b, folder):
    if moves(a, b, [], "its disks change hands, by pre-copy") and moves(b, a, ["--offline"], "and back, at rest"):
        moves(a, b, ["--max-downtime", "1s"], "and there again")
    return b


def elsewhere(b, folder):
    """From b, whose files are everybody's, to a host that has others at the same paths."""
    place = Elsewhere(folder, os.path.join(scratch, "other"))
    try:
        if not place.works:
            result(True, "disks that are copied # SKIP no mount namespaces here")
            return b, folder
        other = os.path.join(scratch, "other")
        make_disks(other, ["base"])
        run(doppel, "disk", "create", os.path.join(other, "overlay.qcow2"), str(SIZE), "--backing", "base.raw", "--backing-format",
            "raw")
        c = Host("c", place.within)
        c.receive("tcp")
        stays(b, c, [], "--copy-disks brings", "disks that are not there are refused")
        make_disks(other)
        stays(b, c, [], "disk 0 is another file here", "disks that are not the same files are refused")
        for name in ("raw.raw", "qcow2.qcow2"):
            os.unlink(os.path.join(other, name))
        before = told(b)
        if not moves(b, c, ["--copy-disks"], "disks are copied along"):
            return b, folder
        wrong = check(folder, before)
        result(wrong is None, "all that was written before is where it was", wrong)
        newest = last(c)
        wrong = check(other, newest)
        result(wrong is None and newest > 0, "all that was written is in the copies", wrong)
        return None, folder
    finally:
        if "c" in locals():
            c.doppel("rm", "--force", "web")
            c.end_receiving()
        place.end()


def main():
    folder = os.path.join(scratch, "disks")
    make_disks(folder)
    hosts = a, b = Host("a"), Host("b")
    try:
        for host in hosts:
            host.receive("tcp")
        disks = ["raw.raw", "qcow2.qcow2", "base.raw,overlay=%s/overlay.qcow2" % folder]
        script = base64.b64encode(WRITER.replace("{sectors}", str(SECTORS)).encode()).decode()
        status, output = a.doppel("run", "-d", "--name", "web", "--engine", engine, "--memory", "128M", "debian-tiny", "--append",
                                  "doppel.exec64=" + script, *(o for d in disks for o in ("--disk", folder + "/" + d)))
        if status != 0 and "debian-tiny" in output:
            print("1..0 # SKIP", output.strip().splitlines()[-1])
            return 0
        result(status == 0 and until(lambda: told(a) > 3, 300), "a guest writes three disks", output + a.console()[-500:])
        stays(a, b, ["--copy-disks"], "is the same file", "a file is not copied onto itself")
        b = shared(a, b, folder)
        b, folder = elsewhere(b, folder)
        if b:
            newest = last(b)
            wrong = check(folder, newest)
            result(wrong is None and newest > 0, "all that was written is there", wrong)
    finally:
        for host in hosts:
            host.doppel("rm", "--force", "web")
            host.end_receiving()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
