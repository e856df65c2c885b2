// node server.mjs PORT CERTIFICATE KEY: HTTP/1.1 and HTTP/2 over TLS. /N answers N bytes.
import fs from "node:fs";
import http2 from "node:http2";

const [port, cert, key] = process.argv.slice(2);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true };
// Without a content-length: curl resets an HTTP/2 stream that has its last byte and not its end.
http2.createSecureServer(options, (request, response) => {
  const body = Buffer.alloc(Number(request.url.split("?")[0].slice(1)), "x");
  response.end(body);
}).listen(Number(port), "127.0.0.1");
