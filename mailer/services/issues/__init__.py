"""From a document to an approved and scheduled issue, and its report."""
