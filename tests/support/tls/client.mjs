// Asks each target once over HTTPS.  Standard input: {"ca": PEM, "targets": [{"host", "port", "name"}], "timeout": seconds}.
// Standard output: one JSON array of {"ok", "code", "words"}.
import fs from 'node:fs';
import https from 'node:https';

const asked = JSON.parse(fs.readFileSync(0, 'utf8'));

function ask({ host, port, name }) {
  return new Promise((resolve) => {
    const request = https.request({
      host, port, ca: asked.ca, agent: false, headers: { host: name }, timeout: asked.timeout * 1000,
      ...(host === name ? {} : { servername: name }),
    });
    request.on('timeout', () => request.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })));
    request.on('error', (error) => resolve({ ok: false, code: error.code ?? error.name, words: error.message }));
    request.on('response', (response) => {
      response.resume();
      response.on('close', () => resolve({ ok: true, code: '', words: '' }));
    });
    request.end();
  });
}

const found = [];
for (const target of asked.targets) found.push(await ask(target));
process.stdout.write(JSON.stringify(found));
