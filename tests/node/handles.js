// A real Node as a child that takes what its parent hands it, says what it is, and serves it; then hands over its own.
'use strict';
const net = require('net');
const dgram = require('dgram');

let server;
process.on('message', (message, handle) => {
  if (handle instanceof net.Server) {
    handle.on('connection', (socket) => socket.end('served by node'));
    process.send(`${message}: net.Server`);
  } else if (message === 'pipe') {
    handle.on('data', (text) => process.send(`read from the pipe: ${text}`));
    handle.on('close', () => process.send('pipe closed'));
    handle.on('error', (error) => process.send(`pipe: ${error}`));
  } else if (handle instanceof net.Socket) {
    handle.end('written by node');
    process.send(`${message}: net.Socket`);
  } else if (handle instanceof dgram.Socket) {
    handle.on('message', (text, from) => handle.send(`${text} to node`, from.port, from.address));
    process.send(`${message}: dgram.Socket ${handle.type}`);
  } else if (message === 'pipe to write to') { // a raw handle: a net.Socket would read from it
    new net.Socket({ handle, readable: false }).end('written by node');
    process.send(`${message}: raw`);
  } else if (message === 'give') { // a connection of a server of its own: the C side answers it
    server = net.createServer((socket) => process.send('connection', socket)).listen(0, '127.0.0.1', () => {
      process.send('server', server);
      const client = net.connect(server.address().port, '127.0.0.1', () => client.setEncoding('utf8'));
      client.on('data', (text) => process.send(`client got ${text}`));
      client.on('end', () => server.close(() => process.send('server closed')));
    });
  } else {
    process.send(`${message}: no handle`);
  }
});
process.on('disconnect', () => process.exit(0));
