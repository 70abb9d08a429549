"""One module per stage on the way from author to reader; none imports another, they hand over through rows."""
