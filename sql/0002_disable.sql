-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 2: what DISABLE ELECTRIC gives back. replica_identity is the clause of ALTER TABLE that says what the
-- table had before ENABLE ELECTRIC made it FULL.
ALTER TABLE busbar.electrified ADD COLUMN replica_identity text NOT NULL DEFAULT 'DEFAULT';
