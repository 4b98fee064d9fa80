# SPDX-License-Identifier: Apache-2.0
"""psql: what it does beyond sending statements, and Ctrl-C from a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from harness.busbar import Endpoint
from harness.wait import wait_until

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

FLAGS = ["-q", "-A", "-t"]
VERBOSE = ["-v", "VERBOSITY=sqlstate"]


def psql(endpoint, script, *flags, stop=True, lines=True):
    """Output lines of a script that must end well."""
    done = endpoint.psql(script=script, flags=[*FLAGS, *flags], stop=stop)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines() if lines else done


@pytest.mark.transparent
def test_meta_commands(endpoint):
    """gdesc (Parse and Describe alone), gset, gexec, several statements with \\;, crosstabview, if."""
    assert psql(endpoint, r"""
SELECT 1 AS one, now() AS then, 'x'::varchar(7) AS text \gdesc
SELECT 1/0 AS never, nonsense FROM (VALUES (1)) v(nonsense) \gdesc
SELECT 40 + 2 AS answer \gset
\echo :answer
SELECT format('SELECT %s', n) FROM generate_series(1, 3) n \gexec
SELECT 1 \; SELECT 2 \; SELECT 3;
SELECT 'a' AS r, 'b' AS c, 7 AS v \crosstabview
\if true
SELECT current_setting('application_name');
\endif
""") == ["one|integer", "then|timestamp with time zone", "text|character varying(7)", "never|integer", "nonsense|integer", "42", "1", "2", "3", "1", "2", "3", "a|7", "psql"]


@pytest.mark.transparent
def test_copy(endpoint, tmp_path):
    """\\copy both ways, from the script, from a program; a bad row; errors leave a usable session."""
    file, back = tmp_path / "rows", tmp_path / "back"
    file.write_text("".join(f"{n}\tvalue {n}\n" for n in range(30_000)))
    done = psql(endpoint, rf"""
CREATE TABLE c (id int, value text);
\copy c FROM '{file}'
\copy (SELECT * FROM c ORDER BY id) TO '{back}'
\copy c FROM PROGRAM 'seq 1 500' (FORMAT csv, DELIMITER ';', NULL 'x')
\copy c (id) FROM PROGRAM 'seq 1 500'
\copy c FROM '/nonexistent/file'
COPY c FROM STDIN;
7	seven
x	eight
\.
COPY c FROM STDIN WITH (FORMAT csv);
7,seven
\.
SELECT count(*) FROM c;
COPY (SELECT 1, 2) TO STDOUT;
""", stop=False, lines=False)
    assert back.read_text() == file.read_text()
    assert done.stdout.splitlines() == ["30501", "1\t2"]
    assert 'missing data for column "value"' in done.stderr and "No such file" in done.stderr and 'invalid input syntax for type integer: "x"' in done.stderr


@pytest.mark.transparent
def test_on_error_rollback_and_autocommit_off(endpoint):
    done = psql(endpoint, r"""
\set ON_ERROR_ROLLBACK on
CREATE TABLE t (id int PRIMARY KEY);
BEGIN;
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (2);
COMMIT;
\set AUTOCOMMIT off
INSERT INTO t VALUES (3);
SELECT 1/0;
INSERT INTO t VALUES (4);
COMMIT;
INSERT INTO t VALUES (5);
ROLLBACK;
SELECT string_agg(id::text, ',' ORDER BY id) FROM t;
""", *VERBOSE, stop=False, lines=False)
    assert re.findall(r"ERROR: +(\w+)", done.stderr) == ["23505", "22012"]
    assert done.stdout.splitlines() == ["1,2,3,4"]


@pytest.mark.transparent
def test_large(endpoint, tmp_path):
    """Rows by a cursor (FETCH_COUNT), a long statement, large objects (function calls), a wide row."""
    file, back = tmp_path / "object", tmp_path / "back"
    file.write_bytes(os.urandom(1 << 20))
    text = "x" * 3_000_000
    out = psql(endpoint, rf"""
\set FETCH_COUNT 100
SELECT n FROM generate_series(1, 5000) n;
\unset FETCH_COUNT
SELECT length('{text}');
\lo_import '{file}'
\lo_export :LASTOID '{back}'
\lo_unlink :LASTOID
SELECT repeat('y', 5000000);
""")
    assert out[:5001] == [*map(str, range(1, 5001)), "3000000"] and out[-1] == "y" * 5_000_000
    assert back.read_bytes() == file.read_bytes()


@pytest.mark.transparent
def test_notify_and_reconnect(endpoint):
    done = psql(endpoint, "LISTEN news;\nNOTIFY news, 'hello';\n\\c\nSELECT 1;\n\\conninfo\n", lines=False)
    assert 'Asynchronous notification "news" with payload "hello" received' in done.stdout and "\n1\n" in done.stdout


class Terminal:
    """psql on a terminal of its own, as a person has it."""

    def __init__(self, endpoint):
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.seen = b""
        self.child = subprocess.Popen(["psql", "-X", "-n", "-q", "-A", "-t", "-P", "pager=off"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=drivers.environment(endpoint))
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGHUP)
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        os.close(self.master)

    def type(self, text):
        os.write(self.master, text.encode())
        return self

    def expect(self, pattern, timeout=20):
        """What came up to the pattern; the rest is kept."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern.encode(), self.seen)):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not come: {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen[found.end():]
        return self


@pytest.mark.transparent
def test_watch_cancelled_by_ctrl_c(endpoint):
    """While it waits, and while its query runs; in a transaction too. The session goes on."""
    with Terminal(endpoint) as terminal:
        terminal.expect("=# ").type("SELECT 'tick' \\watch 0.01\n").expect("tick").expect("tick").type("\x03").expect("=# ")
        terminal.type("SELECT 'still ' || 'here';\n").expect("still here").expect("=# ")
        terminal.type("SELECT 'tick', pg_sleep(60) \\watch 1\n")
        sleeping(endpoint)
        terminal.type("\x03").expect("canceling statement due to user request").expect("=# ")
        terminal.type("BEGIN;\n").expect(r"=\*# ").type("SELECT pg_sleep(60);\n")
        sleeping(endpoint)
        terminal.type("\x03").expect("canceling statement due to user request").expect("=!# ")
        terminal.type("ROLLBACK;\n").expect("=# ").type("SELECT 'at the ' || 'end';\n").expect("at the end")
        terminal.type("\\q\n")
        assert terminal.child.wait(10) == 0


def sleeping(endpoint):
    with endpoint.psycopg(autocommit=True) as other:
        wait_until(lambda: other.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()").fetchone(), "pg_sleep to run")


STEPS = """CREATE TABLE {0} (id int8 PRIMARY KEY, value text);
ALTER TABLE {0} ENABLE ELECTRIC;
ALTER TABLE {0} ADD COLUMN amount int4;
CREATE INDEX {0}_amount ON {0} (amount);
INSERT INTO {0} VALUES (1, 'a', 2);
"""


def test_migrations(busbar, ledger, tmp_path):
    """Statement by statement; a file in a single transaction; a file that fails at its end."""
    psql(busbar, STEPS.format("auto"))
    file, wrong = tmp_path / "good.sql", tmp_path / "wrong.sql"
    file.write_text(STEPS.format("held"))
    wrong.write_text("ALTER TABLE held ADD COLUMN gone text;\nSELECT 1/0;\n")
    assert busbar.psql(flags=["-1", "-f", str(file)]).returncode == 0
    assert busbar.psql(flags=["-1", "-f", str(wrong)]).returncode == 3
    drivers.migrated(busbar, ledger)


def test_refused(busbar, truths):
    done = psql(busbar, """
ALTER TABLE truths DROP COLUMN value;
SELECT 'usable';
BEGIN;
INSERT INTO socks VALUES (1, 'red');
ALTER TABLE truths DROP COLUMN value;
SELECT 1;
\\unset QUIET
COMMIT;
\\set QUIET
INSERT INTO socks VALUES (2, 'blue');
\\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO socks VALUES (4, 'white');
ALTER TABLE truths DROP COLUMN value;
ALTER TABLE truths ADD COLUMN amount int4;
\\unset QUIET
COMMIT;
""", *VERBOSE, stop=False, lines=False)
    assert re.findall(r"ERROR: +(\w+)", done.stderr) == ["EX010", "EX010", "25P02", "EX010"]
    assert [line for line in done.stdout.splitlines() if "ELECTRIC" not in line] == ["usable", "ROLLBACK", "COMMIT"]
    drivers.refused(busbar, truths)


def test_describe_an_electrified_table(busbar, truths, cluster, database):
    """The catalog looks through Busbar as it looks straight."""
    straight = Endpoint(cluster.host, cluster.port, database)
    script = "\\d+ truths\n\\dt *.*\n\\di+\n\\df electric.*\n\\dn+\n\\dy\n\\l\n\\du\n"
    assert psql(busbar, script) == psql(straight, script)
