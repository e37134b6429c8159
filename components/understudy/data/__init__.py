"""Users' files on their way in: where they lie, how large they may be, and how Parquet and times are read."""
