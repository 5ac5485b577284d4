#!/usr/bin/env python3
"""Clients that people use: memccapable, pymemcache, pylibmc, Cache::Memcached::Fast, gomemcache and php-memcached as
Debian ships them, memjs as npm does. By the text and the binary protocol, where a client speaks both; each against
one worker, two workers, and an engine that is slow; memccapable against each node of three, too.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/interop/clients.py [CASE ...]
"""
import functools
import os
import random
import shutil
import subprocess
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from servers import NAMES, Servers
from yakumo import Node, equal, skip

HERE = os.path.dirname(os.path.abspath(__file__))
GOPATH = "/usr/share/gocode"
DELAY = """
[bucket default]
durability = memory
filters = delay
[filter delay]
get = 200us
apply = 200us
jitter = 100us
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = 2
"""
KEPT = """
[bucket default]
backend = %s
durability = os
[frontend memcached]
listen = 127.0.0.1:0
[node a]
workers = %d
"""
PLACES = {
    "one_worker": lambda: Node(options=["node.workers=1"]),
    "two_workers": lambda: Node(options=["node.workers=2"]),
    "delay": lambda: Node(DELAY),
}


def run_client(command, **options):
    """Runs a client program to its end; its output if it fails."""
    child = yakumo.spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", **options)
    try:
        out, _ = child.communicate(timeout=120 * yakumo.SLOW)
    except subprocess.TimeoutExpired:
        child.kill()
        out, _ = child.communicate()
        raise AssertionError(f"{command[0]} did not end: {out}") from None
    assert child.returncode == 0, f"{command[0]} ended with {child.returncode}:\n{out}"
    return out


def run_memccapable(port, protocol):
    if shutil.which("memccapable") is None:
        skip("no memccapable (libmemcached-tools)")
    out = run_client(["memccapable", "-h", "127.0.0.1", "-p", str(port), "-t", str(5 * yakumo.SLOW), protocol])
    assert "All tests passed" in out, out
    equal(out.count("[pass]"), 27, "tests that passed")


def memccapable(node):
    run_memccapable(node.port, "-a")


def memccapable_binary(node):
    run_memccapable(node.port, "-b")


def store_and_swap(client):
    """What the Python clients have in common; returns a CAS unique that is out of date."""
    equal(client.flush_all(), True, "flush_all")
    equal(client.get("k"), None, "get of nothing")
    equal(client.set("k", b"value"), True, "set")
    equal(client.get("k"), b"value", "get")
    equal(client.add("k", b"x"), False, "add of what is there")
    equal(client.replace("k", b"second"), True, "replace")
    equal(client.append("k", b" end"), True, "append")
    equal(client.prepend("k", b"begin "), True, "prepend")
    got, cas = client.gets("k")
    equal(got, b"begin second end", "gets")
    equal(client.cas("k", b"swapped", cas), True, "cas")
    equal(client.cas("k", b"again", cas), False, "cas with an old unique")
    return cas


class Compressed:
    """A serializer for pymemcache: compresses what is large, and says so in the flags."""

    def serialize(self, key, value):
        if isinstance(value, bytes) and len(value) > 1000:
            return zlib.compress(value), 1 << 16
        return value, 0

    def deserialize(self, key, value, flags):
        return zlib.decompress(value) if flags & 1 << 16 else value


def pymemcache(node):
    try:
        import pymemcache.client.base
        import pymemcache.exceptions
    except ImportError:
        skip("no pymemcache (python3-pymemcache)")
    client = pymemcache.client.base.Client(("127.0.0.1", node.port), timeout=20 * yakumo.SLOW, no_delay=True,
                                           default_noreply=False, serde=Compressed())
    value = random.Random(1).randbytes(1 << 20)
    text = b"abcdefgh" * 100000
    cas = store_and_swap(client)
    equal(client.cas("nothing", b"x", cas), None, "cas of nothing")
    equal(client.get("k"), b"swapped", "get after cas")
    equal(client.set("n", b"41"), True, "set of a number")
    equal(client.incr("n", 1), 42, "incr")
    equal(client.decr("n", 50), 0, "decr below 0")
    equal(client.incr("nothing", 1), None, "incr of nothing")
    equal(client.set("text", text), True, "set of a compressed value")
    equal(client.get("text"), text, "get of a compressed value")
    equal(client.set("large", value[:999999]), True, "set of a large value")
    equal(client.get("large"), value[:999999], "get of a large value")
    equal(client.set("empty", b""), True, "set of nothing")
    equal(client.get("empty"), b"", "get of nothing in it")
    equal(client.touch("k", 3600), True, "touch")
    equal(client.touch("nothing", 3600), False, "touch of nothing")
    many = {f"m{i}": b"%d" % i for i in range(1000)}
    equal(client.set_many(many), [], "set_many")
    equal(client.get_many([*many, "nothing"]), many, "get_many")
    equal(len(client.gets_many(list(many))), 1000, "gets_many")
    equal(client.delete_many(list(many)), True, "delete_many")
    equal(client.get_many(list(many)), {}, "get_many after delete_many")
    equal(client.set("gone", b"v", expire=-1), True, "set of what has ended")
    equal(client.get("gone"), None, "get of it")
    equal(client.set("quiet", b"v", noreply=True), True, "set noreply")
    equal(client.get("quiet"), b"v", "get after it")
    try:
        client.set("larger", random.Random(2).randbytes((1 << 20) + 1000))
        raise AssertionError("a value that is too large was taken")
    except pymemcache.exceptions.MemcacheServerError:
        pass
    equal(client.delete("k"), True, "delete")
    equal(client.delete("k"), False, "delete of nothing")
    assert client.version().startswith(b"1.6."), "version"
    assert client.stats()[b"curr_items"] > 0, "stats"
    client.quit()


def run_pylibmc(node, is_binary):
    try:
        import pylibmc
    except ImportError:
        skip("no pylibmc (python3-pylibmc)")
    client = pylibmc.Client([f"127.0.0.1:{node.port}"], binary=is_binary,
                            behaviors={"tcp_nodelay": True, "cas": True, "receive_timeout": 20000000 * yakumo.SLOW})
    value = random.Random(1).randbytes((1 << 20) - 1000)
    store_and_swap(client)
    equal(client.get("k"), b"swapped", "get after cas")
    equal(client.set("n", 41), True, "set of a number")
    equal(client.incr("n"), 42, "incr")
    equal(client.decr("n", 50), 0, "decr below 0")
    try:
        client.incr("nothing")
        raise AssertionError("incr of nothing was done")
    except pylibmc.NotFound:
        pass
    equal(client.touch("k", 3600), True, "touch")
    equal(client.touch("nothing", 3600), False, "touch of nothing")
    equal(client.set("large", value), True, "set of a large value")
    equal(client.get("large"), value, "get of a large value")
    try:
        client.set("larger", random.Random(2).randbytes((1 << 20) + 1))
        raise AssertionError("a value that is too large was taken")
    except pylibmc.Error:
        pass
    many = {f"m{i}": b"%d" % i for i in range(1000)}
    equal(client.set_multi(many), [], "set_multi")
    equal(client.get_multi([*many, "nothing"]), many, "get_multi")
    equal(client.delete_multi(list(many)), True, "delete_multi")
    equal(client.get_multi(list(many)), {}, "get_multi after delete_multi")
    equal(client.delete("k"), True, "delete")
    equal(client.delete("k"), False, "delete of nothing")
    assert client.get_stats()[0][1], "stats"
    client.disconnect_all()


def pylibmc_text(node):
    run_pylibmc(node, False)


def pylibmc_binary(node):
    run_pylibmc(node, True)


def run_php(node, protocol):
    php = shutil.which("php")
    if php is None:
        skip("no php (php-cli)")
    if subprocess.run([php, "-r", "exit(class_exists('Memcached') ? 0 : 1);"], check=False).returncode:
        skip("no Memcached in php (php-memcached)")
    out = run_client([php, os.path.join(HERE, "memcached.php"), "127.0.0.1", str(node.port), protocol])
    assert out.strip().endswith(" calls, 0 wrong"), out


def php_text(node):
    run_php(node, "text")


def php_binary(node):
    run_php(node, "binary")


def install_memjs():
    """What package-lock.json names, once for this build."""
    folder = os.path.join(yakumo.BUILDDIR, "tests", "interop", "npm")
    if os.path.isdir(os.path.join(folder, "node_modules", "memjs")):
        return folder
    npm = shutil.which("npm")
    if npm is None:
        skip("no npm (npm)")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(os.path.join(HERE, "node", name), os.path.join(folder, name))
    installing = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=30000",
         "--cache", yakumo.temporary("npm")], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if installing.returncode:
        skip("npm could not install memjs: " + (installing.stdout.strip().splitlines() or ["no word"])[-1])
    return folder


def memjs(node):
    program = shutil.which("node") or shutil.which("nodejs")
    if program is None:
        skip("no node (nodejs)")
    folder = install_memjs()
    shutil.copyfile(os.path.join(HERE, "node", "memjs.js"), os.path.join(folder, "memjs.js"))
    out = run_client([program, os.path.join(folder, "memjs.js"), f"127.0.0.1:{node.port}"])
    assert out.strip().endswith(" calls, 0 wrong"), out


def cache_memcached_fast(node):
    if shutil.which("perl") is None or subprocess.run(
            ["perl", "-MCache::Memcached::Fast", "-e", "1"], stderr=subprocess.DEVNULL, check=False).returncode:
        skip("no Cache::Memcached::Fast (libcache-memcached-fast-perl)")
    out = run_client(["perl", os.path.join(HERE, "fast.pl"), f"127.0.0.1:{node.port}"])
    assert out.strip().endswith(" calls, 0 wrong"), out


go_program = None


def build_go_program():
    """Built once, with everything that go writes in the temporary folder."""
    global go_program
    go = shutil.which("go")
    if go is None:
        skip("no go (golang-go)")
    if not os.path.isdir(f"{GOPATH}/src/github.com/bradfitz/gomemcache"):
        skip("no gomemcache (golang-github-bradfitz-gomemcache-dev)")
    if go_program is None:
        program = yakumo.temporary("gomemcache")
        environment = dict(os.environ, GO111MODULE="off", GOPATH=GOPATH, GOFLAGS="", GOTOOLCHAIN="local",
                           GOCACHE=os.path.join(yakumo.folder, "go-cache"), CGO_ENABLED="0", HOME=yakumo.folder)
        run_client([go, "build", "-o", program, os.path.join(HERE, "gomemcache.go")], env=environment)
        go_program = program
    return go_program


def gomemcache(node):
    out = run_client([build_go_program(), f"127.0.0.1:{node.port}"])
    assert out.strip().endswith(" calls, 0 wrong"), out


def case(client, place, node_of):
    def run():
        node = node_of()
        client(node)
        node.client().is_served()

    return f"{client.__name__}_{place}", run


def node_on(engine, n_workers):
    yakumo.need_plugin(engine)
    return Node(KEPT % (engine, n_workers))


PLACES_OF_ENGINES = {f"{engine}_{n_workers}": functools.partial(node_on, engine, n_workers)
                     for engine in ("lmdb", "tokyocabinet", "berkeleydb") for n_workers in (1, 2)}


def memccapable_on_each_node():
    """And on those that live when one was killed, and on that one when it is back."""
    with Servers() as servers:
        def on(names):
            for name in names:
                for protocol in ("-a", "-b"):
                    run_memccapable(servers.ports[name][1], protocol)
        on(NAMES)
        servers.kill("c")
        on("ab")
        servers.start("c")
        servers.wait_whole()
        on(NAMES)


yakumo.run(*(case(client, *place)
             for client in (memccapable, memccapable_binary, pymemcache, pylibmc_text, pylibmc_binary,
                            cache_memcached_fast, gomemcache, php_text, php_binary, memjs) for place in PLACES.items()),
           *(case(client, *place)
             for client in (memccapable, memccapable_binary) for place in PLACES_OF_ENGINES.items()),
           memccapable_on_each_node)
