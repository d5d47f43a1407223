// CRI as npm's grpc-js and proto-loader speak it, for the tests: node client.js SOCKET PROTO. Each line of standard input is a call,
// {"id": 1, "method": "Version", "request": {...}}; each line of standard output its answer, {"id": 1, "answer": {...}}, or
// {"id": 1, "code": 5, "message": "..."}. A call with "stream": true gives many, and {"id": 1, "end": true}.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const readline = require('readline');

const [socket, proto] = process.argv.slice(2);
const definition = loader.loadSync(proto, { keepCase: true, longs: Number, enums: Number, bytes: String, defaults: true });
const { runtime } = grpc.loadPackageDefinition(definition);
const options = { 'grpc.max_receive_message_length': 64 << 20, 'grpc.max_send_message_length': 64 << 20 };
const services = [runtime.v1.RuntimeService, runtime.v1.ImageService].map((Service) => new Service(`unix:${socket}`, grpc.credentials.createInsecure(), options));

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, request, stream, seconds } = JSON.parse(line);
  const client = services.find((one) => typeof one[method] === 'function');
  if (!client) return say({ id, code: 12, message: `the definition has no ${method}` });
  const limits = { deadline: Date.now() + (seconds || 60) * 1000 };
  const failed = (error) => say({ id, code: error.code, message: error.details });
  if (!stream) return client[method](request, limits, (error, answer) => (error ? failed(error) : say({ id, answer })));
  const call = client[method](request, limits);
  call.on('metadata', () => say({ id, begun: true }));
  call.on('data', (answer) => say({ id, answer }));
  call.on('error', failed);
  call.on('end', () => say({ id, end: true }));
}).on('close', () => process.exit(0));
