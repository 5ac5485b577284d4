#!/usr/bin/env python3
"""Plays the transcripts of the memcached protocols against a server and compares what it answers.

    memcached_transcripts.py HOST:PORT [--memcached] [--options] [FILE ...]

  --memcached  the server is memcached itself: exchanges marked as deviations are played, not
               compared
  --options    the server has the options that files with a "?" line ask for; else such files are
               left out

The server's bucket is emptied before each file. One line for each file; exit status 0: all alike,
1: not, 2: the command line or a file is wrong, 77: nobody answers there. The form of the files
stands in tests/unit/memcached_transcripts/README.
"""

import argparse
import glob
import os
import re
import socket
import sys
import time

ANSWER_TIMEOUT_S = 5.0
IDLE_S = 0.3
BUSY = b"BUSY currently processing crawler request\r\n"  # of memcached's one crawler, after "crawl all"
BUSY_S = 0.1


class Step:
    """One exchange: bytes to send, a pattern for the answer."""

    def __init__(self, line):
        self.line = line
        self.sent = []       # (bytes or the name of a variable)
        self.expected = []   # (bytes, variable, "*" or "=name")
        self.pause_ms = 0
        self.is_closed = False
        self.deviation = None


class Named(str):
    """A variable, a capture or "*" in a text."""


TOKEN = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([rnt0\\])|\{(\d+)\*(.)\}|\{(\*|=?[a-z])\}|$)",
                   re.DOTALL)
NAMED_BYTES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def parse_text(text):
    """A text of a transcript as a list of bytes and names, CR LF behind it."""
    parts, at, has_end = [], 0, True
    for found in TOKEN.finditer(text):
        parts.append(text[at:found.start()])
        at = found.end()
        if found.group(1):
            parts.append(bytes([int(found.group(1), 16)]))
        elif found.group(2):
            parts.append(NAMED_BYTES[found.group(2)])
        elif found.group(3):
            parts.append(found.group(4) * int(found.group(3)))
        elif found.group(5):
            parts.append(Named(found.group(5).decode()))
        else:
            has_end = False
    parts.append(text[at:])
    if has_end:
        parts.append(b"\r\n")
    return parts


def frame_field(text, name, read, default):
    """What a field of a frame says, by `read`."""
    found = re.search(rb" %s=(\S*)" % name, text)
    return read(found.group(1)) if found else default


def parse_cas(text, is_answer):
    """8 bytes, or the name of a variable that holds them or will."""
    if text[:1].isdigit():
        return int(text).to_bytes(8, "big")
    return Named(("8" if is_answer and text[:1] in b"*=" else "") + text.lstrip(b"=").decode())


def parse_frame(text, is_answer):
    """A frame of the binary protocol: "01 x=... k=... v=..."."""
    extras, key, value = (frame_field(text, name, lambda field: b"".join(parse_text(field + b"\\")), b"")
                          for name in (b"x", b"k", b"v"))
    return [frame_field(text, b"m", lambda field: int(field, 16), 0x81 if is_answer else 0x80).to_bytes(1, "big")
            + int(text.split()[0], 16).to_bytes(1, "big")
            + frame_field(text, b"kl", int, len(key)).to_bytes(2, "big")
            + frame_field(text, b"xl", int, len(extras)).to_bytes(1, "big") + b"\0"
            + frame_field(text, b"s", lambda field: int(field, 16), 0).to_bytes(2, "big")
            + frame_field(text, b"bl", int, len(extras) + len(key) + len(value)).to_bytes(4, "big")
            + frame_field(text, b"o", lambda field: int(field, 16), 0x01020304).to_bytes(4, "big"),
            frame_field(text, b"c", lambda field: parse_cas(field, is_answer), bytes(8)),
            extras + key + value]


def read_transcript(path):
    """The steps and options of a file."""
    steps, options, deviation = [], {}, None
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    for number, line in enumerate(lines, 1):
        sign, text = line[:1], line[2:] if line[1:2] == b" " else line[1:]
        if sign in (b"", b"#"):
            continue
        if sign == b"?":
            name, value = text.decode().split(" = ")
            options[name] = value
            continue
        if sign == b"!":
            deviation = text.decode()
            steps.append(Step(number))
            steps[-1].deviation = deviation
            continue
        is_over = not steps or steps[-1].is_closed or (sign in b">}~" and steps[-1].expected)
        if is_over and sign in b">}~":
            steps.append(Step(number))
        step = steps[-1]
        if sign == b">":
            step.sent += parse_text(text)
        elif sign == b"<":
            step.expected += parse_text(text)
        elif sign == b"}":
            step.sent += parse_frame(text, False)
        elif sign == b"{":
            step.expected += parse_frame(text, True)
        elif sign == b"~":
            step.pause_ms = int(text)
        elif sign == b"=":
            step.is_closed = True
        else:
            sys.exit(f"{path}:{number}: a line begins with {sign!r}")
    return steps, options


class Connection:
    """A connection that remembers what came and was not yet taken."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, ANSWER_TIMEOUT_S)
        self.came = b""
        self.is_closed = False

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True

    def receive(self, timeout_s):
        """Waits for more; False: nothing came in that time, or the end."""
        if self.is_closed:
            return False
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(1 << 20)
        except socket.timeout:
            return False
        except OSError:
            data = b""
        self.is_closed = not data
        self.came += data
        return bool(data)


def resolve(parts, variables):
    return b"".join(variables[part] if isinstance(part, Named) else part for part in parts)


def pattern_of(parts, variables):
    """The parts of an answer as a regular expression."""
    pattern = b""
    for part in parts:
        if not isinstance(part, Named):
            pattern += re.escape(part)
        elif part == "*":
            pattern += rb"[^\x00-\x20\x7f]*"
        elif part == "8*":
            pattern += b".{8}"
        elif part.startswith("8"):
            pattern += b"(?P<%s>.{8})" % part[1:].encode()
        elif part.startswith("="):
            pattern += b"(?P<%s>" % part[1:].encode() + rb"[^\x00-\x20\x7f]*)"
        else:
            pattern += re.escape(variables[part])
    return re.compile(pattern, re.DOTALL)


def play_step(connection, step, variables):
    """None, or what is wrong with the answer."""
    time.sleep(step.pause_ms / 1000)
    connection.send(resolve(step.sent, variables))
    if step.deviation is not None:
        while connection.receive(IDLE_S):
            pass
    pattern = pattern_of(step.expected, variables)
    end = time.monotonic() + ANSWER_TIMEOUT_S
    found = pattern.match(connection.came)
    while step.deviation is None and (not found or step.is_closed) and time.monotonic() < end:
        if connection.came.startswith(BUSY):  # once more: nothing that can be busy changes anything
            time.sleep(BUSY_S)
            connection.came = connection.came[len(BUSY):]
            connection.send(resolve(step.sent, variables))
        elif not connection.receive(ANSWER_TIMEOUT_S):
            break
        found = pattern.match(connection.came)
    if not found:
        return f"this came instead: {connection.came[:400]!r}"
    variables.update(found.groupdict())
    connection.came = connection.came[found.end():]
    if step.is_closed and connection.came:
        return f"this came before the close: {connection.came[:400]!r}"
    if step.is_closed and not connection.is_closed:
        return "the connection stayed open"
    return None


def empty_bucket(address):
    """flush_all; where it is not allowed, each file's keys are its own anyway."""
    connection = Connection(address)
    connection.send(b"flush_all\r\n")
    connection.receive(ANSWER_TIMEOUT_S)
    connection.socket.close()


def play(address, path, is_memcached):
    """Plays one file; returns how many exchanges went wrong."""
    steps, _ = read_transcript(path)
    empty_bucket(address)
    connection, variables, n_bad, n_deviations = Connection(address), {}, 0, 0
    for step in steps:
        if not is_memcached:
            step.deviation = None
        wrong = play_step(connection, step, variables)
        if step.deviation is not None:
            n_deviations += 1
            if wrong is None and not connection.came:
                print(f"{path}:{step.line}: marked as a deviation, but alike")
            connection.came = b""
            if connection.is_closed != step.is_closed:
                break
            continue
        if wrong is not None:
            print(f"{path}:{step.line}: {wrong}")
            n_bad += 1
            break
    if not connection.is_closed and n_bad == 0 and connection.receive(IDLE_S):
        print(f"{path}: this came at the end: {connection.came[:400]!r}")
        n_bad += 1
    connection.socket.close()
    print(f"{'not ok' if n_bad else 'ok'} {os.path.basename(path)}"
          + (f" ({n_deviations} deviations)" if n_deviations else ""))
    return n_bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--memcached", action="store_true")
    parser.add_argument("--options", action="store_true")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_intermixed_args()
    host, _, port = arguments.address.rpartition(":")
    if not host or not port.isdigit():
        parser.error("not HOST:PORT: " + arguments.address)
    address = (host.strip("[]"), int(port))
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.join(tests, "unit", "memcached_transcripts")
    files = arguments.files or sorted(glob.glob(os.path.join(folder, "*.txt")))
    try:
        Connection(address).socket.close()
    except OSError as error:
        print(f"{arguments.address}: {error}")
        return 77
    n_bad = n_played = 0
    for path in files:
        if read_transcript(path)[1] and not arguments.options:
            print(f"skip {os.path.basename(path)}: needs options")
            continue
        n_bad += play(address, path, arguments.memcached)
        n_played += 1
    print(f"{n_played} transcripts played, {n_bad} not as they should be")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
