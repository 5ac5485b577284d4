// memjs against a server: memjs.js HOST:PORT. It speaks the binary protocol only. Its prepend is left out: it sends
// an append.
"use strict";

const { Client } = require("memjs");

let calls = 0;
let wrong = 0;

function equal(got, wanted, what) {
    calls++;
    if (got !== wanted) {
        wrong++;
        console.log(`${what}: got ${got}, wanted ${wanted}`);
    }
}

const text = (result) => (result.value === null ? null : result.value.toString("latin1"));

async function run(client) {
    equal(await client.flush().then((answers) => Object.values(answers)[0]), true, "flush");
    equal(text(await client.get("k")), null, "get of nothing");
    equal(await client.set("k", "value", { expires: 0 }), true, "set");
    equal(text(await client.get("k")), "value", "get");
    equal(await client.add("k", "x", {}), false, "add of what is there");
    equal(await client.replace("k", "second", {}), true, "replace");
    equal(await client.replace("nothing", "x", {}), false, "replace of nothing");
    equal(await client.append("k", " end"), true, "append");
    equal(await client.append("nothing", "x").catch((error) => error.message), "MemJS APPEND: Item not stored",
        "append to nothing");
    equal(text(await client.get("k")), "second end", "get of the joined value");
    equal((await client.increment("n", 5, { initial: 41 })).value, 41, "increment of nothing");
    equal((await client.increment("n", 1, {})).value, 42, "increment");
    equal((await client.decrement("n", 50, {})).value, 0, "decrement below 0");
    equal(await client.touch("k", 3600), true, "touch");
    equal(await client.touch("nothing", 3600), false, "touch of nothing");
    const large = Buffer.alloc(1 << 20);
    for (let i = 0; i < large.length; i++) {
        large[i] = (i * 31) & 255;
    }
    equal(await client.set("large", large, {}), true, "set of a large value");
    equal(Buffer.compare((await client.get("large")).value, large), 0, "get of a large value");
    equal(await client.set("empty", "", {}), true, "set of nothing");
    equal(text(await client.get("empty")), "", "get of nothing in it");
    equal(await client.set("key of \u00e9 words", "v", {}), true, "set of a key with spaces");
    equal(text(await client.get("key of \u00e9 words")), "v", "get of it");
    const sets = [];
    for (let i = 0; i < 1000; i++) {
        sets.push(client.set(`m${i}`, `v${i}`, {}));
    }
    equal((await Promise.all(sets)).every((done) => done), true, "sets beside each other");
    const gets = [];
    for (let i = 0; i < 1000; i++) {
        gets.push(client.get(`m${i}`));
    }
    (await Promise.all(gets)).forEach((result, i) => equal(text(result), `v${i}`, `get of m${i}`));
    equal(await client.delete("k"), true, "delete");
    equal(await client.delete("k"), false, "delete of nothing");
    await client.stats((error, server, stats) => equal(Number(stats.curr_items) > 0, true, "stats"));
}

const client = Client.create(process.argv[2], { timeout: 20, retries: 0 });
run(client)
    .catch((error) => {
        wrong++;
        console.log(error);
    })
    .finally(() => {
        client.quit();
        console.log(`${calls} calls, ${wrong} wrong`);
        process.exitCode = wrong === 0 ? 0 : 1;
    });
