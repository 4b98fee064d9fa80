# SPDX-License-Identifier: Apache-2.0
"""The service manager's side of sd_notify(3), and of sd_listen_fds(3)."""

import contextlib
import fcntl
import os
import select
import socket
import time


class Manager:
    """A socket for NOTIFY_SOCKET. Each event is a dict of what one datagram says."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.events = []

    def close(self):
        self.socket.close()

    def next(self, timeout=20.0):
        assert select.select([self.socket], [], [], timeout)[0], f"the service manager was told nothing more than {self.events}"
        text = self.socket.recv(4096).decode()
        event = dict(line.split("=", 1) for line in text.splitlines())
        self.events.append(event)
        return event

    def wait(self, name, timeout=20.0):
        """The next event that has this variable; others before it are passed over."""
        end = time.monotonic() + timeout
        while True:
            event = self.next(max(0.0, end - time.monotonic()))
            if name in event:
                return event


@contextlib.contextmanager
def handed_over(argv, sockets):
    """argv, run with these listening sockets on descriptors 3 and up, and the descriptors to pass for it.

    sockets: (name, socket) pairs. LISTEN_PID has to be the process's own, which a shell that becomes it knows.
    """
    if not sockets:
        yield argv, ()
        return
    # Duplicates from 100 up: none may stand where another one is to be put.
    fds = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for _, sock in sockets]
    names = ":".join(name for name, _ in sockets)
    moves = " ".join(f"{3 + n}<&{fd} {fd}<&-" for n, fd in enumerate(fds))
    script = f'export LISTEN_PID=$$ LISTEN_FDS={len(fds)} LISTEN_FDNAMES={names}; exec "$@" {moves}'
    try:
        yield ["bash", "-c", script, "bash", *argv], fds
    finally:
        for fd in fds:
            os.close(fd)
