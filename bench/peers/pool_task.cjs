// What the pools of pool.mjs do with a task: for piscina and tinypool a function that is exported, for workerpool one that
// is registered.
'use strict';

function work({ number, spin_us: spin }) {
  if (number === undefined) process.kill(process.pid, 'SIGKILL');
  if (spin) for (const until = performance.now() + spin / 1000; performance.now() < until; );
  return number;
}

module.exports = work;
if (process.env.BENCH_WORKERPOOL) require(process.env.BENCH_WORKERPOOL).worker({ work });
