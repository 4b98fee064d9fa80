-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 2: what DISABLE ELECTRIC gives back, and what a hint repeats.

-- The clause of ALTER TABLE that says what replica identity the table had before ENABLE ELECTRIC made it FULL.
ALTER TABLE busbar.electrified ADD COLUMN replica_identity text NOT NULL DEFAULT 'DEFAULT';

-- The client's statement that brought the change; at COMMIT it is not known any more.
ALTER TABLE busbar.pending ADD COLUMN query text;
