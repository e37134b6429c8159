"""What every step runs on, whatever it does: so far, how long it keeps trying when a network fails it for a moment."""
