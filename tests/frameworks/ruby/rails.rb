# SPDX-License-Identifier: Apache-2.0
# Rails' ActiveRecord: migrations in the current folder.
require 'active_record'
require 'fileutils'

FileUtils.mkdir_p('db/migrate')
{
  '20240101000001_create_items' => ['CreateItems', <<~UP, 'drop_table :items'],
    create_table :items, id: :text do |t|
      t.string :value
    end
    execute 'ALTER TABLE items ENABLE ELECTRIC'
  UP
  '20240101000002_add_amount' => ['AddAmount', 'add_column :items, :amount, :integer', 'remove_column :items, :amount'],
  '20240101000003_index_amount' => ['IndexAmount', 'add_index :items, :amount, name: :items_amount', 'remove_index :items, name: :items_amount']
}.each do |name, (title, up, down)|
  File.write("db/migrate/#{name}.rb", "class #{title} < ActiveRecord::Migration[6.1]\ndef up\n#{up}\nend\ndef down\n#{down}\nend\nend\n")
end
if ARGV[0] == 'concurrently'
  File.write('db/migrate/20240101000004_index_value.rb', <<~RUBY)
    class IndexValue < ActiveRecord::Migration[6.1]
      disable_ddl_transaction!
      def change
        add_index :items, :value, name: :items_value, algorithm: :concurrently
      end
    end
  RUBY
end

ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'], username: ENV['PGUSER'],
                                        password: ENV['PGPASSWORD'], database: ENV['PGDATABASE'], pool: 2, min_messages: 'warning')
ActiveRecord::Migration.verbose = false
migrations = ActiveRecord::MigrationContext.new('db/migrate', ActiveRecord::SchemaMigration)
migrations.migrate
if ARGV[0] != 'concurrently'
  migrations.rollback(1)
  begin
    migrations.rollback(1)
  rescue StandardError => e
    puts e.message
  end
  ActiveRecord::Base.connection.select_value('SELECT 1')
  migrations.migrate # the index once more
end
