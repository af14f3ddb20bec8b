"""Files that come in and go out: bytes within limits, text, tables, Parquet with checksums, documents, ids, cells."""
