// JSON.parse and JSON.stringify on a document, as bench/values.c; and the documents themselves.
//
//     values.mjs parse|write FILE N
//     values.mjs make DIRECTORY
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [what, path, count] = process.argv.slice(2);

function make(dir) {
  let state = 1;
  const random = () => ((state = Math.imul(state, 1103515245) + 12345 >>> 0) / 2 ** 32);
  const word = () => Array.from({ length: 3 + random() * 9 | 0 }, () => 'etaoinshrdlu'[random() * 12 | 0]).join('');
  const record = (i) => ({
    id: i, name: `${word()} ${word()}`, email: `${word()}@${word()}.example`, score: random() * 100, active: random() < 0.5,
    tags: [word(), word(), word()], address: { street: `${random() * 999 | 0} ${word()} St`, city: word(), zip: null },
  });
  const fill = (size, make1) => { const list = []; for (let n = 2; n < size;) { list.push(make1(list.length)); n += JSON.stringify(list.at(-1)).length + 1; } return list; };
  const documents = {
    '56B': { id: 17, cmd: 'sum', data: [1, 2, 3, 4, 5], to: 'Ada Byr' },
    '700B': { ...record(1), more: [record(2), record(3)] },
    '64KB-records': fill(65536, record), '1MB-records': fill(1 << 20, record),
    '1MB-strings': fill(1 << 20, () => Array.from({ length: 8 }, word).join(' ')),
    '1MB-text': fill(1 << 20, () => 'Zoë said: "naïve"\n' + word().repeat(4)),
    '1MB-numbers': fill(1 << 20, (i) => (i % 3 ? random() * 1000 : random() * 1e6 | 0)),
  };
  for (const [name, value] of Object.entries(documents)) writeFileSync(`${dir}/${name}.json`, JSON.stringify(value));
}

function round() {
  const begun = process.hrtime.bigint();
  let kept;
  if (what === 'parse') for (let i = 0; i < n; i++) kept = JSON.parse(text);
  else for (let i = 0; i < n; i++) kept = JSON.stringify(value);
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  console.log(JSON.stringify({ peer: `node ${process.version}`, variant: what, n, rate: Buffer.byteLength(text) * n / 1e6 / seconds, kept: typeof kept }));
}

let text, value, n;
if (what === 'make') {
  make(path);
} else {
  text = readFileSync(path, 'utf8');
  value = JSON.parse(text);
  n = Number(count);
  if (process.env.BENCH_SERVE) createInterface({ input: process.stdin }).on('line', round);
  else round();
}
