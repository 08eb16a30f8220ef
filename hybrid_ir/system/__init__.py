"""What concerns the process and the machine: stop signals, ranks, set-up, versions, progress."""
