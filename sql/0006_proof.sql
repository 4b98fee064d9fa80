-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 6: what lets the proof of a migration do without the whole history (ADR 16).

-- The table's definition before the change; NULL when clients did not have the table.
ALTER TABLE busbar.pending ADD COLUMN was jsonb;

-- True when the history that clients get comes to busbar.electrified. A hand in busbar.command ends it; the service finds out,
-- whenever it has tried the history out, whether it holds again.
ALTER TABLE busbar.recorder ADD COLUMN in_step boolean NOT NULL DEFAULT false;
UPDATE busbar.recorder SET in_step = NOT EXISTS (SELECT FROM busbar.command);

CREATE INDEX migration_unusable_idx ON busbar.migration (seq) WHERE unusable IS NOT NULL;
