// A real Node parent, and children that send back what they get: value by value the same, in both serializations, in
// order, and with the events that Node promises.
//
//     node roundtrip.js PEER      PEER is peer.c; the control is Node's own child
'use strict';
const { fork, spawn } = require('child_process');
const { isDeepStrictEqual, inspect } = require('util');
const path = require('path');

const peer = process.argv[2];
const json = [
  0, -0, 1, -1, 1.5, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 2 ** 53, 123456789.125, true, false, null, '', 'text',
  'é', '€', '😀', '\ud800', 'a\0b', '"\\\b\f\n\r\t\u001f\u2028', [], [[[]]], [1, 'a', null, [true]], {}, { a: { b: { c: [{}] } } },
  { 1: 'x', 0: 'y', z: 1, '': 2 }, { cmd: 'NODE_' }, 'x'.repeat(100000), Array.from({ length: 5000 }, (_, i) => ({ id: i, name: `n${i}` })),
];
const cycle = { name: 'self', list: [1, 2] };
cycle.self = cycle;
cycle.list.push(cycle.list);
const shared = { x: 1 };
const error = new TypeError('broken');
const advanced = [
  ...json, { u: undefined }, [undefined, 1], [, 1, , 2], new Array(5), [10n, -(2n ** 100n), 0n, 2n ** 64n - 1n],
  new Date(0), new Date(1.7e12), [NaN, Infinity, -Infinity, -0], /a+b/gi, /€/u, new Map([[1, 'a'], ['k', { v: 1 }], [{}, []]]),
  new Set([1, 'a', [2]]), new ArrayBuffer(8), Buffer.from('buffer'), new Uint8Array([1, 2, 255]), new Int16Array([-1, 300]),
  new Uint32Array([2 ** 32 - 1]), new Float32Array([1.5, -0]), new Float64Array([Math.PI, NaN]), new BigInt64Array([-5n]),
  new BigUint64Array([5n]), new DataView(new ArrayBuffer(4)), new Uint8ClampedArray([7]), error, new Error('with', { cause: { a: 1 } }),
  new Boolean(false), new Number(7), new String('boxed'), Object(9n), cycle, [shared, shared], { b: Buffer.alloc(70000, 7) },
  Object.assign([1, 2], { extra: 'x' }),
];

// Node cannot send a bigint, or undefined, alone; every value goes in an array, too, and there keeps its neighbours.
const messages = { json: json.flatMap((v) => [v, [v]]), advanced: advanced.flatMap((v) => [v, [v, 'next']]) };

function same(a, b) {
  if (a instanceof Error && b instanceof Error)
    return a.name === b.name && a.message === b.message && a.stack === b.stack && isDeepStrictEqual(a.cause, b.cause);
  if (Array.isArray(a) && Array.isArray(b) && a[0] instanceof Error) return same(a[0], b[0]) && a[1] === b[1];
  return isDeepStrictEqual(a, b);
}

// What Node itself makes of a value on this way: JSON has no -0.
const expected = (value, serialization) => (serialization === 'json' ? JSON.parse(JSON.stringify(value)) : value);

function converse(name, child, serialization) {
  return new Promise((resolve, reject) => {
    const sent = messages[serialization], events = [];
    let got = 0;
    const fail = (what) => { child.kill('SIGKILL'); reject(new Error(`${name}, ${serialization}: ${what}`)); };
    child.on('error', (e) => fail(e.message));
    child.on('message', (message) => {
      if (!same(message, expected(sent[got], serialization)))
        fail(`message ${got}: sent ${inspect(sent[got], { depth: 5 }).slice(0, 300)}, got ${inspect(message, { depth: 5 }).slice(0, 300)}`);
      if (++got === sent.length) child.disconnect();
    });
    child.on('disconnect', () => events.push('disconnect'));
    child.on('exit', (code, signal) => { // not 'close': a parent that disconnects itself does not get it
      events.push('exit');
      if (got !== sent.length) fail(`${got} of ${sent.length} came back; ${code} ${signal}`);
      else if (code !== 0) fail(`ended with ${code} ${signal}`);
      else resolve(`${name}, ${serialization}: ${got} messages, ${events.join(', ')}`);
    });
    for (const message of sent) child.send(message);
  });
}

(async () => {
  for (const serialization of ['json', 'advanced']) {
    const echo = path.join(__dirname, 'echo.js');
    console.log(await converse('Node/Node', fork(echo, { serialization }), serialization));
    console.log(await converse('Node/brood by fork', fork('echo', ['echo'], { execPath: peer, execArgv: [], serialization }), serialization));
    console.log(await converse('Node/brood by spawn', spawn(peer, ['echo'], { stdio: [0, 1, 2, 'ignore', 'ipc'], serialization }), serialization));
  }
})().catch((e) => { console.error(e.message); process.exitCode = 1; });
