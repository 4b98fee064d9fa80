-- SPDX-License-Identifier: Apache-2.0
-- What psql tells of the scripts' objects: its own queries of the catalog.
CREATE TABLE described (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x' CHECK (name <> ''), other int REFERENCES described);
CREATE INDEX by_name ON described (lower(name)) WHERE id > 0;
CREATE VIEW description AS SELECT id, name FROM described;
CREATE SEQUENCE counts;
CREATE FUNCTION describes(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
COMMENT ON TABLE described IS 'a comment';
\d described
\d+ description
\d counts
\d missing
\dt describe.*
\di describe.*
\dv describe.*
\ds describe.*
\df describe.*
\dd describes
\sf describes
\sv description
\dp described
\du regress_nobody
\dn describe
\l nothing
\dT+ int4
\ddp
\dO
\z described
\sf missing
DROP TABLE described CASCADE;
