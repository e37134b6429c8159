"""Read users' files: find, bound and parse what they name."""
