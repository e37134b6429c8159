"""Attacks on the product: kills, a faulty network, runs at once, malformed input, and a search for keys that are shown.

    make test-attack                      what continuous integration runs: a fixed seed, at most 3 minutes
    ATTACK=long make test-attack          all of it: 238 kills or more, 1,500 inputs
    python -m tests.attack kills keys     only these parts
    python -m tests.attack fuzz 137       the input number 137, with all that the command said

forks.py        commands in forked children of one process that has imported everything
world.py        what is attacked: servers, a small task, stores with nights
kills.py        kill -9 at random moments, and what is left
faults.py       a faulty proxy before S3 (proxy.py)
concurrency.py  two and three runs at once
fuzz.py         malformed inputs (generators.py) with a watchdog
keys.py         canaries in the place of keys, searched for in everything that is written
figures.py      the figures, their bounds, and build/attack.json
"""
