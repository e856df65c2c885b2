"""The rules of a run: what is dropped, then what is kept, then how many of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rover import AccessLog, Drop, UsageError
from rover.expression import compile_expression
from rover_plugin_filter.sampling import RANGE, hash_of, threshold_of

Holds = Callable[[AccessLog], bool]

SAMPLED = "rover.sample"
"""The attribute of a log that was kept of many: how many are."""


class Rules:
    """What is done with an access log."""

    def __init__(
        self,
        drops: tuple[tuple[Holds, Drop], ...],
        keep: Holds | None,
        samples: tuple[tuple[Holds, int, str], ...],
    ) -> None:
        """`samples`: of those for which it is true, the ones whose hash is below the threshold are kept; the
        first that is true decides."""
        self._drops = drops
        self._keep = keep
        self._samples = samples
        self._unkept = Drop(rule="keep")
        self._sampled = {share: Drop(rule=f"sample {share}") for _, _, share in samples}

    def decide(self, log: AccessLog) -> AccessLog | Drop | None:
        """None for one that stays as it is."""
        for holds, drop in self._drops:
            if holds(log):
                return drop
        if self._keep is not None and not self._keep(log):
            return self._unkept
        for holds, threshold, share in self._samples:
            if holds(log):
                if hash_of(log) >= threshold:
                    return self._sampled[share]
                if threshold == RANGE:
                    return None
                return log.replace(attributes={**log.attributes, SAMPLED: share})
        return None


def rules_of(settings: Mapping[str, Any]) -> Rules | None:
    """The rules that settings tell, None where there are none. Raises UsageError naming the setting."""
    drops = tuple(
        (_read(name, text), Drop(rule=name.removeprefix("drop.")))
        for name, text in settings.items()
        if name.startswith("drop.")
    )
    keep = _read("keep", settings["keep"]) if settings["keep"].strip() else None
    samples = tuple(
        _sample(name.removeprefix("sample."), share)
        for name, share in settings.items()
        if name.startswith("sample.")
    )
    return Rules(drops, keep, samples) if drops or keep or samples else None


def _read(name: str, text: str) -> Holds:
    try:
        return compile_expression(text).holds
    except UsageError as error:
        raise UsageError(f"plugin.filter.{name}: {error}") from None


def _sample(text: str, share: str) -> tuple[Holds, int, str]:
    try:
        holds, threshold = compile_expression(text).holds, threshold_of(share)
    except UsageError as error:
        raise UsageError(f"plugin.filter.sample, {text[:40]!r}: {error}") from None
    return holds, threshold, "".join(share.split())
