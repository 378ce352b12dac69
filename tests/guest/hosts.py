"""Hosts as network namespaces, each with a bridge, a tap and a shaped link to the others; a Linux guest, and its clients.

A test that calls enter() runs in namespaces of its own for network, mounts and processes: however it ends, the kernel removes
all that it made, and tests at the same time do not meet. Names are the same in each of them for that reason.
"""
import base64, contextlib, ctypes, gzip, json, os, signal, socket, struct, subprocess, sys, threading, time, zlib

SCRATCH = "/run/hosts"
PORT = 7000
CLIENT, GUEST, OTHER_GUEST = "10.77.0.100", "10.77.0.50", "10.77.0.51"
MAC, OTHER_MAC = "52:54:00:77:00:50", "52:54:00:77:00:51"
PATIENCE = float(os.environ.get("DOPPEL_PATIENCE", "90"))
CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33


# ---- Namespaces ----

def enter(links=True):
    """The caller begins again in its own namespaces. Returns why those, or with `links` shaped links in them, can not be had."""
    if os.environ.get("DOPPEL_NAMESPACE"):
        become_init()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        os.makedirs(SCRATCH)
        os.makedirs("/run/netns")
        os.environ["XDG_RUNTIME_DIR"] = SCRATCH
        return missing() if links else None
    words = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-nmp", "--fork", "--kill-child=KILL", "--mount-proc"]
    try:
        if subprocess.run([*words, "true"], capture_output=True).returncode:
            return "no namespaces to be had here"
    except OSError:
        return "unshare is needed"
    os.environ["DOPPEL_NAMESPACE"] = "1"
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def become_init():
    """Goes on in a child, which ends with this process; this one ends with it, and reaps whoever is left to it."""
    child = os.fork()
    if child == 0:
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(os.waitstatus_to_exitcode(status) & 255)


def missing():
    for words in (["ip", "link", "add", "ping0", "type", "veth", "peer", "name", "pong0"], ["ip", "link", "add", "br9", "type", "bridge"],
                  ["ip", "tuntap", "add", "tap9", "mode", "tap"],
                  ["tc", "qdisc", "add", "dev", "ping0", "root", "tbf", "rate", "1gbit", "burst", "1m", "latency", "50ms"]):
        try:
            run = subprocess.run(words, capture_output=True, text=True)
        except OSError:
            return "%s is needed" % words[0]
        if run.returncode:
            return "%s: %s" % (" ".join(words[:4]), run.stderr.strip().replace("\n", " "))
    return None


def sh(text):
    for line in text.strip().splitlines():
        subprocess.run(line.split(), check=True, capture_output=True)


@contextlib.contextmanager
def inside(name):
    """Sockets that are made by this thread meanwhile are of the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open("/run/netns/" + name) as other:
        if libc.setns(other.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)


class Wire:
    """The switch between all: a bridge in the namespace of the test."""

    def __init__(self, rate="1gbit", delay=None):
        self.rate, self.delay = rate, delay
        sh("""ip link set lo up
              ip link add wire type bridge
              ip link set wire up""")
        self.attach("client", CLIENT, False)

    def attach(self, name, address, bridged):
        """A namespace with one link to the wire; below a bridge and beside a tap if it is a host."""
        sh("""ip netns add {0}
              ip link add to-{0} type veth peer name up0 netns {0}
              ip link set to-{0} master wire up
              ip -n {0} link set lo up
              ip -n {0} link set up0 up""".format(name))
        if bridged:
            sh("""ip -n {0} link add lan0 type bridge
                  ip -n {0} link set lan0 up
                  ip -n {0} link set up0 master lan0
                  ip -n {0} tuntap add tap0 mode tap vnet_hdr
                  ip -n {0} link set tap0 master lan0 up
                  ip -n {0} tuntap add tap1 mode tap vnet_hdr
                  ip -n {0} link set tap1 master lan0 up
                  ip -n {0} addr add {1}/24 dev lan0""".format(name, address))
            self.shape(name)
        else:
            sh("ip -n {0} addr add {1}/24 dev up0".format(name, address))

    def shape(self, name):
        """Both directions alike. Some kernels have no netem: there the link has a rate only."""
        limit = ["tbf", "rate", self.rate, "burst", "256k", "latency", "100ms"]
        for dev, inner in (("to-" + name, []), ("up0", ["-n", name])):
            tc = ["tc", *inner, "qdisc", "add", "dev", dev]
            subprocess.run([*tc, "root", "handle", "1:", *limit], check=True)
            if self.delay:
                subprocess.run([*tc, "parent", "1:1", "handle", "10:", "netem", "delay", self.delay], capture_output=True)

    @staticmethod
    def sent(name):
        """Bytes that the host has given to the wire, and taken from it."""
        shown = subprocess.run(["ip", "-s", "-j", "link", "show", "to-" + name], check=True, capture_output=True, text=True).stdout
        counts = json.loads(shown)[0]["stats64"]
        return counts["rx"]["bytes"], counts["tx"]["bytes"]

    @staticmethod
    def pull(name, plugged):
        """The host's cable; what is on the way is lost."""
        sh("ip link set to-%s %s" % (name, "up" if plugged else "down"))


class Host:
    """A namespace with a registry of its own, and a receiver."""

    def __init__(self, wire, name, number, doppel):
        self.name, self.address, self.doppel_path = name, "10.77.0.%d" % number, doppel
        self.root = os.path.join(SCRATCH, name)
        os.makedirs(os.path.join(self.root, "run"))
        wire.attach(name, self.address, True)
        self.environment = dict(os.environ, DOPPEL_STATE=self.root, XDG_RUNTIME_DIR=os.path.join(self.root, "run"))
        self.endpoint = "tcp:%s:7100" % self.address
        self.receiver = None

    def popen(self, words, **more):
        return subprocess.Popen(["ip", "netns", "exec", self.name, *words], env=self.environment, stdin=subprocess.DEVNULL, **more)

    def receive(self):
        with open(os.path.join(self.root, "receiver.log"), "ab") as log:
            self.receiver = self.popen([self.doppel_path, "receive", self.endpoint, "--plain"], stdout=log, stderr=log)
        until(self.listens)

    def listens(self):
        with inside(self.name), socket.socket() as probe:
            return probe.connect_ex((self.address, 7100)) == 0

    def doppel(self, *words, timeout=600):
        run = subprocess.run(["ip", "netns", "exec", self.name, self.doppel_path, *words], env=self.environment,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        return run.returncode, run.stdout + run.stderr

    def move(self, machine, to, *options):
        return self.doppel("migrate", machine, to.endpoint, "--plain", "--quiet", *options)

    def machine(self, name):
        status, text = self.doppel("ls", "--format", "json")
        found = [m for m in json.loads(text) if m["name"] == name] if status == 0 else []
        return found[0] if found else None

    def text(self, machine, which):
        try:
            with open(os.path.join(self.root, "machines", machine, which), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def report(self, machine):
        return "--- %s: %s\n%s%s" % (self.name, self.text(machine, "console.log")[-400:], self.text(machine, "monitor.log"),
                                     self.text("../", "receiver.log")[-2000:])


def until(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


# ---- The guest ----

def member(name, data, mode):
    """One file of a cpio archive of the kind newc."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def boot_files(heart, image="debian-tiny"):
    """Kernel and initial file system of the image, with the program in it."""
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "doppel/images", image)
    path = os.path.join(SCRATCH, "initramfs")
    if not os.path.exists(path):
        with open(os.path.join(folder, "initramfs"), "rb") as whole, open(heart, "rb") as program, open(path, "wb") as out:
            base = whole.read()
            out.write(base + b"\0" * (-len(base) % 4))
            out.write(gzip.compress(member("heart", program.read(), 0o100755) + member("TRAILER!!!", b"", 0)))
    return os.path.join(folder, "kernel"), path


def boot_line(mib, workers, guest=GUEST):
    commands = "ip link set eth0 up; ip addr add %s/24 dev eth0; /heart %d %d" % (guest, mib, workers)
    return "console=ttyS0 rdinit=/init doppel.exec64=" + base64.b64encode(commands.encode()).decode()


# ---- Clients ----

def connect(guest=GUEST, timeout=PATIENCE):
    with inside("client"):
        connection = socket.socket()
    connection.settimeout(timeout)
    connection.connect((guest, PORT))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answers(guest=GUEST):
    try:
        connect(guest, 2).close()
        return True
    except OSError:
        return False


def request(what, a=0, b=0, guest=GUEST):
    connection = connect(guest)
    connection.sendall(struct.pack("<8sQQ", what.encode(), a, b))
    return connection


def ask(what, a=0, b=0, guest=GUEST):
    with request(what, a, b, guest) as connection:
        return struct.unpack("<Q", connection.recv(8, socket.MSG_WAITALL))[0]


class Stream(threading.Thread):
    """One connection: blocks go and their answers come, all checked. `failure` tells what was wrong."""
    FORMAT = "<QQ1000s"
    OTHER = bytes(i ^ 0x5a for i in range(256))

    def __init__(self, pause=0.01):
        super().__init__(daemon=True)
        self.pause, self.failure, self.count, self.over = pause, None, 0, False
        self.connection = request("stream")

    def run(self):
        try:
            while not self.over:
                self.exchange()
                time.sleep(self.pause)
        except (OSError, ValueError) as error:
            self.failure = "after %d blocks: %s" % (self.count, error)

    def exchange(self):
        data = os.urandom(1000)
        block = struct.pack(self.FORMAT, self.count, 0, data)
        self.connection.sendall(block + struct.pack("<Q", zlib.crc32(block)))
        answer = self.connection.recv(len(block) + 8, socket.MSG_WAITALL)
        if len(answer) != len(block) + 8:
            raise ValueError("the connection ended")
        number, wrong, found = struct.unpack_from(self.FORMAT, answer)
        if zlib.crc32(answer[:-8]) != struct.unpack("<Q", answer[-8:])[0]:
            raise ValueError("an answer with a wrong sum")
        if number != self.count or found != data.translate(self.OTHER):
            raise ValueError("an answer to something else")
        if wrong:
            raise ValueError("%d words of the guest's memory were wrong" % wrong)
        self.count += 1

    def goes_on(self):
        before = self.count
        return until(lambda: self.failure or self.count > before + 3) and not self.failure

    def end(self):
        self.over = True
        self.join(PATIENCE)
        self.connection.close()


class Beats(threading.Thread):
    """A heartbeat: a datagram to the guest each millisecond, and the time at which the kernel got each answer."""

    def __init__(self, guest=GUEST, pause=0.001):
        super().__init__(daemon=True)
        with inside("client"):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((guest, PORT))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setblocking(False)
        self.pause, self.over = pause, False
        self.start()

    def run(self):
        number = 0
        while not self.over:
            try:
                self.socket.send(struct.pack("<Q", number))
            except OSError:  # the address is being looked for
                pass
            number += 1
            time.sleep(self.pause)

    def take(self):
        """When those came that did since the last time, in seconds."""
        found = []
        while True:
            try:
                _, extra, _, _ = self.socket.recvmsg(8, 64)
            except BlockingIOError:
                return found
            except OSError:
                continue
            seconds, ns = struct.unpack("qq", extra[0][2])
            found.append(seconds + ns / 1e9)

    def close(self):
        self.over = True
        self.join()
        self.socket.close()


def longest_gap(beats):
    """Up to now: what does not come back is no answer."""
    return max((b - a for a, b in zip(beats, beats[1:] + [time.time()])), default=float("inf"))
