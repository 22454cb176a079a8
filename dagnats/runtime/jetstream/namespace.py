"""A connection within a namespace: everything above says `history.r1`, the server hears `staging.history.r1`.

Streams become `staging_WORKFLOW_HISTORY`, buckets `staging_workflow_defs`. NATS's own subjects, `$JS.…` and `_INBOX.…`,
stay what they are; the names in requests to JetStream and in its answers are changed like all others. A connection
without a namespace does not come by here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.jetstream.channel import Channel, Message

_API = "$JS.API."
_NEXT = f"{_API}CONSUMER.MSG.NEXT."  # the most frequent request; there is no name in its body
_KV = "$KV."
_BUCKET = "KV_"
_ANSWER = b'{"type":"io.nats.jetstream.api.'
_SUBJECT = {"subject", "filter", "filter_subject", "subjects_filter", "next_by_subj", "last_by_subj", "src", "dest"}
_OF_A_STREAM = {"subjects", "mirror"}  # what a stream has, and a consumer has not
_SUBJECTS = {"subjects", "filter_subjects", "multi_last"}
# Headers whose value is a subject, in what we send and in what the server answers.
_SENT = re.compile(rb"(\r\nNats-(?:Schedule-Target|Scheduler|Expected-Last-Subject-Sequence-Subject): )")
_READ = b"\r\nNats-Subject: "


class Names:
    """What streams and subjects are called within a namespace, and what they are called above.

    Args:
        namespace: A valid one.
    """

    def __init__(self, namespace: str) -> None:
        self._stream = f"{namespace}_"
        self._bucket = f"{_BUCKET}{namespace}_"
        self._before = f"{namespace}."
        self._before_key = f"{_KV}{namespace}_"

    def stream(self, name: str) -> str:
        """A stream's full name, or that of a bucket's."""
        if name.startswith(_BUCKET):
            return self._bucket + name[len(_BUCKET) :]
        return self._stream + name

    def subject(self, subject: str) -> str:
        """A subject as the server has it, or a pattern."""
        if subject.startswith(_KV):
            return self._before_key + subject[len(_KV) :]
        return subject if subject.startswith(("$", "_INBOX.")) else self._before + subject

    def bare_stream(self, name: str) -> str:
        """A stream's name without the namespace; "" for one of nobody's here."""
        if name.startswith(self._bucket):
            return _BUCKET + name[len(self._bucket) :]
        return name[len(self._stream) :] if name.startswith(self._stream) else ""

    def bare_subject(self, subject: str) -> str:
        """A subject without the namespace."""
        if subject.startswith(self._before):
            return subject[len(self._before) :]
        if subject.startswith(self._before_key):
            return _KV + subject[len(self._before_key) :]
        return subject

    def call(self, subject: str) -> str:
        """The subject of a request to JetStream, whose words name a stream, and may end in a subject."""
        kind, _, rest = subject[len(_API) :].partition(".")
        if kind == "STREAM":
            verb, dot, name = rest.rpartition(".")
            return f"{_API}STREAM.{verb}.{self.stream(name)}" if dot else subject
        if kind not in ("CONSUMER", "DIRECT"):
            return subject
        verb, _, rest = rest.partition(".")
        if verb == "MSG":
            verb, _, rest = rest.partition(".")
            verb = f"MSG.{verb}"
        stream, dot, more = rest.partition(".")
        return f"{_API}{kind}.{verb}.{self.stream(stream)}{dot}{self._more(kind, verb, more)}"

    def _more(self, kind: str, verb: str, words: str) -> str:
        """What follows the stream: a subject to read, or a consumer and the subject that it is of."""
        if kind == "DIRECT":
            return self.subject(words) if words else ""
        consumer, dot, pattern = words.partition(".")
        return f"{consumer}.{self.subject(pattern)}" if dot and verb == "CREATE" else words

    def body(self, data: bytes) -> bytes:
        """A request to JetStream."""
        return msgspec.json.encode(_renamed(msgspec.json.decode(data), self.stream, self.subject))

    def bare_body(self, data: bytes) -> bytes:
        """JetStream's answer."""
        return msgspec.json.encode(_renamed(msgspec.json.decode(data), self.bare_stream, self.bare_subject))


def full_stream(namespace: str, name: str) -> str:
    """What a stream is called on the server; "" is no namespace."""
    return Names(namespace).stream(name) if namespace else name


def bare_stream(namespace: str, name: str) -> str:
    """A stream's name without the namespace, `full_stream` backwards."""
    return Names(namespace).bare_stream(name) if namespace else name


def full_subject(namespace: str, subject: str) -> str:
    """What a subject is on the server; "" is no namespace."""
    return Names(namespace).subject(subject) if namespace else subject


def _renamed(value: Any, stream: Callable[[str], str], subject: Callable[[str], str]) -> Any:
    """JSON of JetStream's with every name changed: of streams, and of subjects and patterns."""
    if isinstance(value, list):
        return [_renamed(each, stream, subject) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Any] = {}
    for key, each in cast("dict[str, Any]", value).items():
        if key == "mirror":
            renamed[key] = each  # said in full: it may be of another namespace
        elif key == "stream_name" or (key == "name" and _OF_A_STREAM & value.keys()):  # else it is a consumer's
            renamed[key] = stream(each)
        elif key == "streams" and isinstance(each, list):  # else it is how many there are
            renamed[key] = [stream(name) for name in cast("list[str]", each)]
        elif key in _SUBJECT:
            renamed[key] = subject(each)
        elif key in _SUBJECTS and each:
            # How many messages each subject has, or only which there are.
            renamed[key] = (
                {subject(one): count for one, count in cast("dict[str, Any]", each).items()}
                if isinstance(each, dict)
                else [subject(one) for one in each]
            )
        else:
            renamed[key] = _renamed(each, stream, subject)
    return renamed


class NamespacedChannel:
    """`Channel`, within a namespace of another one."""

    def __init__(self, channel: Channel, namespace: str) -> None:
        self.namespace = namespace
        self._channel = channel
        self._names = Names(namespace)
        self.on_lost: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None
        channel.on_lost = lambda: self.on_lost()
        channel.on_up = lambda: self.on_up()
        self._target = rb"\g<1>" + f"{namespace}.".encode()
        self._read = _READ + f"{namespace}.".encode()
        self._read_key = _READ + f"{_KV}{namespace}_".encode()

    @property
    def connected(self) -> bool:
        return self._channel.connected

    @property
    def max_payload_bytes(self) -> int:
        return self._channel.max_payload_bytes

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        if not subject.startswith(_API):
            subject = self._names.subject(subject)
            if headers and (b"\r\nNats-Schedule" in headers or b"-Subject: " in headers):
                headers = _SENT.sub(self._target, headers)
        else:
            if data and not subject.startswith(_NEXT):
                data = self._names.body(data)
            subject = self._names.call(subject)
        self._channel.publish(subject, data, reply, headers, lazily=lazily)

    async def up(self) -> None:
        await self._channel.up()

    async def drain(self) -> None:
        await self._channel.drain()

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        return self._channel.subscribe(self._names.subject(subject), lambda message: callback(self._bare(message)))

    def retire(self, sid: int) -> None:
        self._channel.retire(sid)

    def unsubscribe(self, sid: int) -> None:
        self._channel.unsubscribe(sid)

    async def close(self) -> None:
        await self._channel.close()

    def _bare(self, message: Message) -> Message:
        """A message as it would be without a namespace."""
        if not message.subject.startswith("_INBOX."):
            message.subject = self._names.bare_subject(message.subject)
        elif message.raw_headers:
            if _READ in message.raw_headers:  # a stored message that was asked for
                raw = message.raw_headers.replace(self._read, _READ, 1)
                message.raw_headers = raw.replace(self._read_key, _READ + _KV.encode(), 1)
        elif message.data.startswith(_ANSWER):
            message.data = self._names.bare_body(message.data)
        return message
