"""key_update.py PORT COUNT: asks for /1 to /COUNT over TLS 1.3, in turn, on one connection of `openssl
s_client`, which changes its keys after each request, and every other time has the server change them, too."""

import subprocess
import sys

port, count = sys.argv[1], int(sys.argv[2])
command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"]
client = subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
)


def say(data):
    client.stdin.write(data)


def wait_for(what):
    said = b""
    while what not in said:
        data = client.stdout.read(65536)
        assert data, said
        said += data
    return said


for n in range(1, count + 1):
    say(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
    wait_for(b"\r\n\r\n" + b"x" * n)
    # A line of its own, which begins with this letter, is a command: openssl-s_client(1), CONNECTED COMMANDS.
    say(b"K\n" if n % 2 else b"k\n")
    wait_for(b"KEYUPDATE")
say(b"Q\n")
assert client.wait(20) == 0
print(count)
