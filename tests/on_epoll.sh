#!/bin/sh
# Runs the Python test of scenario/ or interop/ that on_epoll/NAME.epoll stands for; see Makemodule.am.
name=$(basename "$1" .epoll)
YK_IO=epoll
export YK_IO
for folder in scenario interop; do
    if test -f "$top_srcdir/tests/$folder/$name.py"; then
        exec /usr/bin/python3 "$top_srcdir/tests/$folder/$name.py"
    fi
done
echo "Bail out! there is no test named $name"
exit 1
