// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's JDBC driver: java Jdbc SCENARIO

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static final String DROP = "ALTER TABLE truths DROP COLUMN value";

    interface Body { void run() throws Exception; }

    static Connection open(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE"), properties);
    }

    static void is(Object got, Object want) {
        if (!want.equals(got)) throw new AssertionError("got " + got + ", wanted " + want);
    }

    static void fails(String state, Body body) throws Exception {
        try {
            body.run();
        } catch (SQLException error) {
            SQLException last = error.getNextException() == null ? error : error.getNextException();
            if (!state.equals(last.getSQLState())) throw new AssertionError("wanted " + state, last);
            return;
        }
        throw new AssertionError("no error, wanted " + state);
    }

    static void run(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement()) { statement.execute(sql); }
    }

    static Object value(Connection db, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int i = 0; i < parameters.length; i++) statement.setObject(i + 1, parameters[i]);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static void queries(Connection db) throws Exception {
        is(value(db, "SELECT 40 + 2"), 42);
        is(value(db, "SELECT ?::int + ?", 40, 2), 42);
        try (PreparedStatement add = db.prepareStatement("SELECT ?::int + 1")) {
            for (int n = 0; n < 12; n++) { // prepared in the server after five
                add.setInt(1, n);
                try (ResultSet rows = add.executeQuery()) {
                    rows.next();
                    is(rows.getInt(1), n + 1);
                }
            }
        }
        is(value(db, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1::int + 1'"), 1L);
        run(db, "CREATE TABLE t (id serial PRIMARY KEY, value text)");
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO t (value) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int n = 0; n < 2000; n++) {
                insert.setString(1, "value " + n);
                insert.addBatch();
            }
            is(insert.executeBatch().length, 2000);
            int keys = 0;
            try (ResultSet rows = insert.getGeneratedKeys()) { while (rows.next()) keys++; }
            is(keys, 2000);
        }
        try (Statement several = db.createStatement()) {
            is(several.execute("UPDATE t SET value = 'x' WHERE id <= 3; SELECT 5; DELETE FROM t WHERE id <= 3"), false);
            is(several.getUpdateCount(), 3);
            is(several.getMoreResults(), true);
            is(several.getMoreResults(), false);
            is(several.getUpdateCount(), 3);
        }
        db.setAutoCommit(false);
        try (Statement portal = db.createStatement()) {
            portal.setFetchSize(100);
            int rows = 0;
            try (ResultSet found = portal.executeQuery("SELECT * FROM t ORDER BY id")) {
                while (found.next()) if (++rows == 150) value(db, "SELECT 1"); // something in between
            }
            is(rows, 1997);
        }
        db.commit();
        db.setAutoCommit(true);
        try (ResultSet columns = db.getMetaData().getColumns(null, "public", "t", "%")) {
            columns.next();
            is(columns.getString("COLUMN_NAME"), "id");
        }
        is(db.isValid(5), true);
        try (Connection simple = open("preferQueryMode", "simple"); Connection rewritten = open("reWriteBatchedInserts", "true")) {
            is(value(simple, "SELECT ?::int + 1", 41), 42);
            try (PreparedStatement insert = rewritten.prepareStatement("INSERT INTO t (value) VALUES (?)")) {
                for (int n = 0; n < 500; n++) {
                    insert.setString(1, "y");
                    insert.addBatch();
                }
                insert.executeBatch();
            }
            is(value(rewritten, "SELECT count(*) FROM t WHERE value = 'y'"), 500L);
        }
    }

    static void errors(Connection db) throws Exception {
        run(db, "CREATE TABLE t (id int PRIMARY KEY)");
        fails("22012", () -> value(db, "SELECT 1 / ?", 0));
        try (Statement batch = db.createStatement()) {
            for (int n : new int[] {1, 2, 1, 3}) batch.addBatch("INSERT INTO t VALUES (" + n + ")");
            fails("23505", batch::executeBatch);
        }
        is(value(db, "SELECT count(*) FROM t"), 0L);
        db.setAutoCommit(false);
        run(db, "INSERT INTO t VALUES (1)");
        Savepoint here = db.setSavepoint("here");
        fails("23505", () -> run(db, "INSERT INTO t VALUES (1)"));
        fails("25P02", () -> run(db, "SELECT 1"));
        db.rollback(here);
        db.releaseSavepoint(here);
        run(db, "INSERT INTO t VALUES (2)");
        db.commit();
        fails("23505", () -> run(db, "INSERT INTO t VALUES (1)"));
        db.commit(); // PostgreSQL answers ROLLBACK
        db.rollback();
        is(value(db, "SELECT count(*) FROM t"), 2L);
        db.commit();
        try (Connection saved = open("autosave", "always")) {
            saved.setAutoCommit(false);
            run(saved, "INSERT INTO t VALUES (3)");
            fails("23505", () -> run(saved, "INSERT INTO t VALUES (3)"));
            run(saved, "INSERT INTO t VALUES (4)");
            saved.commit();
        }
        is(value(db, "SELECT count(*) FROM t"), 4L);
        db.rollback();
    }

    static void large(Connection db) throws Exception {
        String text = "abcdefghij".repeat(400000);
        is(value(db, "SELECT ?::text", text), text);
        is(value(db, "SELECT md5('" + text + "')"), value(db, "SELECT md5(?)", text));
        byte[] bytes = new byte[1000000];
        for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) i;
        is(java.util.Arrays.equals((byte[]) value(db, "SELECT ?::bytea", bytes), bytes), true);
        db.setAutoCommit(false);
        var objects = db.unwrap(PGConnection.class).getLargeObjectAPI(); // function calls
        long oid = objects.createLO();
        var object = objects.open(oid);
        object.write(bytes);
        object.seek(999990);
        is(object.read(100).length, 10);
        object.close();
        objects.delete(oid);
        db.commit();
    }

    static void copy(Connection db) throws Exception {
        run(db, "CREATE TABLE c (id int, value text)");
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 20000; n++) lines.append(n).append("\tvalue ").append(n).append('\n');
        CopyManager copies = db.unwrap(PGConnection.class).getCopyAPI();
        is(copies.copyIn("COPY c FROM STDIN", new StringReader(lines.toString())), 20000L);
        StringWriter out = new StringWriter();
        is(copies.copyOut("COPY (SELECT * FROM c ORDER BY id) TO STDOUT", out), 20000L);
        is(out.toString(), lines.toString());
        fails("22P02", () -> copies.copyIn("COPY c FROM STDIN", new StringReader("x\ty\n")));
        CopyIn stopped = copies.copyIn("COPY c FROM STDIN");
        stopped.writeToCopy("1\tx\n".getBytes(), 0, 4);
        stopped.cancelCopy();
        is(value(db, "SELECT count(*) FROM c"), 20000L);
    }

    static void cancel(Connection db) throws Exception {
        int pid = db.unwrap(PGConnection.class).getBackendPID();
        try (Statement sleep = db.createStatement(); Connection other = open()) {
            Thread canceller = new Thread(() -> {
                try {
                    while (!value(other, "SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND wait_event = 'PgSleep'", pid).equals(1L));
                    sleep.cancel();
                } catch (SQLException error) {
                    throw new RuntimeException(error);
                }
            });
            canceller.start();
            fails("57014", () -> sleep.execute("SELECT pg_sleep(60)"));
            canceller.join();
        }
        is(value(db, "SELECT 1"), 1);
    }

    static void notify(Connection db) throws Exception {
        run(db, "LISTEN news");
        try (Connection other = open()) { run(other, "NOTIFY news, 'hello'"); }
        is(db.unwrap(PGConnection.class).getNotifications(20000)[0].getParameter(), "hello");
    }

    static void steps(Connection db, String table) throws Exception {
        run(db, "CREATE TABLE " + table + " (id int8 PRIMARY KEY, value text)");
        run(db, "ALTER TABLE " + table + " ENABLE ELECTRIC");
        try (PreparedStatement add = db.prepareStatement("ALTER TABLE " + table + " ADD COLUMN amount int4")) { add.executeUpdate(); }
        run(db, "CREATE INDEX " + table + "_amount ON " + table + " (amount)");
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO " + table + " VALUES (?, ?, ?)")) {
            insert.setLong(1, 1);
            insert.setString(2, "a");
            insert.setInt(3, 2);
            insert.executeUpdate();
        }
    }

    static void migrate(Connection db) throws Exception {
        steps(db, "auto");
        db.setAutoCommit(false);
        steps(db, "held");
        db.commit();
        run(db, "ALTER TABLE held ADD COLUMN gone text");
        db.rollback();
    }

    /* Several statements in one execute(): one group of the extended protocol, one transaction. */
    static void group(Connection db) throws Exception {
        run(db, "CREATE TABLE held (id int8 PRIMARY KEY, value text); ALTER TABLE held ENABLE ELECTRIC;"
            + "ALTER TABLE held ADD COLUMN amount int4; CREATE INDEX held_amount ON held (amount)");
        fails("EX010", () -> run(db, "ALTER TABLE held ADD COLUMN gone text; ALTER TABLE held DROP COLUMN value; SELECT 1"));
        try (Statement batch = db.createStatement()) {
            batch.addBatch("ALTER TABLE held ADD COLUMN one text");
            batch.addBatch("ALTER TABLE held ADD COLUMN two text");
            is(batch.executeBatch().length, 2);
        }
        is(value(db, "SELECT 1"), 1);
    }

    static void refuse(Connection db) throws Exception {
        fails("EX010", () -> run(db, DROP));
        fails("EX010", () -> value(db, DROP));
        is(value(db, "SELECT 1"), 1);
        db.setAutoCommit(false);
        fails("EX010", () -> run(db, DROP)); // BEGIN comes in the same group
        db.rollback();
        run(db, "INSERT INTO socks VALUES (1, 'red')");
        fails("EX010", () -> run(db, DROP));
        fails("25P02", () -> run(db, "SELECT 1"));
        db.commit(); // PostgreSQL answers ROLLBACK
        run(db, "INSERT INTO socks VALUES (2, 'blue')");
        db.commit();
        Savepoint s = db.setSavepoint();
        run(db, "INSERT INTO socks VALUES (3, 'black')");
        fails("EX010", () -> run(db, DROP));
        db.rollback(s);
        run(db, "ALTER TABLE truths ADD COLUMN amount int4");
        run(db, "INSERT INTO socks VALUES (4, 'white')");
        db.commit();
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection db = open()) {
            try {
                Jdbc.class.getDeclaredMethod(arguments[0], Connection.class).invoke(null, db);
            } catch (java.lang.reflect.InvocationTargetException error) {
                error.getCause().printStackTrace();
                System.exit(1);
            }
        }
    }
}
