"""Which TCP ports of an address answer from here: `scan.py ADDRESS ...` prints JSON."""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import time
from collections.abc import Iterable, Iterator

AT_ONCE = 512
PATIENCE = 3.0
"""Seconds without any answer after which the rest is silent."""


def open_ports(address: str, ports: Iterable[int] = range(1, 65536)) -> list[int]:
    """Ports that take a connection, ascending."""
    found: list[int] = []
    left = iter(ports)
    waiting: dict[int, tuple[socket.socket, int]] = {}
    poll, heard, exhausted = select.poll(), time.monotonic(), False
    while waiting or not exhausted:
        while len(waiting) < AT_ONCE and not exhausted:
            if (port := next(left, None)) is None:
                exhausted = True
            else:
                found += _knock(address, port, waiting, poll)
        for descriptor, _ in poll.poll(200):
            heard = time.monotonic()
            knocking, port = waiting.pop(descriptor)
            poll.unregister(descriptor)
            if not knocking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                found.append(port)
            knocking.close()
        if waiting and time.monotonic() - heard > PATIENCE:  # dropped without an answer
            for knocking, _ in waiting.values():
                poll.unregister(knocking)
                knocking.close()
            waiting.clear()
            heard = time.monotonic()
    return sorted(found)


def _knock(
    address: str, port: int, waiting: dict[int, tuple[socket.socket, int]], poll: select.poll
) -> Iterator[int]:
    """The port where it answers at once; else it is waited for."""
    knocking = socket.socket()
    knocking.setblocking(False)
    answer = knocking.connect_ex((address, port))
    if answer == errno.EINPROGRESS:
        waiting[knocking.fileno()] = knocking, port
        poll.register(knocking, select.POLLOUT)
        return
    knocking.close()
    if not answer:
        yield port


if __name__ == "__main__":
    print(json.dumps({address: open_ports(address) for address in sys.argv[1:]}))
