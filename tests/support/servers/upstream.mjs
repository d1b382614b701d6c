// A Node upstream.  Usage: node upstream.mjs FOLDER [h2]   (h2: HTTP/2 with prior knowledge)
// GET /files/N and /chunked/N: the file FOLDER/N in either framing.  PUT /upload/NAME: reads the body
// and remembers its length, hash and framing; GET /received/NAME tells.  GET /seen: the request's head.
import http from "node:http";
import http2 from "node:http2";
import fs from "node:fs";
import crypto from "node:crypto";
import path from "node:path";

const folder = process.argv[2];
const received = new Map();

const make = process.argv[3] === "h2" ? http2.createServer : http.createServer;
const server = make((request, response) => {
  const [, what, name] = request.url.split("?")[0].split("/");
  if (what === "files" || what === "chunked") {
    const file = path.join(folder, name);
    response.setHeader("content-type", "application/octet-stream");
    if (what === "files") response.setHeader("content-length", fs.statSync(file).size);
    if (request.method === "HEAD") return response.end();
    response.flushHeaders();
    fs.createReadStream(file).pipe(response);
  } else if (what === "upload") {
    const hash = crypto.createHash("sha256");
    let length = 0;
    request.on("data", (piece) => { hash.update(piece); length += piece.length; });
    request.on("end", () => {
      const framing = request.headers["transfer-encoding"] ? "chunked" : "length";
      received.set(name, { length, sha256: hash.digest("hex"), framing });
      response.writeHead(201, { "content-length": 0 });
      response.end();
    });
  } else if (what === "received") {
    response.end(JSON.stringify(received.get(name) ?? null));
  } else {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.rawHeaders }));
  }
});
server.requestTimeout = 0;
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
