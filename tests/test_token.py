# SPDX-License-Identifier: Apache-2.0
"""`busbar token`: tokens for development, checked by somebody else's cryptography (docs/tokens.md)."""

import json
import subprocess
import time

import pytest

from harness.busbar import binary
from harness.process import clean_environment
from harness.token import ALGORITHMS, SECRET, Signer, decode


def run(*arguments, **environment):
    done = subprocess.run([binary(), "token", *arguments], capture_output=True, text=True, timeout=30, check=False, cwd="/",
                          env=clean_environment(ASAN_OPTIONS="detect_leaks=1:exitcode=99", **environment))
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


def token(*arguments, **environment):
    """The token alone stands on standard output, in one line."""
    done = run(*arguments, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.count("\n") == 1
    return done.stdout.rstrip("\n")


def refused(*arguments, **environment):
    """What it said instead."""
    done = run(*arguments, **environment)
    assert done.returncode == 1 and done.stdout == "", done
    return " ".join(done.stderr.split())


def secure(signer):
    """Environment and arguments for an algorithm."""
    environment = {"AUTH_JWT_ALG": signer.algorithm, "AUTH_JWT_KEY": signer.key}
    return environment, [] if signer.algorithm.startswith("HS") else ["--key", signer.file]


def test_unsigned():
    text = token("--user", "alice", AUTH_MODE="insecure")
    assert text.endswith(".") and text.count(".") == 2
    header, claims = decode(text)
    assert header["alg"] == "none"
    assert claims["sub"] == "alice" and abs(claims["iat"] - time.time()) < 10 and 86400 <= claims["exp"] - claims["iat"] <= 86401


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signed(algorithm, tmp_path):
    signer = Signer(algorithm, tmp_path)
    environment, arguments = secure(signer)
    text = token("--user", "alice", *arguments, **environment)
    assert decode(text)[0]["alg"] == algorithm and decode(text)[1]["sub"] == "alice"
    signer.verify(text)
    with pytest.raises(AssertionError):
        Signer(algorithm, tmp_path, secret=SECRET + "!").verify(text)


def test_secret_in_base64():
    """The bytes sign, not their text."""
    key = "YS1zZWNyZXQtb2YtdGhlLXRlc3RzLXRoYXQtaXMtYXMtbG9uZy1hcy1IUzUxMi13YW50cy1pdC0wMTIzNDU2Nzg5"
    Signer("HS512", "/").verify(token("--user", "u", AUTH_JWT_ALG="HS512", AUTH_JWT_KEY=key, AUTH_JWT_KEY_IS_BASE64_ENCODED="true"))


def test_what_the_configuration_wants_is_filled_in():
    """Issuer, audience; the user in the namespace, and at the top, where the published client looks."""
    _, claims = decode(token("--user", "alice", "--claim", "role=editor", AUTH_JWT_ALG="HS256", AUTH_JWT_KEY=SECRET, AUTH_JWT_ISS="me",
                             AUTH_JWT_AUD="you", AUTH_JWT_NAMESPACE="https://example.com/claims"))
    assert claims["https://example.com/claims"] == {"sub": "alice", "role": "editor"}
    assert (claims["sub"], claims["iss"], claims["aud"]) == ("alice", "me", "you") and "role" not in claims


def test_claims():
    """Several; JSON where it reads as JSON, text else; times of one's own."""
    _, claims = decode(token("--user", "u", "--claim", "level=3", "--claim", "name=a=b", "--claim", 'list=[1, "x"]', "--claim=empty=", "--claim", "word=tr\u00fce",
                             "--claim", "nbf=1700000000", AUTH_MODE="insecure"))
    assert claims["level"] == 3 and claims["name"] == "a=b" and claims["list"] == [1, "x"] and claims["empty"] == "" and claims["word"] == "tr\u00fce"
    assert claims["nbf"] == 1700000000


def test_how_long():
    for text, seconds in ("90s", 90), ("2h", 7200), ("5", 5):
        _, claims = decode(token("--user", "u", "--exp", text, AUTH_MODE="insecure"))
        assert seconds <= claims["exp"] - claims["iat"] <= seconds + 1
    assert "exp" not in decode(token("--user", "u", "--exp", "0", AUTH_MODE="insecure"))[1]


def test_json():
    done = json.loads(run("--user", "u", "--json", AUTH_MODE="insecure").stdout)
    assert set(done) == {"token", "claims"} and decode(done["token"])[1] == done["claims"]


def test_nothing_is_printed_that_the_service_would_refuse(tmp_path):
    """A private key that is not the public one's, no end in secure mode, a time that is none."""
    signer, other = Signer("ES256", tmp_path), Signer("ES384", tmp_path)
    environment, arguments = secure(signer)
    (tmp_path / "again").mkdir()
    stranger = Signer("ES256", tmp_path / "again")
    assert "would refuse this token: Invalid token signature" in refused("--user", "u", "--key", stranger.file, **environment)
    assert "refuse" in refused("--user", "u", "--key", other.file, **environment)
    assert 'Missing required "exp" claim' in refused("--user", "u", "--exp", "0", *arguments, **environment)
    assert 'Invalid "exp" claim value: "never"' in refused("--user", "u", "--claim", "exp=never", AUTH_MODE="insecure")
    assert "Missing or invalid 'user_id'" in refused("--user", " ", AUTH_MODE="insecure")


def test_faults(tmp_path):
    signer = Signer("RS256", tmp_path)
    environment, _ = secure(signer)
    text = refused()
    for fault in "AUTH_JWT_ALG not set", "AUTH_JWT_KEY not set", "--user not set":
        assert fault in text
    assert "DATABASE_URL" not in text and "PG_PROXY_PASSWORD" not in text
    assert "--key not set" in refused("--user", "u", **environment)
    assert "no-such-file" in refused("--user", "u", "--key", "/no-such-file", **environment)
    (tmp_path / "junk").write_text("junk")
    assert "the key is not one for RS256" in refused("--user", "u", "--key", str(tmp_path / "junk"), **environment)
    for claim in "nameless", "=x":
        assert f"--claim takes NAME=VALUE: {claim}" in refused("--user", "u", "--claim", claim, AUTH_MODE="insecure")
    assert '--exp has invalid value: "soon"' in refused("--user", "u", "--exp", "soon", AUTH_MODE="insecure")


def test_help():
    text = run("--help").stdout
    for word in "--user", "--exp", "--claim", "--key", "--json", "AUTH_JWT_KEY", "AUTH_MODE":
        assert word in text
    assert "DATABASE_URL" not in text
