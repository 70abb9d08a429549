"""Exit with status 0 if a service of this container is healthy: ``healthcheck.py web`` or ``healthcheck.py NODE``.

``web`` asks the web server for /health. A Celery node name such as ``worker@%h`` is looked up among the heartbeats
in Redis. It runs every few seconds for each service, so it imports nothing but what it needs of the standard
library: as ``python -I -S healthcheck.py``, a check takes a hundredth of a second.
"""

import os
import socket
import sys

TIMEOUT_SECONDS = 4.0
_KEY_PREFIX = "mailer:heartbeat:"


def web_is_healthy(port: int) -> bool:
    """Return whether the web server on this port answers 200 to /health."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return connection.makefile("rb").readline(1000).split()[1:2] == [b"200"]


def worker_is_healthy(redis_url: str, node: str) -> bool:
    """Return whether a worker's last heartbeat is in Redis. Heartbeats expire after some seconds."""
    from urllib.parse import unquote, urlsplit

    url = urlsplit(redis_url)
    commands = []
    if url.password:
        commands.append([b"AUTH", *(unquote(part).encode() for part in (url.username, url.password) if part)])
    if url.scheme in ("redis", "rediss"):
        connection = socket.create_connection((url.hostname or "localhost", url.port or 6379), TIMEOUT_SECONDS)
        if database := url.path.strip("/"):
            commands.append([b"SELECT", database.encode()])
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(url.path)
    if url.scheme == "rediss":
        from ssl import create_default_context

        connection = create_default_context().wrap_socket(connection, server_hostname=url.hostname)
    commands.append([b"EXISTS", (_KEY_PREFIX + node.replace("%h", socket.gethostname())).encode()])
    with connection, connection.makefile("rb") as replies:
        for command in commands:
            parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
            connection.sendall(b"*%d\r\n%b" % (len(command), parts))
            reply = replies.readline(1000).strip()
            if reply not in (b"+OK", b":1"):
                sys.stderr.write(f"{command[0].decode()}: {reply.decode(errors='replace')}\n")
                return False
    return True


def main(service: str) -> int:
    """Check ``web`` or a Celery node. Return the exit status; the reason of a failure goes to standard error."""
    try:
        if service == "web":
            healthy = web_is_healthy(int(os.environ.get("MAILER_WEB_PORT") or 8025))
        else:
            healthy = worker_is_healthy(os.environ["MAILER_REDIS_URL"], service)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
