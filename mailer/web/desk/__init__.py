"""The desk: pages for coordinators, authors, translators and approvers."""
