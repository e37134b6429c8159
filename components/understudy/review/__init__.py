"""Review queues and people's answers to them, as the tools of people write them."""
