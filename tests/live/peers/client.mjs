// node client.mjs ORIGIN COUNT PATH...: COUNT GETs of the paths in turn, many at a time, on one connection.
import http2 from "node:http2";

const [origin, count, ...paths] = process.argv.slice(2);
const session = http2.connect(origin);
const one = (path) => new Promise((resolve, reject) => {
  const stream = session.request({ ":path": path, "user-agent": "node-witness" });
  stream.resume();
  stream.on("end", resolve);
  stream.on("error", reject);
  stream.end();
});
const lanes = Array.from({ length: 20 }, async (_, lane) => {
  for (let n = lane; n < Number(count); n += 20) await one(paths[n % paths.length]);
});
await Promise.all(lanes);
session.close();
