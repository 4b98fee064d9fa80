-- SPDX-License-Identifier: Apache-2.0
-- Large objects: by SQL functions and by psql, which uses function calls of the protocol.
SELECT lo_create(470001);
SELECT lo_from_bytea(470002, '\x0123456789');
SELECT lo_get(470002), lo_get(470002, 1, 2);
SELECT lo_put(470002, 2, '\xffff');
SELECT lo_get(470002), lo_get(470003);
BEGIN;
SELECT lo_open(470002, x'60000'::int) AS fd;
SELECT lowrite(0, '\xaabbcc'), lo_tell(0), lo_lseek(0, 0, 0), loread(0, 3), lo_truncate(0, 2), lo_close(0);
SELECT lo_open(470009, x'40000'::int);
ROLLBACK;
COMMENT ON LARGE OBJECT 470001 IS 'empty';
CREATE ROLE regress_blob;
GRANT SELECT ON LARGE OBJECT 470002 TO regress_blob;
ALTER LARGE OBJECT 470001 OWNER TO regress_blob;
SET ROLE regress_blob;
SELECT lo_get(470002);
SELECT lo_unlink(470002);
RESET ROLE;
\lo_import large_objects.sql 'this file'
\lo_export :LASTOID /dev/null
SELECT length(lo_get(:LASTOID)) > 100 AS imported;
\lo_unlink :LASTOID
\lo_unlink 470001
\lo_unlink 470009
\lo_export 470009 /dev/null
\lo_import /nonexistent/file
BEGIN;
\lo_import large_objects.sql
CREATE TABLE beside (id oid);
ROLLBACK;
SELECT lo_unlink(470002);
DROP ROLE regress_blob;
