"""The command ``mailer``. It must start quickly: ``mailer receive`` runs once per inbound mail."""

import atexit
import gc

gc.disable()  # garbage collection during import takes a quarter of the start-up time

from mailer.cli import main  # noqa: E402

gc.freeze()
gc.enable()
gc.set_threshold(20_000, 20, 50)  # as in workers: most of what a command needs, it imports later
atexit.register(gc.freeze)  # the search for garbage when the process ends takes a fifth of a command's time

if __name__ == "__main__":
    main()
