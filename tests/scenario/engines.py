#!/usr/bin/env python3
"""Engines that keep what they are given: restarts, kill -9, flushes, full disks, damage, folders that cannot be used.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/engines.py [CASE ...]
"""
import os
import random
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Client, Node, equal, matches, need_plugin, skip, temporary

ENGINES = ("lmdb", "tokyocabinet", "berkeleydb")
FILES = {"lmdb": "data.mdb", "tokyocabinet": "records.tch", "berkeleydb": "records.db"}
SHUT = b"SERVER_ERROR the storage of this part of the keys has failed; see the log"
KILLS = 40 if yakumo.IS_LONG else 3


def config(engine, durability="os", lanes=4, more=""):
    return (f"[bucket default]\nbackend = {engine}\ndurability = {durability}\n"
            "[backend lmdb]\nmap_size = 1G\n[frontend memcached]\nlisten = 127.0.0.1:0\n"
            f"[node a]\nworkers = 2\nlanes = {lanes}\n{more}")


def open_client(node):
    return Client(node.address(), timeout_s=30 * yakumo.SLOW)


def set_all(client, values):
    client.send(b"".join(b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value) for key, value in values.items()))
    for key in values:
        equal(client.line(), b"STORED", f"set {key}")


def restart(node, end):
    end()
    node.start()
    return open_client(node)


# -- Restarts. --

def check_restart(engine):
    node = Node(config=config(engine))
    client = open_client(node)
    equal(client.ask(b"set plain 7 0 5\r\nhello"), b"STORED", "set")
    equal(client.ask(b"set soon 0 1 1\r\nx"), b"STORED", "set with an end")
    equal(client.ask(b"set later 0 1000 1\r\ny"), b"STORED", "set with a later end")
    equal(client.ask(b"set number 0 0 2\r\n41"), b"STORED", "set")
    equal(client.ask(b"incr number 1"), b"42", "incr")
    equal(client.ask(b"set gone 0 0 1\r\nz"), b"STORED", "set")
    equal(client.ask(b"delete gone"), b"DELETED", "delete")
    before = client.gets(b"plain")
    for end in (node.stop, node.kill, node.stop):
        client.close()
        client = restart(node, end)
        equal(client.gets(b"plain"), before, "value, flags and cas unique over a restart")
        equal(client.get(b"later"), b"y", "a record with an end to come")
        equal(client.get(b"gone"), None, "a deleted record")
    time.sleep(1.1)
    equal(client.get(b"soon"), None, "a record that has ended")
    equal(client.ask(b"incr number 1"), b"43", "incr")
    equal(client.ask(b"append plain 0 0 1\r\n!"), b"STORED", "append")
    value, unique = client.gets(b"plain")
    equal(value, b"hello!", "the appended value")
    assert unique > before[1], "versions only grow"
    client.close()
    node.stop()


def check_flush(engine):
    node = Node(config=config(engine))
    client = open_client(node)
    values = {b"k%d" % i: b"v" for i in range(100)}
    set_all(client, values)
    equal(client.ask(b"flush_all"), b"OK", "flush_all")
    set_all(client, {b"after": b"1"})
    client = restart(node, node.kill)
    equal([key for key in values if client.get(key) is not None], [], "flushed keys over kill -9")
    equal(client.get(b"after"), b"1", "a key stored after the flush")
    equal(client.ask(b"flush_all 2"), b"OK", "flush_all with a delay")
    set_all(client, {b"k1": b"x"})
    client = restart(node, node.kill)
    equal(client.get(b"k1"), b"x", "before the flush is due")
    time.sleep(2.2)
    equal(client.get(b"k1"), None, "after it")
    set_all(client, {b"k2": b"y"})
    client = restart(node, node.kill)
    equal(client.get(b"k2"), b"y", "stored after the delayed flush, over a restart")
    equal((client.get(b"k1"), client.get(b"after")), (None, None), "flushed keys")
    client.close()
    node.stop()


def check_flush_behind_checkpoint(engine):
    """The journal that held the flush is gone, the flushed records are not swept yet: they stay away."""
    node = Node(config=config(engine, "disk"), options=["node.journal_size=8M"])
    client = open_client(node)
    values = {b"old%d" % i: b"v" * 50 for i in range(10000)}
    set_all(client, values)
    equal(client.ask(b"flush_all"), b"OK", "flush_all")
    for _ in range(40):
        set_all(client, {b"new%d" % i: b"w" * 100000 for i in range(10)})
    client = restart(node, node.kill)
    equal([key for key in values if client.get(key) is not None][:3], [], "flushed keys")
    equal(client.get(b"new9"), b"w" * 100000, "a key stored after the flush")
    client.close()
    node.stop()


def check_hints(engine):
    """The core remembers reads for engines that do not."""
    node = Node(config=config(engine))
    client = open_client(node)
    set_all(client, {b"k": b"v"})
    equal(client.ask(b"mg k h l"), b"HD h0 l0", "hints of what was stored")
    equal(client.ask(b"mg k h l"), b"HD h1 l0", "hints of what was read")
    client.send(b"mg none h\r\nms two 1\r\nv\r\nmg two h\r\nmg two h\r\n")
    equal([client.line() for _ in range(4)], [b"EN", b"HD", b"HD h0", b"HD h1"], "hints in one pipeline")
    equal(client.ask(b"mg k h T100"), b"HD h1", "hints of a touch")
    equal(client.ask(b"mg k h"), b"HD h1", "hints after it")
    set_all(client, {b"k": b"w"})
    equal(client.ask(b"mg k h"), b"HD h0", "hints of what was stored anew")
    client.close()
    node.stop()


# -- kill -9 in the middle of writes. --

class Writer(threading.Thread):
    """Writes keys of its own with rising numbers until the connection breaks; knows what was answered."""

    def __init__(self, node, name, keys):
        super().__init__()
        self.client = open_client(node)
        self.name, self.keys = name, keys
        self.begun = {}

    def run(self):
        chance = random.Random(self.name)
        try:
            while True:
                batch = [chance.choice(list(self.keys)) for _ in range(20)]
                for key in batch:
                    self.begun[key] = self.begun.get(key, self.keys[key]) + 1
                    text = b"%d " % self.begun[key] * chance.randint(1, 50)
                    self.client.send(b"set %b 0 0 %d\r\n%b\r\n" % (key, len(text), text))
                    if self.client.line() != b"STORED":
                        return
                    self.keys[key] = self.begun[key]
        except (OSError, AssertionError, EOFError):
            pass


def check_crashes(engine, durability):
    """What was answered is there; what was not may be."""
    seed = int(os.environ.get("YK_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    node = Node(config=config(engine, durability))
    acknowledged = [{b"w%d:%d" % (w, k): 0 for k in range(200)} for w in range(3)]
    for _ in range(KILLS):
        writers = [Writer(node, f"{seed} {w}", acknowledged[w]) for w in range(3)]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.05, 0.6))
        node.kill()
        for writer in writers:
            writer.join()
            writer.client.close()
        node.start()
        client = open_client(node)
        for writer in writers:
            for key, number in writer.keys.items():
                value = client.get(key)
                found = int(value.split()[0]) if value is not None else 0
                assert number <= found <= writer.begun.get(key, number), \
                    f"{key}: {number} was answered, {found} is there (YK_SEED={seed})"
                writer.keys[key] = found
        client.close()
    node.stop()


def scan_keys(client):
    client.send(b"lru_crawler metadump all\r\n")
    dump = b""
    while not dump.endswith(b"END\r\n"):
        dump += client.bytes(1)
    return set(re.findall(rb"^key=(\S+)", dump, re.M))


def kill_in_transaction(node, path):
    """Ends the node while its log holds a transaction; stopped, it cannot get out of one that is seen."""
    deadline = time.monotonic() + 60 * yakumo.SLOW
    while time.monotonic() < deadline:
        node.pause()
        if os.path.exists(path) and os.path.getsize(path) > 8 + 12 + 256:
            node.kill()
            return
        node.resume()
        time.sleep(random.uniform(0, 0.002))
    raise AssertionError("no transaction was seen under way in 60 s of writing")


def torn_log(engine):
    """kill -9 in the middle of a write to Tokyo Cabinet's log: the last entry is cut short, its change not begun."""
    node = Node(config=config(engine, lanes=1))
    path = os.path.join(node.data, "default", "lane-000", "records.tch.wal")
    keys = {b"%d" % k: 0 for k in range(200)}
    writer = Writer(node, "torn", keys)
    writer.start()
    kill_in_transaction(node, path)
    writer.join()
    writer.client.close()
    with open(path, "ab") as file:
        file.write(bytes(8) + b"\0\x01\x01\0" + bytes(1000))
    node.start()
    client = open_client(node)
    set_all(client, {b"new%d" % i: b"n" * 1000 for i in range(20)})
    found = scan_keys(client)
    equal([i for i in range(20) if b"new%d" % i not in found], [], "new keys that a scan does not see")
    for key, number in keys.items():
        value = client.get(key)
        at = int(value.split()[0]) if value is not None else 0
        assert number <= at <= writer.begun.get(key, number), f"{key}: {number} was answered, {at} is there"
        assert value is None or key in found, f"{key} is not in a scan: {found}"
    client.close()
    node.stop()


# -- Disks and files. --

FULL_MIB = 96


def filler_of(node, place):
    """A file on the node's small file system, as it is seen from here."""
    return f"/proc/{node.child.pid}/root{place}/filler"


def check_full(engine):
    """On a small file system of its own: writes are refused, reads go on, and nothing is lost."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        skip("needs root, to mount a small file system")
    place = temporary("small")
    os.mkdir(place)
    mount = f"mount -t tmpfs -o size={FULL_MIB}m none {place} && exec \"$@\""
    status, _, _ = yakumo.yakumod("--version", before=["unshare", "-m", "sh", "-c", mount, "sh"])
    if status != 0:
        skip("may not mount a file system here")
    node = Node(config=config(engine), data=os.path.join(place, "data"), before=["unshare", "-m", "sh", "-c", mount, "sh"],
                options=["node.journal_size=8M"])
    client = open_client(node)
    with open(filler_of(node, place), "wb") as file:
        file.write(bytes(20 << 20))
    value = bytes(random.Random(1).randbytes(100000))
    answers = [client.ask(b"set k%d 0 0 %d\r\n%b" % (i, len(value), value)) for i in range(15 * FULL_MIB)]
    stored = [i for i, answer in enumerate(answers) if answer == b"STORED"]
    refused = {answer for answer in answers if answer != b"STORED"}
    assert refused, "everything found room"
    for answer in refused:
        matches(answer.decode(), "^SERVER_ERROR no space left")
    assert len(stored) > 50, f"{len(stored)} were stored"
    for i in stored:
        equal(client.get(b"k%d" % i), value, f"value {i} on a full disk")
    matches(node.log(), "writes are refused")
    assert "lane stopped" not in node.log(), node.log()
    os.remove(filler_of(node, place))
    deadline = time.monotonic() + 20 * yakumo.SLOW
    while client.ask(b"set again 0 0 1\r\na") != b"STORED":
        assert time.monotonic() < deadline, f"writes are still refused, though there is space again: {node.log()}"
        time.sleep(0.1)
    equal(client.get(b"again"), b"a", "a value stored after space had returned")
    client.close()
    node.stop()


def check_unusable(engine):
    node = Node(config=config(engine), start=False)
    os.makedirs(node.data)
    path = os.path.join(node.data, "default")
    with open(path, "w", encoding="ascii") as file:
        file.write("in the way\n")
    shutil.move(path, node.data + ".file")
    node.start()
    node.stop()
    shutil.rmtree(os.path.join(node.data, "default", "lane-001"))
    shutil.move(node.data + ".file", os.path.join(node.data, "default", "lane-001"))
    node.spawn()
    node.stop(None, expect=1)
    equal(node.log().count("\n"), 1, "lines")
    matches(node.log(), "lane-001")


def check_read_only(engine):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        skip("needs root, to mount the folder read-only")
    node = Node(config=config(engine))
    set_all(open_client(node), {b"k": b"v"})
    node.stop()
    mount = f"mount --bind {node.data} {node.data} && mount -o remount,ro,bind {node.data} && exec \"$@\""
    node.before = ["unshare", "-m", "sh", "-c", mount, "sh"]
    node.spawn()
    node.stop(None, expect=1)
    equal(node.log().count("\n"), 1, "lines")
    matches(node.log(), "Read-only file system")
    node.before = []
    client = open_client(node.start())
    equal(client.get(b"k"), b"v", "the value afterwards")
    client.close()
    node.stop()


def check_damaged(engine):
    """One lane's file is not the engine's any more: the other lanes are served."""
    node = Node(config=config(engine))
    client = open_client(node)
    values = {b"k%d" % i: b"v%d" % i for i in range(200)}
    set_all(client, values)
    client.close()
    node.stop()
    folders = [os.path.join(node.data, "default", f"lane-00{i}") for i in range(4)]
    with open(os.path.join(folders[2], FILES[engine]), "r+b") as file:
        file.write(b"This is not what it was. " * 1000)
    node.start()
    matches(node.log(), r"cannot open lane 2 of bucket default: .*; this part of the keys is refused")
    client = open_client(node)
    answers = {key: client.get(key) for key in values}
    whole = [key for key in values if answers[key] == values[key]]
    broken = {answers[key] for key in values if answers[key] != values[key]}
    equal(broken, {SHUT}, "what is refused")
    assert 100 < len(whole) < 200, f"{len(whole)} keys of 200 are served"
    client.close()
    node.stop()
    for folder in folders:
        with open(os.path.join(folder, FILES[engine]), "r+b") as file:
            file.write(b"This is not what it was. " * 1000)
    node.spawn()
    node.stop(None, expect=1)


def check_flipped(engine):
    """Bytes of values change on the disk: an error for such a key, never a wrong value. Berkeley DB finds it by the
    checksum of the page, and so refuses the others of the page too, and what would be stored there."""
    node = Node(config=config(engine))
    client = open_client(node)
    values = {b"k%d" % i: b"value-%04d-" % i * 20 for i in range(500)}
    set_all(client, values)
    client.close()
    node.stop()
    n_flipped = 0
    for lane in range(4):
        path = os.path.join(node.data, "default", f"lane-00{lane}", FILES[engine])
        with open(path, "rb") as file:
            data = bytearray(file.read())
        at = data.find(b"value-")
        while at >= 0 and n_flipped < (1 if engine == "berkeleydb" else 60) * (lane + 1):
            data[at + 1] ^= 1
            n_flipped += 1
            at = data.find(b"value-", at + 4096)
        with open(path, "r+b") as file:
            file.write(data)
    node.start()
    client = open_client(node)
    answers = {key: client.get(key) for key in values}
    wrong = {key: answers[key] for key in values if answers[key] != values[key]}
    if engine == "berkeleydb":
        # Where the page with the flush marks is damaged, the whole lane is refused.
        assert set(wrong.values()) <= {b"SERVER_ERROR damaged data", SHUT} and 0 < len(wrong), wrong
        for key, answer in wrong.items():
            equal(client.set(key, b"new"), answer, "set")
        client.close()
        node.stop()
        return
    equal(set(wrong.values()), {b"SERVER_ERROR the stored record is damaged"}, "answers for damaged records")
    assert 0 < len(wrong) <= n_flipped, f"{len(wrong)} of {n_flipped} were noticed"
    equal(int(client.stats()["damaged_records"]), len(wrong), "damaged_records")
    matches(node.log(), "cannot read a record .* error=\"damaged data\"")
    key = next(iter(wrong))
    equal(client.ask(b"incr %b 1" % key), b"SERVER_ERROR the stored record is damaged", "incr")
    set_all(client, {key: b"new"})
    equal(client.get(key), b"new", "a damaged record that is stored anew")
    client.close()
    node.stop()


def disk_is_disk(engine):
    """durability = disk: sets of many connections, each answered after a sync, and all there after kill -9."""
    node = Node(config=config(engine, "disk"))
    values = {b"k%d" % i: b"v%d" % i for i in range(200)}
    clients = [open_client(node) for _ in range(8)]
    for i, client in enumerate(clients):
        set_all(client, {b"c%d:%b" % (i, key): value for key, value in values.items()})
    client = restart(node, node.kill)
    for i in range(8):
        for key, value in values.items():
            equal(client.get(b"c%d:%b" % (i, key)), value, f"{key} of client {i}")
    client.close()
    node.stop()


def case(check, engine, *more):
    def run():
        need_plugin(engine)
        check(engine, *more)

    name = check.__name__.replace("check_", "")
    run.__name__ = "_".join([engine, name, *more])
    return run


CHECKS = (check_restart, check_flush, check_flush_behind_checkpoint, check_hints, check_full, check_unusable, check_read_only, check_damaged, check_flipped,
          disk_is_disk)
yakumo.run(*(case(check, engine) for engine in ENGINES for check in CHECKS),
           case(torn_log, "tokyocabinet"), *(case(check_crashes, engine, durability) for engine in ENGINES for durability in ("os", "disk")))
