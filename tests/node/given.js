// A real Node parent that hands a listening socket and a connection to a brood child, which serves both, and gets a pipe
// from it; what is sent between and behind arrives in its order, and the server closes when its connections have.
//
//     node given.js PEER
'use strict';
const { fork } = require('child_process');
const net = require('net');
const assert = require('assert');

const read = (socket) => new Promise((resolve, reject) => {
  let text = '';
  socket.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve(text)).on('error', reject);
});
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

async function give(serialization) {
  const child = fork('use', ['give', '1'], { execPath: process.argv[2], execArgv: [], serialization });
  const got = [], exit = once(child, 'exit');
  const [given, pipe] = await once(child, 'message');
  assert.strictEqual(given, 'given');
  assert.ok(pipe instanceof net.Socket);
  assert.strictEqual(await read(pipe), 'pipe 0');
  child.on('message', (message) => got.push(message));

  const first = net.createServer();
  const port = await listen(first);
  child.send('before');
  child.send('a server', first, () => first.close());
  await once(first, 'close'); // this process does not accept any more
  assert.strictEqual(await read(net.connect(port, '127.0.0.1')), 'used 0 of 1');

  // Node forgets to close a server whose connection waits, for the answer to an earlier descriptor, when it is closed
  while (got.length < 2) await once(child, 'message');
  const second = net.createServer((socket) => {
    child.send('a connection', socket);
    child.send('behind');
    second.close();
  });
  const closed = once(second, 'close');
  assert.strictEqual(await read(net.connect(await listen(second), '127.0.0.1')), 'used 0 of 1');
  await closed;
  while (got.length < 4) await once(child, 'message');
  child.disconnect();
  const [code, signal] = await exit;
  assert.deepStrictEqual([got, code, signal], [[0, 1, 1, 0], 0, null]);
  return `Node/brood, descriptors, ${serialization}: ${got.length} messages`;
}

(async () => {
  for (const serialization of ['json', 'advanced']) console.log(await give(serialization));
})().catch((error) => { console.error(error); process.exit(1); });
