# SPDX-License-Identifier: Apache-2.0
"""HTTP and the formats that come over it."""

import base64
import http.client
import io
import json
import re
import zipfile
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def content_type(self):
        return self.headers.get("content-type", "")


def request(port, method, path, timeout=20.0, host="127.0.0.1", body=None, headers=None):
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def get(port, path, **options):
    return request(port, "GET", path, **options)


@dataclass
class Migration:
    version: str
    sql: str
    metadata: dict
    metadata_text: str

    @property
    def ops(self):
        """Decoded SatOpMigrate messages."""
        return [decode_migrate(base64.b64decode(op, validate=True)) for op in self.metadata["ops"]]


def read_zip(data):
    """Migrations of an /api/migrations answer in their order; asserts the layout."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) % 2 == 0, names
        found = []
        for sql_name, meta_name in zip(names[0::2], names[1::2]):
            version = sql_name.rsplit("/", 1)[0]
            assert sql_name == f"{version}/migration.sql" and meta_name == f"{version}/metadata.json", names
            text = archive.read(meta_name).decode()
            metadata = json.loads(text)
            assert list(metadata) == ["format", "ops", "protocol_version", "version"], "keys in this order"
            assert metadata["format"] == "SatOpMigrate" and metadata["protocol_version"] == "Electric.Satellite"
            assert metadata["version"] == version
            found.append(Migration(version, archive.read(sql_name).decode(), metadata, text))
        return found


def migrations(port, dialect="sqlite", version=None):
    """The migrations of one dialect; [] for 204."""
    path = f"/api/migrations?dialect={dialect}" + (f"&version={version}" if version is not None else "")
    answer = get(port, path)
    if answer.status == 204:
        assert answer.body == b""
        return []
    assert answer.status == 200, (answer.status, answer.text)
    assert answer.content_type == "application/zip"
    return read_zip(answer.body)


# Protobuf, as much as SatOpMigrate needs (spec satellite.md 3.7); no generated code in the tests.

def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def decode_fields(data):
    """{number: [values]}: varints as int, length-delimited as bytes."""
    fields, at = {}, 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            assert kind == 2, f"wire type {kind}"
            size, at = _varint(data, at)
            assert at + size <= len(data)
            value, at = data[at:at + size], at + size
        fields.setdefault(number, []).append(value)
    return fields


def _text(fields, number):
    return fields.get(number, [b""])[-1].decode()


def _texts(fields, number):
    return [v.decode() for v in fields.get(number, [])]


def decode_migrate(data):
    fields = decode_fields(data)
    out = {"version": _text(fields, 1), "stmts": [], "table": None, "enum": None}
    for raw in fields.get(2, []):
        stmt = decode_fields(raw)
        out["stmts"].append((stmt.get(1, [0])[-1], _text(stmt, 2)))
    if 3 in fields:
        table = decode_fields(fields[3][-1])
        out["table"] = {
            "name": _text(table, 1),
            "columns": [_column(decode_fields(c)) for c in table.get(2, [])],
            "fks": [(_texts(f, 1), _text(f, 2), _texts(f, 3)) for f in map(decode_fields, table.get(3, []))],
            "pks": _texts(table, 4),
        }
    if 4 in fields:
        enum = decode_fields(fields[4][-1])
        out["enum"] = (_text(enum, 1), _texts(enum, 2))
    return out


def _column(fields):
    assert 3 in fields, "pg_type is required by the client"
    return _text(fields, 1), _text(fields, 2), _text(decode_fields(fields[3][-1]), 1)


# Prometheus text format 0.0.4.

_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="(\\.|[^"\\])*",?)*\})? (-?[0-9.eE+-]+|NaN|[+-]Inf)( \d+)?$')


def parse_prometheus(text):
    """{name with labels: value}; asserts that each line is well formed and each metric has a TYPE line before it."""
    assert text.endswith("\n")
    samples, types = {}, {}
    for line in text.splitlines():
        if not line:
            continue
        if line.startswith("#"):
            words = line.split(" ", 3)
            assert words[1] in ("HELP", "TYPE"), line
            if words[1] == "TYPE":
                assert words[3] in ("counter", "gauge", "histogram", "summary", "untyped"), line
                types[words[2]] = words[3]
            continue
        match = _SAMPLE.match(line)
        assert match, f"not a sample: {line!r}"
        base = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
        assert match.group(1) in types or base in types, f"no TYPE for {line!r}"
        key = match.group(1) + (match.group(2) or "")
        assert key not in samples, f"twice: {key}"
        samples[key] = float(match.group(5))
    return samples
