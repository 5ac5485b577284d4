#!/bin/sh
# Configures a build of its own in FOLDER, unless it is there, and runs its tests:
#   sub_check.sh FOLDER CONFIGURE-ARGUMENT...
set -e
folder=$1
shift
mkdir -p "$folder"
cd "$folder"
if test ! -f Makefile; then
    if ! "$top_srcdir/configure" --quiet "$@" > configure.out 2>&1; then
        tail -n 30 configure.out
        echo "configure failed; all of it is in $folder/configure.out" >&2
        exit 1
    fi
fi
${MAKE-make} check
