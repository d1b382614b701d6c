// A client on Node's fetch.  Reads one call as JSON from stdin, writes what came of it as JSON.
import fs from "node:fs";
import crypto from "node:crypto";
import { Readable } from "node:stream";

const call = JSON.parse(fs.readFileSync(0, "utf8"));
const out = { status: 0, headers: [], length: 0, sha256: "", body: "", code: "", detail: "" };
const options = { method: call.method, headers: call.headers, redirect: "manual" };
if (call.timeout) options.signal = AbortSignal.timeout(call.timeout * 1000);
if (call.file && call.chunked) {
  options.body = Readable.toWeb(fs.createReadStream(call.file, { highWaterMark: 262144 }));
  options.duplex = "half";
} else if (call.file) {
  options.body = fs.readFileSync(call.file);
}
const hash = crypto.createHash("sha256");
const pieces = [];
let begun = performance.now();
try {
  const response = await fetch(call.url, options);
  out.status = response.status;
  out.headers = [...response.headers];
  if (response.body) {
    for await (const piece of response.body) {
      hash.update(piece);
      out.length += piece.length;
      if (out.length <= 1048576) pieces.push(piece);
    }
  }
} catch (error) {
  const cause = error.cause ?? error;
  out.code = cause.code ?? cause.name ?? "unknown";
  if (typeof out.code !== "string") out.code = cause.name;
  out.detail = `${error} / ${cause}`;
}
out.seconds = (performance.now() - begun) / 1000;
out.sha256 = hash.digest("hex");
out.body = Buffer.concat(pieces).toString("base64");
process.stdout.write(JSON.stringify(out), () => process.exit(0));
