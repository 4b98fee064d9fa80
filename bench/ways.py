# SPDX-License-Identifier: Apache-2.0
"""The ways to the database that are compared, and the database.

Every client logs in with SCRAM-SHA-256 as `bench`; PgBouncer and Busbar log in upstream as `upstream`, which
PostgreSQL trusts. HAProxy passes the client's login through. All on the loopback, on free ports.
"""

import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

from children import HOST, Child, fail, find_pgbin, free_port, run, unprivileged

PASSWORD = "bench_password"
MAX_CONNECTIONS = 1400

POSTGRES = {
    "listen_addresses": HOST, "unix_socket_directories": "", "wal_level": "logical", "max_connections": MAX_CONNECTIONS,
    "shared_buffers": "1GB", "max_wal_size": "16GB", "checkpoint_timeout": "60min", "autovacuum": "off",
    "log_min_messages": "fatal",
}
PG_HBA = f"host all upstream {HOST}/32 trust\nhost all all {HOST}/32 scram-sha-256\n"

# Every way begins a run with new backends: those of an earlier one have their caches filled.
PGBOUNCER = """\
[databases]
bench = host={host} port={upstream} dbname=bench user=upstream
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
max_client_conn = 5000
default_pool_size = 1300
server_idle_timeout = 1
log_connections = 0
log_disconnections = 0
log_stats = 0
ignore_startup_parameters = extra_float_digits
"""

HAPROXY = """\
global
    maxconn 5000
    nbthread {threads}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgresql
    bind {host}:{port}
    server postgresql {host}:{upstream}
"""


def answers_login(port):
    """Whether a client that connects now is asked for its password (an AuthenticationRequest, byte R)."""
    body = struct.pack("!i", 196608) + b"user\0bench\0database\0bench\0\0"
    try:
        with socket.create_connection((HOST, port), timeout=5) as s:
            s.sendall(struct.pack("!i", len(body) + 4) + body)
            return s.recv(1) == b"R"
    except OSError:
        return False


class Way:
    """A way to the database: a port, the user to log in as, and the process to measure (none: PostgreSQL itself)."""

    def __init__(self, name, port, start=None, user="bench"):
        self.name, self.port, self.user, self.child = name, port, user, None
        self.http_port = None
        self._start = start

    @property
    def url(self):
        return f"postgresql://{self.user}@{HOST}:{self.port}/bench?sslmode=disable&gssencmode=disable"

    @property
    def pid(self):
        return self.child.pid if self.child else None

    def start(self, *wrapper):
        """wrapper: a command that runs the proxy, as a profiler does."""
        if self._start:
            self.child = self._start(self.port, wrapper)
            self.child.wait_until(lambda: answers_login(self.port))
        return self

    def stop(self):
        if self.child:
            self.child.end()
            self.child = None

    def restart(self):
        self.stop()
        self.start()


class Variant:
    """A Busbar to be measured: NAME=path[,VARIABLE=value]..."""

    def __init__(self, text, environment):
        name, equals, rest = text.partition("=")
        path, *settings = rest.split(",") if equals else [text]
        self.name = name if equals else "busbar"
        self.path = os.path.abspath(path)
        self.environment = dict(item.split("=", 1) for item in [*environment, *settings])
        if not os.access(self.path, os.X_OK):
            fail(f"{path} is not there; make bench builds it")


class Stage:
    """PostgreSQL with pgbench's tables (none of scale 0), and the ways to it. A context manager: everything ends with it."""

    def __init__(self, scale):
        self.scale = scale
        self.pgbin = find_pgbin()
        self.folder = tempfile.mkdtemp(prefix="busbar-bench-")
        self.ways = []
        self.postgres = None
        self.port = free_port()
        os.chmod(self.folder, 0o755)
        if os.geteuid() == 0:
            os.chown(self.folder, unprivileged()["user"], -1)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def __enter__(self):
        try:
            self._start_postgres()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for way in reversed(self.ways):
            way.stop()
        if self.postgres:
            self.postgres.end(signal.SIGINT)  # fast shutdown
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- programs ---

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return {**kept, "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8", **more}

    def program(self, name):
        return os.path.join(self.pgbin, name)

    def run(self, name, *arguments, **kwargs):
        return run(self.program(name), *arguments, env=self.environment(), cwd=self.folder, **kwargs)

    def upstream(self, database="bench"):
        return f"postgresql://upstream@{HOST}:{self.port}/{database}?sslmode=disable"

    def sql(self, *statements, database="bench"):
        arguments = [part for statement in statements for part in ("-c", statement)]
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments, self.upstream(database)).strip()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        pathlib.Path(path).write_text(text, encoding="ascii")
        return path

    # --- PostgreSQL ---

    def _start_postgres(self):
        data = os.path.join(self.folder, "pg")
        run(self.program("initdb"), "-D", data, "-U", "upstream", "-A", "trust", "-E", "UTF8", "--locale=C", "-N",
            cwd=self.folder, **unprivileged())
        pathlib.Path(data, "pg_hba.conf").write_text(PG_HBA, encoding="ascii")
        settings = [part for key, value in {**POSTGRES, "port": self.port}.items() for part in ("-c", f"{key}={value}")]
        self.postgres = Child("postgres", self.folder, self.program("postgres"), "-D", data, *settings,
                              env=self.environment(), **unprivileged())
        self.postgres.wait_until(self._postgres_answers)
        self.sql("CREATE DATABASE bench", f"CREATE ROLE bench LOGIN SUPERUSER PASSWORD '{PASSWORD}'", database="postgres")
        if self.scale:
            self.run("pgbench", "-i", "-q", "-s", str(self.scale), self.upstream())

    def _postgres_answers(self):
        done = subprocess.run([self.program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)], check=False)
        return done.returncode == 0

    def backends(self):
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))

    def wait_quiet(self, before):
        """Until no more backends are left than there were."""
        self.postgres.wait_until(lambda: self.backends() <= before)

    # --- the ways ---

    def add(self, way):
        self.ways.append(way)
        return way.start()

    def direct(self, name="direct", user="bench"):
        return Way(name, self.port, user=user)

    def pgbouncer(self):
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin") or fail("pgbouncer is missing")
        secret = self.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'bench'")
        users = self.write("users.txt", f'"bench" "{secret}"\n"upstream" ""\n')

        def start(port, wrapper):
            ini = self.write("pgbouncer.ini", PGBOUNCER.format(host=HOST, port=port, upstream=self.port, users=users))
            return Child("pgbouncer", self.folder, *wrapper, program, "-q", ini, env=self.environment(), **unprivileged())

        return Way("PgBouncer", free_port(), start)

    def haproxy(self, threads):
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin") or fail("haproxy is missing")

        def start(port, wrapper):
            cfg = self.write("haproxy.cfg", HAPROXY.format(host=HOST, port=port, upstream=self.port, threads=threads))
            return Child("haproxy", self.folder, *wrapper, program, "-q", "-db", "-f", cfg, env=self.environment(),
                         **unprivileged())

        return Way("HAProxy", free_port(), start)

    def busbar(self, variant):
        http_port = free_port()

        def start(port, wrapper):
            environment = self.environment(
                DATABASE_URL=self.upstream(), PG_PROXY_PASSWORD=PASSWORD,
                PG_PROXY_PORT=str(port), HTTP_PORT=str(http_port), AUTH_MODE="insecure", BUSBAR_LISTEN="localhost",
                LOG_LEVEL="warning", **variant.environment)
            return Child(variant.name, self.folder, *wrapper, variant.path, "serve", env=environment)

        way = Way(variant.name, free_port(), start)
        way.http_port = http_port
        return way
