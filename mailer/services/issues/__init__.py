"""Issues from document import to the report: approval, compilation, scheduling and digests."""
