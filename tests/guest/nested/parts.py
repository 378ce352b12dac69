"""What an outer host of a nested boot is made of: Debian's cloud kernel for amd64 with its KVM, busybox, and whatever the
caller wants to find there. The kernel, busybox and modules are kept in the cache; the rest is put together for each boot.
"""
import fcntl
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BENCH = HERE.parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import payload  # noqa: E402

SUITE = "trixie"
PACKAGES = ["linux-image-cloud-amd64", "busybox-static"]
# In the order that they are loaded in, with their parameters.
MODULES = {"irqbypass": "", "kvm": "", "kvm-amd": "npt=1", "tun": "", "virtio-rng": "", "llc": "", "stp": "", "bridge": "",
           "veth": "", "sch_tbf": "", "sch_netem": ""}
FORM = "1"  # raised when what is kept changes
DIRECTORY = payload.CACHE / "nested"
# The C library loads this one by itself, for threads that are cancelled.
UNNAMED_LIBRARIES = ["/lib/x86_64-linux-gnu/libgcc_s.so.1"]


def module(root, name):
    packed = next(root.glob(f"usr/lib/modules/*/kernel/**/{name}.ko.xz"))
    return lzma.decompress(packed.read_bytes())


def make_base(root, out):
    archive = payload.Archive(out)
    archive.file("bin/busybox", (root / "usr/bin/busybox").read_bytes())
    for name in MODULES:
        archive.file(f"nested/{name}.ko", module(root, name), 0o100644)
    archive.file("nested/modules", "".join(f"{n}.ko {o}\n" for n, o in MODULES.items()).encode(), 0o100644)
    archive.end()


def fetch():
    """Makes `kernel` and `base`; the stamp, written last, says what they were made of."""
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=DIRECTORY) as scratch:
        root = pathlib.Path(scratch) / "root"
        subprocess.run([BENCH / "fetch", "amd64", SUITE, root, *PACKAGES], check=True, capture_output=True)
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), DIRECTORY / "kernel")
        with open(DIRECTORY / "base", "wb") as out:
            make_base(root, out)
    (DIRECTORY / "stamp").write_text(stamp())


def stamp():
    return " ".join([FORM, SUITE, *PACKAGES, *MODULES])


def ready():
    """Raises subprocess.CalledProcessError, OSError or StopIteration when the parts can not be had."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with open(DIRECTORY / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (DIRECTORY / "stamp").exists() or (DIRECTORY / "stamp").read_text() != stamp():
            fetch()
    return DIRECTORY / "kernel"


def opened(program):
    """Libraries that a program opens by their names when it needs them."""
    known = dict(re.findall(r"(\S+) \(libc6,x86-64\) => (\S+)", subprocess.check_output(["/sbin/ldconfig", "-p"], text=True)))
    names = re.findall(rb"\0(lib[\w+-]+\.so\.\d+)(?=\0)", program)
    return [known[name.decode()] for name in names if name.decode() in known]


def libraries(path):
    """Every file that the dynamic linker takes for a program of this host; none for what is no such program."""
    program = pathlib.Path(path).read_bytes()
    if not program.startswith(b"\x7fELF"):
        return []
    found = []
    for file in [path] + opened(program):
        told = subprocess.run(["ldd", file], capture_output=True, text=True)
        needed = re.findall(r"(/\S+) \(0x", told.stdout)
        if not needed:
            return []
        found += needed if file == path else [file] + needed
    return found + [library for library in UNNAMED_LIBRARIES if pathlib.Path(library).exists()]


def python():
    """The system's python with what its own tests and tools do not need, as `files` of write_initrd."""
    program = pathlib.Path("/usr/bin/python3")
    library = pathlib.Path(subprocess.check_output([program, "-c", "import os; print(os.path.dirname(os.__file__))"], text=True).strip())
    left_out = re.compile("__pycache__|test|tests|idlelib|lib2to3|ensurepip|config-.*")
    found = [(program, "/usr/bin/python3")]
    for folder, inner, names in os.walk(library):
        inner[:] = [name for name in inner if not left_out.fullmatch(name)]
        found += [(pathlib.Path(folder, name), f"{folder}/{name}") for name in names]
    return found


def add(archive, source, place):
    place = place.lstrip("/")
    if source.is_dir():
        archive.tree(place, source)
        return
    archive.file(place, source.read_bytes(), 0o100000 | source.stat().st_mode & 0o777)
    for library in libraries(source):
        if library not in archive.known:
            archive.known.add(library)
            archive.file(library.lstrip("/"), pathlib.Path(library).read_bytes())


def write_initrd(path, commands, files):
    """`files`: pairs of a path here and its place there."""
    with open(path, "wb") as out:
        out.write((DIRECTORY / "base").read_bytes())
        archive = payload.Archive(out)
        archive.file("init", (HERE / "init").read_bytes())
        archive.file("nested/commands", commands.encode() + b"\n", 0o100644)
        archive.directory("host")
        for source, place in files:
            add(archive, source, place)
        archive.end()
