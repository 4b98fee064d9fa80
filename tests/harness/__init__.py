# SPDX-License-Identifier: Apache-2.0
"""What the integration tests stand on: a real PostgreSQL, the real binary, raw protocol, a relay.

One module a concern:

- ``wait``      conditions instead of sleeps
- ``process``   children that cannot outlive the test run, free ports
- ``postgres``  ``Postgres``: a cluster from initdb
- ``busbar``    ``Busbar``: the program under test
- ``protocol``  bytes of protocol v3: builders and decoders, no I/O
- ``scram``     client side of SCRAM-SHA-256 and -PLUS
- ``certificates``  authorities, servers and clients, made by openssl
- ``wire``      ``Wire``: a raw client, for what a driver will not send
- ``tunnel``    ``TunnelWire``: the same through a WebSocket; the published client's tunnel
- ``relay``     ``Relay``: stands in between, records, stalls and cuts at a chosen message
- ``electric``  what a migration left behind: commands, versions, electrified tables
- ``token``     tokens of sync clients, good and bad
- ``satellite``  ``Satellite``: a raw client of the sync protocol that checks what the protocol promises, with a model of its tables
- ``device``    ``Device``: one that loses its connection, comes back with its position and subscriptions, and asks again
- ``oracle``    what shapes describe, asked of PostgreSQL
- ``electric_client``  ``ElectricClient``: the published client in a process of its own
- ``release``   ``Project``: a folder with migrations, and the release tasks run in it
- ``pooler``    ``Pooler``: PgBouncer in transaction mode
- ``web``       HTTP, the zip of /api/migrations, protobuf and Prometheus text
"""
