"""Local runner: a compiled pipeline on this machine, by direct calls or by KFP's own runner."""
