"""What a pool would do on more cores than were measured: the cost of a task in transfers of cache lines.

    python3 docs/plots/scaling.py [--cross 2.5] [--capacity 1024] [--claims 1]

The transfer between two cores is half of the cache-line round trip in curves.json, what the code of both sides takes comes from the round
trip of a task there; all else is counted from src/, see docs/scaling.md. Prints the model beside what was measured with one submitter
and one worker, and then what it says of more.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

LANES_MAX = 16
PARTICIPANTS_MAX = 256
WORKERS_MAX = 192
# Where there is one core, a switch from one process to the other, and the tasks that share it.
SWITCH_NS = 2000
WINDOW = 64
# A look at a slot whose line is in the own cache, when a submitter counts its own (more than one to a lane).
LOOK_NS = 1
# Transfers one after the other, from a worker's look at the head until another can swap it: the head's line, the slot's line that is looked at
# before the swap, and the ownership of the head's line for the swap itself.
CLAIM_TRANSFERS = 3
# The same while one holds the lane's mutex that another held before: the mutex's line, and the tail's.
HOLD_TRANSFERS = 2


def quarter(cores):
    """A submitter for every three workers."""
    return max(1, min(cores // 4, PARTICIPANTS_MAX - WORKERS_MAX))


@dataclass
class Model:
    transfer_ns: float
    # What the code takes, without transfers: for a task, on each side.
    submit_ns: float
    work_ns: float
    # A transfer between sockets, in times of one within.
    cross: float = 2.5
    capacity: int = 1024
    # Positions that a worker reserves with one swap of the head. Now 1.
    claims: int = 1

    @classmethod
    def of(cls, curves, **more):
        """From the window curve: c = round trip - cache line is the code of both sides, half of it on each."""
        window = measured(curves, "window")
        limit = window["a cache line there and back"][1]
        code = max(window["taskring"][1] - limit, 0)
        return cls(transfer_ns=limit / 2, submit_ns=code / 2, work_ns=code / 2, **more)

    def transfer(self, sockets):
        """With two sockets and nothing kept apart, half of all transfers go across."""
        return self.transfer_ns * (1 if sockets == 1 else (1 + self.cross) / 2)

    def round_trip(self):
        return self.submit_ns + self.work_ns + 2 * self.transfer_ns

    def pipelined(self, length_ns):
        """One submitter, one worker, many under way: each waits for one transfer a task, and the slower one sets the pace."""
        return max(self.submit_ns + self.transfer_ns, self.work_ns + length_ns + self.transfer_ns)

    def rate(self, cores, submitters, length_ns, sockets):
        """Tasks a second, and what allows no more."""
        if cores == 1:
            return 1e9 / (self.submit_ns + self.work_ns + length_ns + 2 * SWITCH_NS / WINDOW), "the core"
        workers = min(cores - submitters, WORKERS_MAX)
        t = self.transfer(sockets)
        lanes = min(submitters, LANES_MAX)
        submit = self.submit_ns + t
        if submitters > LANES_MAX:
            # Each submit counts its own among all slots of the lane; those of other submitters' tasks have changed meanwhile.
            users = submitters / LANES_MAX
            submit += HOLD_TRANSFERS * t + self.capacity * LOOK_NS + min(self.capacity, users) * t
        # A worker waits for the slot's line; where others have swapped the head, for that as well.
        claim = t if workers == 1 else t + (CLAIM_TRANSFERS - 1) * t / self.claims
        bounds = {"the submitters": submitters / submit, "the workers": workers / (self.work_ns + length_ns + claim)}
        if workers > 1:
            bounds["the heads of the lanes"] = lanes * self.claims / (CLAIM_TRANSFERS * t)
        if submitters > LANES_MAX:
            bounds["the mutexes of the lanes"] = lanes / (self.submit_ns / 2 + HOLD_TRANSFERS * t)
        limit = min(bounds, key=bounds.get)
        return 1e9 * bounds[limit], limit


def measured(curves, curve):
    for table in curves["tables"]:
        if table["curve"] == curve:
            return {s["system"]: {p[0]: p[1] for p in s["points"]} for s in table["series"]}
    raise SystemExit(f"curves.json has no curve {curve}: run the bench without a name")


def beside_measured(curves, model):
    window, length = measured(curves, "window")["taskring"], measured(curves, "length")
    rows = ["| one submitter, one worker | model | measured | model / measured |", "|---|---|---|---|"]
    points = [("round trip (gives the code's share)", model.round_trip(), window[1])]
    points.append(("empty tasks, 1000 under way", model.pipelined(0), window[1000]))
    for us, ns in length["taskring"].items():
        # What the work takes alone was measured in the same rounds.
        if us in (1, 2, 5, 10, 100):
            points.append((f"tasks of {us:g} us, 64 under way", model.pipelined(length["the work alone"][us]), ns))
    return rows + [f"| {name} | {ours:.0f} ns | {found:.0f} ns | {ours / found:.2f} |" for name, ours, found in points]


def rate_text(rate):
    return f"{rate / 1e6:.1f} M" if rate >= 1e6 else f"{rate / 1e3:.0f} k"


def projected(model, crowd):
    lengths = [(0, "empty"), (1, "1 us"), (10, "10 us"), (100, "100 us")]
    rows = ["| cores | submitters | " + " | ".join(f"{name}, tasks/s" for _, name in lengths) + " | first limit, empty tasks |"]
    rows.append("|---" * (len(lengths) + 3) + "|")
    for cores, sockets in [(1, 1), (2, 1), (16, 1), (64, 1), (64, 2), (256, 2)]:
        found = [model.rate(cores, crowd(cores), us * 1000, sockets) for us, _ in lengths]
        name = f"{cores}{', two sockets' if sockets == 2 else ''}"
        rows.append(f"| {name} | {crowd(cores)} | " + " | ".join(rate_text(rate) for rate, _ in found) + f" | {found[0][1]} |")
    return rows


def shortest(model, crowd):
    """The shortest task that keeps the workers at their work for nine tenths of the time."""
    rows = ["| cores | one submitter | a submitter for every three workers |", "|---|---|---|"]
    for cores, sockets in [(2, 1), (16, 1), (64, 1), (64, 2), (256, 2)]:
        cells = []
        for submitters in (1, crowd(cores)):
            workers = min(cores - submitters, WORKERS_MAX)
            busy = lambda ns: model.rate(cores, submitters, ns, sockets)[0] * ns / 1e9 / workers  # noqa: B023, E731
            found = next((ns for step in range(0, 3000) if busy(ns := 10 ** (1 + step / 500)) >= 0.9), None)
            cells.append(f"{found / 1000:.1f} us" if found else "over 10 ms")
        rows.append(f"| {cores}{', two sockets' if sockets == 2 else ''} | {' | '.join(cells)} |")
    return rows


def tables(curves, **more):
    """Everything, as it stands in docs/scaling.md."""
    model = Model.of(curves, **more)
    t, across = model.transfer_ns, model.transfer_ns * model.cross
    head = (
        f"One transfer is {t:.0f} ns here, between sockets it is taken to be {across:.0f} ns ({model.cross:g} times as long). The code of a task "
        f"takes {model.submit_ns + model.work_ns:.0f} ns, both sides together. {curves['machine']}."
    )
    rows = [head, "", *beside_measured(curves, model), "", "By the model, with one submitter:", "", *projected(model, lambda cores: 1)]
    rows += ["", "With a submitter for every three workers (at most 64):", "", *projected(model, quarter)]
    rows += ["", "The shortest task with which the workers work nine tenths of their time:", "", *shortest(model, quarter)]
    several = Model.of(curves, **{**more, "claims": 8})
    cells = [f"{rate_text(m.rate(64, s, 0, 2)[0])}" for s in (1, 16) for m in (model, several)]
    rows += ["", f"If a worker reserved eight positions with one swap, 64 cores on two sockets would run {cells[1]} empty tasks a second instead of "
             f"{cells[0]} with one submitter, and {cells[3]} instead of {cells[2]} with 16."]  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, default=Path(__file__).resolve().parent / "curves.json", help="what the bench has written")
    parser.add_argument("--cross", type=float, default=2.5, help="a transfer between sockets, in times of one within")
    parser.add_argument("--capacity", type=int, default=1024, help="slots of a lane")
    parser.add_argument("--claims", type=int, default=1, help="positions that a worker reserves with one swap of the head")
    args = parser.parse_args()
    curves = json.loads(args.curves.read_text())
    print("\n".join(tables(curves, cross=args.cross, capacity=args.capacity, claims=args.claims)))


if __name__ == "__main__":
    main()
