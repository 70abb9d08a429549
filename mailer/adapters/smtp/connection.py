"""Hands messages over on one connection, pipelined where the relay allows it.

With PIPELINING (RFC 2920) a message costs one round trip: its body and final dot go out in one write
with MAIL, RCPT and DATA of the message after it. At most that one message is ahead, and its body waits
for its own 354. Without PIPELINING every command waits for its reply.
"""

import re
from collections import deque
from typing import Protocol

from mailer.adapters.smtp.batch import Job
from mailer.adapters.smtp.channel import Channel
from mailer.adapters.smtp.relay import Relay
from mailer.adapters.smtp.replies import build
from mailer.adapters.smtp.session import Capabilities
from mailer.domain.handover import Envelope
from mailer.domain.outcomes import Outcome, Reply, Stage, classify

BLOCK = 256 * 1024
"""Bytes of a body that are written at once; more follow when the transport has taken them."""

_BREAKS_OUT = re.compile(r"[\x00-\x1f\x7f<>]")
_CLOSING = 421


class Desk(Protocol):
    """Where a connection gets its work, and brings back what it could not do."""

    def take(self, connection: "Connection") -> Job | None:
        """The next job to begin right now."""

    def rested(self, connection: "Connection") -> None:
        """The connection has nothing to do."""

    def lost(self, job: Job, stage: Stage, detail: str) -> None:
        """The connection ended under this job, before its final dot."""

    def left(self, connection: "Connection", failed: bool) -> None:
        """The connection takes no more work; ``failed``: it ended with work unfinished."""


class Connection(Channel):
    def __init__(self, relay: Relay, desk: Desk) -> None:
        super().__init__()
        self.begun = 0
        self.answered = 0
        """Messages that the relay said anything definite about."""
        self.rested_at = 0.0
        self.leaving = False
        """Finish what has begun, then quit."""
        self._quitting = False
        self._relay = relay
        self._desk = desk
        self._offered = Capabilities()
        self._pipelining = False
        self._expected: deque[tuple[Stage | None, Job]] = deque()
        """The replies to come, each with the job it speaks of. None: the reply to RSET."""
        self._untidy = False
        """A transaction was given up before its final dot: RSET before the next one."""
        self._pouring: Job | None = None
        self._blocks: deque[bytes] = deque()
        limits = relay.timeouts
        self._seconds: dict[Stage | None, float] = {
            None: limits.mail,
            Stage.MAIL: limits.mail,
            Stage.RCPT: limits.rcpt,
            Stage.DATA: limits.data,
            Stage.FINAL: limits.final,
        }

    def serve(self, offered: Capabilities) -> None:
        """The session is open: messages can be sent from now on."""
        self._offered = offered
        self._pipelining = offered.pipelining and self._relay.pipelining

    def pump(self) -> bool:
        """Begin a message; False if there is none, and then the connection rests."""
        return self._begin_next()

    def quit(self) -> None:
        """Say goodbye; the relay's answer, or a few seconds, end the connection."""
        if not self._quitting and not self.broken:
            self._quitting = True
            self.write(b"QUIT\r\n")
            self.expire_in(self._relay.timeouts.quit)
            self._desk.left(self, failed=False)

    # Replies.

    def replied(self, code: int, lines: list[bytes]) -> None:
        if self._quitting:
            self.abort("said goodbye")
            return
        if not self._expected:
            if self._pouring is not None:
                self._interrupted(self._pouring, build(code, lines))
            else:
                super().replied(code, lines)
            return
        stage, job = self._expected.popleft()
        if code == _CLOSING:
            self._dismissed(stage, job, build(code, lines))
        elif stage is Stage.FINAL:
            self._finished(job, code, lines)
        elif stage is Stage.DATA:
            self._data(job, code, lines)
        elif stage is None:
            if not self._pipelining:
                self._send(self._begin(job))
        elif not 200 <= code < 300:
            self._refuse(job, stage, build(code, lines))
            if not self._pipelining:
                self._untidy = stage is Stage.RCPT
                self._begin_next()
        elif job.refused:
            # RCPT accepted without its MAIL: whatever we sent next would go somewhere.
            self.abort("the relay is out of step")
        elif not self._pipelining:
            after = Stage.RCPT if stage is Stage.MAIL else Stage.DATA
            self._expected.append((after, job))
            self._send(_rcpt(job.envelope, self._offered) if after is Stage.RCPT else b"DATA\r\n")

    def caught_up(self) -> None:
        if self._expected:
            self.expire_in(self._seconds[self._expected[0][0]])
        elif self._pouring is not None:
            self.expire_in(self._relay.timeouts.block)
        elif not self._quitting:
            self.no_deadline()

    def _data(self, job: Job, code: int, lines: list[bytes]) -> None:
        if code == 354:
            if job.refused:
                # RFC 2920 3.1: no recipient was accepted, so end the message with nothing in it.
                self._finish(job, [])
            elif job.batch.still_permits(job):
                self._pour(job)
            else:
                # Nothing else takes a transaction back that waits for its message.
                self.abort("called off")
        elif code >= 400:
            self._refuse(job, Stage.DATA, build(code, lines))
            self._untidy = True
            self._begin_next()
        else:
            self.abort("the relay is out of step")

    def _finished(self, job: Job, code: int, lines: list[bytes]) -> None:
        if not job.settled:
            reply = build(code, lines)
            self.answered += 1
            job.batch.answered(job, reply)
            job.settle(classify(reply, Stage.FINAL), reply, Stage.FINAL)
        if not self._expected:
            self._begin_next()

    def _refuse(self, job: Job, stage: Stage, reply: Reply) -> None:
        """The first refusal of a transaction decides; those that follow from it say nothing."""
        if not job.refused:
            job.refused = True
            self.answered += 1
            job.settle(classify(reply, stage), reply, stage)

    def _dismissed(self, stage: Stage | None, job: Job, reply: Reply) -> None:
        """421: the relay is about to close the connection (RFC 5321 3.8)."""
        if stage is Stage.FINAL:
            if not job.settled:
                job.batch.answered(job, reply)
                job.settle(classify(reply, stage), reply, stage)
        else:
            job.reply = reply
            self._expected.appendleft((stage, job))
        self.abort(str(reply))

    def _interrupted(self, job: Job, reply: Reply) -> None:
        """A reply in the middle of the body; its final dot will not be written."""
        job.reply = reply
        if reply.code >= 400 and reply.code != _CLOSING:
            self._refuse(job, Stage.DATA, reply)
        self.abort(str(reply))

    # Commands and bodies.

    def _begin_next(self) -> bool:
        job = self._take()
        if job is not None:
            self._send(self._begin(job))
            return True
        if self.leaving or self.begun >= self._relay.max_messages_per_connection:
            self.quit()
        else:
            self.rested_at = self.loop.time()
            self.no_deadline()
            self._desk.rested(self)
        return False

    def _take(self) -> Job | None:
        """The next job that this relay can take, with everything it cannot take settled on the way."""
        if self.leaving or self._quitting or self.begun >= self._relay.max_messages_per_connection:
            return None
        while (job := self._desk.take(self)) is not None:
            verdict = self._unfit(job.envelope)
            if verdict is None:
                self.begun += 1
                job.refused = False
                return job
            job.settle(classify(verdict, Stage.RCPT), verdict, Stage.MAIL)
        return None

    def _unfit(self, envelope: Envelope) -> Reply | None:
        """What the relay would have to answer, if it need not even be asked."""
        sender, recipient = envelope.sender, envelope.recipient
        if not recipient or _BREAKS_OUT.search(sender + recipient):
            if _BREAKS_OUT.search(sender):
                return Reply(553, "5.1.7", "not sent: the sender is no address")
            return Reply(553, "5.1.3", "not sent: the recipient is no address")
        if _needs_smtputf8(envelope) and not self._offered.smtputf8:
            return Reply(553, "5.6.7", "not sent: the relay does not offer SMTPUTF8")
        if 0 < self._offered.size < envelope.size:
            text = f"not sent: {envelope.size} bytes, and the relay takes {self._offered.size}"
            return Reply(552, "5.3.4", text)
        message = envelope.message
        if not (message if isinstance(message, bytes) else b"".join(message[-2:])).endswith(b"\r\n"):
            return Reply(554, "5.6.0", "not sent: the message does not end in CRLF")
        return None

    def _begin(self, job: Job) -> bytes:
        """Expect the replies to a message's commands, and return the commands."""
        reset = b""
        if self._untidy:
            self._untidy = False
            reset = b"RSET\r\n"
            self._expected.append((None, job))
            if not self._pipelining:
                return reset
        mail = _mail(job.envelope, self._offered)
        self._expected.append((Stage.MAIL, job))
        if not self._pipelining:
            return mail
        self._expected.append((Stage.RCPT, job))
        self._expected.append((Stage.DATA, job))
        return b"".join((reset, mail, _rcpt(job.envelope, self._offered), b"DATA\r\n"))

    def _send(self, commands: bytes) -> None:
        self.write(commands)
        self.caught_up()

    def _pour(self, job: Job) -> None:
        message = job.envelope.message
        segments = [message] if isinstance(message, bytes) else message
        if job.envelope.size <= BLOCK and not self._paused:
            self._finish(job, segments)
            return
        body = b"".join(segments)
        self._blocks.extend(body[at : at + BLOCK] for at in range(0, len(body), BLOCK))
        self._pouring = job
        self.writable()

    def writable(self) -> None:
        while (job := self._pouring) is not None and not self._paused and not self.broken:
            if job.settled:
                self.abort("called off")
            elif len(self._blocks) > 1:
                self.write(self._blocks.popleft())
            else:
                self._pouring = None
                self._finish(job, [self._blocks.popleft()])
        self.caught_up()

    def _finish(self, job: Job, segments: list[bytes]) -> None:
        """Write the end of a message (all of it, mostly) and the commands of the one after it."""
        self._expected.append((Stage.FINAL, job))
        ahead = self._take() if self._pipelining else None
        commands = self._begin(ahead) if ahead is not None else b""
        if not job.refused and not job.batch.about_to_finish(job):
            self.abort("the journal could not be written")
            return
        # One copy and one write: handing the segments to writelines() cost more, most of all under TLS.
        self.write(b"".join((*segments, b".\r\n", commands)))

    # The end.

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        unfinished = [(Stage.DATA, self._pouring)] if self._pouring is not None else []
        unfinished += [(stage or Stage.MAIL, job) for stage, job in self._expected]
        self._pouring = None
        self._blocks.clear()
        self._expected.clear()
        seen: set[int] = set()
        for stage, job in unfinished:
            if job.settled or id(job) in seen:
                continue
            seen.add(id(job))
            if job.dotted:
                job.settle(Outcome.UNKNOWN, None, Stage.FINAL, self.trouble)
            else:
                self._desk.lost(job, stage, self.trouble)
        self._desk.left(self, failed=bool(unfinished))


def _needs_smtputf8(envelope: Envelope) -> bool:
    return envelope.smtputf8 or not (envelope.recipient.isascii() and envelope.sender.isascii())


def _mail(envelope: Envelope, offered: Capabilities) -> bytes:
    line = f"MAIL FROM:<{envelope.sender}>"
    if offered.size_parameter:
        line += f" SIZE={envelope.size}"
    if _needs_smtputf8(envelope):
        line += " BODY=8BITMIME SMTPUTF8" if offered.eightbit else " SMTPUTF8"
    if offered.dsn:
        line += " RET=HDRS"  # a bounce need not bring the whole issue back
    return f"{line}\r\n".encode()


def _rcpt(envelope: Envelope, offered: Capabilities) -> bytes:
    # RFC 3461: of what is delayed nobody need tell us, only of what is lost.
    notify = " NOTIFY=FAILURE" if offered.dsn and envelope.sender else ""
    return f"RCPT TO:<{envelope.recipient}>{notify}\r\n".encode()
