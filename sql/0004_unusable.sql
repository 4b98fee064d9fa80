-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 4: a recorded migration that clients cannot apply is marked with the reason and left out from then on
-- (ADR 10). busbar.mark_unusable() writes it, whenever the history has been tried out.
ALTER TABLE busbar.migration ADD COLUMN unusable text;
