# SPDX-License-Identifier: Apache-2.0
"""busbar check: real servers, each lacking one thing; the fault is named with what mends it, and the mend works."""

import json
import socket
import subprocess

import pytest

from harness.busbar import PASSWORD, binary
from harness.certificates import Certificates
from harness.postgres import Postgres
from harness.process import clean_environment, free_port


def check(url, *flags, **options):
    """Exit status, and the checks by name."""
    env = clean_environment(**{"DATABASE_URL": url, "PG_PROXY_PASSWORD": PASSWORD, "PG_PROXY_PORT": free_port(), "HTTP_PORT": free_port(),
                               "AUTH_MODE": "insecure", **options})
    done = subprocess.run([binary(), "check", "--json", *flags], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "Sanitizer" not in done.stderr and PASSWORD not in done.stdout, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["ok"] == all(c["state"] != "fault" for c in report["checks"])
    return done.returncode, {c["name"]: c for c in report["checks"]}


def faults(checks):
    return [name for name, c in checks.items() if c["state"] == "fault"]


@pytest.fixture
def role(cluster, database):
    """A role without any right; made once a run."""
    name = "pauper"
    with cluster.connect() as conn:
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
            conn.execute(f"CREATE ROLE {name} LOGIN")
    return name


def test_a_new_database(cluster, database):
    """Nothing is wrong, nothing is installed, and nothing is changed by looking."""
    status, checks = check(cluster.url(database))
    assert status == 0 and checks["installation"]["state"] == "note" and "nothing is installed" in checks["installation"]["text"]
    for name in ("configuration", "connection", "version", "wal_level", "max_replication_slots", "privileges", "encoding"):
        assert checks[name]["state"] == "ok", checks[name]
    with cluster.connect(database) as conn:
        assert conn.execute("SELECT to_regnamespace('busbar')").fetchone() == (None,)


def test_an_installed_database(cluster, database, busbar):
    status, checks = check(cluster.url(database))
    assert status == 0
    for name in ("installation", "event triggers", "publication", "history", "drift"):
        assert checks[name]["state"] == "ok", checks[name]


def test_one_line_each(cluster, database):
    env = clean_environment(DATABASE_URL=cluster.url(database), PG_PROXY_PASSWORD=PASSWORD, AUTH_MODE="insecure")
    done = subprocess.run([binary(), "check"], env=env, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) > 8 and all(line.split(None, 1)[0] in ("ok", "note", "fault") for line in lines), done.stdout


def test_help_and_command_line():
    done = subprocess.run([binary(), "check", "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "--adopt" in done.stdout and "--json" in done.stdout and "Exit status" in done.stdout
    assert subprocess.run([binary(), "check", "more"], capture_output=True, timeout=60, check=False).returncode == 2


def test_configuration(cluster, database):
    """Its faults are listed with the rest: the database is looked at all the same."""
    status, checks = check(cluster.url(database), AUTH_MODE="secure", LOG_LEVEL="loud")
    assert status == 1 and set(faults(checks)) >= {"AUTH_JWT_ALG", "LOG_LEVEL"} and checks["AUTH_JWT_ALG"]["mend"]
    assert checks["connection"]["state"] == "ok"
    status, checks = check(None)
    assert status == 1 and faults(checks) == ["DATABASE_URL"] and "connection" not in checks


def test_connection(cluster, database):
    nowhere = check(f"postgresql://postgres@127.0.0.1:{free_port()}/x?sslmode=disable")[1]
    assert faults(nowhere) == ["connection"] and "PostgreSQL running" in nowhere["connection"]["mend"]
    missing = check(cluster.url("missing"))[1]
    assert faults(missing) == ["connection"] and "missing" in missing["connection"]["text"] and missing["connection"]["mend"]
    tls = check(cluster.url(database, query="sslmode=require"))[1]
    assert faults(tls) == ["connection"] and "sslmode=disable" in tls["connection"]["mend"]


def test_certificates(cluster, database, tmp_path):
    """Those that are configured are read."""
    made = Certificates(tmp_path)
    url = cluster.url(database)
    assert "certificate" not in check(url)[1]
    status, checks = check(url, BUSBAR_TLS_CERT=made.server_crt, BUSBAR_TLS_KEY=made.server_key)
    assert status == 0 and checks["certificate"]["state"] == "ok" and made.server_crt in checks["certificate"]["text"]
    status, checks = check(url, BUSBAR_TLS_CERT=made.server_crt, BUSBAR_TLS_KEY=made.client_key)
    assert status == 1 and faults(checks) == ["BUSBAR_TLS_KEY"] and "certificate" not in checks
    assert faults(check(url, BUSBAR_TLS_CERT="/nowhere", BUSBAR_TLS_KEY=made.server_key)[1]) == ["BUSBAR_TLS_CERT"]


def test_ports(cluster, database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, checks = check(cluster.url(database), PG_PROXY_PORT=port)
    assert status == 0 and checks["PG_PROXY_PORT"]["state"] == "note" and str(port) in checks["PG_PROXY_PORT"]["text"]
    assert checks["HTTP_PORT"]["state"] == "ok"


def test_wal_level_and_slots():
    """The statements that mend them are run as they are printed."""
    server = Postgres(settings=["wal_level = replica", "max_replication_slots = 0"])
    try:
        server.start()
        url = server.url("postgres")
        status, checks = check(url)
        assert status == 1 and faults(checks) == ["wal_level", "max_replication_slots"]
        with server.connect() as conn:
            for name in faults(checks):
                conn.execute(checks[name]["mend"].split(";")[0])
        server.stop()
        server.start()
        status, checks = check(url)
        assert status == 0 and faults(checks) == []
    finally:
        server.destroy()


def test_privileges(cluster, database, role):
    url = cluster.url(database, user=role)
    status, checks = check(url)
    assert status == 1 and faults(checks) == ["privileges"]
    assert checks["replication"]["state"] == "note"
    with cluster.connect(database) as conn:
        conn.execute(checks["privileges"]["mend"])
        conn.execute(checks["replication"]["mend"])
        try:
            status, checks = check(url)
            assert status == 0 and checks["privileges"]["state"] == "ok" and "replication" not in checks
            assert "without event triggers" in checks["installation"]["text"]
        finally:
            conn.execute(f"ALTER ROLE {role} NOREPLICATION; REVOKE ALL ON DATABASE \"{database}\" FROM {role}")


def test_another_owner(cluster, database, busbar, role):
    with cluster.connect(database) as conn:
        conn.execute(f'GRANT CREATE ON DATABASE "{database}" TO {role}')
        try:
            status, checks = check(cluster.url(database, user=role))
            assert status == 1 and faults(checks) == ["privileges"] and "belongs to another role" in checks["privileges"]["text"]
        finally:
            conn.execute(f'REVOKE ALL ON DATABASE "{database}" FROM {role}')


def test_event_triggers(cluster, database, role, make_busbar):
    """A superuser runs what is printed: the guard is there, without a word of DDL from Busbar."""
    with cluster.connect(database) as conn:
        conn.execute(f'ALTER DATABASE "{database}" OWNER TO {role}')
    url = cluster.url(database, user=role)
    busbar = make_busbar(url, dbname=database)
    status, checks = check(url)
    assert status == 0 and checks["event triggers"]["state"] == "note"
    with cluster.connect(database) as conn:
        for statement in checks["event triggers"]["mend"].split(";"):
            if statement.strip():
                conn.execute(statement)
        assert check(url)[1]["event triggers"]["state"] == "ok"
        assert busbar.stop() == 0
        busbar.start()
        assert "guard=on" in busbar.log().rsplit("ready proxy_port", 1)[1]
        with busbar.wire() as wire:
            wire.query("CREATE TABLE t (id uuid PRIMARY KEY)").ok()
            wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        conn.execute("UPDATE busbar.schema_version SET digest = 'of another time' WHERE version = 0")
        assert busbar.stop() == 0
        busbar.start()  # brings its routines up to date; the triggers are not its own
        assert "guard=on" in busbar.log().rsplit("ready proxy_port", 1)[1]
        with pytest.raises(Exception) as refused:
            conn.execute("ALTER TABLE t ADD COLUMN outside text")
        assert refused.value.sqlstate == "UB002"
        conn.execute("ALTER EVENT TRIGGER busbar_guard_end DISABLE")
        assert check(url)[1]["event triggers"]["mend"] == "ALTER EVENT TRIGGER busbar_guard_end ENABLE ALWAYS;"


def test_publication(cluster, database, busbar, ledger):
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id uuid PRIMARY KEY)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    ledger.execute("SET busbar.maintenance = 'on'")
    for damage in ("ALTER PUBLICATION electric_publication DROP TABLE t", "DROP PUBLICATION electric_publication"):
        ledger.execute(damage)
        status, checks = check(cluster.url(database))
        assert status == 1 and faults(checks) == ["publication"]
        ledger.execute(checks["publication"]["mend"])
        assert check(cluster.url(database))[0] == 0


def test_encoding(cluster):
    with cluster.connect() as conn:
        conn.execute("CREATE DATABASE ascii_only TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        status, checks = check(cluster.url("ascii_only"))
        assert status == 1 and faults(checks) == ["encoding"] and "UTF8" in checks["encoding"]["mend"]
    finally:
        cluster.drop_database("ascii_only")


def test_versions_of_the_installation(cluster, database, busbar, ledger):
    ledger.execute("UPDATE busbar.schema_version SET digest = 'of another time' WHERE version = 0")
    status, checks = check(cluster.url(database))
    assert status == 0 and checks["installation"]["state"] == "note" and "drift" not in checks
    ledger.execute("INSERT INTO busbar.schema_version (version, name, digest) VALUES (9999, 'tomorrow', '')")
    status, checks = check(cluster.url(database))
    assert status == 1 and faults(checks) == ["installation"] and "newer" in checks["installation"]["text"]
    ledger.execute("DELETE FROM busbar.schema_version WHERE version = 9999")


def test_a_database_of_electric(cluster, database):
    with cluster.connect(database) as conn:
        conn.execute("CREATE SCHEMA electric; CREATE TABLE electric.ddl_commands (id int)")
    assert faults(check(cluster.url(database))[1]) == ["schema electric"]
