"""Workers on many devices and machines, through Ray.

Every worker has the network on its own device, a GPU or a CPU core. Pieces of work go to the next free worker; a
piece whose worker is lost, with its process or its machine, is given to the next one that is free, and a new worker is
started as soon as a device is free. Results depend on none of this.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from importlib import metadata
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.errors import ApsiteError, EvaluationError
from apsite.evaluation.attacks.memory_formats import MemoryFormat, format_choice
from apsite.evaluation.attacks.precision import arithmetic
from apsite.evaluation.runs.worker import Call, Result, Worker
from apsite.protocol import Precision, Settings

TRIES = 3
"""How often a piece of work is begun before the run ends: work that kills every worker would never end."""

_POLL = 0.5

PATIENCE = 60.0
"""Seconds without a worker after which a line says what is waited for."""

START_LIMIT = 300
"""Seconds that Ray may take to start on this machine."""

_OPTIONS = {
    "RAY_gcs_server_port_wait_time_s": START_LIMIT, "RAY_raylet_start_wait_time_s": START_LIMIT,
    "RAY_worker_register_timeout_seconds": START_LIMIT, "RAY_agent_register_timeout_ms": START_LIMIT * 1000,
    "RAY_worker_niceness": 0,
}  # fmt: skip
"""Ray's own limits that a busy machine exceeds, and its low priority, at which workers starve on one."""

Versions = dict[str, str]


class WorkersKind(StrEnum):
    """Where attacks run: in this process, or on workers that Ray starts."""

    LOCAL = "local"
    RAY = "ray"


def parse_workers(text: str) -> tuple[WorkersKind, int | None]:
    """Kind and number of workers that ``--workers`` names; ``None`` for one per device.

    Raises:
        EvaluationError: If `text` is not one of the allowed forms.

    >>> parse_workers("ray:4")
    (<WorkersKind.RAY: 'ray'>, 4)
    """
    kind, colon, number = text.partition(":")
    if kind == WorkersKind.RAY and (not colon or (number.isascii() and number.isdigit() and int(number) > 0)):
        return WorkersKind.RAY, int(number) if colon else None
    if text != WorkersKind.LOCAL:
        raise EvaluationError(f"--workers {text!r} is not one of 'local', 'ray', 'ray:<number of workers>'")
    return WorkersKind.LOCAL, None


def versions() -> Versions:
    """Versions on which results depend; all nodes must have the same."""
    return {"apsite": metadata.version("apsite"), "torch": torch.__version__}


def import_ray() -> Any:
    """The package `ray`.

    Raises:
        EvaluationError: If it is not installed.
    """
    try:
        import ray
    except ImportError:
        needed = "--workers ray needs the package ray; install it with: pip install 'apsite[ray]'"
        raise EvaluationError(needed) from None
    return ray


def start_cluster(**options: Any) -> None:
    """Connect to the cluster that ``RAY_ADDRESS`` names, or start one here; `options` are for ``ray.init``."""
    ray = import_ray()
    from ray._private import services

    look_up: Callable[[str, str], Any] = services.get_node

    def wait_for_node(gcs_address: str, node_id: str) -> Any:
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # not there yet
                return look_up(gcs_address, node_id)
            time.sleep(_POLL)
        return look_up(gcs_address, node_id)

    if not os.environ.get("RAY_ADDRESS"):
        for name, value in _OPTIONS.items():
            os.environ.setdefault(name, str(value))
    services.get_node = wait_for_node  # Ray itself gives a node 30 seconds, and has no option for more
    try:
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False, **options)
    finally:
        services.get_node = look_up


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """The cluster that ``RAY_ADDRESS`` names, or one on this machine for as long as the context lasts.

    Within the context of another one, or where a program has connected before, nothing is done.

    Raises:
        EvaluationError: If Ray is not there, no cluster can be reached or started, or it is lost.
    """
    ray = import_ray()
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="apsite-ray-", ignore_cleanup_errors=True))
            try:
                stack.callback(ray.shutdown)
                start_cluster(**({} if os.environ.get("RAY_ADDRESS") else {"_temp_dir": folder}))
            except Exception as error:  # Ray raises this very class where a node does not start in time
                raise EvaluationError(
                    f"--workers ray: no cluster can be reached or started ({_reason(error)}); set RAY_ADDRESS to "
                    "that of a running cluster, or unset it to use this machine"
                ) from None
        try:
            yield
        except ray.exceptions.RaySystemError as error:
            raise EvaluationError(
                f"--workers ray: the cluster is lost ({_reason(error)}); the finished work is kept, so give the same "
                "command again"
            ) from None


def _reason(error: Exception) -> str:
    """What an error of Ray says in its first line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class _Remote:
    """A worker in a separate process, as a Ray actor."""

    def __init__(
        self, network: nn.Module, example: NDArray[np.uint8], settings: Settings, epsilon: float, device_type: str,
        memory_format: MemoryFormat | None,
    ) -> None:  # fmt: skip
        device = torch.device(device_type)
        if device_type == "cpu":
            torch.set_num_threads(1)
        with arithmetic(Precision.FLOAT32):
            agreed = memory_format or format_choice(device, settings.precision, rows=0).usual
            self._worker = Worker(network.to(device), example, settings, epsilon, device, agreed)

    def process(self) -> int:
        """Its process ID, for tests and administrators."""
        return os.getpid()

    def versions(self) -> Versions:
        """What is installed where it runs; the answer also says that it is ready."""
        return versions()

    def run(self, call: Call) -> Result:
        """Do one piece of work."""
        with arithmetic(Precision.FLOAT32):
            return self._worker.run(call)


class RayPool:
    """One worker for each device of a Ray cluster, see :func:`cluster`; a context manager.

    Every machine of a cluster needs the same version of this package.

    Args:
        network, example, settings, epsilon: See :class:`Worker`.
        device_type: ``cpu`` for a core each, ``cuda`` for a GPU each.
        count: Number of workers; ``None`` for as many as the cluster has devices.
        memory_format: That of all workers; ``None`` for the usual one of their devices.

    Raises:
        EvaluationError: On entering, if Ray is not there, cannot be reached, or has too few devices.
    """

    def __init__(
        self, network: nn.Module, example: NDArray[np.uint8], settings: Settings, epsilon: float, device_type: str,
        count: int | None = None, memory_format: MemoryFormat | None = None,
    ) -> None:  # fmt: skip
        self._inputs = copy.deepcopy(network).cpu(), example, settings, epsilon, device_type, memory_format
        self._device_type, self._wanted = device_type, count
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, int]] = {}
        self._lost_at_start = 0
        self.count = 0

    def __enter__(self) -> Self:
        self._ray = import_ray()
        with contextlib.ExitStack() as stack:
            stack.enter_context(cluster())
            kind = "CPU" if self._device_type == "cpu" else "GPU"
            there = int(self._ray.cluster_resources().get(kind, 0))
            self.count = self._wanted or there
            if not 1 <= self.count <= there:
                raise EvaluationError(
                    f"--workers ray{f':{self._wanted}' if self._wanted else ''}: the cluster has {there} {kind}s; "
                    "choose fewer workers or another --device"
                )
            self._pack_foreign_modules()
            self._references = [self._ray.put(value) for value in self._inputs]
            stack.callback(self._dismiss)
            for _ in range(self.count):
                self._hire()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _dismiss(self) -> None:
        for actor in [*self._starting.values(), *self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)
        self._starting, self._idle, self._busy = {}, [], {}

    def results(
        self, calls: Sequence[Call], progress: Callable[[int], None], say: Callable[[str], None]
    ) -> Iterator[tuple[int, Result]]:
        """Number and result of every piece, as they finish; see :class:`.runner.Pool`.

        Raises:
            EvaluationError: If a piece of work loses :data:`TRIES` workers, or workers cannot start.
        """
        waiting, tries = deque(range(len(calls))), [0] * len(calls)
        alive = time.monotonic()
        while waiting or self._busy:
            while waiting and self._idle:
                number, actor = waiting.popleft(), self._idle.pop()
                tries[number] += 1
                self._busy[actor.run.remote(calls[number])] = actor, number
            if self._busy:
                alive = time.monotonic()
            elif time.monotonic() - alive > PATIENCE:
                say("waiting for a device: all devices of the cluster are in use or gone")
                alive = time.monotonic()
            finished, _ = self._ray.wait([*self._busy, *self._starting], timeout=_POLL)
            for reference in finished:
                if reference in self._starting:
                    self._welcome(reference)
                    continue
                actor, number = self._busy.pop(reference)
                result = self._result_of(reference, actor)
                if result is None:
                    if tries[number] == TRIES:
                        raise EvaluationError(
                            f"{TRIES} workers were lost over the same samples; the finished work is kept, the same "
                            "command resumes once the machines work again (too little memory?)"
                        )
                    say("a worker was lost; its samples are given to another one")
                    self._hire()
                    waiting.appendleft(number)
                    continue
                self._idle.append(actor)
                progress(result.passes.forward + result.passes.backward)
                yield number, result

    def processes(self) -> list[int]:
        """Process of each worker that has nothing to do, on its own machine; waits for those that are starting."""
        while self._starting:
            finished, _ = self._ray.wait(list(self._starting))
            self._welcome(finished[0])
        return cast(list[int], self._ray.get([actor.process.remote() for actor in self._idle]))

    def _result_of(self, reference: Any, actor: Any) -> Result | None:
        """Result of a finished piece of work; ``None`` if its worker is lost."""
        try:
            return cast(Result, self._ray.get(reference))
        except self._ray.exceptions.RayActorError:
            return None
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, torch.AcceleratorError):  # this device will not compute again in this process
                self._ray.kill(actor)
                return None
            self._idle.append(actor)
            if isinstance(error.cause, ApsiteError | torch.OutOfMemoryError):
                raise error.cause from None
            raise

    def _hire(self) -> None:
        """Start a worker, as soon as there is a device for it."""
        devices = {"num_cpus": 1} if self._device_type == "cpu" else {"num_gpus": 1}
        actor = self._ray.remote(_Remote).options(**devices).remote(*self._references)
        self._starting[actor.versions.remote()] = actor

    def _welcome(self, reference: Any) -> None:
        """Let a worker that has started take part, or start another one if it is gone.

        Raises:
            EvaluationError: If it cannot start, or has other versions than this process.
        """
        actor = self._starting.pop(reference)
        try:
            there: Versions = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost_at_start += 1
            lost = isinstance(error, self._ray.exceptions.RayActorError) and not error.actor_init_failed
            if lost and self._lost_at_start < TRIES * self.count:
                self._hire()
                return
            reason = str(error).strip().splitlines()[-1].strip()
            raise EvaluationError(
                f"--workers ray: workers cannot start ({reason}); every machine of the cluster needs the same "
                "apsite[eval,ray] in its Python environment"
            ) from None
        if there != versions():
            stated = ", ".join(f"{name} {there[name]} instead of {here}" for name, here in versions().items())
            self._idle.append(actor)  # so that it is ended with the others
            raise EvaluationError(f"--workers ray: a machine of the cluster has {stated}; install the same everywhere")
        self._lost_at_start = 0
        self._idle.append(actor)

    def _pack_foreign_modules(self) -> None:
        """Send the code of networks that users have written along with them: other machines do not have it."""
        for part in self._inputs[0].modules():
            name = type(part).__module__
            if name.partition(".")[0] not in ("torch", "apsite") and name in sys.modules:
                self._ray.cloudpickle.register_pickle_by_value(sys.modules[name])
