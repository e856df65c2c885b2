"""One plugin's failure stays its own; a contract broken is refused with a hint."""

import re
from pathlib import Path

import pytest

import rover
from rover import ProtocolSpec, SinkSpec, hookimpl
from rover.contracts import hooks
from rover.plugins.manager import HOOKS, PluginManager, first_line


@pytest.fixture
def manager():
    return PluginManager()


def test_a_misspelt_hook_is_refused_with_the_right_name(manager):
    class Misspelt:
        @hookimpl
        def handle_htp_data(self, connection):
            """Never called."""

    plugin = manager.register(Misspelt(), "misspelt")
    assert plugin.hooks == ()
    assert plugin.last == {
        "refused: ValueError": "there is no hook handle_htp_data; did you mean handle_http_data?"
    }


class UnreadableError(Exception):
    def __str__(self):
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), ""),
        (ValueError("\x1b]0;gone\x07 \u202e é"), "\\x1b]0;gone\\x07 \\u202e é"),
        (ValueError("x" * 10_000), "x" * 500),
        (UnreadableError(), "its message cannot be read: SystemExit"),
    ],
)
def test_a_message_is_one_line_that_a_terminal_can_show(error, shown):
    assert first_line(error) == shown


def test_an_argument_the_hook_does_not_have_is_refused(manager):
    class Wrong:
        @hookimpl
        def on_protocol_break(self, conection):
            """Never called."""

    plugin = manager.register(Wrong(), "wrong")
    assert list(plugin.failures) == ["refused: PluginValidationError"]


def test_a_wrapper_is_refused(manager):
    class Wrapper:
        @hookimpl(wrapper=True)
        def on_protocol_break(self):
            yield

    plugin = manager.register(Wrapper(), "wrapper")
    assert "hook wrapper" in plugin.last["refused: ValueError"]


def test_the_same_name_twice_is_refused(manager):
    class Empty:
        pass

    manager.register(Empty(), "one")
    assert manager.register(Empty(), "one").failures


def test_a_raising_hook_is_counted_and_the_others_are_called(manager, caplog):
    called = []

    class Broken:
        @hookimpl(tryfirst=True)
        def shutdown(self):
            raise RuntimeError("boom\nmore")

    class Good:
        @hookimpl
        def shutdown(self):
            called.append(1)

    broken = manager.register(Broken(), "broken")
    manager.register(Good(), "good")
    for _ in range(3):
        manager.hook.shutdown()
    assert called == [1, 1, 1]
    assert broken.failures == {"shutdown: RuntimeError": 3}
    lines = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert lines == ["plugin broken: shutdown: RuntimeError: boom"]


def spec(name):
    return SinkSpec(name, lambda settings: None)


class TestCollecting:
    def test_names_are_unique(self, manager):
        class First:
            @hookimpl
            def register_sinks(self):
                return [spec("x")]

        class Second:
            @hookimpl
            def register_sinks(self):
                return [spec("x"), spec("y")]

        manager.register(First(), "first")
        second = manager.register(Second(), "second")
        assert [spec.name for spec in manager.collect("register_sinks", SinkSpec)] == ["x", "y"]
        assert manager.owner("sink x").name == "first"
        assert second.provides == ["sink y"]
        assert second.failures == {"register_sinks: ValueError": 1}

    def test_the_wrong_type_is_its_plugins_failure(self, manager):
        class Wrong:
            @hookimpl
            def register_protocols(self):
                return [spec("x")]

        class Raises:
            @hookimpl
            def register_protocols(self):
                raise OSError("no disk")

        wrong = manager.register(Wrong(), "wrong")
        raises = manager.register(Raises(), "raises")
        assert manager.collect("register_protocols", ProtocolSpec) == []
        assert "SinkSpec" in wrong.last["register_protocols: TypeError"]
        assert raises.failures == {"register_protocols: OSError": 1}

    def test_the_owner_is_known(self, manager):
        class Good:
            @hookimpl
            def register_sinks(self):
                return [spec("x")]

        manager.register(Good(), "good")
        manager.collect("register_sinks", SinkSpec)
        assert manager.owner("sink x").name == "good"
        assert manager.owner("sink y") is None


def test_every_hook_is_documented():
    for hook in HOOKS:
        assert getattr(hooks, hook).__doc__


def test_every_hook_has_a_test():
    """Named in a test of this package: a hook nobody calls in a test is no contract."""
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    tests += Path(__file__).with_name("conftest.py").read_text()
    assert [hook for hook in HOOKS if not re.search(rf"def {hook}\(", tests)] == []


def test_the_public_surface_is_sorted_and_there():
    assert rover.__all__ == sorted(rover.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert all(hasattr(rover, name) for name in rover.__all__)
