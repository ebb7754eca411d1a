"""Python's pools at the points of the curves, by orders of the bench: ``pools.py CURVE POINT...``.

The orders are those of ``peers.py`` beside this folder. A name ends in ``@`` and its part of the bench, which is the curve and
the point.
``pools.py idle-pool NAME WORKERS`` is a pool that has nothing to do: it tells its workers' pids, and ends with its input.
"""

import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers import behind_window, one_at_a_time, serve, square, timed  # noqa: E402

PPE, POOL = "ProcessPoolExecutor", "multiprocessing.Pool"
WINDOW = 64


def ends(data):
    return (data[:1], data[-1:], len(data))


def work(steps):
    number = 1
    for step in range(steps):
        number = (number * 6_364_136_223_846_793_005 + step) & 0xFFFF_FFFF_FFFF_FFFF
    return number


def steps_of_1_us():
    """Of the fastest of a few tries."""

    def one():
        start = time.perf_counter_ns()
        work(100_000)
        return time.perf_counter_ns() - start

    return 100_000 * 1000 / min(one() for _ in range(5))


def same(function, argument):
    """A task whose argument is always this one; and what it must answer."""
    answer = function(argument)
    return (lambda submit: lambda _x: submit(function, argument)), (lambda _x: answer)


def executor(workers, shape, function=None, argument=None):
    """Measures a ProcessPoolExecutor that runs ``function`` on ``argument``, or squares."""
    fixed, answer = same(function, argument) if function else ((lambda submit: lambda x: submit(square, x)), square)

    def measure(count):
        with ProcessPoolExecutor(workers) as pool:
            submit = fixed(pool.submit)
            return timed(count, shape(lambda x: submit(x).result), answer, warm_up=min(20, count))

    return measure


def pool(workers, shape, function=None, argument=None):
    """The same of a ``multiprocessing.Pool``."""
    fixed, answer = same(function, argument) if function else ((lambda submit: lambda x: submit(square, x)), square)

    def measure(count):
        with multiprocessing.Pool(workers) as pool:
            submit = fixed(lambda f, x: pool.apply_async(f, (x,)))
            return timed(count, shape(lambda x: submit(x).get), answer, warm_up=min(20, count))

    return measure


def alone(steps):
    return lambda count: timed(count, lambda n: [work(steps) for _ in range(n)], same(work, steps)[1], warm_up=1)


def windowed(window):
    return lambda submit: behind_window(submit, window)


def window(point):
    count = 1000 if point < 8 else 2000
    yield PPE, count, executor(1, windowed(point))
    yield f"{POOL}, apply_async", count, pool(1, windowed(point))


def length(point):
    steps = round(point * STEPS)
    count = min(1000, max(20, 20_000 // max(point, 1)))
    yield "the same work in Python alone", count, alone(steps)
    yield PPE, count, executor(1, windowed(WINDOW), work, steps)
    yield f"{POOL}, apply_async", count, pool(1, windowed(WINDOW), work, steps)


def payload(point):
    data = bytes(point)
    count = max(4, min(300, (32 << 20) // max(point, 1)))
    yield PPE, count, executor(1, one_at_a_time, ends, data)
    yield f"{POOL}, apply_async", count, pool(1, one_at_a_time, ends, data)


def workers(point):
    for micros in (0, 10, 100):
        steps, part = round(micros * STEPS), f"workers {micros} {point}"
        yield f"{POOL}, apply_async", 1000, pool(point, windowed(WINDOW), work, steps), part


def set_free(free):
    global FREE
    FREE = free


def hold_free():
    FREE.wait()


def cancel(point):
    def measure(count):
        free = multiprocessing.Event()
        with ProcessPoolExecutor(1, initializer=set_free, initargs=(free,)) as pool:
            # The pool takes two more than it has workers for, and those cannot be cancelled.
            held = [pool.submit(hold_free) for _ in range(4)]
            while not held[1].running():
                time.sleep(0.001)
            futures = [pool.submit(square, x) for x in range(point)]
            start = time.perf_counter_ns()
            cancelled = sum(future.cancel() for future in futures)
            elapsed = time.perf_counter_ns() - start
            assert cancelled == point, "all of them were pending"
            free.set()
            return elapsed / point

    yield f"{PPE}, cancel of each future", 4, measure


def broken(also_new):
    def measure(_count):
        with ProcessPoolExecutor(1) as pool:
            worker = pool.submit(os.getpid).result()
            lost = pool.submit(time.sleep, 1000)
            while not lost.running():
                time.sleep(0.0002)
            time.sleep(0.003)
            killed_at = time.perf_counter_ns()
            os.kill(worker, signal.SIGKILL)
            try:
                lost.result()
            except BrokenProcessPool:
                told_at = time.perf_counter_ns()
        if not also_new:
            return told_at - killed_at
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(square, 7).result() == 49
            return time.perf_counter_ns() - killed_at

    return measure


def replaced(_count):
    """The killed task of a ``multiprocessing.Pool`` is lost without a word; the next one runs on a new worker."""
    with multiprocessing.Pool(1) as pool:
        worker = pool.apply(os.getpid)
        pool.apply_async(time.sleep, (1000,))
        time.sleep(0.003)
        killed_at = time.perf_counter_ns()
        os.kill(worker, signal.SIGKILL)
        assert pool.apply_async(square, (7,)).get(20) == 49
        return time.perf_counter_ns() - killed_at


def recovery(_point):
    yield f"{PPE}, kill to BrokenProcessPool", 4, broken(False)
    yield f"{PPE}, kill to a new pool's task", 4, broken(True)
    yield f"{POOL}, kill to the new worker's task", 4, replaced


def idle_pool(name, workers):
    if name == PPE:
        pool = ProcessPoolExecutor(workers)
        for future in [pool.submit(time.sleep, 0.2) for _ in range(workers)]:
            future.result()
    else:
        pool = multiprocessing.Pool(workers)
        pool.map(square, range(1000))
    time.sleep(0.5)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    sys.stdin.read()
    # Its workers sleep and hold nothing; they end with us.
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


CURVES = {f.__name__: f for f in (window, length, payload, workers, cancel, recovery)}

if __name__ == "__main__":
    curve, *points = sys.argv[1:]
    if curve == "idle-pool":
        idle_pool(points[0], int(points[1]))
    STEPS = steps_of_1_us() if curve in ("length", "workers") else 0
    offers = []
    for point in map(int, points):
        for name, count, measure, *part in CURVES[curve](point):
            part = part[0] if part else f"{curve} {point}"
            offers.append((part, f"{name}@{part}", count, measure))
    serve(offers)
