"""The faults: each is written into the ledger, done, and undone where it can be.

They act on whole processes from outside, or by fail-points that a node takes from its environment.
"""

import contextlib
import signal
import time

import psutil

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.nodes import Node
from tests.waiting import wait

REACHED_WITHIN_S = 40.0  # a fail-point: the node starts, joins, opens lanes, and gets there
POLL_S = 0.05


def kill(arena: Arena, node: Node) -> None:
    """kill -9: of the node alone (its executors must end by themselves), or of all at once."""
    node.signal(signal.SIGKILL, group=_whom(arena, node))


def _whom(arena: Arena, node: Node) -> bool:
    """Whether this kill -9 is for a node and its executors; told."""
    group = arena.rng.random() < 0.5
    arena.fault("kill -9", f"{node.name}{' and executors' if group else ''}")
    return group


def kill_executor(arena: Arena) -> None:
    """kill -9 of one executor of any node, as soon as there is one."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [one for node in arena.supervisor.nodes for one in node.executors()]
        return bool(found)

    arena.happened(wait(look, REACHED_WITHIN_S), "there was an executor to kill")
    for victim in arena.rng.sample(found, min(1, len(found))):
        arena.fault("kill -9 of an executor", str(victim.pid))
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
            victim.kill()


def crash_at(arena: Arena, node: Node, step: str, visit: int) -> bool:
    """Start the node again with a fail-point, and wait until it has died there."""
    fail_point = {"CHIMERA_CRASH_AT": f"{step}:{visit}"}
    life = node.restart(fail_point, group=_whom(arena, node))
    wait(lambda: len(node.exits) > life, REACHED_WITHIN_S)
    reached = node.exits[life:][:1] == [-signal.SIGKILL]
    arena.fault(f"crash {step}" if reached else f"not reached {step}", f"visit {visit}")
    return reached


def stall_at(arena: Arena, node: Node, step: str, visit: int, seconds: float) -> None:
    """Start the node again with a fail-point that freezes it from inside."""
    arena.fault(f"stall {step}", f"{seconds} s")
    node.restart({"CHIMERA_STALL_AT": f"{step}:{visit}:{seconds}"}, group=True)


def freeze(arena: Arena, node: Node, seconds: float) -> None:
    """SIGSTOP for a while, as a paused virtual machine; longer than the session, a zombie wakes."""
    arena.fault("SIGSTOP", f"{node.name} for {seconds} s")
    node.signal(signal.SIGSTOP, group=True)
    time.sleep(seconds)
    node.signal(signal.SIGCONT, group=True)


def storm(arena: Arena, seconds: float, every_s: float, least: int, most: int) -> None:
    """Nodes join and leave, in good order, all the time."""
    nodes = arena.supervisor.nodes
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        live = [node for node in nodes if node.wanted]
        idle = [node for node in nodes if not node.wanted]
        if len(live) >= most or (len(live) > least and arena.rng.random() < 0.5):
            leaver = arena.rng.choice(live)
            arena.fault("leave", leaver.name)
            arena.supervisor.retire(leaver)
        elif idle:
            arena.fault("join", idle[0].name)
            idle[0].start()
        else:
            arena.fault("join", f"node{len(nodes)}")
            arena.supervisor.add()
        time.sleep(every_s)
