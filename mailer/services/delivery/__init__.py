"""From a scheduled issue to every inbox: expand, dispatch, send, resolve, monitor."""
