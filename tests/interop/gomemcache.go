// gomemcache against HOST:PORT: each call must give what it should. Prints one line for each that does
// not, and ends with the number of calls.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"github.com/bradfitz/gomemcache/memcache"
)

var nCalls, nWrong int

func expect(name string, got, expected interface{}) {
	nCalls++
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		nWrong++
		fmt.Printf("%s: expected %.80v, got %.80v\n", name, expected, got)
	}
}

func value(item *memcache.Item, err error) interface{} {
	if err != nil {
		return err
	}
	return string(item.Value)
}

func main() {
	client := memcache.New(os.Args[1])
	client.Timeout = 20e9

	expect("get of nothing", value(client.Get("nothing")), memcache.ErrCacheMiss)
	expect("set", client.Set(&memcache.Item{Key: "k", Value: []byte("value"), Flags: 4294967295}), nil)
	item, err := client.Get("k")
	expect("get", value(item, err), "value")
	expect("flags", item.Flags, uint32(4294967295))
	expect("add of what is there", client.Add(&memcache.Item{Key: "k", Value: []byte("x")}), memcache.ErrNotStored)
	expect("add", client.Add(&memcache.Item{Key: "new", Value: []byte("x")}), nil)

	item.Value = []byte("swapped")
	expect("cas", client.CompareAndSwap(item), nil)
	expect("cas with an old unique", client.CompareAndSwap(item), memcache.ErrCASConflict)
	expect("get after cas", value(client.Get("k")), "swapped")
	gone, _ := client.Get("new")
	expect("delete", client.Delete("new"), nil)
	expect("cas of nothing", client.CompareAndSwap(gone), memcache.ErrCacheMiss)
	expect("delete of nothing", client.Delete("new"), memcache.ErrCacheMiss)

	expect("set of a number", client.Set(&memcache.Item{Key: "n", Value: []byte("10")}), nil)
	number, err := client.Increment("n", 5)
	expect("incr", fmt.Sprint(number, err), "15 <nil>")
	number, err = client.Decrement("n", 100)
	expect("decr below 0", fmt.Sprint(number, err), "0 <nil>")
	_, err = client.Increment("nothing", 1)
	expect("incr of nothing", err, memcache.ErrCacheMiss)
	client.Set(&memcache.Item{Key: "word", Value: []byte("word")})
	_, err = client.Increment("word", 1)
	expect("incr of a word fails", err != nil, true)

	large := bytes.Repeat([]byte("0123456789abcdef"), 65536)
	expect("set of the largest value", client.Set(&memcache.Item{Key: "large", Value: large}), nil)
	item, err = client.Get("large")
	expect("get of the largest value", err == nil && bytes.Equal(item.Value, large), true)
	expect("set of a value that is too large fails",
		client.Set(&memcache.Item{Key: "larger", Value: append(large, 'x')}) != nil, true)
	expect("get after it", value(client.Get("k")), "swapped")
	expect("expiration in the past", client.Set(&memcache.Item{Key: "old", Value: []byte("x"), Expiration: -1}), nil)
	expect("get of it", value(client.Get("old")), memcache.ErrCacheMiss)

	var keys []string
	for i := 0; i < 500; i++ {
		keys = append(keys, fmt.Sprintf("m%d", i))
		expect("set of many", client.Set(&memcache.Item{Key: keys[i], Value: []byte(keys[i] + "!")}), nil)
	}
	found, err := client.GetMulti(append(keys, "nothing"))
	expect("get of many", fmt.Sprint(len(found), err), "500 <nil>")
	for _, key := range keys {
		expect("a value of many", string(found[key].Value), key+"!")
	}

	client.Set(&memcache.Item{Key: "counter", Value: []byte("0")})
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for k := 0; k < 100; k++ {
				client.Increment("counter", 1)
			}
		}()
	}
	group.Wait()
	expect("incr from 8 at once", value(client.Get("counter")), "800")

	fmt.Printf("%d calls, %d wrong\n", nCalls, nWrong)
	if nWrong > 0 {
		os.Exit(1)
	}
}
