"""Store objects in a folder or a bucket: addresses, names, codecs, and each family of records."""
