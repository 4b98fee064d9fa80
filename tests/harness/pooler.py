# SPDX-License-Identifier: Apache-2.0
"""PgBouncer in transaction mode, with few server connections: what belongs to a session is lost between transactions."""

import os
import pwd
import shutil
import signal
import tempfile

import psycopg

from .process import clean_environment, free_port, spawn
from .wait import wait_until


class Pooler:
    def __init__(self, cluster, size=4):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="busbar-pooler-")
        path = os.path.join(self.folder, "pgbouncer.ini")
        with open(path, "w", encoding="ascii") as ini:
            ini.write(f"[databases]\n* = host=127.0.0.1 port={cluster.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
                      f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {size}\n"
                      "ignore_startup_parameters = extra_float_digits\n")
        options = {}
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            account = pwd.getpwnam(cluster.user)
            os.chmod(self.folder, 0o755)
            options = {"user": cluster.user, "group": account.pw_gid, "extra_groups": []}
        # Every client is the user of the [databases] line; auth_type any needs one.
        with open(path, encoding="ascii") as ini:
            text = ini.read().replace(f"port={cluster.port}", f"port={cluster.port} user=postgres")
        with open(path, "w", encoding="ascii") as ini:
            ini.write(text)
        self.process = spawn([shutil.which("pgbouncer", path="/usr/sbin:/usr/bin"), "-q", path], death_signal=signal.SIGKILL,
                             env=clean_environment(), **options)
        wait_until(self._answers, "PgBouncer to answer")

    def _answers(self):
        assert self.process.poll() is None, "PgBouncer ended"
        try:
            with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
