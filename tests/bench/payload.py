"""What the guests are given: programs, workloads with their Debian packages, and initial file systems of them."""
import os
import pathlib
import shutil
import stat
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "doppel"
IMAGE = CACHE / "images" / "debian-tiny"
COMPILERS = {"native": "gcc", "riscv64": "riscv64-linux-gnu-gcc"}
ARCHITECTURES = {"native": "amd64", "riscv64": "riscv64"}
PACKAGES = ("python3-minimal perl-base lua5.4 mawk sqlite3 xz-utils 7zip gzip openssl grep redis-server "
            "redis-tools dash coreutils").split()
COMPILE = "-std=gnu17 -O2 -static".split()


def compile_programs(directory):
    """The same sources for both; returns {kind: path}."""
    sources = [str(s) for s in sorted((HERE / "programs").glob("*.c"))]
    made = {}
    for kind, compiler in COMPILERS.items():
        made[kind] = directory / f"bench-{kind}"
        subprocess.run([compiler, *COMPILE, "-o", made[kind], *sources, "-lm"], check=True)
    return made


def text_lines(size):
    """Words and numbers, the same everywhere."""
    syllables = "ka lo mir ta nes ul bri zo en ost".split()
    seed, length, lines = 42, 0, []

    def number(limit):
        nonlocal seed
        seed = (seed * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (seed >> 33) % limit

    while length < size:
        words = []
        for _ in range(6 + number(8)):
            word = "".join(syllables[min(number(10), number(10))] for _ in range(1 + number(4)))
            kind = number(12)
            words.append(word.capitalize() if kind == 0 else str(number(10000)) if kind == 1 else
                         f"{word}-{number(50)}" if kind == 2 else word)
        lines.append(" ".join(words) + ("," if number(5) == 0 else ""))
        length += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


def workloads():
    """{name: shell command}, in order."""
    found = {}
    for line in (HERE / "workloads" / "commands").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, command = line.split(None, 1)
            found[name] = command
    return found


def workload_root(kind, programs):
    """A directory to change root into, made of Debian's packages; kept in the cache."""
    root = CACHE / "bench" / ARCHITECTURES[kind]
    subprocess.run([HERE / "fetch", ARCHITECTURES[kind], "trixie", root, *PACKAGES], check=True)
    bench = root / "bench"
    shutil.rmtree(bench, ignore_errors=True)
    (bench / "workloads" / "run").mkdir(parents=True)
    (bench / "text").write_text(text_lines(1500000))
    for source in (HERE / "workloads").iterdir():
        shutil.copy(source, bench / "workloads" / source.name)
    for name, command in workloads().items():
        script = f"export PATH=/usr/bin LC_ALL=C\nrm -rf /tmp/*\n{command}\n"
        (bench / "workloads" / "run" / name).write_text(script)
    shutil.copy(programs[kind], bench / "bench")
    return root


class Archive:
    """A cpio archive of the kind that Linux takes as an initial file system ("newc")."""

    def __init__(self, out):
        self.out, self.number, self.known = out, 0, set()

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.number += 1
        name = name.encode() + b"\0"
        fields = [self.number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
        self.out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))

    def directory(self, name):
        parts = name.split("/")
        for i in range(1, len(parts) + 1):
            path = "/".join(parts[:i])
            if path and path not in self.known:
                self.known.add(path)
                self.add(path, 0o40755)

    def file(self, name, data, mode=0o100755):
        self.directory(name.rpartition("/")[0])
        self.add(name, mode, data)

    def tree(self, name, source):
        self.directory(name)
        for entry in sorted(os.scandir(source), key=lambda e: e.name):
            path, status = f"{name}/{entry.name}", entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                self.add(path, status.st_mode, os.readlink(entry.path).encode())
            elif stat.S_ISDIR(status.st_mode):
                self.tree(path, entry.path)
            elif stat.S_ISREG(status.st_mode):
                self.add(path, status.st_mode, pathlib.Path(entry.path).read_bytes())

    def end(self):
        self.add("TRAILER!!!", 0)
        self.out.write(bytes(-self.out.tell() % 512))


def make_static(path, programs, root):
    """All but the plan, written once."""
    with open(path, "wb") as out:
        archive = Archive(out)
        archive.file("bench/bench", programs["riscv64"].read_bytes())
        archive.file("bench/guest", (HERE / "guest").read_bytes())
        if root:
            archive.tree("bench/root", root)
        archive.end()


def make_initrd(path, static, plan):
    """Linux unpacks archives one after the other; the plan comes last."""
    with open(path, "wb") as out:
        for part in (IMAGE / "initramfs", static):
            out.write(part.read_bytes())
            out.write(bytes(-out.tell() % 512))
        archive = Archive(out)
        archive.known.add("bench")
        archive.file("bench/plan", "".join(f"{kind} {name}\n" for kind, name in plan).encode(), 0o100644)
        archive.end()
