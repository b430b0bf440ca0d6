"""The mirror in a process of its own, which spares the driver MLflow's processor time and memory.

The driver writes requests to the process, a line of JSON each, and reads its answers. The process
ends with the driver, however that ends: a run that it wrote beside the driver's next launch would
be there twice.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from mer_search.errors import MerSearchError
from mer_search.loso.ledger import Ledger

PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
GRACE = 5.0  # seconds between the driver's end and the process's own at the latest


class Away(MerSearchError):
    """MLflow, or the process that writes it, did not do what was asked; the text says why."""


class Apart:
    """`Mirror` in a process of its own. After `Away` it may be asked again.

    Args:
        beat: called whenever MLflow has answered and is asked again.

    Raises:
        Away: the process cannot be started.
    """

    def __init__(self, ledger: Ledger, uri: str, *, beat: Callable[[], None]) -> None:
        self.beat = beat
        line = [sys.executable, "-m", "mer_search.tracking.apart", ledger.store, ledger.name, uri]
        try:
            # A session of its own: Ctrl-C is the driver's to hear.
            self.process = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                env={**PATIENCE, **os.environ}, start_new_session=True,
            )  # fmt: skip
        except OSError as fault:
            raise Away(f"its process cannot be started: {fault}") from fault

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self.process.poll() is None

    def sync(self, numbers: list[int] | None, *, running: bool) -> None:
        """See `Mirror.sync`. Raises Away."""
        self._call("sync", numbers, running=running)

    def attach(self, name: str, text: str) -> None:
        """See `Mirror.attach`. Raises Away."""
        self._call("attach", name, text)

    def _call(self, name: str, *given: Any, **named: Any) -> None:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps([name, given, named]) + "\n")
            for line in self.process.stdout:
                answer = json.loads(line)
                if answer is None:
                    return
                if answer:
                    raise Away(answer)
                self.beat()
        except OSError as fault:
            raise Away(f"its process has ended: {fault}") from fault
        raise Away(f"its process has ended with {self.process.wait()}")

    def kill(self) -> None:
        """Ends the process at once; another thread may be waiting for its answer."""
        self.process.kill()

    def close(self) -> None:
        """Ends the process and lets go of it."""
        self.kill()
        with suppress(BrokenPipeError):  # a request that it did not take
            self.process.__exit__(None, None, None)


def serve(store: str, name: str, uri: str) -> None:
    """What the process does: answers "" for every beat, null at the end, or a fault."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints is no answer

    def answer(what: str | None) -> None:
        answers.write(json.dumps(what) + "\n")

    requests: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    from mer_search.tracking.mirror import Mirror

    mirror = None
    while request := requests.get():
        call, given, named = request
        answer("")
        try:
            if mirror is None:
                mirror = Mirror(Ledger(store, name), uri, beat=lambda: answer(""))
            getattr(mirror, call)(*given, **named)
        # A border: whatever MLflow, its database or its server throws must not end a search.
        except Exception as fault:
            mirror = None
            answer(_short(fault))
        else:
            answer(None)


def _listen(requests: SimpleQueue[Any]) -> None:
    """Passes requests on; when the driver is gone, ends what is under way."""
    for line in sys.stdin:
        requests.put(json.loads(line))
    requests.put(None)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # cleans up behind it
    time.sleep(GRACE)
    os._exit(1)


def _short(fault: Exception) -> str:
    """The cause within what HTTP's layers say around it, or the first line."""
    if cause := re.search(r"Read timed out|Connection refused|Connection aborted", str(fault)):
        return cause[0].lower()
    text = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {text[0][:200]}" if text else type(fault).__name__


if __name__ == "__main__":
    os.nice(19)  # trials come first: Ray gives its workers 15
    try:
        serve(*sys.argv[1:])
    except (KeyboardInterrupt, BrokenPipeError):  # the driver has gone
        os._exit(1)
