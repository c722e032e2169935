// A worker for `brood pool` that tells its pid, so that somebody can kill it.
'use strict';
const fs = require('fs');

fs.appendFileSync(process.argv[2], `${process.pid}\n`);
process.on('message', ({ id, data }) => {
  if (data === 'throw') throw new Error('no luck');
  if (data === 'hang') for (;;);
  if (data === 'fail') process.send({ id, error: new Error('no luck').message });
  else process.send({ id, result: data * 2 });
});
