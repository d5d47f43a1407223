// What programs on dockerode do: a container's whole life, attached streams, exec, logs, stats, events, archives, builds, networks and volumes.
// session.js SOCKET: one line "ok NAME" a step, an uncaught error otherwise.
const assert = require('node:assert');
const { PassThrough } = require('node:stream');
const Docker = require('dockerode');
const tar = require('tar-stream');

const docker = new Docker({ socketPath: process.argv[2] });
const done = (name) => console.log(`ok ${name}`);

function collect(stream) {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  return new Promise((resolve, reject) => stream.on('end', () => resolve(Buffer.concat(chunks).toString())).on('error', reject));
}

// Standard output and error of a multiplexed stream, apart.
function demultiplex(stream) {
  const out = new PassThrough(), err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([collect(out), collect(err)]);
}

async function life() {
  const version = await docker.version();
  assert.strictEqual(version.ApiVersion, '1.50');
  assert.strictEqual((await docker.ping()).toString(), 'OK');
  const output = new PassThrough(), text = collect(output);  // ended by the end of what is attached
  const [result, container] = await docker.run('hello:1', ['sh', '-c', 'echo out; exit 3'], output, { Tty: true });
  assert.strictEqual(result.StatusCode, 3);
  assert.match(await text, /out/);
  await container.remove();
  done('run');
}

async function streams() {
  const container = await docker.createContainer({ name: 'streams', Image: 'hello:1', Cmd: ['sh', '-c', 'read line; echo "got $line"; echo oops >&2'], OpenStdin: true, StdinOnce: true, AttachStdin: true });
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const both = demultiplex(stream);
  await container.start();
  stream.write('hello\n');
  stream.end();
  assert.deepStrictEqual(await both, ['got hello\n', 'oops\n']);
  assert.strictEqual((await container.wait()).StatusCode, 0);
  const logs = await container.logs({ stdout: true, stderr: false });
  assert.match(logs.toString(), /got hello/);
  await container.remove();
  await assert.rejects(container.inspect(), (e) => e.statusCode === 404 && e.reason === 'no such container');
  done('attach');
}

async function inside() {
  const container = await docker.createContainer({ Image: 'hello:1', Cmd: ['sleep', '1000'], StopTimeout: 0, Labels: { session: 'dockerode' }, HostConfig: { Memory: 64 << 20 } });
  await container.start();
  const exec = await container.exec({ Cmd: ['sh', '-c', 'cat; echo $NAME; exit 4'], Env: ['NAME=value'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack: true, stdin: true });
  const both = demultiplex(stream);
  stream.write('typed\n');
  stream.end();
  assert.deepStrictEqual(await both, ['typed\nvalue\n', '']);
  assert.strictEqual((await exec.inspect()).ExitCode, 4);
  done('exec');

  const stats = await container.stats({ stream: false });
  assert.strictEqual(stats.memory_stats.limit, 64 << 20);
  const pack = tar.pack();
  pack.entry({ name: 'greeting' }, 'hello');
  pack.finalize();
  await container.putArchive(pack, { path: '/etc' });
  const extract = tar.extract(), names = [];
  extract.on('entry', (header, body, next) => { names.push(header.name); body.on('end', next).resume(); });
  (await container.getArchive({ path: '/etc/greeting' })).pipe(extract);
  await new Promise((resolve) => extract.on('finish', resolve));
  assert.deepStrictEqual(names, ['greeting']);
  assert.deepStrictEqual((await container.changes()).filter((c) => c.Path === '/etc/greeting'), [{ Path: '/etc/greeting', Kind: 1 }]);
  const listed = await docker.listContainers({ filters: { label: ['session=dockerode'] } });
  assert.strictEqual(listed.length, 1);
  await container.rename({ name: 'renamed' });
  await container.pause();
  assert.strictEqual((await container.inspect()).State.Status, 'paused');
  await container.unpause();
  await container.update({ Memory: 32 << 20, MemorySwap: 64 << 20 });
  assert.strictEqual((await container.inspect()).HostConfig.Memory, 32 << 20);
  const image = await container.commit({ repo: 'committed', tag: 'one' });
  assert.match(image.Id, /^sha256:/);
  await container.stop();
  await container.remove();
  await docker.getImage('committed:one').remove();
  done('inside');
}

async function events() {
  const stream = await docker.getEvents({ filters: { type: ['container'], event: ['create', 'start', 'die', 'destroy'] } });
  const seen = [];
  const all = new Promise((resolve) => stream.on('data', (chunk) => {
    for (const line of chunk.toString().split('\n').filter(Boolean)) seen.push(JSON.parse(line).Action);
    if (seen.includes('destroy')) resolve();
  }));
  await docker.run('hello:1', ['true'], new PassThrough(), { HostConfig: { AutoRemove: true } });
  await all;
  stream.destroy();
  assert.deepStrictEqual(seen, ['create', 'start', 'die', 'destroy']);
  done('events');
}

async function build() {
  const pack = tar.pack();
  pack.entry({ name: 'Dockerfile' }, 'FROM hello:1\nCOPY file /file\nRUN echo built > /made\nCMD ["cat", "/file", "/made"]\n');
  pack.entry({ name: 'file' }, 'copied\n');
  pack.finalize();
  const stream = await docker.buildImage(pack, { t: 'built:1' });
  const lines = await new Promise((resolve, reject) => docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all))));
  assert.ok(lines.some((line) => (line.stream || '').includes('Successfully tagged built:1')), JSON.stringify(lines));
  const output = new PassThrough(), text = collect(output);  // ended by the end of what is attached
  const [, container] = await docker.run('built:1', [], output, { Tty: true });
  await container.remove();
  assert.strictEqual((await text).replaceAll('\r', ''), 'copied\nbuilt\n');
  await docker.getImage('built:1').remove();
  done('build');
}

async function networks() {
  const network = await docker.createNetwork({ Name: 'meeting', Labels: { a: 'b' } });
  const volume = await docker.createVolume({ Name: 'kept' });
  const server = await docker.createContainer({ name: 'server', Image: 'hello:1', Cmd: ['sh', '-c', 'echo kept > /data/x; httpd -f -p 80 -h /data'], StopTimeout: 0, HostConfig: { NetworkMode: 'meeting', Binds: ['kept:/data'] } });
  await server.start();
  const output = new PassThrough(), text = collect(output);  // ended by the end of what is attached
  const [result] = await docker.run('hello:1', ['sh', '-c', 'for i in 1 2 3 4 5; do wget -q -O - http://server/x && exit 0; sleep 0.2; done; exit 1'], output, { Tty: true, HostConfig: { NetworkMode: 'meeting', AutoRemove: true } });
  assert.strictEqual(result.StatusCode, 0, await text);
  assert.match(await text, /kept/);
  const names = async () => Object.values((await network.inspect()).Containers).map((c) => c.Name);
  for (let i = 0; i < 100 && (await names()).length > 1; i++) await new Promise((resolve) => setTimeout(resolve, 50));  // the one that removes itself
  assert.deepStrictEqual(await names(), ['server']);
  await server.remove({ force: true });
  await network.remove();
  await volume.remove();
  done('networks');
}

(async () => {
  await life();
  await streams();
  await inside();
  await events();
  await build();
  await networks();
})();
