"""Passes connections on, from a port or a socket's file to another: `relay.py LISTEN TARGET`.

Two of them with a file between them lead from one host's loopback to another's, as `ssh -L` does.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import suppress


async def opened(place: str) -> tuple[StreamReader, StreamWriter]:
    """A connection to PORT on loopback, or to a socket's file."""
    if place.isdigit():
        return await asyncio.open_connection("127.0.0.1", int(place))
    return await asyncio.open_unix_connection(place)


async def pump(reader: StreamReader, writer: StreamWriter) -> None:
    """Copies until one side ends."""
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def relay(listen: str, target: str) -> None:
    """Serves for ever."""

    async def passed(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there, back = await opened(target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    if listen.isdigit():
        server = await asyncio.start_server(passed, "127.0.0.1", int(listen))
    else:
        server = await asyncio.start_unix_server(passed, listen)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(*sys.argv[1:3]))
