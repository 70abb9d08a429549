"""The command ``mailer``. It must start quickly: ``mailer receive`` runs once per inbound mail."""

import gc

gc.disable()  # garbage collection during import takes a quarter of the start-up time

from mailer.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
