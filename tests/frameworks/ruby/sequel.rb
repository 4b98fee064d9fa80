# SPDX-License-Identifier: Apache-2.0
# Sequel's migrator: timestamped files in the current folder, or numbered ones (sequel.rb numbers).
require 'fileutils'
require 'sequel'
Sequel.extension :migration

FileUtils.mkdir_p('migrations')
names = ARGV[0] == 'numbers' ? %w[001 002 003] : %w[20240101000001 20240101000002 20240101000003]
[["run 'CREATE TABLE items (id text PRIMARY KEY, value text)'; run 'ALTER TABLE items ENABLE ELECTRIC'", 'drop_table :items'],
 ['add_column :items, :amount, Integer', 'drop_column :items, :amount'],
 ['add_index :items, :amount, name: :items_amount', 'drop_index :items, :amount, name: :items_amount']].each_with_index do |(up, down), n|
  File.write("migrations/#{names[n]}_step.rb", "Sequel.migration do\n  up { #{up} }\n  down { #{down} }\nend\n")
end
DB = Sequel.connect(adapter: 'postgres', host: ENV['PGHOST'], port: ENV['PGPORT'], user: ENV['PGUSER'], password: ENV['PGPASSWORD'],
                    database: ENV['PGDATABASE'], max_connections: 1)
Sequel::Migrator.run(DB, 'migrations')
Sequel::Migrator.run(DB, 'migrations', target: names[1].to_i)
begin
  Sequel::Migrator.run(DB, 'migrations', target: names[0].to_i)
rescue Sequel::DatabaseError => e
  puts e.message
end
DB.get(1)
