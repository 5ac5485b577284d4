#!/usr/bin/env python3
"""The tools for a data folder: yakumo journal, verify, dump and load, on healthy folders and on damaged ones.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/offline.py [CASE ...]
"""
import base64
import glob
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, matches, need_plugin, temporary

ENGINES = ("memory", "lmdb", "tokyocabinet", "berkeleydb")
FILES = {"lmdb": "data.mdb", "tokyocabinet": "records.tch", "berkeleydb": "records.db"}
HEAD = 8192  # bytes of a journal file's head
LANES = 4


def config(engine, durability="os", slots=1024):
    return (f"[bucket default]\nbackend = {engine}\ndurability = {durability}\nslots = {slots}\n"
            "[backend lmdb]\nmap_size = 256M\n[frontend memcached]\nlisten = 127.0.0.1:0\n"
            f"[node a]\nworkers = 2\nlanes = {LANES}\n")


def tool(*arguments, expect=0, stdin=b"", text=True):
    """Runs yakumo; returns what it printed on both, as text, or bytes of the first."""
    result = subprocess.run([os.path.join(yakumo.BUILDDIR, "yakumo"), *arguments], env=yakumo.environment(), input=stdin,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * yakumo.SLOW, check=False)
    err = result.stderr.decode(errors="replace")
    out = result.stdout.decode(errors="replace") if text else result.stdout
    if result.returncode != expect:
        raise AssertionError(f"{arguments}: status {result.returncode}, expected {expect}: {out[-1500:]!r} {err[-1500:]!r}")
    return out, err


def of_node(node):
    return ["-c", node.config_file, "-o", f"node.data={node.data}"]


def open_client(node):
    return Client(node.address(), timeout_s=30 * yakumo.SLOW)


def set_all(client, values):
    client.send(b"".join(b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value) for key, value in values.items()))
    for key in values:
        equal(client.line(), b"STORED", f"set {key}")


def numbers(n, size=20):
    return {b"k%d" % i: (b"value-%06d-" % i * size)[:13 * size] for i in range(n)}


def segments(data):
    return sorted(glob.glob(os.path.join(data, "journal", "*.log")))


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def batches_of(data):
    """(file, offset, size, number of entries) of all batches, in order."""
    found, path = [], None
    for thing in objects(tool("journal", "--json", data)[0]):
        if thing["kind"] == "segment":
            path = thing["file"]
        elif thing["kind"] == "batch":
            found.append((path, thing["offset"], thing["size"], thing["entries"]))
    return found


def killed(engine="memory", n=60, durability="os"):
    """A node that was killed, with writes in its journal, a batch each."""
    node = Node(config=config(engine, durability))
    client = open_client(node)
    for key, value in numbers(n, 3).items():
        equal(client.set(key, value), b"STORED", "set")
    client.close()
    node.kill()
    return node


# -- journal --

def journal_of_a_running_node():
    node = Node(config=config("memory"))
    client = open_client(node)
    equal(client.ask(b"set plain 7 0 5\r\nhello"), b"STORED", "set")
    equal(client.ask(b"set later 0 1000 1\r\ny"), b"STORED", "set")
    equal(client.ask(b"ms %b 3 b\r\nbin" % base64.b64encode(b"a\0\"\xff")), b"HD", "a binary key")
    equal(client.ask(b"delete plain"), b"DELETED", "delete")
    equal(client.ask(b"flush_all"), b"OK", "flush")
    equal(client.ask(b"flush_all 1000"), b"OK", "flush")
    out, _ = tool("journal", "--values", node.data)
    matches(out, r"^\S+/journal/000000000001.log: file 1 of the journal of node [0-9a-f-]{36}, .*; buckets: default$")
    matches(out, r'^    put default slot \d+ version 1\.1 key "plain": value of 5 bytes, flags 7, "hello"$')
    matches(out, r'^    put default slot \d+ version \S+ key "later": value of 1 bytes, expires 20\d\d-\S+Z, "y"$')
    matches(out, r'^    put .* key "a\\x00\\"\\xff": value of 3 bytes, "bin"$')
    matches(out, r'^    delete default slot \d+ version \S+ key "plain"$')
    matches(out, r"^    flush default slot \d+ version \S+$")
    matches(out, r"^    flush-at default slot \d+ version \S+ due 20")
    matches(out, r"^  clean at byte \d+: .* 3 put, 1 delete, 1024 flush, 4 flush-at$")
    assert "hello" not in tool("journal", node.data)[0], "a value that was not asked for"
    things = objects(tool("journal", "--json", "--key", "plain", "--bucket", "default", node.data)[0])
    equal([thing["kind"] for thing in things], ["segment", "put", "delete", "end"], "kinds")
    equal((things[1]["flags"], things[1]["value_size"]), (7, 5), "the record")
    equal([thing["kind"] for thing in objects(tool("journal", "--json", "--bucket", "none", segments(node.data)[0])[0])],
          ["segment", "end"], "another bucket")
    equal(len(tool("journal", "--summary", node.data)[0].splitlines()), 2, "lines of a summary")
    client.close()
    node.stop()
    tool("journal", node.data)


def journal_while_it_is_written():
    node = Node(config=config("memory"))
    client = open_client(node)
    for i in range(20):
        client.send(b"".join(b"set w%d-%d 0 0 1000 noreply\r\n%b\r\n" % (i, k, b"x" * 1000) for k in range(500)))
        tool("journal", "--summary", node.data)
    equal(client.ask(b"set last 0 0 1\r\nx"), b"STORED", "set")
    equal(objects(tool("journal", "--json", "--summary", node.data)[0])[-1]["put"] > 0, True, "puts in the last file")
    client.close()
    node.stop()


def journal_that_is_none():
    path = yakumo.write_file("no.log", "this is something else\n")
    for name in (path, path + ".none", "/etc/hostname"):
        _, err = tool("journal", name, expect=2)
        equal(err.count("\n"), 1, f"lines of {err!r}")
    shutil.copy(path, os.path.join(os.path.dirname(path), "000000000001.log"))
    matches(tool("journal", os.path.join(os.path.dirname(path), "000000000001.log"), expect=2)[1], "no journal file")
    tool("journal", expect=2)
    matches(tool("journal", "--help")[0], "accept-loss FILE")


def journal_torn():
    node = killed()
    path, offset, size, _ = batches_of(node.data)[-1]
    flip(path, offset + size - 1)
    out, _ = tool("journal", node.data)
    matches(out, f"^  torn at byte {offset}: 59 batches")
    node.start()
    client = open_client(node)
    equal(client.get(b"k58") is None, False, "the one before")
    equal(client.get(b"k59"), None, "the torn one")
    client.close()
    node.stop()


def journal_damaged():
    """What is damaged is named with its bytes, the daemon refuses, and the operator's word is the way out."""
    node = killed()
    path, offset, size, _ = batches_of(node.data)[20]
    before = yakumo.refused
    flip(path, offset + size - 1)
    out, err = tool("journal", node.data, expect=1)
    matches(out, rf"DAMAGED: bytes {offset} to {offset + size + -size % 8} are not readable")
    matches(out, rf"^  damaged at byte {offset}: 59 batches, 59 entries")
    matches(err, rf"the journal is damaged: {re.escape(path)}: what stands at byte {offset} is not readable")
    said = before(*of_node(node))
    matches(said, rf"the journal is damaged: {re.escape(path)}: .* see \"yakumo journal --help\"")
    tool("verify", *of_node(node)[:2], node.data, expect=1)
    out, err = tool("journal", "--accept-loss", path, expect=2)
    matches(out, "39 batches with 39 entries could still be read")
    matches(err, "add --yes")
    matches(before(*of_node(node)), "the journal is damaged", )
    out, _ = tool("journal", "--accept-loss", "--yes", path)
    matches(out, "The loss is accepted; what was set aside is in .*lost-1")
    equal(os.path.getsize(os.path.join(node.data, "journal", "lost-1", os.path.basename(path))), os.path.getsize(path), "size")
    tool("journal", node.data)
    tool("journal", os.path.join(node.data, "journal", "lost-1", os.path.basename(path)), expect=1)
    matches(tool("journal", "--accept-loss", "--yes", path, expect=2)[1], "is not damaged")
    node.start()
    matches(node.log(), "an operator accepted a loss: the last writes of 1024 slots may be lost")
    client = open_client(node)
    equal([i for i in range(60) if client.get(b"k%d" % i) is None], list(range(20, 60)), "what is lost")
    set_all(client, numbers(60))
    client.close()
    node.kill()
    node.start()
    client = open_client(node)
    equal(len([i for i in range(60) if client.get(b"k%d" % i) is None]), 0, "what is lost after it")
    client.close()
    node.stop()


def journal_damaged_twice():
    """What stands behind the first damage is still read, up to the next."""
    node = killed()
    holes = [batches_of(node.data)[i] for i in (20, 40)]
    for path, offset, size, _ in holes:
        flip(path, offset + size - 1)
    things = objects(tool("journal", "--json", node.data, expect=1)[0])
    equal([thing["from"] for thing in things if thing["kind"] == "damage"], [offset for _, offset, _, _ in holes], "damage")
    equal(len([thing for thing in things if thing["kind"] == "put"]), 58, "entries that can be read")
    matches(tool("journal", "--accept-loss", path, expect=2)[0], "38 batches with 38 entries could still be read")


def journal_of_several_files():
    """Later files are set aside too; a file that is missing, or a head that is gone, has the same way out."""
    for how in ("middle", "head", "missing"):
        node = Node(config=config("memory") + "journal_size = 64M\n")
        client = open_client(node)
        for i in range(60):
            equal(client.set(b"big%d" % i, b"x" * 900000), b"STORED", "set")
        client.close()
        node.kill()
        used = sorted({path for path, *_ in batches_of(node.data)})
        assert len(used) >= 3, f"{len(used)} files"
        if how == "middle":
            path, offset, size, _ = [batch for batch in batches_of(node.data) if batch[0] == used[-2]][1]
            flip(path, offset + size - 1)
        elif how == "head":
            path = used[-2]
            flip(path, 100)
        else:
            os.unlink(used[-2])
            path = used[-1]
        matches(tool("journal", "--summary", node.data, expect=1)[1], re.escape(path))
        matches(yakumo.refused(*of_node(node)), re.escape(path))
        if how != "missing":
            matches(tool("journal", "--accept-loss", "--yes", used[-1], expect=2)[1], "it begins before that file")
        tool("journal", "--accept-loss", "--yes", path)
        lost = sorted(os.listdir(os.path.join(node.data, "journal", "lost-1")))
        equal(os.path.basename(used[-1]) in lost, True, f"the last file among {lost}")
        node.start()
        client = open_client(node)
        equal(len(client.get(b"big0")), 900000, "the first")
        equal(client.get(b"big59"), None, "the last")
        client.close()
        node.stop()


def snapshot_damaged():
    node = Node(config=config("memory"), start=False)
    node.start()
    client = open_client(node)
    set_all(client, numbers(300))
    client.close()
    node.stop()
    stream, _ = tool("dump", *of_node(node), "--bucket", "default", text=False)
    fresh = Node(config=config("memory"), start=False)
    tool("load", *of_node(fresh), "--bucket", "default", stdin=stream)
    path = os.path.join(fresh.data, "default", "lane-001.snapshot")
    matches(tool("journal", path)[0], r": a snapshot of node .*; bucket: default\n")
    tool("verify", *of_node(fresh)[:2], fresh.data)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 48)
    matches(tool("journal", path, expect=1)[1], "is not whole")
    matches(tool("verify", *of_node(fresh)[:2], fresh.data, expect=1)[0], "DAMAGED .*lane-001.snapshot")
    matches(yakumo.refused(*of_node(fresh)), re.escape(path))
    tool("journal", "--accept-loss", "--yes", path)
    fresh.start()
    client = open_client(fresh)
    equal(len([key for key, value in numbers(300).items() if client.get(key) == value]), 300, "what is there")
    client.close()
    fresh.stop()


def lock_held():
    node = Node(config=config("memory"))
    client = open_client(node)
    equal(client.set(b"k", b"v"), b"STORED", "set")
    path = segments(node.data)[0]
    for arguments in (("verify", *of_node(node)[:2], node.data), ("journal", "--accept-loss", "--yes", path),
                      ("dump", *of_node(node), "--bucket", "default"), ("load", *of_node(node), "--bucket", "default")):
        stream = b""
        if arguments[0] == "load":
            stream = make_stream([(b"k", b"v")])
        matches(tool(*arguments, expect=2, stdin=stream)[1], rf"another process uses it \(pid {node.pid}\)", arguments[0])
    client.close()
    node.stop()


# -- verify --

def verify_healthy():
    for engine in ENGINES:
        need_plugin(engine)
        for durability in ("os", "disk"):
            node = Node(config=config(engine, durability))
            client = open_client(node)
            set_all(client, numbers(500))
            equal(client.ask(b"flush_all"), b"OK", "flush")
            set_all(client, numbers(300))
            client.close()
            node.kill()
            out, _ = tool("verify", *of_node(node)[:2], node.data)
            matches(out, r"^all is well: ", f"{engine} after a kill")
            node.start()
            client = open_client(node)
            equal(client.get(b"k1"), numbers(2)[b"k1"], f"{engine} after it")
            client.close()
            node.stop()
            things = objects(tool("verify", "--json", *of_node(node)[:2], node.data)[0])
            equal(things[-1]["damaged"], 0, "damaged")
            if engine != "memory":
                assert things[-1]["records"] >= 300, things[-1]
            node.start()
            node.stop()


def check_verify_damaged(engine):
    """Every record that a client is refused is named, and none that it is given."""
    need_plugin(engine)
    node = Node(config=config(engine))
    client = open_client(node)
    values = {b"k%d" % i: b"value-%04d-" % i * 20 for i in range(500)}
    set_all(client, values)
    client.close()
    node.stop()
    tool("verify", *of_node(node)[:2], node.data)
    n_flipped = 0
    for lane in range(2):
        path = os.path.join(node.data, "default", f"lane-00{lane}", FILES[engine])
        with open(path, "rb") as file:
            data = bytearray(file.read())
        at = data.find(b"value-")
        while at >= 0 and n_flipped < (1 if engine == "berkeleydb" else 40) * (lane + 1):
            data[at + 1] ^= 1
            n_flipped += 1
            at = data.find(b"value-", at + 4096)
        with open(path, "wb") as file:
            file.write(data)
    out, _ = tool("verify", *of_node(node)[:2], node.data, expect=1)
    matches(out, "^DAMAGE WAS FOUND")
    if engine == "berkeleydb":
        matches(out, "^DAMAGED bucket default, lane 0: ")
        return
    named = set(re.findall(r'^DAMAGED bucket default, lane \d, slot \d+, key "(k\d+)": its bytes are not', out, re.M))
    node.start()
    client = open_client(node)
    refused = {key.decode() for key, value in values.items() if client.get(key) != value}
    equal(named, refused, "damaged records")
    assert 0 < len(named) <= n_flipped, f"{len(named)} of {n_flipped}"
    client.close()
    node.stop()
    _, err = tool("dump", *of_node(node), "--bucket", "default", expect=1, text=False)
    matches(err, f"{len(named)} damaged")


def verify_folders():
    """The superblock, the registers, what is no data folder, another config."""
    node = killed("lmdb")
    conf = of_node(node)[:2]
    tool("verify", *conf, node.data)
    matches(tool("verify", node.data, expect=2)[1], "-c FILE")
    matches(tool("verify", *conf, "-o", "node.lanes=8", node.data, expect=2)[1], "lanes")
    matches(tool("verify", *conf, os.path.dirname(node.data), expect=2)[1], "no data folder")
    register = glob.glob(os.path.join(node.data, "registers", "bucket.default"))[0]
    flip(register, os.path.getsize(register) // 2)
    matches(tool("verify", *conf, node.data, expect=1)[0], "^DAMAGED .*registers")
    flip(register, os.path.getsize(register) // 2)
    lane = os.path.join(node.data, "default", "lane-002")
    shutil.move(lane, lane + ".away")
    matches(tool("verify", *conf, node.data, expect=1)[0], "^DAMAGED bucket default, lane 2: its folder .* is missing")
    shutil.move(lane + ".away", lane)
    shutil.copytree(os.path.join(node.data, "default", "lane-001"), lane, dirs_exist_ok=True)
    matches(tool("verify", *conf, node.data, expect=1)[0], "it stands in another lane than its key belongs to")
    flip(os.path.join(node.data, "node"), 20)
    matches(tool("verify", *conf, node.data, expect=1)[0], "^DAMAGED .*checksum")


# -- dump and load --

BINARY = bytes(range(1, 60)) + b"\0\xff "


def fill(client):
    """Every kind of record; returns what is asked afterwards and the answers."""
    set_all(client, {**numbers(100), b"empty": b"", b"large": bytes(range(256)) * 4000})
    equal(client.ask(b"set flagged 4294967295 0 1\r\nf"), b"STORED", "flags")
    equal(client.ask(b"set soon 0 1 1\r\ns"), b"STORED", "an end")
    equal(client.ask(b"set later 5 100000 1\r\nl"), b"STORED", "a later end")
    equal(client.ask(b"set gone 0 0 1\r\ng"), b"STORED", "set")
    equal(client.ask(b"delete gone"), b"DELETED", "delete")
    key = base64.b64encode(BINARY)
    equal(client.ask(b"ms %b 4 b F9\r\n\0\1\2\3" % key), b"HD", "a binary key")
    equal(client.ask(b"ms own 1 E777\r\no"), b"HD", "a CAS unique of the client's own")
    equal(client.ask(b"ms stale 1\r\ns"), b"HD", "set")
    equal(client.ask(b"md stale I T1000"), b"HD", "marked stale")


def questions():
    key = base64.b64encode(BINARY)
    plain = [b"k%d" % i for i in range(100)] + [b"empty", b"flagged", b"later", b"gone", b"own", b"large"]
    return [b"mg %b v f c s" % name for name in plain] + [b"mg %b b v f c" % key]


def ask_all(client):
    answers = []
    for question in questions():
        line = client.ask(question)
        value = client.bytes(int(line.split(b" ")[1]) + 2) if line.startswith(b"VA") else b""
        answers.append((question, line, value))
    return answers


def check_carry(source):
    """From one engine into each: the same answers, and versions that grow."""
    need_plugin(source)
    node = Node(config=config(source, "os"))
    client = open_client(node)
    fill(client)
    expected = ask_all(client)
    yakumo.time.sleep(1.2)
    client.close()
    node.kill()
    path = temporary(f"{source}.dump")
    _, err = tool("dump", *of_node(node), "--bucket", "default", "--output", path)
    matches(err, r"^yakumo dump: 107 records, \d+ bytes; left out: [01] that have ended, 0 damaged$")
    for target in ENGINES:
        need_plugin(target)
        other = Node(config=config(target, "disk", slots=256), start=False)
        _, err = tool("load", *of_node(other), "--bucket", "default", "--input", path)
        matches(err, rf"^yakumo load: 107 records, {os.path.getsize(path)} bytes, made from {source}; left out: 0")
        matches(tool("verify", *of_node(other)[:2], other.data)[0], "^all is well")
        matches(tool("load", *of_node(other), "--bucket", "default", "--input", path, expect=1)[1], "is not empty")
        other.start()
        client = open_client(other)
        equal(ask_all(client), expected, f"{source} to {target}")
        equal(set(client.ask(b"mg stale f").split()[1:]), {b"f0", b"W", b"X"}, "one who is to fetch it anew")
        before = {key: client.gets(key)[1] for key in numbers(50)}
        greatest = max(before.values())
        set_all(client, numbers(50))
        assert min(client.gets(key)[1] for key in before) > greatest, "a version that is not above what was loaded"
        client.close()
        other.kill()
        other.start()
        client = open_client(other)
        equal(client.get(b"large"), bytes(range(256)) * 4000, "the large one after kill -9")
        client.close()
        other.stop()


def load_into_what_was_flushed():
    """A bucket that is empty by a flush, of the same node: what is loaded must not be under the flush."""
    for engine in ENGINES:
        need_plugin(engine)
        node = Node(config=config(engine))
        client = open_client(node)
        set_all(client, numbers(50))
        client.close()
        node.stop()
        path = temporary("dump")
        tool("dump", *of_node(node), "--bucket", "default", "--output", path)
        client = open_client(node.start())
        equal(client.ask(b"flush_all"), b"OK", "flush")
        client.close()
        node.stop()
        tool("load", *of_node(node), "--bucket", "default", "--input", path)
        client = open_client(node.start())
        equal([key for key, value in numbers(50).items() if client.get(key) != value], [], "what is not there")
        client.close()
        node.stop()


def merge():
    node = Node(config=config("tokyocabinet"))
    client = open_client(node)
    set_all(client, {b"a": b"old", b"b": b"kept"})
    cas = client.gets(b"a")[1]
    client.close()
    node.stop()
    stream = make_stream([(b"a", b"new"), (b"c", b"more")])
    matches(tool("load", *of_node(node), "--bucket", "default", stdin=stream, expect=1)[1], "--merge")
    tool("load", *of_node(node), "--bucket", "default", "--merge", "--progress", stdin=stream)
    client = open_client(node.start())
    equal([client.get(key) for key in (b"a", b"b", b"c")], [b"new", b"kept", b"more"], "values")
    equal(client.gets(b"a")[1] != cas, True, "another CAS unique")
    client.close()
    node.stop()


def durability_memory():
    """An engine that keeps something, without a journal; one that keeps nothing is refused."""
    node = Node(config=config("lmdb", "memory"))
    client = open_client(node)
    set_all(client, numbers(50))
    equal(client.ask(b"flush_all"), b"OK", "flush")
    set_all(client, numbers(20))
    client.close()
    node.stop()
    stream, err = tool("dump", *of_node(node), "--bucket", "default", text=False)
    matches(err, "^yakumo dump: 20 records")
    other = Node(config=config("tokyocabinet", "memory"), start=False)
    tool("load", *of_node(other), "--bucket", "default", stdin=stream)
    client = open_client(other.start())
    equal([key for key, value in numbers(20).items() if client.get(key) != value], [], "what is not there")
    client.close()
    other.stop()
    volatile = Node(config=config("memory", "memory"), start=False)
    for verb in ("dump", "load"):
        matches(tool(verb, *of_node(volatile), "--bucket", "default", expect=2)[1], "keeps nothing")
        matches(tool(verb, *of_node(node), "--bucket", "none", expect=2)[1], "no bucket 'none'; there are default")


# A writer of the stream of its own, after yakumo-dump(5).

def pack(thing):
    if isinstance(thing, dict):
        return bytes([0x80 | len(thing)]) + b"".join(pack(key) + pack(value) for key, value in thing.items())
    if isinstance(thing, list):
        return bytes([0x90 | len(thing)]) + b"".join(map(pack, thing))
    if isinstance(thing, str):
        return b"\xd9" + bytes([len(thing)]) + thing.encode()
    if isinstance(thing, bytes):
        return b"\xc6" + len(thing).to_bytes(4, "big") + thing
    return b"\xcf" + thing.to_bytes(8, "big")


def make_stream(records, epoch=9, end=None):
    """Its checksum is taken from what the tool says of a wrong one: there is no XXH3 in Python's library."""
    head = {"format": "yakumo-dump", "version": 1, "bucket": "b", "engine": "memory", "slots": 16, "epoch": epoch,
            "made_at_ms": 1, "key_size_max": 250, "value_size_max": 1 << 20, "a later word": "is gone over"}
    body = pack(head) + b"".join(pack([key, value, (epoch << 40) + i + 1, 0, 0, 0, 0]) for i, (key, value) in enumerate(records))
    return body + (end if end is not None else pack({"records": len(records), "checksum": xxh3(body)}))


def xxh3(data):
    """XXH3-64 by xxHash's own library, which the daemon needs to be built."""
    import ctypes
    import ctypes.util
    name = ctypes.util.find_library("xxhash")
    if name is None:
        yakumo.skip("the library of xxHash is not there")
    library = ctypes.CDLL(name)
    library.XXH3_64bits.restype = ctypes.c_uint64
    return library.XXH3_64bits(data, ctypes.c_size_t(len(data)))


def streams_that_are_refused():
    node = Node(config=config("tokyocabinet"), start=False)
    whole = make_stream([(b"k%d" % i, b"v" * 100) for i in range(20)])
    late = make_stream([(b"k", b"v")], epoch=1 << 23)
    cases = [("cut short", whole[:n]) for n in (len(whole) - 1, len(whole) - 15, len(whole) // 2, 400)]
    cases += [("empty", b""), ("no dump", b"hello" * 100), ("no dump", b"\x81\xa6format\xa5other"),
              ("no dump", pack({"a": 1})), ("checksum", whole[:600] + bytes([whole[600] ^ 1]) + whole[601:]),
              ("behind its end", whole + b"\xc0"), ("seven values", make_stream([], end=pack([b"k", b"v"]) + bytes(300))),
              ("version 2", pack({"format": "yakumo-dump", "version": 2})), ("cannot be one", make_stream([(b"", b"v")])),
              ("key_size_max", make_stream([(b"k" * 300, b"v")])), ("value_size_max", make_stream([(b"k", bytes(2 << 20))])),
              ("above it", make_stream([(b"k", b"v")], epoch=(1 << 24) - 2))]
    for said, stream in cases:
        path = temporary("stream")
        with open(path, "wb") as file:
            file.write(stream)
        _, err = tool("load", *of_node(node), "--bucket", "default", "--input", path, expect=1)
        matches(err, said, f"a stream of {len(stream)} bytes")
        if said != "above it":
            matches(err, "nothing was changed", said)
        equal(os.path.exists(node.data), False, f"{said}: a data folder was made")
    tool("load", *of_node(node), "--bucket", "default", stdin=late)
    client = open_client(node.start())
    equal(client.get(b"k"), b"v", "a value of a late epoch")
    equal(client.gets(b"k")[1] >> 40, 1 << 23, "its epoch")
    equal(client.set(b"k", b"w"), b"STORED", "set")
    assert client.gets(b"k")[1] >> 40 > 1 << 23, "a version that is not above it"
    client.close()
    node.stop()
    pipe = Node(config=config("tokyocabinet"), start=False)
    matches(tool("load", *of_node(pipe), "--bucket", "default", stdin=whole[:-3], expect=1)[1], "the bucket is not whole")
    tool("load", *of_node(pipe), "--bucket", "default", "--merge", stdin=whole)
    pipe.start()
    pipe.stop()


def carry(source):
    def run():
        check_carry(source)
    run.__name__ = f"carry_from_{source}"
    return run


def damaged(engine):
    def run():
        check_verify_damaged(engine)
    run.__name__ = f"verify_damaged_{engine}"
    return run


yakumo.run(journal_of_a_running_node, journal_while_it_is_written, journal_that_is_none, journal_torn, journal_damaged, journal_damaged_twice,
           journal_of_several_files, snapshot_damaged, lock_held, verify_healthy, *(damaged(engine) for engine in FILES),
           verify_folders, *(carry(engine) for engine in ENGINES), load_into_what_was_flushed, merge, durability_memory,
           streams_that_are_refused)
