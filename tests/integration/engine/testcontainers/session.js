// What testcontainers does for a test suite: containers that are awaited in each of its ways, files, networks, images built. NODE_PATH has it.
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { GenericContainer, Network, Wait } = require("testcontainers");

const directory = process.argv[2];
const httpd = (text) => ["sh", "-c", `echo ${text} > /index.html; echo ready; exec httpd -f -p 80 -h /`];
const body = async (container) => (await fetch(`http://127.0.0.1:${container.getMappedPort(80)}/index.html`)).text();

async function waits() {
  const ways = [Wait.forLogMessage("ready"), Wait.forListeningPorts(), Wait.forHttp("/index.html", 80)];
  for (const way of ways) {
    const container = await new GenericContainer("hello:1").withCommand(httpd("served")).withExposedPorts(80).withWaitStrategy(way).start();
    assert.equal(await body(container), "served\n");
    await container.stop();
  }
  const check = { test: ["CMD-SHELL", "true"], interval: 100, timeout: 1000, retries: 5, startPeriod: 10 };
  const container = await new GenericContainer("hello:1").withCommand(["sleep", "100"]).withHealthCheck(check).withWaitStrategy(Wait.forHealthCheck()).start();
  await container.stop();
}

async function settings() {
  const file = path.join(directory, "bound");
  fs.writeFileSync(file, "bound");
  const container = await new GenericContainer("hello:1").withCommand(["sleep", "100"]).withBindMounts([{ source: file, target: "/f", mode: "ro" }]).withTmpFs({ "/t": "rw,noexec,size=1m" })
    .withEnvironment({ A: "b" }).withUser("1000").withLabels({ x: "y" }).withResourcesQuota({ memory: 0.1, cpu: 0.5 }).start();
  assert.equal((await container.exec(["sh", "-c", "cat /f; echo $A; id -u; mount | grep -c ' /t '"])).output, "boundb\n1000\n1\n");
  const ended = await container.exec(["sh", "-c", "echo hi; echo err >&2; exit 3"]);
  assert.deepEqual([ended.stdout, ended.stderr, ended.exitCode], ["hi\n", "err\n", 3]);
  await container.copyContentToContainer([{ content: "abc", target: "/tmp/x" }]);
  assert.equal((await container.exec(["cat", "/tmp/x"])).output, "abc");
  await container.restart();
  await container.stop();
}

async function networks() {
  const network = await new Network().start();
  const web = await new GenericContainer("hello:1").withCommand(httpd("net")).withNetwork(network).withNetworkAliases("web").withExposedPorts(80).start();
  const asker = await new GenericContainer("hello:1").withCommand(["sleep", "100"]).withNetwork(network).start();
  assert.equal((await asker.exec(["wget", "-q", "-O", "-", "http://web/index.html"])).output, "net\n");
  await asker.stop();
  await web.stop();
  await network.stop();
}

async function builds() {
  const context = path.join(directory, "context");
  fs.mkdirSync(context, { recursive: true });
  fs.writeFileSync(path.join(context, "Dockerfile"), 'FROM hello:1\nRUN echo built > /index.html\nCMD ["httpd", "-f", "-p", "80", "-h", "/"]\n');
  const image = await GenericContainer.fromDockerfile(context).build("built:1", { deleteOnExit: false });
  const container = await image.withExposedPorts(80).start();
  assert.equal(await body(container), "built\n");
  (await container.logs()).destroy();
  await container.stop();
}

(async () => {
  for (const step of [waits, settings, networks, builds]) {
    await step();
    console.log(`ok ${step.name}`);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
