"""Fuzzing, guided by coverage: see docs/contributing.md. A harness is a module with

- `WORDS`: byte strings that the fuzzer may not find by itself;
- `seeds()`: inputs to begin with;
- `check(data)`: raises whatever it likes when these bytes break a promise; else returns how many
  exchanges were in them;
- `RUNS`: what is measured of an input once it is grown, see `laws`;
- `weigh(data)`, where what is handed over is longer than the input: its bytes.
"""

HARNESSES = ("http1", "http2", "redis", "websocket", "captures", "kernel_records", "recordings")
