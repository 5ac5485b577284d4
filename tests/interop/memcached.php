<?php
// php-memcached against a server: memcached.php HOST PORT text|binary.
$calls = 0;
$wrong = 0;

function equal($got, $wanted, $what)
{
    global $calls, $wrong;
    $calls++;
    if ($got !== $wanted) {
        $wrong++;
        echo "$what: got " . var_export($got, true) . ", wanted " . var_export($wanted, true) . "\n";
    }
}

$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, $argv[3] === "binary");
$client->setOption(Memcached::OPT_TCP_NODELAY, true);
$client->setOption(Memcached::OPT_POLL_TIMEOUT, 20000);
$client->addServer($argv[1], (int)$argv[2]);

equal($client->flush(), true, "flush");
equal($client->get("k"), false, "get of nothing");
equal($client->getResultCode(), Memcached::RES_NOTFOUND, "its result");
equal($client->set("k", "value"), true, "set");
equal($client->get("k"), "value", "get");
equal($client->add("k", "x"), false, "add of what is there");
equal($client->replace("k", "second"), true, "replace");
equal($client->replace("nothing", "x"), false, "replace of nothing");
$got = $client->get("k", null, Memcached::GET_EXTENDED);
equal($got["value"], "second", "get with its cas");
equal($client->cas($got["cas"], "k", "swapped"), true, "cas");
equal($client->cas($got["cas"], "k", "again"), false, "cas with an old unique");
equal($client->getResultCode(), Memcached::RES_DATA_EXISTS, "its result");
equal($client->get("k"), "swapped", "get after cas");
equal($client->set("n", 41), true, "set of a number");
equal($client->get("n"), 41, "get of a number");
equal($client->increment("n"), 42, "increment");
equal($client->decrement("n", 50), 0, "decrement below 0");
equal($client->increment("nothing"), false, "increment of nothing");
if ($argv[3] === "binary") {
    equal($client->increment("made", 5, 7, 3600), 7, "increment that makes it");
    equal($client->increment("made", 5, 7, 3600), 12, "increment of what was made");
}
equal($client->touch("k", 3600), true, "touch");
equal($client->touch("nothing", 3600), false, "touch of nothing");
$client->setOption(Memcached::OPT_COMPRESSION, false);
$large = str_repeat(implode("", array_map("chr", range(0, 255))), 4096);
equal($client->set("large", $large), true, "set of a large value");
equal($client->get("large") === $large, true, "get of a large value");
equal($client->set("larger", $large . "x"), false, "set of a value that is too large");
equal($client->set("empty", ""), true, "set of nothing");
equal($client->get("empty"), "", "get of nothing in it");
equal($client->set("join", "b"), true, "set of what is joined");
equal($client->append("join", "c"), true, "append");
equal($client->prepend("join", "a"), true, "prepend");
equal($client->get("join"), "abc", "get of the joined value");
equal($client->set("array", ["a" => [1, 2.5, null]]), true, "set of an array");
equal($client->get("array"), ["a" => [1, 2.5, null]], "get of an array");
$many = [];
for ($i = 0; $i < 1000; $i++) {
    $many["m$i"] = "v$i";
}
equal($client->setMulti($many), true, "setMulti");
equal($client->getMulti(array_merge(array_keys($many), ["nothing"])), $many, "getMulti");
equal(count(array_filter($client->deleteMulti(array_keys($many)), fn($done) => $done === true)), 1000,
    "deleteMulti");
equal($client->getMulti(array_keys($many)), [], "getMulti after it");
equal($client->set("gone", "v", 1), true, "set of what ends soon");
sleep(2);
equal($client->get("gone"), false, "get of it");
equal($client->delete("k"), true, "delete");
equal($client->delete("k"), false, "delete of nothing");
equal(array_values($client->getVersion())[0] >= "1.6", true, "version");
equal(array_values($client->getStats())[0]["curr_items"] > 0, true, "stats");
$client->quit();
echo "$calls calls, $wrong wrong\n";
exit($wrong === 0 ? 0 : 1);
