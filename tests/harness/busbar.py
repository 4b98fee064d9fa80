# SPDX-License-Identifier: Apache-2.0
"""The program under test."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

import psycopg

from .manager import handed_over
from .process import clean_environment, free_port, spawn
from .wait import wait_until
from .web import get
from .wire import Wire

PASSWORD = "proxy_password"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What a sanitizer, an assert or the allocator prints when something is wrong inside.
_FAULTS = re.compile(
    r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|[Aa]ssertion .*failed|\bassert\b|stack smashing|"
    r"double free|SIGSEGV|panic", re.I)


def binary():
    return os.environ.get("BUSBAR", os.path.join(REPOSITORY, "build", "busbar"))


def psql(endpoint, *commands, script=None, stop=True, env=None, dbname=None, flags=()):
    """Runs the real psql; returns the finished process. One -c a command, or a script on standard input."""
    argv = ["psql", "-X", "-h", endpoint.host, "-p", str(endpoint.port), "-U", endpoint.user, "-d", dbname or endpoint.dbname, *flags]
    if stop:
        argv += ["-v", "ON_ERROR_STOP=1"]
    for command in commands:
        argv += ["-c", command]
    return subprocess.run(argv, input=script, capture_output=True, text=True, timeout=60, check=False,
                          env=clean_environment(**{"PGPASSWORD": endpoint.password or "", **(env or {})}))


class Endpoint:
    """Where a client connects: what Busbar and a bare PostgreSQL have in common."""

    def __init__(self, host, port, dbname, user="postgres", password=None):
        self.host, self.port, self.dbname, self.user, self.password = host, port, dbname, user, password

    def wire(self, **params):
        return Wire.login(self, **params)

    def psycopg(self, **params):
        return psycopg.connect(**{"host": self.host, "port": self.port, "user": self.user, "password": self.password or "",
                                  "dbname": self.dbname, "connect_timeout": 10, **params})

    def psql(self, *commands, **options):
        return psql(self, *commands, **options)


class Busbar(Endpoint):
    """One running (or failing) Busbar. ``check()`` at the end of a test says whether it stayed healthy."""

    def __init__(self, database_url=None, arguments=("serve",), dbname="electric", cwd=None, sockets=(), **environment):
        self.http_port = free_port()
        super().__init__("127.0.0.1", free_port(), dbname, password=PASSWORD)
        self.arguments = list(arguments)
        self.cwd = cwd
        self.sockets = sockets  # handed over at the start: (name, listening socket) pairs
        self.data = tempfile.mkdtemp(prefix="busbar-data-")  # stays while the object does, whatever becomes of the process
        self.environment = {
            "BUSBAR_DATA": self.data, "DATABASE_URL": database_url, "PG_PROXY_PASSWORD": PASSWORD, "PG_PROXY_PORT": self.port, "HTTP_PORT": self.http_port,
            "AUTH_MODE": "insecure", "BUSBAR_LISTEN": "localhost", "LOG_LEVEL": "debug",
            "BUSBAR_DRAIN_TIMEOUT": "0", **environment}
        self.process = None
        self.killed = False
        self.shows_password = self.arguments[0] == "dev"  # it prints URLs to copy, with the development password
        handle, self.log_path = tempfile.mkstemp(prefix="busbar-log-")
        os.close(handle)

    # Life.

    def spawn(self):
        """Starts the program without waiting for anything."""
        env = clean_environment(
            **self.environment,
            ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:quarantine_size_mb=8"),
            UBSAN_OPTIONS=os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1"))
        self.killed = False
        argv = [binary(), *self.arguments]
        with open(self.log_path, "ab") as log, handed_over(argv, self.sockets) as (argv, fds):
            self.process = spawn(argv, death_signal=signal.SIGTERM, stdout=log, stderr=log, env=env, cwd=self.cwd, pass_fds=fds)
        return self

    def spawn_beside(self, other):
        """Starts the program on the ports of another that still runs; both have BUSBAR_REUSEPORT."""
        for name in ("PG_PROXY_PORT", "HTTP_PORT"):
            self.environment[name] = other.environment[name]
        self.port, self.http_port = other.port, other.http_port
        return self.spawn()

    def start(self, timeout=20.0):
        """Starts the program and waits until it is ready."""
        self.spawn()
        return self.wait_ready(timeout)

    def status(self):
        """Code and text of /api/status; 0 when nothing listens."""
        try:
            answer = get(self.http_port, "/api/status", timeout=5)
        except OSError:
            return 0, ""
        return answer.status, answer.text

    def wait_ready(self, timeout=20.0):
        def ready():
            assert self.process.poll() is None, f"busbar ended with {self.process.returncode}:\n{self.log()[-3000:]}"
            return self.status()[0] == 200

        try:
            wait_until(ready, "busbar to be ready", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None
        return self

    def wait_exit(self, timeout=20.0):
        """Exit status of a program that ends by itself."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"busbar did not end within {timeout} s:\n{self.log()[-3000:]}") from None

    def stop(self, how=signal.SIGTERM):
        """Asks the program to end; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait_exit()

    def kill(self):
        """kill -9."""
        self.killed = True
        self.process.kill()
        self.process.wait(10)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_log(self, pattern, timeout=20.0):
        return wait_until(lambda: re.search(pattern, self.log()), f"{pattern!r} in busbar's log", timeout)

    def embedded(self):
        """The PostgreSQL that `busbar dev` runs, by the URL that it prints."""
        url = self.wait_log(r"DATABASE_URL=postgresql://(\w+):(\w+)@localhost:(\d+)/(\w+)")
        user, password, port, dbname = url.groups()
        return Endpoint("127.0.0.1", int(port), dbname, user, password)

    # The verdict.

    def check(self, status=0):
        """Ends the program and asserts that it was healthy to the last."""
        try:
            code = None
            if self.process is not None:
                code = self.process.returncode if self.killed else self.stop()
            log = self.log()
            fault = _FAULTS.search(log)
            assert not fault, f"busbar's log shows {fault.group(0)!r}:\n{log[max(0, fault.start() - 500):fault.start() + 4000]}"
            assert self.killed or code in (None, status), f"busbar ended with status {code}:\n{log[-3000:]}"
            assert self.shows_password or PASSWORD not in log, "the proxy's password is in the log"
        finally:
            self.discard()

    def discard(self):
        """Whatever happened: no process, no file."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if os.path.exists(self.log_path):
            os.unlink(self.log_path)
        shutil.rmtree(self.data, ignore_errors=True)
