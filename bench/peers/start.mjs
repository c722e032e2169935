// The peer of bench/start.c in JavaScript, each runtime by its own API: node, bun, deno.
//
//     node|bun|deno run -A start.mjs N CONCURRENCY MB PROGRAM [ARG...]

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';

const [n, c, mb] = process.argv.slice(2, 5).map(Number);
const [program, ...args] = process.argv.slice(5);
const peer = globalThis.Bun ? 'bun' : globalThis.Deno ? 'deno' : `node${process.versions.node.split('.')[0]}`;

const startBy = {
  bun: async () => {
    const child = Bun.spawn([program, ...args], { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' });
    await Promise.all([child.stdout.bytes(), child.exited]);
  },
  deno: async () => {
    await new Deno.Command(program, { args, stdin: 'null', stdout: 'piped', stderr: 'inherit' }).output();
  },
  node: () =>
    new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.on('data', () => {});
      child.on('error', reject);
      child.on('close', resolve);
    }),
};
const start = startBy[peer] ?? startBy.node;

// CPU time of this process and of the children that it has waited for: the kernel's ticks, 100 a second.
function cpu() {
  const fields = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /, '').split(' ').map(Number);
  return { self: (fields[11] + fields[12]) * 10000, children: (fields[13] + fields[14]) * 10000 };
}

async function round() {
  const took = [];
  let started = 0;
  const worker = async () => {
    while (started < n) {
      started++;
      const since = performance.now();
      await start();
      took.push(performance.now() - since);
    }
  };
  const before = cpu();
  const since = performance.now();
  await Promise.all(Array.from({ length: c }, worker));
  const seconds = (performance.now() - since) / 1000;
  const after = cpu();
  took.sort((a, b) => a - b);
  console.log(JSON.stringify({
    peer, n, c, mb, seconds, rate: n / seconds,
    cpu_self_us: after.self - before.self, cpu_children_us: after.children - before.children,
    median_us: Math.round(took[n >> 1] * 1000), p99_us: Math.round(took[Math.floor(n * 0.99)] * 1000),
  }));
}

const ballast = Array.from({ length: Math.ceil(mb / 512) }, () => Buffer.alloc(Math.min(mb, 512) << 20).fill(1));
if (process.env.BENCH_SERVE) {
  for await (const _ of createInterface({ input: process.stdin })) await round();
} else {
  await round();
}
if (ballast.length > 1e6) console.log(ballast); // it is to stay until here
