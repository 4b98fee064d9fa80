# SPDX-License-Identifier: Apache-2.0
"""Drivers of other languages: how their programs are run, and what each of them must have left behind.

A program takes the name of a scenario and finds the server in libpq's environment variables (PGHOST, …); it checks what it
sees itself, exits with 0 and says nothing. Two scenarios are the same in every language:

- ``migrate``: in autocommit and in a transaction CREATE TABLE, ENABLE ELECTRIC, ADD COLUMN, CREATE INDEX; one rolled back
- ``refuse``: DROP COLUMN of an electrified table alone, in a transaction, and after a savepoint that is gone back to
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile

from harness.busbar import REPOSITORY
from harness.process import clean_environment, spawn
from harness.web import migrations

FOLDER = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(REPOSITORY, ".cache", "drivers")
TIMEOUT = 30


def environment(endpoint, **extra):
    return clean_environment(**{"PGHOST": endpoint.host, "PGPORT": endpoint.port, "PGUSER": endpoint.user, "PGDATABASE": endpoint.dbname,
                                "PGPASSWORD": endpoint.password or "", **extra})


def run(endpoint, *argv, cwd=None, **extra):
    """A program to its end; the finished process."""
    child = spawn([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
                  env=environment(endpoint, **extra))
    try:
        out, err = child.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"{' '.join(map(str, argv))} did not end within {TIMEOUT} s:\n{out}\n{err}") from None
    return subprocess.CompletedProcess(argv, child.returncode, out, err)


def silent(done):
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), f"status {done.returncode}\n{done.stdout}\n{done.stderr}"


def node_modules(source=os.path.join(FOLDER, "node"), native=()):
    """The npm packages of a folder, tests/drivers/node, installed once for each version of its lock file.

    ``native``: those that have to be compiled, which is done against the headers of the Node that is installed.
    """
    with open(os.path.join(source, "package-lock.json"), "rb") as lock:
        version = hashlib.sha256(lock.read()).hexdigest()[:16]
    target = os.path.join(CACHE, f"node-{version}")
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(target):
            work = tempfile.mkdtemp(prefix="node-new-", dir=CACHE)
            try:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(os.path.join(source, name), work)
                _npm(work, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
                for package in native:
                    _npm(work, "rebuild", package, npm_config_build_from_source="true", npm_config_nodedir=_node_prefix())
                os.rename(work, target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return os.path.join(target, "node_modules")


def _npm(folder, *arguments, **environment):
    done = subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=600, check=False,
                          env={**os.environ, **environment})
    assert done.returncode == 0, f"npm {' '.join(arguments)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _node_prefix():
    """Where include/node is."""
    return os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("node"))))


TABLE = 'CREATE TABLE "{0}" (\n  "id" INTEGER NOT NULL,\n  "value" TEXT,\n  CONSTRAINT "{0}_pkey" PRIMARY KEY ("id")\n);'
COLUMN = 'ALTER TABLE "{0}" ADD COLUMN "amount" INTEGER;'
INDEX = 'CREATE INDEX "{0}_amount" ON "{0}" ("amount" ASC);'


def migrated(busbar, ledger):
    """What ``migrate`` leaves: ``auto`` in a migration a statement, ``held`` in one, nothing of what was rolled back."""
    found = [m.sql for m in migrations(busbar.http_port)]
    assert [" ".join(sql.split()) for sql in found] == [" ".join(sql.split()) for sql in (
        TABLE.format("auto"), COLUMN.format("auto"), INDEX.format("auto"),
        "\n".join(sql.format("held") for sql in (TABLE, COLUMN, INDEX)))]
    assert ledger.electrified == ["auto", "held"]
    for table in ("auto", "held"):
        assert ledger.columns(table) == ["id", "value", "amount"] and ledger.exists(f"{table}_amount")
        assert ledger.execute(f"SELECT * FROM {table}").fetchall() == [(1, "a", 2)]
    ledger.consistent()


def refused(busbar, truths):
    """What ``refuse`` leaves on the scenarios' tables: of its rows 2 and 4, and the column added after the savepoint."""
    assert truths.columns("truths") == ["id", "value", "amount"]
    assert truths.column("SELECT id FROM socks ORDER BY id") == [2, 4]
    assert len(truths.versions) == truths.before[1] + 1
    assert migrations(busbar.http_port)[-1].sql == COLUMN.format("truths")
    truths.consistent()
