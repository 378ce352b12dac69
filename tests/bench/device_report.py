"""The table of devices: our translator and the peer, and how much better we are."""
import textwrap

import report

# What a row is called, the figure's form, and whether more is better.
DISK = {"first-write": ("first write, 1 MiB", "%.0f MB/s"), "sequential-write": ("write, 1 MiB", "%.0f MB/s"),
        "sequential-read": ("read, 1 MiB", "%.0f MB/s"),
        "random-read-1": ("random read, 4 KiB, 1 in flight", "%.0f/s"),
        "random-read-32": ("random read, 4 KiB, 32 in flight", "%.0f/s"),
        "random-write-1": ("random write, 4 KiB, 1 in flight", "%.0f/s"),
        "random-write-32": ("random write, 4 KiB, 32 in flight", "%.0f/s"),
        "flushed-write": ("random write, 4 KiB, each flushed", "%.0f/s")}
TRAFFIC = {"send": ("guest to host", "%.0f MB/s"), "receive": ("host to guest", "%.0f MB/s"),
           "echo": ("requests of one byte", "%.0f/s")}
ROWS = {f"{form} {key}": (f"{form} disk: {title}", figure, True)
        for form in ("raw", "qcow2") for key, (title, figure) in DISK.items()}
ROWS |= {f"{kind} {key}": (f"{name}: {title}", figure, True)
         for kind, name in (("user", "user network"), ("tap", "tap"), ("vsock", "vsock"))
         for key, (title, figure) in TRAFFIC.items()}
ROWS |= {f"{kind} cpu": (f"{name}: CPU time of a whole run", "%.1f s", False)
         for kind, name in (("user", "user network"), ("tap", "tap"))}
ROWS |= {"file-write": ("shared folder: write", "%.0f MB/s", True),
         "file-read": ("shared folder: read", "%.0f MB/s", True),
         "file-names": ("shared folder: operations on names", "%.0f/s", True),
         "console serial": ("console output, serial", "%.2f MB/s", True),
         "console virtio": ("console output, virtio", "%.2f MB/s", True),
         "login": ("debian: start to the login prompt", "%.1f s", False),
         "memory": ("idle with disk, network, balloon: memory beside the guest's", "%.1f MiB", False)}
ORDER = ("translate", "peer")


def typical(values, more_is_better):
    """As report.typical, whose best is the least."""
    if not values:
        return None
    return -report.typical([-v for v in values]) if more_is_better else report.typical(values)


def gain(data, key):
    """How many times better we are, or None."""
    ours, theirs = (typical(data["figures"].get(key, {}).get(m), ROWS[key][2]) for m in ORDER)
    return report.ratio(ours, theirs) if ROWS[key][2] else report.ratio(theirs, ours)


def row(data, key):
    title, form, more = ROWS[key]
    notes = data["notes"].get(key, {})
    cells = [report.show(typical(data["figures"].get(key, {}).get(m), more), form) for m in ORDER]
    cells = [notes.get(m, cell) for m, cell in zip(ORDER, cells)]
    return [title, *cells, report.show(gain(data, key), "%.2f")]


def everything(data):
    keys = [k for k in ROWS if k in data["figures"] or k in data["notes"]]
    head = (f"Measured {data['date']} on {data['host']}; load average {data['load'][0]} before, {data['load'][1]} "
            f"after; rounds: {data['rounds']}, the {data['pick']} of them. Peer: {data['peer']}. "
            f"Guest: {data['guest']}, one hart.")
    parts = [textwrap.fill(head, 115), "Devices:\n\n" + report.grid(
        ["", *[report.TITLES[m] for m in ORDER], "better than QEMU by"], [row(data, k) for k in keys])]
    gains = {k: gain(data, k) for k in keys}
    behind = ", ".join(f"{ROWS[k][0]} ({g:.2f})" for k, g in gains.items() if g and g < 1) or "none"
    if any(gains.values()):
        parts.append(textwrap.fill(f"Rows on which we are behind QEMU: {behind}.", 115))
    if data["failures"]:
        parts.append("Not as it should be:\n\n" + "\n".join(f"- {text}" for text in data["failures"]))
    return "\n\n".join(parts) + "\n"
