// session.mjs PACKAGES KUBECONFIG WHAT...: one session of @kubernetes/client-node; what it sees goes to standard output, a line each.
//   informer                 configmaps of the namespace default until killed, started anew after errors as its README says
//   watch                    the same with a bare watch, until it ends
//   exec POD COMMAND...      its output, then the status
//   forward POD PORT PATH    the page that is served there
import { createRequire } from 'node:module';
import net from 'node:net';
import { Writable } from 'node:stream';

const [, , packages, kubeconfig, what, ...rest] = process.argv;
const { pathToFileURL } = await import('node:url');
const k8s = await import(pathToFileURL(createRequire(packages + '/node_modules/x.js').resolve('@kubernetes/client-node')));
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const say = (...words) => process.stdout.write(words.join(' ') + '\n');

if (what === 'informer') {
  const core = config.makeApiClient(k8s.CoreV1Api);
  const informer = k8s.makeInformer(config, '/api/v1/namespaces/default/configmaps', () => core.listNamespacedConfigMap({ namespace: 'default' }));
  const seen = (kind) => (object) => say(kind, object.metadata.name, object.data?.k ?? '');
  informer.on('add', seen('add'));
  informer.on('update', seen('update'));
  informer.on('delete', seen('delete'));
  informer.on('connect', () => say('connect'));
  const start = () => informer.start().catch(() => setTimeout(start, 100));
  informer.on('error', () => setTimeout(start, 100));
  await start();
} else if (what === 'watch') {
  await new Promise((resolve) => new k8s.Watch(config).watch('/api/v1/namespaces/default/configmaps', { timeoutSeconds: 2 }, (type, object) => say(type, object.metadata.name), resolve));
  say('ended');
} else if (what === 'exec') {
  const into = (name) => new Writable({ write(chunk, _, done) { say(name, chunk.toString().trimEnd()); done(); } });
  await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec('default', rest[0], 'main', rest.slice(1), into('out'), into('err'), null, false, (status) => { say('status', status.status, status.details?.causes?.[0]?.message ?? ''); resolve(); }).catch(reject);
  });
  process.exit(0);
} else if (what === 'forward') {
  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => { forward.portForward('default', rest[0], [Number(rest[1])], socket, null, socket); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const page = await fetch(`http://127.0.0.1:${server.address().port}${rest[2]}`);
  say('page', page.status, (await page.text()).trimEnd());
  process.exit(0);
}
