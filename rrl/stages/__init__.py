"""Stages: one module per rule of the workflow, run as `python -m rrl.stages.NAME`."""
