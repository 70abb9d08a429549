"""Sends messages over one connection, pipelined if the relay supports it.

With PIPELINING (RFC 2920) a message costs one round trip: its body and final dot are written together with
MAIL, RCPT and DATA of the next message. At most one message is ahead, and its body waits for its own 354.
Without PIPELINING every command waits for its reply.

With a window of several messages, and CHUNKING (RFC 3030) beside PIPELINING, a message is written at once, its body
with BDAT. So many messages may lack a reply when a connection is lost, and are uncertain then. An RSET before each
message keeps what becomes of one from the next, and shows that the replies are in step.
"""

import re
from collections import deque
from typing import Protocol

from mailer.adapters.smtp.batch import Transfer
from mailer.adapters.smtp.line_connection import LineConnection
from mailer.adapters.smtp.relay import Relay
from mailer.adapters.smtp.replies import build_reply, is_session_limit
from mailer.adapters.smtp.session import Capabilities
from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.transfer import Envelope

WRITE_CHUNK_BYTES = 256 * 1024
"""The most bytes of a body in one write; the rest follows when the transport accepts more."""

MAX_FULL_SESSIONS = 3
"""Full sessions after which a message is refused like any other."""
_UNSAFE_IN_COMMAND = re.compile(r"[\x00-\x1f\x7f<>]")
_SERVICE_CLOSING = 421
_ACCEPTED_WITHOUT_SENDER = "the relay accepted RCPT after it refused MAIL"


class WorkSource(Protocol):
    """Supplies a connection with transfers, and is notified when the connection changes."""

    def next_transfer(self, connection: "Connection") -> Transfer | None:
        """Return the next transfer to start now, or None."""

    def became_idle(self, connection: "Connection") -> None:
        """Handle that the connection has no transfer to work on."""

    def transfer_interrupted(self, transfer: Transfer, stage: Stage, detail: str) -> None:
        """Handle that the connection ended during a transfer, before its final dot."""

    def session_full(self, transfer: Transfer) -> None:
        """Take back a transfer that needs another session: the relay takes no more messages in this one."""

    def connection_retired(self, connection: "Connection", failed: bool) -> None:
        """Handle that the connection accepts no more transfers. ``failed``: some were unfinished."""


class Connection(LineConnection):
    """An SMTP connection that takes transfers from a ``WorkSource``, one after the other."""

    def __init__(self, relay: Relay, work_source: WorkSource) -> None:
        super().__init__()
        self.messages_started = 0
        self.messages_answered = 0
        """Messages that the relay has accepted or refused."""
        self._has_delivered = False
        self.idle_since = 0.0
        self.draining = False
        """Whether to quit once the transfers in progress are finished."""
        self._quitting = False
        self._relay = relay
        self._work_source = work_source
        self._capabilities = Capabilities()
        self._session_open = False
        self._pipelining = False
        self._window = 1
        """The most messages in flight; if it is not 1, their bodies are sent with BDAT."""
        self._begun: dict[Transfer, None] = {}
        """The transfers whose transaction has begun and not ended, in order. A lost connection settles them all."""
        self._expected_replies: deque[tuple[Stage | None, Transfer]] = deque()
        """The replies to come, each with its transfer. Stage None: the reply to RSET."""
        self._needs_reset = False
        """Whether a transaction ended before its final dot, so that the next one needs an RSET."""
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
        """Set the relay's capabilities; messages can be sent from now on."""
        self._session_open = True
        self._capabilities = capabilities
        self._pipelining = capabilities.pipelining and self._relay.pipelining
        if self._pipelining and capabilities.chunking:
            self._window = self._relay.window

    def fill_pipeline(self) -> bool:
        """Start messages on an idle connection. Return False if there is none: the connection stays idle then."""
        return self._start_next()

    def fill_window(self) -> None:
        """Start more messages while there are fewer in flight than the window allows."""
        while 1 < self._window > len(self._begun) and not self._paused and not self.broken:
            transfer = self._next_supported()
            if transfer is None:
                break
            self._write_chunked(transfer)

    def quit(self) -> None:
        """Send QUIT. The connection ends with the reply, or after the ``quit`` timeout."""
        if not self._quitting and not self.broken:
            self._quitting = True
            self.write(b"QUIT\r\n")
            self.set_deadline(self._relay.timeouts.quit)
            self._work_source.connection_retired(self, failed=False)

    def has_begun(self, transfer: Transfer) -> bool:
        """Return whether the transfer has begun on this connection and not ended."""
        return transfer in self._begun

    # Replies.

    def replies_received(self, replies: list[tuple[int, list[bytes]]]) -> None:
        """Handle the replies that arrived together, or none of them if the relay is out of step."""
        if self._session_open and not self._quitting and (problem := self._find_out_of_step(replies)):
            self.abort(f"replies out of step: {problem}")
        else:
            super().replies_received(replies)

    def _find_out_of_step(self, replies: list[tuple[int, list[bytes]]]) -> str:
        """Return what shows that these replies do not answer the commands sent so far, or an empty string.

        If one does not, any of them may answer another command, even of another message. A reply that arrived
        before its command was written is no answer to it either. A 421 may come at any time.
        """
        refused: set[Transfer] = set()
        has_final = False
        expected = iter(self._expected_replies)
        for code, lines in replies:
            if code == _SERVICE_CLOSING:
                return ""
            stage, transfer = next(expected, (Stage.CONNECT, None))
            if transfer is None:
                # A relay may refuse a body before its end.
                return "" if self._body_transfer is not None and 400 <= code < 600 else f"unexpected reply: {code}"
            if not (code == 354 or 400 <= code < 600 if stage is Stage.DATA else _is_possible(code, stage)):
                return f"{code} in reply to {stage.upper() if stage else 'RSET'}"
            if stage is Stage.FINAL:
                has_final = True
                if self._window > 1 and code < 300 and (transfer.refused or transfer in refused):
                    return "BDAT accepted without a recipient"
                if self._window > 1 and lines[0].startswith(b"2.1."):
                    # Of an address (RFC 3463 3.2), so of MAIL or RCPT: no 354 shows that the replies have shifted.
                    return f"{lines[0].decode('ascii', 'replace')[:40]} in reply to BDAT"
            elif code >= 400:
                refused.add(transfer)
            elif has_final and stage is Stage.RCPT and code < 300 and transfer in refused:
                return _ACCEPTED_WITHOUT_SENDER
        if self._reader.pending and self._body_transfer is None and next(expected, None) is None:
            return "part of an unexpected reply"
        return ""

    def reply_received(self, code: int, lines: list[bytes]) -> None:
        """Handle the reply to the oldest command without one."""
        if self._quitting:
            self.abort("closed after QUIT")
            return
        if not self._expected_replies:
            if self._body_transfer is not None:
                self._on_reply_during_body(self._body_transfer, build_reply(code, lines))
            else:
                super().reply_received(code, lines)
            return
        stage, transfer = self._expected_replies.popleft()
        if code == _SERVICE_CLOSING:
            self._on_421(stage, transfer, build_reply(code, lines))
        elif stage is Stage.FINAL:
            self._on_final_reply(transfer, code, lines)
        elif stage is Stage.DATA:
            self._on_data_reply(transfer, code, lines)
        elif stage is None:
            if not self._pipelining:
                self._send(self._transfer_commands(transfer))
        elif not 200 <= code < 300:
            self._refuse(transfer, stage, build_reply(code, lines))
            if not self._pipelining:
                self._needs_reset = stage is Stage.RCPT
                self._end_transaction(transfer)
                self._start_next()
        elif transfer.refused:
            # The next message could reach the wrong recipient.
            self.abort(_ACCEPTED_WITHOUT_SENDER)
        elif not self._pipelining:
            next_stage = Stage.RCPT if stage is Stage.MAIL else Stage.DATA
            self._expected_replies.append((next_stage, transfer))
            self._send(
                _rcpt_command(transfer.envelope, self._capabilities) if next_stage is Stage.RCPT else b"DATA\r\n"
            )

    def drained(self) -> None:
        """Set the deadline for the next reply."""
        if self._expected_replies:
            self.set_deadline(self._reply_timeouts[self._expected_replies[0][0]])
        elif self._body_transfer is not None:
            self.set_deadline(self._relay.timeouts.block)
        elif not self._quitting:
            self.clear_deadline()

    def _on_data_reply(self, transfer: Transfer, code: int, lines: list[bytes]) -> None:
        if code == 354:
            if transfer.refused:
                # RFC 2920 3.1: no recipient was accepted, so end the message without content.
                self._write_end(transfer, [])
            elif transfer.batch.may_continue(transfer):
                self._write_body(transfer)
            else:
                # After 354 a transaction can only be abandoned by closing the connection.
                self.abort("cancelled")
        else:
            self._refuse(transfer, Stage.DATA, build_reply(code, lines))
            self._needs_reset = True
            self._end_transaction(transfer)
            self._start_next()

    def _on_final_reply(self, transfer: Transfer, code: int, lines: list[bytes]) -> None:
        if not transfer.refused and not transfer.finished:
            reply = build_reply(code, lines)
            outcome = classify(reply, Stage.FINAL)
            self.messages_answered += 1
            self._has_delivered |= outcome is Outcome.ACCEPTED
            transfer.batch.after_reply(transfer, reply)
            transfer.finish(outcome, reply, Stage.FINAL)
        self._needs_reset |= self._window > 1 and transfer.refused
        self._end_transaction(transfer)
        if self._window > 1 or not self._expected_replies:
            self._start_next()

    def _refuse(self, transfer: Transfer, stage: Stage, reply: Reply) -> None:
        """Finish a transfer with the first refusal of its transaction, and ignore later ones.

        If only this session is refused, the transfer is given back at the end of its transaction.
        """
        if not transfer.refused:
            transfer.refused = True
            if transfer.final_dot_sent:  # with BDAT, before this reply
                transfer.batch.after_reply(transfer, reply)
            if self._is_full(transfer, reply):
                self.draining = True
                return
            self.messages_answered += 1
            transfer.finish(classify(reply, stage), reply, stage)

    def _is_full(self, transfer: Transfer, reply: Reply) -> bool:
        return self._has_delivered and transfer.full_sessions < MAX_FULL_SESSIONS and is_session_limit(reply)

    def _end_transaction(self, transfer: Transfer) -> None:
        del self._begun[transfer]
        if not transfer.finished:
            self._work_source.session_full(transfer)

    def _on_421(self, stage: Stage | None, transfer: Transfer, reply: Reply) -> None:
        """Abort: a 421 announces that the relay closes the connection (RFC 5321 3.8)."""
        if stage is Stage.FINAL:
            if not transfer.refused and not transfer.finished:
                transfer.batch.after_reply(transfer, reply)
                transfer.finish(classify(reply, stage), reply, stage)
        else:
            transfer.reply = reply
            transfer.refused = transfer.refused or self._is_full(transfer, reply)
            if transfer.final_dot_sent:  # with BDAT; the relay reads no more
                transfer.batch.after_reply(transfer, reply)
                transfer.final_dot_sent = False
            self._expected_replies.appendleft((stage, transfer))
        self.abort(str(reply))

    def _on_reply_during_body(self, transfer: Transfer, reply: Reply) -> None:
        """Abort after a reply in the middle of the body, before its final dot."""
        transfer.reply = reply
        if reply.code >= 400 and reply.code != _SERVICE_CLOSING:
            self._refuse(transfer, Stage.DATA, reply)
        self.abort(str(reply))

    # Commands and bodies.

    def _start_next(self) -> bool:
        if self._window > 1:
            self.fill_window()
            if self._begun:
                return True
        elif (transfer := self._next_supported()) is not None:
            self._send(self._transfer_commands(transfer))
            return True
        if self.draining or self.messages_started >= self._relay.max_messages_per_connection:
            self.quit()
        else:
            self.idle_since = self.loop.time()
            self.clear_deadline()
            self._work_source.became_idle(self)
        return False

    def _next_supported(self) -> Transfer | None:
        """Return the next transfer that this relay supports; finish those it does not."""
        if self.draining or self._quitting or self.messages_started >= self._relay.max_messages_per_connection:
            return None
        while (transfer := self._work_source.next_transfer(self)) is not None:
            refusal = self._unsupported(transfer.envelope)
            if refusal is None:
                self.messages_started += 1
                transfer.refused = transfer.final_dot_sent = False
                self._begun[transfer] = None
                return transfer
            transfer.finish(classify(refusal, Stage.RCPT), refusal, Stage.MAIL)
        return None

    def _unsupported(self, envelope: Envelope) -> Reply | None:
        """Return the reply that the relay would have to give, or None if the envelope can be sent."""
        sender, recipient = envelope.sender, envelope.recipient
        if not recipient or _UNSAFE_IN_COMMAND.search(sender + recipient):
            if _UNSAFE_IN_COMMAND.search(sender):
                return Reply(553, "5.1.7", "not sent: the sender is not an email address")
            return Reply(553, "5.1.3", "not sent: the recipient is not an email address")
        if _needs_smtputf8(envelope) and not self._capabilities.smtputf8:
            return Reply(553, "5.6.7", "not sent: the relay does not offer SMTPUTF8")
        if 0 < self._capabilities.size < envelope.size:
            text = f"not sent: {envelope.size} bytes; the relay accepts {self._capabilities.size}"
            return Reply(552, "5.3.4", text)
        message = envelope.message
        if not (message if isinstance(message, bytes) else b"".join(message[-2:])).endswith(b"\r\n"):
            return Reply(554, "5.6.0", "not sent: the message does not end in CRLF")
        return None

    def _transfer_commands(self, transfer: Transfer) -> bytes:
        """Return the commands that start a transfer, and expect their replies."""
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
        self._expected_replies.append((Stage.DATA if self._window == 1 else Stage.FINAL, transfer))
        rcpt = _rcpt_command(transfer.envelope, self._capabilities)
        return b"".join((reset, mail, rcpt, b"DATA\r\n" if self._window == 1 else b""))

    def _write_chunked(self, transfer: Transfer) -> None:
        message = transfer.envelope.message
        body = message if isinstance(message, bytes) else b"".join(message)
        if body.startswith(b".") or b"\r\n." in body:
            # BDAT does not double leading dots.
            body = re.sub(rb"(?m)^\.", b"", body)
        self._needs_reset |= len(self._begun) > 1
        commands = self._transfer_commands(transfer)
        if not transfer.batch.before_final_dot(transfer):
            self.abort("the journal could not be written")
            return
        self.write(b"".join((commands, b"BDAT %d LAST\r\n" % len(body), body)))
        self.drained()

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
        self._blocks.extend(body[at : at + WRITE_CHUNK_BYTES] for at in range(0, len(body), WRITE_CHUNK_BYTES))
        self._body_transfer = transfer
        self.writable()

    def writable(self) -> None:
        """Write the next chunks of the body, until the transport pauses."""
        while (transfer := self._body_transfer) is not None and not self._paused and not self.broken:
            if transfer.finished:
                self.abort("cancelled")
            elif len(self._blocks) > 1:
                self.write(self._blocks.popleft())
            else:
                self._body_transfer = None
                self._write_end(transfer, [self._blocks.popleft()])
        self.fill_window()
        self.drained()

    def _write_end(self, transfer: Transfer, segments: list[bytes]) -> None:
        """Write the rest of a message (usually all of it) and the commands of the next one."""
        self._expected_replies.append((Stage.FINAL, transfer))
        next_transfer = self._next_supported() if self._pipelining else None
        commands = self._transfer_commands(next_transfer) if next_transfer is not None else b""
        if not transfer.refused and not transfer.batch.before_final_dot(transfer):
            self.abort("the journal could not be written")
            return
        # One copy and one write are faster than writelines(), above all under TLS.
        self.write(b"".join((*segments, b".\r\n", commands)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Finish transfers whose end (final dot or BDAT) was sent, and return the others to the work source."""
        super().connection_lost(exc)
        begun = list(self._begun)
        stages = {transfer: stage or Stage.MAIL for stage, transfer in reversed(self._expected_replies)}
        self._begun.clear()
        self._expected_replies.clear()
        self._body_transfer = None
        self._blocks.clear()
        for transfer in begun:
            if transfer.finished:
                continue
            if transfer.refused:
                self._work_source.session_full(transfer)
            elif transfer.final_dot_sent:
                transfer.finish(Outcome.UNKNOWN, None, Stage.FINAL, self.close_reason)
            else:
                self._work_source.transfer_interrupted(transfer, stages.get(transfer, Stage.DATA), self.close_reason)
        self._work_source.connection_retired(self, failed=bool(begun))


def _is_possible(code: int, stage: Stage | None) -> bool:
    """Return whether a relay may answer a command other than DATA so. Stage None: RSET, which cannot fail."""
    return 200 <= code < 300 or (stage is not None and 400 <= code < 600)


def _needs_smtputf8(envelope: Envelope) -> bool:
    return envelope.smtputf8 or not (envelope.recipient.isascii() and envelope.sender.isascii())


def _mail_command(envelope: Envelope, capabilities: Capabilities) -> bytes:
    line = f"MAIL FROM:<{envelope.sender}>"
    if capabilities.size_parameter:
        line += f" SIZE={envelope.size}"
    if _needs_smtputf8(envelope):
        line += " BODY=8BITMIME SMTPUTF8" if capabilities.eightbit else " SMTPUTF8"
    if capabilities.dsn:
        line += " RET=HDRS"  # a bounce needs only the headers
    return f"{line}\r\n".encode()


def _rcpt_command(envelope: Envelope, capabilities: Capabilities) -> bytes:
    # RFC 3461: ask for reports of failures only, not of delays.
    notify = " NOTIFY=FAILURE" if capabilities.dsn and envelope.sender else ""
    return f"RCPT TO:<{envelope.recipient}>{notify}\r\n".encode()
