# SPDX-License-Identifier: Apache-2.0
"""Children that end with us, and ports that nobody else takes."""

import ctypes
import itertools
import os
import random
import signal
import socket
import subprocess

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_FIRST_PORT, _LAST_PORT = 15000, 32000  # below the kernel's range for outgoing connections, which would be given them meanwhile


def _ports():
    """One after the other, so that a port is not given again for long: who has it may stop and start again. Workers of one test run
    have ports of their own; runs side by side begin at different ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    count = (_LAST_PORT - _FIRST_PORT) // workers
    begin = random.Random(os.getpid()).randrange(count)
    for i in itertools.count(begin):
        yield _FIRST_PORT + worker * count + i % count


_next_ports = _ports()


def free_port():
    """A TCP port that is free on loopback."""
    for port in itertools.islice(_next_ports, 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no free port found")


def spawn(argv, death_signal=signal.SIGKILL, **options):
    """Popen whose child gets ``death_signal`` should the test run die: nothing is left behind.

    The signal is set after the user has been changed (the kernel forgets it at setuid), hence preexec_fn. What nohup makes all of us
    ignore is not ignored there.
    """

    def die_with_parent():
        _libc.prctl(_PR_SET_PDEATHSIG, death_signal)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    return subprocess.Popen(argv, preexec_fn=die_with_parent, **{"stdin": subprocess.DEVNULL, **options})


def alive(pid):
    """Whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    """Direct children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="latin-1") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry))
        except OSError:
            continue
    return found


def descendants(pid):
    """All processes below a process."""
    found = []
    for child in children(pid):
        found.append(child)
        found.extend(descendants(child))
    return found


def clean_environment(**extra):
    """Our environment without what would lead libpq or Busbar elsewhere."""
    prefixes = ("PG", "DATABASE_", "ELECTRIC_", "BUSBAR_", "AUTH_", "HTTP_PORT", "LOG_LEVEL", "OTEL", "LOGICAL_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    env.update(LC_ALL="C.UTF-8", PATH=os.environ.get("PATH", "/usr/bin:/bin"))
    env.update({k: str(v) for k, v in extra.items() if v is not None})
    return env
