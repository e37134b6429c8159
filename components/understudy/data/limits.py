"""Bound how much of a user's file is read, so that no file holds a step up or fills its memory.

Every limit lies far above what texts and labels need; what passes one is refused with its row, or the file with a
sentence.
"""

MOST_COLUMNS = 16_384  # as many as a spreadsheet can have; each is looked up in every row
LONGEST_HEADER = 1 << 20  # characters of the first line of a CSV: 64 for each of the columns
LONGEST_LINE = 1 << 22  # characters of a line, and of a CSV row over several: the module csv holds 4 bytes for each
MOST_LINES = 100_000  # lines of one CSV row: more are a quote that was never closed
LONGEST_NAME = 4_096  # characters of an id, group, label or any cell but a text: it stands in keys, logs and messages
LINES_FOR_KEYS = 1_000  # JSONL has no header: the keys of the first lines stand for it
CHARS_FOR_KEYS = 1 << 24  # of these lines, so that long ones are not parsed for their keys alone
MOST_FILES = 100_000  # files of a folder or prefix: each is opened, and stands in the night's manifest for good
MOST_EXPORT_BYTES = 1 << 25  # of Label Studio's JSON, which can only be read whole: some twenty thousand texts
MOST_TASK_BYTES = 1 << 23  # of its export of one task; a larger file that begins like one is JSONL
MOST_EXPORT_VALUES = 2_000_000  # commas and braces in it: each value takes about 70 bytes of memory
MOST_UNPACKED_BYTES = 1 << 34  # of what is packed in a file, which is written to this machine's disk
LARGEST_SHEET_BYTES = 1 << 28  # of all parts of an Excel file, which can only be read whole
MOST_PREDICT_BYTES = 1 << 25  # of texts for `predict`, which holds them all; `infer` reads a file of any size
