// A handle that a real Node parent sends is refused by a brood child, which cannot take one yet: what comes after it
// must arrive all the same.
//
//     node refused.js PEER
'use strict';
const { fork } = require('child_process');
const net = require('net');

const server = net.createServer().listen(0, '127.0.0.1', () => {
  const child = fork('echo', ['echo'], { execPath: process.argv[2], execArgv: [] }), got = [];
  child.send('before');
  child.send('with', server);
  child.send('after');
  child.on('message', (message) => {
    got.push(message);
    if (message === 'after') child.disconnect();
  });
  child.on('exit', (code, signal) => {
    server.close();
    console.log(`${got} ${code} ${signal}`);
    process.exitCode = `${got}` === 'before,after' && code === 0 ? 0 : 1;
  });
});
