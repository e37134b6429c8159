"""Ask the LLM teacher: client, prompt, budget, response log, and the simulated teacher."""
