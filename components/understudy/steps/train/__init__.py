"""Train one student from soft teacher labels and human labels."""
