# SPDX-License-Identifier: Apache-2.0
"""Sync scenarios A, endpoint, framing, authentication: spec/scenarios-sync.md 1–18.

Where the original has a weakness the recommended answer is tested: a text frame is a protocol violation like others, the reason of a
refused token is told, the newest connection of a device displaces the one before, an expired token ends the connection.
"""

import time

import pytest

from harness.process import free_port
from harness.satellite import Closed, Refused, RpcError, message
from harness.token import ALGORITHMS, Signer, claims, unsigned
from harness.wait import wait_until
from harness.web import get, request

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
MALFORMED = 1007, "Message not formatted according to Electric protocol"


def upgrade(busbar, **headers):
    """What an upgrade with these headers is answered; None leaves one out."""
    given = {name: value for name, value in {**UPGRADE, **headers}.items() if value is not None}
    return request(busbar.http_port, "GET", "/ws", headers=given)


def refused(client, code, **authenticate):
    """The RPC fails with the code, and the server closes; the error's text."""
    with pytest.raises(RpcError) as error:
        client.authenticate(**authenticate)
    assert error.value.code == code
    assert client.wait_closed()[0] == 1007
    assert not client.faults
    return error.value.text


@pytest.mark.parametrize("headers", [{name: None} for name in UPGRADE] + [{name: None for name in UPGRADE}, {"Sec-WebSocket-Version": "8"}, {"Upgrade": "h2c"}])
def test_01_get_without_upgrade(busbar, headers):
    answer = upgrade(busbar, **{"Sec-WebSocket-Protocol": "electric.0.12", **headers})
    assert (answer.status, answer.text) == (400, "Bad request")


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "electric", "electric.", "electric.x.y", "electric.0", "electric.0.12.1", "electric.-1.2", "electric." + "1" * 30 + ".0"])
def test_02_upgrade_without_subprotocol(busbar, protocol):
    answer = upgrade(busbar, **{"Sec-WebSocket-Protocol": protocol})
    assert (answer.status, answer.text) == (400, "Missing satellite websocket subprotocol")


@pytest.mark.parametrize("version", ["0.9", "99.0"])
def test_03_version_out_of_range(busbar, version):
    answer = upgrade(busbar, **{"Sec-WebSocket-Protocol": f"electric.{version}"})
    assert answer.status == 400
    assert answer.text.startswith(f"Cannot connect satellite version {version}.0: this server requires >= 0.10.0 and <= ")


@pytest.mark.parametrize("version", ["0.10", "0.11", "0.12"])
def test_03_version_in_range(busbar, satellite, version):
    """The same subprotocol comes back: connect() asserts it, browsers insist on it."""
    client = satellite(busbar).connect(f"electric.{version}")
    assert client.authenticate().id


def test_03_subprotocol_in_a_list(busbar, satellite):
    """RFC 6455: several may be offered in one header."""
    client = satellite(busbar).connect("electric.0.12", offer=["other", "electric.0.12"])
    assert client.authenticate().id


def test_04_postgres_unreachable(make_busbar, satellite):
    busbar = make_busbar(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres?sslmode=disable", wait=False).spawn()
    wait_until(lambda: busbar.status()[0] == 503, "HTTP to answer")
    assert busbar.status()[1] in ("Initializing connection to Posgres...", "Database connection failure.")
    with pytest.raises(Refused) as error:
        satellite(busbar).connect()
    assert (error.value.status, error.value.text) == (503, "Postgres connection is not ready: initialization...")


@pytest.mark.parametrize("frame", [bytes([99]), b"", bytes([99]) + b"abc", bytes([21]) + b"\xff\xff\xff", bytes([21]) + b"\x0a\x7f", bytes([8]), bytes([255])])
@pytest.mark.parametrize("authenticated", [False, True])
def test_05_malformed_frames(busbar, satellite, frame, authenticated):
    client = satellite(busbar).connect()
    if authenticated:
        client.authenticate()
    client.send_raw(frame)
    fault, closed = client.wait_fault()
    assert fault.code == "INTERNAL" and closed == MALFORMED
    assert satellite(busbar).connect().authenticate().id, "the server goes on"


@pytest.mark.parametrize("text", ["", "hello", '{"method": "authenticate"}'])
def test_06_text_frame(busbar, satellite, text):
    client = satellite(busbar).connect()
    client.send_text(text)
    assert client.wait_closed()[0] in (1003, 1007)
    assert satellite(busbar).connect().authenticate().id, "the server goes on"


def test_07_authenticate(busbar, satellite):
    """The answer, and at once the server's own request: what it has of this client is nothing."""
    client = satellite(busbar).connect()
    assert client.authenticate().id
    client.collect(lambda: client.server_requests, "the server's startReplication")
    method, start = client.server_requests[0]
    assert method == "startReplication" and start.lsn == b"" and not start.subscription_ids


def test_07_the_id_is_the_instance(make_busbar, cluster, database, satellite):
    busbar = make_busbar(cluster.url(database), dbname=database, ELECTRIC_INSTANCE_ID="instance-of-the-test")
    assert satellite(busbar).connect().authenticate().id == "instance-of-the-test"


@pytest.mark.parametrize("method, body", [
    ("subscribe", lambda: message("SatSubsReq", subscription_id="00000000-0000-0000-0000-000000000001")), ("unsubscribe", lambda: message("SatUnsubsReq")),
    ("startReplication", lambda: message("SatInStartReplicationReq")), ("stopReplication", lambda: message("SatInStopReplicationReq"))])
def test_08_rpc_before_authentication(busbar, satellite, method, body):
    client = satellite(busbar).connect()
    with pytest.raises(RpcError) as error:
        client.rpc(method, body())
    assert error.value.code == "AUTH_REQUIRED"
    assert client.wait_closed()[0] == 1007


@pytest.mark.parametrize("what", [lambda: message("SatOpLogAck", transaction_id=1, lsn=b"1"), lambda: message("SatOpLog"),
                                  lambda: message("SatRelation", schema_name="public", table_name="t", relation_id=1)])
def test_08_other_messages_before_authentication(busbar, satellite, what):
    client = satellite(busbar).connect()
    client.send(what())
    fault, closed = client.wait_fault()
    assert fault.code == "AUTH_REQUIRED" and closed[0] == 1007


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer("HS256", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def secure(make_busbar, cluster, database, signer):
    """A ready Busbar in secure mode, by HS256."""
    return make_busbar(cluster.url(database), dbname=database, AUTH_MODE="secure", AUTH_JWT_ALG="HS256", AUTH_JWT_KEY=signer.key)


def test_09_bad_tokens(secure, satellite, signer, tmp_path):
    cases = [
        (signer.sign(claims("u", life=-60)), "Expired token"),
        (Signer("HS256", tmp_path, secret="another" * 9).sign(claims("u")), "Invalid token signature"),
        (signer.sign(claims("u"))[:-4], "Invalid token signature"),
        (signer.sign(claims()), "Missing or invalid 'user_id'"),
        (signer.sign(claims(" ")), "Missing or invalid 'user_id'"),
        (signer.sign(claims("u", exp=None)), 'Missing required "exp" claim'),
        (signer.sign(claims("u", iat=None)), 'Missing required "iat" claim'),
        (signer.sign(claims("u", iat="now")), 'Invalid "iat" claim value: "now"'),
        (signer.sign(claims("u", nbf=time.time() + 60)), "Token is not yet valid"),
        (unsigned(**claims("u")), "Signing algorithm mismatch"),
        ("a.b.c", "Invalid token"), ("x", "Invalid token"),
        ("x" * 100_000, "Invalid token")]
    for token, text in cases:
        assert refused(satellite(secure).connect(), "AUTH_REQUIRED", token=token) == text
    assert satellite(secure).connect().authenticate(signer.sign(claims("u"))).id
    assert not any(token[:60] in secure.log() for token, _ in cases if len(token) > 60), "no token in the log"


@pytest.mark.parametrize("given", [{"token": ""}, {"client_id": ""}, {"token": "", "client_id": ""}])
def test_09_empty_token_or_id(busbar, satellite, given):
    refused(satellite(busbar).connect(), "INVALID_REQUEST", **given)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_10_algorithms(make_busbar, cluster, database, satellite, tmp_path, algorithm):
    """The right one is accepted, every other refused, also when the header lies."""
    signer = Signer(algorithm, tmp_path)
    busbar = make_busbar(cluster.url(database), dbname=database, AUTH_MODE="secure", AUTH_JWT_ALG=algorithm, AUTH_JWT_KEY=signer.key)
    assert satellite(busbar).connect().authenticate(signer.sign(claims("u"))).id
    for other in ALGORITHMS:
        if other[:2] == algorithm[:2] or other.startswith("HS"):
            stranger = signer if other == algorithm else Signer(other, tmp_path, secret=signer.key)
            if other != algorithm:
                assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=stranger.sign(claims("u"))) == "Signing algorithm mismatch"
                lie = stranger.sign(claims("u"), header={"alg": algorithm})
                assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=lie) == "Invalid token signature"
    assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=unsigned(**claims("u"))) == "Signing algorithm mismatch"


@pytest.mark.parametrize("mode", ["secure", "insecure"])
def test_11_namespace(make_busbar, cluster, database, satellite, signer, mode):
    options = {"AUTH_JWT_ALG": "HS256", "AUTH_JWT_KEY": signer.key} if mode == "secure" else {}
    busbar = make_busbar(cluster.url(database), dbname=database, AUTH_MODE=mode, AUTH_JWT_NAMESPACE="x", **options)
    make = signer.sign if mode == "secure" else lambda given: unsigned(**given)
    for inside in ({"sub": "u"}, {"user_id": "u"}):
        assert satellite(busbar).connect().authenticate(make(claims(x=inside))).id
    assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=make(claims("u"))) == "Missing or invalid 'user_id'"


def test_11_user_id_instead_of_sub(busbar, satellite):
    assert satellite(busbar).connect().authenticate(unsigned(user_id="u")).id
    assert satellite(busbar).connect().authenticate(unsigned("u").rstrip(".")).id


def test_11_issuer_and_audience(make_busbar, cluster, database, satellite, signer):
    busbar = make_busbar(cluster.url(database), dbname=database, AUTH_MODE="secure", AUTH_JWT_ALG="HS256", AUTH_JWT_KEY=signer.key,
                         AUTH_JWT_ISS="me", AUTH_JWT_AUD="you")
    for aud in ("you", ["they", "you"]):
        assert satellite(busbar).connect().authenticate(signer.sign(claims("u", iss="me", aud=aud))).id
    assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=signer.sign(claims("u", iss="me", aud="us"))) == 'Invalid "aud" claim value: "us"'
    assert refused(satellite(busbar).connect(), "AUTH_REQUIRED", token=signer.sign(claims("u", aud="you"))) == 'Missing required "iss" claim'


@pytest.mark.parametrize("fractions", [False, True])
def test_12_clocks_may_differ(secure, satellite, signer, fractions):
    now = time.time() if fractions else int(time.time())
    assert satellite(secure).connect().authenticate(signer.sign(claims("u", iat=now + 1))).id
    assert refused(satellite(secure).connect(), "AUTH_REQUIRED", token=signer.sign(claims("u", iat=now + 5))) == "Token is not yet valid"
    assert refused(satellite(secure).connect(), "AUTH_REQUIRED", token=signer.sign(claims("u", exp=now - 5))) == "Expired token"
    assert satellite(secure).connect().authenticate(signer.sign(claims("u", exp=time.time() - 1))).id


def test_13_second_connection_displaces_the_first(busbar, satellite):
    """A half-open connection must not lock the device out; INVALID_REQUEST would stop the published client for good."""
    first = satellite(busbar).start()
    second = satellite(busbar, first.client_id).start()
    first.wait_closed()
    assert not first.faults
    second.ping()
    second.unsubscribe()


def test_13_another_user_displaces_nobody(busbar, satellite):
    first = satellite(busbar).start()
    refused(satellite(busbar, first.client_id).connect(), "INVALID_REQUEST", token=unsigned("v"))
    first.unsubscribe()


@pytest.mark.parametrize("leave", ["drop", "close"])
def test_14_reconnection_at_the_moment_of_the_close(busbar, satellite, leave):
    client = satellite(busbar).start()
    for _ in range(5):
        again = satellite(busbar, client.client_id).connect()
        getattr(client, leave)()
        assert again.authenticate().id
        again.start_replication()
        client = again


def test_15_new_token_on_the_same_connection(busbar, satellite):
    client = satellite(busbar).start()
    assert client.authenticate(unsigned("u", iat=int(time.time()))).id
    client.unsubscribe()


@pytest.mark.parametrize("given", [{"token": unsigned("v")}, {"client_id": "another"}, {"token": ""}, {"token": "nonsense"}])
def test_15_another_user_or_client(busbar, satellite, given):
    refused(satellite(busbar).start(), "INVALID_REQUEST", **given)


def test_16_token_expires(secure, satellite, signer):
    """2 s and the drift; another client, whose token goes on, stays."""
    other = satellite(secure).start(signer.sign(claims("u")))
    client = satellite(secure).start(signer.sign(claims("u", life=2)))
    began = time.monotonic()
    assert client.wait_closed() == (4000, "JWT-expired")
    assert not client.faults and time.monotonic() - began < 10
    other.unsubscribe()


def test_16_renewed_in_time(secure, satellite, signer):
    """The new token's end counts: still connected when the first one's has come."""
    control = satellite(secure).start(signer.sign(claims("u", life=3)))
    client = satellite(secure).start(signer.sign(claims("u", life=3)))
    client.authenticate(signer.sign(claims("u")))
    assert control.wait_closed() == (4000, "JWT-expired")
    client.unsubscribe()


def test_16_published_client_is_told(secure, electric_client, signer):
    """Code AUTH_EXPIRED, no reconnection by itself; a new token and connect() go on."""
    client = electric_client(secure, token=signer.sign(claims("u", life=4))).start()
    client.wait_status("disconnected")
    assert client.status["reason"]["code"] == "AUTH_EXPIRED"
    client.connect(signer.sign(claims("u")))
    assert client.status["connected"] and not client.thrown


def test_17_heartbeat(busbar, satellite):
    """Silence is asked about after at most 40 s and closed at the next tick; whoever answers stays."""
    silent = satellite(busbar, answer_pings=False).start()
    alive = satellite(busbar).start()
    began, asked = time.monotonic(), None
    while not silent.closed:
        assert time.monotonic() - began < 75, "not closed"
        for client in (silent, alive):
            client.pump(0.2)
        asked = asked or (time.monotonic() - began if silent.pings else None)
    assert asked and asked < 45
    assert not silent.faults and silent.closed[0] != 1000
    assert alive.pings and not alive.closed
    alive.unsubscribe()


def test_18_unknown_method(busbar, satellite):
    client = satellite(busbar).start()
    with pytest.raises(RpcError) as error:
        client.rpc("foo", message("SatUnsubsReq"))
    assert error.value.code == "INVALID_REQUEST"
    assert client.wait_closed()[0] == 1007


@pytest.mark.parametrize("method", ["authenticate", "startReplication", "subscribe", "unsubscribe"])
def test_18_malformed_request_body(busbar, satellite, method):
    client = satellite(busbar).start()
    client.send(message("SatRpcRequest", method=method, request_id=99, message=b"\xff\xff"))
    with pytest.raises(RpcError) as error:
        client.response(99)
    assert error.value.code == "INVALID_REQUEST"
    assert client.wait_closed()[0] == 1007


def test_18_client_says_error(busbar, satellite):
    """The client's own SatErrorResp ends the connection in order."""
    client = satellite(busbar).start()
    client.send(message("SatErrorResp", error_type=0))
    assert client.wait_closed()[0] == 1000


def test_ws_beside_the_rest(busbar, satellite):
    """HTTP on the same port is served while clients are connected."""
    client = satellite(busbar).start()
    assert get(busbar.http_port, "/api/status").status == 200
    with pytest.raises((Refused, Closed)):
        satellite(busbar).connect(path="/elsewhere")
    client.unsubscribe()
