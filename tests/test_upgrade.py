# SPDX-License-Identifier: Apache-2.0
"""A database that an earlier version of Busbar prepared: brought up to date at the next start, nothing lost."""

from harness.wait import wait_until

ITEMS = "CREATE TABLE items (id text PRIMARY KEY, value text)"


def leave_an_earlier_version(connection):
    """A routine with another result type, one that is not wanted any more, and a digest that is not this version's."""
    connection.execute("SET busbar.maintenance = 'on'")
    connection.execute("DROP FUNCTION busbar.history(text)")
    connection.execute("CREATE FUNCTION busbar.history(after text) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    connection.execute("CREATE FUNCTION busbar.of_old() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    connection.execute("CREATE VIEW public.mine AS SELECT * FROM electric.ddl_commands")
    connection.execute("UPDATE busbar.schema_version SET digest = 'earlier' WHERE version = 0")
    connection.execute("RESET busbar.maintenance")


def test_routines_of_an_earlier_version_give_way(make_busbar, cluster, database):
    """Result types may change, old routines go, what users built on the public views stays, and capture goes on."""
    url = cluster.url(database)
    first = make_busbar(url, dbname=database)
    with first.wire() as wire:
        wire.query(ITEMS).ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
    first.stop()
    with cluster.connect(database) as connection:
        leave_an_earlier_version(connection)

    second = make_busbar(url, dbname=database)
    with cluster.connect(database) as connection:
        assert connection.execute("SELECT to_regproc('busbar.of_old')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM busbar.history('')").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM public.mine").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'").fetchone()[0] >= 4
    with second.wire() as wire:
        wire.query("ALTER TABLE items ADD COLUMN amount integer").ok()
        assert wire.query("ALTER TABLE items DROP COLUMN value").error["C"] == "EX010"
    with cluster.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM electric.ddl_commands").fetchone() == (2,)


def test_an_installation_before_the_proof_of_the_tables_concerned(make_busbar, cluster, database):
    """Its history is compared with the electrified tables by the service."""
    url = cluster.url(database)
    first = make_busbar(url, dbname=database)
    with first.wire() as wire:
        wire.query(ITEMS).ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE items ADD COLUMN amount integer; CREATE INDEX items_amount ON items (amount)").ok()
    first.stop()
    with cluster.connect(database) as connection:
        leave_an_earlier_version(connection)
        connection.execute("SET busbar.maintenance = 'on'")
        connection.execute("ALTER TABLE busbar.pending DROP COLUMN was; ALTER TABLE busbar.recorder DROP COLUMN in_step;"
                           " DROP INDEX busbar.migration_unusable_idx; DROP TRIGGER command_written ON busbar.command;"
                           " DELETE FROM busbar.schema_version WHERE version = 6")
        second = make_busbar(url, dbname=database)
        wait_until(lambda: connection.execute("SELECT in_step FROM busbar.recorder").fetchone()[0], "the history to be found in step")
        with second.wire() as wire:
            wire.query("DROP INDEX items_amount").ok()
            assert wire.query('ALTER TABLE items ADD COLUMN "AMOUNT" integer').error["C"] == "UB004"
        assert connection.execute("SELECT in_step, busbar.history_agrees() FROM busbar.recorder").fetchone() == (True, True)


def test_tables_of_users_are_left_alone(make_busbar, cluster, database):
    """A table in use holds up no upgrade: the trigger on it stays, and has the new version's function."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    with busbar.wire() as wire:
        wire.query(ITEMS).ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
    busbar.stop()
    triggers = "SELECT t.oid, p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE tgrelid = 'items'::regclass"
    with cluster.connect(database) as connection, cluster.connect(database) as user:
        leave_an_earlier_version(connection)
        before = connection.execute(triggers).fetchall()
        with user.transaction():
            user.execute("INSERT INTO items VALUES ('1')")
            busbar.start()
        assert connection.execute(triggers).fetchall() == before
        connection.execute("TRUNCATE items")


def test_of_two_that_start_together_one_prepares_the_database(make_busbar, cluster, database):
    """The other finds the work done: making the routines anew would take them from under the first one's sessions."""
    waiting = ("SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND NOT granted"
               " AND d.datname = current_database()")
    with cluster.connect(database) as connection:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(108256586522994)")  # install_sql.h
            both = [make_busbar(cluster.url(database), wait=False, dbname=database).spawn() for _ in range(2)]
            wait_until(lambda: connection.execute(waiting).fetchone() == (2,), "both to wait for the lock")
        for busbar in both:
            busbar.wait_ready()
        transactions = connection.execute("SELECT count(DISTINCT installed_at) FROM busbar.schema_version").fetchone()
        assert transactions == (1,), "the database was prepared twice"


def test_a_start_on_a_prepared_database_changes_nothing(make_busbar, cluster, database):
    """Starting is not a migration: the same transaction counts, the same routines."""
    make_busbar(cluster.url(database), dbname=database).stop()
    marks = "SELECT max(xmin::text::bigint), count(*) FROM pg_proc WHERE pronamespace = 'busbar'::regnamespace"
    with cluster.connect(database) as connection:
        before = connection.execute(marks).fetchone()
        make_busbar(cluster.url(database), dbname=database).stop()
        assert connection.execute(marks).fetchone() == before
