"""Pure readers of Slurm's text: no process, no clock, no cluster."""
