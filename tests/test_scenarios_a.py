# SPDX-License-Identifier: Apache-2.0
"""Scenarios A, connection: spec/scenarios-proxy.md 1–12.

Where the original has a quirk the recommended answer is tested: SCRAM is the default and MD5 an option, cancel
requests work, a start-up packet without a database is accepted, run-time parameters go along, `replication` is refused.
Of 11, PG_PROXY_PORT=http:<n> opens the port; the tunnel is in test_tunnel.py.
"""

import socket
import struct
import subprocess

import psycopg
import psycopg2
import pytest

from harness import protocol as p
from harness.busbar import PASSWORD, Busbar
from harness.postgres import Postgres
from harness.process import free_port
from harness.tunnel import tunnelled
from harness.wait import wait_until
from harness.wire import Closed, LoginRefused, Wire, cancel, md5_response


@pytest.mark.transparent
def test_01_ssl_request_is_answered_n_and_start_up_goes_on(endpoint):
    """A driver with sslmode=prefer asks first; one byte, then the login on the same connection."""
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.send(p.SSL_REQUEST)
        assert wire.read_byte() == b"N"
        wire.start({"user": "postgres", "database": endpoint.dbname}, endpoint.password)
        assert wire.value("SELECT 1") == "1"


def test_02_gssenc_request_is_answered_n_and_start_up_goes_on(endpoint):
    """libpq with Kerberos tickets asks this before SSL; both may come on one connection."""
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.send(p.GSSENC_REQUEST)
        assert wire.read_byte() == b"N"
        wire.send(p.SSL_REQUEST)
        assert wire.read_byte() == b"N"
        wire.start({"user": "postgres", "database": endpoint.dbname}, endpoint.password)
        assert wire.value("SELECT 1") == "1"


def test_02_requests_in_one_byte_pieces(endpoint):
    """TCP may cut the start-up packets anywhere."""
    with Wire(endpoint.host, endpoint.port) as wire:
        for byte in p.SSL_REQUEST:
            wire.send(bytes([byte]))
        assert wire.read_byte() == b"N"
        packet = p.startup({"user": "postgres", "database": endpoint.dbname})
        for byte in packet[:-1]:
            wire.send(bytes([byte]))
        wire.send(packet[-1:])
        assert wire.read().kind == "R"


def test_02_text_after_ssl_request_in_the_same_packet_is_not_trusted(endpoint):
    """CVE-2021-23214: bytes sent in the clear before TLS starts must not be read as if they came after it.

    As TLS is not offered here ("N"), they are the client's next packet, or the connection is ended: never a hang.
    """
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.send(p.SSL_REQUEST + p.startup({"user": "postgres", "database": endpoint.dbname}))
        assert wire.read_byte() == b"N"
        try:
            assert wire.read().kind in "RE"
        except Closed:
            pass


def test_03_scram_login(endpoint):
    """The default. The server proves the password too; parameters, key and ReadyForQuery(I) follow."""
    with endpoint.wire() as wire:
        assert wire.auth_codes == [10, 11, 12, 0]
        assert wire.key is not None
        for name in ("server_version", "client_encoding", "DateStyle", "integer_datetimes", "standard_conforming_strings", "TimeZone"):
            assert name in wire.parameters, name


def test_03_md5_login(make_busbar, cluster, database):
    """For old drivers, by option: AuthenticationMD5Password with a 4-byte salt."""
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH="md5")
    with busbar.wire() as wire:
        assert wire.auth_codes == [5, 0]
        assert wire.key is not None
        assert wire.value("SELECT 1") == "1"
    salts = set()
    for _ in range(3):
        with Wire(busbar.host, busbar.port) as wire:
            wire.send(p.startup({"user": "postgres", "database": database}))
            salts.add(wire.read().body[4:])
    assert len(salts) == 3, "the salt must differ each time"


def test_03_md5_password_of_another_shape_is_28p01(make_busbar, cluster, database):
    """The original's session dies of it; ours answers."""
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH="md5")
    for wrong in (PASSWORD, "", "md5", "md5" + "0" * 31, "md5" + "z" * 32, "md5" + "A" * 32, "x" * 4000):
        with Wire(busbar.host, busbar.port) as wire:
            wire.send(p.startup({"user": "postgres", "database": database}))
            assert wire.read().auth == 5
            wire.send(p.password(wrong))
            error = wire.read()
            assert error.fields["C"] == "28P01" and error.fields["S"] == "FATAL", wrong
            assert wire.read_to_end() == []


def test_03_password_must_match_the_user_name_in_md5(make_busbar, cluster, database):
    """The digest contains the user name: one made for another user is refused."""
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH="md5")
    with Wire(busbar.host, busbar.port) as wire:
        wire.send(p.startup({"user": "alice", "database": database}))
        salt = wire.read().body[4:]
        wire.send(p.password(md5_response(PASSWORD, "bob", salt)))
        assert wire.read().fields["C"] == "28P01"


def test_03_parameters_are_those_of_postgresql(endpoint, cluster, database):
    """The upstream's own ParameterStatus values reach the client: it must not believe in another server."""
    with endpoint.wire(application_name="mine") as proxied, Wire(cluster.host, cluster.port) as straight:
        straight.start({"user": "postgres", "database": database, "application_name": "mine"})
        assert proxied.parameters == straight.parameters


@pytest.mark.parametrize("auth", ["scram-sha-256", "md5"])
def test_03_real_drivers_log_in(make_busbar, cluster, database, auth):
    """psql, psycopg 3 and psycopg 2 (libpq) with their default sslmode."""
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH=auth)
    done = busbar.psql("SELECT 'psql'")
    assert done.returncode == 0 and "psql" in done.stdout, done.stderr
    with busbar.psycopg() as conn:
        assert conn.execute("SELECT %s::int + 1", [41]).fetchone() == (42,)
    with psycopg2.connect(host=busbar.host, port=busbar.port, user="postgres", password=PASSWORD, dbname=database) as conn:
        with conn.cursor() as cursor:
            cursor.execute("SELECT 2")
            assert cursor.fetchone() == (2,)
    conn.close()


def test_04_any_user_name(endpoint):
    """Only the password counts; upstream the role is that of DATABASE_URL."""
    with endpoint.wire(user="anyname") as wire:
        assert wire.value("SELECT current_user") == "postgres"
    with endpoint.wire(user="ünïcödé name") as wire:
        assert wire.value("SELECT session_user") == "postgres"


@pytest.mark.parametrize("auth", ["scram-sha-256", "md5"])
def test_05_wrong_password(make_busbar, cluster, database, auth):
    """FATAL 28P01 and the end of the connection; the text names the user."""
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH=auth)
    with Wire(busbar.host, busbar.port) as wire:
        with pytest.raises(LoginRefused) as refused:
            wire.start({"user": "postgres", "database": database}, "wrong")
        assert refused.value.fields["S"] == "FATAL"
        assert refused.value.fields["C"] == "28P01"
        assert refused.value.fields["M"] == 'Password authentication failed for user "postgres"'
        assert wire.read_to_end() == []
    done = busbar.psql("SELECT 1", env={"PGPASSWORD": "wrong"})
    assert done.returncode == 2 and "Password authentication failed" in done.stderr
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"


def test_05_no_upstream_session_before_the_password_is_right(make_busbar, cluster, database, relay):
    """A stranger must not be able to use up PostgreSQL's connections."""
    busbar = make_busbar(cluster.url(database, port=relay.port), dbname=database)
    with Wire(busbar.host, busbar.port) as wire:
        with pytest.raises(LoginRefused):
            wire.start({"user": "postgres", "database": database}, "wrong")
    assert relay.sessions == []


def test_06_database_name_is_ignored(endpoint, database):
    """The database is that of DATABASE_URL, whatever the client asks for."""
    with endpoint.wire(database="does_not_exist") as wire:
        assert wire.value("SELECT current_database()") == database


def test_07_start_up_without_database(endpoint, database):
    """As PostgreSQL: the database defaults to the user name (which is ignored in turn)."""
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.start({"user": "postgres"}, endpoint.password)
        assert wire.value("SELECT current_database()") == database


def running(cluster, sql):
    """Whether a backend is executing this text."""
    with cluster.connect() as conn:
        return conn.execute("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query = %s", [sql]).fetchone()


@pytest.mark.transparent
def test_08_cancel_request(endpoint, cluster):
    """The key the client was given is good for a cancel: the query ends with 57014, the session goes on."""
    with endpoint.wire() as wire:
        wire.send(p.query("SELECT pg_sleep(60)"))
        wait_until(lambda: running(cluster, "SELECT pg_sleep(60)"), "the query to run")
        assert cancel(endpoint, wire.key) == b""
        assert wire.result().error["C"] == "57014"
        assert wire.value("SELECT 1") == "1"


@pytest.mark.transparent
def test_08_cancel_request_with_a_wrong_key_does_nothing(endpoint, cluster):
    """As PostgreSQL: no answer, nothing cancelled, and the service is none the worse for it."""
    with endpoint.wire() as wire:
        wire.send(p.query("SELECT pg_sleep(0.6), 1"))
        wait_until(lambda: running(cluster, "SELECT pg_sleep(0.6), 1"), "the query to run")
        pid, secret = wire.key
        assert cancel(endpoint, (pid, secret ^ 1)) == b""
        assert cancel(endpoint, (pid ^ 0x7fff, secret)) == b""
        assert wire.result().ok().tags == ["SELECT 1"]


def test_08_psql_ctrl_c(endpoint, cluster):
    """The real thing: an interrupted psql cancels through the proxy."""
    import signal

    psql = subprocess.Popen(
        ["psql", "-X", "-h", endpoint.host, "-p", str(endpoint.port), "-U", "postgres", endpoint.dbname, "-c", "SELECT pg_sleep(61)"],
        env={"PGPASSWORD": endpoint.password, "PATH": "/usr/bin:/bin"}, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: running(cluster, "SELECT pg_sleep(61)"), "the query to run")
        psql.send_signal(signal.SIGINT)
        _, err = psql.communicate(timeout=20)
        assert "canceling statement due to user request" in err
    finally:
        psql.kill()
        psql.wait()


def test_09_all_backends_terminated(busbar, cluster, database):
    """Clients are told and closed; the service lives on and new connections work."""
    wires = [busbar.wire() for _ in range(3)]
    with cluster.connect(database) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [database])
    for wire in wires:
        with wire:
            messages = wire.read_to_end()
            assert all(m.kind == "E" and m.fields["C"] == "57P01" for m in messages), messages
    assert busbar.process.poll() is None
    busbar.wait_ready()
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"
    assert busbar.process.poll() is None


@pytest.mark.parametrize("password", [None, "", "   "])
def test_10_password_unset_or_blank(make_busbar, cluster, password):
    """The service refuses to start and names the variable."""
    busbar = make_busbar(cluster.url("postgres"), wait=False, PG_PROXY_PASSWORD=password).spawn()
    assert busbar.wait_exit() == 1
    assert "PG_PROXY_PASSWORD" in busbar.log()
    busbar.killed = True  # judged here


def test_11_proxy_port_http_form(make_busbar, cluster, database):
    """`http:<n>` opens the TCP port n as well as the tunnel; the word is not case sensitive."""
    port = free_port()
    for form in (f"http:{port}", f"HTTP:{port}"):
        busbar = Busbar(cluster.url(database), dbname=database, PG_PROXY_PORT=form)
        busbar.port = port
        busbar.start()
        with busbar.wire() as wire, tunnelled(busbar) as inside:
            assert wire.value("SELECT 1") == inside.value("SELECT 1") == "1"
        busbar.check()


@pytest.mark.parametrize("value", ["abc", "0", "-1", "65536", "http:", "http:abc", "http:0", "1234x", "https:1234", "99999999999"])
def test_11_proxy_port_invalid(make_busbar, cluster, value):
    """A start-up error with the value in it."""
    busbar = make_busbar(cluster.url("postgres"), wait=False, PG_PROXY_PORT=value).spawn()
    assert busbar.wait_exit() == 1
    assert f'PG_PROXY_PORT has invalid value: "{value}"' in " ".join(busbar.log().split())
    busbar.killed = True  # judged here


# 12: how the upstream wants the password.

HBA = """
local   all all                     trust
host    all postgres   127.0.0.1/32 trust
host    all in_scram   127.0.0.1/32 scram-sha-256
host    all in_md5     127.0.0.1/32 md5
hostssl all in_clear   127.0.0.1/32 password
hostnossl all in_clear 127.0.0.1/32 reject
"""


@pytest.fixture(scope="module")
def strict_cluster(tmp_path_factory):
    """A cluster with a real pg_hba.conf and a self-signed certificate."""
    cluster = Postgres(hba=HBA, settings=["ssl = on", "ssl_cert_file = '../server.crt'", "ssl_key_file = '../server.key'"])
    try:
        folder = cluster.folder
        subprocess.run(["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost",
                        "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.crt"], check=True, capture_output=True)
        if cluster.user:
            subprocess.run(["chown", cluster.user, f"{folder}/server.key", f"{folder}/server.crt"], check=True)
        subprocess.run(["chmod", "600", f"{folder}/server.key"], check=True)
        cluster.start()
        with cluster.connect() as conn:
            for role, encryption in (("in_scram", "scram-sha-256"), ("in_md5", "md5"), ("in_clear", "scram-sha-256")):
                conn.execute(f"SET password_encryption = '{encryption}'")
                conn.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'up stream'")
        yield cluster
    finally:
        cluster.destroy()


@pytest.mark.parametrize("role, query", [
    ("in_scram", "sslmode=disable"), ("in_scram", "sslmode=require"), ("in_md5", "sslmode=disable"), ("in_md5", "sslmode=require"),
    ("in_clear", "sslmode=require"), ("postgres", "sslmode=disable")])
def test_12_upstream_authentication(strict_cluster, make_busbar, role, query):
    """SCRAM, MD5, cleartext over TLS and trust; the session over TLS passes large answers too."""
    database = strict_cluster.create_database()
    busbar = make_busbar(strict_cluster.url(database, role, "up%20stream", query=query), dbname=database)
    with busbar.wire() as wire:
        assert wire.value("SELECT current_user") == role
        assert wire.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == ("t" if "require" in query else "f")
        assert len(wire.value("SELECT repeat('x', 3000000)")) == 3000000
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        assert wire.query("ALTER TABLE t ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]


def test_12_wrong_upstream_password_is_said(strict_cluster, make_busbar):
    """Not ready: PostgreSQL's reason is in the log, the HTTP status is 503, the password is in neither."""
    busbar = make_busbar(strict_cluster.url("postgres", "in_scram", "not-it-at-all"), wait=False).spawn()
    busbar.wait_log("password authentication failed")
    wait_until(lambda: busbar.status()[0] == 503, "503")
    assert "not-it-at-all" not in busbar.log()


def test_12_unix_socket(make_busbar, cluster, database):
    """A local PostgreSQL is reached by its socket: a folder as host."""
    folder = cluster.folder.replace("/", "%2F")
    busbar = make_busbar(f"postgresql://postgres@{folder}:{cluster.port}/{database}?sslmode=disable", dbname=database)
    with busbar.wire() as wire:
        assert wire.value("SELECT inet_client_addr() IS NULL") == "t"


# Beyond the numbered ones.

def test_parameters_of_the_client_go_along(endpoint):
    """Harmless start-up parameters reach the upstream: application_name, options, TimeZone, client_encoding, search_path."""
    params = {"application_name": "my tool", "options": "-c statement_timeout=12345 -c work_mem=5MB", "TimeZone": "Asia/Tokyo",
              "DateStyle": "German", "client_encoding": "LATIN1", "search_path": "pg_catalog", "extra_float_digits": "0"}
    with endpoint.wire(**params) as wire:
        assert wire.value("SHOW application_name") == "my tool"
        assert wire.value("SHOW statement_timeout") == "12345ms"
        assert wire.value("SHOW work_mem") == "5MB"
        assert wire.value("SHOW TimeZone") == "Asia/Tokyo"
        assert wire.value("SHOW DateStyle").startswith("German")
        assert wire.value("SHOW client_encoding") == "LATIN1"
        assert wire.value("SHOW search_path") == "pg_catalog"
        assert wire.value("SHOW extra_float_digits") == "0"
        assert wire.parameters["client_encoding"] == "LATIN1" and wire.parameters["TimeZone"] == "Asia/Tokyo"


def test_options_cannot_forge_a_proxy_session(busbar, ledger):
    """What the client puts into `options` must not replace the token: its DDL is still captured."""
    with busbar.wire(options="-c busbar.session=forged") as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE t ADD COLUMN a int4").ok()
    assert len(ledger.ddl) == 2


def test_replication_is_refused(endpoint):
    """A replication connection would bypass everything: refused, FATAL."""
    for value in ("true", "database", "on"):
        with pytest.raises(LoginRefused) as refused:
            endpoint.wire(replication=value)
        assert refused.value.fields["S"] == "FATAL"


def test_protocol_minor_version_is_negotiated(endpoint):
    """Protocol 3.2 (libpq of PostgreSQL 18 may ask): NegotiateProtocolVersion, then a 3.0 session."""
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.send(p.startup({"user": "postgres", "database": endpoint.dbname, "_pq_.busbar_unknown": "1"}, version=196610))
        message = wire.read()
        assert message.kind == "v", message
        newest, count = struct.unpack_from("!II", message.body)
        assert newest in (0, 196608) and count == 1
        assert message.body[8:] == b"_pq_.busbar_unknown\0"
        assert wire.read().kind == "R"


def test_protocol_version_2_is_refused(endpoint):
    """An error, not silence. PostgreSQL's own code is 0A000."""
    with Wire(endpoint.host, endpoint.port) as wire:
        wire.send(struct.pack("!II", 8, 131072))
        messages = wire.read_to_end()
        assert len(messages) == 1 and messages[0].fields["S"] == "FATAL"


@pytest.mark.parametrize("garbage", [
    b"\0\0\0\0", b"\0\0\0\4", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", struct.pack("!II", 9, 196608) + b"x",
    p.startup({"user": "x" * 9900})[:5000]])
def test_garbage_at_start_up_ends_that_connection_alone(busbar, garbage):
    """Whatever a stranger sends, the next client is served."""
    with Wire(busbar.host, busbar.port) as wire:
        wire.send(garbage)
        wire.socket.shutdown(socket.SHUT_WR)
        wire.read_to_end()
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"


def test_terminate_ends_the_upstream_session(busbar, cluster):
    """Terminate, and a socket simply closed: no backend is left behind."""
    def backends(pid):
        with cluster.connect() as conn:
            return conn.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()[0]

    polite, rude = busbar.wire(), busbar.wire()
    polite.send(p.terminate())
    assert polite.read_to_end() == []
    rude.abort()
    for wire in (polite, rude):
        wait_until(lambda pid=wire.key[0]: backends(pid) == 0, "the backend to end")
    polite.close()


def test_many_clients_at_once(busbar):
    """Each client has a session of its own."""
    wires = [busbar.wire() for _ in range(25)]
    for number, wire in enumerate(wires):
        wire.send(p.query(f"SELECT {number}"))
    for number, wire in enumerate(wires):
        assert wire.result().rows == [[str(number)]]
        wire.close()


def test_psycopg_pipeline_mode(busbar):
    """A real driver that pipelines."""
    with busbar.psycopg(autocommit=True) as conn, conn.pipeline():
        cursors = [conn.execute("SELECT %s::int", [n]) for n in range(50)]
        assert [c.fetchone()[0] for c in cursors] == list(range(50))


def test_error_of_the_upstream_at_login_reaches_the_client(make_busbar, cluster, database):
    """PostgreSQL refuses the session (no free slot for this role): the client is told its reason."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    with cluster.connect() as conn:
        conn.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        try:
            with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
                busbar.psycopg()
        finally:
            conn.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"
