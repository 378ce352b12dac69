#!/usr/bin/python3
"""One program of a Debian package for riscv64 with the libraries that it loads, as an archive for an initial file system.

usage: package.py PACKAGE PROGRAM
Prints where the archive is: in the cache, made when it is not there. In the guest the program is in /PACKAGE/root, a root
to change into. PROGRAM: its path in the package, such as usr/bin/fio.
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
    found, wanted = {}, [program]
    there = {path.name: path for path in (root / "usr/lib").rglob("*.so*")}
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


if __name__ == "__main__":
    try:
        print(archive_of(*sys.argv[1:]))
    except (subprocess.CalledProcessError, OSError, KeyError) as e:
        sys.exit(f"{sys.argv[1]}: {e}")
