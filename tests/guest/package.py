#!/usr/bin/python3
"""One program of a Debian package for riscv64 with the libraries that it loads, as an archive for an initial file system.

usage: package.py PACKAGE PROGRAM INITRD [FILE...]
Writes debian-tiny's initial file system with the program in /PACKAGE/root, a root to change into, and the files in its
/tmp; prints where the kernel is. PROGRAM: its path in the package, such as usr/bin/fio. The archive of the package is kept
in the cache.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import payload  # noqa: E402


def libraries(root, program):
    """The program and every library that it needs, as paths in root."""
    there = {path.name: path for path in (root / "usr/lib").rglob("*.so*")}
    # The C library loads this one by itself, for threads that are cancelled.
    found, wanted = {}, [program, there["libgcc_s.so.1"]]
    while wanted:
        path = wanted.pop()
        text = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
        found[path.name] = path
        for name in re.findall(r"\(NEEDED\).*\[(.+)\]", text):
            if name not in found:
                wanted.append(there[name])
    return found


def make(path, package, program):
    with tempfile.TemporaryDirectory(prefix="doppel-package-") as scratch:
        root = pathlib.Path(scratch) / "root"
        subprocess.run([BENCH / "fetch", "riscv64", "trixie", root, package], check=True, stdout=sys.stderr)
        with open(path.with_suffix(".new"), "wb") as out:
            archive = payload.Archive(out)
            for name, file in libraries(root, root / program).items():
                place = "usr/bin" if file == root / program else "usr/lib"
                archive.file(f"{package}/root/{place}/{name}", file.read_bytes())
            archive.add(f"{package}/root/lib", 0o120777, b"usr/lib")
            for empty in ("proc", "sys", "dev", "tmp", "etc"):
                archive.directory(f"{package}/root/{empty}")
            archive.end()
    path.with_suffix(".new").rename(path)


def archive_of(package, program):
    """Raises subprocess.CalledProcessError, OSError or KeyError when it can not be had."""
    path = payload.CACHE / "packages" / f"{package}.cpio"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        make(path, package, program)
    return path


def write_initrd(path, archives, place, files):
    """Linux unpacks archives one after the other, each from a multiple of 512 bytes on."""
    with open(path, "wb") as out:
        for part in (payload.IMAGE / "initramfs", *archives):
            out.write(part.read_bytes())
            out.write(bytes(-out.tell() % 512))
        last = payload.Archive(out)
        for name, data, mode in files:
            last.file(f"{place}/{name}", data, mode)
        last.end()


def main(package, program, initrd, *files):
    try:
        archive = archive_of(package, program)
    except (subprocess.CalledProcessError, OSError, KeyError) as e:
        return f"{package}: {e}"
    paths = [pathlib.Path(file) for file in files]
    write_initrd(initrd, [archive], f"{package}/root/tmp", [(p.name, p.read_bytes(), 0o100644) for p in paths])
    print(payload.IMAGE / "kernel")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
