#!/usr/bin/env python3
"""
The peer of bench/pool.c in Python: concurrent.futures.ProcessPoolExecutor.

    pool.py tiny|busy|queued N WORKERS PREFETCH C

It has no prefetch that can be set, and none of its pools survives a worker's death: no recover.
"""
import json
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor, wait, FIRST_COMPLETED


def work(number, spin_us):
    until = time.perf_counter() + spin_us / 1e6
    while spin_us and time.perf_counter() < until:
        pass
    return number


def cpu_us(who):
    usage = resource.getrusage(who)
    return int((usage.ru_utime + usage.ru_stime) * 1e6)


def one_round(pool, variant, n, c):
    spin_us = 1000 if variant == "busy" else 0
    took, open_, given = [], {}, 0
    before = cpu_us(resource.RUSAGE_SELF), cpu_us(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    while len(took) < n:
        while given < n and len(open_) < c:
            open_[pool.submit(work, given, spin_us)] = given, time.perf_counter()
            given += 1
        done, _ = wait(open_, return_when=FIRST_COMPLETED)
        for future in done:
            number, since = open_.pop(future)
            assert future.result() == number
            took.append(time.perf_counter() - since)
    seconds = time.perf_counter() - began
    took.sort()
    print(json.dumps({
        "peer": "ProcessPoolExecutor", "variant": variant, "n": n, "c": c, "mb": 0, "seconds": seconds,
        "rate": n / seconds, "cpu_self_us": cpu_us(resource.RUSAGE_SELF) - before[0],
        "cpu_children_us": cpu_us(resource.RUSAGE_CHILDREN) - before[1],
        "median_us": round(took[n // 2] * 1e6), "p99_us": round(took[n * 99 // 100] * 1e6),
    }), flush=True)


def main():
    variant, n, workers, c = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[5])
    with ProcessPoolExecutor(workers) as pool:
        if not os.environ.get("BENCH_SERVE"):
            one_round(pool, variant, n, n if variant == "queued" else c)
            return
        for _ in sys.stdin:
            one_round(pool, variant, n, n if variant == "queued" else c)


if __name__ == "__main__":
    main()
