"""A protocol of request lines `ask ...` and reply lines `say ...`, and a sink that keeps a tally."""

import json

from rover import NEED_MORE, Direction, Exchange, ProtocolSpec, Role, Setting, SinkSpec, Verdict, hookimpl


class LinesDecoder:
    """Pairs each reply with the oldest open request."""

    def __init__(self, connection, settings, upgrade):
        self.role = None
        self.open = []
        self.asked = 0

    def decode(self, direction, buffer, now):
        end = buffer.data.find(b"\n", buffer.offset)
        if end < 0:
            return NEED_MORE
        line = buffer.data[buffer.offset : end].decode(errors="replace")
        size = end + 1 - buffer.offset
        if line.startswith("ask "):
            self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT
            self.open.append((self.asked, line[4:], buffer.since))
            buffer.consume(size, self.asked)
            self.asked += 1
        elif self.open:
            number, question, start = self.open.pop(0)
            buffer.consume(size, number)
            return Exchange(
                owner=number,
                start=start,
                end=now,
                name="lines",
                attributes={"lines.question": question, "lines.answer": line[4:]},
            )
        else:
            buffer.consume(size)
        return self.decode(direction, buffer, now)

    def expire(self, now):
        return ()

    def close(self, now):
        return ()


class TallySink:
    """A line of JSON per exchange, its own way."""

    kernel_logs = False

    def __init__(self, settings):
        self.file = open(settings["file"], "a")  # noqa: SIM115

    def write(self, logs):
        for log in logs:
            self.file.write(json.dumps([log.protocol, dict(log.attributes), len(log.details)]) + "\n")

    def flush(self):
        self.file.flush()

    def reopen(self):
        pass

    def counters(self):
        return {}

    def close(self):
        self.file.close()
        return 0


def sniff(data):
    if len(data) < 4:
        return Verdict.MAYBE
    return Verdict.YES if data[:4] in (b"ask ", b"say ") else Verdict.NO


@hookimpl
def register_protocols():
    return [ProtocolSpec("lines", sniff, LinesDecoder)]


@hookimpl
def register_sinks():
    return [SinkSpec("tally", TallySink, [Setting("file", "/tmp/tally", "where to")])]
