"""The command ``mailer``: ``mailer receive`` runs it once for each mail that comes back, so it starts quickly."""

import gc

gc.disable()  # Looking for rubbish among new modules is a quarter of a start.

from mailer.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
