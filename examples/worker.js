// A worker in Node: sums the numbers that each message has as "data", as sum.c does in C and worker.py in Python.
//
//     echo '{"id":1,"data":[1,2,3]}' | brood talk -- node examples/worker.js
'use strict';

if (!process.send) {
  console.error('worker.js: nobody to talk to; try: brood talk -- node worker.js');
  process.exit(1);
}

function work({ data }) {
  for (const number of data)
    if (typeof number !== 'number') throw new TypeError('a value of the wrong type');
  return data.reduce((sum, number) => sum + number, 0);
}

process.on('message', (task) => {
  const id = task?.id; // a message may be null
  try {
    process.send({ id, result: work(task) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
});
