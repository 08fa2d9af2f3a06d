"""A stand-in for Slurm's programs: it runs a submitted job at once, on this machine.

It reads the same input as `sbatch` (the array's size, the script) and sets the variables that jobs
of Slurm have. `sacct` knows no job, as in the first seconds after a submission.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["install"]

SBATCH = """#!/bin/bash
script=$(mktemp "$0.XXXX")
cp "$1" "$script"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for task in $(seq 0 "${last:-0}"); do
    SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_JOB_ID=99 SLURM_ARRAY_TASK_ID=$task \\
    SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 \\
    SLURM_JOB_NODELIST=node1 bash "$script" >"$script.$task" 2>&1 </dev/null &
done
echo "Submitted batch job 99"
"""
SRUN = """#!/bin/bash
while [ "${1#--}" != "$1" ]; do
    case $1 in --output | --error) shift ;; esac
    shift
done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
"""


def install(folder: Path) -> Path:
    """Write the programs to `folder`, which must come first in PATH."""
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder
