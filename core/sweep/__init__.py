"""Sweeps: one recipe at many points, its shared work done once, and one picture of all of it.

    points.py    the overrides of a sweep, expanded into points
    plan.py      every point planned and checked before the first runs; what they share; the cost
    child.py     one point in a process of its own
    task.py      what a launcher runs, on this machine or another: starts the child, tells how it went
    grid.py      Hydra's sweeper over all points
    search.py    Hydra's sweeper that lets Optuna choose the points
    figures.py   the figures of a run that a sweep compares
    front.py     what no other point beats, and the winner
    record.py    the record of a sweep, which reporters show
"""
