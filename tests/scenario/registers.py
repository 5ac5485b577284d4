#!/usr/bin/env python3
"""A node of one as a cluster of one: its registers, and versions that never repeat, whatever is lost of them.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/registers.py [CASE ...]
"""
import ctypes
import os
import re
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, matches, refused

HEAD = b"yakumo-entry 1\n"
TWO = ("[bucket default]\ndurability = memory\nslots = 64\n[bucket other]\ndurability = memory\nslots = 64\n"
       "[frontend memcached]\nlisten = 127.0.0.1:0\nbucket = default\n"
       "[frontend memcached 2]\nlisten = 127.0.0.1:0\nbucket = other\n[node a]\n")


def hash_of(data):
    try:
        library = ctypes.CDLL("libxxhash.so.0")
        library.XXH3_64bits.restype = ctypes.c_uint64
    except (OSError, AttributeError):
        yakumo.skip("no libxxhash.so.0")
    return library.XXH3_64bits(data, ctypes.c_size_t(len(data)))


def register_file(data, name):
    return os.path.join(data, "registers", name)


def read_entry(data, name):
    """(revision, bytes) of a register on disk."""
    with open(register_file(data, name), "rb") as file:
        entry = file.read()
    equal(entry[:len(HEAD)], HEAD, "head of a register's file")
    equal(struct.unpack("<Q", entry[-8:])[0], hash_of(entry[:-8]), "checksum of a register's file")
    return struct.unpack("<Q", entry[len(HEAD):len(HEAD) + 8])[0], entry[len(HEAD) + 8:-8]


def write_entry(data, name, revision, value):
    entry = HEAD + struct.pack("<Q", revision) + value
    with open(register_file(data, name), "wb") as file:
        file.write(entry + struct.pack("<Q", hash_of(entry)))


def change_state(data, change):
    """The superblock with another text, and a checksum that fits."""
    path = os.path.join(data, "node")
    text = change(yakumo.read_file(path).partition("# checksum = ")[0])
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{text}# checksum = {hash_of(text.encode()):016x}\n")


def options(data, *more):
    words = [f"node.data={data}", f"frontend.memcached.listen=127.0.0.1:{yakumo.free_port()}", *more]
    return [word for option in words for word in ("-o", option)]


def epoch_of(node):
    return int(node.wait_log(r"ready .* epoch=(\d+)")[1])


def unique(node, frontend="memcached"):
    """A CAS unique that the node gives now."""
    with node.client(frontend) as client:
        equal(client.set(b"k", b"v"), b"STORED")
        return client.gets(b"k")[1]


def stopped(node):
    node.stop()
    return node.data


def the_registers_are_there():
    node = Node(options=["node.lanes=2", "bucket.default.slots=4"])
    node.client().is_served()
    equal(sorted(os.listdir(register_file(node.data, ""))), ["bucket.default", "cluster"], "registers")
    revision, cluster = read_entry(node.data, "cluster")
    equal(revision, 1, "revision of the register cluster")
    for text in (b"cluster", b"127.0.0.1:19800", b"default", node.wait_log(r"node=(\S+)")[1].encode()):
        assert text in cluster, f"{text} is not in {cluster}"
    equal(read_entry(node.data, "bucket.default")[0], 1, "revision of the bucket's register")
    for n_starts in (2, 3):
        node.stop()
        node.start()
        equal(read_entry(node.data, "bucket.default")[0], n_starts, "one write for each start")
        equal(read_entry(node.data, "cluster"), (1, cluster), "the register cluster")


def uniques_never_repeat():
    """Over clean stops, kill -9, registers that are lost and buckets that come and go."""
    def lose(*names):
        for name in names:
            os.unlink(register_file(node.data, name))

    node = Node(config=TWO)
    uniques, epochs = [], []
    for between in (lambda: None, lambda: lose("cluster"), lambda: lose("bucket.default"),
                    lambda: lose("cluster", "bucket.default", "bucket.other"), lambda: lose("bucket.other"),
                    lambda: None):
        for number in (signal.SIGTERM, signal.SIGKILL):
            uniques.append((unique(node), unique(node, "memcached 2")))
            epochs.append(epoch_of(node))
            if number == signal.SIGTERM:
                node.stop()
            else:
                node.kill()
                between()
            node.start()
    equal(epochs, sorted(set(epochs)), "epochs")
    for bucket in (0, 1):
        seen = [pair[bucket] for pair in uniques]
        equal(seen, sorted(set(seen)), "CAS uniques")


def a_bucket_that_was_away():
    node = Node(config=TWO)
    seen = [unique(node, "memcached 2")]
    node.stop()
    before = read_entry(node.data, "bucket.other")
    alone = Node(data=node.data, options=["bucket.default.slots=64"])
    alone.client().is_served()
    alone.stop()
    equal(read_entry(node.data, "bucket.other"), before, "the register of a bucket that is not in the config")
    node.start()
    seen.append(unique(node, "memcached 2"))
    equal(seen, sorted(set(seen)), "CAS uniques")


def a_folder_of_the_first_version():
    """No registers, format 1, an epoch for each start."""
    data = stopped(Node())
    for name in os.listdir(register_file(data, "")):
        os.unlink(register_file(data, name))
    os.rmdir(register_file(data, ""))
    change_state(data, lambda text: re.sub(r"^incarnation=.*\n", "", text, flags=re.M)
                 .replace("format=2\n", "format=1\n").replace("epoch=1\n", "epoch=500\n"))
    node = Node(data=data)
    equal(epoch_of(node), 501, "epoch")
    equal(unique(node) >> 40, 501, "epoch in a CAS unique")
    node.kill()
    equal(epoch_of(Node(data=data)), 502, "epoch of the next start")


def a_first_start_that_was_cut_off():
    """The superblock is there, of the registers none, one, or half a file."""
    for left in ([], ["cluster"], ["bucket.default"]):
        data = stopped(Node())
        for name in os.listdir(register_file(data, "")):
            if name not in left:
                os.rename(register_file(data, name), register_file(data, name + ".new"))
        node = Node(data=data)
        equal(epoch_of(node), 2, f"epoch with {left} left")
        equal(unique(node) >> 40, 2, f"epoch in a CAS unique with {left} left")
        node.stop()
        equal(epoch_of(Node(data=data)), 3, f"epoch of the next start with {left} left")


def another_form_in_memory():
    node = Node(options=["bucket.default.slots=64"])
    first = unique(node)
    node.stop()
    again = Node(data=node.data, options=["bucket.default.slots=256", "bucket.default.filters=stats"])
    second = unique(again)
    assert second > first, f"{second} after {first}"
    again.stop()
    equal(unique(Node(data=node.data, options=["bucket.default.slots=16"])) > second, True, "a greater unique")


def a_damaged_register():
    data = stopped(Node())
    for name in ("cluster", "bucket.default"):
        path = register_file(data, name)
        with open(path, "rb") as file:
            whole = file.read()
        for damaged in (whole[:-1], b"", whole[:30] + bytes([whole[30] ^ 1]) + whole[31:], b"\0" * 100):
            with open(path, "wb") as file:
                file.write(damaged)
            line = refused(*options(data))
            matches(line, re.escape(path))
            matches(line, "is damaged .* put back a copy of it, or remove it")
        with open(path, "wb") as file:
            file.write(whole)
    Node(data=data).client().is_served()


def a_register_that_is_none():
    """The checksum fits, and it is something else."""
    data = stopped(Node())
    revision, cluster = read_entry(data, "cluster")
    write_entry(data, "cluster", revision, cluster[:-1])
    matches(refused(*options(data)), "register cluster: the cluster register is damaged")
    write_entry(data, "cluster", revision, cluster.replace(b"\xa7cluster\x01", b"\xa7cluster\x02"))
    matches(refused(*options(data)), "newer version of yakumo; this one reads format 1")
    write_entry(data, "cluster", revision, cluster)
    write_entry(data, "bucket.default", 5, cluster)
    matches(refused(*options(data)), "register bucket.default: .*another register")


def another_clusters_registers():
    data, other = stopped(Node()), stopped(Node())
    own, foreign = read_entry(data, "cluster"), read_entry(other, "cluster")
    write_entry(data, "cluster", *foreign)
    line = refused(*options(data))
    matches(line, re.escape(data))
    matches(line, "another cluster's")
    write_entry(data, "cluster", *own)
    write_entry(data, "bucket.default", *read_entry(other, "bucket.default"))
    matches(refused(*options(data)), "register bucket.default: slot 0 cannot be taken: .*not the slot's primary")


def too_many_slots_are_not_refused_for_one_copy():
    node = Node(options=["bucket.default.slots=32768"])
    node.client().is_served()
    node.stop()
    node.start()
    size = os.path.getsize(register_file(node.data, "bucket.default"))
    assert size < 512 * 1024, f"a register of {size} bytes"


def other_coordinators():
    for name, words in (("quorum", "takes 3 or 5 managers, .* this file has 1"),
                        ("etcd", "is for several nodes; this file has one, which keeps its registers itself")):
        matches(refused("--check-config", "-o", f"cluster.coordinator={name}"), f"coordinator = {name} {words}")


def a_missing_coordinator():
    folders = [os.path.join(yakumo.BUILDDIR, name) for name in yakumo.PLUGIN_FOLDERS[:-1]]
    line = refused("--check-config", before=["env", "YK_PLUGIN_PATH=" + ":".join(folders)])
    matches(line, "no coordinator is named 'local'")


def a_failed_start_leaves_the_clean_mark():
    for end, clean in ((Node.stop, "true"), (Node.kill, "false")):
        node = Node()
        end(node)
        os.rename(register_file(node.data, "cluster"), register_file(node.data, "kept.new"))
        with open(register_file(node.data, "cluster"), "wb"):
            pass
        matches(refused(*options(node.data)), "is damaged")
        matches(yakumo.read_file(os.path.join(node.data, "node")), f"^clean={clean}$")
        os.rename(register_file(node.data, "kept.new"), register_file(node.data, "cluster"))
        equal(epoch_of(Node(data=node.data)), 3, "epoch after a start that failed")


def durability_may_change():
    yakumo.need_plugin("lmdb")
    node = None
    seen = []
    for durability in ("os", "disk", "os"):
        node = Node(data=node and node.data, options=["bucket.default.backend=lmdb", "bucket.default.evict=none",
                                                      f"bucket.default.durability={durability}"])
        with node.client() as client:
            equal(client.get(b"kept"), seen and b"v" or None, "a value over a change of durability")
            equal(client.set(b"kept", b"v"), b"STORED")
        seen.append(unique(node))
        node.kill()
    equal(seen, sorted(set(seen)), "CAS uniques")


def a_loss_of_power_at_durability_os():
    """Another boot of the kernel without a clean stop: said, and the slots are lossy."""
    yakumo.need_plugin("lmdb")
    lmdb = ["bucket.default.backend=lmdb", "bucket.default.evict=none", "bucket.default.durability=os"]
    node = Node(options=lmdb)
    node.client().is_served()
    node.kill()
    again = Node(data=node.data, options=lmdb)
    assert "may be lost" not in again.log(), "a loss without another boot"
    again.kill()
    change_state(node.data, lambda text: re.sub(r"^boot_id=.*$", "boot_id=another", text, flags=re.M))
    last = Node(data=node.data, options=lmdb)
    matches(last.log(), r"warning cluster: bucket default: .* the last writes of 1024 slots may be lost")
    equal(last.client().get(b"is_served"), b"yes", "what was not lost")


yakumo.run(the_registers_are_there, uniques_never_repeat, a_bucket_that_was_away, a_folder_of_the_first_version,
           a_first_start_that_was_cut_off, another_form_in_memory, a_damaged_register, a_register_that_is_none,
           another_clusters_registers, too_many_slots_are_not_refused_for_one_copy, other_coordinators,
           a_missing_coordinator,
           a_failed_start_leaves_the_clean_mark, durability_may_change, a_loss_of_power_at_durability_os)
