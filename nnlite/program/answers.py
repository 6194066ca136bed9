"""Answers: a network's verbs by replay, each recorded when it is first asked for a batch's size.

A network has one `Programs`, a thread one `Replays`, whose buffers all lie in one arena.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ...kernels.errors import RecordingError
from .program import Program
from .replay import Replay, empty_arena, replay
from .verbs import record

KEPT = 256  # programs of an architecture
ARCHITECTURES = 64  # whose programs are kept for networks yet to come
MOST = 64  # replays that a thread keeps: verbs, sizes of batches, optimizers


_shared: OrderedDict[Any, OrderedDict[Any, Program | None]] = OrderedDict()


class Programs:
    """The programs of a network, by verb, batch and options; None where it cannot be recorded.

    Networks of one architecture share them: `alike` is equal for those, and hashable if it can be.
    """

    def __init__(self, alike: Any) -> None:
        self._known: OrderedDict[Any, Program | None] = OrderedDict()
        try:
            self._known = _shared.setdefault(alike, self._known)
        except TypeError:  # a layer with settings that cannot be hashed
            return
        if len(_shared) > ARCHITECTURES:
            _shared.popitem(last=False)

    def get(self, net: Any, verb: str, batch: int, *options: Any) -> Program | None:
        """The program of a verb; options: names and values of the verb's, one after another."""
        named = dict(zip(options[::2], options[1::2], strict=True))
        key = verb, batch, tuple(sorted(named.items()))
        try:
            return self._known[key]
        except KeyError:
            pass
        try:
            found = record(net, verb, batch, **named)
        except RecordingError:  # a layer of somebody's own, in Python: its verbs run as they are
            found = None
        self._known[key] = found
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found

    def buffer_bytes(self, net: Any, batch: int) -> int:
        """Bytes of the buffers of a training step."""
        mode = "train" if batch > 1 else "eval"  # one sample may have no statistics
        try:
            program = self.get(net, "gradient", batch, "mode", mode)
        except MemoryError:  # so many samples that not even untouched memory can be had
            program = None
        if program is not None:
            return program.arena_bytes
        if batch > 3:  # no layer's buffers grow but with the batch, once there are a few samples
            two, three = self.buffer_bytes(net, 2), self.buffer_bytes(net, 3)
            return two + (batch - 2) * (three - two)
        twin = net.like()
        x = twin.device.zeros((batch, *twin.input_shape), twin.dtype)
        saved = twin._trace(x, "train")
        twin.pull(saved, twin.device.zeros(saved.outputs.shape, twin.dtype))
        return twin.workspace.nbytes


class Replays:
    """A network's replays in one thread. What one leaves in its buffers, the next overwrites.

    answers: emptied where a replay goes, or its buffers move (see `Frame.answers`).
    """

    def __init__(self, answers: dict[Any, Any]) -> None:
        self._answers = answers
        self.moves = 0  # how often the arena became another
        self._made: OrderedDict[Any, Replay | None] = OrderedDict()
        self._arena: Any = None
        self._placed: dict[Any, Replay] = {}  # those that work in this arena

    def get(self, net: Any, verb: str, batch: int, options: tuple[Any, ...]) -> Replay | None:
        """The replay of a verb, over theta and state; None where there is no program.

        options: as `Programs.get` takes them.
        """
        key = verb, batch, options
        found = self._placed.get(key)
        return self._make(net, key) if found is None else found

    def _make(self, net: Any, key: Any) -> Replay | None:
        if key not in self._made:
            verb, batch, options = key
            program = net.programs.get(net, verb, batch, *options)
            self._made[key] = None if program is None else self._bound(net, program)
            if len(self._made) > MOST:
                old, _ = self._made.popitem(last=False)
                self._placed.pop(old, None)
                self._answers.clear()
        found = self._made[key]
        if found is not None:
            self._place(net, found)
            self._placed[key] = found
        return found

    def _bound(self, net: Any, program: Program) -> Replay:
        made = replay(program, net.ops)
        made.bind({"theta": net.theta} | {f"state {n}": a for n, a in net.state.items()})
        return made

    def _place(self, net: Any, found: Replay) -> None:
        needed = found.program.arena_bytes
        if self._arena is None or self._arena.nbytes < needed:
            self._arena = empty_arena(net.ops, needed)
            self._placed.clear()
            self._answers.clear()
            self.moves += 1
        found.work_in(self._arena)
