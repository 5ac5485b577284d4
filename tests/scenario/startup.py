#!/usr/bin/env python3
"""Starts that must fail, each with one clear line and exit status 1; and the two ways of checking a config.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/startup.py [CASE ...]
"""
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, matches, refused, temporary, write_file

MEMORY = "durability = memory\n"
SMALL = f"[bucket default]\n{MEMORY}[frontend memcached]\nlisten = 127.0.0.1:0\n[node a]\n"


def options(data, *more):
    port = yakumo.free_port()
    words = [f"node.data={data}", f"frontend.memcached.listen=127.0.0.1:{port}", *more]
    return [word for option in words for word in ("-o", option)]


def made_folder(*more):
    """A data folder that a node has made and left."""
    node = Node(options=more)
    node.stop()
    return node.data


def read_state(data):
    return yakumo.read_file(os.path.join(data, "node"))


def hash_of(text):
    """XXH3-64, by the library that the daemon uses."""
    try:
        library = ctypes.CDLL("libxxhash.so.0")
        library.XXH3_64bits.restype = ctypes.c_uint64
    except (OSError, AttributeError):
        yakumo.skip("no libxxhash.so.0")
    return library.XXH3_64bits(text.encode(), ctypes.c_size_t(len(text.encode())))


def write_state(data, text):
    """The state file with another text and a checksum that fits."""
    with open(os.path.join(data, "node"), "w", encoding="utf-8") as file:
        file.write(f"{text}# checksum = {hash_of(text):016x}\n")


def state_of(data):
    text, mark, checksum = read_state(data).partition("# checksum = ")
    assert mark, "the state file has no checksum"
    equal(int(checksum, 16), hash_of(text), "checksum of the state file")
    return text


def a_read_only_data_folder():
    """Root may write anywhere: for it the folder is a file system mounted read only."""
    data = temporary("read-only")
    os.mkdir(data)
    if os.geteuid() != 0:
        os.chmod(data, 0o555)
        line = refused(*options(data))
        os.chmod(data, 0o755)
    else:
        enter = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o ro none '{data}' && exec \"$@\"",
                 "sh"]
        if shutil.which("unshare") is None or subprocess.run(
                [*enter, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            yakumo.skip("root needs a mount of its own for this, which is not allowed here")
        line = refused(*options(data), before=enter)
    matches(line, re.escape(data))
    matches(line, "Read-only file system|Permission denied")


def a_data_folder_below_a_file():
    file = write_file("file", "")
    matches(refused(*options(os.path.join(file, "data"))), "Not a directory")


def a_data_folder_that_is_a_file():
    matches(refused(*options(write_file("file", ""))), re.escape(yakumo.folder))


def a_folder_of_another_format():
    data = made_folder()
    text = state_of(data)
    matches(text, "^format=2$")
    write_state(data, text.replace("format=2\n", "format=99\n"))
    line = refused(*options(data))
    matches(line, "format 99")
    matches(line, "another version")
    write_state(data, text)
    Node(data=data).client().is_served()


def a_damaged_state_file():
    data = made_folder()
    text = read_state(data)
    for damaged in (text.replace("lanes=16", "lanes=17"), text[:len(text) // 2], "", "\0" * 100,
                    text.partition("# checksum")[0]):
        with open(os.path.join(data, "node"), "w", encoding="utf-8") as file:
            file.write(damaged)
        matches(refused(*options(data)), "damaged")
        equal(read_state(data), damaged, "the state file after a refusal")


def a_folder_with_foreign_files():
    data = temporary("foreign")
    os.mkdir(data)
    with open(os.path.join(data, "letter.txt"), "w", encoding="utf-8") as file:
        file.write("dear")
    line = refused(*options(data))
    matches(line, "letter.txt")
    matches(line, "not made by yakumo")
    assert os.path.exists(os.path.join(data, "letter.txt")), "the foreign file is gone"


def other_lanes():
    data = made_folder("node.lanes=16")
    line = refused(*options(data, "node.lanes=8"))
    matches(line, "lanes = 16")
    matches(line, "lanes = 8")
    Node(data=data).client().is_served()


def a_second_process_on_a_folder():
    node = Node()
    line = refused(*options(node.data))
    matches(line, f"another process uses it.*{'' if yakumo.IS_VALGRIND else node.pid}")
    node.client().is_served()
    node.kill()
    Node(data=node.data).client().is_served()


def a_port_in_use():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        data = temporary("data")
        line = refused("-o", f"node.data={data}", "-o", f"frontend.memcached.listen={address}")
        matches(line, re.escape(address))
        matches(line, "Address already in use")


def two_nodes_on_one_port():
    """SO_REUSEPORT must not let the second in."""
    for n_workers in (1, 2):
        node = Node(options=[f"node.workers={n_workers}"])
        line = refused("-o", f"node.data={temporary('data')}", "-o", f"node.workers={n_workers}", "-o",
                       f"frontend.memcached.listen=127.0.0.1:{node.port}")
        matches(line, f"127.0.0.1:{node.port}")
        matches(line, "Address already in use")
        node.client().is_served()
        node.stop()


def a_port_that_is_free_again():
    """A port may be taken again at once, although connections of the node before linger."""
    node = Node()
    client = node.client()
    client.is_served()
    node.stop()
    equal(client.rest(), b"", "what came at the end")
    again = Node(options=[f"frontend.memcached.listen=127.0.0.1:{node.port}"])
    equal(again.port, node.port, "port")
    again.client().is_served()


def an_unknown_plugin():
    for option, kind, name in (
            ("bucket.default.backend=memroy", "backend", "memory"),
            ("bucket.default.filters=stat", "filter", "stats"),
            ("frontend.memcached.request_filters=read-only", "request filter", "readonly")):
        line = refused(*options(temporary("data"), option))
        matches(line, f"no {kind} is named")
        matches(line, f"did you mean '{name}'")
    path = write_file("frontend.conf", SMALL.replace("frontend memcached", "frontend memcache"))
    matches(refused("-c", path), f"{re.escape(path)}:\\d+: .*did you mean 'memcached'")


BAD_CONFIGS = [
    # what is wrong, the text, the line that must be named, what must be said
    ("an unknown section", "[buckett default]\n", 1, "bucket"),
    ("an unknown key", f"[bucket default]\n{MEMORY}memory_mx = 1G\n", 3, "memory_max"),
    ("a bad size", f"[bucket default]\n{MEMORY}memory_max = 1X\n", 3, "1X"),
    ("a bad number", "[node a]\nworkers = many\n", 2, "many"),
    ("a number out of bounds", "[node a]\nlanes = 1000\n", 2, "256"),
    ("a bad word", f"[bucket default]\n{MEMORY}evict = lru\n", 3, "s3fifo"),
    ("a key twice", f"[bucket default]\n{MEMORY}{MEMORY}", 3, "durability"),
    ("a section twice", f"[bucket default]\n{MEMORY}[bucket default]\n", 3, "bucket default"),
    ("a comment behind a value", "[node a]\nlanes = 16 # a comment\n", 2, "comment"),
    ("a key before any section", "lanes = 16\n", 1, "section"),
    ("no key, no section", "[node a]\nwhat\n", 2, "what"),
    ("copies", f"[bucket default]\n{MEMORY}copies = 3\n", 3, "cluster"),
    ("a bucket's name that is taken", f"[bucket journal]\n{MEMORY}", 1, "choose another"),
    ("too little journal", "[node a]\njournal_size = 1M\n", 2, "write 8M to 1T"),
    ("a remote address", f"{SMALL}".replace("127.0.0.1:0", "0.0.0.0:11211"), 4, "allow_remote"),
    ("no address", f"{SMALL}".replace("127.0.0.1:0", "here"), 4, "here"),
    ("a plugin's option", "[filter delay]\nget = soon\n" + SMALL.replace(
        MEMORY, MEMORY + "filters = delay\n"), 2, "soon"),
    ("a plugin's unknown option", "[filter delay]\ngett = 1ms\n" + SMALL.replace(
        MEMORY, MEMORY + "filters = delay\n"), 2, "get"),
    ("an unknown bucket", SMALL.replace("[node a]", "bucket = other\n[node a]"), 5, "other"),
]


def config_errors_have_file_and_line():
    for what, text, line_number, said in BAD_CONFIGS:
        path = write_file("bad.conf", yakumo.with_ports(text))
        line = refused("--check-config", "-c", path)
        matches(line, f"{re.escape(path)}:{line_number}: ", what)
        matches(line, re.escape(said), what)
        equal(refused("-c", path), line, f"{what}: the line of a start")


def a_config_that_is_not_there():
    matches(refused("-c", temporary("none.conf")), "No such file")


def two_nodes_and_none_chosen():
    path = write_file("two.conf", yakumo.with_ports(SMALL) + "address = 127.0.0.1:1\n[node b]\naddress = 127.0.0.1:2\n[node c]\n"
                      "roles = manager\naddress = 127.0.0.1:3\n")
    line = refused("--check-config", "-c", path)
    matches(line, "--node")
    status, out, err = yakumo.yakumod("--check-config", "-c", path, "--node", "b")
    equal((status, err), (0, ""), "the check of node b")
    matches(out, "ok")
    matches(refused("--check-config", "-c", path, "--node", "d"), "d")


def bad_overrides():
    for option in ("frontend", "frontend.memcached", "nobody.x=1", "node.lanes=x", "=", "bucket.default.=1"):
        matches(refused("--check-config", "-o", option), "-o")


def wrong_usage():
    for arguments in (["--what"], ["file.conf"], ["-c"], ["-o"]):
        status, out, err = yakumo.yakumod(*arguments)
        equal((status, out), (2, ""), f"yakumod {arguments}")
        matches(err, r"\Ayakumod: .*--help")
    status, out, _ = yakumo.yakumod("--version")
    equal(status, 0, "--version")
    matches(out, r"\Ayakumod \d")
    status, out, _ = yakumo.yakumod("--help")
    equal(status, 0, "--help")
    matches(out, "--check-config")


def check_config_touches_nothing():
    data = temporary("data")
    status, out, err = yakumo.yakumod("--check-config", *options(data))
    equal((status, err), (0, ""), "--check-config")
    matches(out, "ok")
    assert not os.path.exists(data), "the data folder has been made"


def examples_are_good():
    examples = os.path.join(yakumo.SRCDIR, "examples")
    names = sorted(name for name in os.listdir(examples) if name.endswith(".conf"))
    assert names, "no examples"
    for name in names:
        path = os.path.join(examples, name)
        text = yakumo.read_file(path)
        if not all(yakumo.has_plugin(engine) for engine in re.findall(r"^(?:backend|coordinator) = (\w+)", text, re.M)):
            continue
        nodes = re.findall(r"^\[node (\w+)\]", text, re.M)
        status, _, err = yakumo.yakumod("--check-config", "-c", path, *(["--node", nodes[-1]] if len(nodes) > 1 else []))
        equal((status, err), (0, ""), f"--check-config of {name}")


def the_config_in_the_readme_is_good():
    text = yakumo.read_file(os.path.join(yakumo.SRCDIR, "README.md"))
    found = re.search(r"^```ini\n(.*?)^```", text, re.M | re.S)
    assert found, "README.md shows no config"
    status, _, err = yakumo.yakumod("--check-config", "-c", write_file("readme.conf", found[1]))
    equal((status, err), (0, ""), "--check-config of the README's config")


def the_store_example_is_good():
    for name in ("lmdb", "berkeleydb"):
        yakumo.need_plugin(name)
    path = os.path.join(yakumo.SRCDIR, "examples", "store.conf")
    status, _, err = yakumo.yakumod("--check-config", "-c", path)
    equal((status, err), (0, ""), "--check-config of examples/store.conf")
    line = refused("--check-config", "-c", path, "-o", "bucket.default.key_size_max=508")
    matches(line, r":\d+: bucket default: key_size_max = 508, but lmdb takes keys of at most 507 bytes")


def a_dump_can_be_read_again():
    sources = [[]]
    sources += [["-c", os.path.join(yakumo.SRCDIR, "examples", name)] for name in ("cache.conf", "single.conf")]
    sources += [["-c", write_file("unix.conf", SMALL.replace(
        "127.0.0.1:0", "127.0.0.1:11299, unix:/tmp/a b.sock?mode=0600").replace(
            MEMORY, MEMORY + "filters = stats, delay\nmemory_max = 100M\nevict = s3fifo\n")
        + "data = /tmp/a b\n[filter delay]\nget = 250ms\n")]]
    for source in sources:
        status, first, err = yakumo.yakumod("--dump-config", *source)
        equal((status, err), (0, ""), f"--dump-config {source}")
        path = write_file("dump.conf", first)
        status, second, err = yakumo.yakumod("--dump-config", "-c", path)
        equal((status, err), (0, ""), f"--dump-config of the dump of {source}")
        equal(second, first, "the dump of the dump")


def a_dump_shows_overrides():
    _, out, _ = yakumo.yakumod("--dump-config", "-o", "node.workers=3", "-o", "bucket.default.memory_max=64M",
                               "-o", "bucket.default.memory_max=65M")
    matches(out, "^workers = 3$")
    matches(out, "^memory_max = 65M$")


# -- The loop's engine. --

def loop_engine(*before, io):
    """What the node says that its loop runs on."""
    node = Node(options=[f"node.io={io}"], before=before)
    node.client().is_served()
    found = re.search(r" io=(\S+)", node.log())[1]
    node.stop()
    return found


def the_loop_is_chosen():
    equal(loop_engine(io="epoll"), "epoll", "the loop with io = epoll")
    assert loop_engine(io="auto") in ("epoll", "io_uring")


def io_uring_may_be_forbidden():
    before = ["/usr/bin/python3", os.path.join(yakumo.SRCDIR, "tests", "lib", "without_io_uring.py")]
    equal(loop_engine(*before, io="auto"), "epoll", "the loop where io_uring is forbidden")
    line = refused(*options(made_folder(), "node.io=io_uring"), before=before)
    matches(line, r"cannot set up the event loop with io = io_uring: .*; set io = auto")


yakumo.run(a_read_only_data_folder, a_data_folder_below_a_file, a_data_folder_that_is_a_file,
           a_folder_of_another_format, a_damaged_state_file, a_folder_with_foreign_files, other_lanes,
           a_second_process_on_a_folder, a_port_in_use, two_nodes_on_one_port, a_port_that_is_free_again,
           an_unknown_plugin, config_errors_have_file_and_line, a_config_that_is_not_there,
           two_nodes_and_none_chosen, bad_overrides, wrong_usage, check_config_touches_nothing,
           examples_are_good, the_config_in_the_readme_is_good, the_store_example_is_good,
           a_dump_can_be_read_again, a_dump_shows_overrides, the_loop_is_chosen, io_uring_may_be_forbidden)
