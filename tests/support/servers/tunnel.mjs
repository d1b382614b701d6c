// Extended CONNECT (RFC 8441) by Node's http2: "server" sends back what comes; "client URL SIZE" sends so many
// bytes, takes as many, ends its half, and says as JSON on one line what came of it.
import crypto from "node:crypto";
import http2 from "node:http2";

const [role, url, size] = process.argv.slice(2);

if (role === "server") {
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") {
      stream.respond({ ":status": 400 }, { endStream: true });
      return;
    }
    if (headers[":path"] === "/refused") {
      stream.respond({ ":status": 403, "content-type": "text/plain" });
      stream.end("not you");
      return;
    }
    stream.respond({ ":status": 200, "sec-websocket-protocol": headers["sec-websocket-protocol"] ?? "none" });
    stream.pipe(stream);
  });
  server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
} else {
  const out = { status: 0, allowed: false, length: 0, body: "", code: -1, error: "" };
  const sent = crypto.createHash("sha256");
  const got = crypto.createHash("sha256");
  const session = http2.connect(new URL(url).origin);
  session.on("error", (error) => { out.error = String(error); });
  session.once("remoteSettings", (settings) => {
    out.allowed = settings.enableConnectProtocol;
    const { pathname } = new URL(url);
    const stream = session.request(
      { ":method": "CONNECT", ":protocol": "websocket", ":path": pathname, "sec-websocket-version": "13" },
      { endStream: false },
    );
    const chunk = crypto.randomBytes(65536);
    let left = Number(size);
    const write = () => {
      while (left > 0) {
        const piece = chunk.subarray(0, Math.min(left, chunk.length));
        left -= piece.length;
        sent.update(piece);
        if (!stream.write(piece)) {
          stream.once("drain", write);
          return;
        }
      }
    };
    stream.on("response", (headers) => {
      out.status = headers[":status"];
      if (out.status === 200) write();
    });
    stream.on("data", (piece) => {
      got.update(piece);
      out.length += piece.length;
      if (out.length < 1000) out.body += piece;
      if (out.status === 200 && out.length === Number(size)) stream.end();
    });
    stream.on("error", (error) => { out.error = String(error); });
    stream.on("close", () => {
      out.code = stream.rstCode;
      out.same = sent.digest("hex") === got.digest("hex");
      console.log(JSON.stringify(out));
      session.destroy();
      process.exit(0);
    });
  });
}
