"""The log: whole Parquet files for batches, SQL for single decisions."""
