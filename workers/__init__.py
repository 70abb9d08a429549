"""Celery: the only place that knows it. Messages hold ids alone; all work is owned by rows."""

import gc

gc.disable()  # Until workers.app stands: looking for rubbish among new modules is a quarter of a start.
