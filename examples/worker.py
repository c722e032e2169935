#!/usr/bin/env python3
"""
A worker in Python, of its standard library alone: sums the numbers that each message has as "data", as sum.c does in C.
Its parent may be brood's brood_fork, Node's fork() with execPath, or a shell:

    echo '{"id":1,"data":[1,2,3]}' | brood talk -- python3 examples/worker.py
"""
import json
import os
import select
import sys


def work(task):
    return sum(task["data"])


# The socket may be non-blocking, and whoever else holds it shares that: it is waited for, and left as it is.
def wait_for(fd, events):
    poll = select.poll()
    poll.register(fd, events)
    poll.poll()


def receive(fd):
    """Each message, however the socket cuts it, until the parent disconnects or is gone."""
    line = bytearray()
    while True:
        try:
            got = os.read(fd, 65536)
        except BlockingIOError:
            wait_for(fd, select.POLLIN)
            continue
        if not got:
            return
        *ends, rest = got.split(b"\n")
        for end in ends:
            yield json.loads(line + end)
            line.clear()
        line += rest


def send(fd, text):
    rest = memoryview(text.encode() + b"\n")
    while rest:
        try:
            rest = rest[os.write(fd, rest):]
        except BlockingIOError:
            wait_for(fd, select.POLLOUT)


def answer(task):
    reply = {"id": task["id"]} if isinstance(task, dict) and "id" in task else {}
    try:
        return json.dumps({**reply, "result": work(task)}, allow_nan=False)  # NaN is Python's JSON, and nobody else's
    except Exception as error:
        return json.dumps({**reply, "error": f"{type(error).__name__}: {error}"})


def is_internal(task):
    """Node's own messages, of handles and of clusters, begin like this, and are no task."""
    cmd = task.get("cmd") if isinstance(task, dict) else None
    return isinstance(cmd, str) and len(cmd) > 5 and cmd.startswith("NODE_")


def main():
    if os.environ.pop("NODE_CHANNEL_SERIALIZATION_MODE", "") == "advanced":
        sys.exit("worker.py: it knows JSON only")
    fd = os.environ.pop("NODE_CHANNEL_FD", "")
    if not fd:
        sys.exit("Nobody to talk to: try `brood talk -- python3 worker.py`.")
    fd = int(fd)
    os.set_inheritable(fd, False)
    try:
        for task in receive(fd):
            if not is_internal(task):
                send(fd, answer(task))
            elif task["cmd"] == "NODE_HANDLE":  # it cannot be taken here, and Node waits until it hears so
                send(fd, '{"cmd": "NODE_HANDLE_NACK"}')
    except ConnectionError:  # the parent is gone, perhaps with something of ours unread
        pass


main()
