"""Index and search labelled texts: SQLite with no server, or Elasticsearch 9; the store is the truth.

documents.py     what a document is: the fields, its id, its version
query.py         what a search asks
settings.py      how documents are sent: the settings of the step index
backend.py       what an index must be able to do
sqlite.py        the embedded one
elastic.py       Elasticsearch: template, alias, search; bulk.py sends, connection.py opens and explains
sync.py          bring an index up to the store, segment by segment
dead_letters.py  documents that the index refused, kept with their reasons
"""
