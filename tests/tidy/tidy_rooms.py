#!/usr/bin/env python3
"""Holds every #include to core/ROOMS, and the pure rooms to their purity.

Run alone: top_srcdir=. python3 tests/tidy/tidy_rooms.py
"""
import os
import re
import sys

sys.dont_write_bytecode = True
import tidy

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)

# Standard headers that pure rooms may include; any other system header needs a reason and a line here.
PURE_HEADERS = {
    "sys/queue.h",  # macros of lists only
    "assert.h", "ctype.h", "errno.h", "glib.h", "inttypes.h", "limits.h", "math.h", "stdarg.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h", "xxhash.h",
    "config.h", "immintrin.h", "msgpack.h",
}

# Calls by which the world would come in through those headers, and objects.
IMPURE = re.compile(
    r"\b(fopen|fdopen|freopen|fclose|fread|fwrite|fprintf|vfprintf|printf|vprintf|puts|fputs|putchar|"
    r"fputc|fgets|fgetc|getc|getchar|getline|scanf|fscanf|perror|remove|rename|tmpfile|tmpnam|popen|"
    r"fflush|rand|srand|random|srandom|drand48|lrand48|arc4random|getenv|setenv|system|exit|_exit|"
    r"abort|atexit|time|clock|clock_gettime|gettimeofday|sleep|usleep|nanosleep|pthread_\w+|g_getenv|"
    r"g_setenv|g_print|g_printerr|g_log|g_message|g_warning|g_error|g_critical|g_debug|g_info|"
    r"g_usleep|g_get_monotonic_time|g_get_real_time|g_get_current_time|g_get_home_dir|"
    r"g_get_user_name|g_get_tmp_dir|g_main_\w+|g_thread_\w+|g_mutex_\w+|g_cond_\w+|"
    r"g_async_queue_\w+|g_random_\w+|g_rand_\w+|g_file_\w+|g_dir_\w+|g_io_channel_\w+|"
    r"g_spawn_\w+|g_key_file_load_from_file|g_key_file_save_to_file|g_timeout_\w+|g_idle_\w+)\s*\("
    r"|\b(stdin|stdout|stderr)\b"
)

# Exceptions, each with its reason: file -> words, file -> headers.
IMPURE_ALLOWED = {
    # A failed assert's last words, and its end.
    "core/base/assert.c": {"fprintf", "stderr", "abort"},
}
HEADERS_ALLOWED = {
    # inet_pton: a text into an address, nothing else.
    "core/config/address.c": {"arpa/inet.h"},
}


def room_of(path):
    """The room of a file or of an included path; None: of none (tests say so)."""
    parts = path.split(os.sep)
    if parts[0] == "core":
        return parts[1] if len(parts) > 2 else None
    if parts[0] in ("plugins", "tools") and len(parts) > 2:
        return parts[1]
    return parts[0]


def read_rooms():
    """ROOMS as {room: allowed rooms}, the pure ones, and what is wrong in it."""
    rooms, pure, findings = {}, set(), []
    for number, line in enumerate(tidy.read("core/ROOMS").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        named = rest.split()
        unknown = [room for room in named if room not in rooms]
        if unknown:
            findings.append(f"core/ROOMS:{number}: {name} names {', '.join(unknown)}, not above it")
        if name == "@pure":
            pure.update(named)
        elif name in rooms:
            findings.append(f"core/ROOMS:{number}: {name} stands there twice")
        else:
            rooms[name] = set(named)
    return rooms, pure, findings


def includes(text):
    """(line number, '<' or '\"', path) of each include; comments do not count."""
    code = tidy.TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][0] == "/" else m[0], text)
    for match in INCLUDE.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, match[1], match[2]


def check_include(path, bracket, what, rooms, pure):
    """What is wrong with one include, or None."""
    room = room_of(path)
    if what.startswith("yakumo/"):
        return None if bracket == "<" else "write <yakumo/...>"
    if bracket == "<":
        allowed = PURE_HEADERS | HEADERS_ALLOWED.get(path, set())
        if room in pure and what not in allowed:
            return f"<{what}> in a pure room"
        return None
    if "/" not in what:
        return "write the path from the top folder"
    target = room_of(what)
    own_folder = os.path.dirname(path)
    if target == room and room in ("frontends", "backends", "filters", "coordinators"):
        if not (os.path.dirname(what) + "/").startswith(own_folder + "/"):
            return f'"{what}" is another plugin\'s'
        return None
    if target != room and target not in rooms.get(room, ()):
        return f'{room} may not include {target} ("{what}")'
    return None


def main():
    tap = tidy.Tap()
    rooms, pure, findings = read_rooms()
    tap.check("core/ROOMS goes one way", findings)

    # include/yakumo is everyone's: it has no room and includes nothing but itself and the C library.
    sources = tidy.files(".c", ".h", ".def", ".cc")
    wrong, unknown, impure = [], [], []
    for path in sources:
        text = tidy.read(path)
        room = room_of(path)
        if room != "include" and room not in rooms:
            unknown.append(f"{path}: core/ROOMS has no room {room}")
            continue
        for number, bracket, what in includes(text):
            if room == "include":
                problem = None if bracket == "<" and what != "config.h" else f'"{what}" is not installed'
            else:
                problem = check_include(path, bracket, what, rooms, pure)
            if problem:
                wrong.append(f"{path}:{number}: {problem}")
        if room in pure:
            allowed = IMPURE_ALLOWED.get(path, set())
            for number, line in enumerate(tidy.bare(text).splitlines(), 1):
                for match in IMPURE.finditer(line):
                    before = line[: match.start()].rstrip()
                    word = match[1] or match[2]
                    # A member of that name is the world that was lent.
                    if word not in allowed and not before.endswith(("->", ".")):
                        impure.append(f"{path}:{number}: {word} in a pure room")
    tap.check("every file has a room", unknown)
    tap.check("includes keep to the rooms", wrong)
    tap.check("pure rooms are pure", impure)
    tap.end()


main()
