"""What `chimera watch` shows of two looks at the same group, one after the other. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chimera.cli.offsets.position import Position
from chimera.cli.watching.scrape import Page


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment (`time.monotonic`, seconds)."""

    at_s: float
    positions: Sequence[Position]
    members: int
    page: Page
    failures: dict[str, str] = field(default_factory=dict[str, str])  # of pages, by URL
    has_pages: bool = False


def table(before: Look, now: Look) -> RenderableType:
    """Lanes, then what executors and transactions did between the looks."""
    elapsed_s = max(now.at_s - before.at_s, 1e-3)
    parts: list[RenderableType] = [_lanes(before, now, elapsed_s)]
    idle = sum(not _is_busy(one, now) for one in now.positions)
    told = f"{now.members} in the group"
    parts.append(Text(f"{told}, and {idle} lanes where nothing ever was" if idle else told))
    if now.has_pages:
        parts.append(_node(before.page, now.page, elapsed_s))
    else:
        parts.append(Text("windows and executors: name a node's page with --metrics URL"))
    parts += [Text(f"{url}: {why}", style="red") for url, why in now.failures.items()]
    return Group(*parts)


def _is_busy(position: Position, look: Look) -> bool:
    """Whether there is anything to see in it: the retry topics are mostly empty."""
    lane = (position.topic, position.partition)
    return bool(position.end or _offset(position) or lane in look.page.halted)


def _lanes(before: Look, now: Look, elapsed_s: float) -> Table:
    lanes = Table("topic", "partition", box=None)
    for name in ("committed", "end", "lag", "window", "requests/s"):
        lanes.add_column(name, justify="right")
    lanes.add_column("state")
    earlier = {(one.topic, one.partition): _offset(one) for one in before.positions}
    for one in now.positions:
        if not _is_busy(one, now):
            continue
        lane = (one.topic, one.partition)
        rate = max(0, _offset(one) - earlier.get(lane, _offset(one))) / elapsed_s
        halted = lane in now.page.halted
        lanes.add_row(
            one.topic,
            str(one.partition),
            f"{one.committed.offset:,}" if one.committed else "-",
            f"{one.end:,}",
            f"{one.lag:,}",
            f"{now.page.windows[lane]:,}" if lane in now.page.windows else "-",
            f"{rate:,.0f}",
            _state(one, halted, now.members),
            style="red" if halted or one.trouble else "",
        )
    return lanes


def _offset(position: Position) -> int:
    return position.committed.offset if position.committed else position.start


def _state(position: Position, halted: bool, members: int) -> str:
    if halted:
        return "halted: see `chimera offsets list`"
    if position.trouble:
        return position.trouble
    return "" if members else "nobody serves it"


def _node(before: Page, now: Page, elapsed_s: float) -> Table:
    node = Table(box=None, show_header=False)
    for code, count in sorted(now.outcomes.items()):
        rate = (count - before.outcomes[code]) / elapsed_s
        node.add_row("outcomes", code, f"{count:,}", f"{rate:,.0f}/s")
    since = now if now.batches == before.batches else _since(before, now)
    each = f"{since.batched / since.batches:.1f} rows each" if since.batches else "-"
    busy = f"{(now.compute_s - before.compute_s) / elapsed_s:.0%} of one device's time"
    node.add_row("batches", each, f"{now.batches:,.0f}", f"{busy}")
    took = (
        f"{since.transactions_s / since.transactions * 1000:.1f} ms each"
        if since.transactions
        else "-"
    )
    rate = (now.transactions - before.transactions) / elapsed_s
    node.add_row("transactions", took, f"{now.transactions:,.0f}", f"{rate:,.0f}/s")
    restarts = ", ".join(f"{reason} {count}" for reason, count in sorted(now.restarts.items()))
    node.add_row("executors replaced", restarts or "none", "", "")
    node.add_row("lanes fenced", f"{now.fences:,.0f}", "", "")
    for (model, version), seen in sorted(now.shadows.items()):
        node.add_row(f"shadow {model} {version}", *_shadow(seen))
    for row in _models(now):
        node.add_row(*row, style="yellow")
    return node


def _models(now: Page) -> Iterator[tuple[str, str, str, str]]:
    """What does not answer as it should, or is not to."""
    for model in sorted(now.paused):
        yield "paused", model, "", "until `chimera models resume`"
    if waiting := now.deferred.total():
        yield "requests that wait", f"{waiting:,}", "", "for that, or for a tier"
    for (model, version, tier, executor), state in sorted(now.breakers.items()):
        yield "breaker", f"{model} {version} {tier}", state, executor
    for version, times in sorted(now.refused.items()):
        yield "refused by executors", version, f"{times:,} times", "see the node's log"


def _shadow(seen: Counter[str]) -> tuple[str, str, str]:
    state = "off: it ended executors" if seen["off"] else f"{seen['dropped']:,.0f} dropped"
    disagreed = f"{seen['disagreed']:,.0f} disagreed, {seen['errors']:,.0f} errors"
    return f"{seen['compared']:,.0f} compared", disagreed, state


def _since(before: Page, now: Page) -> Page:
    return Page(
        outcomes=Counter(now.outcomes),
        batches=now.batches - before.batches,
        batched=now.batched - before.batched,
        transactions=now.transactions - before.transactions,
        transactions_s=now.transactions_s - before.transactions_s,
    )
