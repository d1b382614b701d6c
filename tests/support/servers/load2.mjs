// Asks a server again and again by Node's http2, twenty requests at a time, until it takes no more; prints how
// many were answered whole.
import http2 from "node:http2";

const session = http2.connect(process.argv[2]);
let answered = 0;
session.on("error", () => {});

function ask() {
  if (session.closed || session.destroyed) return;
  let length = 0;
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => {});
  stream.on("data", (piece) => { length += piece.length; });
  stream.on("end", () => { stream.whole = length === 1000; });
  stream.on("close", () => {
    if (stream.whole && !stream.aborted && !stream.rstCode) answered += 1;
    ask();
  });
}
for (let number = 0; number < 20; number += 1) ask();
session.on("close", () => setTimeout(() => process.stdout.write(`answered ${answered}\n`, () => process.exit(0)), 200));
