# SPDX-License-Identifier: Apache-2.0
"""TLS between Busbar and its clients: real drivers with every sslmode, and what only hostile ones send."""

import contextlib
import hashlib
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import psycopg
import psycopg2
import pytest

from harness import protocol as p
from harness.busbar import PASSWORD, Busbar, Endpoint, binary
from harness.certificates import Certificates
from harness.postgres import Postgres
from harness.process import clean_environment
from harness.scram import ScramClient
from harness.wait import wait_until
from harness.web import migrations
from harness.wire import LoginRefused, Wire

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

ALPN = ["postgresql"]
END_POINT = "p=tls-server-end-point,,"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def options(certificates, **more):
    return {"LOG_LEVEL": "info", "BUSBAR_TLS_CERT": certificates.server_crt, "BUSBAR_TLS_KEY": certificates.server_key, **more}


@pytest.fixture
def make_tls(make_busbar, cluster, database, certificates):
    """A Busbar with TLS, known as localhost."""

    def make(database_url=None, **more):
        busbar = make_busbar(database_url or cluster.url(database), **options(certificates, **{"dbname": database, **more}))
        busbar.host = "localhost"
        return busbar

    return make


@pytest.fixture(scope="module")
def shared(cluster, certificates):
    database = cluster.create_database()
    busbar = Busbar(cluster.url(database), **options(certificates, dbname=database))
    busbar.host = "localhost"
    try:
        yield busbar.start()
        busbar.check()
    finally:
        busbar.discard()
        cluster.drop_database(database)


@pytest.fixture
def tls(shared):
    """The Busbar that most tests share: clients are let in that ask for TLS, and those that do not."""
    shared.seen = len(shared.log())
    return shared


def said(busbar, pattern):
    """Waits for a line in the log of this test."""
    return wait_until(lambda: re.search(pattern, busbar.log()[getattr(busbar, "seen", 0):]), f"{pattern!r} in busbar's log")


def context(certificates, alpn=None, client=None, minimum=None, maximum=None):
    made = ssl.create_default_context(cafile=certificates.ca_crt)
    if alpn:
        made.set_alpn_protocols(alpn)
    if client:
        made.load_cert_chain(f"{certificates.folder}/{client}.crt", f"{certificates.folder}/{client}.key")
    if minimum:
        made.minimum_version = minimum
    if maximum:
        made.maximum_version = maximum
    return made


def bare(endpoint, timeout=20.0):
    return Wire("127.0.0.1", endpoint.port, timeout)


def login(endpoint, wire):
    return wire.start({"user": "postgres", "database": endpoint.dbname}, endpoint.password)


def secured(endpoint, certificates, direct=False, **options):
    """A session inside TLS, by the raw client."""
    if direct:
        options.setdefault("alpn", ALPN)
    return login(endpoint, bare(endpoint).secure(context(certificates, **options), direct=direct))


def ending(wire):
    """What comes until the end, which a TLS socket may show as an error."""
    try:
        return wire.read_to_end()
    except (ssl.SSLError, ConnectionError):
        return []


def usable(endpoint, certificates):
    with secured(endpoint, certificates) as wire:
        assert wire.value("SELECT 1") == "1"


# --- libpq ---

def psql(endpoint, *commands, host="localhost", **settings):
    there = Endpoint(host, endpoint.port, endpoint.dbname, password=PASSWORD)
    return there.psql(*commands, env={f"PG{name.upper()}": value for name, value in settings.items()})


def test_psql_with_every_sslmode(tls, certificates):
    """What is said in the clear stays possible; what is verified is verified against the right root and name."""
    for settings in ({"sslmode": "disable"}, {"sslmode": "allow"}, {"sslmode": "prefer"}, {"sslmode": "require"}):
        done = psql(tls, "SELECT 41 + 1", **settings)
        assert done.returncode == 0 and "42" in done.stdout, (settings, done.stderr)
    for mode in ("verify-ca", "verify-full"):
        done = psql(tls, r"\conninfo", sslmode=mode, sslrootcert=certificates.ca_crt, channelbinding="require")
        assert done.returncode == 0 and "protocol: TLSv1.3" in done.stdout, done
    assert psql(tls, "SELECT 1", host="127.0.0.1", sslmode="verify-ca", sslrootcert=certificates.ca_crt).returncode == 0
    said(tls, r"session closed .* tls=TLSv1\.3 cipher=TLS_\w+ upstream_tls=no")
    said(tls, r"session closed .* tls=no cipher=none upstream_tls=no")


def test_psql_refuses_what_it_cannot_verify(tls, certificates):
    done = psql(tls, "SELECT 1", host="127.0.0.1", sslmode="verify-full", sslrootcert=certificates.ca_crt)
    assert done.returncode != 0 and "does not match host name" in done.stderr, done.stderr
    done = psql(tls, "SELECT 1", sslmode="verify-ca", sslrootcert=certificates.other_crt)
    assert done.returncode != 0 and "certificate verify failed" in done.stderr, done.stderr
    said(tls, "refused: TLS handshake failed: tlsv1 alert unknown ca")


def test_without_tls_nothing_is_promised(busbar):
    done = busbar.psql("SELECT 1", env={"PGSSLMODE": "require"})
    assert done.returncode != 0 and "server does not support SSL, but SSL was required" in done.stderr
    done = busbar.psql("SELECT 1", env={"PGSSLMODE": "disable", "PGCHANNELBINDING": "require"})
    assert done.returncode != 0 and "channel binding" in done.stderr


def test_psycopg(tls, certificates):
    params = {"sslmode": "verify-full", "sslrootcert": certificates.ca_crt, "channel_binding": "require"}
    with tls.psycopg(**params) as conn:
        assert conn.pgconn.ssl_in_use
        assert conn.execute("SELECT %s::int + 1", [41]).fetchone() == (42,)
    conn = psycopg2.connect(host=tls.host, port=tls.port, user="postgres", password=PASSWORD, dbname=tls.dbname, **params)
    with conn, conn.cursor() as cursor:
        assert conn.info.ssl_in_use and conn.info.ssl_attribute("protocol") == "TLSv1.3"
        cursor.execute("SELECT 2")
        assert cursor.fetchone() == (2,)
    conn.close()
    with pytest.raises(psycopg.OperationalError, match="Password authentication failed"):
        tls.psycopg(**params, password="wrong")


def test_md5_over_tls(make_tls, certificates):
    busbar = make_tls(BUSBAR_PROXY_AUTH="md5")
    with secured(busbar, certificates) as wire:
        assert wire.auth_codes == [5, 0] and wire.value("SELECT 1") == "1"


# --- other drivers ---

@pytest.fixture(scope="session")
def java(tmp_path_factory):
    classes = tmp_path_factory.mktemp("jdbc-tls")
    jar = "/usr/share/java/postgresql.jar"
    done = subprocess.run(["javac", "-cp", jar, "-d", str(classes), os.path.join(drivers.FOLDER, "java", "Jdbc.java")], capture_output=True, text=True,
                          timeout=120, check=False, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{classes}:{jar}", "Jdbc"]


@pytest.mark.parametrize("scenario", ["queries", "copy", "cancel"])
def test_jdbc(java, make_tls, certificates, scenario):
    """The program puts the name of the database last in its URL: parameters can follow it."""
    busbar = make_tls(BUSBAR_TLS="require")
    there = Endpoint("localhost", busbar.port, f"{busbar.dbname}?sslmode=verify-full&sslrootcert={certificates.ca_crt}", password=PASSWORD)
    drivers.silent(drivers.run(there, *java, scenario))


@pytest.mark.parametrize("scenario", ["queries", "large", "copy", "cancel"])
def test_node_postgres(make_tls, certificates, scenario):
    busbar = make_tls(BUSBAR_TLS="require")
    program = os.path.join(drivers.FOLDER, "node", "pg.js")
    drivers.silent(drivers.run(busbar, "node", program, scenario, NODE_PATH=drivers.node_modules(), PGSSLMODE="verify-full",
                               NODE_EXTRA_CA_CERTS=certificates.ca_crt))


# --- channel binding ---

def scram_login(endpoint, certificates, mechanism, header, binding=b"", encrypted=True):
    """The SASL exchange alone; the message that ends it."""
    wire = bare(endpoint)
    if encrypted:
        wire.secure(context(certificates))
    with wire:
        wire.send(p.startup({"user": "postgres", "database": endpoint.dbname}))
        offer = wire.read().body[4:].split(b"\0")
        assert offer == ([b"SCRAM-SHA-256-PLUS"] if encrypted else []) + [b"SCRAM-SHA-256", b"", b""]
        scram = ScramClient(PASSWORD, header, binding)
        first = scram.first()
        wire.send(p.frame("p", mechanism + b"\0" + struct.pack("!I", len(first)) + first))
        answer = wire.read()
        if answer.kind == "R":
            wire.send(p.frame("p", scram.final(answer.body[4:])))
            answer = wire.read()
        if answer.kind == "R":
            scram.verify(answer.body[4:])
        return answer


def end_point(certificates, name="server"):
    with open(f"{certificates.folder}/{name}.crt", encoding="ascii") as pem:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read())).digest()


@pytest.mark.parametrize("mechanism, header, binding, error", [
    ("-PLUS", END_POINT, "server", None),
    ("", "n,,", "", None),
    ("", "y,,", "", ("28000", "SCRAM channel binding negotiation error",
                     "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding.")),
    ("-PLUS", END_POINT, "stranger", ("28000", "SCRAM channel binding check failed", None)),
    ("-PLUS", END_POINT, "", ("28000", "SCRAM channel binding check failed", None)),
    ("-PLUS", "p=tls-unique,,", "server", ("08P01", 'unsupported SCRAM channel-binding type "tls-unique"', None)),
    ("-PLUS", "n,,", "", ("08P01", "malformed SCRAM message",
                          "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.")),
    ("", END_POINT, "server", ("08P01", "malformed SCRAM message",
                               "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.")),
])
def test_channel_binding(tls, certificates, mechanism, header, binding, error):
    """PostgreSQL's words. Somebody in between has another certificate, or takes our offer away: both show."""
    answer = scram_login(tls, certificates, b"SCRAM-SHA-256" + mechanism.encode(), header, end_point(certificates, binding) if binding else b"")
    if error is None:
        assert answer.kind == "R" and answer.auth == 12, answer
    else:
        assert answer.kind == "E", answer
        assert (answer.fields["C"], answer.fields["M"], answer.fields.get("D")) == error


def test_channel_binding_without_tls(tls, certificates):
    """Not offered in the clear; a client that could is right to say so."""
    answer = scram_login(tls, certificates, b"SCRAM-SHA-256-PLUS", END_POINT, end_point(certificates), encrypted=False)
    assert answer.fields["C"] == "08P01", answer
    assert scram_login(tls, certificates, b"SCRAM-SHA-256", "y,,", encrypted=False).kind == "R"


def test_channel_binding_with_rsa(make_tls, certificates):
    certificates.issue("rsa", "ca", "localhost", "DNS:localhost", key=("rsa:2048",))
    busbar = make_tls(BUSBAR_TLS_CERT=certificates.rsa_crt, BUSBAR_TLS_KEY=certificates.rsa_key)
    done = psql(busbar, "SELECT 1", sslmode="verify-full", sslrootcert=certificates.ca_crt, channelbinding="require")
    assert done.returncode == 0, done.stderr


def test_channel_binding_where_no_hash_is_defined(make_tls, certificates):
    """A certificate that Ed25519 signed: nothing is offered, so that a client which only prefers binding gets in."""
    certificates.authority("edwards", key=("ed25519",))
    busbar = make_tls(BUSBAR_TLS_CERT=certificates.edwards_crt, BUSBAR_TLS_KEY=certificates.edwards_key)
    assert psql(busbar, "SELECT 1", sslmode="verify-ca", sslrootcert=certificates.edwards_crt).returncode == 0
    done = psql(busbar, "SELECT 1", sslmode="require", channelbinding="require")
    assert done.returncode != 0 and "channel binding is required" in done.stderr


# --- direct TLS ---

def test_direct_tls(tls, certificates):
    """As PostgreSQL 17 has it: no request, but ALPN."""
    with secured(tls, certificates, direct=True) as wire:
        assert wire.socket.selected_alpn_protocol() == "postgresql"
        assert wire.value("SELECT 1") == "1"


def test_direct_tls_in_pieces(tls, certificates):
    """The handshake cut anywhere, the first byte alone."""
    for seed in range(5):
        with Splitting(tls.port, random.Random(seed)) as between:
            with login(tls, Wire("127.0.0.1", between.port).secure(context(certificates, ALPN), direct=True)) as wire:
                assert wire.value("SELECT repeat('x', 100000)") == "x" * 100000


class Splitting:
    """A relay that passes on what a client sends in pieces of one to a few bytes at first."""

    def __init__(self, port, rng):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.target, self.rng = port, rng
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()
        self.thread.join(20)

    def _run(self):
        client, _ = self.listening.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
        back.start()
        self._pump(client, server, True)
        back.join(20)
        client.close()
        server.close()

    def _pump(self, source, target, cut):
        try:
            while data := source.recv(65536):
                at = 0
                while at < len(data):
                    size = self.rng.choice((1, 1, 2, 5, 50)) if cut else len(data)
                    target.sendall(data[at:at + size])
                    at += size
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_direct_tls_needs_alpn(tls, certificates):
    """Who does not name the protocol may have been led here from another service: it hears nothing."""
    with bare(tls).secure(context(certificates), direct=True) as wire:
        wire.send(p.startup({"user": "postgres", "database": tls.dbname}))
        assert ending(wire) == [] and not wire.received
    said(tls, "refused: received direct SSL connection request without ALPN protocol negotiation extension")


@pytest.mark.parametrize("direct", [False, True])
def test_another_protocol_in_alpn_is_refused(tls, certificates, direct):
    with bare(tls) as wire, pytest.raises(ssl.SSLError, match="no application protocol"):
        wire.secure(context(certificates, ["h2", "http/1.1"]), direct=direct)
    said(tls, "refused: TLS handshake failed: no application protocol")


def test_alpn_is_welcome_after_a_request_too(tls, certificates):
    with secured(tls, certificates, alpn=ALPN) as wire:
        assert wire.socket.selected_alpn_protocol() == "postgresql"


def test_direct_tls_where_there_is_no_tls(busbar, certificates):
    with bare(busbar) as wire, pytest.raises((ssl.SSLError, ConnectionError)):
        wire.secure(context(certificates, ALPN), direct=True)
    said(busbar, "refused: received direct SSL connection request, but TLS is not configured")


# --- what is required ---

def test_tls_required(make_tls, certificates):
    busbar = make_tls(BUSBAR_TLS="require")
    done = psql(busbar, "SELECT 1", sslmode="disable")
    assert done.returncode != 0
    assert f'FATAL:  no pg_hba.conf entry for user "postgres", database "{busbar.dbname}", no encryption' in done.stderr
    assert "HINT:  Busbar takes encrypted connections only (BUSBAR_TLS): connect with sslmode=require or stricter." in done.stderr
    with pytest.raises(LoginRefused) as refused:
        login(busbar, bare(busbar))
    assert refused.value.fields["C"] == "28000"
    for mode in ("allow", "prefer", "require"):  # "allow" comes back with TLS
        assert psql(busbar, "SELECT 1", sslmode=mode).returncode == 0, mode
    usable(busbar, certificates)


def test_a_unix_socket_goes_without(make_tls, certificates):
    """As with PostgreSQL: nothing is in between. libpq does not even ask."""
    with tempfile.TemporaryDirectory(prefix="busbar-socket-") as folder:
        busbar = make_tls(BUSBAR_TLS="verify-ca", BUSBAR_TLS_CLIENT_CA=certificates.ca_crt, BUSBAR_PROXY_SOCKET=folder)
        done = psql(busbar, "SELECT 41 + 1", host=folder)
        assert done.returncode == 0 and "42" in done.stdout, done.stderr
        for first, answer in ((p.SSL_REQUEST, b"N"), (Hello().bytes, b"")):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.settimeout(20)
                raw.connect(os.path.join(folder, f".s.PGSQL.{busbar.port}"))
                raw.sendall(first)
                assert raw.recv(100) == answer


@pytest.mark.parametrize("direct", [False, True])
def test_behind_a_load_balancer(make_tls, certificates, direct):
    """A PROXY protocol header comes in the clear, in front of all; what it says counts inside TLS too."""
    busbar = make_tls(BUSBAR_PROXY_PROTOCOL="on", BUSBAR_TLS="require")
    header = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, 12) + socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2") + struct.pack("!HH", 1234, 5432)
    with bare(busbar).send(header) as wire:
        login(busbar, wire.secure(context(certificates, ALPN), direct=direct))
        assert wire.value("SELECT 1") == "1"
    said(busbar, r"192\.0\.2\.1:1234\] session closed .* tls=TLSv1\.3")


def test_oldest_version(make_tls, certificates):
    busbar = make_tls(BUSBAR_TLS_MIN_VERSION="TLSv1.3")
    with bare(busbar) as wire, pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        wire.secure(context(certificates, maximum=ssl.TLSVersion.TLSv1_2))
    said(busbar, "refused: TLS handshake failed: unsupported protocol")
    usable(busbar, certificates)


def test_tls_1_2(tls, certificates):
    with secured(tls, certificates, maximum=ssl.TLSVersion.TLSv1_2) as wire:
        assert wire.socket.version() == "TLSv1.2" and "ECDHE" in wire.socket.cipher()[0]
        assert len(wire.value("SELECT repeat('x', 1000000)")) == 1000000


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_not_resumed(tls, certificates, version):
    with secured(tls, certificates, maximum=version, minimum=version) as wire:
        assert wire.value("SELECT 1") == "1"
        assert wire.socket.session is None or not wire.socket.session.has_ticket


# --- client certificates ---

def with_certificate(certificates, name):
    return {"sslmode": "verify-full", "sslrootcert": certificates.ca_crt, "sslcert": f"{certificates.folder}/{name}.crt",
            "sslkey": f"{certificates.folder}/{name}.key"}


def test_client_certificate_required(make_tls, certificates):
    """It must be there, be signed by the right authority and in date; the password is needed all the same."""
    busbar = make_tls(BUSBAR_TLS="verify-ca", BUSBAR_TLS_CLIENT_CA=certificates.ca_crt)
    certificates.issue("former", "ca", "former", days=-1)
    assert psql(busbar, "SELECT 1", **with_certificate(certificates, "client")).returncode == 0
    done = psql(busbar, "SELECT 1", sslmode="require", sslcert="/none")
    assert done.returncode != 0 and "FATAL:  connection requires a valid client certificate" in done.stderr and "HINT:" in done.stderr, done.stderr
    done = psql(busbar, "SELECT 1", sslmode="disable")
    assert done.returncode != 0 and "no encryption" in done.stderr
    done = psql(busbar, "SELECT 1", **with_certificate(certificates, "stranger"))
    assert done.returncode != 0 and "alert unknown ca" in done.stderr, done.stderr
    done = psql(busbar, "SELECT 1", **with_certificate(certificates, "former"))
    assert done.returncode != 0 and "certificate expired" in done.stderr, done.stderr
    said(busbar, "refused: TLS handshake failed: the client's certificate: unable to get local issuer certificate")
    said(busbar, "refused: TLS handshake failed: the client's certificate: certificate has expired")
    with pytest.raises(psycopg.OperationalError, match="Password authentication failed"):
        busbar.psycopg(password="wrong", **with_certificate(certificates, "client"))


def test_client_certificate_is_verified_when_shown(make_tls, certificates):
    """With an authority and without verify-ca, as PostgreSQL: none is fine, a bad one is not."""
    busbar = make_tls(BUSBAR_TLS="require", BUSBAR_TLS_CLIENT_CA=certificates.ca_crt)
    assert psql(busbar, "SELECT 1", sslmode="require", sslcert="/none").returncode == 0
    assert psql(busbar, "SELECT 1", **with_certificate(certificates, "client")).returncode == 0
    assert psql(busbar, "SELECT 1", **with_certificate(certificates, "stranger")).returncode != 0


def test_client_certificate_is_not_asked_for(tls, certificates):
    assert psql(tls, "SELECT 1", **with_certificate(certificates, "stranger")).returncode == 0


# --- hostile clients ---

STUFFING = {
    "startup": lambda db: p.startup({"user": "postgres", "database": db}),
    "cancel": lambda db: p.cancel_request(1, 2),
    "one byte": lambda db: b"\0",
    "TLS": lambda db: bytes.fromhex("16030100f8010000f40303"),
    "megabyte": lambda db: b"x" * (1 << 20),
}


@pytest.mark.parametrize("request_", [p.SSL_REQUEST, p.GSSENC_REQUEST], ids=["SSL", "GSSENC"])
@pytest.mark.parametrize("stuffing", STUFFING)
def test_plaintext_behind_the_request(tls, certificates, request_, stuffing):
    """CVE-2021-23214 (PostgreSQL), CVE-2021-3935 (PgBouncer): none of it counts as if it had come encrypted."""
    with bare(tls) as wire:
        try:
            wire.send(request_ + STUFFING[stuffing](tls.dbname))
            messages = wire.read_to_end() if request_ == p.SSL_REQUEST else (wire.read_byte(), wire.read_to_end())[1]
        except ConnectionError:  # what was not read makes the kernel reset the connection
            messages = []
        assert b"S" not in bytes(wire.received[:1])
        for message in messages:
            assert message.kind == "E" and message.fields["C"] == "08P01", message
            assert message.fields["M"].startswith("received unencrypted data after ")
    said(tls, "refused: received unencrypted data after (SSL|GSSAPI encryption) request")
    usable(tls, certificates)


def test_plaintext_after_the_answer(tls, certificates):
    """Sent when TLS was granted: it is no handshake, and no start-up packet either."""
    with bare(tls) as wire:
        wire.send(p.SSL_REQUEST)
        assert wire.read_byte() == b"S"
        wire.send(p.startup({"user": "postgres", "database": tls.dbname}))
        while data := wire.socket.recv(65536):
            wire.received += data
        assert wire.received[1:2] in (b"", b"\x15"), "an alert, or nothing"
    said(tls, "refused: TLS handshake failed: ")
    usable(tls, certificates)


@pytest.mark.parametrize("request_, version", [(p.SSL_REQUEST, "1234.5679"), (p.GSSENC_REQUEST, "1234.5680")], ids=["SSL", "GSSENC"])
def test_requests_inside_tls(tls, certificates, request_, version):
    """What PostgreSQL says to a second one. After direct TLS the first is answered, by no."""
    with bare(tls).secure(context(certificates)) as wire:
        wire.send(request_)
        (error,) = ending(wire)
        assert error.fields["C"] == "0A000"
        assert error.fields["M"] == f"unsupported frontend protocol {version}: server supports 3.0 to 3.0"
    with bare(tls).secure(context(certificates, ALPN), direct=True) as wire:
        wire.send(request_)
        assert wire.read_byte() == b"N"
        login(tls, wire)
        assert wire.value("SELECT 1") == "1"


class Hello:
    """The first bytes of a real handshake."""

    def __init__(self, alpn=True):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = ssl.create_default_context()
        made.set_alpn_protocols(ALPN if alpn else [])
        try:
            made.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
        except ssl.SSLWantReadError:
            self.bytes = outgoing.read()


def test_garbage_in_the_handshake(tls, certificates):
    """A real client hello with bytes changed, cut and doubled: a closed connection, a reason in the log, nobody harmed."""
    rng = random.Random(1)
    hello = Hello().bytes
    for n in range(150):
        data = bytearray(hello)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(1, len(data))] = rng.randrange(256)
        data = data[:rng.randrange(1, len(data))] + rng.randbytes(rng.choice((0, 10, 70000))) if n % 3 == 0 else data
        with bare(tls) as wire:
            try:
                wire.send(bytes(data))
                wire.socket.shutdown(socket.SHUT_WR)
                while wire.socket.recv(65536):
                    pass
            except ConnectionError:
                pass
    said(tls, "refused: TLS handshake failed: ")
    usable(tls, certificates)


def test_records_of_every_kind_in_the_clear(tls, certificates):
    """Alerts, application data and key updates before there are keys; lengths that lie."""
    for kind in (20, 21, 22, 23, 24, 255):
        for length in (0, 1, 16384, 16385, 65535):
            with bare(tls) as wire:
                try:
                    wire.send(p.SSL_REQUEST)
                    assert wire.read_byte() == b"S"
                    wire.send(struct.pack("!BHH", kind, 0x0303, length) + b"\1" * min(length, 20000))
                    wire.socket.shutdown(socket.SHUT_WR)
                    while wire.socket.recv(65536):
                        pass
                except ConnectionError:
                    pass
    usable(tls, certificates)


def cpu(busbar):
    with open(f"/proc/{busbar.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_handshakes_that_do_not_go_on(make_tls, certificates):
    """The login's time limit counts from the connection and holds for the handshake too; waiting costs no CPU."""
    busbar = make_tls(BUSBAR_LOGIN_TIMEOUT="2s")
    hello = Hello().bytes
    before = cpu(busbar)
    wires = [bare(busbar).send(begin) for begin in (p.SSL_REQUEST, hello[:1], hello[:100], hello)]
    for wire in wires:
        with wire:
            while wire.socket.recv(65536):
                pass
    assert cpu(busbar) - before < 1, "it turned in circles"
    wait_until(lambda: busbar.log().count("the login took too long") == len(wires), "each of them to be closed")
    usable(busbar, certificates)


def test_the_service_ends_while_clients_shake_hands(make_tls, certificates):
    busbar = make_tls()
    hello = Hello().bytes
    with bare(busbar).send(hello[:100]), bare(busbar).send(hello) as wire:
        assert wire.socket.recv(100, socket.MSG_PEEK)  # ours went out: it is in the middle of it
        busbar.process.terminate()
        assert busbar.wait_exit() == 0


def test_a_handshake_byte_by_byte(make_tls, certificates):
    """Slow-loris: each byte in time, the whole too late."""
    busbar = make_tls(BUSBAR_LOGIN_TIMEOUT="1s")
    hello = Hello().bytes
    with bare(busbar) as wire:
        for at in range(len(hello) - 1):
            wire.send(hello[at:at + 1])
            if select.select([wire.socket], [], [], 0.01)[0]:
                break
        else:
            pytest.fail(f"{len(hello) - 1} bytes were waited for")
        with contextlib.suppress(ConnectionResetError):  # a byte may have come after the last look
            assert wire.socket.recv(1) == b""
    said(busbar, "the login took too long")


def test_clients_that_vanish_in_the_handshake(tls, certificates):
    """By an end and by a reset, after each part of the way."""
    hello = Hello().bytes
    for request in (b"", p.SSL_REQUEST):
        for size in (0, 1, 5, 50, len(hello) - 1, len(hello)):
            for reset in (False, True):
                with bare(tls) as wire:
                    if request:
                        wire.send(request)
                        assert wire.read_byte() == b"S"
                    wire.send(hello[:size])
                    if reset:
                        wire.abort()
    usable(tls, certificates)
    wait_until(lambda: descriptors(tls) == 0, "the connections to be closed")


def descriptors(busbar):
    """Connections that clients have to the proxy."""
    found = 0
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{busbar.process.pid}/net/{table}", encoding="ascii") as lines:
            for line in lines:
                word = line.split()
                found += word[1].endswith(f":{busbar.port:04X}") and word[3] in ("01", "08")
    return found


def test_a_session_that_ends_says_goodbye(tls, certificates):
    """close_notify: the client knows that nothing was cut off."""
    strict = context(certificates)
    with bare(tls) as wire:
        wire.send(p.SSL_REQUEST)
        assert wire.read_byte() == b"S"
        wire.socket = strict.wrap_socket(wire.socket, server_hostname="localhost", suppress_ragged_eofs=False)
        login(tls, wire)
        wire.send(p.terminate())
        assert wire.read_to_end() == []  # a ragged end would be an SSLEOFError
    with bare(tls) as wire:
        wire.send(p.SSL_REQUEST)
        assert wire.read_byte() == b"S"
        wire.socket = strict.wrap_socket(wire.socket, server_hostname="localhost", suppress_ragged_eofs=False)
        with pytest.raises(LoginRefused):
            wire.start({"user": "postgres", "database": tls.dbname}, "wrong")
        assert wire.read_to_end() == []


# --- traffic ---

def test_large_results_and_statements(tls, certificates):
    with secured(tls, certificates) as wire:
        rows = wire.query("SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n").ok().rows
        assert len(rows) == 30000 and rows[-1][0] == "30000" and all(len(row[1]) == 1000 for row in rows)
        assert len(wire.value("SELECT repeat('y', 30000000)")) == 30000000
        assert wire.value(f"SELECT length('{'z' * 10_000_000}')") == "10000000"
        for _ in range(200):
            wire.send(p.query("SELECT 1"))
        for _ in range(200):
            assert wire.result().ok().rows == [["1"]]


def test_copy_both_ways(tls, certificates):
    params = {"sslmode": "verify-full", "sslrootcert": certificates.ca_crt}
    with tls.psycopg(**params) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int, value text)")
        with cursor.copy("COPY t FROM STDIN") as copy:
            for n in range(50000):
                copy.write_row((n, "v" * 100))
        with cursor.copy("COPY t TO STDOUT") as copy:
            lines = b"".join(bytes(part) for part in copy).splitlines()
        assert len(lines) == 50000 and lines[7] == b"7\t" + b"v" * 100


def test_a_client_that_does_not_read(tls, certificates):
    """The answer waits in PostgreSQL, not in Busbar; nothing is lost when the client goes on."""
    with secured(tls, certificates) as wire:
        wire.value("SELECT 1")
        with open(f"/proc/{tls.process.pid}/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")
        before = memory(tls)
        wire.send(p.query("SELECT repeat('x', 1000) FROM generate_series(1, 60000)"))
        with tls_ledger(tls) as other:
            wait_until(lambda: other.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = %s", [tls.dbname]).fetchone()[0],
                       "PostgreSQL to wait for its client")
        assert len(wire.result().ok().rows) == 60000
        assert memory(tls, "VmHWM") - before < 16 << 20


def memory(busbar, field="VmRSS"):
    with open(f"/proc/{busbar.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def tls_ledger(busbar):
    url = busbar.environment["DATABASE_URL"]
    return psycopg.connect(url, autocommit=True)


def test_cancel(tls, certificates):
    """libpq 15 sends the request in the clear, whatever the session; one inside TLS counts too."""
    with secured(tls, certificates) as wire, tls_ledger(tls) as other:
        def running():
            return other.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'").fetchone()[0]

        for encrypted, direct in ((False, False), (True, False), (True, True)):
            wire.send(p.query("SELECT pg_sleep(60)"))
            wait_until(running, "the statement to run")
            with bare(tls) as asker:
                if encrypted:
                    asker.secure(context(certificates, ALPN), direct=direct)
                asker.send(p.cancel_request(*wire.key))
                assert ending(asker) == []
            assert wire.result().error["C"] == "57014"


def test_cancel_where_tls_is_required(make_tls, certificates):
    """psycopg 3's cancel() is libpq's PQcancel: in the clear."""
    busbar = make_tls(BUSBAR_TLS="verify-ca", BUSBAR_TLS_CLIENT_CA=certificates.ca_crt)
    with busbar.psycopg(autocommit=True, **with_certificate(certificates, "client")) as conn, tls_ledger(busbar) as other:
        def cancel():
            wait_until(lambda: other.execute("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'").fetchone()[0],
                       "the statement to run")
            conn.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(60)")
        thread.join(20)


def test_a_migration(make_tls, certificates, ledger):
    tls = make_tls()
    done = psql(tls, "CREATE TABLE items (id text PRIMARY KEY)", "ALTER TABLE items ENABLE ELECTRIC", "ALTER TABLE items ADD COLUMN value text",
                sslmode="verify-full", sslrootcert=certificates.ca_crt, channelbinding="require")
    assert done.returncode == 0, done.stderr
    assert len(migrations(tls.http_port)) == 2
    done = psql(tls, "ALTER TABLE items DROP COLUMN value", sslmode="require")
    assert done.returncode != 0 and "ERROR:" in done.stderr
    ledger.consistent()


def test_a_client_that_ends_its_half(tls, certificates):
    """Inside TLS, too, the end of what a client sends is not the end of what it reads."""
    wire = secured(tls, certificates, maximum=ssl.TLSVersion.TLSv1_3)
    wire.send(p.query("SELECT repeat('x', 5000000)"))
    raw = socket.socket(fileno=os.dup(wire.socket.fileno()))
    raw.shutdown(socket.SHUT_WR)
    with wire, raw:
        assert len(wire.result().ok().rows[0][0]) == 5000000


def test_idle_sessions_hold_little(tls, certificates):
    """OpenSSL's buffers are given back: 32 kB a session would show."""
    sessions = [secured(tls, certificates) for _ in range(5)]
    before = memory(tls)
    sessions += [secured(tls, certificates) for _ in range(40)]
    try:
        for wire in sessions:
            assert wire.value("SELECT 1") == "1"
        each = (memory(tls) - before) / 40
        print(f"{each / 1024:.1f} kB a session")
        assert each < 200 * 1024  # sanitizers blow up what is allocated
    finally:
        for wire in sessions:
            wire.close()


# --- TLS on both sides ---

@pytest.fixture(scope="module")
def tls_cluster(certificates):
    cluster = Postgres(hba="local all all trust\nhostssl all all 127.0.0.1/32 trust\n",
                       settings=["ssl = on", "ssl_cert_file = '../server.crt'", "ssl_key_file = '../server.key'"])
    try:
        for name in ("server.crt", "server.key"):
            subprocess.run(["install", "-m", "600", "-o", cluster.user or str(os.getuid()), f"{certificates.folder}/{name}", f"{cluster.folder}/{name}"], check=True)
        yield cluster.start()
    finally:
        cluster.destroy()


def test_tls_on_both_sides(tls_cluster, make_tls, certificates):
    database = tls_cluster.create_database()
    busbar = make_tls(tls_cluster.url(database, query="sslmode=require"), dbname=database)
    with secured(busbar, certificates) as wire:
        assert wire.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"
        assert len(wire.value("SELECT repeat('x', 10000000)")) == 10000000
        assert wire.value(f"SELECT length('{'z' * 5_000_000}')") == "5000000"
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        assert wire.query("ALTER TABLE t ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]
    said(busbar, r"session closed .* tls=TLSv1\.3 cipher=\w+ upstream_tls=yes")


# --- the files ---

def refused_start(**environment):
    done = subprocess.run([binary(), "serve"], capture_output=True, text=True, timeout=30, check=False,
                          env=clean_environment(ASAN_OPTIONS="detect_leaks=1:exitcode=99", DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x",
                                                AUTH_MODE="insecure", **environment))
    assert done.returncode == 1, done
    return " ".join((done.stdout + done.stderr).split())


def test_files_that_cannot_be_used(certificates, tmp_path):
    """Each with its name, before a port opens."""
    good = {"BUSBAR_TLS_CERT": certificates.server_crt, "BUSBAR_TLS_KEY": certificates.server_key}
    key = tmp_path / "open.key"
    key.write_bytes(open(certificates.server_key, "rb").read())
    key.chmod(0o644)
    assert f'BUSBAR_TLS_KEY cannot be used: private key file "{key}" has group or world access' in refused_start(**{**good, "BUSBAR_TLS_KEY": key})
    assert f'BUSBAR_TLS_KEY cannot be used: private key file "{certificates.client_key}" does not belong to the certificate in "{certificates.server_crt}"' in \
        refused_start(**{**good, "BUSBAR_TLS_KEY": certificates.client_key})
    assert 'BUSBAR_TLS_CERT cannot be used: cannot read certificate file "/none": No such file or directory' in refused_start(**{**good, "BUSBAR_TLS_CERT": "/none"})
    assert f'BUSBAR_TLS_CLIENT_CA cannot be used: client CA file "{key}" holds no usable certificate: no such PEM block in it' in \
        refused_start(**good, BUSBAR_TLS_CLIENT_CA=key)
    assert "BUSBAR_TLS_CLIENT_CA not set, although BUSBAR_TLS=verify-ca needs it" in refused_start(**good, BUSBAR_TLS="verify-ca")
    assert "BUSBAR_TLS_CERT not set, although BUSBAR_TLS is" in refused_start(BUSBAR_TLS="require")


def fingerprint(endpoint, certificates):
    """Of the certificate that a new client is shown."""
    with bare(endpoint).secure(context(certificates)) as wire:
        return hashlib.sha256(wire.socket.getpeercert(binary_form=True)).digest()


def reload(busbar, outcome):
    busbar.seen = len(busbar.log())
    busbar.process.send_signal(signal.SIGHUP)
    said(busbar, outcome)


def test_certificates_are_rotated(make_tls, certificates, tmp_path):
    """SIGHUP: new clients get the new certificate, all of it or nothing. Who is in, or on the way, keeps the one it began with."""
    cert, key = tmp_path / "current.crt", tmp_path / "current.key"

    def install(name, with_key=None):
        shutil.copy(f"{certificates.folder}/{name}.crt", cert)
        shutil.copy(f"{certificates.folder}/{with_key or name}.key", key)

    certificates.issue("next", "ca", "localhost", "DNS:localhost")
    install("server")
    busbar = make_tls(BUSBAR_TLS_CERT=cert, BUSBAR_TLS_KEY=key)
    with secured(busbar, certificates) as inside, bare(busbar) as halfway:
        halfway.send(p.SSL_REQUEST)
        assert halfway.read_byte() == b"S"
        assert fingerprint(busbar, certificates) == end_point(certificates)
        install("next")
        reload(busbar, "reloaded: no option changed")
        assert fingerprint(busbar, certificates) == end_point(certificates, "next")
        halfway.socket = context(certificates).wrap_socket(halfway.socket, server_hostname="localhost")
        assert hashlib.sha256(halfway.socket.getpeercert(binary_form=True)).digest() == end_point(certificates)
        assert login(busbar, halfway).value("SELECT 1") == "1"
        assert psql(busbar, "SELECT 1", sslmode="verify-full", sslrootcert=certificates.ca_crt, channelbinding="require").returncode == 0
        install("server", with_key="next")
        reload(busbar, "reload refused: the configuration is faulty, nothing changed")
        said(busbar, 'reload: BUSBAR_TLS_KEY cannot be used: private key file ".*current.key" does not belong to the certificate')
        assert fingerprint(busbar, certificates) == end_point(certificates, "next")
        assert inside.value("SELECT 1") == "1"


def test_tls_is_required_from_now_on(make_tls, certificates, tmp_path):
    """A mode set in .env changes on SIGHUP; sessions in the clear that are open stay."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("BUSBAR_TLS=allow\n")
    busbar = make_tls(cwd=tmp_path)
    with login(busbar, bare(busbar)) as old:
        dotenv.write_text("BUSBAR_TLS=require\n")
        reload(busbar, "reloaded: BUSBAR_TLS changed")
        with pytest.raises(LoginRefused, match="no encryption"):
            login(busbar, bare(busbar))
        usable(busbar, certificates)
        assert old.value("SELECT 1") == "1"
        dotenv.write_text("BUSBAR_TLS=disable\n")
        reload(busbar, "reloaded: BUSBAR_TLS changed")
        with bare(busbar) as wire:
            wire.send(p.SSL_REQUEST)
            assert wire.read_byte() == b"N"


def test_who_comes_early_inside_tls_stays_inside(make_tls, certificates):
    """The policy changes while the client has said nothing but its handshake: what it settled there still counts."""
    busbar = make_tls(BUSBAR_TLS="verify-ca", BUSBAR_TLS_CLIENT_CA=certificates.ca_crt)
    for direct in (False, True):
        with bare(busbar).secure(context(certificates, ALPN, client="client"), direct=direct) as wire:
            reload(busbar, "reloaded: no option changed")
            assert login(busbar, wire).value("SELECT 1") == "1"


def test_an_expired_certificate_is_warned_of(make_tls, certificates):
    busbar = make_tls(BUSBAR_TLS_CERT=certificates.expired_crt, BUSBAR_TLS_KEY=certificates.expired_key)
    said(busbar, r'the TLS certificate in "\S+/expired\.crt" has expired: it was valid until \d{4}-')
    assert psql(busbar, "SELECT 1", sslmode="require").returncode == 0
    assert "certificate verify failed" in psql(busbar, "SELECT 1", sslmode="verify-ca", sslrootcert=certificates.ca_crt).stderr
