# SPDX-License-Identifier: Apache-2.0
"""Certificates by the openssl command."""

import os
import subprocess


EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


class Certificates:
    """A folder of certificates: ``ca`` signs ``server`` (for localhost) and ``client``; ``other`` is an authority nobody knows."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.authority("ca")
        self.authority("other")
        self.issue("server", "ca", "localhost", "DNS:localhost")
        self.issue("client", "ca", "client")
        self.issue("stranger", "other", "stranger")
        self.issue("expired", "ca", "localhost", "DNS:localhost", days=-1)

    def __getattr__(self, name):
        """``server_crt`` is the path of server.crt."""
        stem, _, suffix = name.rpartition("_")
        return os.path.join(self.folder, f"{stem}.{suffix}")

    def _openssl(self, *arguments, text=""):
        done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def authority(self, name, key=EC):
        self._openssl("req", "-x509", "-new", "-newkey", *key, "-nodes", "-days", "10", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.crt")
        os.chmod(os.path.join(self.folder, f"{name}.key"), 0o600)

    def issue(self, name, authority, subject, names="", days=10, key=EC):
        """NAME.crt and NAME.key; a negative number of days gives one that has expired."""
        self._openssl("req", "-new", "-newkey", *key, "-nodes", "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(self.folder, f"{name}.ext"), "w", encoding="ascii") as extensions:
            extensions.write(f"subjectAltName={names}\n" if names else "")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial",
                      "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.crt")
        os.chmod(os.path.join(self.folder, f"{name}.key"), 0o600)
