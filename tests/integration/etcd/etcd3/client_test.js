// The npm client "etcd3" against a store: node client_test.js ADDRESS PORT-OF-A-RELAY. The relay can be told to cut all its connections by
// a line on our standard output, "CUT"; watches must then go on by themselves.
const assert = require('assert');
const { Etcd3 } = require('etcd3');

const [address, relay] = process.argv.slice(2);
const client = new Etcd3({ hosts: address });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(what, condition) {
  for (let i = 0; i < 200; ++i) {
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error(`timed out: ${what}`);
}

const tests = {
  async 'puts, gets and deletes'() {
    await client.put('a').value('1');
    assert.strictEqual(await client.get('a').string(), '1');
    await client.put('n').value(7);
    assert.strictEqual(await client.get('n').number(), 7);
    assert.deepStrictEqual(await client.getAll().keys(), ['a', 'n']);
    assert.strictEqual((await client.delete().key('a')).deleted, '1');
    assert.strictEqual(await client.get('a').string(), null);
  },
  async 'runs transactions'() {
    const won = await client.if('t', 'Create', '==', 0).then(client.put('t').value('x')).else(client.get('t')).commit();
    assert.strictEqual(won.succeeded, true);
    const lost = await client.if('t', 'Create', '==', 0).then(client.put('t').value('y')).else(client.get('t')).commit();
    assert.strictEqual(lost.succeeded, false);
    assert.strictEqual(lost.responses[0].response_range.kvs[0].value.toString(), 'x');
    const value = await client.if('t', 'Value', '==', 'x').then(client.delete().key('t')).commit();
    assert.strictEqual(value.succeeded, true);
  },
  async 'namespaces see their own keys'() {
    const space = client.namespace('app/');
    await space.put('k').value('inside');
    assert.strictEqual(await client.get('app/k').string(), 'inside');
    assert.deepStrictEqual(await space.getAll().strings(), { k: 'inside' });
    await space.delete().all();
    assert.strictEqual(await client.get('app/k').string(), null);
    assert.strictEqual(await client.get('n').number(), 7);
  },
  async 'leases are kept alive and end with their keys'() {
    const lease = client.lease(1);
    await lease.put('leased').value('v');
    await sleep(1600);  // longer than it lives
    assert.strictEqual(await client.get('leased').string(), 'v');
    await lease.revoke();
    assert.strictEqual(await client.get('leased').string(), null);
  },
  async 'watches go on where they were after a cut'() {
    const through = new Etcd3({ hosts: `127.0.0.1:${relay}` });
    const seen = [];
    const watcher = await through.watch().prefix('w/').create();
    watcher.on('put', (kv) => seen.push(kv.value.toString()));
    await client.put('w/1').value('one');
    await until('the first event', () => seen.length === 1);
    console.log('CUT');
    await client.put('w/2').value('two');
    await client.put('w/3').value('three');
    await until('the events after the cut', () => seen.length === 3);
    assert.deepStrictEqual(seen, ['one', 'two', 'three']);
    await watcher.cancel();
    through.close();
  },
  async 'a lock excludes'() {
    const first = await client.lock('mutex').ttl(5).acquire();
    await assert.rejects(client.lock('mutex').ttl(5).acquire(), /lock|Lock/);
    await first.release();
    let inside = 0;
    await client.lock('mutex').ttl(5).do(async () => ++inside);
    assert.strictEqual(inside, 1);
  },
  async 'an election passes on'() {
    const election = client.election('boss', 5);
    const one = election.campaign('one');
    await new Promise((resolve, reject) => one.on('elected', resolve).on('error', reject));
    assert.strictEqual(await election.leader(), 'one');
    const two = client.election('boss', 5).campaign('two');
    const elected = new Promise((resolve, reject) => two.on('elected', resolve).on('error', reject));
    await sleep(100);
    assert.strictEqual(await election.leader(), 'one');
    await one.resign();
    await elected;
    assert.strictEqual(await election.leader(), 'two');
    await two.resign();
    assert.strictEqual(await election.leader(), undefined);
  },
};

(async () => {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok ${name}`);
    } catch (error) {
      ++failed;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  client.close();
  process.exit(failed ? 1 : 0);
})();
