// What real Node reads and what it refuses, brood reads and refuses: JSON and structured clone, whole, cut, and changed
// at random. What brood read comes back as structured clone, and is compared value by value.
//
//     node values.js PROGRAM V8-VECTORS [COUNT [SEED]]      PROGRAM is values.c
'use strict';
const { spawnSync } = require('child_process');
const { isDeepStrictEqual, inspect } = require('util');
const fs = require('fs');
const v8 = require('v8');

const [program, vectors, count = '20000', seed = '1'] = process.argv.slice(2);

// Node's channel writes what kind of host object follows, v8.serialize does not.
class Deserializer extends v8.DefaultDeserializer {
  _readHostObject() {
    const kind = this.readUint32();
    if (kind === 1) return this.readValue();
    if (kind !== 0) throw new Error('kind');
    return super._readHostObject();
  }
}

function deserialize(payload) {
  const d = new Deserializer(payload);
  d.readHeader();
  return d.readValue();
}

// xorshift32
let state = Number(seed) * 2654435761 >>> 0 || 1;
function random(below) {
  state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
  return (state >>> 0) % below;
}

const jsonSeeds = [
  '{"a":[1,-2.5e3,"x\\u00e9\\n\\ud83d\\ude00",{}],"b":true,"c":null,"a":0}', '[1e400,-0,0.1,123456789012345678901]',
  '"\\u0000\\ud800\\/\\\\"', ' [ ] ', '{"__proto__":{"x":1},"1":2,"0":3}', '[[[[[]]]],[{}]]', '5e-324', '"é€😀"',
  '{"id":17,"name":"Ada","tags":["x","y"],"ok":false,"n":12.75}', '[0.000001,1e21,1e-7,9007199254740993,4.35]',
].map((text) => Buffer.from(text));
const v8Seeds = fs.readFileSync(vectors, 'utf8').split('\n').filter((line) => line && line[0] !== '#')
  .map((line) => Buffer.from(line.split(' ')[0], 'hex'));
const jsonTokens = ['{', '}', '[', ']', ',', ':', '"', '\\', '\\u', '\\ud800', '0', '-', '.', 'e', '1', ' ', '\n', 'null', 'true',
  '\ufffd', '\xff', '""', '"a":', '9'].map((text) => Buffer.from(text));
const v8Tokens = [...'_0TFIUNZ"cSo{A$a@-DyxnzsRr;:\',B~V^\\?ERFStUm.', '\0', '\x01', '\x02', '\xff', '\x80']
  .map((text) => Buffer.from(text, 'latin1'));

function mutate(seeds, tokens) {
  let bytes = seeds[random(seeds.length)];
  for (let times = random(4); times > 0; times--) {
    const at = random(bytes.length + 1), cut = random(5), other = seeds[random(seeds.length)];
    switch (random(5)) {
      case 0: bytes = bytes.subarray(0, at); break;
      case 1: bytes = Buffer.concat([bytes.subarray(0, at), tokens[random(tokens.length)], bytes.subarray(at)]); break;
      case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + cut)]); break;
      case 3: bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random(other.length + 1))]); break;
      default:
        bytes = Buffer.from(bytes);
        if (at < bytes.length) bytes[at] = random(256);
    }
  }
  return bytes;
}

const cases = [];
for (const bytes of jsonSeeds) cases.push(['J', bytes]);
for (const bytes of v8Seeds) cases.push(['V', bytes]);
while (cases.length < Number(count)) {
  cases.push(['J', mutate(jsonSeeds, jsonTokens)]);
  const bytes = mutate(v8Seeds, v8Tokens);
  // The header alone would be most of what is refused.
  cases.push(['V', bytes[0] === 0xff ? bytes : Buffer.concat([Buffer.from([0xff, 0x0f]), bytes])]);
}

function frame([letter, bytes]) {
  const head = Buffer.alloc(5);
  head.write(letter, 'latin1');
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function nodeReads([letter, bytes]) {
  try {
    return { value: letter === 'J' ? JSON.parse(bytes.toString()) : deserialize(Buffer.from(bytes)) };
  } catch (error) {
    return { error };
  }
}

// Two invalid dates are not equal to isDeepStrictEqual.
function same(a, b) {
  if (isDeepStrictEqual(a, b)) return true;
  const [left, right] = [a, b].map((x) => inspect(x, { depth: Infinity, maxArrayLength: 1000 }));
  return left === right && left.includes('Invalid Date');
}

function reread(payload) {
  try {
    return { value: deserialize(Buffer.from(payload))[0] };
  } catch (error) {
    return { error, unreadable: true };
  }
}

// Where the two may differ, and why.
function isKnown([letter, bytes], node, brood) {
  if (letter === 'J') // Buffer.toString drops a byte order mark; the channel does not
    return bytes[0] === 0xef;
  if (node.error) {
    if (brood.unreadable) return bytes.includes(13); // a Float16Array, which Node 20 does not know
    // brood does not compile regular expressions, reads the parts of an error in any order, as Node 20 does, knows
    // immutable buffers, as Node 26 does, and takes what is said of a view for what it is
    return ['R', 'r', 'C', 'V'].some((tag) => bytes.includes(tag));
  }
  // nor does it read an error's part twice, as Node 26 does not
  return bytes.includes('V') || bytes.includes('r');
}

const run = spawnSync(program, { input: Buffer.concat(cases.map(frame)), maxBuffer: 1 << 30 });
if (run.status !== 0) {
  console.error(`${program}: ${run.error || run.signal || run.status}`, String(run.stderr));
  process.exit(1);
}
let at = 0, read = 0, refused = 0, known = 0, bad = 0;
for (const one of cases) {
  const letter = String.fromCharCode(run.stdout[at]), length = run.stdout.readUInt32LE(at + 1);
  const payload = run.stdout.subarray(at + 5, at + 5 + length);
  at += 5 + length;
  const node = nodeReads(one);
  const brood = letter === 'E' ? { error: 'refused' } : reread(payload);
  if (node.error && brood.error) refused++;
  else if (!node.error && !brood.error && same(node.value, brood.value)) read++;
  else if (isKnown(one, node, brood)) known++;
  else if (++bad <= 20)
    console.log(`${one[0]} ${one[0] === 'J' ? JSON.stringify(one[1].toString()) : one[1].toString('hex')}\n` +
      `  Node:  ${node.error ? 'refuses it: ' + node.error.message : inspect(node.value)}\n` +
      `  brood: ${brood.error ? 'refuses it' : inspect(brood.value)}`);
}
console.log(`Node ${process.version}: ${read} read alike, ${refused} refused alike, ${known} known to differ, ${bad} not`);
process.exit(bad > 0 || read < 100 || refused < 100 ? 1 : 0);
