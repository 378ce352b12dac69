#!/usr/bin/env python3
"""Two Linux guests on a switch, one of which sends numbers to the other and gets them back over a TCP connection, while one after
the other moves to another folder of machines. None is lost, none comes twice. Prints TAP.
usage: lan.py DOPPEL ENGINE"""
import base64, os, re, shutil, sys

from links import Host, engine, scratch
from tap import finish, result, until

BOOT = 300
UP = "dmesg -n 1; ip addr add 10.9.0.%d/24 dev eth0; ip link set eth0 up; echo up; "
SERVER = UP % 1 + "nc -l -p 7 -e cat"
CLIENT = UP % 2 + "i=0; while :; do echo $i; i=$((i + 1)); sleep 0.05; done | nc 10.9.0.1 7; echo ENDED"


def start(host, name, script):
    status, output = host.doppel("run", "-d", "--name", name, "--engine", engine, "--memory", "128M", "debian-tiny", "--rng", "off",
                                 "--net", "switch=lan%d" % os.getpid(), "--append",
                                 "doppel.exec64=" + base64.b64encode(script.encode()).decode())
    return status == 0 and until(lambda: re.search(r"^up\s*$", host.console(name), re.M), BOOT), output


def numbers(host):
    """What came back, whole lines only."""
    return [int(n) for n in re.findall(r"^(\d+)\r?\n", host.console("client"), re.M)]


def goes_on(host):
    """More come, in their order."""
    before = len(numbers(host))
    more = until(lambda: len(numbers(host)) > before + 5)
    got = numbers(host)
    return more and got == list(range(got[0], got[0] + len(got)))


def moves(name, a, b, client, options, what):
    """`client` has the client afterwards, whose console begins anew when it moves: nothing that it told comes again."""
    told = numbers(a)[-1] if name == "client" else -1
    status, output = a.doppel("migrate", name, b.endpoint, "--quiet", *options)
    good = status == 0 and a.machine(name) is None and goes_on(client)
    result(good and (name != "client" or numbers(client)[0] > told), what, "%s\n%s\n%s" % (output, b.log(), client.console("client")[-300:]))


def main():
    hosts = a, b = Host("a"), Host("b")
    try:
        for host in hosts:
            host.receive("tcp")
        started, output = start(a, "server", SERVER)
        if not started and "debian-tiny" in output:
            print("1..0 # SKIP", output.strip().splitlines()[-1])
            return 0
        result(started and start(a, "client", CLIENT)[0] and goes_on(a), "two guests talk on a switch",
               output + a.console("server")[-300:] + a.console("client")[-300:])
        moves("server", a, b, a, [], "the server moves, and its connection with it")
        moves("client", a, b, b, ["--post-copy"] if os.geteuid() == 0 else [], "so does the client")
        moves("server", b, a, b, ["--offline"], "and the server back, at rest")
    finally:
        for host in hosts:
            host.doppel("rm", "--force", "--all")
            host.end_receiving()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


sys.exit(main())
