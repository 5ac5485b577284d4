#!/usr/bin/env python3
"""Man pages say what the option tables say, and README.md names each dependency with its licence.

Run alone, in a build folder: top_srcdir=.. top_builddir=. python3 ../tests/tidy/tidy_man.py
"""
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import tidy

# What configure asks for: pkg-config's name or header -> what README.md must say on one line.
DEPENDENCIES = {
    "glib-2.0": ("GLib", "LGPL"),
    "libxxhash": ("xxHash", "BSD"),
    "msgpack": ("msgpack-c", "BSL"),
    "msgpack-c": ("msgpack-c", "BSL"),
    "liburing": ("liburing", "MIT"),
    "ltdl.h": ("libltdl", "LGPL"),
    "lmdb": ("LMDB", "OpenLDAP"),
    "tokyocabinet": ("Tokyo Cabinet", "LGPL"),
    "BERKELEYDB": ("Berkeley DB", "Sleepycat"),
    "libcurl": ("libcurl", "curl licence"),
    "jansson": ("Jansson", "MIT"),
}


def yakumo(*arguments):
    """What the tool of the build folder prints, with the plugins of the build folder."""
    environment = {key: text for key, text in os.environ.items() if key != "YK_PLUGIN_PATH"}
    program = os.path.join(os.environ.get("top_builddir", "."), "yakumo")
    return subprocess.run(
        [program, *arguments], env=environment, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def read_built(*parts):
    """A file of the build folder, or None."""
    try:
        with open(os.path.join(*parts), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def has_option(page, name):
    return f"\n.B {name}\n" in page.replace("\\-", "-")


def check_plugin(plugin):
    """Findings for one plugin of `plugins --json`."""
    name = plugin["name"]
    page = read_built(os.path.dirname(plugin["file"]), f"yakumo-{name}.7")
    if page is None:
        return [f"{name} has no man page beside {plugin['file']}"]
    options = json.loads(yakumo("plugins", "--json", "--dump", name))["options"]
    findings = [
        f"yakumo-{name}(7) lacks the option {option['name']}"
        for option in options
        if not has_option(page, option["name"])
    ]
    if not findings and page != yakumo("plugins", "--man", name):
        findings.append(f"yakumo-{name}(7) is older than its option table: make")
    return findings


def check_pages(tap):
    build = os.path.realpath(os.environ.get("top_builddir", "."))
    if not os.path.exists(os.path.join(build, "yakumo")):
        tap.skip("man pages", "yakumo has not been built")
        return
    for plugin in json.loads(yakumo("plugins", "--json")):
        # One that is installed on this machine is none of this build's.
        if not os.path.realpath(plugin["file"]).startswith(build + os.sep):
            continue
        refused = plugin.get("refused")
        findings = [f"{plugin['file']}: {refused}"] if refused else check_plugin(plugin)
        tap.check(f"yakumo-{plugin['name']}(7)", findings)
    page = read_built(build, "tools", "yakumo-config.5")
    is_same = page is not None and page == yakumo("config", "--man")
    tap.check("yakumo-config(5)", [] if is_same else ["is missing or older than its tables: make"])


def check_licences(tap):
    if not os.path.exists(os.path.join(tidy.top_srcdir(), "README.md")):
        tap.skip("licences", "there is no README.md yet")
        return
    script = tidy.read("configure.ac")
    asked = re.findall(r"PKG_CHECK_MODULES\(\[\w+\], *\[([\w.+-]+)", script)
    asked += [name for name in re.findall(r"AC_CHECK_HEADERS?\(\[([\w./-]+)\]", script)]
    asked += re.findall(r"YK_FIND_(\w+)\]", script)
    lines = tidy.read("README.md").splitlines()
    findings = []
    for name in asked:
        if name not in DEPENDENCIES:
            findings.append(f"{name}: add it and its licence to DEPENDENCIES and to README.md")
        elif not any(all(word in line for word in DEPENDENCIES[name]) for line in lines):
            findings.append(f"README.md has no line with {' and '.join(DEPENDENCIES[name])}")
    tap.check("README.md has each dependency's licence", findings)


def main():
    tap = tidy.Tap()
    check_pages(tap)
    check_licences(tap)
    tap.end()


main()
