"""Tables of what was measured."""
import math
import statistics
import textwrap

TITLES = {"native": "native", "interpret": "interpreter", "translate": "translator", "peer": "QEMU"}
LOOP_INSTRUCTIONS = 25000000 * 8
GOALS = {"python": 6, "perl": 5, "lua": 5, "awk": 5, "sqlite": 5, "xz": 3, "7z": 3, "gzip": 3, "openssl": 3,
         "fib": 2.5, "tak": 2.5, "structs": 2.5, "bytecode": 3, "mix": 2, "chase-1M": 1.3, "memcpy": 2, "triad": 2,
         "nbody": 3, "matrix": 3, "libm": 3, "getppid": 4, "pipe": 4, "fork+exec": 4, "faults": 4, "rewritten": 20}


PICK = {"median": statistics.median, "best": min}
picked = PICK["median"]


def choose(name):
    """What stands for several runs: the median, or on a host that others load the best."""
    global picked
    picked = PICK[name]


def typical(values):
    return picked(values) if values else None


def show(value, form):
    return form % value if value is not None else "-"


def ratio(a, b):
    return a / b if a and b else None


def mean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def figure(value):
    return "-" if value is None else "%.0f" % value if value >= 99.5 else "%.1f" % value


def grid(head, rows):
    """Markdown with aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w)
                                 for i, (c, w) in enumerate(zip(cells, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def programs_table(names, seconds):
    """Each machine as a multiple of native; the last columns are how much faster than the peer, and the aim."""
    order = [m for m in ("interpret", "translate", "peer") if any(m in seconds.get(n, {}) for n in names)]
    multiples, rows = {}, []
    for name in names:
        times = {m: typical(v) for m, v in seconds.get(name, {}).items()}
        multiples[name] = {m: ratio(times.get(m), times.get("native")) for m in order}
        multiples[name]["gain"] = ratio(times.get("peer"), times.get("translate"))
        rows.append([name, show(times.get("native"), "%.3f")] + [figure(multiples[name][m]) for m in order] +
                    [show(multiples[name]["gain"], "%.2f"), figure(GOALS.get(name))])
    overall = {m: mean([multiples[n][m] for n in names]) for m in [*order, "gain"]}
    rows.append(["geometric mean", ""] + [figure(overall[m]) for m in order] + [show(overall["gain"], "%.2f"), ""])
    return grid(["", "native s", *[TITLES[m] for m in order], "QEMU / translator", "goal"], rows)


def machine_table(data):
    """Figures of the machines themselves."""
    loop = data["seconds"].get("loop", {})
    order = [m for m in ("interpret", "translate", "peer") if m in data["boot"] or m in data["idle"] or m in loop]
    rows = []

    def row(title, values, form, scale=1.0):
        values = {m: v * scale for m, v in values.items() if v is not None}
        if not values:
            return
        rows.append([title] + [show(values.get(m), form) for m in order] +
                    [show(ratio(values.get("peer"), values.get("translate")), "%.2f")])

    if loop:
        speeds = {m: LOOP_INSTRUCTIONS / typical(v) / 1e6 for m, v in loop.items() if m != "native"}
        rows.append(["integer loop, million instructions/s"] + [show(speeds.get(m), "%.0f") for m in order] +
                    [show(ratio(speeds.get("translate"), speeds.get("peer")), "%.2f")])
    for index, title in enumerate(("start to first line of user space, s", "start to the prompt, s")):
        row(title, {m: typical([b[index] for b in v]) for m, v in data["boot"].items()}, "%.2f")
    idle = {m: v for m, v in data["idle"].items() if v}
    row("idle at the prompt, % of a core", {m: typical([i[0] for i in v]) for m, v in idle.items()}, "%.2f", 100)
    mib = {m: [(i[1] / 1024, (i[1] - i[2]) / 1024) for i in v] for m, v in idle.items()}
    row("resident, MiB (guest of 256 MiB)", {m: typical([i[0] for i in v]) for m, v in mib.items()}, "%.1f")
    row("of it beside the guest's pages, MiB", {m: typical([i[1] for i in v]) for m, v in mib.items()}, "%.1f")
    return grid(["", *[TITLES[m] for m in order], "better than QEMU by"], rows)


def bad_news(data):
    lines = [f"- {text}" for text in data["failures"] + data["disagreements"] + data["warnings"]]
    return ("Not as it should be:\n\n" + "\n".join(lines) + "\n") if lines else ""


def verdict(data):
    """What the promises and goals come to."""
    names = data["programs"] + data["workloads"]
    times = {n: {m: typical(v) for m, v in data["seconds"][n].items()} for n in names}
    gains = {n: ratio(t.get("peer"), t.get("translate")) for n, t in times.items()}
    aims = {n: ratio(t.get("translate"), t.get("native")) for n, t in times.items() if n in GOALS}
    slower = [f"{n} ({gain:.2f})" for n, gain in gains.items() if gain and gain < 1]
    reached = [n for n, multiple in aims.items() if multiple and multiple <= GOALS[n]]
    text = []
    if any(gains.values()):
        text.append("Rows on which the translator is slower than QEMU: " + (", ".join(slower) or "none") + ".")
    if any(aims.values()):
        text.append(f"Goals reached: {len(reached)} of {len(aims)}: " + (", ".join(reached) or "none") + ".")
    return " ".join(text)


def everything(data):
    parts = [f"Measured {data['date']} on {data['host']}; load average {data['load'][0]} before, "
             f"{data['load'][1]} after; rounds: {data['rounds']} (interpreter 1), own programs {data.get('times', 1)} times in each; the {data['pick']} of all. "
             f"Peer: {data['peer']}. Guest: {data['guest']}, one hart."]
    if data["boot"] or data["idle"] or "loop" in data["seconds"]:
        parts.append("The machine:\n\n" + machine_table(data))
    columns = "time as a multiple of native (lower is better)"
    if data["programs"]:
        parts.append(f"Own programs, {columns}:\n\n" + programs_table(data["programs"], data["seconds"]))
    if data["workloads"]:
        parts.append(f"Debian's programs, {columns}:\n\n" + programs_table(data["workloads"], data["seconds"]))
    parts[0] = textwrap.fill(parts[0], 115)
    parts += [textwrap.fill(verdict(data), 115), bad_news(data)]
    return "\n\n".join(p for p in parts if p).rstrip() + "\n"
