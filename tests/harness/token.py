# SPDX-License-Identifier: Apache-2.0
"""Tokens of sync clients (JWT), good and bad, made by nobody's library: HMAC of Python's, RSA and ECDSA of the openssl command."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import time

SECRET = "a-secret-of-the-tests-that-is-as-long-as-HS512-wants-it-0123456789"
CURVES = {"ES256": ("P-256", 32), "ES384": ("P-384", 48), "ES512": ("P-521", 66)}
ALGORITHMS = [kind + size for kind in ("HS", "RS", "ES") for size in ("256", "384", "512")]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(token):
    """Header and claims, whatever the signature."""
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]]


def _part(value):
    return encode(json.dumps(value, separators=(",", ":")).encode())


def claims(sub=None, life=3600, **more):
    """What secure mode requires, and more; None leaves a claim out."""
    now = time.time()
    found = {"sub": sub, "iat": int(now), "exp": int(now) + life, **more}
    return {name: value for name, value in found.items() if value is not None}


def unsigned(sub=None, header=None, **more):
    """For insecure mode."""
    given = {"sub": sub, **more}
    return f"{_part(header or {'alg': 'none'})}.{_part({k: v for k, v in given.items() if v is not None})}."


class Signer:
    """One algorithm with a key pair of its own; ``key`` is what AUTH_JWT_KEY has to be."""

    def __init__(self, algorithm, folder, secret=SECRET):
        self.algorithm = algorithm
        self.digest = f"sha{algorithm[2:]}"
        self.secret = secret
        self.file = os.path.join(str(folder), f"{algorithm}.pem")
        if algorithm.startswith("HS"):
            self.key = secret
            return
        kind = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm.startswith("RS") else \
            ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{CURVES[algorithm][0]}"]
        self._openssl("genpkey", *kind, "-out", self.file)
        self.key = self._openssl("pkey", "-in", self.file, "-pubout").decode()

    @staticmethod
    def _openssl(*arguments, data=b""):
        done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sign(self, payload, header=None):
        text = f"{_part(header or {'alg': self.algorithm, 'typ': 'JWT'})}.{_part(payload)}"
        return f"{text}.{encode(self._signature(text.encode()))}"

    def verify(self, token):
        """Asserts that the signature is right."""
        text, _, part = token.rpartition(".")
        signature = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if self.algorithm.startswith("HS"):
            assert hmac.compare_digest(signature, self._signature(text.encode()))
            return
        if self.algorithm.startswith("ES"):
            signature = _sequence(signature)
        with tempfile.NamedTemporaryFile() as file:
            file.write(signature)
            file.flush()
            self._openssl("dgst", f"-{self.digest}", "-prverify", self.file, "-signature", file.name, data=text.encode())

    def _signature(self, data):
        if self.algorithm.startswith("HS"):
            return hmac.new(self.secret.encode(), data, getattr(hashlib, self.digest)).digest()
        signature = self._openssl("dgst", f"-{self.digest}", "-sign", self.file, data=data)
        return _pair(signature, CURVES[self.algorithm][1]) if self.algorithm.startswith("ES") else signature


def _pair(der, size):
    """SEQUENCE { r INTEGER, s INTEGER } as r and s of a fixed size each."""
    at = 2 + (der[1] & 0x7f if der[1] & 0x80 else 0)
    out = b""
    for _ in range(2):
        assert der[at] == 2
        n = der[at + 1]
        out += int.from_bytes(der[at + 2:at + 2 + n], "big").to_bytes(size, "big")
        at += 2 + n
    return out


def _sequence(pair):
    """The way back."""
    half = len(pair) // 2
    body = b""
    for number in (pair[:half], pair[half:]):
        value = int.from_bytes(number, "big")
        data = value.to_bytes(value.bit_length() // 8 + 1, "big")
        body += bytes([2, len(data)]) + data
    return b"\x30" + (bytes([len(body)]) if len(body) < 128 else bytes([0x81, len(body)])) + body
