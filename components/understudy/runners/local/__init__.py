"""Run compiled pipelines on this machine, by direct calls or by KFP's own runner."""
