"""The student that serves: what is looked at in its files before any library opens them."""
