// The peer of bench/pool.c in Node: the pools that are used there, each by its own API.
//
//     node pool.mjs piscina|tinypool|workerpool DIRECTORY tiny|busy|queued|recover N WORKERS PREFETCH C
//
// DIRECTORY is where npm has installed them. piscina runs threads, which die with the whole process: no recover there.
// tinypool and workerpool run processes. All do one task at a time; PREFETCH is piscina's and tinypool's
// concurrentTasksPerWorker, workerpool has none.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [library, directory, variant] = process.argv.slice(2, 5);
const [n, workers, prefetch, atOnce] = process.argv.slice(5, 9).map(Number);
const c = variant === 'queued' ? n : atOnce;
const taskFile = fileURLToPath(new URL('pool_task.cjs', import.meta.url));
const requireThere = createRequire(join(directory, 'package.json'));

const open = {
  async piscina() {
    const { Piscina } = requireThere('piscina');
    const pool = new Piscina({ filename: taskFile, minThreads: workers, maxThreads: workers, concurrentTasksPerWorker: prefetch });
    return { run: (task) => pool.run(task), close: () => pool.destroy() };
  },
  async tinypool() {
    const { default: Tinypool } = await import(pathToFileURL(join(directory, 'node_modules/tinypool/dist/index.js')).href);
    const pool = new Tinypool({
      filename: taskFile, runtime: 'child_process', minThreads: workers, maxThreads: workers,
      concurrentTasksPerWorker: prefetch,
    });
    return { run: (task) => pool.run(task), close: () => pool.destroy() };
  },
  async workerpool() {
    process.env.BENCH_WORKERPOOL = requireThere.resolve('workerpool');
    const workerpool = requireThere('workerpool');
    const pool = workerpool.pool(taskFile, { workerType: 'process', minWorkers: workers, maxWorkers: workers });
    return { run: (task) => pool.exec('work', [task]), close: () => pool.terminate(true) };
  },
};

// CPU time of this process (threads are in it) and of the children that it has waited for.
function cpu() {
  const fields = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /, '').split(' ').map(Number);
  return { self: (fields[11] + fields[12]) * 10000, children: (fields[13] + fields[14]) * 10000 };
}

async function round(pool) {
  const took = [];
  let given = 0;
  const client = async () => {
    while (given < n) {
      const number = given++;
      const since = performance.now();
      if (variant === 'recover') await pool.run({ die: true }).catch(() => {}); // workerpool forgets what waits behind
      let result;
      do result = await pool.run(variant === 'busy' ? { number, spin_us: 1000 } : { number }).catch(() => undefined);
      while (variant === 'recover' && result === undefined); // none of them tries again by itself
      if (result !== number) throw new Error(`${result} is not ${number}`);
      took.push(performance.now() - since);
    }
  };
  const before = cpu();
  const since = performance.now();
  await Promise.all(Array.from({ length: Math.min(c, n) }, client));
  const seconds = (performance.now() - since) / 1000;
  const after = cpu();
  took.sort((a, b) => a - b);
  console.log(JSON.stringify({
    peer: library, variant, n, c, mb: 0, seconds, rate: n / seconds,
    cpu_self_us: after.self - before.self, cpu_children_us: after.children - before.children,
    median_us: Math.round(took[n >> 1] * 1000), p99_us: Math.round(took[Math.floor(n * 0.99)] * 1000),
  }));
}

const pool = await open[library]();
if (process.env.BENCH_SERVE) for await (const _ of createInterface({ input: process.stdin })) await round(pool);
else await round(pool);
await pool.close();
