"""The command `understudy`: a module for each command or group of commands, with what it reads and prints."""
