// A client on Node's http2, as client.mjs: one call as JSON from stdin, what came of it as JSON.
import fs from "node:fs";
import crypto from "node:crypto";
import http2 from "node:http2";

const call = JSON.parse(fs.readFileSync(0, "utf8"));
const out = { status: 0, headers: [], length: 0, sha256: "", body: "", code: "", detail: "" };
const hash = crypto.createHash("sha256");
const pieces = [];
const begun = performance.now();
let done = false;

function finish(error) {
  if (done) return;
  done = true;
  if (error) {
    out.code = typeof error.code === "string" ? error.code : error.name;
    out.detail = String(error);
  }
  out.seconds = (performance.now() - begun) / 1000;
  out.sha256 = hash.digest("hex");
  out.body = Buffer.concat(pieces).toString("base64");
  process.stdout.write(JSON.stringify(out), () => process.exit(0));
}

const url = new URL(call.url);
const session = http2.connect(url.origin);
session.on("error", finish);
const headers = { ":method": call.method, ":path": url.pathname + url.search };
for (const [name, value] of call.headers) {
  headers[name] = name in headers ? [].concat(headers[name], value) : value;
}
if (call.file && !call.chunked) headers["content-length"] = fs.statSync(call.file).size;
const stream = session.request(headers, { endStream: !call.file });
if (call.timeout) setTimeout(() => finish(new DOMException("it took too long", "TimeoutError")), call.timeout * 1000);
stream.on("response", (given) => {
  out.status = given[":status"];
  for (const [name, value] of Object.entries(given)) {
    if (!name.startsWith(":")) for (const each of [].concat(value)) out.headers.push([name, String(each)]);
  }
});
stream.on("data", (piece) => {
  hash.update(piece);
  out.length += piece.length;
  if (out.length <= 1048576) pieces.push(piece);
});
stream.on("error", finish);
// Of a stream that is cut, "end" comes too: what tells is "aborted", or the code of its RST_STREAM.
stream.on("end", () => { stream.ended = true; });
stream.on("close", () => {
  const whole = stream.ended && out.status && !stream.aborted && !stream.rstCode;
  finish(whole ? null : new Error(`closed early, code ${stream.rstCode}`));
});
if (call.file) {
  const file = fs.createReadStream(call.file, { highWaterMark: 262144 });
  file.on("error", finish);
  file.pipe(stream);
}
