#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Perl's DBD::Pg: perl.pl SCENARIO
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async :pg_types);

sub open_session {
    return DBI->connect("dbi:Pg:", "", "", {AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0, @_});
}

sub is {
    my ($got, $want, $what) = @_;
    $got = defined $got ? $got : "(undef)";
    die "$what: got '$got', wanted '$want'\n" if $got ne $want;
}

# The SQLSTATE with which a statement must fail.
sub fails {
    my ($db, $state, $sql) = @_;
    is(eval { $db->do($sql); 1 } ? "no error" : $db->state, $state, $sql);
}

sub value { my ($db, $sql, @values) = @_; return ($db->selectrow_array($sql, undef, @values))[0] }

my %scenario;

$scenario{queries} = sub {
    my $db = open_session();
    is(value($db, "SELECT 40 + 2"), 42, "simple");
    is(value($db, "SELECT ?::int + ?::int", 40, 2), 42, "parameters");
    my $prepared = $db->prepare("SELECT ?::text || '!'", {pg_server_prepare => 1, pg_prepare_now => 1});
    for my $word (1 .. 10) {
        $prepared->execute($word);
        is($prepared->fetchrow_array, "$word!", "prepared");
    }
    $db->do("CREATE TABLE numbers (n int, bytes bytea)");
    my $insert = $db->prepare("INSERT INTO numbers VALUES (?, ?)");
    $insert->bind_param(2, undef, {pg_type => PG_BYTEA});
    is($insert->execute_array({}, [1 .. 300], [map { chr($_ % 256) x 3 } 1 .. 300]), 300, "array of rows");
    is($db->do("UPDATE numbers SET n = -n WHERE n > 290"), 10, "rows changed");
    is(value($db, "SELECT bytes FROM numbers WHERE n = 256"), "\0\0\0", "bytes");
    is($db->do("INSERT INTO numbers SELECT 1 WHERE false"), "0E0", "no rows");
    is(join(",", $db->tables(undef, "public", "numbers", "TABLE")), "public.numbers", "catalog");
    is(join(",", map { $_->[3] } @{$db->column_info(undef, "public", "numbers", "%")->fetchall_arrayref}), "n,bytes", "columns");
    is($db->ping, 1, "ping");
};

$scenario{transactions} = sub {
    my $db = open_session();
    $db->do("CREATE TABLE t (id int PRIMARY KEY)");
    $db->{AutoCommit} = 0;
    $db->do("INSERT INTO t VALUES (1)");
    $db->pg_savepoint("here");
    fails($db, "23505", "INSERT INTO t VALUES (1)");
    fails($db, "25P02", "SELECT 1");
    is($db->ping, 4, "ping in a failed transaction");
    $db->pg_rollback_to("here");
    $db->do("INSERT INTO t VALUES (2)");
    $db->commit;
    $db->do("INSERT INTO t VALUES (3)");
    $db->rollback;
    fails($db, "22012", "SELECT 1/0");
    $db->rollback;
    is(value($db, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "1,2", "rows");
    $db->commit;
};

$scenario{large} = sub {
    my $db = open_session();
    my $text = join("", map { chr(97 + $_ % 26) } 1 .. 4_000_000);
    is(value($db, "SELECT length(?) || md5(?)", $text, $text), 4_000_000 . value($db, "SELECT md5('$text')"), "text both ways");
    is(length value($db, "SELECT repeat('x', 20000000)"), 20_000_000, "a large answer");
    is(scalar @{$db->selectall_arrayref("SELECT n, repeat('y', 100) FROM generate_series(1, 50000) n")}, 50_000, "many rows");
    $db->begin_work;
    my $read = "";
    my $object = $db->pg_lo_creat($db->{pg_INV_WRITE});
    my $handle = $db->pg_lo_open($object, $db->{pg_INV_WRITE});
    is($db->pg_lo_write($handle, $text, length $text), length $text, "large object written");
    $db->pg_lo_lseek($handle, 3_999_990, 0);
    is($db->pg_lo_read($handle, $read, 100), 10, "large object read");
    is($read, substr($text, -10), "its end");
    $db->pg_lo_close($handle);
    $db->pg_lo_unlink($object);
    $db->commit;
};

$scenario{copy} = sub {
    my $db = open_session();
    $db->do("CREATE TABLE c (id int, value text)");
    $db->do("COPY c FROM STDIN");
    $db->pg_putcopydata("$_\tvalue $_\n") for 1 .. 20_000;
    $db->pg_putcopyend;
    is(value($db, "SELECT count(*) || ' ' || sum(id) FROM c"), "20000 200010000", "rows");
    $db->do("COPY (SELECT * FROM c ORDER BY id) TO STDOUT");
    my ($rows, $row, $last) = (0, "", "");
    while ($db->pg_getcopydata($row) >= 0) { $rows++; $last = $row }
    is("$rows $last", "20000 20000\tvalue 20000\n", "read");
    $db->do("COPY c FROM STDIN");
    $db->pg_putcopydata("not a number\tx\n");
    is(eval { $db->pg_putcopyend; 1 } ? "no error" : $db->state, "22P02", "bad row");
    is(value($db, "SELECT count(*) FROM c"), 20000, "nothing of it");
};

$scenario{cancel} = sub {
    my ($db, $other) = (open_session(), open_session());
    $db->do("SELECT pg_sleep(60)", {pg_async => PG_ASYNC});
    1 until value($other, "SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND state = 'active'", $db->{pg_pid});
    is($db->pg_cancel, 1, "cancel");
    is(value($db, "SELECT 1"), 1, "afterwards");
};

$scenario{notify} = sub {
    my ($db, $other) = (open_session(), open_session());
    $db->do("LISTEN news");
    $other->do("NOTIFY news, 'hello'");
    my $note;
    1 until $note = $db->pg_notifies;
    is("$note->[0] $note->[2]", "news hello", "notification");
};

$scenario{migrate} = sub {
    my $db = open_session();
    for my $table ("auto", "held") {
        $db->begin_work if $table eq "held";
        $db->do("CREATE TABLE $table (id int8 PRIMARY KEY, value text)");
        $db->do("ALTER TABLE $table ENABLE ELECTRIC");
        $db->prepare("ALTER TABLE $table ADD COLUMN amount int4")->execute;
        $db->do("CREATE INDEX ${table}_amount ON $table (amount)");
        $db->do("INSERT INTO $table VALUES (?, ?, ?)", undef, 1, "a", 2);
        $db->commit if $table eq "held";
    }
    $db->begin_work;
    $db->do("ALTER TABLE held ADD COLUMN gone text");
    $db->rollback;
};

$scenario{refuse} = sub {
    my $db = open_session();
    my $drop = "ALTER TABLE truths DROP COLUMN value";
    fails($db, "EX010", $drop);
    is($db->errstr =~ /Cannot drop column "value" of electrified table/ ? 1 : 0, 1, "message");
    is(value($db, "SELECT 1"), 1, "usable");
    $db->begin_work;
    $db->do("INSERT INTO socks VALUES (1, 'red')");
    fails($db, "EX010", $drop);
    fails($db, "25P02", "SELECT 1");
    eval { $db->commit };
    $db->rollback unless $db->{AutoCommit};
    $db->do("INSERT INTO socks VALUES (2, 'blue')");
    $db->begin_work;
    $db->pg_savepoint("s");
    $db->do("INSERT INTO socks VALUES (3, 'black')");
    fails($db, "EX010", $drop);
    $db->pg_rollback_to("s");
    $db->do("ALTER TABLE truths ADD COLUMN amount int4");
    $db->do("INSERT INTO socks VALUES (4, 'white')");
    $db->commit;
};

$scenario{$ARGV[0]}->();
