"""Hosts on one machine: each a network namespace with an address, a name, processes of its own.

A bridge in one more namespace is the switch between them; the machine's own network is not touched.
Needs root and iproute2. Not for what runs on a host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

NET = "10.77.7"
PATIENCE = 180.0
"""Seconds in which a process has to do what is waited for."""
BOUND = ["setpriv", "--pdeathsig", "KILL"]
"""Begins a command that ends with whoever started it, even where that is killed."""
# Its own mounts: the same path is another folder on every host. Its own process ids: a host that is
# switched off takes along everything that was started on it.
APART = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


class Host:
    """One machine of the drill."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.network, self.name, self.address = network, name, f"{NET}.{number}"
        self.space, self.port = f"{network.mark}-{name}"[-60:], f"p{number}"
        self.disk = network.folder / "disks" / name
        self.disk.mkdir(parents=True)
        self.environment: dict[str, str] = {}
        self.processes: list[subprocess.Popen[bytes]] = []

    def plug_in(self, switch: str) -> None:
        """The namespace, its link to the switch, its address."""
        _ip("netns", "add", self.space)
        _ip("-n", switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0",
            "netns", self.space)  # fmt: skip
        _ip("-n", switch, "link", "set", self.port, "master", "bridge", "up")
        _ip("-n", self.space, "address", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", self.space, "link", "set", link, "up")
        # Nothing is there beyond; but Ray learns its own address by asking for a way out.
        _ip("-n", self.space, "route", "add", "default", "dev", "eth0")

    def command(self, *words: object) -> list[str]:
        """The command line that runs these words on the host."""
        # Ray leaves in /tmp/ray which cluster `auto` means.
        begin = (
            'hostname "$0"; mkdir -p "$1/ray" /tmp/ray; mount --bind "$1/ray" /tmp/ray; '
            'mount --bind "$1" "$2"; cd "$2"; shift 2; exec "$@"'
        )
        return ["ip", "netns", "exec", self.space, *APART, "sh", "-ec", begin, self.name,
                str(self.disk), str(self.network.own), *map(str, words)]  # fmt: skip

    def start(
        self,
        *words: object,
        log: str,
        environment: Mapping[str, str] | None = None,
        beside: subprocess.Popen[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a process on the host; what it says is in `log` on the host's disk.

        Args:
            beside: an earlier process of the host that shall be seen by its process id.
        """
        line = self.command(*words) if beside is None else _beside(beside, words)
        with (self.disk / log).open("ab") as told:
            process = subprocess.Popen(
                [*BOUND, *line],
                env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=told, stderr=told, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def run(
        self, *words: object, environment: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on the host to its end."""
        done = subprocess.run(
            self.command(*words), env={**self.environment, **(environment or {})},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {words} ended with {done.returncode}: {done.stderr}")
        return done

    def cut(self) -> None:
        """Pulls the host's cable."""
        _ip("-n", self.network.switch, "link", "set", self.port, "down")

    def mend(self) -> None:
        """Puts the cable back."""
        _ip("-n", self.network.switch, "link", "set", self.port, "up")

    def protect(self, members: Sequence[Host], ports: Sequence[int]) -> None:
        """A firewall: members reach every port, anybody else the named ones alone."""
        rules = [["-i", "lo"], ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED"]]
        rules += [["-s", each.address] for each in members]
        rules += [["-p", "tcp", "--dport", str(port)] for port in ports]
        for rule in rules:
            self._iptables("-A", "INPUT", *rule, "-j", "ACCEPT")
        self._iptables("-A", "INPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
        self._iptables("-P", "INPUT", "DROP")

    def _iptables(self, *words: str) -> None:
        _run("ip", "netns", "exec", self.space, "iptables", "-w", *words)

    def pids(self) -> list[int]:
        """Ids of all processes on the host, as this machine counts them."""
        words = ["ip", "netns", "pids", self.space]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]

    def switch_off(self) -> None:
        """Everything on the host ends at once, as with its power; its address falls silent."""
        self.cut()
        for process in self.processes:
            end(process)
        self.processes.clear()
        for pid in self.pids():  # what changed its user does not end with what started it
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Network:
    """All hosts, in a folder of their own below /tmp; closing it leaves nothing behind."""

    def __init__(self) -> None:
        self.mark = f"drill{os.getpid()}"
        self.switch = f"{self.mark}-switch"
        self.folder = Path(tempfile.mkdtemp(prefix="drill-", dir="/tmp"))
        self.own = self.folder / "own"
        self.own.mkdir()
        self.folder.chmod(0o711)  # PostgreSQL runs as a user of its own
        self.hosts: list[Host] = []
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "bridge", "up")

    def host(self, name: str) -> Host:
        """One more host."""
        host = Host(self, name, len(self.hosts) + 1)
        self.hosts.append(host)
        host.plug_in(self.switch)
        return host

    def close(self) -> None:
        """Ends every process and namespace; the folder with the logs stays for the caller."""
        for host in reversed(self.hosts):
            host.switch_off()
        for space in (*(host.space for host in self.hosts), self.switch):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", space)


def missing() -> str:
    """What this machine lacks for hosts, or ""."""
    if os.geteuid():
        return "network namespaces need root"
    mark = f"drill{os.getpid()}-probe"
    try:
        _ip("netns", "add", mark)
    except (OSError, subprocess.CalledProcessError) as fault:
        return f"no network namespace can be made here ({fault})"
    try:
        for probe in ([*APART, "true"], ["iptables", "-w", "-S"],
                      ["ip", "link", "add", "bridge", "type", "bridge"]):  # fmt: skip
            _run("ip", "netns", "exec", mark, *probe)
    except (OSError, subprocess.CalledProcessError) as fault:
        return f"a namespace cannot be furnished here ({fault})"
    finally:
        _ip("netns", "delete", mark)
    return ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process of a host; the kernel ends what it had started there."""
    if process.poll() is None:
        process.kill()
        process.wait()


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Waits.

    Raises:
        TimeoutError: it did not come true.
    """
    until = time.monotonic() + patience
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.2)


def _beside(process: subprocess.Popen[bytes], words: Sequence[object]) -> list[str]:
    """The command line that runs these words in all the namespaces of a process of a host."""
    inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    enter = ["nsenter", "--target", inside, "--mount", "--uts", "--net", "--pid", "--wd"]
    return [*enter, *map(str, words)]


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as fault:
        fault.add_note(str(fault.stderr))
        raise
