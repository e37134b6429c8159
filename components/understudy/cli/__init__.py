"""Command-line interface: `understudy ...`, and what each command reads and prints."""
