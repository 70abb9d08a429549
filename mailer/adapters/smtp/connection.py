"""Hands messages over on one connection, pipelined where the relay allows it.

With PIPELINING (RFC 2920) a message costs one round trip: its body and final dot go out in one write
with MAIL, RCPT and DATA of the message after it. At most that one message is ahead, and its body waits
for its own 354. Without PIPELINING every command waits for its reply.
"""

import re
from collections import deque
from typing import Protocol

from mailer.adapters.smtp.batch import Transfer
from mailer.adapters.smtp.channel import LineConnection
from mailer.adapters.smtp.relay import Relay
from mailer.adapters.smtp.replies import build_reply
from mailer.adapters.smtp.session import Capabilities
from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.transfer import Envelope

WRITE_CHUNK_BYTES = 256 * 1024
"""Bytes of a body that are written at once; more follow when the transport has taken them."""

_UNSAFE_IN_COMMAND = re.compile(r"[\x00-\x1f\x7f<>]")
_SERVICE_CLOSING = 421


class WorkSource(Protocol):
    """Where a connection gets its work, and brings back what it could not do."""

    def next_transfer(self, connection: "Connection") -> Transfer | None:
        """The next job to begin right now."""

    def became_idle(self, connection: "Connection") -> None:
        """The connection has nothing to do."""

    def transfer_interrupted(self, transfer: Transfer, stage: Stage, detail: str) -> None:
        """The connection ended under this job, before its final dot."""

    def connection_retired(self, connection: "Connection", failed: bool) -> None:
        """The connection takes no more work; ``failed``: it ended with work unfinished."""


class Connection(LineConnection):
    def __init__(self, relay: Relay, work_source: WorkSource) -> None:
        super().__init__()
        self.messages_started = 0
        self.messages_answered = 0
        """Messages that the relay said anything definite about."""
        self.idle_since = 0.0
        self.draining = False
        """Finish what has begun, then quit."""
        self._quitting = False
        self._relay = relay
        self._work_source = work_source
        self._capabilities = Capabilities()
        self._pipelining = False
        self._expected_replies: deque[tuple[Stage | None, Transfer]] = deque()
        """The replies to come, each with the job it speaks of. None: the reply to RSET."""
        self._needs_reset = False
        """A transaction was given up before its final dot: RSET before the next one."""
        self._body_transfer: Transfer | None = None
        self._blocks: deque[bytes] = deque()
        limits = relay.timeouts
        self._reply_timeouts: dict[Stage | None, float] = {
            None: limits.mail,
            Stage.MAIL: limits.mail,
            Stage.RCPT: limits.rcpt,
            Stage.DATA: limits.data,
            Stage.FINAL: limits.final,
        }

    def session_opened(self, capabilities: Capabilities) -> None:
        """The session is open: messages can be sent from now on."""
        self._capabilities = capabilities
        self._pipelining = capabilities.pipelining and self._relay.pipelining

    def fill_pipeline(self) -> bool:
        """Begin a message; False if there is none, and then the connection rests."""
        return self._start_next()

    def quit(self) -> None:
        """Say goodbye; the relay's answer, or a few seconds, end the connection."""
        if not self._quitting and not self.broken:
            self._quitting = True
            self.write(b"QUIT\r\n")
            self.set_deadline(self._relay.timeouts.quit)
            self._work_source.connection_retired(self, failed=False)

    # Replies.

    def reply_received(self, code: int, lines: list[bytes]) -> None:
        if self._quitting:
            self.abort("said goodbye")
            return
        if not self._expected_replies:
            if self._body_transfer is not None:
                self._on_reply_during_body(self._body_transfer, build_reply(code, lines))
            else:
                super().reply_received(code, lines)
            return
        stage, job = self._expected_replies.popleft()
        if code == _SERVICE_CLOSING:
            self._on_421(stage, job, build_reply(code, lines))
        elif stage is Stage.FINAL:
            self._on_final_reply(job, code, lines)
        elif stage is Stage.DATA:
            self._on_data_reply(job, code, lines)
        elif stage is None:
            if not self._pipelining:
                self._send(self._transfer_commands(job))
        elif not 200 <= code < 300:
            self._refuse(job, stage, build_reply(code, lines))
            if not self._pipelining:
                self._needs_reset = stage is Stage.RCPT
                self._start_next()
        elif job.refused:
            # RCPT accepted without its MAIL: whatever we sent next would go somewhere.
            self.abort("the relay is out of step")
        elif not self._pipelining:
            after = Stage.RCPT if stage is Stage.MAIL else Stage.DATA
            self._expected_replies.append((after, job))
            self._send(
                _rcpt_command(job.envelope, self._capabilities) if after is Stage.RCPT else b"DATA\r\n"
            )

    def drained(self) -> None:
        if self._expected_replies:
            self.set_deadline(self._reply_timeouts[self._expected_replies[0][0]])
        elif self._body_transfer is not None:
            self.set_deadline(self._relay.timeouts.block)
        elif not self._quitting:
            self.clear_deadline()

    def _on_data_reply(self, transfer: Transfer, code: int, lines: list[bytes]) -> None:
        if code == 354:
            if transfer.refused:
                # RFC 2920 3.1: no recipient was accepted, so end the message with nothing in it.
                self._write_end(transfer, [])
            elif transfer.batch.may_continue(transfer):
                self._write_body(transfer)
            else:
                # Nothing else takes a transaction back that waits for its message.
                self.abort("called off")
        elif code >= 400:
            self._refuse(transfer, Stage.DATA, build_reply(code, lines))
            self._needs_reset = True
            self._start_next()
        else:
            self.abort("the relay is out of step")

    def _on_final_reply(self, transfer: Transfer, code: int, lines: list[bytes]) -> None:
        if not transfer.finished:
            reply = build_reply(code, lines)
            self.messages_answered += 1
            transfer.batch.after_reply(transfer, reply)
            transfer.finish(classify(reply, Stage.FINAL), reply, Stage.FINAL)
        if not self._expected_replies:
            self._start_next()

    def _refuse(self, transfer: Transfer, stage: Stage, reply: Reply) -> None:
        """The first refusal of a transaction decides; those that follow from it say nothing."""
        if not transfer.refused:
            transfer.refused = True
            self.messages_answered += 1
            transfer.finish(classify(reply, stage), reply, stage)

    def _on_421(self, stage: Stage | None, transfer: Transfer, reply: Reply) -> None:
        """421: the relay is about to close the connection (RFC 5321 3.8)."""
        if stage is Stage.FINAL:
            if not transfer.finished:
                transfer.batch.after_reply(transfer, reply)
                transfer.finish(classify(reply, stage), reply, stage)
        else:
            transfer.reply = reply
            self._expected_replies.appendleft((stage, transfer))
        self.abort(str(reply))

    def _on_reply_during_body(self, transfer: Transfer, reply: Reply) -> None:
        """A reply in the middle of the body; its final dot will not be written."""
        transfer.reply = reply
        if reply.code >= 400 and reply.code != _SERVICE_CLOSING:
            self._refuse(transfer, Stage.DATA, reply)
        self.abort(str(reply))

    # Commands and bodies.

    def _start_next(self) -> bool:
        job = self._next_supported()
        if job is not None:
            self._send(self._transfer_commands(job))
            return True
        if self.draining or self.messages_started >= self._relay.max_messages_per_connection:
            self.quit()
        else:
            self.idle_since = self.loop.time()
            self.clear_deadline()
            self._work_source.became_idle(self)
        return False

    def _next_supported(self) -> Transfer | None:
        """The next job that this relay can take, with everything it cannot take settled on the way."""
        if (
            self.draining
            or self._quitting
            or self.messages_started >= self._relay.max_messages_per_connection
        ):
            return None
        while (job := self._work_source.next_transfer(self)) is not None:
            verdict = self._unsupported(job.envelope)
            if verdict is None:
                self.messages_started += 1
                job.refused = False
                return job
            job.finish(classify(verdict, Stage.RCPT), verdict, Stage.MAIL)
        return None

    def _unsupported(self, envelope: Envelope) -> Reply | None:
        """What the relay would have to answer, if it need not even be asked."""
        sender, recipient = envelope.sender, envelope.recipient
        if not recipient or _UNSAFE_IN_COMMAND.search(sender + recipient):
            if _UNSAFE_IN_COMMAND.search(sender):
                return Reply(553, "5.1.7", "not sent: the sender is no address")
            return Reply(553, "5.1.3", "not sent: the recipient is no address")
        if _needs_smtputf8(envelope) and not self._capabilities.smtputf8:
            return Reply(553, "5.6.7", "not sent: the relay does not offer SMTPUTF8")
        if 0 < self._capabilities.size < envelope.size:
            text = f"not sent: {envelope.size} bytes, and the relay takes {self._capabilities.size}"
            return Reply(552, "5.3.4", text)
        message = envelope.message
        if not (message if isinstance(message, bytes) else b"".join(message[-2:])).endswith(b"\r\n"):
            return Reply(554, "5.6.0", "not sent: the message does not end in CRLF")
        return None

    def _transfer_commands(self, transfer: Transfer) -> bytes:
        """Expect the replies to a message's commands, and return the commands."""
        reset = b""
        if self._needs_reset:
            self._needs_reset = False
            reset = b"RSET\r\n"
            self._expected_replies.append((None, transfer))
            if not self._pipelining:
                return reset
        mail = _mail_command(transfer.envelope, self._capabilities)
        self._expected_replies.append((Stage.MAIL, transfer))
        if not self._pipelining:
            return mail
        self._expected_replies.append((Stage.RCPT, transfer))
        self._expected_replies.append((Stage.DATA, transfer))
        return b"".join((reset, mail, _rcpt_command(transfer.envelope, self._capabilities), b"DATA\r\n"))

    def _send(self, commands: bytes) -> None:
        self.write(commands)
        self.drained()

    def _write_body(self, transfer: Transfer) -> None:
        message = transfer.envelope.message
        segments = [message] if isinstance(message, bytes) else message
        if transfer.envelope.size <= WRITE_CHUNK_BYTES and not self._paused:
            self._write_end(transfer, segments)
            return
        body = b"".join(segments)
        self._blocks.extend(
            body[at : at + WRITE_CHUNK_BYTES] for at in range(0, len(body), WRITE_CHUNK_BYTES)
        )
        self._body_transfer = transfer
        self.writable()

    def writable(self) -> None:
        while (job := self._body_transfer) is not None and not self._paused and not self.broken:
            if job.finished:
                self.abort("called off")
            elif len(self._blocks) > 1:
                self.write(self._blocks.popleft())
            else:
                self._body_transfer = None
                self._write_end(job, [self._blocks.popleft()])
        self.drained()

    def _write_end(self, transfer: Transfer, segments: list[bytes]) -> None:
        """Write the end of a message (all of it, mostly) and the commands of the one after it."""
        self._expected_replies.append((Stage.FINAL, transfer))
        ahead = self._next_supported() if self._pipelining else None
        commands = self._transfer_commands(ahead) if ahead is not None else b""
        if not transfer.refused and not transfer.batch.before_final_dot(transfer):
            self.abort("the journal could not be written")
            return
        # One copy and one write: handing the segments to writelines() cost more, most of all under TLS.
        self.write(b"".join((*segments, b".\r\n", commands)))

    # The end.

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        unfinished = [(Stage.DATA, self._body_transfer)] if self._body_transfer is not None else []
        unfinished += [(stage or Stage.MAIL, job) for stage, job in self._expected_replies]
        self._body_transfer = None
        self._blocks.clear()
        self._expected_replies.clear()
        seen: set[int] = set()
        for stage, job in unfinished:
            if job.finished or id(job) in seen:
                continue
            seen.add(id(job))
            if job.final_dot_sent:
                job.finish(Outcome.UNKNOWN, None, Stage.FINAL, self.close_reason)
            else:
                self._work_source.transfer_interrupted(job, stage, self.close_reason)
        self._work_source.connection_retired(self, failed=bool(unfinished))


def _needs_smtputf8(envelope: Envelope) -> bool:
    return envelope.smtputf8 or not (envelope.recipient.isascii() and envelope.sender.isascii())


def _mail_command(envelope: Envelope, capabilities: Capabilities) -> bytes:
    line = f"MAIL FROM:<{envelope.sender}>"
    if capabilities.size_parameter:
        line += f" SIZE={envelope.size}"
    if _needs_smtputf8(envelope):
        line += " BODY=8BITMIME SMTPUTF8" if capabilities.eightbit else " SMTPUTF8"
    if capabilities.dsn:
        line += " RET=HDRS"  # a bounce need not bring the whole issue back
    return f"{line}\r\n".encode()


def _rcpt_command(envelope: Envelope, capabilities: Capabilities) -> bytes:
    # RFC 3461: of what is delayed nobody need tell us, only of what is lost.
    notify = " NOTIFY=FAILURE" if capabilities.dsn and envelope.sender else ""
    return f"RCPT TO:<{envelope.recipient}>{notify}\r\n".encode()
