// A worker in Node: sums the numbers that each message has as "data", as sum.c does in C and worker.py in Python.
//
//     echo '{"id":1,"data":[1,2,3]}' | brood talk -- node examples/worker.js
'use strict';

function work({ data }) {
  for (const number of data)
    if (typeof number !== 'number') throw new TypeError('a value of the wrong type');
  return data.reduce((sum, number) => sum + number, 0);
}

process.on('message', (task) => {
  try {
    process.send({ id: task.id, result: work(task) });
  } catch (error) {
    process.send({ id: task.id, error: error.message });
  }
});
