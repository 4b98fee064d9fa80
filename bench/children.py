# SPDX-License-Identifier: Apache-2.0
"""Processes: started, waited for, measured, and ended by their id."""

import glob
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HOST = "127.0.0.1"
READY_SECONDS = 60


def fail(message):
    sys.exit(f"bench: {message}")


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def find_pgbin():
    """The newest PostgreSQL that has a server and pgbench."""
    places = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
    found = [path for place in places for path in glob.glob(place)
             if all(os.access(os.path.join(path, name), os.X_OK) for name in ("postgres", "pgbench"))]
    if not found:
        fail("no PostgreSQL with pgbench found; tools/install-deps bench installs it")
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path)])


def unprivileged():
    """PostgreSQL and PgBouncer do not run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def run(*argv, stderr=subprocess.PIPE, **kwargs):
    """Its standard output; the bench ends when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, **kwargs)
    if done.returncode != 0:
        fail(f"{' '.join(argv)}\n{done.stdout[-2000:]}{(done.stderr or '')[-2000:]}")
    return done.stdout


def cpu_seconds(pid):
    """CPU time of all threads, also of those that ended: the kernel's clock of the process, in nanoseconds. Its id is
    made as in MAKE_PROCESS_CPUCLOCK() of the kernel."""
    return time.clock_gettime((~pid << 3) | 2)


def _memory_kb(pid, field):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{field}:\s+(\d+)", status).group(1))


def resident_kb(pid):
    return _memory_kb(pid, "VmRSS")


def peak_kb(pid):
    """The most that was ever resident."""
    return _memory_kb(pid, "VmHWM")


class AnonymousPeak:
    """The most memory of a way's process that was its own, as often as it is looked at, from its start on: what it maps
    of files is the kernel's to keep or not."""

    def __init__(self, way):
        self.way, self.kb = way, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self.ended.wait(0.02):
            if self.way.pid:
                self.kb = max(self.kb, _memory_kb(self.way.pid, "RssAnon"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.ended.set()
        self.thread.join()


class Cpu:
    """CPU seconds of a way's or a child's process since this was made; 0 for PostgreSQL itself."""

    def __init__(self, whose):
        self.pid = whose.pid
        self.before = cpu_seconds(self.pid) if self.pid else 0.0

    def used(self):
        return cpu_seconds(self.pid) - self.before if self.pid else 0.0


class Child:
    """A process of ours, in a session of its own: Ctrl-C reaches only us, and we end it by its id."""

    def __init__(self, name, folder, *argv, **kwargs):
        self.name = name
        self.log = pathlib.Path(folder, name + ".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                            start_new_session=True, **kwargs)
        self.pid = self.process.pid

    def wait_until(self, condition):
        """Until condition() is true; an early end or too long a wait ends the bench with the log."""
        end = time.monotonic() + READY_SECONDS
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                fail(f"{self.name} did not get ready:\n{self.log.read_text(encoding='utf-8', errors='replace')[-4000:]}")
            time.sleep(0.002)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
