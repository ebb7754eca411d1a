"""Python's pools with one worker each, measured by orders from the bench.

At the start a line for each thing that can be measured here: ``can PART NAME COUNT``, or ``cannot NAME why``, then ``ready``; fields are
separated by tabs. An order is ``NAME COUNT``; the answer is the name and the nanoseconds for each task, or ``failed`` and why. A pool lives only
while it is measured, so that none takes time from the others. Every answer of every task is checked.
"""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

try:
    import loky
except ImportError:
    loky = None
try:
    import mpire
except ImportError:
    mpire = None

WINDOW = 64


def square(x):
    return x * x


def timed(count, run, answer=square, warm_up=20):
    """Nanoseconds for each task of ``run(count)``, which gives the answers in their order."""
    for x in run(warm_up):
        assert x is not None
    start = time.perf_counter_ns()
    answers = run(count)
    elapsed = time.perf_counter_ns() - start
    assert answers == [answer(x) for x in range(count)], "the answers"
    return elapsed / count


def one_at_a_time(submit):
    """A task there and back, again and again; ``submit`` gives something to wait for."""
    return lambda count: [submit(x)() for x in range(count)]


def behind_window(submit, window=WINDOW):
    """At most ``window`` under way; by default as many as a queue of processes carries without waiting."""

    def run(count):
        waiting, answers = [], []
        for x in range(count):
            if len(waiting) - len(answers) == window:
                answers.append(waiting[len(answers)]())
            waiting.append(submit(x))
        while len(answers) < count:
            answers.append(waiting[len(answers)]())
        return answers

    return run


def with_executor(make, shape):
    """Measures an executor of ``concurrent.futures``' kind."""

    def measure(count):
        with make() as pool:
            if shape == "map":
                return timed(count, lambda n: list(pool.map(square, range(n))))
            how = one_at_a_time if shape == "round-trip" else behind_window
            return timed(count, how(lambda x: pool.submit(square, x).result))

    return measure


def with_pool(run_of):
    """Measures a ``multiprocessing.Pool``."""

    def measure(count):
        with multiprocessing.Pool(1) as pool:
            return timed(count, run_of(pool))

    return measure


def with_mpire(chunk):
    def measure(count):
        with mpire.WorkerPool(1) as pool:
            return timed(count, lambda n: pool.map(square, range(n), chunk_size=chunk))

    return measure


def processes():
    return ProcessPoolExecutor(1)


def threads():
    return ThreadPoolExecutor(1)


def loky_pool():
    return loky.ProcessPoolExecutor(1)


def apply_async(pool):
    return lambda x: pool.apply_async(square, (x,)).get


PPE, TPE, POOL = "ProcessPoolExecutor", "ThreadPoolExecutor", "multiprocessing.Pool"

# Part of the bench, name, tasks in a round, how to measure it.
MEASURES = [
    ("round-trip", f"{PPE} submit", 500, with_executor(processes, "round-trip")),
    ("round-trip", f"{POOL} apply_async", 500, with_pool(lambda pool: one_at_a_time(apply_async(pool)))),
    ("single", f"{PPE} submit + result", 2000, with_executor(processes, "single")),
    ("single", f"{PPE} map", 2000, with_executor(processes, "map")),
    ("single", f"{TPE} submit + result", 8000, with_executor(threads, "single")),
    ("single", f"{POOL} map chunksize 1", 8000, with_pool(lambda pool: lambda n: pool.map(square, range(n), 1))),
    ("single", f"{POOL} imap", 8000, with_pool(lambda pool: lambda n: list(pool.imap(square, range(n))))),
    ("single", f"{POOL} apply_async, window {WINDOW}", 4000, with_pool(lambda pool: behind_window(apply_async(pool)))),
    ("bulk", f"{POOL} map auto-chunked", 1_000_000, with_pool(lambda pool: lambda n: pool.map(square, range(n)))),
]
if loky:
    MEASURES.append(("single", "loky submit + result", 1000, with_executor(loky_pool, "single")))
if mpire:
    MEASURES.append(("single", "mpire map chunk 1", 4000, with_mpire(1)))
    MEASURES.append(("bulk", "mpire map auto-chunked", 100_000, with_mpire(None)))


def serve(offers, missing=()):
    """Tells what can be measured, then measures what is ordered until the input ends."""

    def say(*fields):
        print(*fields, sep="\t", flush=True)

    for part, name, count, _ in offers:
        say("can", part, name, count)
    for name in missing:
        say("cannot", name, f"Python {sys.version_info[0]}.{sys.version_info[1]} has no module {name}")
    say("ready")
    measures = {name: measure for _, name, _, measure in offers}
    for line in sys.stdin:
        name, count = line.rstrip("\n").split("\t")
        try:
            say(name, f"{measures[name](int(count)):.1f}")
        except Exception as why:  # a broken pool is told, not hidden in a traceback
            say("failed", f"{type(why).__name__}: {why}".replace("\n", " ").replace("\t", " "))


if __name__ == "__main__":
    serve(MEASURES, [name for name, module in [("loky", loky), ("mpire", mpire)] if module is None])
