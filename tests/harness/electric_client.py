# SPDX-License-Identifier: Apache-2.0
"""The published client, electric-sql 0.12.1 with SQLite, each in a Node process of its own (drivers/sync/client.mjs)."""

import base64
import itertools
import json
import os
import subprocess
import tempfile
import threading

from drivers import FOLDER, node_modules
from .process import clean_environment, spawn
from .token import unsigned
from .wait import wait_until
from .web import migrations

SOURCE = os.path.join(FOLDER, "sync")
# Quicker than the published defaults (1 s to 10 s), with as many tries.
BACKOFF = {"delayFirstAttempt": False, "jitter": "none", "maxDelay": 1000, "numOfAttempts": 50, "startingDelay": 100, "timeMultiple": 2}


def program():
    """The program beside its packages: modules are looked for from where a program seems to lie."""
    link = os.path.join(os.path.dirname(node_modules(SOURCE, native=("better-sqlite3",))), "client.mjs")
    try:
        os.symlink(os.path.join(SOURCE, "client.mjs"), link)
    except FileExistsError:
        pass
    return link


class ClientError(Exception):
    """The client's own error: ``name``, ``code`` (the name in SatelliteErrorCode) and ``message``."""

    def __init__(self, fields):
        super().__init__(f"{fields['name']} {fields['code']}: {fields['message']}")
        self.name, self.code, self.message = fields["name"], fields["code"], fields["message"]


class _Pending:
    def __init__(self, what):
        self.what, self.done, self.answer = what, threading.Event(), None

    def result(self, timeout=20.0):
        assert self.done.wait(timeout), f"the client did not answer {self.what} within {timeout} s"
        if "error" in self.answer:
            raise ClientError(self.answer["error"])
        return self.answer["ok"]


def _wrap(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2 ** 53:
        return {"$int": str(value)}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"$float": {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(value)]}
    return value


def _unwrap(value):
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    return int(value["$int"]) if "$int" in value else float(value["$float"])


class ElectricClient:
    """One device. ``close()`` and ``open()`` again is a restart of the app: the database file stays until ``discard()``."""

    def __init__(self, port, host="127.0.0.1", file=None, token=None):
        self.url = f"http://{host}:{port}"
        self.port = port
        self.folder = None if file else tempfile.mkdtemp(prefix="busbar-client-")
        self.file = file or os.path.join(self.folder, "app.db")
        self.token = token or unsigned("u")
        self.backoff = BACKOFF
        self.process = None
        self.events = []
        self.migrations = None
        self._ids = itertools.count(1)
        self._pending = {}

    # Life.

    def open(self, bundle=None):
        """Starts the app. ``bundle``: metadata of the migrations it was built with (default: those the service has now; kept for the next time)."""
        if bundle is not None or self.migrations is None:
            self.migrations = bundle if bundle is not None else [m.metadata for m in migrations(self.port)]
        self.events = []
        self.process = spawn(["node", "--preserve-symlinks-main", program(), self.file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=clean_environment(), stdin=subprocess.PIPE)
        self._stderr = []
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=lambda stream: self._stderr.extend(stream), args=(self.process.stderr,), daemon=True).start()
        self.client_id = self.call("open", file=self.file, migrations=self.migrations, url=self.url, backoff=self.backoff)["clientId"]
        return self

    def start(self, bundle=None):
        """Opened and connected."""
        self.open(bundle)
        self.connect()
        return self

    def close(self):
        """Ends the app in order."""
        if self.process and self.process.poll() is None:
            self.call("close")
            self.process.wait(10)

    def kill(self):
        """kill -9."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def discard(self):
        """Whatever happened: no process, no file."""
        self.kill()
        for suffix in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(self.file + suffix):
                os.unlink(self.file + suffix)
        if self.folder and os.path.isdir(self.folder):
            os.rmdir(self.folder)

    def _read(self, stream):
        for line in stream:
            message = json.loads(line)
            if "id" in message:
                pending = self._pending.pop(message["id"])
                pending.answer = message
                pending.done.set()
            else:
                self.events.append(message)
        for pending in list(self._pending.values()):
            pending.answer = {"error": {"name": "Ended", "code": None, "message": "the client's process ended:\n" + "".join(self._stderr)[-3000:]}}
            pending.done.set()

    # What it does.

    def ask(self, action, **arguments):
        """Sends a request; the answer is had by ``.result(timeout)``."""
        number = next(self._ids)
        pending = self._pending[number] = _Pending(action)
        try:
            self.process.stdin.write(json.dumps({"id": number, "do": action, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the reader tells
        return pending

    def call(self, action, timeout=20.0, **arguments):
        return self.ask(action, **arguments).result(timeout)

    def connect(self, token=None, timeout=20.0):
        """Until connected; the first time with ``self.token`` unless another is given."""
        self.call("connect", timeout, token=token or self.token)

    def disconnect(self):
        self.call("disconnect")

    def set_token(self, token):
        """For the next connection, whoever starts it."""
        self.token = token
        self.call("setToken", token=token)

    def sync(self, table, wait=True, timeout=20.0, **shape):
        """The published ``electric.db[table].sync({where, include, key})``; returns the key. ``wait``: until the data is there."""
        return self.call("sync", timeout, table=table, shape=shape, wait=wait)

    def sync_status(self, key):
        return self.call("syncStatus", key=key)

    def unsubscribe(self, *keys):
        self.call("unsubscribe", keys=keys)

    def transform(self, table, column):
        """From now on the column's text is turned round on its way to the server and back (a replication transform)."""
        self.call("transform", table=table, column=column)

    def query(self, sql, *args):
        """Rows as dicts."""
        rows = self.call("query", sql=sql, args=[_wrap(a) for a in args])
        return [{name: _unwrap(value) for name, value in row.items()} for row in rows]

    def exec(self, sql, *args):
        self.exec_all((sql, *args))

    def exec_all(self, *statements):
        """Several statements (text, arguments …) in one transaction of the app."""
        self.call("exec", statements=[{"sql": sql, "args": [_wrap(a) for a in args]} for sql, *args in statements])

    def rows(self, table):
        """All of a table, in the order of all columns."""
        return sorted((tuple(r.values()) for r in self.query(f'SELECT * FROM "{table}"')), key=repr)

    @property
    def status(self):
        return self.call("status")

    @property
    def thrown(self):
        """Errors that no caller could catch: after one of these the published client does not reconnect."""
        return [e["error"] for e in self.events if e["event"] == "thrown"]

    def wait_status(self, status, timeout=20.0):
        return wait_until(lambda: self.status["status"] == status, f"the client to be {status}", timeout)

    def wait_rows(self, sql, expected, timeout=20.0):
        """Until the query gives just these rows (tuples), in this order."""
        found = []

        def there():
            found[:] = [tuple(row.values()) for row in self.query(sql)]
            return found == expected

        try:
            wait_until(there, sql, timeout, interval=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found!r} instead of {expected!r}; client: {self.status}, thrown {self.thrown}") from None
