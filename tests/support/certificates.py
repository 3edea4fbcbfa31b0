"""A throw-away certificate authority, made with the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

# What a strict verifier (Python >= 3.13) wants to see in each of the two.
_EXTENSIONS = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


class Certificates(NamedTuple):
    """Files of one authority and of one server that it vouches for."""

    ca: Path
    cert: Path
    key: Path


def make(directory: Path) -> Certificates:
    """Make a CA and a certificate for 127.0.0.1 and localhost, good for two days."""
    files = Certificates(*(directory / f"{n}.pem" for n in ("ca", "server", "key")))
    ca_key, request, extensions = (directory / n for n in ("ca-key", "csr", "ext"))
    extensions.write_text(_EXTENSIONS)
    curve = "ecparam -name prime256v1 -genkey -noout -out"
    sign = f"x509 -req -in {request.name} -days 2 -sha256 -extfile {extensions.name}"
    by_ca = f"-CA {files.ca.name} -CAkey {ca_key.name} -CAcreateserial"
    for line in (
        f"{curve} {ca_key.name}",
        f"{curve} {files.key.name}",
        f"req -new -key {ca_key.name} -subj /CN=coordkit-test-ca -out {request.name}",
        f"{sign} -extensions ca -signkey {ca_key.name} -out {files.ca.name}",
        f"req -new -key {files.key.name} -subj /CN=localhost -out {request.name}",
        f"{sign} -extensions server {by_ca} -out {files.cert.name}",
    ):
        command = ["openssl", *line.split()]
        done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
    return files
