"""Sweeps: one recipe at many points, its shared work done once, and one picture of all of it.

points.py    the overrides of a sweep, expanded into points
plan.py      every point planned and checked before the first runs; what they share
show.py      `mode=plan` of a sweep, with what it would cost
sweeper.py   Hydra's sweepers: what the two below share
grid.py      Hydra's sweeper over all points
search.py    Hydra's sweeper that lets Optuna choose the points
space.py     what a search chooses from
study.py     Optuna's study of a search, a SQLite file
guess.py     which point is most likely on the front
launchers.py Hydra's launchers that Luthier knows: how they come set, what they need
launch.py    points through Hydra's launcher, and again those whose worker died
task.py      what a launcher runs, on this machine or another
fork server.py   starts the processes of points, each a copy of one that has everything loaded
child.py     the process of one point
messages.py  what is said between a sweep and the process of a point
place.py     the folder of a sweep
figures.py   the figures of a run that a sweep compares
windows.py   what the points of a sweep over windows are compared with
front.py     what no other point beats, and the winner
result.py    makes the record of a sweep
record.py    the record of a sweep, which reporters show
"""
