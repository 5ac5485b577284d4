#!/bin/sh
# Runs every fuzz target over its corpus, one TAP case for each target.
n=0
status=0
echo "1..2"
for target in config memcached; do
    n=$((n + 1))
    if "$top_builddir/tests/fuzz/${target}_fuzz" "$top_srcdir/tests/fuzz/corpus/$target" > "corpus_$target.out" 2>&1; then
        echo "ok $n - $target ($(grep -c '^ok' "corpus_$target.out") files)"
    else
        echo "not ok $n - $target"
        sed 's/^/# /' "corpus_$target.out" | tail -20
        status=1
    fi
    rm -f "corpus_$target.out"
done
exit $status
