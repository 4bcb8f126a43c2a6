"""Whether each run that was ordered ended, once, and with the weights of an undisturbed one.

    unended             no end was told                 ended_twice       more than one
    unfinished          its row of the registry does not say finished and released
    unregistered        its version was not told as registered exactly once
    orders_unanswered   a trigger without its one answer; one that was sent twice has one, too
    unordered           events or rows of runs that nobody ordered
    attempts_repeated   two attempts with one number, or a number that is missing
    overtaken           told by an attempt after a later one had begun: it had lost its lease
    weights_missing     one of the four places that should hold its weights does not
    weights_differ      one of them holds others than the undisturbed run ended with

Queries over the ledger's tables, as in `judge`, that are empty where nothing is trained.
"""

ENDS = "('finished', 'failed', 'cancelled')"
PLACES = ("event", "row", "version", "file")
OF_ATTEMPTS = "('progress', 'evaluated', 'checkpoint', 'interrupted')"

_ENDS_OF = f"(SELECT count(*) FROM told t WHERE t.run_id = o.run_id AND t.event IN {ENDS})"

COUNTS = {
    "unended": f"SELECT count(*) FROM orders o WHERE {_ENDS_OF} = 0",
    "ended_twice": f"SELECT count(*) FROM orders o WHERE {_ENDS_OF} > 1",
    "unfinished": """SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT 1 FROM jobs j
        WHERE j.run_id = o.run_id AND j.state = 'finished' AND j.stage = 'released')""",
    "unregistered": """SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM told t
        WHERE t.run_id = o.run_id AND t.event = 'registered') != 1""",
    "orders_unanswered": """SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM told t
        WHERE t.run_id = o.run_id AND t.event = 'answered') != 1""",
    "unordered": """SELECT count(*) FROM (SELECT run_id FROM told UNION SELECT run_id FROM jobs)
        WHERE run_id NOT IN (SELECT run_id FROM orders)""",
    "attempts_repeated": """SELECT count(*) FROM (SELECT count(*) n, count(DISTINCT attempt) d,
            max(attempt) m FROM told WHERE event = 'started' GROUP BY run_id)
        WHERE n != d OR d != m""",
    "overtaken": f"""SELECT count(*) FROM told t WHERE t.event IN {OF_ATTEMPTS} AND EXISTS
        (SELECT 1 FROM told s WHERE s.event = 'started' AND s.run_id = t.run_id
         AND s.at < t.at AND s.attempt > t.attempt)""",
    "weights_missing": f"""SELECT {len(PLACES)} * (SELECT count(*) FROM orders)
        - (SELECT count(*) FROM (SELECT DISTINCT run_id, place FROM weights
            WHERE place != 'undisturbed' AND run_id IN (SELECT run_id FROM orders)))""",
    "weights_differ": """SELECT count(*) FROM weights w WHERE place != 'undisturbed' AND NOT EXISTS
        (SELECT 1 FROM weights u WHERE u.place = 'undisturbed' AND u.run_id = w.run_id
         AND u.sha256 = w.sha256)""",
}

TOTALS = {
    "runs": "SELECT count(*) FROM orders",
    "attempts": "SELECT count(*) FROM told WHERE event = 'started'",
    "resumed": """SELECT count(*) FROM told s WHERE s.event = 'started' AND EXISTS
        (SELECT 1 FROM told c WHERE c.event = 'checkpoint' AND c.run_id = s.run_id
         AND c.at < s.at)""",
}
