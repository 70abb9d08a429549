"""Celery: the only place that knows it. Messages hold ids alone; all work is owned by rows."""
