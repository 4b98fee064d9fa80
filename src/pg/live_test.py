#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test program against real PostgreSQL clusters: live_test.py PROGRAM [ARGUMENT...]

Makes two clusters in a temporary folder and tells the program where they are:
  BUSBAR_TEST_TLS      TLS with a self-signed certificate, wal_level = logical
  BUSBAR_TEST_PLAIN    no TLS, wal_level = replica
each as "host=127.0.0.1 port=N dbname=postgres user=postgres" (that role needs no password). BUSBAR_TEST_CA is the
certificate, BUSBAR_TEST_RESTART a shell command that restarts the first cluster. Roles scram, md5, clear (password
"secret"; clear: over TLS alone), limited (no superuser, owns database limited) and crowded (may not connect at all:
53300) are there. Exit status 77 when there is no PostgreSQL.
"""
import glob
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

SUPER = """
CREATE ROLE crowded LOGIN CONNECTION LIMIT 0;
CREATE ROLE limited LOGIN;
CREATE DATABASE limited OWNER limited;
SET password_encryption = 'scram-sha-256';
CREATE ROLE scram LOGIN PASSWORD 'secret';
CREATE ROLE clear LOGIN PASSWORD 'secret';
SET password_encryption = 'md5';
CREATE ROLE md5 LOGIN PASSWORD 'secret';
"""
HBA = """
local all all trust
host all scram 127.0.0.1/32 scram-sha-256
host all md5 127.0.0.1/32 md5
hostssl all clear 127.0.0.1/32 password
host all postgres,limited,crowded 127.0.0.1/32 trust
"""


def find_bin():
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb") + glob.glob("/usr/pgsql-*/bin/initdb")
    found.sort(key=lambda p: int("".join(c for c in p.split("/bin/")[0].rsplit("/", 1)[-1] if c.isdigit())))
    path = found[-1] if found else shutil.which("initdb")
    return os.path.dirname(path) if path else None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self, bin_dir, folder, settings, user):
        self.bin, self.data, self.user = bin_dir, os.path.join(folder, "data"), user
        self.port, self.folder = free_port(), folder
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")
        conf = {"port": self.port, "listen_addresses": "'127.0.0.1'", "unix_socket_directories": f"'{folder}'",
                "fsync": "off", "logging_collector": "off", **settings}
        self.append("postgresql.conf", "".join(f"{k} = {v}\n" for k, v in conf.items()))
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as out:
            out.write(HBA)

    def as_user(self, *command):
        return ["runuser", "-u", self.user, "--", *command] if self.user else list(command)

    def run(self, tool, *args):
        done = subprocess.run(self.as_user(os.path.join(self.bin, tool), *args), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, cwd=self.folder)
        if done.returncode != 0:
            sys.exit(f"{tool} failed:\n{done.stdout}")

    def append(self, name, text):
        with open(os.path.join(self.data, name), "a", encoding="ascii") as out:
            out.write(text)

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-l", os.path.join(self.folder, "log"), "start")
        self.run("psql", "-XqU", "postgres", "-h", self.folder, "-p", str(self.port), "-c", "SELECT 1", "-f",
                 self.write("roles.sql", SUPER))
        return self

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        os.chmod(path, 0o644)
        return path

    def stop(self):
        subprocess.run(self.as_user(os.path.join(self.bin, "pg_ctl"), "-D", self.data, "-m", "immediate", "-w", "stop"),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd=self.folder)

    def restart_command(self):
        command = self.as_user(os.path.join(self.bin, "pg_ctl"), "-D", self.data, "-m", "fast", "-w", "restart")
        return f"{shlex.join(command)} >{shlex.quote(os.path.join(self.folder, 'restart.log'))} 2>&1"

    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} dbname=postgres user=postgres"


def make_certificate(folder, user):
    key, crt = os.path.join(folder, "server.key"), os.path.join(folder, "server.crt")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", crt],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    if user:
        shutil.chown(key, user)
    return key, crt


def main():
    bin_dir = find_bin()
    user = None
    if not bin_dir or not shutil.which("openssl"):
        print("no PostgreSQL server binaries or no openssl here: skipped")
        return 77
    if os.geteuid() == 0:
        user = "postgres" if "postgres" in {p.pw_name for p in pwd.getpwall()} else "nobody"
    root = tempfile.mkdtemp(prefix="busbar-live-")
    os.chmod(root, 0o755)
    clusters = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        folders = []
        for name in ("tls", "plain"):
            folders.append(os.path.join(root, name))
            os.mkdir(folders[-1])
            if user:
                shutil.chown(folders[-1], user)
        key, crt = make_certificate(root, user)
        tls = {"ssl": "on", "ssl_cert_file": f"'{crt}'", "ssl_key_file": f"'{key}'", "wal_level": "logical"}
        for folder, settings in zip(folders, (tls, {"wal_level": "replica"})):
            clusters.append(Cluster(bin_dir, folder, settings, user))
            clusters[-1].start()
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        env.update(BUSBAR_TEST_TLS=clusters[0].conninfo(), BUSBAR_TEST_PLAIN=clusters[1].conninfo(), BUSBAR_TEST_CA=crt,
                   BUSBAR_TEST_RESTART=clusters[0].restart_command())
        return subprocess.run(sys.argv[1:], env=env, check=False).returncode
    finally:
        for cluster in clusters:
            cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
