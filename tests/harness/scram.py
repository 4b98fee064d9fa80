# SPDX-License-Identifier: Apache-2.0
"""Client side of SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL uses it, with and without channel binding."""

import base64
import hashlib
import hmac
import os


def _hmac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


class ScramClient:
    """first() → final(server_first) → verify(server_final); a server that cannot prove the password is refused."""

    def __init__(self, password, header="n,,", binding=b""):
        self.header, self.binding = header, binding
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n=,r={self.nonce}"
        self.server_signature = None

    def first(self):
        return (self.header + self.bare).encode()

    def final(self, server_first):
        server_first = server_first.decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce), "the server's nonce must extend ours"
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c={base64.b64encode(self.header.encode() + self.binding).decode()},r={fields['r']}"
        auth = ",".join((self.bare, server_first, without_proof)).encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), auth)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = _hmac(_hmac(salted, b"Server Key"), auth)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final):
        assert server_final.startswith(b"v="), server_final
        assert base64.b64decode(server_final[2:]) == self.server_signature, "the server could not prove the password"
