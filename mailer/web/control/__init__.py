"""The control room: whether anything needs somebody, and what flows where."""
