#!/bin/sh
# Runs every fuzz target over its corpora, one TAP case for each corpus: TARGET, or TARGET_PART.
n=0
status=0
echo "1..15"
for corpus in bench config dump engine frame history journal memcached memcached_meta memcached_binary ops register wire quorum etcd; do
    n=$((n + 1))
    target=${corpus%%_*}
    if [ ! -x "$top_builddir/tests/fuzz/${target}_fuzz" ]; then
        echo "ok $n - $corpus # SKIP its plugin is not built"
        continue
    fi
    if "$top_builddir/tests/fuzz/${target}_fuzz" "$top_srcdir/tests/fuzz/corpus/$corpus" > "corpus_$corpus.out" 2>&1; then
        echo "ok $n - $corpus ($(grep -c '^ok' "corpus_$corpus.out") files)"
    else
        echo "not ok $n - $corpus"
        sed 's/^/# /' "corpus_$corpus.out" | tail -20
        status=1
    fi
    rm -f "corpus_$corpus.out"
done
exit $status
