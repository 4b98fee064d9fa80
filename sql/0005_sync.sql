-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 5: the history of migrations goes to the sync service in the order of the transactions, through the
-- publication, like the rows of the electrified tables. Rows of it are streamed whole, whatever is changed in them: values
-- that TOAST holds are in the old row alone. routines/86_publication.sql puts the tables into the publication.
ALTER TABLE busbar.migration REPLICA IDENTITY FULL;
ALTER TABLE busbar.command REPLICA IDENTITY FULL;
