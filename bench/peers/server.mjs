// The peer of examples/server.c in JavaScript, each runtime by its own API: node, bun, deno.
//
//     node|bun|deno run -A server.mjs PORT

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import process from 'node:process';

const port = Number(process.argv[2]);
const headers = { 'Content-Type': 'text/plain' };

if (globalThis.Bun) {
  Bun.serve({
    hostname: '127.0.0.1',
    port,
    fetch: () => {
      const child = Bun.spawn(['echo', 'hi'], { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' });
      return new Response(child.stdout, { headers });
    },
  });
} else if (globalThis.Deno) {
  Deno.serve({ hostname: '127.0.0.1', port, onListen: () => {} }, () => {
    const child = new Deno.Command('echo', { args: ['hi'], stdin: 'null', stdout: 'piped', stderr: 'inherit' }).spawn();
    return new Response(child.stdout, { headers });
  });
} else {
  createServer((request, response) => {
    const child = spawn('echo', ['hi'], { stdio: ['ignore', 'pipe', 'inherit'] });
    response.writeHead(200, headers);
    child.stdout.pipe(response);
  }).listen(port, '127.0.0.1');
}
