"""Read texts and human labels, refuse what cannot serve, and split what is left with the test split behind a wall."""
