"""Runs and sweeps: folders, identity, jobs, launchers, and how a run starts."""
