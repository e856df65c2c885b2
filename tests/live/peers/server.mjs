// node server.mjs PORT: HTTP/2 in clear text. /size/N answers N bytes; POST answers how many came.
import http2 from "node:http2";

const server = http2.createServer();
server.on("stream", (stream, headers) => {
  let received = 0;
  stream.on("data", (piece) => { received += piece.length; });
  stream.on("end", () => {
    const sized = /^\/size\/(\d+)/.exec(headers[":path"]);
    if (headers[":method"] === "POST") {
      stream.respond({ ":status": 200 });
      stream.end(String(received));
    } else if (sized) {
      stream.respond({ ":status": 200 });
      stream.end(Buffer.alloc(Number(sized[1]), "x"));
    } else {
      stream.respond({ ":status": 404 });
      stream.end("no such thing");
    }
  });
  stream.on("error", () => {});
});
server.listen(Number(process.argv[2]), "127.0.0.1");
