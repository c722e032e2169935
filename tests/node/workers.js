// What a worker must get past, on Node's fork(): a message of 2 MB both ways, one that is Node's own, and a handle that
// it cannot take, behind which Node holds up all others until it is told so.
//
//     node workers.js PROGRAM SCRIPT
'use strict';
const { fork } = require('child_process');
const net = require('net');
const { isDeepStrictEqual } = require('util');

const [execPath, script] = process.argv.slice(2), long = 'é'.repeat(1000000);
const server = net.createServer().listen(0, '127.0.0.1', () => {
  const child = fork(script, [], { execPath, execArgv: [], timeout: 20000 }), got = [];
  child.send({ id: 1, data: [1, 2] });
  child.send({ cmd: 'NODE_nothing' });
  child.send({ id: 2, data: [] }, server);
  child.send({ id: long, data: [0.5] });
  child.on('message', (message) => {
    got.push(message);
    if (message.id === long) child.disconnect();
  });
  child.on('exit', (code, signal) => {
    server.close();
    console.log(`${script}: ${got.length} answers, ${code ?? signal}`);
    process.exitCode = code === 0 && isDeepStrictEqual(got, [{ id: 1, result: 3 }, { id: long, result: 0.5 }]) ? 0 : 1;
  });
});
