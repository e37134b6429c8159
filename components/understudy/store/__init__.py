"""What is known about a store before it is opened: addresses, the names of what lies in it, and keys that open it."""
