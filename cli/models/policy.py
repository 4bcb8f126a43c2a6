"""`chimera models policy`: what a version has to show before it may answer all of a model's requests."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.models.shown import AsJson, Name

if TYPE_CHECKING:
    from chimera.schemas.promotion_policy import PromotionPolicy
    from chimera.stores.registry.registry import Registry


def policy(
    name: Name,
    require_replay: Annotated[
        bool | None,
        typer.Option(help="A replay that passed, by these limits or narrower ones, or nothing."),
    ] = None,
    max_age: Annotated[str, typer.Option(help="A replay counts for so long: 12h, 7d.")] = "7d",
    min_requests: Annotated[int, typer.Option(min=0, help="Fewer decide nothing.")] = 500,
    max_disagreement: Annotated[float, typer.Option(min=0, max=1, help="Share.")] = 0.01,
    max_error_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Errors where there were none; share.")
    ] = 0.01,
    max_p99_ratio: Annotated[float, typer.Option(min=0, help="Of compute; 0: as it may be.")] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Show a model's policy, or set it: with --require-replay a promotion needs one that passed."""
    limits: dict[str, Any] = {
        "min_requests": min_requests,
        "max_disagreement": max_disagreement,
        "max_error_rate": max_error_rate,
        "max_p99_ratio": max_p99_ratio or None,
    }
    found = _ask(name, require_replay, max_age, limits)
    if as_json:
        from chimera.cli.models.views import as_text

        typer.echo(as_text(found))
    else:
        typer.echo(f"{name}: {_said(found)}")


def _ask(
    name: str, require_replay: bool | None, max_age: str, limits: dict[str, Any]
) -> "PromotionPolicy":
    from chimera.cli.models.moments import seconds
    from chimera.cli.models.shown import ask

    age_s = seconds(max_age)

    async def work(registry: "Registry") -> "PromotionPolicy":
        from msgspec import to_builtins

        from chimera.cli.models.actor import actor
        from chimera.schemas.promotion_policy import (
            PromotionPolicy,
            ReplayRequirement,
            policy_name,
            policy_of,
        )
        from chimera.schemas.replay_report import ReplayLimits

        if require_replay is None:
            return await registry.promotion_policy(name)
        requirement = ReplayRequirement(max_age_s=age_s, limits=ReplayLimits(**limits))
        wanted = PromotionPolicy(requires_replay=requirement if require_replay else None)
        body = to_builtins(wanted)
        policy_of(body)  # what is out of range is refused here, not at the next promotion
        await registry.versions(name)  # a policy of no model would bar nothing
        await registry.put_policy(policy_name(name), body, actor=actor())
        return wanted

    return ask(work)


def _said(policy: "PromotionPolicy") -> str:
    required = policy.requires_replay
    if required is None:
        return "a promotion needs nothing"
    limits = required.limits
    ratio = f", p99 {limits.max_p99_ratio:g} times" if limits.max_p99_ratio else ""
    return (
        f"a promotion needs a replay that passed, not older than {required.max_age_s} s: "
        f"at least {limits.min_requests} requests, at most {limits.max_disagreement:.2%} "
        f"disagreement, {limits.max_error_rate:.2%} errors{ratio}"
    )
