"""Draws every plot of docs/ from what the benches have measured, and fills in the tables that are made of the same figures.

    cargo bench -p taskring-peers --bench curves -- --json $PWD/docs/plots/curves.json
    cargo bench -p taskring-peers -- --json $PWD/docs/plots/peers.json
    python3 docs/plots/plot.py

Needs matplotlib (``pip install matplotlib``). The same figures give the same files, byte for byte.
"""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
import scaling  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator  # noqa: E402

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent
CURVES_COMMAND = "cargo bench -p taskring-peers --bench curves"
PEERS_COMMAND = "cargo bench -p taskring-peers"

# Text stays text: small files, and whoever looks has the font. Nothing that differs from run to run.
plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "taskring", "font.family": ["DejaVu Sans", "sans-serif"], "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.6, "lines.markersize": 4, "legend.frameon": False, "legend.fontsize": 9,
    "axes.titlesize": 11, "figure.facecolor": "white", "savefig.facecolor": "white",
})  # fmt: skip

# A system has one colour in all plots. Distinct also for the colour-blind, and ours is the strongest.
COLOURS = {
    "taskring": "#0b4f9e", "taskring through C": "#3d8fd9", "taskring, in two batches": "#7fb8ea",
    "taskring through Rust, copied": "#0b4f9e", "taskring through C, copied": "#3d8fd9", "taskring through C, lent": "#7fb8ea",
    "taskring, processes": "#0b4f9e", "taskring, discard of the set": "#0b4f9e", "taskring, cancel of each future": "#3d8fd9",
    "taskring, kill to verdict": "#0b4f9e", "taskring, kill to the new worker's task": "#3d8fd9",
    "the same, workers by fork server": "#7fb8ea",
    "crossbeam": "#d95f02", "crossbeam, threads of one process": "#d95f02", "rayon, spawn from outside": "#1b9e77",
    "shaq": "#7b3294", "socketpair pool": "#8c6d31", "ProcessPoolExecutor": "#444444", "multiprocessing.Pool": "#999999",
    "multiprocessing.Pool, apply_async": "#999999", "memcpy": "#000000", "a cache line there and back": "#000000",
    "the work alone": "#000000", "the same work in Python alone": "#999999", "start of a process to its main": "#000000",
    "ProcessPoolExecutor, cancel of each future": "#444444",
    "ProcessPoolExecutor, kill to BrokenProcessPool": "#444444", "ProcessPoolExecutor, kill to a new pool's task": "#8c6d31",
    "multiprocessing.Pool, kill to the new worker's task": "#999999",
}  # fmt: skip
MARKERS = {"taskring": "o", "crossbeam": "s", "rayon, spawn from outside": "^", "shaq": "D", "socketpair pool": "v"}
SHARES = {"p50": "-", "p90": "--", "p99": "-.", "p99.9": ":"}


class Data:
    """What the benches wrote."""

    def __init__(self):
        self.curves = self.read("curves.json")
        self.peers = self.read("peers.json")

    @staticmethod
    def read(name):
        data = json.loads((HERE / name).read_text())
        data["machine"] += ", a quick run" * data["quick"]
        return data

    def series(self, curve, what=""):
        """The systems of the first table of a curve whose quantity begins so: ``{system: [(x, median), ...]}``."""
        for table in self.curves["tables"]:
            if table["curve"] == curve and table["what"].startswith(what):
                return {s["system"]: [(p[0], p[1]) for p in s["points"]] for s in table["series"]}
        return {}


def style(system):
    ours = system.startswith("taskring")
    return {
        "color": COLOURS.get(system, "#666666"), "label": system, "marker": MARKERS.get(system.split(",")[0], "o" if ours else "."),
        "linewidth": 2.4 if ours else 1.4, "zorder": 3 if ours else 2,
    }  # fmt: skip


def time_text(ns, _position=None):
    for unit, size in [("s", 1e9), ("ms", 1e6), ("us", 1e3)]:
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def rate_text(rate, _position=None):
    return f"{rate / 1e6:.3g} M" if rate >= 1e6 else f"{rate / 1e3:.3g} k" if rate >= 1e3 else f"{rate:.3g}"


def size_text(size):
    for unit, one in [("MiB", 1 << 20), ("KiB", 1 << 10)]:
        if size >= one:
            return f"{size / one:.3g} {unit}"
    return f"{size:g} B"


def ticks(axis, places, text):
    axis.set_major_locator(matplotlib.ticker.FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(text))


def log_y(axes, text=time_text):
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(text))
    axes.yaxis.set_minor_formatter(NullFormatter())


def panels(count, height=4.2, width=5.2, **more):
    figure, axes = plt.subplots(1, count, figsize=(max(7.6, width * count), height), layout="constrained", **more)
    return figure, list(axes) if count > 1 else [axes]


def save(figure, name, title, machine, command, legend=None, ncols=3):
    """The title, the legend under the plots, and the small print below that."""
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.canvas.draw()
    figure.set_layout_engine("none")
    bottom = 0
    if legend:
        placed = figure.legend(*legend.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=ncols)
        figure.canvas.draw()
        bottom = placed.get_window_extent().y0 / figure.bbox.height
    small = f"{machine}   |   {command}"
    figure.text(0.5, bottom - 0.01, small, fontsize=7, color="#555555", ha="center", va="top")
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)


def payload(data):
    series = data.series("payload")
    figure, (time, rate) = panels(2)
    # There is no zero on a log axis: it stands where 16 bytes would.
    place = lambda x: max(x, 16)  # noqa: E731
    for system, points in series.items():
        time.plot([place(x) for x, _ in points], [ns for _, ns in points], **style(system))
        if "lent" not in system:
            above = [(x, x / ns) for x, ns in points if x >= 256]
            rate.plot([x for x, _ in above], [y for _, y in above], **style(system))
    for axes in (time, rate):
        axes.set_xscale("log", base=2)
        places = [256, 4 << 10, 64 << 10, 1 << 20, 16 << 20] + [16] * (axes is time)
        ticks(axes.xaxis, places, lambda x, _: "0" if x == 16 else size_text(int(x)))
        axes.set_xlabel("arguments of a call")
    log_y(time)
    time.set_title("time for a call, one at a time")
    log_y(rate, lambda y, _: f"{y:g}")
    rate.set_title("bytes a nanosecond (GB/s)")
    save(figure, "payload", "Payload: copied, lent, and through others", data.curves["machine"], f"{CURVES_COMMAND} -- payload", time)


def window(data):
    figure, (axes,) = panels(1, height=5)
    for system, points in data.series("window").items():
        if len(points) == 1:
            axes.axhline(points[0][1], color="black", linewidth=0.8, linestyle=":", label=system)
        else:
            axes.plot(*zip(*points), **style(system))
    axes.set_xscale("log", base=2)
    ticks(axes.xaxis, [1, 4, 16, 64, 256, 1000], lambda x, _: f"{x:g}")
    log_y(axes)
    axes.set_xlabel("tasks under way")
    axes.set_ylabel("time for each empty task")
    save(figure, "window", "Empty tasks, one submitter and one worker, pinned", data.curves["machine"],
         f"{CURVES_COMMAND} -- window", axes)  # fmt: skip


def length(data):
    figure, (axes,) = panels(1, height=4.6)
    for system, points in data.series("length", "part").items():
        # Noise may make a task seem shorter in the pool than alone.
        axes.plot([x for x, _ in points], [100 * min(1, part) for _, part in points], **style(system))
    axes.set_xscale("log")
    ticks(axes.xaxis, [1, 10, 100, 1000], lambda x, _: time_text(1000 * x))
    axes.set_ylim(0, 104)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f} %"))
    axes.set_xlabel("work in a task")
    axes.set_ylabel("the worker's time that goes into the work")
    save(figure, "efficiency", "How short may a task be?", data.curves["machine"], f"{CURVES_COMMAND} -- length", axes)

    figure, (axes,) = panels(1, height=5)
    for system, points in data.series("length", "time").items():
        line = dict(style(system), linestyle=":" if "alone" in system else "-")
        # Nothing alone takes no time.
        axes.plot(*zip(*[(x, ns) for x, ns in points if x or "alone" not in system]), **line)
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    ticks(axes.xaxis, [0, 1, 10, 100, 1000], lambda x, _: time_text(1000 * x) if x else "0")
    log_y(axes)
    axes.set_xlabel("work in a task")
    axes.set_ylabel("time for each task")
    save(figure, "length", "Tasks with work in them, 64 under way, one worker", data.curves["machine"],
         f"{CURVES_COMMAND} -- length", axes)  # fmt: skip


def workers(data):
    figure, three = panels(3, width=4.4)
    cpus = int(data.curves["machine"].split()[0])
    for axes, (what, title) in zip(three, [("time for each empty", "empty tasks"), ("time for each task of 10 ", "10 us of work"),
                                           ("time for each task of 100 ", "100 us of work")]):  # fmt: skip
        series = data.series("workers", what)
        for system, points in series.items():
            if system == "the work alone":
                if title != "empty tasks":
                    fastest = min(ns for _, ns in points)
                    ideal = [(x, 1e9 / fastest * min(x, cpus)) for x, _ in points]
                    axes.plot(*zip(*ideal), color="black", linewidth=0.8, linestyle=":", label=f"the work alone on {cpus} CPUs")
            else:
                axes.plot([x for x, _ in points], [1e9 / ns for _, ns in points], **style(system))
        axes.set_xscale("log", base=2)
        ticks(axes.xaxis, [1, 2, 4, 8, 16, 32], lambda x, _: f"{x:g}")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(rate_text))
        axes.set_title(title)
        axes.set_xlabel("workers")
    three[0].set_ylabel("tasks a second")
    save(figure, "workers", f"More workers than CPUs ({cpus}), nothing pinned", data.curves["machine"],
         f"{CURVES_COMMAND} -- workers", three[1])  # fmt: skip


def submitters(data):
    figure, (rate, share) = panels(2)
    for system, points in data.series("submitters", "empty").items():
        rate.plot(*zip(*points), **style(system))
    for system, points in data.series("submitters", "smallest").items():
        share.plot(*zip(*points), **style(system))
    for axes, title in [(rate, "empty tasks a second, all together"), (share, "smallest part of its fair share that one has")]:
        axes.set_xscale("log", base=2)
        ticks(axes.xaxis, [1, 2, 4, 8], lambda x, _: f"{x:g}")
        axes.set_xlabel("submitters (2 workers)")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
    share.set_ylim(top=1.05)
    rate.yaxis.set_major_formatter(FuncFormatter(rate_text))
    save(figure, "submitters", "Several submitters", data.curves["machine"], f"{CURVES_COMMAND} -- submitters", rate)


def latency(data):
    figure, both = panels(2, sharey=True)
    series = data.series("latency")
    for axes, system in zip(both, ["taskring", "crossbeam"]):
        for share, line in SHARES.items():
            points = series.get(f"{system}, {share}")
            if points:
                axes.plot(*zip(*points), color=COLOURS[system], linestyle=line, marker=".", label=share)
        axes.set_xscale("log")
        ticks(axes.xaxis, [1e3, 1e4, 1e5, 1e6], rate_text)
        axes.set_title("taskring (processes)" if system == "taskring" else "crossbeam (threads of one process)")
        axes.set_xlabel("tasks due a second")
        axes.legend()
        log_y(axes)
    both[0].set_ylabel("from due to answered")
    save(figure, "latency", "Latency under load, one worker, pinned", data.curves["machine"], f"{CURVES_COMMAND} -- latency")


def cancel(data):
    figure, (axes,) = panels(1)
    for system, points in data.series("cancel").items():
        axes.plot(*zip(*points), **style(system))
    axes.set_xscale("log")
    ticks(axes.xaxis, [10, 100, 1e3, 1e4, 1e5, 1e6], rate_text)
    log_y(axes)
    axes.set_xlabel("pending tasks")
    axes.set_ylabel("time for each cancelled task")
    save(figure, "cancel", "Cancelling what is pending", data.curves["machine"], f"{CURVES_COMMAND} -- cancel", axes)


def recovery(data):
    figure, (axes,) = panels(1, height=4.8)
    for system, points in data.series("recovery").items():
        line = dict(style(system), marker="", linestyle=":" if system.startswith("start") else "-")
        axes.plot([ns for _, ns in points], [share for share, _ in points], **line)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(time_text))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g} %"))
    axes.set_xlabel("time after the kill")
    axes.set_ylabel("share of the kills")
    save(figure, "recovery", "After kill -9 of a worker that runs a task", data.curves["machine"],
         f"{CURVES_COMMAND} -- recovery", axes, ncols=2)  # fmt: skip


def idle(data):
    figure, three = panels(3, width=4.2)
    for axes, (what, title) in zip(three, [("wake-ups a second of the process", "wake-ups a second,\nthe process that has most"),
                                           ("wake-ups a second, all", "wake-ups a second,\nall processes of the pool"),
                                           ("CPU", "CPU time of the pool,\nus a second")]):  # fmt: skip
        for system, points in data.series("idle", what).items():
            axes.plot(*zip(*points), **style(system))
        axes.set_xscale("log", base=2)
        ticks(axes.xaxis, [1, 2, 4, 8, 16, 32, 64], lambda x, _: f"{x:g}")
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("workers")
    save(figure, "idle", "Pools that have nothing to do", data.curves["machine"], f"{CURVES_COMMAND} -- idle", three[0])


def peers(data):
    """Every system of the comparison, as bars."""
    figure, both = panels(2, height=6.2, width=6)
    for axes, (part, title) in zip(both, [("round trip", "a task there and back"), ("single", "each of many tasks, one submit for each")]):
        rows = [(row["system"], row["median"]) for row in data.peers["figures"] if row["part"] == part]
        rows.sort(key=lambda row: -row[1])
        ours = [system.startswith("ours") or system == "cacheline" for system, _ in rows]
        colours = ["black" if s == "cacheline" else COLOURS["taskring"] if o else "#b8b8b8" for (s, _), o in zip(rows, ours)]
        names = [re.sub("^ours", "taskring", system).replace("cacheline", "(a cache line)") for system, _ in rows]
        axes.barh(range(len(rows)), [ns for _, ns in rows], color=colours, height=0.7)
        for at, (_, ns) in enumerate(rows):
            axes.text(ns * 1.1, at, time_text(ns), va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), names, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(left=50, right=max(ns for _, ns in rows) * 6)
        axes.xaxis.set_major_formatter(FuncFormatter(time_text))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=False, axis="y")
        axes.set_title(title)
    save(figure, "peers", "An empty task through each pool, one worker, pinned", data.peers["machine"], PEERS_COMMAND)


def scaling_plot(data):
    """The model of docs/scaling.md."""
    figure, both = panels(2, sharey=True)
    model = scaling.Model.of(data.curves)
    for axes, (crowd, title) in zip(both, [(lambda cores: 1, "one submitter"), (scaling.quarter, "a submitter for every three workers")]):
        for length, colour in zip([0, 1, 10, 100], ["#0b4f9e", "#1b9e77", "#d95f02", "#999999"]):
            for sockets, line, least in [(1, "-", 2), (2, "--", 16)]:
                cores = [c for c in (2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 192, 256) if c >= least]
                points = [(c, model.rate(c, crowd(c), length * 1000, sockets)[0]) for c in cores]
                name = f"{length} us" if length else "empty tasks"
                axes.plot(*zip(*points), color=colour, linestyle=line, label=name if sockets == 1 else f"{name}, two sockets")
        axes.set_xscale("log", base=2)
        ticks(axes.xaxis, [2, 4, 16, 64, 256], lambda x, _: f"{x:g}")
        log_y(axes, rate_text)
        axes.set_xlabel("cores")
        axes.set_title(title)
    both[0].set_ylabel("tasks a second, by the model")
    save(figure, "scaling", "Not measured: what cache-line transfers allow", f"transfers as on {data.curves['machine']}",
         "python3 docs/plots/scaling.py", both[0])  # fmt: skip


def amount(value, unit):
    if unit == "ns":
        return time_text(value)
    if unit == "B":
        return size_text(value)
    return f"{rate_text(value)}{'' if unit == '/s' else ' '}{unit}".rstrip()


def target_table(data):
    """A row for each line of a target; what it is stands in the table of benches/README.md."""
    text = (DOCS.parent / "benches" / "README.md").read_text()
    what = {}
    for number, letters, of in re.findall(r"^\| N(\d+)([a-z, ]*?) \| ([^|]*?) \|", text, re.M):
        what.update({f"N{number}{letter}": of for letter in letters.split(", ")})
    rows = ["| target | what | taskring | against | ratio | must be | |", "|---|---|---|---|---|---|---|"]
    seen = None
    number = lambda target: int(re.sub("[^0-9]", "", target["id"]))  # noqa: E731
    every = data.peers["targets"] + data.peers["not_measured"]
    for target in sorted(every, key=lambda t: (number(t), t["id"])):
        of = what.get(target["id"], "")
        of, seen = ("" if of == seen else of), of
        if "why" in target:
            rows.append(f"| {target['id']} | {of} | not measured: {target['why']} | | | | |")
            continue
        way = f"{target['way'].replace('-', ' ')}: " if target["way"] else ""
        against = f"{target['against'].replace('-', ' ')}: {amount(target['against_value'], target['against_unit'])}"
        least = ">=" if target["bound"] == "at least" else "<="
        rows.append(f"| {target['id']} | {of} | {way}{amount(target['ours'], target['unit'])} | {against} | {target['ratio']:.3g} | "
                    f"{least} {target['target']:g} | {'ok' if target['ok'] else 'short'} |")  # fmt: skip
    return rows + ["", f"Measured on {data.peers['machine']}."]


# Of each curve a few points, for who wants a figure and no plot: the curve, its quantity, the point as text, the point.
POINTS = [
    ("window", "", "empty tasks, one at a time", 1), ("window", "", "empty tasks, 1000 under way", 1000),
    ("length", "", "tasks of 10 us of work", 10), ("payload", "", "a call with 1 MiB", 1 << 20),
    ("cancel", "", "cancelling each of 10 000 pending tasks", 10_000), ("recovery", "", "after a kill, median", 50),
    ("recovery", "", "after a kill, 99 of 100", 99),
]  # fmt: skip


def point_table(data):
    rows = ["| at | figures |", "|---|---|"]
    for curve, what, text, point in POINTS:
        at = [(system, dict(points).get(point)) for system, points in data.series(curve, what).items()]
        figures = "; ".join(f"{system} {time_text(ns)}" for system, ns in at if ns is not None)
        rows.append(f"| {text} | {figures} |")
    return rows


def fill(file, mark, rows):
    """Puts the rows between two marks of a document."""
    path = DOCS / file
    text = path.read_text()
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, rest = text.split(begin)
    path.write_text(before + begin + "\n".join(rows) + "\n" + end + rest.split(end)[1])


def main():
    data = Data()
    for plot in (payload, window, length, workers, submitters, latency, cancel, recovery, idle, scaling_plot):
        plot(data)
    fill("performance.md", "points", point_table(data))
    fill("scaling.md", "model", scaling.tables(data.curves))
    peers(data)
    fill("performance.md", "targets", target_table(data))


if __name__ == "__main__":
    main()
