#!/usr/bin/env python3
"""Machines that move by TLS: with certificates and with a key, and not past a stranger. Prints TAP.
usage: links.py DOPPEL ENGINE PATTERN"""
import json, os, re, shutil, socket, subprocess, sys, tempfile

from tap import PATIENCE, finish, result, until

doppel, engine = os.path.realpath(sys.argv[1]), sys.argv[2]
scratch = tempfile.mkdtemp()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Host:
    def __init__(self, name, within=()):
        self.within = list(within)
        self.root, self.log_path, self.receiver = os.path.join(scratch, name), os.path.join(scratch, name + ".log"), None
        os.mkdir(self.root)
        self.environment = dict(os.environ, DOPPEL_STATE=self.root)

    def receive(self, *arguments):
        """At a port of its own; returns the endpoint, or None and what was said."""
        self.end_receiving()
        self.endpoint = "%s:127.0.0.1:%d" % (arguments[0], free_port())
        with open(self.log_path, "wb") as log:
            self.receiver = subprocess.Popen([*self.within, doppel, "receive", self.endpoint, *arguments[1:]], env=self.environment,
                                             stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(lambda: "received at" in self.log() or self.receiver.poll() is not None)
        return self.endpoint

    def end_receiving(self):
        if self.receiver:
            self.receiver.terminate()
            self.receiver.wait()
        self.receiver = None

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def doppel(self, *arguments):
        run = subprocess.run([*self.within, doppel, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=PATIENCE)
        return run.returncode, run.stdout + run.stderr

    def machine(self, name="web"):
        status, text = self.doppel("ls", "--format", "json")
        found = [m for m in json.loads(text) if m["name"] == name] if status == 0 else []
        return found[0] if found else None

    def console(self, name="web"):
        try:
            with open(os.path.join(self.root, "machines", name, "console.log"), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def goes_on(self):
        """The guest writes and checks two turns more: all of its memory is right."""
        def turns():
            return len(re.findall(r"^0 \d+\s*$", self.console(), re.M))

        before = turns()
        return until(lambda: turns() >= before + 2) and "WRONG" not in self.console()


def secret(name, text):
    path = os.path.join(scratch, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=scratch)


def certificates(folder, authority, names, days="2"):
    """A folder for --tls: of an authority, which is made when it is not there."""
    path = os.path.join(scratch, folder)
    os.makedirs(path)
    if not os.path.exists(os.path.join(scratch, authority + ".pem")):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", authority + ".key",
                "-out", authority + ".pem", "-days", "2", "-subj", "/CN=" + authority)
    with open(os.path.join(path, "extensions"), "w") as file:
        file.write("subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % names)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder + "/key.pem", "-out",
            folder + "/request", "-subj", "/CN=" + folder)
    openssl("x509", "-req", "-in", folder + "/request", "-CA", authority + ".pem", "-CAkey", authority + ".key", "-CAcreateserial",
            "-days", days, "-extfile", folder + "/extensions", "-out", folder + "/cert.pem")
    shutil.copy(os.path.join(scratch, authority + ".pem"), os.path.join(path, "ca.pem"))
    os.chmod(os.path.join(path, "key.pem"), 0o600)
    return path


def moves(a, b, options, what):
    """From a to b: 0 and what was said."""
    status, output = a.doppel("migrate", "web", b.endpoint, "--quiet", *options)
    result(status == 0 and a.machine() is None and b.goes_on(), what, output + b.log() + b.console()[-300:])
    return b, a


def refused(a, b, options, here, there, what):
    """It stays, and both sides tell why."""
    status, output = a.doppel("migrate", "web", b.endpoint, "--quiet", *options)
    result(status != 0 and here in output and until(lambda: there in b.log()) and a.goes_on() and b.machine() is None, what,
           "status %d: %s\nthere: %s" % (status, output, b.log()))


def keys(a, b):
    right = secret("right.psk", "moves:" + "0123456789abcdef" * 4 + "\n")
    wrong = secret("wrong.psk", "moves:" + "fedcba9876543210" * 4 + "\n")
    b.receive("tls", "--psk", right)
    refused(a, b, ["--psk", wrong], "key is another one", "key is another one", "a wrong key is refused")
    refused(a, b, [], "--psk", "", "no key at all is refused")
    a, b = moves(a, b, ["--psk", right], "a machine moves by TLS with a key")
    result(until(lambda: "web has arrived from who has the key moves" in a.log()), "the receiver tells whose it was", a.log())
    b.receive("tls", "--psk", right, "--once")
    # Who may not let memory come later moves it as usual.
    late = ["--post-copy"] if os.geteuid() == 0 else []
    a, b = moves(a, b, ["--psk", right, "--connections", "3", *late], "a machine moves by several connections to who takes one machine")
    result(until(lambda: a.receiver.poll() == 0), "who ends then", "status %s: %s" % (a.receiver.poll(), a.log()))
    return a, b


def named(a, b):
    ours = certificates("attic", "ours", "IP:127.0.0.1,DNS:attic")
    other = certificates("cellar", "ours", "DNS:cellar")
    strange = certificates("strange", "strangers", "IP:127.0.0.1")
    b.receive("tls", "--tls", other)
    refused(a, b, ["--tls", ours], "not that of 127.0.0.1", "", "a certificate of another name is refused")
    refused(a, b, ["--tls", strange], "authority", "authority", "a certificate of an unknown authority is refused")
    a, b = moves(a, b, ["--tls", ours, "--tls-name", "cellar"], "a machine moves by TLS to whom it was to go")
    b.receive("tls", "--tls-cert", ours + "/cert.pem", "--tls-key", ours + "/key.pem", "--tls-ca", ours + "/ca.pem")
    a, b = moves(a, b, ["--tls", other], "and back, with each file named")
    os.chmod(other + "/key.pem", 0o644)
    status, output = a.doppel("migrate", "web", "tls:127.0.0.1:1", "--tls", other)
    result(status != 0 and "chmod 600" in output, "a key that others may read is refused", output)


def plain(a):
    for verb in (["receive", "tcp:0.0.0.0:1"], ["migrate", "web", "tcp:192.0.2.1:1"]):
        status, output = a.doppel(*verb)
        result(status == 2 and "--plain" in output, "%s: plain TCP beyond this host is refused" % verb[0], output)


def main():
    a, b = Host("a"), Host("b")
    try:
        status, output = a.doppel("run", "-d", "--name", "web", "--engine", engine, "--memory", "64M", "--firmware",
                                  os.path.realpath(sys.argv[3]))
        result(status == 0 and a.goes_on(), "a guest writes its memory", output)
        plain(a)
        a, b = keys(a, b)
        if shutil.which("openssl"):
            named(a, b)
        else:
            result(True, "certificates # SKIP no openssl here")
    finally:
        for host in (a, b):
            host.doppel("rm", "--force", "web")
            host.end_receiving()
        shutil.rmtree(scratch, ignore_errors=True)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
