// node client.mjs PORT COUNT: asks for /1 to /COUNT over TLS, one after the other, on one connection.
import https from "node:https";

const [port, count] = process.argv.slice(2).map(Number);
const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
const ask = (n) => new Promise((resolve, reject) => {
  https.get({ host: "127.0.0.1", port, path: `/${n}`, agent }, (response) => {
    let size = 0;
    response.on("data", (piece) => { size += piece.length; });
    response.on("end", () => (size === n ? resolve() : reject(new Error(`${size} bytes`))));
  }).on("error", reject);
});
for (let n = 1; n <= count; n++) await ask(n);
agent.destroy();
