"""How much of each fault a campaign brings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Counts are of faults; rates are requests a second, times are seconds."""

    rate: float
    kills: int  # kill -9 at random moments
    crashes: int  # at each of the eight steps
    kill_every_s: tuple[float, float]
    freezes: int
    stalls: int  # fail-points that freeze
    storm_s: float
    broker_kills: int
    away_s: float
    network_rounds: int
    executor_kills: int
    killers: int  # requests that end their executor, in the end answered so
    hangs: int
    pressure_s: float
    commands: int
    command_every_s: float
    agents: int  # of training
    runs: int  # that are ordered, and more while there are kills left
    epochs: int
    pause_s: float  # that an update of theirs takes at least
    run_kills: int  # of agents and trainers by turns
    run_kill_every_s: float  # at most, and until somebody is there to be killed


SMOKE = Size(
    rate=300,
    kills=20,
    crashes=1,
    kill_every_s=(0.3, 2.0),
    freezes=2,
    stalls=1,
    storm_s=10,
    broker_kills=1,
    away_s=6,
    network_rounds=1,
    executor_kills=3,
    killers=2,
    hangs=1,
    pressure_s=4,
    commands=6,
    command_every_s=2,
    agents=1,
    runs=2,
    epochs=2,
    pause_s=0.05,
    run_kills=2,
    run_kill_every_s=0.5,
)
FULL = Size(
    rate=1_000,
    kills=200,
    crashes=25,
    kill_every_s=(1.0, 5.0),
    freezes=50,
    stalls=30,
    storm_s=300,
    broker_kills=20,
    away_s=60,
    network_rounds=10,
    executor_kills=50,
    killers=20,
    hangs=5,
    pressure_s=120,
    commands=60,
    command_every_s=5,
    agents=2,
    runs=8,
    epochs=6,
    pause_s=0.1,
    run_kills=20,
    run_kill_every_s=8,
)
