-- SPDX-License-Identifier: Apache-2.0
-- Between sessions and beyond transactions: notifications, two-phase commit, reconnecting, advisory locks.
LISTEN here;
NOTIFY here;
NOTIFY here, 'payload';
NOTIFY elsewhere, 'unheard';
SELECT pg_notify('here', 'by function');
SELECT pg_listening_channels();
BEGIN;
NOTIFY here, 'in a block';
NOTIFY here, 'in a block';
CREATE TABLE while_notifying (id int);
SELECT 'not yet';
COMMIT;
BEGIN;
NOTIFY here, 'never';
ROLLBACK;
NOTIFY here, 'implicit' \; CREATE TABLE implicit_notify (id int) \; SELECT 'last';
UNLISTEN here;
NOTIFY here, 'not any more';
LISTEN "Quoted Channel" \; NOTIFY "Quoted Channel", 'it''s';
UNLISTEN *;
SELECT pg_notify('', 'x');
-- Two-phase commit.
CREATE TABLE two_phase (id int);
BEGIN;
INSERT INTO two_phase VALUES (1);
PREPARE TRANSACTION 'regress_one';
TABLE two_phase;
SELECT gid FROM pg_prepared_xacts WHERE gid ~ 'regress';
BEGIN;
PREPARE TRANSACTION 'regress_one';
COMMIT PREPARED 'regress_one';
TABLE two_phase;
BEGIN;
CREATE TABLE prepared_table (id int);
PREPARE TRANSACTION 'regress_two';
SELECT to_regclass('prepared_table');
BEGIN;
ROLLBACK PREPARED 'regress_two';
ROLLBACK;
ROLLBACK PREPARED 'regress_two';
ROLLBACK PREPARED 'regress_two';
PREPARE TRANSACTION 'regress_three';
BEGIN;
SELECT 1/0;
PREPARE TRANSACTION 'regress_four';
BEGIN;
CREATE TEMP TABLE cannot_be_prepared (id int);
PREPARE TRANSACTION 'regress_five';
BEGIN \; INSERT INTO two_phase VALUES (2) \; PREPARE TRANSACTION 'regress_six' \; SELECT 'behind';
COMMIT PREPARED 'regress_six';
BEGIN \; CREATE TABLE prepared_in_one (id int) \; PREPARE TRANSACTION 'regress_seven';
COMMIT PREPARED 'regress_seven';
SELECT to_regclass('prepared_in_one');
COMMIT PREPARED 'missing';
TABLE two_phase;
-- Another session of the same client.
SET my.own = 'before';
CREATE TEMP TABLE mine (id int);
\c
SELECT current_setting('my.own', true), to_regclass('mine');
\c - postgres
SELECT pg_advisory_lock(5), pg_try_advisory_lock(5), pg_advisory_unlock(5), pg_advisory_unlock_all();
SELECT pg_advisory_lock_shared(6), pg_advisory_unlock_shared(6), pg_advisory_unlock_shared(6);
