"""Revise the teacher's answers by an editor, one kind of error at a time, where people's labels say that it helps."""
