# SPDX-License-Identifier: Apache-2.0
# Ruby's pg: ruby.rb SCENARIO
require 'digest'
require 'pg'

def open_session
  PG.connect.tap { |db| db.set_notice_processor { |_| } }
end

def is(got, want, what)
  raise "#{what}: got #{got.inspect}, wanted #{want.inspect}" unless got == want
end

# The SQLSTATE with which the block must fail.
def fails(state, what)
  yield
rescue PG::Error => e
  is(e.result&.error_field(PG::Result::PG_DIAG_SQLSTATE), state, what)
else
  raise "#{what}: no error"
end

SCENARIOS = {
  'queries' => lambda {
    db = open_session
    is(db.exec('SELECT 40 + 2 AS answer').to_a, [{ 'answer' => '42' }], 'simple')
    is(db.exec_params('SELECT $1::int + $2::int', [40, 2]).getvalue(0, 0), '42', 'parameters')
    db.prepare('add', 'SELECT $1::int + 1')
    10.times { |n| is(db.exec_prepared('add', [n]).getvalue(0, 0), (n + 1).to_s, 'prepared') }
    is(db.describe_prepared('add').fname(0), '?column?', 'described')
    binary = db.exec_params('SELECT $1::bytea', [{ value: "\0\1\xff".b, format: 1 }], 1).getvalue(0, 0)
    is(binary.b, "\0\1\xff".b, 'binary')
    is(db.exec('SELECT 1; SELECT 2').getvalue(0, 0), '2', 'two statements')
    is(db.exec('').result_status, PG::PGRES_EMPTY_QUERY, 'nothing')
    db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
    is(db.exec("SELECT 1::int8, 1.5::float8, true, '2020-01-02'::date::text").values, [[1, 1.5, true, '2020-01-02']], 'types')
  },
  'transactions' => lambda {
    db = open_session
    db.exec('CREATE TABLE t (id int PRIMARY KEY)')
    db.transaction { |c| c.exec('INSERT INTO t VALUES (1)') }
    fails('23505', 'duplicate') { db.transaction { |c| c.exec('INSERT INTO t VALUES (2), (1)') } }
    is(db.transaction_status, PG::PQTRANS_IDLE, 'rolled back')
    db.exec('BEGIN')
    fails('22012', 'division') { db.exec_params('SELECT 1 / $1::int', [0]) }
    is(db.transaction_status, PG::PQTRANS_INERROR, 'failed')
    is(db.exec('COMMIT').cmd_status, 'ROLLBACK', 'tag')
    is(db.exec('SELECT * FROM t').values, [['1']], 'rows')
  },
  'pipeline' => lambda {
    db = open_session
    db.exec('CREATE TABLE t (id int PRIMARY KEY)')
    db.enter_pipeline_mode
    [1, 2, 1, 3].each { |n| db.send_query_params('INSERT INTO t VALUES ($1)', [n]) }
    db.pipeline_sync
    db.send_query_params('SELECT count(*) FROM t', [])
    db.pipeline_sync
    seen = []
    until seen.count(PG::PGRES_PIPELINE_SYNC) == 2
      result = db.get_result or next
      seen << result.result_status
      is(result.getvalue(0, 0), '0', 'one transaction') if result.result_status == PG::PGRES_TUPLES_OK
    end
    is(seen, [PG::PGRES_COMMAND_OK, PG::PGRES_COMMAND_OK, PG::PGRES_FATAL_ERROR, PG::PGRES_PIPELINE_ABORTED, PG::PGRES_PIPELINE_SYNC,
              PG::PGRES_TUPLES_OK, PG::PGRES_PIPELINE_SYNC], 'answers')
    db.exit_pipeline_mode
    is(db.exec('SELECT 1').getvalue(0, 0), '1', 'afterwards')
  },
  'large' => lambda {
    db = open_session
    text = (0...4_000_000).map { |n| (97 + n % 26).chr }.join
    is(db.exec_params('SELECT md5($1), $1', [text]).values, [[Digest::MD5.hexdigest(text), text]], 'text both ways')
    is(db.exec("SELECT md5('#{text}')").getvalue(0, 0), Digest::MD5.hexdigest(text), 'a long statement')
    db.send_query("SELECT n, repeat('y', 1000) FROM generate_series(1, 20000) n")
    db.set_single_row_mode
    rows = 0
    db.get_result.stream_each { rows += 1 }
    is(rows, 20_000, 'row by row')
    db.get_last_result
    db.transaction do |c|
      object = c.lo_creat
      handle = c.lo_open(object, PG::INV_READ | PG::INV_WRITE)
      is(c.lo_write(handle, text), text.size, 'large object written')
      c.lo_lseek(handle, 0, PG::SEEK_SET)
      is(c.lo_read(handle, text.size), text, 'large object read')
      c.lo_close(handle)
      c.lo_unlink(object)
    end
  },
  'copy' => lambda {
    db = open_session
    db.exec('CREATE TABLE c (id int, value text)')
    db.copy_data('COPY c FROM STDIN', PG::TextEncoder::CopyRow.new) { (1..20_000).each { |n| db.put_copy_data([n.to_s, "v\t#{n}"]) } }
    rows = []
    db.copy_data('COPY (SELECT * FROM c ORDER BY id) TO STDOUT', PG::TextDecoder::CopyRow.new) do
      while (row = db.get_copy_data)
        rows << row
      end
    end
    is([rows.size, rows.last], [20_000, ['20000', "v\t20000"]], 'both ways')
    begin
      db.copy_data('COPY c FROM STDIN') { db.put_copy_data("1\tx\n"); raise ArgumentError, 'mine' }
    rescue ArgumentError
      nil
    end
    fails('22P02', 'bad row') { db.copy_data('COPY c FROM STDIN') { db.put_copy_data("x\tx\n") } }
    is(db.exec('SELECT count(*) FROM c').getvalue(0, 0), '20000', 'nothing of the failed ones')
  },
  'cancel' => lambda {
    db = open_session
    other = open_session
    db.send_query('SELECT pg_sleep(60)')
    running = "SELECT count(*) FROM pg_stat_activity WHERE pid = #{db.backend_pid} AND state = 'active' AND query LIKE '%pg_sleep%'"
    nil until other.exec(running).getvalue(0, 0) == '1'
    is(db.cancel, nil, 'cancel')
    fails('57014', 'cancelled') { db.get_last_result }
    is(db.exec('SELECT 1').getvalue(0, 0), '1', 'afterwards')
  },
  'notify' => lambda {
    db = open_session
    db.exec('LISTEN news')
    open_session.exec("NOTIFY news, 'hello'")
    db.wait_for_notify(20) { |channel, _, payload| is([channel, payload], %w[news hello], 'notification') } or raise 'no notification'
  },
  'migrate' => lambda {
    db = open_session
    steps = lambda { |table, run|
      run.call("CREATE TABLE #{table} (id int8 PRIMARY KEY, value text)")
      run.call("ALTER TABLE #{table} ENABLE ELECTRIC")
      run.call("ALTER TABLE #{table} ADD COLUMN amount int4")
      run.call("CREATE INDEX #{table}_amount ON #{table} (amount)")
      db.exec_params("INSERT INTO #{table} VALUES ($1, $2, $3)", [1, 'a', 2])
    }
    steps.call('auto', ->(sql) { db.exec_params(sql, []) })
    db.transaction { |c| steps.call('held', ->(sql) { c.exec(sql) }) }
    begin
      db.transaction do |c|
        c.exec('ALTER TABLE held ADD COLUMN gone text')
        raise ArgumentError, 'mine'
      end
    rescue ArgumentError
      nil
    end
  },
  'refuse' => lambda {
    db = open_session
    drop = 'ALTER TABLE truths DROP COLUMN value'
    fails('EX010', 'simple') { db.exec(drop) }
    fails('EX010', 'extended') { db.exec_params(drop, []) }
    fails('EX010', 'prepared') { db.prepare('drop', drop) && db.exec_prepared('drop') }
    is(db.transaction_status, PG::PQTRANS_IDLE, 'no transaction')
    db.exec('BEGIN')
    db.exec("INSERT INTO socks VALUES (1, 'red')")
    fails('EX010', 'in a transaction') { db.exec_params(drop, []) }
    fails('25P02', 'failed transaction') { db.exec('SELECT 1') }
    is(db.exec('COMMIT').cmd_status, 'ROLLBACK', 'tag')
    db.exec("INSERT INTO socks VALUES (2, 'blue')")
    db.exec('BEGIN; SAVEPOINT s')
    db.exec("INSERT INTO socks VALUES (3, 'black')")
    fails('EX010', 'after a savepoint') { db.exec(drop) }
    db.exec('ROLLBACK TO s')
    db.exec('ALTER TABLE truths ADD COLUMN amount int4')
    db.exec("INSERT INTO socks VALUES (4, 'white')")
    is(db.exec('COMMIT').cmd_status, 'COMMIT', 'tag')
  }
}.freeze

SCENARIOS.fetch(ARGV[0]).call
