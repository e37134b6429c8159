"""Ask the teacher for its answers, within a budget, never twice."""
