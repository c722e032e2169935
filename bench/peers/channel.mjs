// The same as bench/channel.c between two Node processes, or with a child that is not: messages of SIZE bytes.
//
//     channel.mjs roundtrip|oneway N SIZE [CHILD]      CHILD: a program that answers as bench-channel's child does
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const [how, count, bytes, program] = process.argv.slice(2);
const n = Number(count), size = Number(bytes), oneWay = how === 'oneway';
const make = (id) => { const head = JSON.stringify({ id, text: '' }).length; return { id, text: 'x'.repeat(size - head) }; };

if (process.send) {
  process.on('message', (m) => { if (!oneWay || m.id === 0) process.send(m); });
} else {
  const args = program ? [how, 'child', count, bytes] : [how, count, bytes];
  const child = program ? fork(how, args.slice(1), { execPath: program, execArgv: [] }) : fork(fileURLToPath(import.meta.url), args);
  const usual = make(1234567), last = make(0);
  let left = 0, begun, done = () => {};
  const send = () => child.send(--left === 0 ? last : usual);
  const pump = () => { while (left > 0) if (!send()) { setImmediate(pump); return; } };
  child.on('message', () => (left === 0 ? done() : send()));
  const round = () => new Promise((resolve) => {
    done = () => {
      const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
      console.log(JSON.stringify({ peer: process.version, variant: how, n, rate: n / seconds }));
      resolve();
    };
    begun = process.hrtime.bigint();
    left = n;
    oneWay ? pump() : send();
  });
  if (process.env.BENCH_SERVE) {
    const lines = createInterface({ input: process.stdin });
    lines.on('line', round);
    lines.on('close', () => child.disconnect());
  } else round().then(() => child.disconnect());
}
