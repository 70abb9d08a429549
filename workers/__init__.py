"""The Celery workers, the only package that uses Celery. Messages contain only ids; rows represent the work."""

import gc

gc.disable()  # until workers.app is imported: garbage collection takes a quarter of the start-up time
