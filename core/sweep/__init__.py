"""Sweeps: one recipe at many points, its shared work done once, and one picture of all of it.

grid.py            the overrides of a sweep, expanded into points
plan.py            every point planned and checked before the first runs; what they share
show_plan.py       `mode=plan` of a sweep, with what it would cost
sweeper.py         what the next two sweepers of Hydra share
grid_sweeper.py    Hydra's sweeper over all points
optuna_sweeper.py  Hydra's sweeper that lets Optuna choose the points
space.py           what a search chooses from
optuna_study.py    Optuna's study of a search, a SQLite file
search_options.py  the options of a search
pareto_sampler.py  which point is most likely on the front
launch.py          points through Hydra's launcher, and again those whose worker died
point_task.py      what a launcher runs, on this machine or another
fork_server.py     starts the processes of points, each a copy of one that has everything loaded
point_process.py   the process of one point
messages.py        what a sweep and the process of a point send each other
folder.py          the folder of a sweep
metrics.py         the figures of a run that a sweep compares
windows.py         what the points of a sweep over windows are compared with
pareto.py          the points that no other point beats, and the winner
summary.py         makes the record of a sweep

The record itself, which reporters show, is in core/plugin/records.py, and Hydra's launchers that
Luthier knows are in core/config/launchers.py.
"""
