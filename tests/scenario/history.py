#!/usr/bin/env python3
"""yakumo check-history: histories that nothing explains are refused, those that something explains pass, and lines that
are none are named; and what clients of a node record is linearizable.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/scenario/history.py [CASE ...]
"""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import yakumo
from recorder import Recorder, RecordingClient
from yakumo import Node, equal, matches, temporary


def tool(*arguments, stdin=b"", expect=0):
    done = subprocess.run([os.path.join(yakumo.BUILDDIR, "yakumo"), "check-history", *arguments],
                          env=yakumo.environment(), input=stdin, capture_output=True, timeout=60 * yakumo.SLOW,
                          check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    if done.returncode != expect:
        raise AssertionError(f"{arguments}: status {done.returncode}, expected {expect}: {out!r} {err!r}")
    return out, err


def op(name, client, start, end, result="ok", **more):
    """Times in microseconds; end None: no answer came."""
    fields = {"op": name, "client": client, "start": 1000 * start, **more}
    if name != "flush":
        fields.setdefault("key", "k")
    if end is not None:
        fields |= {"end": 1000 * end, "result": result}
    return fields


def put(client, start, end, value, result="ok"):
    return op("set", client, start, end, result, value=value)


def get(client, start, end, value=None, **more):
    if value is None:
        return op("get", client, start, end, "miss")
    return op("get", client, start, end, value=value, **more)


A = put(1, 0, 10, "a")

WRONG = {
    "a stale read": [A, put(1, 20, 30, "b"), get(2, 40, 50, "a")],
    "a read that goes back": [A, put(1, 20, 100, "b"), get(2, 30, 40, "b"), get(3, 50, 60, "a")],
    "an acknowledged write that is lost": [A, get(2, 20, 30)],
    "a value that nobody wrote": [A, get(2, 20, 30, "z")],
    "a value read before it was asked for": [get(2, 0, 10, "b"), put(1, 20, None, "b")],
    "a failed write that appears": [A, put(1, 20, 30, "b", "failed"), get(2, 40, 50, "b")],
    "an unknown write that comes and goes": [A, put(1, 20, 30, "b", "unknown"), get(2, 40, 50, "b"),
                                             get(2, 60, 70, "a")],
    "an incr done twice": [put(1, 0, 10, "5"), op("incr", 1, 20, 30, delta=1, shown=6), get(1, 40, 50, "7")],
    "an unknown incr done twice": [put(1, 0, 10, "5"), op("incr", 1, 20, None, delta=1), get(2, 40, 50, "7")],
    "an unknown append done twice": [A, op("append", 1, 20, None, value="x"), get(2, 40, 50, "axx")],
    "an unknown write that is seen before": [put(1, 0, 10, "a"), get(2, 20, 30, "b"), put(1, 40, None, "b")],
    "an unknown delete done twice": [A, op("delete", 1, 20, None), get(2, 40, 50), put(1, 60, 70, "b"), get(2, 80, 90)],
    "an acknowledged append that is lost": [A, op("append", 1, 20, 30, value="x"), op("append", 2, 40, 50, value="y"),
                                            get(2, 60, 70, "ay")],
    "an acknowledged incr that is lost": [put(1, 0, 10, "5"), op("incr", 1, 20, 30, delta=2, shown=7),
                                          op("incr", 2, 40, 50, delta=1, shown=6)],
    "a version that goes back": [A, get(2, 20, 30, "a", cas=9), put(1, 40, 50, "b"), get(2, 60, 70, "b", cas=8)],
    "a version of two values": [A, get(2, 20, 30, "a", cas=9), put(1, 40, 50, "b"), get(2, 60, 70, "b", cas=9)],
    "a delete that found nothing": [A, op("delete", 1, 20, 30, "miss")],
    "a replace of nothing": [A, op("delete", 1, 20, 30), op("replace", 1, 40, 50, value="b")],
    "a touch of nothing": [op("touch", 1, 0, 10, expiry=0), put(2, 20, 30, "a")],
    "a value that ends too early": [op("set", 1, 0, 10, value="a", expiry=10), get(2, 5000000, 5000010)],
    "two incrs that show one number": [put(1, 0, 10, "5"), op("incr", 1, 20, 30, delta=1, shown=6),
                                       op("incr", 2, 20, 30, delta=1, shown=6)],
    "a decr below nothing": [put(1, 0, 10, "5"), op("decr", 1, 20, 30, delta=9, shown=4)],
    "a deleted value that comes back": [A, op("delete", 1, 20, 30), get(2, 40, 50), get(2, 60, 70, "a")],
    "a flushed value that comes back": [A, op("flush", 1, 20, 30), get(2, 40, 50, "a")],
    "a CAS that won twice": [A, get(1, 20, 30, "a", cas=7), op("cas", 1, 40, 50, value="b", cas=7),
                             op("cas", 2, 40, 50, value="c", cas=7)],
    "two adds that won": [op("add", 1, 0, 50, value="a"), op("add", 2, 0, 50, value="b")],
    "an add that lost to nobody": [op("add", 1, 0, 50, "refused", value="a")],
    "an append that is lost": [A, op("append", 1, 20, 30, value="b"), get(2, 40, 50, "a")],
    "other flags": [op("set", 1, 0, 10, value="a", flags=3), get(2, 20, 30, "a", flags=4)],
    "a value that outlived its end": [op("set", 1, 0, 10, value="a", expiry=1), get(2, 2200000, 2200010, "a")],
}

RIGHT = {
    "nothing": [],
    "an unknown write that appears": [A, put(1, 20, 30, "b", "unknown"), get(2, 40, 50, "b")],
    "an unknown write that appears late": [A, put(1, 20, 30, "b", "unknown"), get(1, 40, 50, "a"), get(2, 60, 70, "b")],
    "an unknown write that never appears": [A, put(1, 20, 30, "b", "unknown"), get(2, 40, 50, "a")],
    "no answer, and it appears": [A, put(1, 20, None, "b"), get(2, 40, 50, "a"), get(2, 60, 70, "b")],
    "no answer, and its client goes on": [A, put(1, 20, None, "b"), put(1, 30, 40, "c"), get(1, 50, 60, "b")],
    "old and new while it is written": [A, put(1, 20, 100, "b"), get(2, 30, 40, "a"), get(3, 35, 60, "b"),
                                       get(2, 70, 80, "b")],
    "a failed write": [A, put(1, 20, 30, "b", "failed"), get(2, 40, 50, "a")],
    "two incrs at once": [put(1, 0, 10, "5"), op("incr", 1, 20, 90, delta=1, shown=11),
                          op("incr", 2, 20, 90, delta=5, shown=10)],
    "a CAS that lost": [A, get(1, 20, 30, "a", cas=7), op("cas", 1, 40, 90, value="b", cas=7),
                        op("cas", 2, 40, 90, "exists", value="c", cas=7), get(3, 100, 110, "b", cas=8)],
    "an unknown incr that happens late": [put(1, 0, 10, "5"), op("incr", 1, 20, None, delta=2), get(2, 40, 50, "5"),
                                          op("incr", 2, 60, 70, delta=1, shown=6), get(2, 80, 90, "8")],
    "an unknown cas that won": [A, get(1, 20, 30, "a", cas=7), op("cas", 1, 40, None, value="b", cas=7),
                                get(2, 60, 70, "b", cas=9)],
    "versions that grow": [A, get(2, 20, 30, "a", cas=7), put(1, 40, 50, "b"), get(2, 60, 70, "b", cas=9)],
    "a value that ends": [op("set", 1, 0, 10, value="a", expiry=1), get(2, 2200000, 2200010)],
    "an unknown delete": [A, op("delete", 1, 20, 30, "unknown"), get(1, 40, 50, "a"), get(1, 60, 70)],
    "a read without an answer": [A, op("get", 2, 20, None), get(2, 40, 50, "a")],
    "many unknown writes": [A] + [put(100 + i, 20 + i, None, f"u{i}") for i in range(200)]
                           + [get(2, 300 + 10 * i, 305 + 10 * i, f"u{i * 7 % 200}") for i in range(200)],
    "lines in any order, other keys": [get(2, 40, 50, "a"), A | {"key": "l"}, A, get(2, 60, 70, "a", key="l")],
}


def text_of(history):
    return "".join(json.dumps(fields) + "\n" for fields in history).encode()


def wrong_ones_are_refused():
    for name, history in WRONG.items():
        try:
            out, _ = tool("-", stdin=text_of(history), expect=1)
            matches(out, r'^WRONG key "k": no order explains the \w+ at -:\d+;')
            matches(out, r"^  > -:\d+ client \d+ ")
            matches(out, r"not linearizable, 1 keys wrong, 0 undecided$")
            thing = json.loads(tool("--json", "-", stdin=text_of(history), expect=1)[0])
            equal((thing["verdict"], thing["wrong"], len(thing["found"])), ("not linearizable", 1, 1), "JSON")
            equal(sum(each["is_stuck"] for each in thing["found"][0]["operations"]), 1, "marks")
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def right_ones_pass():
    for name, history in RIGHT.items():
        try:
            out, _ = tool("-", stdin=text_of(history))
            matches(out, rf"\A{len(history)} operations .*: linearizable\n\Z")
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def the_story_names_who_wrote_it():
    history = [A] + [put(1, 100 * i, 100 * i + 10, f"v{i}") for i in range(1, 50)] + [get(2, 9000, 9010, "a")]
    out, _ = tool("-", stdin=text_of(history), expect=1)
    matches(out, r'^WRONG key "k": no order explains the get at -:51; the best explains \d+ of 51 operations$')
    matches(out, r'^    -:1 client 1 0\.\.10 set "a": ok$')
    matches(out, r'^  > -:51 client 2 9000\.\.9010 get: ok "a"$')
    equal(len(out.splitlines()), 1 + 1 + 8 + 1 + 1, "lines")


def a_cache_may_evict():
    history = [A, get(2, 20, 30)]
    tool("-", stdin=text_of(history), expect=1)
    tool("--may-evict", "-", stdin=text_of(history))


def several_files_are_one_history():
    first = yakumo.write_file("first", text_of([A, put(1, 20, 30, "b")]).decode())
    second = yakumo.write_file("second", text_of([get(2, 40, 50, "a")]).decode())
    tool(first)
    matches(tool(second, expect=1)[0], "no order explains")
    matches(tool(first, second, expect=1)[0], "second:1 client 2")
    # Client 1 of one file is not client 1 of the other: their operations have no order but that of time.
    third = yakumo.write_file("third", text_of([put(1, 20, 30, "c"), get(2, 50, 60, "b")]).decode())
    tool(first, third)


def too_many_orders_are_undecided():
    """Which of the increments that nobody answered have happened?"""
    history = [put(1, 0, 10, "0")] + [op("incr", 2, 20 + i, None, delta=2 ** i) for i in range(24)]
    history += [get(1, 2000, 2010, str(2 ** 30))]
    out, _ = tool("--states", "1000", "-", stdin=text_of(history), expect=3)
    matches(out, r'^UNDECIDED key "k": too many orders of its 26 operations$')
    matches(out, r": undecided, 0 keys wrong, 1 undecided$")
    both = history + [get(2, 0, 10, "z") | {"key": "other"}]
    tool("--states", "1000", "-", stdin=text_of(both), expect=1)


def long_histories_are_checked():
    """As long as one key's order is: no recursion."""
    history = []
    for i in range(20000):
        history += [put(1, 20 * i, 20 * i + 5, f"v{i}"), get(2, 20 * i + 10, 20 * i + 15, f"v{i}")]
    tool("-", stdin=text_of(history))
    history.append(get(2, 20 * 20000, 20 * 20000 + 10, "v7"))
    tool("-", stdin=text_of(history), expect=1)


GOOD = '{"op":"set","key":"k","client":1,"start":5,"end":9,"result":"ok","value":"v"}'

BAD = [
    ("", "the line ends where '{' is expected"),
    ("[]", "byte 1 is 0x5b where '{' is expected"),
    (GOOD + "x", r"byte \d+ is 0x78 where the end of the line is expected"),
    (GOOD[:-1], "the line ends where ',' or '}' is expected"),
    (GOOD.replace('"v"', '"v'), "the line ends where|is expected"),
    (GOOD.replace('"v"', '"\\q"'), "is 0x71 where one of"),
    (GOOD.replace('"v"', '"\\ud800"'), "second half of a surrogate pair"),
    (GOOD.replace('"v"', "{}"), "is 0x7b where a text, a whole number, true, false or null is expected"),
    (GOOD.replace('"v"', "7"), "value is 7; allowed is a text of at most"),
    (GOOD.replace(":5", ":5.5"), "is 0x2e where the end of a whole number is expected"),
    (GOOD.replace(":5", ":05"), "begins with no 0"),
    (GOOD.replace(":5", ":99999999999999999999"), "a number of at most 64 bits"),
    (GOOD.replace(":5", ":-5"), "start is -5; allowed is a whole number from 0 to"),
    (GOOD.replace(":5", ":true"), "start is true; allowed is a whole number"),
    (GOOD.replace(":9", ":4"), r"end is 4; allowed is start \(5\) or later"),
    (GOOD.replace('"client":1', '"client":4294967296'),
     "client is 4294967296; allowed is a whole number from 0 to 4294967295"),
    (GOOD.replace('"set"', '"put"'), 'op is "put"; allowed is one of get gets gat set add'),
    (GOOD.replace('"ok"', '"fine"'), 'result is "fine"; allowed is one of ok miss refused'),
    (GOOD.replace('"ok"', '"miss"'), 'result of a set is "miss"; allowed is one of ok failed unknown'),
    (GOOD.replace('"key"', '"kee"'), 'no field is named "kee"; there are op key client'),
    (GOOD.replace('"key":"k",', ""), "key of a set is missing"),
    (GOOD.replace('"op":"set",', ""), "op is missing"),
    (GOOD.replace('"start":5,', ""), "start is missing"),
    (GOOD.replace('"client":1,', ""), "client is missing"),
    (GOOD.replace(',"result":"ok"', ""), "result is missing, and there is an end"),
    (GOOD.replace('"end":9,', ""), 'result is "ok" without an end'),
    (GOOD.replace(',"value":"v"', ""), r"value \(or value64\) of a set is missing"),
    (GOOD.replace('"value"', '"value64"').replace('"v"', '"v"'), 'value64 is "v"; allowed is base64'),
    (GOOD.replace('"value":"v"', '"value":"v","value64":"dg=="'), "value64 stands there twice"),
    (GOOD.replace('"start"', '"start":1,"start"'), "start stands there twice"),
    (GOOD.replace('"set"', '"delete"'), "a delete has no value"),
    (GOOD.replace('"set"', '"cas"'), "cas of a cas is missing"),
    (GOOD.replace('"set"', '"incr"').replace('"value":"v"', '"shown":1'), "delta of a incr is missing"),
    (GOOD.replace('"set"', '"incr"').replace('"value":"v"', '"delta":1'), "shown, the number answered, is missing"),
    (GOOD.replace('"value":"v"', '"value":"v","expiry":2592001'), "expiry is 2592001; allowed is"),
    (GOOD.replace('"k"', '"' + "k" * 65532 + '"'), "allowed is a text of at most 65531 bytes"),
    (GOOD.replace('"v"', '"' + "v" * (8 << 20) + '"'), "the line is longer than 8388608 bytes"),
    (b'{"op":"\xff"}', "byte 8 is 0xff, which is not UTF-8"),
    (b'{"op":"\0"}', "byte 8 is 0x00 where"),
]


def lines_that_are_none():
    for line, said in BAD:
        line = line if isinstance(line, bytes) else line.encode()
        _, err = tool("-", stdin=GOOD.encode() + b"\n" + line + b"\n", expect=2)
        matches(err, r"\Ayakumo check-history: -:2: .*(" + said + r")")
        equal(err.count("\n"), 1, f"lines of {err!r}")


def wrong_usage():
    matches(tool(expect=2)[1], "a FILE is missing")
    matches(tool(temporary("none"), expect=2)[1], "No such file")
    matches(tool(yakumo.folder, expect=2)[1], "Is a directory")
    matches(tool("--slack", "-1", "-", expect=2)[1], "--slack is -1; allowed is 0 to")
    matches(tool("--states", "0", "-", expect=2)[1], "--states is 0; allowed is 1 to")
    matches(tool("--help")[0], "not_number")


def a_node_is_linearizable():
    """Five clients on three keys of one node, with every command of the recorder."""
    node = Node()
    recorder = Recorder()
    failures = []

    def work(number):
        try:
            client = RecordingClient(recorder, [node.address()])
            for i in range(200):
                key, value = b"key%d" % (i % 3), b"%d-%d" % (number, i)
                _, _, cas = client.get(key, with_cas=True)
                client.store(("set", "add", "replace", "append")[i % 4], key, value)
                if cas is not None:
                    client.store("cas", key, value + b"c", cas=cas)
                client.count("incr", b"n", number)
                client.count("decr", b"n", 1)
                client.get(b"n")
                if i % 10 == number:
                    client.delete(key)
                    client.store("set", b"n", b"1000000%d" % i)
                if i == 40 * number:
                    client.flush()
            client.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    matches(recorder.check(), r"operations \(0 of unknown outcome\) on 4 keys by 5 clients: linearizable")
    node.stop()


yakumo.run(wrong_ones_are_refused, right_ones_pass, the_story_names_who_wrote_it, a_cache_may_evict,
           several_files_are_one_history, too_many_orders_are_undecided, long_histories_are_checked, lines_that_are_none,
           wrong_usage, a_node_is_linearizable)
