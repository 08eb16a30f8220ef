"""What the machine tells: stop requests, processes, versions, progress."""
