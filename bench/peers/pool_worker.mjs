// A worker of bench-pool in Node: it knows nothing of brood.

import process from 'node:process';

process.send('ready');

process.on('message', ({ id, number, spin_us: spin }) => {
  if (number === undefined) process.kill(process.pid, 'SIGKILL');
  if (spin) for (const until = performance.now() + spin / 1000; performance.now() < until; );
  process.send({ id, result: number });
});
