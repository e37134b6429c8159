"""Find the texts on which student and teacher disagree, and queue them for people."""
