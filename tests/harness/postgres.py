# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL cluster in a temporary folder."""

import glob
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import psycopg

from .process import clean_environment, free_port, spawn
from .wait import wait_until

_names = itertools.count(1)


def find_bindir():
    """The newest installed PostgreSQL, or the one of BUSBAR_TEST_PGBIN."""
    chosen = os.environ.get("BUSBAR_TEST_PGBIN")
    if chosen:
        return chosen
    found = glob.glob("/usr/lib/postgresql/*/bin")
    if found:
        return max(found, key=lambda path: int(re.search(r"/(\d+)/bin$", path).group(1)))
    initdb = shutil.which("initdb")
    assert initdb, "no PostgreSQL server found: install postgresql, or set BUSBAR_TEST_PGBIN"
    return os.path.dirname(initdb)


def server_user():
    """The account for the server: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return os.environ.get("BUSBAR_TEST_PGUSER", "postgres")


class Postgres:
    """One cluster: superuser ``postgres``, trust on loopback unless ``hba`` says otherwise.

    ``fsync`` is off save where a test kills the server: what is lost then must be our fault, not the disk's.
    """

    def __init__(self, fsync=False, hba=None, settings=()):
        self.bindir = find_bindir()
        self.user = server_user()
        self.port = free_port()
        self.host = "127.0.0.1"
        self.folder = tempfile.mkdtemp(prefix="busbar-pg-")
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.used = []  # databases to be dropped
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        os.chmod(self.folder, 0o755)
        self._initdb(fsync, hba, settings)

    def _as_server(self):
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}

    def _initdb(self, fsync, hba, settings):
        subprocess.run(
            [f"{self.bindir}/initdb", "-N", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder, env=clean_environment(), **self._as_server())
        values = {
            "port": self.port, "listen_addresses": "'127.0.0.1'", "unix_socket_directories": f"'{self.folder}'",
            "wal_level": "logical", "max_connections": 100, "fsync": "on" if fsync else "off",
            "synchronous_commit": "on" if fsync else "off", "full_page_writes": "on" if fsync else "off",
            "shared_buffers": "32MB", "autovacuum": "off", "log_min_messages": "warning",
            "timezone": "'Europe/Berlin'",
        }
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in values.items())
            conf.writelines(line + "\n" for line in settings)
        if hba is not None:
            with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="utf-8") as conf:
                conf.write(hba)

    def standby(self):
        """A cluster that follows this one, not started yet."""
        other = object.__new__(Postgres)
        other.__dict__.update(self.__dict__, port=free_port(), folder=tempfile.mkdtemp(prefix="busbar-pg-"), process=None, used=[])
        other.data = os.path.join(other.folder, "data")
        other.log_path = os.path.join(other.folder, "log")
        if other.user:
            account = pwd.getpwnam(other.user)
            os.chown(other.folder, account.pw_uid, account.pw_gid)
        os.chmod(other.folder, 0o755)
        subprocess.run([f"{self.bindir}/pg_basebackup", "-h", self.host, "-p", str(self.port), "-U", "postgres", "-D", other.data, "-R",
                        "-c", "fast"], check=True, cwd=other.folder, env=clean_environment(), **self._as_server())
        with open(os.path.join(other.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write(f"port = {other.port}\nunix_socket_directories = '{other.folder}'\n")
        return other

    def promote(self):
        """Makes a standby the primary."""
        with self.connect() as conn:
            assert conn.execute("SELECT pg_promote(true, 60)").fetchone()[0], "promoted"

    def position(self):
        """Where the WAL is that has been replayed, or written: a number."""
        with self.connect() as conn:
            (position,) = conn.execute("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END"
                                       " - '0/0'::pg_lsn").fetchone()
            return int(position)

    def take_certificate(self, certificate, key):
        """Puts copies beside the data folder, as server.crt and server.key, that the server may read."""
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            target = os.path.join(self.folder, name)
            shutil.copyfile(source, target)
            os.chmod(target, 0o600)
            if self.user:
                account = pwd.getpwnam(self.user)
                os.chown(target, account.pw_uid, account.pw_gid)

    def start(self):
        log = open(self.log_path, "ab")  # noqa: SIM115  the child keeps it
        with log:
            # SIGQUIT, the server's immediate shutdown, should the test run die.
            self.process = spawn([f"{self.bindir}/postgres", "-D", self.data], death_signal=signal.SIGQUIT,
                                 stdout=log, stderr=log, cwd=self.folder, env=clean_environment(), **self._as_server())
        self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            assert self.process.poll() is None, "the server ended: " + self.log()[-2000:]
            with self.connect():
                return True

        wait_until(answers, "PostgreSQL to accept connections")

    def stop(self, how=signal.SIGINT):
        """Fast shutdown; SIGQUIT for immediate."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def destroy(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def connect(self, dbname="postgres", **params):
        """A psycopg connection straight to the server, in autocommit."""
        params = {"host": self.host, "port": self.port, "user": "postgres", "dbname": dbname,
                  "connect_timeout": 10, "autocommit": True, **params}
        return psycopg.connect(**params)

    def create_database(self, template=None):
        name = f"t{os.getpid()}_{next(_names)}"
        with self.connect() as conn:
            conn.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return name

    def drop_database(self, name):
        with self.connect() as conn:
            # A logical slot of the database would keep it, and so does its walsender, for a moment after its client has gone.
            wait_until(lambda: not conn.execute("SELECT FROM pg_replication_slots WHERE database = %s AND active", [name]).fetchall(),
                       f"the slot of {name} to be let go", timeout=20)
            conn.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                         " WHERE database = %s AND NOT active", [name])
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url(self, dbname, user="postgres", password=None, host=None, port=None, query="sslmode=disable"):
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@{host or self.host}:{port or self.port}/{dbname}" + (f"?{query}" if query else "")
