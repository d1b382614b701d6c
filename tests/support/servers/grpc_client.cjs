// A gRPC client on @grpc/grpc-js.  Usage: node grpc_client.cjs FOLDER   (where npm has installed it)
// Each line of stdin is one call as JSON; each line of stdout is what came of one, with its number.
const { createRequire } = require("node:module");
const path = require("node:path");
const readline = require("node:readline");
const grpc = createRequire(path.resolve(process.argv[2], "package.json"))("@grpc/grpc-js");

const same = (bytes) => bytes;
const clients = new Map();

function open(call) {
  return new grpc.Client(call.address, grpc.credentials.createInsecure(), {
    "grpc.max_receive_message_length": call.limit, "grpc.max_send_message_length": -1, "grpc.use_local_subchannel_pool": 1,
    ...(call.keepalive
      ? { "grpc.keepalive_time_ms": call.keepalive * 1000, "grpc.keepalive_timeout_ms": call.keepalive * 1000 } : {}),
    ...(call.compressed ? { "grpc.default_compression_algorithm": 2 } : {}),
  });
}

function clientFor(call) {
  if (call.fresh) return open(call);
  if (!clients.has(call.address)) clients.set(call.address, open(call));
  return clients.get(call.address);
}

function pairs(metadata) {
  const found = [];
  if (metadata) {
    for (const name of Object.keys(metadata.getMap())) {
      for (const value of metadata.get(name)) found.push([name, Buffer.from(value).toString("base64")]);
    }
  }
  return found;
}

function run(call) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of call.metadata) {
    metadata.add(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : Buffer.from(value, "base64").toString());
  }
  const client = clientFor(call);
  const options = { deadline: Date.now() + call.timeout * 1000 };
  const out = { number: call.number, messages: [], initial: [], trailing: [] };
  const messages = call.messages.map((one) => Buffer.from(one, "base64"));
  const begun = performance.now();
  let over = false;
  const end = (status) => {
    if (over) return;
    over = true;
    out.code = status.code;
    out.details = status.details;
    out.trailing = pairs(status.metadata);
    out.seconds = (performance.now() - begun) / 1000;
    if (call.fresh) client.close();
    process.stdout.write(JSON.stringify(out) + "\n");
  };
  let stream;
  const took = (message) => {
    if (message) out.messages.push(Buffer.from(message).toString("base64"));
    if (call.cancel_after !== null && out.messages.length >= call.cancel_after) stream.cancel();
    else if (call.ping_pong) next();
  };
  const last = (error, message) => { if (message) took(message); };
  let sent = 0;
  const next = () => { if (sent < messages.length) stream.write(messages[sent++]); else stream.end(); };
  const arguments_ = [call.path, same, same];
  if (call.kind === "unary") stream = client.makeUnaryRequest(...arguments_, messages[0], metadata, options, last);
  else if (call.kind === "server") stream = client.makeServerStreamRequest(...arguments_, messages[0], metadata, options);
  else if (call.kind === "client") stream = client.makeClientStreamRequest(...arguments_, metadata, options, last);
  else stream = client.makeBidiStreamRequest(...arguments_, metadata, options);
  stream.on("metadata", (given) => { out.initial = pairs(given); });
  stream.on("status", (status) => setImmediate(() => end(status)));
  stream.on("error", () => {});
  if (call.kind === "server" || call.kind === "bidi") stream.on("data", took);
  if (call.kind === "client" || call.kind === "bidi") {
    if (call.ping_pong) next();
    else {
      for (const message of messages) stream.write(message);
      if (call.cancel_after === null) stream.end();
    }
  }
  if (call.cancel_after === 0) setImmediate(() => stream.cancel());
}

readline.createInterface({ input: process.stdin }).on("line", (line) => run(JSON.parse(line)));
