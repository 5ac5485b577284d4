#!/bin/sh
# Makes ./configure from configure.ac. Needs autoconf, automake, libtool and libltdl-dev.
set -e
cd "$(dirname "$0")"
for tool in autoreconf aclocal automake libtoolize; do
    if ! command -v "$tool" > /dev/null 2>&1; then
        echo "autogen.sh: $tool is missing; on Debian: apt-get install autoconf automake libtool" >&2
        exit 1
    fi
done
exec autoreconf --force --install --warnings=all,no-obsolete
