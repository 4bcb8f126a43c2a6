"""The spine in turns with what reads its journal: one sitting, round by round, and the ratio.

`chimera bench sinks` and `audit` have their figures beside it: another hour's spine is another
machine's. It runs as in `chimera bench throughput`, without a journal, which is the fastest that the
others have to keep up with. `tests/benchmarks/test_spine.py` plays small ones.
"""

import statistics
from collections.abc import Callable, Sequence

from benchmarks import throughput
from benchmarks.contenders import Contender, ours
from benchmarks.sitting import WARM_UP_REQUESTS, Report, Sitting, best, ratio
from benchmarks.trial import Trial


def beside(
    sitting: Sitting,
    readers: Sequence[Contender],
    one: Callable[[Trial], Report],
    *,
    rate: str,
    guarantees: Sequence[str],
    requests: int,
    executors: int,
) -> tuple[dict[str, list[Report]], Report]:
    """Each reader's reports of `one`, and what they are to the spine.

    Of a reader's report `rate` is its rate. The spine's best guarantee is `spine`, its median
    `spine_rps`, and `to_spine` the first reader's over that; `ratios` has each reader's over each
    guarantee's, of the medians and of single rounds.
    """
    spine = [contender for contender in ours(executors) if contender.name in guarantees]
    of_spine = throughput.turn(sitting, requests)

    def turn(trial: Trial) -> Report:
        return of_spine(trial) if trial.contender.answers else one(trial)

    raw, left_out = sitting.play([*spine, *readers], turn, min(requests, WARM_UP_REQUESTS))
    rates = {
        contender.name: [found["rps" if contender.answers else rate] for found in reports]
        for contender in (*spine, *readers)
        if (reports := raw[contender.name])
    }
    names = [contender.name for contender in spine if contender.name in rates]
    ratios = {
        f"{reader.name} / {name}": ratio(rates[reader.name], rates[name])
        for reader in readers
        if reader.name in rates
        for name in names
    }
    fastest = best({name: statistics.median(rates[name]) for name in names}, names)
    return {reader.name: raw[reader.name] for reader in readers}, {
        "spine": fastest,
        "spine_rps": statistics.median(rates[fastest]) if fastest else None,
        "requests": requests,
        "to_spine": ratios.get(f"{readers[0].name} / {fastest}", {}).get("of_medians"),
        "ratios": ratios,
        "not_run": left_out,
        "raw": raw,
    }
