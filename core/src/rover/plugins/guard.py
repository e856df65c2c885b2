"""What plugins hand to the core, checked before it is used.

The core believes the types that its contract names; a plugin written in Python keeps them only as well
as its author did. Whatever is wrong raises TypeError here, with what was found where what is due: the
caller makes that the plugin's own failure (`rover.plugins.manager.Plugin.failed`).

Values are checked by their exact class where they are hot, which costs a comparison of pointers.
"""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any

from rover.contracts.protocol import (
    MAX_OPENING,
    NEED_MORE,
    RESYNCHRONISED,
    AnyExchange,
    Outcomes,
    ProtocolSpec,
)
from rover.contracts.settings import Setting
from rover.contracts.sink import SinkSpec
from rover.contracts.source import SourceSpec
from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, AttributeValue, characters
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover.values.records import MAX_NUMBER, Address, Opened, Process, Role

MAX_YIELDED = 65_536
"""Exchanges that one call of `expire` or `close` may yield, or `decode` without taking a byte: as many
streams as two HTTP/2 peers would hardly allow each other, and far fewer than an iterator without end."""
MAX_REASON = 40
"""Characters of a break's reason, which is one word."""
MAX_DESCRIPTION = 64
"""Attributes of one process: each of its logs carries them all."""
MAX_DESCRIPTION_TEXT = 4096
"""Characters of their names and values together: a pod's labels take some hundred."""
MAX_TEXT = 1000
"""Characters kept of a break's detail, which is a line for people."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Of a protocol, source or sink: a part of a dotted key, and a cell of a table."""
_SETTING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(?:\.\*)?")

_ENDS = (("owner", (int,)), ("outcome", (Outcome,)), ("end", (int,)), ("assumed", (bool,)))
_MESSAGES = (("request", (HttpRequest,)), ("response", (HttpResponse, type(None))))
EXCHANGES: Mapping[type, tuple[tuple[str, tuple[type, ...]], ...]] = {
    HttpExchange: (*_MESSAGES, *_ENDS),
    HttpStream: (*_MESSAGES, *_ENDS),
    Exchange: (("start", (int,)), *_ENDS),
}
"""Of each class of exchanges: the fields that the core reads, and of which class they are due."""

WORDS = {type(None): "None", str: "a str", int: "an int"}


def found(value: object) -> str:
    """The class of a value, for people: "a dict"."""
    kind = type(value)
    name = type.__dict__["__name__"].__get__(kind)  # which a metaclass cannot hide
    return WORDS.get(kind) or f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name[:MAX_REASON]}"


# -- per exchange ------------------------------------------------------------------------------


def check_result(result: Any) -> None:
    """What `Decoder.decode` returned, when it is not NEED_MORE."""
    fields = EXCHANGES.get(type(result))
    if fields is None:
        if result is NEED_MORE or result is RESYNCHRONISED or type(result) is ProtocolBreak:
            return
        raise TypeError(f"returned {found(result)}")
    for name, kinds in fields:
        value = getattr(result, name)
        if type(value) not in kinds:
            raise TypeError(f"an exchange whose {name} is {found(value)}")


def checked_log(log: object) -> AccessLog:
    """An access log of an exchange, as a hook returned it. Its connection, details and outcome are
    not looked at: the core sets them."""
    if type(log) is not AccessLog:
        raise TypeError(f"returned {found(log)} where an AccessLog is due")
    protocol = log.protocol
    if type(protocol) is not str or not protocol:
        raise TypeError(f"a log whose protocol is {found(protocol) if protocol else 'empty'}")
    return _checked_values(log)


def _checked_values(log: AccessLog) -> AccessLog:
    if type(log.start) is not int or type(log.end) is not int:
        raise TypeError(f"a log whose start is {found(log.start)} and whose end is {found(log.end)}")
    if not (-MAX_NUMBER <= log.start <= MAX_NUMBER and -MAX_NUMBER <= log.end <= MAX_NUMBER):
        raise TypeError("a log whose start or end is no time: nanoseconds are due")
    if type(log.version) is not str:
        raise TypeError(f"a log whose version is {found(log.version)}")
    attributes = log.attributes
    if not isinstance(attributes, Mapping):
        raise TypeError(f"a log whose attributes are {found(attributes)}")
    given = attributes if type(attributes) is dict else dict(attributes)
    plain = plain_attributes(given)
    if plain is given and type(attributes) is Attributes:  # type: ignore[comparison-overlap]
        return log
    return log if plain is attributes else log.replace(attributes=plain)


def checked_change(log: object, own: AccessLog) -> AccessLog:
    """What `handle_access_log` made of the log `own`."""
    if type(log) is not AccessLog:
        raise TypeError(f"returned {found(log)} where an AccessLog, DROP, NEVER or None is due")
    if log.details is not own.details:
        raise TypeError("a log whose details are not its own")
    if log.outcome is not own.outcome:
        raise TypeError("a log whose outcome is not its own")
    if log.connection is not own.connection:
        log = log.replace(connection=_checked_snapshot(log.connection, own.connection))
    if own.protocol:
        return checked_log(log)
    if type(log.protocol) is not str or log.protocol:
        raise TypeError("a log without an exchange whose protocol is not empty")
    return _checked_values(log)


def _checked_snapshot(connection: object, own: Connection) -> Connection:
    """The same connection as `own`, with other addresses, another process or another break."""
    if type(connection) is not Connection:
        raise TypeError(f"a log whose connection is {found(connection)}")
    if type(connection.id) is not int or connection.id != own.id:
        raise TypeError("a log of another connection")
    for address in (connection.local, connection.remote, connection.proxied):
        if address is not None:
            _check_address(address)
    process, broken = connection.process, connection.protocol_break
    if process is not None and process is not own.process:
        if type(process) is not Process or type(process.pid) is not int or type(process.name) is not str:
            raise TypeError(f"a log whose process is {found(process)}")
        if not 0 <= process.pid <= MAX_NUMBER:
            raise TypeError("a log whose process has no number")
        process = process.replace(attributes=checked_description(process.attributes))
    if broken is not own.protocol_break:
        if type(broken) is not ProtocolBreak or own.protocol_break is None:
            raise TypeError(f"a log whose connection's break is {found(broken)}")
        if type(broken.protocol) is not str:
            raise TypeError(f"a break whose protocol is {found(broken.protocol)}")
        broken = checked_break(broken)
    # All else is the connection's own, whatever the plugin wrote there.
    return own.replace(
        local=connection.local,
        remote=connection.remote,
        proxied=connection.proxied,
        process=process,
        protocol_break=broken,
    )


def _check_address(address: object) -> None:
    if type(address) is not Address or type(address.host) is not str or type(address.port) is not int:
        raise TypeError(f"a log whose connection's address is {found(address)}")
    if not 0 <= address.port <= 0xFFFF:
        raise TypeError("a log whose connection's port is of more than 16 bits")


def checked_description(attributes: object) -> Mapping[str, AttributeValue]:
    """What `describe_process` returned, in a form that nobody can change."""
    if not isinstance(attributes, Mapping):
        raise TypeError(f"returned {found(attributes)} where attributes by name are due")
    plain = plain_attributes(dict(attributes))
    if len(plain) > MAX_DESCRIPTION:
        raise TypeError(f"returned {len(plain)} attributes, more than {MAX_DESCRIPTION}")
    size = sum(len(name) + characters(value) for name, value in plain.items())
    if size > MAX_DESCRIPTION_TEXT:
        raise TypeError(f"returned {size} characters, more than {MAX_DESCRIPTION_TEXT}")
    return types.MappingProxyType(plain)


def plain_attributes(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Text, numbers, booleans and lists of texts by name; those of a class derived from one, an enumeration
    say, as what they are derived from: sinks are to run no code of theirs. A list becomes a tuple, which
    nobody changes any more."""
    derived: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        kind = type(value)
        if type(name) is not str:
            raise TypeError(f"an attribute whose name is {found(name)}")
        if kind is str or kind is bool:
            continue
        if isinstance(value, str):
            derived[name] = str.__str__(value)
            continue
        if isinstance(value, (tuple, list)):
            texts = tuple(value)
            if kind is not tuple or [text for text in texts if type(text) is not str]:
                derived[name] = tuple([_plain_text(name, text) for text in texts])
            continue
        if not isinstance(value, int):
            raise TypeError(f"attribute {name[:MAX_REASON]!r} is {found(value)}")
        number = int.__int__(value)
        if not -MAX_NUMBER <= number <= MAX_NUMBER:
            # Python makes no text of a number of thousands of digits, and few readers a number of one.
            raise TypeError(f"attribute {name[:MAX_REASON]!r} is a number of more than 62 bits")
        if kind is not int:
            derived[name] = number
    return {**attributes, **derived} if derived else attributes


def _plain_text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"attribute {name[:MAX_REASON]!r} is a list with {found(text)}")
    return str.__str__(text)


# -- per connection ----------------------------------------------------------------------------


def check_decoder(decoder: Any) -> None:
    """What a protocol's `make` returned."""
    role_of(decoder)
    for method in ("decode", "expire", "close"):
        if not callable(getattr(decoder, method, None)):
            raise TypeError(f"made {found(decoder)} without {method}()")


def role_of(decoder: Any) -> Role | None:
    """A decoder's role, if that is one. Raises whatever reading it raises."""
    role: Role | None = decoder.role
    if role is not None and type(role) is not Role:
        raise TypeError(f"a decoder whose role is {found(role)}")
    return role


def checked_break(found_break: ProtocolBreak) -> ProtocolBreak:
    """A break, its texts bounded and fit for a terminal."""
    reason, detail, upgrade = found_break.reason, found_break.detail, found_break.upgrade
    direction, position = found_break.direction, found_break.position
    if type(reason) is not str or type(detail) is not str or type(upgrade) is not str:
        raise TypeError("a break whose reason, detail or upgrade is no str")
    if direction is not None and (not isinstance(direction, int) or direction not in (0, 1)):
        raise TypeError(f"a break whose direction is {found(direction)}")
    if type(position) is not int or not 0 <= position <= MAX_NUMBER:
        raise TypeError(f"a break whose position is {found(position)}")
    if found_break.request is not None and type(found_break.request) is not HttpRequest:
        raise TypeError(f"a break whose request is {found(found_break.request)}")
    if found_break.response is not None and type(found_break.response) is not HttpResponse:
        raise TypeError(f"a break whose response is {found(found_break.response)}")
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise TypeError("a break whose reason is not one word")
    if len(detail) > MAX_TEXT or not detail.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in detail[:MAX_TEXT])
        return found_break.replace(detail=text)
    return found_break


def yielded(decoder: Any, method: str, now: int) -> tuple[list[AnyExchange], BaseException | None]:
    """What a decoder's `expire` or `close` yields; and what went wrong, after those that come before it."""
    taken: list[AnyExchange] = []
    try:
        for exchange in getattr(decoder, method)(now):
            if len(taken) >= MAX_YIELDED:
                raise RuntimeError(f"more than {MAX_YIELDED} exchanges at once")
            if type(exchange) is ProtocolBreak or isinstance(exchange, Outcomes):
                raise TypeError(f"yielded {found(exchange)} where an exchange is due")
            check_result(exchange)
            taken.append(exchange)
    except BaseException as error:
        return taken, error
    return taken, None


def memory_of(decoder: Any) -> int:
    """Bytes a decoder keeps, as it says. Raises whatever reading them raises."""
    kept: int = decoder.memory
    if type(kept) is not int or not 0 <= kept <= MAX_NUMBER:
        raise TypeError(f"a decoder whose memory is {found(kept)}, no number of bytes")
    return kept


def checked_opened(opened: object) -> Opened | None:
    """What a source's `describe` returned."""
    if opened is None:
        return None
    if type(opened) is not Opened:
        raise TypeError(f"returned {found(opened)} where an Opened is due")
    time, role, pid = opened.time, opened.role, opened.pid
    for address in (opened.local, opened.remote):
        if type(address) is not Address or type(address.host) is not str or type(address.port) is not int:
            raise TypeError(f"an Opened whose address is {found(address)}")
    if role is not None and type(role) is not Role:
        raise TypeError(f"an Opened whose role is {found(role)}")
    if type(time) is not int or type(pid) is not int:
        raise TypeError(f"an Opened whose time is {found(time)} and whose pid is {found(pid)}")
    return opened


# -- at start ----------------------------------------------------------------------------------


def check_spec(spec: object, kind: type) -> None:
    """A specification that a plugin registers."""
    if type(spec) is not kind:
        raise TypeError(f"returned {found(spec)} where a {kind.__name__} is due")
    name = getattr(spec, "name", None)
    check_name(f"a {kind.__name__}", name)
    what = f"{kind.__name__} {name}"
    if isinstance(spec, ProtocolSpec):
        _check_callable(what, sniff=spec.sniff, make=spec.make)
        _check_number(what, upload=spec.upload, priority=spec.priority)
        if not isinstance(spec.upgrades, frozenset | set | tuple | list) or not all(
            type(token) is str for token in spec.upgrades
        ):
            raise TypeError(f"{what}: upgrades are to be a set of str")
        _check_opening(what, spec)
        _check_settings(what, spec.settings)
    elif isinstance(spec, SourceSpec):
        _check_callable(what, make=spec.make)
        _check_optional(what, check=spec.check, rehearse=spec.rehearse, opens=spec.opens)
        _check_settings(what, spec.settings)
    elif isinstance(spec, SinkSpec):
        _check_callable(what, make=spec.make)
        _check_optional(what, make_for_worker=spec.make_for_worker)
        _check_settings(what, spec.settings)


def check_name(what: str, name: object) -> None:
    """A name that is to be a part of a dotted key."""
    if type(name) is not str or not _NAME.fullmatch(name):
        raise TypeError(f"{what} whose name is {_shown(name)}: letters, digits, _ and - are due")


def _check_opening(what: str, spec: ProtocolSpec) -> None:
    if type(spec.opening) is not int or not 0 <= spec.opening <= MAX_OPENING:
        raise TypeError(f"{what}: opening is to be a number of bytes up to {MAX_OPENING}")
    if not isinstance(spec.ports, frozenset | set) or not all(
        type(port) is int and 0 < port < 65536 for port in spec.ports
    ):
        raise TypeError(f"{what}: ports are to be a set of port numbers")
    if spec.sniff_own is not None:
        _check_callable(what, sniff_own=spec.sniff_own)


def _shown(value: object) -> str:
    return repr(value[:MAX_REASON]) if type(value) is str else found(value)


def _check_callable(what: str, **given: object) -> None:
    for name, value in given.items():
        if not callable(value):
            raise TypeError(f"{what}: {name} is {found(value)}, which cannot be called")


def _check_optional(what: str, **given: object) -> None:
    _check_callable(what, **{name: value for name, value in given.items() if value is not None})


def _check_number(what: str, **given: object) -> None:
    for name, value in given.items():
        if type(value) is not int or not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise TypeError(f"{what}: {name} is {found(value)}, no number")


def _check_settings(what: str, settings: Sequence[Setting]) -> None:
    if not isinstance(settings, list | tuple):
        raise TypeError(f"{what}: settings are {found(settings)} where a list is due")
    names = set()
    for setting in settings:
        check_setting(what, setting)
        if setting.name in names:
            raise TypeError(f"{what}: setting {setting.name} is there twice")
        names.add(setting.name)


def check_setting(what: str, setting: object) -> Setting:
    """A declaration that `Settings` can read values for, its own default among them."""
    if type(setting) is not Setting:
        raise TypeError(f"{what}: settings hold {found(setting)} where a Setting is due")
    name: Any = setting.name
    if type(name) is not str or not _SETTING_NAME.fullmatch(name):
        raise TypeError(f"{what}: a setting's name is {_shown(name)}")
    what = f"{what}: setting {name}"
    default: Any = setting.default
    values = default if type(default) is list else [default]
    if not all(type(value) in (str, int, float, bool) for value in values):
        raise TypeError(f"{what}: its default is {found(default)}: str, int, float, bool or a list are due")
    if setting.items is not str and setting.items is not int:
        raise TypeError(f"{what}: items are to be str or int")
    if type(setting.help) is not str or type(setting.environment) is not str:
        raise TypeError(f"{what}: its help or environment is no str")
    if setting.minimum is not None and type(setting.minimum) is not int:
        raise TypeError(f"{what}: its minimum is {found(setting.minimum)}")
    if setting.maximum is not None and type(setting.maximum) is not int:
        raise TypeError(f"{what}: its maximum is {found(setting.maximum)}")
    if not isinstance(setting.choices, tuple | list):
        raise TypeError(f"{what}: its choices are {found(setting.choices)}")
    setting.read(name, default)
    return setting


with contextlib.suppress(ImportError):  # not compiled
    from rover.plugins._guard import check_result, checked_log  # type: ignore[no-redef]
