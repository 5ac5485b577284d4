# Cache::Memcached::Fast against HOST:PORT: each call must give what it should. Prints one line for each
# that does not, and ends with the number of calls.
use strict;
use warnings;
use Cache::Memcached::Fast;

my $n_calls = 0;
my $n_wrong = 0;

sub expect {
    my ($name, $got, $expected) = @_;
    $n_calls++;
    my $shown = defined $got ? $got : 'undef';
    my $wanted = defined $expected ? $expected : 'undef';
    return if $shown eq $wanted;
    $n_wrong++;
    print "$name: expected ", substr($wanted, 0, 80), ", got ", substr($shown, 0, 80), "\n";
}

my $client = Cache::Memcached::Fast->new({
    servers => [$ARGV[0]],
    namespace => 'fast:',
    compress_threshold => 10_000,
    connect_timeout => 5,
    io_timeout => 20,
    max_failures => 0,
});

my $versions = $client->server_versions;
expect('version', scalar(grep { /^\d/ } values %$versions), 1);
expect('flush_all', $client->flush_all->{$ARGV[0]}, 1);
expect('get of nothing', $client->get('nothing'), undef);
expect('set', $client->set('k', 'value'), 1);
expect('get', $client->get('k'), 'value');
expect('add of what is there', $client->add('k', 'other'), '');
expect('add', $client->add('new', 'value'), 1);
expect('replace', $client->replace('k', 'second'), 1);
expect('replace of nothing', $client->replace('nothing', 'x'), '');
expect('append', $client->append('k', ' end'), 1);
expect('prepend', $client->prepend('k', 'begin '), 1);
expect('get', $client->get('k'), 'begin second end');

my $pair = $client->gets('k');
expect('gets', $pair->[1], 'begin second end');
expect('cas', $client->cas('k', $pair->[0], 'swapped'), 1);
expect('cas with an old unique', $client->cas('k', $pair->[0], 'again'), '');
expect('get after cas', $client->get('k'), 'swapped');

expect('set of a number', $client->set('n', 10), 1);
expect('incr', $client->incr('n', 5), 15);
expect('decr', $client->decr('n', 3), 12);
expect('decr below 0', $client->decr('n', 100) + 0, 0);
expect('incr of nothing', $client->incr('nothing', 1), '');

my $large = join '', map { chr(32 + $_ % 90) } 1 .. 300_000;
expect('set of a compressed value', $client->set('large', $large), 1);
expect('get of a compressed value', $client->get('large'), $large);
my $bytes = join '', map { chr($_ % 256) } 1 .. 5000;
expect('set of bytes', $client->set('bytes', $bytes), 1);
expect('get of bytes', $client->get('bytes'), $bytes);
expect('set of a structure', $client->set('struct', { list => [1, 2, 3], name => 'x' }), 1);
expect('get of a structure', join(',', @{ $client->get('struct')->{list} }), '1,2,3');
expect('set of nothing', $client->set('empty', ''), 1);
expect('get of nothing in it', $client->get('empty'), '');

my $set = $client->set_multi(map { ["m$_", "value $_"] } 1 .. 500);
expect('set_multi', scalar(grep { $_ } values %$set), 500);
my $found = $client->get_multi(map { "m$_" } 1 .. 600);
expect('get_multi', scalar(keys %$found), 500);
expect('a value of get_multi', $found->{m77}, 'value 77');
my $deleted = $client->delete_multi(map { "m$_" } 1 .. 500);
expect('delete_multi', scalar(grep { $_ } values %$deleted), 500);

$client->set("q$_", $_) for 1 .. 1000;    # in void context: noreply
$client->nowait_push;
expect('get after noreply', $client->get('q1000'), 1000);
expect('touch', $client->touch('k', 3600), 1);
expect('touch of nothing', $client->touch('nothing', 3600), '');
expect('delete', $client->delete('k'), 1);
expect('delete of nothing', $client->delete('k'), '');
expect('get after delete', $client->get('k'), undef);

print "$n_calls calls, $n_wrong wrong\n";
exit($n_wrong > 0 ? 1 : 0);
