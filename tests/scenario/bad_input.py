#!/usr/bin/env python3
"""Bytes that no client should send: the right error line or a closed connection, and the node serves
on. Its memory stays where it was.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/bad_input.py [CASE ...]
"""
import os
import random
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from yakumo import Node, equal, eventually, matches

MIB = 1 << 20
VALUE_MAX = MIB
RSS_GROWTH_MAX = 64 * MIB * (4 if yakumo.SLOW > 1 else 1)
BAD_FORMAT = b"CLIENT_ERROR bad command line format"


def push(client, data):
    """Sends all of it, or as much as the other side takes before it closes."""
    try:
        client.send(data)
    except OSError:
        pass


def a_command_line_of_10_MB():
    node = Node()
    before = node.rss()
    with node.client() as client:
        push(client, b"x" * (10 * MIB) + b"\r\n")
        matches(client.rest().decode(), r"\A(ERROR|CLIENT_ERROR line too long)?(\r\n)?\Z", "answer")
    assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
    node.client().is_served()


def a_line_of_10_MB_without_end():
    node = Node()
    before = node.rss()
    with node.client() as client:
        push(client, b"set " + b"k" * (10 * MIB))
        equal(client.rest()[:30], b"CLIENT_ERROR line too long\r\n"[:30], "answer")
    assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
    node.client().is_served()


def a_get_of_10_MB_of_keys():
    """A get line may have any length; its keys are taken one by one."""
    node = Node()
    keys = [b"key-%d" % i for i in range(10 * MIB // 12 // yakumo.SLOW)]
    with node.client() as client:
        equal(client.set(keys[-1], b"last"), b"STORED")
        before = node.rss()
        client.send(b"get " + b" ".join(keys) + b"\r\n")
        equal(client.values(), {keys[-1]: (b"last", 0, None)}, "answer")
        assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
        client.is_served()


def a_get_of_one_word_of_10_MB():
    node = Node()
    before = node.rss()
    with node.client() as client:
        push(client, b"get " + b"k" * (10 * MIB) + b"\r\n")
        equal(client.line(), BAD_FORMAT, "answer")
    assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
    node.client().is_served()


def a_value_longer_than_said():
    """The block has more bytes than the line says: the rest is read as a command."""
    node = Node()
    with node.client() as client:
        client.send(b"set k 0 0 3\r\nabcdef\r\n")
        equal(client.line(), b"CLIENT_ERROR bad data chunk")
        # "abcde" was the block with what should have been CR LF; "f" is the next line.
        equal(client.line(), b"ERROR")
        equal(client.get(b"k"), None, "value")
        client.is_served()


def a_value_shorter_than_said():
    node = Node()
    with node.client() as client:
        client.send(b"set k 0 0 10\r\nabc\r\nversion\r\n")
        equal(client.line(), b"CLIENT_ERROR bad data chunk")
        equal(client.line(), b"ERROR")
        equal(client.get(b"k"), None, "value")
        client.is_served()


def negative_and_huge_lengths():
    node = Node()
    before = node.rss()
    with node.client() as client:
        for size in (b"-1", b"-2147483648", b"4294967296", b"18446744073709551615",
                     b"18446744073709551616", b"9" * 400, b"1e6", b"0x10", b"", b"abc", b"2147483646"):
            answer = client.ask(b"set k 0 0 " + size)
            if size == b"":
                equal(answer, b"ERROR", "answer to no length")
            else:
                equal(answer, BAD_FORMAT, f"answer to length {size[:30]!r}")
        client.is_served()
    # As much as the line may say, and more than the bucket takes: said at once, dropped unseen.
    with node.client() as client:
        equal(client.ask(b"set k 0 0 2147483645"), b"SERVER_ERROR object too large for cache")
    assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
    node.client().is_served()


def numbers_out_of_bounds():
    node = Node()
    with node.client() as client:
        for line in (b"set k -1 0 1", b"set k 4294967296 0 1", b"set k 0 x 1", b"set k a 0 1"):
            equal(client.ask(line), BAD_FORMAT, f"answer to {line!r}")
        equal(client.set(b"n", b"1"), b"STORED")
        for delta in (b"-1", b"x", b"18446744073709551616", b"1.5"):
            equal(client.ask(b"incr n " + delta), b"CLIENT_ERROR invalid numeric delta argument")
        equal(client.ask(b"incr n 18446744073709551615"), b"0", "wrapped around")
        equal(client.ask(b"decr n 5"), b"0", "stopped at 0")
        equal(client.ask(b"touch n x"), b"CLIENT_ERROR invalid exptime argument")
        client.is_served()


def keys_with_control_bytes():
    node = Node()
    with node.client() as client:
        for byte in (b"\0", b"\r"):
            equal(client.ask(b"set a" + byte + b"b 0 0 1"), BAD_FORMAT, f"set with {byte!r}")
            equal(client.ask(b"get a" + byte + b"b"), BAD_FORMAT, f"get with {byte!r}")
            equal(client.ask(b"delete a" + byte + b"b"), BAD_FORMAT, f"delete with {byte!r}")
        # The others are bytes like any, as in memcached.
        for byte in (b"\x01", b"\t", b"\x7f", b"\x1b", b"\xff"):
            equal(client.set(b"a" + byte + b"b", byte), b"STORED", f"set with {byte!r}")
            equal(client.get(b"a" + byte + b"b"), byte, f"get with {byte!r}")
        client.is_served()


def keys_at_the_limit():
    node = Node()
    with node.client() as client:
        longest, longer = b"k" * 250, b"k" * 251
        equal(client.set(longest, b"v"), b"STORED")
        equal(client.get(longest), b"v")
        equal(client.ask(b"get " + longer), BAD_FORMAT)
        equal(client.ask(b"delete " + longer), BAD_FORMAT)
        equal(client.ask(b"incr " + longer + b" 1"), BAD_FORMAT)
        equal(client.ask(b"set " + longer + b" 0 0 1"), BAD_FORMAT)
        client.is_served()


def values_at_the_limit():
    node = Node()
    with node.client() as client:
        for size in (0, 1, VALUE_MAX - 1, VALUE_MAX):
            value = random.Random(size).randbytes(size)
            equal(client.set(b"k", value), b"STORED", f"answer for {size} bytes")
            equal(client.get(b"k"), value, "value")
        for size in (VALUE_MAX + 1, 3 * VALUE_MAX):
            equal(client.set(b"k", b"x" * size), b"SERVER_ERROR object too large for cache")
            equal(client.get(b"k"), value, "the old value")
        equal(client.set(b"k", b"x", verb=b"append"), b"SERVER_ERROR object too large for cache")
        equal(client.get(b"k"), value, "the old value")
        client.is_served()


def a_value_over_the_limit_with_noreply():
    node = Node()
    with node.client() as client:
        client.send(b"set k 0 0 %d noreply\r\n" % (VALUE_MAX + 1) + b"x" * (VALUE_MAX + 1) + b"\r\n")
        client.send(b"set a 0 0 1 noreply\r\n1\r\n")
        equal(client.get(b"k"), None)
        equal(client.get(b"a"), b"1")


def half_a_command_and_a_close():
    node = Node()
    halves = (b"", b"s", b"set", b"set k 0 0 10", b"set k 0 0 10\r", b"set k 0 0 10\r\n",
              b"set k 0 0 10\r\nabc", b"set k 0 0 3\r\nabc", b"set k 0 0 3\r\nabc\r", b"get k", b"get k\r",
              b"get k k k", b"\r", b"set k 0 0 1048576\r\n" + b"x" * 100000, b"set k 0 0 2000000\r\nxx")
    for half in halves:
        with node.client() as client:
            client.send(half)
            client.socket.shutdown(socket.SHUT_WR)
            client.rest()
    for half in halves * 40:  # and by a reset, which may come right behind the bytes
        with node.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(half)
    with node.client() as client:
        equal(client.get(b"k"), None, "a value that was never whole")
        client.is_served()
        eventually(lambda: client.stats()["curr_connections"] == "1", what="the end of the others")


def requests_before_a_half_close_are_answered():
    node = Node()
    with node.client() as client:
        client.send(b"set k 0 0 3\r\nabc\r\nget k\r\nversion\r\nget")
        client.socket.shutdown(socket.SHUT_WR)
        matches(client.rest().decode(),
                r"\ASTORED\r\nVALUE k 0 3\r\nabc\r\nEND\r\nVERSION [^\r]*\r\n(ERROR\r\n)?\Z", "answers")


def random_bytes():
    node = Node()
    source = yakumo.random_source()
    before = node.rss()
    words = [b"get ", b"set ", b"gets ", b"cas ", b"\r\n", b"\n", b" ", b"0 ", b"1 ", b"10 ", b"noreply", b"k ",
             b"incr ", b"delete ", b"gat ", b"touch ", b"stats ", b"flush_all ", b"\0", b"\xff" * 20,
             b"append ", b"-1 ", b"4294967295 ", b"lru_crawler ", b"metadump all\r\n", b"verbosity "]
    for i in range(200 // yakumo.SLOW + 1):
        with node.client() as client:
            client.socket.settimeout(0.05)
            if i % 2 == 0:
                push(client, source.randbytes(source.randrange(1, 20000)))
            else:
                push(client, b"".join(source.choices(words, k=source.randrange(1, 2000))))
            try:
                if i % 3 == 0:
                    client.socket.recv(1 << 16)
            except OSError:
                pass
    assert node.rss() - before < RSS_GROWTH_MAX, "memory grew"
    with node.client() as client:
        client.is_served()
        eventually(lambda: client.stats()["curr_connections"] == "1", what="the end of the others")


def other_protocols():
    """An answer of the binary protocol, an HTTP client, TLS, RESP: an error or a close, soon."""
    node = Node()
    for greeting in (b"\x81\x0b" + bytes(22), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\n",
                     b"*1\r\n$4\r\nPING\r\n"):
        with node.client() as client:
            client.send(greeting)
            client.socket.shutdown(socket.SHUT_WR)
            matches(client.rest().decode("latin-1"), r"\A(ERROR\r\n|CLIENT_ERROR [^\r]*\r\n)*\Z", "answer")
    node.client().is_served()


def urgent_and_empty_segments():
    node = Node()
    with node.client() as client:
        client.send(b"ver")
        client.socket.send(b"!", socket.MSG_OOB)
        client.send(b"sion\r\n")
        client.line()
        client.is_served()


yakumo.run(a_command_line_of_10_MB, a_line_of_10_MB_without_end, a_get_of_10_MB_of_keys,
           a_get_of_one_word_of_10_MB, a_value_longer_than_said, a_value_shorter_than_said,
           negative_and_huge_lengths, numbers_out_of_bounds, keys_with_control_bytes,
           keys_at_the_limit, values_at_the_limit, a_value_over_the_limit_with_noreply,
           half_a_command_and_a_close, requests_before_a_half_close_are_answered, random_bytes,
           other_protocols, urgent_and_empty_segments)
