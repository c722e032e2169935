// A Node parent of any worker that answers {id, data} by {id, result}: asks for a hundred sums at once, finds by its id
// whose answer an answer is, and tells what it saw, as a message if it has a parent with a channel, else as a line.
//
//     node examples/parent.js ./sum
//     node examples/parent.js node examples/worker.js
'use strict';
const { spawn } = require('child_process');
const { readFileSync } = require('fs');

const questions = 100, [program, ...args] = process.argv.slice(2);
if (!program) {
  console.error('usage: node parent.js WORKER [ARGUMENT]...');
  process.exit(1);
}
const began = process.hrtime.bigint(), elapsed = () => Number(process.hrtime.bigint() - began) / 1e6;
const worker = spawn(program, args, { stdio: [0, 1, 2, 'ipc'] });
setTimeout(() => worker.kill('SIGKILL'), 20000).unref(); // spawn's timeout would keep us, too, where nothing started
const open = new Map(); // by id: who waits
const seen = { first_ms: 0, all_ms: 0, answered: 0, wrong: 0, pss_kb: 0, dirty_kb: 0 };

function request(id, data) {
  return new Promise((resolve, reject) => {
    open.set(id, { resolve, reject });
    worker.send({ id, data }, (error) => error && reject(error));
  });
}

worker.on('message', ({ id, result, error }) => {
  seen.first_ms ||= elapsed();
  seen.answered++;
  const { resolve, reject } = open.get(id);
  open.delete(id);
  if (error) reject(new Error(error));
  else resolve(result);
});

async function ask(id) {
  const sum = await request(id, [id, 2 * id, 0.5]);
  if (sum !== 3 * id + 0.5) seen.wrong++;
}

// In KiB, of the worker as it is now; 0 where the kernel does not tell.
function memory(name) {
  try {
    return Number(readFileSync(`/proc/${worker.pid}/smaps_rollup`, 'latin1').match(`\n${name}: *(\\d+)`)[1]);
  } catch {
    return 0;
  }
}

let failure, ended;
const fail = (error) => { failure ??= error.message; };

worker.on('error', fail);
worker.on('exit', (code, signal) => { ended = code ?? signal; });

Promise.all(Array.from({ length: questions }, (_, i) => ask(i + 1))).then(() => {
  seen.all_ms = elapsed();
  seen.pss_kb = memory('Pss');
  seen.dirty_kb = memory('Private_Dirty');
}).catch(fail).then(() => worker.connected && worker.disconnect());

process.once('beforeExit', () => {
  if (failure || ended !== 0 || seen.answered < questions || seen.wrong > 0) {
    const how = failure || `ended with ${ended}`;
    console.error(`${program}: ${seen.answered} of ${questions} answers, ${seen.wrong} wrong; ${how}`);
    process.exitCode = 1;
  }
  if (process.send) process.send(seen);
  else console.log(JSON.stringify(seen));
});
