"""The LLM teacher: its client, its paid answers, and the rehearsal teacher that stands in for it."""
