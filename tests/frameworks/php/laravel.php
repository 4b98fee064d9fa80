<?php
// SPDX-License-Identifier: Apache-2.0
// Laravel's migrator: migrations in the current folder. Its row comes after the migration's transaction: with `tell` the session is told before.
foreach (['Database', 'Filesystem'] as $part) {
    require_once "Illuminate/$part/autoload.php";
}
use Illuminate\Database\Capsule\Manager;
use Illuminate\Database\Events\MigrationStarted;
use Illuminate\Database\Migrations\DatabaseMigrationRepository;
use Illuminate\Database\Migrations\Migrator;
use Illuminate\Filesystem\Filesystem;

$steps = [
    '2024_01_01_000001_create_items' => ["Schema::create('items', function (\$t) { \$t->text('id')->primary(); \$t->text('value')->nullable(); });"
        . " DB::statement('ALTER TABLE items ENABLE ELECTRIC');", "Schema::drop('items');"],
    '2024_01_01_000002_add_amount' => ["Schema::table('items', function (\$t) { \$t->integer('amount')->nullable(); });",
        "Schema::table('items', function (\$t) { \$t->dropColumn('amount'); });"],
    '2024_01_01_000003_index_amount' => ["Schema::table('items', function (\$t) { \$t->index('amount', 'items_amount'); });",
        "Schema::table('items', function (\$t) { \$t->dropIndex('items_amount'); });"],
];
mkdir('migrations');
foreach ($steps as $name => [$up, $down]) {
    file_put_contents("migrations/$name.php", "<?php\nuse Illuminate\\Database\\Capsule\\Manager as DB;\nuse Illuminate\\Database\\Capsule\\Manager as Capsule;\n"
        . "class_exists('Schema') || class_alias('SchemaOfTheTest', 'Schema');\n"
        . "return new class extends Illuminate\\Database\\Migrations\\Migration { public function up() { $up } public function down() { $down } };\n");
}
class SchemaOfTheTest { public static function __callStatic($name, $arguments) { return Manager::schema()->$name(...$arguments); } }

$db = new Manager();
$db->addConnection(['driver' => 'pgsql', 'host' => getenv('PGHOST'), 'port' => getenv('PGPORT'), 'database' => getenv('PGDATABASE'),
    'username' => getenv('PGUSER'), 'password' => getenv('PGPASSWORD'), 'charset' => 'utf8', 'schema' => 'public']);
$db->setAsGlobal();
$events = class_exists('Illuminate\Events\Dispatcher') ? new Illuminate\Events\Dispatcher() : null;
$resolver = $db->getDatabaseManager();
$repository = new DatabaseMigrationRepository($resolver, 'migrations');
$repository->createRepository();
$migrator = new Migrator($repository, $resolver, new Filesystem(), $events);
if (($argv[1] ?? '') === 'tell') {
    $events->listen(MigrationStarted::class, function ($event) use ($resolver) {
        $name = basename((new ReflectionClass($event->migration))->getFileName(), '.php');
        $resolver->connection()->statement("SELECT set_config('busbar.migration_version', ?, true)", [$event->method === 'up' ? $name : '']);
    });
}
$migrator->run(['migrations']);
$migrator->rollback(['migrations'], ['step' => 1]);
try {
    $migrator->rollback(['migrations'], ['step' => 1]);
} catch (Throwable $e) {
    echo $e->getMessage(), "\n";
}
$resolver->connection()->select('SELECT 1');
