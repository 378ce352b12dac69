"""What tests of machines that move have in common: TAP, and patience."""
import sys, time

PATIENCE = 60
counts = {"number": 0, "failed": 0}


def result(good, name, detail=""):
    counts["number"] += 1
    counts["failed"] |= not good
    print("ok" if good else "not ok", counts["number"], "-", name)
    if not good:
        for line in str(detail).splitlines()[-80:]:
            print("#", line)
    sys.stdout.flush()
    return good


def finish():
    print("1..%d" % counts["number"])
    return counts["failed"]


def until(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
