// The peers of bench/tree.c: how long each takes to kill a tree of which a third has left the session and lost its
// parents, and how many it leaves alive. From the word until it says that it is done, or the program has ended.
//
//     node tree.mjs tree-kill|pm2|execa|group N FOREST        packages are looked for in BROOD_PEERS

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [way, count, forest] = process.argv.slice(2);
const n = Number(count);
const require = createRequire(join(process.env.BROOD_PEERS ?? '.', 'node_modules', 'x'));
const mark = `BENCH_TREE=${process.pid}`;
const env = { ...process.env, BENCH_TREE: String(process.pid) };
const ready = (stream) => new Promise((resolve) => stream.once('data', resolve));
const ended = (child) => new Promise((resolve) => child.once('exit', resolve));
const plain = (detached) => {
  const child = spawn(forest, [count], { env, detached, stdio: ['ignore', 'pipe', 'inherit'] });
  return { ready: ready(child.stdout), ended: ended(child), child };
};
const walk = (kill) => ({
  start: () => plain(false),
  kill: ({ child, ended }) => Promise.all([ended, new Promise((done) => kill(child.pid, 'SIGKILL', done))]),
});

const ways = {
  'tree-kill': async () => walk(require('tree-kill')),
  pm2: async () => walk(require('pm2/lib/TreeKill.js')),
  group: async () => ({ // kill -- -pgid
    start: () => plain(true),
    kill: ({ child, ended }) => (process.kill(-child.pid, 'SIGKILL'), ended),
  }),
  execa: async () => {
    const { execa } = await import(pathToFileURL(require.resolve('execa')));
    return {
      start: () => {
        const child = execa(forest, [count], { env, buffer: false, reject: false, stdin: 'ignore' });
        return { ready: ready(child.stdout), child };
      },
      kill: ({ child }) => (child.kill('SIGKILL'), new Promise((resolve) => child.once('exit', resolve))),
    };
  },
};

// Those of this bench that live: by their environment, which whoever escapes has as well.
function alive() {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid)).map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark);
      } catch {
        return false;
      }
    });
}

async function round() {
  const { start, kill } = await ways[way]();
  const tree = start();
  await tree.ready;
  const since = performance.now();
  await kill(tree);
  const seconds = (performance.now() - since) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 200)); // who was signalled is dying
  const left = alive();
  for (const pid of left) process.kill(pid, 'SIGKILL');
  console.log(JSON.stringify({ peer: way, variant: 'tree', n, c: n, mb: 0, seconds, rate: n / seconds, left: left.length }));
}

if (process.env.BENCH_SERVE) {
  for await (const _ of createInterface({ input: process.stdin })) await round();
} else {
  await round();
}
